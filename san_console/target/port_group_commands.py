"""REPORT and SET TARGET PORT GROUPS (SPC-4 §6.37, §6.45), as service actions of MAINTENANCE IN and OUT."""

from __future__ import annotations

from san_console.iscsi.target_task import TargetTask
from san_console.scsi import alua
from san_console.scsi import opcodes as op
from san_console.scsi.errors import MalformedData
from san_console.scsi.sense import (
    INVALID_FIELD_IN_CDB,
    INVALID_FIELD_IN_PARAMETER_LIST,
    PARAMETER_LIST_LENGTH_ERROR,
    field_pointer,
)
from san_console.target.check_condition import CheckCondition
from san_console.target.command import Command, answer, by_action, usage
from san_console.target.unit_nexus import Result, UnitNexus

_FORMAT_MASK, _LENGTH_ONLY, _EXTENDED = 0xE0, 0, 1


def _report(nexus: UnitNexus, cdb: bytes) -> bytes:
    format_ = (cdb[1] & _FORMAT_MASK) >> 5
    if format_ not in (_LENGTH_ONLY, _EXTENDED):
        raise CheckCondition(INVALID_FIELD_IN_CDB, sense_key_specific=field_pointer(1, 7))
    allocation = int.from_bytes(cdb[6:10], "big")
    return alua.build_report(nexus.groups.report(), extended=format_ == _EXTENDED)[:allocation]


def _set_bytes(nexus: UnitNexus, cdb: bytes) -> int:
    length = int.from_bytes(cdb[6:10], "big")
    if length > alua.MAX_SET_BYTES:
        raise CheckCondition(PARAMETER_LIST_LENGTH_ERROR)
    return length


def _set(nexus: UnitNexus, task: TargetTask) -> Result:
    if not len(task.data_out):
        return b""  # nothing to change is no error
    try:
        wanted = alua.parse_set(task.data_out)
    except MalformedData:
        raise CheckCondition(PARAMETER_LIST_LENGTH_ERROR) from None
    tags = nexus.groups.tags()
    for row, (tag, state) in enumerate(wanted):
        if state not in alua.SETTABLE or tag not in tags:
            octet = alua.SET_HEADER_BYTES + 4 * row + (0 if state not in alua.SETTABLE else 2)
            raise CheckCondition(
                INVALID_FIELD_IN_PARAMETER_LIST, sense_key_specific=field_pointer(octet, in_cdb=False)
            )
    nexus.groups.set_by_initiator(dict(wanted), nexus.id)
    return b""


COMMANDS: dict[int, Command] = {
    op.MAINTENANCE_IN: by_action(
        {op.SA_REPORT_TARGET_PORT_GROUPS: Command(answer(_report), usage("ff00000000ffffffff0004"))}
    ),
    op.MAINTENANCE_OUT: by_action(
        {op.SA_SET_TARGET_PORT_GROUPS: Command(_set, usage("1f00000000ffffffff0004"), _set_bytes)}
    ),
}
