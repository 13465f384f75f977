"""What one nexus may do, and in which order: attentions, exclusive ranges, ORDERED commands, offline."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from san_console.iscsi import opcodes as o
from san_console.iscsi.target_task import ABORTED
from san_console.scsi import cdb, sense
from san_console.scsi import opcodes as op
from san_console.scsi.sense import parse
from san_console.scsi.status import CHECK_CONDITION, GOOD, RESERVATION_CONFLICT
from san_console.target.config import MappingRule
from san_console.target.units import go_offline
from tests.target.hosts import Array, Host, Task
from tests.target.nodes import HeldWrites, Node

READ, WRITE = cdb.read_10(0, 1), cdb.write_10(0, 1)
BLOCK = b"x" * 512
INVENTORY = (0x3F, 0x0E)


@pytest.fixture
async def array() -> AsyncIterator[Array]:
    one = Array(luns=("memory:1M", "memory:1M"))
    yield one
    await one.close()


async def settle() -> None:
    """Let everything run that can."""
    for _ in range(10):
        await asyncio.sleep(0)


def ended(task: Task) -> bool:
    return task.answer is not None


# Unit attentions


async def test_a_new_nexus_hears_of_the_power_and_one_that_comes_back_of_the_loss(array: Array) -> None:
    host = Host(array, "a", 1, 0)
    assert host.attentions() == [(0x29, 0)]
    host.nexus.close()
    assert Host(array, "a", 1, 0).attentions() == [(0x29, 7)]
    assert Host(array, "a", 2, 0).attentions() == [(0x29, 0)]  # another port


async def test_inquiry_keeps_attentions_and_report_luns_answers_one_of_them(array: Array) -> None:
    host = array.host("a")
    host.attentions(1)
    for lun in (0, 1):
        host.nexus.by_lun[lun].add_attention(sense.CAPACITY_DATA_CHANGED)
        host.nexus.by_lun[lun].add_attention(sense.REPORTED_LUNS_DATA_CHANGED)
    await host.run(cdb.inquiry())
    assert not host.reads_fast()
    await host.run(cdb.report_luns(select_report=1))
    assert len(host.nexus.by_lun[0].attentions) == 2
    await host.run(cdb.report_luns())
    assert (host.attentions(0), host.attentions(1)) == ([(0x2A, 9)], [(0x2A, 9)])
    assert host.reads_fast()


async def test_report_luns_to_a_lun_that_is_not_there_answers_it_too(array: Array) -> None:
    host = array.host("a")
    host.nexus.by_lun[0].add_attention(sense.REPORTED_LUNS_DATA_CHANGED)
    task = Task(cdb.report_luns())
    host.nexus.unmapped.execute(task)  # type: ignore[arg-type] # a task of a few lines
    assert task.answer is not None
    assert task.answer[0] == GOOD
    assert host.attentions() == []


async def test_request_sense_takes_the_attention(array: Array) -> None:
    host = array.host("a")
    host.nexus.by_lun[0].add_attention(sense.MODE_PARAMETERS_CHANGED)
    found = parse(await host.run(cdb.request_sense()))
    assert (found.key, found.asc, found.ascq) == (6, 0x2A, 1)
    assert host.attentions() == []
    assert host.reads_fast()


async def test_a_changed_mapping_is_told_on_every_lun(array: Array) -> None:
    host = array.host("a")
    config = array.served.config
    object.__setattr__(config, "mappings", [MappingRule("*", "lun0", 0, read_only=True)])
    array.served.config = type(config)(
        config.name, config.groups, luns=config.luns, mappings=config.mappings, anyone=True
    )
    host.nexus.remap()
    assert host.nexus.lun_list() == [0]
    assert INVENTORY in host.attentions()
    assert not host.writes_fast()


# What is refused


async def test_no_aca_and_nothing_unknown(array: Array) -> None:
    host = array.host("a")
    task = host.begin(cdb.test_unit_ready(), flags=o.ATTR_ACA)
    assert task.answer is not None
    found = parse(task.answer[2])
    assert (found.key, found.asc, found.ascq) == (5, 0x49, 0)
    naca = cdb.read_10(0, 1)[:9] + b"\x04"
    assert await host.fails(naca) == (5, 0x24, 0)
    assert host.nexus.by_lun[0].read_now(naca.ljust(16, b"\0"), 512, None) is None  # type: ignore[arg-type]
    assert await host.fails(bytes([0xC0]) + bytes(9)) == (5, 0x20, 0)


async def test_an_offline_unit_serves_what_needs_no_medium(array: Array) -> None:
    host = array.host("a")
    array.unit.offline = "pulled out"
    array.unit.refresh()
    assert not host.reads_fast()
    assert not host.writes_fast()
    assert await host.fails(READ) == (2, 0x04, 0x12)
    assert await host.fails(cdb.test_unit_ready()) == (2, 0x04, 0x12)
    assert await host.run(cdb.inquiry())
    assert await host.run(cdb.persistent_reserve_in(op.SA_READ_KEYS)) == bytes(8)
    array.unit.offline = ""
    array.unit.refresh()
    assert host.reads_fast()


# Ranges for one command alone


async def test_who_has_a_range_alone_is_waited_for(array: Array) -> None:
    a, b = array.host("a"), array.host("b")
    async with array.unit.exclusively(0, 8):
        assert array.unit.busy
        assert not a.reads_fast()
        reading, writing = a.begin(READ), b.begin(WRITE, BLOCK)
        elsewhere = a.begin(cdb.read_10(100, 1))
        other = b.begin(cdb.test_unit_ready())
        await settle()
        assert [ended(one) for one in (reading, writing, elsewhere, other)] == [False, False, True, True]
    await settle()
    assert ended(reading)
    assert ended(writing)
    assert a.reads_fast()
    assert await a.run(READ) == BLOCK
    assert not array.unit.busy


async def test_a_command_that_was_aborted_while_it_waited_does_nothing(array: Array) -> None:
    host = array.host("a")
    async with array.unit.exclusively(0, 8):
        writing = host.begin(WRITE, BLOCK)
        await settle()
        writing.state = ABORTED
    await settle()
    assert ended(writing)
    assert await host.run(READ) == bytes(512)


async def test_a_refused_command_lets_go_of_its_range(array: Array) -> None:
    host = array.host("a")
    async with array.unit.exclusively(0, 8):
        beyond = host.begin(cdb.write_same_16(0, 1, unmap=True), BLOCK)
        await settle()
    await settle()
    assert ended(beyond)
    async with array.unit.exclusively(0, 2048):
        assert array.unit.busy


# ORDERED and HEAD OF QUEUE


async def test_an_ordered_command_among_simple_ones(array: Array) -> None:
    a, b = array.host("a"), array.host("b")
    async with array.unit.exclusively(0, 8):
        first = a.begin(READ)
        await settle()
        ordered = a.begin(cdb.test_unit_ready(), flags=o.ATTR_ORDERED)
        later, theirs = a.begin(cdb.test_unit_ready()), b.begin(cdb.read_10(100, 1))
        head = a.begin(cdb.test_unit_ready(), flags=o.ATTR_HEAD_OF_QUEUE)
        await settle()
        assert [ended(one) for one in (first, ordered, later, theirs, head)] == [
            False,
            False,
            False,
            False,
            True,
        ]
        assert not b.reads_fast()
    await settle()
    assert all(ended(one) for one in (first, ordered, later, theirs))
    assert a.reads_fast()
    assert b.reads_fast()


async def test_an_ordered_command_with_nothing_before_it_runs_at_once(array: Array) -> None:
    host = array.host("a")
    assert ended(host.begin(READ, flags=o.ATTR_ORDERED))
    assert not array.unit.task_set.barriers
    assert ended(host.begin(cdb.read_10(1 << 20, 1), flags=o.ATTR_ORDERED))  # refused, and no barrier left
    assert not array.unit.task_set.barriers


async def test_a_parked_command_that_is_aborted_is_let_go_of_and_does_nothing(array: Array) -> None:
    host = array.host("a")
    async with array.unit.exclusively(0, 8):
        first = host.begin(READ)
        await settle()
        ordered = host.begin(cdb.test_unit_ready(), flags=o.ATTR_ORDERED)
        parked = host.begin(WRITE, BLOCK)
        parked.state = ABORTED
        assert parked.on_abort is not None
        parked.on_abort()
        assert [ended(one) for one in (first, ordered, parked)] == [False, False, True]
    await settle()
    assert await host.run(READ) == bytes(512)


async def test_counting_by_compare_and_write_loses_nothing(tmp_path: Path) -> None:
    array = Array(luns=(f"file:{tmp_path}/disk,size=1M",))
    hosts = [array.host(name) for name in "abcd"]

    async def count(host: Host) -> None:
        """Add one to the number in block 5, twenty times; try again when somebody else was faster."""
        done = 0
        while done < 20:
            old = await host.run(cdb.read_10(5, 1))
            new = (int.from_bytes(old[:8], "big") + 1).to_bytes(8, "big") + old[8:]
            status = await host.status(cdb.compare_and_write(5, 1), old + new)
            assert status in (GOOD, CHECK_CONDITION)
            done += status == GOOD

    await asyncio.gather(*(count(host) for host in hosts))
    assert int.from_bytes((await hosts[0].run(cdb.read_10(5, 1)))[:8], "big") == 20 * len(hosts)
    assert not array.unit.busy
    await array.close()


# What was allowed when a command came may not be any more when its data is there, or its turn


def go(array: Array, _: Node) -> None:
    go_offline(array.unit, "it was taken offline")


def protect(array: Array, _: Node) -> None:
    array.unit.device.stopped = True
    array.unit.refresh()


@pytest.mark.parametrize("change", [go, protect])
async def test_a_write_whose_data_comes_late_is_looked_at_again(array: Array, change: object) -> None:
    node = Node(array, "a")
    node.send(WRITE, BLOCK[:256], edtl=512)
    assert callable(change)
    change(array, node)
    node.rest(BLOCK[256:], 256)
    assert await node.statuses() == [CHECK_CONDITION]
    assert bytes(await array.unit.backstore.read(0, 512)) == bytes(512)


async def test_nothing_of_a_preempted_initiator_is_written_afterwards(array: Array) -> None:
    a, b = Node(array, "a"), Node(array, "b")
    assert await a.reserve_out(op.SA_REGISTER, 0, 1) == [GOOD]
    assert await a.reserve_out(op.SA_RESERVE, 1, 0, 5) == [GOOD]
    assert await b.reserve_out(op.SA_REGISTER, 0, 2) == [GOOD]
    a.send(WRITE, BLOCK[:256], edtl=512)
    assert await b.reserve_out(op.SA_PREEMPT, 2, 1, 5) == [GOOD]
    a.rest(BLOCK[256:], 256)
    assert await a.statuses() == [RESERVATION_CONFLICT]
    assert bytes(await array.unit.backstore.read(0, 512)) == bytes(512)


async def test_two_that_wait_for_their_turn_do_not_both_get_the_reservation(
    array: Array, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b, c = (Node(array, name) for name in "abc")
    held = HeldWrites(monkeypatch, array.unit.backstore, c)
    c.send(WRITE, BLOCK)
    await held.begun.wait()
    c.send(WRITE, BLOCK, ordered=True)
    a.send(bytes([op.RESERVE_6, 0, 0, 0, 0, 0]))
    b.send(bytes([op.RESERVE_6, 0, 0, 0, 0, 0]))
    assert await a.statuses() == []
    held.go_on.set()
    assert (await a.statuses(), await b.statuses()) == ([GOOD], [RESERVATION_CONFLICT])
    assert await c.statuses() == [GOOD, GOOD]


async def test_a_handler_that_fails_at_once_leaves_no_task_behind(
    array: Array, monkeypatch: pytest.MonkeyPatch
) -> None:
    faults: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(context["exception"]))

    def broken(*_: object) -> None:
        raise MemoryError

    node = Node(array, "a")
    monkeypatch.setattr(array.unit.backstore, "write_nowait", broken)
    node.send(cdb.write_10(0, 1, fua=True), BLOCK)
    assert await node.statuses() == [CHECK_CONDITION]
    assert node.session.quiet
    gc.collect()  # asyncio tells of an exception that nobody has asked for when it forgets the task
    assert [type(fault) for fault in faults] == [MemoryError]


async def test_nobody_waits_for_a_command_whose_answer_waits_for_its_connection(
    array: Array, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At level 2 that may take as long as the initiator has asked for (DefaultTime2Wait)."""
    a, b = Node(array, "a", error_recovery_level=2, default_time2wait_s=3600), Node(array, "b")
    held = HeldWrites(monkeypatch, array.unit.backstore, a, b)
    a.send(WRITE, BLOCK, ordered=True)
    await held.begun.wait()
    a.side.link.drop()
    b.send(WRITE, BLOCK)
    b.send(WRITE, BLOCK, ordered=True)
    assert await b.statuses() == []
    held.go_on.set()
    assert await b.statuses() == [GOOD, GOOD]
    assert a.session.tasks


async def test_nobody_waits_for_data_that_will_only_be_dropped(array: Array) -> None:
    a, b = Node(array, "a"), Node(array, "b")
    itt = a.send(WRITE, BLOCK[:256], edtl=512, ordered=True)
    b.manage(o.TMF_CLEAR_TASK_SET)
    assert len(await b.answers()) == 1
    a.unit.attentions.pop(0)
    a.send(cdb.test_unit_ready())
    assert await a.statuses() == [GOOD]
    a.rest(BLOCK[256:], 256, itt)
    assert await a.statuses() == []
    assert a.session.quiet
