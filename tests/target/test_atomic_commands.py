"""COMPARE AND WRITE, ORWRITE and WRITE ATOMIC."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NoReturn

import pytest

from san_console.scsi import cdb, vpd
from san_console.scsi import opcodes as op
from san_console.target import atomic_journal
from san_console.target.atomic_journal import JOURNAL_SUFFIX, MAX_ATOMIC_BYTES, recover
from san_console.target.backstore import Buffer
from san_console.target.backstores import open_backstore
from san_console.target.config import parse_spec
from san_console.target.errors import BackstoreError
from tests.target.disk import INVALID_FIELD, LBA_OUT_OF_RANGE, WRITE_PROTECTED, Disk, FakeTask

MISCOMPARE = (0xE, 0x1D, 0)
WRITE_ERROR = (3, 0x0C, 0)
BLOCKS = 4096


@pytest.fixture(params=["file", "memory"])
async def disk(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Disk]:
    one = Disk(f"file:{tmp_path}/disk,size=2M,thin" if request.param == "file" else "memory:2M,thin")
    yield one
    await one.unit.close()


def compare_and_write(lba: int, blocks: int, flags: int = 0) -> bytes:
    return bytes([op.COMPARE_AND_WRITE, flags]) + lba.to_bytes(8, "big") + bytes([0, 0, 0, blocks, 0, 0])


def orwrite(lba: int, blocks: int, flags: int = 0) -> bytes:
    return bytes([op.ORWRITE_16, flags]) + lba.to_bytes(8, "big") + blocks.to_bytes(4, "big") + b"\0\0"


def write_atomic(lba: int, blocks: int, flags: int = 0, boundary: int = 0) -> bytes:
    head = bytes([op.WRITE_ATOMIC_16, flags]) + lba.to_bytes(8, "big")
    return head + boundary.to_bytes(2, "big") + blocks.to_bytes(2, "big") + b"\0\0"


async def test_compare_and_write(disk: Disk) -> None:
    old, new = b"o" * 1024, b"n" * 1024
    await disk.run(cdb.write(5, 2), old)
    await disk.run(compare_and_write(5, 2, 0x18), old + new)
    assert await disk.run(cdb.read(5, 2)) == new
    sense = await disk.refused(compare_and_write(5, 2), new[:1000] + old[:24] + old)
    assert (sense.key, sense.asc, sense.information) == (0xE, 0x1D, 1000)
    assert await disk.run(cdb.read(5, 2)) == new
    await disk.run(compare_and_write(5, 0))
    assert await disk.fails(compare_and_write(BLOCKS, 1)) == LBA_OUT_OF_RANGE
    assert await disk.fails(compare_and_write(0, 1, 0x20)) == INVALID_FIELD


@pytest.mark.parametrize("length", [512, 2048])
async def test_data_that_does_not_fit_the_command(disk: Disk, length: int) -> None:
    nothing = disk.begin(compare_and_write(0, 1))
    assert nothing.answer is not None
    assert nothing.answer[0] == 2
    task = FakeTask(compare_and_write(0, 1), bytes(min(length, 1024)))
    task.edtl = length
    assert disk.nexus.prepare(task) == 1024  # type: ignore[arg-type]
    disk.nexus.execute(task)  # type: ignore[arg-type]
    assert task.answer is not None
    assert task.answer[0] == 2


async def test_only_one_of_many_wins(disk: Disk) -> None:
    """The lock of a cluster file system: whoever compares with the old owner's name becomes the owner."""
    answers = await asyncio.gather(
        *(disk.status(compare_and_write(9, 1), bytes(512) + bytes([number]) * 512) for number in range(1, 33))
    )
    assert sorted(answer[0] for answer in answers) == [0] + [2] * 31
    winner = 1 + [answer[0] for answer in answers].index(0)
    assert await disk.run(cdb.read(9, 1)) == bytes([winner]) * 512


async def test_orwrite(disk: Disk) -> None:
    await disk.run(cdb.write(3, 1), b"\xa5" * 512)
    await disk.run(orwrite(3, 2, 0x08), b"\x5a" * 1024)
    assert await disk.run(cdb.read(3, 2)) == b"\xff" * 512 + b"\x5a" * 512
    await disk.run(orwrite(3, 0))
    assert await disk.fails(orwrite(BLOCKS - 1, 2)) == LBA_OUT_OF_RANGE
    assert await disk.fails(orwrite(0, 1, 0x40)) == INVALID_FIELD


