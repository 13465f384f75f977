"""Waiting for aborted tasks: no answer to a task management function before the last effect of its tasks.

RFC 7143 §4.2.3.3: the data for valid Target Transfer Tags is waited for; and no write of an aborted
command may land after the response.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from san_console.iscsi.target_task import TargetTask


def _nothing() -> None:
    """Nobody needs to know."""


class AbortWait:
    """Calls `then` once when every task of the set is gone."""

    def __init__(
        self, tasks: Iterable[TargetTask], then: Callable[[], None], transfers_until: float | None
    ) -> None:
        self._tasks = {id(task): task for task in tasks}
        self._then = then
        self.transfers_until = transfers_until
        self.on_complete: Callable[[], None] = _nothing

    @property
    def complete(self) -> bool:
        """True when there is nothing (more) to wait for."""
        return not self._tasks

    def gone(self, task: TargetTask) -> None:
        """`task` has ended."""
        if self._tasks.pop(id(task), None) is not None and not self._tasks:
            self.on_complete()
            self._then()

    def lingering(self) -> list[TargetTask]:
        """The tasks that wait for data of the initiator only."""
        return [task for task in self._tasks.values() if task.transfer_open]
