"""Task management functions that end many tasks: the multi-task abort semantics of RFC 7143 §4.2.3.

Standard (§4.2.3.3): data for valid transfer tags of the issuing session is waited for. FastAbort
(§4.2.3.4): it is not; other connections are told by an Asynchronous Message, and the tags stay valid until
they answer. In both, no answer before all commands sent earlier have come, and none before the last write
of an aborted task.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from san_console.iscsi.opcodes import (
    TMF_ABORT_TASK_SET,
    TMF_CLEAR_TASK_SET,
    TMF_I_T_NEXUS_RESET,
    TMF_LOGICAL_UNIT_RESET,
    TMF_TARGET_COLD_RESET,
    TMF_TARGET_WARM_RESET,
)
from san_console.iscsi.pdu import TaskManagementRequest
from san_console.iscsi.target_task import RUNNING, TargetTask

if TYPE_CHECKING:
    from san_console.iscsi.target_connection import TargetConnection
    from san_console.iscsi.target_session import TargetSession

MASK = 0xFFFFFFFF
HALF = 0x80000000
DATA_WAIT_S = 3.0
"""How long data for valid TTTs is waited for (§4.2.3.3 a) before the function is answered all the same:
initiators that have given up a task often do not send it any more. LIO's dataout_timeout."""

UNIT_SCOPE = frozenset({TMF_ABORT_TASK_SET, TMF_CLEAR_TASK_SET, TMF_LOGICAL_UNIT_RESET})
# Functions after which no task of the session is left: what is missing in the order of commands counts as
# received (§4.2.3.3 b).
WIDE_SCOPE = frozenset({TMF_TARGET_WARM_RESET, TMF_TARGET_COLD_RESET, TMF_I_T_NEXUS_RESET})
# These reach only commands sent before the request; resets reach all (§11.5.1).
_ORDERED = frozenset({TMF_ABORT_TASK_SET, TMF_CLEAR_TASK_SET})


class TaskSetFunction:
    """One request, from its arrival to `done(lun)`, which is called when it may be answered, for that unit
    or, with None, for all.
    """

    def __init__(
        self, connection: TargetConnection, request: TaskManagementRequest, done: Callable[[int | None], None]
    ) -> None:
        self._connection = connection
        self._session = connection.session
        self._request = request
        self._done = done
        self.lun: int | None = request.lun if request.function in UNIT_SCOPE else None
        self._left = 1

    def start(self) -> None:
        """Wait for the commands that the function covers, then end them."""
        session, cmd_sn = self._session, self._request.cmd_sn
        if self._request.function in UNIT_SCOPE:
            session.order.when_received(cmd_sn, self._connection, self._clear)
            return
        missing = (cmd_sn - session.exp_cmd_sn) & MASK
        if missing <= session.command_window:
            for ahead in range(missing):
                session.order.plug((session.exp_cmd_sn + ahead) & MASK)
            session.order.release()
        self._clear()

    def _own_tasks(self) -> list[TargetTask]:
        request = self._request
        tasks = [task for task in self._session.tasks.values() if self.lun is None or task.lun == request.lun]
        if request.function in _ORDERED:
            tasks = [t for t in tasks if t.immediate or (request.cmd_sn - t.cmd_sn - 1) & MASK < HALF]
        return tasks

    def _clear(self) -> None:
        session = self._session
        own = self._own_tasks()
        others: list[tuple[TargetSession, int]] = []
        if self._request.function not in (TMF_ABORT_TASK_SET, TMF_I_T_NEXUS_RESET):
            others = [entry for entry in session.nexus.reset_scope(self.lun) if entry[0] is not self._session]
        self._left += len(others)
        for other, lun in others:
            # Only CLEAR TASK SET is an abort that the others may get a status for; after a reset, a unit
            # attention tells them (SAM-5 §5.3.1, §6.3).
            report = self._request.function == TMF_CLEAR_TASK_SET and other.nexus.reports_aborted(lun)
            other.abort_set(lun, report=report, then=self._one_done)
        if session.fast_abort:
            self._abort_fast(own)
        else:
            for task in own:
                session.abort(task)
            session.wait_for(own, self._one_done, transfers_until=session.now + DATA_WAIT_S)

    def _abort_fast(self, tasks: list[TargetTask]) -> None:
        session = self._session
        for lun in sorted({task.lun for task in tasks}):
            for connection in list(session.connections.values()):
                if connection is not self._connection and any(
                    task.connection is connection and task.lun == lun for task in tasks
                ):
                    session.asyncs.tell_of_termination(connection, lun)
        running = [task for task in tasks if task.state == RUNNING or task.with_unit]
        for task in tasks:
            session.abort(task)
            # §4.2.3.4, initiator a: no more data comes on this connection for the tags of these tasks.
            if task.lingering and task.connection is self._connection:
                session.task_gone(task)
        session.linger(tasks)
        session.wait_for(running, self._one_done, transfers_until=None)

    def _one_done(self) -> None:
        self._left -= 1
        if not self._left:
            nexus = self._session.nexus
            nexus.reset(self.lun, self._request.function, lambda: self._done(self.lun))
