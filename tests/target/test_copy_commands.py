"""EXTENDED COPY and RECEIVE COPY RESULTS."""

from __future__ import annotations

import asyncio
import errno
import os
import struct
from collections.abc import AsyncIterator
from typing import NoReturn

import pytest

from san_console.iscsi import opcodes as o
from san_console.iscsi.pdu import Pdu, TaskManagementResponse
from san_console.iscsi.target_task import ABORTED
from san_console.names.lun import encode_lun_u64
from san_console.scsi import cdb, vpd
from san_console.scsi import extended_copy as codec
from san_console.scsi import opcodes as op
from san_console.scsi.sense import parse
from san_console.target import copy_commands
from san_console.target.inquiry_commands import MAX_SEGMENT_BYTES
from tests.target.disk import INVALID_FIELD, INVALID_LIST, LIST_LENGTH, Disk
from tests.target.hosts import Array
from tests.target.nodes import HeldWrites, Node

SOURCE, DESTINATION, SECRET = "3111111111111111", "3222222222222222", "3333333333333333"
COPY_ABORTED = 0xA


@pytest.fixture
async def disk() -> AsyncIterator[Disk]:
    """Sees another LUN; a third one belongs to somebody else."""
    one = Disk("memory:4M,thin", naa=SOURCE)
    two = Disk("memory:4M,thin,block=4096", naa=DESTINATION)
    one.beside.append(two.nexus)
    yield one
    await one.unit.close()
    await two.unit.close()


def cscd(naa: str, block: int = 0) -> bytes:
    return bytes([0xE4, 0, 0, 0, 1, 3, 0, 8]) + bytes.fromhex(naa).ljust(20, b"\0") + block.to_bytes(4, "big")


def segment(source: int, destination: int, blocks: int, lba: int, to: int, flags: int = 0) -> bytes:
    return struct.pack(">BBHHHHHQQ", 2, flags, 24, source, destination, 0, blocks, lba, to)


def copy(*segments: bytes, cscds: bytes = b"", list_id: int = 7, usage: int = 0) -> tuple[bytes, bytes]:
    listed = b"".join(segments)
    cscds = cscds or cscd(SOURCE) + cscd(DESTINATION)
    data = struct.pack(">BBHIII", list_id, usage << 3, len(cscds), 0, len(listed), 0) + cscds + listed
    return command(0, len(data)), data


def copy_4(*segments: bytes, list_id: int, flags: int) -> tuple[bytes, bytes]:
    listed, cscds = b"".join(segments), cscd(SOURCE) + cscd(DESTINATION)
    header = bytearray(48)
    header[0], header[2:4], header[15], header[16] = 1, b"\0\x20", flags, 0xFF
    header[20:24] = list_id.to_bytes(4, "big")
    header[42:46] = struct.pack(">HH", len(cscds), len(listed))
    return command(1, 48 + len(cscds) + len(listed)), bytes(header) + cscds + listed


def command(action: int, length: int) -> bytes:
    return bytes([op.EXTENDED_COPY, action]) + bytes(8) + length.to_bytes(4, "big") + b"\0\0"


def results(action: int, list_id: int, allocation: int = 512) -> bytes:
    identifier = list_id.to_bytes(4, "big") if action == 5 else bytes([list_id, 0, 0, 0])
    return (
        bytes([op.RECEIVE_COPY_RESULTS, action])
        + identifier
        + bytes(4)
        + allocation.to_bytes(4, "big")
        + b"\0\0"
    )


async def test_a_copy_between_two_luns(disk: Disk) -> None:
    data = os.urandom(3 << 20)
    disk.unit.backstore.write_nowait(512, data)
    await disk.run(*copy(segment(0, 1, 6144, 1, 8)))
    other = disk.beside[0].unit.backstore
    assert bytes(await other.read(8 * 4096, len(data))) == data
    status = await disk.run(results(0, 7))
    assert status == codec.build_status_lid1(codec.COMPLETED, 1, len(data))
    assert await disk.run(results(4, 7)) == bytes(4)


async def test_the_count_is_of_the_destination_with_dc(disk: Disk) -> None:
    disk.unit.backstore.write_nowait(0, b"x" * 8192)
    await disk.run(*copy(segment(0, 1, 2, 0, 0, flags=2)))
    assert bytes(await disk.beside[0].unit.backstore.read(0, 8192)) == b"x" * 8192
    # 9 blocks of 512 are no whole number of 4096.
    assert (await disk.refused(*copy(segment(0, 1, 9, 0, 0)))).key == COPY_ABORTED


