"""The iSNS server: TCP connections around `isns.name_server` (RFC 4171 §2.9.1)."""

import asyncio
import contextlib
import errno
import os
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from san_console.isns import status
from san_console.isns.attributes import Kind
from san_console.isns.changes import Moment
from san_console.isns.database import Key
from san_console.isns.errors import RemoteProtocolError
from san_console.isns.functions import RESPONSE
from san_console.isns.message import Message
from san_console.isns.name_server import NameServer, Outcome, ServerEvent
from san_console.isns.notification import Notification
from san_console.isns.pdu import FLAG_SERVER
from san_console.isns.policy import ServerPolicy
from san_console.names.portal import ISNS_PORT, Portal
from san_console.nameserver.callbacks import CallbackSender
from san_console.nameserver.errors import SIDE_HERE, IsnsFailure
from san_console.nameserver.inquiries import Inquirer
from san_console.nameserver.objects import IsnsObject, object_of
from san_console.nameserver.stream import MessageStream

_OBJECT_KINDS = (Kind.ENTITY, Kind.NODE, Kind.PORTAL, Kind.PORTAL_GROUP)


@dataclass(frozen=True, slots=True)
class ServerLimits:
    """Connections and times; the sizes of messages and of the database are in `isns`."""

    clients: int = 256
    clients_per_address: int = 64
    idle_timeout_s: float = 3600.0
    """Clients keep connections open for notifications; one that sends nothing for this long is gone."""
    message_timeout_s: float = 20.0
    max_message_bytes: int = 256 * 1024
    violations: int = 8
    """Malformed messages on one connection before it is closed."""


@dataclass(slots=True)
class ServerCounters:
    """What happened on the connections; requests are counted by `NameServer.counters`."""

    connections: int = 0
    refused_connections: int = 0
    malformed: int = 0
    timeouts: int = 0
    notifications: int = 0
    acknowledged: int = 0
    failed_notifications: int = 0


