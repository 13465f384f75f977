"""What a change of a local target does to whom, said before it is done. Pure: objects in, sentences out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from san_console.api.serving_objects import Consequence, LocalLun, LocalTarget, TargetSession
from san_console.engine.serving_config import describe_lun, lets_anyone_in
from san_console.names.display import visible
from san_console.names.portal import Portal
from san_console.target.access import mapped_luns, may_log_in
from san_console.target.config import ANYONE, BackstoreSpec, LunConfig, MappingRule, PortalGroup, TargetConfig

_NOBODY = "iqn.2026-11.org.san-console:nobody-in-particular"
"""Stands for every initiator without a row of its own."""

Grade = Literal["info", "warning", "danger"]
Seen = dict[str, tuple[int, bool]]
"""By LUN id: the number, and whether it is read-only."""


def consequences(
    old: LocalTarget | None, new: LocalTarget, sessions: Sequence[TargetSession]
) -> list[Consequence]:
    """What changes for each initiator, and which sessions are hit. `old` is None for a new target."""
    found: list[Consequence] = []
    if old is None:
        old = LocalTarget(id=new.id)
    elif not new.enabled and old.enabled:
        found.append(_all("danger", "The target stops being served; every session ends.", sessions))
        return found
    found += _portals(old, new, sessions)
    found += _chap(old, new, sessions)
    found += _luns(old, new, sessions)
    names = {name for name in (*old.initiators, *new.initiators) if name != ANYONE}
    names |= {session.initiator for session in sessions}
    for name in sorted(name for name in names if "*" not in name):
        found += _access(old, new, name, sessions)
    if ANYONE in old.initiators or ANYONE in new.initiators:
        found += _others(old, new)
    if ANYONE in new.initiators and ANYONE not in old.initiators:
        if new.identity_ids:
            found.append(Consequence(severity="info", text="Any initiator with the secret may log in."))
        else:
            found.append(Consequence(severity="warning", text="Any initiator may log in, without CHAP."))
    if not found:
        found.append(Consequence(severity="info", text="Nothing changes for anybody."))
    order = {"danger": 0, "warning": 1, "info": 2}
    return sorted(found, key=lambda one: order[one.severity])


def _all(grade: Grade, text: str, sessions: Sequence[TargetSession]) -> Consequence:
    return Consequence(severity=grade, text=text, session_ids=[session.id for session in sessions])


def _portals(old: LocalTarget, new: LocalTarget, sessions: Sequence[TargetSession]) -> list[Consequence]:
    found = [
        Consequence(severity="info", text=f"The target is reachable at {address}.")
        for address in new.portals
        if address not in old.portals
    ]
    for address in old.portals:
        if address not in new.portals:
            hit = [session for session in sessions if session.portal == address]
            found.append(_all("warning", f"The target is no longer reachable at {address}.", hit))
    return found


def _chap(old: LocalTarget, new: LocalTarget, sessions: Sequence[TargetSession]) -> list[Consequence]:
    found: list[Consequence] = []
    if old.identity_ids and not new.identity_ids:
        found.append(Consequence(severity="danger", text="Initiators log in without CHAP from now on."))
    elif new.identity_ids and not old.identity_ids and old.portals:
        found.append(
            _all("warning", "Initiators have to log in with CHAP from their next login on.", sessions)
        )
    elif set(old.identity_ids) - set(new.identity_ids):
        found.append(
            _all("warning", "Some CHAP identities are no longer accepted at the next login.", sessions)
        )
    return found


def _luns(old: LocalTarget, new: LocalTarget, sessions: Sequence[TargetSession]) -> list[Consequence]:
    found: list[Consequence] = []
    kept = {lun.id: lun for lun in new.luns}
    for lun in old.luns:
        now = kept.get(lun.id)
        if now is None:
            hit = [session for session in sessions if _sees(old, session.initiator, lun.id)]
            more = "; its content is lost" if lun.kind == "memory" else ""
            grade: Grade = "danger" if hit or more else "warning"
            found.append(_all(grade, f"LUN {describe_lun(old, lun.id)} is closed{more}.", hit))
        elif _backstore(now) != _backstore(lun):
            hit = [session for session in sessions if _sees(old, session.initiator, lun.id)]
            found.append(
                _all("danger", f"LUN {describe_lun(old, lun.id)} gets other storage behind it.", hit)
            )
    return found


def _access(
    old: LocalTarget, new: LocalTarget, name: str, sessions: Sequence[TargetSession]
) -> list[Consequence]:
    before, after = seen_luns(old, name), seen_luns(new, name)
    mine = [session for session in sessions if session.initiator == name]
    who = visible(name)
    if before is not None and after is None:
        return [_all("danger" if mine else "warning", f"{who} may no longer log in.", mine)]
    found: list[Consequence] = []
    if before is None and after is not None and not after:
        found.append(Consequence(severity="info", text=f"{who} may log in, and sees no LUN."))
    before, after = before or {}, after or {}
    for lun_id, (number, read_only) in after.items():
        lun = describe_lun(new, lun_id)
        how = "read-only" if read_only else "for reading and writing"
        if lun_id not in before:
            found.append(Consequence(severity="info", text=f"{who} gains {lun} as LUN {number}, {how}."))
            continue
        was_number, was_read_only = before[lun_id]
        if was_number != number:
            text = f"{who} sees {lun} as LUN {number} instead of {was_number}."
            found.append(_all("danger" if mine else "warning", text, mine))
        if read_only and not was_read_only:
            text = f"{who} may no longer write to {lun}."
            found.append(_all("danger" if mine else "warning", text, mine))
        elif was_read_only and not read_only:
            found.append(_all("warning", f"{who} may write to {lun}.", mine))
    for lun_id, (number, _) in before.items():
        if lun_id not in after and any(lun.id == lun_id for lun in new.luns):
            text = f"{who} loses {describe_lun(old, lun_id)} (LUN {number})."
            found.append(_all("danger" if mine else "warning", text, mine))
    return found


def _others(old: LocalTarget, new: LocalTarget) -> list[Consequence]:
    """What changes for an initiator that nobody named. Those of them that are logged in are told by name."""
    return [
        Consequence(severity=line.severity, text=line.text.replace(_NOBODY, "Any other initiator", 1))
        for line in _access(old, new, _NOBODY, ())
    ]


def seen_luns(target: LocalTarget, initiator: str) -> Seen | None:
    """What an initiator sees of a target, by the code that the login uses; None when it may not log in."""
    config = TargetConfig(
        name=target.id,
        groups=[PortalGroup(1, [Portal("localhost")])],  # of no meaning for access, and there has to be one
        luns=[LunConfig(lun.id, lun.id, BackstoreSpec("null", size_bytes=4096)) for lun in target.luns],
        mappings=[MappingRule(m.initiator, m.lun_id, m.lun, m.read_only) for m in target.mappings],
        anyone=lets_anyone_in(target),
    )
    if not may_log_in(config, initiator):
        return None
    read_only = {lun.id: lun.read_only for lun in target.luns}
    return {
        rule.lun_id: (rule.lun, rule.read_only or read_only[rule.lun_id])
        for rule in mapped_luns(config, initiator)
    }


def _sees(target: LocalTarget, initiator: str, lun_id: str) -> bool:
    return lun_id in (seen_luns(target, initiator) or {})


def _backstore(lun: LocalLun) -> tuple[object, ...]:
    size = lun.size_bytes if lun.kind in ("memory", "null") else 0
    return (lun.kind, lun.path, size, lun.block_bytes)
