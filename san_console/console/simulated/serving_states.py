"""Simulated answers of the methods that act on a target at work: sessions, access, LUNs, paths."""

from __future__ import annotations

import ipaddress

import msgspec

from san_console.api import methods as api
from san_console.api.engine_objects import EngineInfo
from san_console.api.problems import ApiProblem, Problem
from san_console.api.serving_objects import EffectiveAccess, LocalLun, LocalTarget, TargetSession
from san_console.console.simulated.access_rules import effective
from san_console.console.simulated.engine_methods import valid_name
from san_console.console.simulated.world import World


def disconnect(world: World, params: api.Disconnect) -> None:
    session: TargetSession = world.get("target_sessions", params.id)
    left = [one for one in session.connections if one.cid != params.cid]
    if params.cid is not None and len(left) == len(session.connections):
        raise ApiProblem("unknown-object", f"The session has no connection {params.cid}.", side="engine")
    if params.cid is not None and left:
        world.change("target_sessions", params.id, connections=left)
        text = f"Connection {params.cid} of {session.initiator} was closed."
    else:
        world.remove("target_sessions", params.id)
        text = f"{session.initiator} was disconnected."
    world.event("warning", "session_lost", "target_session", params.id, text)


def access(world: World, params: api.AskAccess) -> EffectiveAccess:
    target: LocalTarget = world.get("local_targets", params.target)
    if params.address:
        try:
            ipaddress.ip_address(params.address.partition("%")[0])
        except ValueError:
            raise ApiProblem(
                "bad-request", f"{params.address} is no address.", side="this computer"
            ) from None
    users = {one.id: one.user for one in world.values("identities")}
    return effective(target, valid_name(params.initiator), params.address, users)


def set_access_state(world: World, params: api.SetAccessState) -> LocalTarget:
    target: LocalTarget = world.get("local_targets", params.target)
    if all(group.tag != params.tag for group in target.portal_groups):
        raise ApiProblem("unknown-object", f"There is no portal group {params.tag}.", side="engine")
    groups = [
        msgspec.structs.replace(
            group,
            access_state=params.access_state,
            preferred=group.preferred if params.preferred is None else params.preferred,
        )
        if group.tag == params.tag
        else group
        for group in target.portal_groups
    ]
    world.note_step(f"Portal group {params.tag} of {target.id} was set", {target.id: target})
    text = f"Portal group {params.tag} of {target.id} is {params.access_state}."
    world.event("info", "access_state_set", "local_target", target.id, text)
    changed: LocalTarget = world.change("local_targets", target.id, portal_groups=groups)
    return changed


def lun_online(world: World, params: api.SetLunOnline) -> LocalTarget:
    target, lun = _lun(world, params.target, params.lun_id)
    if params.online and lun.problem is not None and lun.online:
        return target
    offline = Problem(
        code="storage", message="The LUN was taken offline.", side="you", check="take it online again"
    )
    text = f"LUN {lun.name} is {'online' if params.online else 'offline'}."
    world.event("info", "lun_online" if params.online else "lun_offline", "local_target", target.id, text)
    return _with(
        world,
        target,
        lun,
        online=params.online,
        state="online" if params.online else "offline",
        problem=None if params.online else offline,
    )


def retry_lun(world: World, params: api.LunOf) -> LocalTarget:
    target, lun = _lun(world, params.target, params.lun_id)
    if lun.problem is not None and lun.online:
        raise ApiProblem.from_problem(lun.problem)
    return target


def grow_lun(world: World, params: api.GrowLun) -> LocalTarget:
    target, lun = _lun(world, params.target, params.lun_id)
    if 0 < params.size_bytes < lun.size_bytes:
        raise ApiProblem(
            "bad-request",
            f"LUN {lun.name} has {lun.size_bytes:,} bytes; a LUN is never made smaller.",
            side="engine",
            check="choose a larger size",
        )
    if params.size_bytes % lun.block_bytes:
        raise ApiProblem(
            "bad-request", f"The size has to be a multiple of {lun.block_bytes} bytes.", side="engine"
        )
    size = params.size_bytes or lun.size_bytes
    used = lun.used_bytes if lun.thin or lun.used_bytes is None else size
    reached = bool(lun.soft_threshold_percent) and (used or 0) * 100 >= size * lun.soft_threshold_percent
    world.event("info", "lun_grown", "local_target", target.id, f"LUN {lun.name} has {size:,} bytes now.")
    return _with(world, target, lun, size_bytes=size, used_bytes=used, threshold_reached=reached)


def clear_reservation(world: World, params: api.LunOf) -> None:
    target, lun = _lun(world, params.target, params.lun_id)
    reservation_id = f"{target.id}/{lun.id}"
    world.get("reservations", reservation_id)
    world.remove("reservations", reservation_id)
    text = f"The reservations of LUN {lun.name} were cleared."
    world.event("warning", "reservation_cleared", "local_target", target.id, text)


def set_discovery_chap(world: World, params: api.SetDiscoveryChap) -> EngineInfo:
    for identity_id in (*params.identity_ids, *filter(None, [params.mutual_identity_id])):
        world.get("identities", identity_id)
    info: EngineInfo = world.change(
        "engine",
        "engine",
        discovery_identity_ids=params.identity_ids,
        discovery_mutual_identity_id=params.mutual_identity_id,
    )
    return info


def _lun(world: World, target_id: str, lun_id: str) -> tuple[LocalTarget, LocalLun]:
    target: LocalTarget = world.get("local_targets", target_id)
    for lun in target.luns:
        if lun.id == lun_id:
            return target, lun
    raise ApiProblem("unknown-object", f"{target_id} has no LUN {lun_id}.", side="engine")


def _with(world: World, target: LocalTarget, lun: LocalLun, **fields: object) -> LocalTarget:
    luns = [msgspec.structs.replace(one, **fields) if one is lun else one for one in target.luns]
    changed: LocalTarget = world.change("local_targets", target.id, luns=luns)
    return changed
