"""What of a data transfer has come and what is missing, by number and by byte; for both roles.

A target tracks Data-Out PDUs with it, to ask for lost ones again by a recovery R2T; an initiator tracks
Data-In PDUs, to ask by SNACK (RFC 7143 §7.8, §7.9). Numbers (DataSN, R2TSN) tell that something was lost,
the ranges of bytes tell what.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right

MAX_RANGES = 4096
"""Pieces of one transfer that do not touch each other. A burst of 16 MiB that comes in segments of 4 KiB in
the worst order makes half as many; what is more scattered only costs memory and time here."""
MAX_GAPS = 256  # missing runs of numbers: where so many are lost, the transfer is not worth recovering

# What `NumberGaps.add` says
NEXT = 0  # the one that was expected
AHEAD = 1  # others before it are missing now
LATE = 2  # one of the missing ones
DUPLICATE = 3


class TooScattered(ValueError):
    """More pieces or gaps than are kept track of."""


class NumberGaps:
    """Which of the numbers 0, 1, 2, … have come. `next` is one more than the highest."""

    __slots__ = ("_gaps", "next")

    def __init__(self, first: int = 0) -> None:
        self.next = first
        self._gaps: list[tuple[int, int]] = []

    def add(self, number: int) -> int:
        """NEXT, AHEAD, LATE or DUPLICATE. Raises TooScattered."""
        if number == self.next:
            self.next = number + 1
            return NEXT
        if number > self.next:
            self._open(self.next, number)
            self.next = number + 1
            return AHEAD
        for index, (start, end) in enumerate(self._gaps):
            if start <= number < end:
                pieces = [(start, number), (number + 1, end)]
                self._gaps[index : index + 1] = [piece for piece in pieces if piece[0] < piece[1]]
                self._check()
                return LATE
        return DUPLICATE

    def sent_up_to(self, count: int) -> None:
        """The sender has told that it sent `count` of them (ExpDataSN, R2TSN of a later one): what has not
        come of these is missing. Raises TooScattered.
        """
        if count > self.next:
            self._open(self.next, count)
            self.next = count

    def _open(self, start: int, end: int) -> None:
        self._gaps.append((start, end))
        self._check()

    def _check(self) -> None:
        if len(self._gaps) > MAX_GAPS:
            raise TooScattered(f"more than {MAX_GAPS} runs of numbers are missing")

    @property
    def complete(self) -> bool:
        """True when none before `next` is missing."""
        return not self._gaps

    def missing(self) -> list[tuple[int, int]]:
        """(BegRun, RunLength) of each missing run, as a SNACK asks for them (§11.16.6)."""
        return [(start, end - start) for start, end in self._gaps]


class ByteRanges:
    """Which bytes have come. Ranges that touch each other are one."""

    __slots__ = ("_ends", "_starts")

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []

    def add(self, start: int, end: int) -> int:
        """Bytes `start` to `end` have come; returns how many of them are new. Raises TooScattered."""
        if start >= end:
            return 0
        starts, ends = self._starts, self._ends
        first = bisect_left(ends, start)
        last = bisect_right(starts, end)
        known = 0
        for index in range(first, last):
            known += max(0, min(ends[index], end) - max(starts[index], start))
        new = end - start - known
        if first < last:
            start = min(start, starts[first])
            end = max(end, ends[last - 1])
        starts[first:last] = [start]
        ends[first:last] = [end]
        if len(starts) > MAX_RANGES:
            raise TooScattered(f"the data came in more than {MAX_RANGES} separate pieces")
        return new

    def missing(self, start: int, end: int) -> list[tuple[int, int]]:
        """(offset, length) of what has not come between `start` and `end`."""
        gaps: list[tuple[int, int]] = []
        index = bisect_right(self._ends, start)
        while start < end:
            if index == len(self._starts) or self._starts[index] >= end:
                gaps.append((start, end - start))
                break
            if self._starts[index] > start:
                gaps.append((start, self._starts[index] - start))
            start = self._ends[index]
            index += 1
        return gaps

    @property
    def end(self) -> int:
        """One more than the last byte that has come."""
        return self._ends[-1] if self._ends else 0
