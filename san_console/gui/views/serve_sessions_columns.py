"""The columns of the sessions with a served target, and of the connections of one of them."""

from __future__ import annotations

from collections.abc import Callable

from san_console.api.serving_objects import TargetConnection, TargetSession
from san_console.gui import words
from san_console.gui.models.columns import Column
from san_console.gui.translation import translate

RateOf = Callable[[TargetSession], tuple[float, float]]
"""Bytes and operations per second."""


def connections_word(session: TargetSession) -> str:
    """How many connections there are, or that the session waits for one."""
    if session.recovering:
        return translate("serve_sessions", "waiting")
    return str(len(session.connections))


def connections_words(session: TargetSession) -> str:
    """The same in a sentence."""
    if session.recovering:
        return translate(
            "serve_sessions",
            "All of its connections are gone; it waits for its initiator to come back and go on.",
        )
    return translate(
        "serve_sessions_columns", "{count} of at most {most}; error recovery level {level}"
    ).format(
        count=words.counted(len(session.connections), "connection"),
        most=session.max_connections,
        level=session.error_recovery_level,
    )


def connection_columns(now: Callable[[], float]) -> list[Column]:
    """Columns over `TargetConnection`."""

    def digests(one: TargetConnection) -> str:
        return translate("serve_sessions", "header {header}, data {data}").format(
            header=one.header_digest, data=one.data_digest
        )

    return [
        Column(
            "cid",
            translate("serve_sessions", "Connection"),
            lambda one: str(one.cid),
            sort=lambda one: one.cid,
            right=True,
            width=92,
        ),
        Column(
            "address",
            translate("serve_sessions", "From"),
            lambda one: one.address,
            mono=True,
            width=170,
            stretch=True,
        ),
        Column(
            "portal",
            translate("serve_sessions", "Portal"),
            lambda one: one.portal,
            mono=True,
            width=170,
        ),
        Column("digests", translate("serve_sessions", "Digests"), digests, muted=True, width=200),
        Column(
            "since",
            translate("serve_sessions", "Since"),
            lambda one: words.duration(now() - one.logged_in_at) if one.logged_in_at else "",
            sort=lambda one: one.logged_in_at,
            right=True,
            muted=True,
            live=True,
            width=82,
        ),
    ]


def session_columns(rate_of: RateOf, now: Callable[[], float]) -> list[Column]:
    def digests(session: TargetSession) -> str:
        found = [
            text
            for text, on in (
                (translate("serve_sessions", "header"), session.header_digest),
                (translate("serve_sessions", "data"), session.data_digest),
            )
            if on not in ("", "None")
        ]
        return ", ".join(found) or translate("serve_sessions", "none")

    return [
        Column(
            "initiator",
            translate("serve_sessions", "Initiator"),
            lambda one: (
                words.short_name(one.initiator)
                + (translate("serve_sessions", " (this computer)") if one.own else "")
            ),
            tooltip=lambda one: one.initiator,
            strong=True,
            elide_middle=True,
            width=150,
            stretch=True,
        ),
        Column(
            "address",
            translate("serve_sessions", "From"),
            lambda one: one.address,
            mono=True,
            width=126,
        ),
        Column(
            "portal",
            translate("serve_sessions", "Portal"),
            lambda one: one.portal,
            mono=True,
            width=128,
            hidden=True,
        ),
        Column(
            "auth",
            translate("serve_sessions", "Proved by"),
            lambda one: one.auth,
            muted=True,
            width=154,
        ),
        Column(
            "digests",
            translate("serve_sessions", "Digests"),
            digests,
            muted=True,
            width=76,
            hidden=True,
        ),
        Column("luns", "LUNs", lambda one: words.ranges(one.luns), width=60),
        Column(
            "connections",
            translate("serve_sessions", "Connections"),
            connections_word,
            sort=lambda one: len(one.connections),
            kind="state",
            tone=lambda one: "warning" if one.recovering else "good",
            tooltip=connections_words,
            width=112,
        ),
        Column(
            "level",
            translate("serve_sessions", "Recovery"),
            lambda one: str(one.error_recovery_level),
            sort=lambda one: one.error_recovery_level,
            right=True,
            width=76,
            hidden=True,
        ),
        Column(
            "group",
            translate("serve_sessions", "Group"),
            lambda one: str(one.tpgt),
            sort=lambda one: one.tpgt,
            right=True,
            width=60,
            hidden=True,
        ),
        Column(
            "rate",
            translate("serve_sessions", "Throughput"),
            lambda one: words.rate(rate_of(one)[0]) if rate_of(one)[0] else words.NONE,
            sort=lambda one: rate_of(one)[0],
            right=True,
            live=True,
            width=92,
        ),
        Column(
            "iops",
            "IOPS",
            lambda one: words.amount(rate_of(one)[1]),
            sort=lambda one: rate_of(one)[1],
            right=True,
            live=True,
            width=70,
            hidden=True,
        ),
        Column(
            "since",
            translate("serve_sessions", "Since"),
            lambda one: words.duration(now() - one.logged_in_at) if one.logged_in_at else "",
            sort=lambda one: one.logged_in_at,
            right=True,
            muted=True,
            live=True,
            width=82,
        ),
        Column(
            "alias",
            translate("serve_sessions", "Alias"),
            lambda one: one.initiator_alias,
            width=100,
            hidden=True,
        ),
    ]
