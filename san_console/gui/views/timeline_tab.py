"""What happened to one object, or to a target and its sessions: a time line that outlives them."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, Final

from PySide6.QtWidgets import QStackedWidget

from san_console.api.engine_objects import Event
from san_console.api.methods import QueryEvents
from san_console.api.problems import Problem
from san_console.gui.context import Context
from san_console.gui.views.page import DetailTab
from san_console.gui.widgets.cards import vertical
from san_console.gui.widgets.empty import EmptyState
from san_console.gui.widgets.problems import InlineProblem
from san_console.gui.widgets.timeline import TimelineModel, TimelineView

OLDER_LIMIT: Final = 200
"""Events asked for, per object: more than one looks through by eye."""

Ids = Callable[[Any], Collection[str]]


class TimelineTab(DetailTab):
    """`ids_of` names the objects whose events belong to the selected one.

    The newest events are in the replica; older ones are asked for once per object.
    """

    def __init__(
        self, context: Context, name: str, ids_of: Ids, text_of: Callable[[Event], str] | None = None
    ) -> None:
        """`text_of` leaves out what is clear already, such as the name of the one object."""
        super().__init__(context)
        self._ids_of = ids_of
        self._ids: frozenset[str] = frozenset()
        self._known: dict[str, dict[str, Event]] = {}
        self._failed_ids: set[str] = set()
        self.model = TimelineModel(context.now, text_of)
        self.view = TimelineView(self.model, name)
        self.empty = EmptyState("history", self.tr("Nothing happened yet"), "")
        self.problem = InlineProblem("notice")
        self._stack = QStackedWidget()
        self._stack.addWidget(self.view)
        self._stack.addWidget(self.empty)
        outer = vertical(self, gap=0)
        outer.addWidget(self.problem)
        outer.addWidget(self._stack, 1)

    def show_object(self, item: Any) -> None:
        ids = frozenset(self._ids_of(item)) if item is not None else frozenset()
        if ids != self._ids:
            self._ids = ids
            self.problem.hide()
            self.view.scrollToTop()
            for failed in self._failed_ids:
                self._known.pop(failed, None)
            self._failed_ids.clear()
        for known in ids:
            if known not in self._known:
                self._ask(known)
        self._draw()

    def sampled(self, item: Any) -> None:
        # "40 s ago" moves on by itself.
        self.view.viewport().update()

    def _ask(self, object_id: str) -> None:
        self._known[object_id] = {}
        self.host.call(
            "events.query",
            QueryEvents(object_id=object_id, limit=OLDER_LIMIT),
            lambda events: self._take(object_id, events),
            lambda problem: self._take_failure(object_id, problem),
            owner=self,
        )

    def _take(self, object_id: str, events: list[Event]) -> None:
        self._known.setdefault(object_id, {}).update({event.id: event for event in events})
        if object_id in self._ids:
            self._draw()

    def _take_failure(self, object_id: str, problem: Problem) -> None:
        # Asked again when the object is selected anew.
        self._failed_ids.add(object_id)
        if object_id in self._ids:
            self.problem.show_problem(problem)

    def _draw(self) -> None:
        for event in self.host.values("events"):
            if event.object_id in self._ids:
                # Kept here, since the replica holds the newest 1,000 of all objects only.
                self._known[event.object_id][event.id] = event
        found = [event for known in self._ids for event in self._known[known].values()]
        self.model.show_events(found)
        self._stack.setCurrentWidget(self.view if found else self.empty)
