"""Sessions of this computer's initiator: state, figures, and everything that can be known about one."""

from __future__ import annotations

from functools import partial
from typing import Any, Final

from PySide6.QtCore import Qt
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QMenu

from san_console.api.initiator_objects import Session
from san_console.api.methods import ById, Logout, SetFavourite
from san_console.console import commands
from san_console.gui import words
from san_console.gui.context import Context
from san_console.gui.dialogs.base import Confirmation
from san_console.gui.models.object_model import ObjectTableModel
from san_console.gui.states import is_degraded, is_down
from san_console.gui.views.page import Details, FilterRow, KeptSplitter, Page
from san_console.gui.views.session_columns import session_columns
from san_console.gui.views.session_details import ConnectionsTab, KeysTab, LunsTab, TasksTab, TimelineTab
from san_console.gui.views.session_performance import PerformanceTab
from san_console.gui.widgets.buttons import Button, enable
from san_console.gui.widgets.empty import EmptyState, TableCard
from san_console.gui.widgets.menus import add_action
from san_console.gui.widgets.problems import InlineProblem
from san_console.gui.widgets.table import TableView

SPANS: Final = ((60, "Last 60 s"), (300, "Last 5 min"), (600, "Last 10 min"))


class SessionsPage(Page):
    key = "sessions"
    title = "Sessions"
    collections = ("sessions", "luns", "events", "jobs")

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._spans_s = 60
        self.rescan = Button(
            "Rescan LUNs", self._rescan, icon="refresh-cw", tip="Ask again which LUNs there are"
        )
        self.log_out = Button("Log out", self._ask_log_out, kind="danger", tip="Log out (Del)")
        self.set_actions(self.rescan, self.log_out)
        fields = {
            "alias": lambda s: s.alias,
            "auth": lambda s: s.auth,
            "lun": self._lun_texts,
            "favourite": lambda s: "yes" if s.login.favourite else "no",
        }
        self.model = ObjectTableModel(session_columns(self.host, context.now), fields=fields)
        chips = (
            ("all", "All", None),
            ("up", "Up", lambda s: s.state == "logged_in" and not is_degraded(s)),
            ("degraded", "Degraded", is_degraded),
            ("down", "Down", is_down),
        )
        self.filter = FilterRow(self.model, "Filter: state:degraded portal:10.20.", chips)
        self.span = Button("", kind="normal")
        self._fill_span_menu()
        self.filter.end.addWidget(self.span)
        self.body.addWidget(self.filter)
        self.table = TableView(
            self.model, "Sessions", preferences=context.preferences, layout_key="sessions", sort_by="target"
        )
        self.table.fill_menu = self._fill_menu
        self.table.chosen.connect(self._chosen)
        self.table.delete_asked.connect(self._ask_log_out)
        empty = EmptyState(
            "activity",
            "No sessions yet",
            "Log in to a target, and its session shows here what it does, second by second.",
            "Quick Connect",
            context.window.quick_connect,
        )
        self.card = TableCard(self.table, empty, self.filter.clear)
        self.card.setMinimumHeight(140)
        self.details = Details(
            context,
            "sessions",
            (
                ("performance", "Performance", lambda: PerformanceTab(context)),
                ("connections", "Connections", lambda: ConnectionsTab(context)),
                ("keys", "Negotiated keys", lambda: KeysTab(context)),
                ("luns", "LUNs", lambda: LunsTab(context)),
                ("timeline", "Timeline", lambda: TimelineTab(context)),
                ("tasks", "Tasks", lambda: TasksTab(context)),
            ),
        )
        self.problem = InlineProblem()
        self.problem.setContentsMargins(0, 0, 0, 0)
        self.details.body.insertWidget(0, self.problem)
        splitter = KeptSplitter(
            context, "sessions", Qt.Orientation.Vertical, (40, 60), self.card, self.details
        )
        self.body.addWidget(splitter, 1)
        self._splitter = splitter

    def _lun_texts(self, session: Session) -> str:
        luns = (lun for lun in self.host.values("luns") if lun.session_id == session.id)
        return " ".join(f"{lun.identity} {lun.vendor} {lun.product}" for lun in luns)

    def _fill_span_menu(self) -> None:
        menu = QMenu(self.span)
        for seconds, text in SPANS:
            add_action(menu, text, partial(self._set_span, seconds, text))
        self.span.set_menu(menu)
        kept = self.context.preferences.get("sessions.span", 60)
        self._set_span(*next(((s, t) for s, t in SPANS if s == kept), SPANS[0]))

    def _set_span(self, seconds: int, text: str) -> None:
        self._spans_s = seconds
        self.span.setText(text)
        self.span.setAccessibleName(f"Time shown: {text}")
        self.context.preferences.set("sessions.span", seconds)
        if hasattr(self, "details"):
            self.details.sampled()

    # the replica

    def reload(self) -> None:
        self.model.set_objects(self.host.values("sessions"))

    def apply_changes(self, collection: str, changes: list[Any]) -> None:
        if collection == "sessions":
            self.model.apply(changes)

    def refresh(self) -> None:
        self.filter.count()
        sessions = self.host.values("sessions")
        targets = len({session.target for session in sessions})
        parts = [f"{words.counted(len(sessions), 'session')} to {words.counted(targets, 'target')}"]
        degraded, down = sum(map(is_degraded, sessions)), sum(map(is_down, sessions))
        parts += [f"{degraded} degraded"] if degraded else []
        parts += [f"{down} down"] if down else []
        self.summary.setText(", ".join(parts) if sessions else "none")
        self.details.setVisible(bool(sessions))
        self.table.select_first()
        self._chosen()

    def sampled(self) -> None:
        self.model.refresh_live()
        self.details.sampled()

    def _chosen(self) -> None:
        chosen = self.table.selected_objects()
        session = self.table.current_object()
        many = len(chosen)
        self.log_out.setText(f"Log out {many} sessions" if many > 1 else "Log out")
        enable(self.log_out, bool(chosen), "Select a session")
        up = any(one.state == "logged_in" for one in chosen)
        enable(self.rescan, up, "Only a session that is logged in can be asked")
        self._show_problem(session)
        self.details.show_object(session)

    def _show_problem(self, session: Session | None) -> None:
        if session is None or session.problem is None:
            self.problem.hide()
            return
        actions = []
        if session.state == "retrying":
            actions = [
                ("Retry now", partial(self._by_id, "sessions.retry_now", session.id)),
                ("Stop retrying", partial(self._by_id, "sessions.stop_retrying", session.id)),
            ]
        elif session.state == "failed":
            actions = [("Try again", partial(self._by_id, "sessions.retry_now", session.id))]
        self.problem.show_problem(session.problem, *actions)

    # actions

    def _by_id(self, method: str, session_id: str) -> None:
        self.host.call(method, ById(id=session_id), owner=self)

    def _rescan(self) -> None:
        for session in self.table.selected_objects():
            if session.state == "logged_in":
                self._by_id("sessions.rescan", session.id)

    def _ask_log_out(self) -> None:
        chosen = self.table.selected_objects()
        if not chosen:
            return
        lines = []
        for session in chosen:
            sample = self.host.replica.newest_sample(session.id)
            busy = sample is not None and (sample.read_iops or sample.write_iops)
            load = (
                f", {sample.read_iops + sample.write_iops:,.0f} operations a second now"
                if busy and sample
                else ""
            )
            name = words.short_name(session.target)
            lines.append(f"{name} at {session.portal}: {words.counted(session.lun_count, 'LUN')}{load}")
        many = len(chosen) > 1
        Confirmation(
            f"Log out {len(chosen)} sessions?"
            if many
            else f"Log out of {words.short_name(chosen[0].target)}?",
            f"Log out {len(chosen)} sessions" if many else "Log out",
            partial(self._log_out, [session.id for session in chosen]),
            text="Whatever uses these LUNs loses them. Nothing on them is changed.",
            consequences=lines,
            parent=self,
        ).open()

    def _log_out(self, ids: list[str], dialog: Confirmation) -> None:
        waiting = set(ids)

        def done(session_id: str, _result: object) -> None:
            waiting.discard(session_id)
            if not waiting:
                dialog.finished_ok()
                self.context.window.say(f"Logged out of {words.counted(len(ids), 'session')}", "good")

        for session_id in ids:
            params = Logout(id=session_id)
            done_one = partial(done, session_id)
            self.host.call("sessions.logout", params, done_one, dialog.finished_badly, owner=dialog)

    def _fill_menu(self, menu: QMenu) -> None:
        session = self.table.current_object()
        if session is None:
            return
        retrying = session.state == "retrying"
        if retrying:
            add_action(menu, "Retry now", partial(self._by_id, "sessions.retry_now", session.id), icon="play")
            stop = partial(self._by_id, "sessions.stop_retrying", session.id)
            add_action(menu, "Stop retrying", stop, icon="square")
        up = session.state == "logged_in"
        add_action(menu, "Rescan LUNs", self._rescan, icon="refresh-cw", enabled=up)
        favourite = session.login.favourite
        action = add_action(menu, "Favourite: log in when the engine starts", icon="star", checked=favourite)
        action.toggled.connect(partial(self._set_favourite, session.id))
        menu.addSeparator()
        add_action(menu, "Copy target name", partial(_copy, session.target), icon="copy")
        add_action(menu, "Copy as san-console command", partial(self._copy_command, session), icon="terminal")
        menu.addSeparator()
        add_action(menu, "Log out…", self._ask_log_out, icon="log-out", shortcut="Del", danger=True)

    def _set_favourite(self, session_id: str, on: bool) -> None:
        self.host.call("sessions.set_favourite", SetFavourite(id=session_id, favourite=on), owner=self)

    def _copy_command(self, session: Session) -> None:
        try:
            _copy(commands.login(session.target, session.portal))
        except ValueError as error:
            self.context.window.say(str(error), "bad")

    # keys

    def select(self, identifier: str) -> None:
        if not self.table.select_id(identifier):
            self.filter.clear()
            self.table.select_id(identifier)

    def focus_filter(self) -> None:
        self.filter.line.setFocus(Qt.FocusReason.ShortcutFocusReason)

    def renew(self) -> None:
        self._rescan()


def _copy(text: str) -> None:
    QGuiApplication.clipboard().setText(text)
