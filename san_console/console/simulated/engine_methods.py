"""Simulated answers of the methods about the engine, its secrets and its figures."""

from __future__ import annotations

import msgspec

from san_console.api import methods as api
from san_console.api.engine_objects import EngineInfo, Event, Identity, Keyring, SecretPlace
from san_console.api.problems import ApiProblem, Problem
from san_console.console.simulated.world import World
from san_console.names.errors import NamesError
from san_console.names.iscsi_name import normalise

MIN_SECRET_BYTES = 12
"""RFC 7143 §9.2.1; the real rules are in names.credentials, here one of them is enough to see a refusal."""


def engine_info(world: World, params: api.Nothing) -> EngineInfo:
    info: EngineInfo = world.get("engine", "engine")
    return info


def set_initiator_name(world: World, params: api.SetInitiatorName) -> EngineInfo:
    info: EngineInfo = world.change("engine", "engine", initiator_name=valid_name(params.name))
    return info


def valid_name(name: str) -> str:
    """The name, normalised. Raises ApiProblem `bad-request`."""
    try:
        return normalise(name)
    except NamesError as error:
        raise ApiProblem(
            "bad-request",
            str(error),
            side="this computer",
            check="see RFC 7143 §4.2.7 for how names are made",
        ) from error


def events_query(world: World, params: api.QueryEvents) -> list[Event]:
    found = [event for event in world.values("events") if params.object_id in ("", event.object_id)]
    if params.before_id:
        found = [event for event in found if int(event.id) < int(params.before_id)]
    found.reverse()
    return found[: params.limit]


def cancel_job(world: World, params: api.ById) -> None:
    job = world.get("jobs", params.id)
    if job.state == "running":
        world.end_job(
            job.id, Problem(code="cancelled", message="The work was cancelled.", side="you, in the console")
        )


def dismiss_job(world: World, params: api.ById) -> None:
    if world.get("jobs", params.id).state == "running":
        raise ApiProblem("in-use", "The work is not done yet.", side="engine", check="cancel it first")
    world.remove("jobs", params.id)


def keyring_check(world: World, params: api.Nothing) -> Keyring:
    keyring: Keyring = world.get("engine", "engine").keyring
    return keyring


def keyring_use_memory(world: World, params: api.UseMemory) -> Keyring:
    keyring = (
        Keyring(state="memory", backend="memory of this run")
        if params.use
        else Keyring(state="unlocked", backend="GNOME Keyring")
    )
    world.change("engine", "engine", keyring=keyring)
    return keyring


def save_identity(world: World, params: api.SaveIdentity) -> Identity:
    keyring = world.get("engine", "engine").keyring
    if params.secret is not None:
        length = len(params.secret.encode())
        if length < MIN_SECRET_BYTES:
            raise ApiProblem(
                "bad-request",
                f"The secret has {length} bytes; RFC 7143 §9.2.1 asks for 12 at least.",
                side="this computer",
                check="use a longer secret, or let one be generated",
            )
        if keyring.state not in ("unlocked", "memory"):
            raise ApiProblem(
                "secret-unavailable", "The keyring is locked.", side="this computer", check=keyring.fix
            )
    place: SecretPlace = "memory" if keyring.state == "memory" else "keyring"
    if not params.id:
        identity = Identity(
            id=f"id-{world.number()}",
            user=params.user,
            note=params.note,
            place=place if params.secret is not None else "missing",
            created_at=world.now,
        )
    else:
        old = world.get("identities", params.id)
        identity = msgspec.structs.replace(
            old,
            user=params.user,
            note=params.note,
            place=old.place if params.secret is None else place,
            findings=old.findings if params.secret is None else [],
        )
    world.put("identities", identity)
    return identity


def remove_identity(world: World, params: api.ById) -> None:
    identity = world.get("identities", params.id)
    if identity.used_by:
        raise ApiProblem(
            "in-use",
            f"{identity.user} is used: {'; '.join(identity.used_by)}.",
            side="engine",
            check="take it out of the log-in settings and targets first",
            details={"used_by": "\n".join(identity.used_by)},
        )
    world.remove("identities", params.id)
