"""Waiting for aborted tasks: no answer to a task management function before the last effect of its tasks.

RFC 7143 §4.2.3.3: the data for valid Target Transfer Tags is waited for; and no write of an aborted
command may land after the response.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from san_console.iscsi.target_task import TargetTask


class AbortWait:
    """Calls `then` once when every task of the set is gone."""

    def __init__(
        self, tasks: Iterable[TargetTask], then: Callable[[], None], transfers_until: float | None
    ) -> None:
        self.tasks = {id(task): task for task in tasks}
        self.then = then
        self.transfers_until = transfers_until

    def lingering(self) -> list[TargetTask]:
        """The tasks that wait for data of the initiator only."""
        return [task for task in self.tasks.values() if task.transfer_open]


class AbortWaits:
    """Who waits for which tasks of one session."""

    def __init__(self) -> None:
        self._waits: list[AbortWait] = []

    def add(
        self, tasks: Iterable[TargetTask], then: Callable[[], None], *, transfers_until: float | None
    ) -> None:
        """Call `then` when all `tasks` are gone; now, if there are none."""
        wait = AbortWait(tasks, then, transfers_until)
        if wait.tasks:
            self._waits.append(wait)
        else:
            then()

    def gone(self, task: TargetTask) -> None:
        """`task` has ended."""
        for wait in self._waits[:]:
            if wait.tasks.pop(id(task), None) is not None and not wait.tasks:
                self._waits.remove(wait)
                wait.then()

    def lingering(self, now: float) -> list[TargetTask]:
        """The tasks whose data has been waited for long enough."""
        return [
            task
            for wait in self._waits
            if wait.transfers_until is not None and now >= wait.transfers_until
            for task in wait.lingering()
        ]

    def next_deadline(self) -> float | None:
        """When there is something to give up."""
        return min((w.transfers_until for w in self._waits if w.transfers_until is not None), default=None)
