"""Windows and numbering, also across the wrap at 2**32 (B25, B26)."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from san_console.iscsi.errors import LocalProtocolError, RemoteProtocolError
from san_console.iscsi.windows import CommandQueue, CommandWindow, StatSnTracker
from san_console.wire import serial

NUMBERS = st.integers(0, 2**32 - 1)


@given(start=NUMBERS, size=st.integers(0, 300))
def test_window_gives_exactly_its_size(start: int, size: int) -> None:
    window = CommandWindow(start, start, serial.add(start, size - 1))
    assert window.free == window.size == size
    assert [window.take() for _ in range(size)] == [serial.add(start, i) for i in range(size)]
    assert not window.may_send()
    assert window.free == 0
    with pytest.raises(LocalProtocolError, match="closed"):
        window.take()


def test_window_moves_only_forward() -> None:
    window = CommandWindow(10, 10, 20)
    window.update(15, 30)
    assert (window.exp_cmd_sn, window.max_cmd_sn) == (15, 30)
    window.update(12, 25)  # an older PDU that came later
    assert (window.exp_cmd_sn, window.max_cmd_sn) == (15, 30)
    window.update(40, 38)  # MaxCmdSN < ExpCmdSN - 1: ignored (§4.2.2.1)
    assert (window.exp_cmd_sn, window.max_cmd_sn) == (15, 30)
    window.update(31, 30)  # closed
    assert window.size == 0


def test_window_wraps() -> None:
    window = CommandWindow(0xFFFFFFFF, 0xFFFFFFFF, 1)
    assert [window.take() for _ in range(3)] == [0xFFFFFFFF, 0, 1]
    window.update(2, 5)
    assert window.free == 4


@settings(max_examples=60)
@given(start=NUMBERS, order=st.permutations(list(range(12))))
def test_commands_are_delivered_in_order(start: int, order: list[int]) -> None:
    queue: CommandQueue[int] = CommandQueue(start, 12)
    delivered: list[int] = []
    for number in order:
        delivered += queue.offer(serial.add(start, number), number)
        assert queue.held <= 12
    assert delivered == list(range(12))
    assert queue.held == 0
    assert queue.missing is None


def test_duplicates_and_strangers_are_ignored() -> None:
    queue: CommandQueue[str] = CommandQueue(0xFFFFFFFE, 4)
    assert queue.offer(0, "third") == []
    assert queue.offer(0, "third again") == []
    assert queue.missing == 0xFFFFFFFE
    assert queue.offer(2, "beyond the window") == []
    assert queue.offer(0x7FFFFFFE, "half the circle away") == []
    assert queue.offer(0xFFFFFFFD, "old") == []
    assert queue.offer(0xFFFFFFFE, "first") == ["first"]
    assert queue.offer(0xFFFFFFFF, "second") == ["second", "third"]
    assert queue.offer(0xFFFFFFFF, "second again") == []
    assert queue.held == 0


def test_window_opens_as_commands_end() -> None:
    queue: CommandQueue[str] = CommandQueue(1, 1)
    assert queue.offer(1, "a") == ["a"]
    assert queue.offer(2, "b") == []
    queue.done()
    assert queue.offer(2, "b") == ["b"]
    assert serial.ge(queue.max_cmd_sn, serial.add(queue.exp_cmd_sn, -1))


def test_stat_sn_counts_what_consumes_it() -> None:
    tracker = StatSnTracker(0xFFFFFFFF)
    # R2T and an unsolicited NOP-In carry StatSN and do not take it.
    assert tracker.received(0xFFFFFFFF, consumes=False)
    assert tracker.received(0xFFFFFFFF)
    assert tracker.received(0)
    assert tracker.exp_stat_sn == 1
    assert not tracker.received(0)  # a duplicate
    assert tracker.received(0, consumes=False)
    assert tracker.exp_stat_sn == 1


def test_gap_in_stat_sn_ends_the_session() -> None:
    with pytest.raises(RemoteProtocolError, match="skipped 3"):
        StatSnTracker(5).received(8)
