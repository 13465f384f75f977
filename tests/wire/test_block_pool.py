"""Memory that connections share in turns."""

from __future__ import annotations

import pytest

from san_console.wire.block_pool import BlockPool


def test_the_block_that_came_back_last_is_given_out_first() -> None:
    pool = BlockPool(4096)
    first, second = pool.take(), pool.take()
    first[:1], second[:1] = b"1", b"2"
    pool.give_back(first)
    pool.give_back(second)
    assert bytes(pool.take()[:1]) == b"2"
    assert bytes(pool.take()[:1]) == b"1"


def test_two_takers_never_share_a_block() -> None:
    pool = BlockPool(64)
    one, other = pool.take(), pool.take()
    one[:] = b"\1" * 64
    assert bytes(other) == bytes(64)


def test_what_comes_back_beyond_the_limit_is_let_go() -> None:
    pool = BlockPool(1000, max_free_bytes=2500)
    for block in [pool.take() for _ in range(5)]:
        pool.give_back(block)
    assert len(pool) == 2


def test_one_block_is_kept_however_long_it_is() -> None:
    pool = BlockPool(4096, max_free_bytes=1)
    pool.give_back(pool.take())
    assert len(pool) == 1


def test_a_block_holds_something() -> None:
    with pytest.raises(ValueError):
        BlockPool(0)
