"""With its secret in the keyring, a command names the CHAP user and nothing else."""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.conftest import ChapTgtd, Console
from tests.peers import need

pytestmark = [pytest.mark.e2e, pytest.mark.interop]


def test_commands_take_their_secrets_from_the_keyring(console: Console, chap_tgtd: ChapTgtd) -> None:
    need("gnome-keyring-daemon", "gnome-keyring")
    runner = need("dbus-run-session", "dbus")
    lines = [
        secrets.token_urlsafe(12),
        chap_tgtd.user,
        chap_tgtd.secret,
        chap_tgtd.mutual_user,
        chap_tgtd.mutual_secret,
    ]
    here = Path(__file__)
    folders = {
        name: str(console.home / name.lower())
        for name in ("XDG_DATA_HOME", "XDG_CONFIG_HOME", "XDG_RUNTIME_DIR")
    }
    (console.home / "xdg_runtime_dir").mkdir(mode=0o700)
    script = str(here.with_name("keyring_commands.py"))
    done = subprocess.run(
        [runner, "--", sys.executable, script, chap_tgtd.portal, chap_tgtd.TARGET],
        env=console.env | folders | {"PYTHONPATH": str(here.parents[2])},
        input="\n".join(lines),
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    login, info, logout, stop = map(json.loads, done.stdout.splitlines())
    assert login["code"] == 0, login["err"]
    assert "mutual" in login["out"]
    assert info["code"] == 0, info["err"]
    assert logout["code"] == stop["code"] == 0
    said = done.stdout + done.stderr
    assert chap_tgtd.secret not in said
    assert chap_tgtd.mutual_secret not in said
