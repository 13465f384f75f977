"""Who may use a new target, and how they prove themselves."""

from __future__ import annotations

from PySide6.QtWidgets import QCheckBox, QComboBox, QLineEdit, QPlainTextEdit, QRadioButton

from san_console.api.serving_objects import InitiatorGroup
from san_console.gui.context import Context
from san_console.gui.dialogs.initiator_group import read_members
from san_console.gui.models.subjects import ANYONE, GROUP_PREFIX, check_group_name, read_subject
from san_console.gui.widgets.candidates import CandidateList, candidates
from san_console.gui.widgets.cards import horizontal
from san_console.gui.widgets.labels import PlainLabel
from san_console.gui.widgets.problems import InlineProblem
from san_console.gui.wizards.create_target_parts import Step
from san_console.names.display import visible


class AccessStep(Step):
    """Named initiators, or anyone: an explicit choice, and marked."""

    def __init__(self, context: Context) -> None:
        super().__init__(
            self.tr("Initiators"), self.tr("Who sees the LUNs of this target, for reading and writing.")
        )
        self._context = context
        self.named = QRadioButton(self.tr("Only these: names, patterns with *, networks; one per line"))
        self.named.setChecked(True)
        self.anyone = QRadioButton(self.tr("Anyone who reaches a portal"))
        self.names = QPlainTextEdit()
        self.names.setProperty("mono", True)
        self.names.setFixedHeight(88)
        self.names.setTabChangesFocus(True)
        self.names.setAccessibleName(self.tr("Initiators, one per line"))
        self.names.setPlaceholderText(
            "iqn.2004-10.com.example.hosts:db-1\niqn.2004-10.com.example.hosts:esx-*\n10.20.0.0/16"
        )
        engine = context.host.engine
        self._own_name = engine.initiator_name if engine is not None else ""
        self.choices = CandidateList(
            self.tr("Initiators to choose from"), candidates(context.host, [self._own_name]), rows_shown=3
        )
        self.own = QCheckBox(self.tr("This computer too, by its own initiator"))
        self.grouped = QCheckBox(self.tr("As one group called"))
        self.group = QLineEdit()
        self.group.setAccessibleName(self.tr("Name of the group"))
        self.group.setPlaceholderText(self.tr("cluster"))
        self.group.setEnabled(False)
        group_row = horizontal(gap=8)
        group_row.addWidget(self.grouped)
        group_row.addWidget(self.group, 1)
        self.warning = InlineProblem("notice")
        self.column.addWidget(self.named)
        self.column.addWidget(self.names)
        self.column.addWidget(self.choices)
        self.column.addWidget(self.own)
        self.column.addLayout(group_row)
        self.column.addSpacing(6)
        self.column.addWidget(self.anyone)
        self.column.addWidget(self.warning)
        self.column.addStretch(1)
        self.choices.picked.connect(self._pick)
        self.own.toggled.connect(self.touch)
        self.names.textChanged.connect(self.touch)
        self.group.textChanged.connect(self.touch)
        self.grouped.toggled.connect(self._show)
        self.anyone.toggled.connect(self._show)

    def _pick(self, subject: str) -> None:
        lines = [line for line in self.names.toPlainText().splitlines() if line.strip()]
        if subject not in lines:
            self.names.setPlainText("\n".join([*lines, subject]))

    def _show(self) -> None:
        anyone = self.anyone.isChecked()
        for widget in (self.names, self.choices, self.own, self.grouped):
            widget.setEnabled(not anyone)
        self.group.setEnabled(not anyone and self.grouped.isChecked())
        if anyone:
            self.warning.say(
                self.tr("Every machine that reaches a portal can log in and write."),
                "",
                self.tr("Ask for CHAP in the next step, or name the initiators."),
            )
        else:
            self.warning.hide()
        self.touch()

    def members(self) -> list[str]:
        """Everybody who is named. Raises ValueError with a sentence."""
        members = read_members(self.names.toPlainText())
        if self.own.isChecked() and self._own_name:
            members.append(read_subject(self._own_name).text)
        return list(dict.fromkeys(members))

    def groups(self) -> list[InitiatorGroup]:
        """The group that is made, if one is. Raises ValueError."""
        if self.anyone.isChecked() or not self.grouped.isChecked():
            return []
        return [InitiatorGroup(name=check_group_name(self.group.text().strip()), members=self.members())]

    def chosen(self) -> list[str]:
        """The rows of the new target. Raises ValueError."""
        if self.anyone.isChecked():
            return [ANYONE]
        made = self.groups()
        return [f"{GROUP_PREFIX}{group.name}" for group in made] if made else self.members()

    def problem(self) -> str:
        try:
            if not self.anyone.isChecked() and not self.members():
                return self.tr("Name at least one initiator, or let anyone in.")
            self.chosen()
        except ValueError as error:
            return str(error)
        return ""


class ChapStep(Step):
    """Which identities initiators may log in with, and with which the target proves itself."""

    def __init__(self, context: Context) -> None:
        super().__init__(
            "CHAP",
            self.tr(
                "Initiators prove themselves with one of these identities. None ticked: "
                "no proof is asked for."
            ),
        )
        self.boxes: dict[str, QCheckBox] = {}
        for identity in context.host.values("identities"):
            missing = identity.place == "missing"
            box = QCheckBox(
                visible(identity.user, 80).replace("&", "&&") + (self.tr("  (no secret)") if missing else "")
            )
            box.setEnabled(not missing)
            box.toggled.connect(self._show)
            self.boxes[identity.id] = box
            self.column.addWidget(box)
        if not self.boxes:
            self.column.addWidget(
                PlainLabel(
                    self.tr("There are no identities yet. Make one on the page Secrets; add it later."),
                    wrap=True,
                )
            )
        self.column.addSpacing(8)
        self.column.addWidget(PlainLabel(self.tr("The target proves itself with"), style="muted"))
        self.mutual = QComboBox()
        self.mutual.setAccessibleName(self.tr("The target proves itself with"))
        self.mutual.addItem(self.tr("nothing"), "")
        for identity in context.host.values("identities"):
            if identity.place != "missing":
                self.mutual.addItem(visible(identity.user, 80), identity.id)
        self.mutual.currentIndexChanged.connect(self._show)
        self.column.addWidget(self.mutual)
        self.note = InlineProblem("notice")
        self.column.addWidget(self.note)
        self.column.addStretch(1)
        self._show()
        self.touched = False

    def _show(self) -> None:
        if self.accepted():
            self.note.hide()
        else:
            self.note.say(
                self.tr("Without CHAP an initiator's name is all that is checked, and names can be forged.")
            )
        self.touch()

    def accepted(self) -> list[str]:
        return [identifier for identifier, box in self.boxes.items() if box.isChecked()]

    def mutual_id(self) -> str:
        return str(self.mutual.currentData() or "")

    def problem(self) -> str:
        if self.mutual_id() and not self.accepted():
            return self.tr(
                "A target proves itself only to initiators that prove themselves: tick an identity above."
            )
        if self.mutual_id() in self.accepted():
            return self.tr(
                "Both directions may not use the same secret (RFC 7143 §9.2.1): choose another identity."
            )
        return ""
