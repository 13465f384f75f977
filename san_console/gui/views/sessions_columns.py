"""The columns of the page Sessions."""

from __future__ import annotations

import time
from collections.abc import Callable

from san_console.api.initiator_objects import Session
from san_console.gui import words
from san_console.gui.bridge.host import QtHost
from san_console.gui.models.columns import Column
from san_console.gui.states import connection_up, connections_text, connections_up
from san_console.gui.translation import translate
from san_console.gui.views import sessions_words as say


def _digests(session: Session) -> str:
    up = [c for c in session.connections if connection_up(c)]
    header = any(c.header_digest not in ("", "None") for c in up)
    data = any(c.data_digest not in ("", "None") for c in up)
    return " + ".join(
        word
        for word, on in (
            (translate("sessions_columns", "header"), header),
            (translate("sessions_columns", "data"), data),
        )
        if on
    ) or translate("sessions_columns", "none")


def session_columns(host: QtHost, now: Callable[[], float]) -> list[Column]:
    """`now` is asked each time a cell is drawn."""

    def since_tooltip(session: Session) -> str:
        if session.logged_in_at is None:
            return say.since_text(session, now())
        return time.strftime("since %Y-%m-%d %H:%M:%S", time.localtime(session.logged_in_at))

    def rate_text(session: Session, part: str) -> str:
        one = say.newest(host, session)
        return words.rate(getattr(one, part)) if one is not None else words.NONE

    return [
        Column(
            "state",
            translate("sessions_columns", "State"),
            say.state_word,
            sort=say.state_order,
            kind="state",
            tone=say.state_tone,
            tooltip=say.problem_check,
            width=112,
        ),
        Column(
            "target",
            translate("sessions_columns", "Target"),
            lambda s: s.target,
            mono=True,
            elide_middle=True,
            stretch=True,
            width=300,
        ),
        Column(
            "portal",
            translate("sessions_columns", "Portal"),
            lambda s: s.portal,
            mono=True,
            elide_middle=True,
            width=164,
        ),
        Column(
            "conns",
            translate("sessions_columns", "Conns"),
            connections_text,
            sort=lambda s: (connections_up(s), len(s.connections)),
            right=True,
            tooltip=lambda s: translate("sessions_columns", "{connections} up").format(
                connections=words.counted(connections_up(s), "connection")
            ),
            searched=False,
            width=76,
        ),
        Column(
            "throughput",
            translate("sessions_columns", "Throughput"),
            lambda s: words.rate(say.throughput(host, s)),
            sort=lambda s: say.throughput(host, s),
            kind="sparkline",
            detail=lambda s: say.sparkline(host, s),
            tooltip=lambda s: translate("sessions_columns", "{throughput}, last 60 s").format(
                throughput=words.rate(say.throughput(host, s))
            ),
            live=True,
            searched=False,
            width=108,
        ),
        Column(
            "iops",
            "IOPS",
            lambda s: words.amount(say.iops(host, s)),
            sort=lambda s: say.iops(host, s),
            right=True,
            live=True,
            searched=False,
            width=80,
        ),
        Column(
            "p99",
            "p99",
            lambda s: words.latency(say.p99_us(host, s)),
            sort=lambda s: say.p99_us(host, s),
            right=True,
            live=True,
            searched=False,
            width=80,
        ),
        Column(
            "since",
            translate("sessions_columns", "Up for"),
            lambda s: say.since_text(s, now()),
            sort=lambda s: say.since_order(s, now()),
            tooltip=since_tooltip,
            right=True,
            muted=True,
            live=True,
            searched=False,
            width=132,
        ),
        Column(
            "read",
            translate("sessions_columns", "Read"),
            lambda s: rate_text(s, "read_bytes_per_s"),
            right=True,
            live=True,
            hidden=True,
            searched=False,
            width=96,
        ),
        Column(
            "write",
            translate("sessions_columns", "Write"),
            lambda s: rate_text(s, "write_bytes_per_s"),
            right=True,
            live=True,
            hidden=True,
            searched=False,
            width=96,
        ),
        Column("alias", translate("sessions_columns", "Alias"), lambda s: s.alias, hidden=True, width=120),
        Column(
            "auth", translate("sessions_columns", "Authentication"), lambda s: s.auth, hidden=True, width=150
        ),
        Column("digests", translate("sessions_columns", "Digests"), _digests, hidden=True, width=110),
        Column(
            "luns",
            "LUNs",
            lambda s: str(s.lun_count),
            sort=lambda s: s.lun_count,
            right=True,
            hidden=True,
            width=64,
        ),
        Column(
            "favourite",
            translate("sessions_columns", "Favourite"),
            lambda s: translate("sessions_columns", "yes") if s.login.favourite else "",
            hidden=True,
            width=90,
        ),
        Column(
            "reconnects",
            translate("sessions_columns", "Reconnects"),
            lambda s: str(s.reconnects),
            sort=lambda s: s.reconnects,
            right=True,
            hidden=True,
            width=96,
        ),
    ]
