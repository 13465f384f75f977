"""VERIFY, PRE-FETCH, SYNCHRONIZE CACHE and READ DEFECT DATA."""

from __future__ import annotations

import errno
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NoReturn

import pytest

from san_console.iscsi.target_task import ABORTED
from san_console.scsi import cdb
from san_console.scsi import opcodes as op
from san_console.target import verify_commands
from san_console.target.backstore import Buffer
from tests.target.disk import CONDITION_MET, GOOD, INVALID_FIELD, LBA_OUT_OF_RANGE, Disk, FakeTask

BLOCKS = 8192


@pytest.fixture
async def disk(tmp_path: Path) -> AsyncIterator[Disk]:
    one = Disk(f"file:{tmp_path}/disk,size=4M,thin")
    yield one
    await one.unit.close()


def ranged(opcode: int, lba: int, blocks: int, flags: int = 0) -> bytes:
    """A CDB on a range of blocks."""
    if opcode >> 5 == 4:
        return bytes([opcode, flags]) + lba.to_bytes(8, "big") + blocks.to_bytes(4, "big") + b"\0\0"
    if opcode >> 5 == 5:
        return bytes([opcode, flags]) + lba.to_bytes(4, "big") + blocks.to_bytes(4, "big") + b"\0\0"
    return bytes([opcode, flags]) + lba.to_bytes(4, "big") + b"\0" + blocks.to_bytes(2, "big") + b"\0"


VERIFY = (op.VERIFY_10, op.VERIFY_12, op.VERIFY_16)
WRITE_AND_VERIFY = (op.WRITE_AND_VERIFY_10, op.WRITE_AND_VERIFY_12, op.WRITE_AND_VERIFY_16)
PRE_FETCH = (op.PRE_FETCH_10, op.PRE_FETCH_16)
SYNCHRONIZE = (op.SYNCHRONIZE_CACHE_10, op.SYNCHRONIZE_CACHE_16)


@pytest.mark.parametrize("opcode", VERIFY)
async def test_verify(disk: Disk, opcode: int) -> None:
    data = bytes(range(256)) * 2 * 4096
    disk.unit.backstore.write_nowait(0, data[: 1 << 20])
    disk.unit.backstore.write_nowait(1 << 20, data[1 << 20 :])
    await disk.run(ranged(opcode, 0, 4096))
    await disk.run(ranged(opcode, 0, 4096, 0x02), data)
    wrong = bytearray(data)
    wrong[(1 << 20) + 777] ^= 1
    sense = await disk.refused(ranged(opcode, 0, 4096, 0x02), bytes(wrong))
    assert (sense.key, sense.asc, sense.information) == (0xE, 0x1D, (1 << 20) + 777)
    await disk.run(ranged(opcode, 0, 4096, 0x06), data[:512])
    assert (await disk.refused(ranged(opcode, 0, 4097, 0x06), data[:512])).information == (2 << 20) + 1
    await disk.run(ranged(opcode, 0, 0, 0x02))
    assert await disk.fails(ranged(opcode, 0, 1, 0x04)) == INVALID_FIELD
    assert await disk.fails(ranged(opcode, 0, 1, 0x20)) == INVALID_FIELD
    assert await disk.fails(ranged(opcode, BLOCKS, 1)) == LBA_OUT_OF_RANGE


async def test_verify_reads_more_than_one_command_may_move(tmp_path: Path) -> None:
    disk = Disk(f"file:{tmp_path}/big,size=64M,thin")
    await disk.run(ranged(op.VERIFY_16, 0, 131072))
    assert await disk.fails(ranged(op.VERIFY_16, 0, 131072, 0x02)) == INVALID_FIELD
    await disk.unit.close()


@pytest.mark.parametrize("opcode", WRITE_AND_VERIFY)
async def test_write_and_verify(disk: Disk, opcode: int) -> None:
    flushes = 0
    real = disk.unit.backstore.flush

    async def flush() -> None:
        nonlocal flushes
        flushes += 1
        await real()

    disk.unit.backstore.flush = flush  # type: ignore[method-assign]
    await disk.run(ranged(opcode, 9, 2, 0x02), b"w" * 1024)
    assert flushes == 1
    assert await disk.run(cdb.read(9, 2)) == b"w" * 1024
    await disk.run(ranged(opcode, 9, 0))
    assert await disk.fails(ranged(opcode, 9, 1, 0x04)) == INVALID_FIELD
    assert await disk.fails(ranged(opcode, BLOCKS - 1, 2)) == LBA_OUT_OF_RANGE


