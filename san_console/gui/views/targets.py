"""Targets that matter to this computer: with a session, a favourite, typed in by hand or set up for
log-in.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import msgspec
from PySide6.QtCore import Qt
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QMenu

from san_console.api.initiator_objects import LoginSettings, Session, Target
from san_console.api.methods import SetLogin, TargetByName
from san_console.gui import words
from san_console.gui.context import Context
from san_console.gui.dialogs.login_trial import digest_words
from san_console.gui.models.columns import Column
from san_console.gui.models.object_model import ObjectTableModel
from san_console.gui.shell.quick_connect import best_portal
from san_console.gui.states import is_degraded, is_down, is_unreachable, reach, session_state
from san_console.gui.theme.tokens import Tone
from san_console.gui.translation import QT_TRANSLATE_NOOP
from san_console.gui.views.page import Details, FilterRow, KeptSplitter, Page
from san_console.gui.views.sessions_words import ended_in_events
from san_console.gui.views.target_actions import TargetActions
from san_console.gui.views.target_details import ChangesTab, LoginTab, PortalsTab
from san_console.gui.views.target_use import LunsOfTarget, SessionsOfTarget
from san_console.gui.views.timeline_tab import TimelineTab
from san_console.gui.widgets.buttons import Button, enable
from san_console.gui.widgets.cards import Card
from san_console.gui.widgets.empty import EmptyState
from san_console.gui.widgets.menus import add_action
from san_console.gui.widgets.table import TableView
from san_console.gui.widgets.table_stack import TableStack

_DEFAULT_LOGIN = LoginSettings()
MAX_PAST = 1000
"""Of all targets: as many as there can be in the newest events."""


def is_known(target: Target) -> bool:
    """Whether the user does something with it, beyond that it was found."""
    return bool(target.session_ids) or target.login != _DEFAULT_LOGIN or "manual" in target.found_by


class TargetsPage(Page):
    key = "targets"
    title = QT_TRANSLATE_NOOP("Table", "Targets")
    collections = ("targets", "sessions", "luns", "events", "identities")

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.actions_of = TargetActions(context, self)
        self._past: dict[str, set[str]] = {}
        """Ids of the sessions that a target had: their events are part of its history."""
        self.add = Button(
            self.tr("Add by hand…"), self._add, icon="plus", tip=self.tr("A target that nothing has found")
        )
        self.test = Button(
            self.tr("Test log-in…"),
            self._test,
            icon="shield-check",
            tip=self.tr("Log in as set, count the LUNs, log out again"),
        )
        self.show_session = Button(self.tr("Show session"), self._go_to_session, icon="activity")
        self.forget = Button(
            self.tr("Forget…"), self._forget, kind="danger", tip=self.tr("Take it off the list (Del)")
        )
        self.log_out = Button(self.tr("Log out"), self._log_out, kind="danger", tip="Ctrl+Shift+L")
        self.log_in = Button(
            self.tr("Log in"), self._log_in, kind="primary", tip=self.tr("As its settings say (Ctrl+L)")
        )
        self.log_in.setShortcut("Ctrl+L")
        self.log_out.setShortcut("Ctrl+Shift+L")
        self.set_actions(self.add, self.test, self.show_session, self.forget, self.log_out, self.log_in)
        fields = {"portal": lambda t: " ".join(p.address for p in t.portals)}
        self.model = ObjectTableModel(self._columns(), fields=fields)
        chips = (
            ("all", self.tr("All"), None),
            ("in", self.tr("Logged in"), lambda t: any(s.state == "logged_in" for s in self._sessions(t))),
            ("favourites", self.tr("Favourites"), lambda t: t.login.favourite),
            ("trouble", self.tr("In trouble"), self._in_trouble),
        )
        self.filter = FilterRow(self.model, self.tr("Filter targets"), chips)
        self.filter.base = is_known
        self.filter.apply()
        self.body.addWidget(self.filter)
        self.table = TableView(
            self.model,
            self.tr("Targets"),
            preferences=context.preferences,
            layout_key="targets",
            sort_by="target",
        )
        self.table.chosen.connect(self._chosen)
        self.table.opened.connect(lambda _id: self._open())
        self.table.delete_asked.connect(self._forget)
        self.table.fill_menu = self._fill_menu
        self.empty = empty = EmptyState(
            "target",
            self.tr("No targets in use"),
            self.tr(
                "Targets show here once you log in to them, mark them as favourites, or add them by hand."
            ),
            self.tr("Discover"),
            lambda: context.window.go("discover"),
        )
        self.card = Card(flush=True)
        known = TableStack(
            self.table, empty, self.filter.clear, whole=lambda: sum(map(is_known, self.model.objects()))
        )
        self.card.body.addWidget(known)
        self.details = Details(
            context,
            "targets",
            (
                ("sessions", self.tr("Sessions"), lambda: SessionsOfTarget(context)),
                ("luns", "LUNs", lambda: LunsOfTarget(context)),
                ("portals", self.tr("Portals"), lambda: PortalsTab(context)),
                ("login", self.tr("Log-in settings"), lambda: LoginTab(context)),
                ("changes", self.tr("What changed"), lambda: ChangesTab(context)),
                (
                    "history",
                    self.tr("History"),
                    lambda: TimelineTab(context, self.tr("History of the target"), self._events_of),
                ),
            ),
        )
        self.splitter = KeptSplitter(
            context, "targets", Qt.Orientation.Vertical, (300, 350), self.card, self.details
        )
        self.body.addWidget(self.splitter, 1)
        self.reload()

    def _columns(self) -> list[Column]:
        def luns(target: Target) -> list[Any]:
            ids = set(target.session_ids)
            return [lun for lun in self.host.values("luns") if lun.session_id in ids]

        def identities(target: Target) -> int:
            return len({lun.identity or lun.id for lun in luns(target)})

        def capacity(target: Target) -> int:
            return sum({lun.identity or lun.id: lun.size_bytes for lun in luns(target)}.values())

        def traffic(target: Target) -> float:
            newest = (self.host.replica.newest_sample(one) for one in target.session_ids)
            return sum(s.read_bytes_per_s + s.write_bytes_per_s for s in newest if s is not None)

        return [
            Column(
                "state",
                self.tr("State"),
                lambda t: self._state(t)[0],
                kind="state",
                tone=lambda t: self._state(t)[1],
                width=130,
            ),
            Column("target", self.tr("Target"), lambda t: t.id, mono=True, elide_middle=True, stretch=True),
            Column("alias", self.tr("Alias"), lambda t: t.alias, width=112),
            Column(
                "reachable",
                self.tr("Reachable"),
                lambda t: reach(t)[0],
                kind="state",
                tone=lambda t: reach(t)[1],
                width=128,
            ),
            Column(
                "sessions",
                self.tr("Sessions"),
                lambda t: _count(len(t.session_ids)),
                sort=lambda t: len(t.session_ids),
                right=True,
                hidden=True,
                width=80,
            ),
            Column("luns", "LUNs", lambda t: _count(identities(t)), sort=identities, right=True, width=62),
            Column(
                "size",
                self.tr("Capacity"),
                lambda t: words.size(capacity(t)) if capacity(t) else words.NONE,
                sort=capacity,
                right=True,
                hidden=True,
                width=90,
            ),
            Column(
                "traffic",
                self.tr("Throughput"),
                lambda t: words.rate(traffic(t)) if traffic(t) else words.NONE,
                sort=traffic,
                right=True,
                width=96,
                live=True,
                hidden=True,
                searched=False,
            ),
            Column("chap", self.tr("CHAP identity"), self._chap, tooltip=self._chap_tip, width=148),
            Column("digests", self.tr("Digests"), digest_words, muted=True, width=90),
            Column(
                "favourite",
                self.tr("Favourite"),
                lambda t: self.tr("yes") if t.login.favourite else "",
                width=82,
                muted=True,
            ),
        ]

    def _chap(self, target: Target) -> str:
        """`esx-lab`, `esx-lab, mutual`, or nothing."""
        identity = self.host.get("identities", target.login.identity_id)
        if identity is None:
            return self.tr("unknown identity") if target.login.identity_id else words.NONE
        return (
            self.tr("{user}, mutual").format(user=identity.user)
            if target.login.mutual_identity_id
            else str(identity.user)
        )

    def _chap_tip(self, target: Target) -> str:
        lines = []
        for title, known in (
            (self.tr("This computer proves itself as"), target.login.identity_id),
            (self.tr("The target proves itself as"), target.login.mutual_identity_id),
        ):
            identity = self.host.get("identities", known)
            if identity is not None:
                lines.append(f"{title} {identity.user}")
        return "\n".join(lines) or self.tr("No CHAP")

    def _events_of(self, target: Target) -> set[str]:
        return {target.id, *target.session_ids, *self._past.get(target.id, ())}

    def _sessions(self, target: Target) -> list[Session]:
        found = (self.host.get("sessions", session_id) for session_id in target.session_ids)
        return [session for session in found if session is not None]

    def _in_trouble(self, target: Target) -> bool:
        sessions = self._sessions(target)
        broken = any(is_degraded(session) or is_down(session) for session in sessions)
        return broken or (target.login.favourite and is_unreachable(target))

    def _state(self, target: Target) -> tuple[str, Tone]:
        """The worst of its sessions."""
        states = [session_state(session) for session in self._sessions(target)]
        order = {"bad": 0, "warning": 1, "accent": 2, "muted": 3, "good": 4}
        return min(states, key=lambda state: order[state[1]], default=(self.tr("Not logged in"), "muted"))

    # the replica

    def reload(self) -> None:
        self.model.set_objects(self.host.values("targets"))
        for session in ended_in_events(self.host.values("events"), (), MAX_PAST).values():
            self._past.setdefault(session.target, set()).add(session.id)

    def apply_changes(self, collection: str, changes: list[Any]) -> None:
        if collection == "targets":
            self.model.apply(changes)
        elif collection == "sessions":
            for session in (change.new or change.old for change in changes):
                if session is not None:
                    self._past.setdefault(session.target, set()).add(session.id)

    def refresh(self) -> None:
        self.filter.count()
        known = [target for target in self.host.values("targets") if is_known(target)]
        up = sum(any(s.state == "logged_in" for s in self._sessions(t)) for t in known)
        trouble = sum(map(self._in_trouble, known))
        text = self.tr("{known} in use, {up} logged in").format(
            known=words.counted(len(known), "target"), up=up
        )
        self.summary.setText(
            text + (self.tr(", {trouble} in trouble").format(trouble=trouble) if trouble else "")
        )
        self.details.setVisible(bool(known))
        self.table.select_first()
        self.splitter.fit_first(self.table.fitting_height() + 2)
        self.table.viewport().update()
        self._chosen()

    def sampled(self) -> None:
        self.model.refresh_live()
        self.details.sampled()

    def _chosen(self) -> None:
        target = self.table.current_object()
        chosen = self.table.selected_objects()
        inside = any(one.session_ids for one in chosen)
        self.log_in.setVisible(not inside)
        enable(self.log_in, bool(chosen), self.tr("Select a target"))
        enable(self.test, target is not None, self.tr("Select a target"))
        self.show_session.setVisible(inside)
        self.log_out.setVisible(inside)
        self.forget.setVisible(bool(chosen) and not inside)
        self.details.show_object(target)

    # actions

    def _add(self) -> None:
        from san_console.gui.dialogs.add_source import AddTargetDialog

        AddTargetDialog(self.context, self).open()

    def _log_in(self) -> None:
        for target in self.table.selected_objects():
            if not target.session_ids:
                self.actions_of.log_in(target)

    def _log_out(self) -> None:
        self.actions_of.log_out(self.table.selected_objects())

    def _test(self) -> None:
        target = self.table.current_object()
        if target is not None:
            self.actions_of.test(target)

    def _forget(self) -> None:
        self.actions_of.forget(self.table.selected_objects())

    def _open(self) -> None:
        """Enter: to the session where there is one, else log in."""
        target = self.table.current_object()
        if target is not None and target.session_ids:
            self._go_to_session()
        else:
            self._log_in()

    def _go_to_session(self) -> None:
        target = self.table.current_object()
        if target is not None and target.session_ids:
            self.context.window.go("sessions", target.session_ids[0])

    def _fill_menu(self, menu: QMenu) -> None:
        target = self.table.current_object()
        if target is None:
            return
        if target.session_ids:
            add_action(menu, self.tr("Show session"), self._go_to_session, icon="activity")
        else:
            add_action(menu, self.tr("Log in"), self._log_in, icon="log-in", shortcut="Ctrl+L")
        another = partial(self.context.window.quick_connect, target.id, best_portal(target))
        add_action(menu, self.tr("Log in another way…"), another, icon="sliders-horizontal")
        add_action(menu, self.tr("Test log-in…"), self._test, icon="shield-check")
        add_action(menu, self.tr("Try the portals"), partial(self._probe, target.id), icon="radar")
        favourite = target.login.favourite
        action = add_action(
            menu, self.tr("Favourite: log in when the engine starts"), icon="star", checked=favourite
        )
        action.toggled.connect(partial(self._set_favourite, target))
        add_action(menu, self.tr("Copy target name"), partial(_copy, target.id), icon="copy")
        menu.addSeparator()
        if target.session_ids:
            add_action(
                menu, self.tr("Log out…"), self._log_out, icon="log-out", shortcut="Ctrl+Shift+L", danger=True
            )
        else:
            add_action(menu, self.tr("Forget…"), self._forget, icon="trash-2", shortcut="Del", danger=True)

    def _probe(self, name: str) -> None:
        self.host.call("targets.probe", TargetByName(name=name), owner=self)

    def _set_favourite(self, target: Target, on: bool) -> None:
        login = msgspec.structs.replace(target.login, favourite=on)
        self.host.call("targets.set_login", SetLogin(name=target.id, login=login), owner=self)

    # keys

    def select(self, identifier: str) -> None:
        if not self.table.select_id(identifier):
            self.filter.clear()
            self.table.select_id(identifier)

    def focus_filter(self) -> None:
        self.filter.line.setFocus(Qt.FocusReason.ShortcutFocusReason)

    def renew(self) -> None:
        self.host.call("targets.probe", TargetByName(), owner=self)


def _copy(text: str) -> None:
    QGuiApplication.clipboard().setText(text)


def _count(number: int) -> str:
    return str(number) if number else words.NONE
