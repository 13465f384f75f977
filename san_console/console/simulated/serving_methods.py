"""Simulated answers of the methods about local targets, iSNS and the lab."""

from __future__ import annotations

from typing import Literal

import msgspec

from san_console.api import methods as api
from san_console.api.engine_objects import Job
from san_console.api.problems import ApiProblem
from san_console.api.serving_objects import (
    Consequence,
    InitiatorAccess,
    IsnsObject,
    IsnsRegistration,
    IsnsServer,
    LocalLun,
    LocalTarget,
    Mapping,
    PortalGroup,
)
from san_console.console.simulated.access_rules import effective
from san_console.console.simulated.discovery_methods import valid_portal
from san_console.console.simulated.engine_methods import valid_name
from san_console.console.simulated.world import World
from san_console.names.portal import ISNS_PORT

Severity = Literal["info", "warning", "danger"]

LAB_TARGETS = ("iqn.2026-11.org.san-console:lab-open", "iqn.2026-11.org.san-console:lab-chap")


def plan(world: World, params: api.SaveLocalTarget) -> list[Consequence]:
    wanted = params.target
    old: LocalTarget | None = world.collections["local_targets"].get(wanted.id)
    if old is None:
        return [Consequence(severity="info", text=f"{wanted.id} will be created.")]
    names = {lun.id: lun.name for lun in [*old.luns, *wanted.luns]}
    lines = []
    for initiator in dict.fromkeys([*old.initiators, *wanted.initiators]):
        lines += _initiator_lines(world, old, wanted, initiator, names)
    if [lun.id for lun in old.luns] != [lun.id for lun in wanted.luns]:
        lines.append(Consequence(severity="info", text="The list of LUNs changes."))
    gone = [portal for portal in old.portals if portal not in wanted.portals]
    if gone:
        hit = [
            session.id
            for session in world.values("target_sessions")
            if session.target == old.id and session.portal in gone
        ]
        lines.append(
            Consequence(
                severity="danger" if hit else "warning",
                text=f"{', '.join(gone)} will not be listened on any more.",
                session_ids=hit,
            )
        )
    lines += _access_lines(world, old, wanted)
    if old.limits != wanted.limits:
        lines.append(Consequence(severity="info", text="Limits change for new sessions."))
    if lines or old == wanted:
        return lines or [Consequence(severity="info", text="Nothing changes for anybody.")]
    return [Consequence(severity="info", text="Nobody gains or loses anything.")]


def _access_lines(world: World, old: LocalTarget, wanted: LocalTarget) -> list[Consequence]:
    """Who may log in from now on, who no longer, and with what."""
    lines = []
    for subject in wanted.initiators:
        if subject not in old.initiators:
            who = "Any other initiator" if subject == "*" else f"Whoever {subject} means"
            severity: Severity = "warning" if subject == "*" else "info"
            lines.append(Consequence(severity=severity, text=f"{who} may log in."))
    sessions = [one for one in world.values("target_sessions") if one.target == old.id]
    gone = [
        one.id
        for one in sessions
        if effective(old, one.initiator, one.address, {}).allowed
        and not effective(wanted, one.initiator, one.address, {}).allowed
    ]
    if gone:
        text = "Initiators that are connected may no longer log in."
        lines.append(Consequence(severity="danger", text=text, session_ids=gone, ends_sessions=True))
    if (old.identity_ids, old.mutual_identity_id) != (wanted.identity_ids, wanted.mutual_identity_id):
        text = "Initiators prove themselves with other identities from their next login on."
        lines.append(Consequence(severity="info", text=text))
    return lines


def _initiator_lines(
    world: World, old: LocalTarget, wanted: LocalTarget, initiator: str, names: dict[str, str]
) -> list[Consequence]:
    had = {row.lun_id: row for row in old.mappings if row.initiator == initiator}
    gets = {row.lun_id: row for row in wanted.mappings if row.initiator == initiator}
    sessions = [
        session.id
        for session in world.values("target_sessions")
        if session.target == old.id and initiator in (session.initiator, "*")
    ]
    who = "anyone" if initiator == "*" else initiator
    lines = []
    for lun_id in dict.fromkeys([*had, *gets]):
        before, after = had.get(lun_id), gets.get(lun_id)
        if before == after:
            continue
        name = names.get(lun_id, lun_id)
        if before is None and after is not None:
            text = f"{who} gains {name} {_shown(after)}."
            lines.append(Consequence(severity="info", text=text))
        elif after is None:
            lines.append(
                Consequence(
                    severity="danger" if sessions else "warning",
                    text=f"{who} loses {name}.",
                    session_ids=sessions,
                )
            )
        elif before is not None:
            text = f"{who} has {name} {_shown(after)}; it was {_shown(before)}."
            lines.append(Consequence(severity="warning", text=text, session_ids=sessions))
    return lines


def _shown(mapping: Mapping) -> str:
    return f"{'read-only' if mapping.read_only else 'read-write'} as LUN {mapping.lun}"


