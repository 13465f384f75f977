"""The task set of a logical unit: what ORDERED and HEAD OF QUEUE commands mean for the others (SAM-5 §8).

A SIMPLE command runs as soon as it can. An ORDERED one waits for everything that came before it, and what
comes after it waits for it. A HEAD OF QUEUE command waits for nothing: it does not come here.

No initiator may stop the others by sending half of a command. So while an ORDERED command, or one of the
same I_T nexus before it, still waits for data of its initiator, it holds back later commands of its own nexus
only; and it never waits for a command of another one that has not got all its data yet.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

from san_console.iscsi.target_task import RUNNING, TRANSFERRING, TargetTask

Run = Callable[[TargetTask], None]


class _Barrier:
    """One ORDERED command that has not ended."""

    __slots__ = ("armed", "nexus", "older", "parked", "ready", "task", "waits_for")

    def __init__(self, task: TargetTask, nexus: object, older: Iterable[TargetTask]) -> None:
        self.task = task
        self.nexus = nexus
        self.older = {id(one): one for one in older}
        """What came before it: it never waits for this barrier. The tasks are kept, so that no id is used
        twice.
        """
        self.waits_for = set(self.older)
        self.armed = False
        """All of its data is there, and what its nexus sent before has all of its own: from now on other
        nexuses wait for it too.
        """
        self.ready: Run | None = None
        self.parked: list[tuple[TargetTask, object, Run]] = []

    @property
    def complete(self) -> bool:
        """True when no more data of the initiator is needed for it to have its turn."""
        return self.ready is not None and not any(
            one.state == TRANSFERRING for key, one in self.older.items() if key in self.waits_for
        )


class TaskSet:
    """The order of the commands of one logical unit.

    `others(nexus)` gives the tasks of all I_T nexuses but that one; `on_change` hears when the answer of
    `holds_back` may have changed. What a barrier waits for came earlier in its own nexus, or was at work
    when it was armed, and barriers of one nexus are armed in their order: so there is no circle.
    """

    def __init__(
        self, others: Callable[[object], Iterable[TargetTask]], on_change: Callable[[], None]
    ) -> None:
        self._others = others
        self._on_change = on_change
        self.barriers: list[_Barrier] = []
        """Those that are armed in the order in which they became so, then the others as they came."""

    def holds_back(self, nexus: object) -> bool:
        """True when a new command of `nexus` may have to wait."""
        return any(barrier.armed or barrier.nexus is nexus for barrier in self.barriers)

    def enter(self, task: TargetTask, nexus: object, own: Iterable[TargetTask]) -> None:
        """An ORDERED command was received; `own` are the tasks of its I_T nexus at this unit."""
        barrier = _Barrier(task, nexus, (one for one in own if one is not task))
        self.barriers.append(barrier)
        for one in barrier.older.values():
            self._watch(one, barrier)
        _on_end(task, lambda: self._ended(barrier))
        self._on_change()

    def run(self, task: TargetTask, nexus: object, run: Run) -> None:
        """Call `run(task)`: now, when its turn has come, or when it was aborted before that."""
        mine = next((barrier for barrier in self.barriers if barrier.task is task), None)
        if mine is not None:
            mine.ready = run
            task.on_abort = partial(self._start, mine)
            self._arm(nexus)
            return
        for barrier in self.barriers:
            if id(task) in barrier.older:
                self._arm(nexus)  # it may have been the last one whose data was missing
                break
            if barrier.armed or barrier.nexus is nexus:
                entry = (task, nexus, run)
                barrier.parked.append(entry)
                task.on_abort = partial(self._let_go, barrier, entry)
                return
        task.on_abort = None
        run(task)

    @staticmethod
    def _let_go(barrier: _Barrier, entry: tuple[TargetTask, object, Run]) -> None:
        barrier.parked.remove(entry)
        task, _, run = entry
        task.on_abort = None
        run(task)

    def _arm(self, nexus: object) -> None:
        """Arm the barriers of a nexus whose data is there, as far as their order allows."""
        armed = False
        for barrier in [one for one in self.barriers if one.nexus is nexus and not one.armed]:
            if not barrier.complete:
                break
            dormant = {id(entry[0]) for other in self.barriers for entry in other.parked}
            dormant |= {id(other.task) for other in self.barriers if not other.armed}
            for one in self._others(nexus):
                if one.state == RUNNING and id(one) not in dormant:
                    barrier.older[id(one)] = one
                    barrier.waits_for.add(id(one))
                    self._watch(one, barrier)
            self.barriers.remove(barrier)
            self.barriers.insert(sum(other.armed for other in self.barriers), barrier)
            barrier.armed = armed = True
        if armed:
            self._on_change()
            for barrier in self.barriers[:]:
                self._advance(barrier)

    def _watch(self, task: TargetTask, barrier: _Barrier) -> None:
        def gone() -> None:
            barrier.waits_for.discard(id(task))
            if barrier.armed:
                self._advance(barrier)
            else:
                self._arm(barrier.nexus)

        _on_end(task, gone)

    @staticmethod
    def _advance(barrier: _Barrier) -> None:
        if barrier.armed and not barrier.waits_for:
            TaskSet._start(barrier)

    @staticmethod
    def _start(barrier: _Barrier) -> None:
        if barrier.ready is not None:
            run, barrier.ready = barrier.ready, None
            barrier.task.on_abort = None
            run(barrier.task)

    def _ended(self, barrier: _Barrier) -> None:
        self.barriers.remove(barrier)
        self._on_change()
        self._arm(barrier.nexus)
        while barrier.parked:
            self.run(*barrier.parked.pop(0))


def _on_end(task: TargetTask, then: Callable[[], None]) -> None:
    """Call `then` when the task has ended, after those who asked before."""
    earlier = task.on_gone

    def gone() -> None:
        if earlier is not None:
            earlier()
        then()

    task.on_gone = gone
