"""What the tests of the engine share: a context without a process, and secrets without a keyring."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from san_console.api.engine_objects import EngineInfo, Keyring
from san_console.engine.context import EngineContext
from san_console.engine.events import EventLog
from san_console.engine.jobs import JobRunner
from san_console.engine.objects import ObjectRegistry
from san_console.engine.secret_store import EngineSecrets
from san_console.engine.state import open_state


class Clock:
    """Seconds since the epoch, as the test says."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def context(tmp_path: Path, clock: Clock) -> AsyncIterator[EngineContext]:
    registry = ObjectRegistry()
    state = open_state(tmp_path, now=clock.now)
    info = EngineInfo(
        version="t",
        api_version=1,
        pid=1,
        host_name="host",
        started_at=clock.now,
        data_dir=str(tmp_path),
        initiator_name="iqn.2026-11.org.san-console:test",
        keyring=Keyring(state="memory"),
    )
    context = EngineContext(
        info=info,
        registry=registry,
        state=state,
        events=EventLog(registry, state, clock),
        jobs=JobRunner(registry, clock),
        secrets=EngineSecrets(use_memory=True),
        clock=clock,
    )
    yield context
    await context.jobs.close()
    registry.flush()
    await state.close()
