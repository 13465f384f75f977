"""The framer of a target connection: lets the command loop read headers in place, without a frame object
per PDU, and has memory only while something of a PDU is in it.
"""

from __future__ import annotations

from collections.abc import Callable

from san_console.iscsi.framing import DEFAULT_CAPACITY_BYTES, Framer
from san_console.iscsi.opcodes import DEFAULT_MAX_RECV_DATA_SEGMENT_BYTES
from san_console.wire.block_pool import BlockPool
from san_console.wire.pooled_buffer import PooledReceiveBuffer

# A PDU of 256 KiB, the usual maximum, and a batch of small ones beside it. Smaller buffers are worth no pool.
MIN_BLOCK_BYTES = 512 * 1024
_EMPTY = memoryview(b"")
# By the length of the block, a power of two: MaxRecvDataSegmentLength ends at 16 MiB, so they are few.
_POOLS: dict[int, BlockPool] = {}


def _pool_for(capacity_bytes: int) -> BlockPool:
    block_bytes = 1 << (capacity_bytes - 1).bit_length()
    pool = _POOLS.get(block_bytes)
    if pool is None:
        pool = _POOLS[block_bytes] = BlockPool(block_bytes)
    return pool


class TargetFramer(Framer):
    """A Framer whose unread bytes can be looked at, and skipped, PDU by PDU.

    Whoever skips has checked lengths against `available` and `max_data_segment_bytes`, and the digests,
    itself. With a capacity of MIN_BLOCK_BYTES or more, the memory comes from a pool that all connections of
    the process share; `release` gives it back.
    """

    __slots__ = ("_idle", "_pooled")

    def __init__(
        self,
        max_data_segment_bytes: int = DEFAULT_MAX_RECV_DATA_SEGMENT_BYTES,
        capacity_bytes: int = DEFAULT_CAPACITY_BYTES,
        expected_opcodes: frozenset[int] | None = None,
    ) -> None:
        pooled = capacity_bytes >= MIN_BLOCK_BYTES
        super().__init__(max_data_segment_bytes, 1 if pooled else capacity_bytes, expected_opcodes)
        self._pooled: PooledReceiveBuffer | None = None
        self._idle = pooled  # the pool has the memory, and nothing is put aside
        if pooled:
            self._buffer = self._pooled = PooledReceiveBuffer(_pool_for(capacity_bytes))

    def fill(self, receive_into: Callable[[memoryview], int]) -> int:
        """Receive once: `writable()` and `wrote()` in one call, which costs a turn less. Returns and raises
        what `receive_into` does.
        """
        pooled = self._pooled
        if not self._idle or pooled is None:
            count = receive_into(self.writable())
            self.wrote(count)
            return count
        self._unread = pooled.fill(receive_into)
        self._available = count = pooled.filled
        self._idle = not count
        return count

    def writable(self) -> memoryview:
        self._idle = False
        return super().writable()

    def window(self) -> tuple[memoryview, int, int]:
        """The received bytes, where the next PDU starts in them, and where they end."""
        return self._unread, self._position, self._available

    def skip_to(self, position: int) -> None:
        """Everything before `position` was handled; `position` is the start of a PDU."""
        if position != self._position:
            self._position = position
            self._need = 0

    def release(self) -> None:
        """Give the memory back until the next `writable()` or `fill()`; a part of a PDU stays. For when
        `next_frame()` has nothing more: no view of any frame is valid after it.
        """
        pooled = self._pooled
        if pooled is None or self._idle:
            return
        if 0 < self._available == self._position:
            pooled.drop()
            self._idle = True
        else:
            if self._position:
                pooled.consume(self._position)
                self._available -= self._position
                self._position = 0
            if not pooled.release():
                return
        self._unread = _EMPTY
        self._available = self._position = 0
