"""Who may use a new target, and how they prove themselves."""

from __future__ import annotations

from PySide6.QtWidgets import QCheckBox, QComboBox, QPlainTextEdit, QRadioButton

from san_console.gui.context import Context
from san_console.gui.models.subjects import ANYONE
from san_console.gui.widgets.labels import PlainLabel
from san_console.gui.widgets.problems import InlineProblem
from san_console.gui.wizards.create_target_parts import Step
from san_console.names.display import visible
from san_console.names.errors import NamesError
from san_console.names.iscsi_name import normalise


class AccessStep(Step):
    """Named initiators, or anyone: an explicit choice, and marked."""

    def __init__(self, context: Context) -> None:
        super().__init__(
            self.tr("Initiators"), self.tr("Who sees the LUNs of this target, for reading and writing.")
        )
        self._context = context
        self.named = QRadioButton(self.tr("Only these initiators"))
        self.named.setChecked(True)
        self.anyone = QRadioButton(self.tr("Anyone who reaches a portal"))
        self.names = QPlainTextEdit()
        self.names.setProperty("mono", True)
        self.names.setMaximumHeight(120)
        self.names.setTabChangesFocus(True)
        self.names.setAccessibleName(self.tr("Names of initiators, one per line"))
        self.names.setPlaceholderText("iqn.2004-10.com.example.hosts:db-1\none name per line")
        engine = context.host.engine
        self.own = QCheckBox(self.tr("This computer too, by its own initiator"))
        self._own_name = engine.initiator_name if engine is not None else ""
        self.warning = InlineProblem("notice")
        self.column.addWidget(self.named)
        self.column.addWidget(self.names)
        self.column.addWidget(self.own)
        self.column.addSpacing(6)
        self.column.addWidget(self.anyone)
        self.column.addWidget(self.warning)
        self.column.addStretch(1)
        self.own.toggled.connect(self.touch)
        self.names.textChanged.connect(self.touch)
        self.anyone.toggled.connect(self._show)

    def _show(self) -> None:
        anyone = self.anyone.isChecked()
        self.names.setEnabled(not anyone)
        self.own.setEnabled(not anyone)
        if anyone:
            self.warning.say(
                self.tr("Every machine that reaches a portal can log in and write."),
                "",
                self.tr("Ask for CHAP in the next step, or name the initiators."),
            )
        else:
            self.warning.hide()
        self.touch()

    def chosen(self) -> list[str]:
        """Raises InvalidName."""
        if self.anyone.isChecked():
            return [ANYONE]
        names = [normalise(line.strip()) for line in self.names.toPlainText().splitlines() if line.strip()]
        if self.own.isChecked() and self._own_name:
            names.append(normalise(self._own_name))
        return list(dict.fromkeys(names))

    def problem(self) -> str:
        try:
            names = self.chosen()
        except NamesError as error:
            return str(error)
        return "" if names else self.tr("Name at least one initiator, or let anyone in.")


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
