"""SANITIZE: what runs, what is refused meanwhile, and what becomes of a failure."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import AsyncIterator
from typing import NoReturn

import pytest

from san_console.iscsi.target_task import ABORTED
from san_console.scsi import cdb, vpd
from san_console.scsi import opcodes as op
from san_console.scsi.provisioning import parse_lba_status
from san_console.scsi.sense import parse
from san_console.scsi.status import CHECK_CONDITION
from san_console.target import sanitize_commands
from san_console.target.backstore import Buffer
from tests.target.disk import INVALID_FIELD, INVALID_LIST, WRITE_PROTECTED, Disk
from tests.target.hosts import Array
from tests.target.nodes import BLOCK, WRITE, HeldWrites, Node

IN_PROGRESS, FAILED = (2, 0x04, 0x1B), (3, 0x31, 3)


@pytest.fixture
async def disk() -> AsyncIterator[Disk]:
    one = Disk("memory:4M,thin")
    yield one
    await one.unit.close()


def sanitize(action: int, length: int = 0, flags: int = 0) -> bytes:
    return bytes([op.SANITIZE, action | flags, 0, 0, 0, 0, 0]) + length.to_bytes(2, "big") + b"\0"


def overwrite(pattern: bytes, *, count: int = 1, flags: int = 0) -> tuple[bytes, bytes]:
    data = bytes([count, 0]) + len(pattern).to_bytes(2, "big") + pattern
    return sanitize(1, len(data), flags), data


async def until_done(disk: Disk) -> None:
    async with asyncio.timeout(10):
        await disk.unit.settle()


async def test_overwrite(disk: Disk) -> None:
    await disk.run(*overwrite(b"\xaa" * 512))
    assert await disk.run(cdb.read(8191, 1)) == b"\xaa" * 512
    await disk.run(*overwrite(b"abc", count=0x82))
    assert await disk.run(cdb.read(0, 1)) == (b"abc" * 171)[:512]
    assert disk.unit.device.sanitize is None


async def test_what_works_while_it_runs(disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sanitize_commands, "BYTES_PER_S", 16 << 20)
    await disk.run(*overwrite(b"\x55", flags=0x80))
    await asyncio.sleep(0)
    assert not disk.nexus.write_now(cdb.write_10(0, 1), bytes(512))
    for command in (
        cdb.test_unit_ready(),
        cdb.read(0, 1),
        cdb.write(0, 1),
        bytes([op.START_STOP_UNIT, 0, 0, 0, 1, 0]),
        sanitize(0x1F),
        cdb.mode_sense_6(8),
    ):
        sense = await disk.refused(command)
        assert (sense.key, sense.asc, sense.ascq) == IN_PROGRESS
        assert sense.sense_key_specific is not None
        assert sense.sense_key_specific[0] == 0x80
    await disk.run(cdb.inquiry(None, 96))
    await disk.run(cdb.report_luns(64))
    await disk.run(bytes([op.MAINTENANCE_IN, 0x0D, 0, 0, 0, 0, 0, 0, 0, 16, 0, 0]))
    polled = parse(await disk.run(bytes([op.REQUEST_SENSE, 0, 0, 0, 252, 0])))
    assert (polled.key, polled.asc, polled.ascq) == IN_PROGRESS
    disk.unit.reset()  # it goes on
    assert disk.unit.device.sanitize is not None
    await until_done(disk)
    disk.nexus.attentions.pop(0)
    assert await disk.run(cdb.read(4000, 1)) == b"\x55" * 512


async def test_an_aborted_command_is_let_go_of(disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sanitize_commands, "BYTES_PER_S", 8 << 20)
    monkeypatch.setattr(sanitize_commands, "ABORT_POLL_S", 0.01)
    task = disk.begin(*overwrite(b"\x55"))
    task.state = ABORTED
    async with asyncio.timeout(5):
        await task.done.wait()
    assert disk.unit.device.sanitize is not None
    await until_done(disk)
    assert await disk.run(cdb.read(4000, 1)) == b"\x55" * 512


async def test_block_erase(disk: Disk) -> None:
    await disk.run(cdb.write(0, 64), b"x" * (64 * 512))
    await disk.run(sanitize(2))
    assert await disk.run(cdb.read(0, 64)) == bytes(64 * 512)
    found = parse_lba_status(await disk.run(cdb.get_lba_status(0, 256)))
    assert [(one.lba, one.blocks, one.status) for one in found] == [(0, 8192, 1)]
    readable = vpd.BlockCharacteristics.parse(await disk.run(cdb.inquiry(0xB1, 64)))
    assert readable.after_block_erase == vpd.SANITIZED_READABLE


async def test_what_is_refused(disk: Disk) -> None:
    assert await disk.fails(sanitize(3)) == INVALID_FIELD  # nothing is encrypted
    assert await disk.fails(sanitize(4)) == INVALID_FIELD
    assert await disk.fails(sanitize(2, 8)) == INVALID_FIELD
    assert await disk.fails(sanitize(0x1F, 8)) == INVALID_FIELD
    assert await disk.fails(sanitize(1, 4)) == INVALID_FIELD
    assert await disk.fails(sanitize(1, 517)) == INVALID_FIELD
    assert await disk.fails(sanitize(1, 5), bytes(5)) == INVALID_LIST
    assert await disk.fails(sanitize(2, 0, 0x40)) == INVALID_FIELD  # a reserved bit
    reserved = bytearray(sanitize(2))
    reserved[4] = 1
    assert await disk.fails(bytes(reserved)) == INVALID_FIELD
    disk.unit.device.mode.software_write_protect = True
    assert await disk.fails(sanitize(2)) == (7, 0x27, 2)
    only = Disk("memory:1M,thin", read_only=True)
    assert await only.fails(sanitize(2)) == WRITE_PROTECTED
    assert await only.fails(*overwrite(b"x")) == WRITE_PROTECTED
    await only.unit.close()
    full = Disk("memory:1M")
    assert await full.fails(sanitize(2)) == INVALID_FIELD
    await full.unit.close()


@pytest.mark.parametrize("unrestricted", [True, False])
async def test_a_failure_stays_until_it_is_left(disk: Disk, unrestricted: bool) -> None:
    async def fail(offset: int, data: Buffer, *, fua: bool = False) -> NoReturn:
        raise OSError(errno.EIO, "broken")

    real = disk.unit.backstore.write
    disk.unit.backstore.write = fail  # type: ignore[method-assign]
    assert await disk.fails(*overwrite(b"x", flags=0x20 if unrestricted else 0)) == (3, 0x0C, 0)
    disk.unit.backstore.write = real  # type: ignore[method-assign]
    assert await disk.fails(cdb.read(0, 1)) == FAILED
    assert parse(await disk.run(bytes([op.REQUEST_SENSE, 0, 0, 0, 252, 0]))).asc == 0x31
    if unrestricted:
        await disk.run(sanitize(0x1F))
    else:
        assert await disk.fails(sanitize(0x1F)) == INVALID_FIELD
        await disk.run(*overwrite(b"y"))
    await disk.run(cdb.read(0, 1))
    await disk.run(sanitize(0x1F))  # nothing to leave


async def test_it_ends_with_its_unit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sanitize_commands, "BYTES_PER_S", 4 << 20)
    disk = Disk("memory:64M,thin")
    task = disk.begin(*overwrite(b"x"))
    async with asyncio.timeout(5):
        await disk.unit.close()
        await task.done.wait()
    assert task.answer is not None
    assert task.answer[0] == 2


async def test_a_write_whose_data_comes_while_it_runs_does_not_wait_for_its_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    array = Array(["memory:4M,thin"])
    a, b = Node(array, "a"), Node(array, "b")
    held = HeldWrites(monkeypatch, array.unit.backstore, a, b)
    a.send(WRITE, BLOCK[:256], edtl=512)
    b.send(*overwrite(b"s", flags=0x80))
    await held.begun.wait()
    a.rest(BLOCK[256:], 256)
    assert await a.statuses() == [CHECK_CONDITION]
    held.go_on.set()
    await array.close()
    assert held.landed == 1


async def test_an_erasure_ends_when_the_unit_is_closed(disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sanitize_commands, "UNMAP_STEP_BYTES", 1 << 20)
    begun, go_on, steps = asyncio.Event(), asyncio.Event(), 0

    async def slow(_: object) -> None:
        nonlocal steps
        steps += 1
        begun.set()
        await go_on.wait()

    monkeypatch.setattr(disk.unit.backstore, "unmap", slow)
    disk.begin(sanitize(2, flags=0x80))
    await begun.wait()
    closing = asyncio.ensure_future(disk.unit.close())
    await asyncio.sleep(0)
    go_on.set()
    await closing
    assert steps == 1
