"""Backstores without a file: memory (gone with the process), null (for measuring the protocol alone), and
the one that stands for a medium which cannot be had.
"""

from __future__ import annotations

import errno
import mmap
import os
from collections.abc import Sequence

from san_console.iscsi.target_device import Arena
from san_console.target.backstore import Backstore, Buffer, Usage, refuse_shrink
from san_console.target.config import BackstoreSpec
from san_console.target.errors import BackstoreError

PAGE_SHIFT = 12
PAGE_BYTES = 1 << PAGE_SHIFT
"""What the map of a thin memory backstore counts by: the page of nearly all processors, and the block of
nearly all file systems.
"""


class MemoryBackstore(Backstore):
    """An anonymous mapping: pages exist once they are written, and are given back by UNMAP.

    A thin one keeps its own map of the pages that were written, a byte for each: the kernel's answer
    (mincore) is about residence, and swapping would change it.
    """

    volatile = True

    def __init__(self, spec: BackstoreSpec) -> None:
        self.size_bytes = spec.size_bytes
        self.block_bytes = spec.block_bytes
        self.read_only = spec.read_only
        self.thin = spec.thin
        self.write_cache = False  # nothing is volatile that a flush could save
        self._used_pages = 0
        self._pages = bytearray()
        try:
            self._map = mmap.mmap(-1, spec.size_bytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
            if spec.thin:
                self._pages = bytearray(_pages_of(spec.size_bytes))
        except (OSError, ValueError, OverflowError, MemoryError) as error:
            raise _no_memory(spec.size_bytes) from error
        self._view = memoryview(self._map)

    def read_nowait(self, offset: int, length: int, arena: Arena) -> Buffer | None:
        # A copy: a write that comes while the answer waits for the socket would break its data digest.
        view = arena.take(length)
        view[:] = self._view[offset : offset + length]
        return view

    async def read(self, offset: int, length: int) -> Buffer:
        return bytes(self._view[offset : offset + length])

    def write_nowait(self, offset: int, data: Buffer) -> bool:
        end = offset + len(data)
        self._view[offset:end] = data
        if self.thin:
            self._mark(offset >> PAGE_SHIFT, _pages_of(end))
        return True

    async def write(self, offset: int, data: Buffer, *, fua: bool = False) -> None:
        self.write_nowait(offset, data)

    async def flush(self) -> None:
        """Memory is as durable as it will ever be."""

    def _mark(self, first: int, last: int) -> None:
        new = self._pages.count(0, first, last)
        if new:
            self._pages[first:last] = b"\1" * (last - first)
            self._used_pages += new

    async def unmap(self, ranges: Sequence[tuple[int, int]]) -> None:
        for offset, length in ranges:
            end = offset + length
            first = _pages_of(offset)
            # The last page may be a part of one: it goes when the range reaches the end of the store.
            last = _pages_of(end) if end == self.size_bytes else end >> PAGE_SHIFT
            if first < last:
                self._give_back(first, last)
                self._zero(offset, first << PAGE_SHIFT)
                self._zero(last << PAGE_SHIFT, end)
            else:
                self._zero(offset, end)

    def _give_back(self, first: int, last: int) -> None:
        # Private and anonymous: the pages read as zeros afterwards (madvise(2), MADV_DONTNEED). Where pages
        # of the machine are larger, only whole ones go, and the rest is zeroed.
        start, end = first << PAGE_SHIFT, min(last << PAGE_SHIFT, self.size_bytes)
        whole_start = -(-start // mmap.PAGESIZE) * mmap.PAGESIZE
        whole_end = end // mmap.PAGESIZE * mmap.PAGESIZE
        if whole_start < whole_end:
            self._map.madvise(mmap.MADV_DONTNEED, whole_start, whole_end - whole_start)
            self._zero(start, whole_start)
            self._zero(whole_end, end)
        else:
            self._zero(start, end)
        if self.thin:
            self._used_pages -= self._pages.count(1, first, last)
            self._pages[first:last] = bytes(last - first)

    def _zero(self, start: int, end: int) -> None:
        if start < end:
            self._view[start:end] = bytes(end - start)

    def extent(self, offset: int) -> tuple[bool, int]:
        if not self.thin:
            return True, self.size_bytes - offset
        page = offset >> PAGE_SHIFT
        allocated = self._pages[page]
        end = self._pages.find(0 if allocated else 1, page)
        end_bytes = self.size_bytes if end < 0 else min(end << PAGE_SHIFT, self.size_bytes)
        return bool(allocated), end_bytes - offset

    def usage(self) -> Usage:
        if not self.thin:
            return Usage(self.size_bytes)
        return Usage(min(self._used_pages << PAGE_SHIFT, self.size_bytes))

    async def resize(self, size_bytes: int = 0) -> None:
        wanted = size_bytes or self.size_bytes
        refuse_shrink(self.size_bytes, wanted)
        self._view.release()  # nothing else holds a part of the mapping: reads are copies
        try:
            self._map.resize(wanted)
            if self.thin:
                self._pages.extend(bytes(_pages_of(wanted) - len(self._pages)))
        except (OSError, ValueError, OverflowError, MemoryError) as error:
            raise _no_memory(wanted) from error
        finally:
            self._view = memoryview(self._map)
        self.size_bytes = wanted

    def close(self) -> None:
        self._view = memoryview(bytes(0))


def _pages_of(length_bytes: int) -> int:
    return -(-length_bytes >> PAGE_SHIFT)


def _no_memory(size_bytes: int) -> BackstoreError:
    return BackstoreError(
        f"{size_bytes} bytes of memory are not to be had.", check="Choose a smaller size, or a file."
    )


_ZEROS = memoryview(bytes(1 << 20))


class NullBackstore(Backstore):
    """Reads zeros, forgets writes."""

    volatile = True

    def __init__(self, spec: BackstoreSpec) -> None:
        self.size_bytes = spec.size_bytes
        self.block_bytes = spec.block_bytes
        self.read_only = spec.read_only
        self.thin = spec.thin
        self.write_cache = False

    def read_nowait(self, offset: int, length: int, arena: Arena) -> Buffer | None:
        return _ZEROS[:length] if length <= len(_ZEROS) else bytes(length)

    async def read(self, offset: int, length: int) -> Buffer:
        return bytes(length)

    def write_nowait(self, offset: int, data: Buffer) -> bool:
        return True

    async def write(self, offset: int, data: Buffer, *, fua: bool = False) -> None:
        """Nothing is kept."""

    async def flush(self) -> None:
        """Nothing is kept."""

    async def unmap(self, ranges: Sequence[tuple[int, int]]) -> None:
        """Nothing is allocated."""

    def extent(self, offset: int) -> tuple[bool, int]:
        return False, self.size_bytes - offset

    def usage(self) -> Usage:
        return Usage(0)

    async def resize(self, size_bytes: int = 0) -> None:
        wanted = size_bytes or self.size_bytes
        refuse_shrink(self.size_bytes, wanted)
        self.size_bytes = wanted

    def close(self) -> None:
        """There is nothing to let go of."""


class OfflineBackstore(Backstore):
    """Stands for a medium that could not be opened, for `reason`: so its LUN keeps number, identity and
    mapping. `size_bytes` is 0 when only the medium knows its size.
    """

    def __init__(self, spec: BackstoreSpec, reason: str) -> None:
        self.size_bytes = spec.size_bytes
        self.block_bytes = spec.block_bytes
        self.read_only = spec.read_only
        self.thin = spec.thin
        self.write_cache = True
        self.failed = reason
        self._path = spec.path

    def _refuse(self) -> OSError:
        return OSError(errno.EIO, self.failed)

    async def read(self, offset: int, length: int) -> Buffer:
        raise self._refuse()

    async def write(self, offset: int, data: Buffer, *, fua: bool = False) -> None:
        raise self._refuse()

    async def flush(self) -> None:
        raise self._refuse()

    async def unmap(self, ranges: Sequence[tuple[int, int]]) -> None:
        raise self._refuse()

    def usage(self) -> Usage:
        raise self._refuse()

    def examine(self) -> str:
        """Empty when opening the medium is worth a try."""
        return "" if not self._path or os.path.exists(self._path) else self.failed

    def close(self) -> None:
        """There is nothing to let go of."""
