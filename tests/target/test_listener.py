"""What happens at a portal when there are no file descriptors left (fault F28)."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from san_console.iscsi.errors import LoginFailed
from san_console.iscsi.pdu import NopOut
from tests.target.canary import attacked
from tests.target.raw_initiator import RawInitiator, settings, until


@contextmanager
def no_descriptor_left() -> Iterator[list[int]]:
    """Until the end of the context, only what is in the list can be given up for a new descriptor."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = max(int(name) for name in os.listdir("/proc/self/fd"))
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 2, hard))
    fillers: list[int] = []
    try:
        with contextlib.suppress(OSError):
            while True:
                fillers.append(os.dup(0))
        yield fillers
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for fd in fillers:
            os.close(fd)


def ready_sockets(count: int) -> list[socket.socket]:
    found = [socket.socket() for _ in range(count)]
    for sock in found:
        sock.setblocking(False)
    return found


async def connected(sock: socket.socket, port: int) -> RawInitiator:
    await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
    return RawInitiator(*await asyncio.open_connection(sock=sock))


async def test_without_descriptors_logins_are_told_so_and_sessions_go_on() -> None:
    async with attacked() as served:
        raws: list[RawInitiator] = []
        clients = ready_sockets(5)
        with no_descriptor_left() as fillers:
            for sock in clients[:4]:
                raws.append(await connected(sock, served.port))
                with pytest.raises(LoginFailed) as error:
                    await raws[-1].login(settings())
                assert (error.value.status_class, error.value.status_detail) == (3, 2)
                assert await raws[-1].closed() == b""  # and kept: its descriptor would come free
            # A descriptor comes free: the next one gets in.
            os.close(fillers.pop())
            os.close(fillers.pop())
            raws.append(await connected(clients[4], served.port))
            await raws[-1].login(settings())
            await raws[-1].ping()
        for raw in raws:
            await raw.close()


async def test_whoever_says_nothing_does_not_keep_the_next_one_waiting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("san_console.target.listener.TURN_AWAY_S", 0.2)
    async with attacked() as served:
        clients = ready_sockets(3)
        with no_descriptor_left():
            silent = await connected(clients[0], served.port)
            wrong = await connected(clients[1], served.port)
            wrong.send(NopOut(itt=1).pack())
            late = await connected(clients[2], served.port)
            assert await silent.closed() == b""
            assert await wrong.closed() == b""
            with pytest.raises(LoginFailed) as error:
                await late.login(settings())
            assert error.value.status_class == 3
            for raw in (silent, wrong, late):
                await raw.close()
        raw = await served.login()
        await raw.ping()
        await raw.close()
        await until(lambda: len(served.server.sessions()) == 1)
