"""Ranges of blocks that one command has for itself, while the others wait.

COMPARE AND WRITE, ORWRITE and WRITE ATOMIC read, decide and write as one action (SBC-3 §4.23.3, §5.2,
§5.12). An ordinary command shares its range with ordinary commands, and waits where another holds it alone.
Whoever asked first comes first where ranges overlap, so nobody waits for ever.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from san_console.scsi import opcodes as op
from san_console.scsi.cdb_parse import decode_rw


class Hold:
    """A range that a command has, or waits for. `end` is the first block behind it."""

    __slots__ = ("alone", "end", "granted", "start")

    def __init__(self, start: int, end: int, *, alone: bool) -> None:
        self.start = start
        self.end = end
        self.alone = alone
        self.granted: asyncio.Future[None] | None = None
        """None: it was had at once."""

    def clashes(self, other: Hold) -> bool:
        """True when the two cannot be held at the same time."""
        return (self.alone or other.alone) and self.start < other.end and other.start < self.end


class RangeLock:
    """The ranges of one logical unit. `on_change` hears when `busy` may have changed."""

    def __init__(self, on_change: Callable[[], None]) -> None:
        self._on_change = on_change
        self._held: dict[int, Hold] = {}
        self._alone = 0
        self._waiting: list[Hold] = []

    @property
    def busy(self) -> bool:
        """True while somebody has, or waits for, a range alone: nothing may be read or written past the
        lock.
        """
        return bool(self._alone)

    def shared(self, start: int, blocks: int) -> Hold | None:
        """The range for an ordinary command; None when it has to wait for it (`acquire`)."""
        hold = Hold(start, start + blocks, alone=False)
        if self._alone and self._must_wait(hold):
            return None
        self._held[id(hold)] = hold
        return hold

    def _must_wait(self, hold: Hold) -> bool:
        return any(hold.clashes(other) for other in (*self._held.values(), *self._waiting))

    async def acquire(self, start: int, blocks: int, *, alone: bool) -> Hold:
        """Wait for the range. It is let go with `release`, whatever happens."""
        hold = Hold(start, start + blocks, alone=alone)
        if alone:
            self._alone += 1
            if self._alone == 1:
                self._on_change()
        if not self._must_wait(hold):
            self._held[id(hold)] = hold
            return hold
        hold.granted = asyncio.get_running_loop().create_future()
        self._waiting.append(hold)
        try:
            await hold.granted
        except asyncio.CancelledError:
            self.release(hold)
            raise
        return hold

    def release(self, hold: Hold) -> None:
        """Let go of a range, or of the wish for it; who waited for it goes on."""
        if self._held.pop(id(hold), None) is None:
            self._waiting.remove(hold)
        if hold.alone:
            self._alone -= 1
            if not self._alone:
                self._on_change()
        if self._waiting:
            self._grant()

    def _grant(self) -> None:
        waiting, self._waiting = self._waiting, []
        for hold in waiting:
            if self._must_wait(hold):
                self._waiting.append(hold)
                continue
            self._held[id(hold)] = hold
            assert hold.granted is not None  # only who had to wait is in the list
            if not hold.granted.done():  # a cancelled one releases it when it is woken
                hold.granted.set_result(None)


# Commands that read or write blocks and may do so beside each other. Those that want their range alone ask
# for it themselves.
_SHARING = frozenset(
    {
        op.READ_6,
        op.READ_10,
        op.READ_12,
        op.READ_16,
        op.WRITE_6,
        op.WRITE_10,
        op.WRITE_12,
        op.WRITE_16,
        op.WRITE_AND_VERIFY_10,
        op.WRITE_AND_VERIFY_12,
        op.WRITE_AND_VERIFY_16,
        op.VERIFY_10,
        op.VERIFY_12,
        op.VERIFY_16,
        op.WRITE_SAME_10,
        op.WRITE_SAME_16,
    }
)


def shared_range(cdb: bytes, unit_blocks: int) -> tuple[int, int] | None:
    """(first block, blocks) that an ordinary command reads or writes; None when it does neither.

    The ranges of UNMAP stand in its parameter list: it shares the whole unit, so that it never waits for
    one range while it has another.
    """
    if cdb[0] in _SHARING:
        lba, blocks, _ = decode_rw(cdb)
        return lba, blocks
    return (0, unit_blocks) if cdb[0] == op.UNMAP else None
