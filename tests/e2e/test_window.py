"""The main job through the window: under Xvfb, with the real engine, against tgtd with CHAP both ways."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import ChapTgtd, Console
from tests.peers import need

pytestmark = [pytest.mark.e2e, pytest.mark.interop, pytest.mark.gui]

WRITTEN_BYTES = 64 << 20


@pytest.fixture
def display() -> Iterator[str]:
    """A screen of our own; Xvfb chooses its number."""
    xvfb = need("Xvfb", "xvfb")
    read_end, write_end = os.pipe()
    process = subprocess.Popen(
        [xvfb, "-displayfd", str(write_end), "-screen", "0", "1280x800x24", "-nolisten", "tcp"],
        pass_fds=[write_end],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(write_end)
    with os.fdopen(read_end) as number:
        name = number.readline().strip()
    assert name, "Xvfb did not start"
    yield f":{name}"
    process.terminate()
    process.wait(10)


def test_the_main_job_through_the_window(
    console: Console, chap_tgtd: ChapTgtd, display: str, tmp_path: Path
) -> None:
    console.start_engine()
    source, copy = tmp_path / "source", tmp_path / "copy"
    source.write_bytes(os.urandom(WRITTEN_BYTES))
    plan = {
        "portal": chap_tgtd.portal,
        "target": chap_tgtd.TARGET,
        "user": chap_tgtd.user,
        "secret": chap_tgtd.secret,
        "mutual_user": chap_tgtd.mutual_user,
        "mutual_secret": chap_tgtd.mutual_secret,
        "source": str(source),
        "copy": str(copy),
        "pictures": str(tmp_path / "pictures"),
    }
    driver = Path(__file__).with_name("window_driver.py")
    done = subprocess.run(
        [sys.executable, str(driver), "job"],
        env=console.env | {"DISPLAY": display, "QT_QPA_PLATFORM": "xcb"},
        input=json.dumps(plan),
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert copy.read_bytes() == source.read_bytes()
    medium = chap_tgtd.files[0].read_bytes()
    assert medium[:WRITTEN_BYTES] == source.read_bytes()
    said = done.stdout + done.stderr
    assert chap_tgtd.secret not in said
    assert chap_tgtd.mutual_secret not in said
