"""Target port groups and what their states serve."""

from __future__ import annotations

import pytest

from san_console.scsi import alua, cdb, sense
from san_console.scsi import opcodes as op
from san_console.scsi.errors import MalformedData

GROUPS = [
    alua.TargetPortGroup(1, alua.ACTIVE_OPTIMIZED, preferred=True),
    alua.TargetPortGroup(2, alua.STANDBY, status=alua.STATUS_BY_ITSELF),
]


def test_the_report() -> None:
    rows = "80cf0001 00000001 00000001" + "02cf0002 00020001 00000002"
    assert alua.build_report(GROUPS, extended=False) == bytes.fromhex("00000018" + rows)
    assert alua.build_report(GROUPS, extended=True) == bytes.fromhex("0000001c 10000000" + rows)


def test_the_list_of_states_to_set() -> None:
    assert alua.parse_set(bytes(4) + bytes.fromhex("00000001 02000002")) == [(1, 0), (2, 2)]
    assert alua.parse_set(bytes(4)) == []
    with pytest.raises(MalformedData):
        alua.parse_set(bytes(7))


SET = bytes([op.MAINTENANCE_OUT, op.SA_SET_TARGET_PORT_GROUPS]) + bytes(10)
REPORT = cdb.report_target_port_groups()
PR_IN = cdb.persistent_reserve_in(0)


@pytest.mark.parametrize(
    ("state", "condition", "served"),
    [
        (alua.STANDBY, sense.TARGET_PORT_IN_STANDBY, [PR_IN, cdb.mode_sense_6(8)]),
        (alua.UNAVAILABLE, sense.TARGET_PORT_UNAVAILABLE, []),
        (alua.OFFLINE, sense.LUN_OFFLINE, []),
        (alua.TRANSITIONING, sense.ACCESS_STATE_TRANSITION, []),
    ],
)
def test_states_that_serve_little(state: int, condition: sense.Condition, served: list[bytes]) -> None:
    assert not alua.serves_all(state)
    for command in (*served, SET, REPORT, cdb.inquiry(), cdb.report_luns(), cdb.request_sense()):
        assert alua.refusal(state, command) is None
    for command in (cdb.test_unit_ready(), cdb.read_10(0, 1), cdb.write_16(0, 1), cdb.read_capacity_16()):
        assert alua.refusal(state, command) == condition
    if not served:
        assert alua.refusal(state, PR_IN) == condition


@pytest.mark.parametrize("state", [alua.ACTIVE_OPTIMIZED, alua.ACTIVE_NON_OPTIMIZED])
def test_active_states_serve_all(state: int) -> None:
    assert alua.serves_all(state)
    assert alua.refusal(state, cdb.write_16(0, 1)) is None


def test_states_have_their_names() -> None:
    assert alua.STATES["standby"] == alua.STANDBY
