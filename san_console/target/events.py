"""What the target tells: logins, losses, errors. And what it shows of its sessions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from san_console.iscsi.parameters import KeyRecord
from san_console.iscsi.target_session import TargetCounters

TargetEventKind = Literal[
    "target_added",
    "target_changed",
    "target_removed",
    "target_login",
    "target_login_failed",
    "target_logout",
    "session_lost",
    "session_closed",
    "protocol_error",
    "backstore_error",
]
Severity = Literal["info", "warning", "error"]


@dataclass(frozen=True, slots=True)
class TargetEvent:
    """Something happened. `at` is seconds since the epoch; the texts are fit to be shown."""

    at: float
    kind: TargetEventKind
    severity: Severity
    text: str
    cause: str = ""
    side: str = ""
    check: str = ""
    details: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TargetSessionInfo:
    """A session that somebody has with a target here; `logged_in_at` in seconds since the epoch."""

    id: str
    target: str
    initiator: str
    initiator_alias: str
    address: str
    portal: str
    isid: bytes
    tsih: int
    discovery: bool
    auth: str
    connections: int
    logged_in_at: float
    keys: list[KeyRecord]
    luns: list[int]
    active_commands: int
    window: int
    counters: TargetCounters
