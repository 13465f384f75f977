"""Sessions: what is logged in, what is being tried again, and live what each one does."""

from __future__ import annotations

import logging
from typing import Any, Final

from PySide6.QtCore import Qt, QTimer
from PySide6.QtGui import QHideEvent, QKeySequence, QShortcut, QShowEvent
from PySide6.QtWidgets import QWidget

from san_console.api.engine_objects import Sample
from san_console.api.initiator_objects import Session
from san_console.api.methods import StatisticsOf
from san_console.api.problems import Problem
from san_console.gui.context import Context
from san_console.gui.icons import set_icon
from san_console.gui.models.object_model import ObjectTableModel
from san_console.gui.states import is_degraded
from san_console.gui.theme.theme import tokens
from san_console.gui.translation import QT_TRANSLATE_NOOP
from san_console.gui.views.page import Details, DetailTab, FilterRow, KeptSplitter, Page
from san_console.gui.views.sessions_actions import SessionActions, belongs
from san_console.gui.views.sessions_columns import session_columns
from san_console.gui.views.sessions_connections import ConnectionsTab
from san_console.gui.views.sessions_keys import KeysTab
from san_console.gui.views.sessions_luns import SessionLunsTab
from san_console.gui.views.sessions_menu import SessionMenu
from san_console.gui.views.sessions_performance import PerformanceTab
from san_console.gui.views.sessions_words import SPARKLINE_S, WHERE, ended, ended_in_events, in_words
from san_console.gui.views.timeline_tab import TimelineTab
from san_console.gui.widgets.buttons import Button, IconButton, enable
from san_console.gui.widgets.cards import Card, vertical
from san_console.gui.widgets.empty import EmptyState
from san_console.gui.widgets.job_list import JobList
from san_console.gui.widgets.labels import tooltip_text
from san_console.gui.widgets.problem_strip import ProblemStrip
from san_console.gui.widgets.table import TableView
from san_console.gui.widgets.table_stack import TableStack

log = logging.getLogger(__name__)

TICK_MS: Final = 1000
"""How often "next try in 8 s" counts down, also while no figures come."""

MAX_ENDED: Final = 200
"""Sessions that ended, kept for their time lines."""

_DOWN: Final = ("retrying", "failed")
_UP: Final = ("logged_in", "logging_in")


