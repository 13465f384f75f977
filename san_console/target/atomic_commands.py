"""COMPARE AND WRITE, ORWRITE and WRITE ATOMIC (SBC-3 §5.2, §5.9; SBC-4 §5.48): each is one action for all
other commands of the unit.
"""

from __future__ import annotations

import os
import weakref

from san_console.iscsi.target_task import TargetTask
from san_console.scsi import opcodes as op
from san_console.scsi.cdb_formats import FLAG_FUA, WRITE_ATOMIC
from san_console.scsi.cdb_parse import decode_rw
from san_console.scsi.sense import INVALID_FIELD_IN_CDB, field_pointer
from san_console.target.atomic_journal import MAX_ATOMIC_BYTES, AtomicJournal
from san_console.target.backstore import Buffer
from san_console.target.block_access import (
    block_range,
    chunks,
    flush,
    read_bytes,
    transfer_range,
    whole_data,
    writable,
    write_bytes,
)
from san_console.target.check_condition import CheckCondition
from san_console.target.command import Command, usage
from san_console.target.logical_unit import LogicalUnit, Result, UnitNexus
from san_console.target.read_write_commands import compare

MAX_COMPARE_BLOCKS = 255  # the field has one octet


# COMPARE AND WRITE


def compare_and_write_data_out_bytes(nexus: UnitNexus, cdb: bytes) -> int:
    """Twice the blocks: what has to be there, and what replaces it."""
    _, blocks, _ = block_range(nexus, cdb)
    writable(nexus)
    return 2 * blocks * nexus.unit.block_bytes


def compare_and_write(nexus: UnitNexus, task: TargetTask) -> Result:
    """COMPARE AND WRITE."""
    lba, blocks, flags = decode_rw(task.cdb)
    data = whole_data(task, 2 * blocks * nexus.unit.block_bytes)
    return _compare_and_write(nexus, lba, blocks, data, bool(flags & FLAG_FUA)) if blocks else b""


async def _compare_and_write(nexus: UnitNexus, lba: int, blocks: int, data: bytes, fua: bool) -> Buffer:
    offset, length = lba * nexus.unit.block_bytes, blocks * nexus.unit.block_bytes
    async with nexus.unit.exclusively(lba, blocks):
        compare(await read_bytes(nexus, offset, length), data[:length])
        return await write_bytes(nexus, offset, memoryview(data)[length:], fua=fua)


# ORWRITE


def orwrite_data_out_bytes(nexus: UnitNexus, cdb: bytes) -> int:
    """Data-out length of ORWRITE."""
    _, blocks, _ = transfer_range(nexus, cdb)
    writable(nexus)
    return blocks * nexus.unit.block_bytes


def orwrite(nexus: UnitNexus, task: TargetTask) -> Result:
    """ORWRITE(16): what is there, or what came."""
    lba, blocks, flags = decode_rw(task.cdb)
    data = whole_data(task, blocks * nexus.unit.block_bytes)
    return _orwrite(nexus, lba, blocks, data, bool(flags & FLAG_FUA)) if blocks else b""


async def _orwrite(nexus: UnitNexus, lba: int, blocks: int, data: bytes, fua: bool) -> Buffer:
    offset = lba * nexus.unit.block_bytes
    async with nexus.unit.exclusively(lba, blocks):
        for start, size in chunks(offset, len(data)):
            stored = int.from_bytes(await read_bytes(nexus, start, size), "big")
            new = int.from_bytes(data[start - offset : start - offset + size], "big")
            await write_bytes(nexus, start, (stored | new).to_bytes(size, "big"))
        if fua:
            await flush(nexus)
    return b""


# WRITE ATOMIC: all of the blocks or none, also when the machine fails in the middle.


def atomic_blocks(unit: LogicalUnit) -> int:
    """The most blocks of one WRITE ATOMIC; 0: the unit does not have the command.

    What a crash can tear is not atomic. A store that a crash loses altogether has nothing to tear, and its
    writes are one memory copy. A file has a journal beside it; there is no such place for a block device.
    """
    store = unit.backstore
    return MAX_ATOMIC_BYTES // unit.block_bytes if store.volatile or _journal_path(unit) else 0


def _journal_path(unit: LogicalUnit) -> str:
    spec = unit.config.backstore
    return os.path.abspath(spec.path) if spec.kind == "file" else ""


def has_atomic(unit: LogicalUnit) -> bool:
    """Whether the unit has WRITE ATOMIC."""
    return atomic_blocks(unit) > 0


def write_atomic_data_out_bytes(nexus: UnitNexus, cdb: bytes) -> int:
    """Data-out length of WRITE ATOMIC(16)."""
    _, blocks, _ = transfer_range(nexus, cdb)
    _, _, _, boundary, _, _, _ = WRITE_ATOMIC.unpack_from(cdb)
    if boundary:
        raise CheckCondition(INVALID_FIELD_IN_CDB, sense_key_specific=field_pointer(10, 7))
    if blocks > atomic_blocks(nexus.unit):
        raise CheckCondition(INVALID_FIELD_IN_CDB, sense_key_specific=field_pointer(12, 7))
    writable(nexus)
    return blocks * nexus.unit.block_bytes


def write_atomic(nexus: UnitNexus, task: TargetTask) -> Result:
    """WRITE ATOMIC(16)."""
    lba, blocks, flags = decode_rw(task.cdb)
    data = whole_data(task, blocks * nexus.unit.block_bytes)
    return _write_atomic(nexus, lba, blocks, data, bool(flags & FLAG_FUA)) if blocks else b""


async def _write_atomic(nexus: UnitNexus, lba: int, blocks: int, data: bytes, fua: bool) -> Buffer:
    unit = nexus.unit
    async with unit.exclusively(lba, blocks):
        offset = lba * unit.block_bytes
        path = _journal_path(unit)
        if not path:
            return await write_bytes(nexus, offset, data, fua=fua)
        journal = _journals.setdefault(unit, AtomicJournal(path))
        try:
            await journal.write(unit.backstore, offset, data)
        except OSError as error:
            raise unit.report_error(error, writing=True) from error
    return b""


_journals: weakref.WeakKeyDictionary[LogicalUnit, AtomicJournal] = weakref.WeakKeyDictionary()


COMMANDS: dict[int, Command] = {
    op.COMPARE_AND_WRITE: Command(
        compare_and_write, usage("18ffffffffffffffff000000ff1f04"), compare_and_write_data_out_bytes
    ),
    op.ORWRITE_16: Command(orwrite, usage("18ffffffffffffffffffffffff1f04"), orwrite_data_out_bytes),
    op.WRITE_ATOMIC_16: Command(
        write_atomic,
        usage("18ffffffffffffffff0000ffff1f04"),
        write_atomic_data_out_bytes,
        supported=has_atomic,
    ),
}
