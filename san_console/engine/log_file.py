"""The engine's log: one record per line, key=value, nothing in it that acts in a terminal, never a secret."""

from __future__ import annotations

import logging
import logging.handlers
import os
import time
from pathlib import Path
from typing import Any, Final

from san_console.names.display import visible

LOG_NAME: Final = "engine.log"
MAX_LOG_BYTES: Final = 5 * 1024 * 1024
KEPT_LOGS: Final = 3
MAX_VALUE_CHARACTERS: Final = 4000
"""Of one value: a traceback fits, a flood from a peer does not."""


class KeyValueFormatter(logging.Formatter):
    """`at=… level=… where=… text="…"`, then the record's `fields` (given as `extra={"fields": {…}}`)."""

    def format(self, record: logging.LogRecord) -> str:
        at = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        parts = [
            f"at={at}.{int(record.msecs):03d}Z",
            f"level={record.levelname.lower()}",
            f"where={record.name.removeprefix('san_console.')}",
            f"text={_quoted(record.getMessage())}",
        ]
        fields: dict[str, Any] = getattr(record, "fields", {})
        parts += [f"{key}={_quoted(str(value))}" for key, value in fields.items()]
        if record.exc_info:
            parts.append(f"trace={_quoted(self.formatException(record.exc_info))}")
        return " ".join(parts)


def _quoted(text: str) -> str:
    # Line breaks of our own tracebacks are shown as \n; everything else that acts as \u{…}.
    shown = visible(text.replace("\\", "\\\\").replace("\n", "⏎"), MAX_VALUE_CHARACTERS)
    return '"' + shown.replace("⏎", "\\n").replace('"', '\\"') + '"'


class _PrivateFileHandler(logging.handlers.RotatingFileHandler):
    """A rotating file that nobody else may read, from the moment it exists."""

    def _open(self) -> Any:
        descriptor = os.open(
            self.baseFilename, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600
        )
        os.fchmod(descriptor, 0o600)
        return open(descriptor, "a", encoding="utf-8", errors="backslashreplace")


def start_log(folder: Path) -> logging.Handler:
    """Log everything from `info` up to `engine.log` in `folder`; returns the handler, for `stop_log`."""
    handler = _PrivateFileHandler(folder / LOG_NAME, maxBytes=MAX_LOG_BYTES, backupCount=KEPT_LOGS)
    handler.setFormatter(KeyValueFormatter())
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    # asyncio's debug records quote coroutine arguments.
    logging.getLogger("asyncio").setLevel(logging.WARNING)
    return handler


def stop_log(handler: logging.Handler) -> None:
    logging.getLogger().removeHandler(handler)
    handler.close()
