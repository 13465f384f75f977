"""Serve: targets of this computer, who sees which of their LUNs, who is connected."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from PySide6.QtCore import Qt
from PySide6.QtGui import QGuiApplication, QKeySequence, QShortcut
from PySide6.QtWidgets import QMenu, QStackedWidget, QWidget

from san_console.api.methods import RemoveLocalTarget, SaveLocalTarget, SetEnabled
from san_console.api.problems import Problem
from san_console.api.serving_objects import InitiatorAccess, LocalLun, LocalTarget, TargetSession
from san_console.gui import words
from san_console.gui.context import Context
from san_console.gui.dialogs.base import Confirmation
from san_console.gui.dialogs.initiator import InitiatorDialog
from san_console.gui.dialogs.local_lun import AddLunDialog
from san_console.gui.models.mapping_matrix import ANYONE
from san_console.gui.theme.tokens import GAP_PX, Tone
from san_console.gui.translation import QT_TRANSLATE_NOOP, translate
from san_console.gui.views.page import Details, KeptSplitter, Page
from san_console.gui.views.serve_changes import undo
from san_console.gui.views.serve_luns import LunsTab
from san_console.gui.views.serve_mapping import MappingTab
from san_console.gui.views.serve_portals import PortalsTab
from san_console.gui.views.serve_reservations import ReservationsTab
from san_console.gui.views.serve_sessions import ConnectedTab
from san_console.gui.views.serve_settings import AccessTab, SettingsTab
from san_console.gui.widgets.buttons import Button, IconButton, enable
from san_console.gui.widgets.cards import Card, horizontal, vertical
from san_console.gui.widgets.empty import EmptyState
from san_console.gui.widgets.key_values import KeyValues, Pair
from san_console.gui.widgets.labels import ElidedLabel
from san_console.gui.widgets.menus import add_action, popup
from san_console.gui.widgets.problems import InlineProblem
from san_console.gui.widgets.side_list import Entry, SideList
from san_console.gui.wizards.create_target import CreateTargetWizard
from san_console.names.display import visible

MAX_NAMES_SHOWN: Final = 8


def is_open(target: LocalTarget) -> bool:
    """Whether an initiator that nobody named and that knows no secret may log in."""
    return ANYONE in target.initiators and not target.identity_ids


def tag_of(target: LocalTarget, sessions: int) -> tuple[str, Tone]:
    """The tag in the list: what matters most of a target."""
    if target.state == "failed":
        return (translate("serve", "failed"), "bad")
    if target.state == "stopped" or not target.enabled:
        return (translate("serve", "stopped"), "muted")
    if any(lun.state == "offline" for lun in target.luns):
        return (translate("serve", "offline"), "bad")
    if is_open(target):
        return (translate("serve", "open"), "warning")
    return (
        (translate("serve", "{sessions} up").format(sessions=sessions), "good")
        if sessions
        else (translate("serve", "idle"), "muted")
    )


class ServePage(Page):
    """Targets at the left with facts below; mapping and the rest of the chosen one at the right."""

    key = "serve"
    title = QT_TRANSLATE_NOOP("Table", "Serve")
    collections = ("local_targets", "target_sessions", "reservations", "identities", "isns_servers")

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.lun_button = Button(self.tr("LUN"), self.add_lun, icon="plus", name="addLun")
        self.lun_button.setAccessibleName(self.tr("Add LUN"))
        self.initiator_button = Button(self.tr("Initiator"), self.add_initiator, icon="plus")
        self.initiator_button.setAccessibleName(self.tr("Add initiator"))
        self.create_button = Button(
            self.tr("Create target"), self.create_target, kind="primary", icon="plus", tip="Ctrl+N"
        )
        self.set_actions(self.lun_button, self.initiator_button, self.create_button)
        self.targets = SideList(self.tr("Served targets"))
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
        if isinstance(session, TargetSession):
            self.targets.select_id(session.target)
            self.details.open("sessions")
        else:
            self.targets.select_id(identifier)

    def focus_filter(self) -> None:
        self.targets.setFocus()

    # the list

    def _fill(self) -> None:
        counts: dict[str, int] = {}
        for session in self.host.values("target_sessions"):
            if session.session_type == "normal":
                counts[session.target] = counts.get(session.target, 0) + 1
        entries = []
        for target in self.host.values("local_targets"):
            tag, tone = tag_of(target, counts.get(target.id, 0))
            named = sum(name != ANYONE for name in target.initiators)
            nobody = self.tr("anyone") if ANYONE in target.initiators else self.tr("nobody")
            who = words.counted(named, "initiator") if named else nobody
            entries.append(
                Entry(
                    target.id,
                    target.alias or words.short_name(target.id),
                    f"{words.counted(len(target.luns), 'LUN')}, {who}",
                    icon="target",
                    tag=tag,
                    tag_tone=tone,
                )
            )
        self.targets.show_entries(entries)
        self.stack.setCurrentIndex(0 if entries else 1)
        for button in (self.lun_button, self.initiator_button):
            enable(button, bool(entries), self.tr("Create a target first"))

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
        self.facts.show_pairs(self._facts(target))
        self.failure.show_problem(target.problem)
        self.details.show_object(target)

    def _facts(self, target: LocalTarget) -> list[Pair]:
        state: dict[str, tuple[str, Tone]] = {
            "serving": (self.tr("serving"), "good"),
            "stopped": (self.tr("stopped"), "muted"),
            "failed": (self.tr("failed"), "bad"),
        }
        word, tone = state[target.state]
        pairs = [Pair(self.tr("State"), word, tone)]
        for number, portal in enumerate(target.portals[:MAX_NAMES_SHOWN]):
            pairs.append(Pair("" if number else self.tr("Portals"), portal, mono=True))
        if target.identity_ids:
            chap = (
                self.tr("both directions")
                if target.mutual_identity_id
                else self.tr("initiators prove themselves")
            )
            pairs.append(Pair("CHAP", chap, "good"))
        else:
            pairs.append(Pair("CHAP", self.tr("none"), "warning" if is_open(target) else "muted"))
        if ANYONE in target.initiators:
            pairs.append(
                Pair(self.tr("Access"), self.tr("anyone may log in"), "warning" if is_open(target) else None)
            )
        tags = ", ".join(str(group.tag) for group in target.portal_groups)
        pairs.append(Pair(self.tr("Group tag"), tags))
        if not target.registrations:
            pairs.append(Pair("iSNS", self.tr("not registered"), "muted"))
        tones: dict[str, Tone] = {"registered": "good", "failed": "bad", "pending": "muted"}
        for one in target.registrations[:MAX_NAMES_SHOWN]:
            pairs.append(Pair("iSNS", one.state, tones[one.state]))
        return pairs

    # actions

    def _more(self) -> None:
        popup(self.target_menu(), self.more_button.mapToGlobal(self.more_button.rect().bottomLeft()))

    def target_menu(self) -> QMenu:
        menu = QMenu(self)
        target = self.current()
        if target is None:
            return menu
        add_action(menu, self.tr("Copy name"), lambda: _copy(target.id), icon="copy")
        add_action(menu, self.tr("Settings"), lambda: self.details.open("settings"), icon="settings")
        if target.enabled:
            add_action(menu, self.tr("Stop serving…"), lambda: self._set_enabled(target, False), icon="pause")
        else:
            add_action(menu, self.tr("Serve again"), lambda: self._set_enabled(target, True), icon="play")
        menu.addSeparator()
        add_action(menu, self.tr("Delete target…"), self.delete, icon="trash-2", shortcut="Del", danger=True)
        return menu

    def create_target(self) -> None:
        CreateTargetWizard(self.context, self._created, self).open()

    def _created(self, target: LocalTarget) -> None:
        self.context.window.say(self.tr("{id} is served now.").format(id=words.short_name(target.id)), "good")
        self._fill()
        self.targets.select_id(target.id)
        self._show_target()

    def add_lun(self) -> None:
        target = self.current()
        if target is None:
            return
        numbers = {lun.name for lun in target.luns}
        suggested = next(f"disk{n}" for n in range(len(numbers) + 1) if f"disk{n}" not in numbers)

        def add(dialog: AddLunDialog, lun: LocalLun) -> None:
            new = msgspec.structs.replace(target, luns=[*target.luns, lun])

            def added(_target: LocalTarget) -> None:
                dialog.finished_ok()
                self.context.window.say(
                    self.tr("{name} was added. Map it to an initiator.").format(name=visible(lun.name, 64)),
                    "good",
                )

            self.host.call(
                "serving.change", SaveLocalTarget(target=new), added, dialog.finished_badly, owner=dialog
            )

        name = visible(target.alias or words.short_name(target.id), 64)
        AddLunDialog(name, add, suggested_name=suggested, parent=self).open()

    def add_initiator(self) -> None:
        target = self.current()
        if target is None:
            return

        def add(dialog: InitiatorDialog, name: str) -> None:
            row = InitiatorAccess(subject=name)
            new = msgspec.structs.replace(target, access=[*target.access, row])

            def added(_target: LocalTarget) -> None:
                dialog.finished_ok()
                self.details.open("mapping")
                who = self.tr("Anyone") if name == ANYONE else words.short_name(name)
                self.context.window.say(
                    self.tr("{who} was added and sees no LUN yet.").format(who=who),
                    "good",
                    self.tr("Undo"),
                    lambda: undo(self.context, target),
                )

            self.host.call(
                "serving.change", SaveLocalTarget(target=new), added, dialog.finished_badly, owner=dialog
            )

        InitiatorDialog(
            visible(target.alias or words.short_name(target.id), 64),
            self._known_initiators(),
            target.initiators,
            add,
            parent=self,
        ).open()

    def _known_initiators(self) -> list[str]:
        """Names that were seen or used before, this computer's own first."""
        engine = self.host.engine
        names = dict.fromkeys([engine.initiator_name] if engine is not None else [])
        for session in self.host.values("target_sessions"):
            names[session.initiator] = None
        for target in self.host.values("local_targets"):
            names.update(dict.fromkeys(target.initiators))
        names.pop(ANYONE, None)
        return list(names)

    def _sessions_of(self, target: LocalTarget) -> list[TargetSession]:
        return [one for one in self.host.values("target_sessions") if one.target == target.id]

    def _hits(self, target: LocalTarget) -> list[str]:
        sessions = self._sessions_of(target)
        lines = [
            self.tr("{initiator} from {address} is cut off").format(
                initiator=visible(session.initiator), address=visible(session.address)
            )
            for session in sessions[:MAX_NAMES_SHOWN]
        ]
        if len(sessions) > MAX_NAMES_SHOWN:
            lines.append(
                self.tr("{sessions} more initiators are cut off").format(
                    sessions=len(sessions) - MAX_NAMES_SHOWN
                )
            )
        return lines

    def _set_enabled(self, target: LocalTarget, enabled: bool) -> None:
        params = SetEnabled(id=target.id, enabled=enabled)
        name = visible(target.alias or words.short_name(target.id), 64)
        hits = self._hits(target)
        if enabled or not hits:
            self.host.call("serving.set_enabled", params, owner=self)
            return
        Confirmation(
            self.tr("Stop serving {name}?").format(name=name),
            self.tr("Stop serving"),
            lambda dialog: self.host.call(
                "serving.set_enabled", params, dialog.finished_ok, dialog.finished_badly, owner=dialog
            ),
            text=self.tr("The target stays here and can be served again."),
            consequences=hits,
            parent=self,
        ).open()

    def delete(self) -> None:
        target = self.current()
        if target is None:
            return
        name = visible(target.alias or words.short_name(target.id), 64)
        lines = self._hits(target)
        memory = [lun.name for lun in target.luns if lun.kind == "memory"]
        files = sum(lun.kind in ("file", "block") for lun in target.luns)
        if memory:
            lines.append(
                self.tr("The content of {memory} is lost: it is kept in memory only").format(
                    memory=visible(", ".join(memory))
                )
            )
        if files:
            lines.append(
                self.tr("{files} behind its LUNs stay as they are").format(
                    files=words.counted(files, "file or disk", "files or disks")
                )
            )
        Confirmation(
            self.tr("Delete the target {name}?").format(name=name),
            self.tr("Delete target"),
            lambda dialog: self._remove(target, dialog),
            text=target.id,
            consequences=lines,
            type_to_confirm=words.short_name(target.id) if memory else "",
            parent=self,
        ).open()

    def _remove(self, target: LocalTarget, dialog: Confirmation) -> None:
        def removed(_result: object) -> None:
            dialog.finished_ok()
            self.context.window.say(
                self.tr("{id} was deleted.").format(id=words.short_name(target.id)), "text"
            )

        def refused(problem: Problem) -> None:
            dialog.finished_badly(problem)

        self.host.call(
            "serving.remove",
            # The dialog has named everybody who is hit.
            RemoveLocalTarget(id=target.id, force=bool(self._sessions_of(target))),
            removed,
            refused,
            owner=dialog,
        )


def _copy(text: str) -> None:
    QGuiApplication.clipboard().setText(visible(text, 500))
