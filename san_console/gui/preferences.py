"""What the window remembers: theme, columns, splitters, last page. Plain values in the user's settings
file.
"""

from __future__ import annotations

import logging
from typing import Any, Final, Protocol

from PySide6.QtCore import QObject, QTimer

from san_console.console.settings import SettingsFile

log = logging.getLogger(__name__)

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


class FilePreferences(QObject):
    """The user's settings file; written a moment after the last change, and once more at the end."""

    def __init__(self, file: SettingsFile | None = None) -> None:
        super().__init__()
        self._file = file if file is not None else SettingsFile()
        self._timer = QTimer(self, singleShot=True, interval=SAVE_DELAY_MS)
        self._timer.timeout.connect(self.save)

    @property
    def note(self) -> str:
        """What was wrong with the file when it was read."""
        return self._file.note

    def get(self, key: str, default: Any = None) -> Any:
        return self._file.get(key, default)

    def set(self, key: str, value: Any) -> None:
        self._file.set(key, value)
        self._timer.start()

    def save(self) -> None:
        try:
            self._file.save()
        except OSError as error:
            # A full disk must not take the window down; sizes of columns can be lost.
            log.warning("the settings of the window cannot be written: %s", error)