@pytest.mark.parametrize(("lba", "to"), [(0, 1000), (1000, 0), (0, 4000), (3000, 2)])
async def test_overlapping_ranges_of_one_lun(disk: Disk, lba: int, to: int) -> None:
    data = os.urandom(4096 * 512)
    disk.unit.backstore.write_nowait(lba * 512, data)
    await disk.run(*copy(segment(0, 0, 4096, lba, to), cscds=cscd(SOURCE, 512)))
    assert bytes(await disk.unit.backstore.read(to * 512, len(data))) == data


async def test_a_lun_that_the_nexus_does_not_see_cannot_be_named(disk: Disk) -> None:
    secret = Disk("memory:4M", naa=SECRET)
    for cscds in (cscd(SOURCE) + cscd(SECRET), cscd(SECRET) + cscd(SOURCE), cscd(SOURCE, 520) + cscd(SOURCE)):
        sense = await disk.refused(*copy(segment(0, 1, 8, 0, 0), cscds=cscds))
        assert (sense.key, sense.asc, sense.ascq) == (COPY_ABORTED, 0x0D, 2)
    await secret.unit.close()


async def test_every_limit_that_is_told_is_kept(disk: Disk) -> None:
    told = await disk.run(results(3, 0))
    cscds, segments, list_bytes, segment_bytes = struct.unpack_from(">HHII", told, 8)
    page = await disk.run(cdb.inquiry(0x8F, 1024))
    assert vpd.page_body(page, 0x8F)
    one = cscd(SOURCE)
    assert await disk.fails(*copy(segment(0, 0, 1, 0, 9), cscds=one * (cscds + 1))) == (5, 0x26, 6)
    assert await disk.fails(*copy(*[segment(0, 0, 1, 0, 9)] * (segments + 1), cscds=one)) == (5, 0x26, 8)
    assert await disk.fails(command(0, list_bytes + 49)) == LIST_LENGTH
    too_long = one * (list_bytes // 32 + 1)
    assert await disk.fails(*copy(cscds=too_long)) == LIST_LENGTH
    assert segment_bytes == MAX_SEGMENT_BYTES
    await disk.run(*copy(*[segment(0, 0, 1, 0, 9)] * segments, cscds=one * cscds))


@pytest.mark.parametrize(
    ("segments", "code"),
    [
        ([segment(0, 2, 8, 0, 0)], (COPY_ABORTED, 0x08, 4)),
        ([segment(0, 1, 8, 8190, 0)], (COPY_ABORTED, 0, 0)),
        ([segment(0, 1, 8, 0, 1024)], (COPY_ABORTED, 0, 0)),
        ([segment(0, 1, 8, 0, 0), segment(0, 1, 8, 0, 1 << 60)], (COPY_ABORTED, 0, 0)),
    ],
)
async def test_segments_that_fail(disk: Disk, segments: list[bytes], code: tuple[int, int, int]) -> None:
    assert await disk.fails(*copy(*segments)) == code
    status = await disk.run(results(0, 7))
    assert status[4:7] == bytes([codec.FAILED, 0, len(segments) - 1])
    details = await disk.run(results(4, 7))
    assert details[56] == 2
    assert parse(details[60:]).key == COPY_ABORTED
    assert await disk.fails(results(4, 7)) == INVALID_FIELD  # told once


async def test_what_the_initiator_may_not_write_it_may_not_copy_to(disk: Disk) -> None:
    disk.beside[0].mapped_read_only = True
    disk.beside[0].refresh()
    assert (await disk.refused(*copy(segment(0, 1, 8, 0, 0)))).key == COPY_ABORTED
    await disk.run(*copy(segment(1, 0, 1, 0, 0)))
    disk.beside[0].unit.offline = "taken away"
    assert (await disk.refused(*copy(segment(1, 0, 1, 0, 0)))).key == COPY_ABORTED


async def test_malformed_lists(disk: Disk) -> None:
    good = segment(0, 1, 8, 0, 0)
    assert await disk.run(command(0, 0)) == b""
    _, data = copy(good)
    assert await disk.fails(command(0, len(data) - 1), data[:-1]) == LIST_LENGTH
    assert await disk.fails(*copy(good, usage=1)) == INVALID_LIST
    assert await disk.fails(*copy(good, usage=3)) == INVALID_LIST
    await disk.run(*copy(good, usage=3, list_id=0))
    assert await disk.fails(*copy(good, cscds=b"\xe0" + cscd(SOURCE)[1:])) == (5, 0x26, 7)
    assert await disk.fails(*copy(b"\x03" + good[1:])) == (5, 0x26, 9)
    inline = bytearray(data) + b"1234"
    inline[12:16] = (4).to_bytes(4, "big")
    assert await disk.fails(command(0, len(inline)), bytes(inline)) == (5, 0x26, 0x0B)
    assert await disk.fails(command(2, 0)) == INVALID_FIELD
    for action in (0, 4, 5):
        assert await disk.fails(results(action, 99)) == INVALID_FIELD
    assert await disk.fails(results(1, 7)) == INVALID_FIELD


async def test_the_long_form_in_the_background(disk: Disk) -> None:
    disk.unit.backstore.write_nowait(0, b"b" * 4096)
    task = disk.begin(*copy_4(segment(0, 1, 8, 0, 3), list_id=0xABCDEF01, flags=1))
    assert task.answer is not None
    assert task.answer[0] == 0
    running = await disk.run(results(5, 0xABCDEF01))
    assert running[5] == 0x10
    assert await disk.fails(*copy_4(segment(0, 1, 8, 0, 3), list_id=0xABCDEF01, flags=1)) == (5, 0, 0x16)
    assert await disk.fails(results(4, 1)) == INVALID_FIELD
    await disk.unit.settle()
    assert (await disk.run(results(5, 0xABCDEF01)))[5] == 0x01
    assert bytes(await disk.beside[0].unit.backstore.read(3 * 4096, 4096)) == b"b" * 4096
    await disk.run(*copy_4(segment(0, 1, 8, 1 << 40, 3), list_id=5, flags=1))
    await disk.unit.settle()
    failed = await disk.run(results(5, 5))
    assert (failed[5], failed[12]) == (0x02, 2)
    assert parse(failed[32:]).key == COPY_ABORTED


async def test_records_are_bounded(disk: Disk) -> None:
    for number in range(copy_commands.MAX_RECORDS + 1):
        await disk.run(*copy(segment(0, 1, 8, 0, 0), list_id=number))
    assert await disk.fails(results(0, 0)) == INVALID_FIELD
    await disk.run(results(0, 1))


async def test_an_error_of_the_medium(disk: Disk) -> None:
    async def fail(offset: int, length: int) -> NoReturn:
        raise OSError(errno.EIO, "broken")

    disk.unit.backstore.read = fail  # type: ignore[method-assign]
    assert await disk.fails(*copy(segment(0, 1, 8, 0, 0))) == (COPY_ABORTED, 0, 0)
    assert len(disk.errors) == 1


async def test_an_aborted_copy_stops(disk: Disk) -> None:
    task = disk.begin(*copy(segment(0, 1, 8192, 0, 0)))
    task.state = ABORTED
    async with asyncio.timeout(5):
        await disk.unit.settle()
    assert (await disk.run(results(0, 7)))[4] == codec.FAILED


async def test_too_many_copies_at_once(disk: Disk) -> None:
    for number in range(copy_commands.MAX_RECORDS):
        await disk.run(*copy_4(segment(0, 1, 8, 0, 0), list_id=number, flags=1))
    assert await disk.fails(*copy_4(segment(0, 1, 8, 0, 0), list_id=99, flags=1)) == (5, 0, 0x16)
    assert (await disk.refused(results(4, 3))).asc == 0x24  # its copy has not ended
    await disk.unit.settle()
    await disk.run(*copy_4(segment(0, 1, 8, 0, 0), list_id=99, flags=0))


async def test_an_error_of_ours_is_a_failed_copy(disk: Disk) -> None:
    async def fail(offset: int, length: int) -> NoReturn:
        raise ZeroDivisionError

    errors: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: errors.append(context["exception"]))
    disk.unit.backstore.read = fail  # type: ignore[method-assign]
    assert await disk.fails(*copy(segment(0, 1, 8, 0, 0))) == (4, 0x44, 0)
    assert (await disk.run(results(0, 7)))[4] == codec.FAILED


