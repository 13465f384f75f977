"""One connection of a client to its server: requests by transaction, and what the server sends by itself."""

import asyncio
import time
from collections.abc import Callable

from san_console.isns import pdu
from san_console.isns.errors import RemoteProtocolError
from san_console.isns.functions import RESPONSE, function_name
from san_console.isns.message import Message
from san_console.names.display import visible
from san_console.nameserver.errors import SIDE_NETWORK, SIDE_SERVER, IsnsFailure
from san_console.nameserver.stream import MessageStream

MAX_ANSWER_BYTES = 16 * 1024 * 1024
"""An answer about a hundred thousand nodes; a server that sends more has lost its way."""
MAX_ANSWER_PDUS = 4096


class ServerConnection:
    """A connection with a task that reads it. `on_request` gets what the server asks: SCN and ESI."""

    def __init__(
        self, stream: MessageStream, name: str, on_request: Callable[[Message], Message | None]
    ) -> None:
        self._stream = stream
        self._name = name
        self._on_request = on_request
        self._waiting: dict[int, tuple[int, asyncio.Future[Message]]] = {}
        self._transaction = 0
        self._failure: IsnsFailure | None = None
        self._reader = asyncio.create_task(self._read())

    @classmethod
    async def open(
        cls, host: str, port: int, on_request: Callable[[Message], Message | None], message_timeout_s: float
    ) -> "ServerConnection":
        """Connect. Raises OSError; the caller limits the time."""
        reader, writer = await asyncio.open_connection(host, port)
        stream = MessageStream(
            reader,
            writer,
            time.monotonic,
            max_message_bytes=MAX_ANSWER_BYTES,
            max_message_pdus=MAX_ANSWER_PDUS,
            message_timeout_s=message_timeout_s,
        )
        return cls(stream, f"{host}:{port}", on_request)

    @property
    def is_open(self) -> bool:
        return self._failure is None and not self._stream.is_closing

    async def ask(self, message: Message) -> Message:
        """Send a request and wait for its answer, whatever its status. Raises IsnsFailure.

        The caller limits the time; an answer that comes after that is dropped.
        """
        if self._failure is not None:
            raise self._failure
        self._transaction = self._transaction % 0xFFFF + 1
        while self._transaction in self._waiting:
            self._transaction = self._transaction % 0xFFFF + 1
        transaction = message.transaction = self._transaction
        future: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        self._waiting[transaction] = (message.function | RESPONSE, future)
        try:
            await self._stream.send(message)
            return await future
        except OSError:
            raise self._failure or self._lost() from None
        finally:
            del self._waiting[transaction]
            if future.done() and not future.cancelled():
                future.exception()  # taken note of, so that asyncio does not report it as forgotten

    def _lost(self) -> IsnsFailure:
        return IsnsFailure(
            f"The iSNS server {self._name} closed the connection.",
            SIDE_NETWORK,
            "Check whether the server runs, and its log; it may limit the number of clients.",
        )

    async def _read(self) -> None:
        try:
            while (message := await self._stream.receive()) is not None:
                if message.is_response:
                    self._answered(message)
                else:
                    await self._requested(message)
            self._fail(self._lost())
        except OSError:  # TimeoutError as well: the server stopped in the middle of a message
            self._fail(self._lost())
        except RemoteProtocolError as error:
            self._fail(
                IsnsFailure(
                    f"The iSNS server {self._name} sent a malformed message: {visible(str(error))}",
                    SIDE_SERVER,
                    "Check that an iSNS server listens on this port, and which version it has.",
                )
            )
        finally:
            await self._stream.close()

    def _answered(self, message: Message) -> None:
        function, future = self._waiting.get(message.transaction, (0, None))
        if future is None or future.done():
            return  # came too late, or was never asked for
        if function != message.function:
            future.set_exception(
                IsnsFailure(
                    f"The iSNS server {self._name} answered with {function_name(message.function)} where "
                    f"{function_name(function)} was due.",
                    SIDE_SERVER,
                    "Check which version of iSNS the server implements.",
                )
            )
            return
        future.set_result(message)

    async def _requested(self, message: Message) -> None:
        answer = self._on_request(message)
        if answer is not None:
            answer.flags |= pdu.FLAG_CLIENT
            await self._stream.send(answer)

    def _fail(self, failure: IsnsFailure) -> None:
        self._failure = failure
        for _, future in self._waiting.values():
            if not future.done():
                future.set_exception(failure)

    async def close(self) -> None:
        """Close; requests that still wait fail."""
        self._reader.cancel()
        await asyncio.gather(self._reader, return_exceptions=True)
        self._fail(self._failure or self._lost())
        await self._stream.close()
