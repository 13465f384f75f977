"""Backstores: what they read and write, what they refuse to open, how they fail."""

from __future__ import annotations

import asyncio
import errno
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from san_console.target import backstore_file
from san_console.target.backstore import Backstore, ReadArena, Usage
from san_console.target.backstores import open_backstore
from san_console.target.config import BackstoreSpec, parse_spec
from san_console.target.errors import BackstoreError
from tests.target.media import Heap

SIZE = 1 << 20


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as one:
        yield one


@pytest.fixture(params=["file", "file,thin", "memory", "memory,thin"])
def store(request: pytest.FixtureRequest, tmp_path: Path, pool: ThreadPoolExecutor) -> Iterator[Backstore]:
    kind, _, thin = request.param.partition(",")
    text = f"file:{tmp_path}/disk,size=1M" if kind == "file" else "memory:1M"
    one = open_backstore(parse_spec(text + (",thin" if thin else "")), pool)
    yield one
    one.close()
    one.close()


async def test_what_is_written_is_read(store: Backstore) -> None:
    arena = Heap()
    data = os.urandom(8192)
    assert store.write_nowait(512, data)
    assert await store.read(512, 8192) == data
    now = store.read_nowait(512, 8192, arena)
    assert now is not None
    assert bytes(now) == data
    await store.write(SIZE - 8192, data, fua=True)
    await store.flush()
    assert bytes(await store.read(SIZE - 8192, 8192)) == data
    assert bytes(await store.read(0, 512)) == bytes(512)


async def test_unmapped_blocks_read_as_zeros(store: Backstore) -> None:
    await store.write(0, b"\xff" * 65536)
    await store.unmap([(512, 1024), (4096 - 512, 16384), (40960, 0)])
    data = bytes(await store.read(0, 65536))
    wanted = bytearray(b"\xff" * 65536)
    wanted[512:1536] = bytes(1024)
    wanted[3584:19968] = bytes(16384)
    assert data == wanted


async def test_extents_cover_the_store(store: Backstore) -> None:
    offset = 0
    await store.write(65536, b"x" * 4096)
    found = []
    while offset < SIZE:
        allocated, length = store.extent(offset)
        assert length > 0
        found.append((offset, allocated))
        offset += length
    assert offset == SIZE
    assert found == ([(0, False), (65536, True), (69632, False)] if store.thin else [(0, True)])


def test_null_forgets(pool: ThreadPoolExecutor) -> None:
    store = open_backstore(parse_spec("null:4M"), pool)
    assert store.write_nowait(0, b"x" * 512)
    assert store.read_nowait(0, 512, Heap()) == bytes(512)
    assert len(store.read_nowait(0, 2 << 20, Heap()) or b"") == 2 << 20
    assert store.extent(0) == (False, 4 << 20)
    assert store.usage() == Usage(0)
    store.close()


async def test_null_takes_its_time_as_well(pool: ThreadPoolExecutor) -> None:
    store = open_backstore(parse_spec("null:4M"), pool)
    await store.write(0, b"x" * 512, fua=True)
    await store.unmap([(0, 512)])
    await store.flush()
    assert await store.read(0, 512) == bytes(512)


def test_the_arena_gives_each_answer_its_own_bytes() -> None:
    arena = ReadArena(4096)
    first, second, third = arena.take(2048), arena.take(2048), arena.take(2048)
    first[:], second[:], third[:] = b"1" * 2048, b"2" * 2048, b"3" * 2048
    assert (first[0], second[0], third[0]) == (0x31, 0x32, 0x33)
    arena.reset()
    arena.take(4)[:] = b"new!"
    assert bytes(first[:4]) == b"new!"


def refusal(spec: BackstoreSpec, pool: ThreadPoolExecutor) -> str:
    with pytest.raises(BackstoreError) as error:
        open_backstore(spec, pool)
    assert error.value.check
    assert error.value.side == "this machine"
    return error.value.cause


