"""Every method of the RPC: its parameters and its result. `METHODS` is the whole list."""

from __future__ import annotations

from typing import Any, Final, Literal, NamedTuple

import msgspec

from san_console.api.engine_objects import EngineInfo, Event, Identity, Job, Keyring, Sample
from san_console.api.initiator_objects import LoginSettings, LunData, Session, Source, Target, VpdPage
from san_console.api.plan_objects import ChangePlan, TargetDocument, UndoStep
from san_console.api.serving_objects import (
    AccessState,
    Consequence,
    EffectiveAccess,
    IsnsObject,
    IsnsServer,
    LocalTarget,
)

MAX_LUN_READ_BYTES: Final = 1024 * 1024
"""Of one `luns.read`: enough for a viewer, and far below the frame limit. More is a job."""

MAX_DOCUMENT_BYTES: Final = 4 * 1024 * 1024
"""Of a document with targets: 1,000 targets with 4 LUNs each are about 1 MB."""


class Nothing(msgspec.Struct, kw_only=True):
    """No parameters."""


class ById(msgspec.Struct, kw_only=True):
    id: str


class SetInitiatorName(msgspec.Struct, kw_only=True):
    name: str


class StopEngine(msgspec.Struct, kw_only=True):
    force: bool = False
    """Without it the engine refuses (`in-use`) while initiators of others are logged in to its targets."""


class ChapSecrets(msgspec.Struct, kw_only=True):
    """CHAP names and secrets for this one use: neither kept nor answered.

    A caller that has its secret from a file or a terminal sends it here; else identities are named.
    """

    user: str
    secret: str
    mutual_user: str = ""
    mutual_secret: str = ""


class AddSource(msgspec.Struct, kw_only=True):
    kind: Literal["sendtargets", "isns"]
    address: str
    identity_id: str = ""
    mutual_identity_id: str = ""
    source_address: str = ""
    run: bool = True
    chap: ChapSecrets | None = None


class RunSource(msgspec.Struct, kw_only=True):
    id: str = ""
    """Empty: all sources."""


class AddTarget(msgspec.Struct, kw_only=True):
    name: str
    portals: list[str]


class TargetByName(msgspec.Struct, kw_only=True):
    name: str = ""
    """Empty: all."""


class SetLogin(msgspec.Struct, kw_only=True):
    name: str
    login: LoginSettings


class Login(msgspec.Struct, kw_only=True):
    target: str
    portal: str
    login: LoginSettings = msgspec.field(default_factory=LoginSettings)
    chap: ChapSecrets | None = None


class TrialResult(msgspec.Struct, kw_only=True):
    """What a trial log-in showed. It logs out again at once."""

    ok: bool
    text: str
    auth: str = ""
    lun_count: int = 0
    took_ms: float = 0.0


class Logout(msgspec.Struct, kw_only=True):
    id: str
    forget: bool = True
    """Also take the session off the list; its events stay."""


class SetFavourite(msgspec.Struct, kw_only=True):
    id: str
    favourite: bool


class ReadLun(msgspec.Struct, kw_only=True):
    id: str
    offset_bytes: int
    length_bytes: int


class LunToFile(msgspec.Struct, kw_only=True):
    id: str
    path: str
    offset_bytes: int = 0
    length_bytes: int | None = None
    overwrite: bool = False


class FileToLun(msgspec.Struct, kw_only=True):
    id: str
    path: str
    offset_bytes: int = 0
    confirm_identity: str
    """The identity (or id, where it has none) of the LUN that the user confirmed to overwrite."""


class BenchLun(msgspec.Struct, kw_only=True):
    id: str
    block_bytes: int = 4096
    queue_depth: int = 32
    seconds: float = 10.0
    pattern: Literal["read", "randread"] = "randread"


class SaveLocalTarget(msgspec.Struct, kw_only=True):
    target: LocalTarget


class RemoveLocalTarget(msgspec.Struct, kw_only=True):
    id: str
    force: bool = False
    """Without it the engine refuses (`in-use`) while initiators are logged in."""


class SetEnabled(msgspec.Struct, kw_only=True):
    id: str
    enabled: bool


class AskAccess(msgspec.Struct, kw_only=True):
    target: str
    initiator: str
    address: str = ""
    """Of the initiator; empty: one that no rule with an address fits."""


class Disconnect(msgspec.Struct, kw_only=True):
    id: str
    """Of a target session."""
    cid: int | None = None
    """One connection of it; None: all of it."""


class LunOf(msgspec.Struct, kw_only=True):
    """A LUN of a local target."""

    target: str
    lun_id: str


class SetLunOnline(msgspec.Struct, kw_only=True):
    target: str
    lun_id: str
    online: bool


class GrowLun(msgspec.Struct, kw_only=True):
    target: str
    lun_id: str
    size_bytes: int = 0
    """0: as large as its file or device is by now. Smaller than it is: refused."""


class SetAccessState(msgspec.Struct, kw_only=True):
    target: str
    tag: int
    access_state: AccessState
    preferred: bool | None = None
    """None: as it is."""


class SetDiscoveryChap(msgspec.Struct, kw_only=True):
    """What discovery sessions have to prove; no identities: nothing."""

    identity_ids: list[str] = []
    mutual_identity_id: str = ""


