"""Try to log in to a target as its settings say: the log-in ends at once, nothing is kept."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtWidgets import QComboBox, QFormLayout, QWidget

from san_console.api.initiator_objects import Target
from san_console.api.methods import Login, TrialResult
from san_console.api.problems import Problem
from san_console.gui import words
from san_console.gui.context import Context
from san_console.gui.dialogs.base import BaseDialog
from san_console.gui.translation import translate
from san_console.gui.widgets.labels import PlainLabel
from san_console.gui.widgets.problems import InlineProblem
from san_console.names.display import visible


class LoginTrialDialog(BaseDialog):
    """The answer is shown inside; the dialog stays open for another portal."""

    def __init__(self, context: Context, target: Target, portal: str, parent: QWidget | None = None) -> None:
        super().__init__(
            self.tr("Test the log-in to {id}").format(id=visible(words.short_name(target.id), 60)),
            self.tr("Test"),
            width_px=560,
            cancel_text=self.tr("Close"),
            parent=parent,
        )
        self._context = context
        self._target = target
        self._give_up: Callable[[], None] | None = None
        self.content.addWidget(
            PlainLabel(
                self.tr("Logs in as the settings say, counts the LUNs, and logs out again."), style="muted"
            )
        )
        form = QFormLayout()
        form.setHorizontalSpacing(14)
        form.setVerticalSpacing(8)
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        self.portal = QComboBox()
        self.portal.setAccessibleName(self.tr("Portal"))
        self.portal.setProperty("mono", True)
        for one in target.portals:
            self.portal.addItem(visible(one.address), one.address)
        self.portal.setCurrentIndex(max(self.portal.findData(portal), 0))
        form.addRow(PlainLabel(self.tr("Portal"), style="muted"), self.portal)
        identity = context.host.get("identities", target.login.identity_id)
        mutual = context.host.get("identities", target.login.mutual_identity_id)
        for name, text in (
            (self.tr("CHAP identity"), identity.user if identity is not None else self.tr("none")),
            (
                self.tr("The target proves itself"),
                mutual.user if mutual is not None else self.tr("not asked for"),
            ),
            (self.tr("Digests"), digest_words(target)),
        ):
            form.addRow(PlainLabel(name, style="muted"), PlainLabel(visible(text, 120)))
        self.content.addLayout(form)
        self.outcome = InlineProblem("note")
        self.content.addWidget(self.outcome)
        self.accept_button.setEnabled(bool(target.portals))

    def do(self) -> None:
        self.outcome.hide()
        self.accept_button.setText(self.tr("Testing…"))
        self._give_up = self._context.host.call(
            "sessions.test",
            Login(target=self._target.id, portal=str(self.portal.currentData()), login=self._target.login),
            self._answered,
            self.finished_badly,
            owner=self,
        )

    def _answered(self, result: TrialResult) -> None:
        self._ready_again()
        if not result.ok:
            self.problem.say(result.text)
            return
        facts = [words.counted(result.lun_count, "LUN"), f"{result.took_ms:.0f} ms"]
        if result.auth:
            facts.insert(0, self.tr("authentication {auth}").format(auth=result.auth))
        self.outcome.say(self.tr("It works: {facts}.").format(facts=", ".join(facts)))

    def finished_badly(self, problem: Problem) -> None:
        self._ready_again()
        super().finished_badly(problem)

    def _ready_again(self) -> None:
        self._give_up = None
        self.accept_button.setText(self.tr("Test"))
        self.accept_button.setEnabled(True)

    def done(self, code: int) -> None:
        if self._give_up is not None:
            self._give_up()
        super().done(code)


def digest_words(target: Target) -> str:
    """`header`, `header + data`, `none`; `required` where a log-in without is refused."""
    login = target.login
    wanted = [
        name + (translate("login_trial", " required") if policy == "require" else "")
        for name, policy in (
            (translate("login_trial", "header"), login.header_digest),
            (translate("login_trial", "data"), login.data_digest),
        )
        if policy != "none"
    ]
    return " + ".join(wanted) or translate("login_trial", "none")
