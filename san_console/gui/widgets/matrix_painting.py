"""How the mapping matrix looks: two-line headers, filled cells, a dashed frame around what is pending."""

from __future__ import annotations

from typing import Final

from PySide6.QtCore import QModelIndex, QPersistentModelIndex, QRect, QRectF, QSize, Qt
from PySide6.QtGui import QColor, QFont, QFontMetrics, QPainter, QPen
from PySide6.QtWidgets import QHeaderView, QStyle, QStyledItemDelegate, QStyleOptionViewItem, QWidget

from san_console.gui.models.matrix_model import BadgeRole, InheritedRole, SubtitleRole
from san_console.gui.models.object_model import DetailRole, ToneRole
from san_console.gui.theme.theme import Theme, tokens
from san_console.gui.theme.tokens import Tone

ROW_PX: Final = 40
HEADER_PX: Final = 46
FIRST_COLUMN_PX: Final = 240
COLUMN_PX: Final = 128


def _font(bold: bool, smaller: int = 0) -> QFont:
    font = QFont(Theme.of().font)
    font.setPixelSize(max(font.pixelSize() - smaller, 10))
    if bold:
        font.setWeight(QFont.Weight.DemiBold)
    return font


def _draw(painter: QPainter, rect: QRect, text: str, font: QFont, color: str, side: Qt.AlignmentFlag) -> None:
    painter.setFont(font)
    painter.setPen(QColor(color))
    shown = QFontMetrics(font).elidedText(text, Qt.TextElideMode.ElideMiddle, rect.width())
    painter.drawText(rect, int(side | Qt.AlignmentFlag.AlignVCenter | Qt.TextFlag.TextSingleLine), shown)


class MatrixHeader(QHeaderView):
    def __init__(self, parent: QWidget) -> None:
        super().__init__(Qt.Orientation.Horizontal, parent)
        self.setFixedHeight(HEADER_PX)
        self.setSectionsClickable(False)
        self.setHighlightSections(False)

    def paintSection(self, painter: QPainter, rect: QRect, logicalIndex: int) -> None:
        colors = tokens()
        painter.save()
        painter.fillRect(rect, QColor(colors.raised))
        painter.setPen(QPen(QColor(colors.border), 1))
        painter.drawLine(rect.bottomLeft(), rect.bottomRight())
        if logicalIndex:
            painter.drawLine(rect.topLeft(), rect.bottomLeft())
        model = self.model()
        title = str(model.headerData(logicalIndex, Qt.Orientation.Horizontal) or "")
        below = str(model.headerData(logicalIndex, Qt.Orientation.Horizontal, SubtitleRole) or "")
        tone: Tone = model.headerData(logicalIndex, Qt.Orientation.Horizontal, ToneRole) or "muted"
        inner = rect.adjusted(8, 5, -8, -5)
        if not below:
            _draw(
                painter,
                inner.adjusted(2, 0, 0, 0),
                title,
                _font(True, 1),
                colors.muted,
                Qt.AlignmentFlag.AlignLeft,
            )
        else:
            middle = Qt.AlignmentFlag.AlignHCenter
            half = inner.height() // 2
            upper = QRect(inner.left(), inner.top(), inner.width(), half)
            lower = QRect(inner.left(), inner.top() + half, inner.width(), half)
            _draw(painter, upper, title, _font(True, 1), colors.text, middle)
            _draw(painter, lower, below, _font(False, 2), colors.tone(tone), middle)
        painter.restore()


