"""A logical unit with awaitable SCSI and block calls."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from san_console.initiator.errors import ScsiFailure, ShortTransfer, UnusableLogicalUnit, WritesLost
from san_console.initiator.lun_info import LunInfo, read_info
from san_console.initiator.protocol_events import emit_unit_attention
from san_console.iscsi.initiator_tasks import Bytes, ScsiTask
from san_console.scsi import cdb, luns, opcodes, status
from san_console.scsi import sense as scsi_sense
from san_console.scsi.errors import MalformedData

if TYPE_CHECKING:
    from san_console.initiator.session import Session

#: A unit may have several unit attentions queued (SPC-4 §4.2.5); a target that never runs out is broken.
MAX_UNIT_ATTENTIONS = 8
#: BUSY and TASK SET FULL: wait this long, twice as long each time, for at most the command time-out in all.
BUSY_FIRST_S, BUSY_MAX_S = 0.02, 1.0
#: What one READ or WRITE of the byte-wise calls carries at most; longer ones are split.
MAX_COMMAND_BYTES = 1024 * 1024

# Commands that give the same outcome when executed twice. Writes of data are among them: the same bytes go to
# the same place. Not: COMPARE AND WRITE, reservations, anything that moves or counts.
REPEATABLE_OPCODES = frozenset(
    {
        opcodes.TEST_UNIT_READY,
        opcodes.REQUEST_SENSE,
        opcodes.INQUIRY,
        opcodes.MODE_SENSE_6,
        opcodes.MODE_SENSE_10,
        opcodes.READ_CAPACITY_10,
        opcodes.READ_6,
        opcodes.READ_10,
        opcodes.READ_12,
        opcodes.READ_16,
        opcodes.WRITE_6,
        opcodes.WRITE_10,
        opcodes.WRITE_12,
        opcodes.WRITE_16,
        opcodes.VERIFY_10,
        opcodes.VERIFY_16,
        opcodes.SYNCHRONIZE_CACHE_10,
        opcodes.SYNCHRONIZE_CACHE_16,
        opcodes.WRITE_SAME_10,
        opcodes.WRITE_SAME_16,
        opcodes.UNMAP,
        opcodes.SERVICE_ACTION_IN_16,
        opcodes.REPORT_LUNS,
        opcodes.MAINTENANCE_IN,
        opcodes.PERSISTENT_RESERVE_IN,
        opcodes.LOG_SENSE,
    }
)

# Unit attentions after which a volatile write cache may be empty (SPC-4 annex D): power on, or a reset of the
# device. The loss of a nexus or a reset by an initiator empties none.
_RESTARTED = frozenset({(0x29, 0x00), (0x29, 0x01), (0x29, 0x04)})

_CHECKS = {
    scsi_sense.NOT_READY: "Check whether the LUN is online at the target.",
    scsi_sense.MEDIUM_ERROR: "Check the storage behind the LUN at the target: it failed to read or write.",
    scsi_sense.HARDWARE_ERROR: "Look at the target's log: it reports a failure of its own.",
    scsi_sense.ILLEGAL_REQUEST: "Check the address and length, and whether the target supports the command.",
    scsi_sense.DATA_PROTECT: "The LUN is write-protected, or has no space left; check it at the target.",
    scsi_sense.ABORTED_COMMAND: "Try again; look at the target's log when it happens again.",
}


@dataclass(slots=True)
class ScsiResult:
    """The outcome of `LogicalUnit.execute`: `residual` is the number of bytes that were not transferred."""

    status: int
    sense: bytes
    data: bytes
    residual: int


def failure(number: int | None, task_status: int, sense: bytes, what: str) -> ScsiFailure:
    """The error for a SCSI status other than GOOD."""
    where = "" if number is None else f"LUN {number}: "
    check = "Look at the target's log."
    if task_status == status.CHECK_CONDITION and sense:
        parsed = scsi_sense.parse(sense)
        reason = scsi_sense.describe(parsed)
        check = _CHECKS.get(parsed.key, check)
    elif task_status == status.CHECK_CONDITION:
        reason = "CHECK CONDITION without sense data"
    elif task_status == status.RESERVATION_CONFLICT:
        reason = "RESERVATION CONFLICT: another initiator has reserved the LUN"
        check = "Look at the persistent reservations of the LUN."
    else:
        reason = status.status_name(task_status)
    return ScsiFailure(f"{where}{what} failed: {reason}", "target", check, status=task_status, sense=sense)


async def run_command(
    session: Session, number: int | None, make: Callable[[], ScsiTask], *, repeatable: bool
) -> ScsiTask:
    """Run a command until it has a status to hand on.

    Unit attentions are reported and the command is repeated; BUSY and TASK SET FULL are waited out within the
    command time-out.
    """
    attentions = 0
    delay_s, deadline = BUSY_FIRST_S, 0.0
    loop = asyncio.get_running_loop()
    while True:
        task = await session.run_task(make, repeatable=repeatable)
        if task.status == status.GOOD:
            return task
        if task.status == status.CHECK_CONDITION and task.sense:
            parsed = scsi_sense.parse(task.sense)
            if parsed.key == scsi_sense.UNIT_ATTENTION and attentions < MAX_UNIT_ATTENTIONS:
                # SAM-5 §5.14: the command was not executed, so repeating it is safe whatever it is.
                attentions += 1
                if number in session.unflushed and (parsed.asc, parsed.ascq) in _RESTARTED:
                    session.writes_lost.add(number)
                emit_unit_attention(session.emit, number, parsed)
                continue
            return task
        if task.status in status.RETRYABLE:
            deadline = deadline or loop.time() + session.settings.command_timeout_s
            if loop.time() + delay_s < deadline:
                await asyncio.sleep(delay_s)
                delay_s = min(delay_s * 2, BUSY_MAX_S)
                continue
        return task


async def report_luns(session: Session) -> luns.LunList:
    """REPORT LUNS, with as much room as the target says that its list needs."""
    allocation = 16384
    while True:
        buffer = bytearray(allocation)

        def make(buffer: bytearray = buffer) -> ScsiTask:
            return ScsiTask(0, cdb.report_luns(len(buffer)), read_buffer=memoryview(buffer))

        task = await run_command(session, None, make, repeatable=True)
        if task.status != status.GOOD:
            raise failure(None, task.status, task.sense, "REPORT LUNS")
        try:
            found = luns.parse(memoryview(buffer)[: task.received_bytes])
        except MalformedData as error:
            raise UnusableLogicalUnit(str(error), "target", "Look at the target's log.") from error
        # `needed_bytes` is capped by what LUN numbers exist, so this happens once at most.
        if found.truncated and found.needed_bytes > allocation:
            allocation = found.needed_bytes
            continue
        return found


class LogicalUnit:
    """LUN `number` of `session`; `address` is its 64-bit field on the wire."""

    def __init__(self, session: Session, number: int, address: int) -> None:
        self.session = session
        self.number = number
        self.address = address
        self._info: LunInfo | None = None
        self._block_bytes = 0

    async def info(self) -> LunInfo:
        """Ask the unit who and how large it is. Raises ScsiFailure, UnusableLogicalUnit."""
        self._info = await read_info(self)
        self._block_bytes = self._info.block_bytes
        return self._info

    async def block_bytes(self) -> int:
        """The size of its blocks, asked for once."""
        if not self._block_bytes:
            await self.info()
        return self._block_bytes

    async def execute(self, command: bytes, *, read_bytes: int = 0, data: Bytes = b"") -> ScsiResult:
        """Any command of up to 16 CDB bytes; a status other than GOOD is returned, not raised."""
        buffer = bytearray(read_bytes)

        def make() -> ScsiTask:
            return ScsiTask(
                self.address,
                command,
                read_buffer=memoryview(buffer) if read_bytes else None,
                write_data=data if data else None,
            )

        repeatable = command[0] in REPEATABLE_OPCODES
        task = await run_command(self.session, self.number, make, repeatable=repeatable)
        data_in = bytes(memoryview(buffer)[: task.received_bytes])
        return ScsiResult(task.status, task.sense, data_in, task.residual_bytes)

    async def read(self, lba: int, blocks: int) -> bytearray:
        """`blocks` blocks from `lba` on, in one command."""
        buffer = bytearray(blocks * await self.block_bytes())
        await self.read_into(lba, memoryview(buffer))
        return buffer

    async def read_into(self, lba: int, buffer: memoryview) -> None:
        """Fill `buffer`, a whole number of blocks, by one command."""
        block_bytes = self._block_bytes or await self.block_bytes()
        blocks, rest = divmod(len(buffer), block_bytes)
        if rest:
            raise ValueError(f"{len(buffer)} bytes are no whole number of blocks of {block_bytes}")
        if not blocks:
            return
        command = cdb.read(lba, blocks)
        task = await run_command(
            self.session, self.number, lambda: ScsiTask(self.address, command, buffer), repeatable=True
        )
        if task.status:
            raise failure(self.number, task.status, task.sense, f"reading {blocks} blocks at {lba}")
        if task.received_bytes != len(buffer):
            raise ShortTransfer(
                f"LUN {self.number}: the target called a read good that brought {task.received_bytes} of "
                f"{len(buffer)} bytes",
                "target",
                "Look at the target's log; its answer cannot be trusted.",
            )

    async def write(self, lba: int, data: Bytes, *, fua: bool = False) -> None:
        """Write `data`, a whole number of blocks, by one command; `fua` means to the medium."""
        block_bytes = self._block_bytes or await self.block_bytes()
        blocks, rest = divmod(len(data), block_bytes)
        if rest:
            raise ValueError(f"{len(data)} bytes are no whole number of blocks of {block_bytes}")
        if not blocks:
            return
        # A caller that changes its buffer while it is being sent would make digest errors, or write a mix.
        frozen = data if isinstance(data, bytes) else bytes(data)
        command = cdb.write(lba, blocks, fua=fua)
        task = await run_command(
            self.session,
            self.number,
            lambda: ScsiTask(self.address, command, write_data=frozen),
            repeatable=True,
        )
        if task.status:
            raise failure(self.number, task.status, task.sense, f"writing {blocks} blocks at {lba}")
        if task.residual_bytes:
            raise ShortTransfer(
                f"LUN {self.number}: the target took {task.residual_bytes} of {len(data)} bytes too few",
                "target",
                "Look at the target's log; its answer cannot be trusted.",
            )
        if not fua:
            unflushed = self.session.unflushed
            unflushed[self.number] = unflushed.get(self.number, 0) + 1

    async def read_bytes(self, offset: int, length: int) -> bytes:
        """`length` bytes from byte `offset` on, aligned or not."""
        block_bytes = await self.block_bytes()
        first, last = offset // block_bytes, -(-(offset + length) // block_bytes)
        buffer = bytearray((last - first) * block_bytes)
        view = memoryview(buffer)
        step = max(MAX_COMMAND_BYTES // block_bytes, 1)
        for lba in range(first, last, step):
            start = (lba - first) * block_bytes
            await self.read_into(lba, view[start : start + step * block_bytes])
        start = offset - first * block_bytes
        return bytes(view[start : start + length])

    async def write_bytes(self, offset: int, data: Bytes, *, fua: bool = False) -> None:
        """Write at byte `offset`.

        The rest of a block that is covered in part is read and written back, which is not atomic: nobody else
        may write to that block at the same time.
        """
        block_bytes = await self.block_bytes()
        end = offset + len(data)
        first, last = offset // block_bytes, -(-end // block_bytes)
        if offset % block_bytes or end % block_bytes:
            head = await self.read_bytes(first * block_bytes, offset % block_bytes)
            tail = await self.read_bytes(end, -end % block_bytes)
            data = b"".join((head, data, tail))
        view = memoryview(data)
        step = max(MAX_COMMAND_BYTES // block_bytes, 1)
        for lba in range(first, last, step):
            start = (lba - first) * block_bytes
            await self.write(lba, view[start : start + step * block_bytes], fua=fua)

    async def flush(self) -> None:
        """SYNCHRONIZE CACHE: when it returns, everything written before is on the medium.

        A unit that does not know the command has no cache. WritesLost when the target was restarted since a
        write that was acknowledged: the cache of today is empty, so flushing it says nothing about that one.
        It is raised once; the next flush is about what is written from then on.
        """
        session, number = self.session, self.number
        unflushed = session.unflushed.get(number)
        result = await self.execute(cdb.synchronize_cache())
        if result.status == status.GOOD:
            if session.unflushed.get(number) == unflushed:
                session.unflushed.pop(number, None)
            if number in session.writes_lost:
                session.writes_lost.discard(number)
                raise WritesLost(
                    f"LUN {number}: the target was restarted before acknowledged writes were flushed; "
                    "they may be lost",
                    "target",
                    "Write the data again, and look at why the target restarted.",
                )
            return
        if result.status == status.CHECK_CONDITION and result.sense:
            parsed = scsi_sense.parse(result.sense)
            if parsed.condition == scsi_sense.INVALID_OPCODE:
                return
        raise failure(self.number, result.status, result.sense, "flushing the cache")