class TasksTab(DetailTab):
    """Long work on the session and its LUNs."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.list = JobList(context, self.tr("No task runs on this session"))
        vertical(self).addWidget(self.list)

    def show_object(self, item: Any) -> None:
        session = item if isinstance(item, Session) else None
        self.list.show_jobs(job for job in self.host.values("jobs") if session and belongs(job, session))


class SessionsPage(Page):
    """Sessions of this computer's own initiator."""

    key = "sessions"
    title = QT_TRANSLATE_NOOP("Table", "Sessions")
    collections = ("sessions", "luns", "events", "jobs")

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.actions_of = SessionActions(context, self)
        self._ended: dict[str, Session] = {}
        self.model = ObjectTableModel(
            session_columns(self.host, context.now),
            fields={"alias": lambda s: s.alias, "auth": lambda s: s.auth, "id": lambda s: s.id},
        )
        self._make_actions()
        self._make_filter()
        self.table = TableView(
            self.model,
            self.tr("Sessions"),
            preferences=context.preferences,
            layout_key="sessions",
            sort_by="state",
        )
        self.menu = SessionMenu(
            context,
            self.actions_of,
            self.table.current_object,
            self._selected,
            self._loggable,
            self._toggle_favourite,
        )
        self.table.fill_menu = self.menu.fill
        self.table.chosen.connect(self._show_details)
        self.table.opened.connect(self._open_performance)
        self.table.delete_asked.connect(lambda: self.actions_of.log_out(self._loggable()))
        self.empty = EmptyState(
            "activity",
            self.tr("Nothing is logged in"),
            self.tr("Find targets first, or type an address into Quick Connect (Ctrl+K)."),
            self.tr("Discover targets"),
            lambda: context.window.go("discover"),
        )
        card = Card(flush=True)
        card.body.addWidget(TableStack(self.table, self.empty, self._clear_filter, whole=self._live))
        self.problem = ProblemStrip()
        self.details = Details(
            context,
            "sessions",
            [
                ("performance", self.tr("Performance"), lambda: PerformanceTab(context)),
                ("connections", self.tr("Connections"), lambda: ConnectionsTab(context)),
                ("keys", self.tr("Negotiated keys"), lambda: KeysTab(context)),
                ("luns", "LUNs", lambda: SessionLunsTab(context)),
                ("timeline", self.tr("Timeline"), self._make_timeline),
                ("tasks", self.tr("Tasks"), lambda: TasksTab(context)),
            ],
        )
        self.below = QWidget()
        lower = vertical(self.below)
        lower.addWidget(self.problem)
        lower.addWidget(self.details, 1)
        self.splitter = KeptSplitter(
            context, "sessions", Qt.Orientation.Vertical, [240, 380], card, self.below
        )
        # More height goes to the charts, not to empty rows.
        self.splitter.setStretchFactor(0, 0)
        self.splitter.setStretchFactor(1, 1)
        self.body.addWidget(self.splitter, 1)
        self._ticker = QTimer(self, interval=TICK_MS)
        self._ticker.timeout.connect(self._tick)
        self._add_keys()
        self.reload()
        # A tag or the filter changed what is shown: the details follow.
        self.model.counted.connect(self._soon)

    def _make_actions(self) -> None:
        self.favourite_button = IconButton("star", self.tr("Favourite"), self._toggle_favourite, role="muted")
        self.favourite_button.setCheckable(True)
        self.retry_button = Button(
            self.tr("Retry now"),
            lambda: self.actions_of.retry_now(self._selected("retrying")),
            icon="rotate-cw",
            tip=self.tr("Try to log in at once instead of waiting"),
        )
        self.stop_button = Button(
            self.tr("Stop retrying"),
            lambda: self.actions_of.stop_retrying(self._selected("retrying")),
            icon="ban",
            tip=self.tr("No more tries; the session stays on the list"),
        )
        self.rescan_button = Button(
            self.tr("Rescan LUNs"),
            lambda: self.actions_of.rescan(self._selected("logged_in")),
            icon="refresh-cw",
            tip=self.tr("Ask the target anew which LUNs there are (F5)"),
        )
        self.logout_button = Button(
            self.tr("Log out"),
            lambda: self.actions_of.log_out(self._loggable()),
            kind="danger",
            tip=self.tr("End the session; what it hits is said first (Ctrl+Shift+L)"),
        )
        self.set_actions(
            self.favourite_button, self.retry_button, self.stop_button, self.rescan_button, self.logout_button
        )

    def _make_filter(self) -> None:
        self.filter = FilterRow(
            self.model,
            self.tr("Filter: state:degraded portal:10.20."),
            [
                ("all", self.tr("All"), lambda s: s.state != "logged_out"),
                ("up", self.tr("Up"), lambda s: s.state in _UP and not is_degraded(s)),
                ("degraded", self.tr("Degraded"), is_degraded),
                ("retrying", self.tr("Retrying"), lambda s: s.state == "retrying"),
                ("failed", self.tr("Failed"), lambda s: s.state == "failed"),
                ("ended", self.tr("Ended"), lambda s: s.state == "logged_out"),
            ],
        )
        self.filter.apply()
        self.filter.chips["ended"].setToolTip(self.tr("Sessions that ended: their time lines are kept"))
        self.body.addWidget(self.filter)

    def _make_timeline(self) -> TimelineTab:
        return TimelineTab(
            self.context,
            self.tr("What happened to the session"),
            lambda session: [session.id],
            text_of=lambda event: WHERE.sub("", event.text),
        )

    def _add_keys(self) -> None:
        for keys, action in (
            ("Ctrl+Shift+L", lambda: self.actions_of.log_out(self._loggable())),
            ("Ctrl+R", lambda: self.actions_of.retry_now(self._selected("retrying"))),
        ):
            shortcut = QShortcut(QKeySequence(keys), self, action)
            shortcut.setContext(Qt.ShortcutContext.WidgetWithChildrenShortcut)

    # the page's side

    def reload(self) -> None:
        known = {session.id: session for session in self.host.values("sessions")}
        for session in list(self.model.objects()):
            if session.id not in known and session.state != "logged_out":
                self._remember(session)
        for identifier in known:
            self._ended.pop(identifier, None)
        told = ended_in_events(self.host.values("events"), {*known, *self._ended}, MAX_ENDED)
        self._ended.update(told)
        self.model.set_objects([*known.values(), *self._ended.values()])
        self.table.select_first()
        self._ask_history(list(known))

    def apply_changes(self, collection: str, changes: list[Any]) -> None:
        if collection != "sessions":
            return
        for change in changes:
            if change.new is None and change.old is not None:
                # A session that is gone stays readable: its time line outlives it.
                change.new = self._remember(change.old)
            elif change.new is not None:
                self._ended.pop(change.id, None)
        self.model.apply(changes)

    def _ask_history(self, ids: list[str]) -> None:
        """The last minute of every session, for the lines in the table; the charts ask for more."""
        if ids and self.host.connected:
            self.host.call(
                "statistics.history",
                StatisticsOf(ids=ids, seconds=SPARKLINE_S),
                self._take_history,
                self._no_history,
                owner=self,
            )

    def _take_history(self, samples: list[Sample]) -> None:
        self.host.replica.add_history(samples)
        self.model.refresh_live()

    @staticmethod
    def _no_history(problem: Problem) -> None:
        # The lines then begin now; nothing that the user could mend.
        log.info("no figures of before: %s", problem.code)

    def _remember(self, session: Session) -> Session:
        kept = self._ended[session.id] = ended(session)
        while len(self._ended) > MAX_ENDED:
            self._ended.pop(next(iter(self._ended)))
        return kept

    def refresh(self) -> None:
        self.summary.setText(in_words(self.model.objects()))
        self.filter.count()
        for key in ("degraded", "failed", "ended"):
            chip = self.filter.chips[key]
            chip.setVisible(self.filter.chosen == key or not chip.text().endswith(" 0"))
        self.table.select_first()
        # Two pixels for the lines of the card.
        self.splitter.fit_first(self.table.fitting_height() + 2)
        self._show_details()

    def sampled(self) -> None:
        self.model.refresh_live()
        self.details.sampled()

    def select(self, identifier: str) -> None:
        if not self.table.select_id(identifier):
            self.filter.clear()
            if identifier in self._ended:
                self.filter.choose("ended")
            self.table.select_id(identifier)

    def focus_filter(self) -> None:
        self.filter.line.setFocus()

    def renew(self) -> None:
        self.actions_of.rescan(self._selected("logged_in"))

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        self._ticker.start()
        if self.focusWidget() is None:
            self.table.setFocus()

    def hideEvent(self, event: QHideEvent) -> None:
        super().hideEvent(event)
        self._ticker.stop()

    # inside

    def _open_performance(self, _identifier: str) -> None:
        self.details.open("performance")

    def _tick(self) -> None:
        self.model.refresh_live()

    def _live(self) -> int:
        """Sessions that are not only a memory."""
        return sum(session.state != "logged_out" for session in self.model.objects())

    def _clear_filter(self) -> None:
        self.filter.clear()
        self.refresh()

    def _selected(self, state: str) -> list[Session]:
        return [session for session in self.table.selected_objects() if session.state == state]

    def _loggable(self) -> list[Session]:
        return [s for s in self.table.selected_objects() if s.state not in ("logged_out", "logging_out")]

    def _toggle_favourite(self) -> None:
        sessions = self._loggable()
        wanted = not all(session.login.favourite for session in sessions)
        self.actions_of.set_favourite(sessions, wanted)

    def _show_details(self) -> None:
        session = self.table.current_object()
        self._show_buttons()
        troubled = session is not None and session.state in _DOWN and session.problem is not None
        if troubled and session.state == "failed":
            self.problem.show_problem(
                session.problem, (self.tr("Log in again…"), lambda: self._log_in_again(session))
            )
        else:
            self.problem.show_problem(session.problem if troubled else None)
        self.below.setVisible(bool(self.model.rowCount() or self._live()))
        luns = sum(1 for lun in self.host.values("luns") if session and lun.session_id == session.id)
        self.details.set_title("luns", self.tr("LUNs {luns}").format(luns=luns) if luns else "LUNs")
        running = (job for job in self.host.values("jobs") if job.state == "running")
        jobs = sum(1 for job in running if session and belongs(job, session))
        self.details.set_title(
            "tasks", self.tr("Tasks {jobs}").format(jobs=jobs) if jobs else self.tr("Tasks")
        )
        self.details.show_object(session)

    def _log_in_again(self, session: Session) -> None:
        self.context.window.quick_connect(session.target, session.portal)

    def _show_buttons(self) -> None:
        chosen = self._loggable()
        retrying = self._selected("retrying")
        self.retry_button.setVisible(bool(retrying))
        self.stop_button.setVisible(bool(retrying))
        enable(
            self.rescan_button,
            bool(self._selected("logged_in")),
            self.tr("No session that is up is selected"),
        )
        enable(self.logout_button, bool(chosen), self.tr("Select a session first"))
        text = (
            self.tr("Log out {chosen} sessions").format(chosen=len(chosen))
            if len(chosen) > 1
            else self.tr("Log out")
        )
        self.logout_button.setText(text)
        self.logout_button.setAccessibleName(text)
        favourite = bool(chosen) and all(session.login.favourite for session in chosen)
        self.favourite_button.setEnabled(bool(chosen))
        self.favourite_button.setChecked(favourite)
        set_icon(self.favourite_button, "star", "warning" if favourite else "muted", tokens())
        said = (
            self.tr("Favourite: logs in again when the engine starts. Press to take that back")
            if favourite
            else self.tr("Make it a favourite: log in again when the engine starts")
        )
        self.favourite_button.setToolTip(tooltip_text(said))
        self.favourite_button.setAccessibleName(said)
