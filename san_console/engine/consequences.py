"""What a change of a local target does to whom, said before it is done. Pure: objects in, sentences out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Literal

import msgspec

from san_console.api.serving_objects import (
    Consequence,
    LocalLun,
    LocalTarget,
    PortalGroup,
    TargetSession,
)
from san_console.engine.access_view import NOBODY, Access, AccessView, Seen, means_several
from san_console.engine.serving_config import describe_lun, lets_anyone_in
from san_console.names.display import visible
from san_console.target.config import ANYONE
from san_console.target.subjects import GROUP_PREFIX

Grade = Literal["info", "warning", "danger"]

_ANY_HOST: Final = ("0.0.0.0", "[::]")  # noqa: S104 - compared with, nothing is bound to it

_ORDER: Final[dict[Grade, int]] = {"danger": 0, "warning": 1, "info": 2}

_STATES: Final[dict[str, tuple[Grade, str]]] = {
    "active/optimized": ("info", "is a good path from now on (active/optimized)"),
    "active/non-optimized": (
        "info",
        "works, and is used where no better path is left (active/non-optimized)",
    ),
    "standby": ("danger", "takes no reads and writes from now on (standby)"),
    "unavailable": ("danger", "takes no reads and writes from now on (unavailable)"),
    "offline": ("danger", "takes no commands from now on (offline)"),
    "transitioning": ("warning", "tells initiators to wait (transitioning)"),
}
"""By ALUA access state (SPC-4 §5.15.2.4)."""


def consequences(
    old: LocalTarget | None,
    new: LocalTarget,
    sessions: Sequence[TargetSession],
    users: Mapping[str, str] | None = None,
) -> list[Consequence]:
    """What changes for each initiator, and which sessions are hit. `old` is None for a new target.

    `users`: the CHAP names by identity id. Raises ApiProblem `bad-request` for a target that is not whole.
    """
    after = AccessView(new, users or {})
    found: list[Consequence] = []
    if old is None:
        old = LocalTarget(id=new.id)
    elif not new.enabled and old.enabled:
        stops = _line("danger", "The target stops being served; every session ends.", sessions, ends=True)
        return _ordered([stops], new)
    elif new.enabled and not old.enabled:
        found.append(_line("info", "The target is served again."))
    before = AccessView(old, users or {})
    found += _portals(old, new, sessions)
    found += _groups(old, new, sessions)
    found += _chap(old, new, before, after, sessions)
    found += _luns(old, new, before, sessions)
    found += _limits(old, new, sessions)
    told = {session.initiator for session in sessions}
    for session in {(one.initiator, one.address): one for one in sessions}.values():
        mine = [
            one for one in sessions if (one.initiator, one.address) == (session.initiator, session.address)
        ]
        who = visible(session.initiator)
        address = _stays_at(session, after)
        lost = [
            one
            for one in _addresses(session)
            if after.of(session.initiator, address).allowed and not after.of(session.initiator, one).allowed
        ]
        if lost:
            text = f"Connections of {who} from {', '.join(lost)} end; the session goes on."
            found.append(_line("warning", text, [session]))
        found += _access(who, before, after, session.initiator, address, mine)
    for name in sorted((before.names() | after.names()) - told):
        found += _access(visible(name), before, after, name, "", ())
    for subject in dict.fromkeys((*before.wider(), *after.wider())):
        who = f"Whoever {visible(subject)} means"
        found += _mapped(who, before.mapped_for(subject), after.mapped_for(subject), old, new, ())
    if ANYONE in old.initiators or ANYONE in new.initiators:
        # Those of them that are logged in have been told by name.
        found += _access("Any other initiator", before, after, NOBODY, "", ())
    if lets_anyone_in(new) and not lets_anyone_in(old):
        if after.of(NOBODY).chap[0]:
            found.append(_line("info", "Any initiator with the secret may log in."))
        else:
            found.append(_line("warning", "Any initiator may log in, without CHAP."))
    found += _let_in(old, new)
    if not found:
        found.append(_line("info", "Nothing changes for anybody."))
    return _ordered(found, new)


def _addresses(session: TargetSession) -> list[str]:
    """Where its connections come from."""
    return list(dict.fromkeys(one.address for one in session.connections)) or [session.address]


def _stays_at(session: TargetSession, after: AccessView) -> str:
    """The address of a connection that may stay; that of the session where none may."""
    allowed = (one for one in _addresses(session) if after.of(session.initiator, one).allowed)
    return next(allowed, session.address)


def _let_in(old: LocalTarget, new: LocalTarget) -> list[Consequence]:
    """Rules that let in more than one initiator: all addresses, or a group of anyone, are as open."""
    known = set(old.initiators)
    wide = {
        f"{GROUP_PREFIX}{group.name}"
        for group in new.initiator_groups
        if any(map(means_several, group.members))
    }
    proofs = {row.subject: row.identity_ids for row in new.access}
    found = []
    for text in dict.fromkeys(new.initiators):
        if text in known or text == ANYONE or not (text in wide or means_several(text)):
            continue
        if proofs.get(text) or new.identity_ids:
            found.append(_line("info", f"Whoever {visible(text)} means may log in, with CHAP."))
        else:
            found.append(_line("warning", f"Whoever {visible(text)} means may log in, without CHAP."))
    return found


def removal(target: LocalTarget, sessions: Sequence[TargetSession]) -> list[Consequence]:
    """What taking a target away does."""
    found = [_line("danger", "The target is removed; every session ends.", sessions, ends=True)]
    found += [
        _line("danger", f"The content of {describe_lun(target, lun.id)} is lost: it is in memory.")
        for lun in target.luns
        if lun.kind == "memory"
    ]
    return _ordered(found, target)


def _ordered(found: list[Consequence], target: LocalTarget) -> list[Consequence]:
    for one in found:
        one.target = target.id
    return sorted(found, key=lambda one: _ORDER[one.severity])


def _line(
    grade: Grade, text: str, sessions: Sequence[TargetSession] = (), *, ends: bool = False
) -> Consequence:
    return Consequence(
        severity=grade,
        text=text,
        session_ids=[session.id for session in sessions],
        ends_sessions=ends and bool(sessions),
    )


def _portals(old: LocalTarget, new: LocalTarget, sessions: Sequence[TargetSession]) -> list[Consequence]:
    found = [
        _line("info", f"The target is reachable at {address}.")
        for address in new.portals
        if address not in old.portals
    ]
    ended = {session.id for session in sessions if not _left(session, new)}
    for address in old.portals:
        if address in new.portals:
            continue
        hit = [session for session in sessions if any(_is_at(address, one) for one in _portals_of(session))]
        over = [session for session in hit if session.id in ended]
        text = f"The target is no longer reachable at {address}."
        found.append(_line("danger" if over else "warning", text, over, ends=True))
        rest = [session for session in hit if session.id not in ended]
        if rest:
            text = f"Connections through {address} end; their sessions go on."
            found.append(_line("warning", text, rest))
    return found


def _portals_of(session: TargetSession) -> set[str]:
    return {one.portal for one in session.connections} or {session.portal}


def _left(session: TargetSession, new: LocalTarget) -> set[str]:
    """The portals of a session that stay in its group."""
    return {
        portal
        for portal in _portals_of(session)
        for group in new.portal_groups
        if group.tag == session.tpgt and any(_is_at(address, portal) for address in group.portals)
    }


def _is_at(address: str, portal: str) -> bool:
    """Whether a connection at `portal` came in at `address`, which may stand for all addresses."""
    host, _, port = address.rpartition(":")
    return address == portal or (host in _ANY_HOST and portal.rpartition(":")[2] == port)


def _groups(old: LocalTarget, new: LocalTarget, sessions: Sequence[TargetSession]) -> list[Consequence]:
    found: list[Consequence] = []
    before = {group.tag: group for group in old.portal_groups}
    for group in new.portal_groups:
        mine = [session for session in sessions if session.tpgt == group.tag]
        found += _group(before.pop(group.tag, PortalGroup(tag=group.tag)), group, mine)
    moved = [
        session
        for session in sessions
        if not _left(session, new)
        and any(_is_at(address, one) for address in new.portals for one in _portals_of(session))
    ]
    if moved:
        found.append(_line("danger", "Portals change their group; their sessions end.", moved, ends=True))
    return found


def _group(was: PortalGroup, group: PortalGroup, sessions: Sequence[TargetSession]) -> list[Consequence]:
    found: list[Consequence] = []
    name = f"Portal group {group.tag}"
    if group.access_state != was.access_state:
        grade, text = _STATES[group.access_state]
        if not sessions and grade == "danger":
            grade = "warning"
        found.append(_line(grade, f"{name} {text}.", sessions))
    if group.preferred != was.preferred:
        what = "is the preferred one" if group.preferred else "is no longer the preferred one"
        found.append(_line("info", f"{name} {what}.", sessions))
    if group.redirect_to != was.redirect_to:
        if group.redirect_to:
            how = "for good" if group.redirect_permanent else "for the time being"
            found.append(
                _line("warning", f"Logins at {name.lower()} are sent to {group.redirect_to}, {how}.")
            )
        else:
            found.append(_line("info", f"Logins at {name.lower()} are taken there again."))
    elif group.redirect_to and group.redirect_permanent != was.redirect_permanent:
        how = "for good" if group.redirect_permanent else "for the time being"
        found.append(_line("info", f"Logins at {name.lower()} are sent away {how}."))
    return found


def _chap(
    old: LocalTarget,
    new: LocalTarget,
    before: AccessView,
    after: AccessView,
    sessions: Sequence[TargetSession],
) -> list[Consequence]:
    found: list[Consequence] = []
    if old.identity_ids and not new.identity_ids:
        found.append(_line("danger", "Initiators log in without CHAP from now on."))
    elif new.identity_ids and not old.identity_ids and old.portals:
        text = "Initiators have to log in with CHAP from their next login on."
        found.append(_line("warning", text, sessions))
    elif set(old.identity_ids) - set(new.identity_ids):
        text = "Some CHAP identities are no longer accepted at the next login."
        found.append(_line("warning", text, sessions))
    rows = {row.subject: row for row in old.access}
    for row in new.access:
        was = rows.get(row.subject)
        ids = (was.identity_ids, was.mutual_identity_id) if was is not None else ([], "")
        if (row.identity_ids, row.mutual_identity_id) == ids:
            continue
        hit = [
            one
            for one in sessions
            if before.of(one.initiator, one.address).chap != after.of(one.initiator, one.address).chap
        ]
        who = "Any initiator" if row.subject == ANYONE else visible(row.subject)
        if row.identity_ids == ids[0]:
            text = f"The target proves itself to {who} with another identity from the next login on."
            found.append(_line("warning", text, hit))
        elif row.identity_ids:
            text = f"{who} has to log in with CHAP identities of its own from the next login on."
            found.append(_line("warning" if was is not None else "info", text, hit))
        elif new.identity_ids:
            text = f"{who} has to log in with the identities of the target from the next login on."
            found.append(_line("warning", text, hit))
        else:
            found.append(_line("danger", f"{who} may log in without CHAP from now on."))
    return found


def _luns(
    old: LocalTarget, new: LocalTarget, before: AccessView, sessions: Sequence[TargetSession]
) -> list[Consequence]:
    found: list[Consequence] = []
    kept = {lun.id: lun for lun in new.luns}
    for lun in old.luns:
        now = kept.get(lun.id)
        name = describe_lun(old, lun.id)
        hit = [one for one in sessions if lun.id in before.of(one.initiator, one.address).luns]
        if now is None:
            more = "; its content is lost" if lun.kind == "memory" else ""
            grade: Grade = "danger" if hit or more else "warning"
            found.append(_line(grade, f"LUN {name} is closed{more}.", hit))
        elif _backstore(now) != _backstore(lun):
            more = " Its content is lost." if lun.kind == "memory" else ""
            found.append(_line("danger", f"LUN {name} gets other storage behind it.{more}", hit))
        else:
            found += _same_storage(name, lun, now, hit)
    return found


def _same_storage(name: str, was: LocalLun, now: LocalLun, hit: Sequence[TargetSession]) -> list[Consequence]:
    found: list[Consequence] = []
    if was.online != now.online:
        if now.online:
            found.append(_line("info", f"LUN {name} is online again.", hit))
        else:
            text = f"LUN {name} goes offline: its commands fail until it is online again."
            found.append(_line("danger" if hit else "warning", text, hit))
    if now.size_bytes > was.size_bytes:
        text = f"LUN {name} grows from {was.size_bytes:,} to {now.size_bytes:,} bytes."
        found.append(_line("info", text, hit))
    if _identity(was) != _identity(now):
        text = f"LUN {name} is another disk for initiators: its serial number or identity changes."
        found.append(_line("danger" if hit else "warning", text, hit))
    if _geometry(was) != _geometry(now):
        found.append(_line("warning", f"LUN {name} describes itself differently to initiators.", hit))
    if was.write_cache != now.write_cache:
        what = "is answered before it is on the medium" if now.write_cache else "waits for the medium"
        found.append(_line("info", f"A write to LUN {name} {what} from now on.", hit))
    return found


def _identity(lun: LocalLun) -> tuple[str, str]:
    return lun.serial, lun.identity_seed


def _geometry(lun: LocalLun) -> tuple[object, ...]:
    return lun.vendor, lun.product, lun.revision, lun.rotation_rate, lun.physical_block_bytes


def _backstore(lun: LocalLun) -> tuple[object, ...]:
    return lun.kind, lun.path, lun.block_bytes


def _limits(old: LocalTarget, new: LocalTarget, sessions: Sequence[TargetSession]) -> list[Consequence]:
    before, after = msgspec.structs.asdict(old.limits), msgspec.structs.asdict(new.limits)
    changed = [
        f"{name.replace('_', ' ')} {before[name]} → {value}"
        for name, value in after.items()
        if value != before[name]
    ]
    if not changed or not old.portals:
        return []
    running = " The sessions that are there keep what they have." if sessions else ""
    return [_line("info", f"Limits change for new sessions: {', '.join(changed)}.{running}")]


def _access(
    who: str,
    before: AccessView,
    after: AccessView,
    name: str,
    address: str,
    sessions: Sequence[TargetSession],
) -> list[Consequence]:
    """What changes for one initiator."""
    was, now = before.of(name, address), after.of(name, address)
    if was.allowed and not now.allowed:
        text = f"{who} may no longer log in."
        return [_line("danger" if sessions else "warning", text, sessions, ends=True)]
    found: list[Consequence] = []
    if now.allowed and not was.allowed and not now.luns:
        found.append(_line("info", f"{who} may log in, and sees no LUN."))
    return found + _mapped(who, _luns_of(was), _luns_of(now), before.target, after.target, sessions)


def _luns_of(access: Access) -> dict[str, Seen]:
    return access.luns if access.allowed else {}


def _mapped(
    who: str,
    before: Mapping[str, Seen],
    after: Mapping[str, Seen],
    old: LocalTarget,
    new: LocalTarget,
    sessions: Sequence[TargetSession],
) -> list[Consequence]:
    """LUNs gained, lost, and seen otherwise."""
    found: list[Consequence] = []
    worse: Grade = "danger" if sessions else "warning"
    for lun_id, seen in after.items():
        lun = describe_lun(new, lun_id)
        was = before.get(lun_id)
        if was is None:
            how = "read-only" if seen.read_only else "for reading and writing"
            found.append(_line("info", f"{who} gains {lun} as LUN {seen.lun}, {how}."))
            continue
        if was.lun != seen.lun:
            text = f"{who} sees {lun} as LUN {seen.lun} instead of {was.lun}."
            found.append(_line(worse, text, sessions))
        if seen.read_only and not was.read_only:
            found.append(_line(worse, f"{who} may no longer write to {lun}.", sessions))
        elif was.read_only and not seen.read_only:
            found.append(_line("warning", f"{who} may write to {lun}.", sessions))
    for lun_id, was in before.items():
        if lun_id not in after and any(lun.id == lun_id for lun in new.luns):
            text = f"{who} loses {describe_lun(old, lun_id)} (LUN {was.lun})."
            found.append(_line(worse, text, sessions))
    return found
