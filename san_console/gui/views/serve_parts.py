"""Tabs of a served target that are tables: its LUNs, its portals, and who is connected."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QLineEdit, QMenu

from san_console.api.methods import Disconnect
from san_console.api.serving_objects import LocalLun, LocalTarget, PortalGroup, TargetSession
from san_console.gui import words
from san_console.gui.context import Context
from san_console.gui.dialogs.base import Confirmation
from san_console.gui.models.columns import Column
from san_console.gui.models.object_model import ObjectTableModel
from san_console.gui.theme.tokens import Tone
from san_console.gui.translation import translate
from san_console.gui.views.page import DetailTab
from san_console.gui.views.serve_changes import propose
from san_console.gui.widgets.buttons import Button, enable
from san_console.gui.widgets.cards import Line, horizontal, vertical
from san_console.gui.widgets.empty import EmptyState, TableCard
from san_console.gui.widgets.labels import ElidedLabel, restyle, tooltip_text
from san_console.gui.widgets.menus import add_action
from san_console.gui.widgets.problems import InlineProblem
from san_console.gui.widgets.table import TableView
from san_console.names.display import visible
from san_console.names.errors import NamesError
from san_console.names.portal import Portal


class _TablePart(DetailTab):
    """A row of buttons over a table that fills the tab."""

    def __init__(self, context: Context, name: str, columns: list[Column], empty: EmptyState) -> None:
        super().__init__(context)
        self.target: LocalTarget | None = None
        column = vertical(self, gap=0)
        self.head = horizontal(margin=8, gap=8)
        self.note = ElidedLabel("", style="muted", elide=Qt.TextElideMode.ElideRight)
        self.head.addWidget(self.note, 1)
        column.addLayout(self.head)
        self.failure = InlineProblem()
        column.addWidget(self.failure)
        column.addWidget(Line())
        key = type(self).__name__
        self.model = ObjectTableModel(columns, key=self.key_of)
        self.table = TableView(self.model, name, preferences=context.preferences, layout_key=f"serve.{key}")
        self.table.fill_menu = self.fill_menu
        self.table.chosen.connect(self.chosen)
        card = TableCard(self.table, empty)
        card.setProperty("kind", "")
        column.addWidget(card, 1)

    @staticmethod
    def key_of(item: Any) -> str:
        return str(item.id)

    def fill_menu(self, menu: QMenu) -> None:
        """The tab's own actions."""

    def chosen(self) -> None:
        """The selection changed."""


class LunsTab(_TablePart):
    """The LUNs of a target, mapped or not."""

    def __init__(self, context: Context, on_add: Callable[[], object]) -> None:
        super().__init__(
            context,
            self.tr("LUNs of the target"),
            _lun_columns(),
            EmptyState(
                "database",
                self.tr("No LUNs yet"),
                self.tr("A LUN is a file, memory or a disk."),
                self.tr("Add LUN…"),
                on_add,
            ),
        )
        self.remove_button = Button(self.tr("Remove LUN…"), self._remove, kind="danger", tip="Del")
        self.head.addWidget(self.remove_button)
        self.head.addWidget(Button(self.tr("Add LUN…"), on_add, icon="plus"))
        self.table.delete_asked.connect(self._remove)

    def show_object(self, item: Any) -> None:
        self.target = item if isinstance(item, LocalTarget) else None
        luns = list(self.target.luns) if self.target is not None else []
        self.model.set_objects(luns)
        self.table.select_first()
        total = words.size(sum(lun.size_bytes for lun in luns))
        self.note.setText(f"{words.counted(len(luns), 'LUN')}, {total}" if luns else "")
        self.chosen()

    def chosen(self) -> None:
        lun = self.table.current_object()
        enable(self.remove_button, lun is not None, self.tr("Select a LUN"))
        self.failure.show_problem(lun.problem if isinstance(lun, LocalLun) else None)

    def fill_menu(self, menu: QMenu) -> None:
        if self.table.current_object() is not None:
            add_action(
                menu, self.tr("Remove LUN…"), self._remove, icon="trash-2", shortcut="Del", danger=True
            )

    def _remove(self) -> None:
        lun, target = self.table.current_object(), self.target
        if not isinstance(lun, LocalLun) or target is None:
            return
        new = msgspec.structs.replace(
            target,
            luns=[one for one in target.luns if one.id != lun.id],
            mappings=[rule for rule in target.mappings if rule.lun_id != lun.id],
        )
        propose(
            self.context,
            self,
            target,
            new,
            question=self.tr("Remove the LUN {name} from {id}?").format(
                name=lun.name, id=words.short_name(target.id)
            ),
            verb=self.tr("Remove LUN"),
            said=self.tr("{name} is served no longer.").format(name=lun.name)
            + (self.tr(" The file is kept.") if lun.kind == "file" else ""),
        )


