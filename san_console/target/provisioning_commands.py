"""WRITE SAME, UNMAP and GET LBA STATUS (SBC-3 §4.7, §5)."""

from __future__ import annotations

from san_console.iscsi.target_task import TargetTask
from san_console.scsi import opcodes as op
from san_console.scsi.cdb_formats import FLAG_ANCHOR, FLAG_NDOB, FLAG_UNMAP, SERVICE_IN_16
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
    LBA_OUT_OF_RANGE,
    PARAMETER_LIST_LENGTH_ERROR,
    field_pointer,
)
from san_console.target import block_access as access
from san_console.target.backstore import Buffer
from san_console.target.check_condition import CheckCondition
from san_console.target.command import Command, usage
from san_console.target.logical_unit import LogicalUnit, Result, UnitNexus

MAX_UNMAP_DESCRIPTORS = 64
MAX_UNMAP_BYTES = 512 << 20
MAX_WRITE_SAME_BYTES = 16 << 20  # told in VPD page B0; bounds the time of one command
MAX_LBA_STATUS_DESCRIPTORS = 64
LBA_STATUS_HEADER_BYTES = 8
LBA_STATUS_DESCRIPTOR_BYTES = 16


def is_thin(unit: LogicalUnit) -> bool:
    """Whether blocks of the unit can be given back (LBPME)."""
    return unit.backstore.thin


# WRITE SAME


def _no_data(cdb: bytes) -> bool:
    return cdb[0] == op.WRITE_SAME_16 and bool(cdb[1] & FLAG_NDOB)


def write_same_data_out_bytes(nexus: UnitNexus, cdb: bytes) -> int:
    """Data-out length of WRITE SAME: one block, or none with NDOB."""
    _, blocks, flags = access.block_range(nexus, cdb)
    # VPD page B0 says WSNZ: a length of zero is refused, it could mean the whole unit.
    if not blocks or blocks * nexus.unit.block_bytes > MAX_WRITE_SAME_BYTES:
        raise CheckCondition(INVALID_FIELD_IN_CDB)
    if flags & FLAG_ANCHOR:  # ANC_SUP is clear
        raise CheckCondition(INVALID_FIELD_IN_CDB, sense_key_specific=field_pointer(1, 4))
    if flags & FLAG_UNMAP and not nexus.unit.backstore.thin:
        raise CheckCondition(INVALID_FIELD_IN_CDB, sense_key_specific=field_pointer(1, 3))
    access.writable(nexus)
    return 0 if _no_data(cdb) else nexus.unit.block_bytes


def write_same(nexus: UnitNexus, task: TargetTask) -> Result:
    """WRITE SAME(10), (16)."""
    block_bytes = nexus.unit.block_bytes
    if _no_data(task.cdb):
        return _write_same(nexus, task, bytes(block_bytes))
    return _write_same(nexus, task, access.whole_data(task, block_bytes))


async def _write_same(nexus: UnitNexus, task: TargetTask, block: bytes) -> Buffer:
    unit = nexus.unit
    lba, blocks, flags = decode_rw(task.cdb)
    offset, length = lba * unit.block_bytes, blocks * unit.block_bytes
    # LBPRZ is set: what is unmapped reads as zeros, so only zeros may be unmapped (SBC-3 §4.7.3.4.4).
    if flags & FLAG_UNMAP and not any(block):
        return await access.unmap(nexus, [(offset, length)])
    pattern = memoryview(block * (min(length, access.CHUNK_BYTES) // unit.block_bytes))
    for start, size in access.chunks(offset, length):
        if access.aborted(task):
            break
        await access.write_bytes(nexus, start, pattern[:size])
    return b""


# UNMAP


def unmap_data_out_bytes(nexus: UnitNexus, cdb: bytes) -> int:
    """Data-out length of UNMAP: its parameter list."""
    command = parse_cdb(cdb)
    assert isinstance(command, UnmapCommand)  # the table brought it here
    if command.anchor:
        raise CheckCondition(INVALID_FIELD_IN_CDB, sense_key_specific=field_pointer(1, 0))
    access.writable(nexus)
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
        access.in_range(nexus, lba, blocks)
    ranges = [(lba * block_bytes, blocks * block_bytes) for lba, blocks in extents if blocks]
    if sum(length for _, length in ranges) > MAX_UNMAP_BYTES:
        raise CheckCondition(INVALID_FIELD_IN_PARAMETER_LIST)
    return access.unmap(nexus, ranges) if ranges else b""


# GET LBA STATUS


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


COMMANDS: dict[int, Command] = {
    op.WRITE_SAME_10: Command(write_same, usage("18ffffffff1fffff04"), write_same_data_out_bytes),
    op.WRITE_SAME_16: Command(write_same, usage("19ffffffffffffffffffffffff1f04"), write_same_data_out_bytes),
    op.UNMAP: Command(unmap, usage("01000000001fffff04"), unmap_data_out_bytes, supported=is_thin),
}
