"""Objects of the target's side: LUNs of this machine that are served to others, and iSNS."""

from __future__ import annotations

from typing import Literal

import msgspec

from san_console.api.initiator_objects import NegotiatedKey
from san_console.api.problems import Problem

BackstoreKind = Literal["file", "memory", "block", "null"]
LocalTargetState = Literal["serving", "stopped", "failed"]
BackstoreState = Literal["online", "offline"]
IsnsState = Literal["running", "stopped", "failed", "ok", "idle"]


class LocalLun(msgspec.Struct, kw_only=True):
    """A LUN of a local target. `id` is unique within the target and never changes; `name` is the user's."""

    id: str
    name: str
    kind: BackstoreKind
    path: str = ""
    size_bytes: int = 0
    block_bytes: int = 512
    read_only: bool = False
    thin: bool = False
    create: bool = False
    """In a request: create the file when it is missing."""
    state: BackstoreState = "online"
    problem: Problem | None = None
    identity: str = ""
    serial: str = ""


class Mapping(msgspec.Struct, kw_only=True, frozen=True):
    """What one initiator sees: LUN `lun` is the local LUN `lun_id`."""

    initiator: str
    """An iSCSI name, or `*` for anyone."""
    lun_id: str
    lun: int
    read_only: bool = False


class IsnsRegistration(msgspec.Struct, kw_only=True):
    server: str
    state: Literal["registered", "failed", "pending"] = "pending"
    problem: Problem | None = None


class LocalTarget(msgspec.Struct, kw_only=True):
    """A target of this machine; `id` is its iSCSI name. The same struct is sent to create and change one."""

    id: str
    alias: str = ""
    tpgt: int = 1
    portals: list[str] = []
    luns: list[LocalLun] = []
    initiators: list[str] = []
    """The rows of the mapping matrix: names with or without a mapping; `*` is anyone."""
    mappings: list[Mapping] = []
    identity_ids: list[str] = []
    """CHAP identities that initiators may log in with; empty: no CHAP is asked for."""
    mutual_identity_id: str = ""
    enabled: bool = True
    register_with: list[str] = []
    """Addresses of iSNS servers."""
    state: LocalTargetState = "stopped"
    problem: Problem | None = None
    registrations: list[IsnsRegistration] = []
    lab: bool = False


class TargetSession(msgspec.Struct, kw_only=True):
    """A session that somebody's initiator has with a local target."""

    id: str
    target: str
    initiator: str
    initiator_alias: str = ""
    address: str
    portal: str
    isid: str = ""
    tsih: int = 0
    session_type: Literal["normal", "discovery"] = "normal"
    auth: str = "None"
    logged_in_at: float = 0.0
    header_digest: str = "None"
    data_digest: str = "None"
    keys: list[NegotiatedKey] = []
    luns: list[int] = []
    own: bool = False
    """The other end is this engine's own initiator."""


class Consequence(msgspec.Struct, kw_only=True):
    """One line of what a change would do, before it is done."""

    severity: Literal["info", "warning", "danger"]
    text: str
    session_ids: list[str] = []


class SeenLun(msgspec.Struct, kw_only=True):
    lun: int
    lun_id: str
    name: str
    read_only: bool


class IsnsServer(msgspec.Struct, kw_only=True):
    """An iSNS server: the embedded one (`id` `embedded`) or one somewhere else (`id` is its address)."""

    id: str
    address: str
    embedded: bool = False
    state: IsnsState = "idle"
    problem: Problem | None = None
    entity_count: int = 0
    node_count: int = 0
    last_seen_at: float | None = None


class IsnsObject(msgspec.Struct, kw_only=True):
    """An object of an iSNS server's database, for showing."""

    kind: Literal["entity", "node", "portal", "portal_group", "domain", "domain_set"]
    name: str
    entity: str = ""
    attributes: list[tuple[str, str]] = []
