"""What is cancelled when a client gives up, and what is finished all the same."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from san_console.api.methods import METHODS, Nothing
from san_console.engine import handlers
from san_console.engine.service import Engine


@pytest.fixture
def engine() -> Engine:
    return cast("Engine", object())


async def given_up(
    engine: Engine, method: str, work: Any, monkeypatch: pytest.MonkeyPatch
) -> asyncio.Task[Any]:
    monkeypatch.setitem(handlers.HANDLERS, method, lambda _engine, _params: work())
    task = asyncio.create_task(handlers.answer(engine, method, Nothing()))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.sleep(0)
    task.cancel()
    return task


async def test_a_change_is_finished_whoever_waits_for_it(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    go_on = asyncio.Event()

    async def change() -> str:
        steps.append("first half")
        await go_on.wait()
        steps.append("second half")
        return "done"

    task = await given_up(engine, "serving.change", change, monkeypatch)
    go_on.set()
    assert await task == "done"
    assert steps == ["first half", "second half"]


async def test_what_waits_for_others_ends_at_once(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    async def wait() -> None:
        await asyncio.Event().wait()

    task = await given_up(engine, "sessions.login", wait, monkeypatch)
    with pytest.raises(asyncio.CancelledError):
        await task


def test_only_methods_that_there_are_can_be_cancelled() -> None:
    assert set(METHODS) >= handlers.CANCELLABLE
