"""libiscsi's conformance tests: all of them, on a LUN in a file and on one in memory, and nothing skipped
without a reason.
"""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.peers import need
from tests.target.serving import serve

pytestmark = pytest.mark.interop

# Needs a removable medium, or a second path (which test_interop_multipath.py gives).
_OF_ANOTHER_KIND = (
    "LUN is not removable.",
    "Logical unit is not removable.",
    "Media is not removable.",
    "Multipath unavailable.",
)
# Needs a LUN that no writing test could run on, or one with larger physical blocks (which the tool's own
# test of GET LBA STATUS cannot handle: it wants the descriptor to begin elsewhere than it asked). Each has a
# run of its own below.
_IN_A_RUN_OF_ITS_OWN = (
    "Logical unit is not write-protected.",
    "LBPPB < 2.",
    "--allow-sanitize flag is not set.",
)
# Not left out: this is how the tool words that there is no limit to test, or that the device says WSNZ (which
# it then tests the refusal of; without WSNZ it wants a WRITE SAME of other data than zeros to unmap).
_SAID_OF_THE_DEVICE = (
    "No alignment restrictions on this LUN",
    "No granularity restrictions on this LUN",
    "does not support 0-blocks.",
)


@dataclass(slots=True)
class Report:
    """What the tool said."""

    ran: int
    failed: int
    skipped: list[str]
    text: str


def conformance(url: str, tests: str, *options: str, timeout_s: float = 110) -> Report:
    """Run `tests` of the tool, every test of which must have run."""
    tool = need("iscsi-test-cu", "libiscsi-bin")
    text = subprocess.run(
        [tool, "-d", "-V", *options, f"--test={tests}", url],
        capture_output=True,
        text=True,
        errors="replace",
        timeout=timeout_s,
        check=False,
    ).stdout
    match = re.search(r"tests +(\d+) +(\d+) +(\d+) +(\d+)", text)
    assert match is not None, text[-2000:]
    total, ran, _, failed = map(int, match.groups())
    assert ran == total, text[-2000:]
    return Report(ran, failed, re.findall(r"\[SKIPPED\] *(.*)", text), text)


def unexpected(report: Report, *allowed: str) -> list[str]:
    """The skips that nothing in `allowed` explains."""
    return [line for line in report.skipped if not any(reason in line for reason in allowed)]


def failures(report: Report) -> str:
    """The part of the report that says what went wrong."""
    return "\n".join(re.findall(r"(?:\[FAILED\].*|.*\.c:\d+ .*)", report.text)[:40])


@pytest.mark.timeout(240)
@pytest.mark.parametrize("lun", ["file", "file,block=4096", "memory:256M,thin"])
def test_everything(tmp_path: Path, lun: str) -> None:
    spec = lun.replace("file", f"file:{tmp_path}/disk,size=1G,thin")
    with serve([spec]) as serving:
        report = conformance(serving.url(0), "ALL", timeout_s=220)
    assert (report.ran, report.failed) == (230, 0), failures(report)
    assert unexpected(report, *_OF_ANOTHER_KIND, *_IN_A_RUN_OF_ITS_OWN, *_SAID_OF_THE_DEVICE) == []


@pytest.mark.parametrize("lun", ["file", "memory:64M,thin,physical=4096"])
@pytest.mark.parametrize("suite", ["CompareAndWrite", "WriteSame10", "WriteSame16", "Unmap"])
def test_larger_physical_blocks(tmp_path: Path, lun: str, suite: str) -> None:
    spec = f"file:{tmp_path}/disk,size=64M,thin,physical=4096" if lun == "file" else lun
    with serve([spec]) as serving:
        report = conformance(serving.url(0), f"ALL.{suite}")
    assert report.ran >= 3
    assert report.failed == 0, failures(report)
    assert unexpected(report, *_SAID_OF_THE_DEVICE) == []


@pytest.mark.parametrize("lun", ["file", "memory:64M,thin,ro"])
def test_a_write_protected_lun(tmp_path: Path, lun: str) -> None:
    if lun == "file":
        (tmp_path / "disk").write_bytes(bytes(1 << 20))
    spec = f"file:{tmp_path}/disk,thin,ro" if lun == "file" else lun
    with serve([spec]) as serving:
        report = conformance(serving.url(0), "ALL.ReadOnly")
    assert (report.ran, report.failed) == (1, 0), failures(report)
    assert report.skipped == []


@pytest.mark.timeout(240)  # the tool sleeps for a minute while an operation goes on
@pytest.mark.parametrize("lun", ["file", "memory:512M,thin"])
def test_sanitize(tmp_path: Path, lun: str) -> None:
    spec = f"file:{tmp_path}/disk,size=512M,thin" if lun == "file" else lun
    with serve([spec]) as serving:
        report = conformance(serving.url(0), "ALL.Sanitize", "--allow-sanitize", timeout_s=220)
    assert (report.ran, report.failed) == (11, 0), failures(report)
    # Nothing is encrypted, so there is no key to throw away.
    assert unexpected(report, "SANITIZE CRYPTO_ERASE is not implemented") == []
