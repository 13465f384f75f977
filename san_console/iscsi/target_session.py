"""The full feature phase of a target session: command window, tasks, and the connections it owns (RFC 7143
§4.2, §6).

Sans-I/O. Connections hand commands over in the order of their PDUs; the session puts them into the order
of CmdSN, holds back what came too early, and knows every task by its Initiator Task Tag.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from san_console.iscsi.errors import RemoteProtocolError
from san_console.iscsi.negotiation import OperationalParameters
from san_console.iscsi.opcodes import RESERVED_TAG
from san_console.iscsi.target_abort import AbortWait
from san_console.iscsi.target_device import Nexus
from san_console.iscsi.target_task import ABORTED, RUNNING, TargetTask

if TYPE_CHECKING:
    from san_console.iscsi.target_connection import TargetConnection

MASK = 0xFFFFFFFF
HALF = 0x80000000
DEFAULT_COMMAND_WINDOW = 128
MAX_HELD_BYTES = 8 << 20  # immediate data that waits for a missing CmdSN; beyond, the peer is not worth it
# Buffers of writes in transfer, per session; more writes wait for their first R2T.
MAX_TRANSFER_BYTES = 64 << 20
MAX_PENDING_READ_BYTES = 32 << 20  # reads that run or wait to be sent; beyond, no more commands are taken in
MAX_IMMEDIATE_TASKS = 16  # RFC 7143 §4.2.2.1 wants at least one TMF and one other per connection


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


@dataclass(slots=True)
class HeldCommand:
    """A command PDU that came before an earlier CmdSN: copied, since its view would not last."""

    connection: TargetConnection
    opcode: int
    bhs: bytes
    ahs: bytes
    data: bytes


class TargetSession:
    """An I_T nexus after login. `exp_cmd_sn` is the CmdSN that the next non-immediate command must have."""

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
        self.tasks: dict[int, TargetTask] = {}
        self.active_commands = 0
        self.immediate_tasks = 0
        self.pending_read_bytes = 0
        self.connections: dict[int, TargetConnection] = {}
        self.held: dict[int, HeldCommand | None] = {}
        self.counters = TargetCounters()
        self.terminated = False
        self.now = 0.0
        self._held_bytes = 0
        self._transfer_bytes = 0
        self._transfer_queue: deque[TargetTask] = deque()
        self._waits: list[AbortWait] = []
        self._order_waits: list[tuple[int, Callable[[], None]]] = []
        self._next_ttt = 0

    def new_ttt(self) -> int:
        """A Target Transfer Tag that is in no use (RFC 7143 §11.7.4: never ffffffff)."""
        self._next_ttt = (self._next_ttt + 1) % RESERVED_TAG
        return self._next_ttt

    # Command order

    def admit(self, cmd_sn: int) -> bool:
        """True when a non-immediate command with `cmd_sn` is the next one; it is then counted as received."""
        if cmd_sn != self.exp_cmd_sn or self.max_cmd_sn == (cmd_sn - 1) & MASK:
            return False
        self.exp_cmd_sn = (cmd_sn + 1) & MASK
        return True

    def hold(self, cmd_sn: int, command: HeldCommand) -> None:
        """Keep a command for its turn. Outside of the window, or a duplicate: silently ignored (§4.2.2.1)."""
        ahead = (cmd_sn - self.exp_cmd_sn) & MASK
        window = (self.max_cmd_sn - self.exp_cmd_sn + 1) & MASK
        if not 0 < ahead < window <= HALF or cmd_sn in self.held:
            return
        self._held_bytes += len(command.data)
        if self._held_bytes > MAX_HELD_BYTES:
            raise RemoteProtocolError(
                f"{self._held_bytes} bytes of data wait for CmdSN {self.exp_cmd_sn}, which does not come"
            )
        self.held[cmd_sn] = command

    def plug(self, cmd_sn: int) -> None:
        """Treat `cmd_sn`, if it has not been executed yet, as received (§11.6.1 case b)."""
        if (cmd_sn - self.exp_cmd_sn) & MASK < HALF:
            dropped = self.held.get(cmd_sn)
            if dropped is not None:
                self._held_bytes -= len(dropped.data)
            self.held[cmd_sn] = None

    def release_held(self) -> None:
        """Execute what was held back, as far as the order is complete again."""
        while self.exp_cmd_sn in self.held:
            cmd_sn = self.exp_cmd_sn
            command = self.held.pop(cmd_sn)
            if command is None:
                self.exp_cmd_sn = (cmd_sn + 1) & MASK
                self.max_cmd_sn = (self.max_cmd_sn + 1) & MASK
                continue
            self._held_bytes -= len(command.data)
            if not command.connection.closing:
                command.connection.replay(command)
            if self.exp_cmd_sn == cmd_sn:  # its handler refused it: the gap stays (RFC 7143 §7.3)
                break
        for entry in self._order_waits[:]:
            if (self.exp_cmd_sn - entry[0]) & MASK < HALF:
                self._order_waits.remove(entry)
                entry[1]()

    def when_received(self, cmd_sn: int, then: Callable[[], None]) -> None:
        """Call `then` once all commands before `cmd_sn` were received."""
        if (self.exp_cmd_sn - cmd_sn) & MASK < HALF:
            then()
        else:
            self._order_waits.append((cmd_sn, then))

    def command_done(self) -> None:
        """A non-immediate command that is no task has been answered: its place in the window is free
        again.
        """
        self.max_cmd_sn = (self.max_cmd_sn + 1) & MASK

    @property
    def pending_functions(self) -> int:
        """Task management functions and logouts that wait for something."""
        return len(self._waits) + len(self._order_waits)

    # Tasks

    def add_task(self, task: TargetTask) -> None:
        """From now on the task is known by its ITT."""
        self.tasks[task.itt] = task
        if task.read:
            self.pending_read_bytes += task.edtl
        if task.immediate:
            self.immediate_tasks += 1
        else:
            self.active_commands += 1

    def task_gone(self, task: TargetTask) -> None:
        """The task has ended, or its abort is complete."""
        if self.tasks.get(task.itt) is not task:
            return
        del self.tasks[task.itt]
        if task.read:
            self.pending_read_bytes -= task.edtl
        if task.immediate:
            self.immediate_tasks -= 1
        else:
            self.active_commands -= 1
            self.max_cmd_sn = (self.max_cmd_sn + 1) & MASK
        task.unsolicited_open = False
        task.solicited.clear()
        if task in self._transfer_queue:
            self._transfer_queue.remove(task)
        if task.reserved_bytes:
            self._transfer_bytes -= task.reserved_bytes
            task.reserved_bytes = 0
            while self._transfer_queue and self.reserve_transfer(self._transfer_queue[0]):
                waiting = self._transfer_queue.popleft()
                waiting.connection.transfers.solicit(waiting)
        for wait in self._waits[:]:
            wait.gone(task)
        if task.on_gone is not None:
            task.on_gone()

    def reserve_transfer(self, task: TargetTask) -> bool:
        """Give the task the buffer for solicited data; False when others have to finish first."""
        if self._transfer_bytes and self._transfer_bytes + task.transfer_bytes > MAX_TRANSFER_BYTES:
            return False
        self._transfer_bytes += task.transfer_bytes
        task.reserved_bytes = task.transfer_bytes
        task.grow_data_out()
        return True

    def queue_transfer(self, task: TargetTask) -> None:
        """The task waits for memory; `solicit` is called for it later."""
        if task not in self._transfer_queue:
            self._transfer_queue.append(task)

    @property
    def reads_full(self) -> bool:
        """True when the reads that are under way hold as much memory as one session may have."""
        return self.pending_read_bytes > MAX_PENDING_READ_BYTES

    @property
    def straight(self) -> bool:
        """True when no command waits for an earlier CmdSN, and the window is open: commands may run as
        they come.
        """
        return not (self.held or self._order_waits) and self.active_commands < self.command_window

    def abort(self, task: TargetTask) -> None:
        """No status will be sent. Data on its way is dropped; what the logical unit has begun, it
        finishes.
        """
        if task.state == ABORTED:
            return
        running = task.state == RUNNING
        self.counters.aborted_tasks += 1
        task.state = ABORTED
        task.result = None
        if not running and not task.transfer_open:
            self.task_gone(task)

    def tasks_of(self, lun: int) -> list[TargetTask]:
        """The tasks of the I_T_L nexus, aborted ones that still linger too."""
        return [task for task in self.tasks.values() if task.lun == lun]

    def wait_for(
        self, tasks: Iterable[TargetTask], then: Callable[[], None], *, transfers_until: float | None
    ) -> None:
        """Call `then` when all `tasks` are gone. Data still on its way is waited for until
        `transfers_until` at most.
        """
        here = [task for task in tasks if self.tasks.get(task.itt) is task]
        wait = AbortWait(here, then, transfers_until)
        if wait.complete:
            then()
        else:
            self._waits.append(wait)
            wait.on_complete = lambda: self._waits.remove(wait)

    def terminate(self) -> None:
        """The session is over: its tasks end without an answer (RFC 7143 §7.6)."""
        self.terminated = True
        self.held.clear()
        self._order_waits.clear()
        for task in list(self.tasks.values()):
            self.abort(task)
            if task.transfer_open:
                self.task_gone(task)
        self._transfer_queue.clear()

    @property
    def quiet(self) -> bool:
        """True when no logical unit works for this session any more."""
        return not self.tasks

    # Time

    def tick(self, now: float) -> None:
        """Deadlines of aborts."""
        self.now = now
        for wait in self._waits[:]:
            if wait.transfers_until is not None and now >= wait.transfers_until:
                for task in wait.lingering():
                    self.task_gone(task)

    def next_deadline(self) -> float | None:
        """When `tick` has something to do next."""
        return min((w.transfers_until for w in self._waits if w.transfers_until is not None), default=None)
