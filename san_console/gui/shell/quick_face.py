"""What the Quick Connect panel looks like in each step; `quick_connect.py` decides which step it is."""

from __future__ import annotations

from typing import Final, Literal

from PySide6.QtCore import QTimer
from PySide6.QtWidgets import QProgressBar, QWidget

from san_console.gui.bridge.host import QtHost
from san_console.gui.shell.login_form import LoginForm
from san_console.gui.shell.quick_targets import TargetList
from san_console.gui.translation import QT_TRANSLATE_NOOP, translated
from san_console.gui.widgets.buttons import Button
from san_console.gui.widgets.cards import Frame, horizontal, vertical
from san_console.gui.widgets.labels import ElidedLabel, PlainLabel
from san_console.gui.widgets.problems import InlineProblem
from san_console.gui.widgets.state import Pill

WIDTH_PX: Final = 640
SPINNER_AFTER_MS: Final = 200

Step = Literal["idle", "looking", "targets", "login", "credentials"]

_COUNTED: Final[dict[Step, str]] = {
    "targets": QT_TRANSLATE_NOOP("Table", "step 1 of 2"),
    "credentials": QT_TRANSLATE_NOOP("Table", "step 1 of 2"),
    "login": QT_TRANSLATE_NOOP("Table", "step 2 of 2"),
}
_VERBS: Final[dict[Step, str]] = {
    "targets": QT_TRANSLATE_NOOP("Table", "Go on"),
    "credentials": QT_TRANSLATE_NOOP("Table", "Look again"),
    "login": QT_TRANSLATE_NOOP("Table", "Log in"),
}
_HINTS: Final = QT_TRANSLATE_NOOP(
    "Table",
    "An address finds targets by SendTargets: 10.20.0.11, san.example:3260, [fd00::5].\n"
    "A target's name, if it is known here, or iscsi://address/name goes straight to the log-in.",
)


class QuickConnectFace(Frame):
    """The widgets of the panel; it knows how high it has to be."""

    def __init__(self, host: QtHost, parent: QWidget) -> None:
        super().__init__("popup", parent)
        self.step: Step = "idle"
        self.busy = False
        self._polished = False
        self.setAccessibleName(self.tr("Quick Connect"))
        self.setFixedWidth(WIDTH_PX)
        self._box = vertical(self, margin=14, gap=10)
        self._build_head()
        self._build_pages(host)
        self.problem = InlineProblem()
        self.verdict = InlineProblem("note")
        self._box.addWidget(self.problem)
        self._box.addWidget(self.verdict)
        self._build_buttons()
        self.hide()

    def _build_head(self) -> None:
        head = horizontal(gap=8)
        self.title = ElidedLabel("", style="heading")
        self.pill = Pill("")
        self._step_label = PlainLabel("", style="muted")
        head.addWidget(self.title)
        head.addWidget(self.pill)
        head.addStretch(1)
        head.addWidget(self._step_label)
        self._subtitle = ElidedLabel("", style="muted", mono=True)
        self._box.addLayout(head)
        self._box.addWidget(self._subtitle)

    def _build_pages(self, host: QtHost) -> None:
        self._hints = PlainLabel(translated(_HINTS), style="muted", wrap=True)
        self._bar = QProgressBar()
        self._bar.setRange(0, 0)
        self._bar.setTextVisible(False)
        self._bar.setAccessibleName(self.tr("Looking for targets"))
        waiting = QWidget()
        inside = vertical(waiting, gap=8)
        inside.addWidget(self._hints)
        inside.addWidget(self._bar)
        inside.addStretch(1)
        self.targets = TargetList()
        self.form = LoginForm(host)
        self.form.changed.connect(self._form_changed)
        self._waiting = waiting
        for page in (waiting, self.targets, self.form):
            # Side by side and not in a stack, which is always as high as its highest page.
            self._box.addWidget(page)
            page.hide()

    def _build_buttons(self) -> None:
        row = horizontal(gap=8)
        self._copy_label = PlainLabel(self.tr("Copy as"), style="muted")
        self.copy_iscsiadm = Button("iscsiadm", kind="link", tip=self.tr("Copy the command"))
        self.copy_cli = Button("san-console", kind="link", tip=self.tr("Copy the command"))
        self.copy_iscsiadm.setAccessibleName(self.tr("Copy as iscsiadm command"))
        self.copy_cli.setAccessibleName(self.tr("Copy as san-console command"))
        for widget in (self._copy_label, self.copy_iscsiadm, self.copy_cli):
            row.addWidget(widget)
        row.addStretch(1)
        self.test_button = Button(self.tr("Test"), tip=self.tr("Log in, look, and log out again"))
        self.cancel_button = Button(self.tr("Cancel"))
        self.go_button = Button(self.tr("Log in"), kind="primary")
        for button in (self.test_button, self.cancel_button, self.go_button):
            row.addWidget(button)
        self._box.addLayout(row)

    def set_busy(self, busy: bool, text: str = "") -> None:
        """While the engine works on it, nothing can be changed; `text` says what it does."""
        self.busy = busy
        for widget in (self.form, self.test_button, self.go_button):
            widget.setEnabled(not busy)
        self._step_label.setText(f"{text}…" if busy else translated(_COUNTED.get(self.step, "")))
        if not busy:
            self.go_button.setFocus()

    def show_step(self, step: Step, title: str, subtitle: str = "") -> None:
        self.step = step
        self.problem.hide()
        self.verdict.hide()
        self.pill.show_tag("", "muted")
        self.title.setText(title)
        self._subtitle.setText(subtitle)
        self._subtitle.setVisible(bool(subtitle))
        pages: dict[Step, QWidget] = {"targets": self.targets, "login": self.form, "credentials": self.form}
        wanted = pages.get(step, self._waiting)
        for page in (self._waiting, self.targets, self.form):
            page.setVisible(page is wanted)
        self._hints.setVisible(step == "idle")
        self._bar.setVisible(False)
        if step == "looking":
            QTimer.singleShot(SPINNER_AFTER_MS, self, self._show_bar)
        login = step == "login"
        for widget in (self._copy_label, self.copy_iscsiadm, self.copy_cli, self.test_button):
            widget.setVisible(login)
        self.go_button.setVisible(step in _VERBS)
        self.go_button.setText(translated(_VERBS.get(step, "")))
        self.go_button.setEnabled(True)
        self.form.setEnabled(True)
        self.form.favourite.setVisible(login)
        self._step_label.setText(translated(_COUNTED.get(step, "")))
        self.fit()

    def _show_bar(self) -> None:
        if self.step == "looking":
            self._bar.setVisible(True)
            self.fit()

    def _form_changed(self) -> None:
        if self.isVisible():
            self.verdict.hide()
            self.fit()

    def fit(self) -> None:
        """As high as the page that is shown, no higher."""
        self.show()
        self.raise_()
        if not self._polished:
            # A field's height is known only once the style sheet has seen it.
            self._polished = True
            for child in self.findChildren(QWidget):
                child.ensurePolished()
                child.updateGeometry()
        # Layouts hear of changes inside them later, by an event; the height is wanted now.
        for inner in self.findChildren(QWidget):
            layout = inner.layout()
            if layout is not None and inner.isVisibleTo(self):
                layout.invalidate()
        self._box.invalidate()
        self._box.activate()
        # Word-wrapped lines tell their height only once their width is known.
        hints = self._box.hasHeightForWidth()
        height = self._box.heightForWidth(WIDTH_PX) if hints else self._box.sizeHint().height()
        frame = self.contentsMargins()
        self.resize(WIDTH_PX, height + frame.top() + frame.bottom())
