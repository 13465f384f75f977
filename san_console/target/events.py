"""What the target tells: logins, losses, errors. And what it shows of its sessions."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from san_console.iscsi.parameters import KeyRecord
from san_console.iscsi.target_session import TargetCounters
from san_console.names.display import visible

TargetEventKind = Literal[
    "target_added",
    "target_changed",
    "target_removed",
    "target_login",
    "target_login_failed",
    "target_logout",
    "session_lost",
    "session_closed",
    "access_state_changed",
    "connection_lost",
    "connection_closed",
    "protocol_error",
    "backstore_error",
    "lun_offline",
    "lun_online",
    "threshold_reached",
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


class Reporter:
    """Makes events and hands them on."""

    def __init__(self, on_event: Callable[[TargetEvent], None]) -> None:
        self._on_event = on_event

    def tell(
        self,
        kind: TargetEventKind,
        severity: Severity,
        text: str,
        *,
        cause: str = "",
        side: str = "",
        check: str = "",
        **details: str,
    ) -> None:
        """Something happened now."""
        self._on_event(TargetEvent(time.time(), kind, severity, text, cause, side, check, details))

    def backstore_error(self, target: str, text: str) -> None:
        """A backstore of a target failed; `text` may hold what others chose."""
        self.tell(
            "backstore_error",
            "error",
            visible(text),
            side="this machine",
            check="Check the medium and the free space; open the LUN again once it is mended.",
            target=target,
        )


@dataclass(frozen=True, slots=True)
class ConnectionInfo:
    """One connection of a session. `portal` is our end; `logged_in_at` in seconds since the epoch."""

    cid: int
    address: str
    portal: str
    logged_in_at: float
    header_digest: bool
    data_digest: bool


@dataclass(frozen=True, slots=True)
class TargetSessionInfo:
    """A session that somebody has with a target here; `logged_in_at` in seconds since the epoch.

    `recovering`: it has no connection, and waits for its initiator to come back.
    """

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
    connection_list: list[ConnectionInfo]
    tpgt: int
    error_recovery_level: int
    max_connections: int
    recovering: bool
