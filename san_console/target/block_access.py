"""What the commands on blocks share: checked ranges, the backstore, and its errors as sense data."""

from __future__ import annotations

from collections.abc import Iterator

from san_console.iscsi.target_task import ABORTED, TargetTask
from san_console.scsi import opcodes as op
from san_console.scsi.cdb_formats import PROTECT_MASK
from san_console.scsi.cdb_parse import decode_rw
from san_console.scsi.sense import (
    INVALID_FIELD_IN_CDB,
    LBA_OUT_OF_RANGE,
    SOFTWARE_WRITE_PROTECTED,
    WRITE_PROTECTED,
    field_pointer,
)
from san_console.target.backstore import Buffer
from san_console.target.check_condition import CheckCondition
from san_console.target.logical_unit import UnitNexus

MAX_TRANSFER_BYTES = 16 << 20  # told in VPD page B0; bounds the buffer of one command
CHUNK_BYTES = 1 << 20
"""Long commands go on in steps of this size, so that other commands of the unit get their turn."""

# Octet 1 of these has no protection field, and other bits in its place.
_UNPROTECTED = frozenset({op.SYNCHRONIZE_CACHE_10, op.SYNCHRONIZE_CACHE_16, op.PRE_FETCH_10, op.PRE_FETCH_16})


def in_range(nexus: UnitNexus, lba: int, blocks: int) -> None:
    """Refuse a range that is not inside of the unit. Raises CheckCondition."""
    if lba + blocks > nexus.unit.blocks:
        raise CheckCondition(LBA_OUT_OF_RANGE, information=max(lba, nexus.unit.blocks))


def block_range(nexus: UnitNexus, cdb: bytes) -> tuple[int, int, int]:
    """(lba, blocks, flags) of a CDB whose range is inside of the unit. Raises CheckCondition."""
    lba, blocks, flags = decode_rw(cdb)
    if flags & PROTECT_MASK and cdb[0] not in _UNPROTECTED:
        # No protection information is kept here (SBC-3 §4.22.2).
        raise CheckCondition(INVALID_FIELD_IN_CDB, sense_key_specific=field_pointer(1, 7))
    in_range(nexus, lba, blocks)
    return lba, blocks, flags


def transfer_range(nexus: UnitNexus, cdb: bytes) -> tuple[int, int, int]:
    """The same for a command that moves all of its blocks at once. Raises CheckCondition."""
    lba, blocks, flags = block_range(nexus, cdb)
    if blocks * nexus.unit.block_bytes > MAX_TRANSFER_BYTES:
        raise CheckCondition(INVALID_FIELD_IN_CDB)
    return lba, blocks, flags


def writable(nexus: UnitNexus) -> None:
    """Refuse to write what is write-protected. Raises CheckCondition."""
    if nexus.read_only:
        raise CheckCondition(WRITE_PROTECTED)
    if nexus.unit.device.mode.software_write_protect:
        raise CheckCondition(SOFTWARE_WRITE_PROTECTED)


def whole_data(task: TargetTask, wanted_bytes: int) -> bytes:
    """The data of a command that makes no sense with a part of it. Raises CheckCondition when the expected
    data transfer length of the initiator is another one than the CDB's.
    """
    if task.edtl != wanted_bytes or len(task.data_out) != wanted_bytes:
        raise CheckCondition(INVALID_FIELD_IN_CDB)
    return bytes(task.data_out)


def aborted(task: TargetTask) -> bool:
    """True when nobody waits for the task any more, so that a long command may stop."""
    return task.state == ABORTED


def chunks(offset: int, length: int, step: int = CHUNK_BYTES) -> Iterator[tuple[int, int]]:
    """(offset, length) of the steps in which a long range is worked through."""
    for start in range(offset, offset + length, step):
        yield start, min(step, offset + length - start)


async def read_bytes(nexus: UnitNexus, offset: int, length: int, *, fua: bool = False) -> Buffer:
    """Read from the backstore. Raises CheckCondition."""
    backstore = nexus.unit.backstore
    try:
        if fua and not backstore.read_only:
            # FUA on a read wants the medium: what is newer in the cache has to be there first.
            await backstore.flush()
        return await backstore.read(offset, length)
    except OSError as error:
        raise nexus.unit.report_error(error, writing=False) from error


async def write_bytes(nexus: UnitNexus, offset: int, data: Buffer, *, fua: bool = False) -> Buffer:
    """Write to the backstore; with `fua` it is on the medium afterwards. Raises CheckCondition."""
    try:
        await nexus.unit.backstore.write(offset, data, fua=fua)
    except OSError as error:
        raise nexus.unit.report_error(error, writing=True) from error
    return b""


async def flush(nexus: UnitNexus) -> Buffer:
    """Everything that was acknowledged goes to the medium. Raises CheckCondition."""
    try:
        await nexus.unit.backstore.flush()
    except OSError as error:
        raise nexus.unit.report_error(error, writing=True) from error
    return b""


async def unmap(nexus: UnitNexus, ranges: list[tuple[int, int]]) -> Buffer:
    """Give the space of these (offset, length) back. Raises CheckCondition."""
    try:
        await nexus.unit.backstore.unmap(ranges)
    except OSError as error:
        raise nexus.unit.report_error(error, writing=True) from error
    return b""
