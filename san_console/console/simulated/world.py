"""The state of a simulated host: objects, what changed, and what is due when."""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Callable
from typing import Any

import msgspec

from san_console.api.engine_objects import Event, Job, Severity
from san_console.api.messages import COLLECTIONS
from san_console.api.problems import ApiProblem, Problem

EVENTS_KEPT = 1000
"""As PROTOCOL.md says of the collection `events`."""

STEPS_KEPT = 50
"""As PROTOCOL.md says of what can be undone."""

_JOB_STEP_S = 0.25


class World:
    """Objects are never changed in place: a replica in the same process holds the very same ones."""

    def __init__(self, now: float, seed: int) -> None:
        self.now = now
        self.random = random.Random(seed)
        self.collections: dict[str, dict[str, Any]] = {name: {} for name in COLLECTIONS}
        self.changes: list[tuple[str, str, Any]] = []
        self.isns_objects: dict[str, list[Any]] = {}
        """What the iSNS servers have, by the id of the server."""
        self.steps: list[tuple[float, str, dict[str, Any]]] = []
        """Changes of local targets: when, what, and the targets as they were before; newest last."""
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._numbers = itertools.count(1)

    def note_step(self, text: str, before: dict[str, Any]) -> None:
        """A change of local targets that can be taken back."""
        self.steps.append((self.now, text, before))
        del self.steps[:-STEPS_KEPT]

    def number(self) -> int:
        """A number that was not given out before, for ids."""
        return next(self._numbers)

    def values(self, collection: str) -> list[Any]:
        return list(self.collections[collection].values())

    def get(self, collection: str, object_id: str) -> Any:
        """Raises ApiProblem `unknown-object`."""
        found = self.collections[collection].get(object_id)
        if found is None:
            raise ApiProblem(
                "unknown-object",
                "It does not exist any more.",
                side="engine",
                check="look at the list again",
                details={"collection": collection, "id": object_id},
            )
        return found

    def put(self, collection: str, value: Any) -> Any:
        self.collections[collection][value.id] = value
        self.changes.append((collection, value.id, value))
        return value

    def change(self, collection: str, object_id: str, **fields: Any) -> Any:
        """A new object with other values in `fields`, in place of the one with this id."""
        return self.put(collection, msgspec.structs.replace(self.get(collection, object_id), **fields))

    def remove(self, collection: str, object_id: str) -> None:
        if self.collections[collection].pop(object_id, None) is not None:
            self.changes.append((collection, object_id, None))

    def has(self, collection: str, object_id: str) -> bool:
        return object_id in self.collections[collection]

    def after(self, delay_s: float, action: Callable[[], None]) -> None:
        heapq.heappush(self._due, (self.now + delay_s, next(self._order), action))

    def advance(self, now: float) -> None:
        """Let time pass up to `now`: what is due happens in order, each at its own time."""
        while self._due and self._due[0][0] <= now:
            at, _, action = heapq.heappop(self._due)
            self.now = max(self.now, at)
            action()
        self.now = max(self.now, now)

    def event(
        self,
        severity: Severity,
        kind: str,
        object_kind: str,
        object_id: str,
        text: str,
        *,
        cause: str = "",
        side: str = "",
        check: str = "",
        at: float | None = None,
    ) -> None:
        event = Event(
            id=str(self.number()),
            at=self.now if at is None else at,
            severity=severity,
            kind=kind,
            object_kind=object_kind,
            object_id=object_id,
            text=text,
            cause=cause,
            side=side,
            check=check,
        )
        self.put("events", event)
        events = self.collections["events"]
        if len(events) > EVENTS_KEPT:
            self.remove("events", next(iter(events)))

    def job(
        self,
        kind: str,
        title: str,
        *,
        object_id: str = "",
        total: float = 0.0,
        unit: str = "",
        takes_s: float = 1.0,
        finish: Callable[[], dict[str, str]] | None = None,
    ) -> Job:
        """Work that takes `takes_s`; `finish` gives its result, or raises ApiProblem and the job failed."""
        job = Job(
            id=f"job-{self.number()}",
            kind=kind,
            title=title,
            object_id=object_id,
            total=total,
            unit=unit,
            started_at=self.now,
        )
        self.put("jobs", job)
        began = self.now

        def step() -> None:
            current: Job | None = self.collections["jobs"].get(job.id)
            if current is None or current.state != "running":
                return
            part = min((self.now - began) / takes_s, 1.0) if takes_s > 0 else 1.0
            if part < 1.0:
                self.change("jobs", job.id, done=round(total * part))
                self.after(min(_JOB_STEP_S, takes_s), step)
                return
            try:
                result = finish() if finish is not None else {}
            except ApiProblem as error:
                self.end_job(job.id, error.problem)
            else:
                self.change("jobs", job.id, state="done", done=total, result=result, ended_at=self.now)

        self.after(min(_JOB_STEP_S, takes_s), step)
        return job

    def end_job(self, job_id: str, problem: Problem) -> None:
        state = "cancelled" if problem.code == "cancelled" else "failed"
        self.change("jobs", job_id, state=state, problem=problem, ended_at=self.now)

    def take_changes(self) -> list[tuple[str, str, Any]]:
        taken, self.changes = self.changes, []
        return taken
