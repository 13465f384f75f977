"""The window's way to a real engine process: start it, talk, lose it, come back; and what it refuses."""

from __future__ import annotations

import socket
import struct
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pytestqt.qtbot import QtBot

from san_console.api.engine_objects import EngineInfo
from san_console.api.methods import AddTarget, Nothing
from san_console.api.problems import Problem
from san_console.console.engine_process import start_engine_process
from san_console.gui.bridge.engine_backend import EngineBackend
from san_console.gui.bridge.host import QtHost

pytestmark = [pytest.mark.gui, pytest.mark.e2e]

PATIENCE_MS = 20_000


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    runtime = tmp_path / "run"
    runtime.mkdir(mode=0o700)
    monkeypatch.setenv("SAN_CONSOLE_RUNTIME_DIR", str(runtime))
    monkeypatch.setenv("SAN_CONSOLE_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("SAN_CONSOLE_CONFIG_DIR", str(tmp_path / "config"))
    return runtime


@pytest.fixture
def engines() -> Iterator[list[subprocess.Popen[bytes]]]:
    started: list[subprocess.Popen[bytes]] = []
    yield started
    for process in started:
        process.terminate()
    for process in started:
        process.wait(timeout=15)


def framed(body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + body


Starter = Callable[[], object]


@pytest.fixture
def start(engines: list[subprocess.Popen[bytes]]) -> Starter:
    return lambda: engines.append(start_engine_process(memory_secrets=True))


@pytest.fixture
def hosts() -> Iterator[list[QtHost]]:
    made: list[QtHost] = []
    yield made
    for host in made:
        host.close()


def test_starts_an_engine_where_none_answers_and_gets_its_objects(
    qtbot: QtBot, folders: Path, start: Starter, hosts: list[QtHost]
) -> None:
    states: list[str] = []
    host = QtHost(EngineBackend(start))
    hosts.append(host)
    host.state_changed.connect(lambda state, _text: states.append(state))
    host.start()
    qtbot.waitUntil(lambda: host.connected, timeout=PATIENCE_MS)
    assert states[0] == "connecting"
    assert "starting" in states
    assert isinstance(host.engine, EngineInfo)
    with qtbot.waitSignal(host.changed, timeout=PATIENCE_MS):
        host.call("targets.add", AddTarget(name="iqn.2026-11.org.example:typed", portals=["127.0.0.1:1"]))
    qtbot.waitUntil(
        lambda: host.get("targets", "iqn.2026-11.org.example:typed") is not None, timeout=PATIENCE_MS
    )


def test_comes_back_after_the_engine_was_killed(
    qtbot: QtBot,
    folders: Path,
    start: Starter,
    engines: list[subprocess.Popen[bytes]],
    hosts: list[QtHost],
) -> None:
    host = QtHost(EngineBackend(start))
    hosts.append(host)
    host.start()
    qtbot.waitUntil(lambda: host.connected, timeout=PATIENCE_MS)
    first = host.engine
    assert first is not None
    failures: list[Problem] = []
    engines[0].kill()
    engines[0].wait(timeout=10)
    qtbot.waitUntil(lambda: host.state != "connected", timeout=PATIENCE_MS)
    host.call("engine.info", Nothing(), None, failures.append)
    qtbot.waitUntil(lambda: bool(failures), timeout=PATIENCE_MS)
    assert failures[0].code == "disconnected"
    qtbot.waitUntil(lambda: host.connected, timeout=PATIENCE_MS)
    assert host.engine is not None
    assert host.engine.pid != first.pid


def test_a_folder_that_is_open_to_others_is_refused(qtbot: QtBot, folders: Path, hosts: list[QtHost]) -> None:
    folders.chmod(0o755)
    host = QtHost(EngineBackend(lambda: pytest.fail("no engine may be started there")))
    hosts.append(host)
    host.start()
    qtbot.waitUntil(lambda: host.state == "refused", timeout=PATIENCE_MS)
    assert "open to others" in host.state_text


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 400 Bad Request\r\n\r\n" * 20,
        struct.pack(">I", 5) + b"[1,2]",
        struct.pack(">I", 2**31),
        framed(b'{"type":"hello","api_oldest":98,"api_newest":99,"version":"9","role":"engine"}'),
    ],
    ids=["http", "no object", "absurd length", "another version"],
)
def test_what_is_no_engine_of_ours_is_said(
    qtbot: QtBot, folders: Path, hosts: list[QtHost], answer: bytes
) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folders / "engine.sock"))
        listener.listen()
        listener.setblocking(False)
        host = QtHost(EngineBackend(None))
        hosts.append(host)
        host.start()
        connections: list[socket.socket] = []

        def refused() -> bool:
            try:
                connection, _address = listener.accept()
                connection.sendall(answer)
                connections.append(connection)
            except BlockingIOError:
                # Nobody has come yet.
                return host.state == "incompatible"
            return host.state == "incompatible"

        qtbot.waitUntil(refused, timeout=PATIENCE_MS)
        assert host.state_text
        for connection in connections:
            connection.close()
