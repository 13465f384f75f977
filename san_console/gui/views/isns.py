"""iSNS: the server of this engine and others, and what is registered with them."""

from __future__ import annotations

from typing import Any, Final

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QStackedWidget, QWidget

from san_console.api.methods import ByAddress, ById, Nothing
from san_console.api.problems import Problem
from san_console.api.serving_objects import IsnsObject, IsnsServer
from san_console.gui import words
from san_console.gui.context import Context
from san_console.gui.dialogs.address import AddressDialog
from san_console.gui.dialogs.base import Confirmation
from san_console.gui.theme.tokens import GAP_PX, Tone
from san_console.gui.translation import QT_TRANSLATE_NOOP, translate, translated
from san_console.gui.views.isns_objects import ObjectBrowser
from san_console.gui.views.page import KeptSplitter, Page
from san_console.gui.widgets.buttons import Button, enable
from san_console.gui.widgets.cards import Card, vertical
from san_console.gui.widgets.empty import EmptyState
from san_console.gui.widgets.key_values import KeyValues, Pair
from san_console.gui.widgets.labels import restyle
from san_console.gui.widgets.problems import InlineProblem
from san_console.gui.widgets.side_list import Entry, SideList
from san_console.names.portal import ISNS_PORT

STATE_TONES: Final[dict[str, Tone]] = {
    "running": "good",
    "ok": "good",
    "stopped": "muted",
    "idle": "muted",
    "failed": "bad",
}
STATE_WORDS: Final[dict[str, str]] = {
    "running": QT_TRANSLATE_NOOP("Table", "running"),
    "ok": QT_TRANSLATE_NOOP("Table", "answers"),
    "stopped": QT_TRANSLATE_NOOP("Table", "stopped"),
    "idle": QT_TRANSLATE_NOOP("Table", "not asked yet"),
    "failed": QT_TRANSLATE_NOOP("Table", "no answer"),
}
EMBEDDED: Final = "embedded"


