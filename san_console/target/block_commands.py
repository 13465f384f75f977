"""Commands on ranges of blocks (SBC-3 §5): READ, WRITE, VERIFY, SYNCHRONIZE CACHE, WRITE SAME, UNMAP, GET
LBA STATUS.
"""

from __future__ import annotations

from san_console.iscsi.target_task import TargetTask
from san_console.scsi import opcodes as op
from san_console.scsi.cdb_formats import (
    FLAG_ANCHOR,
    FLAG_BYTCHK,
    FLAG_FUA,
    FLAG_NDOB,
    FLAG_UNMAP,
    PROTECT_MASK,
    SERVICE_IN_16,
)
from san_console.scsi.cdb_parse import UnmapCommand, decode_rw, parse_cdb
from san_console.scsi.errors import MalformedData
from san_console.scsi.provisioning import (
    DEALLOCATED,
    MAPPED,
    ExtentStatus,
    build_lba_status,
    parse_unmap_list,
)
from san_console.scsi.sense import (
    INVALID_FIELD_IN_CDB,
    INVALID_FIELD_IN_PARAMETER_LIST,
    INVALID_OPCODE,
    LBA_OUT_OF_RANGE,
    MISCOMPARE_DURING_VERIFY,
    PARAMETER_LIST_LENGTH_ERROR,
    WRITE_PROTECTED,
    field_pointer,
)
from san_console.target.backstore import Buffer
from san_console.target.check_condition import CheckCondition
from san_console.target.logical_unit import Result, UnitNexus

MAX_TRANSFER_BYTES = 16 << 20  # told in VPD page B0; bounds the buffer of one command
MAX_WRITE_SAME_BYTES = 16 << 20  # told in VPD page B0; bounds the time of one command
MAX_UNMAP_DESCRIPTORS = 64
MAX_UNMAP_BYTES = 512 << 20
WRITE_SAME_CHUNK_BYTES = 1 << 20
MAX_LBA_STATUS_DESCRIPTORS = 64
LBA_STATUS_HEADER_BYTES = 8
LBA_STATUS_DESCRIPTOR_BYTES = 16

# READ(6) and WRITE(6) have an LBA where the others have flags.
_WITH_FUA = frozenset({op.READ_10, op.READ_12, op.READ_16, op.WRITE_10, op.WRITE_12, op.WRITE_16})


def _range(nexus: UnitNexus, cdb: bytes) -> tuple[int, int, int]:
    """(lba, blocks, flags) of a CDB whose range is inside of the unit."""
    lba, blocks, flags = decode_rw(cdb)
    if flags & PROTECT_MASK and cdb[0] not in (op.SYNCHRONIZE_CACHE_10, op.SYNCHRONIZE_CACHE_16):
        # No protection information is kept here (SBC-3 §4.22.2).
        raise CheckCondition(INVALID_FIELD_IN_CDB, sense_key_specific=field_pointer(1, 7))
    if lba + blocks > nexus.unit.blocks:
        raise CheckCondition(LBA_OUT_OF_RANGE, information=max(lba, nexus.unit.blocks))
    return lba, blocks, flags


def _transfer_range(nexus: UnitNexus, cdb: bytes) -> tuple[int, int, int]:
    lba, blocks, flags = _range(nexus, cdb)
    if blocks * nexus.unit.block_bytes > MAX_TRANSFER_BYTES:
        raise CheckCondition(INVALID_FIELD_IN_CDB)
    return lba, blocks, flags


def _writable(nexus: UnitNexus) -> None:
    if nexus.read_only:
        raise CheckCondition(WRITE_PROTECTED)


# READ


class _Heap:
    """An arena for reads of a task, which may outlive the turn of the loop."""

    def take(self, length: int) -> memoryview:
        return memoryview(bytearray(length))


_HEAP = _Heap()


def read(nexus: UnitNexus, task: TargetTask) -> Result:
    """READ(6), (10), (12), (16)."""
    unit = nexus.unit
    lba, blocks, flags = _transfer_range(nexus, task.cdb)
    offset, length = lba * unit.block_bytes, blocks * unit.block_bytes
    if not length:
        return b""
    fua = bool(flags & FLAG_FUA) and task.cdb[0] in _WITH_FUA
    if not fua or not unit.backstore.write_cache:
        data = unit.backstore.read_nowait(offset, length, _HEAP)
        if data is not None:
            return data
    return _read(nexus, offset, length, fua)


async def _read(nexus: UnitNexus, offset: int, length: int, fua: bool) -> Buffer:
    backstore = nexus.unit.backstore
    try:
        if fua and not backstore.read_only:
            await (
                backstore.flush()
            )  # FUA on a read wants the medium: what is newer in the cache has to be there first
        return await backstore.read(offset, length)
    except OSError as error:
        raise nexus.unit.report_error(error, writing=False) from error


