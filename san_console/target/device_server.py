"""The device server: the table of SCSI commands that a logical unit understands (SPC-4, SBC-3).

A command that is not in the table ends in ILLEGAL REQUEST, INVALID COMMAND OPERATION CODE. REPORT
SUPPORTED OPERATION CODES tells the same table.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, field

from san_console.iscsi.target_task import TargetTask
from san_console.scsi import opcodes as op
from san_console.scsi.cdb_parse import MaintenanceInCommand, parse_cdb
from san_console.scsi.opcodes import CDB_BYTES_BY_GROUP
from san_console.scsi.sense import INVALID_FIELD_IN_CDB, field_pointer
from san_console.target import block_commands as block
from san_console.target import primary_commands as primary
from san_console.target.check_condition import CheckCondition
from san_console.target.logical_unit import Result, UnitNexus

Run = Callable[[UnitNexus, TargetTask], Result]
Answer = Callable[[UnitNexus, bytes], bytes]


@dataclass(slots=True)
class Command:
    """One operation code. `usage` are the CDB's bits that count, from octet 1 on (SPC-4 §6.31.3)."""

    run: Run
    usage: bytes
    data_out_bytes: Callable[[UnitNexus, bytes], int] | None = None
    """How many bytes the CDB takes from the initiator; checks the CDB before they are asked for."""
    ignores_attention: bool = False
    """INQUIRY, REPORT LUNS and REQUEST SENSE work while a unit attention is pending (SAM-5 §5.14)."""
    service_actions: tuple[int, ...] = field(default=())


def _answer(function: Answer) -> Run:
    return lambda nexus, task: function(nexus, task.cdb)


def _usage(mask: str) -> bytes:
    return bytes.fromhex(mask)


_RW_6 = _usage("1fffffff04")
_RW_10 = _usage("18ffffffff1fffff04")
_RW_12 = _usage("18ffffffffffffffff1f04")
_RW_16 = _usage("18ffffffffffffffffffffffff1f04")
_VERIFY_10 = _usage("16ffffffff1fffff04")
_VERIFY_12 = _usage("16ffffffffffffffff1f04")
_VERIFY_16 = _usage("16ffffffffffffffffffffffff1f04")
_SYNC_10 = _usage("02ffffffff1fffff04")
_SYNC_16 = _usage("02ffffffffffffffffffffffff1f04")

_SERVICE_ACTIONS_IN: dict[int, Answer] = {
    op.SA_READ_CAPACITY_16: primary.read_capacity_16,
    op.SA_GET_LBA_STATUS: block.get_lba_status,
}


def _by_service_action(table: dict[int, Answer]) -> Run:
    def run(nexus: UnitNexus, task: TargetTask) -> Result:
        answer = table.get(task.cdb[1] & 0x1F)
        if answer is None:
            raise CheckCondition(INVALID_FIELD_IN_CDB, sense_key_specific=field_pointer(1, 4))
        return answer(nexus, task.cdb)

    return run


# SPC-4 §6.31: REPORT SUPPORTED OPERATION CODES

_ALL_HEADER = struct.Struct(">I")
_ALL_DESCRIPTOR = struct.Struct(">BxHxBH")
_ONE_HEADER = struct.Struct(">BBH")
_TIMEOUTS = struct.Struct(">HxBII")
_SUPPORT_NONE, _SUPPORT_STANDARD = 1, 3
_SERVACTV, _CTDP = 1, 2
_CTDP_ONE = 0x80
_RCTD = 0x80
# Nominal: not told. Recommended, in seconds: what open-iscsi and Windows give a disk before they abort
# (SPC-4 §6.31.4).
_COMMAND_TIMEOUTS = _TIMEOUTS.pack(_TIMEOUTS.size - 2, 0, 0, 60)


def _cdb_bytes(opcode: int) -> int:
    return CDB_BYTES_BY_GROUP[opcode >> 5]


def _report_supported_opcodes(nexus: UnitNexus, cdb: bytes) -> bytes:
    command = parse_cdb(cdb)
    assert isinstance(command, MaintenanceInCommand)  # the table brought it here
    reporting = command.options & 7
    timeouts = _COMMAND_TIMEOUTS if command.options & _RCTD else b""
    if reporting == 0:
        rows = [
            _ALL_DESCRIPTOR.pack(
                opcode,
                action or 0,
                (_SERVACTV if action is not None else 0) | (_CTDP if timeouts else 0),
                _cdb_bytes(opcode),
            )
            + timeouts
            for opcode, entry in COMMANDS.items()
            for action in (entry.service_actions or (None,))
        ]
        data = b"".join(rows)
        return (_ALL_HEADER.pack(len(data)) + data)[: command.allocation]
    return _one_opcode(command, reporting, timeouts)[: command.allocation]


