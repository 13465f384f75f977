"""PERSISTENT RESERVE IN and OUT (SPC-4 §6.15, §6.16), RESERVE and RELEASE (SPC-2 §7.16, §7.21)."""

from __future__ import annotations

from collections.abc import Callable

from san_console.iscsi.target_task import TargetTask
from san_console.scsi import opcodes as op
from san_console.scsi.cdb_parse import PersistentReserveInCommand, PersistentReserveOutCommand, parse_cdb
from san_console.scsi.persistent_reservations_data import (
    LIST_BYTES,
    MAX_LIST_BYTES,
    build_capabilities,
    build_full_status,
    build_keys,
    build_reservation,
)
from san_console.scsi.sense import INVALID_FIELD_IN_CDB, PARAMETER_LIST_LENGTH_ERROR, field_pointer
from san_console.target.check_condition import CheckCondition
from san_console.target.command import Command, answer, by_action, usage
from san_console.target.unit_nexus import Result, UnitNexus


def _in(build: Callable[[UnitNexus], bytes]) -> Callable[[UnitNexus, bytes], bytes]:
    def read(nexus: UnitNexus, cdb: bytes) -> bytes:
        command = parse_cdb(cdb)
        assert isinstance(command, PersistentReserveInCommand)  # the table brought it here
        return build(nexus)[: command.allocation]

    return read


_read_keys = _in(lambda nexus: build_keys(nexus.unit.reservations.state))
_read_reservation = _in(lambda nexus: build_reservation(nexus.unit.reservations.state))
_read_full_status = _in(lambda nexus: build_full_status(nexus.unit.reservations.state))
_report_capabilities = _in(
    lambda nexus: build_capabilities(nexus.unit.reservations.state, durable=nexus.unit.reservations.durable)
)


def _out_bytes(nexus: UnitNexus, cdb: bytes) -> int:
    command = parse_cdb(cdb)
    assert isinstance(command, PersistentReserveOutCommand)  # the table brought it here
    if not LIST_BYTES <= command.parameter_list_bytes <= MAX_LIST_BYTES:
        raise CheckCondition(PARAMETER_LIST_LENGTH_ERROR)
    return command.parameter_list_bytes


def _out(nexus: UnitNexus, task: TargetTask) -> Result:
    # RFC 7143 §4.2.2.3.4 f: its answer must not pass those of tasks on other connections.
    task.fenced = task.cdb[1] & 0x1F == op.SA_PREEMPT_AND_ABORT
    return nexus.unit.reservations.out(nexus, task)


_THIRD_PARTY_6, _THIRD_PARTY_10, _EXTENT = 0x1E, 0x12, 0x01


def _check_reserve(cdb: bytes) -> None:
    """Whole units only, and only for oneself: third parties and extents went out with SPC-2."""
    unsupported = _EXTENT | (_THIRD_PARTY_6 if cdb[0] in (op.RESERVE_6, op.RELEASE_6) else _THIRD_PARTY_10)
    wrong = cdb[1] & unsupported
    if wrong:
        raise CheckCondition(
            INVALID_FIELD_IN_CDB, sense_key_specific=field_pointer(1, wrong.bit_length() - 1)
        )


def _reserve(nexus: UnitNexus, task: TargetTask) -> Result:
    _check_reserve(task.cdb)
    nexus.unit.reservations.reserve(nexus.id)
    return b""


def _release(nexus: UnitNexus, task: TargetTask) -> Result:
    _check_reserve(task.cdb)
    nexus.unit.reservations.release(nexus.id)
    return b""


_IN_USAGE = usage("1f0000000000ffff04")
_OUT_USAGE = usage("1fff0000ffffffff04")

COMMANDS: dict[int, Command] = {
    op.PERSISTENT_RESERVE_IN: by_action(
        {
            op.SA_READ_KEYS: Command(answer(_read_keys), _IN_USAGE),
            op.SA_READ_RESERVATION: Command(answer(_read_reservation), _IN_USAGE),
            op.SA_REPORT_CAPABILITIES: Command(answer(_report_capabilities), _IN_USAGE),
            op.SA_READ_FULL_STATUS: Command(answer(_read_full_status), _IN_USAGE),
        }
    ),
    op.PERSISTENT_RESERVE_OUT: by_action(
        {
            action: Command(_out, _OUT_USAGE, _out_bytes)
            for action in (
                op.SA_REGISTER,
                op.SA_RESERVE,
                op.SA_RELEASE,
                op.SA_CLEAR,
                op.SA_PREEMPT,
                op.SA_PREEMPT_AND_ABORT,
                op.SA_REGISTER_AND_IGNORE_EXISTING_KEY,
                op.SA_REGISTER_AND_MOVE,
            )
        }
    ),
    op.RESERVE_6: Command(_reserve, usage("0000000004")),
    op.RELEASE_6: Command(_release, usage("0000000004")),
    op.RESERVE_10: Command(_reserve, usage("000000000000000004")),
    op.RELEASE_10: Command(_release, usage("000000000000000004")),
}
