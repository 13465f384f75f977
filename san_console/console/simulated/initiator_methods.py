"""Simulated answers of the methods about sources, targets and sessions.

What fails, so that each outcome can be seen: an address whose host ends in `.invalid` does not resolve; one
with a last part of 99 never answers; port 22 is a server of another protocol. A target of which a portal asks
for CHAP refuses a log-in without it, and one with a secret that begins with `wrong`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec

from san_console.api import methods as api
from san_console.api.engine_objects import Job
from san_console.api.initiator_objects import (
    Connection,
    LoginSettings,
    Lun,
    Session,
    Source,
    Target,
    TargetPortal,
)
from san_console.api.problems import ApiProblem
from san_console.console.simulated.demo_initiator import negotiated_keys
from san_console.console.simulated.engine_methods import valid_name
from san_console.console.simulated.world import World
from san_console.names.errors import NamesError
from san_console.names.portal import ISNS_PORT, Portal

LOGIN_S = 0.6
DISCOVERY_S = 1.2
NO_ANSWER_S = 5.0


class Later(NamedTuple):
    """An answer that takes its time: what `finish` returns (or raises as ApiProblem) after `delay_s`."""

    delay_s: float
    finish: Callable[[], Any]


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


def login(world: World, params: api.Login) -> Later:
    name, portal, problem = _login_outcome(world, params)
    if not world.has("targets", name):
        world.put(
            "targets",
            Target(
                id=name,
                portals=[TargetPortal(address=portal, found_by=["manual"])],
                found_by=["manual"],
                first_seen_at=world.now,
                last_seen_at=world.now,
            ),
        )
    session = Session(
        id=f"s{world.number() + 100}",
        target=name,
        alias=world.get("targets", name).alias,
        portal=portal,
        state="logging_in",
        login=params.login,
        created_at=world.now,
    )
    world.put("sessions", session)

    def finish() -> Session:
        if not world.has("sessions", session.id):
            raise ApiProblem("cancelled", "The log-in was given up.", side="you, in the console")
        if problem is not None:
            world.remove("sessions", session.id)
            world.event(
                "error",
                "login_failed",
                "target",
                name,
                f"Log-in to {name} failed.",
                cause=problem.message,
                side=problem.problem.side,
                check=problem.problem.check,
            )
            raise problem
        return _logged_in(world, session.id, params)

    slow = problem is not None and problem.code == "unreachable"
    return Later(NO_ANSWER_S if slow else LOGIN_S, finish)


def _login_outcome(world: World, params: api.Login) -> tuple[str, str, ApiProblem | None]:
    name, portal = valid_name(params.target), valid_portal(params.portal)
    for identity_id in (params.login.identity_id, params.login.mutual_identity_id):
        if identity_id and world.get("identities", identity_id).place == "missing":
            raise ApiProblem(
                "secret-unavailable",
                "The keyring holds no secret for this identity.",
                side="this computer",
                check="Enter the secret again on the page Secrets.",
            )
    target: Target | None = world.collections["targets"].get(name)
    address = str(portal)
    row = next((one for one in target.portals if one.address == address), None) if target else None
    if row is not None and row.reach == "no answer":
        problem = refusal(Portal("10.0.0.99"))
    else:
        problem = refusal(portal)
    if problem is None and row is not None and row.asks_for_chap:
        problem = _chap_refusal(params)
    return name, address, problem


def _chap_refusal(params: api.Login) -> ApiProblem | None:
    if params.chap is None and not params.login.identity_id:
        return ApiProblem(
            "authentication",
            "The target asks for CHAP, and no identity was chosen (status 02/01).",
            side="target",
            check="Choose the CHAP identity that the target knows this computer by.",
            details={"direction": "initiator"},
        )
    if params.chap is not None and params.chap.secret.startswith("wrong"):
        return ApiProblem(
            "authentication",
            f"The target refused the secret of {params.chap.user} (status 02/01).",
            side="target",
            check="Compare the secret with the one that the target holds for this user.",
            details={"direction": "initiator"},
        )
    if params.chap is not None and params.chap.mutual_secret.startswith("wrong"):
        return ApiProblem(
            "authentication",
            "The target did not prove that it knows its secret; the console ended the log-in.",
            side="this computer",
            check="Compare the mutual secret with the one that the target proves itself with.",
            details={"direction": "target"},
        )
    return None


def _logged_in(world: World, session_id: str, params: api.Login) -> Session:
    chap = params.chap is not None or bool(params.login.identity_id)
    mutual = bool(params.login.mutual_identity_id or (params.chap and params.chap.mutual_user))
    digests = params.login.header_digest != "none"
    session: Session = world.change(
        "sessions",
        session_id,
        state="logged_in",
        tpgt=1,
        isid="80:00:5a:c0:1e:64",
        tsih=200 + world.number(),
        auth=("CHAP SHA-256 mutual" if mutual else "CHAP SHA-256") if chap else "None",
        connections=[
            Connection(
                cid=1,
                local="10.20.0.77:47110",
                remote=params.portal,
                state="logged_in",
                header_digest="CRC32C" if digests else "None",
                connected_at=world.now,
            )
        ],
        keys=negotiated_keys(digests=digests, chap="CHAP" if chap else "None"),
        logged_in_at=world.now,
        window_size=64,
        lun_count=2,
    )
    target = world.get("targets", session.target)
    if params.login.favourite:
        world.change("targets", target.id, login=params.login)
    world.change("targets", target.id, session_ids=[*target.session_ids, session_id])
    for number in (0, 1):
        world.put(
            "luns",
            Lun(
                id=f"{session_id}/{number}",
                session_id=session_id,
                target=session.target,
                lun=number,
                state="ready",
                identity=f"naa.3{abs(hash_of(session.target)):014x}{number}",
                vendor="SANCON",
                product="simulated",
                revision="0001",
                serial=f"sim-{number}",
                size_bytes=(1 + number) * 2**30,
                thin=True,
                write_cache=True,
                content="empty",
            ),
        )
    world.event("info", "login", "session", session_id, f"Logged in to {session.target} at {session.portal}.")
    return session


def hash_of(text: str) -> int:
    """The same in every run, unlike `hash`."""
    return int.from_bytes(text.encode("utf-8", "replace")[-6:], "big")


def test_login(world: World, params: api.Login) -> Later:
    _, _, problem = _login_outcome(world, params)
    chap = params.chap is not None or bool(params.login.identity_id)

    def finish() -> api.TrialResult:
        if problem is not None:
            return api.TrialResult(ok=False, text=f"{problem.message} {problem.problem.check}", took_ms=31.0)
        auth = "CHAP SHA-256" if chap else "None"
        text = "Logged in, saw 2 LUNs, logged out."
        return api.TrialResult(ok=True, text=text, auth=auth, lun_count=2, took_ms=24.5)

    return Later(LOGIN_S, finish)


def test_identity(world: World, params: api.TryIdentity) -> Later:
    world.get("identities", params.id)
    wish = LoginSettings(identity_id=params.id, mutual_identity_id=params.mutual_id)
    return test_login(world, api.Login(target=params.target, portal=params.portal, login=wish))


def logout(world: World, params: api.Logout) -> Later:
    session = world.get("sessions", params.id)
    world.change("sessions", params.id, state="logging_out")

    def finish() -> None:
        if not world.has("sessions", params.id):
            return
        for lun in world.values("luns"):
            if lun.session_id == params.id:
                world.remove("luns", lun.id)
        if world.has("targets", session.target):
            left = [one for one in world.get("targets", session.target).session_ids if one != params.id]
            world.change("targets", session.target, session_ids=left)
        if params.forget:
            world.remove("sessions", params.id)
        else:
            world.change("sessions", params.id, state="logged_out", connections=[], lun_count=0)
        world.event("info", "logout", "session", params.id, f"Logged out of {session.target}.")

    return Later(0.2, finish)


def retry_now(world: World, params: api.ById) -> None:
    session = world.get("sessions", params.id)
    if session.state != "retrying":
        raise ApiProblem("bad-request", "The session is not waiting for a new try.", side="engine")
    attempt = session.attempt + 1
    world.change("sessions", params.id, attempt=attempt, next_retry_at=world.now + 30)
    world.event(
        "warning", "retry_scheduled", "session", params.id, f"Try {attempt} failed; next try in 30 s."
    )


def stop_retrying(world: World, params: api.ById) -> None:
    world.get("sessions", params.id)
    world.change("sessions", params.id, state="failed", next_retry_at=None)
    world.event("info", "stopped", "session", params.id, "No more tries, as you asked.")


def set_favourite(world: World, params: api.SetFavourite) -> Session:
    session = world.get("sessions", params.id)
    wish = msgspec.structs.replace(session.login, favourite=params.favourite)
    if world.has("targets", session.target):
        world.change("targets", session.target, login=wish)
    changed: Session = world.change("sessions", params.id, login=wish)
    return changed


def rescan(world: World, params: api.ById) -> Job:
    session = world.get("sessions", params.id)
    return world.job(
        "rescan",
        f"Look for LUNs of {session.target}",
        object_id=params.id,
        finish=lambda: {"luns": str(session.lun_count)},
    )
