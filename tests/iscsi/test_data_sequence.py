"""What has come of a transfer: numbers and bytes, against sets."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from san_console.iscsi import data_sequence
from san_console.iscsi.data_sequence import AHEAD, DUPLICATE, LATE, NEXT, ByteRanges, NumberGaps, TooScattered


@given(st.lists(st.integers(0, 40), max_size=60))
def test_numbers_against_a_set(numbers: list[int]) -> None:
    gaps, seen, following = NumberGaps(), set[int](), 0
    for number in numbers:
        expected = (
            DUPLICATE
            if number in seen
            else NEXT
            if number == following
            else AHEAD
            if number > following
            else LATE
        )
        assert gaps.add(number) == expected
        seen.add(number)
        following = max(following, number + 1)
        missing = [n for start, length in gaps.missing() for n in range(start, start + length)]
        assert sorted(missing) == [n for n in range(following) if n not in seen]
        assert gaps.next == following
        assert gaps.complete == (not missing)


def test_what_the_sender_says_to_have_sent_is_missing() -> None:
    """RFC 7143 §7.9: an ExpDataSN in the response that implies missing PDUs."""
    gaps = NumberGaps()
    gaps.add(0)
    gaps.sent_up_to(3)
    assert gaps.missing() == [(1, 2)]
    gaps.sent_up_to(2)
    assert gaps.missing() == [(1, 2)]
    assert gaps.add(2) == LATE
    assert gaps.missing() == [(1, 1)]
    assert NumberGaps(5).add(5) == NEXT


def test_too_many_gaps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data_sequence, "MAX_GAPS", 3)
    gaps = NumberGaps()
    for number in (1, 3, 5):
        gaps.add(number)
    with pytest.raises(TooScattered):
        gaps.add(7)
    one = NumberGaps()
    one.add(0xFFFFFFFF)  # a jump costs one gap, however far
    assert one.missing() == [(0, 0xFFFFFFFF)]


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 15)), max_size=40), st.integers(0, 60))
def test_bytes_against_a_set(pieces: list[tuple[int, int]], start: int) -> None:
    ranges, seen = ByteRanges(), set[int]()
    for offset, length in pieces:
        new = set(range(offset, offset + length)) - seen
        assert ranges.add(offset, offset + length) == len(new)
        seen |= new
        assert ranges.end == max(seen, default=-1) + 1
        missing = ranges.missing(start, 70)
        assert [n for at, size in missing for n in range(at, at + size)] == [
            n for n in range(start, 70) if n not in seen
        ]
        assert all(size > 0 for _, size in missing)


def test_too_many_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data_sequence, "MAX_RANGES", 2)
    ranges = ByteRanges()
    ranges.add(0, 1)
    ranges.add(2, 3)
    ranges.add(3, 4)
    with pytest.raises(TooScattered):
        ranges.add(6, 7)
