"""A logical unit, and what one session sees of it.

`LogicalUnit` belongs to the target; `UnitNexus` to one session: it has the unit attentions and the access
of that initiator, and it is what the iSCSI session calls. Commands come from the table in `device_server`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from contextlib import asynccontextmanager
from time import monotonic
from typing import TYPE_CHECKING, Any

from san_console.iscsi.target_device import Arena
from san_console.iscsi.target_task import TargetTask
from san_console.scsi import opcodes as op
from san_console.scsi.cdb_formats import FLAG_DPO, RW_10, RW_16
from san_console.scsi.sense import INTERNAL_TARGET_FAILURE, INVALID_OPCODE, Condition
from san_console.scsi.status import GOOD
from san_console.target.backstore import Backstore, Buffer
from san_console.target.check_condition import CheckCondition, medium_error
from san_console.target.config import LunConfig
from san_console.target.device_state import DeviceState

if TYPE_CHECKING:
    from san_console.target.device_server import Command

MAX_UNIT_ATTENTIONS = 16  # each kind is queued once; there are fewer kinds than this

ERROR_INTERVAL_S = 5.0  # a medium that is gone fails each command; the user is told once in a while
MAX_SEEN_PORTS = 1024  # libiscsi makes up a new ISID for each session: the oldest are forgotten

Result = Buffer | Coroutine[Any, Any, Buffer]


def _ignore(_: str) -> None:
    """Nobody listens to backstore errors."""


class LogicalUnit:
    """One LUN of a target: a backstore with an identity. `naa` is its 8-byte NAA designator."""

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
        self.device.on_change = self._refresh
        self.nexuses: set[UnitNexus] = set()
        self.seen_ports: dict[tuple[str, bytes], None] = {}
        """Initiator ports that were logged in before: they get "nexus loss" where a new one gets "power
        on".
        """
        self._on_error = on_error
        self._told_at = -ERROR_INTERVAL_S
        self._running: set[asyncio.Task[None]] = set()
        self._alone = asyncio.Lock()

    def _refresh(self) -> None:
        for nexus in self.nexuses:
            nexus.refresh()

    @asynccontextmanager
    async def exclusively(self, lba: int, blocks: int) -> AsyncIterator[None]:
        """The range for one command alone (SBC-3 §4.23: COMPARE AND WRITE and its kind are atomic)."""
        async with self._alone:
            yield

    def remember_port(self, port: tuple[str, bytes]) -> None:
        """An initiator port (name, ISID) has logged in."""
        self.seen_ports.pop(port, None)
        self.seen_ports[port] = None
        if len(self.seen_ports) > MAX_SEEN_PORTS:
            del self.seen_ports[next(iter(self.seen_ports))]

    def attention(self, condition: Condition, *, but: UnitNexus | None = None) -> None:
        """Establish a unit attention for every nexus of the unit except `but`."""
        for nexus in self.nexuses:
            if nexus is not but:
                nexus.add_attention(condition)

    def report_error(self, error: OSError, *, writing: bool) -> CheckCondition:
        """The backstore failed: tell the user, and give what the initiator hears."""
        verb = "written" if writing else "read"
        now = monotonic()
        if now - self._told_at < ERROR_INTERVAL_S:
            return medium_error(error, writing=writing)
        self._told_at = now
        self._on_error(f"LUN {self.config.name} could not be {verb}: {error.strerror or error}")
        return medium_error(error, writing=writing)

    def run(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Let a command run beside the loop; `close` waits for it."""
        task = asyncio.ensure_future(coroutine)
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def settle(self) -> None:
        """Wait until no command is with the backstore; who calls this has seen to it that none begins."""
        if self._running:
            await asyncio.gather(*self._running, return_exceptions=True)

    async def close(self) -> None:
        """Wait for what still runs, make the data durable, let go of the backstore."""
        await self.settle()
        try:
            if not self.backstore.read_only and not self.backstore.failed:
                await self.backstore.flush()
        except OSError as error:
            self.report_error(error, writing=True)
        finally:
            self.backstore.close()


