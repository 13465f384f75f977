"""What the window remembers between runs: theme, columns, sizes, last page. No secret and no SAN object.

One JSON file in the user's configuration folder. A damaged file is kept aside and said so, never overwritten.
"""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any, Final

import platformdirs

CONFIG_DIR_VARIABLE: Final = "SAN_CONSOLE_CONFIG_DIR"
FILE_NAME: Final = "window.json"
FORMAT: Final = 1
MAX_FILE_BYTES: Final = 4 * 1024 * 1024
"""Layouts of a hundred tables are far below this; more is no file of ours."""


def config_dir() -> Path:
    """`SAN_CONSOLE_CONFIG_DIR`, or the user's configuration folder. Not created here."""
    override = os.environ.get(CONFIG_DIR_VARIABLE)
    if override:
        return Path(override).absolute()
    return platformdirs.user_config_path("san-console", appauthor=False)


class SettingsFile:
    """Plain values by dotted key, read once; `save` writes the whole file so that no crash can halve it."""

    def __init__(self, path: Path | None = None) -> None:
        self.path = path if path is not None else config_dir() / FILE_NAME
        self.note = ""
        """Said when the file could not be read: what happened, and where it is now."""
        self._values: dict[str, Any] = self._read()
        self._changed = False

    def get(self, key: str, default: Any = None) -> Any:
        return self._values.get(key, default)

    def set(self, key: str, value: Any) -> None:
        """`value` is what JSON can hold. None takes the key out."""
        if value is None:
            self._changed |= self._values.pop(key, None) is not None
        elif self._values.get(key) != value:
            self._values[key] = value
            self._changed = True

    def save(self) -> None:
        """Write what has changed. Raises OSError; the old file is then as it was."""
        if not self._changed:
            return
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        content = json.dumps({"format": FORMAT, "values": self._values}, indent=1, sort_keys=True)
        descriptor, name = tempfile.mkstemp(dir=self.path.parent, prefix=f".{FILE_NAME}.")
        try:
            with open(descriptor, "w", encoding="utf-8") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(name, self.path)
        except BaseException:
            os.unlink(name)
            raise
        self._changed = False

    def _read(self) -> dict[str, Any]:
        try:
            with self.path.open("rb") as file:
                content = file.read(MAX_FILE_BYTES + 1)
        except FileNotFoundError:
            return {}
        except OSError as error:
            self.note = f"The window's settings cannot be read: {error.strerror}."
            return {}
        try:
            if len(content) > MAX_FILE_BYTES:
                raise ValueError("too large")
            stored = json.loads(content)
            values = stored["values"]
            if stored["format"] != FORMAT or not isinstance(values, dict):
                raise ValueError("another format")
        except (ValueError, KeyError, TypeError, RecursionError):
            self._keep_aside()
            return {}
        return values

    def _keep_aside(self) -> None:
        aside = self.path.with_name(f"{self.path.name}.damaged")
        try:
            os.replace(self.path, aside)
        except OSError as error:
            self.note = f"The window's settings are damaged and could not be put aside: {error.strerror}."
        else:
            self.note = f"The window's settings were damaged; the file is now {aside}."
