"""What happens to a session, told to whoever watches it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

KINDS = frozenset(
    {
        "login",
        "login_failed",
        "redirected",
        "connection_lost",
        "retry_scheduled",
        "recovered",
        "logout",
        "digest_error",
        "async_message",
        "nop_timeout",
        "stopped",
        "luns_changed",
        "unit_attention",
        "command_timeout",
        "protocol_note",
    }
)


@dataclass(slots=True)
class SessionEvent:
    """One event: `at` is in seconds since the epoch, `severity` is "info", "warning" or "error".

    `text` is a line for a log; `cause`, `side` and `check` are filled in where something failed. `details`
    holds plain values only.
    """

    at: float
    kind: str
    severity: str
    text: str
    cause: str = ""
    side: str = ""
    check: str = ""
    details: dict[str, Any] = field(default_factory=dict)


OnEvent = Callable[[SessionEvent], None]
