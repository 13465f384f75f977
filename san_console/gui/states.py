"""States of the engine's objects as words and tones, the same on every page."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from san_console.api.initiator_objects import Connection, Session, Source, Target, TargetPortal
from san_console.api.serving_objects import IsnsServer
from san_console.gui import words
from san_console.gui.theme.tokens import Tone
from san_console.gui.translation import QT_TRANSLATE_NOOP, translate, translated

_SESSION_WORDS: Final[dict[str, tuple[str, Tone]]] = {
    "logging_in": (QT_TRANSLATE_NOOP("Table", "Logging in"), "accent"),
    "logged_in": (QT_TRANSLATE_NOOP("Table", "Logged in"), "good"),
    "retrying": (QT_TRANSLATE_NOOP("Table", "Retrying"), "bad"),
    "logging_out": (QT_TRANSLATE_NOOP("Table", "Logging out"), "muted"),
    "logged_out": (QT_TRANSLATE_NOOP("Table", "Logged out"), "muted"),
    "failed": (QT_TRANSLATE_NOOP("Table", "Failed"), "bad"),
}
UP_STATE: Final = "logged_in"
DOWN_STATES: Final = frozenset({"retrying", "failed"})

_CHANGE_TONES: Final[dict[str, Tone]] = {
    "new": "accent",
    "changed": "warning",
    "vanished": "bad",
    "": "muted",
}
_KINDS: Final[dict[str, str]] = {
    "sendtargets": "SendTargets",
    "isns": "iSNS",
    "manual": QT_TRANSLATE_NOOP("Table", "by hand"),
}


def connection_up(connection: Connection) -> bool:
    """Connections say their state in words, sessions with an underscore."""
    return connection.state.replace(" ", "_") == UP_STATE


def connection_state(connection: Connection) -> str:
    """In the words of sessions, where they have one for it."""
    known = _SESSION_WORDS.get(connection.state.replace(" ", "_"))
    return translated(known[0]) if known else connection.state.capitalize()


def connections_up(session: Session) -> int:
    return sum(map(connection_up, session.connections))


def is_degraded(session: Session) -> bool:
    """Up, but with fewer connections than it should have."""
    return session.state == UP_STATE and connections_up(session) < len(session.connections)


def is_down(session: Session) -> bool:
    return session.state in DOWN_STATES


def session_state(session: Session) -> tuple[str, Tone]:
    if is_degraded(session):
        return translate("states", "Degraded"), "warning"
    word, tone = _SESSION_WORDS[session.state]
    return translated(word), tone


def trouble(sessions: Iterable[Session]) -> str:
    """`1 degraded, 2 down`; empty when all is well."""
    known = list(sessions)
    counts = (
        (sum(map(is_degraded, known)), translate("states", "degraded")),
        (sum(map(is_down, known)), translate("states", "down")),
    )
    return ", ".join(
        translate("states", "{number} {word}").format(number=number, word=word)
        for number, word in counts
        if number
    )


def connections_text(session: Session) -> str:
    """`2`, or `1 of 2` when one is missing."""
    up, all_of_them = connections_up(session), len(session.connections)
    return (
        str(up)
        if up == all_of_them or not up
        else translate("states", "{up} of {all_of_them}").format(up=up, all_of_them=all_of_them)
    )


def is_in_use(server: IsnsServer) -> bool:
    """Whether a name server is more than the embedded one that nobody has started."""
    return not server.embedded or server.state == "running"


def change_tone(target: Target) -> Tone:
    return _CHANGE_TONES[target.change]


def live_portals(target: Target) -> list[TargetPortal]:
    """The portals that are still named; all, where none is."""
    return [portal for portal in target.portals if not portal.vanished] or target.portals


def reach(target: Target) -> tuple[str, Tone]:
    """`2 of 2 answer`, `no answer`, `checking`."""
    portals = live_portals(target)
    answering = sum(portal.reach == "answers" for portal in portals)
    if any(portal.reach == "checking" for portal in portals):
        return translate("states", "checking"), "accent"
    if portals and all(portal.reach == "unknown" for portal in portals):
        return translate("states", "not tried"), "muted"
    if not answering:
        return translate("states", "no answer"), "bad"
    if len(portals) == 1:
        return translate("states", "answers"), "good"
    word = translate("states", "answers") if answering == 1 else translate("states", "answer")
    return translate("states", "{answering} of {portals} {word}").format(
        answering=answering, portals=len(portals), word=word
    ), "good" if answering == len(portals) else "warning"


def is_unreachable(target: Target) -> bool:
    portals = live_portals(target)
    return any(portal.reach == "no answer" for portal in portals) and not any(
        portal.reach == "answers" for portal in portals
    )


def portal_reach(portal: TargetPortal) -> tuple[str, Tone]:
    """`yes, asks for CHAP`, `connection refused`."""
    if portal.vanished:
        return translate("states", "not named any more"), "muted"
    if portal.reach == "answers":
        # That discovery went without CHAP says nothing about logging in to the target.
        return (
            translate("states", "yes, asks for CHAP") if portal.asks_for_chap else translate("states", "yes")
        ), "good"
    if portal.reach == "no answer":
        return portal.detail or translate("states", "no answer"), "bad"
    return (
        (translate("states", "checking"), "accent")
        if portal.reach == "checking"
        else (translate("states", "not tried"), "muted")
    )


def source_kind(source: Source) -> str:
    return translated(_KINDS[source.kind])


def _since(seconds: float) -> str:
    return words.ago(seconds, short=True)


def source_line(source: Source, now: float) -> tuple[str, Tone]:
    """The second line of a source: `SendTargets · 5 targets · 2 min`, and the tone of its dot."""
    kind, found = source_kind(source), words.counted(source.target_count, "target")
    if source.kind == "manual":
        return found, "muted"
    if source.state == "running":
        return translate("states", "{kind} · looking").format(kind=kind), "accent"
    if source.state == "failed":
        return translate("states", "{kind} · failed after {took_s:.1f} s").format(
            kind=kind, took_s=source.took_s
        ), "bad"
    if source.last_run_at is None:
        return translate("states", "{kind} · not asked yet").format(kind=kind), "muted"
    more = translate("states", " · cut off") if source.truncated else ""
    skipped = (
        translate("states", " · {skipped} skipped").format(skipped=source.skipped) if source.skipped else ""
    )
    tone: Tone = "warning" if source.truncated or source.skipped else "good"
    return f"{kind} · {found}{more}{skipped} · {_since(now - source.last_run_at)}", tone
