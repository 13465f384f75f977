"""Discover: sources at the left, targets with what changed and who found them, details of one below."""

from __future__ import annotations

from functools import partial
from typing import Any, Final

from PySide6.QtCore import QPoint, Qt
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QMenu, QWidget

from san_console.api.initiator_objects import Target
from san_console.api.methods import ById, RunSource, TargetByName
from san_console.console import commands
from san_console.gui import words
from san_console.gui.context import Context
from san_console.gui.dialogs.base import Confirmation
from san_console.gui.models.columns import Column
from san_console.gui.models.object_model import ObjectTableModel
from san_console.gui.shell.quick_connect import best_portal
from san_console.gui.states import (
    change_tone,
    is_unreachable,
    live_portals,
    reach,
    session_state,
    source_line,
)
from san_console.gui.translation import QT_TRANSLATE_NOOP
from san_console.gui.views.page import Details, FilterRow, KeptSplitter, Page
from san_console.gui.views.target_details import ChangesTab, LoginTab, PortalsTab, found_by
from san_console.gui.widgets.buttons import Button, enable
from san_console.gui.widgets.cards import Card, vertical
from san_console.gui.widgets.empty import EmptyState, TableCard
from san_console.gui.widgets.menus import add_action, popup
from san_console.gui.widgets.problems import InlineProblem
from san_console.gui.widgets.side_list import Entry, SideList
from san_console.gui.widgets.table import TableView

ALL: Final = "*"


