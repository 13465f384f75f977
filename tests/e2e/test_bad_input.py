"""What is refused from the terminal, each with its cause, its side and what to check; nothing hangs."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

from tests.e2e.conftest import Console
from tests.peers import free_port

pytestmark = pytest.mark.e2e


class Banner:
    """A server that says one thing to everybody, and then listens until the other side has gone."""

    def __init__(self, greeting: bytes, answer: bytes = b"") -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._greeting, self._answer = greeting, answer
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(10)

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            with client:
                client.settimeout(10)
                try:
                    client.sendall(self._greeting)
                    while client.recv(65536):
                        client.sendall(self._answer)
                except OSError:
                    continue


@pytest.fixture(params=[(b"SSH-2.0-OpenSSH_9.2\r\n", b""), (b"", b"HTTP/1.1 400 Bad Request\r\n\r\n")])
def banner(request: pytest.FixtureRequest) -> Iterator[Banner]:
    server = Banner(*request.param)
    yield server
    server.close()


def refused(console: Console, *words: str, code: int = 1) -> str:
    done = console.run(*words, timeout_s=40)
    assert done.returncode == code, done.stdout + done.stderr
    assert done.stdout == ""
    lines = [line for line in done.stderr.splitlines() if line != "Starting the engine."]
    assert lines[0].startswith("san-console: ")
    assert lines[1].startswith("  decided by: ")
    assert lines[2].startswith("  check: ")
    assert all(line.isprintable() for line in lines)
    return lines[0]


def test_a_server_that_is_no_target(console: Console, banner: Banner) -> None:
    for words in (
        ["discover", f"127.0.0.1:{banner.port}"],
        ["login", "iqn.2026-11.org.example:x", "--portal", f"127.0.0.1:{banner.port}"],
    ):
        assert "iSCSI" in refused(console, *words)
    assert console.json("sessions")["sessions"] == []


def test_nobody_there(console: Console) -> None:
    port = free_port()
    assert " s)" in refused(console, "discover", f"127.0.0.1:{port}")
    assert "does not resolve" in refused(console, "discover", "no-such-host.invalid")
    assert "refused" in refused(console, "discover", f"127.0.0.1:{port}", "--isns")


def test_what_is_no_name_and_no_address(console: Console) -> None:
    refused(console, "login", "iqn.2026-11.org.example:ä\u202eb", "--portal", "127.0.0.1", code=2)
    refused(console, "login", "disk", "--portal", "127.0.0.1", code=2)
    refused(console, "discover", "127.0.0.1:0x10", code=2)
    assert console.run("engine", "status").returncode == 1, "no engine was started for it"
