"""The full feature phase of a target session: command window, tasks, and the connections it owns (RFC 7143
§4.2, §6).

Sans-I/O. Connections hand commands over in the order of their PDUs; the session puts them into the order
of CmdSN, and knows every task by its Initiator Task Tag. What needs state of its own is in objects that the
session owns: the order of commands, waiting for aborts, lost connections, response fences, messages.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from san_console.iscsi.negotiation import OperationalParameters
from san_console.iscsi.opcodes import RESERVED_TAG
from san_console.iscsi.target_abort import AbortWaits
from san_console.iscsi.target_async import AsyncMessages
from san_console.iscsi.target_command_order import CommandOrder
from san_console.iscsi.target_device import Nexus
from san_console.iscsi.target_fence import ResponseFence
from san_console.iscsi.target_recovery import ConnectionRecovery
from san_console.iscsi.target_task import ABORTED, DONE, RUNNING, TargetTask
from san_console.iscsi.target_transfer_memory import TransferMemory

if TYPE_CHECKING:
    from san_console.iscsi.target_connection import TargetConnection

MASK = 0xFFFFFFFF
DEFAULT_COMMAND_WINDOW = 128
MAX_PENDING_READ_BYTES = 32 << 20  # reads that run or wait to be sent; beyond, no more commands are taken in
MAX_IMMEDIATE_TASKS = 16  # per connection; RFC 7143 §4.2.2.1 wants one TMF and one other at least
TASK_ABORTED = 0x40  # SAM-5 §5.3.1
LINGER_S = 30.0  # how long data of tasks that others have aborted is swallowed before its tags are forgotten


@dataclass(slots=True)
class TargetCounters:
    """What a session has done since its login."""

    commands: int = 0
    reads: int = 0
    writes: int = 0
    read_bytes: int = 0
    write_bytes: int = 0
    errors: int = 0
    rejects: int = 0
    digest_errors: int = 0
    aborted_tasks: int = 0


def _nothing() -> None:
    """Nobody waits for it."""


def _nobody(_: TargetConnection, __: str) -> None:
    """The shell has not attached yet."""


class TargetSession:
    """An I_T nexus after login. `exp_cmd_sn` is the CmdSN that the next non-immediate command must have.

    `on_close_connection(connection, reason)` is called when the protocol wants the socket of a connection
    closed, after its output has left. Whoever owns the sockets calls `connection_lost` for every one that has
    gone, and looks at `may_continue` then and after each `tick`: when it is False, the session is over.
    """

    def __init__(
        self,
        nexus: Nexus,
        parameters: OperationalParameters,
        *,
        initiator_name: str,
        isid: bytes,
        tsih: int,
        exp_cmd_sn: int,
        discovery: bool = False,
        command_window: int = DEFAULT_COMMAND_WINDOW,
    ) -> None:
        self.nexus = nexus
        self.parameters = parameters
        self.initiator_name = initiator_name
        self.isid = isid
        self.tsih = tsih
        self.discovery = discovery
        self.command_window = command_window
        self.exp_cmd_sn = exp_cmd_sn
        self.max_cmd_sn = (exp_cmd_sn + command_window - 1) & MASK
        self.fast_abort = parameters.task_reporting == "FastAbort"
        self.tasks: dict[int, TargetTask] = {}
        self.active_commands = 0
        self.pending_read_bytes = 0
        self.connections: dict[int, TargetConnection] = {}
        self.requests: dict[int, TargetConnection] = {}
        """Requests that wait for their answer and are no SCSI tasks (TMF, Text, Logout), by ITT."""
        self.counters = TargetCounters()
        self.terminated = False
        self.now = 0.0
        self.on_close_connection: Callable[[TargetConnection, str], None] = _nobody
        self.plain = True
        """True when no command waits for an earlier CmdSN, no fence is up, and the window does not shrink;
        kept up to date by `refresh`, for the sake of the fast path.
        """
        self.order = CommandOrder(self)
        self.aborts = AbortWaits()
        self.recovery = ConnectionRecovery(self)
        self.fence = ResponseFence(self)
        self.asyncs = AsyncMessages(self)
        self._window_debt = 0
        self._transfer_memory = TransferMemory()
        self.reserve_transfer = self._transfer_memory.reserve
        self.queue_transfer = self._transfer_memory.queue
        self._next_ttt = 0

    def new_ttt(self) -> int:
        """A Target Transfer Tag that is in no use (RFC 7143 §11.7.4: never ffffffff)."""
        self._next_ttt = (self._next_ttt + 1) % RESERVED_TAG
        return self._next_ttt

    # The command window

    def admit(self, cmd_sn: int) -> bool:
        """True when a non-immediate command with `cmd_sn` is the next one; it is then counted as received."""
        if cmd_sn != self.exp_cmd_sn or self.max_cmd_sn == (cmd_sn - 1) & MASK:
            return False
        self.exp_cmd_sn = (cmd_sn + 1) & MASK
        return True

    def command_done(self) -> None:
        """A non-immediate command has ended: its place in the window is free again.

        Unless the window was made smaller: MaxCmdSN never goes back (§4.2.2.1), it only stays.
        """
        if self._window_debt:
            self._window_debt -= 1
            self.refresh()
        else:
            self.max_cmd_sn = (self.max_cmd_sn + 1) & MASK

    def set_command_window(self, commands: int) -> None:
        """From now on let `commands` (1 or more) commands be under way."""
        grow = commands - self.command_window - self._window_debt
        self.command_window = commands
        self._window_debt = max(-grow, 0)
        self.max_cmd_sn = (self.max_cmd_sn + max(grow, 0)) & MASK
        self.refresh()

    def refresh(self) -> None:
        """Something that `plain` depends on has changed."""
        self.plain = self.order.empty and not self.fence.busy and not self._window_debt

    @property
    def straight(self) -> bool:
        """True when no command waits for an earlier CmdSN, the window is open, and answers need no order:
        commands may run as they come.
        """
        return self.plain and self.active_commands < self.command_window

    @property
    def reads_full(self) -> bool:
        """True when the reads that are under way hold as much memory as one session may have."""
        return self.pending_read_bytes > MAX_PENDING_READ_BYTES

    # Tasks

    def add_task(self, task: TargetTask) -> None:
        """From now on the task is known by its ITT."""
        self.tasks[task.itt] = task
        if task.read:
            task.pending_read_bytes = task.edtl
            self.pending_read_bytes += task.edtl
        if task.immediate:
            task.connection.immediate_tasks += 1
        else:
            self.active_commands += 1

    def task_gone(self, task: TargetTask) -> None:
        """The task has ended, or its abort is complete."""
        if self.tasks.get(task.itt) is not task or task.with_unit:
            return
        del self.tasks[task.itt]
        if task.pending_read_bytes:
            self.release_read(task)
        if task.immediate:
            task.connection.immediate_tasks -= 1
        else:
            self.active_commands -= 1
            self.command_done()
        task.unsolicited_open = False
        task.solicited.clear()
        self._transfer_memory.release(task)
        if task.reports_abort:
            task.reports_abort = False
            task.connection.answers.send_aborted(task, TASK_ABORTED)
        self.aborts.gone(task)
        task.leave_unit()

    def release_read(self, task: TargetTask) -> None:
        """The task needs no memory for its read any more, or waits for its reassignment with it."""
        full = self.reads_full
        self.pending_read_bytes -= task.pending_read_bytes
        task.pending_read_bytes = 0
        if full and not self.reads_full:
            self.order.resume()
            # Whoever paused for it has nothing to send perhaps: somebody else may have aborted the reads.
            for connection in self.connections.values():
                connection.wake()

    def answered(self, task: TargetTask) -> None:
        """The task's status is about to be sent."""
        task.state = DONE
        self.task_gone(task)

    def tasks_of(self, lun: int) -> list[TargetTask]:
        """The tasks of the I_T_L nexus, aborted ones that still linger too."""
        return [task for task in self.tasks.values() if task.lun == lun]

    def tasks_on(self, connection: TargetConnection) -> list[TargetTask]:
        """The tasks with allegiance to the connection."""
        return [task for task in self.tasks.values() if task.connection is connection]

    # Aborts

    def abort(self, task: TargetTask, *, report: bool = False) -> None:
        """End the task. Data on its way is dropped; what the logical unit has begun, it finishes.

        No status will be sent, or, with `report`, TASK ABORTED.
        """
        if task.state != ABORTED:
            running = task.state == RUNNING
            self.counters.aborted_tasks += 1
            task.state = ABORTED
            task.with_unit = running
            task.result = None
            task.reports_abort = report
        elif not report:  # now its own initiator ends it: nothing may come after the answer to that
            task.reports_abort = False
        if task.lingering and (not task.transfer_open or task.connection.suspended):
            self.task_gone(task)
        elif task.lingering:
            task.leave_unit()  # only data is waited for, to be dropped: no other command has to wait for that
        elif task.on_abort is not None:
            task.on_abort()

    def abort_set(
        self,
        lun: int,
        *,
        report: bool,
        then: Callable[[], None] = _nothing,
        but: TargetTask | None = None,
    ) -> None:
        """Abort all tasks for the raw LUN field `lun`, except `but`, on behalf of another nexus.

        `report`: they end in TASK ABORTED status (TAS of the Control mode page). `then` is called when the
        logical unit has finished with the last of them; data that is still on its way to them is dropped
        (§4.2.3.3 a, §4.2.3.4 c).
        """
        here = [task for task in self.tasks_of(lun) if task is not but]
        tasks = [task for task in here if task.state != ABORTED]
        # What was aborted before and is still with the unit may write as late as the others.
        running = [task for task in here if task.state == RUNNING or task.with_unit]
        if self.fast_abort:
            for connection in self.connections.values():
                if any(task.connection is connection for task in tasks):
                    self.asyncs.tell_of_termination(connection, lun)
        for task in tasks:
            self.abort(task, report=report)
        self.linger(tasks)
        if tasks and not report:
            self.fence.expect({lun})
        self.wait_for(running, then, transfers_until=None)

    def linger(self, tasks: Iterable[TargetTask]) -> None:
        """Let data on its way to these aborted tasks be swallowed for a while."""
        self.wait_for(tasks, _nothing, transfers_until=self.now + LINGER_S)

    def wait_for(
        self, tasks: Iterable[TargetTask], then: Callable[[], None], *, transfers_until: float | None
    ) -> None:
        """Call `then` when all `tasks` are gone. Data still on its way is waited for until
        `transfers_until` at most.
        """
        here = [task for task in tasks if self.tasks.get(task.itt) is task]
        self.aborts.add(here, then, transfers_until=transfers_until)

    # Connections

    def attach(self, connection: TargetConnection) -> None:
        """A connection has entered the full feature phase."""
        self.connections[connection.cid] = connection

    def connection_lost(self, connection: TargetConnection, now: float) -> None:
        """The socket of the connection is gone. Harmless after a logout, or when it was told before."""
        self.now = now
        connection.closed = True
        if self.recovery.connection_lost(connection, now):
            self.connection_gone(connection)
            self.asyncs.tell_of_drop(connection)
        self.end_when_over()

    def leaving(self, cid: int) -> TargetConnection | None:
        """The connection that a login with `cid` takes the place of: working, waiting for its cleanup, or
        gone, with commands that a logical unit has not finished.
        """
        lost = self.recovery.find(cid)
        unfinished = (task.connection for task in self.tasks.values() if task.connection.cid == cid)
        return (
            self.connections.get(cid)
            or (lost.connection if lost is not None else None)
            or next(unfinished, None)
        )

    def connection_gone(self, connection: TargetConnection) -> None:
        """Forget what waits for something from the connection."""
        self.asyncs.connection_gone(connection)
        self.requests = {itt: one for itt, one in self.requests.items() if one is not connection}

    def reinstate(self, cid: int) -> None:
        """A login has taken over `cid`: the old connection is logged out implicitly (§6.3.4)."""
        connection = self.recovery.reinstate(cid, self.now)
        if connection is not None:
            self.connection_gone(connection)
            connection.close("the initiator has reinstated the connection")

    @property
    def may_continue(self) -> bool:
        """True while the session has a connection, or waits to be continued (§6.3.6)."""
        return not self.terminated and bool(self.connections or self.recovery.waiting)

    def end_when_over(self) -> None:
        """Terminate the session when its last connection has gone and none is waited for (§6.3.5)."""
        if not self.terminated and not self.may_continue:
            self.terminate()

    def close(self, reason: str) -> None:
        """End the session, and have all its sockets closed when their output has left."""
        self.terminate()
        for connection in list(self.connections.values()):
            connection.close(reason)

    def terminate(self) -> None:
        """The session is over: its tasks end without an answer (RFC 7143 §7.6)."""
        self.terminated = True
        self.order.clear()
        self.fence.clear()
        self.recovery.clear()
        self.requests.clear()
        for task in list(self.tasks.values()):
            self.abort(task)
            task.reports_abort = False
            if task.lingering:
                self.task_gone(task)
        self._transfer_memory.clear()

    @property
    def quiet(self) -> bool:
        """True when no logical unit works for this session any more."""
        return not self.tasks

    # Messages

    def send_async(
        self,
        event: int,
        *,
        lun: int = 0,
        parameter1: int = 0,
        parameter2: int = 0,
        parameter3: int = 0,
        data: bytes = b"",
    ) -> bool:
        """Send an Asynchronous Message on one connection (§11.9); False when there is none."""
        return self.asyncs.send(
            event, lun=lun, parameter1=parameter1, parameter2=parameter2, parameter3=parameter3, data=data
        )

    # Time

    def end_lingering(self) -> None:
        """Wait no longer for data of tasks whose time is up."""
        for task in self.aborts.lingering(self.now):
            self.task_gone(task)

    def tick(self, now: float) -> None:
        """Deadlines of aborts, of lost connections, of logouts asked for, of gaps and of acknowledgments."""
        self.now = now
        self.end_lingering()
        if self.terminated:
            return
        self.order.resume()
        self.recovery.tick(now)
        self.asyncs.tick(now)
        for connection in self.fence.late(now):
            self.asyncs.drop_connection(connection, "the initiator does not acknowledge its answers")
        recovery_s = self.recovery.time2wait_s + self.recovery.time2retain_s
        if self.order.stuck(now, recovery_s):
            self.asyncs.drop_all(f"the command with CmdSN {self.exp_cmd_sn} did not come")
        self.end_when_over()

    def next_deadline(self) -> float | None:
        """When `tick` has something to do next."""
        owners = (self.aborts, self.recovery, self.asyncs, self.fence, self.order)
        return min((at for owner in owners if (at := owner.next_deadline()) is not None), default=None)