def test_files_that_cannot_be_served(tmp_path: Path, pool: ThreadPoolExecutor) -> None:
    good, odd, empty = tmp_path / "good", tmp_path / "odd", tmp_path / "empty"
    good.write_bytes(bytes(8192))
    odd.write_bytes(bytes(1000))
    empty.write_bytes(b"")
    assert "does not exist" in refusal(parse_spec(f"file:{tmp_path}/missing"), pool)
    assert "cannot be created" in refusal(parse_spec(f"file:{tmp_path}/no/disk,size=1M"), pool)
    assert "no multiple" in refusal(parse_spec(f"file:{odd}"), pool)
    assert "too small" in refusal(parse_spec(f"file:{empty}"), pool)
    assert "too small" in refusal(parse_spec(f"file:{good},size=1M"), pool)
    assert "not a regular file" in refusal(parse_spec(f"file:{tmp_path},ro"), pool)
    assert "cannot be opened" in refusal(parse_spec(f"file:{tmp_path}"), pool)
    assert "not a block device" in refusal(parse_spec(f"block:{good}"), pool)
    assert "cannot be opened" in refusal(parse_spec(f"file:{good}/x"), pool)
    with open_twice(good, pool):
        assert "in use" in refusal(parse_spec(f"file:{good}"), pool)
        assert "in use" in refusal(parse_spec(f"file:{good},ro"), pool)
    assert good.stat().st_size == 8192


class open_twice:
    def __init__(self, path: Path, pool: ThreadPoolExecutor) -> None:
        self._store = open_backstore(parse_spec(f"file:{path}"), pool)

    def __enter__(self) -> None:
        return None

    def __exit__(self, *exc_info: object) -> None:
        self._store.close()


def test_a_part_of_a_file_can_be_served(tmp_path: Path, pool: ThreadPoolExecutor) -> None:
    path = tmp_path / "disk"
    path.write_bytes(bytes(10000))
    store = open_backstore(parse_spec(f"file:{path},size=8K"), pool)
    assert store.size_bytes == 8192
    store.close()


