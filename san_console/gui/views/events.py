"""Events: what happened, to whom, who decided it and what to look at. Kept when their objects are gone."""

from __future__ import annotations

import logging
import time
from functools import partial
from pathlib import Path
from typing import Any, Final

from PySide6.QtCore import Qt
from PySide6.QtGui import QKeySequence, QShortcut
from PySide6.QtWidgets import QMenu

from san_console.api.engine_objects import Event
from san_console.api.methods import QueryEvents
from san_console.api.problems import Problem
from san_console.gui import words
from san_console.gui.context import Context
from san_console.gui.models.columns import Column
from san_console.gui.models.export import ExportForm
from san_console.gui.models.object_model import ObjectTableModel
from san_console.gui.models.object_names import KIND_WORDS, PAGE_OF_KIND, event_icon, object_name
from san_console.gui.theme.tokens import Tone
from san_console.gui.translation import QT_TRANSLATE_NOOP, translated
from san_console.gui.views.events_details import EventDetails
from san_console.gui.views.page import FilterRow, KeptSplitter, Page
from san_console.gui.widgets.buttons import Button
from san_console.gui.widgets.empty import EmptyState, TableCard
from san_console.gui.widgets.file_choice import choose_file
from san_console.gui.widgets.menus import add_action
from san_console.gui.widgets.table import TableView

log = logging.getLogger(__name__)

SEVERITY_TONES: Final[dict[str, Tone]] = {"info": "muted", "warning": "warning", "error": "bad"}
SEVERITY_WORDS: Final[dict[str, str]] = {
    "info": QT_TRANSLATE_NOOP("Table", "Info"),
    "warning": QT_TRANSLATE_NOOP("Table", "Warning"),
    "error": QT_TRANSLATE_NOOP("Table", "Error"),
}
_SEVERITY_ORDER: Final = {"error": 0, "warning": 1, "info": 2}
OLDER_AT_ONCE: Final = 200


