"""Parameter data of persistent reservations, octet by octet, and the state as it is kept."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from san_console.scsi import opcodes as op
from san_console.scsi import persistent_reservations as pr
from san_console.scsi import persistent_reservations_data as data
from san_console.scsi import sense
from san_console.scsi.errors import MalformedData
from san_console.scsi.persistent_reservations import PersistentReservations, Refused, Request, Surroundings
from san_console.scsi.transport_ids import InitiatorPort, NexusId, TransportId, build_transport_id

A = NexusId(InitiatorPort("iqn.2026-11.org.example:a", bytes.fromhex("800000000001")), 1)
B = NexusId(InitiatorPort("iqn.2026-11.org.example:b", bytes.fromhex("800000000002")), 2)
OUT = bytes.fromhex("0000000000000007000000000000000800000000")


def held(type_: int) -> PersistentReservations:
    state = PersistentReservations()
    state.register(A, Request(0, 7), Surroundings())
    state.register(B, Request(0, 8), Surroundings())
    if type_:
        state.reserve(B, Request(8), type_)
    return state


def refused(octets: bytes, action: int = op.SA_REGISTER) -> sense.Condition | None:
    with pytest.raises(Refused) as info:
        data.parse_out(octets, action)
    return info.value.condition


# PERSISTENT RESERVE OUT


def test_the_flags_count_for_registrations_only() -> None:
    octets = OUT + bytes.fromhex("05000000")
    wanted = Request(7, 8, all_target_ports=True, aptpl=True)
    assert data.parse_out(octets, op.SA_REGISTER) == wanted
    assert data.parse_out(octets, op.SA_REGISTER_AND_IGNORE_EXISTING_KEY) == wanted
    assert data.parse_out(octets, op.SA_CLEAR) == Request(7, 8)
    assert data.build_out(wanted) == octets
    assert data.build_out(Request(7, 8)) == OUT + bytes(4)


def test_the_length_has_to_be_right() -> None:
    for action in (op.SA_REGISTER, op.SA_RESERVE):
        assert refused(OUT, action) == sense.PARAMETER_LIST_LENGTH_ERROR
        assert refused(OUT + bytes(8), action) == sense.PARAMETER_LIST_LENGTH_ERROR
    assert refused(OUT + bytes.fromhex("08000000")) == sense.PARAMETER_LIST_LENGTH_ERROR


def test_registration_of_others() -> None:
    ids = build_transport_id(A.port)
    head = OUT + bytes.fromhex("08000000")
    request = data.parse_out(head + len(ids).to_bytes(4, "big") + ids, op.SA_REGISTER)
    assert request == Request(7, 8, transport_ids=[TransportId(A.port.name, A.port.isid)], spec_i_pt=True)
    wrong = head + (len(ids) + 4).to_bytes(4, "big") + ids
    assert refused(wrong) == sense.PARAMETER_LIST_LENGTH_ERROR
    broken = head + (24).to_bytes(4, "big") + bytes(24)
    assert refused(broken) == sense.INVALID_FIELD_IN_PARAMETER_LIST
    flagged = data.parse_out(head, op.SA_REGISTER_AND_IGNORE_EXISTING_KEY)
    assert flagged.spec_i_pt  # the state machine refuses it


def test_register_and_move() -> None:
    wanted = Request(
        7,
        8,
        aptpl=True,
        unregister=True,
        target_port=2,
        transport_ids=[TransportId(A.port.name, A.port.isid)],
    )
    octets = data.build_move(wanted, A.port)
    assert octets[16:20] == bytes.fromhex("00030002")
    assert data.parse_out(octets, op.SA_REGISTER_AND_MOVE) == wanted
    assert data.build_move(Request(), A.port)[17] == 0
    assert refused(octets[:20], op.SA_REGISTER_AND_MOVE) == sense.PARAMETER_LIST_LENGTH_ERROR
    assert refused(octets + b"x", op.SA_REGISTER_AND_MOVE) == sense.PARAMETER_LIST_LENGTH_ERROR


@given(st.binary(max_size=120), st.integers(0, 7))
def test_nothing_breaks_the_parser(octets: bytes, action: int) -> None:
    try:
        request = data.parse_out(octets, action)
    except Refused:
        return
    assert len(octets) >= data.LIST_BYTES
    assert request.key == int.from_bytes(octets[:8], "big")


# PERSISTENT RESERVE IN


def test_keys() -> None:
    assert data.build_keys(held(0)) == bytes.fromhex("00000002 00000010 0000000000000007 0000000000000008")
    assert data.build_keys(PersistentReservations()) == bytes(8)


def test_the_reservation() -> None:
    assert data.build_reservation(held(0)) == bytes.fromhex("00000002 00000000")
    assert data.build_reservation(held(pr.EXCLUSIVE_ACCESS)) == bytes.fromhex(
        "00000002 00000010 0000000000000008 00000000 00 03 0000"
    )
    assert data.build_reservation(held(pr.WRITE_EXCLUSIVE_ALL_REGISTRANTS)) == bytes.fromhex(
        "00000002 00000010 0000000000000000 00000000 00 07 0000"
    )


def test_capabilities() -> None:
    state = PersistentReservations()
    assert data.build_capabilities(state, durable=False) == bytes.fromhex("0008 1c 80 ea01 0000")
    state.aptpl = True
    assert data.build_capabilities(state, durable=True) == bytes.fromhex("0008 1d 81 ea01 0000")


def test_full_status() -> None:
    ids = [build_transport_id(nexus.port) for nexus in (A, B)]
    rows = [
        bytes.fromhex("0000000000000007 00000000 0000 00000000 0001")
        + len(ids[0]).to_bytes(4, "big")
        + ids[0],
        bytes.fromhex("0000000000000008 00000000 0101 00000000 0002")
        + len(ids[1]).to_bytes(4, "big")
        + ids[1],
    ]
    expected = bytes.fromhex("00000002") + len(b"".join(rows)).to_bytes(4, "big") + b"".join(rows)
    assert data.build_full_status(held(pr.WRITE_EXCLUSIVE)) == expected


# Over a loss of power


@pytest.mark.parametrize("type_", [0, *pr.TYPE_NAMES])
def test_the_state_comes_back(type_: int) -> None:
    state = held(type_)
    back = data.load(data.dump(state))
    assert back.registrations == state.registrations
    assert (back.type, back.holder, back.aptpl, back.generation) == (type_, state.holder, True, 0)


def test_the_largest_state_can_be_read_again() -> None:
    state = PersistentReservations()
    for number in range(pr.MAX_REGISTRATIONS):
        port = InitiatorPort("iqn.2026-11.org.example:" + "x" * 199, number.to_bytes(6, "big"))
        state.registrations[NexusId(port, 65535)] = number + 1
    assert data.load(data.dump(state)).registrations == state.registrations


GOOD = json.loads(data.dump(held(pr.WRITE_EXCLUSIVE)))
CHANGES: tuple[dict[str, object], ...] = (
    {"version": 2},
    {"type": 2},
    {"type": 0},
    {"holder": 5},
    {"holder": -1},
    {"holder": None},
    {"registrations": []},
    {"registrations": [], "holder": -1, "type": 7},
    {"registrations": [["a", "00", 1, "07"]], "holder": 0},
    {"registrations": [["a", "00" * 6, 1, "00"]], "holder": 0},
    {"registrations": [["a", "zz" * 6, 1, "07"]], "holder": 0},
    {"registrations": [["a"]]},
    {"registrations": [["a", f"{n:012x}", 1, "07"] for n in range(pr.MAX_REGISTRATIONS + 1)]},
)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"{}",
        b"x" * (data.MAX_STATE_BYTES + 1),
        *(json.dumps(GOOD | change).encode() for change in CHANGES),
    ],
)
def test_a_state_that_is_none(content: bytes) -> None:
    with pytest.raises(MalformedData):
        data.load(content)