def test_no_room_leaves_no_file(
    tmp_path: Path, pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    assert "no room" in refusal(parse_spec(f"file:{tmp_path}/disk,size=1M"), pool)
    assert list(tmp_path.iterdir()) == []


async def test_a_file_that_became_shorter_is_an_error_not_zeros(
    tmp_path: Path, pool: ThreadPoolExecutor
) -> None:
    path = tmp_path / "disk"
    store = open_backstore(parse_spec(f"file:{path},size=1M"), pool)
    os.truncate(path, 4096)
    assert store.read_nowait(4096, 512, Heap()) is None
    with pytest.raises(OSError, match="shorter"):
        await store.read(4096, 512)
    store.close()


async def test_a_failed_flush_is_final(
    tmp_path: Path, pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_backstore(parse_spec(f"file:{tmp_path}/disk,size=1M,thin"), pool)
    real = os.fdatasync

    def broken(_: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fdatasync", broken)
    with pytest.raises(OSError, match="Input/output"):
        await store.flush()
    monkeypatch.setattr(os, "fdatasync", real)
    assert store.failed
    for attempt in (store.flush(), store.write(0, b"x" * 512), store.unmap([(0, 512)])):
        with pytest.raises(OSError, match="a flush failed"):
            await attempt
    assert not store.write_nowait(0, b"x" * 512)
    assert bytes(await store.read(0, 512)) == bytes(512)
    store.close()


@pytest.mark.parametrize("second", ["flush", "fua"])
async def test_a_flush_beside_the_one_that_fails_does_not_succeed(
    tmp_path: Path, pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch, second: str
) -> None:
    """The kernel reports lost pages to one fdatasync only; the others would call the data durable."""
    store = open_backstore(parse_spec(f"file:{tmp_path}/disk,size=1M,thin"), pool)
    begun, go_on = threading.Event(), threading.Event()
    calls = 0

    def once(_: int) -> None:
        nonlocal calls
        calls += 1
        if calls == 1:
            begun.set()
            assert go_on.wait(20)
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fdatasync", once)
    first = asyncio.create_task(store.flush())
    await asyncio.to_thread(begun.wait)
    beside = asyncio.ensure_future(
        store.flush() if second == "flush" else store.write(0, b"x" * 512, fua=True)
    )
    asyncio.get_running_loop().call_soon(go_on.set)
    results = await asyncio.gather(first, beside, return_exceptions=True)
    assert [type(result) for result in results] == [OSError, OSError]
    store.close()


async def test_flushes_that_wait_for_one_another_share_one(
    tmp_path: Path, pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_backstore(parse_spec(f"file:{tmp_path}/disk,size=1M,thin"), pool)
    begun, go_on = threading.Event(), threading.Event()
    calls = 0

    def counted(_: int) -> None:
        nonlocal calls
        calls += 1
        begun.set()
        assert go_on.wait(20)

    monkeypatch.setattr(os, "fdatasync", counted)
    first = asyncio.create_task(store.flush())
    await asyncio.to_thread(begun.wait)
    others = [asyncio.create_task(store.flush()) for _ in range(5)]
    asyncio.get_running_loop().call_soon(go_on.set)
    await asyncio.gather(first, *others)
    assert calls == 2  # the first began before the others asked, so it does not count for them
    store.close()


async def test_writes_go_to_a_thread_while_the_kernel_throttles(
    tmp_path: Path, pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_backstore(parse_spec(f"file:{tmp_path}/disk,size=4M"), pool)
    clock = iter([10.0, 10.2, 10.3, 10.5, 10.5])
    monkeypatch.setattr(backstore_file, "monotonic", lambda: next(clock))
    assert store.write_nowait(0, b"slow")
    assert not store.write_nowait(0, b"fast")
    assert store.write_nowait(0, b"next")
    assert not store.write_nowait(0, bytes(2 << 20))
    store.close()


async def test_a_file_system_without_nowait(
    tmp_path: Path, pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "disk"
    path.write_bytes(b"d" * 4096)
    real = os.preadv

    def unable(fd: int, buffers: list[bytearray], offset: int, flags: int = 0) -> int:
        if flags:
            raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))
        return real(fd, buffers, offset)

    monkeypatch.setattr(os, "preadv", unable)
    store = open_backstore(parse_spec(f"file:{path}"), pool)
    assert store.read_nowait(0, 512, Heap()) is None
    assert bytes(await store.read(0, 512)) == b"d" * 512
    store.close()
    monkeypatch.setattr(backstore_file, "_is_tmpfs", lambda _: True)
    store = open_backstore(parse_spec(f"file:{path}"), pool)
    assert bytes(store.read_nowait(0, 512, Heap()) or b"") == b"d" * 512
    store.close()


async def test_a_file_system_without_holes(
    tmp_path: Path, pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backstore_file, "punch_hole", lambda *_: False)
    store = open_backstore(parse_spec(f"file:{tmp_path}/disk,size=4M,thin"), pool)
    await store.write(0, b"x" * 8192)
    await store.unmap([(512, 4096)])
    assert bytes(await store.read(0, 8192)) == b"x" * 512 + bytes(4096) + b"x" * (8192 - 4608)
    store.close()


def test_memory_that_is_not_to_be_had(pool: ThreadPoolExecutor) -> None:
    assert "not to be had" in refusal(BackstoreSpec("memory", size_bytes=1 << 61), pool)


@pytest.mark.skipif(not os.path.isdir("/dev/shm"), reason="there is no tmpfs")
def test_tmpfs_is_memory(pool: ThreadPoolExecutor) -> None:
    path = Path("/dev/shm") / f"san-console-test-{os.getpid()}"
    try:
        store = open_backstore(parse_spec(f"file:{path},size=64K"), pool)
        assert store.read_nowait(0, 512, Heap()) is not None
        store.close()
    finally:
        path.unlink(missing_ok=True)


async def test_a_long_read_does_not_stop_the_loop(tmp_path: Path, pool: ThreadPoolExecutor) -> None:
    length = backstore_file.MAX_INLINE_READ_BYTES + 512
    (tmp_path / "disk").write_bytes(b"\x5a" * length)
    store = open_backstore(parse_spec(f"file:{tmp_path / 'disk'}"), pool)
    arena = ReadArena()
    assert store.read_nowait(0, length, arena) is None
    assert arena.used_bytes == 0
    assert bytes(await store.read(0, length)) == b"\x5a" * length
    store.close()
