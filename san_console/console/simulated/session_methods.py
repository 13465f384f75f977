"""Simulated answers of the methods about sessions.

A target of which a portal asks for CHAP refuses a log-in without it, and one with a secret that begins with
`wrong`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec

from san_console.api import methods as api
from san_console.api.engine_objects import Job
from san_console.api.initiator_objects import Connection, LoginSettings, Lun, Session, Target, TargetPortal
from san_console.api.problems import ApiProblem
from san_console.console.simulated.demo_initiator import negotiated_keys
from san_console.console.simulated.discovery_methods import NO_ANSWER_S, refusal, valid_portal
from san_console.console.simulated.engine_methods import valid_name
from san_console.console.simulated.world import World
from san_console.names.portal import Portal

LOGIN_S = 0.6


class Later(NamedTuple):
    """An answer that takes its time: what `finish` returns (or raises as ApiProblem) after `delay_s`."""

    delay_s: float
    finish: Callable[[], Any]


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
