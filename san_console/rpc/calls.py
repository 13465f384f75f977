"""The open calls of a client, without I/O: numbers them and turns answers into values of `METHODS`' types."""

from __future__ import annotations

from functools import cache
from typing import Any, Generic, NamedTuple, TypeVar

import msgspec

from san_console.api.messages import Call, Cancel, Failure, Result
from san_console.api.methods import METHODS
from san_console.api.problems import ApiProblem, Problem
from san_console.rpc.errors import FrameTooLarge
from san_console.rpc.peer import MAX_OPEN_CALLS, Peer

W = TypeVar("W")
"""Whatever the caller wants back with the answer: a future, a pair of callbacks."""


@cache
def _result_decoder(method: str) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(METHODS[method].result)


class Answer(NamedTuple, Generic[W]):
    """The end of a call: `problem` is None when it succeeded, and then `value` is its result."""

    waiter: W
    value: Any
    problem: Problem | None


class CallTable(Generic[W]):
    """Calls over one `Peer`. What it sends is then in `peer.outgoing()`."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer
        self._next_id = 1
        self._open: dict[int, tuple[str, W]] = {}

    def __len__(self) -> int:
        return len(self._open)

    def start(self, method: str, params: msgspec.Struct, waiter: W) -> int:
        """Queue a call; returns its id. Raises ApiProblem `unknown-method`, `bad-request` (params of
        another method) or `too-large` (64 calls are open, or the frame limit).
        """
        known = METHODS.get(method)
        if known is None:
            raise ApiProblem("unknown-method", f"There is no method {method}.", side="this side")
        if not isinstance(params, known.params):
            raise ApiProblem(
                "bad-request",
                f"{method} takes {known.params.__name__}, not {type(params).__name__}.",
                side="this side",
            )
        if len(self._open) >= MAX_OPEN_CALLS:
            raise ApiProblem(
                "too-large", f"{MAX_OPEN_CALLS} calls to the engine are open already.", side="this side"
            )
        call_id = self._next_id
        try:
            self._peer.send(Call(id=call_id, method=method, params=msgspec.Raw(msgspec.json.encode(params))))
        except FrameTooLarge as error:
            raise ApiProblem.from_problem(error.problem) from None
        self._next_id += 1
        self._open[call_id] = (method, waiter)
        return call_id

    def cancel(self, call_id: int) -> None:
        """Ask the engine to give up a call, if it is still open. It stays open until its answer comes."""
        if call_id in self._open:
            self._peer.send(Cancel(id=call_id))

    def finish(self, message: Result | Failure) -> Answer[W] | None:
        """Match an answer with its call; None when no such call is open (its client gave it up)."""
        entry = self._open.pop(message.id, None)
        if entry is None:
            return None
        method, waiter = entry
        if isinstance(message, Failure):
            return Answer(waiter, None, message.problem)
        try:
            return Answer(waiter, _result_decoder(method).decode(message.result), None)
        except (msgspec.DecodeError, RecursionError):
            problem = Problem(
                code="protocol",
                message=f"The engine's answer to {method} is not of the agreed form.",
                side="this side",
                check="whether the engine is of the same version",
            )
            return Answer(waiter, None, problem)

    def drop_all(self) -> list[W]:
        """The connection is gone: forget every open call and return those who wait for them."""
        waiters = [waiter for _, waiter in self._open.values()]
        self._open.clear()
        return waiters
