"""Short messages over the page that go by themselves. Grouped, so that a storm stays three lines high."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from PySide6.QtCore import QEvent, QObject, QTimer
from PySide6.QtWidgets import QLabel, QWidget

from san_console.gui.icons import set_icon
from san_console.gui.theme.theme import tokens
from san_console.gui.theme.tokens import STATUS_BAR_HEIGHT_PX, Tone
from san_console.gui.widgets.buttons import Button, IconButton
from san_console.gui.widgets.cards import Frame, horizontal
from san_console.gui.widgets.labels import PlainLabel
from san_console.names.display import visible

SHOWN_MS: Final = 6_000
UNDO_MS: Final = 10_000
"""Long enough to see that the wrong thing was removed, and to reach for the mouse."""

MAX_TOASTS: Final = 3
WIDTH_PX: Final = 400
MAX_CHARACTERS: Final = 200
"""Four lines; what is longer stands on the page Events."""
_MARGIN_PX: Final = 16

_ICONS: Final[dict[Tone, str]] = {
    "good": "circle-check",
    "bad": "circle-alert",
    "warning": "triangle-alert",
    "accent": "info",
    "text": "info",
    "muted": "info",
}


class Toast(Frame):
    """One message, with a button where there is something to do about it."""

    def __init__(
        self, text: str, tone: Tone, action: str, on_action: Callable[[], object] | None, parent: QWidget
    ) -> None:
        super().__init__("toast", parent)
        self.text = text
        self.count = 1
        self.setFixedWidth(WIDTH_PX)
        row = horizontal(self, margin=8, gap=8)
        picture = QLabel()
        picture.setAccessibleName(tone)
        set_icon(picture, _ICONS[tone], "on_toast", tokens())
        self._label = PlainLabel(visible(text, MAX_CHARACTERS), wrap=True)
        row.addWidget(picture)
        row.addWidget(self._label, 1)
        if action and on_action is not None:
            button = Button(action, on_action)
            button.clicked.connect(self.hide)
            row.addWidget(button)
        row.addWidget(IconButton("x", self.tr("Close message"), self.hide, role="on_toast"))
        self.setAccessibleName(visible(text, 1000))

    def fit(self) -> None:
        """As high as its lines are at its width."""
        self.ensurePolished()
        layout = self.layout()
        if layout is not None:
            self.setFixedHeight(max(layout.totalHeightForWidth(WIDTH_PX), layout.totalMinimumSize().height()))

    def again(self) -> None:
        self.count += 1
        self._label.setText(f"{visible(self.text, MAX_CHARACTERS)} (×{self.count})")


class Toasts(QObject):
    """Stacks toasts at the lower right of `window`."""

    def __init__(self, window: QWidget) -> None:
        super().__init__(window)
        self._window = window
        self._toasts: list[Toast] = []
        window.installEventFilter(self)

    def say(
        self, text: str, tone: Tone = "text", action: str = "", on_action: Callable[[], object] | None = None
    ) -> None:
        for known in self._toasts:
            if known.text == text and known.isVisible():
                known.again()
                return
        toast = Toast(text, tone, action, on_action, self._window)
        self._toasts.append(toast)
        toast.fit()
        toast.show()
        QTimer.singleShot(UNDO_MS if action else SHOWN_MS, toast, toast.hide)
        toast.installEventFilter(self)
        while len(self._toasts) > MAX_TOASTS:
            self._toasts[0].hide()
        self._place()

    def texts(self) -> list[str]:
        return [toast.text for toast in self._toasts if toast.isVisible()]

    def clear(self) -> None:
        for toast in tuple(self._toasts):
            toast.hide()

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if event.type() == QEvent.Type.Hide and isinstance(watched, Toast) and watched in self._toasts:
            self._toasts.remove(watched)
            watched.deleteLater()
            self._place()
        elif event.type() == QEvent.Type.Resize and watched is self._window:
            self._place()
        return False

    def _place(self) -> None:
        bottom = self._window.height() - STATUS_BAR_HEIGHT_PX - _MARGIN_PX
        for toast in reversed(self._toasts):
            bottom -= toast.height()
            toast.move(self._window.width() - toast.width() - _MARGIN_PX, bottom)
            toast.raise_()
            bottom -= 8
