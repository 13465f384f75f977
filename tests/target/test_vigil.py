"""The loop stays awake for the next command, for a moment, and not for initiators that are slow."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

from san_console.target.vigil import MAX_SKIPPED, WATCH_S, Vigil, vigil_of


class FakeLoop:
    """Callbacks by hand."""

    def __init__(self) -> None:
        self.ready: list[Callable[[], object]] = []
        self.now = 0.0

    def call_soon(self, callback: Callable[[], object]) -> None:
        self.ready.append(callback)

    def turn(self, took_s: float) -> int:
        """Run what is ready; how many calls."""
        self.now += took_s
        calls, self.ready = self.ready, []
        for call in calls:
            call()
        return len(calls)


def make() -> tuple[FakeLoop, Vigil]:
    loop = FakeLoop()
    return loop, Vigil(cast("asyncio.AbstractEventLoop", loop), lambda: loop.now)


def test_the_loop_stays_awake_until_the_time_is_over() -> None:
    loop, vigil = make()
    vigil.expect_more()
    turns = 0
    while loop.turn(WATCH_S / 10):
        turns += 1
    assert 9 <= turns <= 11
    assert not vigil.watching


def test_each_command_prolongs_the_watch_which_is_one() -> None:
    loop, vigil = make()
    for _ in range(100):
        vigil.expect_more()
        assert loop.turn(WATCH_S / 2) == 1
    assert vigil.watching


def test_vain_watches_become_rare() -> None:
    loop, vigil = make()
    watches = 0
    for _ in range(1000):
        vigil.expect_more()
        watches += vigil.watching
        while loop.turn(WATCH_S):
            continue
        loop.now += 1.0
    assert 1000 // MAX_SKIPPED <= watches <= 1000 // MAX_SKIPPED + 8


def test_an_initiator_that_becomes_quick_is_watched_for_again() -> None:
    loop, vigil = make()
    for _ in range(300):
        vigil.expect_more()
        while loop.turn(WATCH_S):
            continue
    for _ in range(2 * MAX_SKIPPED):
        vigil.expect_more()
        loop.turn(WATCH_S / 2)
    assert vigil.watching
    while loop.turn(WATCH_S):
        continue
    vigil.expect_more()
    assert vigil.watching  # the last one was not in vain


async def test_connections_of_one_loop_share_it() -> None:
    loop = asyncio.get_running_loop()
    vigil = vigil_of(loop)
    assert vigil_of(loop) is vigil
    assert vigil_of(cast("asyncio.AbstractEventLoop", FakeLoop())) is not vigil


async def test_other_events_are_served_during_a_watch() -> None:
    loop = asyncio.get_running_loop()
    vigil = Vigil(loop, lambda: 0.0)  # a watch without end
    vigil.expect_more()
    heard = loop.create_future()
    loop.call_later(0, heard.set_result, True)
    assert await asyncio.wait_for(heard, 5)
    assert await loop.run_in_executor(None, lambda: 5) == 5
    assert vigil.watching
