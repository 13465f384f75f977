"""Draws the mapping matrix: two-line headers, filled cells, a dashed frame around what is pending."""

from __future__ import annotations

from functools import partial
from typing import Final

from PySide6.QtCore import QModelIndex, QPersistentModelIndex, QPoint, QRect, QRectF, QSize, Qt, Signal
from PySide6.QtGui import QColor, QFont, QFontMetrics, QKeyEvent, QMouseEvent, QPainter, QPen
from PySide6.QtWidgets import (
    QAbstractItemView,
    QHeaderView,
    QInputDialog,
    QMenu,
    QStyle,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QTableView,
    QWidget,
)

from san_console.gui.models.mapping_matrix import ACCESSES, MAX_LUN, Access, access_of
from san_console.gui.models.matrix_model import MatrixModel, SubtitleRole, access_word
from san_console.gui.models.object_model import DetailRole, ToneRole
from san_console.gui.theme.theme import Theme, tokens
from san_console.gui.theme.tokens import Tone
from san_console.gui.widgets.menus import add_action, popup

ROW_PX: Final = 40
HEADER_PX: Final = 46
FIRST_COLUMN_PX: Final = 240
COLUMN_PX: Final = 128

_KEYS: Final[dict[int, Access]] = {
    int(Qt.Key.Key_W): "read-write",
    int(Qt.Key.Key_R): "read-only",
    int(Qt.Key.Key_N): "none",
    int(Qt.Key.Key_Delete): "none",
    int(Qt.Key.Key_Backspace): "none",
}


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


class _Header(QHeaderView):
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


class _CellDelegate(QStyledItemDelegate):
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
        _draw(painter, upper, str(index.data() or ""), _font(True), colors.text, left)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(QColor(colors.tone(tone)))
        painter.drawEllipse(QRectF(inner.left(), lower.center().y() - 3, 7, 7))
        shown = colors.muted if tone == "muted" else colors.tone(tone)
        _draw(painter, lower, str(index.data(SubtitleRole) or ""), _font(False, 2), shown, left)

    def _access(self, painter: QPainter, rect: QRect, index: QModelIndex | QPersistentModelIndex) -> None:
        colors = tokens()
        text = str(index.data() or "")
        tone: Tone = index.data(ToneRole) or "muted"
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


