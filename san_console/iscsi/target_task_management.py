"""Task management at the target (RFC 7143 §4.2.3, §11.5, §11.6; RFC 7144 §6)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from san_console.iscsi import opcodes
from san_console.iscsi.framing import Frame
from san_console.iscsi.opcodes import (
    REJECT_INVALID_PDU_FIELD,
    REJECT_TOO_MANY_IMMEDIATE_COMMANDS,
    RESERVED_TAG,
    TMF_FUNCTION_COMPLETE,
    TMF_LUN_DOES_NOT_EXIST,
    TMF_NOT_SUPPORTED,
    TMF_REASSIGNMENT_NOT_SUPPORTED,
    TMF_TASK_DOES_NOT_EXIST,
)
from san_console.iscsi.pdu import TaskManagementRequest, TaskManagementResponse
from san_console.iscsi.target_task import TargetTask

if TYPE_CHECKING:
    from san_console.iscsi.target_connection import TargetConnection

MASK = 0xFFFFFFFF
MAX_PENDING_FUNCTIONS = 16  # §4.2.2.1 wants one at least; an initiator that waits for more has lost its way
DATA_WAIT_S = 3.0
"""How long data for valid TTTs is waited for (§4.2.3.3 a) before the function is answered all the same:
initiators that have given up a task often do not send it any more. LIO's dataout_timeout."""


class TaskManagement:
    """The task management functions that come in on one connection."""

    def __init__(self, connection: TargetConnection) -> None:
        self._connection = connection
        self._session = connection.session
        self._functions: dict[int, Callable[[TaskManagementRequest], None]] = {
            opcodes.TMF_ABORT_TASK: self._abort_task,
            opcodes.TMF_ABORT_TASK_SET: self._task_set,
            opcodes.TMF_CLEAR_TASK_SET: self._task_set,
            opcodes.TMF_LOGICAL_UNIT_RESET: self._task_set,
            opcodes.TMF_TARGET_WARM_RESET: self._target_reset,
            # Reassignment is part of error recovery level 2 (§7.2.2).
            opcodes.TMF_TASK_REASSIGN: lambda request: self._answer(request, TMF_REASSIGNMENT_NOT_SUPPORTED),
        }

    def receive(self, frame: Frame) -> None:
        """A Task Management Function Request."""
        request = TaskManagementRequest.parse(frame.bhs)
        if request.itt == RESERVED_TAG:
            self._connection.reject(REJECT_INVALID_PDU_FIELD, frame.bhs)
            return
        if self._session.pending_functions >= MAX_PENDING_FUNCTIONS:
            self._connection.reject(REJECT_TOO_MANY_IMMEDIATE_COMMANDS, frame.bhs)
            return
        if not self._connection.in_order(frame, request.cmd_sn):
            return
        if not request.immediate:
            self._session.command_done()
        function = self._functions.get(request.function)
        if function is None:
            self._answer(request, TMF_NOT_SUPPORTED)
        else:
            function(request)

    def _answer(self, request: TaskManagementRequest, response: int) -> None:
        if self._session.terminated or self._connection.closing:
            return
        self._connection.send(
            TaskManagementResponse(
                response=response,
                itt=request.itt,
                stat_sn=self._connection.take_stat_sn(),
                exp_cmd_sn=self._session.exp_cmd_sn,
                max_cmd_sn=self._session.max_cmd_sn,
            ).pack()
        )

    def _abort_task(self, request: TaskManagementRequest) -> None:
        session = self._session
        task = session.tasks.get(request.referenced_task_tag)
        if task is not None and task.lun == request.lun:
            session.abort(task)
            # One task: its initiator has ended it for itself, so no data has to be waited for (§4.2.3.3 is
            # for sets).
            session.wait_for(
                [task],
                lambda: self._answer(request, TMF_FUNCTION_COMPLETE),
                transfers_until=session.now,
            )
            session.tick(session.now)
            return
        # §11.6.1 b and c: not received yet, but inside of the window: it counts as received from now on.
        ahead = (request.ref_cmd_sn - session.exp_cmd_sn) & MASK
        window = (session.max_cmd_sn - session.exp_cmd_sn + 1) & MASK
        before = (request.cmd_sn - request.ref_cmd_sn - 1) & MASK < 0x7FFFFFFF
        if task is None and ahead < window and before:
            session.plug(request.ref_cmd_sn)
            self._answer(request, TMF_FUNCTION_COMPLETE)
            session.release_held()
        else:
            self._answer(request, TMF_TASK_DOES_NOT_EXIST)

    def _task_set(self, request: TaskManagementRequest) -> None:
        if request.lun not in self._session.nexus.units:
            self._answer(request, TMF_LUN_DOES_NOT_EXIST)
            return
        # §4.2.3.3 b: commands sent before an immediate request belong to the set, even if they come after it.
        self._session.when_received(request.cmd_sn, lambda: self._clear(request, request.lun))

    def _target_reset(self, request: TaskManagementRequest) -> None:
        session = self._session
        # §4.2.3.3 b: for target-scoped functions, what is missing counts as received.
        missing = (request.cmd_sn - session.exp_cmd_sn) & MASK
        if missing <= session.command_window:
            for ahead in range(missing):
                session.plug((session.exp_cmd_sn + ahead) & MASK)
            session.release_held()
        self._clear(request, None)

    def _clear(self, request: TaskManagementRequest, lun: int | None) -> None:
        session = self._session
        tasks: list[TargetTask] = []
        if request.function == opcodes.TMF_ABORT_TASK_SET:
            tasks = session.tasks_of(request.lun)
        else:
            for other, other_lun in session.nexus.reset_scope(lun):
                tasks += other.tasks_of(other_lun)
        # Only the data of the issuing initiator is waited for (§4.2.3.3 a).
        for task in tasks:
            owner = task.connection.session
            owner.abort(task)
            if owner is not session and task.transfer_open:
                owner.task_gone(task)
        waiting = [task for task in tasks if task.connection.session is session]
        others = [task for task in tasks if task.connection.session is not session]

        def done() -> None:
            session.nexus.reset(lun, request.function)
            self._answer(request, TMF_FUNCTION_COMPLETE)

        def own_done() -> None:
            self._wait_for_others(others, done)

        session.wait_for(waiting, own_done, transfers_until=session.now + DATA_WAIT_S)

    @staticmethod
    def _wait_for_others(tasks: list[TargetTask], done: Callable[[], None]) -> None:
        """Wait for what the logical units still do for other sessions."""
        by_session = {id(task.connection.session): task.connection.session for task in tasks}
        left = len(by_session)
        if not left:
            done()
            return

        def one_done() -> None:
            nonlocal left
            left -= 1
            if not left:
                done()

        for owner in by_session.values():
            mine = [task for task in tasks if task.connection.session is owner]
            owner.wait_for(mine, one_done, transfers_until=None)