class UnitNexus:
    """One LUN as one session sees it. Implements `iscsi.target_device.LogicalUnit`."""

    def __init__(
        self,
        unit: LogicalUnit,
        commands: dict[int, Command],
        *,
        lun: int,
        read_only: bool,
        lun_list: Callable[[], list[int]],
        siblings: Callable[[], Iterable[UnitNexus]] = tuple,
        group_tag: int = 0,
    ) -> None:
        self.unit = unit
        self.lun = lun
        self.mapped_read_only = read_only
        self.lun_list = lun_list
        """The LUN numbers of the session, for REPORT LUNS."""
        self.siblings = siblings
        """All LUNs of the same I_T nexus, this one too."""
        self.group_tag = group_tag or unit.tpgt
        """Target port group, and relative target port, of the session."""
        self.attentions: list[Condition] = []
        self._commands = commands
        self.refresh()

    def refresh(self) -> None:
        """The unit has another size or backstore, or went offline or online."""
        unit = self.unit
        self.read_only = self.mapped_read_only or unit.backstore.read_only
        self._blocks = 0 if unit.offline or not unit.device.plain else unit.blocks
        self._block_bytes = unit.block_bytes
        self._read_nowait = unit.backstore.read_nowait
        self._write_nowait = unit.backstore.write_nowait

    def add_attention(self, condition: Condition) -> None:
        """Establish a unit attention; the same one is not queued twice (SAM-5 §5.14)."""
        if condition not in self.attentions and len(self.attentions) < MAX_UNIT_ATTENTIONS:
            self.attentions.append(condition)

    # The fast path: READ and WRITE in their two common forms, with nothing special about them.

    def read_now(self, cdb: bytes, length: int, arena: Arena) -> Buffer | None:
        if cdb[0] == op.READ_10:
            _, flags, lba, _, blocks, _ = RW_10.unpack_from(cdb)
        elif cdb[0] == op.READ_16:
            _, flags, lba, blocks, _, _ = RW_16.unpack_from(cdb)
        else:
            return None
        if (
            flags & ~FLAG_DPO
            or self.attentions
            or blocks * self._block_bytes != length
            or lba + blocks > self._blocks
            or not length
        ):
            return None
        return self._read_nowait(lba * self._block_bytes, length, arena)

    def write_now(self, cdb: bytes, data: Buffer) -> bool:
        if cdb[0] == op.WRITE_10:
            _, flags, lba, _, blocks, _ = RW_10.unpack_from(cdb)
        elif cdb[0] == op.WRITE_16:
            _, flags, lba, blocks, _, _ = RW_16.unpack_from(cdb)
        else:
            return False
        if (
            flags & ~FLAG_DPO
            or self.attentions
            or self.read_only
            or blocks * self._block_bytes != len(data)
            or lba + blocks > self._blocks
        ):
            return False
        return self._write_nowait(lba * self._block_bytes, data)

    # Everything else goes through the command table.

    def prepare(self, task: TargetTask) -> int:
        command = self._commands.get(task.cdb[0])
        try:
            if self.attentions and not (command and command.ignores_attention):
                raise CheckCondition(self.attentions.pop(0))
            if command is None:
                raise CheckCondition(INVALID_OPCODE)
            self.unit.device.check(task.cdb)
            return command.data_out_bytes(self, task.cdb) if command.data_out_bytes else 0
        except CheckCondition as answer:
            self._refuse(task, answer)
            return 0

    def execute(self, task: TargetTask) -> None:
        try:
            result = self._commands[task.cdb[0]].run(self, task)
        except CheckCondition as answer:
            self._refuse(task, answer)
            return
        if isinstance(result, (bytes, bytearray, memoryview)):
            task.complete(GOOD, result)
        else:
            self.unit.run(self._finish(task, result))

    async def _finish(self, task: TargetTask, result: Coroutine[Any, Any, Buffer]) -> None:
        answered = False
        try:
            data = await result
            answered = True
            task.complete(GOOD, data)
        except CheckCondition as answer:
            answered = True
            self._refuse(task, answer)
        finally:
            if (
                not answered
            ):  # an error of ours, on its way to the loop's handler: the initiator must not wait for ever
                self._refuse(task, CheckCondition(INTERNAL_TARGET_FAILURE))

    def _refuse(self, task: TargetTask, answer: CheckCondition) -> None:
        task.complete(answer.status, b"", answer.sense_data(self.unit.device.mode.descriptor_sense))
