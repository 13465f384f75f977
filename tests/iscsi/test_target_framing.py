"""The framer of the target: it has memory only while a PDU is in it."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from san_console.iscsi.pdu import NopOut
from san_console.iscsi.target_framing import MIN_BLOCK_BYTES, TargetFramer


def put(framer: TargetFramer, raw: bytes) -> None:
    room = framer.writable()
    room[: len(raw)] = raw
    framer.wrote(len(raw))


def nop(text: bytes) -> bytes:
    return NopOut(itt=1).pack(len(text)) + text + bytes(-len(text) & 3)


def framers() -> tuple[TargetFramer, TargetFramer]:
    return TargetFramer(8192, MIN_BLOCK_BYTES), TargetFramer(8192, MIN_BLOCK_BYTES)


def test_connections_use_the_same_memory_in_turns() -> None:
    one, other = framers()
    put(one, nop(b"first"))
    frame = one.next_frame()
    assert frame is not None
    memory = frame.data.obj
    one.release()
    put(other, nop(b"second"))
    frame = other.next_frame()
    assert frame is not None
    assert frame.data.obj is memory
    assert bytes(frame.data) == b"second"


def test_a_part_of_a_pdu_survives_the_turn_of_another_connection() -> None:
    one, other = framers()
    raw = nop(b"first") + nop(b"next")
    for end in range(1, len(raw)):
        put(one, raw[:end])
        while one.next_frame() is not None:
            one.release()  # in the middle of a turn, too
        one.release()
        put(other, nop(b"*" * 8000))
        assert other.next_frame() is not None
        other.release()
        put(one, raw[end:])
        last = None
        while (frame := one.next_frame()) is not None:
            last = bytes(frame.data)
        assert last == b"next"
        one.release()
        assert len(one) == 0


def test_headers_are_skipped_in_place() -> None:
    framer, _ = framers()
    put(framer, nop(b"first") + nop(b"next"))
    unread, position, available = framer.window()
    assert (position, available) == (0, 2 * 48 + 8 + 4)
    assert unread[0] & 0x3F == 0x00
    framer.skip_to(56)
    frame = framer.next_frame()
    assert frame is not None
    assert bytes(frame.data) == b"next"


def test_small_framers_have_their_own_memory() -> None:
    framer = TargetFramer(8192, 16384)
    put(framer, nop(b"abc"))
    framer.release()
    frame = framer.next_frame()
    assert frame is not None
    assert bytes(frame.data) == b"abc"


def nothing_there(_: memoryview) -> int:
    raise BlockingIOError


class Stream:
    """Gives what it holds in pieces of the lengths asked for."""

    def __init__(self, raw: bytes) -> None:
        self.raw = raw
        self.wanted = 0

    def receive_into(self, view: memoryview) -> int:
        count = min(self.wanted, len(self.raw), len(view))
        view[:count] = self.raw[:count]
        self.raw = self.raw[count:]
        return count


@given(
    st.lists(st.binary(max_size=200), max_size=20),
    st.lists(st.tuples(st.integers(1, 400), st.sampled_from("frwn")), min_size=1, max_size=60),
)
@settings(max_examples=100, deadline=None)
def test_any_way_of_receiving_gives_the_same_pdus(texts: list[bytes], steps: list[tuple[int, str]]) -> None:
    stream = Stream(b"".join(map(nop, texts)))
    framer, neighbour = framers()
    found = []
    while stream.raw:
        for count, way in steps:
            stream.wanted = count
            if way == "n":
                with pytest.raises(BlockingIOError):
                    framer.fill(nothing_there)
                framer.release()
                continue
            if way == "w":
                framer.wrote(stream.receive_into(framer.writable()))
            else:
                framer.fill(stream.receive_into)
            while (frame := framer.next_frame()) is not None:
                found.append(bytes(frame.data))
            if way == "r":
                framer.release()
                framer.release()
                put(neighbour, nop(b"*" * 600))
                assert neighbour.next_frame() is not None
                neighbour.release()
        if all(way == "n" for _, way in steps):
            break
    else:
        assert found == texts
