"""Between a local target as clients describe it and the configuration that the target library takes."""

from __future__ import annotations

import secrets
from typing import Final

import msgspec

from san_console.api.problems import ApiProblem
from san_console.api.serving_objects import LocalLun, LocalTarget
from san_console.engine.identities import Identities
from san_console.names.display import visible
from san_console.names.errors import NamesError
from san_console.names.iscsi_name import normalise
from san_console.names.portal import Portal
from san_console.target.config import (
    ANYONE,
    BackstoreSpec,
    ChapConfig,
    LunConfig,
    MappingRule,
    PortalGroup,
    TargetConfig,
)

MAX_LABEL_BYTES: Final = 255
"""RFC 7143 §6.1: the most that a text value has; an alias is sent as one."""

MAX_MAPPINGS: Final = 10_000
"""A hundred initiators with a hundred LUNs each; the object is sent whole whenever it changes."""


def checked(wanted: LocalTarget) -> LocalTarget:
    """A copy of what a client sent, with names normalised, LUN ids given, and the engine's own members
    reset. Raises ApiProblem `bad-request`.
    """
    target = msgspec.json.decode(msgspec.json.encode(wanted), type=LocalTarget)
    try:
        target.id = normalise(target.id)
        target.portals = [str(Portal.parse(text)) for text in target.portals]
        target.initiators = [
            name if name == ANYONE or "*" in name else normalise(name) for name in target.initiators
        ]
        target.mappings = [
            msgspec.structs.replace(
                rule, initiator=rule.initiator if "*" in rule.initiator else normalise(rule.initiator)
            )
            for rule in target.mappings
        ]
    except NamesError as error:
        raise ApiProblem("bad-request", str(error), side="this side") from None
    for text in (target.alias, *(lun.name for lun in target.luns)):
        if len(text.encode()) > MAX_LABEL_BYTES:
            raise ApiProblem(
                "too-large", f"Names and aliases have at most {MAX_LABEL_BYTES} bytes.", side="this side"
            )
    if len(target.mappings) > MAX_MAPPINGS or len(target.initiators) > MAX_MAPPINGS:
        raise ApiProblem("too-large", f"A target has at most {MAX_MAPPINGS} mappings.", side="this side")
    for rule in target.mappings:
        if rule.initiator not in target.initiators:
            target.initiators.append(rule.initiator)
    for lun in target.luns:
        lun.id = lun.id or secrets.token_hex(4)
        lun.state = "online"
        lun.problem = None
        lun.identity = lun.serial = ""
    target.state = "stopped"
    target.problem = None
    target.registrations = []
    target.lab = False
    return target


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


def _lun_config(lun: LocalLun, served: TargetConfig | None) -> LunConfig:
    spec = backstore_spec(lun)
    for old in served.luns if served is not None else ():
        was = old.backstore
        grown = lun.kind in ("memory", "null") and was.size_bytes != spec.size_bytes
        same = (was.kind, was.path, was.block_bytes, was.read_only, was.thin) == (
            spec.kind,
            spec.path,
            spec.block_bytes,
            spec.read_only,
            spec.thin,
        )
        if old.id == lun.id and same and not grown:
            return old
    # Named by its id, since the user may rename it while it is in use.
    return LunConfig(lun.id, lun.id, spec)


async def target_config(
    target: LocalTarget,
    identities: Identities,
    *,
    served: TargetConfig | None = None,
    without: frozenset[str] = frozenset(),
) -> TargetConfig:
    """The library's configuration; the LUNs in `without` are left out with their mappings.

    LUNs whose storage is as in `served` keep that configuration to the letter: whatever differs there is
    closed and opened again, which would empty a LUN in memory.

    Raises target.errors.ConfigError, and ApiProblem where a CHAP secret cannot be had.
    """
    chap: ChapConfig | None = None
    if target.identity_ids:
        accepted = [await identities.credentials(one) for one in target.identity_ids]
        mutual = None
        if target.mutual_identity_id:
            mutual = await identities.credentials(target.mutual_identity_id)
            if any(one.secret == mutual.secret for one in accepted):
                raise ApiProblem(
                    "bad-request",
                    "Both directions use the same secret, which RFC 7143 §9.2.1 forbids.",
                    side="this side",
                    check="give the identities different secrets",
                )
        users = [one.user for one in accepted]
        if len(set(users)) != len(users):
            raise ApiProblem(
                "bad-request",
                "Two of the identities have the same CHAP name.",
                side="this side",
                check="each name that may log in to a target has one secret",
            )
        chap = ChapConfig(accepted, mutual)
    elif target.mutual_identity_id:
        raise ApiProblem(
            "bad-request",
            "A target proves itself only to initiators that prove themselves.",
            side="this side",
            check="choose identities for the initiators as well",
        )
    return TargetConfig(
        name=target.id,
        groups=[PortalGroup(target.tpgt, [Portal.parse(text) for text in target.portals])],
        alias=target.alias,
        luns=[_lun_config(lun, served) for lun in target.luns if lun.id not in without],
        mappings=[
            MappingRule(rule.initiator, rule.lun_id, rule.lun, rule.read_only)
            for rule in target.mappings
            if rule.lun_id not in without
        ],
        chap=chap,
        anyone=lets_anyone_in(target),
    )


def lets_anyone_in(target: LocalTarget) -> bool:
    """Whether every initiator may log in.

    The library shows all LUNs where there is no mapping at all; here the matrix is the whole truth, so that
    `*` without any mapping lets nobody see anything.
    """
    return ANYONE in target.initiators and (bool(target.mappings) or not target.luns)


def describe_lun(target: LocalTarget, lun_id: str) -> str:
    """How a LUN of a target is called in sentences."""
    for lun in target.luns:
        if lun.id == lun_id:
            return visible(lun.name or lun.id)
    return visible(lun_id)
