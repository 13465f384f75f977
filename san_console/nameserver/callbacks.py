"""Connections that the server makes to its clients, to deliver notifications and inquiries."""

import asyncio
from collections.abc import Callable, Sequence

from san_console.isns import status
from san_console.isns.errors import RemoteProtocolError
from san_console.isns.functions import RESPONSE
from san_console.isns.message import Message
from san_console.isns.notification import Callback
from san_console.nameserver.stream import MessageStream

CALLBACK_TIMEOUT_S = 5.0
"""For connecting, sending and the answer together."""
MAX_PENDING = 256
"""Deliveries under way; more are given up at once, since a notification is a hint and not the data."""


class CallbackSender:
    """Delivers messages to addresses. `source_host` is where the server listens, so that clients know it."""

    def __init__(self, clock: Callable[[], float], source_host: str) -> None:
        self._clock = clock
        self._source_host = source_host
        self._pending: set[asyncio.Task[None]] = set()

    def send(self, message: Message, callbacks: Sequence[Callback], done: Callable[[bool], None]) -> None:
        """Deliver `message` to the first of `callbacks` that takes it, in a task; `done(acknowledged)`."""
        if not callbacks or len(self._pending) >= MAX_PENDING:
            done(False)
            return
        task = asyncio.create_task(self._deliver(message, callbacks, done))
        self._pending.add(task)
        task.add_done_callback(self._pending.discard)

    async def _deliver(
        self, message: Message, callbacks: Sequence[Callback], done: Callable[[bool], None]
    ) -> None:
        for callback in callbacks:
            if await self.ask(message, callback):
                done(True)
                return
        done(False)

    async def ask(self, message: Message, callback: Callback) -> bool:
        """Send `message` and wait for the answer; True when it has the same transaction and status 0."""
        stream: MessageStream | None = None
        try:
            async with asyncio.timeout(CALLBACK_TIMEOUT_S):
                reader, writer = await asyncio.open_connection(callback.address, callback.port)
                stream = MessageStream(reader, writer, self._clock, max_message_bytes=64 * 1024)
                await stream.send(message)
                answer = await stream.receive()
            return (
                answer is not None
                and answer.function == message.function | RESPONSE
                and answer.transaction == message.transaction
                and answer.status_code == status.SUCCESSFUL
            )
        except (OSError, TimeoutError, RemoteProtocolError):
            return False
        finally:
            if stream is not None:
                await stream.close()

    async def close(self) -> None:
        """End all deliveries."""
        for task in list(self._pending):
            task.cancel()
        await asyncio.gather(*self._pending, return_exceptions=True)