class IsnsPage(Page):
    """Servers at the left, the objects of the chosen one at the right."""

    key = "isns"
    title = "iSNS"
    collections = ("isns_servers", "local_targets")

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.refresh_button = Button(self.tr("Refresh"), self.renew, icon="refresh-cw", tip="F5")
        self.remove_button = Button(self.tr("Remove"), self._remove, kind="danger", tip="Del")
        self.add_button = Button(self.tr("Add server"), self._add, icon="plus")
        self.power_button = Button(self.tr("Start server"), self._power, kind="primary")
        self.set_actions(self.refresh_button, self.remove_button, self.add_button, self.power_button)
        self.servers = SideList(self.tr("iSNS servers"))
        self.servers.chosen.connect(self._choose)
        self.servers.delete_asked.connect(self._remove)
        self.facts = KeyValues()
        self.browser = ObjectBrowser(context)
        self.failure = InlineProblem()
        right = QWidget()
        column = vertical(right, gap=GAP_PX)
        column.addWidget(self.failure)
        column.addWidget(self.browser, 1)
        self.split = KeptSplitter(context, "isns", Qt.Orientation.Horizontal, [250, 798], self._left(), right)
        self.split.setStretchFactor(0, 0)
        self.stack = QStackedWidget()
        self.stack.addWidget(self.split)
        self.stack.addWidget(
            EmptyState(
                "network",
                self.tr("No iSNS server yet"),
                self.tr("With iSNS, targets register themselves, and initiators find them in one place."),
                self.tr("Start a server here…"),
                self._start,
            )
        )
        self.body.addWidget(self.stack, 1)
        self._asked = ""
        self.reload()

    def _left(self) -> QWidget:
        holder = QWidget()
        column = vertical(holder, gap=GAP_PX)
        card = Card(margin=6)
        card.body.addWidget(self.servers)
        column.addWidget(card, 1)
        facts = Card()
        facts.body.addWidget(self.facts)
        column.addWidget(facts)
        return holder

    # Page

    def reload(self) -> None:
        self._fill()
        # A new snapshot: what was read before may be of another engine.
        self._ask()

    def apply_changes(self, collection: str, changes: list[Any]) -> None:
        self._fill()
        for change in changes:
            if collection == "isns_servers" and change.id == self.servers.current_id:
                was, now = change.old, change.new
                if was is None or now is None or _look(was) != _look(now):
                    self._ask()

    def refresh(self) -> None:
        servers: list[IsnsServer] = self.host.values("isns_servers")
        running = [server for server in servers if server.state in ("running", "ok")]
        nodes = sum(server.node_count for server in servers)
        self.summary.setText(
            self.tr("{servers}, {running} in reach, {nodes} registered").format(
                servers=words.counted(len(servers), "server"),
                running=len(running),
                nodes=words.counted(nodes, "node"),
            )
            if servers
            else self.tr("no server yet")
        )
        self._show_server()

    def select(self, identifier: str) -> None:
        self.servers.select_id(identifier)

    def focus_filter(self) -> None:
        self.browser.filter.line.setFocus()

    def renew(self) -> None:
        self._ask()

    # servers

    def _fill(self) -> None:
        servers: list[IsnsServer] = sorted(
            self.host.values("isns_servers"), key=lambda server: (not server.embedded, server.id)
        )
        self.servers.show_entries(
            Entry(
                server.id,
                server.address or self.tr("This computer"),
                _entry_detail(server),
                tone=STATE_TONES[server.state],
                mono=bool(server.address),
            )
            for server in servers
        )
        idle = all(server.embedded and server.state == "stopped" for server in servers)
        self.stack.setCurrentIndex(1 if idle else 0)

    def _server(self) -> IsnsServer | None:
        found = self.host.get("isns_servers", self.servers.current_id)
        return found if isinstance(found, IsnsServer) else None

    def _choose(self, _identifier: str) -> None:
        self._show_server()
        self._ask()

    def _show_server(self) -> None:
        server = self._server()
        embedded = self.host.get("isns_servers", EMBEDDED)
        runs = embedded is not None and embedded.state == "running"
        self.power_button.setText(self.tr("Stop server…") if runs else self.tr("Start server…"))
        self.power_button.setAccessibleName(self.power_button.text())
        self.power_button.setProperty("kind", "" if runs else "primary")
        restyle(self.power_button)
        enable(self.refresh_button, server is not None)
        enable(
            self.remove_button,
            server is not None and not server.embedded,
            self.tr("The server of this computer is stopped, not removed"),
        )
        if server is None:
            self.facts.show_pairs([])
            self.failure.hide()
            return
        tone = STATE_TONES[server.state]
        pairs = [
            Pair(
                self.tr("Server"),
                self.tr("of this computer") if server.embedded else self.tr("somewhere else"),
            ),
            Pair(self.tr("Address"), server.address or words.NONE, mono=True),
            Pair(self.tr("State"), translated(STATE_WORDS[server.state]), tone),
            Pair(self.tr("Entities"), words.amount(server.entity_count)),
            Pair(self.tr("Nodes"), words.amount(server.node_count)),
        ]
        if server.last_seen_at is not None and not server.embedded:
            pairs.append(Pair(self.tr("Last answer"), words.ago(self.context.now() - server.last_seen_at)))
        registered = sum(
            one.server in (server.id, server.address) and one.state == "registered"
            for target in self.host.values("local_targets")
            for one in target.registrations
        )
        pairs.append(
            Pair(
                self.tr("Our targets"),
                self.tr("{registered} registered").format(registered=registered),
                "good" if registered else "muted",
            )
        )
        self.facts.show_pairs(pairs)
        if server.problem is not None:
            self.failure.show_problem(server.problem, (self.tr("Try again"), self._ask))
        else:
            self.failure.hide()

    # objects

    def _ask(self) -> None:
        server = self._server()
        self._asked = server.id if server is not None else ""
        if server is None or (server.embedded and server.state != "running"):
            self.browser.show_nothing(
                self.tr("The server is stopped"),
                self.tr("Start it, and targets and initiators can register with it."),
            )
            return
        asked = server.id
        self.browser.show_loading()
        self.host.call(
            "isns.objects",
            ById(id=asked),
            lambda objects: self._take_objects(asked, objects),
            lambda problem: self._take_failure(asked, problem),
            owner=self,
        )

    def _take_objects(self, asked: str, objects: list[IsnsObject]) -> None:
        if asked == self._asked:
            self.failure.hide()
            self.browser.show_objects(objects)

    def _take_failure(self, asked: str, problem: Problem) -> None:
        if asked == self._asked:
            self.browser.show_nothing(self.tr("Nothing could be read"), "")
            self.failure.show_problem(problem, (self.tr("Try again"), self._ask))

    # actions

    def _add(self) -> None:
        def add(dialog: AddressDialog, address: str) -> None:
            def added(server: IsnsServer) -> None:
                dialog.finished_ok()
                self._fill()
                self.servers.select_id(server.id)

            self.host.call("isns.add", ByAddress(address=address), added, dialog.finished_badly, owner=dialog)

        AddressDialog(
            self.tr("Add an iSNS server"),
            self.tr("Add server"),
            self.tr("Its objects are shown here. To find targets through it, add it on the page Discover."),
            add,
            default_port=ISNS_PORT,
            placeholder="isns.example",
            parent=self,
        ).open()

    def _power(self) -> None:
        embedded = self.host.get("isns_servers", EMBEDDED)
        if embedded is not None and embedded.state == "running":
            self._stop(embedded)
        else:
            self._start()

    def _start(self) -> None:
        def start(dialog: AddressDialog, address: str) -> None:
            def started(_server: IsnsServer) -> None:
                dialog.finished_ok()
                self._fill()
                self.servers.select_id(EMBEDDED)

            self.host.call(
                "isns.start", ByAddress(address=address), started, dialog.finished_badly, owner=dialog
            )

        embedded = self.host.get("isns_servers", EMBEDDED)
        AddressDialog(
            self.tr("Start an iSNS server on this computer"),
            self.tr("Start server"),
            self.tr(
                "It listens on this address only. Whoever reaches it sees what is registered: "
                "iSNS knows no log-in."
            ),
            start,
            default_port=ISNS_PORT,
            suggested=(embedded.address if embedded is not None else "") or f"127.0.0.1:{ISNS_PORT}",
            parent=self,
        ).open()

    def _stop(self, server: IsnsServer) -> None:
        hit = [
            self.tr("{id} is no longer found through it").format(id=words.short_name(target.id))
            for target in self.host.values("local_targets")
            if any(one in (server.id, server.address) for one in target.register_with)
        ]
        Confirmation(
            self.tr("Stop the iSNS server of this computer?"),
            self.tr("Stop server"),
            lambda dialog: self.host.call(
                "isns.stop", Nothing(), dialog.finished_ok, dialog.finished_badly, owner=dialog
            ),
            text=self.tr("{node_count} registered at {address} will have to register again.").format(
                node_count=words.counted(server.node_count, "node"), address=server.address
            ),
            consequences=hit,
            kind="destroy",
            parent=self,
        ).open()

    def _remove(self) -> None:
        server = self._server()
        if server is None or server.embedded:
            return
        address = server.address

        def removed(_result: object) -> None:
            self.context.window.say(
                self.tr("{address} is off the list.").format(address=address),
                "text",
                self.tr("Undo"),
                put_back,
            )

        def put_back() -> None:
            self.host.call("isns.add", ByAddress(address=address), owner=self)

        self.host.call("isns.remove", ById(id=server.id), removed, owner=self)


def _entry_detail(server: IsnsServer) -> str:
    if server.embedded and server.state == "stopped":
        return translate("isns", "this computer · stopped")
    where = translate("isns", "this computer") if server.embedded else translated(STATE_WORDS[server.state])
    if server.state == "failed":
        return translate("isns", "no answer")
    return f"{where} · {words.counted(server.node_count, 'node')}"


def _look(server: IsnsServer) -> tuple[object, ...]:
    """What decides whether the objects are to be read anew."""
    return (server.state, server.address, server.entity_count, server.node_count)
