"""Between a local target as clients describe it and the configuration that the target library takes."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

import msgspec

from san_console.api.problems import ApiProblem
from san_console.api.serving_objects import LocalLun, LocalTarget, OperationalLimits, PortalGroup
from san_console.engine.identities import Identities
from san_console.engine.problems import problem_of
from san_console.names.credentials import ChapCredentials, Secret
from san_console.names.display import visible
from san_console.names.errors import NamesError
from san_console.names.iscsi_name import normalise
from san_console.names.portal import Portal
from san_console.target import config as library
from san_console.target.access import parse_subject
from san_console.target.config import ANYONE, BackstoreSpec, ChapConfig, LunConfig, MappingRule, TargetConfig
from san_console.target.errors import TargetError

MAX_LABEL_BYTES: Final = 255
"""RFC 7143 §6.1: the most that a text value has; an alias is sent as one."""

MAX_MAPPINGS: Final = 10_000
"""A hundred initiators with a hundred LUNs each; the object is sent whole whenever it changes."""


def checked(wanted: LocalTarget) -> LocalTarget:
    """A copy of what a client sent, with names normalised, LUN ids given, and the engine's own members
    reset. Raises ApiProblem `bad-request`, `too-large`.
    """
    target = msgspec.json.decode(msgspec.json.encode(wanted), type=LocalTarget)
    if max(len(target.mappings), len(target.access)) > MAX_MAPPINGS:
        raise ApiProblem("too-large", f"A target has at most {MAX_MAPPINGS} mappings.", side="this side")
    try:
        target.id = normalise(target.id)
        for group in target.portal_groups:
            group.portals = [str(Portal.parse(text)) for text in group.portals]
            group.redirect_to = str(Portal.parse(group.redirect_to)) if group.redirect_to else ""
        for row in target.access:
            row.subject = _subject(row.subject)
        for initiators in target.initiator_groups:
            initiators.members = [_subject(member) for member in initiators.members]
        target.mappings = [
            msgspec.structs.replace(rule, initiator=_subject(rule.initiator)) for rule in target.mappings
        ]
    except NamesError as error:
        raise ApiProblem("bad-request", str(error), side="this side") from None
    except TargetError as error:
        raise ApiProblem.from_problem(problem_of(error)) from None
    for text in (target.alias, *(lun.name for lun in target.luns)):
        if len(text.encode()) > MAX_LABEL_BYTES:
            raise ApiProblem(
                "too-large", f"Names and aliases have at most {MAX_LABEL_BYTES} bytes.", side="this side"
            )
    for lun in target.luns:
        lun.id = lun.id or secrets.token_hex(4)
        lun.state = "online"
        lun.problem = None
        lun.identity = lun.unit_serial = ""
        lun.used_bytes = None
        lun.threshold_reached = False
    for row in target.access:
        if row.mutual_identity_id and not row.identity_ids:
            raise _proves_itself_alone()
    if target.mutual_identity_id and not target.identity_ids:
        raise _proves_itself_alone()
    target.identity_ids = list(dict.fromkeys(target.identity_ids))
    for row in target.access:
        row.identity_ids = list(dict.fromkeys(row.identity_ids))
    target.state = "stopped"
    target.problem = None
    target.registrations = []
    target.lab = False
    return target


def refuse_shrinking(old: LocalTarget, new: LocalTarget) -> None:
    """Raises ApiProblem `bad-request` where a LUN would become smaller: what lies behind its new end is lost,
    and no initiator expects it.
    """
    before = {lun.id: lun for lun in old.luns}
    for lun in new.luns:
        was = before.get(lun.id)
        if was is None or storage_of(was) != storage_of(lun) or not 0 < lun.size_bytes < was.size_bytes:
            continue
        raise ApiProblem(
            "bad-request",
            f"LUN {describe_lun(old, lun.id)} has {was.size_bytes:,} bytes, and is never made smaller "
            f"({lun.size_bytes:,} bytes were asked for).",
            side="this side",
            check="leave its size as it is, or make another LUN and copy the data",
        )


def _subject(text: str) -> str:
    """The normal form of a subject. Raises target.errors.ConfigError."""
    return parse_subject(text).text


def _proves_itself_alone() -> ApiProblem:
    return ApiProblem(
        "bad-request",
        "A target proves itself only to initiators that prove themselves.",
        side="this side",
        check="choose identities for the initiators as well",
    )


def backstore_spec(lun: LocalLun) -> BackstoreSpec:
    """Raises target.errors.ConfigError."""
    return BackstoreSpec(
        kind=lun.kind,
        path=lun.path,
        size_bytes=lun.size_bytes if lun.kind in ("memory", "null") or lun.create else 0,
        read_only=lun.read_only,
        block_bytes=lun.block_bytes,
        thin=lun.thin,
        create=lun.create,
    )


def storage_of(lun: LocalLun) -> tuple[object, ...]:
    """What must stay the same for a LUN to keep its content and its sessions."""
    return lun.kind, lun.path, lun.block_bytes, lun.read_only, lun.thin


def _lun_config(lun: LocalLun, old: LocalLun | None, served: LunConfig | None) -> LunConfig:
    """Storage that stays as it is served keeps that part of the configuration to the letter; one that is to
    grow, `old` being smaller, gets its size.
    """
    spec = backstore_spec(lun)
    if served is not None and old is not None and storage_of(lun) == storage_of(old):
        grows = old.size_bytes < lun.size_bytes
        spec = replace(served.backstore, create=False)
        if grows:
            spec = replace(spec, size_bytes=lun.size_bytes)
    return LunConfig(
        lun.id,
        lun.id,  # named by its id, since the user may rename it while it is in use
        spec,
        vendor=lun.vendor,
        product=lun.product,
        revision=lun.revision,
        serial=lun.serial,
        naa_seed=lun.identity_seed.encode(),
        rotation_rate=lun.rotation_rate,
        physical_block_bytes=lun.physical_block_bytes,
        write_cache=lun.write_cache,
        soft_threshold_percent=lun.soft_threshold_percent,
        online=lun.online,
    )


async def target_config(
    target: LocalTarget,
    identities: Identities,
    *,
    old: LocalTarget | None = None,
    served: TargetConfig | None = None,
) -> TargetConfig:
    """The library's configuration, with the secrets. `old` is what is `served` now, where something is.

    Raises target.errors.ConfigError, and ApiProblem where a CHAP secret cannot be had.
    """
    known = {one: await identities.credentials(one) for one in target.identities_in_use()}
    try:
        groups = [_portal_group(group) for group in target.portal_groups]
    except NamesError as error:
        raise ApiProblem("bad-request", str(error), side="this side") from None
    before = {lun.id: lun for lun in old.luns} if old is not None else {}
    at_work = {lun.id: lun for lun in served.luns} if served is not None else {}
    luns = [_lun_config(lun, before.get(lun.id), at_work.get(lun.id)) for lun in target.luns]
    return _config(target, known, groups, luns)


def try_config(target: LocalTarget) -> None:
    """Raises ApiProblem where the target could not be served, whatever the secrets and the storage."""
    known = {one: _made_up(one, one) for one in target.identities_in_use()}
    try:
        groups = [_portal_group(group) for group in target.portal_groups]
        _config(target, known, groups, [_lun_config(lun, None, None) for lun in target.luns])
    except (TargetError, NamesError) as error:
        raise ApiProblem.from_problem(problem_of(error)) from None


def _made_up(identity_id: str, user: str) -> ChapCredentials:
    return ChapCredentials(user, Secret(hashlib.sha256(identity_id.encode()).digest()))


def access_config(target: LocalTarget, users: Mapping[str, str]) -> TargetConfig:
    """The configuration as far as access goes, for targets that are not served and for plans.

    `users`: the CHAP names by identity id. The secrets are made up, and no login is ever tried with them.
    Raises target.errors.ConfigError.
    """
    known = {one: _made_up(one, users.get(one, one)) for one in target.identities_in_use()}
    luns = [
        LunConfig(lun.id, lun.id, BackstoreSpec("null", size_bytes=4096, read_only=lun.read_only))
        for lun in target.luns
    ]
    # Portals are of no meaning for access, and there has to be one.
    return _config(target, known, [library.PortalGroup(1, [Portal("localhost")])], luns)


def _config(
    target: LocalTarget,
    known: Mapping[str, ChapCredentials],
    groups: list[library.PortalGroup],
    luns: list[LunConfig],
) -> TargetConfig:
    return TargetConfig(
        name=target.id,
        groups=groups,
        alias=target.alias,
        luns=luns,
        mappings=[
            MappingRule(rule.initiator, rule.lun_id, rule.lun, rule.read_only) for rule in target.mappings
        ],
        initiators=[
            library.InitiatorAccess(row.subject, _chap(row.identity_ids, row.mutual_identity_id, known))
            for row in target.access
        ],
        initiator_groups=[
            library.InitiatorGroup(group.name, list(group.members)) for group in target.initiator_groups
        ],
        chap=_chap(target.identity_ids, target.mutual_identity_id, known),
        # Anyone is a row like any other: the library's flag would show all LUNs where nothing is mapped.
        anyone=False,
        limits=limits_config(target.limits),
    )


def _portal_group(group: PortalGroup) -> library.PortalGroup:
    redirect = None
    if group.redirect_to:
        redirect = library.Redirect(Portal.parse(group.redirect_to), group.redirect_permanent)
    return library.PortalGroup(
        group.tag,
        [Portal.parse(text) for text in group.portals],
        group.access_state,
        group.preferred,
        redirect,
    )


def _chap(ids: list[str], mutual_id: str, known: Mapping[str, ChapCredentials]) -> ChapConfig | None:
    if not ids:
        return None
    return ChapConfig([known[one] for one in dict.fromkeys(ids)], known[mutual_id] if mutual_id else None)


def limits_config(limits: OperationalLimits) -> library.TargetLimits:
    """Raises target.errors.ConfigError."""
    return library.TargetLimits(**msgspec.structs.asdict(limits))


def lets_anyone_in(target: LocalTarget) -> bool:
    """Whether every initiator may log in."""
    return ANYONE in target.initiators


def describe_lun(target: LocalTarget, lun_id: str) -> str:
    """How a LUN of a target is called in sentences."""
    for lun in target.luns:
        if lun.id == lun_id:
            return visible(lun.name or lun.id)
    return visible(lun_id)
