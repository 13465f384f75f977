"""The console as a user has it: the real command, the real engine process, folders of its own."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.peers import Process, Tgtd, tgtd, wait_for

COMMAND_TIMEOUT_S = 60.0
ROOT = Path(__file__).resolve().parents[2]


class Console:
    """Runs `san-console` commands with data, runtime and configuration folders below one folder."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.engine: Process | None = None
        names = {"DATA": "data", "RUNTIME": "runtime", "CONFIG": "config"}
        folders = {f"SAN_CONSOLE_{key}_DIR": str(home / name) for key, name in names.items()}
        self.env = os.environ | folders | {"HOME": str(home), "PYTHONPATH": str(ROOT)}
        # No bus, so that no test reaches the keyring of whoever runs the tests.
        self.env.pop("DBUS_SESSION_BUS_ADDRESS", None)

    def argv(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "san_console", *words]

    def start_engine(self, *words: str) -> Process:
        """Start the engine with secrets in memory, and wait until it answers."""
        self.engine = Process(self.argv("engine", "run", "--memory-secrets", *words), env=self.env)
        self.engine.wait_until(lambda: self.run("engine", "status").returncode == 0)
        return self.engine

    def run(
        self, *words: str, stdin: str | None = None, timeout_s: float = COMMAND_TIMEOUT_S
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.argv(*words),
            env=self.env,
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )

    def ok(self, *words: str, stdin: str | None = None) -> str:
        """The standard output of a command that must succeed."""
        done = self.run(*words, stdin=stdin)
        assert done.returncode == 0, f"{words}: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def json(self, *words: str) -> Any:
        return json.loads(self.ok(*words, "--json"))

    def secret_file(self, name: str, secret: str) -> str:
        """A file with a secret, readable by its owner alone, outside the folders of the console."""
        folder = self.home.parent / f"{self.home.name}-secrets"
        folder.mkdir(mode=0o700, exist_ok=True)
        path = folder / name
        path.touch(mode=0o600)
        path.write_text(secret)
        return str(path)


@pytest.fixture
def console(tmp_path: Path) -> Iterator[Console]:
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    console = Console(home)
    yield console
    if console.engine is not None:
        console.engine.end()
    # A command may have started one by itself, also after ours was killed: ended through its own socket.
    console.run("engine", "stop", "--force")


class ChapTgtd:
    """tgtd with a target of two 96 MiB LUNs that asks for CHAP and proves itself in turn."""

    TARGET = "iqn.2026-11.org.example:array.tgt"

    def __init__(self, peer: Tgtd, folder: Path) -> None:
        self.peer = peer
        self.user, self.secret = "console-user", secrets.token_urlsafe(12)
        self.mutual_user, self.mutual_secret = "array-user", secrets.token_urlsafe(12)
        self.files = [folder / "lun-1.img", folder / "lun-2.img"]
        for path in self.files:
            with path.open("wb") as file:
                file.truncate(96 << 20)
        peer.add_target(self.TARGET, self.files)
        peer.add_account(self.user, self.secret)
        peer.add_account(self.mutual_user, self.mutual_secret, outgoing=True)

    @property
    def portal(self) -> str:
        return self.peer.portal


@pytest.fixture
def chap_tgtd(tmp_path: Path) -> Iterator[ChapTgtd]:
    with tgtd() as peer:
        yield ChapTgtd(peer, tmp_path)


__all__ = ["ChapTgtd", "Console", "wait_for"]
