"""A logical unit of a target: a backstore with an identity, and the state that its I_T nexuses share.

What one session sees of it is in `unit_nexus`; the commands come from the table in `device_server`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from time import monotonic
from typing import TYPE_CHECKING, Any

from san_console.iscsi.target_task import TargetTask
from san_console.scsi.sense import DEVICE_RESET_OCCURRED, Condition
from san_console.scsi.transport_ids import NexusId
from san_console.target.backstore import Backstore
from san_console.target.check_condition import CheckCondition, medium_error
from san_console.target.config import LunConfig
from san_console.target.device_state import DeviceState
from san_console.target.range_lock import RangeLock
from san_console.target.reservations import Reservations
from san_console.target.task_set import TaskSet
from san_console.target.unit_nexus import Result as Result
from san_console.target.unit_nexus import UnitNexus as UnitNexus

if TYPE_CHECKING:
    from san_console.target.copy_commands import CopyRecord

ERROR_INTERVAL_S = 5.0  # a medium that is gone fails each command; the user is told once in a while
MAX_SEEN_PORTS = 1024  # libiscsi makes up a new ISID for each session: the oldest are forgotten


def _ignore(_: str) -> None:
    """Nobody listens to backstore errors."""


class LogicalUnit:
    """One LUN of a target: a backstore with an identity. `naa` is its 8-byte NAA designator.

    Who changes `backstore`, `blocks` or `offline` calls `refresh`.
    """

    def __init__(
        self,
        config: LunConfig,
        backstore: Backstore,
        *,
        target_name: str,
        tpgt: int,
        serial: str,
        naa: bytes,
        on_error: Callable[[str], None] = _ignore,
    ) -> None:
        self.config = config
        self.backstore = backstore
        self.target_name = target_name
        self.tpgt = tpgt
        self.serial = serial
        self.naa = naa
        self.block_bytes = backstore.block_bytes
        self.blocks = backstore.size_bytes // backstore.block_bytes
        self.offline = ""
        """Why no command reaches the medium; empty: the unit is online."""
        self.device = DeviceState(write_cache=backstore.write_cache)
        self.device.on_change = self.refresh
        self.nexuses: set[UnitNexus] = set()
        self.leaving: set[UnitNexus] = set()
        """Nexuses that are gone, with aborted commands that the backstore has not finished yet."""
        self.seen_ports: dict[NexusId, None] = {}
        """I_T nexuses that were there before: they get "nexus loss" where a new one gets "power on"."""
        self.ranges = RangeLock(self._gate)
        self.task_set = TaskSet(self._other_tasks, self._gate)
        self.reservations = Reservations(self)
        self.copies: set[CopyRecord] = set()
        """Copies that write to this unit, or that it was asked for."""
        self._on_error = on_error
        self._told_at = -ERROR_INTERVAL_S
        self._running: set[asyncio.Task[Any]] = set()

    # Nexuses

    def remember_port(self, port: NexusId) -> None:
        """An initiator port has logged in."""
        self.seen_ports.pop(port, None)
        self.seen_ports[port] = None
        if len(self.seen_ports) > MAX_SEEN_PORTS:
            del self.seen_ports[next(iter(self.seen_ports))]

    def attention(self, condition: Condition, *, but: UnitNexus | None = None) -> None:
        """Establish a unit attention for every nexus of the unit except `but`."""
        for nexus in self.nexuses:
            if nexus is not but:
                nexus.add_attention(condition)

    def refresh(self) -> None:
        """Something that decides what its nexuses may do has changed."""
        for nexus in self.nexuses:
            nexus.refresh()

    def reset(self) -> None:
        """A logical unit reset (SAM-5 §6.3.3); its tasks are gone already. Persistent reservations stay.
        Copies that go on in the background end, when the chunk that is with the medium has been written.
        """
        for copy in self.copies:
            copy.stopped = True
        self.reservations.reset()
        self.device.reset()
        self._restore_write_cache()
        self.attention(DEVICE_RESET_OCCURRED)

    def _restore_write_cache(self) -> None:
        wanted = self.device.default_mode.write_cache
        if self.backstore.write_cache == wanted:
            return
        self.backstore.write_cache = wanted
        self.refresh()
        if not wanted and not self.offline:
            self.run(self._flush())  # what was acknowledged before may still be in the cache

    async def _flush(self) -> None:
        try:
            await self.backstore.flush()
        except OSError as error:
            self.report_error(error, writing=True)

    # Order and exclusion

    @property
    def busy(self) -> bool:
        """True while commands may have to wait for others."""
        return self.ranges.busy or bool(self.task_set.barriers)

    def _gate(self) -> None:
        for nexus in self.nexuses:
            nexus.gate()

    def _other_tasks(self, but: object) -> Iterator[TargetTask]:
        for nexus in self.nexuses:
            if nexus is not but:
                yield from nexus.tasks()

    @asynccontextmanager
    async def exclusively(self, lba: int, blocks: int) -> AsyncIterator[None]:
        """Have a range of blocks alone: other commands that touch it have ended, or wait.

        Whoever wants a second range lets go of the first one before, else two could wait for each other.
        """
        hold = await self.ranges.acquire(lba, blocks, alone=True)
        try:
            yield
        finally:
            self.ranges.release(hold)

    # The backstore

    def tell(self, text: str) -> None:
        """Let the user know of something that went wrong."""
        self._on_error(text)

    def report_error(self, error: OSError, *, writing: bool) -> CheckCondition:
        """The backstore failed: tell the user, and give what the initiator hears."""
        verb = "written" if writing else "read"
        now = monotonic()
        if now - self._told_at < ERROR_INTERVAL_S:
            return medium_error(error, writing=writing, block_bytes=self.block_bytes)
        self._told_at = now
        self._on_error(f"LUN {self.config.name} could not be {verb}: {error.strerror or error}")
        return medium_error(error, writing=writing, block_bytes=self.block_bytes)

    def run(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Let a command run beside the loop; `close` waits for it."""
        task = asyncio.ensure_future(coroutine)
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    def join(self) -> None:
        """The command that runs now, of another unit perhaps, works on this one: `settle` waits for it."""
        task = asyncio.current_task()
        assert task is not None
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def settle(self) -> None:
        """Wait until no command is with the backstore; who calls this has seen to it that none begins."""
        while self._running:
            await asyncio.gather(*self._running, return_exceptions=True)

    async def close(self) -> None:
        """Wait for what still runs, make the data durable, let go of the backstore."""
        self.device.closing = True
        await self.settle()
        try:
            if not self.backstore.read_only and not self.backstore.failed:
                await self.backstore.flush()
        except OSError as error:
            self.report_error(error, writing=True)
        finally:
            self.backstore.close()
