"""Our initiator, the proxy, our target: put together for one run of faults."""

from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from san_console.initiator.events import SessionEvent
from san_console.initiator.session import Session
from san_console.initiator.settings import RetryPolicy, SessionSettings
from san_console.names.portal import Portal
from san_console.target.config import BackstoreSpec, LunConfig, TargetLimits
from tests.chaos.load import Load, check_all, check_file
from tests.chaos.proxy import TINY_SEND_BYTES, Proxy
from tests.chaos.stamps import BLOCK_BYTES, Ledger
from tests.target.raw_initiator import NAME, Served, config

BLOCKS = 16384
RETRY_S = 0.005
INITIATOR = "iqn.2026-11.org.example:chaos"


class Watcher:
    """Listens to a session: makes its retries quick and, if so asked, its socket small."""

    def __init__(self, *, tiny_buffers: bool = False) -> None:
        self.session: Session | None = None
        self.kinds: list[str] = []
        self.tiny_buffers = tiny_buffers

    def __call__(self, event: SessionEvent) -> None:
        self.kinds.append(event.kind)
        session = self.session
        if session is None:
            return
        if event.kind == "retry_scheduled":
            # Not at once: a target that is just starting has to get a word in.
            asyncio.get_running_loop().call_later(RETRY_S, session.retry_now)
        elif event.kind in ("login", "recovered") and self.tiny_buffers:
            assert session.connection is not None
            session.connection._sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, TINY_SEND_BYTES)


@asynccontextmanager
async def session_to(
    port: int, *, digests: bool = False, tiny_buffers: bool = False, **changes: Any
) -> AsyncIterator[tuple[Session, Watcher]]:
    """A session that stays up; retries come at once."""
    digest = "require" if digests else "none"
    fields: dict[str, Any] = {
        "header_digest": digest,
        "data_digest": digest,
        "retry": RetryPolicy(first_s=0.0, max_s=0.05),
        "recovery_timeout_s": 30.0,
        "command_timeout_s": 5.0,
    }
    settings = SessionSettings(INITIATOR, NAME, Portal("127.0.0.1", port), **(fields | changes))
    watcher = Watcher(tiny_buffers=tiny_buffers)
    session = Session(settings, on_event=watcher)
    watcher.session = session
    async with session:
        yield session, watcher


@dataclass(slots=True)
class Bench:
    """All that a run needs."""

    served: Served
    proxy: Proxy
    ledger: Ledger
    load: Load
    path: Path
    rng: random.Random

    async def verify(self) -> None:
        """Everything that was acknowledged is there: over a connection of its own, and in the file."""
        async with session_to(self.served.port) as (session, _):
            await check_all(self.ledger, session.lun(0))
        self.check_file()

    def check_file(self) -> None:
        """The same past both of our ends."""
        check_file(self.ledger, self.path.read_bytes())


@asynccontextmanager
async def bench(
    folder: Path, seed: int, limits: TargetLimits, *, digests: bool, tiny_buffers: bool = False
) -> AsyncIterator[Bench]:
    """A target with one disk in a file behind a proxy that does nothing yet."""
    print(f"chaos seed {seed}: SAN_CHAOS_SEED={seed} makes the same faults again")
    rng = random.Random(seed)
    ledger = Ledger(BLOCKS, seed)
    path = folder / "disk"
    spec = BackstoreSpec("file", str(path), BLOCKS * BLOCK_BYTES, create=True, thin=True)
    served = Served(config(luns=[LunConfig("a", "a", spec)], limits=limits))
    async with served, Proxy(served.port, rng, digest_bytes=4 if digests else 0) as proxy:
        proxy.tiny_buffers = tiny_buffers
        if tiny_buffers:
            _shrink(served)
        yield Bench(served, proxy, ledger, Load(ledger, rng), path, rng)


def _shrink(served: Served) -> None:
    """What the target accepts gets a small send buffer, inherited from the socket that listens."""
    for listener in served.server._portals._listeners.values():
        listener._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, TINY_SEND_BYTES)
