"""Files and devices: when data is on the medium, and which medium it is."""

from __future__ import annotations

import asyncio
import errno
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from san_console.target import backstore_file, hole
from san_console.target.backstore import MediumError, Usage
from san_console.target.backstore_file import FileBackstore
from san_console.target.backstore_opening import identity_of
from san_console.target.config import BackstoreSpec, parse_spec
from san_console.target.errors import BackstoreError
from san_console.target.server import IO_THREADS
from tests.target.media import Heap, loop_device

SIZE = 1 << 20


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as one:
        yield one


@pytest.fixture
def store(tmp_path: Path, pool: ThreadPoolExecutor) -> Iterator[FileBackstore]:
    one = FileBackstore(parse_spec(f"file:{tmp_path}/disk,size=1M,thin"), pool)
    yield one
    one.close()


class Journal:
    """The calls that reach the kernel, in their order."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls: list[str] = []
        pwrite, fdatasync, punch = os.pwrite, os.fdatasync, hole.punch_hole

        def note_write(fd: int, data: bytes, offset: int) -> int:
            self.calls.append("write")
            return pwrite(fd, data, offset)

        def note_sync(fd: int) -> None:
            self.calls.append("sync")
            fdatasync(fd)

        def note_punch(fd: int, offset: int, length: int) -> bool:
            self.calls.append("punch")
            return punch(fd, offset, length)

        monkeypatch.setattr(os, "pwrite", note_write)
        monkeypatch.setattr(os, "fdatasync", note_sync)
        monkeypatch.setattr(backstore_file, "punch_hole", note_punch)

    def take(self) -> list[str]:
        taken, self.calls = self.calls, []
        return taken


async def test_without_a_write_cache_each_write_is_on_the_medium(
    store: FileBackstore, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal(monkeypatch)
    assert store.write_cache
    assert store.write_nowait(0, b"x" * 512)
    assert journal.take() == ["write"]
    store.write_cache = False
    await store.flush()
    assert journal.take() == ["sync"]
    assert not store.write_nowait(0, b"y" * 512)
    assert journal.take() == []
    await store.write(0, b"y" * 512)
    assert journal.take() == ["write", "sync"]
    await store.unmap([(4096, 4096)])
    assert journal.take() == ["punch", "sync"]
    store.write_cache = True
    await store.write(0, b"z" * 512)
    await store.unmap([(4096, 4096)])
    assert journal.take() == ["write", "punch"]
    await store.write(0, b"z" * 512, fua=True)
    assert journal.take() == ["write", "sync"]


async def test_a_write_that_was_under_way_when_the_cache_was_turned_off_is_durable_too(
    store: FileBackstore, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on = threading.Event()
    write_all = store._write_all

    def slow(offset: int, data: bytes) -> None:
        assert go_on.wait(10)
        write_all(offset, data)

    monkeypatch.setattr(store, "_write_all", slow)
    writing = asyncio.ensure_future(store.write(0, bytes(4096)))
    await asyncio.sleep(0)
    journal = Journal(monkeypatch)
    store.write_cache = False
    await store.flush()
    go_on.set()
    await writing
    assert journal.calls == ["sync", "write", "sync"]


async def test_writes_without_a_cache_share_flushes(
    store: FileBackstore, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal(monkeypatch)
    store.write_cache = False
    await asyncio.gather(*(store.write(n * 4096, b"x" * 4096) for n in range(32)))
    calls = journal.take()
    assert calls.count("write") == 32
    assert calls[-1] == "sync"
    assert calls.count("sync") < 32


async def test_a_failed_flush_stays_failed_whatever_the_write_cache(
    store: FileBackstore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", full)
        with pytest.raises(OSError, match="a flush failed") as error:
            await store.write(0, b"x" * 512, fua=True)
        assert error.value.errno == errno.EIO  # what was lost does not come back when there is space again
    store.write_cache = False
    store.write_cache = True
    assert not store.write_nowait(0, b"x" * 512)
    await store.reopen()
    assert store.failed == ""
    assert store.write_nowait(0, b"x" * 512)
    await store.flush()


async def test_an_error_tells_where(store: FileBackstore, monkeypatch: pytest.MonkeyPatch) -> None:
    preadv, pwrite, bad = os.preadv, os.pwrite, 65536 + 4096

    def read(fd: int, buffers: list[memoryview], offset: int, flags: int = 0) -> int:
        if offset <= bad < offset + len(buffers[0]):
            if offset == bad:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            return preadv(fd, [buffers[0][: bad - offset]], offset, flags)
        return preadv(fd, buffers, offset, flags)

    def write(fd: int, data: memoryview, offset: int) -> int:
        if offset <= bad < offset + len(data):
            if offset == bad:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return pwrite(fd, memoryview(data)[: bad - offset], offset)
        return pwrite(fd, data, offset)

    monkeypatch.setattr(os, "preadv", read)
    monkeypatch.setattr(os, "pwrite", write)
    with pytest.raises(MediumError) as reading:
        await store.read(65536, 65536)
    assert (reading.value.errno, reading.value.offset_bytes) == (errno.EIO, bad)
    assert not store.write_nowait(65536, b"x" * 65536)
    with pytest.raises(MediumError) as writing:
        await store.write(65536, b"x" * 65536)
    assert (writing.value.errno, writing.value.offset_bytes) == (errno.ENOSPC, bad)
    assert bytes(await store.read(bad + 4096, 4096)) == bytes(4096)


async def test_a_medium_that_hangs_leaves_threads_to_the_others(
    tmp_path: Path, pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert backstore_file.MAX_THREADS <= IO_THREADS // 4
    monkeypatch.setattr(backstore_file, "MAX_THREADS", 3)  # of the four of `pool`
    hanging, good = (FileBackstore(parse_spec(f"file:{tmp_path}/{name},size=1M"), pool) for name in "ab")
    go_on = threading.Event()
    monkeypatch.setattr(hanging, "_read_all", lambda *_: bytes(go_on.wait(10)))
    hung = [asyncio.ensure_future(hanging.read(0, 512)) for _ in range(9)]
    await asyncio.sleep(0)
    try:
        async with asyncio.timeout(5):
            assert bytes(await good.read(0, 512)) == bytes(512)
            await hanging.reopen()
    finally:
        go_on.set()
    await asyncio.gather(*hung)
    hanging.close()
    good.close()


async def test_reopening_takes_what_is_there_now(store: FileBackstore, pool: ThreadPoolExecutor) -> None:
    await store.write(0, b"old!" * 128)
    await store.reopen()
    assert bytes(await store.read(0, 512)) == b"old!" * 128
    os.unlink(store.path)
    with pytest.raises(BackstoreError, match="does not exist"):
        await store.reopen()
    assert bytes(await store.read(0, 512)) == b"old!" * 128
    await asyncio.to_thread(Path(store.path).write_bytes, b"new!" * (SIZE // 4))
    number = store._fd
    await store.reopen()
    assert store._fd == number
    assert bytes(await store.read(0, 512)) == b"new!" * 128
    with pytest.raises(BackstoreError, match="in use"):
        FileBackstore(parse_spec(f"file:{store.path}"), pool)


async def test_the_lock_outlives_a_reopening_that_fails(
    store: FileBackstore, pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise BackstoreError("not now")

    with monkeypatch.context() as patch:
        patch.setattr(backstore_file, "open_file", refuse)
        with pytest.raises(BackstoreError, match="not now"):
            await store.reopen()
    with pytest.raises(BackstoreError, match="in use"):
        FileBackstore(parse_spec(f"file:{store.path}"), pool)


def test_a_path_that_cannot_be_looked_at(store: FileBackstore, monkeypatch: pytest.MonkeyPatch) -> None:
    def stale(_: str) -> None:
        raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))

    assert store.examine() == ""
    monkeypatch.setattr(os, "stat", stale)
    assert "cannot be reached" in store.examine()


def test_a_new_file_survives_a_loss_of_power(
    tmp_path: Path, pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its name and its size, before anything is written."""
    synced: list[str] = []
    real = os.fsync

    def note(fd: int) -> None:
        synced.append(os.readlink(f"/proc/self/fd/{fd}"))
        real(fd)

    monkeypatch.setattr(os, "fsync", note)
    FileBackstore(parse_spec(f"file:{tmp_path}/disk,size=1M"), pool).close()
    assert synced == [f"{tmp_path}/disk", f"{tmp_path}"]


