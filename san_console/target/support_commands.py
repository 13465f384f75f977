"""REPORT SUPPORTED OPERATION CODES and REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS (SPC-4 §6.31, §6.32)."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping

from san_console.scsi import opcodes as op
from san_console.scsi.cdb_parse import MaintenanceInCommand, parse_cdb
from san_console.scsi.sense import INVALID_FIELD_IN_CDB, field_pointer
from san_console.target.check_condition import CheckCondition
from san_console.target.command import Answer, Command, answer, cdb_bytes, usage
from san_console.target.logical_unit import LogicalUnit, UnitNexus

_ALL_HEADER = struct.Struct(">I")
_ALL_DESCRIPTOR = struct.Struct(">BxHxBH")
_ONE_HEADER = struct.Struct(">BBH")
_TIMEOUTS = struct.Struct(">HxBII")
_SUPPORT_NONE, _SUPPORT_STANDARD = 1, 3
_SERVACTV, _CTDP = 1, 2
_CTDP_ONE = 0x80
_RCTD = 0x80
_ALL, _ONE, _ONE_WITH_ACTION, _ONE_WITH_OR_WITHOUT = range(4)


def _timeouts(command: Command) -> bytes:
    # Nominal: not told. Recommended, in seconds (SPC-4 §6.31.4).
    return _TIMEOUTS.pack(_TIMEOUTS.size - 2, 0, 0, command.timeout_s)


def _rows(table: Mapping[int, Command], unit: LogicalUnit) -> Iterator[tuple[int, int | None, Command]]:
    for opcode, entry in table.items():
        if not entry.available(unit):
            continue
        if not entry.actions:
            yield opcode, None, entry
        for action, command in entry.actions.items():
            if command.available(unit):
                yield opcode, action, command


def report_supported_opcodes(table: Mapping[int, Command]) -> Answer:
    """The handler that tells `table`."""

    def report(nexus: UnitNexus, cdb: bytes) -> bytes:
        request = parse_cdb(cdb)
        assert isinstance(request, MaintenanceInCommand)  # the table brought it here
        with_timeouts = bool(request.options & _RCTD)
        if request.options & 7 == _ALL:
            data = b"".join(
                _ALL_DESCRIPTOR.pack(
                    opcode,
                    action or 0,
                    (_SERVACTV if action is not None else 0) | (_CTDP if with_timeouts else 0),
                    cdb_bytes(opcode),
                )
                + (_timeouts(command) if with_timeouts else b"")
                for opcode, action, command in _rows(table, nexus.unit)
            )
            return (_ALL_HEADER.pack(len(data)) + data)[: request.allocation]
        return _one(table, nexus.unit, request, with_timeouts)[: request.allocation]

    return report


def _one(
    table: Mapping[int, Command], unit: LogicalUnit, request: MaintenanceInCommand, with_timeouts: bool
) -> bytes:
    reporting = request.options & 7
    entry: Command | None = table.get(request.requested_opcode)
    has_actions = bool(entry and entry.actions)
    # Option 1 is for commands without service actions, 2 for those with (SPC-4 table 236).
    if (
        reporting > _ONE_WITH_OR_WITHOUT
        or (reporting == _ONE and has_actions)
        or (reporting == _ONE_WITH_ACTION and entry and not has_actions)
    ):
        raise CheckCondition(INVALID_FIELD_IN_CDB, sense_key_specific=field_pointer(2, 2))
    if entry and has_actions:
        entry = entry.actions.get(request.requested_service_action)
    if entry is None or not entry.available(unit):
        return _ONE_HEADER.pack(0, _SUPPORT_NONE, 0)
    mask = bytearray([request.requested_opcode]) + entry.usage
    if has_actions:  # the service action itself stands in its field, the bits beside it say what counts
        mask[1] = mask[1] & 0xE0 | request.requested_service_action & 0x1F
    flags = _SUPPORT_STANDARD | (_CTDP_ONE if with_timeouts else 0)
    tail = _timeouts(entry) if with_timeouts else b""
    return _ONE_HEADER.pack(0, flags, len(mask)) + mask + tail


_TASK_MANAGEMENT = struct.Struct(">BBxB")
_EXTENDED = struct.Struct(">B3xII")
_REPD = 0x80
# ABORT TASK, ABORT TASK SET, CLEAR TASK SET, LOGICAL UNIT RESET, QUERY TASK, TARGET RESET; QUERY ASYNCHRONOUS
# EVENT, QUERY TASK SET, I_T NEXUS RESET (RFC 7144 §3). There is no ACA to clear.
_FUNCTIONS_0 = 0x80 | 0x40 | 0x10 | 0x08 | 0x04 | 0x02
_FUNCTIONS_1 = 0x04 | 0x02 | 0x01
_TMFTMOV = 0x01
_LONG_TIMEOUT_100MS = 600
_SHORT_TIMEOUT_100MS = 50


def report_supported_task_management(nexus: UnitNexus, cdb: bytes) -> bytes:
    """REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS."""
    (allocation,) = struct.unpack_from(">I", cdb, 6)
    if allocation < _TASK_MANAGEMENT.size:  # SPC-4 §6.32
        raise CheckCondition(INVALID_FIELD_IN_CDB, sense_key_specific=field_pointer(6, 7))
    extended = b""
    if cdb[2] & _REPD:
        extended = _EXTENDED.pack(_TMFTMOV, _LONG_TIMEOUT_100MS, _SHORT_TIMEOUT_100MS)
    data = _TASK_MANAGEMENT.pack(_FUNCTIONS_0, _FUNCTIONS_1, len(extended)) + extended
    return data[:allocation]


def actions(table: Mapping[int, Command]) -> dict[int, Command]:
    """The two as service actions of MAINTENANCE IN, telling `table`."""
    return {
        op.SA_REPORT_SUPPORTED_OPERATION_CODES: Command(
            answer(report_supported_opcodes(table)), usage("1f87ffffffffffffff0004")
        ),
        op.SA_REPORT_SUPPORTED_TASK_MANAGEMENT_FUNCTIONS: Command(
            answer(report_supported_task_management), usage("1f80000000ffffffff0004")
        ),
    }
