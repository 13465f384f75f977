"""Secrets live in the keyring and nowhere else: unique secrets, then a search through what was left."""

from __future__ import annotations

import base64
import contextlib
import json
import secrets
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import ChapTgtd, Console
from tests.peers import need

pytestmark = [pytest.mark.e2e, pytest.mark.interop]


class ProcessWatch(threading.Thread):
    """Looks at the arguments and environments of all processes, over and over, for some strings."""

    def __init__(self, needles: list[bytes]) -> None:
        super().__init__(daemon=True)
        self.needles, self.hits, self.rounds = needles, set[str](), 0
        self._stop_asked = threading.Event()

    def run(self) -> None:
        while not self._stop_asked.wait(0.01):
            self.rounds += 1
            for process in Path("/proc").glob("[0-9]*"):
                for name in ("cmdline", "environ"):
                    with contextlib.suppress(OSError):
                        content = (process / name).read_bytes()
                        if any(needle in content for needle in self.needles):
                            self.hits.add(f"{process.name}/{name}: {content[:80]!r}")

    def stop(self) -> None:
        self._stop_asked.set()
        self.join()


def forms(secret: str) -> list[bytes]:
    """A secret as it is, and as base64 and hex, in which it would be as good as readable."""
    raw = secret.encode()
    return [raw, base64.b64encode(raw), raw.hex().encode(), raw.hex().upper().encode()]


def files_below(*folders: Path) -> Iterator[Path]:
    for folder in folders:
        yield from (path for path in folder.rglob("*") if path.is_file())


def test_no_secret_is_left_anywhere(console: Console, chap_tgtd: ChapTgtd, tmp_path: Path) -> None:
    need("gnome-keyring-daemon", "gnome-keyring")
    runner = need("dbus-run-session", "dbus")
    exports = tmp_path / "exports"
    exports.mkdir()
    xdg = tmp_path / "xdg"
    env = console.env | {"XDG_DATA_HOME": str(xdg), "HOME": str(tmp_path / "keyring-home")}
    (tmp_path / "keyring-home").mkdir()
    script = str(Path(__file__).with_name("keyring_session.py"))
    words = [runner, "--", sys.executable, script, chap_tgtd.portal, chap_tgtd.TARGET, str(exports)]
    lines = [
        secrets.token_urlsafe(12),
        chap_tgtd.user,
        chap_tgtd.secret,
        chap_tgtd.mutual_user,
        chap_tgtd.mutual_secret,
    ]
    needles = [*forms(chap_tgtd.secret), *forms(chap_tgtd.mutual_secret)]
    watch = ProcessWatch(needles)
    watch.start()
    done = subprocess.run(
        words, env=env, input="\n".join(lines), capture_output=True, text=True, timeout=90, check=False
    )
    watch.stop()
    assert done.returncode == 0, done.stdout + done.stderr
    steps = {step["step"]: step for step in map(json.loads, done.stdout.splitlines()) if "step" in step}
    assert steps["keyring"]["state"] == "unlocked"
    assert steps["identities"]["places"] == ["keyring", "keyring"]
    assert steps["test"]["ok"] is True
    assert steps["login"]["state"] == "logged_in"
    assert "removed" in steps

    assert watch.rounds > 20
    assert watch.hits == set()
    searched = 0
    for path in files_below(console.home, exports):
        content = path.read_bytes()
        searched += 1
        assert not any(needle in content for needle in needles), path
    assert searched >= 5
    output = (done.stdout + done.stderr).encode()
    assert not any(needle in output for needle in needles)