class ExportTargets(msgspec.Struct, kw_only=True):
    targets: list[str] = []
    """Empty: all, and the CHAP of discovery."""


class PlanTargets(msgspec.Struct, kw_only=True):
    text: str
    """The document, YAML; at most `MAX_DOCUMENT_BYTES`."""
    only: list[str] = []
    """Of its targets only these; empty: all."""


class ApplyTargets(msgspec.Struct, kw_only=True):
    text: str
    only: list[str] = []
    base: str = ""
    """Of the plan that the user saw; empty: whatever is there now."""


class UndoTargets(msgspec.Struct, kw_only=True):
    steps: int = 1
    base: str = ""


class ByAddress(msgspec.Struct, kw_only=True):
    address: str


class SaveIdentity(msgspec.Struct, kw_only=True):
    """Create (no `id`) or change an identity. A secret travels to the engine only, never back."""

    id: str = ""
    user: str
    note: str = ""
    secret: str | None = None
    """None: leave the secret as it is."""


class TryIdentity(msgspec.Struct, kw_only=True):
    id: str
    mutual_id: str = ""
    target: str
    portal: str


class UseMemory(msgspec.Struct, kw_only=True):
    use: bool


class QueryEvents(msgspec.Struct, kw_only=True):
    object_id: str = ""
    before_id: str = ""
    limit: int = 200


class Subscribed(msgspec.Struct, kw_only=True):
    revision: int


class StatisticsOf(msgspec.Struct, kw_only=True):
    ids: list[str]
    seconds: int = 60


class Method(NamedTuple):
    params: type[msgspec.Struct]
    result: Any


METHODS: Final[dict[str, Method]] = {
    # the engine
    "engine.info": Method(Nothing, EngineInfo),
    "engine.set_initiator_name": Method(SetInitiatorName, EngineInfo),
    "engine.stop": Method(StopEngine, None),
    "subscribe": Method(Nothing, Subscribed),
    "resync": Method(Nothing, Subscribed),
    "statistics.history": Method(StatisticsOf, list[Sample]),
    "events.query": Method(QueryEvents, list[Event]),
    "jobs.cancel": Method(ById, None),
    "jobs.dismiss": Method(ById, None),
    # the secrets
    "keyring.check": Method(Nothing, Keyring),
    "keyring.use_memory": Method(UseMemory, Keyring),
    "identities.save": Method(SaveIdentity, Identity),
    "identities.remove": Method(ById, None),
    "identities.test": Method(TryIdentity, TrialResult),
    # the initiator
    "sources.add": Method(AddSource, Source),
    "sources.run": Method(RunSource, Job),
    "sources.remove": Method(ById, None),
    "targets.add": Method(AddTarget, Target),
    "targets.remove": Method(TargetByName, None),
    "targets.probe": Method(TargetByName, Job),
    "targets.acknowledge": Method(TargetByName, None),
    "targets.set_login": Method(SetLogin, Target),
    "sessions.login": Method(Login, Session),
    "sessions.test": Method(Login, TrialResult),
    "sessions.logout": Method(Logout, None),
    "sessions.retry_now": Method(ById, None),
    "sessions.stop_retrying": Method(ById, None),
    "sessions.set_favourite": Method(SetFavourite, Session),
    "sessions.rescan": Method(ById, Job),
    "luns.read": Method(ReadLun, LunData),
    "luns.vpd": Method(ById, list[VpdPage]),
    "luns.to_file": Method(LunToFile, Job),
    "luns.from_file": Method(FileToLun, Job),
    "luns.bench": Method(BenchLun, Job),
    # the target
    "serving.plan": Method(SaveLocalTarget, list[Consequence]),
    "serving.create": Method(SaveLocalTarget, LocalTarget),
    "serving.change": Method(SaveLocalTarget, LocalTarget),
    "serving.set_enabled": Method(SetEnabled, LocalTarget),
    "serving.remove": Method(RemoveLocalTarget, None),
    "serving.disconnect": Method(Disconnect, None),
    "serving.access": Method(AskAccess, EffectiveAccess),
    "serving.set_access_state": Method(SetAccessState, LocalTarget),
    "serving.lun_online": Method(SetLunOnline, LocalTarget),
    "serving.retry_lun": Method(LunOf, LocalTarget),
    "serving.grow_lun": Method(GrowLun, LocalTarget),
    "serving.clear_reservation": Method(LunOf, None),
    "serving.set_discovery_chap": Method(SetDiscoveryChap, EngineInfo),
    "serving.export_targets": Method(ExportTargets, TargetDocument),
    "serving.plan_targets": Method(PlanTargets, ChangePlan),
    "serving.apply_targets": Method(ApplyTargets, ChangePlan),
    "serving.undo_steps": Method(Nothing, list[UndoStep]),
    "serving.plan_undo": Method(UndoTargets, ChangePlan),
    "serving.undo_targets": Method(UndoTargets, ChangePlan),
    # iSNS
    "isns.start": Method(ByAddress, IsnsServer),
    "isns.stop": Method(Nothing, None),
    "isns.add": Method(ByAddress, IsnsServer),
    "isns.remove": Method(ById, None),
    "isns.objects": Method(ById, list[IsnsObject]),
    # the lab
    "lab.start": Method(Nothing, Job),
    "lab.stop": Method(Nothing, None),
}
