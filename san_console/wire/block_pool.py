"""Blocks of memory that many connections use in turns: one has a block only while it has bytes in it."""

from __future__ import annotations

import mmap

MAX_FREE_BYTES = 4 << 20  # kept for the next takers; what comes back beyond goes back to the system


class BlockPool:
    """Blocks of `block_bytes` each, not zeroed when they were in use before.

    Last in, first out: the block that a processor's cache still holds is the next one given out. Whoever
    gives a block back keeps no view of it.
    """

    __slots__ = ("_free", "_max_free", "block_bytes")

    def __init__(self, block_bytes: int, max_free_bytes: int = MAX_FREE_BYTES) -> None:
        if block_bytes < 1:
            raise ValueError(f"a block holds at least one octet, not {block_bytes}")
        self.block_bytes = block_bytes
        self._max_free = max(1, max_free_bytes // block_bytes)
        self._free: list[memoryview] = []

    def __len__(self) -> int:
        """Blocks that wait for a taker."""
        return len(self._free)

    def take(self) -> memoryview:
        """A block of the caller's own until `give_back`."""
        try:
            return self._free.pop()
        except IndexError:
            # An anonymous mapping: its pages exist from their first use on, so a block that is hardly used
            # costs next to nothing.
            return memoryview(mmap.mmap(-1, self.block_bytes))

    def give_back(self, block: memoryview) -> None:
        """The block is nobody's any more."""
        if len(self._free) < self._max_free:
            self._free.append(block)