class PortalsTab(_TablePart):
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


class ConnectedTab(_TablePart):
    """Who is logged in to a target now."""

    def __init__(self, context: Context) -> None:
        super().__init__(
            context,
            self.tr("Sessions of initiators"),
            _session_columns(self),
            EmptyState(
                "users", self.tr("Nobody is connected"), self.tr("Initiators appear here when they log in.")
            ),
        )
        self.disconnect_button = Button(self.tr("Disconnect…"), self._disconnect, kind="danger", tip="Del")
        self.head.addWidget(self.disconnect_button)
        self.table.delete_asked.connect(self._disconnect)

    def rate_of(self, session: TargetSession) -> tuple[float, float]:
        """Bytes per second and operations per second."""
        one = self.host.replica.newest_sample(session.id)
        if one is None:
            return (0.0, 0.0)
        return (one.read_bytes_per_s + one.write_bytes_per_s, one.read_iops + one.write_iops)

    def show_object(self, item: Any) -> None:
        self.target = item if isinstance(item, LocalTarget) else None
        wanted = self.target.id if self.target is not None else ""
        sessions = [one for one in self.host.values("target_sessions") if one.target == wanted]
        self.model.set_objects(sessions)
        self.table.select_first()
        self.note.setText(words.counted(len(sessions), "session") if sessions else "")
        self.chosen()

    def sampled(self, item: Any) -> None:
        self.model.refresh_live()

    def chosen(self) -> None:
        count = len(self.table.selected_ids())
        self.disconnect_button.setText(
            self.tr("Disconnect {count}…").format(count=count) if count > 1 else self.tr("Disconnect…")
        )
        enable(self.disconnect_button, bool(count), self.tr("Select a session"))

    def fill_menu(self, menu: QMenu) -> None:
        if self.table.selected_ids():
            add_action(
                menu, self.tr("Disconnect…"), self._disconnect, icon="unplug", shortcut="Del", danger=True
            )

    def _disconnect(self) -> None:
        sessions: list[TargetSession] = self.table.selected_objects()
        if not sessions:
            return
        lines = []
        for session in sessions:
            numbers = ", ".join(str(number) for number in session.luns) or self.tr("none")
            rate, _iops = self.rate_of(session)
            moving = self.tr(", {rate} now").format(rate=words.rate(rate)) if rate else ""
            lines.append(
                visible(
                    self.tr("{initiator} from {address}: LUNs {numbers}{moving}").format(
                        initiator=session.initiator, address=session.address, numbers=numbers, moving=moving
                    )
                )
            )

        def disconnect(dialog: Confirmation) -> None:
            left = len(sessions)

            def one_done(_result: object) -> None:
                nonlocal left
                left -= 1
                if not left:
                    dialog.finished_ok()

            for session in sessions:
                self.host.call(
                    "serving.disconnect",
                    Disconnect(id=session.id),
                    one_done,
                    dialog.finished_badly,
                    owner=dialog,
                )

        count = words.counted(len(sessions), "initiator")
        Confirmation(
            self.tr("Disconnect {count}?").format(count=count),
            self.tr("Disconnect {count}").format(count=count),
            disconnect,
            text=self.tr(
                "Its commands are cut off. Most initiators log in again by themselves; "
                "take the mapping away to keep one out."
            ),
            consequences=lines,
            parent=self,
        ).open()


def _lun_tone(lun: LocalLun) -> Tone:
    return "good" if lun.state == "online" else "bad"


