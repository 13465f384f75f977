"""Keeping the event loop awake for a moment after a command, since the next one is about to come.

An initiator with one command at a time sends the next one some 20 microseconds after its answer. A processor
that went to sleep meanwhile takes longer than that to wake up, on a virtual machine above all: measured, it
doubles the time from command to command, and its processor time with it. So after a turn with few commands
the loop looks for events without sleeping, for WATCH_S at most. It does nothing else meanwhile and blocks
nothing: events of all other sockets, timers and threads are served as soon as they come.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import monotonic
from weakref import WeakValueDictionary

WATCH_S = 50e-6
"""Three times what a fast initiator needs; commands that come later are not worth a busy processor."""
MAX_SKIPPED = 64
"""After vain watches, so many turns go by before the next one: a slow initiator costs 1 % of a processor."""


class Vigil:
    """The watches of one event loop. `clock` gives seconds, much finer than WATCH_S."""

    __slots__ = ("__weakref__", "_clock", "_heard", "_loop", "_skip", "_skipped", "_until", "watching")

    def __init__(self, loop: asyncio.AbstractEventLoop, clock: Callable[[], float] = monotonic) -> None:
        self._loop = loop
        self._clock = clock
        self._until = 0.0
        self._heard = False
        self._skip = 0
        self._skipped = 0
        self.watching = False

    def expect_more(self) -> None:
        """A command was answered: the next one is expected at once."""
        if self.watching:
            self._heard = True
        elif self._skipped < self._skip:
            self._skipped += 1
            return
        else:
            self.watching = True
            self._heard = False
            self._skipped = 0
            self._loop.call_soon(self._look)
        self._until = self._clock() + WATCH_S

    def _look(self) -> None:
        # The loop polls its selector between two calls of this.
        if self._clock() < self._until:
            self._loop.call_soon(self._look)
            return
        self.watching = False
        self._skip = 0 if self._heard else min(2 * self._skip + 1, MAX_SKIPPED)


# By the identity of the loop, which a Vigil keeps alive, as the connections keep the Vigil.
_vigils: WeakValueDictionary[int, Vigil] = WeakValueDictionary()


def vigil_of(loop: asyncio.AbstractEventLoop) -> Vigil:
    """The one that all connections of `loop` share."""
    vigil = _vigils.get(id(loop))
    if vigil is None:
        vigil = _vigils[id(loop)] = Vigil(loop)
    return vigil
