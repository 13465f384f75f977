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
AccessState = Literal[
    "active/optimized", "active/non-optimized", "standby", "unavailable", "offline", "transitioning"
]
"""Of a target port group (SPC-4 §5.15.2.4)."""

DigestChoice = Literal["none", "prefer", "require"]
"""CRC32C not at all, where the initiator takes it, or in every session."""


class LocalLun(msgspec.Struct, kw_only=True):
    """A LUN of a local target. `id` is unique within the target and never changes; `name` is the user's.

    What the user sets comes first, what the engine tells of it after `state`.
    """

    id: str
    name: str
    kind: BackstoreKind
    path: str = ""
    size_bytes: int = 0
    """Shown: as it is served. In a request: of a memory or a new file; of any other it is only grown, by
    `serving.grow_lun`."""
    block_bytes: int = 512
    physical_block_bytes: int = 0
    """0: as `block_bytes`. 4096 over blocks of 512 bytes is what drives call 512e."""
    read_only: bool = False
    thin: bool = False
    """A sparse file whose unused blocks are given back; else all of it is allocated when it is made."""
    write_cache: bool = True
    """False: each write is on the medium before it is answered."""
    soft_threshold_percent: int = 0
    """Of the space, from which on the initiators of a thin LUN are warned; 0: never."""
    rotation_rate: int = 1
    """0: not told, 1: does not rotate, else revolutions per minute (SBC-3 §6.6.4)."""
    vendor: str = "SANCNSL"
    product: str = "VIRTUAL-DISK"
    revision: str = "0001"
    serial: str = ""
    """Empty: made from the seed."""
    identity_seed: str = ""
    """What identity and serial number follow from. Empty: the names of target and LUN."""
    online: bool = True
    """False: the user took the LUN offline; its mappings stay."""
    create: bool = False
    """In a request: create the file when it is missing."""
    state: BackstoreState = "online"
    problem: Problem | None = None
    identity: str = ""
    unit_serial: str = ""
    """The serial number that initiators read."""
    used_bytes: int | None = None
    """Allocated; None where that cannot be told."""
    threshold_reached: bool = False


class PortalGroup(msgspec.Struct, kw_only=True):
    """A portal group, which is the target port group of ALUA as well: `tag` is the number of both."""

    tag: int = 1
    portals: list[str] = []
    access_state: AccessState = "active/optimized"
    preferred: bool = False
    redirect_to: str = ""
    """Logins here are sent to this portal (RFC 7143 §11.13.5, status 0101 or 0102)."""
    redirect_permanent: bool = False


class InitiatorGroup(msgspec.Struct, kw_only=True):
    """Members are subjects, as in `InitiatorAccess`, but no groups. Named elsewhere as `group:NAME`."""

    name: str
    members: list[str] = []


class InitiatorAccess(msgspec.Struct, kw_only=True):
    """Somebody who may log in, with or without a mapping."""

    subject: str
    """An iSCSI name, one with `*` for any characters, `*` for anyone, an address or CIDR, `NAME@CIDR` for
    both at once, or `group:NAME`. The most specific one that fits an initiator decides."""
    identity_ids: list[str] = []
    """CHAP identities that are accepted from this one; empty: the target's."""
    mutual_identity_id: str = ""
    """What the target proves itself with here; only beside `identity_ids`."""


class Mapping(msgspec.Struct, kw_only=True, frozen=True):
    """What one initiator sees: LUN `lun` is the local LUN `lun_id`."""

    initiator: str
    """A subject, as in `InitiatorAccess`."""
    lun_id: str
    lun: int
    read_only: bool = False


class OperationalLimits(msgspec.Struct, kw_only=True):
    """What a target offers in negotiations (RFC 7143 §13) and bounds. A change is for new sessions."""

    max_sessions: int = 544
    max_connections: int = 8
    error_recovery_level: int = 2
    command_window: int = 128
    max_recv_data_segment_bytes: int = 262144
    max_burst_bytes: int = 1048576
    first_burst_bytes: int = 262144
    max_outstanding_r2t: int = 8
    initial_r2t: bool = False
    immediate_data: bool = True
    data_pdu_in_order: bool = True
    data_sequence_in_order: bool = True
    header_digest: DigestChoice = "none"
    data_digest: DigestChoice = "none"
    default_time2wait_s: int = 2
    default_time2retain_s: int = 20
    login_timeout_s: float = 15.0
    nop_in_interval_s: float = 15.0
    nop_in_timeout_s: float = 60.0


class IsnsRegistration(msgspec.Struct, kw_only=True):
    server: str
    state: Literal["registered", "failed", "pending"] = "pending"
    problem: Problem | None = None


