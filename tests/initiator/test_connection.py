"""The socket of a connection: what leaves, and in which order, whatever part of it the socket takes."""

from __future__ import annotations

import asyncio
import random
import socket
import struct
from collections.abc import Sequence
from typing import Any

import pytest

from san_console.initiator.connection import Connection
from san_console.initiator.counters import SessionCounters
from san_console.iscsi.framing import Framer
from san_console.iscsi.initiator_session import InitiatorSession
from san_console.iscsi.initiator_tasks import ScsiTask
from san_console.iscsi.negotiation import OperationalParameters
from san_console.scsi import cdb

BLOCKS, BLOCK_BYTES = 600, 512


class ReluctantSocket:
    """A socket that takes a part of a write and more of it at once, or nothing until asked again."""

    def __init__(self, inner: socket.socket, seed: int) -> None:
        self._inner, self._random = inner, random.Random(seed)
        self.parts = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def sendmsg(self, buffers: Sequence[Any]) -> int:
        self.parts += 1
        if self._random.random() < 0.2:
            raise BlockingIOError
        whole = b"".join(buffers)
        return self._inner.send(whole[: self._random.randrange(1, 20_000)])

    def send(self, data: Any) -> int:
        return self.sendmsg([data])


@pytest.mark.parametrize("seed", range(8))
async def test_each_byte_leaves_once_and_in_order(seed: int) -> None:
    """A gathering write that was taken in part is continued, not begun again: else data lands elsewhere."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ours = socket.create_connection(listener.getsockname())
        theirs, _ = listener.accept()
    ours.setblocking(False)
    theirs.setblocking(False)
    reluctant = ReluctantSocket(ours, seed)
    framer = Framer()
    parameters = OperationalParameters(
        initial_r2t=False,
        immediate_data=True,
        peer_max_recv_data_segment_bytes=8192,
        first_burst_bytes=65536,
        max_burst_bytes=65536,
    )
    session = InitiatorSession(
        framer, parameters, cmd_sn=1, exp_stat_sn=1, exp_cmd_sn=1, max_cmd_sn=2 * BLOCKS
    )
    connection = Connection(
        reluctant,  # type: ignore[arg-type]  # everything but sending is the real socket
        framer,
        session,
        counters=SessionCounters(),
        on_closed=lambda _error: None,
        on_protocol_event=lambda _event: None,
        nop_interval_s=0,
        nop_timeout_s=5,
        command_timeout_s=30,
    )
    blocks = [random.Random(number).randbytes(BLOCK_BYTES) for number in range(BLOCKS)]
    for number, block in enumerate(blocks):
        connection.submit(ScsiTask(lun=0, cdb=cdb.write(number, 1).ljust(16, b"\0"), write_data=block))
    received = bytearray()
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(10):
        while len(received) < BLOCKS * (48 + BLOCK_BYTES):
            received += await loop.sock_recv(theirs, 1 << 20)
    connection.close()
    theirs.close()
    assert reluctant.parts > 20
    data = [received[at + 48 : at + 48 + BLOCK_BYTES] for at in range(0, len(received), 48 + BLOCK_BYTES)]
    assert data == blocks


async def test_a_connection_that_is_reset_at_once_is_lost_like_any_other() -> None:
    """After the last login response the peer may be gone: the socket has no peer then."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ours = socket.create_connection(listener.getsockname())
        theirs, _ = listener.accept()
    ours.setblocking(False)
    theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    theirs.close()  # with a reset
    with pytest.raises(OSError, match="not connected"):
        ours.getpeername()
    lost: asyncio.Future[BaseException | None] = asyncio.get_running_loop().create_future()
    framer = Framer()
    session = InitiatorSession(
        framer, OperationalParameters(), cmd_sn=1, exp_stat_sn=1, exp_cmd_sn=1, max_cmd_sn=8
    )
    connection = Connection(
        ours,
        framer,
        session,
        counters=SessionCounters(),
        on_closed=lost.set_result,
        on_protocol_event=lambda _event: None,
        nop_interval_s=0,
        nop_timeout_s=5,
        command_timeout_s=30,
    )
    assert connection.peer_address == ""
    async with asyncio.timeout(10):
        assert isinstance(await lost, ConnectionResetError)
    assert connection.closed
