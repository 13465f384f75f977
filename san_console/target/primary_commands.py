"""Commands about the unit itself (SPC-4 §6, SBC-3 §5): TEST UNIT READY, REQUEST SENSE, START STOP UNIT,
REPORT LUNS, READ CAPACITY.
"""

from __future__ import annotations

from collections.abc import Callable

from san_console.iscsi.target_task import TargetTask
from san_console.scsi import capacity, luns
from san_console.scsi import inquiry as inquiry_data
from san_console.scsi import opcodes as op
from san_console.scsi.cdb_parse import (
    InquiryCommand,
    ReportLunsCommand,
    RequestSenseCommand,
    ServiceActionInCommand,
    StartStopCommand,
    parse_cdb,
)
from san_console.scsi.sense import (
    INVALID_FIELD_IN_CDB,
    LUN_NOT_SUPPORTED,
    Condition,
    build_descriptor,
    build_fixed,
    field_pointer,
)
from san_console.scsi.status import CHECK_CONDITION, GOOD
from san_console.target.backstore import Buffer
from san_console.target.block_access import flush
from san_console.target.check_condition import CheckCondition
from san_console.target.command import Command, answer, by_action, usage
from san_console.target.device_state import POWER_ACTIVE, POWER_IDLE, POWER_STANDBY
from san_console.target.inquiry_commands import physical_exponent
from san_console.target.logical_unit import LogicalUnit, Result, UnitNexus
from san_console.target.provisioning_commands import get_lba_status


def nothing(nexus: UnitNexus, cdb: bytes) -> bytes:
    """TEST UNIT READY: what could be wrong was looked at before."""
    return b""


# START STOP UNIT, PREVENT ALLOW MEDIUM REMOVAL


def check_start_stop(nexus: UnitNexus, cdb: bytes) -> int:
    """START STOP UNIT takes nothing. Loading and ejecting needs a removable medium (SBC-3 §5.25)."""
    command = parse_cdb(cdb)
    assert isinstance(command, StartStopCommand)  # the table brought it here
    if command.power_condition not in (0, POWER_ACTIVE, POWER_IDLE, POWER_STANDBY):
        raise CheckCondition(INVALID_FIELD_IN_CDB, sense_key_specific=field_pointer(4, 7))
    if not command.power_condition and command.load_eject:
        raise CheckCondition(INVALID_FIELD_IN_CDB, sense_key_specific=field_pointer(4, 1))
    return 0


def start_stop(nexus: UnitNexus, task: TargetTask) -> Result:
    """START STOP UNIT: nothing spins here, but a stopped unit answers as one that does."""
    return _start_stop(nexus, task)


async def _start_stop(nexus: UnitNexus, task: TargetTask) -> Buffer:
    command = parse_cdb(task.cdb)
    assert isinstance(command, StartStopCommand)  # the table brought it here
    device = nexus.unit.device
    no_flush = bool(task.cdb[4] & 0x04)
    stops = not command.power_condition and not command.start
    rests = stops or command.power_condition == POWER_STANDBY
    if rests and not no_flush and not nexus.unit.backstore.read_only:
        await flush(nexus)
    if command.power_condition:
        device.power = command.power_condition
        device.stopped = False
    else:
        device.stopped = stops
        if command.start:
            device.power = POWER_ACTIVE
    device.on_change()
    return b""


def prevent_allow(nexus: UnitNexus, cdb: bytes) -> bytes:
    """PREVENT ALLOW MEDIUM REMOVAL: kept for each nexus, although the medium is not removable."""
    if cdb[4] & 2:  # obsolete values
        raise CheckCondition(INVALID_FIELD_IN_CDB, sense_key_specific=field_pointer(4, 1))
    if cdb[4] & 1:
        nexus.unit.device.prevented.add(nexus)
    else:
        nexus.unit.device.prevented.discard(nexus)
    return b""


# REQUEST SENSE


def request_sense(nexus: UnitNexus, cdb: bytes) -> bytes:
    """REQUEST SENSE: the pending unit attention, which is thereby told, else the state of the unit (SPC-4
    §6.39).
    """
    command = parse_cdb(cdb)
    assert isinstance(command, RequestSenseCommand)  # the table brought it here
    if nexus.attentions:
        return _sense(nexus.attentions.pop(0), command)
    condition, specific = nexus.unit.device.pollable()
    return _sense(condition, command, specific)


def _sense(condition: Condition, command: RequestSenseCommand, specific: bytes | None = None) -> bytes:
    build = build_descriptor if command.descriptor else build_fixed
    return build(*condition, sense_key_specific=specific)[: command.allocation]


# REPORT LUNS