class LocalTarget(msgspec.Struct, kw_only=True):
    """A target of this machine; `id` is its iSCSI name. The same struct is sent to create and change one."""

    id: str
    alias: str = ""
    portal_groups: list[PortalGroup] = []
    luns: list[LocalLun] = []
    initiator_groups: list[InitiatorGroup] = []
    access: list[InitiatorAccess] = []
    """Who may log in, seeing what is mapped to it or nothing; `*` is anyone."""
    mappings: list[Mapping] = []
    """Who is mapped may log in, whether it is in `access` or not."""
    identity_ids: list[str] = []
    """CHAP identities that initiators may log in with where their row names none; empty: no CHAP is asked
    for."""
    mutual_identity_id: str = ""
    limits: OperationalLimits = msgspec.field(default_factory=OperationalLimits)
    enabled: bool = True
    register_with: list[str] = []
    """Addresses of iSNS servers."""
    state: LocalTargetState = "stopped"
    problem: Problem | None = None
    registrations: list[IsnsRegistration] = []
    lab: bool = False

    @property
    def portals(self) -> list[str]:
        """The portals of all groups, each once."""
        return list(dict.fromkeys(portal for group in self.portal_groups for portal in group.portals))

    @property
    def initiators(self) -> list[str]:
        """Everybody who has a row in the matrix: those that may log in and those that are mapped."""
        return list(
            dict.fromkeys(
                (*(row.subject for row in self.access), *(rule.initiator for rule in self.mappings))
            )
        )

    def identities_in_use(self) -> list[str]:
        """The ids of all CHAP identities that the target needs, each once."""
        return list(
            dict.fromkeys(
                one
                for ids, mutual in (
                    (self.identity_ids, self.mutual_identity_id),
                    *((row.identity_ids, row.mutual_identity_id) for row in self.access),
                )
                for one in (*ids, mutual)
                if one
            )
        )


class TargetConnection(msgspec.Struct, kw_only=True):
    """A connection of a session with a local target."""

    cid: int
    address: str
    portal: str
    logged_in_at: float = 0.0
    header_digest: str = "None"
    data_digest: str = "None"


class TargetSession(msgspec.Struct, kw_only=True):
    """A session that somebody's initiator has with a local target."""

    id: str
    target: str
    initiator: str
    initiator_alias: str = ""
    address: str
    portal: str
    """Address and portal of its first connection."""
    tpgt: int = 1
    isid: str = ""
    tsih: int = 0
    session_type: Literal["normal", "discovery"] = "normal"
    auth: str = "None"
    logged_in_at: float = 0.0
    header_digest: str = "None"
    data_digest: str = "None"
    connections: list[TargetConnection] = []
    max_connections: int = 1
    error_recovery_level: int = 0
    recovering: bool = False
    """All of its connections are gone, and it waits for its initiator to come back."""
    digest_errors: int = 0
    rejects: int = 0
    aborted_tasks: int = 0
    """Since the session began, as the errors of its samples."""
    keys: list[NegotiatedKey] = []
    luns: list[int] = []
    own: bool = False
    """The other end is this engine's own initiator."""


class Registration(msgspec.Struct, kw_only=True):
    """An I_T nexus that has registered a reservation key (SPC-4 §5.13)."""

    initiator: str
    isid: str = ""
    target_port: int = 0
    """The relative target port, which is the tag of its portal group; 0: not bound to one."""
    key: str = ""
    """As the initiator registered it, 16 hexadecimal digits."""
    holder: bool = False
    session_ids: list[str] = []
    """Its sessions now. None: the registration waits for an initiator that is away, or is a stale one."""


class Reservation(msgspec.Struct, kw_only=True):
    """The reservations of one local LUN, where there are any; `id` is `<target>/<LUN id>`."""

    id: str
    target: str
    lun_id: str
    lun_name: str = ""
    type: str = ""
    """As SPC-4 §6.15.3.4 calls it, `Reserve (SPC-2)` for the older kind; empty: registrations alone."""
    holder: str = ""
    """The initiator that holds it; empty where there is none, or all registrants do."""
    aptpl: bool = False
    """It outlives a loss of power, and a restart of the engine."""
    generation: int | None = None
    registrations: list[Registration] = []


class Consequence(msgspec.Struct, kw_only=True):
    """One line of what a change would do, before it is done."""

    severity: Literal["info", "warning", "danger"]
    text: str
    session_ids: list[str] = []
    """The sessions that feel it."""
    target: str = ""
    ends_sessions: bool = False
    """These sessions end, and do not only see something change."""


class SeenLun(msgspec.Struct, kw_only=True):
    lun: int
    lun_id: str
    name: str
    read_only: bool
    why: str = ""
    """The rule that shows it, in words."""


class HiddenLun(msgspec.Struct, kw_only=True):
    lun_id: str
    name: str
    why: str


class EffectiveAccess(msgspec.Struct, kw_only=True):
    """What one initiator may do at a target, by the code that the login uses."""

    allowed: bool
    why: str
    """The reason, either way."""
    rule: str = ""
    """The subject that decided."""
    chap_users: list[str] = []
    """The CHAP names that are accepted from it; empty: it is let in without CHAP."""
    mutual_user: str = ""
    """What the target proves itself with when it is asked to."""
    luns: list[SeenLun] = []
    hidden: list[HiddenLun] = []
    """The other LUNs of the target, and why it does not see them."""


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
