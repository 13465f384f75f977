"""Memory for the data of writes in transfer, shared by the tasks of a session."""

from __future__ import annotations

from collections import deque

from san_console.iscsi.target_task import TargetTask

# Buffers of writes in transfer, per session; more writes wait for their first R2T.
MAX_TRANSFER_BYTES = 64 << 20


class TransferMemory:
    """Who has a buffer for solicited data, and who waits for one."""

    def __init__(self) -> None:
        self._used_bytes = 0
        self._waiting: deque[TargetTask] = deque()

    def reserve(self, task: TargetTask) -> bool:
        """Give the task the buffer for solicited data; False when others have to finish first."""
        if self._used_bytes and self._used_bytes + task.transfer_bytes > MAX_TRANSFER_BYTES:
            return False
        self._used_bytes += task.transfer_bytes
        task.reserved_bytes = task.transfer_bytes
        task.grow_data_out()
        return True

    def queue(self, task: TargetTask) -> None:
        """The task waits for memory; `solicit` is called for it later."""
        if task not in self._waiting:
            self._waiting.append(task)

    def release(self, task: TargetTask) -> None:
        """The task has ended, whether it waited, had a buffer, or neither."""
        if self._waiting and task in self._waiting:
            self._waiting.remove(task)
        if not task.reserved_bytes:
            return
        self._used_bytes -= task.reserved_bytes
        task.reserved_bytes = 0
        while self._waiting and self.reserve(self._waiting[0]):
            next_one = self._waiting.popleft()
            if not next_one.connection.suspended:  # else its reassignment asks for the data
                next_one.connection.transfers.solicit(next_one)

    def clear(self) -> None:
        """The session is over: nobody waits any more."""
        self._waiting.clear()
