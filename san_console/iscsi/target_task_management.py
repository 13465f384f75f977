"""Task management at the target (RFC 7143 §4.2.3, §11.5, §11.6; RFC 7144 §6). Task sets have their own
module.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from san_console.iscsi import opcodes
from san_console.iscsi.framing import Frame
from san_console.iscsi.opcodes import (
    REJECT_INVALID_PDU_FIELD,
    REJECT_TASK_IN_PROGRESS,
    REJECT_TOO_MANY_IMMEDIATE_COMMANDS,
    RESERVED_TAG,
    TMF_FUNCTION_COMPLETE,
    TMF_FUNCTION_REJECTED,
    TMF_FUNCTION_SUCCEEDED,
    TMF_LUN_DOES_NOT_EXIST,
    TMF_NOT_SUPPORTED,
    TMF_TARGET_COLD_RESET,
    TMF_TASK_DOES_NOT_EXIST,
)
from san_console.iscsi.pdu import TaskManagementRequest, TaskManagementResponse
from san_console.iscsi.target_task import ABORTED, DONE
from san_console.iscsi.target_task_sets import UNIT_SCOPE, WIDE_SCOPE, TaskSetFunction

if TYPE_CHECKING:
    from san_console.iscsi.target_connection import TargetConnection

MASK = 0xFFFFFFFF
HALF = 0x80000000
# Per connection. §4.2.2.1 wants one at least; an initiator that waits for more has lost its way.
MAX_PENDING_FUNCTIONS = 16
PROTOCOL_LEVEL_7144 = 2  # RFC 7144 §6.3: functions 9 to 12 need it

Handler = Callable[[TaskManagementRequest], None]


class TaskManagement:
    """The task management functions that come in on one connection."""

    def __init__(self, connection: TargetConnection) -> None:
        self._connection = connection
        self._session = connection.session
        self._functions: dict[int, Handler] = {
            opcodes.TMF_ABORT_TASK: self._abort_task,
            **dict.fromkeys(UNIT_SCOPE | WIDE_SCOPE - {opcodes.TMF_I_T_NEXUS_RESET}, self._task_set),
            opcodes.TMF_TASK_REASSIGN: self._reassign,
        }
        # CLEAR ACA is not there: no unit has ACA (NormACA is 0 in its INQUIRY data), SAM-5 §7.5.
        if self._session.parameters.protocol_level >= PROTOCOL_LEVEL_7144:
            self._functions |= {
                opcodes.TMF_QUERY_TASK: self._query_task,
                opcodes.TMF_QUERY_TASK_SET: self._query_task_set,
                opcodes.TMF_I_T_NEXUS_RESET: self._task_set,
                opcodes.TMF_QUERY_ASYNCHRONOUS_EVENT: self._query_event,
            }

    def receive(self, frame: Frame) -> None:
        """A Task Management Function Request."""
        request = TaskManagementRequest.parse(frame.bhs)
        session, connection = self._session, self._connection
        if request.itt == RESERVED_TAG:
            connection.reject(REJECT_INVALID_PDU_FIELD, frame.bhs)
            return
        if request.itt in session.requests or request.itt in session.tasks:
            if request.immediate or (request.cmd_sn - session.exp_cmd_sn) & MASK < HALF:
                connection.reject(REJECT_TASK_IN_PROGRESS, frame.bhs)
            return  # else a retry of what was received: ignored (§7.2.1)
        pending = sum(1 for one in session.requests.values() if one is connection)
        if request.immediate and pending >= MAX_PENDING_FUNCTIONS:
            connection.reject(REJECT_TOO_MANY_IMMEDIATE_COMMANDS, frame.bhs)
            return
        if not connection.in_order(frame, request.cmd_sn):
            return
        if not request.immediate:
            session.command_done()
        session.requests[request.itt] = connection
        function = self._functions.get(request.function)
        if pending >= MAX_PENDING_FUNCTIONS:
            self._answer(request, TMF_FUNCTION_REJECTED)
        elif function is None:
            self._answer(request, TMF_NOT_SUPPORTED)
        else:
            function(request)

    def _answer(self, request: TaskManagementRequest, response: int, information: int = 0) -> None:
        session, connection = self._session, self._connection
        session.requests.pop(request.itt, None)
        if session.terminated or connection.closing or connection.closed:
            return
        pdu = TaskManagementResponse(
            response=response,
            additional_response_information=information,
            itt=request.itt,
            stat_sn=connection.take_stat_sn(),
            exp_cmd_sn=session.exp_cmd_sn,
            max_cmd_sn=session.max_cmd_sn,
        )
        connection.send_numbered(pdu.stat_sn, pdu.pack())

    # One task

    def _abort_task(self, request: TaskManagementRequest) -> None:
        session = self._session
        if request.referenced_task_tag in session.requests:
            self._answer(request, TMF_FUNCTION_REJECTED)  # §11.5.1: not to be executed on such a request
            return
        task = session.recovery.task(request.referenced_task_tag)
        if task is not None and task.lun == request.lun:
            if task.state == DONE:
                self._abort_answered(request)
                return
            session.abort(task)
            # One task: its initiator has ended it for itself, so no data has to be waited for (§4.2.3.3 is
            # for sets).
            session.wait_for(
                [task],
                lambda: self._answer(request, TMF_FUNCTION_COMPLETE),
                transfers_until=session.now,
            )
            session.end_lingering()
            return
        # §11.6.1 b and c: not received yet, but inside of the window: it counts as received from now on.
        ahead = (request.ref_cmd_sn - session.exp_cmd_sn) & MASK
        window = (session.max_cmd_sn - session.exp_cmd_sn + 1) & MASK
        before = (request.cmd_sn - request.ref_cmd_sn - 1) & MASK < HALF - 1
        if task is None and ahead < window and before:
            session.order.plug(request.ref_cmd_sn)
            self._answer(request, TMF_FUNCTION_COMPLETE)
            session.order.release()
        else:
            self._answer(request, TMF_TASK_DOES_NOT_EXIST)

    def _abort_answered(self, request: TaskManagementRequest) -> None:
        """The status was sent, and perhaps lost with its connection: then it comes again first (§11.5.1)."""
        session = self._session
        tag = request.referenced_task_tag
        if session.recovery.may_reassign(tag) != TMF_FUNCTION_COMPLETE:
            self._answer(request, TMF_TASK_DOES_NOT_EXIST)
            return
        session.recovery.reassign(tag, self._connection, 0)
        self._answer(request, TMF_FUNCTION_COMPLETE)

    def _query_task(self, request: TaskManagementRequest) -> None:
        """RFC 7144 §6.4.2."""
        session = self._session
        if request.referenced_task_tag in session.requests:
            self._answer(request, TMF_FUNCTION_REJECTED)
            return

        def look() -> None:
            task = session.tasks.get(request.referenced_task_tag)
            there = task is not None and task.lun == request.lun and task.state != ABORTED
            self._answer(request, TMF_FUNCTION_SUCCEEDED if there else TMF_FUNCTION_COMPLETE)

        # A command that waits for an earlier one is not in the task set yet, but it will be.
        session.order.when_received(request.cmd_sn, self._connection, look)

    def _reassign(self, request: TaskManagementRequest) -> None:
        recovery = self._session.recovery
        tag = request.referenced_task_tag
        if tag in self._session.requests or not request.immediate:
            # §11.5.1: not for task management, text and logout; and always immediate
            response = TMF_FUNCTION_REJECTED if recovery.enabled else recovery.may_reassign(tag)
        else:
            response = recovery.may_reassign(tag)
        task = recovery.task(tag)
        if response == TMF_TASK_DOES_NOT_EXIST and task is not None and task.with_unit:
            # It has ended and may still write: who hears that it is not there sends it again, or another.
            self._session.wait_for([task], lambda: self._answer(request, response), transfers_until=None)
            return
        self._answer(request, response)
        if response == TMF_FUNCTION_COMPLETE:
            recovery.reassign(tag, self._connection, request.exp_data_sn)

    # Task sets

    def _unit_is_there(self, request: TaskManagementRequest) -> bool:
        if request.lun in self._session.nexus.units:
            return True
        self._answer(request, TMF_LUN_DOES_NOT_EXIST)
        return False

    def _query_task_set(self, request: TaskManagementRequest) -> None:
        if not self._unit_is_there(request):
            return

        def look() -> None:
            there = any(task.state != ABORTED for task in self._session.tasks_of(request.lun))
            self._answer(request, TMF_FUNCTION_SUCCEEDED if there else TMF_FUNCTION_COMPLETE)

        self._session.order.when_received(request.cmd_sn, self._connection, look)

    def _query_event(self, request: TaskManagementRequest) -> None:
        """The additional response information is as SAM-5 §7.9 has it: depth, sense key, ASC, ASCQ."""
        if not self._unit_is_there(request):
            return
        pending = self._session.nexus.pending_attention(request.lun)
        if pending is None:
            self._answer(request, TMF_FUNCTION_COMPLETE)
        else:
            depth, key, asc, ascq = pending
            many = 1 if depth == 1 else 2  # UADE DEPTH: one, or more than one
            self._answer(request, TMF_FUNCTION_SUCCEEDED, many << 20 | key << 16 | asc << 8 | ascq)

    def _task_set(self, request: TaskManagementRequest) -> None:
        if request.function in UNIT_SCOPE and not self._unit_is_there(request):
            return
        TaskSetFunction(self._connection, request, lambda lun: self._fence(request, lun)).start()

    def _fence(self, request: TaskManagementRequest, lun: int | None) -> None:
        # §4.2.3.3 d, §4.2.3.4 e: no answer to an affected task may come after this one, on any connection.
        self._session.fence.send(self._connection, lun, lambda: self._finish(request))

    def _finish(self, request: TaskManagementRequest) -> None:
        session = self._session
        self._answer(request, TMF_FUNCTION_COMPLETE)
        if request.function == TMF_TARGET_COLD_RESET:  # §11.5.1: as if powered on, all connections end
            for other in list(session.nexus.all_sessions()):
                other.close("a target cold reset")
            session.close("a target cold reset")
        elif (
            request.function == opcodes.TMF_I_T_NEXUS_RESET
        ):  # RFC 7144 §6.3: all connections of this session
            session.close("an I_T nexus reset")
