"""Cards, lines and the layouts that go with the grid."""

from __future__ import annotations

from typing import Literal

from PySide6.QtCore import QEvent, QObject, QRectF, Qt
from PySide6.QtGui import QColor, QPainter, QPainterPath, QPaintEvent, QPen
from PySide6.QtWidgets import QFrame, QHBoxLayout, QLayout, QVBoxLayout, QWidget

from san_console.gui.theme.theme import tokens
from san_console.gui.theme.tokens import CARD_RADIUS_PX, GAP_PX

FrameKind = Literal["card", "inset", "code", "popup", "problem", "notice", "note", "toast", "line"]


def vertical(parent: QWidget | None = None, *, margin: int = 0, gap: int = GAP_PX) -> QVBoxLayout:
    layout = QVBoxLayout(parent) if parent is not None else QVBoxLayout()
    layout.setContentsMargins(margin, margin, margin, margin)
    layout.setSpacing(gap)
    return layout


def horizontal(parent: QWidget | None = None, *, margin: int = 0, gap: int = 8) -> QHBoxLayout:
    layout = QHBoxLayout(parent) if parent is not None else QHBoxLayout()
    layout.setContentsMargins(margin, margin, margin, margin)
    layout.setSpacing(gap)
    return layout


def clear(layout: QLayout) -> None:
    """Take everything out of a layout and delete it."""
    while (item := layout.takeAt(0)) is not None:
        widget = item.widget()
        if widget is not None:
            widget.hide()
            widget.deleteLater()
        inner = item.layout()
        if inner is not None:
            clear(inner)


class Frame(QFrame):
    """A frame of a kind that the style sheet knows."""

    def __init__(self, kind: FrameKind, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setProperty("kind", kind)


class Line(Frame):
    """One pixel between two things."""

    def __init__(self, *, upright: bool = False, parent: QWidget | None = None) -> None:
        super().__init__("line", parent)
        if upright:
            self.setFixedWidth(1)
        else:
            self.setFixedHeight(1)


class _Corners(QWidget):
    """Lies over a card and rounds off what its contents drew into the corners."""

    def __init__(self, card: QWidget, radius: int) -> None:
        super().__init__(card)
        self._radius = radius
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self.setAttribute(Qt.WidgetAttribute.WA_NoSystemBackground)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        card.installEventFilter(self)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if event.type() in (QEvent.Type.Resize, QEvent.Type.Show, QEvent.Type.ChildAdded):
            parent = self.parentWidget()
            if parent is not None:
                self.setGeometry(parent.rect())
                self.raise_()
        return False

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        inner = QRectF(self.rect()).adjusted(0.5, 0.5, -0.5, -0.5)
        outline = QPainterPath()
        outline.addRoundedRect(inner, self._radius, self._radius)
        outside = QPainterPath()
        outside.addRect(QRectF(self.rect()))
        painter.fillPath(outside - outline, QColor(tokens().background))
        painter.setPen(QPen(QColor(tokens().border), 1))
        painter.drawPath(outline)


class Card(Frame):
    """A rounded surface. `flush` cards hold tables and tabs up to their edge."""

    def __init__(self, *, flush: bool = False, margin: int = GAP_PX, parent: QWidget | None = None) -> None:
        super().__init__("card", parent)
        self.body = vertical(self, margin=1 if flush else margin, gap=0 if flush else 8)
        self._corners = _Corners(self, CARD_RADIUS_PX) if flush else None
