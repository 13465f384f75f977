"""`discover --isns` against open-isns: what isnsadm registered is found, by the real command and engine."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.e2e.conftest import Console
from tests.peers import free_port, isnsd, need

pytestmark = [pytest.mark.e2e, pytest.mark.interop]

TARGET = "iqn.2026-11.org.example:registered"


def test_a_target_registered_with_isnsadm_is_found(console: Console, tmp_path: Path) -> None:
    isnsadm = need("isnsadm", "open-isns-utils")
    folder = tmp_path / "isns"
    folder.mkdir()
    nobody = free_port()
    with isnsd(folder) as port:
        conf = folder / "isnsadm.conf"
        conf.write_text(f"SourceName = {TARGET}\nServerAddress = 127.0.0.1:{port}\nSecurity = 0\n")
        words = ["--register", f"target={TARGET},alias=disk", f"portal=127.0.0.1:{nobody}", "pg,pgt=3"]
        subprocess.run([isnsadm, "-c", str(conf), *words], check=True, timeout=30, capture_output=True)

        document = console.json("discover", f"127.0.0.1:{port}", "--isns")

        assert document["source"]["kind"] == "isns"
        (target,) = document["targets"]
        assert (target["name"], target["alias"]) == (TARGET, "disk")
        (portal,) = target["portals"]
        assert (portal["address"], portal["tpgt"]) == (f"127.0.0.1:{nobody}", 3)
        assert portal["reach"] == "no answer"
        text = console.ok("discover", f"127.0.0.1:{port}", "--isns")
        assert text.splitlines()[1].startswith(TARGET)
    failed = console.run("discover", f"127.0.0.1:{port}", "--isns")
    assert failed.returncode == 1
    assert "decided by: " in failed.stderr
