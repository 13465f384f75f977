"""Performance of a session: four charts on one time axis, with what happened marked on it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final, NamedTuple

from PySide6.QtCore import QTimer
from PySide6.QtWidgets import QButtonGroup, QGridLayout, QWidget

from san_console.api.engine_objects import Event, Sample
from san_console.api.initiator_objects import Session
from san_console.api.methods import StatisticsOf
from san_console.gui import words
from san_console.gui.context import Context
from san_console.gui.translation import QT_TRANSLATE_NOOP, translated
from san_console.gui.views.page import DetailTab
from san_console.gui.widgets.buttons import Chip
from san_console.gui.widgets.cards import horizontal, vertical
from san_console.gui.widgets.chart import Mark, Series
from san_console.gui.widgets.labels import ElidedLabel
from san_console.gui.widgets.linked_chart import LinkedChart, link

SPANS: Final[tuple[tuple[int, str], ...]] = (
    (60, QT_TRANSLATE_NOOP("Table", "Last 60 s")),
    (300, QT_TRANSLATE_NOOP("Table", "5 min")),
    (600, QT_TRANSLATE_NOOP("Table", "10 min")),
)
"""As far as samples are kept: `console.replica.KEPT_SAMPLES`, one a second."""

HISTORY_S: Final = 300
"""As much as the engine gives to a window that was just opened."""

STAGGER_MS: Final = 40
"""Four charts of ten minutes take 20 ms to paint; one at a time, nothing else waits for 16 ms."""

_FRESH_S: Final = 2.5
"""A newer sample than this is where "now" is; with none the axis moves on by itself, and a gap shows."""

MARKS: Final[dict[str, tuple[str, str]]] = {
    "connection_lost": (QT_TRANSLATE_NOOP("Table", "connection lost"), "bad"),
    "nop_timeout": (QT_TRANSLATE_NOOP("Table", "no answer to NOP-Out"), "bad"),
    "login_failed": (QT_TRANSLATE_NOOP("Table", "log-in failed"), "bad"),
    "digest_error": (QT_TRANSLATE_NOOP("Table", "digest error"), "warning"),
    "command_timeout": (QT_TRANSLATE_NOOP("Table", "command timed out"), "warning"),
    "retry_scheduled": (QT_TRANSLATE_NOOP("Table", "try failed"), "warning"),
    "async_message": (QT_TRANSLATE_NOOP("Table", "message of the target"), "warning"),
    "redirected": (QT_TRANSLATE_NOOP("Table", "redirected"), "accent"),
    "luns_changed": (QT_TRANSLATE_NOOP("Table", "LUNs changed"), "accent"),
    "recovered": (QT_TRANSLATE_NOOP("Table", "recovered"), "good"),
    "login": (QT_TRANSLATE_NOOP("Table", "logged in"), "good"),
    "stopped": (QT_TRANSLATE_NOOP("Table", "tries stopped"), "muted"),
    "logout": (QT_TRANSLATE_NOOP("Table", "logged out"), "muted"),
}
"""By kind of event: our own words, since the event's text may come from a peer, and a colour."""


class _Unit(NamedTuple):
    name: str
    divisor: float
    digits: int


_RATES: Final = (_Unit("MB/s", 1e6, 0), _Unit("MB/s", 1e6, 1), _Unit("kB/s", 1e3, 0))
_TIMES: Final = (_Unit("ms", 1e3, 1), _Unit("ms", 1e3, 2), _Unit("µs", 1.0, 0))
_COUNTS: Final = (_Unit("k/s", 1e3, 1), _Unit(QT_TRANSLATE_NOOP("Table", "per s"), 1.0, 0))
_COUNT_LIMITS: Final = (1e4,)
_RATE_LIMITS: Final = (1e7, 1e6)
_TIME_LIMITS: Final = (1e4, 1e3)


def _unit(units: Sequence[_Unit], limits: Sequence[float], largest: float) -> _Unit:
    for unit, limit in zip(units, limits, strict=False):
        if largest >= limit:
            return unit
    return units[-1]


