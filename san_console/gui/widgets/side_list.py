"""The list at the left of a page: a bold line, a muted line below, an icon or a dot, a tag at the right."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from PySide6.QtCore import QModelIndex, QPersistentModelIndex, QRect, QRectF, QSize, Qt, Signal
from PySide6.QtGui import QColor, QFont, QFontMetrics, QKeyEvent, QPainter, QPen
from PySide6.QtWidgets import (
    QListWidget,
    QListWidgetItem,
    QStyle,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QWidget,
)

from san_console.gui.icons import pixmap
from san_console.gui.theme.theme import Theme, tokens
from san_console.gui.theme.tokens import CONTROL_RADIUS_PX, ICON_PX, Tone
from san_console.gui.widgets.labels import tooltip_text
from san_console.names.display import visible

ROW_PX: Final = 46
_ENTRY_ROLE: Final = int(Qt.ItemDataRole.UserRole) + 1


@dataclass(frozen=True, slots=True)
class Entry:
    """One row. Without an `icon` a dot in `tone` stands at the left."""

    id: str
    title: str
    detail: str = ""
    icon: str = ""
    tone: Tone = "muted"
    tag: str = ""
    tag_tone: Tone = "muted"
    mono: bool = False

    def in_words(self) -> str:
        return ", ".join(visible(text) for text in (self.title, self.detail, self.tag) if text)


class _EntryDelegate(QStyledItemDelegate):
    def sizeHint(self, option: QStyleOptionViewItem, index: QModelIndex | QPersistentModelIndex) -> QSize:
        return QSize(120, ROW_PX)

    def paint(
        self, painter: QPainter, option: QStyleOptionViewItem, index: QModelIndex | QPersistentModelIndex
    ) -> None:
        entry = index.data(_ENTRY_ROLE)
        rect: QRect = option.rect
        state: QStyle.StateFlag = option.state
        colors = tokens()
        painter.save()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        box = QRectF(rect).adjusted(0.5, 1.5, -0.5, -1.5)
        if state & QStyle.StateFlag.State_Selected:
            focused = bool(state & QStyle.StateFlag.State_HasFocus)
            painter.setPen(QPen(QColor(colors.accent if focused else colors.accent_soft), 1))
            painter.setBrush(QColor(colors.accent_soft))
            painter.drawRoundedRect(box, CONTROL_RADIUS_PX, CONTROL_RADIUS_PX)
        elif state & QStyle.StateFlag.State_MouseOver:
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(QColor(colors.hover))
            painter.drawRoundedRect(box, CONTROL_RADIUS_PX, CONTROL_RADIUS_PX)
        left = rect.left() + 10
        if entry.icon:
            scale = 2 if painter.device().devicePixelRatioF() > 1 else 1
            image = pixmap(entry.icon, colors.tone("text"), ICON_PX, scale)
            painter.drawPixmap(left, rect.center().y() - ICON_PX // 2, image)
            left += ICON_PX + 10
        else:
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(QColor(colors.tone(entry.tone)))
            painter.drawEllipse(QRectF(left, rect.center().y() - 3.5, 8, 8))
            left += 18
        right = self._draw_tag(painter, rect, entry) if entry.tag else rect.right() - 10
        self._draw_texts(painter, QRect(left, rect.top(), right - left, rect.height()), entry)
        painter.restore()

    def _draw_tag(self, painter: QPainter, rect: QRect, entry: Entry) -> int:
        colors = tokens()
        font = QFont(Theme.of().font)
        font.setPixelSize(max(font.pixelSize() - 1, 10))
        font.setWeight(QFont.Weight.DemiBold)
        text = visible(entry.tag, 24)
        width = QFontMetrics(font).horizontalAdvance(text) + 14
        box = QRectF(rect.right() - 10 - width, rect.center().y() - 9.5, width, 20)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(QColor(colors.soft(entry.tag_tone)))
        painter.drawRoundedRect(box, 4, 4)
        painter.setFont(font)
        painter.setPen(QColor(colors.tone(entry.tag_tone)))
        painter.drawText(box, int(Qt.AlignmentFlag.AlignCenter), text)
        return int(box.left()) - 8

    def _draw_texts(self, painter: QPainter, area: QRect, entry: Entry) -> None:
        theme, colors = Theme.of(), tokens()
        strong = QFont(theme.fixed if entry.mono else theme.font)
        strong.setWeight(QFont.Weight.DemiBold)
        small = QFont(theme.font)
        small.setPixelSize(max(small.pixelSize() - 1, 10))
        middle, end = Qt.TextElideMode.ElideMiddle, Qt.TextElideMode.ElideRight
        left = int(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
        half = area.height() // 2
        upper = QRect(area.left(), area.top() + 4, area.width(), half - 3)
        lower = QRect(area.left(), area.top() + half + 1, area.width(), half - 5)
        if not entry.detail:
            upper = area
        for font, color, rect, text, mode in (
            (strong, colors.text, upper, visible(entry.title), middle),
            (small, colors.muted, lower, visible(entry.detail), end),
        ):
            painter.setFont(font)
            painter.setPen(QColor(color))
            painter.drawText(rect, left, QFontMetrics(font).elidedText(text, mode, rect.width()))


class SideList(QListWidget):
    """Entries that are told apart by their id; the selection survives `show_entries`."""

    chosen = Signal(str)
    """The selected entry is another one (or is gone: empty)."""
    delete_asked = Signal()

    def __init__(self, name: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setAccessibleName(name)
        self.setItemDelegate(_EntryDelegate(self))
        self.setMouseTracking(True)
        self.setUniformItemSizes(True)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setVerticalScrollMode(QListWidget.ScrollMode.ScrollPerPixel)
        self._entries: list[Entry] = []
        self._chosen = ""
        self.currentRowChanged.connect(lambda _row: self._tell())

    def show_entries(self, entries: Iterable[Entry], wanted: str = "") -> None:
        """Replace all rows. `wanted` is selected where the selected one is gone."""
        new = list(entries)
        if [entry.id for entry in new] != [entry.id for entry in self._entries]:
            keep = self._chosen
            self.blockSignals(True)
            self.clear()
            for _entry in new:
                self.addItem(QListWidgetItem())
            self.blockSignals(False)
            ids = [entry.id for entry in new]
            self._entries = new
            self._fill()
            if ids:
                target = keep if keep in ids else wanted if wanted in ids else ids[0]
                self.setCurrentRow(ids.index(target))
            self._tell()
        elif new != self._entries:
            self._entries = new
            self._fill()

    def _fill(self) -> None:
        for row, entry in enumerate(self._entries):
            item = self.item(row)
            item.setData(_ENTRY_ROLE, entry)
            words = entry.in_words()
            item.setData(Qt.ItemDataRole.AccessibleTextRole, words)
            item.setToolTip(tooltip_text("\n".join(text for text in (entry.title, entry.detail) if text)))

    @property
    def current_id(self) -> str:
        row = self.currentRow()
        return self._entries[row].id if 0 <= row < len(self._entries) else ""

    def entries(self) -> list[Entry]:
        return list(self._entries)

    def select_id(self, identifier: str) -> bool:
        for row, entry in enumerate(self._entries):
            if entry.id == identifier:
                self.setCurrentRow(row)
                return True
        return False

    def content_height(self) -> int:
        """Pixels that all rows need."""
        return ROW_PX * max(len(self._entries), 1)

    def _tell(self) -> None:
        if self.current_id != self._chosen:
            self._chosen = self.current_id
            self.chosen.emit(self._chosen)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() == Qt.Key.Key_Delete:
            self.delete_asked.emit()
            return
        super().keyPressEvent(event)
