"""What happened: events in the snapshot, in the state for later, and in the log."""

from __future__ import annotations

import logging
from collections import Counter, deque
from collections.abc import Callable
from typing import Final

from san_console.api.engine_objects import Event, Severity
from san_console.api.problems import Problem
from san_console.engine.objects import ObjectRegistry
from san_console.engine.state import StateStore
from san_console.names.display import visible

log = logging.getLogger(__name__)

SHOWN_EVENTS: Final = 1000
"""In the snapshot; older ones by `events.query`."""

MAX_TEXT_CHARACTERS: Final = 1000
"""Of each text of an event. Peers choose parts of them."""

FLOOD_INTERVAL_S: Final = 10.0
MAX_OF_OBJECT: Final = 20
MAX_OF_KIND: Final = 500
"""Events per interval of one kind, for one object and in all. An outage of an array with hundreds of sessions
is told whole; somebody who knocks a thousand times a second does not wash everything else away."""

_LEVELS: Final[dict[str, int]] = {"info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


class EventLog:
    """Adds events; ids grow by one over all runs of the engine."""

    def __init__(self, registry: ObjectRegistry, state: StateStore, clock: Callable[[], float]) -> None:
        self._registry = registry
        self._state = state
        self._clock = clock
        self._next_id = state.last_event_id() + 1
        self._shown: deque[str] = deque()
        self._interval_began = clock()
        self._counts: Counter[str] = Counter()
        self._left_out: Counter[str] = Counter()
        for event in reversed(state.read_events(limit=SHOWN_EVENTS)):
            self._shown.append(event.id)
            registry.put("events", event)

    def add(
        self,
        kind: str,
        text: str,
        *,
        severity: Severity = "info",
        object_kind: str = "engine",
        object_id: str = "",
        cause: str = "",
        side: str = "",
        check: str = "",
        at: float | None = None,
    ) -> Event:
        """Tell that something happened. Texts may hold what peers sent: they are made visible here.

        In a flood of one kind the rest is only counted, and told as one event when the interval is over.
        """
        now = self._clock()
        if now - self._interval_began >= FLOOD_INTERVAL_S or now < self._interval_began:
            self._end_interval(now)
        self._counts[kind] += 1
        self._counts[f"{kind} {object_id}"] += 1
        flood = self._counts[kind] > MAX_OF_KIND or self._counts[f"{kind} {object_id}"] > MAX_OF_OBJECT
        event = Event(
            id=str(self._next_id),
            at=now if at is None else at,
            severity=severity,
            kind=kind,
            object_kind=object_kind,
            object_id=object_id,
            text=visible(text, MAX_TEXT_CHARACTERS),
            cause=visible(cause, MAX_TEXT_CHARACTERS),
            side=visible(side, MAX_TEXT_CHARACTERS),
            check=visible(check, MAX_TEXT_CHARACTERS),
        )
        if flood:
            self._left_out[kind] += 1
            return event
        self._next_id += 1
        self._state.add_event(event)
        self._registry.put("events", event)
        self._shown.append(event.id)
        while len(self._shown) > SHOWN_EVENTS:
            self._registry.remove("events", self._shown.popleft())
        fields = {"event": kind, object_kind: object_id, "cause": cause, "side": side, "check": check}
        log.log(_LEVELS[severity], event.text, extra={"fields": {k: v for k, v in fields.items() if v}})
        return event

    def _end_interval(self, now: float) -> None:
        left_out, self._left_out = self._left_out, Counter()
        self._counts.clear()
        self._interval_began = now
        for kind, count in left_out.items():
            self.add(
                "events_left_out",
                f"{count} more events of the kind {kind} came within {FLOOD_INTERVAL_S:.0f} s.",
                severity="warning",
            )

    def end_flood(self) -> None:
        """Called once a second: tell what was left out when the interval is over."""
        if self._left_out and self._clock() - self._interval_began >= FLOOD_INTERVAL_S:
            self._end_interval(self._clock())

    def add_problem(self, kind: str, problem: Problem, *, object_kind: str, object_id: str = "") -> Event:
        """Tell of a problem."""
        return self.add(
            kind,
            problem.message,
            severity="error",
            object_kind=object_kind,
            object_id=object_id,
            side=problem.side,
            check=problem.check,
        )
