"""The first steps of a new target: its name, where it listens, and its LUNs."""

from __future__ import annotations

import time

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QCheckBox, QComboBox, QLineEdit, QWidget

from san_console.api.serving_objects import AccessState, PortalGroup
from san_console.gui.context import Context
from san_console.gui.dialogs.portal_group import STATES
from san_console.gui.translation import translated
from san_console.gui.widgets.cards import horizontal, vertical
from san_console.gui.widgets.labels import PlainLabel, restyle
from san_console.names.display import visible
from san_console.names.errors import NamesError
from san_console.names.iscsi_name import normalise, same_name
from san_console.names.portal import ISCSI_PORT, Portal


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
        self.column.addWidget(self._second_group())
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

    def _second_group(self) -> QWidget:
        """Hidden behind one tick: most targets have one group."""
        holder = QWidget()
        column = vertical(holder, gap=6)
        self.second = QCheckBox(self.tr("A second portal group, for paths of another kind"))
        self.second_line = QLineEdit()
        self.second_line.setProperty("mono", True)
        self.second_line.setPlaceholderText(f"10.21.0.5:{ISCSI_PORT}")
        self.second_line.setAccessibleName(self.tr("Portals of the second group"))
        self.second_state = QComboBox()
        self.second_state.setAccessibleName(self.tr("State of the paths of the second group"))
        for state, name, _meaning in STATES:
            self.second_state.addItem(translated(name), state)
        self.second_state.setCurrentIndex(self.second_state.findData("active/non-optimized"))
        self._second_fields = QWidget()
        row = horizontal(self._second_fields, gap=8)
        row.addWidget(self.second_line, 1)
        row.addWidget(self.second_state)
        self._second_fields.hide()
        column.addWidget(self.second)
        column.addWidget(self._second_fields)
        self.second.toggled.connect(self._second_fields.setVisible)
        self.second.toggled.connect(self.touch)
        self.second_line.textChanged.connect(self.touch)
        self.second_state.currentIndexChanged.connect(self.touch)
        return holder

    def _typed(self, line: QLineEdit) -> list[str]:
        """Raises InvalidPortal."""
        return [str(Portal.parse(word)) for word in line.text().replace(",", " ").split()]

    def problem(self) -> str:
        try:
            chosen, second = self.chosen(), self.second_portals()
        except NamesError as error:
            return str(error)
        if not chosen:
            return self.tr("Choose at least one address.")
        if self.second.isChecked() and not second:
            return self.tr("Write the portals of the second group, or take its tick away.")
        if both := set(chosen) & set(second):
            return self.tr("{portal} is in both groups.").format(portal=min(both))
        return ""

    def second_portals(self) -> list[str]:
        """Of the second group; empty when there is none. Raises InvalidPortal."""
        return list(dict.fromkeys(self._typed(self.second_line))) if self.second.isChecked() else []

    def groups(self) -> list[PortalGroup]:
        """Raises InvalidPortal."""
        made = [PortalGroup(portals=self.chosen())]
        if second := self.second_portals():
            state: AccessState = self.second_state.currentData()
            made.append(PortalGroup(tag=2, portals=second, access_state=state))
        return made

    def chosen(self) -> list[str]:
        """Raises InvalidPortal."""
        ticked = [portal for portal, box in self.boxes.items() if box.isChecked()]
        return list(dict.fromkeys([*ticked, *self._typed(self.line)]))

    def register_with(self) -> list[str]:
        return [address for address, box in self.servers.items() if box.isChecked()]
