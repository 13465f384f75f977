"""Simulated answers of the methods about sources and targets.

What fails, so that each outcome can be seen: an address whose host ends in `.invalid` does not resolve; one
with a last part of 99 never answers; port 22 is a server of another protocol.
"""

from __future__ import annotations

import msgspec

from san_console.api import methods as api
from san_console.api.engine_objects import Job
from san_console.api.initiator_objects import (
    Source,
    Target,
    TargetPortal,
)
from san_console.api.problems import ApiProblem
from san_console.console.simulated.engine_methods import valid_name
from san_console.console.simulated.world import World
from san_console.names.errors import NamesError
from san_console.names.portal import ISNS_PORT, Portal

DISCOVERY_S = 1.2
NO_ANSWER_S = 5.0


def valid_portal(text: str, default_port: int = 3260) -> Portal:
    """The portal. Raises ApiProblem `bad-request`."""
    try:
        return Portal.parse(text, default_port)
    except NamesError as error:
        raise ApiProblem("bad-request", str(error), side="this computer", check="write host:port") from error


def refusal(portal: Portal) -> ApiProblem | None:
    """What goes wrong at this address, by the rules at the top of this module."""
    if portal.host.endswith(".invalid"):
        return ApiProblem(
            "unreachable",
            f"The name {portal.host} does not resolve (0.02 s).",
            side="the name service of this computer",
            check="Is the name spelled right? Does a name server know it?",
        )
    if portal.host.endswith(".99"):
        return ApiProblem(
            "unreachable",
            f"{portal} gave no answer in {NO_ANSWER_S:.1f} s.",
            side="this computer, after waiting; nothing came back from the address",
            check="Is the array switched on, is the address right, does a firewall drop the port?",
        )
    if portal.port == 22:
        return ApiProblem(
            "not-iscsi",
            f"What answers at {portal} is an SSH server.",
            side=f"{portal}",
            check="Is 3260 the port of the iSCSI portal?",
        )
    return None


def add_source(world: World, params: api.AddSource) -> Source:
    portal = valid_portal(params.address, ISNS_PORT if params.kind == "isns" else 3260)
    address = str(portal)
    if world.has("sources", address):
        raise ApiProblem("exists", f"{address} is a source already.", side="engine")
    source = Source(
        id=address,
        kind=params.kind,
        address=address,
        identity_id=params.identity_id,
        mutual_identity_id=params.mutual_identity_id,
        source_address=params.source_address,
    )
    world.put("sources", source)
    if params.run:
        run_source(world, api.RunSource(id=address))
    found: Source = world.get("sources", address)
    return found


def run_source(world: World, params: api.RunSource) -> Job:
    sources = [world.get("sources", params.id)] if params.id else world.values("sources")
    sources = [source for source in sources if source.kind != "manual"]
    for source in sources:
        world.change("sources", source.id, state="running", problem=None)

    def finish() -> dict[str, str]:
        failures = [problem for source in sources if (problem := _discover(world, source)) is not None]
        if failures and len(failures) == len(sources):
            raise failures[0]
        return {"sources": str(len(sources)), "failed": str(len(failures))}

    slow = any(refusal(valid_portal(source.address)) is not None for source in sources)
    return world.job(
        "discovery",
        f"Discover at {sources[0].address}" if len(sources) == 1 else "Discover at all sources",
        object_id=params.id,
        total=len(sources),
        unit="sources",
        takes_s=NO_ANSWER_S if slow else DISCOVERY_S,
        finish=finish,
    )