def absolute_time(at: float) -> str:
    """Local time, sortable by eye: `2026-11-21 06:00:00`."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))


class EventsPage(Page):
    """All events of the engine, newest first."""

    key = "events"
    title = QT_TRANSLATE_NOOP("Table", "Events")
    collections = ("events",)

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.model = ObjectTableModel(
            self._columns(),
            fields={"kind": lambda event: event.kind, "id": lambda event: event.object_id},
        )
        self.older_button = Button(
            self.tr("Load older"),
            self._load_older,
            icon="history",
            tip=self.tr("Events older than the newest 1,000"),
        )
        export = Button(self.tr("Export"), icon="download")
        menu = QMenu(export)
        forms: tuple[tuple[ExportForm, str], ...] = (
            ("csv", self.tr("As CSV…")),
            ("json", self.tr("As JSON…")),
        )
        for form, title in forms:
            add_action(menu, title, partial(self._choose_export, form))
        export.set_menu(menu)
        self.export_button = export
        self.set_actions(self.older_button, export)
        self.filter = FilterRow(
            self.model,
            self.tr("Filter: severity:error object:prod"),
            [
                ("all", self.tr("All"), None),
                ("error", self.tr("Errors"), lambda event: event.severity == "error"),
                ("warning", self.tr("Warnings"), lambda event: event.severity == "warning"),
                ("info", self.tr("Info"), lambda event: event.severity == "info"),
            ],
        )
        self.body.addWidget(self.filter)
        self.table = TableView(
            self.model,
            self.tr("Events"),
            preferences=context.preferences,
            layout_key="events",
            sort_by="time",
            descending=True,
        )
        self.table.fill_menu = self._fill_menu
        self.table.chosen.connect(self._show_details)
        self.table.opened.connect(self._jump)
        card = TableCard(
            self.table,
            EmptyState(
                "list",
                self.tr("Nothing has happened yet"),
                self.tr("What the engine does is written down here."),
            ),
            self.filter.clear,
        )
        card.setMinimumHeight(110)
        self.details = EventDetails(context, self._jump)
        self.details.setMinimumHeight(130)
        split = KeptSplitter(context, "events", Qt.Orientation.Vertical, [500, 150], card, self.details)
        # A taller window shows more rows, not more empty details.
        split.setStretchFactor(1, 0)
        self.body.addWidget(split, 1)
        QShortcut(QKeySequence.StandardKey.Save, self, lambda: self._choose_export("csv")).setContext(
            Qt.ShortcutContext.WidgetWithChildrenShortcut
        )
        self.reload()

    def _columns(self) -> list[Column]:
        host = self.host
        return [
            Column(
                "severity",
                self.tr("Severity"),
                lambda event: translated(SEVERITY_WORDS.get(event.severity, event.severity)),
                sort=lambda event: _SEVERITY_ORDER.get(event.severity, 3),
                kind="state",
                tone=lambda event: SEVERITY_TONES.get(event.severity, "muted"),
                width=104,
            ),
            Column(
                "time",
                self.tr("Time"),
                lambda event: absolute_time(event.at),
                sort=lambda event: (event.at, len(event.id), event.id),
                tooltip=lambda event: words.ago(self.context.now() - event.at),
                muted=True,
                width=172,
            ),
            Column(
                "object",
                self.tr("Object"),
                lambda event: object_name(host, event.object_kind, event.object_id),
                tooltip=lambda event: (
                    f"{translated(KIND_WORDS.get(event.object_kind, ''))} {event.object_id}"
                ),
                elide_middle=True,
                width=150,
            ),
            Column(
                "what",
                self.tr("Kind"),
                lambda event: translated(KIND_WORDS.get(event.object_kind, event.object_kind)),
                kind="icon_text",
                detail=lambda event: event_icon(event.kind, event.severity)[0],
                tone=lambda event: event_icon(event.kind, event.severity)[1],
                width=138,
            ),
            Column("text", self.tr("What happened"), lambda event: event.text, width=300, stretch=True),
            Column("cause", self.tr("Cause"), lambda event: event.cause, width=200, hidden=True),
            Column("side", self.tr("Decided by"), lambda event: event.side, width=160, hidden=True),
        ]

    def reload(self) -> None:
        self.model.set_objects(self.host.values("events"))
        self.table.select_first()

    def apply_changes(self, collection: str, changes: list[Any]) -> None:
        # The snapshot keeps the newest 1,000; what fell out of it there is still worth reading here.
        self.model.apply([change for change in changes if change.new is not None])

    def refresh(self) -> None:
        events = list(self.model.objects())
        day = self.context.now() - 86400
        troubles = sum(event.severity == "error" and event.at >= day for event in events)
        parts = [words.counted(len(events), "event")]
        parts.append(
            self.tr("{troubles} in the last day").format(troubles=words.counted(troubles, "error"))
            if troubles
            else self.tr("no error today")
        )
        self.summary.setText(", ".join(parts) if events else self.tr("nothing has happened yet"))
        self.filter.count()
        self._show_details()

    def select(self, identifier: str) -> None:
        if not self.table.select_id(identifier):
            self.filter.clear()
            self.table.select_id(identifier)

    def focus_filter(self) -> None:
        self.filter.line.setFocus()

    def renew(self) -> None:
        self.reload()
        self.refresh()

    # inside

    def _show_details(self) -> None:
        self.details.show_event(self.table.current_object())

    def _jump(self, identifier: str) -> None:
        event = self.model.get(identifier)
        if isinstance(event, Event) and event.object_kind in PAGE_OF_KIND:
            self.context.window.go(PAGE_OF_KIND[event.object_kind], event.object_id)

    def _fill_menu(self, menu: QMenu) -> None:
        event = self.table.current_object()
        if not isinstance(event, Event):
            return
        name = object_name(self.host, event.object_kind, event.object_id)
        if event.object_kind in PAGE_OF_KIND:
            add_action(
                menu,
                self.tr("Go to {name}").format(name=name),
                lambda: self._jump(event.id),
                icon="arrow-right",
            )
        add_action(
            menu, self.tr("Only events of {name}").format(name=name), lambda: self._only(event), icon="search"
        )

    def _only(self, event: Event) -> None:
        self.filter.choose("all")
        self.filter.line.setText(f'id:"{event.object_id}"')

    def _load_older(self) -> None:
        oldest = min(self.model.objects(), key=lambda event: (len(event.id), event.id), default=None)
        self.older_button.setEnabled(False)
        self.host.call(
            "events.query",
            QueryEvents(before_id=oldest.id if oldest is not None else "", limit=OLDER_AT_ONCE),
            self._take_older,
            self._failed_older,
            owner=self,
        )

    def _take_older(self, events: list[Event]) -> None:
        self.older_button.setEnabled(len(events) == OLDER_AT_ONCE)
        if not events:
            self.context.window.say(self.tr("There are no older events."))
            return
        known = list(self.model.objects())
        self.model.set_objects([*known, *events])
        self.refresh()

    def _failed_older(self, problem: Problem) -> None:
        self.older_button.setEnabled(True)
        self.context.say_problem(problem)

    def _choose_export(self, form: ExportForm) -> None:
        choose_file(
            self,
            self.tr("Export {rowCount}").format(rowCount=words.counted(self.model.rowCount(), "event")),
            lambda path: self.export_to(form, path),
            save=True,
            suggested=str(Path.home() / f"san-console-events.{form}"),
            filters=[f"{form.upper()} (*.{form})"],
        )

    def export_to(self, form: ExportForm, path: str) -> None:
        """Write the rows that are shown."""
        try:
            Path(path).write_text(
                self.table.exported(form, everything=True), encoding="utf-8", errors="replace"
            )
        except OSError as error:
            log.warning("events were not exported: %s", error.strerror)
            self.context.window.say(
                self.tr("Not exported: {strerror}. Choose another file.").format(strerror=error.strerror),
                "bad",
            )
            return
        self.context.window.say(
            self.tr("{rowCount} exported.").format(rowCount=words.counted(self.model.rowCount(), "event")),
            "good",
        )
