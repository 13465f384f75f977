"""Where a served target listens: its portals in their groups, with the state of the paths through them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec
from PySide6.QtWidgets import QMenu

from san_console.api.serving_objects import AccessState, LocalTarget, PortalGroup
from san_console.gui import words
from san_console.gui.context import Context
from san_console.gui.dialogs.portal_group import STATES, AddPortalDialog, PortalGroupDialog, state_name
from san_console.gui.models.columns import Column
from san_console.gui.theme.tokens import Tone
from san_console.gui.translation import translate, translated
from san_console.gui.views.serve_changes import propose
from san_console.gui.views.serve_facts import STATE_TONES
from san_console.gui.views.serve_table import TablePart
from san_console.gui.widgets.buttons import Button, enable
from san_console.gui.widgets.empty import EmptyState
from san_console.gui.widgets.menus import add_action
from san_console.names.errors import NamesError
from san_console.names.portal import ISCSI_PORT, Portal


@dataclass(frozen=True, slots=True)
class Row:
    """A portal in its group."""

    group: PortalGroup
    portal: str

    @property
    def id(self) -> str:
        return f"{self.group.tag}\n{self.portal}"


def with_portal(target: LocalTarget, portal: str, tag: int) -> LocalTarget:
    """The target, listening on `portal` too; the group `tag` is made when there is none."""
    groups = [
        msgspec.structs.replace(group, portals=[*group.portals, portal]) if group.tag == tag else group
        for group in target.portal_groups
    ]
    if all(group.tag != tag for group in groups):
        groups.append(PortalGroup(tag=tag, portals=[portal]))
    return msgspec.structs.replace(target, portal_groups=groups)


def without_portals(target: LocalTarget, gone: list[Row]) -> LocalTarget:
    """The target without these portals, and without groups that have none left."""
    left = [
        msgspec.structs.replace(
            group,
            portals=[
                portal
                for portal in group.portals
                if all((row.group.tag, row.portal) != (group.tag, portal) for row in gone)
            ],
        )
        for group in target.portal_groups
    ]
    return msgspec.structs.replace(target, portal_groups=[group for group in left if group.portals])


class PortalsTab(TablePart):
    """Portals come and go while initiators are at work; the state of a group can be changed to try out a
    fail-over.
    """

    def __init__(self, context: Context) -> None:
        super().__init__(
            context,
            self.tr("Portals of the target"),
            _columns(self),
            EmptyState("plug", self.tr("No portals yet")),
        )
        self.remove_button = Button(self.tr("Remove"), self._remove, kind="danger", tip="Del")
        self.group_button = Button(self.tr("Group…"), self._edit_group, icon="sliders-horizontal")
        self.group_button.setAccessibleName(self.tr("Change the portal group"))
        self.add_button = Button(self.tr("Add portal…"), self._add, icon="plus")
        for widget in (self.remove_button, self.group_button, self.add_button):
            self.head.addWidget(widget)
        self.table.delete_asked.connect(self._remove)
        self.table.doubleClicked.connect(lambda _index: self._edit_group())

    def sessions_at(self, row: Row) -> int:
        """How many sessions came in through a portal; a wildcard counts all of its port."""
        target = self.target
        return sum(
            target is not None
            and session.target == target.id
            and session.tpgt == row.group.tag
            and _reached(row.portal, session.portal)
            for session in self.host.values("target_sessions")
        )

    def show_object(self, item: Any) -> None:
        self.target = item if isinstance(item, LocalTarget) else None
        groups = self.target.portal_groups if self.target is not None else []
        rows = [Row(group, portal) for group in groups for portal in group.portals]
        self.model.set_objects(rows)
        self.table.select_first()
        self.note.setText(
            self.tr("{portals} in {groups}").format(
                portals=words.counted(len(rows), "portal"), groups=words.counted(len(groups), "group")
            )
            if rows
            else ""
        )
        self.chosen()

    def chosen(self) -> None:
        picked = bool(self.table.selected_ids())
        enable(self.group_button, picked, self.tr("Select a portal"))
        enable(
            self.remove_button,
            picked and len(self.table.selected_ids()) < len(self.model),
            self.tr("A target needs a portal: disable it instead"),
        )

    def fill_menu(self, menu: QMenu) -> None:
        row = self.table.current_object()
        if not isinstance(row, Row):
            return
        states = menu.addMenu(self.tr("Paths of group {tag}").format(tag=row.group.tag))
        for state, name, _ in STATES:
            action = states.addAction(translated(name))
            action.setCheckable(True)
            action.setChecked(state == row.group.access_state)
            action.triggered.connect(lambda _checked=False, one=state: self._set_state(row.group, one))
        add_action(menu, self.tr("Change group…"), self._edit_group, icon="sliders-horizontal")
        add_action(menu, self.tr("Remove"), self._remove, icon="trash-2", shortcut="Del", danger=True)

    def _add(self) -> None:
        target = self.target
        if target is None:
            return
        known = set(target.portals)
        addresses = []
        for interface in self.host.values("interfaces"):
            for address in interface.addresses if interface.up else ():
                try:
                    portal = str(Portal(address.partition("/")[0], ISCSI_PORT))
                except NamesError:
                    continue  # one that cannot be a portal, such as a link-local one with its zone
                if portal not in known:
                    addresses.append(portal)

        def add(dialog: AddPortalDialog, portal: str, tag: int) -> None:
            propose(
                self.context,
                self,
                target,
                with_portal(target, portal, tag),
                question=self.tr("Listen on {portal} too?").format(portal=portal),
                verb=self.tr("Add portal"),
                said=self.tr("{id} listens on {portal} too.").format(
                    id=words.short_name(target.id), portal=portal
                ),
                done=lambda _target: dialog.finished_ok(),
                failed=dialog.finished_badly,
            )

        AddPortalDialog(words.short_name(target.id), addresses, target.portal_groups, add, parent=self).open()

    def _edit_group(self) -> None:
        target, row = self.target, self.table.current_object()
        if target is None or not isinstance(row, Row):
            return
        tags = [group.tag for group in target.portal_groups]

        def change(dialog: PortalGroupDialog, group: PortalGroup) -> None:
            dialog.finished_ok()
            self._change_group(row.group, group)

        PortalGroupDialog(row.group, tags, change, parent=self).open()

    def _change_group(self, old: PortalGroup, new: PortalGroup) -> None:
        target = self.target
        if target is None:
            return
        groups = [new if one.tag == old.tag else one for one in target.portal_groups]
        propose(
            self.context,
            self,
            target,
            msgspec.structs.replace(target, portal_groups=groups),
            question=self.tr("Change portal group {tag}?").format(tag=old.tag),
            verb=self.tr("Change group"),
            said=self.tr("Portal group {tag} was changed; its paths are: {state}.").format(
                tag=new.tag, state=state_name(new.access_state)
            ),
            failed=self.failure.show_problem,
        )

    def _set_state(self, group: PortalGroup, state: AccessState) -> None:
        target = self.target
        if target is None or state == group.access_state:
            return
        self._change_group(group, msgspec.structs.replace(group, access_state=state))

    def _remove(self) -> None:
        target = self.target
        rows = [row for row in self.table.selected_objects() if isinstance(row, Row)]
        if target is None or not rows or len(rows) >= len(self.model):
            return
        names = ", ".join(row.portal for row in rows)
        propose(
            self.context,
            self,
            target,
            without_portals(target, rows),
            question=self.tr("Stop listening on {chosen}?").format(chosen=names),
            verb=self.tr("Remove {chosen}").format(chosen=words.counted(len(rows), "portal")),
            said=self.tr("{chosen} was removed.").format(chosen=names),
            failed=self.failure.show_problem,
        )


def _reached(portal: str, at: str) -> bool:
    """Whether a session at the address `at` came in through `portal`, which may be a wildcard."""
    if portal == at:
        return True
    host, _, port = portal.rpartition(":")
    return host in ("0.0.0.0", "[::]") and at.rpartition(":")[2] == port  # noqa: S104 - compared, not bound


def _columns(tab: PortalsTab) -> list[Column]:
    def listening(_row: Row) -> str:
        state = tab.target.state if tab.target is not None else ""
        return translate("serve_portals", "listening") if state == "serving" else state

    def listening_tone(_row: Row) -> Tone:
        state = tab.target.state if tab.target is not None else ""
        return "good" if state == "serving" else "bad" if state == "failed" else "muted"

    def redirect(row: Row) -> str:
        if not row.group.redirect_to:
            return words.NONE
        if row.group.redirect_permanent:
            return translate("serve_portals", "{portal} for good").format(portal=row.group.redirect_to)
        return row.group.redirect_to

    return [
        Column(
            "address",
            translate("serve_portals", "Portal"),
            lambda row: row.portal,
            mono=True,
            width=170,
            stretch=True,
        ),
        Column("state", translate("serve_portals", "State"), listening, kind="state", tone=listening_tone),
        Column(
            "tag",
            translate("serve_portals", "Group"),
            lambda row: str(row.group.tag),
            sort=lambda row: row.group.tag,
            right=True,
            width=64,
        ),
        Column(
            "paths",
            translate("serve_portals", "Paths"),
            lambda row: (
                state_name(row.group.access_state)
                + (translate("serve_portals", ", preferred") if row.group.preferred else "")
            ),
            kind="state",
            tone=lambda row: STATE_TONES[row.group.access_state],
            width=224,
        ),
        Column(
            "redirect",
            translate("serve_portals", "Sends logins to"),
            redirect,
            mono=True,
            width=140,
        ),
        Column(
            "sessions",
            translate("serve_portals", "Sessions"),
            lambda row: str(tab.sessions_at(row)),
            sort=tab.sessions_at,
            right=True,
            width=76,
        ),
    ]
