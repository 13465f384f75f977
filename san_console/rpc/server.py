"""The engine's socket: listens in the private folder, lets only this user's processes in."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Final, cast

from san_console.api.messages import Message
from san_console.api.problems import ApiProblem
from san_console.rpc.credentials import peer_uid
from san_console.rpc.dispatch import Dispatcher, Handler
from san_console.rpc.errors import RpcError
from san_console.rpc.paths import MAX_SOCKET_PATH_BYTES, check_private_dir
from san_console.rpc.peer import ENGINE_ROLE, Peer

log = logging.getLogger(__name__)

MAX_CLIENTS: Final = 64
"""Windows and command lines of one user; above it a program of his runs wild. It bounds memory."""

HELLO_TIMEOUT_S: Final = 10.0
"""A client that has connected and does not say hello is dropped: it would hold a place for ever."""

MAX_BACKLOG_BYTES: Final = 32 * 1024 * 1024
"""Unread by the client. Two snapshots of the largest kind; then the client hangs and is dropped."""

LAST_WORDS_S: Final = 1.0
"""For clients to read what was sent before the engine ended."""

LOW_WATER_BYTES: Final = 256 * 1024
HIGH_WATER_BYTES: Final = 1024 * 1024
"""Above it deltas wait and are folded, below the low mark they go on."""


class ClientConnection(asyncio.Protocol):
    """One client. The engine sends through `send`; `writable` is False while the client is slow."""

    def __init__(self, server: RpcServer) -> None:
        self._server = server
        self._peer = Peer(ENGINE_ROLE)
        self._transport: asyncio.Transport | None = None
        self._dispatcher: Dispatcher | None = None
        self._hello_timer: asyncio.TimerHandle | None = None
        self._flush_scheduled = False
        self._backlog_bytes = 0
        self.writable = True
        self.on_writable: Callable[[], None] | None = None
        self.on_closed: Callable[[], None] | None = None

    @property
    def role(self) -> str:
        return self._peer.other.role if self._peer.other is not None else ""

    @property
    def closed(self) -> bool:
        return self._transport is None or self._transport.is_closing()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Not asserted: the transports of other event loops are none by class.
        stream = cast("asyncio.Transport", transport)
        if not self._server.admit(stream):
            stream.abort()
            return
        self._transport = stream
        stream.set_write_buffer_limits(high=HIGH_WATER_BYTES, low=LOW_WATER_BYTES)
        self._dispatcher = Dispatcher(self, self._server.client_came(self))
        loop = asyncio.get_running_loop()
        self._hello_timer = loop.call_later(self._server.hello_timeout_s, self._no_hello)

    def data_received(self, data: bytes) -> None:
        if self._transport is None or self._dispatcher is None:
            return
        try:
            for message in self._peer.receive(data):
                self._dispatcher.receive(message)
        except RpcError as error:
            log.warning("a client was dropped", extra={"fields": {"role": self.role, "why": str(error)}})
            self._transport.abort()
            return
        if self._peer.other is not None and self._hello_timer is not None:
            self._hello_timer.cancel()
            self._hello_timer = None
        self._flush()

    def send(self, message: Message) -> None:
        """Queue a message; all of one turn of the loop leave in one write. Raises FrameTooLarge."""
        if self.closed:
            return
        self._backlog_bytes += self._peer.send(message)
        if self._backlog_bytes > HIGH_WATER_BYTES:
            self._flush()
        elif not self._flush_scheduled:
            self._flush_scheduled = True
            asyncio.get_running_loop().call_soon(self._flush)

    def close(self) -> None:
        """Write what is queued, then close."""
        if self._transport is not None and not self._transport.is_closing():
            self._flush()
            self._transport.close()

    def abort(self) -> None:
        """Close without waiting for a client that does not read."""
        if self._transport is not None:
            self._transport.abort()

    def pause_writing(self) -> None:
        self.writable = False

    def resume_writing(self) -> None:
        self.writable = True
        if self.on_writable is not None:
            self.on_writable()

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if self._hello_timer is not None:
            self._hello_timer.cancel()
        if self._dispatcher is not None:
            self._server.client_gone(self, self._dispatcher)
            if self.on_closed is not None:
                self.on_closed()

    def _flush(self) -> None:
        self._flush_scheduled = False
        self._backlog_bytes = 0
        if self._transport is None or self._transport.is_closing():
            return
        data = self._peer.outgoing()
        if data:
            self._transport.write(data)
            if self._transport.get_write_buffer_size() > MAX_BACKLOG_BYTES:
                log.warning("a client does not read and was dropped", extra={"fields": {"role": self.role}})
                self._transport.abort()
                return
        if self._peer.closed:
            self._transport.close()

    def _no_hello(self) -> None:
        self._hello_timer = None
        log.warning("a client said no hello and was dropped")
        self.abort()


class RpcServer:
    """Listens on `path`. `open_client(connection)` gives the handler for the calls of a new client.

    The caller holds the lock of the folder: a socket file found there is a left-over and is replaced.
    """

    def __init__(
        self,
        path: Path,
        open_client: Callable[[ClientConnection], Handler],
        *,
        uid_of: Callable[[socket.socket], int] = peer_uid,
        hello_timeout_s: float = HELLO_TIMEOUT_S,
    ) -> None:
        self._path = path
        self._open_client = open_client
        self.hello_timeout_s = hello_timeout_s
        self._uid_of = uid_of
        self._server: asyncio.Server | None = None
        self._clients: set[ClientConnection] = set()
        self._ending: set[asyncio.Task[None]] = set()
        self._empty = asyncio.Event()
        self._empty.set()

    async def start(self) -> None:
        """Raises ApiProblem `forbidden` (folder not private), `bad-request` (path too long) or `storage`."""
        await self._listen()

    async def listen_again(self) -> None:
        """The socket file has vanished (a session manager has cleaned up): make it anew. Clients that are
        connected stay so. Raises the same as `start`.
        """
        if self._server is not None:
            self._server.close()
        await self._listen()

    async def _listen(self) -> None:
        if len(os.fsencode(self._path)) > MAX_SOCKET_PATH_BYTES:
            raise ApiProblem(
                "bad-request", f"The path {self._path} is too long for a socket.", side="this side"
            )
        check_private_dir(self._path.parent)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            listener.setblocking(False)
            self._path.unlink(missing_ok=True)
            # The folder is closed to others already; the mode of the socket itself is the second bar.
            old_umask = os.umask(0o177)
            try:
                listener.bind(os.fspath(self._path))
            finally:
                os.umask(old_umask)
            self._server = await asyncio.get_running_loop().create_unix_server(
                lambda: ClientConnection(self), sock=listener
            )
        except OSError as error:
            listener.close()
            raise ApiProblem(
                "storage",
                f"The socket {self._path} cannot be made: {error.strerror}.",
                side="operating system",
                check="the folder's rights and the free space there",
            ) from error

    async def close(self) -> None:
        """Stop listening, let each client read what was queued, and remove the socket file."""
        if self._server is None:
            return
        self._server.close()
        self._path.unlink(missing_ok=True)
        for client in list(self._clients):
            client.close()
        try:
            await asyncio.wait_for(self._empty.wait(), LAST_WORDS_S)
        except TimeoutError:
            for client in list(self._clients):
                client.abort()
            await self._empty.wait()
        while self._ending:
            await asyncio.gather(*self._ending, return_exceptions=True)
        self._server = None

    @property
    def clients(self) -> list[ClientConnection]:
        return list(self._clients)

    def admit(self, transport: asyncio.Transport) -> bool:
        """Whether a new connection may stay: this user's, and not one too many."""
        connection = transport.get_extra_info("socket")
        try:
            uid = self._uid_of(connection)
        except OSError:
            return False
        if uid != os.geteuid():
            log.warning("a client of another user was dropped", extra={"fields": {"uid": uid}})
            return False
        if len(self._clients) >= MAX_CLIENTS:
            log.warning("too many clients", extra={"fields": {"limit": MAX_CLIENTS}})
            return False
        return True

    def client_came(self, client: ClientConnection) -> Handler:
        self._clients.add(client)
        self._empty.clear()
        return self._open_client(client)

    def client_gone(self, client: ClientConnection, dispatcher: Dispatcher) -> None:
        self._clients.discard(client)
        if not self._clients:
            self._empty.set()
        if len(dispatcher):
            task = asyncio.get_running_loop().create_task(dispatcher.close())
            self._ending.add(task)
            task.add_done_callback(self._ending.discard)