async def test_a_reset_forgets_the_results(disk: Disk) -> None:
    await disk.run(*copy(segment(0, 1, 8, 0, 0)))
    assert await disk.other().fails(results(0, 7)) == INVALID_FIELD  # of another nexus
    disk.unit.reset()
    disk.nexus.attentions.pop(0)
    assert await disk.fails(results(0, 7)) == INVALID_FIELD


# Who copies may go away, and so may what is copied


async def test_a_copy_in_the_background_ends_with_its_nexus(
    disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = disk.beside[0].unit
    held = HeldWrites(monkeypatch, other.backstore)
    await disk.run(*copy_4(segment(0, 1, 8192, 0, 0), list_id=9, flags=1))
    await held.begun.wait()
    other.nexuses.clear()  # the session is over, or the LUN was taken from it
    held.go_on.set()
    await other.settle()
    assert held.landed == 1


def functions(pdus: list[Pdu]) -> list[int]:
    return [pdu.response for pdu in pdus if isinstance(pdu, TaskManagementResponse)]


RESETS = [(o.TMF_LOGICAL_UNIT_RESET, 0), (o.TMF_LOGICAL_UNIT_RESET, 1), (o.TMF_TARGET_WARM_RESET, 0)]


def reset(node: Node, function: int, lun: int) -> None:
    assert not node.side.feed(node.side.task_management(function, lun=encode_lun_u64(lun)))


@pytest.fixture
async def array() -> AsyncIterator[Array]:
    """LUN 0 is the source, LUN 1 the destination of `copy_4`; nobody copies from or to LUN 2."""
    one = Array(["memory:4M,thin"] * 3)
    for unit, naa in zip(one.units.values(), (SOURCE, DESTINATION, SECRET), strict=True):
        unit.naa = bytes.fromhex(naa)
    yield one
    await one.close()


@pytest.mark.parametrize(("function", "lun"), RESETS)
@pytest.mark.parametrize("immediate", [0, 1])
async def test_nothing_is_copied_any_more_after_a_reset(
    array: Array, monkeypatch: pytest.MonkeyPatch, function: int, lun: int, immediate: int
) -> None:
    node, other = Node(array, "a"), Node(array, "b")
    held = HeldWrites(monkeypatch, array.units["lun1"].backstore)
    node.send(*copy_4(segment(0, 1, 8192, 0, 0), list_id=9, flags=immediate))
    await held.begun.wait()
    assert await node.statuses() == [0] * immediate
    reset(other, function, lun)
    assert functions(await other.answers()) == []
    held.go_on.set()
    assert functions(await other.answers()) == [o.TMF_FUNCTION_COMPLETE]
    assert held.landed == 1
    await array.unit.settle()
    assert held.landed == 1
    assert not any(unit.copies for unit in array.units.values())


async def test_a_copy_that_has_not_begun_yet_ends_with_a_reset(
    array: Array, monkeypatch: pytest.MonkeyPatch
) -> None:
    node, other = Node(array, "a"), Node(array, "b")
    held = HeldWrites(monkeypatch, array.units["lun1"].backstore)
    held.go_on.set()
    node.send(*copy_4(segment(0, 1, 8192, 0, 0), list_id=9, flags=1))
    reset(other, o.TMF_LOGICAL_UNIT_RESET, 1)
    assert functions(await other.answers()) == [o.TMF_FUNCTION_COMPLETE]
    await array.unit.settle()
    assert held.landed == 0


async def test_a_reset_of_another_unit_leaves_a_copy_alone(
    array: Array, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = Node(array, "a")
    held = HeldWrites(monkeypatch, array.units["lun1"].backstore)
    node.send(*copy_4(segment(0, 1, 8192, 0, 0), list_id=9, flags=1))
    await held.begun.wait()
    node.side.feed(node.side.task_management(o.TMF_LOGICAL_UNIT_RESET, lun=encode_lun_u64(2)))
    held.go_on.set()
    await array.unit.settle()
    assert held.landed == 4


@pytest.mark.parametrize("closing", [0, 1])
async def test_no_unit_is_closed_under_a_copy(
    disk: Disk, monkeypatch: pytest.MonkeyPatch, closing: int
) -> None:
    units = [disk.unit, disk.beside[0].unit]
    held = HeldWrites(monkeypatch, units[1].backstore)
    task = disk.begin(*copy(segment(0, 1, 8192, 0, 0)))
    await held.begun.wait()
    closed = asyncio.ensure_future(units[closing].close())
    for _ in range(20):
        await asyncio.sleep(0)
    assert not closed.done()
    held.go_on.set()
    await closed
    assert held.landed == 1
    assert task.answer is not None
    assert parse(task.answer[2]).key == COPY_ABORTED