class DiscoverPage(Page):
    key = "discover"
    title = QT_TRANSLATE_NOOP("Table", "Discover")
    collections = ("sources", "targets", "sessions", "interfaces")

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.again = Button(
            self.tr("Discover again"),
            self.renew,
            icon="refresh-cw",
            tip=self.tr("Ask all sources again (F5)"),
        )
        add_portal = Button(self.tr("Add portal"), partial(self._add, "sendtargets"), icon="plus")
        add_isns = Button(self.tr("Add iSNS server"), partial(self._add, "isns"), icon="plus")
        self.log_in = Button(
            self.tr("Log in…"),
            self._log_in,
            kind="primary",
            tip=self.tr("Log in to the selected target (Ctrl+L)"),
        )
        self.log_in.setShortcut("Ctrl+L")
        self.set_actions(self.again, add_portal, add_isns, self.log_in)
        self._wanted_source = ""
        left = self._build_sources()
        right = self._build_targets()
        split = KeptSplitter(context, "discover-sources", Qt.Orientation.Horizontal, (236, 804), left, right)
        # A wider window is for the targets.
        split.setStretchFactor(0, 0)
        self.body.addWidget(split, 1)

    def _build_sources(self) -> Card:
        card = Card(margin=6)
        card.setMinimumWidth(190)
        self.sources = SideList(self.tr("Sources"))
        self.sources.chosen.connect(self._restrict)
        self.sources.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
        self.sources.customContextMenuRequested.connect(self._show_source_menu)
        self.sources.delete_asked.connect(self._ask_remove_source)
        card.body.addWidget(self.sources)
        return card

    def _build_targets(self) -> QWidget:
        holder = QWidget()
        box = vertical(holder)
        fields = {
            "portal": lambda t: " ".join(p.address for p in t.portals),
            "source": lambda t: " ".join(t.found_by),
            "favourite": lambda t: "yes" if t.login.favourite else "no",
        }
        self.model = ObjectTableModel(self._columns(), fields=fields)
        chips = (
            ("all", self.tr("All"), None),
            ("new", self.tr("New"), lambda t: t.change == "new"),
            ("out", self.tr("Not logged in"), lambda t: not t.session_ids),
            ("unreachable", self.tr("Unreachable"), is_unreachable),
        )
        self.filter = FilterRow(self.model, self.tr("Filter targets"), chips)
        box.addWidget(self.filter)
        self.problem = InlineProblem()
        box.addWidget(self.problem)
        self.table = TableView(
            self.model, self.tr("Targets"), preferences=self.context.preferences, layout_key="discover"
        )
        self.table.chosen.connect(self._chosen)
        self.table.opened.connect(lambda _id: self._log_in())
        self.table.delete_asked.connect(self._ask_forget)
        self.table.fill_menu = self._fill_menu
        self.empty = EmptyState(
            "search",
            self.tr("No targets yet"),
            self.tr("Give the address of a portal or of an iSNS server."),
            self.tr("Add portal"),
            partial(self._add, "sendtargets"),
        )
        self.card = TableCard(self.table, self.empty, self.filter.clear)
        self.card.setMinimumHeight(120)
        context = self.context
        self.details = Details(
            context,
            "discover",
            (
                ("portals", self.tr("Portals"), lambda: PortalsTab(context)),
                ("changes", self.tr("What changed"), lambda: ChangesTab(context)),
                ("login", self.tr("Log-in settings"), lambda: LoginTab(context)),
            ),
        )
        self.splitter = KeptSplitter(
            context, "discover", Qt.Orientation.Vertical, (270, 325), self.card, self.details
        )
        box.addWidget(self.splitter, 1)
        return holder

    def _columns(self) -> list[Column]:
        order = {"new": 0, "changed": 1, "vanished": 2, "": 3}
        return [
            Column(
                "change",
                self.tr("Change"),
                lambda t: t.change,
                sort=lambda t: order[t.change],
                kind="tag",
                tone=change_tone,
                width=88,
            ),
            Column("target", self.tr("Target"), lambda t: t.id, mono=True, elide_middle=True, stretch=True),
            Column("alias", self.tr("Alias"), lambda t: t.alias, width=120, hidden=True),
            Column(
                "portals",
                self.tr("Portals"),
                lambda t: str(len(live_portals(t))),
                sort=lambda t: len(live_portals(t)),
                right=True,
                width=68,
            ),
            Column(
                "reachable",
                self.tr("Reachable"),
                lambda t: reach(t)[0],
                kind="state",
                tone=lambda t: reach(t)[1],
                width=128,
            ),
            Column(
                "found", self.tr("Found by"), lambda t: found_by(self.host, t.found_by), muted=True, width=138
            ),
            Column("session", self.tr("Session"), self._session_word, width=108),
        ]

    # sources

    def _show_sources(self) -> None:
        now = self.context.now()
        everything = words.counted(len(self.host.replica.collections["targets"]), "target")
        entries = [Entry(ALL, self.tr("All sources"), everything, mono=True)]
        for source in self.host.values("sources"):
            under, tone = source_line(source, now)
            title = self.tr("By hand") if source.kind == "manual" else source.address
            entries.append(Entry(source.id, title, under, tone=tone, mono=True))
        self.sources.show_entries(entries, ALL)
        if self._wanted_source and self.sources.select_id(self._wanted_source):
            self._wanted_source = ""

    def _restrict(self, source_id: str) -> None:
        if source_id in ("", ALL):
            self.filter.restrict(None)
        else:
            self.filter.restrict(lambda target: source_id in target.found_by)
        self._show_source_problem()

    def _show_source_problem(self) -> None:
        source = self.host.get("sources", self.sources.current_id)
        problem = source.problem if source is not None and source.state == "failed" else None
        if problem is None or source is None:
            self.problem.hide()
            return
        self.problem.show_problem(problem, (self.tr("Try again"), partial(self._run, source.id)))

    def _add(self, kind: Any) -> None:
        from san_console.gui.dialogs.add_source import AddSourceDialog

        AddSourceDialog(self.context, kind, self).open()

    def _add_target(self) -> None:
        from san_console.gui.dialogs.add_source import AddTargetDialog

        AddTargetDialog(self.context, self).open()

    def _run(self, source_id: str) -> None:
        self.host.call("sources.run", RunSource(id=source_id), owner=self)

    def _show_source_menu(self, where: QPoint) -> None:
        menu = QMenu(self)
        source = self.host.get("sources", self.sources.current_id)
        if source is not None and source.kind != "manual":
            add_action(menu, self.tr("Discover again"), partial(self._run, source.id), icon="refresh-cw")
            isns = source.kind == "isns"
            copy = partial(self._copy, lambda: commands.discover(source.address, isns=isns))
            add_action(menu, self.tr("Copy as san-console command"), copy, icon="terminal")
            menu.addSeparator()
            add_action(menu, self.tr("Remove source…"), self._ask_remove_source, icon="trash-2", danger=True)
        else:
            add_action(menu, self.tr("Add target by hand…"), self._add_target, icon="plus")
            add_action(menu, self.tr("Discover again at all sources"), self.renew, icon="refresh-cw")
        popup(menu, self.sources.viewport().mapToGlobal(where))

    def _ask_remove_source(self) -> None:
        source = self.host.get("sources", self.sources.current_id)
        if source is None or source.kind == "manual":
            return
        only = [t for t in self.host.values("targets") if t.found_by == [source.id] and not t.session_ids]
        text = self.tr("It is not asked any more. Sessions and log-in settings stay.")
        lines = (
            [self.tr("{only} found by nothing else").format(only=words.counted(len(only), "target"))]
            if only
            else []
        )
        Confirmation(
            self.tr("Remove the source {address}?").format(address=source.address),
            self.tr("Remove source"),
            lambda dialog: self.host.call(
                "sources.remove", ById(id=source.id), dialog.finished_ok, dialog.finished_badly, owner=dialog
            ),
            text=text,
            consequences=lines,
            parent=self,
        ).open()

    # the replica

    def reload(self) -> None:
        self.model.set_objects(self.host.values("targets"))
        self._show_sources()

    def apply_changes(self, collection: str, changes: list[Any]) -> None:
        if collection == "targets":
            self.model.apply(changes)

    def refresh(self) -> None:
        self.filter.count()
        targets = self.host.values("targets")
        sources = [
            source for source in self.host.values("sources") if source.kind != "manual" or source.target_count
        ]
        changed = sum(bool(target.change) for target in targets)
        text = self.tr("{targets} from {sources}").format(
            targets=words.counted(len(targets), "target"), sources=words.counted(len(sources), "source")
        )
        if changed:
            text += self.tr(", {changed} since your last look").format(
                changed=words.counted(changed, "change")
            )
        self.summary.setText(text)
        running = any(source.state == "running" for source in sources)
        self.again.setText(self.tr("Discovering") if running else self.tr("Discover again"))
        enable(
            self.again, not running and bool(sources), "" if running else self.tr("There is no source to ask")
        )
        self._show_source_problem()
        self.details.setVisible(bool(targets))
        self.table.select_first()
        self.splitter.fit_first(self.table.fitting_height())
        self._chosen()
        self._show_sources()

    def sampled(self) -> None:
        # The ages in the list of sources.
        self._show_sources()

    def _session_word(self, target: Target) -> str:
        sessions = [self.host.get("sessions", session_id) for session_id in target.session_ids]
        states = [session_state(session)[0].lower() for session in sessions if session is not None]
        if states:
            return states[0] if len(states) == 1 else f"{states[0]} ({len(states)})"
        return self.tr("favourite") if target.login.favourite else self.tr("not logged in")

    def _chosen(self) -> None:
        target = self.table.current_object()
        enable(self.log_in, target is not None, self.tr("Select a target"))
        self.details.show_object(target)

    # actions

    def _log_in(self) -> None:
        target = self.table.current_object()
        if target is not None:
            self.context.window.quick_connect(target.id, best_portal(target))

    def _fill_menu(self, menu: QMenu) -> None:
        target = self.table.current_object()
        if target is None:
            return
        names = [one.id for one in self.table.selected_objects()]
        add_action(menu, self.tr("Log in…"), self._log_in, icon="log-in", shortcut="Ctrl+L")
        add_action(menu, self.tr("Try the portals"), partial(self._probe, names), icon="radar")
        if target.session_ids:
            show = partial(self.context.window.go, "sessions", target.session_ids[0])
            add_action(menu, self.tr("Show session"), show, icon="activity")
        if any(one.change for one in self.table.selected_objects()):
            add_action(
                menu, self.tr("I have seen the change"), partial(self._acknowledge, names), icon="check"
            )
        menu.addSeparator()
        add_action(menu, self.tr("Copy name"), partial(self._copy, lambda: target.id), icon="copy")
        portal = best_portal(target)
        cli = partial(self._copy, lambda: commands.login(target.id, portal))
        add_action(menu, self.tr("Copy as san-console command"), cli, icon="terminal")
        iscsiadm = partial(self._copy, lambda: commands.iscsiadm_login(target.id, portal))
        add_action(menu, self.tr("Copy as iscsiadm command"), iscsiadm, icon="terminal")
        menu.addSeparator()
        add_action(menu, self.tr("Forget…"), self._ask_forget, icon="trash-2", shortcut="Del", danger=True)

    def _probe(self, names: list[str]) -> None:
        for name in names:
            self.host.call("targets.probe", TargetByName(name=name), owner=self)

    def _acknowledge(self, names: list[str]) -> None:
        for name in names:
            self.host.call("targets.acknowledge", TargetByName(name=name), owner=self)

    def _copy(self, make: Any) -> None:
        try:
            QGuiApplication.clipboard().setText(make())
        except ValueError as error:
            self.context.window.say(str(error), "bad")

    def _ask_forget(self) -> None:
        targets = self.table.selected_objects()
        if not targets:
            return
        lines = [words.short_name(target.id) for target in targets[:12]]
        if len(targets) > 12:
            lines.append(self.tr("and {targets} more").format(targets=len(targets) - 12))
        many = words.counted(len(targets), "target")
        Confirmation(
            self.tr("Forget {many}?").format(many=many),
            self.tr("Forget {many}").format(many=many),
            partial(self._forget, [target.id for target in targets]),
            text=self.tr(
                "Their log-in settings go with them. A source that still names them finds them again."
            ),
            consequences=lines,
            parent=self,
        ).open()

    def _forget(self, names: list[str], dialog: Confirmation) -> None:
        waiting = set(names)

        def done(name: str, _result: object) -> None:
            waiting.discard(name)
            if not waiting:
                dialog.finished_ok()

        for name in names:
            forget = TargetByName(name=name)
            self.host.call("targets.remove", forget, partial(done, name), dialog.finished_badly, owner=dialog)

    # keys

    def select(self, identifier: str) -> None:
        if self.model.get(identifier) is None:
            # A source that was added a moment ago may not be on the list yet.
            self._wanted_source = identifier
            self._show_sources()
        elif not self.table.select_id(identifier):
            self.sources.select_id(ALL)
            self.filter.clear()
            self.table.select_id(identifier)

    def focus_filter(self) -> None:
        self.filter.line.setFocus(Qt.FocusReason.ShortcutFocusReason)

    def renew(self) -> None:
        self._run("")
