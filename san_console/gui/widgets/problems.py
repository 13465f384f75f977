"""Problems inside the page: what happened, which side decided, what to check, and a button where we can
mend it.
"""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QGridLayout, QLabel, QSizePolicy, QWidget

from san_console.api.problems import Problem
from san_console.gui.icons import set_icon
from san_console.gui.theme.theme import tokens
from san_console.gui.translation import QT_TRANSLATE_NOOP, translated
from san_console.gui.widgets.buttons import Button
from san_console.gui.widgets.cards import Frame, FrameKind, clear, horizontal, vertical
from san_console.gui.widgets.labels import PlainLabel
from san_console.names.display import visible

_ICONS: dict[str, tuple[str, str]] = {
    "problem": ("circle-alert", "bad"),
    "notice": ("triangle-alert", "warning"),
    "note": ("info", "accent"),
}
_NAMES: dict[str, str] = {
    "problem": QT_TRANSLATE_NOOP("Table", "problem"),
    "notice": QT_TRANSLATE_NOOP("Table", "notice"),
    "note": QT_TRANSLATE_NOOP("Table", "note"),
}


class InlineProblem(Frame):
    """Hidden until `show_problem`. `kind` is `problem` (red), `notice` (amber) or `note` (blue)."""

    def __init__(self, kind: FrameKind = "problem", parent: QWidget | None = None) -> None:
        super().__init__(kind, parent)
        row = horizontal(self, margin=10, gap=10)
        icon, role = _ICONS[kind]
        picture = QLabel()
        picture.setAccessibleName(translated(_NAMES[kind]))
        set_icon(picture, icon, role, tokens())
        self._texts = QGridLayout()
        self._texts.setHorizontalSpacing(12)
        self._texts.setVerticalSpacing(2)
        self._texts.setColumnStretch(1, 1)
        self.message = PlainLabel("", style="strong", wrap=True, selectable=True)
        self._side_label = PlainLabel(self.tr("Decided by"), style="muted")
        self.side = PlainLabel("", wrap=True)
        self._check_label = PlainLabel(self.tr("Check"), style="muted")
        self.check = PlainLabel("", wrap=True, selectable=True)
        self._texts.addWidget(self.message, 0, 0, 1, 2)
        for line, (label, value) in enumerate(
            ((self._side_label, self.side), (self._check_label, self.check)), start=1
        ):
            self._texts.addWidget(label, line, 0, Qt.AlignmentFlag.AlignTop)
            self._texts.addWidget(value, line, 1)
        self._buttons = horizontal()
        row.addWidget(picture, 0, Qt.AlignmentFlag.AlignTop)
        row.addLayout(self._texts, 1)
        row.addLayout(self._buttons)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Minimum)
        self.hide()

    def show_problem(self, problem: Problem | None, *actions: tuple[str, Callable[[], object]]) -> None:
        """Show `problem` with buttons, or hide for None."""
        if problem is None:
            self.hide()
            return
        self.say(problem.message, problem.side, problem.check, *actions)

    def say(
        self, message: str, side: str = "", check: str = "", *actions: tuple[str, Callable[[], object]]
    ) -> None:
        self.message.setText(message)
        for label, value, text in (
            (self._side_label, self.side, side),
            (self._check_label, self.check, check),
        ):
            value.setText(text)
            label.setVisible(bool(text))
            value.setVisible(bool(text))
        self.setAccessibleName(visible(". ".join(part for part in (message, side, check) if part), 1000))
        clear(self._buttons)
        for text, on_click in actions:
            self._buttons.addWidget(Button(text, on_click))
        self.show()


class ProblemState(QWidget):
    """A problem that fills the place of the content."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        box = vertical(self, margin=24)
        self.inner = InlineProblem()
        box.addWidget(self.inner)
        box.addStretch()
