"""A dialog of the window: title, content, an inline problem, buttons. It closes when the engine said yes."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import Qt
from PySide6.QtGui import QShowEvent
from PySide6.QtWidgets import QDialog, QLineEdit, QWidget

from san_console.api.problems import Problem
from san_console.gui.widgets.buttons import Button, ButtonKind
from san_console.gui.widgets.cards import horizontal, vertical
from san_console.gui.widgets.labels import PlainLabel
from san_console.gui.widgets.problems import InlineProblem
from san_console.names.display import visible


class BaseDialog(QDialog):
    """Fill `self.content`, override `do`. `accept_text` is a verb: "Delete target", not "OK".

    While the work that `do` started runs, the button is off; `finished_ok` closes, `finished_badly` shows the
    problem inside the dialog and lets the user try again.
    """

    def __init__(
        self,
        title: str,
        accept_text: str,
        *,
        kind: ButtonKind = "primary",
        width_px: int = 480,
        cancel_text: str = "",
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        title = visible(title, 300)  # names of others stand in it
        self.setWindowTitle(title)
        self.setAccessibleName(title)
        self.setModal(True)
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.setMinimumWidth(width_px)
        outer = vertical(self, margin=20, gap=12)
        heading = PlainLabel(title, style="heading", wrap=True)
        outer.addWidget(heading)
        self.content = vertical(gap=12)
        outer.addLayout(self.content, 1)
        self.problem = InlineProblem()
        outer.addWidget(self.problem)
        buttons = horizontal(gap=8)
        self.extra = horizontal(gap=8)
        buttons.addLayout(self.extra)
        buttons.addStretch(1)
        self.cancel_button = Button(cancel_text or self.tr("Cancel"), self.reject)
        self.accept_button = Button(accept_text, self._accepted, kind=kind)
        buttons.addWidget(self.cancel_button)
        buttons.addWidget(self.accept_button)
        outer.addSpacing(4)
        outer.addLayout(buttons)
        # Where something is destroyed, the key that comes by itself is Cancel.
        self._first = self.cancel_button if kind in ("danger", "destroy") else self.accept_button
        self._first.setDefault(True)
        self._fitted = False

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        layout = self.layout()
        if self._fitted or layout is None:
            return
        self._fitted = True
        if layout.hasHeightForWidth():
            # Wrapped lines know their height only at the width that they really get.
            self.resize(self.width(), layout.totalHeightForWidth(self.width()))
        fields = [field for field in self.findChildren(QLineEdit) if field.isVisibleTo(self)]
        if self.focusWidget() in (None, self.cancel_button):
            (fields[0] if fields else self._first).setFocus(Qt.FocusReason.OtherFocusReason)

    def do(self) -> None:
        """The user said yes. The default closes."""
        self.finished_ok()

    def finished_ok(self, _result: object = None) -> None:
        self.accept()

    def finished_badly(self, problem: Problem) -> None:
        self.accept_button.setEnabled(True)
        self.problem.show_problem(problem)

    def _accepted(self) -> None:
        self.problem.hide()
        self.accept_button.setEnabled(False)
        self.do()


class Confirmation(BaseDialog):
    """Asks before something that hits others; `consequences` name whom it hits, one per line.

    With `type_to_confirm` the button stays off until the user has typed that text: for what destroys data.
    """

    def __init__(
        self,
        title: str,
        accept_text: str,
        on_yes: Callable[[Confirmation], object],
        *,
        text: str = "",
        consequences: list[str] | None = None,
        type_to_confirm: str = "",
        kind: ButtonKind = "destroy",
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(title, accept_text, kind=kind, parent=parent)
        self._on_yes = on_yes
        if text:
            self.content.addWidget(PlainLabel(text, wrap=True))
        for line in consequences or ():
            self.content.addWidget(PlainLabel(f"•  {line}", wrap=True, selectable=True))
        if type_to_confirm:
            self._add_typing(type_to_confirm)

    def _add_typing(self, wanted: str) -> None:
        shown = visible(wanted)
        self.content.addWidget(PlainLabel(self.tr("Type the name to confirm:"), style="muted"))
        self.content.addWidget(PlainLabel(shown, mono=True, selectable=True))
        self.typed = QLineEdit()
        self.typed.setAccessibleName(self.tr("Type {shown} to confirm").format(shown=shown))
        self.typed.textChanged.connect(lambda text: self.accept_button.setEnabled(text.strip() == shown))
        self.content.addWidget(self.typed)
        self.accept_button.setEnabled(False)

    def do(self) -> None:
        """`on_yes` gets this dialog, and calls `finished_ok` or `finished_badly` when the work is done."""
        self._on_yes(self)
