"""libiscsi's conformance tests: all of them, on a LUN in a file and on one in memory, over one path and over
two; SANITIZE on request; and nothing skipped without a reason.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.peers import free_port, need
from tests.target.libiscsi_suite import Report, Runs, conformance
from tests.target.serving import serve

pytestmark = [pytest.mark.interop, pytest.mark.timeout(400)]

_REMOVABLE = ("LUN is not removable.", "Logical unit is not removable.", "Media is not removable.")
_SECOND_PATH = ("Multipath unavailable.",)
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
# Nothing is encrypted, so there is no key to throw away.
_NO_KEY = ("SANITIZE CRYPTO_ERASE is not implemented",)

ONE_PATH = ("file", "file,block=4096", "memory:256M,thin")
TWO_PATHS = ("file", "memory:64M,thin")
SANITIZED = ("file", "memory:512M,thin")


def _spec(folder: Path, lun: str, size: str) -> str:
    folder.mkdir(exist_ok=True)
    return lun.replace("file", f"file:{folder}/disk,size={size},thin")


def _over_one_path(folder: Path, lun: str) -> Report:
    with serve([_spec(folder, lun, "1G")]) as serving:
        return conformance(serving.url(0))


def _over_two_paths(folder: Path, lun: str) -> Report:
    port = free_port()
    with serve([_spec(folder, lun, "64M")], "--portal", f"127.0.0.1:{port},2") as serving:
        first = serving.url(0)
        report = conformance(first, first.replace(serving.portal, f"127.0.0.1:{port}"))
        assert "Error" not in serving.process.output
        return report


def _sanitized(folder: Path, lun: str) -> Report:
    with serve([_spec(folder, lun, "512M")]) as serving:
        return conformance(serving.url(0), tests="ALL.Sanitize", options=("--allow-sanitize",))


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs]:
    """All the long runs, begun together."""
    need("iscsi-test-cu", "libiscsi-bin")
    folder = tmp_path_factory.mktemp("libiscsi")
    wanted = [
        *(("one", lun, _over_one_path) for lun in ONE_PATH),
        *(("two", lun, _over_two_paths) for lun in TWO_PATHS),
        *(("sanitize", lun, _sanitized) for lun in SANITIZED),
    ]
    begun = Runs(
        {
            f"{kind} {lun}": partial(run, folder / str(number), lun)
            for number, (kind, lun, run) in enumerate(wanted)
        }
    )
    yield begun
    begun.close()


@pytest.mark.parametrize("lun", ONE_PATH)
def test_everything(runs: Runs, lun: str) -> None:
    report = runs.of(f"one {lun}")
    assert (report.ran, report.failed) == (230, 0), report.failures()
    assert report.unexpected(*_REMOVABLE, *_SECOND_PATH, *_IN_A_RUN_OF_ITS_OWN, *_SAID_OF_THE_DEVICE) == []


@pytest.mark.parametrize("lun", TWO_PATHS)
def test_everything_over_two_paths(runs: Runs, lun: str) -> None:
    report = runs.of(f"two {lun}")
    assert (report.ran, report.failed) == (230, 0), report.failures()
    assert report.unexpected(*_REMOVABLE, *_IN_A_RUN_OF_ITS_OWN, *_SAID_OF_THE_DEVICE) == []


@pytest.mark.parametrize("lun", SANITIZED)
def test_sanitize(runs: Runs, lun: str) -> None:
    report = runs.of(f"sanitize {lun}")
    assert (report.ran, report.failed) == (11, 0), report.failures()
    assert report.unexpected(*_NO_KEY) == []


@pytest.mark.parametrize("lun", ["file", "memory:64M,thin,physical=4096"])
@pytest.mark.parametrize("suite", ["CompareAndWrite", "WriteSame10", "WriteSame16", "Unmap"])
def test_larger_physical_blocks(tmp_path: Path, lun: str, suite: str) -> None:
    spec = f"file:{tmp_path}/disk,size=64M,thin,physical=4096" if lun == "file" else lun
    with serve([spec]) as serving:
        report = conformance(serving.url(0), tests=f"ALL.{suite}")
    assert report.ran >= 3
    assert report.failed == 0, report.failures()
    assert report.unexpected(*_SAID_OF_THE_DEVICE) == []


@pytest.mark.parametrize("lun", ["file", "memory:64M,thin,ro"])
def test_a_write_protected_lun(tmp_path: Path, lun: str) -> None:
    if lun == "file":
        (tmp_path / "disk").write_bytes(bytes(1 << 20))
    spec = f"file:{tmp_path}/disk,thin,ro" if lun == "file" else lun
    with serve([spec]) as serving:
        report = conformance(serving.url(0), tests="ALL.ReadOnly")
    assert (report.ran, report.failed) == (1, 0), report.failures()
    assert report.skipped == []
