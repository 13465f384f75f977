"""The interface of a backstore, and the arena that reads go into.

A read is asked for in two steps: `read_nowait` gives what can be had without waiting for a medium, else
None, and then `read` gets it from a thread. So the loop never waits for a disk, and what is cached costs
no thread.
"""

from __future__ import annotations

import mmap
from abc import ABC, abstractmethod
from collections.abc import Sequence

from san_console.iscsi.target_device import Arena

Buffer = bytes | bytearray | memoryview

ARENA_BYTES = 1 << 20
"""Fits into the second-level cache of current CPUs with room to spare: measured, larger arenas only lose
its help.
"""


class ReadArena:
    """Memory for the answers of one turn: handed out in order, all taken back when the socket took
    everything.

    A fresh bytearray per read costs zeroing, and page faults when it is large; a list of free buffers costs
    bookkeeping per read. An index costs neither.
    """

    __slots__ = ("_view", "capacity_bytes", "used_bytes")

    def __init__(self, capacity_bytes: int = ARENA_BYTES) -> None:
        # An anonymous mapping: pages exist from their first use on, so an idle connection costs next to
        # nothing.
        self._view = memoryview(mmap.mmap(-1, capacity_bytes))
        self.capacity_bytes = capacity_bytes
        self.used_bytes = 0

    def take(self, length: int) -> memoryview:
        """`length` bytes, not zeroed; from the heap when the arena is used up."""
        start = self.used_bytes
        end = start + length
        if end > self.capacity_bytes:
            return memoryview(bytearray(length))
        self.used_bytes = end
        return self._view[start:end]

    def reset(self) -> None:
        """Everything handed out has been sent."""
        self.used_bytes = 0


class Backstore(ABC):
    """Bytes by offset. Offsets and lengths are inside of `size_bytes`: the device server has checked them.

    The methods raise OSError; its errno decides the sense data that the initiator gets.
    """

    size_bytes: int
    block_bytes: int
    read_only: bool
    thin: bool
    write_cache: bool
    """True when a write is acknowledged before it is on the medium: the WCE bit follows from it."""
    failed: str = ""
    """Why nothing can be written any more until an operator opens the backstore again; empty: it works."""

    @abstractmethod
    def read_nowait(self, offset: int, length: int, arena: Arena) -> Buffer | None:
        """The bytes, when no medium has to be waited for; else None."""

    @abstractmethod
    async def read(self, offset: int, length: int) -> Buffer:
        """The bytes, from a thread when need be."""

    @abstractmethod
    def write_nowait(self, offset: int, data: Buffer) -> bool:
        """Write when that does not wait for a medium; False when nothing was written. Durable only after
        `flush`.
        """

    @abstractmethod
    async def write(self, offset: int, data: Buffer, *, fua: bool = False) -> None:
        """Write; with `fua` the data is on the medium when it returns."""

    @abstractmethod
    async def flush(self) -> None:
        """All writes that were acknowledged before are on the medium when it returns."""

    @abstractmethod
    async def unmap(self, ranges: Sequence[tuple[int, int]]) -> None:
        """Give back the space of these (offset, length); they read as zeros afterwards."""

    @abstractmethod
    def extent(self, offset: int) -> tuple[bool, int]:
        """Whether space is allocated at `offset`, and for how many bytes from there the answer is the
        same.
        """

    @abstractmethod
    def close(self) -> None:
        """Let go of the file. Idempotent."""
