"""Name who may use a target: an initiator, a pattern, addresses or a group, checked while it is typed."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from PySide6.QtWidgets import QCheckBox, QLineEdit, QWidget

from san_console.api.serving_objects import InitiatorGroup, LocalTarget, TargetSession
from san_console.gui import words
from san_console.gui.dialogs.base import BaseDialog
from san_console.gui.models.subjects import ANYONE, groups_of, rank, read_subject, subject_meaning
from san_console.gui.widgets.candidates import Candidate, CandidateList
from san_console.gui.widgets.labels import PlainLabel, restyle


class InitiatorDialog(BaseDialog):
    """`choices` to pick from, `sessions` to count whom a subject means now. `on_subject(dialog, subject)`
    ends it.
    """

    def __init__(
        self,
        target: LocalTarget,
        choices: Sequence[Candidate],
        sessions: Sequence[TargetSession],
        on_subject: Callable[[InitiatorDialog, str], object],
        parent: QWidget | None = None,
    ) -> None:
        name = target.alias or words.short_name(target.id)
        super().__init__(
            self.tr("Add an initiator to {target_name}").format(target_name=name),
            self.tr("Add initiator"),
            width_px=600,
            parent=parent,
        )
        self._taken = set(target.initiators)
        self._groups = groups_of(target)
        self._known: list[InitiatorGroup] = target.initiator_groups
        self._sessions = sessions
        self._on_subject = on_subject
        self.content.addWidget(
            PlainLabel(
                self.tr("It sees no LUN before you map one to it on the tab Mapping."),
                style="muted",
                wrap=True,
            )
        )
        self.line = QLineEdit()
        self.line.setProperty("mono", True)
        self.line.setAccessibleName(self.tr("Initiator name, pattern, address or group"))
        self.line.setPlaceholderText("iqn.2004-10.com.example.hosts:db-1")
        self.content.addWidget(self.line)
        self._hint = PlainLabel("", style="small", wrap=True)
        self.content.addWidget(self._hint)
        self.choices = CandidateList(self.tr("Initiators to choose from"), choices)
        if len(self.choices):
            self.content.addWidget(PlainLabel(self.tr("Or choose one"), style="muted"))
            self.content.addWidget(self.choices)
        self.anyone = QCheckBox(self.tr("Anyone: every initiator that reaches a portal"))
        self.anyone.setEnabled(ANYONE not in self._taken)
        self.content.addWidget(self.anyone)
        self._open_to_all = not target.identity_ids
        self.content.addStretch(1)
        self.choices.picked.connect(self._pick)
        self.line.textChanged.connect(self._check)
        self.anyone.toggled.connect(self._check)
        self._check()
        self.line.setFocus()

    def _pick(self, subject: str) -> None:
        self.anyone.setChecked(False)
        self.line.setText(subject)

    def subject(self) -> str:
        """In the form that is kept. Raises ValueError with a sentence."""
        if self.anyone.isChecked():
            return ANYONE
        read = read_subject(self.line.text())
        if read.kind == "group" and read.name not in self._groups:
            raise ValueError(
                self.tr("There is no group {name}: make it on the tab Access first.").format(name=read.name)
            )
        if read.text in self._taken:
            raise ValueError(self.tr("There is a row for it already."))
        return read.text

    def _check(self) -> None:
        typed = bool(self.line.text().strip())
        self.line.setEnabled(not self.anyone.isChecked())
        hint, wrong, subject = "", False, ""
        try:
            subject = self.subject() if typed or self.anyone.isChecked() else ""
            hint = self._meaning(subject)
        except ValueError as error:
            hint, wrong = str(error), True
        self._hint.setText(hint)
        alarming = subject == ANYONE
        self._hint.set_tone("bad" if wrong or (alarming and self._open_to_all) else "muted")
        self.line.setProperty("invalid", wrong)
        restyle(self.line)
        self.accept_button.setEnabled(bool(subject) and not wrong)

    def _meaning(self, subject: str) -> str:
        if not subject:
            return self.tr(
                "A name, a pattern such as iqn.2004-10.com.example.hosts:esx-*, an address or network "
                "such as 10.20.0.0/16, NAME@10.20.0.0/16 for both at once, or group:NAME."
            )
        if subject == ANYONE:
            if self._open_to_all:
                return self.tr("Whoever reaches a portal may log in: this target asks for no CHAP.")
            return self.tr("Whoever reaches a portal and knows a CHAP secret may log in.")
        meaning = subject_meaning(read_subject(subject))
        now = sum(
            rank(subject, one.initiator, one.address, self._groups) is not None for one in self._sessions
        )
        if not now:
            return meaning
        return self.tr("{meaning} Connected now: {now}.").format(meaning=meaning, now=now)

    def do(self) -> None:
        self._on_subject(self, self.subject())