def accepted(world: World, target: LocalTarget) -> LocalTarget:
    """A target as it is shown once it is served. Raises ApiProblem."""
    name = valid_name(target.id)
    for portal in target.portals:
        valid_portal(portal)
    lun_ids = {lun.id for lun in target.luns}
    numbers: set[tuple[str, int]] = set()
    for row in target.mappings:
        if row.lun_id not in lun_ids:
            raise ApiProblem("unknown-object", "A mapping names a LUN that is not there.", side="engine")
        if (row.initiator, row.lun) in numbers:
            raise ApiProblem("bad-request", f"{row.initiator} would see LUN {row.lun} twice.", side="engine")
        numbers.add((row.initiator, row.lun))
    return msgspec.structs.replace(
        target,
        id=name,
        luns=[
            lun
            if lun.identity
            else msgspec.structs.replace(
                lun,
                identity=f"naa.3a5c0de{world.number():09x}",
                unit_serial=lun.serial or lun.id,
                used_bytes=0 if lun.thin else lun.size_bytes,
            )
            for lun in target.luns
        ],
        state="serving" if target.enabled else "stopped",
        problem=None,
        registrations=[
            IsnsRegistration(server=server, state="registered") for server in target.register_with
        ],
    )


def create(world: World, params: api.SaveLocalTarget) -> LocalTarget:
    target = accepted(world, params.target)
    world.note_step(f"{target.id} was created", {target.id: None})
    if world.has("local_targets", target.id):
        raise ApiProblem("exists", f"{target.id} is served already.", side="engine")
    world.put("local_targets", target)
    world.event("info", "target_created", "local_target", target.id, f"{target.id} is served now.")
    return target


def change(world: World, params: api.SaveLocalTarget) -> LocalTarget:
    before = world.get("local_targets", params.target.id)
    target = accepted(world, params.target)
    world.note_step(f"{target.id} was changed", {target.id: before})
    world.put("local_targets", target)
    for session in world.values("target_sessions"):
        if session.target == target.id:
            seen = effective(target, session.initiator, session.address, {})
            world.change("target_sessions", session.id, luns=[row.lun for row in seen.luns])
    world.event("info", "target_changed", "local_target", target.id, f"{target.id} was changed.")
    return target


def set_enabled(world: World, params: api.SetEnabled) -> LocalTarget:
    target: LocalTarget = world.change(
        "local_targets", params.id, enabled=params.enabled, state="serving" if params.enabled else "stopped"
    )
    if not params.enabled:
        drop_sessions(world, params.id)
    return target


def remove(world: World, params: api.RemoveLocalTarget) -> None:
    before = world.get("local_targets", params.id)
    users = [session for session in world.values("target_sessions") if session.target == params.id]
    if users and not params.force:
        raise ApiProblem(
            "in-use",
            f"{len(users)} initiators are logged in to it.",
            side="engine",
            check="let them log out first, or remove it with force",
            details={"initiators": "\n".join(session.initiator for session in users)},
        )
    world.note_step(f"{params.id} was removed", {params.id: before})
    drop_sessions(world, params.id)
    for reservation in world.values("reservations"):
        if reservation.target == params.id:
            world.remove("reservations", reservation.id)
    world.remove("local_targets", params.id)


def drop_sessions(world: World, target_id: str) -> None:
    """The sessions with a target, and what they have reserved, are no more."""
    for session in world.values("target_sessions"):
        if session.target == target_id:
            world.remove("target_sessions", session.id)
    for reservation in world.values("reservations"):
        if reservation.target == target_id and not reservation.aptpl:
            world.remove("reservations", reservation.id)


def isns_start(world: World, params: api.ByAddress) -> IsnsServer:
    address = str(valid_portal(params.address, ISNS_PORT))
    server = IsnsServer(
        id="embedded", address=address, embedded=True, state="running", last_seen_at=world.now
    )
    world.put("isns_servers", server)
    return server


def isns_stop(world: World, params: api.Nothing) -> None:
    world.change("isns_servers", "embedded", state="stopped", entity_count=0, node_count=0)


def isns_add(world: World, params: api.ByAddress) -> IsnsServer:
    address = str(valid_portal(params.address, ISNS_PORT))
    if world.has("isns_servers", address):
        raise ApiProblem("exists", f"{address} is on the list already.", side="engine")
    server = IsnsServer(id=address, address=address, state="ok", last_seen_at=world.now)
    world.put("isns_servers", server)
    return server


def isns_remove(world: World, params: api.ById) -> None:
    if world.get("isns_servers", params.id).embedded:
        raise ApiProblem("bad-request", "The embedded server can be stopped, not removed.", side="engine")
    world.remove("isns_servers", params.id)


def isns_objects(world: World, params: api.ById) -> list[IsnsObject]:
    world.get("isns_servers", params.id)
    return list(world.isns_objects.get(params.id, []))


def lab_start(world: World, params: api.Nothing) -> Job:
    def finish() -> dict[str, str]:
        for number, name in enumerate(LAB_TARGETS):
            luns = [
                LocalLun(
                    id=f"lab-{number}-{lun}",
                    name=f"lab {lun}",
                    kind="memory",
                    size_bytes=64 * 2**20,
                    thin=True,
                )
                for lun in (0, 1)
            ]
            target = LocalTarget(
                id=name,
                alias=f"lab {number + 1}",
                portal_groups=[PortalGroup(portals=["127.0.0.1:3260"])],
                luns=luns,
                access=[InitiatorAccess(subject="*")],
                mappings=[Mapping(initiator="*", lun_id=lun.id, lun=at) for at, lun in enumerate(luns)],
                lab=True,
            )
            world.put("local_targets", accepted(world, target))
        isns_start(world, api.ByAddress(address="127.0.0.1:3205"))
        world.change("engine", "engine", lab=True)
        return {"isns": "127.0.0.1:3205", "portal": "127.0.0.1:3260"}

    return world.job("lab", "Start the lab", takes_s=0.5, finish=finish)


def lab_stop(world: World, params: api.Nothing) -> None:
    for name in LAB_TARGETS:
        drop_sessions(world, name)
        world.remove("local_targets", name)
    world.change("engine", "engine", lab=False)
