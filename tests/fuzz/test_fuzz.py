"""A short run of each fuzzer, and every input that once broke something."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz.harnesses import HARNESSES, SEEDS

SECONDS = int(os.environ.get("SAN_FUZZ_SECONDS", "4"))
TOP = Path(__file__).resolve().parents[2]
REGRESSIONS = Path(__file__).parent / "regressions"


@pytest.mark.parametrize("name", sorted(HARNESSES))
def test_what_was_found_before_holds(name: str) -> None:
    inputs = [*SEEDS.get(name, ()), *(path.read_bytes() for path in sorted(REGRESSIONS.glob(f"{name}-*")))]
    assert inputs
    for data in inputs:
        HARNESSES[name](data)


@pytest.mark.conformance
@pytest.mark.timeout(SECONDS + 120)
@pytest.mark.skipif(
    importlib.util.find_spec("atheris") is None, reason="atheris has no wheel for this machine"
)
@pytest.mark.parametrize("name", sorted(HARNESSES))
def test_fuzzing_finds_nothing(name: str, tmp_path: Path) -> None:
    words = [
        name,
        "--seconds",
        str(SECONDS),
        "--corpus",
        str(tmp_path / "corpus"),
        "--findings",
        str(tmp_path),
    ]
    run = subprocess.run(
        [sys.executable, "-m", "tests.fuzz.run", *words],
        cwd=TOP,
        capture_output=True,
        text=True,
        check=False,
        timeout=SECONDS + 100,
    )
    assert run.returncode == 0, run.stderr[-6000:]
    executed = [line for line in run.stderr.splitlines() if "number_of_executed_units" in line]
    assert executed, run.stderr[-3000:]
    assert int(executed[0].split()[-1]) > 50, run.stderr[-3000:]
