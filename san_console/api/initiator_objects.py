"""Objects of the initiator's side: discovery sources, discovered targets, sessions, LUNs."""

from __future__ import annotations

from typing import Literal

import msgspec

from san_console.api.problems import Problem

SourceKind = Literal["sendtargets", "isns", "manual"]
SourceState = Literal["idle", "running", "ok", "failed"]
Reach = Literal["unknown", "checking", "answers", "no answer"]
Change = Literal["", "new", "changed", "vanished"]
SessionState = Literal["logging_in", "logged_in", "retrying", "logging_out", "logged_out", "failed"]
DigestPolicy = Literal["none", "prefer", "require"]
LunState = Literal["reading", "ready", "failed"]


class Source(msgspec.Struct, kw_only=True):
    """Where targets are looked for. `manual` (typed in by hand) exists once, with id `manual`."""

    id: str
    kind: SourceKind
    address: str
    state: SourceState = "idle"
    problem: Problem | None = None
    last_run_at: float | None = None
    took_s: float = 0.0
    target_count: int = 0
    skipped: int = 0
    """Records that were no valid target and were left out."""
    truncated: bool = False
    identity_id: str = ""
    mutual_identity_id: str = ""
    source_address: str = ""


class TargetPortal(msgspec.Struct, kw_only=True):
    """One portal of a discovered target. `address` is `host:port`."""

    address: str
    tpgt: int = 1
    reach: Reach = "unknown"
    detail: str = ""
    round_trip_ms: float | None = None
    asks_for_chap: bool | None = None
    found_by: list[str] = []
    """Ids of the sources that named it."""
    vanished: bool = False


class LoginSettings(msgspec.Struct, kw_only=True):
    """How the user wants to log in. Discovery never changes it."""

    identity_id: str = ""
    mutual_identity_id: str = ""
    header_digest: DigestPolicy = "prefer"
    data_digest: DigestPolicy = "none"
    source_address: str = ""
    favourite: bool = False
    """Log in again when the engine starts."""


class Target(msgspec.Struct, kw_only=True):
    """A target that was found or typed in; `id` is its normalised iSCSI name."""

    id: str
    alias: str = ""
    portals: list[TargetPortal] = []
    found_by: list[str] = []
    change: Change = ""
    """Since the user last acknowledged the list."""
    change_note: str = ""
    first_seen_at: float = 0.0
    last_seen_at: float = 0.0
    login: LoginSettings = msgspec.field(default_factory=LoginSettings)
    session_ids: list[str] = []


class Connection(msgspec.Struct, kw_only=True):
    cid: int
    local: str
    remote: str
    state: str
    header_digest: str = "None"
    data_digest: str = "None"
    connected_at: float | None = None


class NegotiatedKey(msgspec.Struct, kw_only=True):
    """One text key of the login, as RFC 7143 §13 rules it."""

    name: str
    default: str = ""
    offered: str = ""
    answered: str = ""
    effective: str = ""
    rule: str = ""
    note: str = ""


class Session(msgspec.Struct, kw_only=True):
    """A session of the console's own initiator."""

    id: str
    target: str
    alias: str = ""
    portal: str
    tpgt: int | None = None
    state: SessionState
    isid: str = ""
    tsih: int = 0
    auth: str = "None"
    login: LoginSettings = msgspec.field(default_factory=LoginSettings)
    connections: list[Connection] = []
    keys: list[NegotiatedKey] = []
    attempt: int = 0
    next_retry_at: float | None = None
    problem: Problem | None = None
    created_at: float = 0.0
    logged_in_at: float | None = None
    window_size: int = 0
    lun_count: int = 0
    reconnects: int = 0
    digest_errors: int = 0
    command_errors: int = 0


class Lun(msgspec.Struct, kw_only=True):
    """A logical unit behind a session, known by its identity; `id` is `<session id>/<LUN>`."""

    id: str
    session_id: str
    target: str
    lun: int
    state: LunState = "reading"
    problem: Problem | None = None
    identity: str = ""
    """From VPD page 0x83: naa.…, eui.…, t10.…; empty where the unit has none."""
    identity_changed_from: str = ""
    """Set when another unit stands behind this number than before."""
    vendor: str = ""
    product: str = ""
    revision: str = ""
    serial: str = ""
    device_type: str = "disk"
    size_bytes: int = 0
    block_bytes: int = 512
    physical_block_bytes: int = 512
    read_only: bool = False
    thin: bool = False
    write_cache: bool | None = None
    content: str = ""
    """What the first blocks look like: `empty`, `GPT, 2 partitions`, `ext4`, …"""
    designators: list[str] = []


class LunData(msgspec.Struct, kw_only=True):
    """Bytes read from a LUN."""

    offset_bytes: int
    data: bytes


class VpdPage(msgspec.Struct, kw_only=True):
    code: int
    name: str
    fields: list[tuple[str, str]]
    raw: bytes