def _discover(world: World, source: Source) -> ApiProblem | None:
    if not world.has("sources", source.id):
        return None
    portal = valid_portal(source.address)
    problem = refusal(portal)
    if problem is not None:
        world.change(
            "sources",
            source.id,
            state="failed",
            problem=problem.problem,
            last_run_at=world.now,
            took_s=NO_ANSWER_S,
        )
        world.event("error", "discovery_failed", "source", source.id, f"Discovery at {source.id} failed.")
        return problem
    known = [target for target in world.values("targets") if source.id in target.found_by]
    if not known:
        known = [_found(world, source, portal, number) for number in (1, 2)]
    for target in known:
        world.change("targets", target.id, last_seen_at=world.now)
    world.change(
        "sources", source.id, state="ok", last_run_at=world.now, took_s=0.03, target_count=len(known)
    )
    world.event("info", "discovered", "source", source.id, f"{source.id} named {len(known)} targets.")
    return None


def _found(world: World, source: Source, portal: Portal, number: int) -> Target:
    host = portal.host.replace(":", "-")
    target = Target(
        id=f"iqn.2026-11.org.example.found:{host}-{number}",
        portals=[
            TargetPortal(
                address=str(Portal(portal.host)),
                reach="answers",
                detail="answers",
                round_trip_ms=0.4,
                asks_for_chap=number == 2,
                found_by=[source.id],
            )
        ],
        found_by=[source.id],
        change="new",
        change_note=f"Found for the first time by {source.id}.",
        first_seen_at=world.now,
        last_seen_at=world.now,
    )
    world.put("targets", target)
    return target


def remove_source(world: World, params: api.ById) -> None:
    if params.id == "manual":
        raise ApiProblem("bad-request", "Targets typed in by hand are removed one by one.", side="engine")
    world.get("sources", params.id)
    world.remove("sources", params.id)


def add_target(world: World, params: api.AddTarget) -> Target:
    name = valid_name(params.name)
    portals = [str(valid_portal(text)) for text in params.portals]
    if not portals:
        raise ApiProblem("bad-request", "A target needs a portal at least.", side="this computer")
    if world.has("targets", name):
        raise ApiProblem("exists", f"{name} is on the list already.", side="engine")
    target = Target(
        id=name,
        portals=[TargetPortal(address=address, found_by=["manual"]) for address in portals],
        found_by=["manual"],
        first_seen_at=world.now,
        last_seen_at=world.now,
    )
    world.put("targets", target)
    if world.has("sources", "manual"):
        world.change("sources", "manual", target_count=world.get("sources", "manual").target_count + 1)
    return target


def remove_target(world: World, params: api.TargetByName) -> None:
    target = world.get("targets", params.name)
    if target.session_ids:
        raise ApiProblem(
            "in-use", "There is a session with it.", side="engine", check="log out first", details={}
        )
    world.remove("targets", params.name)


def probe_targets(world: World, params: api.TargetByName) -> Job:
    targets = [world.get("targets", params.name)] if params.name else world.values("targets")
    before = {target.id: target.portals for target in targets}
    for target in targets:
        checking = [msgspec.structs.replace(portal, reach="checking") for portal in target.portals]
        world.change("targets", target.id, portals=checking)

    def finish() -> dict[str, str]:
        answered = 0
        for target_id, portals in before.items():
            seen = [_probed(portal) for portal in portals]
            answered += sum(portal.reach == "answers" for portal in seen)
            if world.has("targets", target_id):
                world.change("targets", target_id, portals=seen)
        return {"answered": str(answered)}

    total = sum(len(portals) for portals in before.values())
    return world.job("probe", "See which portals answer", total=total, unit="portals", finish=finish)


def _probed(portal: TargetPortal) -> TargetPortal:
    if portal.reach != "unknown":
        return portal
    return msgspec.structs.replace(
        portal, reach="answers", detail="answers", round_trip_ms=0.3, asks_for_chap=False
    )


def acknowledge(world: World, params: api.TargetByName) -> None:
    targets = [world.get("targets", params.name)] if params.name else world.values("targets")
    for target in targets:
        if target.change:
            kept = [portal for portal in target.portals if not portal.vanished or target.change == "vanished"]
            world.change("targets", target.id, change="", change_note="", portals=kept)


def set_login(world: World, params: api.SetLogin) -> Target:
    target: Target = world.change("targets", params.name, login=params.login)
    return target
