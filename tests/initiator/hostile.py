"""A target on a socket of 127.0.0.1 that behaves as the test says, down to the byte."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace

from san_console.initiator.settings import RetryPolicy, SessionSettings
from san_console.iscsi.framing import Framer, encode
from san_console.iscsi.login_target import LoginTarget, SessionDecision, SessionRequest, TargetDecision
from san_console.iscsi.opcodes import TARGET_OPCODES
from san_console.iscsi.pdu import LoginRequest, LoginResponse, Pdu, parse
from san_console.names.portal import Portal

INITIATOR = "iqn.2026-11.org.san-console.test:initiator"
TARGET = "iqn.2026-11.org.san-console.test:disk"

Behaviour = Callable[["Hostile"], Awaitable[None]]


class Policy:
    """Everybody may come in."""

    def __init__(self, decision: TargetDecision) -> None:
        self._decision = decision

    def find_target(
        self, initiator_name: str, target_name: str | None, session_type: str, peer_address: str
    ) -> TargetDecision:
        return self._decision

    def session_for(self, request: SessionRequest) -> SessionDecision:
        return SessionDecision(tsih=7)


class Hostile:
    """One accepted connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self._framer = Framer(max_data_segment_bytes=1 << 20)
        self.stat_sn = 0
        self.isid = b""

    async def raw(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def send(self, pdu: Pdu, data: bytes = b"", *, numbered: bool = False) -> None:
        if numbered:
            pdu.stat_sn = self.stat_sn  # type: ignore[union-attr]  # what is numbered has it
            self.stat_sn += 1
        if pdu.OPCODE in TARGET_OPCODES and getattr(pdu, "max_cmd_sn", None) == 0:
            pdu.exp_cmd_sn, pdu.max_cmd_sn = 1, 64  # type: ignore[union-attr]
        buffers = encode(pdu.pack(len(data)), data, header_digest=False, data_digest=False)
        await self.raw(b"".join(buffers))

    async def receive(self) -> tuple[Pdu, bytes]:
        """The next PDU; EOFError when the initiator has hung up."""
        while (frame := self._framer.next_frame()) is None:
            data = await self.reader.read(65536)
            if not data:
                raise EOFError
            while data:
                view = self._framer.writable()
                count = min(len(view), len(data))
                view[:count] = data[:count]
                self._framer.wrote(count)
                data = data[count:]
        return parse(bytes(frame.bhs)), bytes(frame.data)

    async def log_in(self, decision: TargetDecision | None = None) -> None:
        """An ordinary login."""
        login = LoginTarget(Policy(decision or TargetDecision()), peer_address="127.0.0.1")
        while not login.done:
            request, data = await self.receive()
            assert isinstance(request, LoginRequest)
            self.isid = request.isid
            for response, answer in login.receive(request, data):
                await self.send(replace(response), answer)
                self.stat_sn = response.stat_sn + 1

    async def refuse(self, status: int, data: bytes = b"") -> None:
        """Read a request and answer it with a status."""
        request, _ = await self.receive()
        assert isinstance(request, LoginRequest)
        await self.send(
            LoginResponse(itt=request.itt, status_class=status >> 8, status_detail=status & 255), data
        )


@contextlib.asynccontextmanager
async def hostile(behave: Behaviour) -> AsyncIterator[Portal]:
    """A listener; each connection is handled by `behave` and closed when that returns."""
    handlers: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        handlers.add(task)
        try:
            await behave(Hostile(reader, writer))
        except (EOFError, ConnectionError, asyncio.CancelledError):
            pass  # the initiator, or the test, is done with us
        finally:
            handlers.discard(task)
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield Portal("127.0.0.1", server.sockets[0].getsockname()[1])
    finally:
        server.close()
        for task in list(handlers):
            task.cancel()
        await asyncio.gather(*handlers, return_exceptions=True)
        await server.wait_closed()


def session_settings(portal: Portal, **changes: object) -> SessionSettings:
    """Short times, so that nothing waits."""
    values: dict[str, object] = {
        "login_timeout_s": 2.0,
        "retry": RetryPolicy(first_s=0.02, max_s=0.05),
        "recovery_timeout_s": 5.0,
    }
    return SessionSettings(INITIATOR, TARGET, portal, **(values | changes))  # type: ignore[arg-type]
