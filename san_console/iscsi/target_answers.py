"""The answers to the SCSI tasks of one connection: at once, after a fence, or when it takes them up.

How they look on the wire is the business of `target_data_in`.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from san_console.iscsi.target_data_in import Responses
from san_console.iscsi.target_device import Buffer
from san_console.iscsi.target_task import ANSWERED, DONE, TargetTask

if TYPE_CHECKING:
    from san_console.iscsi.target_connection import TargetConnection

MASK = 0xFFFFFFFF
CHECK_CONDITION = 0x02


class Answers:
    """What becomes of the results of tasks with allegiance to one connection."""

    def __init__(self, connection: TargetConnection, responses: Responses, *, keeps_data: bool) -> None:
        self._connection = connection
        self._session = connection.session
        self._responses = responses
        self._keeps_data = keeps_data
        self._unacknowledged: deque[tuple[int, TargetTask]] = deque()

    def send_status(self, task: TargetTask, status: int, data: Buffer, sense: bytes) -> None:
        """The task ends with this status, `data` first."""
        if task.state == ANSWERED:
            return  # it waits already
        session = self._session
        if self._connection.suspended:
            session.recovery.park(task, status, data, sense)
        elif task.fenced or session.fence.alert:
            session.recovery.park(task, status, data, sense)
            self._in_order(task, status)
            # What waits for an acknowledgment must not be what keeps it from being taken in.
            session.release_read(task)
        else:
            self._send(task, status, data, sense)

    def _in_order(self, task: TargetTask, status: int) -> None:
        """Send the parked answer now, or when fences allow it (RFC 7143 §4.2.2.3)."""
        fence = self._session.fence

        def send() -> None:
            # It may have been aborted since, or its connection may be gone.
            if task.state == ANSWERED and task.result is not None and not self._connection.suspended:
                self._send(task, *task.result)

        if task.fenced:
            fence.send(self._connection, task.lun, send)
        elif not fence.hold(self._connection, task.lun, status == CHECK_CONDITION, send):
            send()

    def _send(self, task: TargetTask, status: int, data: Buffer, sense: bytes) -> None:
        session = self._session
        session.answered(task)
        self.count(task, status, data)
        if self._keeps_data:
            data = bytes(data)  # its memory may be used again before the initiator has acknowledged it
        self._responses.respond(
            task.itt, task.flags, task.edtl, task.wanted_bytes, status, data, sense, task.lun, task
        )
        self._keep(task, (status, data, sense))

    def count(self, task: TargetTask, status: int, data: Buffer) -> None:
        """The task has ended."""
        counters = self._session.counters
        if status == CHECK_CONDITION:
            counters.errors += 1
        elif task.write:
            counters.writes += 1
            counters.write_bytes += task.transfer_bytes or task.wanted_bytes
        elif data:
            counters.reads += 1
            counters.read_bytes += min(len(data), task.edtl)

    def send_aborted(self, task: TargetTask, status: int) -> None:
        """Another initiator has aborted the task: it ends with `status` (TASK ABORTED) and no data."""
        connection, fence = self._connection, self._session.fence

        def send() -> None:
            if connection.suspended or connection.closing:
                return
            task.state = DONE
            self._responses.respond(task.itt, task.flags, task.edtl, 0, status, b"", b"", task.lun, task)
            self._keep(task, (status, b"", b""))

        if not fence.alert or not fence.hold(connection, task.lun, False, send):
            send()

    # Error recovery level 2

    def _keep(self, task: TargetTask, result: tuple[int, Buffer, bytes]) -> None:
        """Until it is acknowledged, the answer may have to be sent again on another connection (§7.2.2)."""
        recovery = self._session.recovery
        if recovery.enabled:
            task.result = result
            recovery.retain(task)
            self._unacknowledged.append(((self._connection.stat_sn - 1) & MASK, task))

    def resume(self, task: TargetTask, exp_data_sn: int) -> None:
        """The task was reassigned to this connection with its result: send what is missing of it."""
        assert task.result is not None
        self._responses.resume(task, exp_data_sn)
        self._keep(task, task.result)

    def acknowledged(self, old: int, exp_stat_sn: int) -> None:
        """The initiator has all status from `old` up to, not including, `exp_stat_sn`."""
        waiting = self._unacknowledged
        while waiting and (waiting[0][0] - old) & MASK < (exp_stat_sn - old) & MASK:
            self._session.recovery.acknowledged(waiting.popleft()[1])
