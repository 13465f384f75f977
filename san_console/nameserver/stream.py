"""iSNS messages on one TCP connection, for the server and the client alike."""

import asyncio
import contextlib
from collections.abc import Callable

from san_console.isns.message import Message, decode
from san_console.isns.pdu import MAX_MESSAGE_BYTES, MAX_MESSAGE_PDUS, MAX_MESSAGE_SECONDS, Reassembler

READ_BYTES = 64 * 1024
MAX_UNSENT_BYTES = 8 * 1024 * 1024
"""Octets that wait for a peer that does not read; two of the largest answers."""
WRITE_TIMEOUT_S = 20.0
CLOSE_TIMEOUT_S = 1.0
"""For the last octets to leave; after that the connection is reset."""


class MessageStream:
    """Reads and writes whole messages. `clock` gives a monotonic time in seconds."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        clock: Callable[[], float],
        *,
        max_message_bytes: int = MAX_MESSAGE_BYTES,
        max_message_pdus: int = MAX_MESSAGE_PDUS,
        message_timeout_s: float = MAX_MESSAGE_SECONDS,
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._clock = clock
        self._message_timeout_s = message_timeout_s
        self._reassembler = Reassembler(max_message_bytes, max_message_pdus)
        self._closing: asyncio.Task[None] | None = None

    @property
    def peer_address(self) -> str:
        """The numeric address of the peer; IPv4 without the mapping of a dual-stack socket."""
        peer = self._writer.get_extra_info("peername")
        address = str(peer[0]) if peer else ""
        return address.removeprefix("::ffff:").partition("%")[0]

    @property
    def is_closing(self) -> bool:
        return self._writer.is_closing()

    async def receive(self, idle_timeout_s: float | None = None) -> Message | None:
        """The next message; None when the peer closed the connection.

        Raises RemoteProtocolError (after one that is not fatal, receiving may go on), TimeoutError when the
        peer is silent for `idle_timeout_s` or takes too long for one message, and OSError.
        """
        while True:
            now = self._clock()
            whole = self._reassembler.next_message(now)
            if whole is not None:
                return decode(whole)
            since = self._reassembler.incomplete_since
            timeout = idle_timeout_s if since is None else max(since + self._message_timeout_s - now, 0.0)
            async with asyncio.timeout(timeout):
                data = await self._reader.read(READ_BYTES)
            if not data:
                return None
            self._reassembler.feed(data, self._clock())

    async def send(self, message: Message) -> None:
        """Send a message; waits while the peer does not read. Raises TimeoutError and OSError."""
        self.push(message)
        await self.drain()

    async def drain(self) -> None:
        """Wait until the peer has read enough. Raises TimeoutError and OSError."""
        async with asyncio.timeout(WRITE_TIMEOUT_S):
            await self._writer.drain()

    def push(self, message: Message) -> None:
        """Send a message without waiting; a peer that has let too much pile up loses the connection.

        Raises ConnectionResetError when the connection is gone.
        """
        if self._writer.is_closing():
            raise ConnectionResetError("The connection is closed.")
        if self._writer.transport.get_write_buffer_size() > MAX_UNSENT_BYTES:
            self._writer.transport.abort()
            raise ConnectionResetError("The peer does not read.")
        self._writer.writelines(message.encode())

    async def close(self) -> None:
        """Close the connection; what the peer makes of it is of no interest any more."""
        if self._closing is None:
            self._writer.close()
            # A task, since awaiting `wait_closed` itself and being cancelled would cancel it for others too.
            self._closing = asyncio.create_task(self._wait_closed())
        await asyncio.wait({self._closing}, timeout=CLOSE_TIMEOUT_S)
        self._writer.transport.abort()

    async def _wait_closed(self) -> None:
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()

    def abort(self) -> None:
        """Close the connection at once, also when there are unsent octets."""
        self._writer.transport.abort()
