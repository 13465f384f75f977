"""Name an initiator that may use a target, checked while it is typed."""

from __future__ import annotations

from collections.abc import Callable, Collection

from PySide6.QtWidgets import QCheckBox, QComboBox, QWidget

from san_console.gui.dialogs.base import BaseDialog
from san_console.gui.models.mapping_matrix import ANYONE
from san_console.gui.widgets.labels import PlainLabel, restyle
from san_console.names.display import visible
from san_console.names.errors import NamesError
from san_console.names.iscsi_name import normalise


class InitiatorDialog(BaseDialog):
    """`known`: names to choose from; `taken`: those that have a row. `on_name(dialog, name)` ends it."""

    def __init__(
        self,
        target_name: str,
        known: Collection[str],
        taken: Collection[str],
        on_name: Callable[[InitiatorDialog, str], object],
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(
            self.tr("Add an initiator to {target_name}").format(target_name=target_name),
            self.tr("Add initiator"),
            width_px=560,
            parent=parent,
        )
        self._taken = set(taken)
        self._on_name = on_name
        self.content.addWidget(
            PlainLabel(
                self.tr(
                    "Its iSCSI name, as its own administrator sees it. "
                    "It sees no LUN before you map one to it."
                ),
                style="muted",
                wrap=True,
            )
        )
        self.name = QComboBox()
        self.name.setEditable(True)
        self.name.setInsertPolicy(QComboBox.InsertPolicy.NoInsert)
        self.name.setProperty("mono", True)
        for one in known:
            if one not in self._taken:
                self.name.addItem(visible(one, 223), one)
        self.name.setCurrentText("")
        self.name.setAccessibleName(self.tr("Initiator name"))
        line = self.name.lineEdit()
        if line is not None:
            line.setPlaceholderText("iqn.2004-10.com.example.hosts:db-1")
            line.setAccessibleName(self.tr("Initiator name"))
        self.content.addWidget(self.name)
        self._hint = PlainLabel("", style="small", wrap=True)
        self.content.addWidget(self._hint)
        self.anyone = QCheckBox(self.tr("Anyone: every initiator without a row of its own"))
        self.anyone.setEnabled(ANYONE not in self._taken)
        self.content.addWidget(self.anyone)
        self.content.addStretch(1)
        self.name.editTextChanged.connect(self._check)
        self.anyone.toggled.connect(self._check)
        self._check()
        self.name.setFocus()

    def _check(self) -> None:
        if self.anyone.isChecked():
            self._hint.setText(
                self.tr("Whoever reaches a portal may log in, unless the target asks for CHAP.")
            )
            self._hint.set_tone("warning")
            self.accept_button.setEnabled(True)
            return
        typed = self.name.currentText().strip()
        error, shown = "", ""
        if typed:
            try:
                shown = normalise(typed)
            except NamesError as problem:
                error = str(problem)
            if shown in self._taken:
                error = self.tr("This initiator has a row already.")
        self._hint.setText(
            error or (self.tr("Means {shown}").format(shown=shown) if shown and shown != typed else "")
        )
        self._hint.set_tone("bad" if error else "muted")
        line = self.name.lineEdit()
        if line is not None:
            line.setProperty("invalid", bool(error))
            restyle(line)
        self.accept_button.setEnabled(bool(shown) and not error)

    def do(self) -> None:
        if self.anyone.isChecked():
            self._on_name(self, ANYONE)
        else:
            self._on_name(self, normalise(self.name.currentText().strip()))