async def test_orwrites_that_overlap_lose_nothing(disk: Disk) -> None:
    await asyncio.gather(*(disk.run(orwrite(0, 8), bytes([1 << bit]) * 4096) for bit in range(8)))
    assert await disk.run(cdb.read(0, 8)) == b"\xff" * 4096


async def test_write_atomic(disk: Disk) -> None:
    most = MAX_ATOMIC_BYTES // 512
    limits = vpd.BlockLimits.parse(await disk.run(cdb.inquiry(0xB0, 255)))
    assert limits.maximum_atomic_blocks == most
    await disk.run(write_atomic(8, 16, 0x08), b"a" * 8192)
    assert await disk.run(cdb.read(8, 16)) == b"a" * 8192
    await disk.run(write_atomic(0, most), b"b" * MAX_ATOMIC_BYTES)
    assert await disk.run(cdb.read(0, most)) == b"b" * MAX_ATOMIC_BYTES
    await disk.run(write_atomic(0, 0))
    assert await disk.fails(write_atomic(0, most + 1)) == INVALID_FIELD
    assert await disk.fails(write_atomic(0, 1, 0, 8)) == INVALID_FIELD
    assert await disk.fails(write_atomic(BLOCKS, 1)) == LBA_OUT_OF_RANGE


async def test_read_only() -> None:
    only = Disk("memory:1M,thin", read_only=True)
    for command in (compare_and_write(0, 1), orwrite(0, 1), write_atomic(0, 1)):
        assert await only.fails(command) == WRITE_PROTECTED
    await only.unit.close()


async def test_a_crash_in_the_middle_of_an_atomic_write(tmp_path: Path) -> None:
    path = tmp_path / "disk"
    disk = Disk(f"file:{path},size=2M,thin")
    await disk.run(cdb.write(0, 32), b"o" * 16384)
    await disk.run(cdb.synchronize_cache(0, 0))
    store = disk.unit.backstore
    journals: list[bytes] = []
    real = store.write

    async def torn(offset: int, data: Buffer, *, fua: bool = False) -> None:
        journals.append((tmp_path / f"disk{JOURNAL_SUFFIX}").read_bytes())
        await real(offset, data, fua=fua)

    store.write = torn  # type: ignore[method-assign]
    await disk.run(write_atomic(4, 16), b"n" * 8192)
    await disk.unit.close()
    assert not recover(str(path))  # it ended well: there is nothing to do

    # What the machine leaves behind when it fails half way: a part in the file, the journal full.
    journal = tmp_path / f"disk{JOURNAL_SUFFIX}"
    journal.write_bytes(journals[0])
    with path.open("r+b") as stream:
        stream.seek(4 * 512 + 4096)
        stream.write(b"o" * 4096)
    again = Disk(f"file:{path},thin")
    assert await again.run(cdb.read(0, 32)) == b"o" * 2048 + b"n" * 8192 + b"o" * 6144
    await again.unit.close()
    assert not recover(str(path))

    # A journal that is not whole belongs to a write that had not begun.
    for broken in (
        journals[0][:100],
        journals[0][:20],
        journals[0][:-1] + b"x",
        bytes([journals[0][0]]) + bytes(39) + journals[0][40:],
    ):
        journal.write_bytes(broken)
        before = path.read_bytes()
        assert not recover(str(path))
        assert path.read_bytes() == before
        assert not journal.exists()


async def test_a_file_that_is_in_use_is_not_recovered(tmp_path: Path) -> None:
    disk = Disk(f"file:{tmp_path}/disk,size=1M,thin")
    await disk.run(write_atomic(0, 1), b"x" * 512)
    assert not recover(f"{tmp_path}/disk")
    assert not recover(f"{tmp_path}/missing")
    await disk.unit.close()


