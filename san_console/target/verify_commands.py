"""VERIFY, PRE-FETCH, SYNCHRONIZE CACHE and READ DEFECT DATA (SBC-3 §5): medium and cache."""

from __future__ import annotations

import struct

from san_console.iscsi.target_task import TargetTask
from san_console.scsi import opcodes as op
from san_console.scsi.cdb_formats import FLAG_IMMED
from san_console.scsi.cdb_parse import decode_rw
from san_console.scsi.sense import INVALID_FIELD_IN_CDB, field_pointer
from san_console.scsi.status import CONDITION_MET
from san_console.target.backstore import Buffer
from san_console.target.block_access import (
    MAX_TRANSFER_BYTES,
    aborted,
    block_range,
    chunks,
    flush,
    read_bytes,
)
from san_console.target.check_condition import CheckCondition, StatusAnswer
from san_console.target.command import Command, answer, usage
from san_console.target.logical_unit import Result, UnitNexus
from san_console.target.read_write_commands import compare

MAX_PREFETCH_BYTES = 64 << 20
"""More than this is not sure to stay in the cache until it is read: CONDITION MET would promise too much."""

_BYTCHK_NONE, _BYTCHK_ALL, _BYTCHK_RESERVED, _BYTCHK_ONE = 0, 1, 2, 3


def _bytchk(cdb: bytes) -> int:
    return cdb[1] >> 1 & 3


# VERIFY


def verify_data_out_bytes(nexus: UnitNexus, cdb: bytes) -> int:
    """Data-out length of VERIFY, by BYTCHK (SBC-3 §5.38)."""
    _, blocks, _ = block_range(nexus, cdb)
    bytchk = _bytchk(cdb)
    if bytchk == _BYTCHK_RESERVED:
        raise CheckCondition(INVALID_FIELD_IN_CDB, sense_key_specific=field_pointer(1, 2))
    block_bytes = nexus.unit.block_bytes
    if bytchk == _BYTCHK_NONE:
        return 0
    if bytchk == _BYTCHK_ONE:
        return block_bytes
    if blocks * block_bytes > MAX_TRANSFER_BYTES:
        raise CheckCondition(INVALID_FIELD_IN_CDB)
    return blocks * block_bytes


def verify(nexus: UnitNexus, task: TargetTask) -> Result:
    """VERIFY(10), (12), (16): read the medium, and compare when BYTCHK says so."""
    lba, blocks, _ = decode_rw(task.cdb)
    return _verify(nexus, lba, blocks, task) if blocks else b""


async def _verify(nexus: UnitNexus, lba: int, blocks: int, task: TargetTask) -> Buffer:
    block_bytes = nexus.unit.block_bytes
    bytchk = _bytchk(task.cdb)
    offset, length = lba * block_bytes, blocks * block_bytes
    if bytchk == _BYTCHK_ALL:  # an EDTL that is too short ends the comparison where the data ends
        length = len(task.data_out)
    elif bytchk == _BYTCHK_ONE and len(task.data_out) < block_bytes:
        return b""
    for start, size in chunks(offset, length):
        if aborted(task):
            break
        stored = await read_bytes(nexus, start, size)
        if bytchk == _BYTCHK_ALL:
            compare(stored, task.data_out[start - offset : start - offset + size], start - offset)
        elif bytchk == _BYTCHK_ONE:
            compare(stored, bytes(task.data_out) * (size // block_bytes), start - offset)
    return b""


# PRE-FETCH


def prefetch_data_out_bytes(nexus: UnitNexus, cdb: bytes) -> int:
    """PRE-FETCH takes nothing; its range is checked here."""
    block_range(nexus, cdb)
    return 0


def prefetch(nexus: UnitNexus, task: TargetTask) -> Result:
    """PRE-FETCH(10), (16). CONDITION MET says that all of it is, or with IMMED will be, in the cache; GOOD
    that there was not room for all (SBC-3 §5.10).
    """
    return _prefetch(nexus, task)


async def _prefetch(nexus: UnitNexus, task: TargetTask) -> Buffer:
    unit = nexus.unit
    lba, blocks, flags = decode_rw(task.cdb)
    offset, length = lba * unit.block_bytes, (blocks or unit.blocks - lba) * unit.block_bytes
    fits = length <= MAX_PREFETCH_BYTES
    length = min(length, MAX_PREFETCH_BYTES)
    await unit.backstore.prefetch(offset, length)
    if not flags & FLAG_IMMED:
        for start, size in chunks(offset, length):
            if aborted(task):
                break
            await read_bytes(nexus, start, size)
    if fits:
        raise StatusAnswer(CONDITION_MET)
    return b""


# SYNCHRONIZE CACHE


def synchronize_data_out_bytes(nexus: UnitNexus, cdb: bytes) -> int:
    """SYNCHRONIZE CACHE takes nothing; its range is checked here."""
    block_range(nexus, cdb)
    return 0


def synchronize_cache(nexus: UnitNexus, task: TargetTask) -> Result:
    """SYNCHRONIZE CACHE(10), (16): everything goes to the medium, whatever the range."""
    if nexus.unit.backstore.read_only:
        return b""
    if task.cdb[1] & FLAG_IMMED:
        nexus.unit.run(_flush_later(nexus))
        return b""
    return flush(nexus)


async def _flush_later(nexus: UnitNexus) -> None:
    try:
        await flush(nexus)
    except CheckCondition:
        # The status has left. The failure was told to the user, and the backstore refuses all writes from
        # now on, which is how the initiator hears of it.
        return


# READ DEFECT DATA: a backstore has no defects that it knows of.

_DEFECTS_10 = struct.Struct(">BBH")
_DEFECTS_12 = struct.Struct(">BBHI")


def read_defect_data_10(nexus: UnitNexus, cdb: bytes) -> bytes:
    """READ DEFECT DATA(10): empty lists in the format that was asked for (SBC-3 §5.18)."""
    (allocation,) = struct.unpack_from(">H", cdb, 7)
    return _DEFECTS_10.pack(0, cdb[2] & 0x1F, 0)[:allocation]


def read_defect_data_12(nexus: UnitNexus, cdb: bytes) -> bytes:
    """READ DEFECT DATA(12)."""
    (allocation,) = struct.unpack_from(">I", cdb, 6)
    return _DEFECTS_12.pack(0, cdb[1] & 0x1F, 0, 0)[:allocation]


_SYNC_10 = usage("02ffffffff1fffff04")
_SYNC_16 = usage("02ffffffffffffffffffffffff1f04")

COMMANDS: dict[int, Command] = {
    op.VERIFY_10: Command(verify, usage("16ffffffff1fffff04"), verify_data_out_bytes),
    op.VERIFY_12: Command(verify, usage("16ffffffffffffffff1f04"), verify_data_out_bytes),
    op.VERIFY_16: Command(verify, usage("16ffffffffffffffffffffffff1f04"), verify_data_out_bytes),
    op.PRE_FETCH_10: Command(prefetch, _SYNC_10, prefetch_data_out_bytes),
    op.PRE_FETCH_16: Command(prefetch, _SYNC_16, prefetch_data_out_bytes),
    op.SYNCHRONIZE_CACHE_10: Command(synchronize_cache, _SYNC_10, synchronize_data_out_bytes),
    op.SYNCHRONIZE_CACHE_16: Command(synchronize_cache, _SYNC_16, synchronize_data_out_bytes),
    op.READ_DEFECT_DATA_10: Command(answer(read_defect_data_10), usage("001f00000000ffff04")),
    op.READ_DEFECT_DATA_12: Command(answer(read_defect_data_12), usage("1fffffffffffffffff0004")),
}