async def test_a_block_device(tmp_path: Path, pool: ThreadPoolExecutor) -> None:
    file = tmp_path / "file"
    file.write_bytes(bytes(4 * SIZE))
    with loop_device(file) as device:
        store = FileBackstore(parse_spec(f"block:{device.path},thin"), pool)
        assert store.size_bytes == 4 * SIZE
        assert store.usage() == Usage(4 * SIZE)
        await store.write(4096, b"x" * 8192, fua=True)
        assert store.write_nowait(SIZE, b"y" * 512)
        await store.flush()
        assert file.read_bytes()[4096:12288] == b"x" * 8192
        await store.unmap([(4096, 4096)])
        await store.flush()
        assert bytes(await store.read(0, 12288)) == bytes(8192) + b"x" * 4096
        assert store.extent(0) == (True, 4 * SIZE)
        assert store.examine() == ""
        await store.prefetch(0, SIZE)
        await store.resize()
        assert store.size_bytes == 4 * SIZE
        with pytest.raises(BackstoreError, match="are asked for") as error:
            await store.resize(8 * SIZE)
        assert error.value.check == "Enlarge the device first."
        device.grow(8 * SIZE)
        await store.resize()
        assert store.size_bytes == 8 * SIZE
        assert not any(await store.read(4 * SIZE, SIZE))
        device.grow(4 * SIZE)
        assert "cut short" in store.examine()
        device.grow(8 * SIZE)
        await store.reopen()
        assert (store.examine(), store.failed) == ("", "")
        for words in ("", ",ro"):
            with pytest.raises(BackstoreError, match="in use"):
                FileBackstore(parse_spec(f"block:{device.path}{words}"), pool)
        store.close()
        with pytest.raises(BackstoreError, match="not a regular file"):
            FileBackstore(parse_spec(f"file:{device.path}"), pool)


