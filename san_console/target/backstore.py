"""The interface of a backstore, and the arena that reads go into.

A read is asked for in two steps: `read_nowait` gives what can be had without waiting for a medium, else
None, and then `read` gets it from a thread. So the loop never waits for a disk, and what is cached costs
no thread.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from san_console.iscsi.target_device import Arena
from san_console.target.errors import BackstoreError
from san_console.wire.block_pool import BlockPool

Buffer = bytes | bytearray | memoryview

ARENA_BYTES = 1 << 20
"""Fits into the second-level cache of current CPUs with room to spare: measured, larger arenas only lose
its help.
"""
_ARENA_BLOCKS = BlockPool(ARENA_BYTES)
_EMPTY = memoryview(b"")


ZERO_CHUNK_BYTES = 1 << 20
"""Zeros are written in pieces of this size where no hole can be made: bounds the buffer and the time of one
call.
"""


class ReadArena:
    """Memory for the answers of one turn: handed out in order, all taken back when the socket took
    everything.

    A fresh bytearray per read costs zeroing, and page faults when it is large; a list of free buffers costs
    bookkeeping per read. An index costs neither. The memory comes from a pool that the arenas of
    all connections share: as a rule an answer has left before the next connection has its turn, so one block
    that stays in the processor's cache serves them all.
    """

    __slots__ = ("_capacity_bytes", "_pool", "_view", "used_bytes")

    def __init__(self, capacity_bytes: int = ARENA_BYTES) -> None:
        self._pool = _ARENA_BLOCKS if capacity_bytes == ARENA_BYTES else BlockPool(capacity_bytes)
        self._view = _EMPTY
        self._capacity_bytes = 0
        self.used_bytes = 0

    def take(self, length: int) -> memoryview:
        """`length` bytes, not zeroed; from the heap when the arena is used up."""
        start = self.used_bytes
        end = start + length
        if end > self._capacity_bytes:
            if self._capacity_bytes or length > self._pool.block_bytes:
                return memoryview(bytearray(length))
            self._view = self._pool.take()
            self._capacity_bytes = len(self._view)
        self.used_bytes = end
        return self._view[start:end]

    def reset(self) -> None:
        """Everything handed out has been sent."""
        if self._capacity_bytes:
            self._pool.give_back(self._view)
            self._view = _EMPTY
            self._capacity_bytes = self.used_bytes = 0


class MediumError(OSError):
    """A medium failed at `offset_bytes` of the backstore, which may lie inside of the range that was asked
    for.
    """

    def __init__(self, number: int, text: str, offset_bytes: int) -> None:
        super().__init__(number, text)
        self.offset_bytes = offset_bytes


@dataclass(frozen=True, slots=True)
class Usage:
    """How much space a backstore has taken, and how much more it could get (None: nobody knows)."""

    used_bytes: int
    available_bytes: int | None = None


class Backstore(ABC):
    """Bytes by offset: all that the device server knows of where a LUN keeps its data.

    Another kind of backstore (an image format, a network block device, a cluster's volume) sets the
    attributes below, implements the four abstract methods, and is entered in `backstores.OPENERS`; nothing
    else has to know it. Everything that is not abstract has an answer here that is true of any store: no
    fast path, space never given back, no hint taken, a size that stays. A store overrides what it can do
    better.

    Offsets and lengths are multiples of `block_bytes` inside of `size_bytes`: the device server has checked
    them. All methods but `examine` and `usage` are called from the event loop and must not block it; calls
    overlap in any number, and the device server orders those that touch the same blocks. The I/O methods
    raise OSError, best MediumError; its errno decides the sense data that the initiator gets:

    | errno | the initiator hears |
    |---|---|
    | ENOSPC, EDQUOT, EFBIG on a write | DATA PROTECT, SPACE ALLOCATION FAILED WRITE PROTECT |
    | EROFS, EPERM on a write | DATA PROTECT, WRITE PROTECTED |
    | anything else on a write or flush | MEDIUM ERROR, WRITE ERROR |
    | anything on a read | MEDIUM ERROR, UNRECOVERED READ ERROR |

    What an initiator relies on: after `write` with `fua`, after any write while `write_cache` is off, and
    for every write that was acknowledged before a `flush` began that returned, the data survives a loss of
    power. A store that cannot keep this any more sets `failed` and raises from then on; it never answers
    well again by itself.
    """

    size_bytes: int
    block_bytes: int
    read_only: bool
    thin: bool
    """True when `unmap` gives space back and `extent` knows what is allocated."""
    write_cache: bool
    """True when a write is acknowledged before it is on the medium: the WCE bit follows from it. May be set
    at any time; who clears it calls `flush` then, since what was acknowledged before may still be volatile.
    """
    volatile: bool = False
    """True when `close` loses the data, so that the LUN keeps its store while it is offline."""
    failed: str = ""
    """Why nothing can be written any more until `reopen`; empty: it works."""

    @abstractmethod
    async def read(self, offset: int, length: int) -> Buffer:
        """The bytes; they do not change while the answer is being sent."""

    @abstractmethod
    async def write(self, offset: int, data: Buffer, *, fua: bool = False) -> None:
        """Write; with `fua`, or while `write_cache` is off, the data is on the medium when it returns.
        `data` stays as it is until then.
        """

    @abstractmethod
    async def flush(self) -> None:
        """All writes that were acknowledged before are on the medium when it returns."""

    @abstractmethod
    def close(self) -> None:
        """Let go of the medium. Idempotent; nothing is under way any more."""

    # The fast path

    def read_nowait(self, offset: int, length: int, arena: Arena) -> Buffer | None:
        """The bytes, when no medium has to be waited for; else None, and `read` follows."""
        return None

    def write_nowait(self, offset: int, data: Buffer) -> bool:
        """Write when that does not wait for a medium; False when nothing has to be there, and `write`
        follows. Always False while `write_cache` is off and the medium has to be waited for. `data` is valid
        during the call only.
        """
        return False

    # Space

    async def unmap(self, ranges: Sequence[tuple[int, int]]) -> None:
        """These (offset, length) read as zeros afterwards; a thin store gives their space back. Durable
        like a write.
        """
        for offset, length in ranges:
            zeros = bytes(min(length, ZERO_CHUNK_BYTES))
            for start in range(offset, offset + length, ZERO_CHUNK_BYTES):
                await self.write(start, zeros[: offset + length - start])

    def extent(self, offset: int) -> tuple[bool, int]:
        """Whether space is allocated at `offset`, and for how many bytes from there the answer is the
        same (at least 1). From the store's own map, quickly.
        """
        return True, self.size_bytes - offset

    def usage(self) -> Usage:
        """How much space is taken and left. May block: called in a thread. Raises OSError."""
        return Usage(self.size_bytes)

    async def resize(self, size_bytes: int = 0) -> None:
        """Become larger, to `size_bytes`, or with 0 to what the medium has by now. Afterwards the attribute
        `size_bytes` tells the size, and the new blocks read as zeros unless the medium had data there.
        Raises BackstoreError; then nothing has changed.
        """
        raise BackstoreError(
            "A backstore of this kind keeps its size.", check="Make a larger LUN and copy the data."
        )

    async def prefetch(self, offset: int, length: int) -> None:  # noqa: B027 - a hint may be ignored
        """A hint that this range will be read soon. Never fails."""

    # Trouble

    def examine(self) -> str:
        """Why the medium is no longer the one that was opened (gone, replaced, cut short), as a sentence
        for the user; empty: it is. May block: called in a thread, every few seconds.
        """
        return ""

    def fail(self, why: str) -> None:
        """What it promises cannot be kept any more: nothing is written until `reopen`."""
        self.failed = why

    async def reopen(self) -> None:
        """The operator has mended the medium: open it anew, with `failed` and all earlier findings
        forgotten. Raises BackstoreError; then it is as it was.
        """
        self.failed = ""


def refuse_shrink(now_bytes: int, wanted_bytes: int) -> None:
    """Raises BackstoreError when `wanted_bytes` is less: an initiator that is not told in its own words
    loses what lies behind the new end.
    """
    if wanted_bytes < now_bytes:
        raise BackstoreError(
            f"A LUN of {now_bytes} bytes cannot become smaller ({wanted_bytes} bytes).",
            check="Make a smaller LUN and copy the data, after its file system was made smaller.",
        )