def _one_opcode(command: MaintenanceInCommand, reporting: int, timeouts: bytes) -> bytes:
    entry = COMMANDS.get(command.requested_opcode)
    actions = entry.service_actions if entry else ()
    # Option 1 is for commands without service actions, 2 for those with (SPC-4 table 236).
    if reporting > 3 or (entry and reporting == 1 and actions) or (entry and reporting == 2 and not actions):
        raise CheckCondition(INVALID_FIELD_IN_CDB, sense_key_specific=field_pointer(2, 2))
    if entry is None or (actions and command.requested_service_action not in actions):
        return _ONE_HEADER.pack(0, _SUPPORT_NONE, 0)
    usage = bytearray([command.requested_opcode]) + entry.usage
    if actions:
        usage[1] = command.requested_service_action & 0x1F
    flags = _SUPPORT_STANDARD | (_CTDP_ONE if timeouts else 0)
    return _ONE_HEADER.pack(0, flags, len(usage)) + usage + timeouts


_MAINTENANCE_IN: dict[int, Answer] = {
    op.SA_REPORT_SUPPORTED_OPERATION_CODES: _report_supported_opcodes,
    op.SA_REPORT_SUPPORTED_TASK_MANAGEMENT_FUNCTIONS: primary.report_supported_task_management,
}

COMMANDS: dict[int, Command] = {
    op.TEST_UNIT_READY: Command(_answer(primary.nothing), _usage("0000000004")),
    op.REQUEST_SENSE: Command(_answer(primary.request_sense), _usage("010000ff04"), ignores_attention=True),
    op.READ_6: Command(block.read, _RW_6),
    op.WRITE_6: Command(block.write, _RW_6, block.write_bytes),
    op.INQUIRY: Command(_answer(primary.inquiry), _usage("01ffffff04"), ignores_attention=True),
    op.MODE_SENSE_6: Command(_answer(primary.mode_sense), _usage("08ffffff04")),
    op.START_STOP_UNIT: Command(_answer(primary.start_stop), _usage("01000f0304")),
    op.PREVENT_ALLOW_MEDIUM_REMOVAL: Command(_answer(primary.nothing), _usage("0000000304")),
    op.READ_CAPACITY_10: Command(_answer(primary.read_capacity_10), _usage("00ffffffff00000004")),
    op.READ_10: Command(block.read, _RW_10),
    op.WRITE_10: Command(block.write, _RW_10, block.write_bytes),
    op.WRITE_AND_VERIFY_10: Command(block.write_and_verify, _VERIFY_10, block.write_bytes),
    op.VERIFY_10: Command(block.verify, _VERIFY_10, block.verify_bytes),
    op.SYNCHRONIZE_CACHE_10: Command(block.synchronize_cache, _SYNC_10),
    op.WRITE_SAME_10: Command(block.write_same, _usage("08ffffffff1fffff04"), block.write_same_bytes),
    op.UNMAP: Command(block.unmap, _usage("00000000001fffff04"), block.unmap_bytes),
    op.MODE_SENSE_10: Command(_answer(primary.mode_sense), _usage("08ffff000000ffff04")),
    op.PERSISTENT_RESERVE_IN: Command(
        _by_service_action(primary.PERSISTENT_RESERVE_IN),
        _usage("1f0000000000ffff04"),
        service_actions=tuple(primary.PERSISTENT_RESERVE_IN),
    ),
    op.READ_16: Command(block.read, _RW_16),
    op.WRITE_16: Command(block.write, _RW_16, block.write_bytes),
    op.WRITE_AND_VERIFY_16: Command(block.write_and_verify, _VERIFY_16, block.write_bytes),
    op.VERIFY_16: Command(block.verify, _VERIFY_16, block.verify_bytes),
    op.SYNCHRONIZE_CACHE_16: Command(block.synchronize_cache, _SYNC_16),
    op.WRITE_SAME_16: Command(
        block.write_same, _usage("09ffffffffffffffffffffffff1f04"), block.write_same_bytes
    ),
    op.SERVICE_ACTION_IN_16: Command(
        _by_service_action(_SERVICE_ACTIONS_IN),
        _usage("1fffffffffffffffffffffffff0004"),
        service_actions=tuple(_SERVICE_ACTIONS_IN),
    ),
    op.REPORT_LUNS: Command(
        _answer(primary.report_luns), _usage("00ff000000ffffffff0004"), ignores_attention=True
    ),
    op.MAINTENANCE_IN: Command(
        _by_service_action(_MAINTENANCE_IN),
        _usage("1f87ffffffffffffff0004"),
        service_actions=tuple(_MAINTENANCE_IN),
    ),
    op.READ_12: Command(block.read, _RW_12),
    op.WRITE_12: Command(block.write, _RW_12, block.write_bytes),
    op.WRITE_AND_VERIFY_12: Command(block.write_and_verify, _VERIFY_12, block.write_bytes),
    op.VERIFY_12: Command(block.verify, _VERIFY_12, block.verify_bytes),
}
assert all(len(entry.usage) + 1 == _cdb_bytes(opcode) for opcode, entry in COMMANDS.items())
