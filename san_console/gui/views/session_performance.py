"""Four live charts of one session, with what happened marked on their time axis."""

from __future__ import annotations

from typing import Any, Final

from PySide6.QtWidgets import QGridLayout

from san_console.api.engine_objects import Sample
from san_console.api.initiator_objects import Session
from san_console.gui.context import Context
from san_console.gui.theme.tokens import GAP_PX
from san_console.gui.views.page import DetailTab
from san_console.gui.widgets.chart import Mark, Series, TimeChart
from san_console.names.display import visible

MARKED_KINDS: Final[dict[str, tuple[str, str]]] = {
    "connection_lost": ("connection lost", "bad"),
    "session_lost": ("session lost", "bad"),
    "login": ("logged in", "good"),
    "recovered": ("recovered", "good"),
    "redirected": ("redirected", "warning"),
    "digest_error": ("digest error", "bad"),
    "nop_timeout": ("no answer to NOP", "warning"),
    "logout": ("logged out", "muted"),
}
MARK_CHARACTERS: Final = 28
CHART_HEIGHT_PX: Final = 136


class PerformanceTab(DetailTab):
    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.throughput = TimeChart(
            "Throughput", "MB/s", [Series("read", "chart_read"), Series("write", "chart_write")]
        )
        self.operations = TimeChart("Operations", "k/s", [Series("IOPS", "chart_read", digits=1)])
        self.latency = TimeChart(
            "Latency", "ms", [Series("p50", "chart_p50", digits=1), Series("p99", "chart_p99", digits=1)]
        )
        self.window_chart = TimeChart("Command window", "", [Series("used", "chart_p50")])
        self.charts = (self.throughput, self.operations, self.latency, self.window_chart)
        grid = QGridLayout(self)
        grid.setContentsMargins(GAP_PX, GAP_PX, GAP_PX, GAP_PX)
        grid.setSpacing(GAP_PX)
        for number, chart in enumerate(self.charts):
            chart.setMaximumHeight(280)
            grid.addWidget(chart, number // 2, number % 2)

    def show_object(self, item: Any) -> None:
        self.sampled(item)

    def sampled(self, item: Any) -> None:
        span_s = int(self.context.preferences.get("sessions.span", 60))
        session: Session | None = item
        kept = list(self.host.replica.samples.get(session.id, ())) if session is not None else []
        now = kept[-1].at if kept else self.context.now()
        samples = [sample for sample in kept if sample.at >= now - span_s - 1]
        marks = self._marks(session, now - span_s) if session is not None else []
        for chart in self.charts:
            chart.span_s = span_s
        self._show(samples, marks, now, session)

    def _show(self, samples: list[Sample], marks: list[Mark], now: float, session: Session | None) -> None:
        read = [(s.at, s.read_bytes_per_s / 1e6) for s in samples]
        write = [(s.at, s.write_bytes_per_s / 1e6) for s in samples]
        self.throughput.show_figures(now, (read, write), marks)
        iops = [(s.at, s.read_iops + s.write_iops) for s in samples]
        thousands = max((value for _at, value in iops), default=0.0) >= 1000
        self.operations.unit = "k/s" if thousands else "per s"
        self.operations.series[0].digits = 1 if thousands else 0
        scaled = [(at, value / 1000) for at, value in iops] if thousands else iops
        unnamed = [Mark(mark.at, "", mark.color) for mark in marks]
        self.operations.show_figures(now, (scaled,), unnamed)
        p50 = [(s.at, s.p50_us / 1000) for s in samples]
        p99 = [(s.at, s.p99_us / 1000) for s in samples]
        small = max((value for _at, value in p99), default=0.0) < 1
        for series in self.latency.series:
            series.digits = 2 if small else 1
        self.latency.show_figures(now, (p50, p99), unnamed)
        size = samples[-1].window_size if samples else (session.window_size if session is not None else 0)
        self.window_chart.unit = f"open of {size}" if size else ""
        self.window_chart.fixed_top = float(size) if size else None
        self.window_chart.show_figures(now, ([(s.at, float(s.window_used)) for s in samples],), unnamed)

    def _marks(self, session: Session, oldest: float) -> list[Mark]:
        marks = []
        for event in self.host.values("events"):
            if event.object_id == session.id and event.kind in MARKED_KINDS and event.at >= oldest:
                text, color = MARKED_KINDS[event.kind]
                own = event.text.rstrip(".")
                marks.append(Mark(event.at, visible(own) if len(own) <= MARK_CHARACTERS else text, color))
        return sorted(marks, key=lambda mark: mark.at)