async def test_an_atomic_write_that_fails_has_written_nothing(tmp_path: Path) -> None:
    disk = Disk(f"file:{tmp_path}/disk,size=1M,thin")
    await disk.run(cdb.write(0, 16), b"o" * 8192)
    store = disk.unit.backstore
    real, calls = store.write, 0

    async def half(offset: int, data: Buffer, *, fua: bool = False) -> None:
        nonlocal calls
        calls += 1
        if calls == 1:
            await real(offset, data[: len(data) // 2])
            raise OSError(errno.ENOSPC, "full")
        await real(offset, data, fua=fua)

    store.write = half  # type: ignore[method-assign]
    assert await disk.fails(write_atomic(0, 16), b"n" * 8192) == (7, 0x27, 7)
    assert await disk.run(cdb.read(0, 16)) == b"o" * 8192
    await disk.unit.close()
    assert not recover(f"{tmp_path}/disk")


@pytest.mark.parametrize("fails", ["open", "fsync"])
async def test_a_journal_that_fails_is_not_written_over_what_comes_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    path = tmp_path / "disk"
    disk = Disk(f"file:{path},size=2M,thin")
    with monkeypatch.context() as broken:
        real = getattr(os, fails)

        def no_journal(what: object, *rest: int) -> int:
            if fails == "fsync" or str(what).endswith(JOURNAL_SUFFIX):
                raise OSError(errno.EIO, "Input/output error")
            return int(real(what, *rest))

        broken.setattr(os, fails, no_journal)
        assert (await disk.fails(write_atomic(0, 1), b"a" * 512))[0] in (3, 4)
    await disk.run(cdb.write(0, 1), b"b" * 512)
    await disk.run(cdb.synchronize_cache())
    await disk.unit.close()
    assert not recover(str(path))
    assert path.read_bytes()[:512] == b"b" * 512


def fail(*_: object) -> NoReturn:
    raise OSError(errno.EIO, "Input/output error")


async def test_a_journal_that_cannot_be_emptied_ends_all_writing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a crash, what it holds would be written over what came later."""
    path = tmp_path / "disk"
    disk = Disk(f"file:{path},size=2M,thin")
    with monkeypatch.context() as broken:
        broken.setattr(atomic_journal, "_clear", fail)
        assert await disk.fails(write_atomic(0, 1), b"a" * 512) == WRITE_ERROR
    assert "journal" in disk.unit.backstore.failed
    assert len(disk.errors) == 1
    for command, data in (
        (cdb.write(0, 1), b"b" * 512),
        (cdb.write(0, 1, fua=True), b"b" * 512),
        (write_atomic(8, 1), b"b" * 512),
    ):
        assert await disk.fails(command, data) == WRITE_ERROR
    journal = tmp_path / f"disk{JOURNAL_SUFFIX}"
    whole = journal.read_bytes()

    # The medium was mended: what the journal holds comes first.
    await disk.unit.backstore.reopen()
    assert not disk.unit.backstore.failed
    assert not journal.exists()
    assert await disk.run(cdb.read(0, 1)) == b"a" * 512
    await disk.run(cdb.write(0, 1), b"c" * 512)
    await disk.run(write_atomic(8, 1), b"d" * 512)
    await disk.unit.close()
    assert not recover(str(path))
    assert path.read_bytes()[:512] == b"c" * 512

    # Or the process ended.
    journal.write_bytes(whole)
    assert recover(str(path))
    assert path.read_bytes()[:512] == b"a" * 512


async def test_a_journal_that_cannot_be_finished_keeps_the_store_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = Disk(f"file:{tmp_path}/disk,size=2M,thin")
    with monkeypatch.context() as broken:
        broken.setattr(atomic_journal, "_clear", fail)
        assert await disk.fails(write_atomic(0, 1), b"a" * 512) == WRITE_ERROR
        broken.setattr(atomic_journal, "_write_all", fail)
        with pytest.raises(BackstoreError, match="interrupted"):
            await disk.unit.backstore.reopen()
    assert disk.unit.backstore.failed
    assert await disk.fails(cdb.write(0, 1), b"b" * 512) == WRITE_ERROR
    with pytest.raises(BackstoreError):  # it has its lock still
        open_backstore(parse_spec(f"file:{tmp_path}/disk"), disk.pool)
    await disk.unit.close()