def report_luns(nexus: UnitNexus, cdb: bytes) -> bytes:
    """REPORT LUNS: what this session sees."""
    return _report_luns(nexus.lun_list(), cdb)


_ADMINISTRATIVE_REPORTS = (0x10, 0x11, 0x12)


def _report_luns(numbers: list[int], cdb: bytes) -> bytes:
    command = parse_cdb(cdb)
    assert isinstance(command, ReportLunsCommand)  # the table brought it here
    if command.select_report > 2 and command.select_report not in _ADMINISTRATIVE_REPORTS:
        raise CheckCondition(INVALID_FIELD_IN_CDB, sense_key_specific=field_pointer(2, 7))
    if command.allocation < 16:
        raise CheckCondition(INVALID_FIELD_IN_CDB, sense_key_specific=field_pointer(6, 7))
    # There is no well-known, administrative or subsidiary logical unit, which is all that the others ask for.
    return luns.build(numbers if command.select_report in (0, 2) else [])[: command.allocation]


# READ CAPACITY


def _capacity(unit: LogicalUnit) -> capacity.Capacity:
    return capacity.Capacity(
        blocks=unit.blocks,
        block_bytes=unit.block_bytes,
        physical_exponent=physical_exponent(unit),
        lbpme=unit.backstore.thin,
        lbprz=unit.backstore.thin,
    )


def read_capacity_10(nexus: UnitNexus, cdb: bytes) -> bytes:
    """READ CAPACITY(10). An LBA needs the PMI bit, which is obsolete (SBC-3 §5.15)."""
    if any(cdb[2:6]) and not cdb[8] & 1:
        raise CheckCondition(INVALID_FIELD_IN_CDB, sense_key_specific=field_pointer(2, 7))
    return capacity.build_10(_capacity(nexus.unit))


def read_capacity_16(nexus: UnitNexus, cdb: bytes) -> bytes:
    """READ CAPACITY(16)."""
    command = parse_cdb(cdb)
    assert isinstance(command, ServiceActionInCommand)  # the table brought it here
    if command.lba and not cdb[14] & 1:
        raise CheckCondition(INVALID_FIELD_IN_CDB, sense_key_specific=field_pointer(2, 7))
    return capacity.build_16(_capacity(nexus.unit))[: command.allocation]


class UnmappedUnit:
    """Answers for every LUN that the session does not see (SPC-4 §5.5.2). Implements
    `iscsi.target_device.LogicalUnit`.
    """

    def __init__(self, lun_list: Callable[[], list[int]]) -> None:
        self._lun_list = lun_list

    def read_now(self, cdb: bytes, length: int, arena: object) -> None:
        return None

    def write_now(self, cdb: bytes, data: Buffer) -> bool:
        return False

    def prepare(self, task: TargetTask) -> int:
        return 0

    def execute(self, task: TargetTask) -> None:
        try:
            task.complete(GOOD, self._answer(task.cdb))
        except CheckCondition as refused:
            task.complete(CHECK_CONDITION, b"", refused.sense)

    def _answer(self, cdb: bytes) -> bytes:
        if cdb[0] == op.REPORT_LUNS:
            return _report_luns(self._lun_list(), cdb)
        command = parse_cdb(cdb)
        if isinstance(command, InquiryCommand):
            if command.evpd or command.page:
                raise CheckCondition(INVALID_FIELD_IN_CDB)
            return inquiry_data.unsupported_lun()[: command.allocation]
        if isinstance(command, RequestSenseCommand):
            return _sense(LUN_NOT_SUPPORTED, command)
        raise CheckCondition(LUN_NOT_SUPPORTED)


COMMANDS: dict[int, Command] = {
    op.TEST_UNIT_READY: Command(answer(nothing), usage("0000000004")),
    op.REQUEST_SENSE: Command(answer(request_sense), usage("010000ff04"), ignores_attention=True),
    op.START_STOP_UNIT: Command(start_stop, usage("01000ff704"), check_start_stop),
    op.PREVENT_ALLOW_MEDIUM_REMOVAL: Command(answer(prevent_allow), usage("0000000304")),
    op.READ_CAPACITY_10: Command(answer(read_capacity_10), usage("00ffffffff00000004")),
    op.SERVICE_ACTION_IN_16: by_action(
        {
            op.SA_READ_CAPACITY_16: Command(
                answer(read_capacity_16), usage("1fffffffffffffffffffffffff0004")
            ),
            op.SA_GET_LBA_STATUS: Command(answer(get_lba_status), usage("1fffffffffffffffffffffffff0004")),
        }
    ),
    op.REPORT_LUNS: Command(answer(report_luns), usage("00ff000000ffffffff0004"), ignores_attention=True),
}