class IsnsServer:
    """An iSNS server on one address.

    `on_event` is called for each ServerEvent, in the loop: it must not block. `policy` decides who sees and
    may do what. Raises IsnsFailure from `start` when the address cannot be listened on.
    """

    def __init__(
        self,
        portal: Portal,
        *,
        policy: ServerPolicy | None = None,
        limits: ServerLimits | None = None,
        on_event: Callable[[ServerEvent], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self.portal = portal
        self.limits = limits or ServerLimits()
        self.names = NameServer(policy)
        self.counters = ServerCounters()
        self._on_event = on_event
        self._clock = clock
        self._wall_clock = wall_clock
        self._server: asyncio.Server | None = None
        self._clients: dict[asyncio.Task[None], MessageStream] = {}
        self._per_address: Counter[str] = Counter()
        self._listeners: dict[Key, MessageStream] = {}
        self._unacknowledged: set[int] = set()
        self._transaction = 0
        self._closing = False
        self._wake = asyncio.Event()
        self._background: list[asyncio.Task[None]] = []
        self._callbacks = CallbackSender(clock, portal.host)

    @property
    def bound_portal(self) -> Portal:
        """The address and port that the server really listens on. Raises RuntimeError before `start`."""
        if self._server is None or not self._server.sockets:
            raise RuntimeError("The server is not started.")
        host, port = self._server.sockets[0].getsockname()[:2]
        return Portal(host, port)

    async def start(self) -> None:
        """Listen. Raises IsnsFailure."""
        self._closing = False
        try:
            self._server = await asyncio.start_server(
                self._accept, self.portal.host, self.portal.port, limit=64 * 1024
            )
        except OSError as error:
            raise _cannot_listen(self.portal, error) from error
        self._background = [asyncio.create_task(self._expire())]
        if self.names.policy.esi:
            inquirer = Inquirer(self.names, self._callbacks, self.moment, self._apply)
            self._background.append(asyncio.create_task(inquirer.run()))

    async def close(self) -> None:
        """Stop listening, end every connection and wait for it."""
        self._closing = True
        if self._server is not None:
            self._server.close()
        tasks = [*self._background, *self._clients]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._callbacks.close()
        if self._server is not None:
            await self._server.wait_closed()
            self._server = None

    async def __aenter__(self) -> "IsnsServer":
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def moment(self) -> Moment:
        return Moment(self._clock(), int(self._wall_clock()))

    def objects(self) -> list[IsnsObject]:
        """Everything that is registered: entities, nodes, portals, portal groups."""
        database = self.names.database
        return [
            object_of(kind, stored.all_attributes())
            for kind in _OBJECT_KINDS
            for stored in database.objects(kind)
        ]

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        stream = MessageStream(
            reader,
            writer,
            self._clock,
            max_message_bytes=self.limits.max_message_bytes,
            message_timeout_s=self.limits.message_timeout_s,
        )
        address = stream.peer_address
        if self._closing:  # accepted just before the server stopped listening
            stream.abort()
            return
        full = len(self._clients) >= self.limits.clients
        if full or self._per_address[address] >= self.limits.clients_per_address:
            self.counters.refused_connections += 1
            stream.abort()
            return
        self.counters.connections += 1
        self._per_address[address] += 1
        task = asyncio.create_task(self._serve(stream, address))
        self._clients[task] = stream
        task.add_done_callback(lambda done: self._gone(done, stream, address))

    def _gone(self, task: asyncio.Task[None], stream: MessageStream, address: str) -> None:
        # A task that was cancelled before its first step has closed nothing.
        stream.abort()
        del self._clients[task]
        self._per_address[address] -= 1
        if not self._per_address[address]:
            del self._per_address[address]
        for node in [node for node, listener in self._listeners.items() if listener is stream]:
            del self._listeners[node]

    async def _serve(self, stream: MessageStream, address: str) -> None:
        """Answer one client until it goes, is silent for too long, or breaks the rules too often."""
        violations = 0
        try:
            while violations < self.limits.violations:
                try:
                    message = await stream.receive(self.limits.idle_timeout_s)
                except RemoteProtocolError as error:
                    self.counters.malformed += 1
                    violations += 1
                    await self._answer_violation(stream, error)
                    if error.fatal:
                        return
                    continue
                if message is None:
                    return
                await self._answer(stream, message, address)
        except TimeoutError:
            self.counters.timeouts += 1
        except OSError:
            return  # the client went away; its registrations stay until they expire
        finally:
            await stream.close()

    async def _answer_violation(self, stream: MessageStream, error: RemoteProtocolError) -> None:
        # A malformed response gets no answer: two sides that answer each other's errors never stop.
        if error.function is None or error.transaction is None or error.function & RESPONSE:
            return
        answer = Message(error.function | RESPONSE, error.transaction, FLAG_SERVER, error.status)
        await stream.send(answer)

    async def _answer(self, stream: MessageStream, message: Message, address: str) -> None:
        if message.is_response and message.transaction in self._unacknowledged:
            self._unacknowledged.discard(message.transaction)
            if message.status_code == status.SUCCESSFUL:
                self.counters.acknowledged += 1
            return
        outcome = self.names.handle(message, address, self.moment())
        if outcome.listens is not None:
            self._listeners[outcome.listens] = stream
        # The answer goes before the notifications that follow from it, which may take the same connection.
        if outcome.response is not None:
            stream.push(outcome.response)
        self._apply(outcome)
        if outcome.response is not None:
            await stream.drain()
        # One client's pipelined requests must not keep the others waiting.
        await asyncio.sleep(0)

    def _apply(self, outcome: Outcome) -> None:
        """Send what follows from an outcome, and tell the owner."""
        for notification in outcome.notifications:
            self._notify(notification)
        if outcome.changes:
            self._wake.set()
        if self._on_event is not None:
            for event in outcome.events:
                self._on_event(event)

    def _notify(self, notification: Notification) -> None:
        """§5.6.5.8: over the open connection of the node, else by a connection to one of its portals."""
        self._transaction = self._transaction % 0xFFFF + 1
        notification.message.transaction = self._transaction
        self.counters.notifications += 1
        listener = self._listeners.get(notification.node)
        if listener is not None:
            try:
                listener.push(notification.message)
            except OSError:
                del self._listeners[notification.node]
            else:
                self._unacknowledged.add(self._transaction)
                return
        self._callbacks.send(notification.message, notification.callbacks, self._delivered)

    def _delivered(self, acknowledged: bool) -> None:
        if acknowledged:
            self.counters.acknowledged += 1
        else:
            self.counters.failed_notifications += 1

    async def _expire(self) -> None:
        while True:
            self._wake.clear()
            deadline = self.names.next_deadline()
            timeout = None if deadline is None else max(deadline - self._clock(), 0.0)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(timeout):
                    await self._wake.wait()
            self._apply(self.names.expire(self.moment()))


def _cannot_listen(portal: Portal, error: OSError) -> IsnsFailure:
    reasons = {
        errno.EADDRINUSE: (
            "the port is taken.",
            f"Another program listens there (ss -ltnp); port {ISNS_PORT} is the usual one of an iSNS server.",
        ),
        errno.EADDRNOTAVAIL: (
            "this host has no such address.",
            "Check the addresses of this host (ip address).",
        ),
        errno.EACCES: ("the port needs more rights.", "Ports below 1024 are for root; take another one."),
    }
    reason, check = reasons.get(
        error.errno or 0,
        (f"{os.strerror(error.errno) if error.errno else error}.", "Check address and port."),
    )
    return IsnsFailure(f"The iSNS server cannot listen on {portal}: {reason}", SIDE_HERE, check)
