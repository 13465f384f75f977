"""Commands against reservations of others: the tables of SPC-4, SBC-3 and SPC-2."""

from __future__ import annotations

import pytest

from san_console.scsi import opcodes as op
from san_console.scsi import persistent_reservations as pr
from san_console.scsi.reservation_conflicts import (
    ALWAYS,
    READS,
    WRITES,
    access,
    conflicts,
    conflicts_with_reserve,
)
from san_console.scsi.transport_ids import InitiatorPort, NexusId

NAMED = (
    op.TEST_UNIT_READY, op.INQUIRY, op.REPORT_LUNS, op.REQUEST_SENSE, op.LOG_SENSE, op.READ_CAPACITY_10,
    op.PERSISTENT_RESERVE_IN, op.PERSISTENT_RESERVE_OUT, op.RESERVE_6, op.RELEASE_6, op.RESERVE_10,
    op.RELEASE_10,
)  # fmt: skip
READING = (
    op.READ_6, op.READ_10, op.READ_12, op.READ_16, op.VERIFY_10, op.VERIFY_12, op.VERIFY_16, op.PRE_FETCH_10,
    op.PRE_FETCH_16, op.READ_DEFECT_DATA_10, op.READ_DEFECT_DATA_12, op.MODE_SENSE_6, op.MODE_SENSE_10,
    op.READ_BUFFER, op.RECEIVE_DIAGNOSTIC_RESULTS,
)  # fmt: skip
WRITING = (
    op.WRITE_6, op.WRITE_10, op.WRITE_12, op.WRITE_16, op.WRITE_AND_VERIFY_10, op.WRITE_AND_VERIFY_12,
    op.WRITE_AND_VERIFY_16, op.WRITE_SAME_10, op.WRITE_SAME_16, op.WRITE_ATOMIC_16, op.COMPARE_AND_WRITE,
    op.ORWRITE_16, op.UNMAP, op.SANITIZE, op.FORMAT_UNIT, op.SYNCHRONIZE_CACHE_10, op.SYNCHRONIZE_CACHE_16,
    op.MODE_SELECT_6, op.MODE_SELECT_10, op.LOG_SELECT, op.EXTENDED_COPY, op.RECEIVE_COPY_RESULTS,
    op.MAINTENANCE_OUT, op.SEND_DIAGNOSTIC, op.WRITE_BUFFER, 0xC0,
)  # fmt: skip


def plain(opcode: int, octet1: int = 0, octet4: int = 0) -> bytes:
    return bytes([opcode, octet1, 0, 0, octet4]).ljust(16, b"\0")


TABLE = [
    *((plain(opcode), ALWAYS) for opcode in NAMED),
    *((plain(opcode), READS) for opcode in READING),
    *((plain(opcode), WRITES) for opcode in WRITING),
    (plain(op.SERVICE_ACTION_IN_16, op.SA_READ_CAPACITY_16), ALWAYS),
    (plain(op.SERVICE_ACTION_IN_16, op.SA_GET_LBA_STATUS), READS),
    (plain(op.MAINTENANCE_IN, op.SA_REPORT_TARGET_PORT_GROUPS), ALWAYS),
    (plain(op.MAINTENANCE_IN, 0x20 | op.SA_REPORT_TARGET_PORT_GROUPS), ALWAYS),
    (plain(op.MAINTENANCE_IN, op.SA_REPORT_SUPPORTED_OPERATION_CODES), READS),
    (plain(op.MAINTENANCE_IN, op.SA_REPORT_SUPPORTED_TASK_MANAGEMENT_FUNCTIONS), READS),
    (plain(op.START_STOP_UNIT, octet4=1), ALWAYS),
    (plain(op.START_STOP_UNIT, octet4=0), WRITES),
    (plain(op.START_STOP_UNIT, octet4=0x11), WRITES),
    (plain(op.PREVENT_ALLOW_MEDIUM_REMOVAL, octet4=0), ALWAYS),
    (plain(op.PREVENT_ALLOW_MEDIUM_REMOVAL, octet4=1), WRITES),
]


def nexus(name: str) -> NexusId:
    return NexusId(InitiatorPort(name, bytes(6)), 1)


@pytest.mark.parametrize(("cdb", "needed"), TABLE)
def test_persistent_reservations(cdb: bytes, needed: int) -> None:
    assert access(cdb) == needed
    for type_ in pr.TYPE_NAMES:
        state = pr.PersistentReservations()
        state.registrations = {nexus("holder"): 1, nexus("registrant"): 2}
        state.reserve(nexus("holder"), pr.Request(1), type_)
        outsider = needed == WRITES or (needed == READS and type_ in pr.EXCLUDES_READS)
        assert not conflicts(state, nexus("holder"), cdb)
        assert conflicts(state, nexus("registrant"), cdb) == (outsider and type_ not in pr.FOR_REGISTRANTS)
        assert conflicts(state, nexus("outsider"), cdb) == outsider
    assert not conflicts(pr.PersistentReservations(), nexus("outsider"), cdb)


@pytest.mark.parametrize(
    ("cdb", "holder", "others"),
    [
        (plain(op.READ_10), False, True),
        (plain(op.WRITE_10), False, True),
        (plain(op.TEST_UNIT_READY), False, True),
        (plain(op.RESERVE_6), False, True),
        (plain(op.RESERVE_10), False, True),
        (plain(op.RELEASE_6), False, False),
        (plain(op.RELEASE_10), False, False),
        (plain(op.INQUIRY), False, False),
        (plain(op.REQUEST_SENSE), False, False),
        (plain(op.REPORT_LUNS), False, False),
        (plain(op.READ_CAPACITY_10), False, False),
        (plain(op.SERVICE_ACTION_IN_16, op.SA_READ_CAPACITY_16), False, False),
        (plain(op.MAINTENANCE_IN, op.SA_REPORT_SUPPORTED_OPERATION_CODES), False, True),
        (plain(op.START_STOP_UNIT, octet4=1), False, False),
        (plain(op.START_STOP_UNIT), False, True),
        (plain(op.PREVENT_ALLOW_MEDIUM_REMOVAL), False, False),
        (plain(op.PREVENT_ALLOW_MEDIUM_REMOVAL, octet4=1), False, True),
        (plain(op.PERSISTENT_RESERVE_IN), True, True),
        (plain(op.PERSISTENT_RESERVE_OUT), True, True),
    ],
)
def test_reserve(cdb: bytes, holder: bool, others: bool) -> None:
    assert conflicts_with_reserve(cdb, holder=True) == holder
    assert conflicts_with_reserve(cdb, holder=False) == others
