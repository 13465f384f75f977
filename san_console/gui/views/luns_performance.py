"""How fast a LUN is: the live figures of its session, and what was measured with it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from PySide6.QtCore import Qt

from san_console.api.engine_objects import Job, Sample
from san_console.api.initiator_objects import Lun
from san_console.api.methods import StatisticsOf
from san_console.gui import words
from san_console.gui.context import Context
from san_console.gui.translation import translate
from san_console.gui.views.page import DetailTab
from san_console.gui.widgets.buttons import Button
from san_console.gui.widgets.cards import horizontal, vertical
from san_console.gui.widgets.chart import Series, TimeChart
from san_console.gui.widgets.job_list import JobList
from san_console.gui.widgets.key_values import KeyValues, Pair
from san_console.gui.widgets.labels import ElidedLabel, PlainLabel

SPAN_S: Final = 60

_Points = tuple[Callable[[Sample], float], ...]
_FIGURES: Final[tuple[_Points, ...]] = (
    (lambda one: one.read_bytes_per_s / 1e6, lambda one: one.write_bytes_per_s / 1e6),
    (lambda one: (one.read_iops + one.write_iops) / 1e3,),
    (lambda one: one.p50_us / 1e3, lambda one: one.p99_us / 1e3),
)


class PerformanceTab(DetailTab):
    """Three charts, and the newest measurement of this LUN."""

    def __init__(self, context: Context, on_bench: Callable[[], object]) -> None:
        super().__init__(context)
        self._asked = ""
        column = vertical(self, margin=12, gap=10)
        head = horizontal(gap=8)
        self.caption = ElidedLabel("", style="muted", elide=Qt.TextElideMode.ElideRight)
        head.addWidget(self.caption, 1)
        head.addWidget(Button(self.tr("Benchmark…"), on_bench, icon="gauge"))
        column.addLayout(head)
        self.charts = (
            TimeChart(
                self.tr("Throughput"),
                "MB/s",
                [
                    Series(self.tr("read"), "chart_read", digits=1),
                    Series(self.tr("write"), "chart_write", digits=1),
                ],
                span_s=SPAN_S,
            ),
            TimeChart(self.tr("Operations"), "k/s", [Series("IOPS", "chart_read", digits=1)], span_s=SPAN_S),
            TimeChart(
                self.tr("Latency"),
                "ms",
                [Series("p50", "chart_p50", digits=2), Series("p99", "chart_p99", digits=2)],
                span_s=SPAN_S,
            ),
        )
        row = horizontal(gap=10)
        for chart in self.charts:
            row.addWidget(chart)
        column.addLayout(row, 1)
        self.bench_title = PlainLabel("", style="strong")
        self.bench = KeyValues(columns=4)
        column.addWidget(self.bench_title)
        column.addWidget(self.bench)

    def show_object(self, item: Any) -> None:
        lun = item if isinstance(item, Lun) else None
        session = self.host.get("sessions", lun.session_id) if lun is not None else None
        if lun is None or session is None:
            self.caption.setText("")
            self._show_bench(None)
            return
        count = words.counted(max(session.lun_count, 1), "LUN")
        self.caption.setText(
            self.tr("Figures of the session to {target} at {portal}, which carries {count}.").format(
                target=words.short_name(session.target), portal=session.portal, count=count
            )
        )
        if self._asked != session.id:
            self._asked = session.id
            self.host.call(
                "statistics.history",
                StatisticsOf(ids=[session.id], seconds=SPAN_S),
                lambda samples: self._take_history(session.id, samples),
                owner=self,
            )
        self._show_bench(_newest_bench(self.context, lun.id))
        self.sampled(lun)

    def _take_history(self, session_id: str, samples: list[Sample]) -> None:
        self.host.replica.add_history(samples)
        self._draw(session_id)

    def sampled(self, item: Any) -> None:
        if isinstance(item, Lun):
            self._draw(item.session_id)

    def _draw(self, session_id: str) -> None:
        samples = list(self.host.replica.samples.get(session_id, ()))
        # The newest sample is "now": a clock that differs from the engine's would shift the lines away.
        now = samples[-1].at if samples else self.context.now()
        for chart, figures in zip(self.charts, _FIGURES, strict=True):
            chart.show_figures(now, [[(one.at, figure(one)) for one in samples] for figure in figures], [])

    def _show_bench(self, job: Job | None) -> None:
        if job is None:
            self.bench_title.setText(self.tr("Not measured yet: a benchmark only reads."))
            self.bench.show_pairs([])
            return
        when = words.ago(self.context.now() - (job.ended_at or job.started_at))
        self.bench_title.setText(self.tr("Measured {when}").format(when=when))
        self.bench.show_pairs(bench_pairs(job.result))


class TasksTab(DetailTab):
    """Copies and measurements of this LUN."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.jobs = JobList(context, self.tr("No task of this LUN"))
        vertical(self).addWidget(self.jobs)

    def show_object(self, item: Any) -> None:
        wanted = item.id if isinstance(item, Lun) else None
        self.jobs.show_jobs(job for job in self.host.values("jobs") if job.object_id == wanted)


def _newest_bench(context: Context, lun_id: str) -> Job | None:
    found = [
        job
        for job in context.host.values("jobs")
        if job.kind == "lun_bench" and job.object_id == lun_id and job.state == "done"
    ]
    return max(found, key=lambda job: job.ended_at or 0.0, default=None)


def bench_pairs(result: dict[str, str]) -> list[Pair]:
    """The result of a `luns.bench` job. What is missing or no number is left out."""
    pairs = []
    texts: tuple[tuple[str, str, Callable[[float], str]], ...] = (
        ("iops", "IOPS", lambda value: f"{value:,.0f}"),
        ("bytes_per_s", translate("luns_performance", "Throughput"), words.rate),
        ("p50_us", translate("luns_performance", "Latency p50"), words.latency),
        ("p90_us", "p90", words.latency),
        ("p99_us", "p99", words.latency),
        ("p999_us", "p99.9", words.latency),
        ("max_us", translate("luns_performance", "Longest"), words.latency),
    )
    for key, title, shown in texts:
        try:
            value = result.get(key) or result[f"latency_{key}"]
            pairs.append(Pair(title, shown(float(value))))
        except (KeyError, ValueError):
            continue
    how = [
        result.get("pattern", ""),
        translate("luns_performance", "{result} bytes").format(result=result["block_bytes"])
        if "block_bytes" in result
        else "",
        translate("luns_performance", "{result} deep").format(result=result["queue_depth"])
        if "queue_depth" in result
        else "",
    ]
    if any(how):
        pairs.append(Pair(translate("luns_performance", "How"), ", ".join(part for part in how if part)))
    return pairs
