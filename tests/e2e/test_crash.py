"""What a crash leaves: sessions outlive the window, data that was flushed outlives the target."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import Console
from tests.peers import Process, answers, free_port, wait_for

pytestmark = pytest.mark.e2e

TARGET = "iqn.2026-11.org.example:served"


class ServedFile:
    """`san-console target serve` with a file, that can be killed and started again on the same port."""

    def __init__(self, console: Console, path: Path) -> None:
        self.port, self._console, self._path = free_port(), console, path
        self.process = self._start()

    @property
    def portal(self) -> str:
        return f"127.0.0.1:{self.port}"

    def _start(self) -> Process:
        words = ["target", "serve", "--name", TARGET, "--portal", self.portal, "--lun", f"file:{self._path}"]
        process = Process(self._console.argv(*words), env=self._console.env)
        process.wait_until(lambda: answers(self.port))
        return process

    def kill(self) -> None:
        self.process.kill()
        self.process.end()

    def restart(self) -> None:
        self.process = self._start()


def session_of(console: Console) -> dict[str, Any]:
    (session,) = console.json("sessions")["sessions"]
    assert isinstance(session, dict)
    return session


def test_a_session_retries_says_so_and_recovers(console: Console, tmp_path: Path) -> None:
    medium = tmp_path / "medium"
    with medium.open("wb") as file:
        file.truncate(32 << 20)
    console.start_engine()
    served = ServedFile(console, medium)
    try:
        console.ok("login", TARGET, "--portal", served.portal)
        served.kill()
        wait_for(lambda: session_of(console)["state"] == "retrying", 20, "the session to retry")
        text = console.ok("sessions")
        assert "retry" in text.lower()
        served.restart()
        wait_for(lambda: session_of(console)["state"] == "logged_in", 40, "the session to recover")
        assert session_of(console)["reconnects"] >= 1
    finally:
        served.process.end()


def test_flushed_data_is_there_after_the_target_was_killed(console: Console, tmp_path: Path) -> None:
    """`lun write` ends with a flush: what it reported as written must be on the medium, crash or not."""
    medium, source = tmp_path / "medium", tmp_path / "source"
    with medium.open("wb") as file:
        file.truncate(96 << 20)
    source.write_bytes(os.urandom(16 << 20))
    served = ServedFile(console, medium)
    url = f"iscsi://{served.portal}/{TARGET}/0"
    try:
        console.ok("lun", "write", url, "--input", str(source), "--yes")
        # A second write runs while the target is killed under it; the session reconnects and goes on.
        second = tmp_path / "second"
        second.write_bytes(os.urandom(64 << 20))
        words = ["lun", "write", url, "--input", str(second), "--offset", str(16 << 20), "--yes"]
        writer = Process(console.argv(*words), env=console.env)
        offset = 16 << 20
        with medium.open("rb") as file:
            wait_for(lambda: os.pread(file.fileno(), 1, offset + 4096) != b"\0" or not writer.alive, 20)
        served.kill()
        served.restart()
        code = writer.wait(60)
        said = writer.output
        writer.end()
        content = medium.read_bytes()
        assert content[: 16 << 20] == source.read_bytes()
        assert code == 0, said
        assert content[offset : offset + (64 << 20)] == second.read_bytes()
    finally:
        served.process.end()


def test_sessions_outlive_the_window(console: Console, tmp_path: Path) -> None:
    medium = tmp_path / "medium"
    with medium.open("wb") as file:
        file.truncate(16 << 20)
    console.start_engine()
    served = ServedFile(console, medium)
    try:
        console.ok("login", TARGET, "--portal", served.portal)
        before = session_of(console)
        env = console.env | {"QT_QPA_PLATFORM": "offscreen"}
        report = tmp_path / "report.json"
        for _ in range(2):
            driver = [sys.executable, str(Path(__file__).with_name("window_driver.py")), "watch", str(report)]
            window = Process(driver, env=env)
            window.wait_until(report.exists, 30)
            seen = json.loads(report.read_text())
            assert [session["id"] for session in seen["sessions"]] == [before["id"]]
            window.kill()
            window.end()
            report.unlink()
        after = session_of(console)
        assert (after["id"], after["state"], after["tsih"]) == (before["id"], "logged_in", before["tsih"])
        assert after["logged_in_at"] == before["logged_in_at"]
    finally:
        served.process.end()


def test_the_state_opens_after_any_crash(console: Console) -> None:
    """The engine is killed in the middle of a row of writes, again and again; it always opens its state."""
    for round_number in range(5):
        engine = console.start_engine()
        words = ["discover", f"127.0.0.1:{free_port()}"]
        writers = [
            subprocess.Popen(
                console.argv(*words), env=console.env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
            for _ in range(2)
        ]
        wait_for(lambda: any(writer.poll() is not None for writer in writers), 30)  # noqa: B023 - used at once
        engine.kill()
        engine.end()
        for writer in writers:
            writer.wait(30)
        assert list((console.home / "data").glob("*damaged*")) == [], f"round {round_number}"
    console.start_engine()
    assert console.json("engine", "status")["engine"]["state_note"] == ""