async def test_a_device_that_the_system_uses_is_refused(
    tmp_path: Path, pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a fake: mounting an image would not be worth it."""
    real, flags_seen = os.open, []

    def busy(path: str, flags: int, mode: int = 0o777) -> int:
        flags_seen.append(flags)
        if flags & os.O_EXCL:
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))
        return real(path, flags, mode)

    monkeypatch.setattr(os, "open", busy)
    with pytest.raises(BackstoreError, match="in use") as error:
        FileBackstore(BackstoreSpec("block", "/dev/null"), pool)
    assert "Unmount" in error.value.check
    with pytest.raises(BackstoreError, match="not a block device"):
        FileBackstore(BackstoreSpec("block", "/dev/null", read_only=True), pool)
    assert [bool(flags & os.O_EXCL) for flags in flags_seen] == [True, False]


def test_a_device_that_grew_by_a_fake_probe(store: FileBackstore, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same as with a loop device, where there is none."""
    sizes = iter([2 * SIZE + 512, SIZE])
    monkeypatch.setattr(backstore_file, "medium_bytes", lambda _: next(sizes))
    store._spec = BackstoreSpec("block", store.path)
    asyncio.run(store.resize())
    assert store.size_bytes == 2 * SIZE + 512
    assert "cut short" in store.examine()


def test_a_device_made_anew_is_the_same(tmp_path: Path) -> None:
    status = os.stat("/dev/null")
    assert identity_of(status) == (status.st_dev, status.st_ino)
    one, two = tmp_path / "one", tmp_path / "two"
    one.touch()
    two.touch()
    assert identity_of(os.stat(one)) != identity_of(os.stat(two))


def test_the_arena_is_not_needed_for_what_is_not_cached(
    store: FileBackstore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def later(*_: object) -> int:
        raise BlockingIOError

    monkeypatch.setattr(os, "preadv", later)
    assert store.read_nowait(0, 512, Heap()) is None
