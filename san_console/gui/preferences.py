"""What the window remembers: theme, columns, splitters, last page. Plain values in the user's settings
file.
"""

from __future__ import annotations

from typing import Any, Final, Protocol

SAVE_DELAY_MS: Final = 400
"""Dragging a splitter changes a value many times; the file is written once."""


class Preferences(Protocol):
    """Keys are dotted words, values are what JSON holds. A missing or damaged value is the default."""

    def get(self, key: str, default: Any = None) -> Any: ...

    def set(self, key: str, value: Any) -> None: ...

    def save(self) -> None: ...


class MemoryPreferences:
    """Kept for this run only: tests, pictures, and where the file cannot be written."""

    def __init__(self, values: dict[str, Any] | None = None) -> None:
        self.values: dict[str, Any] = dict(values or {})

    def get(self, key: str, default: Any = None) -> Any:
        return self.values.get(key, default)

    def set(self, key: str, value: Any) -> None:
        self.values[key] = value

    def save(self) -> None:
        """Nothing outlives the run."""
