"""A client of the engine for asyncio: the command line, tests, and programs of the user."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections import deque
from collections.abc import AsyncIterator
from pathlib import Path
from types import TracebackType
from typing import Any, Final

import msgspec

from san_console.api.messages import Delta, Failure, Message, Result, Snapshot, Statistics
from san_console.api.methods import Nothing, Subscribed
from san_console.api.problems import ApiProblem, Problem
from san_console.rpc.calls import CallTable
from san_console.rpc.credentials import peer_uid
from san_console.rpc.errors import RpcError
from san_console.rpc.paths import check_private_dir, socket_path
from san_console.rpc.peer import Peer

CONNECT_TIMEOUT_S: Final = 5.0
"""For the connection and the engine's hello. An engine that takes longer hangs."""

MAX_UNREAD_MESSAGES: Final = 10_000
"""Of a subscription that nobody iterates over: statistics are dropped first, then the connection ends."""

READ_BYTES: Final = 256 * 1024

_NO_ENGINE: Final = Problem(
    code="disconnected",
    message="No engine runs here.",
    side="this side",
    check="start one with: san-console engine run",
)
_LOST: Final = Problem(
    code="disconnected",
    message="The connection to the engine ended.",
    side="engine",
    check="whether it still runs (san-console engine status), and its log",
)


class EngineClient:
    """A connection to the engine. Made by `connect`; also an async context manager.

    Iterating over `messages()` after `subscribe()` gives the snapshot, the deltas and the statistics.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, peer: Peer) -> None:
        self._reader = reader
        self._writer = writer
        self._peer = peer
        self._calls: CallTable[asyncio.Future[Any]] = CallTable(peer)
        self._messages: deque[Snapshot | Delta | Statistics] = deque()
        self._news = asyncio.Event()
        self._ended: Problem | None = None
        self._task: asyncio.Task[None] | None = None

    @classmethod
    async def connect(
        cls, path: Path | None = None, role: str = "cli", *, timeout_s: float = CONNECT_TIMEOUT_S
    ) -> EngineClient:
        """Raises ApiProblem: `disconnected` (no engine), `forbidden` (a folder or engine of somebody else),
        `version`, `protocol`, `timeout`.
        """
        path = path or socket_path()
        try:
            check_private_dir(path.parent)
            reader, writer = await asyncio.wait_for(asyncio.open_unix_connection(path), timeout_s)
        except (FileNotFoundError, ConnectionRefusedError):
            raise ApiProblem.from_problem(_NO_ENGINE) from None
        except TimeoutError:
            raise _timeout(timeout_s) from None
        except OSError as error:
            raise ApiProblem(
                "forbidden", f"The engine's socket cannot be used: {error.strerror}.", side="operating system"
            ) from None
        uid = peer_uid(writer.get_extra_info("socket"))
        client = cls(reader, writer, Peer(role))
        if uid != os.geteuid():
            await client.close()
            raise ApiProblem("forbidden", f"The engine there belongs to user {uid}.", side="this side")
        try:
            await asyncio.wait_for(client._shake_hands(), timeout_s)
        except TimeoutError:
            await client.close()
            raise _timeout(timeout_s) from None
        except BaseException:
            await client.close()
            raise
        client._task = asyncio.get_running_loop().create_task(client._read(), name="engine client")
        return client

    @property
    def engine_version(self) -> str:
        return self._peer.other.version if self._peer.other is not None else ""

    async def call(self, method: str, params: msgspec.Struct | None = None) -> Any:
        """The decoded result, of the type in `METHODS`. Raises ApiProblem.

        Cancelling it asks the engine to give the call up.
        """
        if self._ended is not None:
            raise ApiProblem.from_problem(self._ended)
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        call_id = self._calls.start(method, params if params is not None else Nothing(), future)
        await self._flush()
        try:
            return await future
        except asyncio.CancelledError:
            self._calls.cancel(call_id)
            await self._flush()
            raise

    async def subscribe(self) -> Subscribed:
        """From now on `messages()` has the snapshot, then what changes."""
        subscribed: Subscribed = await self.call("subscribe")
        return subscribed

    async def messages(self) -> AsyncIterator[Snapshot | Delta | Statistics]:
        """What the subscription brings. Raises ApiProblem when the connection ends."""
        while True:
            while self._messages:
                yield self._messages.popleft()
            if self._ended is not None:
                raise ApiProblem.from_problem(self._ended)
            self._news.clear()
            await self._news.wait()

    async def close(self) -> None:
        """End the connection; open calls fail with `disconnected`."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        self._end(_LOST)
        self._writer.close()
        with contextlib.suppress(OSError):  # closed in whatever way
            await self._writer.wait_closed()

    async def __aenter__(self) -> EngineClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _shake_hands(self) -> None:
        await self._flush()
        while not self._peer.ready:
            for message in await self._receive():
                self._take(message)

    async def _read(self) -> None:
        try:
            while True:
                for message in await self._receive():
                    self._take(message)
        except ApiProblem as error:
            self._end(error.problem)

    async def _receive(self) -> list[Message]:
        try:
            data = await self._reader.read(READ_BYTES)
            if not data:
                raise ApiProblem.from_problem(_LOST)
            return self._peer.receive(data)
        except RpcError as error:
            raise ApiProblem.from_problem(error.problem) from None
        except OSError:
            raise ApiProblem.from_problem(_LOST) from None

    async def _flush(self) -> None:
        data = self._peer.outgoing()
        if data:
            try:
                self._writer.write(data)
                await self._writer.drain()
            except OSError:
                pass  # the reader sees the end of the connection and tells every call

    def _take(self, message: Message) -> None:
        if isinstance(message, Result | Failure):
            answer = self._calls.finish(message)
            if answer is not None and not answer.waiter.done():
                if answer.problem is None:
                    answer.waiter.set_result(answer.value)
                else:
                    answer.waiter.set_exception(ApiProblem.from_problem(answer.problem))
        elif isinstance(message, Snapshot | Delta | Statistics):
            if len(self._messages) >= MAX_UNREAD_MESSAGES:
                if isinstance(message, Statistics):
                    return
                raise ApiProblem("too-large", "The subscription was not read.", side="this side")
            self._messages.append(message)
            self._news.set()

    def _end(self, problem: Problem) -> None:
        if self._ended is None:
            self._ended = problem
        for waiter in self._calls.drop_all():
            if not waiter.done():
                waiter.set_exception(ApiProblem.from_problem(self._ended))
        self._news.set()


def _timeout(timeout_s: float) -> ApiProblem:
    return ApiProblem(
        "timeout",
        f"The engine did not answer within {timeout_s:.0f} s.",
        side="engine",
        check="whether it hangs: its log, engine.log in its data folder",
    )
