"""READ, WRITE and WRITE AND VERIFY (SBC-3 §5)."""

from __future__ import annotations

from san_console.iscsi.target_task import TargetTask
from san_console.scsi import opcodes as op
from san_console.scsi.cdb_formats import FLAG_FUA
from san_console.scsi.cdb_parse import decode_rw
from san_console.scsi.sense import INVALID_FIELD_IN_CDB, MISCOMPARE_DURING_VERIFY, field_pointer
from san_console.target.backstore import Buffer
from san_console.target.block_access import read_bytes, transfer_range, writable, write_bytes
from san_console.target.check_condition import CheckCondition
from san_console.target.command import Command, usage
from san_console.target.logical_unit import Result, UnitNexus

# READ(6) and WRITE(6) have an LBA where the others have flags.
_WITH_FUA = frozenset({op.READ_10, op.READ_12, op.READ_16, op.WRITE_10, op.WRITE_12, op.WRITE_16})


class Heap:
    """An arena for reads of a task, which may outlive the turn of the loop."""

    def take(self, length: int) -> memoryview:
        return memoryview(bytearray(length))


_HEAP = Heap()


def _fua(cdb: bytes, flags: int) -> bool:
    return bool(flags & FLAG_FUA) and cdb[0] in _WITH_FUA


def read_data_out_bytes(nexus: UnitNexus, cdb: bytes) -> int:
    """READ takes nothing; its CDB is checked here, before anything is asked of the backstore."""
    transfer_range(nexus, cdb)
    return 0


def read(nexus: UnitNexus, task: TargetTask) -> Result:
    """READ(6), (10), (12), (16)."""
    unit = nexus.unit
    lba, blocks, flags = decode_rw(task.cdb)
    offset, length = lba * unit.block_bytes, blocks * unit.block_bytes
    if not length:
        return b""
    fua = _fua(task.cdb, flags)
    if not fua or not unit.backstore.write_cache:
        data = unit.backstore.read_nowait(offset, length, _HEAP)
        if data is not None:
            return data
    return read_bytes(nexus, offset, length, fua=fua)


def write_data_out_bytes(nexus: UnitNexus, cdb: bytes) -> int:
    """Data-out length of WRITE."""
    _, blocks, _ = transfer_range(nexus, cdb)
    writable(nexus)
    return blocks * nexus.unit.block_bytes


def write(nexus: UnitNexus, task: TargetTask) -> Result:
    """WRITE(6), (10), (12), (16)."""
    unit = nexus.unit
    lba, _, flags = decode_rw(task.cdb)
    fua = _fua(task.cdb, flags)
    data = _whole_blocks(nexus, task)
    offset = lba * unit.block_bytes
    if not len(data):
        return b""
    if not (fua and unit.backstore.write_cache) and unit.backstore.write_nowait(offset, data):
        return b""
    return write_bytes(nexus, offset, data, fua=fua)


def _whole_blocks(nexus: UnitNexus, task: TargetTask) -> memoryview:
    # An EDTL below the CDB's length ends the write at the last whole block that came.
    block_bytes = nexus.unit.block_bytes
    return task.data_out[: len(task.data_out) // block_bytes * block_bytes]


def verified_write_data_out_bytes(nexus: UnitNexus, cdb: bytes) -> int:
    """Data-out length of WRITE AND VERIFY."""
    if cdb[1] & 0x04:  # BYTCHK 10b and 11b are reserved here (SBC-3 §5.44)
        raise CheckCondition(INVALID_FIELD_IN_CDB, sense_key_specific=field_pointer(1, 2))
    return write_data_out_bytes(nexus, cdb)


def write_and_verify(nexus: UnitNexus, task: TargetTask) -> Result:
    """WRITE AND VERIFY(10), (12), (16): the medium has to have it, so it is written like with FUA."""
    lba, _, _ = decode_rw(task.cdb)
    data = _whole_blocks(nexus, task)
    return _write_and_verify(nexus, lba * nexus.unit.block_bytes, data) if len(data) else b""


async def _write_and_verify(nexus: UnitNexus, offset: int, data: memoryview) -> Buffer:
    await write_bytes(nexus, offset, data, fua=True)
    compare(await read_bytes(nexus, offset, len(data)), data)
    return b""


def compare(stored: Buffer, wanted: Buffer, before_bytes: int = 0) -> None:
    """MISCOMPARE at the first byte that differs, counted from the start of the data; `before_bytes` of it
    were compared before. Raises CheckCondition.
    """
    left, right = bytes(stored), bytes(wanted)  # which compare at the speed of memory, unlike views
    if left == right:
        return
    start, end = 0, len(left)
    while end - start > 1:  # halving, since a loop over the bytes would hold up the event loop
        middle = (start + end) // 2
        if left[start:middle] == right[start:middle]:
            start = middle
        else:
            end = middle
    raise CheckCondition(MISCOMPARE_DURING_VERIFY, information=before_bytes + start)


_RW_6 = usage("1fffffff04")
_RW_10 = usage("18ffffffff1fffff04")
_RW_12 = usage("18ffffffffffffffff1f04")
_RW_16 = usage("18ffffffffffffffffffffffff1f04")
_VERIFIED_10 = usage("12ffffffff1fffff04")
_VERIFIED_12 = usage("12ffffffffffffffff1f04")
_VERIFIED_16 = usage("12ffffffffffffffffffffffff1f04")

COMMANDS: dict[int, Command] = {
    op.READ_6: Command(read, _RW_6, read_data_out_bytes),
    op.READ_10: Command(read, _RW_10, read_data_out_bytes),
    op.READ_12: Command(read, _RW_12, read_data_out_bytes),
    op.READ_16: Command(read, _RW_16, read_data_out_bytes),
    op.WRITE_6: Command(write, _RW_6, write_data_out_bytes),
    op.WRITE_10: Command(write, _RW_10, write_data_out_bytes),
    op.WRITE_12: Command(write, _RW_12, write_data_out_bytes),
    op.WRITE_16: Command(write, _RW_16, write_data_out_bytes),
    op.WRITE_AND_VERIFY_10: Command(write_and_verify, _VERIFIED_10, verified_write_data_out_bytes),
    op.WRITE_AND_VERIFY_12: Command(write_and_verify, _VERIFIED_12, verified_write_data_out_bytes),
    op.WRITE_AND_VERIFY_16: Command(write_and_verify, _VERIFIED_16, verified_write_data_out_bytes),
}
