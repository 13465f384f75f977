"""Buttons: words first, icon where it helps, one filled button per page."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal

from PySide6.QtCore import QSize, Qt
from PySide6.QtGui import QFont, QFontMetrics
from PySide6.QtWidgets import QAbstractButton, QMenu, QPushButton, QToolButton, QWidget

from san_console.gui.icons import set_icon
from san_console.gui.theme.theme import tokens
from san_console.gui.theme.tokens import ICON_PX
from san_console.gui.widgets.labels import tooltip_text

ButtonKind = Literal["normal", "primary", "danger", "destroy", "quiet", "link"]

_ICON_GAP: Final = "\u2009\u2009"

_ICON_ROLES: dict[ButtonKind, str] = {
    "normal": "text",
    "primary": "on_accent",
    "danger": "bad",
    "destroy": "surface",
    "quiet": "text",
    "link": "muted",
}


class Button(QPushButton):
    """A button with words. `tip` says what it does and its key."""

    def __init__(
        self,
        text: str,
        on_click: Callable[[], object] | None = None,
        *,
        kind: ButtonKind = "normal",
        icon: str = "",
        tip: str = "",
        name: str = "",
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._gap = _ICON_GAP if icon else ""
        self.setText(text)
        if kind != "normal":
            self.setProperty("kind", kind)
        if icon:
            set_icon(self, icon, _ICON_ROLES[kind], tokens())
        if tip:
            self.setToolTip(tooltip_text(tip))
        if name:
            self.setObjectName(name)
        self.setAutoDefault(False)
        self.setCursor(Qt.CursorShape.ArrowCursor)
        if on_click is not None:
            # `clicked` carries a bool that callers do not want.
            self.clicked.connect(lambda _checked=False: on_click())

    def setText(self, text: str) -> None:  # Qt's name
        # Styles put four pixels between icon and text, which is too little for line-drawn icons.
        super().setText(f"{self._gap}{text}")
        self.setAccessibleName(text.replace("&", ""))

    def set_menu(self, menu: QMenu) -> None:
        self.setProperty("hasMenu", True)
        self.setMenu(menu)


class IconButton(QToolButton):
    """A button with an icon only; its name is what a screen reader and the tooltip say."""

    def __init__(
        self,
        icon: str,
        name: str,
        on_click: Callable[[], object] | None = None,
        *,
        role: str = "text",
        size_px: int = ICON_PX,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        set_icon(self, icon, role, tokens(), size_px)
        self.setAccessibleName(name)
        self.setToolTip(tooltip_text(name))
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setFixedSize(QSize(size_px + 14, size_px + 14))
        if on_click is not None:
            self.clicked.connect(lambda _checked=False: on_click())


class Chip(QPushButton):
    """A filter with its count: `Degraded 1`."""

    def __init__(self, key: str, label: str, parent: QWidget | None = None) -> None:
        super().__init__(label, parent)
        self.key = key
        self.label = label
        self.setCheckable(True)
        self.setProperty("kind", "chip")
        self.setAutoDefault(False)

    def sizeHint(self) -> QSize:
        # A chosen tag is bold, which is wider; it must not be cut, nor move its neighbours.
        hint = super().sizeHint()
        font = QFont(self.font())
        font.setWeight(QFont.Weight.DemiBold)
        return QSize(max(hint.width(), QFontMetrics(font).horizontalAdvance(self.text()) + 24), hint.height())

    def set_count(self, count: int) -> None:
        text = f"{self.label} {count:,}"
        if self.text() != text:
            self.setText(text)
            self.setAccessibleName(self.tr("Show {text}").format(text=text))


def enable(button: QAbstractButton, on: bool, why_not: str = "") -> None:
    """A button that cannot be used says why."""
    button.setEnabled(on)
    if why_not:
        button.setToolTip("" if on else tooltip_text(why_not))
