"""A receive buffer that has memory only while something is in it."""

from __future__ import annotations

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

    def _take(self) -> None:
        self._view = self._pool.take()
        unread = len(self._stash)
        self._view[:unread] = self._stash
        self._start, self._end = 0, unread
        self._stash = b""

    def release(self) -> bool:
        """Give the memory back. False when more is unread than is worth to be put aside."""
        block = self._view
        unread = self._end - self._start
        if unread > STASH_BYTES:
            return False
        if block:
            if unread:
                self._stash = bytes(self._view[self._start : self._end])
            self._view = _EMPTY
            self._start = self._end = 0
            if len(block) == self._pool.block_bytes:  # else it was grown for one long PDU
                self._pool.give_back(block)
        return True