class PerformanceTab(DetailTab):
    """Throughput, operations, latency and command window of the selected session."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._session: Session | None = None
        self._asked: set[str] = set()
        self.span_s = SPANS[0][0]
        self.throughput = LinkedChart(
            self.tr("Throughput"),
            "MB/s",
            [Series(self.tr("read"), "chart_read"), Series(self.tr("write"), "chart_write")],
            mark_texts=True,
        )
        self.operations = LinkedChart(
            self.tr("Operations"),
            "IOPS",
            [Series(self.tr("read"), "chart_read"), Series(self.tr("write"), "chart_write")],
        )
        self.latency = LinkedChart(
            self.tr("Latency"),
            "ms",
            [Series("p50", "chart_p50", digits=1), Series("p99", "chart_p99", digits=1)],
            filled=False,
        )
        self.window_chart = LinkedChart(self.tr("Command window"), "", [Series(self.tr("used"), "chart_p50")])
        self.charts = (self.throughput, self.operations, self.latency, self.window_chart)
        outer = vertical(self, margin=12, gap=10)
        head = horizontal(gap=6)
        self.peaks = ElidedLabel("", style="small")
        head.addWidget(self.peaks, 1)
        self.spans: dict[int, Chip] = {}
        group = QButtonGroup(self)
        for span_s, label in SPANS:
            chip = Chip(str(span_s), translated(label))
            chip.setAccessibleName(self.tr("Show the last {0}").format(words.duration(span_s)))
            chip.clicked.connect(self._choose(span_s))
            group.addButton(chip)
            self.spans[span_s] = chip
            head.addWidget(chip)
        outer.addLayout(head)
        holder = QWidget()
        grid = QGridLayout(holder)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setSpacing(12)
        link(self.charts, holder)
        for number, chart in enumerate(self.charts):
            row, column = divmod(number, 2)
            grid.addWidget(chart, row, column)
            grid.setRowStretch(row, 1)
            grid.setColumnStretch(column, 1)
        outer.addWidget(holder, 1)
        kept = context.preferences.get("sessions.span", self.span_s)
        self.choose_span(kept if kept in self.spans else self.span_s)

    def show_object(self, item: Any) -> None:
        self._session = item if isinstance(item, Session) else None
        self._ask_history()
        self._draw()

    def sampled(self, item: Any) -> None:
        self._session = item if isinstance(item, Session) else None
        self._ask_history()
        self._draw(STAGGER_MS if self.span_s > SPANS[0][0] else 0)

    def choose_span(self, span_s: int) -> None:
        self.span_s = span_s
        for known, chip in self.spans.items():
            chip.setChecked(known == span_s)
        for chart in self.charts:
            chart.point_at(None)
            chart.span_s = span_s
        self._draw()

    # inside

    def _choose(self, span_s: int) -> Callable[[], None]:
        def chosen() -> None:
            self.context.preferences.set("sessions.span", span_s)
            self.choose_span(span_s)

        return chosen

    def _ask_history(self) -> None:
        """Once per session: what was before this window was opened."""
        session = self._session
        if session is None or session.id in self._asked or session.state == "logged_out":
            return
        self._asked.add(session.id)
        self.host.call(
            "statistics.history",
            StatisticsOf(ids=[session.id], seconds=HISTORY_S),
            self._take_history,
            lambda _problem: self._asked.discard(session.id),
            owner=self,
        )

    def _take_history(self, samples: list[Sample]) -> None:
        self.host.replica.add_history(samples)
        self._draw()

    def _draw(self, apart_ms: int = 0) -> None:
        """Now, or one chart after the other with `apart_ms` between them."""
        session = self._session
        kept = list(self.host.replica.samples.get(session.id, ())) if session is not None else []
        now = self.context.now()
        if kept and now - kept[-1].at < _FRESH_S:
            now = kept[-1].at
        samples = [one for one in kept if one.at >= now - self.span_s - _FRESH_S]
        marks = self._marks()
        self._say_peaks(samples)
        drawings = (self._draw_rates, self._draw_operations, self._draw_latency, self._draw_window)
        for number, draw in enumerate(drawings):
            if apart_ms:
                QTimer.singleShot(number * apart_ms, self, partial(draw, now, samples, marks))
            else:
                draw(now, samples, marks)

    def _marks(self) -> list[Mark]:
        session = self._session
        if session is None:
            return []
        found = [
            event
            for event in self.host.values("events")
            if isinstance(event, Event) and event.object_id == session.id and event.kind in MARKS
        ]
        return [
            Mark(event.at, translated(text), tone) for event in found for text, tone in (MARKS[event.kind],)
        ]

    def _draw_rates(self, now: float, samples: Sequence[Sample], marks: Sequence[Mark]) -> None:
        largest = max((max(one.read_bytes_per_s, one.write_bytes_per_s) for one in samples), default=1e8)
        unit = _unit(_RATES, _RATE_LIMITS, largest)
        self._use(self.throughput, unit)
        points = [
            [(one.at, one.read_bytes_per_s / unit.divisor) for one in samples],
            [(one.at, one.write_bytes_per_s / unit.divisor) for one in samples],
        ]
        self.throughput.show_figures(now, points, marks)

    def _draw_operations(self, now: float, samples: Sequence[Sample], marks: Sequence[Mark]) -> None:
        largest = max((max(one.read_iops, one.write_iops) for one in samples), default=0.0)
        unit = _unit(_COUNTS, _COUNT_LIMITS, largest)
        self._use(self.operations, unit)
        points = [
            [(one.at, one.read_iops / unit.divisor) for one in samples],
            [(one.at, one.write_iops / unit.divisor) for one in samples],
        ]
        self.operations.show_figures(now, points, marks)

    @staticmethod
    def _use(chart: LinkedChart, unit: _Unit) -> None:
        chart.unit = translated(unit.name)
        for series in chart.series:
            series.digits = unit.digits

    def _draw_latency(self, now: float, samples: Sequence[Sample], marks: Sequence[Mark]) -> None:
        # A second in which nothing was asked has no latency; 0 would be a lie.
        timed = [one for one in samples if one.p99_us > 0]
        unit = _unit(_TIMES, _TIME_LIMITS, max((one.p99_us for one in timed), default=1e4))
        self._use(self.latency, unit)
        points = [
            [(one.at, one.p50_us / unit.divisor) for one in timed],
            [(one.at, one.p99_us / unit.divisor) for one in timed],
        ]
        self.latency.show_figures(now, points, marks)

    def _draw_window(self, now: float, samples: Sequence[Sample], marks: Sequence[Mark]) -> None:
        size = max((one.window_size for one in samples), default=0)
        if not size and self._session is not None:
            size = self._session.window_size
        chart = self.window_chart
        chart.unit = self.tr("of {0}").format(size) if size else ""
        chart.fixed_top = float(size) if size else None
        chart.show_figures(now, [[(one.at, float(one.window_used)) for one in samples]], marks)

    def _say_peaks(self, samples: Sequence[Sample]) -> None:
        if not samples:
            self.peaks.setText(self.tr("No figures: this session has moved no data yet."))
            return
        if not any(one.read_iops or one.write_iops for one in samples):
            self.peaks.setText(self.tr("No data was moved in this time."))
            return
        parts = [
            self.tr("read at most {max}").format(
                max=words.rate(max(one.read_bytes_per_s for one in samples))
            ),
            self.tr("write {max}").format(max=words.rate(max(one.write_bytes_per_s for one in samples))),
            f"{max(one.read_iops + one.write_iops for one in samples):,.0f} IOPS",
            f"p99 {words.latency(max(one.p99_us for one in samples))}",
        ]
        errors = samples[-1].errors
        if errors:
            parts.append(words.counted(errors, "error"))
        self.peaks.setText("  ·  ".join(parts))