def _lun_columns() -> list[Column]:
    return [
        Column("name", translate("serve_parts", "Name"), lambda lun: lun.name, strong=True, width=104),
        Column("kind", translate("serve_parts", "Made of"), lambda lun: lun.kind, width=72),
        Column(
            "size",
            translate("serve_parts", "Size"),
            lambda lun: words.size(lun.size_bytes),
            sort=lambda lun: lun.size_bytes,
            right=True,
            width=84,
        ),
        Column(
            "flags",
            translate("serve_parts", "Flags"),
            lambda lun: ", ".join(
                text
                for text, on in (
                    (translate("serve_parts", "read-only"), lun.read_only),
                    (translate("serve_parts", "thin"), lun.thin),
                )
                if on
            ),
            muted=True,
            width=90,
        ),
        Column(
            "state",
            translate("serve_parts", "State"),
            lambda lun: lun.state,
            kind="state",
            tone=_lun_tone,
            width=90,
        ),
        Column(
            "path",
            translate("serve_parts", "Path"),
            lambda lun: lun.path or words.NONE,
            mono=True,
            elide_middle=True,
            width=160,
            stretch=True,
        ),
        Column(
            "identity",
            translate("serve_parts", "Identity"),
            lambda lun: lun.identity,
            mono=True,
            elide_middle=True,
            width=170,
        ),
        Column(
            "block",
            translate("serve_parts", "Block"),
            lambda lun: f"{lun.block_bytes:,}",
            right=True,
            width=70,
            hidden=True,
        ),
    ]


def _portal_columns(tab: PortalsTab) -> list[Column]:
    def state(_address: str) -> str:
        return tab.target.state if tab.target is not None else ""

    tones: dict[str, Tone] = {"serving": "good", "failed": "bad"}
    return [
        Column("address", translate("serve_parts", "Portal"), lambda address: address, mono=True, width=260),
        Column(
            "state",
            translate("serve_parts", "State"),
            lambda address: {"serving": translate("serve_parts", "listening")}.get(
                state(address), state(address)
            ),
            kind="state",
            tone=lambda address: tones.get(state(address), "muted"),
            width=130,
        ),
        Column(
            "sessions",
            translate("serve_parts", "Sessions"),
            lambda address: str(tab.sessions_at(address)),
            sort=tab.sessions_at,
            right=True,
            width=100,
        ),
        Column("rest", "", lambda _address: "", width=40, stretch=True),
    ]


def _session_columns(tab: ConnectedTab) -> list[Column]:
    def digests(session: TargetSession) -> str:
        found = [
            text
            for text, on in (
                (translate("serve_parts", "header"), session.header_digest),
                (translate("serve_parts", "data"), session.data_digest),
            )
            if on not in ("", "None")
        ]
        return ", ".join(found) or translate("serve_parts", "none")

    return [
        Column(
            "initiator",
            translate("serve_parts", "Initiator"),
            lambda one: (
                words.short_name(one.initiator)
                + (translate("serve_parts", " (this computer)") if one.own else "")
            ),
            tooltip=lambda one: one.initiator,
            strong=True,
            elide_middle=True,
            width=150,
            stretch=True,
        ),
        Column("address", translate("serve_parts", "From"), lambda one: one.address, mono=True, width=142),
        Column(
            "portal",
            translate("serve_parts", "Portal"),
            lambda one: one.portal,
            mono=True,
            width=128,
            hidden=True,
        ),
        Column("auth", translate("serve_parts", "Proved by"), lambda one: one.auth, muted=True, width=154),
        Column("digests", translate("serve_parts", "Digests"), digests, muted=True, width=76, hidden=True),
        Column("luns", "LUNs", lambda one: ", ".join(map(str, one.luns)) or words.NONE, width=66),
        Column(
            "rate",
            translate("serve_parts", "Throughput"),
            lambda one: words.rate(tab.rate_of(one)[0]) if tab.rate_of(one)[0] else words.NONE,
            sort=lambda one: tab.rate_of(one)[0],
            right=True,
            live=True,
            width=92,
        ),
        Column(
            "iops",
            "IOPS",
            lambda one: words.amount(tab.rate_of(one)[1]),
            sort=lambda one: tab.rate_of(one)[1],
            right=True,
            live=True,
            width=70,
        ),
        Column(
            "since",
            translate("serve_parts", "Since"),
            lambda one: words.duration(tab.context.now() - one.logged_in_at) if one.logged_in_at else "",
            sort=lambda one: one.logged_in_at,
            right=True,
            muted=True,
            live=True,
            width=82,
        ),
        Column(
            "alias",
            translate("serve_parts", "Alias"),
            lambda one: one.initiator_alias,
            width=100,
            hidden=True,
        ),
    ]
