"""An engine inside of the test's own loop, with a client: everything real but the process."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from san_console.api.engine_objects import Event, Job
from san_console.api.methods import SaveLocalTarget
from san_console.api.serving_objects import InitiatorAccess, LocalLun, LocalTarget, Mapping, PortalGroup
from san_console.engine.secret_store import EngineSecrets
from san_console.engine.service import Engine
from san_console.engine.state import open_state
from san_console.rpc.client import EngineClient
from tests.peers import free_port

T = TypeVar("T", bound=msgspec.Struct)

NAME = "iqn.2026-11.org.example:disks"
MIB = 1024 * 1024


async def close_writers(writers: list[asyncio.StreamWriter]) -> None:
    """Close the connections of a server that a test has made, and wait until their sockets are gone."""
    for writer in writers:
        writer.close()
    for writer in writers:
        with contextlib.suppress(OSError):
            await writer.wait_closed()


class Running:
    """The engine, its client, and short ways to ask for objects."""

    def __init__(self, engine: Engine, client: EngineClient) -> None:
        self.engine = engine
        self.client = client

    async def call(self, method: str, params: msgspec.Struct | None = None) -> Any:
        return await self.client.call(method, params)

    def all(self, collection: str, kind: type[T]) -> list[T]:
        return list(self.engine.context.registry.values(collection, kind))

    def events(self, kind: str) -> list[Event]:
        return [event for event in self.all("events", Event) if event.kind == kind]

    async def ended(self, job: Job) -> Job:
        return await self.engine.context.jobs.wait(job.id)

    async def until(self, condition: Callable[[], object], timeout_s: float = 10.0) -> None:
        async with asyncio.timeout(timeout_s):
            while not condition():  # noqa: ASYNC110 - conditions of any kind, of which most set no event
                await asyncio.sleep(0.01)


@asynccontextmanager
async def running(folder: Path) -> AsyncIterator[Running]:
    """An engine on the state in `folder`."""
    runtime = folder / "run"
    os.makedirs(runtime, mode=0o700, exist_ok=True)
    state = open_state(folder, now=0)
    engine = Engine(state, folder, runtime / "engine.sock", secrets=EngineSecrets(use_memory=True))
    await engine.start()
    try:
        async with await EngineClient.connect(runtime / "engine.sock") as client:
            yield Running(engine, client)
    finally:
        await engine.close()


def local_target(*, name: str = NAME, port: int | None = None, **more: Any) -> SaveLocalTarget:
    """A target with one LUN of 4 MiB in memory, for anyone, on a free port of loopback.

    `portals` and `initiators` stand for one group with them and for rows without CHAP of their own.
    """
    values: dict[str, Any] = {
        "portals": [f"127.0.0.1:{port or free_port()}"],
        "luns": [LocalLun(id="disk", name="Disk", kind="memory", size_bytes=4 * MIB)],
        "initiators": ["*"],
        "mappings": [Mapping(initiator="*", lun_id="disk", lun=0)],
    } | more
    portals, names = values.pop("portals"), values.pop("initiators")
    values.setdefault("portal_groups", [PortalGroup(portals=portals)])
    values.setdefault("access", [InitiatorAccess(subject=one) for one in names])
    return SaveLocalTarget(target=LocalTarget(id=name, **values))
