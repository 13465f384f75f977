"""Where a served target listens."""

from __future__ import annotations

from typing import Any

import msgspec
from PySide6.QtWidgets import QLineEdit

from san_console.api.serving_objects import LocalTarget, PortalGroup
from san_console.gui import words
from san_console.gui.context import Context
from san_console.gui.models.columns import Column
from san_console.gui.theme.tokens import Tone
from san_console.gui.translation import translate
from san_console.gui.views.serve_changes import propose
from san_console.gui.views.serve_table import TablePart
from san_console.gui.widgets.buttons import Button, enable
from san_console.gui.widgets.empty import EmptyState
from san_console.gui.widgets.labels import restyle, tooltip_text
from san_console.names.errors import NamesError
from san_console.names.portal import Portal


class PortalsTab(TablePart):
    """Where a target listens."""

    def __init__(self, context: Context) -> None:
        super().__init__(
            context,
            self.tr("Portals of the target"),
            _portal_columns(self),
            EmptyState("plug", self.tr("No portals yet")),
        )
        self.line = QLineEdit()
        self.line.setPlaceholderText("10.20.0.5:3260")
        self.line.setProperty("mono", True)
        self.line.setFixedWidth(220)
        self.line.setAccessibleName(self.tr("Address of a new portal"))
        self.line.textChanged.connect(self._check)
        self.line.returnPressed.connect(self._add)
        self.add_button = Button(self.tr("Add portal"), self._add, icon="plus")
        self.remove_button = Button(self.tr("Remove"), self._remove, kind="danger", tip="Del")
        for widget in (self.remove_button, self.line, self.add_button):
            self.head.addWidget(widget)
        self.table.delete_asked.connect(self._remove)

    @staticmethod
    def key_of(item: Any) -> str:
        return str(item)

    def sessions_at(self, address: str) -> int:
        target = self.target
        return sum(
            target is not None and session.target == target.id and session.portal == address
            for session in self.host.values("target_sessions")
        )

    def show_object(self, item: Any) -> None:
        self.target = item if isinstance(item, LocalTarget) else None
        portals = list(self.target.portals) if self.target is not None else []
        self.model.set_objects(portals)
        self.table.select_first()
        groups = self.target.portal_groups if self.target is not None else []
        tags = ", ".join(str(group.tag) for group in groups)
        tag = self.tr("portal group {tpgt}").format(tpgt=tags)
        self.note.setText(f"{words.counted(len(portals), 'portal')}, {tag}" if portals else "")
        self.failure.show_problem(self.target.problem if self.target is not None else None)
        self._check()
        self.chosen()

    def chosen(self) -> None:
        many = self.target is not None and len(self.target.portals) > 1
        enable(
            self.remove_button,
            many and bool(self.table.selected_ids()),
            self.tr("A target needs a portal: disable it instead"),
        )

    def _portal(self) -> str:
        """Empty where what is typed is none."""
        try:
            return str(Portal.parse(self.line.text().strip()))
        except NamesError as error:
            self.line.setToolTip(tooltip_text(str(error)))
            return ""

    def _check(self) -> None:
        typed, portal = bool(self.line.text().strip()), self._portal()
        self.line.setProperty("invalid", typed and not portal)
        restyle(self.line)
        known = self.target.portals if self.target is not None else []
        enable(
            self.add_button,
            bool(portal) and portal not in known,
            self.tr("Write an address of this computer"),
        )

    def _add(self) -> None:
        portal, target = self._portal(), self.target
        if target is None or not portal or portal in target.portals:
            return
        first, *others = target.portal_groups or [PortalGroup()]
        first = msgspec.structs.replace(first, portals=[*first.portals, portal])
        new = msgspec.structs.replace(target, portal_groups=[first, *others])
        propose(
            self.context,
            self,
            target,
            new,
            question=self.tr("Listen on {portal} too?").format(portal=portal),
            verb=self.tr("Add portal"),
            said=self.tr("{id} listens on {portal} too.").format(
                id=words.short_name(target.id), portal=portal
            ),
            done=lambda _target: self.line.clear(),
            failed=self.failure.show_problem,
        )

    def _remove(self) -> None:
        target, chosen = self.target, self.table.selected_ids()
        if target is None or not chosen or len(chosen) >= len(target.portals):
            return
        left = [
            msgspec.structs.replace(
                group, portals=[portal for portal in group.portals if portal not in chosen]
            )
            for group in target.portal_groups
        ]
        new = msgspec.structs.replace(target, portal_groups=[group for group in left if group.portals])
        propose(
            self.context,
            self,
            target,
            new,
            question=self.tr("Stop listening on {chosen}?").format(chosen=", ".join(chosen)),
            verb=self.tr("Remove {chosen}").format(chosen=words.counted(len(chosen), "portal")),
            said=self.tr("{chosen} was removed.").format(chosen=", ".join(chosen)),
            failed=self.failure.show_problem,
        )


def _portal_columns(tab: PortalsTab) -> list[Column]:
    def state(_address: str) -> str:
        return tab.target.state if tab.target is not None else ""

    tones: dict[str, Tone] = {"serving": "good", "failed": "bad"}
    return [
        Column(
            "address", translate("serve_portals", "Portal"), lambda address: address, mono=True, width=260
        ),
        Column(
            "state",
            translate("serve_portals", "State"),
            lambda address: {"serving": translate("serve_portals", "listening")}.get(
                state(address), state(address)
            ),
            kind="state",
            tone=lambda address: tones.get(state(address), "muted"),
            width=130,
        ),
        Column(
            "sessions",
            translate("serve_portals", "Sessions"),
            lambda address: str(tab.sessions_at(address)),
            sort=tab.sessions_at,
            right=True,
            width=100,
        ),
        Column("rest", "", lambda _address: "", width=40, stretch=True),
    ]
