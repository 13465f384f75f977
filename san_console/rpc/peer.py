"""One end of a connection, without I/O: bytes in, messages out, and the other way round.

A socket of any kind drives it (Qt's in the window, asyncio's in the engine and the command line):

    for message in peer.receive(data): ...
    peer.send(message); socket.write(peer.outgoing())

`PROTOCOL.md` in `san_console/api` is what it obeys.
"""

from __future__ import annotations

import struct
from typing import Final

import msgspec

import san_console
from san_console.api import messages as api
from san_console.api.problems import Problem
from san_console.rpc.errors import FrameError, FrameTooLarge, VersionMismatch

LENGTH: Final = struct.Struct(">I")
assert LENGTH.size == 4

MAX_HELLO_BYTES: Final = 4096
"""Before the other side has said who it is, nothing larger than a hello is taken in."""

MAX_OPEN_CALLS: Final = 64
"""Of one client. Above it the client is not waiting for answers, but filling the engine."""

MAX_CALL_ID: Final = 2**63 - 1
"""JSON knows no bound; this one keeps a number a number in every language."""

FROM_ENGINE: Final = (api.Hello, api.Result, api.Failure, api.Snapshot, api.Delta, api.Statistics)
FROM_CLIENT: Final = (api.Hello, api.Call, api.Cancel)

ENGINE_ROLE: Final = "engine"


class Peer:
    """The state of one end. `role` is `engine`, `window`, `cli` or `relay`.

    A client's hello is in `outgoing()` from the start; the engine's once the client's has come.
    `closed` is True when the connection has to be closed after `outgoing()` has been written.
    """

    def __init__(
        self,
        role: str,
        *,
        version: str = san_console.__version__,
        api_oldest: int = api.OLDEST_API_VERSION,
        api_newest: int = api.API_VERSION,
    ) -> None:
        self.role = role
        self.closed = False
        self.api_version = 0
        """The newest version that both sides speak; 0 before the hello of the other side."""
        self.other: api.Hello | None = None
        self._hello = api.Hello(api_oldest=api_oldest, api_newest=api_newest, version=version, role=role)
        self._is_engine = role == ENGINE_ROLE
        self._legal = FROM_CLIENT if self._is_engine else FROM_ENGINE
        self._received = bytearray()
        self._outgoing: list[bytes] = []
        if not self._is_engine:
            self.send(self._hello)

    @property
    def ready(self) -> bool:
        """Both hellos were exchanged and fit."""
        return self.api_version > 0 and not self.closed

    def send(self, message: api.Message) -> int:
        """Queue `message`; returns its size on the wire. Raises FrameTooLarge, and then nothing is queued."""
        body = api.encode_message(message)
        if len(body) > api.MAX_FRAME_BYTES:
            raise FrameTooLarge(
                f"A message of {len(body)} bytes is over the limit of {api.MAX_FRAME_BYTES} bytes.",
                side="this side",
            )
        self._outgoing.append(LENGTH.pack(len(body)))
        self._outgoing.append(body)
        return LENGTH.size + len(body)

    def outgoing(self) -> bytes:
        """Take what is to be written to the socket; empty when there is nothing."""
        if not self._outgoing:
            return b""
        data = b"".join(self._outgoing)
        self._outgoing.clear()
        return data

    def receive(self, data: bytes | bytearray | memoryview) -> list[api.Message]:
        """Take bytes from the socket, in pieces of any size; returns the whole messages in them.

        Hellos are answered here and not returned. Raises FrameError and VersionMismatch, after which
        `closed` is True and the connection ends; whole messages that came before are lost with it.
        """
        if self.closed:
            return []
        self._received += data
        messages: list[api.Message] = []
        start = 0
        available = len(self._received)
        try:
            while available - start >= LENGTH.size:
                (size,) = LENGTH.unpack_from(self._received, start)
                self._check_size(size)
                end = start + LENGTH.size + size
                if end > available:
                    break
                # A copy, since msgspec.Raw members keep a view on what they were decoded from.
                message = self._decode(bytes(memoryview(self._received)[start + LENGTH.size : end]))
                start = end
                if isinstance(message, api.Hello):
                    if not self._take_hello(message):
                        break
                else:
                    messages.append(self._check(message))
        except (FrameError, VersionMismatch):
            self.closed = True
            self._received.clear()
            raise
        if start:
            del self._received[:start]
        return messages

    def _check_size(self, size: int) -> None:
        limit = api.MAX_FRAME_BYTES if self.other is not None else MAX_HELLO_BYTES
        if size > limit:
            raise FrameError(
                f"The other side announced a message of {size} bytes; {limit} are allowed here.",
                side="this side",
                check="whether both ends are SAN Console",
            )

    def _decode(self, body: bytes) -> api.Message:
        try:
            return api.decode_message(body)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
            # The text of the error may quote what the other side sent; only its kind is kept.
            raise FrameError(
                f"The other side sent something that is no message ({type(error).__name__}).",
                side="this side",
                check="whether both ends are SAN Console, of the same version",
            ) from None

    def _check(self, message: api.Message) -> api.Message:
        if not isinstance(message, self._legal):
            raise FrameError(
                f"A {type(message).__name__} message came from the wrong side.", side="this side"
            )
        if self.other is None:
            # An engine that could not agree on a version may say so before anything else.
            if isinstance(message, api.Failure) and message.id == 0:
                raise VersionMismatch(
                    message.problem.message, side=message.problem.side, check=message.problem.check
                )
            raise FrameError("The first message was no hello.", side="this side")
        if isinstance(message, api.Call) and not 0 < message.id <= MAX_CALL_ID:
            raise FrameError("A call has a number that is not in 1 to 2^63 - 1.", side="this side")
        return message

    def _take_hello(self, hello: api.Hello) -> bool:
        if self.other is not None:
            raise FrameError("A second hello came.", side="this side")
        if (hello.role == ENGINE_ROLE) == self._is_engine:
            raise FrameError("Both sides say that they have the same role.", side="this side")
        self.other = hello
        common = min(self._hello.api_newest, hello.api_newest)
        fits = common >= max(self._hello.api_oldest, hello.api_oldest)
        if self._is_engine:
            self.send(self._hello)
        if fits:
            self.api_version = common
            return True
        text = (
            f"The engine {self._describe(engine=True)} and the client {self._describe(engine=False)} "
            "have no version in common."
        )
        check = "stop the engine (san-console engine stop) and start it again with this version"
        self.closed = True
        if not self._is_engine:
            raise VersionMismatch(text, side="this side", check=check)
        self.send(
            api.Failure(id=0, problem=Problem(code="version", message=text, side="engine", check=check))
        )
        return False

    def _describe(self, *, engine: bool) -> str:
        assert self.other is not None
        hello = self._hello if engine == self._is_engine else self.other
        return f"(API {hello.api_oldest} to {hello.api_newest})"