# WRITE


def write_bytes(nexus: UnitNexus, cdb: bytes) -> int:
    """Data-out length of WRITE and WRITE AND VERIFY."""
    _, blocks, _ = _transfer_range(nexus, cdb)
    _writable(nexus)
    return blocks * nexus.unit.block_bytes


def write(nexus: UnitNexus, task: TargetTask) -> Result:
    """WRITE(6), (10), (12), (16)."""
    lba, _, flags = decode_rw(task.cdb)
    return _write(nexus, lba, task, fua=bool(flags & FLAG_FUA) and task.cdb[0] in _WITH_FUA)


def write_and_verify(nexus: UnitNexus, task: TargetTask) -> Result:
    """WRITE AND VERIFY: the medium has to have it (SBC-3 §5.44), which is what FUA makes sure of."""
    lba, _, _ = decode_rw(task.cdb)
    return _write(nexus, lba, task, fua=True)


def _write(nexus: UnitNexus, lba: int, task: TargetTask, *, fua: bool) -> Result:
    unit = nexus.unit
    # An EDTL below the CDB's length ends the write at the last whole block that came.
    data = task.data_out[: len(task.data_out) // unit.block_bytes * unit.block_bytes]
    offset = lba * unit.block_bytes
    if not len(data):
        return b""
    if not (fua and unit.backstore.write_cache) and unit.backstore.write_nowait(offset, data):
        return b""
    return _write_later(nexus, offset, data, fua)


async def _write_later(nexus: UnitNexus, offset: int, data: Buffer, fua: bool) -> Buffer:
    try:
        await nexus.unit.backstore.write(offset, data, fua=fua)
    except OSError as error:
        raise nexus.unit.report_error(error, writing=True) from error
    return b""


# VERIFY


def _bytchk(cdb: bytes) -> int:
    return cdb[1] >> 1 & 3


def verify_bytes(nexus: UnitNexus, cdb: bytes) -> int:
    """Data-out length of VERIFY, by BYTCHK (SBC-3 §5.38)."""
    _, blocks, _ = _transfer_range(nexus, cdb)
    bytchk = _bytchk(cdb)
    if bytchk == FLAG_BYTCHK:  # 10b is reserved
        raise CheckCondition(INVALID_FIELD_IN_CDB, sense_key_specific=field_pointer(1, 2))
    if bytchk == 0:
        return 0
    return blocks * nexus.unit.block_bytes if bytchk == 1 else nexus.unit.block_bytes


def verify(nexus: UnitNexus, task: TargetTask) -> Result:
    """VERIFY(10), (12), (16): read the medium, and compare when BYTCHK says so."""
    lba, blocks, _ = decode_rw(task.cdb)
    return _verify(nexus, lba, blocks, task) if blocks else b""


async def _verify(nexus: UnitNexus, lba: int, blocks: int, task: TargetTask) -> Buffer:
    block_bytes = nexus.unit.block_bytes
    stored = await _read(nexus, lba * block_bytes, blocks * block_bytes, fua=False)
    bytchk = _bytchk(task.cdb)
    if bytchk:
        wanted = bytes(task.data_out) if bytchk == 1 else bytes(task.data_out) * blocks
        _compare(bytes(stored[: len(wanted)]), wanted)
    return b""


def _compare(stored: bytes, wanted: bytes) -> None:
    if stored != wanted:
        first = next(i for i, (a, b) in enumerate(zip(stored, wanted, strict=True)) if a != b)
        raise CheckCondition(MISCOMPARE_DURING_VERIFY, information=first)


# SYNCHRONIZE CACHE


def synchronize_cache(nexus: UnitNexus, task: TargetTask) -> Result:
    """SYNCHRONIZE CACHE(10), (16): everything goes to the medium, whatever the range."""
    _range(nexus, task.cdb)
    return _flush(nexus) if not nexus.unit.backstore.read_only else b""


async def _flush(nexus: UnitNexus) -> Buffer:
    try:
        await nexus.unit.backstore.flush()
    except OSError as error:
        raise nexus.unit.report_error(error, writing=True) from error
    return b""


# WRITE SAME


def write_same_bytes(nexus: UnitNexus, cdb: bytes) -> int:
    """Data-out length of WRITE SAME: one block, or none with NDOB."""
    _, blocks, flags = _range(nexus, cdb)
    no_data = bool(flags & FLAG_NDOB) and cdb[0] == op.WRITE_SAME_16
    # VPD page B0 says WSNZ: a length of zero is refused, it could mean the whole unit.
    if not blocks or blocks * nexus.unit.block_bytes > MAX_WRITE_SAME_BYTES or flags & FLAG_ANCHOR:
        raise CheckCondition(INVALID_FIELD_IN_CDB)
    if flags & FLAG_UNMAP and not nexus.unit.backstore.thin:
        raise CheckCondition(INVALID_FIELD_IN_CDB, sense_key_specific=field_pointer(1, 3))
    _writable(nexus)
    return 0 if no_data else nexus.unit.block_bytes


def write_same(nexus: UnitNexus, task: TargetTask) -> Result:
    """WRITE SAME(10), (16)."""
    return _write_same(nexus, task)


async def _write_same(nexus: UnitNexus, task: TargetTask) -> Buffer:
    unit = nexus.unit
    lba, blocks, flags = decode_rw(task.cdb)
    no_data = bool(flags & FLAG_NDOB) and task.cdb[0] == op.WRITE_SAME_16
    block = bytes(unit.block_bytes) if no_data else bytes(task.data_out)
    if len(block) < unit.block_bytes:
        return b""  # EDTL was shorter than one block; the residual tells
    offset, length = lba * unit.block_bytes, blocks * unit.block_bytes
    try:
        # LBPRZ is set: what is unmapped reads as zeros, so only zeros may be unmapped (SBC-3 §4.7.3.4.4).
        if flags & FLAG_UNMAP and not any(block):
            await unit.backstore.unmap([(offset, length)])
            return b""
        pattern = block * (WRITE_SAME_CHUNK_BYTES // unit.block_bytes)
        for start in range(offset, offset + length, len(pattern)):
            part = memoryview(pattern)[: offset + length - start]
            await unit.backstore.write(start, part)
    except OSError as error:
        raise unit.report_error(error, writing=True) from error
    return b""


# UNMAP, GET LBA STATUS


def unmap_bytes(nexus: UnitNexus, cdb: bytes) -> int:
    """Data-out length of UNMAP: its parameter list."""
    command = parse_cdb(cdb)
    if not nexus.unit.backstore.thin or not isinstance(command, UnmapCommand):
        raise CheckCondition(INVALID_OPCODE)
    if command.anchor:
        raise CheckCondition(INVALID_FIELD_IN_CDB, sense_key_specific=field_pointer(1, 0))
    _writable(nexus)
    return command.parameter_list_bytes


def unmap(nexus: UnitNexus, task: TargetTask) -> Result:
    """UNMAP."""
    data = task.data_out
    if not len(data):
        return b""
    try:
        extents = parse_unmap_list(data)
    except MalformedData:
        raise CheckCondition(PARAMETER_LIST_LENGTH_ERROR) from None
    if len(extents) > MAX_UNMAP_DESCRIPTORS:
        raise CheckCondition(INVALID_FIELD_IN_PARAMETER_LIST)
    block_bytes = nexus.unit.block_bytes
    for lba, blocks in extents:
        if lba + blocks > nexus.unit.blocks:
            raise CheckCondition(LBA_OUT_OF_RANGE, information=lba)
    ranges = [(lba * block_bytes, blocks * block_bytes) for lba, blocks in extents if blocks]
    if sum(length for _, length in ranges) > MAX_UNMAP_BYTES:
        raise CheckCondition(INVALID_FIELD_IN_PARAMETER_LIST)
    return _unmap(nexus, ranges) if ranges else b""


async def _unmap(nexus: UnitNexus, ranges: list[tuple[int, int]]) -> Buffer:
    try:
        await nexus.unit.backstore.unmap(ranges)
    except OSError as error:
        raise nexus.unit.report_error(error, writing=True) from error
    return b""


def get_lba_status(nexus: UnitNexus, cdb: bytes) -> bytes:
    """GET LBA STATUS (SBC-3 §5.6): what is allocated from the starting LBA on, as far as the initiator has
    room.
    """
    unit = nexus.unit
    _, _, lba, allocation, _, _ = SERVICE_IN_16.unpack_from(cdb)
    if lba >= unit.blocks:
        raise CheckCondition(LBA_OUT_OF_RANGE, information=lba)
    room = (allocation - LBA_STATUS_HEADER_BYTES) // LBA_STATUS_DESCRIPTOR_BYTES
    extents: list[ExtentStatus] = []
    while not extents or (len(extents) < min(room, MAX_LBA_STATUS_DESCRIPTORS) and lba < unit.blocks):
        allocated, length = unit.backstore.extent(lba * unit.block_bytes)
        # A block of which a part is allocated counts as allocated.
        blocks = min(max(1, length // unit.block_bytes), unit.blocks - lba, 0xFFFFFFFF)
        mapped = allocated or length < unit.block_bytes
        extents.append(ExtentStatus(lba, blocks, MAPPED if mapped else DEALLOCATED))
        lba += blocks
    return build_lba_status(extents)[:allocation]
