"""How a command reaches the engine: connect, start one where none runs, read its objects."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from types import TracebackType
from typing import Any, Final

import msgspec

from san_console.api.engine_objects import Job
from san_console.api.problems import ApiProblem
from san_console.cli.output import print_failure, say
from san_console.console.engine_process import engine_running, start_engine_process, start_log_tail
from san_console.console.replica import Replica
from san_console.rpc.client import EngineClient

START_TIMEOUT_S: Final = 20.0
"""An engine is there in 0.3 s; a loaded machine may take some seconds."""

_POLL_S: Final = 0.02


class EngineView:
    """The engine's objects as they are now, and its methods. Made by `engine_view`."""

    def __init__(self, client: EngineClient) -> None:
        self.client = client
        self.replica = Replica()
        self._news = asyncio.Event()
        self._ended: ApiProblem | None = None
        self._reader: asyncio.Task[None] | None = None

    async def __aenter__(self) -> EngineView:
        await self.client.subscribe()
        self._reader = asyncio.create_task(self._read(), name="engine view")
        await self.until(lambda replica: replica.revision is not None, timeout_s=10)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._reader is not None:
            self._reader.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._reader

    async def call(self, method: str, params: msgspec.Struct | None = None) -> Any:
        """The decoded result. Raises ApiProblem."""
        return await self.client.call(method, params)

    async def until(self, condition: Callable[[Replica], object], timeout_s: float) -> bool:
        """Wait until `condition` holds; False when it did not within `timeout_s`. Raises ApiProblem."""
        deadline = time.monotonic() + timeout_s
        while not condition(self.replica):
            if self._ended is not None:
                raise self._ended
            self._news.clear()
            try:
                await asyncio.wait_for(self._news.wait(), max(deadline - time.monotonic(), 0))
            except TimeoutError:
                return bool(condition(self.replica))
        return True

    async def finished(
        self, job: Job, timeout_s: float, progress: Callable[[Job], None] | None = None
    ) -> Job:
        """The job when it has ended well. Raises ApiProblem: its own problem, or `timeout`."""

        def ended(replica: Replica) -> bool:
            current: Job | None = replica.get("jobs", job.id)
            if current is not None and progress is not None:
                progress(current)
            return current is not None and current.state != "running"

        if not await self.until(ended, timeout_s):
            raise ApiProblem(
                "timeout",
                f"“{job.title}” did not end within {timeout_s:.0f} s.",
                side="engine",
                check="the page Events of the console",
            )
        current: Job = self.replica.get("jobs", job.id)
        if current.problem is not None:
            raise ApiProblem.from_problem(current.problem)
        return current

    async def _read(self) -> None:
        try:
            async for message in self.client.messages():
                self.replica.apply(message)
                self._news.set()
        except ApiProblem as problem:
            self._ended = problem
        except msgspec.DecodeError as error:
            self._ended = ApiProblem(
                "protocol",
                f"The engine sent an object that is none: {error}.",
                side="this command",
                check="Are engine and command of one version? Stop the engine, and run this again.",
            )
        self._news.set()


async def connect(*, start: bool = True) -> EngineClient:
    """A connection to the engine of this computer. Without one an engine is started, and that is said.

    Raises ApiProblem.
    """
    try:
        return await EngineClient.connect()
    except ApiProblem as problem:
        if not start or problem.code != "disconnected":
            raise
    say("Starting the engine.")
    return await connect_to_started(start_engine_process())


async def connect_to_started(process: subprocess.Popen[bytes]) -> EngineClient:
    """A connection to the engine that was started as `process`. Raises ApiProblem with what it said."""
    deadline = time.monotonic() + START_TIMEOUT_S
    while True:
        await asyncio.sleep(_POLL_S)
        # Looked at before the attempt: an engine that ends between the two has had its last chance.
        ended = process.poll() is not None
        try:
            return await EngineClient.connect()
        except ApiProblem as problem:
            # Another engine may have been faster: ours ends then, and that one answers soon.
            if problem.code != "disconnected":
                raise
        if time.monotonic() > deadline or (ended and not engine_running()):
            raise ApiProblem(
                "disconnected",
                f"The engine could not be started. {start_log_tail()}".strip(),
                side="this computer",
                check="engine.log and engine-start.log in the data folder",
            )


@contextlib.asynccontextmanager
async def engine_view(*, start: bool = True) -> AsyncIterator[EngineView]:
    """The engine of this computer with all its objects. Raises ApiProblem."""
    async with await connect(start=start) as client, EngineView(client) as view:
        yield view


def run_with_engine(work: Callable[[EngineView], Awaitable[int]], *, start: bool = True) -> int:
    """Run `work` on the engine's view; a problem is printed and gives 1. The exit code."""

    async def whole() -> int:
        async with engine_view(start=start) as view:
            return await work(view)

    try:
        return asyncio.run(whole())
    except ApiProblem as problem:
        print_failure(problem.message, problem.problem.side, problem.problem.check)
        return 1
