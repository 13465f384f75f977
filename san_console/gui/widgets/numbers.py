"""Fields for numbers. Fusion puts their text at the very edge, whatever the style sheet's padding says."""

from __future__ import annotations

from typing import Final

from PySide6.QtCore import QLocale, Qt
from PySide6.QtGui import QWheelEvent
from PySide6.QtWidgets import QAbstractSpinBox, QDoubleSpinBox, QSpinBox, QWidget

from san_console.gui.theme.tokens import CONTROL_HEIGHT_PX

_TEXT_LEFT_PX: Final = 8


def _prepare(field: QAbstractSpinBox) -> None:
    line = field.lineEdit()
    if line is not None:
        line.setTextMargins(_TEXT_LEFT_PX, 0, 0, 0)
    # The texts around it write numbers in one way, whatever the desktop's language: 262,144.
    field.setLocale(QLocale(QLocale.Language.English, QLocale.Country.UnitedStates))
    field.setFixedHeight(max(CONTROL_HEIGHT_PX, field.fontMetrics().height() + 10))
    field.setFocusPolicy(Qt.FocusPolicy.StrongFocus)


class NumberField(QSpinBox):
    """A whole number. The wheel scrolls the page, unless the field has the keyboard."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        _prepare(self)

    def setAccessibleName(self, name: str) -> None:  # Qt's name
        super().setAccessibleName(name)
        # The keyboard is in the line inside, and so is the screen reader.
        self.lineEdit().setAccessibleName(name)

    def wheelEvent(self, event: QWheelEvent) -> None:
        if self.hasFocus():
            super().wheelEvent(event)
        else:
            event.ignore()


class DecimalField(QDoubleSpinBox):
    """A number with a fraction. The wheel scrolls the page, unless the field has the keyboard."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        _prepare(self)

    def setAccessibleName(self, name: str) -> None:  # Qt's name
        super().setAccessibleName(name)
        # The keyboard is in the line inside, and so is the screen reader.
        self.lineEdit().setAccessibleName(name)

    def wheelEvent(self, event: QWheelEvent) -> None:
        if self.hasFocus():
            super().wheelEvent(event)
        else:
            event.ignore()
