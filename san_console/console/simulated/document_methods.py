"""Simulated answers of the methods about several targets at once: documents, plans, undoing."""

from __future__ import annotations

import hashlib

import msgspec

from san_console.api import methods as api
from san_console.api.engine_objects import EngineInfo
from san_console.api.plan_objects import ChangePlan, Disconnected, TargetDocument, UndoStep
from san_console.api.problems import ApiProblem
from san_console.api.serving_objects import Consequence, LocalTarget
from san_console.api.target_differences import differences
from san_console.api.target_document import (
    chap_entry,
    identity_references,
    keep_ids,
    read_document,
    referenced_identity,
    with_identities,
    write_document,
)
from san_console.api.yaml_tree import DocumentError
from san_console.console.simulated.serving_methods import accepted, drop_sessions, plan
from san_console.console.simulated.world import World

Wanted = dict[str, LocalTarget | None]
"""By name: the target as it is to be, None where it is to go."""


def export_targets(world: World, params: api.ExportTargets) -> TargetDocument:
    names = params.targets or [one.id for one in world.values("local_targets") if not one.lab]
    references = identity_references(world.values("identities"))
    targets = [
        with_identities(world.get("local_targets", name), lambda one: references.get(one, one))
        for name in names
    ]
    info: EngineInfo = world.get("engine", "engine")
    discovery = None
    if not params.targets:
        discovery = chap_entry(
            [references.get(one, one) for one in info.discovery_identity_ids],
            info.discovery_mutual_identity_id and references[info.discovery_mutual_identity_id],
        )
    return TargetDocument(text=write_document(targets, discovery))


def plan_targets(world: World, params: api.PlanTargets) -> ChangePlan:
    return _plan(world, _read(world, params.text, params.only))


def apply_targets(world: World, params: api.ApplyTargets) -> ChangePlan:
    return _apply(world, _read(world, params.text, params.only), params.base, "A document was applied")


def undo_steps(world: World, params: api.Nothing) -> list[UndoStep]:
    return [
        UndoStep(number=number, at=at, text=text, targets=list(before))
        for number, (at, text, before) in enumerate(reversed(world.steps), 1)
    ]


def plan_undo(world: World, params: api.UndoTargets) -> ChangePlan:
    return _plan(world, _before(world, params.steps))


def undo_targets(world: World, params: api.UndoTargets) -> ChangePlan:
    wanted = _before(world, params.steps)
    steps = world.steps[: len(world.steps) - params.steps]
    made = _apply(world, wanted, params.base, "")
    world.steps = steps
    return made


def _read(world: World, text: str, only: list[str]) -> Wanted:
    try:
        document = read_document(text)
    except DocumentError as error:
        raise ApiProblem(
            "bad-request",
            str(error),
            side="the document",
            check="the line, and an exported document for comparison",
            details={"line": str(error.line)},
        ) from None
    identities = world.values("identities")

    def find(reference: str) -> str:
        try:
            return referenced_identity(reference, identities)
        except KeyError:
            raise ApiProblem(
                "unknown-object", f"There is no CHAP identity {reference}.", side="engine"
            ) from None

    known = world.collections["local_targets"]
    wanted: Wanted = {}
    for target in document.targets:
        if not only or target.id in only:
            if target.id in known:
                keep_ids(target, known[target.id], document.made_ids[target.id])
            wanted[target.id] = _merged(known.get(target.id), with_identities(target, find))
    missing = [name for name in only if name not in wanted]
    if missing:
        raise ApiProblem("unknown-object", f"The document has no target {missing[0]}.", side="the document")
    if document.remove_others and not only:
        wanted |= {name: None for name, target in known.items() if name not in wanted and not target.lab}
    return wanted


def _merged(old: LocalTarget | None, new: LocalTarget) -> LocalTarget:
    """What the engine tells of a LUN stays with it."""
    luns = {lun.id: lun for lun in old.luns} if old is not None else {}
    told = ("state", "problem", "identity", "unit_serial", "used_bytes", "threshold_reached")
    return msgspec.structs.replace(
        new,
        luns=[
            msgspec.structs.replace(lun, **{name: getattr(luns[lun.id], name) for name in told})
            if lun.id in luns
            else lun
            for lun in new.luns
        ],
    )


def _before(world: World, steps: int) -> Wanted:
    if not 0 < steps <= len(world.steps):
        raise ApiProblem(
            "unknown-object", f"There are {len(world.steps)} steps that can be undone.", side="engine"
        )
    wanted: Wanted = {}
    for _, _, before in reversed(world.steps[-steps:]):
        wanted |= before
    return wanted


def _plan(world: World, wanted: Wanted) -> ChangePlan:
    users = {one.id: one.user for one in world.values("identities")}
    made = ChangePlan(base=_base(world))
    for name, new in wanted.items():
        old: LocalTarget | None = world.collections["local_targets"].get(name)
        changes = differences(old, new, users)
        if not changes:
            continue
        made.changes += changes
        if new is not None:
            lines = plan(world, api.SaveLocalTarget(target=new))
            made.consequences += [msgspec.structs.replace(line, target=name) for line in lines]
            continue
        hit = [one for one in world.values("target_sessions") if one.target == name]
        text = "The target is removed; every session ends."
        ids = [one.id for one in hit]
        made.consequences.append(
            Consequence(severity="danger", text=text, session_ids=ids, target=name, ends_sessions=bool(hit))
        )
        made.disconnects += [
            Disconnected(session_id=one.id, initiator=one.initiator, target=name, why=text) for one in hit
        ]
    return made


def _apply(world: World, wanted: Wanted, base: str, text: str) -> ChangePlan:
    made = _plan(world, wanted)
    if base and base != made.base:
        raise ApiProblem(
            "conflict",
            "The targets have changed since the plan was made.",
            side="engine",
            check="look at the difference again",
        )
    changed = {change.target for change in made.changes}
    ready = {
        name: accepted(world, new) if new is not None else None
        for name, new in wanted.items()
        if name in changed
    }
    if ready:
        known = world.collections["local_targets"]
        world.note_step(text, {name: known.get(name) for name in ready})
    for name, target in ready.items():
        if target is None:
            drop_sessions(world, name)
            world.remove("local_targets", name)
        else:
            world.put("local_targets", target)
    return made


def _base(world: World) -> str:
    """Stands for what is set now."""
    parts = [msgspec.json.encode(one) for one in world.values("local_targets")]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:16]
