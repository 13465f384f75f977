"""A session that does I/O all the while: whatever others send, it goes on, and nothing is left behind."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from san_console.names.credentials import ChapCredentials
from tests.target.raw_initiator import Served, until

CANARY_ISID = bytes(6)


@asynccontextmanager
async def attacked(
    served: Served | None = None, *, chap: ChapCredentials | None = None
) -> AsyncIterator[Served]:
    """A server with a canary session, which reads a block every 20 ms, and at the end."""
    async with served or Served() as running:
        canary = await running.login(isid=CANARY_ISID, chap=chap)
        await canary.ready()
        stop = asyncio.Event()

        async def sing() -> None:
            while not stop.is_set():
                async with asyncio.timeout(2):
                    await canary.read_block()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), 0.02)

        song = asyncio.create_task(sing())
        yield running
        stop.set()
        await song
        await canary.close()
        await until(lambda: not running.server.sessions())
        assert not running.server._reception.admission.half_open
        assert not running.server._reception.admission.logins
        assert running.server._table.connection_count == 0
