"""A receive buffer that has memory only while something is in it."""

from __future__ import annotations

from collections.abc import Callable

from san_console.wire.block_pool import BlockPool
from san_console.wire.receive_buffer import ReceiveBuffer

STASH_BYTES = 16 * 1024
"""An incomplete PDU up to this length is put aside by `release`: copying it twice costs a microsecond, and a
thousand connections that stop in the middle of a header then hold no thousand blocks.
"""
_EMPTY = memoryview(b"")


class PooledReceiveBuffer(ReceiveBuffer):
    """A ReceiveBuffer whose memory comes from `pool` with the first `writable()`, and goes back in `release`.

    After `release` all views of it are invalid, whatever they showed.
    """

    __slots__ = ("_pool", "_stash")

    def __init__(self, pool: BlockPool) -> None:
        self._pool = pool
        self._stash = b""
        self._view = _EMPTY
        self._start = self._end = 0

    def __len__(self) -> int:
        return self._end - self._start + len(self._stash)

    def writable(self) -> memoryview:
        if not self._view:
            self._take()
        return super().writable()

    def readable(self) -> memoryview:
        if self._stash:
            self._take()
        return super().readable()

    def consume(self, n: int) -> None:
        if self._stash:
            self._take()
        super().consume(n)

    def reserve(self, n_bytes: int) -> None:
        if not self._view:
            self._take()
        super().reserve(n_bytes)

    def fill(self, receive_into: Callable[[memoryview], int]) -> memoryview:
        """As `writable()`, one receive, `wrote()` and `readable()`, for a buffer with nothing in it; the
        result may be longer than what was received. `receive_into` gives the number of octets; when it
        raises, or gives 0, the buffer stays without memory.
        """
        block = self._pool.take()
        try:
            count = receive_into(block)
        except BaseException:
            self._pool.give_back(block)
            raise
        if not count:
            self._pool.give_back(block)
            return _EMPTY
        self._view = block
        self._end = count
        return block

    @property
    def filled(self) -> int:
        """Where what was received ends in the result of `fill`."""
        return self._end

    def drop(self) -> None:
        """Give the memory back with all that is in it."""
        block = self._view
        self._view = _EMPTY
        self._start = self._end = 0
        if len(block) == self._pool.block_bytes:  # else it was grown for one long PDU, or there is none
            self._pool.give_back(block)

    def _take(self) -> None:
        self._view = self._pool.take()
        unread = len(self._stash)
        self._view[:unread] = self._stash
        self._start, self._end = 0, unread
        self._stash = b""

    def release(self) -> bool:
        """Give the memory back. False when more is unread than is worth to be put aside."""
        unread = self._end - self._start
        if unread > STASH_BYTES:
            return False
        if self._view:
            if unread:
                self._stash = bytes(self._view[self._start : self._end])
            self.drop()
        return True
