"""A line chart over time: own painter, pen width 1, crosshair, event marks, and words for who cannot see it.

Pens wider than 1 with anti-aliasing take Qt's slow stroker, which is 60 times slower.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from PySide6.QtCore import QEvent, QPointF, QRectF, QSize, Qt
from PySide6.QtGui import QColor, QFont, QFontMetrics, QMouseEvent, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QSizePolicy, QWidget

from san_console.gui.theme.theme import Theme, tokens
from san_console.gui.theme.tokens import CONTROL_RADIUS_PX
from san_console.gui.widgets.chart_scale import reduce_columns, round_top, span_ticks, tick_text
from san_console.gui.widgets.labels import tooltip_text

_LEFT_PX: Final = 46
_RIGHT_PX: Final = 12
_TOP_PX: Final = 34
_BOTTOM_PX: Final = 24
_GRID_PARTS: Final = 3
GAP_S: Final = 3.5
"""Samples come once a second; a longer silence is a gap in the line, not a straight stroke over it."""


@dataclass(slots=True)
class Series:
    """One line: `points` are (time in s, value), ascending. `color` is the name of a token."""

    name: str
    color: str
    points: Sequence[tuple[float, float]] = field(default_factory=list)
    digits: int = 0


@dataclass(frozen=True, slots=True)
class Mark:
    """Something that happened at a time."""

    at: float
    text: str
    color: str = "bad"


class TimeChart(QWidget):
    """The last `span_s` seconds of some figures."""

    def __init__(
        self,
        title: str,
        unit: str,
        series: Sequence[Series],
        *,
        fixed_top: float | None = None,
        span_s: int = 60,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self.title = title
        self.unit = unit
        self.series = list(series)
        self.marks: list[Mark] = []
        self.fixed_top = fixed_top
        self.span_s = span_s
        self.now = 0.0
        self._hover_x: float | None = None
        self.setMouseTracking(True)
        self.setMinimumSize(QSize(220, 110))
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.setAccessibleName(title)

    def sizeHint(self) -> QSize:
        return QSize(420, 140)

    def show_figures(
        self, now: float, points: Sequence[Sequence[tuple[float, float]]], marks: Sequence[Mark]
    ) -> None:
        """One list of points for each series."""
        self.now = now
        for series, values in zip(self.series, points, strict=True):
            series.points = values
        self.marks = [mark for mark in marks if now - self.span_s <= mark.at <= now]
        self.setAccessibleDescription(self.in_words())
        self.update()

    def in_words(self) -> str:
        """The chart as a sentence."""
        parts = []
        for series in self.series:
            inside = [value for at, value in series.points if at >= self.now - self.span_s]
            if inside:
                newest, highest = self._figure(series, inside[-1]), self._figure(series, max(inside))
                parts.append(
                    self.tr("{name} now {newest} {unit}, at most {highest} {unit}").format(
                        name=series.name, newest=newest, unit=self.unit, highest=highest
                    )
                )
        happened = "; ".join(
            self.tr("{text} {now:.0f} s ago").format(text=mark.text, now=self.now - mark.at)
            for mark in self.marks
        )
        text = self.tr("{title}, last {span_s} s: ").format(title=self.title, span_s=self.span_s) + (
            "; ".join(parts) or self.tr("no figures")
        )
        return f"{text}. {happened}" if happened else text

    @staticmethod
    def _figure(series: Series, value: float) -> str:
        return f"{value:,.{series.digits}f}"

    # geometry

    def _plot(self) -> QRectF:
        return QRectF(self.rect()).adjusted(_LEFT_PX, _TOP_PX, -_RIGHT_PX, -_BOTTOM_PX)

    def _top(self) -> float:
        if self.fixed_top:
            return self.fixed_top
        oldest = self.now - self.span_s
        largest = max((v for s in self.series for at, v in s.points if at >= oldest), default=0.0)
        return round_top(largest, _GRID_PARTS)

    def _x(self, at: float, plot: QRectF) -> float:
        return plot.left() + plot.width() * (1 - (self.now - at) / self.span_s)

    # painting

    def paintEvent(self, event: QPaintEvent) -> None:
        colors = tokens()
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        frame = QRectF(self.rect()).adjusted(0.5, 0.5, -0.5, -0.5)
        painter.setPen(QPen(QColor(colors.accent if self.hasFocus() else colors.border), 1))
        painter.setBrush(QColor(colors.surface))
        painter.drawRoundedRect(frame, CONTROL_RADIUS_PX, CONTROL_RADIUS_PX)
        plot, top = self._plot(), self._top()
        self._draw_heading(painter)
        self._draw_grid(painter, plot, top)
        painter.setClipRect(plot.adjusted(0, -1, 1, 1))
        for series in self.series:
            self._draw_line(painter, series, plot, top)
        painter.setClipping(False)
        self._draw_marks(painter, plot)
        if self._hover_x is not None:
            self._draw_crosshair(painter, plot, top)

    def _font(self, smaller: int, weight: QFont.Weight = QFont.Weight.Normal) -> QFont:
        font = QFont(Theme.of().font)
        font.setPixelSize(max(font.pixelSize() - smaller, 9))
        font.setWeight(weight)
        return font

    def _draw_heading(self, painter: QPainter) -> None:
        colors = tokens()
        bold, plain = self._font(1, QFont.Weight.DemiBold), self._font(1)
        baseline = 22.0
        painter.setFont(bold)
        painter.setPen(QColor(colors.text))
        painter.drawText(QPointF(11, baseline), self.title)
        painter.setFont(plain)
        painter.setPen(QColor(colors.muted))
        painter.drawText(
            QPointF(11 + QFontMetrics(bold).horizontalAdvance(self.title) + 10, baseline), self.unit
        )
        right = self.width() - 11.0
        for series in reversed(self.series):
            value = self._figure(series, series.points[-1][1]) if series.points else "–"
            painter.setFont(bold)
            painter.setPen(QColor(colors.text))
            right -= QFontMetrics(bold).horizontalAdvance(value)
            painter.drawText(QPointF(right, baseline), value)
            painter.setFont(plain)
            painter.setPen(QColor(colors.muted))
            right -= QFontMetrics(plain).horizontalAdvance(series.name) + 5
            painter.drawText(QPointF(right, baseline), series.name)
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(QColor(getattr(colors, series.color)))
            right -= 13
            painter.drawEllipse(QRectF(right, baseline - 8.5, 8, 8))
            right -= 12

    def _draw_grid(self, painter: QPainter, plot: QRectF, top: float) -> None:
        colors = tokens()
        font = self._font(3)
        metrics = QFontMetrics(font)
        painter.setFont(font)
        for part in range(_GRID_PARTS + 1):
            y = round(plot.bottom() - plot.height() * part / _GRID_PARTS) + 0.5
            painter.setPen(QPen(QColor(colors.chart_grid), 1))
            painter.drawLine(QPointF(plot.left(), y), QPointF(plot.right(), y))
            painter.setPen(QColor(colors.muted))
            text = tick_text(top * part / _GRID_PARTS, top)
            painter.drawText(QPointF(plot.left() - 8 - metrics.horizontalAdvance(text), y + 4), text)
        for before, text in span_ticks(self.span_s):
            x = plot.right() - plot.width() * before / self.span_s
            width = metrics.horizontalAdvance(text)
            x = min(max(plot.left(), x - (0 if before == self.span_s else width / 2)), plot.right() - width)
            painter.drawText(QPointF(x, plot.bottom() + 16), text)

    def _draw_line(self, painter: QPainter, series: Series, plot: QRectF, top: float) -> None:
        painter.setPen(QPen(QColor(getattr(tokens(), series.color)), 1))
        oldest = self.now - self.span_s - GAP_S
        run: list[tuple[float, float]] = []
        last_at: float | None = None
        for at, value in series.points:
            if at < oldest:
                continue
            if last_at is not None and at - last_at > GAP_S:
                self._draw_run(painter, run, plot)
                run = []
            y = plot.bottom() - plot.height() * min(max(value / top, 0.0), 1.0)
            run.append((self._x(at, plot) - plot.left(), y))
            last_at = at
        self._draw_run(painter, run, plot)

    @staticmethod
    def _draw_run(painter: QPainter, run: Sequence[tuple[float, float]], plot: QRectF) -> None:
        if len(run) > 1:
            reduced = reduce_columns(run, max(int(plot.width()), 1))
            painter.drawPolyline([QPointF(plot.left() + x, y) for x, y in reduced])

    def _draw_marks(self, painter: QPainter, plot: QRectF) -> None:
        font = self._font(3)
        metrics = QFontMetrics(font)
        free_from = plot.left()
        for mark in self.marks:
            color = QColor(getattr(tokens(), mark.color))
            pen = QPen(color, 1)
            pen.setDashPattern([3, 3])
            painter.setPen(pen)
            x = round(self._x(mark.at, plot)) + 0.5
            painter.drawLine(QPointF(x, plot.top() - 4), QPointF(x, plot.bottom()))
            width = metrics.horizontalAdvance(mark.text)
            start = x + 4 if x + 4 + width <= plot.right() else x - 4 - width
            if start >= free_from:
                painter.setFont(font)
                painter.setPen(color)
                painter.drawText(QPointF(start, plot.top() + 5), mark.text)
                free_from = start + width + 6

    def _draw_crosshair(self, painter: QPainter, plot: QRectF, top: float) -> None:
        assert self._hover_x is not None
        colors = tokens()
        at = self.now - self.span_s * (plot.right() - self._hover_x) / max(plot.width(), 1)
        painter.setPen(QPen(QColor(colors.muted), 1, Qt.PenStyle.DotLine))
        painter.drawLine(QPointF(self._hover_x, plot.top()), QPointF(self._hover_x, plot.bottom()))
        for series in self.series:
            near = nearest(series.points, at)
            if near is not None:
                y = plot.bottom() - plot.height() * min(max(near[1] / top, 0.0), 1.0)
                painter.setPen(QPen(QColor(colors.surface), 1))
                painter.setBrush(QColor(getattr(colors, series.color)))
                painter.drawEllipse(QPointF(self._x(near[0], plot), y), 3.5, 3.5)

    # pointer

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        plot = self._plot()
        x = event.position().x()
        self._hover_x = x if plot.left() <= x <= plot.right() else None
        self.setToolTip(tooltip_text(self._hover_text(plot)) if self._hover_x is not None else "")
        self.update()

    def leaveEvent(self, event: QEvent) -> None:
        self._hover_x = None
        self.update()

    def _hover_text(self, plot: QRectF) -> str:
        assert self._hover_x is not None
        at = self.now - self.span_s * (plot.right() - self._hover_x) / max(plot.width(), 1)
        lines = [self.tr("{now:.0f} s ago").format(now=self.now - at)]
        for series in self.series:
            near = nearest(series.points, at)
            if near is not None:
                lines.append(f"{series.name} {self._figure(series, near[1])} {self.unit}")
        return "\n".join(lines)


def nearest(points: Sequence[tuple[float, float]], at: float) -> tuple[float, float] | None:
    """The point next to `at`, unless it is further away than a gap."""
    best = min(points, key=lambda point: abs(point[0] - at), default=None)
    return best if best is not None and abs(best[0] - at) <= GAP_S else None
