"""The engine's end of the calls of one client: each call becomes a task, each task one answer."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from functools import cache
from typing import Any, NamedTuple, Protocol

import msgspec

from san_console.api.messages import Call, Cancel, Failure, Message, Result
from san_console.api.methods import METHODS
from san_console.api.problems import ApiProblem, Problem
from san_console.rpc.errors import FrameError, FrameTooLarge
from san_console.rpc.peer import MAX_OPEN_CALLS

log = logging.getLogger(__name__)


class Then(NamedTuple):
    """A handler's result, with something to do right after it was sent (a snapshot follows `subscribe`)."""

    value: Any
    after: Callable[[], None]


class Sender(Protocol):
    def send(self, message: Message) -> None:
        """Raises FrameTooLarge."""


Handler = Callable[[str, Any], Awaitable[Any]]
"""`(method, params) -> result`. Raises ApiProblem; any other exception becomes the problem `internal`."""


@cache
def _params_decoder(method: str) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(METHODS[method].params)


class Dispatcher:
    """The open calls of one client."""

    def __init__(self, sender: Sender, handler: Handler) -> None:
        self._sender = sender
        self._handler = handler
        self._tasks: dict[int, asyncio.Task[None]] = {}

    def __len__(self) -> int:
        return len(self._tasks)

    def receive(self, message: Message) -> None:
        """Take a message of the client. Raises FrameError for a call number that is in use."""
        if isinstance(message, Cancel):
            task = self._tasks.get(message.id)
            if task is not None:
                task.cancel()
        elif isinstance(message, Call):
            if message.id in self._tasks:
                raise FrameError("A call has the number of another open call.", side="this side")
            if len(self._tasks) >= MAX_OPEN_CALLS:
                self._fail(message.id, Problem(code="too-large", message=_TOO_MANY, side="engine"))
                return
            task = asyncio.get_running_loop().create_task(
                self._run(message), name=f"rpc {message.method[:40]}"
            )
            self._tasks[message.id] = task

    async def close(self) -> None:
        """The client is gone: its calls are cancelled and waited for."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self, call: Call) -> None:
        try:
            result = await self._handler(call.method, self._decode(call))
            after: Callable[[], None] | None = None
            if isinstance(result, Then):
                result, after = result
            self._sender.send(Result(id=call.id, result=msgspec.Raw(msgspec.json.encode(result))))
            if after is not None:
                after()
        except ApiProblem as error:
            self._fail(call.id, error.problem)
        except FrameTooLarge as error:
            self._fail(call.id, error.problem)
        except asyncio.CancelledError:
            # Swallowed on purpose: the cancellation was asked for by the client (or by close), and ends here.
            self._fail(
                call.id, Problem(code="cancelled", message="The call was cancelled.", side="this side")
            )
        except Exception:
            # The last line of defence of the engine: one broken handler must not end the others.
            log.exception("a method failed", extra={"fields": {"method": call.method}})
            self._fail(call.id, Problem(code="internal", message=_INTERNAL, side="engine", check=_LOG))
        finally:
            self._tasks.pop(call.id, None)

    def _decode(self, call: Call) -> Any:
        if call.method not in METHODS:
            raise ApiProblem(
                "unknown-method",
                "The engine has no such method.",
                side="engine",
                check="whether the engine is of the same version",
            )
        try:
            return _params_decoder(call.method).decode(call.params)
        except (msgspec.DecodeError, RecursionError) as error:
            # msgspec names the member and the types, never the value, so no secret can be in the text.
            raise ApiProblem(
                "bad-request", f"The parameters of {call.method} are not acceptable: {error}.", side="engine"
            ) from None

    def _fail(self, call_id: int, problem: Problem) -> None:
        self._sender.send(Failure(id=call_id, problem=problem))


_TOO_MANY = f"{MAX_OPEN_CALLS} calls of this client are open already."
_INTERNAL = "The engine has a fault of its own."
_LOG = "the engine's log, engine.log in its data folder"
