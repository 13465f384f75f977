"""How commands reach the engine, and what they say when they cannot."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import pytest

from san_console.api.methods import BenchLun
from san_console.api.problems import ApiProblem
from san_console.cli import engine_link
from san_console.cli.engine_link import EngineView, connect, engine_view, run_with_engine
from san_console.console import engine_process
from san_console.rpc.paths import socket_path
from tests.cli.simulated_engine import simulated_engine


def in_engine(scenario: str, work: Callable[[EngineView], Awaitable[None]]) -> None:
    async def whole() -> None:
        async with engine_view(start=False) as view:
            await work(view)

    with simulated_engine(socket_path(), scenario):
        asyncio.run(whole())


def test_a_view_follows_the_engine(folders: Path) -> None:
    async def work(view: EngineView) -> None:
        job = await view.call("luns.bench", BenchLun(id="s6/0", seconds=4))
        seen: list[float] = []
        ended = await view.finished(job, 20, lambda current: seen.append(current.done))
        assert ended.state == "done"
        assert seen == sorted(seen)
        assert len(set(seen)) > 2

    in_engine("demo", work)


def test_work_that_takes_too_long_or_fails_is_a_problem(folders: Path) -> None:
    async def work(view: EngineView) -> None:
        job = await view.call("luns.bench", BenchLun(id="s6/0", seconds=1000))
        with pytest.raises(ApiProblem) as caught:
            await view.finished(job, 0.1)
        assert caught.value.code == "timeout"
        assert not await view.until(lambda replica: False, 0.05)

    in_engine("demo", work)


def test_an_engine_that_ends_is_told(folders: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with simulated_engine(socket_path()) as engine:

        async def wait(view: EngineView) -> int:
            engine.backend.on_state("lost", "")
            await view.until(lambda replica: False, 20)
            return 0

        assert run_with_engine(wait, start=False) == 1
    assert "connection to the engine ended" in capsys.readouterr().err


def test_an_engine_that_sends_nonsense_is_told(folders: Path) -> None:
    async def work(view: EngineView) -> None:
        def nonsense(message: object) -> None:
            raise msgspec.ValidationError("no object")

        view.replica.apply = nonsense  # type: ignore[method-assign]  # what a decoder would say
        with pytest.raises(ApiProblem) as caught:
            await view.until(lambda replica: False, 20)
        assert caught.value.code == "protocol"

    in_engine("demo", work)


def test_an_engine_that_fails_to_start_is_told_with_what_it_said(
    folders: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    program = "import sys; sys.stderr.write('the disk\\x1b[31m is on fire'); sys.exit(1)"
    monkeypatch.setattr(engine_process, "python_command", lambda *words: [sys.executable, "-c", program])

    async def never(view: EngineView) -> int:
        raise AssertionError

    assert run_with_engine(never) == 1
    said = capsys.readouterr().err
    assert said.splitlines()[0] == "Starting the engine."
    assert "the disk\\u{1b}[31m is on fire" in said


def test_a_folder_of_somebody_else_starts_nothing(folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folders / "runtime").chmod(0o750)
    monkeypatch.setattr(engine_link, "start_engine_process", lambda: pytest.fail("started"))
    with pytest.raises(ApiProblem) as caught:
        asyncio.run(connect())
    assert caught.value.code == "forbidden"
