"""What a session is called in words: its state, its connections, its figures. Without widgets."""

from __future__ import annotations

import re
from collections.abc import Container, Iterable
from typing import Final

import msgspec

from san_console.api.engine_objects import Event, Sample
from san_console.api.initiator_objects import Session
from san_console.gui import words
from san_console.gui.bridge.host import QtHost
from san_console.gui.states import is_degraded, session_state
from san_console.gui.theme.tokens import Tone
from san_console.gui.translation import translate

_STATE_ORDER: Final[dict[str, int]] = {
    "failed": 0,
    "retrying": 1,
    "logging_in": 3,
    "logged_in": 4,
    "logging_out": 5,
    "logged_out": 6,
}
_DEGRADED_ORDER: Final = 2

SPARKLINE_S: Final = 60


def state_word(session: Session) -> str:
    return session_state(session)[0]


def state_tone(session: Session) -> Tone:
    return session_state(session)[1]


def state_order(session: Session) -> tuple[int, str, str]:
    """Troubles first, then by name."""
    order = _DEGRADED_ORDER if is_degraded(session) else _STATE_ORDER.get(session.state, 9)
    return order, session.target, session.portal


def since_text(session: Session, now: float) -> str:
    """How long it has been up, or what it waits for: `4 d 02 h`, `next try in 8 s`."""
    if session.state == "retrying":
        if session.next_retry_at is None:
            return translate("sessions_words", "trying now")
        left = session.next_retry_at - now
        return (
            translate("sessions_words", "next try in {left}").format(left=words.duration(left + 0.5))
            if left > 0
            else translate("sessions_words", "trying now")
        )
    if session.state == "logged_in" and session.logged_in_at is not None:
        return words.duration(now - session.logged_in_at)
    return words.NONE


def since_order(session: Session, now: float) -> float:
    """Seconds up; negative for a session that is down."""
    if session.state == "logged_in" and session.logged_in_at is not None:
        return now - session.logged_in_at
    return now - (session.next_retry_at or now) - 1e9


def problem_check(session: Session) -> str:
    """The tooltip of a state: what happened, who decided it, what to check."""
    problem = session.problem
    if problem is None or session.state == "logged_in":
        return state_word(session)
    lines = [state_word(session), problem.message]
    if problem.side:
        lines.append(translate("sessions_words", "Decided by: {side}").format(side=problem.side))
    if problem.check:
        lines.append(translate("sessions_words", "Check: {check}").format(check=problem.check))
    return "\n".join(lines)


def newest(host: QtHost, session: Session) -> Sample | None:
    """The newest figures of a session that is up; those of one that is down mean nothing."""
    return host.replica.newest_sample(session.id) if session.state == "logged_in" else None


def throughput(host: QtHost, session: Session) -> float:
    one = newest(host, session)
    return one.read_bytes_per_s + one.write_bytes_per_s if one is not None else 0.0


def iops(host: QtHost, session: Session) -> float:
    one = newest(host, session)
    return one.read_iops + one.write_iops if one is not None else 0.0


def p99_us(host: QtHost, session: Session) -> float:
    one = newest(host, session)
    return one.p99_us if one is not None else 0.0


def sparkline(host: QtHost, session: Session) -> list[float]:
    """Bytes per second, read and written together, of the last minute."""
    kept = host.replica.samples.get(session.id)
    if not kept:
        return []
    last = [one.read_bytes_per_s + one.write_bytes_per_s for one in list(kept)[-SPARKLINE_S:]]
    # Before the first figure nothing moved; two figures must not look like a minute.
    return [0.0] * (SPARKLINE_S - len(last)) + last


def ended(session: Session) -> Session:
    """What stays of a session that was taken off the list: its name and its end."""
    return msgspec.structs.replace(
        session, state="logged_out", connections=[], next_retry_at=None, problem=None, lun_count=0
    )


WHERE: Final = re.compile(r" ?\((\S{1,223}) at (\S{1,300})\)$")
"""How the engine ends the text of a session's event: `(iqn… at 10.0.0.1:3260)`."""


def ended_in_events(events: Iterable[Event], known: Container[str], limit: int) -> dict[str, Session]:
    """Sessions that ended before this window was opened, as far as their events tell; newest first."""
    found: dict[str, Session] = {}
    for event in sorted(events, key=lambda one: one.at, reverse=True):
        if event.object_kind != "session" or event.object_id in known or event.object_id in found:
            continue
        where = WHERE.search(event.text)
        if where is not None and len(found) < limit:
            found[event.object_id] = Session(
                id=event.object_id,
                target=where[1],
                portal=where[2],
                state="logged_out",
                created_at=event.at,
            )
    return found


def in_words(sessions: Iterable[Session]) -> str:
    """The page's summary: `6 sessions to 5 targets, 1 degraded, 1 retrying`."""
    known = [session for session in sessions if session.state != "logged_out"]
    if not known:
        return translate("sessions_words", "nothing is logged in")
    targets = len({session.target for session in known})
    parts = [
        translate("sessions_words", "{sessions} to {targets}").format(
            sessions=words.counted(len(known), "session"), targets=words.counted(targets, "target")
        )
    ]
    counts = {
        translate("sessions_words", "degraded"): sum(map(is_degraded, known)),
        translate("sessions_words", "retrying"): sum(session.state == "retrying" for session in known),
        translate("sessions_words", "failed"): sum(session.state == "failed" for session in known),
    }
    parts += [f"{number} {word}" for word, number in counts.items() if number]
    return ", ".join(parts)
