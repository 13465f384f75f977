"""Serve: targets of this computer, who sees which of their LUNs, who is connected."""

from __future__ import annotations

from typing import Any, Final

from PySide6.QtCore import Qt
from PySide6.QtGui import QGuiApplication, QKeySequence, QShortcut
from PySide6.QtWidgets import QMenu, QStackedWidget, QWidget

from san_console.api.serving_objects import LocalTarget, TargetSession
from san_console.gui import words
from san_console.gui.context import Context
from san_console.gui.theme.tokens import GAP_PX
from san_console.gui.translation import QT_TRANSLATE_NOOP
from san_console.gui.views.page import Details, FilterLine, KeptSplitter, Page
from san_console.gui.views.serve_access import AccessTab
from san_console.gui.views.serve_actions import add_initiator, add_lun, delete_target, set_enabled
from san_console.gui.views.serve_documents import Documents
from san_console.gui.views.serve_facts import entry_of, facts_of
from san_console.gui.views.serve_luns import LunsTab
from san_console.gui.views.serve_mapping import MappingTab
from san_console.gui.views.serve_portals import PortalsTab
from san_console.gui.views.serve_reservations import ReservationsTab
from san_console.gui.views.serve_sessions import ConnectedTab
from san_console.gui.views.serve_settings import SettingsTab
from san_console.gui.widgets.buttons import Button, IconButton, enable
from san_console.gui.widgets.cards import Card, horizontal, vertical
from san_console.gui.widgets.empty import EmptyState
from san_console.gui.widgets.key_values import KeyValues
from san_console.gui.widgets.labels import ElidedLabel
from san_console.gui.widgets.menus import add_action, popup
from san_console.gui.widgets.problems import InlineProblem
from san_console.gui.widgets.side_list import Entry, SideList
from san_console.gui.wizards.create_target import CreateTargetWizard
from san_console.names.display import visible

UNFILTERED: Final = 8
"""So many targets are found without a filter."""

MAX_WIDGET_PX: Final = 16_777_215
"""Qt's QWIDGETSIZE_MAX: no limit."""


def _fits(entry: Entry, wanted: list[str]) -> bool:
    text = f"{entry.id} {entry.title} {entry.detail} {entry.tag}".lower()
    return all(word in text for word in wanted)


