"""A time line of events: when, how bad, what, why, who decided it, what to check; the newest first."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any, Final, NamedTuple

from PySide6.QtCore import (
    QAbstractListModel,
    QModelIndex,
    QPersistentModelIndex,
    QPointF,
    QRect,
    QSize,
    Qt,
)
from PySide6.QtGui import (
    QColor,
    QFont,
    QFontMetrics,
    QGuiApplication,
    QKeyEvent,
    QKeySequence,
    QPainter,
    QPen,
)
from PySide6.QtWidgets import QListView, QStyle, QStyledItemDelegate, QStyleOptionViewItem, QWidget

from san_console.api.engine_objects import Event
from san_console.gui import words
from san_console.gui.icons import pixmap
from san_console.gui.theme.theme import Theme, tokens
from san_console.gui.theme.tokens import ICON_PX, Tone
from san_console.gui.translation import QT_TRANSLATE_NOOP, translate, translated
from san_console.gui.widgets.labels import tooltip_text
from san_console.names.display import visible

Index = QModelIndex | QPersistentModelIndex

_EVENT_ROLE: Final = int(Qt.ItemDataRole.UserRole) + 1
_TIME_PX: Final = 200
_RAIL_PX: Final = 40
_WORD_PX: Final = 76
_LINE_PX: Final = 20
_PAD_PX: Final = 9
_TEXT_LIMIT: Final = 400


class Look(NamedTuple):
    icon: str
    word: str
    tone: Tone


SEVERITY_LOOKS: Final[dict[str, Look]] = {
    "info": Look("info", QT_TRANSLATE_NOOP("Table", "Info"), "muted"),
    "warning": Look("triangle-alert", QT_TRANSLATE_NOOP("Table", "Warning"), "warning"),
    "error": Look("circle-alert", QT_TRANSLATE_NOOP("Table", "Error"), "bad"),
}
_GOOD_KINDS: Final = frozenset({"login", "recovered", "target_login"})


def look(event: Event) -> Look:
    """Severity as icon, word and tone; what ended well has its own."""
    if event.severity == "info" and event.kind in _GOOD_KINDS:
        return Look("circle-check", translate("timeline", "Good"), "good")
    seen = SEVERITY_LOOKS.get(event.severity, SEVERITY_LOOKS["info"])
    return seen._replace(word=translated(seen.word))


def reasons(event: Event) -> list[tuple[str, str]]:
    """The lines under an event: name and text."""
    named = (
        (translate("timeline", "Cause"), event.cause),
        (translate("timeline", "Decided by"), event.side),
        (translate("timeline", "Check"), event.check),
    )
    return [(name, visible(text, _TEXT_LIMIT)) for name, text in named if text]


def event_in_words(event: Event, now: float) -> str:
    """One event for the clipboard and for a screen reader."""
    stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(event.at))
    parts = [f"{stamp} ({words.ago(now - event.at)})", look(event).word, visible(event.text, _TEXT_LIMIT)]
    parts += [f"{name}: {text}" for name, text in reasons(event)]
    return ". ".join(part.rstrip(".") for part in parts)


class TimelineModel(QAbstractListModel):
    """Events, newest first."""

    def __init__(self, now: Callable[[], float], text_of: Callable[[Event], str] | None = None) -> None:
        super().__init__()
        self.now = now
        self._text_of = text_of or (lambda event: event.text)
        self.events: list[Event] = []

    def show_events(self, events: Iterable[Event]) -> None:
        wanted = sorted(events, key=lambda event: (event.at, len(event.id), event.id), reverse=True)
        if wanted == self.events:
            return
        fresh = len(wanted) - len(self.events)
        if fresh > 0 and wanted[fresh:] == self.events:
            self.beginInsertRows(QModelIndex(), 0, fresh - 1)
            self.events = wanted
            self.endInsertRows()
            return
        self.beginResetModel()
        self.events = wanted
        self.endResetModel()

    def rowCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008 - Qt's signature
        return 0 if parent.isValid() else len(self.events)

    def data(self, index: Index, role: int = int(Qt.ItemDataRole.DisplayRole)) -> Any:
        if not index.isValid() or index.row() >= len(self.events):
            return None
        event = self.events[index.row()]
        if role == _EVENT_ROLE:
            return event
        if role == Qt.ItemDataRole.DisplayRole:
            return visible(self._text_of(event), _TEXT_LIMIT)
        if role == Qt.ItemDataRole.AccessibleTextRole:
            return event_in_words(event, self.now())
        if role == Qt.ItemDataRole.ToolTipRole:
            return tooltip_text("\n".join([event.text, *(f"{n}: {t}" for n, t in reasons(event))]))
        return None


class _TimelineDelegate(QStyledItemDelegate):
    def __init__(self, model: TimelineModel, parent: QWidget) -> None:
        super().__init__(parent)
        self._model = model

    def sizeHint(self, option: QStyleOptionViewItem, index: Index) -> QSize:
        event = index.data(_EVENT_ROLE)
        return QSize(200, _LINE_PX * (1 + len(reasons(event))) + 2 * _PAD_PX)

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: Index) -> None:
        event: Event = index.data(_EVENT_ROLE)
        rect: QRect = option.rect
        state: QStyle.StateFlag = option.state
        colors, seen = tokens(), look(event)
        painter.save()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        if state & QStyle.StateFlag.State_Selected:
            painter.fillRect(rect, QColor(colors.accent_soft))
        elif state & QStyle.StateFlag.State_MouseOver:
            painter.fillRect(rect, QColor(colors.hover))
        if state & QStyle.StateFlag.State_HasFocus:
            painter.fillRect(QRect(rect.left(), rect.top(), 2, rect.height()), QColor(colors.accent))
        self._draw_rail(painter, rect, index.row(), seen)
        self._draw_time(painter, rect, event)
        self._draw_texts(painter, rect, event, str(index.data() or ""))
        painter.restore()

    def _draw_rail(self, painter: QPainter, rect: QRect, row: int, seen: Look) -> None:
        colors = tokens()
        x = rect.left() + _TIME_PX + _RAIL_PX // 2
        middle = rect.top() + _PAD_PX + _LINE_PX // 2
        painter.setPen(QPen(QColor(colors.border_strong), 1))
        if row:
            painter.drawLine(QPointF(x + 0.5, rect.top()), QPointF(x + 0.5, middle - 11))
        if row < self._model.rowCount() - 1:
            painter.drawLine(QPointF(x + 0.5, middle + 11), QPointF(x + 0.5, rect.bottom() + 1))
        scale = 2 if painter.device().devicePixelRatioF() > 1 else 1
        image = pixmap(seen.icon, colors.tone(seen.tone), ICON_PX, scale)
        painter.drawPixmap(x - ICON_PX // 2, middle - ICON_PX // 2, image)

    def _draw_time(self, painter: QPainter, rect: QRect, event: Event) -> None:
        then = time.localtime(event.at)
        today = time.localtime(self._model.now())[:3] == then[:3]
        stamp = time.strftime("%H:%M:%S" if today else "%d %b %H:%M:%S", then)
        middle = Qt.AlignmentFlag.AlignVCenter
        line = QRect(rect.left() + 14, rect.top() + _PAD_PX, _TIME_PX - 14, _LINE_PX)
        painter.setFont(self._small())
        painter.setPen(QColor(tokens().muted))
        ago = words.ago(self._model.now() - event.at)
        painter.drawText(line, int(Qt.AlignmentFlag.AlignLeft | middle), ago)
        painter.setFont(Theme.of().font)
        painter.setPen(QColor(tokens().text))
        painter.drawText(line, int(Qt.AlignmentFlag.AlignRight | middle), stamp)

    def _draw_texts(self, painter: QPainter, rect: QRect, event: Event, text: str) -> None:
        colors, seen = tokens(), look(event)
        left = rect.left() + _TIME_PX + _RAIL_PX
        line = QRect(left, rect.top() + _PAD_PX, rect.right() - left - 12, _LINE_PX)
        side = int(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
        end = Qt.TextElideMode.ElideRight
        word = QFont(Theme.of().font)
        word.setWeight(QFont.Weight.DemiBold)
        painter.setFont(word)
        painter.setPen(QColor(colors.tone(seen.tone)))
        painter.drawText(line, side, seen.word)
        painter.setPen(QColor(colors.text))
        beside = line.adjusted(_WORD_PX, 0, 0, 0)
        plain = Theme.of().font
        font = word if event.severity != "info" else plain
        painter.setFont(font)
        painter.drawText(beside, side, QFontMetrics(font).elidedText(text, end, beside.width()))
        small = self._small()
        painter.setFont(small)
        for number, (name, reason) in enumerate(reasons(event), start=1):
            below = beside.translated(0, number * _LINE_PX)
            painter.setPen(QColor(colors.muted))
            painter.drawText(below, side, name)
            told = below.adjusted(_WORD_PX, 0, 0, 0)
            painter.setPen(QColor(colors.text if name == "Check" else colors.muted))
            painter.drawText(told, side, QFontMetrics(small).elidedText(reason, end, told.width()))

    @staticmethod
    def _small() -> QFont:
        font = QFont(Theme.of().font)
        font.setPixelSize(max(font.pixelSize() - 1, 10))
        return font


class TimelineView(QListView):
    """Shows a `TimelineModel`; Ctrl+C copies the selected events in words."""

    def __init__(self, model: TimelineModel, name: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.line = model
        self.setAccessibleName(name)
        self.setModel(model)
        self.setItemDelegate(_TimelineDelegate(model, self))
        self.setMouseTracking(True)
        self.setSelectionMode(QListView.SelectionMode.ExtendedSelection)
        self.setVerticalScrollMode(QListView.ScrollMode.ScrollPerPixel)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setFrameShape(QListView.Shape.NoFrame)

    def copy_selection(self) -> None:
        rows = sorted(index.row() for index in self.selectionModel().selectedRows())
        lines = [event_in_words(self.line.events[row], self.line.now()) for row in rows]
        if lines:
            QGuiApplication.clipboard().setText("\n".join(lines))

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.matches(QKeySequence.StandardKey.Copy):
            self.copy_selection()
            event.accept()
            return
        super().keyPressEvent(event)
