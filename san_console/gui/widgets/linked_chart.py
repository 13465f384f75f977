"""Charts of one time axis: the crosshair of one is the crosshair of all, by mouse or arrow keys, with the
figures at it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from PySide6.QtCore import QEvent, QPointF, QRectF, Qt, Signal
from PySide6.QtGui import (
    QColor,
    QFontMetrics,
    QKeyEvent,
    QMouseEvent,
    QPainter,
    QPen,
    QPolygonF,
)
from PySide6.QtWidgets import QWidget

from san_console.gui import words
from san_console.gui.theme.theme import tokens
from san_console.gui.widgets.chart import GAP_S, Mark, Series, TimeChart, nearest
from san_console.gui.widgets.chart_scale import reduce_columns

_FILL_ALPHA: Final = 26
"""Of 255: enough to see what lies under the line, too little to hide a second line."""

_BUBBLE_LINE_PX: Final = 16
_SCALE_PARTS: Final = 3
_STEPS: Final = (1.0, 1.2, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0)
"""A part of a scale is one of these times a power of ten: fine enough that the lines fill the chart."""

_KEY_STEPS: Final = 60
"""Arrow keys walk a sixtieth of the axis: one sample of the shortest span."""


class LinkedChart(TimeChart):
    """A `TimeChart` that tells where its crosshair is, and takes that of others."""

    pointed = Signal(object)
    """Seconds before now, or None when the pointer left."""

    def __init__(
        self,
        title: str,
        unit: str,
        series: Sequence[Series],
        *,
        filled: bool = True,
        mark_texts: bool = False,
        span_s: int = 60,
    ) -> None:
        super().__init__(title, unit, series, span_s=span_s)
        self.filled = filled
        self.mark_texts = mark_texts
        """Of charts that stand together, one says what the marks of all mean."""
        self.pointed_at: float | None = None
        self.setMinimumSize(220, 92)

    def point_at(self, before_s: float | None) -> None:
        """Put the crosshair so many seconds before now, or take it away."""
        if before_s is not None and not 0 <= before_s <= self.span_s:
            before_s = None
        if before_s != self.pointed_at:
            self.pointed_at = before_s
            plot = self._plot()
            self._hover_x = None if before_s is None else plot.right() - plot.width() * before_s / self.span_s
            self.update()

    def figures_at(self, before_s: float) -> list[tuple[Series, str]]:
        """Each line with its figure and unit, so many seconds before now; lines with none are left out."""
        at = self.now - before_s
        found = ((series, nearest(series.points, at)) for series in self.series)
        return [
            (series, f"{self._figure(series, near[1])} {self.unit}")
            for series, near in found
            if near is not None
        ]

    def _top(self) -> float:
        if self.fixed_top:
            return self.fixed_top
        oldest = self.now - self.span_s
        largest = max((v for s in self.series for at, v in s.points if at >= oldest), default=0.0)
        return close_top(largest)

    # pointer and keys

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        plot = self._plot()
        x = event.position().x()
        inside = plot.left() <= x <= plot.right() and plot.width() > 0
        self.pointed.emit(self.span_s * (plot.right() - x) / plot.width() if inside else None)

    def leaveEvent(self, event: QEvent) -> None:
        self.pointed.emit(None)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        step = self.span_s / _KEY_STEPS
        here = self.pointed_at
        if event.key() == Qt.Key.Key_Left:
            self.pointed.emit(0.0 if here is None else min(here + step, float(self.span_s)))
        elif event.key() == Qt.Key.Key_Right and here is not None:
            self.pointed.emit(max(here - step, 0.0))
        elif event.key() == Qt.Key.Key_Escape and here is not None:
            self.pointed.emit(None)
        else:
            super().keyPressEvent(event)

    # painting

    def _draw_heading(self, painter: QPainter) -> None:
        # A figure that is older than a gap is not the present one.
        whole = [series.points for series in self.series]
        for series in self.series:
            if series.points and series.points[-1][0] < self.now - GAP_S:
                series.points = []
        super()._draw_heading(painter)
        for series, points in zip(self.series, whole, strict=True):
            series.points = points

    @staticmethod
    def _draw_run(painter: QPainter, run: Sequence[tuple[float, float]], plot: QRectF) -> None:
        if len(run) == 1:
            # One second alone is a dot, not nothing.
            painter.drawEllipse(QPointF(plot.left() + run[0][0], run[0][1]), 1, 1)
        else:
            TimeChart._draw_run(painter, run, plot)

    def _draw_line(self, painter: QPainter, series: Series, plot: QRectF, top: float) -> None:
        if self.filled and top > 0:
            self._fill(painter, series, plot, top)
        super()._draw_line(painter, series, plot, top)

    def _fill(self, painter: QPainter, series: Series, plot: QRectF, top: float) -> None:
        color = QColor(getattr(tokens(), series.color))
        color.setAlpha(_FILL_ALPHA)
        # Its edge lies under the line: smoothing it costs twice the rest of the chart and shows nothing.
        painter.setRenderHint(QPainter.RenderHint.Antialiasing, False)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(color)
        oldest = self.now - self.span_s - GAP_S
        run: list[tuple[float, float]] = []
        last_at: float | None = None
        for at, value in series.points:
            if at < oldest:
                continue
            if last_at is not None and at - last_at > GAP_S:
                self._fill_run(painter, run, plot)
                run = []
            y = plot.bottom() - plot.height() * min(max(value / top, 0.0), 1.0)
            run.append((self._x(at, plot) - plot.left(), y))
            last_at = at
        self._fill_run(painter, run, plot)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)

    @staticmethod
    def _fill_run(painter: QPainter, run: Sequence[tuple[float, float]], plot: QRectF) -> None:
        if len(run) < 2:
            return
        reduced = reduce_columns(run, max(int(plot.width()), 1))
        outline = [QPointF(plot.left() + x, y) for x, y in reduced]
        outline.append(QPointF(outline[-1].x(), plot.bottom()))
        outline.append(QPointF(outline[0].x(), plot.bottom()))
        painter.drawPolygon(QPolygonF(outline))

    def _draw_marks(self, painter: QPainter, plot: QRectF) -> None:
        placed = [(round(self._x(mark.at, plot)) + 0.5, mark) for mark in self.marks]
        for x, mark in placed:
            pen = QPen(QColor(getattr(tokens(), mark.color)), 1)
            pen.setDashPattern([3, 3])
            painter.setPen(pen)
            painter.drawLine(QPointF(x, plot.top() - 4), QPointF(x, plot.bottom()))
        if self.mark_texts:
            self._draw_mark_texts(painter, plot, placed)

    def _draw_mark_texts(self, painter: QPainter, plot: QRectF, placed: Sequence[tuple[float, Mark]]) -> None:
        """Each where there is room for it, on a ground of its own, so that no line runs through a word."""
        font = self._font(3)
        metrics = QFontMetrics(font)
        painter.setFont(font)
        free_from = plot.left()
        for x, mark in placed:
            width = metrics.horizontalAdvance(mark.text)
            start = x + 4 if x + 4 + width <= plot.right() else x - 4 - width
            if start < free_from:
                continue
            ground = QRectF(start - 1, plot.top() - 5, width + 2, metrics.height())
            painter.fillRect(ground, QColor(tokens().surface))
            painter.setPen(QColor(getattr(tokens(), mark.color)))
            painter.drawText(QPointF(start, plot.top() + 5), mark.text)
            free_from = start + width + 6

    def _draw_crosshair(self, painter: QPainter, plot: QRectF, top: float) -> None:
        super()._draw_crosshair(painter, plot, top)
        if self.pointed_at is None or self._hover_x is None:
            return
        colors = tokens()
        font = self._font(2)
        metrics = QFontMetrics(font)
        when = (
            self.tr("{pointed_at} ago").format(pointed_at=words.duration(self.pointed_at + 0.5))
            if self.pointed_at >= 0.5
            else self.tr("now")
        )
        lines = [(None, when), *((s, f"{s.name} {text}") for s, text in self.figures_at(self.pointed_at))]
        width = max(metrics.horizontalAdvance(text) for _s, text in lines) + 30
        height = _BUBBLE_LINE_PX * len(lines) + 8
        left = self._hover_x + 10
        if left + width > plot.right():
            left = self._hover_x - 10 - width
        box = QRectF(left, plot.top() + 14, width, height)
        painter.setPen(QPen(QColor(colors.border_strong), 1))
        painter.setBrush(QColor(colors.raised))
        painter.drawRoundedRect(box.translated(0.5, 0.5), 4, 4)
        painter.setFont(font)
        for number, (series, text) in enumerate(lines):
            baseline = box.top() + 16 + number * _BUBBLE_LINE_PX
            if series is not None:
                painter.setPen(Qt.PenStyle.NoPen)
                painter.setBrush(QColor(getattr(colors, series.color)))
                painter.drawEllipse(QRectF(box.left() + 9, baseline - 8, 7, 7))
            painter.setPen(QColor(colors.muted if series is None else colors.text))
            painter.drawText(QPointF(box.left() + (8 if series is None else 22), baseline), text)


def close_top(largest: float) -> float:
    """The end of a scale of three equal, round parts that holds `largest` and not much more."""
    if largest <= 0 or not math.isfinite(largest):
        return float(_SCALE_PARTS)
    part = largest / _SCALE_PARTS
    power = 10.0 ** math.floor(math.log10(part))
    step = next((step for step in _STEPS if step * power >= part * 0.999999), _STEPS[-1])
    return step * power * _SCALE_PARTS


def link(charts: Sequence[LinkedChart], parent: QWidget) -> None:
    """Let the crosshair of one be that of all."""

    def point(before_s: float | None) -> None:
        for chart in charts:
            chart.point_at(before_s)

    for chart in charts:
        chart.pointed.connect(point)
        chart.setParent(parent)
