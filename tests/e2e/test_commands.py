"""The commands with the real engine, which they start by themselves."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import Console
from tests.peers import Process, answers, free_port

pytestmark = pytest.mark.e2e

TARGET = "iqn.2026-11.org.example:served"


@pytest.fixture
def portal(console: Console, tmp_path: Path) -> Iterator[str]:
    """A target of our own with a file and memory behind it."""
    port = free_port()
    words = ["target", "serve", "--name", TARGET, "--portal", f"127.0.0.1:{port}"]
    words += ["--lun", f"file:{tmp_path / 'lun0.img'},size=64M", "--lun", "memory:32M"]
    with Process(console.argv(*words), env=console.env) as served:
        served.wait_until(lambda: answers(port))
        yield f"127.0.0.1:{port}"


def test_the_first_command_starts_the_engine_and_says_so(console: Console, portal: str) -> None:
    first = console.run("login", TARGET, "--portal", portal)
    assert first.returncode == 0, first.stderr
    assert first.stderr.splitlines()[0] == "Starting the engine."
    assert "2 LUNs, 96 MiB" in first.stdout
    second = console.run("sessions")
    assert "Starting" not in second.stderr
    assert second.stdout.splitlines()[1].startswith("logged in")
    luns = console.json("luns")["luns"]
    assert [(lun["lun"], lun["size_bytes"], lun["state"]) for lun in luns] == [
        (0, 64 << 20, "ready"),
        (1, 32 << 20, "ready"),
    ]
    again = console.run("login", TARGET, "--portal", portal)
    assert again.returncode == 1
    assert "already" in again.stderr
    assert console.run("engine", "stop").returncode == 0
    assert console.run("engine", "status").returncode == 1


def test_commands_that_start_at_once_share_one_engine(console: Console, portal: str) -> None:
    ended: list[subprocess.CompletedProcess[str]] = []

    def ask() -> None:
        ended.append(console.run("discover", portal, "--json"))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [one.returncode for one in ended] == [0] * 4, [one.stderr for one in ended]
    for one in ended:
        (target,) = json.loads(one.stdout)["targets"]
        assert target["name"] == TARGET
        assert target["portals"][0]["reach"] == "answers"


def test_discovery_again_keeps_what_was_set(console: Console, portal: str) -> None:
    console.ok("discover", portal)
    console.ok("login", TARGET, "--portal", portal, "--favourite")
    before = console.json("sessions")["sessions"][0]
    assert before["login"]["favourite"] is True
    console.ok("discover", portal)
    assert console.json("sessions")["sessions"][0]["login"] == before["login"]


def test_an_engine_that_cannot_start_is_told_with_its_reason(console: Console) -> None:
    runtime = console.home / "runtime"
    runtime.mkdir(mode=0o750)
    failed = console.run("sessions")
    assert failed.returncode == 1
    assert "open to others" in failed.stderr
    runtime.chmod(0o700)
    data = console.home / "data"
    data.mkdir(mode=0o700)
    (data / "engine.log").symlink_to("/dev/null")
    failed = console.run("sessions")
    assert failed.returncode == 1
    assert "could not be started" in failed.stderr
    assert all(line.isprintable() for line in failed.stderr.splitlines())


def test_a_damaged_state_is_kept_aside_and_said(console: Console) -> None:
    console.ok("sessions")
    console.ok("engine", "stop")
    (state,) = (console.home / "data").glob("*.sqlite")
    state.write_bytes(b"this is no database" * 100)
    note = console.json("sessions")
    assert note["sessions"] == []
    status = console.json("engine", "status")["engine"]
    assert status["state_note"]
    assert status["state_note"] in " ".join(console.ok("engine", "status").split("\n"))
