"""The columns of the table of sessions."""

from __future__ import annotations

from collections.abc import Callable

from san_console.api.engine_objects import Sample
from san_console.api.initiator_objects import Session
from san_console.gui import words
from san_console.gui.bridge.host import QtHost
from san_console.gui.models.columns import Column
from san_console.gui.states import connections_text, session_state

SPARKLINE_SAMPLES = 60


def session_columns(host: QtHost, now: Callable[[], float]) -> list[Column]:
    """`now` is the clock of the host's times."""

    def newest(session: Session) -> Sample | None:
        return host.replica.newest_sample(session.id) if session.state == "logged_in" else None

    def iops(session: Session) -> float:
        sample = newest(session)
        return sample.read_iops + sample.write_iops if sample is not None else -1.0

    def p99(session: Session) -> float:
        sample = newest(session)
        return sample.p99_us if sample is not None else -1.0

    def throughput(session: Session) -> float:
        sample = newest(session)
        return sample.read_bytes_per_s + sample.write_bytes_per_s if sample is not None else 0.0

    def history(session: Session) -> list[float]:
        kept = host.replica.samples.get(session.id, ())
        return [one.read_bytes_per_s + one.write_bytes_per_s for one in list(kept)[-SPARKLINE_SAMPLES:]]

    def up_for(session: Session) -> str:
        if session.state == "retrying" and session.next_retry_at is not None:
            wait = session.next_retry_at - now()
            return f"next try in {wait:.0f} s" if wait >= 1 else "trying now"
        if session.logged_in_at is None or session.state != "logged_in":
            return words.NONE
        return words.duration(now() - session.logged_in_at)

    def state_tip(session: Session) -> str:
        text = session_state(session)[0]
        return f"{text}\n{session.problem.message}" if session.problem is not None else text

    return [
        Column(
            "state",
            "State",
            lambda s: session_state(s)[0],
            kind="state",
            tone=lambda s: session_state(s)[1],
            tooltip=state_tip,
            width=116,
        ),
        Column("target", "Target", lambda s: s.target, mono=True, elide_middle=True, stretch=True),
        Column("portal", "Portal", lambda s: s.portal, mono=True, elide_middle=True, width=150),
        Column("conns", "Conns", connections_text, sort=lambda s: len(s.connections), right=True, width=72),
        Column(
            "throughput",
            "Throughput",
            lambda s: words.rate(throughput(s)),
            sort=throughput,
            kind="sparkline",
            detail=history,
            tooltip=lambda s: words.rate(throughput(s)),
            width=112,
            live=True,
            searched=False,
        ),
        Column(
            "iops",
            "IOPS",
            lambda s: words.NONE if iops(s) < 0 else f"{iops(s):,.0f}",
            sort=iops,
            right=True,
            width=80,
            live=True,
            searched=False,
        ),
        Column(
            "p99",
            "p99",
            lambda s: words.latency(p99(s)),
            sort=p99,
            right=True,
            width=76,
            live=True,
            searched=False,
        ),
        Column(
            "up",
            "Up for",
            up_for,
            sort=lambda s: -(s.logged_in_at or 1e18),
            right=True,
            muted=True,
            width=124,
            live=True,
            searched=False,
        ),
        Column(
            "luns",
            "LUNs",
            lambda s: str(s.lun_count),
            sort=lambda s: s.lun_count,
            right=True,
            width=64,
            hidden=True,
        ),
        Column("alias", "Alias", lambda s: s.alias, width=120, hidden=True),
        Column("auth", "Authentication", lambda s: s.auth, width=150, hidden=True),
        Column(
            "errors",
            "Errors",
            lambda s: str(s.command_errors),
            sort=lambda s: s.command_errors,
            right=True,
            width=70,
            hidden=True,
        ),
        Column(
            "reconnects",
            "Reconnects",
            lambda s: str(s.reconnects),
            sort=lambda s: s.reconnects,
            right=True,
            width=90,
            hidden=True,
        ),
    ]
