"""The receive buffer: nothing lost, nothing copied while whole PDUs are read, bounded growth."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from san_console.wire.receive_buffer import MIN_FREE_BYTES, ReceiveBuffer


def put(buffer: ReceiveBuffer, data: bytes) -> None:
    while data:
        space = buffer.writable()
        n = min(len(space), len(data))
        space[:n] = data[:n]
        buffer.wrote(n)
        data = data[n:]


def test_reads_what_was_written_without_a_copy() -> None:
    buffer = ReceiveBuffer(64)
    put(buffer, b"abcdef")
    view = buffer.readable()
    buffer.consume(2)
    assert bytes(view) == b"abcdef"
    assert bytes(buffer.readable()) == b"cdef"
    assert len(buffer) == 4
    assert view.obj is buffer.readable().obj


def test_views_survive_consume_until_the_next_writable() -> None:
    buffer = ReceiveBuffer(MIN_FREE_BYTES * 2)
    put(buffer, b"x" * (MIN_FREE_BYTES + 100))
    view = buffer.readable()[:100]
    buffer.consume(MIN_FREE_BYTES)
    assert bytes(view) == b"x" * 100


def test_an_empty_buffer_starts_over_at_full_capacity() -> None:
    buffer = ReceiveBuffer(100)
    put(buffer, bytes(90))
    buffer.consume(90)
    assert len(buffer.writable()) == 100


def test_compacts_when_space_runs_low() -> None:
    buffer = ReceiveBuffer(MIN_FREE_BYTES * 2)
    put(buffer, bytes(MIN_FREE_BYTES * 2 - 10) + b"0123456789")
    buffer.consume(MIN_FREE_BYTES * 2 - 10)
    assert len(buffer.writable()) == MIN_FREE_BYTES * 2 - 10
    assert buffer.capacity == MIN_FREE_BYTES * 2
    assert bytes(buffer.readable()) == b"0123456789"


def test_grows_when_full_of_unread_octets() -> None:
    buffer = ReceiveBuffer(4)
    put(buffer, b"abcdefghij")
    assert bytes(buffer.readable()) == b"abcdefghij"
    assert buffer.capacity == 16


def test_reserve_makes_room_for_a_whole_pdu() -> None:
    buffer = ReceiveBuffer(16)
    put(buffer, b"0123456789abcd")
    buffer.consume(10)
    buffer.reserve(16)
    assert buffer.capacity == 16
    assert len(buffer.writable()) == 12
    buffer.reserve(100)
    assert buffer.capacity == 100
    assert bytes(buffer.readable()) == b"abcd"
    buffer.reserve(50)
    assert len(buffer.writable()) == 96


def test_an_old_view_does_not_hinder_growth() -> None:
    buffer = ReceiveBuffer(8)
    put(buffer, b"old data")
    view = buffer.readable()
    buffer.reserve(64)
    assert bytes(view) == b"old data"
    assert bytes(buffer.readable()) == b"old data"


@pytest.mark.parametrize("n", [-1, 9])
def test_indices_cannot_leave_the_buffer(n: int) -> None:
    buffer = ReceiveBuffer(8)
    with pytest.raises(ValueError, match="had room"):
        buffer.wrote(n)
    with pytest.raises(ValueError, match="are unread"):
        buffer.consume(n)


def test_capacity_of_zero_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one octet"):
        ReceiveBuffer(0)


@settings(max_examples=60)
@given(st.lists(st.tuples(st.binary(max_size=6000), st.integers(0, 6000), st.integers(0, 9000)), max_size=20))
def test_is_a_queue_of_octets(steps: list[tuple[bytes, int, int]]) -> None:
    buffer = ReceiveBuffer(5000)
    model = b""
    for data, consumed, reserved in steps:
        put(buffer, data)
        model += data
        n = min(consumed, len(model))
        buffer.consume(n)
        model = model[n:]
        buffer.reserve(reserved)
        assert bytes(buffer.readable()) == model
        assert len(buffer) == len(model)
        assert len(buffer.writable()) >= 1