class MatrixView(QTableView):
    """Click opens the choices of a cell; Space cycles, R, W and N choose, a digit sets the number."""

    initiator_chosen = Signal(str)
    refused = Signal(str)
    """Why a number could not be set."""
    remove_asked = Signal(str)
    """Del on the name of an initiator."""

    def __init__(self, model: MatrixModel, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.matrix = model
        self.setModel(model)
        self.setAccessibleName(self.tr("Mapping of initiators and LUNs"))
        self.setItemDelegate(_CellDelegate(self))
        header = _Header(self)
        header.setAccessibleName(self.tr("LUNs"))
        self.setHorizontalHeader(header)
        header.setDefaultSectionSize(COLUMN_PX)
        header.setStretchLastSection(False)
        rows = self.verticalHeader()
        rows.hide()
        rows.setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
        rows.setDefaultSectionSize(ROW_PX)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectItems)
        self.setShowGrid(False)
        self.setMouseTracking(True)
        self.setTabKeyNavigation(False)
        self.setHorizontalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.setVerticalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
        self.customContextMenuRequested.connect(self._menu_at)
        model.modelReset.connect(self._fit)
        self.selectionModel().currentChanged.connect(self._tell)

    def _fit(self) -> None:
        header = self.horizontalHeader()
        if not self.matrix.columnCount():
            return
        header.setSectionResizeMode(QHeaderView.ResizeMode.Stretch)
        header.setMinimumSectionSize(112)
        header.setSectionResizeMode(0, QHeaderView.ResizeMode.Fixed)
        self.setColumnWidth(0, FIRST_COLUMN_PX)
        if self.matrix.rowCount() and not self.currentIndex().isValid():
            self.setCurrentIndex(self.matrix.index(0, min(1, self.matrix.columnCount() - 1)))

    def content_height(self) -> int:
        """Pixels that header and all rows need."""
        return HEADER_PX + ROW_PX * self.matrix.rowCount() + 2

    def current_initiator(self) -> str:
        row = self.currentIndex().row()
        return self.matrix.rows[row] if 0 <= row < len(self.matrix.rows) else ""

    def _tell(self) -> None:
        self.initiator_chosen.emit(self.current_initiator())

    # editing

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        super().mouseReleaseEvent(event)
        index = self.indexAt(event.position().toPoint())
        if event.button() == Qt.MouseButton.LeftButton and self.matrix.cell(index) is not None:
            self._menu_at(self.visualRect(index).bottomLeft() + QPoint(6, 0), index)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        index = self.currentIndex()
        key = int(event.key())
        if self.matrix.cell(index) is None:
            if key == int(Qt.Key.Key_Delete) and self.current_initiator():
                self.remove_asked.emit(self.current_initiator())
                return
        elif key in (int(Qt.Key.Key_Space), int(Qt.Key.Key_Return), int(Qt.Key.Key_Enter)):
            self.matrix.cycle(index)
            return
        elif key in _KEYS and not event.modifiers() & Qt.KeyboardModifier.ControlModifier:
            self.matrix.set_access(index, _KEYS[key])
            return
        elif int(Qt.Key.Key_0) <= key <= int(Qt.Key.Key_9) and not event.modifiers():
            self._set_number(index, key - int(Qt.Key.Key_0))
            return
        super().keyPressEvent(event)

    def _set_number(self, index: QModelIndex | QPersistentModelIndex, number: int) -> None:
        problem = self.matrix.set_number(index, number)
        if problem:
            self.refused.emit(problem)

    def _menu_at(self, where: QPoint, index: QModelIndex | None = None) -> None:
        index = self.indexAt(where) if index is None else index
        cell = self.matrix.cell(index)
        menu = self.cell_menu(index) if cell is not None else self._row_menu(index)
        popup(menu, self.viewport().mapToGlobal(where))

    def cell_menu(self, index: QModelIndex) -> QMenu:
        """The choices of a cell."""
        menu = QMenu(self)
        cell, draft = self.matrix.cell(index), self.matrix.draft
        if cell is None or draft is None:
            return menu
        mapping = draft.mapping(*cell)
        now = access_of(mapping)
        fixed = self.matrix.luns[index.column() - 1].read_only
        kept = QPersistentModelIndex(index)
        for access, key in zip(ACCESSES, "NRW", strict=True):
            add_action(
                menu,
                self.tr("No access") if access == "none" else access_word(access),
                partial(self.matrix.set_access, kept, access),
                checked=now == access,
                enabled=not (fixed and access == "read-write"),
                shortcut=key,
            )
        menu.addSeparator()
        add_action(
            menu,
            self.tr("LUN number…"),
            lambda: self._ask_number(kept, mapping.lun if mapping is not None else 0),
            enabled=mapping is not None,
            shortcut="0–9",
        )
        return menu

    def _row_menu(self, index: QModelIndex) -> QMenu:
        menu = QMenu(self)
        if index.isValid():
            name = self.matrix.rows[index.row()]
            add_action(
                menu,
                self.tr("Remove this initiator…"),
                lambda: self.remove_asked.emit(name),
                icon="trash-2",
                shortcut="Del",
                danger=True,
            )
        return menu

    def _ask_number(self, index: QPersistentModelIndex, number: int) -> None:
        dialog = QInputDialog(self)
        dialog.setWindowTitle(self.tr("LUN number"))
        dialog.setLabelText(self.tr("The number by which this initiator sees the LUN:"))
        dialog.setInputMode(QInputDialog.InputMode.IntInput)
        dialog.setIntRange(0, MAX_LUN)
        dialog.setIntValue(number)
        dialog.intValueSelected.connect(lambda value: self._set_number(index, value))
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.open()
