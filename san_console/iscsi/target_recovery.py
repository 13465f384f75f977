"""Lost connections of a session and what becomes of their tasks (RFC 7143 §6.3.4–§6.3.6, §7.1.4.3, §7.2.2,
§7.6).

At error recovery level 2 the tasks of a lost connection wait for TASK REASSIGN, for Time2Wait and Time2Retain
at most; and so does the session itself when that was its last connection. Below, they end at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from san_console.iscsi.opcodes import (
    TMF_FUNCTION_COMPLETE,
    TMF_REASSIGNMENT_NOT_SUPPORTED,
    TMF_TASK_DOES_NOT_EXIST,
    TMF_TASK_STILL_ALLEGIANT,
)
from san_console.iscsi.target_device import Buffer
from san_console.iscsi.target_task import ABORTED, ANSWERED, RUNNING, TRANSFERRING, TargetTask

if TYPE_CHECKING:
    from san_console.iscsi.target_connection import TargetConnection
    from san_console.iscsi.target_session import TargetSession

CHECK_CONDITION = 0x02
# Answers that an initiator has not acknowledged, kept for a reassignment. It acknowledges with every PDU
# that it sends: a full window of long reads fits, and more is an initiator that never does.
MAX_RETAINED_BYTES = 256 << 20
SOLICIT_BYTES = 32 << 20  # each time so much has piled up, a NOP-In asks for an acknowledgment (§7.1.4.2)


@dataclass(slots=True)
class LostConnection:
    """A connection in cleanup (§8.2) until the time `until`. `logged_out`: its tasks may be reassigned."""

    connection: TargetConnection
    until: float
    logged_out: bool


class ConnectionRecovery:
    """What one session keeps of connections that are gone."""

    def __init__(self, session: TargetSession) -> None:
        self._session = session
        parameters = session.parameters
        self.enabled = parameters.error_recovery_level == 2
        self.time2wait_s = parameters.default_time2wait_s
        self.time2retain_s = parameters.default_time2retain_s
        self._lost: list[LostConnection] = []
        self._retained: dict[int, TargetTask] = {}
        self._retained_bytes = 0

    @property
    def waiting(self) -> bool:
        """True when something of a lost connection can still be taken up again."""
        return self.enabled and bool(self._lost)

    @property
    def retain_s(self) -> int:
        """Time2Retain as it is for the tasks of a connection that goes now."""
        return self.time2retain_s if self.enabled else 0

    # The end of a connection

    def connection_lost(self, connection: TargetConnection, now: float) -> bool:
        """The transport is gone without a logout. False when that was known."""
        if self._session.connections.get(connection.cid) is not connection:
            return False
        self._remove(connection, now, keep=self.enabled, cleanup=True, logged_out=False)
        return True

    def log_out(self, connection: TargetConnection, now: float, *, keep: bool) -> None:
        """The connection has been logged out; with `keep`, for recovery (§11.14.1)."""
        self._remove(connection, now, keep=keep, cleanup=keep, logged_out=True)

    def _remove(
        self, connection: TargetConnection, now: float, *, keep: bool, cleanup: bool, logged_out: bool
    ) -> None:
        session = self._session
        keep = keep and self.time2retain_s > 0  # §13.16: 0 means that the state is discarded at once
        if session.connections.get(connection.cid) is connection:
            del session.connections[connection.cid]
        connection.suspended = True
        session.order.drop(connection)
        self._lost = [lost for lost in self._lost if lost.connection is not connection]
        if cleanup and self.time2retain_s:
            until = now + self.time2wait_s + self.time2retain_s
            self._lost.append(LostConnection(connection, until, logged_out))
        self.end_tasks(connection, immediate_only=keep)
        session.fence.connection_gone(connection)

    def end_tasks(self, connection: TargetConnection, *, immediate_only: bool = False) -> None:
        """End the tasks of the connection without an answer (§7.6), immediate ones in any case (§7.14).

        The initiator hears of it through a unit attention (§11.14.5), once nothing of them can be written any
        more: what it sends then, perhaps to the same blocks, comes after them.
        """
        session = self._session
        cleared: dict[int, list[TargetTask]] = {}
        for task in session.tasks_on(connection):
            if task.state == ABORTED:
                session.abort(task)  # no more data comes: only what runs is waited for
            elif task.immediate or not immediate_only:
                cleared.setdefault(task.lun, []).append(task)
                session.abort(task)
            else:
                # What waits here must not keep other connections from taking its reassignment in.
                session.release_read(task)
        if not immediate_only:
            for task in [task for task in self._retained.values() if task.connection is connection]:
                self._forget(task)
        for lun, tasks in cleared.items():
            session.wait_for(tasks, partial(session.nexus.commands_cleared, lun), transfers_until=None)

    def find(self, cid: int) -> LostConnection | None:
        """The connection with that CID that waits for its cleanup."""
        for lost in reversed(self._lost):
            if lost.connection.cid == cid and not lost.logged_out:
                return lost
        return None

    def reinstate(self, cid: int, now: float) -> TargetConnection | None:
        """The implicit logout of a CID by a login (§6.3.4). The connection that has to be closed, if any."""
        connection = self._session.connections.get(cid)
        lost = self.find(cid)
        if connection is not None:
            self.log_out(connection, now, keep=self.enabled)
        elif lost is not None:
            self.log_out(lost.connection, now, keep=self.enabled)
        return connection

    # What waits

    def park(self, task: TargetTask, status: int, data: Buffer, sense: bytes) -> None:
        """The logical unit has finished a task that has no connection: its answer waits."""
        task.state = ANSWERED
        task.result = (status, bytes(data), sense)
        # Commands that wait for this one, of other initiators too, must not wait for its connection.
        task.leave_unit()

    def retain(self, task: TargetTask) -> None:
        """The answer `task.result` was sent; keep it until it was acknowledged."""
        old = self._retained.get(task.itt)
        if old is not None:
            self._forget(old)
        self._retained[task.itt] = task
        before = self._retained_bytes
        self._retained_bytes += _size(task)
        if before // SOLICIT_BYTES < self._retained_bytes // SOLICIT_BYTES:
            task.connection.requests.probe()
        if self._retained_bytes > MAX_RETAINED_BYTES:
            # No exception: it is the backstore's thread of control that has come here as a rule.
            self._session.close(f"the initiator has not acknowledged {self._retained_bytes} bytes of answers")

    def acknowledged(self, task: TargetTask) -> None:
        """The answer to the task has arrived."""
        if self._retained.get(task.itt) is task:
            self._forget(task)

    def started(self, itt: int) -> None:
        """A new command uses the tag: the initiator has done with the old one."""
        old = self._retained.get(itt)
        if old is not None:
            self._forget(old)

    def _forget(self, task: TargetTask) -> None:
        del self._retained[task.itt]
        self._retained_bytes -= _size(task)
        task.result = None

    def task(self, itt: int) -> TargetTask | None:
        """The task with that tag that is in progress as the initiator sees it."""
        return self._session.tasks.get(itt) or self._retained.get(itt)

    # TASK REASSIGN

    def may_reassign(self, itt: int) -> int:
        """The response to a request for reassignment (§7.2.2)."""
        if not self.enabled:
            return TMF_REASSIGNMENT_NOT_SUPPORTED
        task = self.task(itt)
        if task is None or task.state == ABORTED:
            return TMF_TASK_DOES_NOT_EXIST
        if not self.unowned(task):
            return TMF_TASK_STILL_ALLEGIANT
        return TMF_FUNCTION_COMPLETE

    def unowned(self, task: TargetTask) -> bool:
        """True when the connection of the task was logged out for recovery."""
        return any(lost.connection is task.connection and lost.logged_out for lost in self._lost)

    def reassign(self, itt: int, connection: TargetConnection, exp_data_sn: int) -> None:
        """Go on with the task on `connection`, from what the initiator has (§11.5.6).

        To be called after the response was sent: the reassignment takes effect then (§7.2.2).
        """
        task = self.task(itt)
        assert task is not None
        task.connection = connection
        if task.state == TRANSFERRING and (task.failure or task.result is not None):
            # What was left of its data would only have been dropped.
            task.unsolicited_open = False
            task.solicited.clear()
            if task.result is None:
                task.result = (CHECK_CONDITION, b"", task.failure)
            task.state = ANSWERED
        if itt in self._retained:
            result = task.result
            self._forget(task)
            task.result = result
            connection.answers.resume(task, exp_data_sn)
        elif task.state == ANSWERED:
            self._session.answered(task)
            assert task.result is not None
            connection.answers.count(task, task.result[0], task.result[1])
            connection.answers.resume(task, exp_data_sn)
        elif task.state != RUNNING:
            connection.transfers.resume(task, exp_data_sn)

    # Time

    def tick(self, now: float) -> None:
        """Discard what nobody has taken up in time (§7.6 b, c; §8.2 M1)."""
        for lost in self._lost[:]:
            if now >= lost.until:
                self._lost.remove(lost)
                self.end_tasks(lost.connection)

    def next_deadline(self) -> float | None:
        """When `tick` has something to do."""
        return min((lost.until for lost in self._lost), default=None)

    def clear(self) -> None:
        """The session is over."""
        self._lost.clear()
        self._retained.clear()
        self._retained_bytes = 0


def _size(task: TargetTask) -> int:
    return len(task.result[1]) if task.result is not None else 0
