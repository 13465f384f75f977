"""Reservations among hosts: conflicts, who is told, what resets and losses end, and what is kept."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from san_console.iscsi import opcodes as o
from san_console.names.lun import encode_lun_u64
from san_console.scsi import cdb
from san_console.scsi import opcodes as op
from san_console.scsi.persistent_reservations import Request
from san_console.scsi.persistent_reservations_data import MAX_LIST_BYTES, build_move, build_out
from san_console.scsi.status import BUSY, GOOD, RESERVATION_CONFLICT
from san_console.scsi.transport_ids import InitiatorPort, build_transport_id
from san_console.target.check_condition import CheckCondition
from tests.target.hosts import NAME, Array, Host

WRITE = cdb.write_10(0, 1)
READ = cdb.read_10(0, 1)
BLOCK = bytes(512)
WRITE_EXCLUSIVE, EXCLUSIVE_ACCESS, ALL_REGISTRANTS = 1, 3, 8
PREEMPTED, RELEASED, REMOVED = (0x2A, 3), (0x2A, 4), (0x2A, 5)
CONFLICT = RESERVATION_CONFLICT


def nobody() -> None:
    """Nobody waits for the end of a reset."""


class Shelf:
    """A store in memory. `fails`: nothing can be written; `held`: writing takes until it is set."""

    def __init__(self) -> None:
        self.kept: dict[tuple[str, str], bytes] = {}
        self.fails = False
        self.written = asyncio.Event()
        self.written.set()

    def load(self, target: str, lun_id: str) -> bytes | None:
        return self.kept.get((target, lun_id))

    async def save(self, target: str, lun_id: str, data: bytes | None) -> None:
        await self.written.wait()
        if self.fails:
            raise OSError(28, "No space left on device")
        if data is None:
            self.kept.pop((target, lun_id), None)
        else:
            self.kept[target, lun_id] = data


@pytest.fixture
async def array() -> AsyncIterator[Array]:
    one = Array()
    yield one
    await one.close()


async def pr_out(
    host: Host, action: int, key: int = 0, new: int = 0, type_: int = 0, *, aptpl: bool = False
) -> int:
    """The status of a PERSISTENT RESERVE OUT."""
    data = build_out(Request(key, new, aptpl=aptpl))
    return await host.status(cdb.persistent_reserve_out(action, type_, len(data)), data)


async def registered(array: Array, **keys: int) -> list[Host]:
    hosts = []
    for name, key in keys.items():
        hosts.append(array.host(name))
        assert await pr_out(hosts[-1], op.SA_REGISTER, 0, key) == GOOD
    return hosts


async def keys(host: Host) -> list[int]:
    data = await host.run(cdb.persistent_reserve_in(op.SA_READ_KEYS))
    return [int.from_bytes(data[at : at + 8], "big") for at in range(8, len(data), 8)]


async def test_a_reservation_keeps_writers_or_everybody_off(array: Array) -> None:
    a, b = await registered(array, a=1, b=2)
    c = array.host("c")
    assert await pr_out(a, op.SA_RESERVE, 1, type_=WRITE_EXCLUSIVE) == GOOD
    assert (a.reads_fast(), a.writes_fast(), c.reads_fast(), c.writes_fast()) == (True, True, True, False)
    assert await c.status(WRITE, BLOCK) == CONFLICT
    assert await c.status(READ) == GOOD
    assert await pr_out(a, op.SA_PREEMPT, 1, 1, EXCLUSIVE_ACCESS) == GOOD
    assert b.attentions() == [RELEASED]
    assert (a.writes_fast(), b.reads_fast(), c.reads_fast()) == (True, False, False)
    assert await c.status(READ) == CONFLICT
    assert await c.status(cdb.test_unit_ready()) == GOOD
    assert await c.status(cdb.persistent_reserve_in(op.SA_READ_KEYS)) == GOOD
    assert await pr_out(c, op.SA_CLEAR, 1) == CONFLICT
    assert await pr_out(a, op.SA_RELEASE, 1, type_=EXCLUSIVE_ACCESS) == GOOD
    assert (b.writes_fast(), c.writes_fast()) == (True, True)


async def test_who_is_told_of_what(array: Array) -> None:
    a, b, c = await registered(array, a=1, b=2, c=3)
    assert await pr_out(a, op.SA_RESERVE, 1, type_=ALL_REGISTRANTS) == GOOD
    assert await pr_out(a, op.SA_PREEMPT, 1, 2) == GOOD
    assert [one.attentions() for one in (a, b, c)] == [[], [REMOVED], []]
    assert await pr_out(a, op.SA_RELEASE, 1, type_=ALL_REGISTRANTS) == GOOD
    assert [one.attentions() for one in (a, b, c)] == [[], [], [RELEASED]]
    assert await pr_out(c, op.SA_CLEAR, 3) == GOOD
    assert [one.attentions() for one in (a, b, c)] == [[PREEMPTED], [], []]
    assert await keys(a) == []


async def test_the_two_ports_of_a_host_are_two_nexuses(array: Array) -> None:
    first, second = array.host("a", 1), array.host("a", 2)
    assert await pr_out(first, op.SA_REGISTER, 0, 1) == GOOD
    assert await pr_out(first, op.SA_RESERVE, 1, type_=WRITE_EXCLUSIVE) == GOOD
    assert await second.status(WRITE, BLOCK) == CONFLICT
    data = build_out(Request(0, 1, all_target_ports=True))
    command = cdb.persistent_reserve_out(op.SA_REGISTER_AND_IGNORE_EXISTING_KEY, 0, len(data))
    assert await second.status(command, data) == GOOD
    ports = [(one.target_port, one.holder) for one in array.unit.reservations.describe()]
    assert ports == [(1, True), (2, False)]


async def test_registration_of_others_and_a_move_to_one(array: Array) -> None:
    a, b = array.host("a"), array.host("b", isid=5)
    ids = build_transport_id(InitiatorPort("iqn.2026-11.org.example:b", bytes(5) + b"\x05"))
    data = bytearray(build_out(Request(0, 7)))
    data[20] |= 8
    data += len(ids).to_bytes(4, "big") + ids
    assert await a.status(cdb.persistent_reserve_out(op.SA_REGISTER, 0, len(data)), bytes(data)) == GOOD
    assert await keys(b) == [7, 7]
    assert await pr_out(a, op.SA_RESERVE, 7, type_=EXCLUSIVE_ACCESS) == GOOD
    assert await b.status(WRITE, BLOCK) == CONFLICT
    move = build_move(Request(7, 9, unregister=True, target_port=1), b.nexus.by_lun[0].port)
    command = cdb.persistent_reserve_out(op.SA_REGISTER_AND_MOVE, 0, len(move))
    assert await a.status(command, move) == GOOD
    assert await b.status(WRITE, BLOCK) == GOOD
    assert await a.status(WRITE, BLOCK) == CONFLICT
    [info] = array.unit.reservations.describe()
    assert (info.initiator, info.isid, info.key, info.holder) == (
        "iqn.2026-11.org.example:b",
        "000000000005",
        9,
        True,
    )
    assert (info.type, info.aptpl) == ("exclusive access", False)


async def test_commands_that_are_wrong(array: Array) -> None:
    [a] = await registered(array, a=1)
    good = build_out(Request(1))
    assert await a.fails(cdb.persistent_reserve_out(op.SA_RESERVE, 0x11, 24), good) == (5, 0x24, 0)  # scope
    assert await a.fails(cdb.persistent_reserve_out(op.SA_RESERVE, 0x02, 24), good) == (5, 0x24, 0)  # type
    assert await a.fails(cdb.persistent_reserve_out(0x1F, 0, 24), good) == (5, 0x24, 0)
    assert await a.fails(cdb.persistent_reserve_in(0x1F)) == (5, 0x24, 0)
    assert await a.fails(cdb.persistent_reserve_out(op.SA_RESERVE, 1, 23), good[:23]) == (5, 0x1A, 0)
    assert await a.fails(cdb.persistent_reserve_out(op.SA_RESERVE, 1, MAX_LIST_BYTES + 1)) == (5, 0x1A, 0)
    assert await a.fails(cdb.persistent_reserve_out(op.SA_RESERVE, 1, 24), good[:20]) == (5, 0x1A, 0)
    lasting = build_out(Request(1, 2, aptpl=True))  # nowhere to keep it
    assert await a.fails(cdb.persistent_reserve_out(op.SA_REGISTER, 0, 24), lasting) == (5, 0x26, 0)
    assert await keys(a) == [1]


async def test_answers_are_cut_to_the_allocation_length(array: Array) -> None:
    [a] = await registered(array, a=1)
    for action in range(4):
        whole = await a.run(cdb.persistent_reserve_in(action))
        for length in (0, 4, 8, 11):
            assert await a.run(cdb.persistent_reserve_in(action, length)) == whole[:length]


async def test_preempt_and_abort_without_commands_to_abort(array: Array) -> None:
    a, b = await registered(array, a=1, b=2)
    assert await pr_out(a, op.SA_PREEMPT_AND_ABORT, 1, 2) == GOOD
    assert b.attentions() == [REMOVED]


# APTPL


async def test_a_reservation_outlives_a_restart() -> None:
    shelf = Shelf()
    before = Array(store=shelf)
    a = before.host("a")
    assert (await a.run(cdb.persistent_reserve_in(op.SA_REPORT_CAPABILITIES)))[2:4] == bytes([0x1D, 0x80])
    assert await pr_out(a, op.SA_REGISTER, 0, 1, aptpl=True) == GOOD
    assert await pr_out(a, op.SA_RESERVE, 1, type_=WRITE_EXCLUSIVE) == GOOD
    after = Array(store=shelf)
    b = after.host("b")
    assert await b.status(WRITE, BLOCK) == CONFLICT
    assert (await b.run(cdb.persistent_reserve_in(op.SA_REPORT_CAPABILITIES)))[2:4] == bytes([0x1D, 0x81])
    a = after.host("a")
    assert a.writes_fast()
    assert await pr_out(a, op.SA_REGISTER, 1, 2) == GOOD  # without APTPL: nothing is kept any more
    assert shelf.kept == {}
    await before.close()
    await after.close()


async def test_good_only_once_it_is_durable() -> None:
    shelf = Shelf()
    array = Array(store=shelf)
    a, b = array.host("a"), array.host("b")
    assert await pr_out(a, op.SA_REGISTER, 0, 1, aptpl=True) == GOOD
    shelf.written.clear()
    data = build_out(Request(1))
    task = a.begin(cdb.persistent_reserve_out(op.SA_RESERVE, WRITE_EXCLUSIVE, 24), data)
    for _ in range(5):
        await asyncio.sleep(0)
    assert not task.done.is_set()
    assert b.writes_fast()
    assert await b.status(bytes([op.RESERVE_6]) + bytes(5)) == BUSY
    shelf.written.set()
    await task.done.wait()
    assert task.answer == (GOOD, b"", b"")
    assert not b.writes_fast()
    await array.close()


async def test_what_cannot_be_kept_does_not_happen() -> None:
    shelf = Shelf()
    array = Array(store=shelf)
    a, b = array.host("a"), array.host("b")
    shelf.fails = True
    data = build_out(Request(0, 1, aptpl=True))
    assert await a.fails(cdb.persistent_reserve_out(op.SA_REGISTER, 0, 24), data) == (4, 0x44, 0)
    assert await keys(b) == []
    assert array.errors == ["A reservation of LUN lun0 could not be kept: No space left on device"]
    assert await pr_out(a, op.SA_REGISTER, 0, 1) == GOOD
    await array.close()


async def test_a_kept_state_that_cannot_be_read_is_told() -> None:
    shelf = Shelf()
    shelf.kept[NAME, "lun0"] = b"{"
    array = Array(store=shelf)
    assert "reservations of LUN lun0 are lost" in array.errors[0]
    await array.close()


# RESERVE and RELEASE


@pytest.mark.parametrize(
    ("reserve", "release"), [(op.RESERVE_6, op.RELEASE_6), (op.RESERVE_10, op.RELEASE_10)]
)
async def test_reserve_and_release(array: Array, reserve: int, release: int) -> None:
    a, b = array.host("a"), array.host("b")
    assert await a.status(bytes([reserve]) + bytes(9)) == GOOD
    assert await a.status(bytes([reserve]) + bytes(9)) == GOOD
    assert array.unit.reservations.legacy_holder == a.nexus.by_lun[0].id
    assert (a.writes_fast(), b.reads_fast()) == (True, False)
    assert await b.status(READ) == CONFLICT
    assert await b.status(bytes([reserve]) + bytes(9)) == CONFLICT
    assert await b.status(bytes([release]) + bytes(9)) == GOOD
    assert await b.status(READ) == CONFLICT
    for host in (a, b):
        assert await host.status(cdb.persistent_reserve_in(op.SA_READ_KEYS)) == CONFLICT
        assert await pr_out(host, op.SA_REGISTER, 0, 1) == CONFLICT
    assert await a.status(bytes([release]) + bytes(9)) == GOOD
    assert b.reads_fast()


@pytest.mark.parametrize("command", ["1601", "161e", "5601", "5610", "5602", "1701", "5710"])
async def test_no_third_parties_and_no_extents(array: Array, command: str) -> None:
    host = array.host("a")
    assert await host.fails(bytes.fromhex(command) + bytes(8)) == (5, 0x24, 0)


async def test_reserve_beside_persistent_reservations(array: Array) -> None:
    [a] = await registered(array, a=1)
    c = array.host("c")
    for host in (a, c):  # registrations, and no reservation
        assert await host.status(bytes([op.RESERVE_6]) + bytes(5)) == CONFLICT
        assert await host.status(bytes([op.RELEASE_6]) + bytes(5)) == CONFLICT
    assert await pr_out(a, op.SA_RESERVE, 1, type_=WRITE_EXCLUSIVE) == GOOD
    assert await a.status(bytes([op.RESERVE_6]) + bytes(5)) == GOOD
    assert await a.status(bytes([op.RELEASE_6]) + bytes(5)) == GOOD
    assert await c.status(bytes([op.RESERVE_6]) + bytes(5)) == CONFLICT
    assert array.unit.reservations.legacy_holder is None
    assert await c.status(WRITE, BLOCK) == CONFLICT


# Resets, losses, and the operator


@pytest.mark.parametrize("end", ["logout", "unit reset", "warm reset", "nexus reset"])
async def test_what_ends_a_reserve_and_leaves_registrations(array: Array, end: str) -> None:
    a, b = array.host("a"), array.host("b")
    assert await a.status(bytes([op.RESERVE_6]) + bytes(5)) == GOOD
    assert await a.status(bytes([op.PREVENT_ALLOW_MEDIUM_REMOVAL, 0, 0, 0, 1, 0])) == GOOD
    match end:
        case "logout":
            a.nexus.close()
        case "unit reset":
            b.nexus.reset(encode_lun_u64(0), o.TMF_LOGICAL_UNIT_RESET, nobody)
        case "warm reset":
            b.nexus.reset(None, o.TMF_TARGET_WARM_RESET, nobody)
        case "nexus reset":
            a.nexus.reset(None, o.TMF_I_T_NEXUS_RESET, nobody)
    told = {"logout": [], "nexus reset": []}.get(end, [(0x29, 3)])
    assert b.attentions() == told
    if end == "nexus reset":
        assert a.attentions() == [(0x29, 7)]
    assert b.writes_fast()
    assert not array.unit.device.prevented


async def test_persistent_reservations_outlive_resets_and_sessions(array: Array) -> None:
    a, b = await registered(array, a=1, b=2)
    assert await pr_out(a, op.SA_RESERVE, 1, type_=WRITE_EXCLUSIVE) == GOOD
    b.nexus.reset(None, o.TMF_TARGET_COLD_RESET, nobody)
    a.nexus.close()
    b.attentions()
    assert await keys(b) == [1, 2]
    assert await b.status(WRITE, BLOCK) == CONFLICT
    again = array.host("a")
    assert again.writes_fast()


async def test_clear_task_set_and_abort_task_set_end_no_reservation(array: Array) -> None:
    a, b = array.host("a"), array.host("b")
    assert await a.status(bytes([op.RESERVE_6]) + bytes(5)) == GOOD
    b.nexus.reset(encode_lun_u64(0), o.TMF_CLEAR_TASK_SET, nobody)
    b.nexus.reset(encode_lun_u64(0), o.TMF_ABORT_TASK_SET, nobody)
    assert (a.attentions(), b.attentions()) == ([(0x2F, 0)], [])
    assert await b.status(READ) == CONFLICT
    array.unit.device.mode.task_aborted_status = True  # the status of the commands tells
    b.nexus.reset(encode_lun_u64(0), o.TMF_CLEAR_TASK_SET, nobody)
    assert a.attentions() == []


async def test_the_operator_clears_everything(array: Array) -> None:
    a, b = await registered(array, a=1, b=2)
    assert await pr_out(a, op.SA_RESERVE, 1, type_=WRITE_EXCLUSIVE) == GOOD
    await array.unit.reservations.clear()
    assert (a.attentions(), b.attentions()) == ([PREEMPTED], [PREEMPTED])
    assert array.unit.reservations.describe() == []
    assert await a.status(bytes([op.RESERVE_6]) + bytes(5)) == GOOD
    await array.unit.reservations.clear()
    assert a.attentions() == [PREEMPTED]
    assert b.reads_fast()


async def test_what_the_operator_clears_has_to_be_kept_too() -> None:
    shelf = Shelf()
    array = Array(store=shelf)
    a = array.host("a")
    assert await pr_out(a, op.SA_REGISTER, 0, 1, aptpl=True) == GOOD
    shelf.fails = True
    with pytest.raises(CheckCondition):
        await array.unit.reservations.clear()
    assert await keys(a) == [1]
    await array.close()
