"""Try a CHAP identity at a target: a log-in that logs out again at once."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtWidgets import QComboBox, QFormLayout, QWidget

from san_console.api.engine_objects import Identity
from san_console.api.initiator_objects import Target
from san_console.api.methods import TrialResult, TryIdentity
from san_console.api.problems import Problem
from san_console.gui.context import Context
from san_console.gui.dialogs.base import BaseDialog
from san_console.gui.widgets.labels import PlainLabel
from san_console.gui.widgets.problems import InlineProblem
from san_console.names.display import visible


class TestIdentityDialog(BaseDialog):
    """The answer is shown inside; the dialog stays open for another try."""

    __test__ = False  # pytest: the word is a verb here

    def __init__(self, context: Context, identity: Identity, parent: QWidget | None = None) -> None:
        super().__init__(
            self.tr("Test {user}").format(user=visible(identity.user, 64)),
            self.tr("Test"),
            width_px=560,
            cancel_text=self.tr("Close"),
            parent=parent,
        )
        self._context = context
        self._identity = identity
        self._give_up: Callable[[], None] | None = None
        self.content.addWidget(
            PlainLabel(
                self.tr("Logs in with this identity, says what the target answers, and logs out again."),
                style="muted",
                wrap=True,
            )
        )
        form = QFormLayout()
        form.setHorizontalSpacing(14)
        form.setVerticalSpacing(10)
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        self.target = QComboBox()
        self.portal = QComboBox()
        self.mutual = QComboBox()
        fields = (
            (self.tr("Target"), self.target, True),
            (self.tr("Portal"), self.portal, True),
            (self.tr("The target proves itself with"), self.mutual, False),
        )
        for label, box, editable in fields:
            box.setEditable(editable)
            box.setInsertPolicy(QComboBox.InsertPolicy.NoInsert)
            box.setAccessibleName(label)
            if editable:
                box.setProperty("mono", True)
            line = box.lineEdit()
            if line is not None:
                line.setAccessibleName(label)
            form.addRow(PlainLabel(label, style="muted"), box)
        self.content.addLayout(form)
        self.outcome = InlineProblem("note")
        self.content.addWidget(self.outcome)
        used_first = sorted(
            context.host.values("targets"), key=lambda target: target.login.identity_id != identity.id
        )
        for target in used_first:
            self.target.addItem(visible(target.id), target.id)
        self.mutual.addItem(self.tr("nothing: only we do"), "")
        for other in context.host.values("identities"):
            if other.id != identity.id:
                self.mutual.addItem(visible(other.user), other.id)
        self.target.currentIndexChanged.connect(self._fill_portals)
        self.target.editTextChanged.connect(self._check)
        self.portal.editTextChanged.connect(self._check)
        self._fill_portals()

    def _fill_portals(self) -> None:
        target = self._context.host.get("targets", self._target_name())
        self.portal.clear()
        if isinstance(target, Target):
            for portal in target.portals:
                self.portal.addItem(visible(portal.address), portal.address)
            place = self.mutual.findData(target.login.mutual_identity_id)
            self.mutual.setCurrentIndex(max(place, 0))
        self._check()

    def _target_name(self) -> str:
        return self._chosen(self.target)

    @staticmethod
    def _chosen(box: QComboBox) -> str:
        """The text as typed; the exact value where the text is that of an entry."""
        place = box.findText(box.currentText())
        return str(box.itemData(place)) if place >= 0 else box.currentText().strip()

    def _check(self) -> None:
        self.accept_button.setEnabled(bool(self._target_name() and self._chosen(self.portal)))

    def do(self) -> None:
        self.outcome.hide()
        self.accept_button.setText(self.tr("Testing…"))
        self._give_up = self._context.host.call(
            "identities.test",
            TryIdentity(
                id=self._identity.id,
                mutual_id=str(self.mutual.currentData() or ""),
                target=self._target_name(),
                portal=self._chosen(self.portal),
            ),
            self._answered,
            self.finished_badly,
            owner=self,
        )

    def _answered(self, result: TrialResult) -> None:
        self._ready_again()
        if not result.ok:
            self.problem.say(
                result.text, self.tr("the target"), self.tr("the secret on both sides, and the target's list")
            )
            return
        facts = [text for text in (result.auth, f"{result.took_ms:.0f} ms") if text]
        self.outcome.say(
            self.tr("It works. {text} {facts}.").format(text=result.text, facts=", ".join(facts))
        )

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
