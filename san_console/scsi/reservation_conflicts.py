"""Which commands a reservation of somebody else forbids (SPC-4 §5.13.1 table 66, SBC-3 table 13, SPC-2
§5.5.1).
"""

from __future__ import annotations

from san_console.scsi import opcodes as op
from san_console.scsi.persistent_reservations import EXCLUDES_READS, PersistentReservations
from san_console.scsi.transport_ids import NexusId

ALWAYS = 0
"""No reservation forbids it."""
READS = 1
"""Forbidden by EXCLUSIVE ACCESS."""
WRITES = 2
"""Forbidden by every type."""

_BY_OPCODE: dict[int, int] = {
    op.TEST_UNIT_READY: ALWAYS,
    op.INQUIRY: ALWAYS,
    op.REPORT_LUNS: ALWAYS,
    op.REQUEST_SENSE: ALWAYS,
    op.LOG_SENSE: ALWAYS,
    op.READ_CAPACITY_10: ALWAYS,
    op.PERSISTENT_RESERVE_IN: ALWAYS,
    op.PERSISTENT_RESERVE_OUT: ALWAYS,  # each service action has its own rules (table 68)
    op.RESERVE_6: ALWAYS,  # likewise (§5.13.3)
    op.RESERVE_10: ALWAYS,
    op.RELEASE_6: ALWAYS,
    op.RELEASE_10: ALWAYS,
    op.ACCESS_CONTROL_IN: ALWAYS,
    op.ACCESS_CONTROL_OUT: ALWAYS,
    op.READ_6: READS,
    op.READ_10: READS,
    op.READ_12: READS,
    op.READ_16: READS,
    op.VERIFY_10: READS,
    op.VERIFY_12: READS,
    op.VERIFY_16: READS,
    op.PRE_FETCH_10: READS,
    op.PRE_FETCH_16: READS,
    op.READ_DEFECT_DATA_10: READS,
    op.READ_DEFECT_DATA_12: READS,
    op.READ_BUFFER: READS,
    op.READ_LONG_10: READS,
    op.READ_ATTRIBUTE: READS,
    op.MODE_SENSE_6: READS,
    op.MODE_SENSE_10: READS,
    op.RECEIVE_DIAGNOSTIC_RESULTS: READS,
    op.SECURITY_PROTOCOL_IN: READS,
    op.SERVICE_ACTION_IN_16: READS,
    op.MAINTENANCE_IN: READS,
}
_BY_SERVICE_ACTION: dict[tuple[int, int], int] = {
    (op.SERVICE_ACTION_IN_16, op.SA_READ_CAPACITY_16): ALWAYS,
    (op.MAINTENANCE_IN, op.SA_REPORT_IDENTIFYING_INFORMATION): ALWAYS,
    (op.MAINTENANCE_IN, op.SA_REPORT_TARGET_PORT_GROUPS): ALWAYS,
    (op.MAINTENANCE_IN, op.SA_REPORT_ALIASES): ALWAYS,
    (op.MAINTENANCE_IN, op.SA_REPORT_PRIORITY): ALWAYS,
    (op.MAINTENANCE_IN, op.SA_REPORT_TIMESTAMP): ALWAYS,
}
_WITH_SERVICE_ACTION = frozenset(opcode for opcode, _ in _BY_SERVICE_ACTION)
_START, _POWER_CONDITION, _PREVENT = 0x01, 0xF0, 0x03


def access(cdb: bytes) -> int:
    """ALWAYS, READS or WRITES. What no table names counts as a write."""
    opcode = cdb[0]
    if opcode == op.START_STOP_UNIT:
        return ALWAYS if cdb[4] & _START and not cdb[4] & _POWER_CONDITION else WRITES
    if opcode == op.PREVENT_ALLOW_MEDIUM_REMOVAL:
        return WRITES if cdb[4] & _PREVENT else ALWAYS
    if opcode in _WITH_SERVICE_ACTION:
        return _BY_SERVICE_ACTION.get((opcode, cdb[1] & 0x1F), READS)
    return _BY_OPCODE.get(opcode, WRITES)


def conflicts(state: PersistentReservations, nexus: NexusId, cdb: bytes) -> bool:
    """True when the command of `nexus` ends in RESERVATION CONFLICT."""
    if state.shares(nexus):
        return False
    needed = access(cdb)
    return needed == WRITES or (needed == READS and state.type in EXCLUDES_READS)


# SPC-2 §5.5.1: what another initiator may still do while a unit is reserved with RESERVE. PERSISTENT RESERVE
# IN and OUT do not get past such a reservation, not even from its holder.
_DURING_RESERVE = frozenset(
    {
        op.INQUIRY,
        op.REPORT_LUNS,
        op.REQUEST_SENSE,
        op.LOG_SENSE,
        op.READ_CAPACITY_10,
        op.RELEASE_6,
        op.RELEASE_10,
        op.ACCESS_CONTROL_IN,
        op.ACCESS_CONTROL_OUT,
    }
)
_PERSISTENT = frozenset({op.PERSISTENT_RESERVE_IN, op.PERSISTENT_RESERVE_OUT})
_DEPENDS = frozenset({op.START_STOP_UNIT, op.PREVENT_ALLOW_MEDIUM_REMOVAL})


def conflicts_with_reserve(cdb: bytes, *, holder: bool) -> bool:
    """True when a reservation made with RESERVE(6) or (10) forbids the command."""
    opcode = cdb[0]
    if opcode in _PERSISTENT:
        return True
    if holder or opcode in _DURING_RESERVE:
        return False
    if opcode in _DEPENDS or opcode in _WITH_SERVICE_ACTION:
        return access(cdb) != ALWAYS
    return True
