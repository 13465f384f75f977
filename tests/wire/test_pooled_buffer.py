"""A receive buffer that has memory only while something is in it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from san_console.wire.block_pool import BlockPool
from san_console.wire.pooled_buffer import STASH_BYTES, PooledReceiveBuffer


def receive(buffer: PooledReceiveBuffer, data: bytes) -> None:
    room = buffer.writable()
    room[: len(data)] = data
    buffer.wrote(len(data))


def test_memory_is_taken_with_the_first_receive_and_given_back() -> None:
    pool = BlockPool(1 << 16)
    pool.give_back(pool.take())
    buffer = PooledReceiveBuffer(pool)
    assert len(pool) == 1
    receive(buffer, b"abc")
    assert len(pool) == 0
    buffer.consume(3)
    assert buffer.release()
    assert len(pool) == 1
    assert len(buffer) == 0


def test_a_started_pdu_is_put_aside_and_goes_on_in_another_block() -> None:
    pool = BlockPool(1 << 16)
    one, other = PooledReceiveBuffer(pool), PooledReceiveBuffer(pool)
    receive(one, b"head")
    assert one.release()
    assert len(one) == 4
    receive(other, b"other bytes in the same block")
    receive(one, b"er")
    assert bytes(one.readable()) == b"header"
    assert bytes(other.readable()) == b"other bytes in the same block"


def test_a_long_rest_keeps_its_block() -> None:
    pool = BlockPool(1 << 16)
    buffer = PooledReceiveBuffer(pool)
    receive(buffer, bytes(STASH_BYTES + 1))
    assert not buffer.release()
    assert len(pool) == 0
    buffer.consume(1)
    assert buffer.release()
    assert len(pool) == 1
    assert len(buffer) == STASH_BYTES


def test_a_grown_buffer_is_not_given_to_others() -> None:
    pool = BlockPool(100)
    buffer = PooledReceiveBuffer(pool)
    receive(buffer, bytes(100))
    buffer.reserve(1000)
    receive(buffer, bytes(900))
    assert buffer.capacity == 1000
    buffer.consume(1000)
    assert buffer.release()
    assert len(pool) == 0
    assert len(buffer.writable()) == 100


def test_what_was_put_aside_can_be_read_and_consumed_at_once() -> None:
    buffer = PooledReceiveBuffer(BlockPool(100))
    receive(buffer, b"abcdef")
    buffer.release()
    assert bytes(buffer.readable()) == b"abcdef"
    buffer.release()
    buffer.consume(2)
    assert bytes(buffer.readable()) == b"cdef"
    buffer.release()
    buffer.reserve(200)
    assert bytes(buffer.readable()) == b"cdef"
    assert buffer.capacity == 200


def test_releasing_twice_is_harmless() -> None:
    pool = BlockPool(100)
    buffer = PooledReceiveBuffer(pool)
    assert buffer.release()
    receive(buffer, b"a")
    assert buffer.release()
    assert buffer.release()
    assert len(pool) == 1
    assert bytes(buffer.readable()) == b"a"


def test_one_receive_in_one_call() -> None:
    pool = BlockPool(100)
    buffer = PooledReceiveBuffer(pool)

    def three(view: memoryview) -> int:
        view[:3] = b"abc"
        return 3

    view = buffer.fill(three)
    assert bytes(view[: buffer.filled]) == b"abc"
    assert bytes(buffer.readable()) == b"abc"
    buffer.drop()
    assert len(pool) == 1
    assert len(buffer) == 0


def test_a_receive_that_fails_takes_no_memory() -> None:
    pool = BlockPool(100)
    buffer = PooledReceiveBuffer(pool)

    def reset(_: memoryview) -> int:
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        buffer.fill(reset)
    assert len(pool) == 1
    assert not buffer.fill(lambda _: 0)
    assert len(pool) == 1
    assert buffer.filled == 0


@given(st.lists(st.tuples(st.binary(max_size=300), st.integers(0, 400), st.booleans()), max_size=30))
def test_no_byte_is_lost_or_mixed_up(steps: list[tuple[bytes, int, bool]]) -> None:
    pool = BlockPool(256, max_free_bytes=256)
    buffer, neighbour = PooledReceiveBuffer(pool), PooledReceiveBuffer(pool)
    sent, taken = b"", b""
    for data, wanted, release in steps:
        while data:
            room = buffer.writable()
            count = min(len(room), len(data))
            room[:count] = data[:count]
            buffer.wrote(count)
            sent, data = sent + data[:count], data[count:]
        count = min(wanted, len(buffer))
        taken += bytes(buffer.readable()[:count])
        buffer.consume(count)
        if release:
            buffer.release()
            receive(neighbour, b"\xff" * 200)
            neighbour.consume(200)
            neighbour.release()
    assert taken + bytes(buffer.readable()) == sent
