"""State as a dot and a word, and small filled tags."""

from __future__ import annotations

from PySide6.QtCore import QSize, Qt
from PySide6.QtGui import QColor, QPainter, QPaintEvent
from PySide6.QtWidgets import QHBoxLayout, QSizePolicy, QWidget

from san_console.gui.theme.theme import tokens
from san_console.gui.theme.tokens import Tone
from san_console.gui.widgets.labels import ElidedLabel, PlainLabel, restyle


class Dot(QWidget):
    """Eight pixels of colour. Always beside a word."""

    def __init__(self, tone: Tone = "muted", parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._tone: Tone = tone
        self.setFixedSize(QSize(8, 8))
        self.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)

    def set_tone(self, tone: Tone) -> None:
        if tone != self._tone:
            self._tone = tone
            self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(QColor(tokens().tone(self._tone)))
        painter.drawEllipse(self.rect())


class StateWord(QWidget):
    """A dot and a word in the same colour."""

    def __init__(self, text: str = "", tone: Tone = "muted", parent: QWidget | None = None) -> None:
        super().__init__(parent)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(6)
        self.dot = Dot(tone)
        self.label = ElidedLabel(text, tone=tone, elide=Qt.TextElideMode.ElideRight)
        layout.addWidget(self.dot)
        layout.addWidget(self.label, 1)

    def show_state(self, text: str, tone: Tone) -> None:
        self.dot.set_tone(tone)
        self.label.setText(text)
        self.label.set_tone(tone)


class Pill(PlainLabel):
    """A small filled tag: `new`, `asks for CHAP`."""

    def __init__(self, text: str = "", tone: Tone = "muted", parent: QWidget | None = None) -> None:
        super().__init__(text, tone=tone, parent=parent)
        self.setProperty("pill", True)
        self.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
        if not text:
            # Never `setVisible(True)` before there is a parent: that would open a window of its own.
            self.hide()

    def show_tag(self, text: str, tone: Tone) -> None:
        self.setText(text)
        self.setVisible(bool(text))
        if self.property("tone") != tone:
            self.setProperty("tone", tone)
            restyle(self)