@pytest.mark.parametrize("opcode", PRE_FETCH)
@pytest.mark.parametrize("flags", [0, 0x02])
async def test_pre_fetch(disk: Disk, opcode: int, flags: int, monkeypatch: pytest.MonkeyPatch) -> None:
    assert (await disk.status(ranged(opcode, 5, 100, flags)))[0] == CONDITION_MET
    assert (await disk.status(ranged(opcode, 5, 0, flags)))[0] == CONDITION_MET
    monkeypatch.setattr(verify_commands, "MAX_PREFETCH_BYTES", 1 << 20)
    assert (await disk.status(ranged(opcode, 0, 4096, flags)))[0] == GOOD  # there is not room for all
    assert await disk.fails(ranged(opcode, BLOCKS, 1, flags)) == LBA_OUT_OF_RANGE


@pytest.mark.parametrize("opcode", SYNCHRONIZE)
async def test_synchronize_cache(disk: Disk, opcode: int) -> None:
    await disk.run(ranged(opcode, 0, 0))
    await disk.run(ranged(opcode, 0, 0, 0x02))
    await disk.unit.settle()
    assert await disk.fails(ranged(opcode, BLOCKS, 1)) == LBA_OUT_OF_RANGE
    only = Disk("memory:1M,ro")
    await only.run(ranged(opcode, 0, 0))
    await only.unit.close()


async def test_a_flush_that_fails_after_its_answer(disk: Disk) -> None:
    async def fail() -> NoReturn:
        raise OSError(errno.EIO, "broken")

    real, disk.unit.backstore.flush = disk.unit.backstore.flush, fail  # type: ignore[method-assign]
    assert await disk.fails(ranged(op.SYNCHRONIZE_CACHE_10, 0, 0)) == (3, 0x0C, 0)
    disk.unit._told_at = -1000.0
    await disk.run(ranged(op.SYNCHRONIZE_CACHE_10, 0, 0, 0x02))
    await disk.unit.settle()
    assert len(disk.errors) == 2  # the user hears of it, whoever asked
    disk.unit.backstore.flush = real  # type: ignore[method-assign]


async def test_there_are_no_defects(disk: Disk) -> None:
    ten = bytes([op.READ_DEFECT_DATA_10, 0, 0x1D, 0, 0, 0, 0, 0, 32, 0])
    assert await disk.run(ten) == bytes([0, 0x1D, 0, 0])
    twelve = bytes([op.READ_DEFECT_DATA_12, 0x0D, 0, 0, 0, 0, 0, 0, 0, 32, 0, 0])
    assert await disk.run(twelve) == bytes([0, 0x0D, 0, 0, 0, 0, 0, 0])


async def test_data_that_ends_early(disk: Disk) -> None:
    await disk.run(cdb.write(0, 2), b"v" * 1024)
    for flags, came in ((0x02, b"v" * 512), (0x06, b"v" * 100)):
        task = FakeTask(ranged(op.VERIFY_10, 0, 2, flags), came)
        disk.nexus.prepare(task)  # type: ignore[arg-type]
        disk.nexus.execute(task)  # type: ignore[arg-type]
        await disk.unit.settle()
        assert task.answer == (GOOD, b"", b"")


@pytest.mark.parametrize("command", [ranged(op.VERIFY_16, 0, 0x2000), ranged(op.PRE_FETCH_16, 0, 0x2000)])
async def test_aborted_commands_stop_reading(disk: Disk, command: bytes) -> None:
    reads = 0
    real = disk.unit.backstore.read

    async def read(offset: int, length: int) -> Buffer:
        nonlocal reads
        reads += 1
        return await real(offset, length)

    disk.unit.backstore.read = read  # type: ignore[method-assign]
    task = disk.begin(command)
    task.state = ABORTED
    await disk.unit.settle()
    assert reads == 0
