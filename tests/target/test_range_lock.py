"""Ranges of blocks: who waits for whom."""

from __future__ import annotations

import asyncio

import pytest

from san_console.scsi import cdb
from san_console.target.range_lock import Hold, RangeLock, shared_range


def lock() -> RangeLock:
    return RangeLock(lambda: None)


async def test_ordinary_commands_share() -> None:
    one = lock()
    first, second = one.shared(0, 8), one.shared(4, 8)
    assert first is not None
    assert second is not None
    assert not one.busy
    one.release(first)
    one.release(second)


async def test_who_wants_a_range_alone_waits_for_the_others_and_they_for_it() -> None:
    changes: list[bool] = []
    one = RangeLock(lambda: changes.append(one.busy))
    reader = one.shared(0, 8)
    assert reader is not None
    alone = asyncio.ensure_future(one.acquire(4, 1, alone=True))
    await asyncio.sleep(0)
    assert one.busy
    assert not alone.done()
    assert one.shared(4, 1) is None  # behind the one that waits
    elsewhere = one.shared(100, 1)
    assert elsewhere is not None
    later = asyncio.ensure_future(one.acquire(0, 8, alone=False))
    await asyncio.sleep(0)
    one.release(reader)
    hold = await alone
    assert not later.done()
    one.release(hold)
    one.release(await later)
    one.release(elsewhere)
    assert changes == [True, False]


async def test_a_cancelled_wait_lets_the_next_one_in() -> None:
    one = lock()
    first = await one.acquire(0, 4, alone=True)
    second = asyncio.ensure_future(one.acquire(0, 4, alone=True))
    third = asyncio.ensure_future(one.acquire(0, 4, alone=True))
    await asyncio.sleep(0)
    second.cancel()
    with pytest.raises(asyncio.CancelledError):
        await second
    one.release(first)
    one.release(await third)
    assert not one.busy


async def test_a_cancelled_wait_gives_back_what_it_was_given_meanwhile() -> None:
    one = lock()
    first = await one.acquire(0, 4, alone=True)
    second = asyncio.ensure_future(one.acquire(0, 4, alone=True))
    third = asyncio.ensure_future(one.acquire(0, 4, alone=True))
    await asyncio.sleep(0)
    one.release(first)
    second.cancel()
    with pytest.raises(asyncio.CancelledError):
        await second
    one.release(await third)
    assert not one.busy


def test_nothing_is_no_clash() -> None:
    assert not Hold(4, 4, alone=True).clashes(Hold(0, 4, alone=True))


def test_what_shares_a_range() -> None:
    assert shared_range(cdb.read_10(5, 3), 100) == (5, 3)
    assert shared_range(cdb.write_16(5, 3), 100) == (5, 3)
    assert shared_range(cdb.unmap(24), 100) == (0, 100)
    assert shared_range(cdb.test_unit_ready(), 100) is None
