"""libiscsi's conformance tests over two paths: one LUN through two portal groups."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.peers import free_port, need
from tests.target.serving import serve

pytestmark = pytest.mark.interop

# What a disk that is no removable medium, and is written to, cannot be asked.
_SKIPS = ("removable", "write-protected", "--allow-sanitize", "LBPPB < 2", "0-blocks", "SANITIZE", "SSD")


def conformance(url: str, second: str) -> str:
    """The report of all tests over both URLs."""
    done = subprocess.run(
        ["iscsi-test-cu", "-d", "--test=ALL", url, second],
        capture_output=True,
        text=True,
        errors="replace",
        timeout=240,
        check=False,
    )
    return done.stdout


@pytest.mark.timeout(300)  # minutes on a machine that does other things too
@pytest.mark.parametrize("lun", ["memory:64M,thin", "file"])
def test_iscsi_test_cu_over_two_paths(tmp_path: Path, lun: str) -> None:
    need("iscsi-test-cu", "libiscsi-bin")
    spec = f"file:{tmp_path}/disk,size=64M,thin" if lun == "file" else lun
    port = free_port()
    with serve([spec], "--portal", f"127.0.0.1:{port},2") as serving:
        first = serving.url(0)
        report = conformance(first, first.replace(serving.portal, f"127.0.0.1:{port}"))
        assert "Error" not in serving.process.output
    match = re.search(r"tests +(\d+) +(\d+) +(\d+) +(\d+)", report)
    assert match is not None, report[-2000:]
    total, ran, passed, failed = map(int, match.groups())
    assert (total, ran, passed, failed) == (230, 230, 230, 0), report
    skipped = [line for line in report.splitlines() if "SKIPPED" in line]
    unexpected = [line for line in skipped if not any(reason in line for reason in _SKIPS)]
    assert unexpected == []