class ServePage(Page):
    """Targets at the left with facts below; mapping and the rest of the chosen one at the right."""

    key = "serve"
    title = QT_TRANSLATE_NOOP("Table", "Serve")
    collections = ("local_targets", "target_sessions", "reservations", "identities", "isns_servers", "engine")

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._new = ""
        self.lun_button = Button(self.tr("LUN"), self.add_lun, icon="plus", name="addLun")
        self.lun_button.setAccessibleName(self.tr("Add LUN"))
        self.initiator_button = Button(self.tr("Initiator"), self.add_initiator, icon="plus")
        self.initiator_button.setAccessibleName(self.tr("Add initiator"))
        self.create_button = Button(
            self.tr("Create target"), self.create_target, kind="primary", icon="plus", tip="Ctrl+N"
        )
        self.documents = Documents(self)
        self.file_button = Button(self.tr("More"), self._file_menu, icon="ellipsis")
        self.file_button.setAccessibleName(self.tr("Export, apply a file, undo"))
        self.set_actions(self.file_button, self.lun_button, self.initiator_button, self.create_button)
        self.targets = SideList(self.tr("Served targets"))
        self.filter = FilterLine(self.tr("Filter targets"))
        self.filter.setMinimumWidth(0)
        self.filter.setMaximumWidth(MAX_WIDGET_PX)
        self.filter.textChanged.connect(lambda _text: self._fill())
        self.targets.chosen.connect(lambda _identifier: self._show_target())
        self.targets.delete_asked.connect(self.delete)
        self.targets.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
        self.targets.customContextMenuRequested.connect(
            lambda where: popup(self.target_menu(), self.targets.viewport().mapToGlobal(where))
        )
        self.facts = KeyValues()
        self.failure = InlineProblem()
        self.mapping = MappingTab(context)
        self.details = Details(
            context,
            "serve",
            [
                ("mapping", self.tr("Mapping"), lambda: self.mapping),
                ("luns", self.tr("LUNs"), lambda: LunsTab(context, self.add_lun)),
                ("portals", self.tr("Portals"), lambda: PortalsTab(context)),
                ("sessions", self.tr("Sessions"), lambda: ConnectedTab(context)),
                ("reservations", self.tr("Reservations"), lambda: ReservationsTab(context)),
                ("access", self.tr("Access"), lambda: AccessTab(context)),
                ("settings", self.tr("Settings"), lambda: SettingsTab(context)),
            ],
        )
        self.details.setMinimumHeight(300)
        right = QWidget()
        column = vertical(right, gap=GAP_PX)
        column.addWidget(self.failure)
        column.addWidget(self.details, 1)
        split = KeptSplitter(context, "serve", Qt.Orientation.Horizontal, [244, 804], self._left(), right)
        # The list keeps its width; the matrix takes what a wider window brings.
        split.setStretchFactor(0, 0)
        self.stack = QStackedWidget()
        self.stack.addWidget(split)
        self.stack.addWidget(
            EmptyState(
                "server",
                self.tr("This computer serves nothing yet"),
                self.tr("Give a file, memory or a disk of this computer to other machines as a LUN."),
                self.tr("Create target…"),
                self.create_target,
            )
        )
        self.body.addWidget(self.stack, 1)
        shortcut = QShortcut(QKeySequence("Ctrl+N"), self, self.create_target)
        shortcut.setContext(Qt.ShortcutContext.WidgetWithChildrenShortcut)
        self.reload()

    def _left(self) -> QWidget:
        holder = QWidget()
        column = vertical(holder, gap=GAP_PX)
        card = Card(margin=6)
        card.body.addWidget(self.filter)
        card.body.addWidget(self.targets)
        column.addWidget(card, 1)
        facts = Card()
        head = horizontal(gap=4)
        self.facts_title = ElidedLabel("", style="strong")
        head.addWidget(self.facts_title, 1)
        self.more_button = IconButton("ellipsis", self.tr("More about the target"), self._more, role="muted")
        head.addWidget(self.more_button)
        facts.body.addLayout(head)
        facts.body.addWidget(self.facts)
        column.addWidget(facts)
        return holder

    # Page

    def reload(self) -> None:
        self._fill()

    def apply_changes(self, collection: str, changes: list[Any]) -> None:
        self._fill()

    def refresh(self) -> None:
        self._show_target()

    def sampled(self) -> None:
        self.details.sampled()

    def select(self, identifier: str) -> None:
        session = self.host.get("target_sessions", identifier)
        self.filter.clear()
        if isinstance(session, TargetSession):
            self.targets.select_id(session.target)
            self.details.open("sessions")
            tab = self.details.current
            if isinstance(tab, ConnectedTab):
                tab.show_object(self.current())
                tab.table.select_id(identifier)
        else:
            self.targets.select_id(identifier)

    def focus_filter(self) -> None:
        (self.filter if self.filter.isVisible() else self.targets).setFocus()

    # the list

    def _fill(self) -> None:
        counts: dict[str, int] = {}
        for session in self.host.values("target_sessions"):
            if session.session_type == "normal":
                counts[session.target] = counts.get(session.target, 0) + 1
        entries = [entry_of(target, counts.get(target.id, 0)) for target in self.host.values("local_targets")]
        some = bool(entries)
        self.filter.setVisible(len(entries) > UNFILTERED or bool(self.filter.text()))
        if wanted := self.filter.text().strip().lower().split():
            entries = [one for one in entries if _fits(one, wanted)]
        self.targets.show_entries(entries)
        if self._new and self.targets.select_id(self._new):
            self._new = ""
        self.stack.setCurrentIndex(0 if some else 1)
        for button in (self.lun_button, self.initiator_button):
            enable(button, some, self.tr("Create a target first"))

    def current(self) -> LocalTarget | None:
        found = self.host.get("local_targets", self.targets.current_id)
        return found if isinstance(found, LocalTarget) else None

    def _show_target(self) -> None:
        target = self.current()
        if target is None:
            count = len(self.host.values("local_targets"))
            self.summary.setText("" if count else self.tr("nothing is served"))
            self.details.show_object(None)
            return
        self.summary.setText(target.id)
        sessions = sum(
            session.target == target.id and session.session_type == "normal"
            for session in self.host.values("target_sessions")
        )
        self.details.set_title(
            "sessions",
            self.tr("Sessions {sessions}").format(sessions=sessions) if sessions else self.tr("Sessions"),
        )
        self.facts_title.setText(target.alias or words.short_name(target.id))
        self.facts.show_pairs(facts_of(target))
        self.failure.show_problem(target.problem)
        self.details.show_object(target)

    # actions

    def _more(self) -> None:
        popup(self.target_menu(), self.more_button.mapToGlobal(self.more_button.rect().bottomLeft()))

    def _file_menu(self) -> None:
        popup(self.documents_menu(), self.file_button.mapToGlobal(self.file_button.rect().bottomLeft()))

    def documents_menu(self) -> QMenu:
        """What concerns all targets at once."""
        menu = QMenu(self)
        some = any(not target.lab for target in self.host.values("local_targets"))
        add_action(menu, self.tr("Export all targets…"), self.documents.export, icon="download", enabled=some)
        add_action(menu, self.tr("Apply a file…"), self.documents.choose, icon="upload")
        menu.addSeparator()
        add_action(menu, self.tr("Undo changes…"), self.documents.history, icon="undo-2")
        return menu

    def target_menu(self) -> QMenu:
        menu = QMenu(self)
        target = self.current()
        if target is None:
            return menu
        add_action(
            menu,
            self.tr("Copy name"),
            lambda: QGuiApplication.clipboard().setText(visible(target.id, 500)),
            icon="copy",
        )
        add_action(menu, self.tr("Settings"), lambda: self.details.open("settings"), icon="settings")
        add_action(
            menu,
            self.tr("Export…"),
            lambda: self.documents.export(target.id),
            icon="download",
            enabled=not target.lab,
        )
        if target.enabled:
            add_action(menu, self.tr("Stop serving…"), lambda: set_enabled(self, target, False), icon="pause")
        else:
            add_action(menu, self.tr("Serve again"), lambda: set_enabled(self, target, True), icon="play")
        menu.addSeparator()
        add_action(menu, self.tr("Delete target…"), self.delete, icon="trash-2", shortcut="Del", danger=True)
        return menu

    def create_target(self) -> None:
        CreateTargetWizard(self.context, self._created, self).open()

    def _created(self, target: LocalTarget) -> None:
        self.context.window.say(self.tr("{id} is served now.").format(id=words.short_name(target.id)), "good")
        # Its object may come after the answer.
        self._new = target.id
        self._fill()
        self._show_target()

    def add_lun(self) -> None:
        if (target := self.current()) is not None:
            add_lun(self, target)

    def add_initiator(self) -> None:
        if (target := self.current()) is not None:
            add_initiator(self, target, lambda: self.details.open("mapping"))

    def delete(self) -> None:
        if (target := self.current()) is not None:
            delete_target(self, target)