class MatrixDelegate(QStyledItemDelegate):
    def sizeHint(self, option: QStyleOptionViewItem, index: QModelIndex | QPersistentModelIndex) -> QSize:
        return QSize(FIRST_COLUMN_PX if index.column() == 0 else COLUMN_PX, ROW_PX)

    def paint(
        self, painter: QPainter, option: QStyleOptionViewItem, index: QModelIndex | QPersistentModelIndex
    ) -> None:
        colors = tokens()
        rect: QRect = option.rect
        state: QStyle.StateFlag = option.state
        painter.save()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        if state & QStyle.StateFlag.State_MouseOver and index.column():
            painter.fillRect(rect, QColor(colors.hover))
        painter.setRenderHint(QPainter.RenderHint.Antialiasing, False)
        painter.setPen(QPen(QColor(colors.chart_grid), 1))
        painter.drawLine(rect.bottomLeft(), rect.bottomRight())
        if index.column():
            painter.drawLine(rect.topLeft(), rect.bottomLeft())
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        if index.column() == 0:
            self._initiator(painter, rect, index)
        else:
            self._access(painter, rect, index)
        if state & QStyle.StateFlag.State_HasFocus:
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.setPen(QPen(QColor(colors.accent), 1))
            painter.drawRoundedRect(QRectF(rect).adjusted(1.5, 1.5, -1.5, -2.5), 5, 5)
        painter.restore()

    def _initiator(self, painter: QPainter, rect: QRect, index: QModelIndex | QPersistentModelIndex) -> None:
        colors = tokens()
        left = Qt.AlignmentFlag.AlignLeft
        inner = rect.adjusted(10, 3, -8, -4)
        half = inner.height() // 2
        tone: Tone = index.data(ToneRole) or "muted"
        upper = QRect(inner.left(), inner.top(), inner.width(), half)
        lower = QRect(inner.left() + 14, inner.top() + half, inner.width() - 14, half)
        badge: tuple[str, Tone] | None = index.data(BadgeRole)
        name = str(index.data() or "")
        if badge is None:
            _draw(painter, upper, name, _font(True), colors.text, left)
        else:
            width = min(QFontMetrics(_font(True)).horizontalAdvance(name), inner.width() // 2) + 2
            said: Tone = badge[1]
            _draw(
                painter,
                upper.adjusted(0, 0, width - inner.width(), 0),
                name,
                _font(True),
                colors.tone(said),
                left,
            )
            self._badge(painter, upper.adjusted(width + 8, 0, 0, 0), *badge)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(QColor(colors.tone(tone)))
        painter.drawEllipse(QRectF(inner.left(), lower.center().y() - 3, 7, 7))
        shown = colors.muted if tone == "muted" else colors.tone(tone)
        _draw(painter, lower, str(index.data(SubtitleRole) or ""), _font(False, 2), shown, left)

    @staticmethod
    def _badge(painter: QPainter, rect: QRect, text: str, tone: Tone) -> None:
        font = _font(True, 2)
        width = min(QFontMetrics(font).horizontalAdvance(text) + 16, rect.width())
        box = QRect(rect.left(), rect.center().y() - 8, width, 17)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(QColor(tokens().soft(tone)))
        painter.drawRoundedRect(QRectF(box), 4, 4)
        inner = box.adjusted(6, 0, -6, 0)
        _draw(painter, inner, text, font, tokens().tone(tone), Qt.AlignmentFlag.AlignHCenter)

    def _access(self, painter: QPainter, rect: QRect, index: QModelIndex | QPersistentModelIndex) -> None:
        colors = tokens()
        tone: Tone = index.data(ToneRole) or "muted"
        # What comes from another row stands there without a field of its own.
        text = str(index.data(InheritedRole) or index.data() or "")
        middle = Qt.AlignmentFlag.AlignHCenter
        font = _font(tone != "muted", 1)
        width = min(QFontMetrics(font).horizontalAdvance(text) + 20, rect.width() - 12)
        box = QRectF(rect.center().x() - width / 2, rect.center().y() - 11.5, width, 24)
        if tone != "muted":
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(QColor(colors.soft(tone)))
            painter.drawRoundedRect(box, 4, 4)
        if index.data(DetailRole):
            pen = QPen(QColor(colors.warning), 1)
            pen.setDashPattern([4, 3])
            painter.setPen(pen)
            painter.setBrush(Qt.BrushStyle.NoBrush)
            frame = box if tone != "muted" else box.adjusted(-12, 0, 12, 0)
            painter.drawRoundedRect(frame.adjusted(-3, -3, 3, 3), 6, 6)
        _draw(painter, box.toRect(), text, font, colors.tone(tone), middle)
