"""One host as the window sees it: an engine behind a socket, or a simulated one.

All callbacks arrive on the thread that owns the backend, one at a time, never from inside `call`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from san_console.api.messages import Delta, Snapshot, Statistics
from san_console.api.problems import Problem

BackendState = Literal["connecting", "starting", "connected", "lost", "incompatible", "refused"]


@dataclass(slots=True)
class ObjectSnapshot:
    """A `Snapshot` whose objects need no decoding, from a backend in this process."""

    revision: int
    collections: dict[str, list[Any]]


@dataclass(slots=True)
class ObjectDelta:
    """A `Delta` whose objects need no decoding: (collection, id, object or None when it is gone)."""

    revision: int
    changes: list[tuple[str, str, Any]]


BackendMessage = Snapshot | Delta | Statistics | ObjectSnapshot | ObjectDelta
"""What a `Replica` takes."""

Done = Callable[[Any], None]
Failed = Callable[[Problem], None]
Canceller = Callable[[], None]


def _unheard_message(message: BackendMessage) -> None:
    """Nobody listens yet."""


def _unheard_state(state: BackendState, text: str) -> None:
    """Nobody listens yet."""


class Backend(ABC):
    """A connection to one host. It subscribes by itself: after `connected` comes a snapshot, then deltas.

    The consumer sets `on_message` and `on_state` before `start`.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.state: BackendState = "connecting"
        self.on_message: Callable[[BackendMessage], None] = _unheard_message
        self.on_state: Callable[[BackendState, str], None] = _unheard_state

    @abstractmethod
    def start(self) -> None:
        """Begin to connect, and keep connected until `close`; what happens comes through `on_state`."""

    @abstractmethod
    def close(self) -> None:
        """Let go. Open calls are dropped without an answer; nothing is called back afterwards."""

    @abstractmethod
    def call(
        self, method: str, params: msgspec.Struct, done: Done | None = None, failed: Failed | None = None
    ) -> Canceller:
        """Ask for `method` of `api.methods.METHODS`; exactly one of `done` and `failed` is called, later.

        `done` gets the decoded result. The returned function gives the call up: it is still answered,
        mostly with the problem `cancelled`. Raises `KeyError` for a method that is not in the list, and
        `TypeError` for parameters of another method.
        """
