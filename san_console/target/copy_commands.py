"""EXTENDED COPY and RECEIVE COPY RESULTS (SPC-4 §6.4 to §6.6, §6.25 to §6.29): copies between the LUNs that
one I_T nexus sees, made here instead of over the network.

A source or destination is looked for among the LUNs of the asking nexus only: what an initiator is not
allowed to see it cannot name, whatever designator it guesses.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from san_console.iscsi.target_task import TargetTask
from san_console.scsi import extended_copy as codec
from san_console.scsi import opcodes as op
from san_console.scsi.cdb_formats import COPY_RESULTS_LID1, COPY_RESULTS_LID4, EXTENDED_COPY
from san_console.scsi.sense import (
    COPY_SEGMENT_FAILED,
    COPY_TARGET_NOT_REACHABLE,
    INLINE_DATA_LENGTH_EXCEEDED,
    INVALID_FIELD_IN_CDB,
    INVALID_FIELD_IN_PARAMETER_LIST,
    OPERATION_IN_PROGRESS,
    PARAMETER_LIST_LENGTH_ERROR,
    TOO_MANY_CSCD_DESCRIPTORS,
    TOO_MANY_SEGMENT_DESCRIPTORS,
    UNREACHABLE_COPY_TARGET,
    UNSUPPORTED_CSCD_DESCRIPTOR_TYPE,
    UNSUPPORTED_SEGMENT_DESCRIPTOR_TYPE,
    Condition,
    field_pointer,
)
from san_console.scsi.status import CHECK_CONDITION, GOOD
from san_console.target.backstore import Buffer
from san_console.target.block_access import aborted, chunks, in_range, read_bytes, writable, write_bytes
from san_console.target.check_condition import CheckCondition
from san_console.target.command import Command, answer, by_action, usage
from san_console.target.inquiry_commands import COPY_LIMITS, MAX_SEGMENT_BYTES, unit_designators
from san_console.target.logical_unit import LogicalUnit, Result, UnitNexus

MAX_RECORDS = 16
"""Copies of one nexus whose results are kept, told as the number of concurrent copies; the oldest that has
ended makes room.
"""

_CONDITIONS: dict[str, Condition] = {
    codec.TOO_MANY_CSCDS: TOO_MANY_CSCD_DESCRIPTORS,
    codec.TOO_MANY_SEGMENTS: TOO_MANY_SEGMENT_DESCRIPTORS,
    codec.UNKNOWN_CSCD: UNSUPPORTED_CSCD_DESCRIPTOR_TYPE,
    codec.UNKNOWN_SEGMENT: UNSUPPORTED_SEGMENT_DESCRIPTOR_TYPE,
    codec.BAD_FIELD: INVALID_FIELD_IN_PARAMETER_LIST,
}


@dataclass(slots=True, eq=False)
class CopyRecord:
    """What is known of one copy: for RECEIVE COPY STATUS and FAILURE DETAILS, and for what ends it."""

    status: int = codec.IN_PROGRESS
    segments: int = 0
    transferred_bytes: int = 0
    failure: CheckCondition | None = None
    stopped: bool = False
    """A unit of it was reset: no chunk may be written any more."""
    on_over: list[Callable[[], None]] = field(default_factory=list)


# EXTENDED COPY


def copy_data_out_bytes(nexus: UnitNexus, cdb: bytes) -> int:
    """The parameter list length."""
    _, _, length, _ = EXTENDED_COPY.unpack_from(cdb)
    if length > _MAX_LIST_BYTES:
        raise CheckCondition(PARAMETER_LIST_LENGTH_ERROR, sense_key_specific=field_pointer(10, 7))
    return int(length)


_MAX_LIST_BYTES = 48 + COPY_LIMITS.list_bytes  # the longer of the two headers


def extended_copy(nexus: UnitNexus, task: TargetTask) -> Result:
    """EXTENDED COPY(LID1), (LID4)."""
    if not len(task.data_out):
        return b""
    lid4 = task.cdb[1] & 0x1F == op.SA_EXTENDED_COPY_LID4
    wanted = _parse(task, lid4)
    record = CopyRecord()
    if wanted.usage != codec.USAGE_NONE:
        _remember(nexus, wanted.list_id, record)
    try:
        reached = [_resolve(nexus, cscd) for cscd in wanted.cscds]
    except CheckCondition as failure:
        record.failure, record.status = failure, codec.FAILED
        if wanted.immediate:
            return b""  # RECEIVE COPY STATUS tells it
        raise
    # From now on, not from its first step on: a reset may be the next thing that comes.
    changed = {reached[one.destination].unit for one in wanted.segments if one.destination < len(reached)}
    units = changed | {nexus.unit}
    for unit in units:
        unit.copies.add(record)
    if wanted.immediate:
        nexus.unit.run(_unattended(reached, wanted, record, units))
        return b""
    return _copy(reached, task, wanted, record, units)


def _parse(task: TargetTask, lid4: bool) -> codec.CopyList:
    try:
        wanted = codec.parse_copy_list(task.data_out, COPY_LIMITS, lid4=lid4)
    except codec.ListLengthError:
        raise CheckCondition(PARAMETER_LIST_LENGTH_ERROR) from None
    except codec.BadDescriptor as error:
        raise CheckCondition(
            _CONDITIONS[error.kind], sense_key_specific=field_pointer(error.octet, in_cdb=False)
        ) from None
    if wanted.inline_bytes:
        raise CheckCondition(INLINE_DATA_LENGTH_EXCEEDED)
    return wanted


def _remember(nexus: UnitNexus, list_id: int, record: CopyRecord) -> None:
    records = nexus.unit.device.copies.setdefault(nexus, {})
    before = records.get(list_id)
    if before is not None and before.status == codec.IN_PROGRESS:
        raise CheckCondition(OPERATION_IN_PROGRESS)
    records.pop(list_id, None)
    if len(records) >= MAX_RECORDS:
        ended = [number for number, one in records.items() if one.status != codec.IN_PROGRESS]
        if not ended:
            raise CheckCondition(OPERATION_IN_PROGRESS)
        del records[ended[0]]
    records[list_id] = record


async def _unattended(
    reached: list[UnitNexus], wanted: codec.CopyList, record: CopyRecord, units: set[LogicalUnit]
) -> None:
    try:
        await _copy(reached, None, wanted, record, units)
    except CheckCondition:
        return  # RECEIVE COPY STATUS tells it


async def _copy(
    reached: list[UnitNexus],
    task: TargetTask | None,
    wanted: codec.CopyList,
    record: CopyRecord,
    units: set[LogicalUnit],
) -> Buffer:
    try:
        for one in reached:
            one.unit.join()
        for segment in wanted.segments:
            await _copy_segment(reached, segment, task, record)
            record.segments += 1
    except CheckCondition as failure:
        record.failure = failure
        record.status = codec.FAILED
        raise
    except BaseException:
        record.status = codec.FAILED
        raise
    finally:
        for unit in units:
            unit.copies.discard(record)
        for over in record.on_over:
            over()
    record.status = codec.COMPLETED
    return b""


def _resolve(nexus: UnitNexus, cscd: codec.Cscd) -> UnitNexus:
    for sibling in nexus.siblings():
        for own in unit_designators(sibling.unit):
            if (own.code_set, own.association, own.type, own.data) == cscd[:4]:
                if cscd.block_bytes not in (0, sibling.unit.block_bytes):
                    raise CheckCondition(COPY_TARGET_NOT_REACHABLE)
                return sibling
    raise CheckCondition(COPY_TARGET_NOT_REACHABLE)


def _may(nexus: UnitNexus, opcode: int) -> None:
    """A copy may do what READ and WRITE of the same initiator could do, as long as it is there."""
    if nexus not in nexus.unit.nexuses or nexus.unit.device.closing:
        raise CheckCondition(COPY_TARGET_NOT_REACHABLE)
    nexus.check_access(bytes((opcode, *bytes(15))))
    if opcode == op.WRITE_16:
        writable(nexus)


async def _copy_segment(
    reached: list[UnitNexus], segment: codec.BlockToBlock, task: TargetTask | None, record: CopyRecord
) -> None:
    if max(segment.source, segment.destination) >= len(reached):
        raise CheckCondition(UNREACHABLE_COPY_TARGET)
    source, destination = reached[segment.source], reached[segment.destination]
    counted = destination if segment.destination_count else source
    length = segment.blocks * counted.unit.block_bytes
    if (
        length > MAX_SEGMENT_BYTES
        or length % destination.unit.block_bytes
        or length % source.unit.block_bytes
    ):
        raise CheckCondition(COPY_SEGMENT_FAILED)
    try:
        _may(source, op.READ_16)
        _may(destination, op.WRITE_16)
        in_range(source, segment.source_lba, length // source.unit.block_bytes)
        in_range(destination, segment.destination_lba, length // destination.unit.block_bytes)
        await _move(source, destination, segment, length, task, record)
    except CheckCondition as error:
        # SPC-4 §6.4.5: whatever stops a segment, the copy ends in COPY ABORTED.
        raise CheckCondition(COPY_SEGMENT_FAILED, information=record.segments) from error


async def _move(
    source: UnitNexus,
    destination: UnitNexus,
    segment: codec.BlockToBlock,
    length: int,
    task: TargetTask | None,
    record: CopyRecord,
) -> None:
    block_bytes = destination.unit.block_bytes
    start = segment.source_lba * source.unit.block_bytes
    shift = segment.destination_lba * block_bytes - start
    steps = list(chunks(start, length))
    if source.unit is destination.unit and 0 < shift < length:
        steps.reverse()  # the ranges overlap: nothing may be overwritten before it was read
    for offset, size in steps:
        if record.stopped or (task is not None and aborted(task)):
            raise CheckCondition(COPY_SEGMENT_FAILED)
        async with destination.unit.exclusively((offset + shift) // block_bytes, size // block_bytes):
            _may(source, op.READ_16)
            data = await read_bytes(source, offset, size)
            # Who has been preempted or has left must not write any more, not even in the background.
            _may(destination, op.WRITE_16)
            if record.stopped:
                raise CheckCondition(COPY_SEGMENT_FAILED)
            await write_bytes(destination, offset + shift, data)
        record.transferred_bytes += size


# RECEIVE COPY RESULTS


def _record(nexus: UnitNexus, list_id: int) -> CopyRecord:
    record = nexus.unit.device.copies.get(nexus, {}).get(list_id)
    if record is None:
        raise CheckCondition(INVALID_FIELD_IN_CDB, sense_key_specific=field_pointer(2, 7))
    return record


def _sense(nexus: UnitNexus, record: CopyRecord) -> bytes:
    if record.failure is None:
        return b""
    return record.failure.sense_data(nexus.unit.device.mode.descriptor_sense)


def copy_status_lid1(nexus: UnitNexus, cdb: bytes) -> bytes:
    """RECEIVE COPY STATUS(LID1)."""
    _, _, list_id, allocation, _, _ = COPY_RESULTS_LID1.unpack_from(cdb)
    record = _record(nexus, list_id)
    return codec.build_status_lid1(record.status, record.segments, record.transferred_bytes)[:allocation]


def copy_status_lid4(nexus: UnitNexus, cdb: bytes) -> bytes:
    """RECEIVE COPY STATUS(LID4)."""
    _, _, list_id, allocation, _, _ = COPY_RESULTS_LID4.unpack_from(cdb)
    record = _record(nexus, list_id)
    completion = CHECK_CONDITION if record.status == codec.FAILED else GOOD
    return codec.build_status_lid4(
        record.status, record.segments, record.transferred_bytes, completion, _sense(nexus, record)
    )[:allocation]


def failure_details(nexus: UnitNexus, cdb: bytes) -> bytes:
    """RECEIVE COPY FAILURE DETAILS(LID1); they are told once."""
    _, _, list_id, allocation, _, _ = COPY_RESULTS_LID1.unpack_from(cdb)
    record = _record(nexus, list_id)
    if record.status == codec.IN_PROGRESS:
        raise CheckCondition(INVALID_FIELD_IN_CDB, sense_key_specific=field_pointer(2, 7))
    if record.status == codec.COMPLETED:
        return codec.build_failure_details(None, b"")[:allocation]
    del nexus.unit.device.copies[nexus][list_id]
    return codec.build_failure_details(CHECK_CONDITION, _sense(nexus, record))[:allocation]


def operating_parameters(nexus: UnitNexus, cdb: bytes) -> bytes:
    """RECEIVE COPY OPERATING PARAMETERS."""
    _, _, _, allocation, _, _ = COPY_RESULTS_LID1.unpack_from(cdb)
    return codec.build_operating_parameters(COPY_LIMITS, MAX_SEGMENT_BYTES, MAX_RECORDS)[:allocation]


_COPY = usage("1f0000000000000000ffffffff0004")
_RESULTS_1 = usage("1fff00000000000000ffffffff0004")
_RESULTS_4 = usage("1fffffffff00000000ffffffff0004")

COMMANDS: dict[int, Command] = {
    op.EXTENDED_COPY: by_action(
        {
            op.SA_EXTENDED_COPY_LID1: Command(extended_copy, _COPY, copy_data_out_bytes),
            op.SA_EXTENDED_COPY_LID4: Command(extended_copy, _COPY, copy_data_out_bytes),
        }
    ),
    op.RECEIVE_COPY_RESULTS: by_action(
        {
            op.SA_COPY_STATUS_LID1: Command(answer(copy_status_lid1), _RESULTS_1),
            op.SA_COPY_OPERATING_PARAMETERS: Command(answer(operating_parameters), _RESULTS_1),
            op.SA_COPY_FAILURE_DETAILS_LID1: Command(answer(failure_details), _RESULTS_1),
            op.SA_COPY_STATUS_LID4: Command(answer(copy_status_lid4), _RESULTS_4),
        }
    ),
}
