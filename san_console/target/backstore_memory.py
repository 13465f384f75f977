"""Backstores without a file: memory (gone with the process) and null (for measuring the protocol alone)."""

from __future__ import annotations

import mmap
from collections.abc import Sequence

from san_console.iscsi.target_device import Arena
from san_console.target.backstore import Backstore, Buffer
from san_console.target.config import BackstoreSpec
from san_console.target.errors import BackstoreError


class MemoryBackstore(Backstore):
    """An anonymous mapping: pages exist once they are written, and are given back by UNMAP."""

    write_cache = False  # nothing is volatile that a flush could save

    def __init__(self, spec: BackstoreSpec) -> None:
        self.size_bytes = spec.size_bytes
        self.block_bytes = spec.block_bytes
        self.read_only = spec.read_only
        self.thin = spec.thin
        try:
            self._map = mmap.mmap(-1, spec.size_bytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        except (OSError, ValueError, OverflowError) as error:
            raise BackstoreError(
                f"{spec.size_bytes} bytes of memory are not to be had.",
                check="Choose a smaller size, or a file.",
            ) from error
        self._view = memoryview(self._map)

    def read_nowait(self, offset: int, length: int, arena: Arena) -> Buffer | None:
        return self._view[offset : offset + length]

    async def read(self, offset: int, length: int) -> Buffer:
        return self._view[offset : offset + length]

    def write_nowait(self, offset: int, data: Buffer) -> bool:
        self._view[offset : offset + len(data)] = data
        return True

    async def write(self, offset: int, data: Buffer, *, fua: bool = False) -> None:
        self._view[offset : offset + len(data)] = data

    async def flush(self) -> None:
        """Memory is as durable as it will ever be."""

    async def unmap(self, ranges: Sequence[tuple[int, int]]) -> None:
        for offset, length in ranges:
            first = -(-offset // mmap.PAGESIZE) * mmap.PAGESIZE
            last = (offset + length) // mmap.PAGESIZE * mmap.PAGESIZE
            if first < last:
                # Private and anonymous: the pages read as zeros afterwards (madvise(2), MADV_DONTNEED).
                self._map.madvise(mmap.MADV_DONTNEED, first, last - first)
                self._zero(offset, first)
                self._zero(last, offset + length)
            else:
                self._zero(offset, offset + length)

    def _zero(self, start: int, end: int) -> None:
        self._view[start:end] = bytes(end - start)

    def extent(self, offset: int) -> tuple[bool, int]:
        return True, self.size_bytes - offset

    def close(self) -> None:
        # Answers that were not yet sent may still hold slices; the mapping goes when the last of them does.
        self._view = memoryview(bytes(0))


_ZEROS = memoryview(bytes(1 << 20))


class NullBackstore(Backstore):
    """Reads zeros, forgets writes."""

    write_cache = False

    def __init__(self, spec: BackstoreSpec) -> None:
        self.size_bytes = spec.size_bytes
        self.block_bytes = spec.block_bytes
        self.read_only = spec.read_only
        self.thin = spec.thin

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

    def close(self) -> None:
        """There is nothing to let go of."""
