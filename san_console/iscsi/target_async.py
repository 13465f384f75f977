"""Asynchronous messages of a target session (RFC 7143 §11.9), and the deadlines that they set."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from san_console.iscsi.errors import LocalProtocolError
from san_console.iscsi.opcodes import (
    ASYNC_CONNECTION_DROP,
    ASYNC_FAST_ABORT,
    ASYNC_LOGOUT_REQUEST,
    ASYNC_NEGOTIATION_REQUEST,
    ASYNC_SCSI_EVENT,
    ASYNC_SESSION_DROP,
)
from san_console.iscsi.pdu import AsyncMessage

if TYPE_CHECKING:
    from san_console.iscsi.target_connection import TargetConnection
    from san_console.iscsi.target_session import TargetSession

MASK = 0xFFFFFFFF
HALF = 0x80000000
_SENSE_LENGTH = struct.Struct(">H")


class AsyncMessages:
    """What a session tells its initiator without being asked."""

    def __init__(self, session: TargetSession) -> None:
        self._session = session
        self._logouts: dict[int, tuple[TargetConnection, float]] = {}
        self._terminations: list[tuple[TargetConnection, int, int]] = []

    def send(
        self,
        event: int,
        *,
        lun: int = 0,
        parameter1: int = 0,
        parameter2: int = 0,
        parameter3: int = 0,
        data: bytes = b"",
        connection: TargetConnection | None = None,
    ) -> bool:
        """Send one message, on `connection` or any that works; False when there is none.

        `data` is sense data for event 0, event data for others. Raises LocalProtocolError for event 5 on a
        session without FastAbort (§11.9.1).
        """
        session = self._session
        if event == ASYNC_FAST_ABORT and not session.fast_abort:
            raise LocalProtocolError("task termination is told only to sessions with TaskReporting=FastAbort")
        if connection is None:
            connection = next((one for one in session.connections.values() if not one.closing), None)
        if connection is None or connection.closing or connection.suspended:
            return False
        segment = b""
        if data:  # §11.9.4: the sense data with its length first, then what belongs to the event
            sense = data if event == ASYNC_SCSI_EVENT else b""
            segment = _SENSE_LENGTH.pack(len(sense)) + data
        message = AsyncMessage(
            lun=lun,
            stat_sn=connection.take_stat_sn(),
            exp_cmd_sn=session.exp_cmd_sn,
            max_cmd_sn=session.max_cmd_sn,
            async_event=event,
            parameter1=parameter1,
            parameter2=parameter2,
            parameter3=parameter3,
        )
        connection.send_numbered(message.stat_sn, message.pack(len(segment)), segment)
        return True

    # Logout, drop, negotiation

    def ask_for_logout(self, connection: TargetConnection, within_s: int) -> None:
        """Ask for a logout; a connection still there after `within_s` seconds is dropped (event 1)."""
        if self.send(ASYNC_LOGOUT_REQUEST, parameter3=within_s, connection=connection):
            self._logouts[id(connection)] = (connection, self._session.now + within_s)

    def drop_connection(self, connection: TargetConnection, reason: str) -> None:
        """Tell that the connection is dropped, and drop it (event 2); at level 2 its tasks are kept."""
        if all(one is connection or one.closing for one in self._session.connections.values()):
            self.tell_of_drop(connection, on=connection)  # else it is told on another one
        connection.close(reason)
        self._session.connection_lost(connection, self._session.now)

    def tell_of_drop(self, lost: TargetConnection, *, on: TargetConnection | None = None) -> None:
        """Tell, on a connection that still works, that `lost` is gone (§7.1.4.3)."""
        recovery = self._session.recovery
        self.send(
            ASYNC_CONNECTION_DROP,
            parameter1=lost.cid,
            parameter2=recovery.time2wait_s,
            parameter3=recovery.retain_s,
            connection=on,
        )

    def drop_all(self, reason: str) -> None:
        """Tell on every connection that the session is dropped, and end it (event 3)."""
        session = self._session
        for connection in list(session.connections.values()):
            # Time2Retain 0: nothing is kept, the initiator has to log in anew.
            self.send(ASYNC_SESSION_DROP, parameter2=session.recovery.time2wait_s, connection=connection)
        session.close(reason)

    def request_negotiation(self, connection: TargetConnection, within_s: int) -> None:
        """Ask for a Text Request on `connection`, in whose answer it declares what has changed (event 4)."""
        self.send(ASYNC_NEGOTIATION_REQUEST, parameter3=within_s, connection=connection)

    # Task termination (FastAbort)

    def tell_of_termination(self, connection: TargetConnection, lun: int) -> None:
        """Tell that all tasks of the unit end (event 5); their transfer tags stay valid until the initiator
        has acknowledged that (§4.2.3.4 c, g).
        """
        stat_sn = connection.stat_sn
        if self.send(ASYNC_FAST_ABORT, lun=lun, connection=connection):
            self._terminations.append((connection, lun, stat_sn))

    def acknowledged(self, connection: TargetConnection) -> None:
        """A NOP-Out has come: free the transfer tags of terminations that it acknowledges."""
        for entry in self._terminations[:]:
            if entry[0] is connection and (connection.exp_stat_sn - entry[2] - 1) & MASK < HALF:
                self._terminations.remove(entry)
                for task in self._session.tasks_of(entry[1]):
                    if task.connection is connection and task.lingering:
                        self._session.task_gone(task)

    @property
    def terminating(self) -> bool:
        """True while an acknowledgment of event 5 is outstanding."""
        return bool(self._terminations)

    # Time

    def connection_gone(self, connection: TargetConnection) -> None:
        """Nothing is expected from the connection any more."""
        self._logouts.pop(id(connection), None)
        self._terminations = [entry for entry in self._terminations if entry[0] is not connection]

    def tick(self, now: float) -> None:
        """Drop connections that have not logged out in time."""
        for connection, until in list(self._logouts.values()):
            if now >= until:
                del self._logouts[id(connection)]
                self.drop_connection(connection, "the initiator did not log out in time")

    def next_deadline(self) -> float | None:
        """When `tick` has something to do."""
        return min((until for _, until in self._logouts.values()), default=None)
