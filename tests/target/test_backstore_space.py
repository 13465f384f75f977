"""Backstores and space: what is allocated, what is given back, growing."""

from __future__ import annotations

import errno
import os
import random
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from san_console.target.backstore import Backstore, Buffer, Usage
from san_console.target.backstore_memory import PAGE_BYTES
from san_console.target.backstores import open_backstore
from san_console.target.config import BackstoreSpec, parse_spec
from san_console.target.errors import BackstoreError
from tests.target.media import Heap

SIZE = 1 << 20


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as one:
        yield one


@pytest.fixture(params=["file", "memory"])
def thin(request: pytest.FixtureRequest, tmp_path: Path, pool: ThreadPoolExecutor) -> Iterator[Backstore]:
    text = f"file:{tmp_path}/disk,size=1M,thin" if request.param == "file" else "memory:1M,thin"
    one = open_backstore(parse_spec(text), pool)
    yield one
    one.close()


def allocated_pages(store: Backstore) -> list[bool]:
    """The map of the store, page by page, put together from its extents."""
    pages: list[bool] = []
    offset = 0
    while offset < store.size_bytes:
        allocated, length = store.extent(offset)
        assert length > 0
        pages += [allocated] * (-(-(offset + length) // PAGE_BYTES) - len(pages))
        offset += length
    return pages


@pytest.mark.parametrize("seed", range(4))
async def test_the_map_follows_writes_and_unmaps(thin: Backstore, seed: int) -> None:
    """Against a model: a page is allocated from its first write until it is given back whole."""
    rng = random.Random(seed)
    model, content = [False] * (SIZE // PAGE_BYTES), bytearray(SIZE)
    for _ in range(150):
        offset = rng.randrange(SIZE // 512) * 512
        length = min(rng.choice((512, 4096, 6144, 65536, 300 << 10)), SIZE - offset)
        first, last = -(-offset // PAGE_BYTES), (offset + length) // PAGE_BYTES
        if rng.random() < 0.5:
            data = rng.randbytes(length)
            if not thin.write_nowait(offset, data):
                await thin.write(offset, data)
            content[offset : offset + length] = data
            for page in range(offset // PAGE_BYTES, -(-(offset + length) // PAGE_BYTES)):
                model[page] = True
        else:
            await thin.unmap([(offset, length)])
            content[offset : offset + length] = bytes(length)
            model[first:last] = [False] * max(0, last - first)
    assert bytes(await thin.read(0, SIZE)) == content
    found = allocated_pages(thin)
    # A file system may allocate more than was written, and never tells of less.
    assert [
        page for page, (is_there, known) in enumerate(zip(model, found, strict=True)) if is_there > known
    ] == []
    assert sum(found) - sum(model) <= 8
    await thin.flush()
    used = thin.usage().used_bytes
    assert sum(model) * PAGE_BYTES <= used <= (sum(model) + 16) * PAGE_BYTES


async def test_unmap_gives_all_of_it_back(thin: Backstore) -> None:
    assert thin.usage().used_bytes == 0
    await thin.write(0, b"x" * SIZE, fua=True)
    assert thin.usage().used_bytes == SIZE
    assert thin.extent(0) == (True, SIZE)
    await thin.unmap([(0, SIZE)])
    assert thin.usage().used_bytes == 0
    assert thin.extent(4096) == (False, SIZE - 4096)


async def test_the_end_of_an_odd_size_is_given_back(pool: ThreadPoolExecutor) -> None:
    store = open_backstore(BackstoreSpec("memory", size_bytes=PAGE_BYTES + 512, thin=True), pool)
    assert store.write_nowait(0, b"x" * (PAGE_BYTES + 512))
    assert store.usage() == Usage(PAGE_BYTES + 512)
    await store.unmap([(PAGE_BYTES, 512)])
    assert store.extent(0) == (True, PAGE_BYTES)
    assert store.extent(PAGE_BYTES) == (False, 512)
    assert bytes(await store.read(PAGE_BYTES, 512)) == bytes(512)
    store.close()


async def test_a_preallocated_file_has_its_space(tmp_path: Path, pool: ThreadPoolExecutor) -> None:
    store = open_backstore(parse_spec(f"file:{tmp_path}/disk,size=1M"), pool)
    usage = store.usage()
    assert usage.used_bytes == SIZE
    assert usage.available_bytes
    assert store.extent(0) == (True, SIZE)
    await store.resize(2 * SIZE)
    assert (store.size_bytes, store.usage().used_bytes) == (2 * SIZE, 2 * SIZE)
    assert bytes(await store.read(SIZE, SIZE)) == bytes(SIZE)
    store.close()


async def test_an_answer_does_not_change_while_it_is_sent(pool: ThreadPoolExecutor) -> None:
    """Its data digest may be computed already."""
    store = open_backstore(parse_spec("memory:1M,thin"), pool)
    assert store.write_nowait(0, b"1" * 4096)
    now, later = store.read_nowait(0, 4096, Heap()), await store.read(0, 4096)
    assert store.write_nowait(0, b"2" * 4096)
    await store.unmap([(0, 4096)])
    assert bytes(now or b"") == bytes(later) == b"1" * 4096
    store.close()


async def test_growing_keeps_what_is_there(thin: Backstore) -> None:
    await thin.write(SIZE - 4096, b"end!" * 1024)
    await thin.resize(4 * SIZE)
    assert thin.size_bytes == 4 * SIZE
    assert thin.extent(SIZE) == (False, 3 * SIZE)
    assert bytes(await thin.read(SIZE - 4096, 8192)) == b"end!" * 1024 + bytes(4096)
    await thin.write(4 * SIZE - 512, b"x" * 512)
    assert thin.extent(4 * SIZE - 512)[0]
    with pytest.raises(BackstoreError, match="cannot become smaller") as error:
        await thin.resize(SIZE)
    assert error.value.check
    assert thin.size_bytes == 4 * SIZE


async def test_there_may_be_no_room_to_grow(
    tmp_path: Path, pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "disk"
    store = open_backstore(parse_spec(f"file:{path},size=1M"), pool)

    def full(fd: int, offset: int, length: int) -> None:
        os.ftruncate(fd, offset + length // 2)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(BackstoreError, match="no room"):
        await store.resize(2 * SIZE)
    assert (store.size_bytes, path.stat().st_size) == (SIZE, SIZE)
    with pytest.raises(BackstoreError, match="no multiple"):
        await store.resize(SIZE + 100)
    store.close()


async def test_a_read_only_file_grows_only_outside(tmp_path: Path, pool: ThreadPoolExecutor) -> None:
    path = tmp_path / "disk"
    path.write_bytes(bytes(SIZE))
    store = open_backstore(parse_spec(f"file:{path},ro"), pool)
    with pytest.raises(BackstoreError, match="are asked for"):
        await store.resize(2 * SIZE)
    os.truncate(path, 2 * SIZE)
    await store.resize()
    assert store.size_bytes == 2 * SIZE
    store.close()


async def test_memory_has_an_end(pool: ThreadPoolExecutor) -> None:
    store = open_backstore(parse_spec("memory:1M"), pool)
    await store.write(0, b"x" * 512)
    with pytest.raises(BackstoreError, match="not to be had"):
        await store.resize(1 << 61)
    assert store.size_bytes == SIZE
    assert bytes(await store.read(0, 512)) == b"x" * 512
    store.close()


async def test_prefetch_fails_never(tmp_path: Path, pool: ThreadPoolExecutor) -> None:
    for text in (f"file:{tmp_path}/disk,size=1M", "memory:1M", "null:1M"):
        store = open_backstore(parse_spec(text), pool)
        await store.prefetch(4096, 8192)
        store.close()
        await store.prefetch(0, 512)


class Least(Backstore):
    """No more than what the interface asks for."""

    def __init__(self) -> None:
        self.size_bytes, self.block_bytes = 4 << 20, 512
        self.read_only = self.thin = self.write_cache = False
        self.data = bytearray(self.size_bytes)

    async def read(self, offset: int, length: int) -> Buffer:
        return bytes(self.data[offset : offset + length])

    async def write(self, offset: int, data: Buffer, *, fua: bool = False) -> None:
        self.data[offset : offset + len(data)] = data

    async def flush(self) -> None:
        """It has no cache."""

    def close(self) -> None:
        """It has nothing."""


async def test_four_methods_make_a_backstore() -> None:
    store, arena = Least(), Heap()
    assert store.read_nowait(0, 512, arena) is None
    assert not store.write_nowait(0, b"x" * 512)
    await store.write(0, b"x" * (3 << 20))
    ranges: Sequence[tuple[int, int]] = [(512, 1024), (4096, (1 << 20) + 512), (0, 0)]
    await store.unmap(ranges)
    wanted = bytearray(b"x" * (3 << 20))
    for offset, length in ranges:
        wanted[offset : offset + length] = bytes(length)
    assert bytes(await store.read(0, 3 << 20)) == wanted
    assert store.extent(4096) == (True, store.size_bytes - 4096)
    assert store.usage() == Usage(store.size_bytes)
    assert store.examine() == ""
    await store.prefetch(0, 512)
    with pytest.raises(BackstoreError, match="keeps its size"):
        await store.resize(8 << 20)
    store.failed = "why"
    await store.reopen()
    assert store.failed == ""
