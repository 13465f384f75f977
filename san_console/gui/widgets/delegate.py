"""Draws the cells of every table: text, dot and word, tag, sparkline, bar. One pixel lines, no widgets in
cells.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from PySide6.QtCore import QModelIndex, QObject, QPersistentModelIndex, QPointF, QRect, QRectF, QSize, Qt
from PySide6.QtGui import QColor, QFont, QFontMetrics, QPainter, QPen
from PySide6.QtWidgets import QStyle, QStyledItemDelegate, QStyleOptionViewItem, QTableView

from san_console.gui.icons import pixmap
from san_console.gui.models.columns import Column
from san_console.gui.models.object_model import DetailRole, ToneRole
from san_console.gui.theme.theme import Theme, tokens
from san_console.gui.theme.tokens import ICON_PX, ROW_HEIGHT_PX, Tone

PADDING_PX: Final = 10
SPARKLINE_HEIGHT_PX: Final = 16
BAR_WIDTH_PX: Final = 90
BAR_HEIGHT_PX: Final = 6

SELECTED: Final = object()
"""The `detail` of a tag on a selected row."""

Paint = Callable[[QPainter, QRect, str, Tone, Any, Column, QFont], None]


def _left() -> Qt.AlignmentFlag:
    return Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter


def _text(
    painter: QPainter, rect: QRect, text: str, tone: Tone, detail: Any, column: Column, font: QFont
) -> None:
    painter.setFont(font)
    painter.setPen(QColor(tokens().tone(tone)))
    mode = Qt.TextElideMode.ElideMiddle if column.elide_middle else Qt.TextElideMode.ElideRight
    side = Qt.AlignmentFlag.AlignRight if column.right else Qt.AlignmentFlag.AlignLeft
    shown = QFontMetrics(font).elidedText(text, mode, rect.width())
    painter.drawText(rect, int(side | Qt.AlignmentFlag.AlignVCenter | Qt.TextFlag.TextSingleLine), shown)


def _state(
    painter: QPainter, rect: QRect, text: str, tone: Tone, detail: Any, column: Column, font: QFont
) -> None:
    if not text:
        return
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(QColor(tokens().tone(tone)))
    painter.drawEllipse(QRectF(rect.left(), rect.center().y() - 3, 8, 8))
    _text(painter, rect.adjusted(14, 0, 0, 0), text, tone, None, column, font)


def _tag(
    painter: QPainter, rect: QRect, text: str, tone: Tone, detail: Any, column: Column, font: QFont
) -> None:
    if not text:
        return
    small = QFont(font)
    small.setPixelSize(max(font.pixelSize() - 1, 10))
    small.setWeight(QFont.Weight.DemiBold)
    width = min(QFontMetrics(small).horizontalAdvance(text) + 15, rect.width())
    box = QRectF(rect.left(), rect.center().y() - 9.5, width, 20)
    painter.setPen(Qt.PenStyle.NoPen)
    # On a selected row the accent's tag would melt into the selection.
    painter.setBrush(QColor(tokens().surface if detail is SELECTED else tokens().soft(tone)))
    painter.drawRoundedRect(box, 4, 4)
    painter.setFont(small)
    painter.setPen(QColor(tokens().tone(tone)))
    shown = QFontMetrics(small).elidedText(text, Qt.TextElideMode.ElideRight, int(width) - 8)
    painter.drawText(box, int(Qt.AlignmentFlag.AlignCenter), shown)


def sparkline_points(values: Sequence[float], rect: QRectF) -> list[QPointF]:
    """`values` from left to right over `rect`, 0 at the bottom, the largest at the top."""
    if len(values) < 2:
        return []
    top = max(values) or 1.0
    step = rect.width() / (len(values) - 1)
    return [
        QPointF(rect.left() + step * at, rect.bottom() - rect.height() * v / top)
        for at, v in enumerate(values)
    ]


def _sparkline(
    painter: QPainter, rect: QRect, text: str, tone: Tone, detail: Any, column: Column, font: QFont
) -> None:
    area = QRectF(rect.left(), rect.center().y() - SPARKLINE_HEIGHT_PX / 2, rect.width(), SPARKLINE_HEIGHT_PX)
    points = sparkline_points(detail or (), area)
    if points:
        # Width 1: wider pens with anti-aliasing take Qt's slow stroker, 60 times slower.
        painter.setPen(QPen(QColor(tokens().chart_read), 1))
        painter.drawPolyline(points)


def _progress(
    painter: QPainter, rect: QRect, text: str, tone: Tone, detail: Any, column: Column, font: QFont
) -> None:
    if detail is None:
        _text(painter, rect, text, "muted", None, column, font)
        return
    width = min(BAR_WIDTH_PX, max(rect.width() - 44, 20))
    box = QRectF(rect.left(), rect.center().y() - BAR_HEIGHT_PX / 2 + 1, width, BAR_HEIGHT_PX)
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(QColor(tokens().neutral_soft))
    painter.drawRoundedRect(box, 3, 3)
    filled = QRectF(box)
    filled.setWidth(max(3.0, width * min(max(float(detail), 0.0), 1.0)))
    painter.setBrush(QColor(tokens().accent if tone in ("text", "muted") else tokens().tone(tone)))
    painter.drawRoundedRect(filled, 3, 3)
    _text(painter, rect.adjusted(width + 6, 0, 0, 0), text, "muted", None, column, font)


def _icon_text(
    painter: QPainter, rect: QRect, text: str, tone: Tone, detail: Any, column: Column, font: QFont
) -> None:
    if detail:
        scale = 2 if painter.device().devicePixelRatioF() > 1 else 1
        image = pixmap(str(detail), tokens().tone(tone), ICON_PX, scale)
        painter.drawPixmap(rect.left(), rect.center().y() - ICON_PX // 2 + 1, image)
    _text(painter, rect.adjusted(ICON_PX + 8, 0, 0, 0), text, tone, None, column, font)


_PAINTERS: Final[dict[str, Paint]] = {
    "text": _text,
    "state": _state,
    "tag": _tag,
    "sparkline": _sparkline,
    "progress": _progress,
    "icon_text": _icon_text,
}


def _is_row_of_focus(view: object, index: QModelIndex | QPersistentModelIndex) -> bool:
    """Whether `index` is the leftmost cell of the row that the keyboard is on."""
    if not isinstance(view, QTableView) or not view.hasFocus() or view.currentIndex().row() != index.row():
        return False
    header = view.horizontalHeader()
    first = next((n for n in range(header.count()) if not header.isSectionHidden(header.logicalIndex(n))), 0)
    return header.visualIndex(index.column()) == first


class CellDelegate(QStyledItemDelegate):
    """Draws by the `Column` of the cell."""

    def __init__(self, columns: Sequence[Column], parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._columns = columns

    def sizeHint(self, option: QStyleOptionViewItem, index: QModelIndex | QPersistentModelIndex) -> QSize:
        column = self._columns[index.column()]
        font = self._font(column)
        text = str(index.data() or "")
        extra = {"state": 14, "tag": 16, "sparkline": 80, "progress": BAR_WIDTH_PX + 8, "icon_text": 24}
        width = QFontMetrics(font).horizontalAdvance(text) + extra.get(column.kind, 0) + 2 * PADDING_PX + 2
        return QSize(width, ROW_HEIGHT_PX)

    def _font(self, column: Column) -> QFont:
        theme = Theme.of()
        if column.mono:
            return theme.fixed
        if column.strong:
            font = QFont(theme.font)
            font.setWeight(QFont.Weight.DemiBold)
            return font
        return theme.font

    def paint(
        self, painter: QPainter, option: QStyleOptionViewItem, index: QModelIndex | QPersistentModelIndex
    ) -> None:
        column = self._columns[index.column()]
        colors = tokens()
        rect: QRect = option.rect
        state: QStyle.StateFlag = option.state
        if state & QStyle.StateFlag.State_Selected:
            painter.fillRect(rect, QColor(colors.accent_soft))
        elif state & QStyle.StateFlag.State_MouseOver:
            painter.fillRect(rect, QColor(colors.hover))
        painter.setPen(QPen(QColor(colors.chart_grid), 1))
        painter.drawLine(rect.bottomLeft(), rect.bottomRight())
        if state & QStyle.StateFlag.State_Selected and _is_row_of_focus(option.widget, index):
            painter.fillRect(QRect(rect.left(), rect.top(), 3, rect.height() - 1), QColor(colors.accent))
        tone: Tone = index.data(ToneRole) or ("muted" if column.muted else "text")
        painter.save()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        area = rect.adjusted(PADDING_PX, 0, -PADDING_PX, -1)
        text = str(index.data() or "")
        selected_tag = column.kind == "tag" and state & QStyle.StateFlag.State_Selected
        detail = SELECTED if selected_tag else index.data(DetailRole)
        _PAINTERS[column.kind](painter, area, text, tone, detail, column, self._font(column))
        painter.restore()
