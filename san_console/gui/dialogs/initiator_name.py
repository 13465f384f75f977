"""The name by which targets know this computer."""

from __future__ import annotations

from PySide6.QtWidgets import QLineEdit, QWidget

from san_console.api.methods import SetInitiatorName
from san_console.gui.context import Context
from san_console.gui.dialogs.base import BaseDialog
from san_console.gui.widgets.labels import PlainLabel
from san_console.names.errors import NamesError
from san_console.names.iscsi_name import normalise


class InitiatorNameDialog(BaseDialog):
    def __init__(self, context: Context, parent: QWidget | None = None) -> None:
        super().__init__(
            self.tr("Name of this computer"), self.tr("Change name"), width_px=560, parent=parent
        )
        self._context = context
        engine = context.host.engine
        text = self.tr(
            "Targets decide by this name what this computer may see. Sessions that are up keep the old name "
            "until they log in again."
        )
        self.content.addWidget(PlainLabel(text, style="muted", wrap=True))
        self.field = QLineEdit(engine.initiator_name if engine else "")
        self.field.setProperty("mono", True)
        self.field.setAccessibleName(self.tr("Initiator name"))
        self.content.addWidget(self.field)
        self._hint = PlainLabel("", style="small", wrap=True)
        self.content.addWidget(self._hint)
        self.field.textChanged.connect(self._check)
        self._check(self.field.text())

    def _check(self, text: str) -> None:
        try:
            name = normalise(text.strip())
        except NamesError as error:
            self._hint.setText(str(error))
            self._hint.set_tone("bad")
            self.accept_button.setEnabled(False)
            return
        changed = name != text.strip()
        self._hint.setText(
            self.tr("Will be written as {name}").format(name=name)
            if changed
            else self.tr("{encode} of 223 bytes").format(encode=len(name.encode()))
        )
        self._hint.set_tone("muted")
        self.accept_button.setEnabled(True)

    def do(self) -> None:
        name = normalise(self.field.text().strip())
        self._context.host.call(
            "engine.set_initiator_name",
            SetInitiatorName(name=name),
            self.finished_ok,
            self.finished_badly,
            owner=self,
        )
