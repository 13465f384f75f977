"""Logout at the target: of the session, of a connection, and of a connection for recovery (RFC 7143 §11.14,
§11.15).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from san_console.iscsi.framing import Frame
from san_console.iscsi.opcodes import (
    LOGOUT_CID_NOT_FOUND,
    LOGOUT_CLEANUP_FAILED,
    LOGOUT_CLOSE_CONNECTION,
    LOGOUT_CLOSE_SESSION,
    LOGOUT_DONE,
    LOGOUT_RECOVERY_NOT_SUPPORTED,
    LOGOUT_REMOVE_FOR_RECOVERY,
    REJECT_INVALID_PDU_FIELD,
    REJECT_TASK_IN_PROGRESS,
    RESERVED_TAG,
)
from san_console.iscsi.pdu import LogoutRequest, LogoutResponse
from san_console.iscsi.target_task import ABORTED, TargetTask

if TYPE_CHECKING:
    from san_console.iscsi.target_connection import TargetConnection

MASK = 0xFFFFFFFF
HALF = 0x80000000
CLEANUP_WAIT_S = 20.0
"""How long a logout waits for logical units that still work for the tasks it ends. Then it has failed
(§11.15.1, response 3), and the initiator may try again; most of them wait 30 s for the response."""


class Logouts:
    """The logouts that come in on one connection."""

    def __init__(self, connection: TargetConnection) -> None:
        self._connection = connection
        self._session = connection.session
        self._pending: tuple[LogoutRequest, list[TargetConnection], float] | None = None

    def receive(self, frame: Frame) -> None:
        """A Logout Request."""
        pdu = LogoutRequest.parse(frame.bhs)
        session, connection = self._session, self._connection
        if pdu.itt == RESERVED_TAG or pdu.reason not in _REASONS:
            connection.reject(REJECT_INVALID_PDU_FIELD, frame.bhs)
            return
        if self._pending is not None:
            return  # once is enough; it is being answered
        if pdu.itt in session.requests or pdu.itt in session.tasks:
            if pdu.immediate or (pdu.cmd_sn - session.exp_cmd_sn) & MASK < HALF:
                connection.reject(REJECT_TASK_IN_PROGRESS, frame.bhs)
            return
        if not connection.in_order(frame, pdu.cmd_sn):
            return
        if not pdu.immediate:
            session.command_done()
        if pdu.reason == LOGOUT_CLOSE_SESSION:
            self._end(pdu, list(session.connections.values()))
        elif pdu.reason == LOGOUT_REMOVE_FOR_RECOVERY and not session.recovery.enabled:
            self._respond(pdu, LOGOUT_RECOVERY_NOT_SUPPORTED)
        else:
            self._log_out_connection(pdu)

    def _log_out_connection(self, pdu: LogoutRequest) -> None:
        session = self._session
        leaving = session.leaving(pdu.cid)
        if leaving is None:
            self._respond(pdu, LOGOUT_CID_NOT_FOUND)
        else:
            self._end(pdu, [leaving])

    def _end(self, pdu: LogoutRequest, leaving: list[TargetConnection]) -> None:
        """End what is not kept; the response tells that this is done (§11.15.1). Data that is on its way does
        not matter any more.
        """
        session = self._session
        self._pending = (pdu, leaving, session.now + CLEANUP_WAIT_S)
        session.requests[pdu.itt] = self._connection
        tasks: list[TargetTask] = []
        for connection in leaving:
            connection.logging_out = True
            tasks += session.tasks_on(connection)
        if pdu.reason == LOGOUT_CLOSE_SESSION:
            tasks = list(session.tasks.values())  # those that wait for reassignment too
            for task in tasks:
                session.abort(task)
        elif pdu.reason == LOGOUT_CLOSE_CONNECTION:
            session.recovery.end_tasks(leaving[0])
        else:
            # Everything for its tasks is suspended from now on; they wait for their reassignment.
            session.recovery.log_out(leaving[0], session.now, keep=True)
            tasks = [task for task in tasks if task.state == ABORTED]
        session.wait_for(tasks, self._ended, transfers_until=session.now)
        session.end_lingering()

    def _ended(self) -> None:
        if self._pending is None:
            return  # too late: the response was that it has failed
        pdu, leaving, _ = self._pending
        session, connection = self._session, self._connection
        self._pending = None
        if session.terminated or connection.closed:
            for one in leaving:  # §8.2.2 M3: the logout has failed with the connection that it came on
                one.logging_out = False
            return
        self._respond(pdu, LOGOUT_DONE)
        if pdu.reason == LOGOUT_CLOSE_SESSION:
            session.close("logout")
            return
        for one in leaving:
            if pdu.reason == LOGOUT_CLOSE_CONNECTION:
                session.recovery.log_out(one, session.now, keep=False)
            session.connection_gone(one)
            one.close("logout")
        session.end_when_over()

    def tick(self, now: float) -> None:
        """Give up what takes too long."""
        if self._pending is not None and now >= self._pending[2]:
            pdu, leaving, _ = self._pending
            self._pending = None
            for connection in leaving:
                connection.logging_out = False
            self._respond(pdu, LOGOUT_CLEANUP_FAILED)

    def next_deadline(self) -> float | None:
        """When `tick` has something to do."""
        return self._pending[2] if self._pending is not None else None

    def _respond(self, pdu: LogoutRequest, response: int) -> None:
        session, connection = self._session, self._connection
        session.requests.pop(pdu.itt, None)
        answer = LogoutResponse(
            response=response,
            itt=pdu.itt,
            stat_sn=connection.take_stat_sn(),
            exp_cmd_sn=session.exp_cmd_sn,
            max_cmd_sn=session.max_cmd_sn,
            time2wait=session.recovery.time2wait_s,
            # Below level 2 nothing is kept; after the end of its tasks there is nothing to keep.
            time2retain=0 if pdu.reason != LOGOUT_REMOVE_FOR_RECOVERY else session.recovery.retain_s,
        )
        connection.send_numbered(answer.stat_sn, answer.pack())


_REASONS = frozenset({LOGOUT_CLOSE_SESSION, LOGOUT_CLOSE_CONNECTION, LOGOUT_REMOVE_FOR_RECOVERY})
