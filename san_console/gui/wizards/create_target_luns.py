"""The LUNs of a new target."""

from __future__ import annotations

from functools import partial
from typing import Final

from PySide6.QtWidgets import QWidget

from san_console.api.serving_objects import LocalLun
from san_console.gui import words
from san_console.gui.dialogs.local_lun import LunFields
from san_console.gui.widgets.buttons import Button, IconButton
from san_console.gui.widgets.cards import Frame, clear, horizontal, vertical
from san_console.gui.widgets.labels import ElidedLabel, PlainLabel
from san_console.gui.wizards.create_target_parts import Step
from san_console.names.display import visible

MAX_LUNS: Final = 32
"""Of a new target; more are added on the page, where there is room to see them."""


class LunsStep(Step):
    """A list of LUNs and the fields for one more."""

    def __init__(self) -> None:
        super().__init__(
            "LUNs",
            self.tr("What the target serves. Numbers go from 0 in this order; more can be added later."),
        )
        self._luns: list[LocalLun] = []
        self.list = vertical(gap=6)
        self.column.addLayout(self.list)
        frame = Frame("code")
        inner = vertical(frame, margin=12, gap=8)
        self.fields = LunFields(suggested_name="disk0")
        self.fields.changed.connect(self._fields_changed)
        inner.addWidget(self.fields)
        row = horizontal(gap=8)
        self.hint = PlainLabel("", style="small", wrap=True)
        row.addWidget(self.hint, 1)
        self.add_button = Button(self.tr("Add this LUN"), self.add, icon="plus")
        row.addWidget(self.add_button)
        inner.addLayout(row)
        self.column.addWidget(frame)
        self.column.addStretch(1)
        self._fields_changed()

    def _fields_changed(self) -> None:
        problem = self.fields.problem()
        taken = any(lun.name == self.fields.name.text().strip() for lun in self._luns)
        if taken and not problem:
            problem = self.tr("There is a LUN of this name already.")
        self.hint.setText(problem)
        self.add_button.setEnabled(not problem and len(self._luns) < MAX_LUNS)
        self.changed.emit()

    def add(self) -> None:
        self._luns.append(self.fields.lun())
        self.fields.name.setText(f"disk{len(self._luns)}")
        self.fields.path.line.clear()
        self._show()

    def _remove(self, lun: LocalLun) -> None:
        self._luns.remove(lun)
        self._show()

    def _show(self) -> None:
        clear(self.list)
        for number, lun in enumerate(self._luns):
            holder = QWidget()
            row = horizontal(holder, gap=8)
            size = words.size(lun.size_bytes) if lun.size_bytes else self.tr("as large as it is")
            flags = self.tr(", read-only") if lun.read_only else ""
            row.addWidget(PlainLabel(f"LUN {number}", style="strong"))
            row.addWidget(
                ElidedLabel(f"{lun.name} · {lun.kind} {lun.path} · {size}{flags}".replace("  ", " ")), 1
            )
            row.addWidget(
                IconButton(
                    "x",
                    self.tr("Take out {name}").format(name=visible(lun.name, 64)),
                    partial(self._remove, lun),
                )
            )
            self.list.addWidget(holder)
        self._fields_changed()
        self.touch()

    def problem(self) -> str:
        if self._luns or not self.fields.problem():
            return ""
        return self.tr("Add at least one LUN. {problem}").format(problem=self.fields.problem())

    def leave(self) -> None:
        if not self._luns:
            self.add()

    def chosen(self) -> list[LocalLun]:
        return list(self._luns)
