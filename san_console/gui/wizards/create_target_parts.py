"""The first steps of a new target: its name, where it listens, and its LUNs."""

from __future__ import annotations

import time
from functools import partial
from typing import Final

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QCheckBox, QLineEdit, QWidget

from san_console.api.serving_objects import LocalLun
from san_console.gui import words
from san_console.gui.context import Context
from san_console.gui.dialogs.local_lun import LunFields
from san_console.gui.widgets.buttons import Button, IconButton
from san_console.gui.widgets.cards import Frame, clear, horizontal, vertical
from san_console.gui.widgets.labels import ElidedLabel, PlainLabel, restyle
from san_console.names.display import visible
from san_console.names.errors import NamesError
from san_console.names.iscsi_name import normalise, same_name
from san_console.names.portal import ISCSI_PORT, Portal

MAX_LUNS: Final = 32
"""Of a new target; more are added on the page, where there is room to see them."""


class Step(QWidget):
    """A page of the wizard. `problem` says what is missing."""

    changed = Signal()

    def __init__(self, title: str, explanation: str) -> None:
        super().__init__()
        self.touched = False
        """Whether the user has typed something here: before that, what is missing is no error."""
        self.setAccessibleName(title)
        self.column = vertical(self, gap=10)
        self.column.addWidget(PlainLabel(title, style="heading"))
        self.column.addWidget(PlainLabel(explanation, style="muted", wrap=True))

    def problem(self) -> str:
        """A sentence, or empty when the step is complete."""
        return ""

    def leave(self) -> None:
        """Next was pressed: take over what was filled in and not yet added."""

    def touch(self) -> None:
        self.touched = True
        self.changed.emit()


class NameStep(Step):
    """The iSCSI name, normalised while it is typed."""

    def __init__(self, context: Context) -> None:
        super().__init__(
            self.tr("Name"), self.tr("Initiators know the target by this name. It cannot be changed later.")
        )
        self._context = context
        self.line = QLineEdit(f"iqn.{time.strftime('%Y-%m', time.localtime(context.now()))}.org.san-console:")
        self.line.setProperty("mono", True)
        self.line.setAccessibleName(self.tr("Target name"))
        self.column.addWidget(self.line)
        self.meaning = PlainLabel("", style="small", wrap=True)
        self.column.addWidget(self.meaning)
        self.column.addSpacing(8)
        self.column.addWidget(PlainLabel(self.tr("Alias, for people (may stay empty)"), style="muted"))
        self.alias = QLineEdit()
        self.alias.setAccessibleName(self.tr("Alias"))
        self.column.addWidget(self.alias)
        self.column.addStretch(1)
        self.line.textChanged.connect(self._show)
        self.alias.textChanged.connect(self.changed)
        self.setFocusProxy(self.line)

    def _show(self) -> None:
        problem = self.problem()
        typed = self.line.text().strip()
        self.line.setProperty("invalid", bool(problem))
        restyle(self.line)
        self.meaning.setText(
            ""
            if problem or self.chosen() == typed
            else self.tr("Means {chosen}").format(chosen=self.chosen())
        )
        self.touch()

    def problem(self) -> str:
        typed = self.line.text().strip()
        if typed.endswith(":") or not typed:
            return self.tr("Write a name after the colon, such as disks.")
        try:
            name = normalise(typed)
        except NamesError as error:
            return str(error)
        if any(same_name(name, target.id) for target in self._context.host.values("local_targets")):
            return self.tr("This computer serves a target of this name already.")
        return ""

    def chosen(self) -> str:
        try:
            return normalise(self.line.text().strip())
        except NamesError:
            return self.line.text().strip()


class PortalsStep(Step):
    """Addresses of this computer to listen on, and iSNS servers to register with."""

    def __init__(self, context: Context) -> None:
        super().__init__(
            self.tr("Portals"), self.tr("The addresses of this computer on which the target can be reached.")
        )
        self.boxes: dict[str, QCheckBox] = {}
        for interface in context.host.values("interfaces"):
            for address in interface.addresses:
                try:
                    portal = str(Portal(address, ISCSI_PORT))
                except NamesError:
                    continue
                box = QCheckBox(f"{visible(portal, 80)}   {visible(interface.id, 40)}")
                box.setChecked(address == "127.0.0.1")
                box.toggled.connect(self.touch)
                self.boxes[portal] = box
                self.column.addWidget(box)
        self.column.addWidget(PlainLabel(self.tr("Others, separated by spaces"), style="muted"))
        self.line = QLineEdit()
        self.line.setProperty("mono", True)
        self.line.setPlaceholderText(f"10.20.0.5:{ISCSI_PORT + 1}")
        self.line.setAccessibleName(self.tr("Other portals"))
        self.line.textChanged.connect(self.touch)
        self.column.addWidget(self.line)
        self.servers: dict[str, QCheckBox] = {}
        servers = [server for server in context.host.values("isns_servers") if server.address]
        if servers:
            self.column.addSpacing(6)
            self.column.addWidget(PlainLabel(self.tr("Register with iSNS at"), style="muted"))
        for server in servers:
            where = self.tr(" · this computer") if server.embedded else ""
            box = QCheckBox(f"{visible(server.address, 80)}{where}")
            box.toggled.connect(self.touch)
            self.servers[server.address] = box
            self.column.addWidget(box)
        self.column.addStretch(1)

    def _typed(self) -> list[str]:
        """Raises InvalidPortal."""
        return [str(Portal.parse(word)) for word in self.line.text().replace(",", " ").split()]

    def problem(self) -> str:
        try:
            chosen = self.chosen()
        except NamesError as error:
            return str(error)
        return "" if chosen else self.tr("Choose at least one address.")

    def chosen(self) -> list[str]:
        """Raises InvalidPortal."""
        ticked = [portal for portal, box in self.boxes.items() if box.isChecked()]
        return list(dict.fromkeys([*ticked, *self._typed()]))

    def register_with(self) -> list[str]:
        return [address for address, box in self.servers.items() if box.isChecked()]


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
