"""A proxy between initiator and target that cuts, chops, stalls, and damages what passes.

It follows the PDUs of both directions, so that a fault can be aimed at a data segment; everything it does
follows from the `random.Random` that it is given.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct
from dataclasses import dataclass, replace
from typing import Self

BHS_BYTES = 48
LOGIN_OPCODES = (0x03, 0x23)
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER on, 0 s: close() sends RST
# A window below a segment of the loopback device would wait for a timer each time.
TINY_SEND_BYTES = 4096
SMALL_RECEIVE_BYTES = 32768
SEGMENT_BYTES = 1400
SMALL_PIECE_BYTES = 96
STALL_S = 0.02
LOGIN_CUT_BYTES = 1500

TO_TARGET, TO_INITIATOR = 0, 1


@dataclass(slots=True)
class Plan:
    """What happens to one connection. Bytes count from the arming of the plan, both directions together."""

    cut_after_bytes: int | None = None
    reset: bool = True
    """Cut by RST; else by FIN, with what is under way still delivered."""
    chop_bytes: int = 0
    """So many bytes of each direction pass in pieces of 1 to SMALL_PIECE_BYTES bytes."""
    stall_every: int = 0
    """About one piece of so many waits for a moment."""
    silence: bool = False
    """At the cut nothing is closed: nothing passes any more, until one side gives up."""
    more_cuts: int = 0
    """So many of the next connections are cut too, within LOGIN_CUT_BYTES: most of them during the login."""
    flip: int | None = None
    """Damage the data segment of about one PDU of so many in that direction (see `flip_direction`)."""
    flip_direction: int = TO_TARGET
    flip_headers: bool = False


class Proxy:
    """Listens on `port`; `target_port` may change between two connections. `plan` holds for all of them."""

    def __init__(self, target_port: int, rng: random.Random, *, digest_bytes: int = 0) -> None:
        self.target_port = target_port
        self.rng = rng
        self.plan = Plan()
        self.cuts = self.flips = self.connections = self.passed_bytes = 0
        self.tiny_buffers = False
        self._digest_bytes = digest_bytes
        self._server: asyncio.Server | None = None
        self._links: set[_Link] = set()

    @property
    def port(self) -> int:
        assert self._server is not None
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    def arm(self, plan: Plan) -> None:
        """From now on `plan` holds."""
        self.plan = plan
        self.passed_bytes = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=65536)
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        assert self._server is not None
        self._server.close()
        for link in list(self._links):
            link.abort()
        await self._server.wait_closed()
        while self._links:
            await asyncio.wait([link.done for link in self._links])

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link = _Link(self, self._digest_bytes)
        self._links.add(link)
        self.connections += 1
        try:
            await link.run(reader, writer)
        finally:
            self._links.discard(link)
            link.done.set_result(None)


class _Link:
    """One connection through the proxy."""

    def __init__(self, proxy: Proxy, digest_bytes: int) -> None:
        self.proxy = proxy
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._digest_bytes = digest_bytes
        self._writers: list[asyncio.StreamWriter] = []
        self._cut = self.broken = False
        self._chopped = [0, 0]
        self._task: asyncio.Future[list[object]] | None = None

    async def run(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        try:
            other_reader, other_writer = await self._connect()
        except OSError:
            self.abort()
            await self._closed()
            return
        self._writers.append(other_writer)
        for one in self._writers:
            self._tune(one.get_extra_info("socket"))
        pumps = [self._pump(reader, other_writer, TO_TARGET), self._pump(other_reader, writer, TO_INITIATOR)]
        self._task = asyncio.gather(*pumps, return_exceptions=True)
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
        await self._closed()

    async def _closed(self) -> None:
        for one in self._writers:
            one.close()
            with contextlib.suppress(OSError):
                await one.wait_closed()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        sock = socket.socket()
        sock.setblocking(False)
        try:
            if self.proxy.tiny_buffers:  # before the connection, since the window is agreed on there
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, SEGMENT_BYTES)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_RECEIVE_BYTES)
            address = ("127.0.0.1", self.proxy.target_port)
            await asyncio.get_running_loop().sock_connect(sock, address)
            return await asyncio.open_connection(sock=sock, limit=65536)
        except BaseException:
            sock.close()
            raise

    def _tune(self, sock: socket.socket) -> None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self.proxy.tiny_buffers:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, TINY_SEND_BYTES)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_RECEIVE_BYTES)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, direction: int) -> None:
        try:
            while True:
                if self.proxy.plan.flip is not None:
                    data = self._damage(await self._pdu(reader), direction)
                else:
                    data = await reader.read(65536)
                if not data:
                    break
                if self._cut:
                    continue  # silence: it is taken and lost
                await self._pass_on(data, writer, direction)
        except (OSError, asyncio.IncompleteReadError):
            self.broken = True
        self._close(reset=False)

    async def _pass_on(self, data: bytes, writer: asyncio.StreamWriter, direction: int) -> None:
        proxy = self.proxy
        position = 0
        while position < len(data) and not self._cut:
            plan = proxy.plan
            size = len(data) - position
            if self._chopped[direction] < plan.chop_bytes:
                size = min(size, proxy.rng.choice((1, 1, 2, 3, 47, 48, 49, SMALL_PIECE_BYTES)))
                self._chopped[direction] += size
            left = None if plan.cut_after_bytes is None else plan.cut_after_bytes - proxy.passed_bytes
            if left is not None:
                size = min(size, max(left, 0))
            if size:
                if plan.stall_every and not proxy.rng.randrange(plan.stall_every):
                    await asyncio.sleep(STALL_S)  # the fault itself
                writer.write(data[position : position + size])
                position += size
                proxy.passed_bytes += size
                await writer.drain()
            if left is not None and size >= left and not self._cut:
                self._cut_here(plan)

    def _cut_here(self, plan: Plan) -> None:
        proxy = self.proxy
        self._cut = True
        proxy.cuts += 1
        if plan.more_cuts:
            again = proxy.rng.randrange(1, LOGIN_CUT_BYTES)
            proxy.arm(replace(plan, cut_after_bytes=again, more_cuts=plan.more_cuts - 1, silence=False))
        else:
            proxy.arm(Plan(chop_bytes=plan.chop_bytes, stall_every=plan.stall_every))
        if not plan.silence:
            self._close(reset=plan.reset)

    def _close(self, *, reset: bool) -> None:
        self._cut = True
        for writer in self._writers:
            if reset:
                self._reset(writer)
            else:
                writer.close()

    @staticmethod
    def _reset(writer: asyncio.StreamWriter) -> None:
        sock = writer.get_extra_info("socket")
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        writer.transport.abort()

    def abort(self) -> None:
        """End it now."""
        self._close(reset=True)
        if self._task is not None:
            self._task.cancel()

    async def _pdu(self, reader: asyncio.StreamReader) -> bytes:
        bhs = await reader.readexactly(BHS_BYTES)
        digest = 0 if bhs[0] & 0x3F in LOGIN_OPCODES else self._digest_bytes
        data_bytes = int.from_bytes(bhs[5:8], "big")
        rest = bhs[4] * 4 + digest + data_bytes + (-data_bytes & 3) + (digest if data_bytes else 0)
        return bhs + await reader.readexactly(rest)

    def _damage(self, pdu: bytes, direction: int) -> bytes:
        plan, rng = self.proxy.plan, self.proxy.rng
        login = pdu[0] & 0x3F in LOGIN_OPCODES
        data_bytes = int.from_bytes(pdu[5:8], "big")
        aimed = plan.flip_headers or data_bytes >= BHS_BYTES * 4
        if plan.flip is None or login or direction != plan.flip_direction or not aimed:
            return pdu
        if rng.randrange(plan.flip):
            return pdu
        start = 0 if plan.flip_headers else BHS_BYTES + (4 if self._digest_bytes else 0)
        end = BHS_BYTES if plan.flip_headers else start + data_bytes
        damaged = bytearray(pdu)
        damaged[rng.randrange(start, end)] ^= 1 << rng.randrange(8)
        self.proxy.flips += 1
        return bytes(damaged)
