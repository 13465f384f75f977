"""The simulated host behind a real socket: commands are tested against it without an engine."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from san_console.api.messages import Change, Delta, Message, Snapshot, Statistics
from san_console.api.problems import ApiProblem, Problem
from san_console.console.backend import BackendMessage, ObjectDelta, ObjectSnapshot
from san_console.console.simulated import SimulatedBackend
from san_console.rpc.dispatch import Then
from san_console.rpc.server import ClientConnection, RpcServer

SPEED = 20
"""Simulated seconds per second: what takes 5 s there takes a quarter of one here."""


def raw(value: Any) -> msgspec.Raw:
    try:
        return msgspec.Raw(msgspec.json.encode(value))
    except UnicodeEncodeError:  # a lone surrogate cannot cross the socket
        return msgspec.Raw(msgspec.json.encode(_without_surrogates(msgspec.to_builtins(value))))


def _without_surrogates(value: Any) -> Any:
    match value:
        case str():
            return value.encode("utf-8", "replace").decode()
        case dict():
            return {_without_surrogates(key): _without_surrogates(item) for key, item in value.items()}
        case list():
            return [_without_surrogates(item) for item in value]
    return value


class SimulatedEngine:
    """Serves one simulated host on `path` in a thread of its own, until `close`."""

    def __init__(self, path: Path, scenario: str) -> None:
        self.backend = SimulatedBackend(scenario, now=time.time())
        self.calls: list[tuple[str, Any]] = []
        self._path = path
        self._subscribed: set[ClientConnection] = set()
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self._thread.start()
        assert self._ready.wait(10)

    def close(self) -> None:
        with contextlib.suppress(RuntimeError):  # the simulated engine was stopped by a command
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)
        assert not self._thread.is_alive()

    def _run(self) -> None:
        with contextlib.closing(self._loop):
            self._loop.run_until_complete(self._serve())

    async def _serve(self) -> None:
        self._stop = asyncio.Event()
        server = RpcServer(self._path, self._open)
        await server.start()
        self.backend.on_message = self._tell
        self.backend.on_state = lambda state, text: self._stop.set() if state == "lost" else None
        self.backend.start()
        began = time.time()
        self._ready.set()
        while not self._stop.is_set():
            self.backend.tick(began + (time.time() - began) * SPEED)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), 0.01)
        await server.close()

    def _open(self, client: ClientConnection) -> Callable[[str, Any], Awaitable[Any]]:
        client.on_closed = lambda: self._subscribed.discard(client)

        async def handle(method: str, params: Any) -> Any:
            self.calls.append((method, params))
            if method in ("subscribe", "resync"):
                return Then({"revision": self.backend.revision}, lambda: self._subscribe(client))
            future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

            def failed(problem: Problem) -> None:
                if not future.done():
                    future.set_exception(ApiProblem.from_problem(problem))

            def done(result: Any) -> None:
                if not future.done():
                    future.set_result(result)

            self.backend.call(method, params, done, failed)
            return await future

        return handle

    def _subscribe(self, client: ClientConnection) -> None:
        collections = {
            name: [raw(item) for item in items.values()]
            for name, items in self.backend.world.collections.items()
        }
        client.send(Snapshot(revision=self.backend.revision, collections=collections))
        self._subscribed.add(client)

    def _tell(self, message: BackendMessage) -> None:
        out: Message
        match message:
            case ObjectDelta():
                changes = [
                    Change(collection=name, id=object_id, value=None if value is None else raw(value))
                    for name, object_id, value in message.changes
                ]
                out = Delta(revision=message.revision, changes=changes)
            case ObjectSnapshot():
                return
            case Statistics():
                out = message
            case _:
                raise AssertionError(message)
        for client in list(self._subscribed):
            client.send(out)


@contextlib.contextmanager
def simulated_engine(path: Path, scenario: str = "demo") -> Iterator[SimulatedEngine]:
    engine = SimulatedEngine(path, scenario)
    engine.start()
    try:
        yield engine
    finally:
        engine.close()
