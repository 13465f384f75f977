"""Runs the tests of each protocol package alone and tells how many of its branches they reach.

A package counts as covered only by its own test folder: to reach it through the tests of
another package proves little.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

PACKAGES = ("names", "wire", "scsi", "iscsi", "isns")
REQUIRED_PERCENT = 95.0


def branch_percent(package: str, folder: Path) -> tuple[int, float, str]:
    """Returns the exit code of pytest, the percentage of branches reached, and the weakest modules."""
    environment = os.environ | {"COVERAGE_FILE": str(folder / package)}
    run = [sys.executable, "-m", "coverage", "run", "--branch", f"--source=san_console/{package}"]
    status = subprocess.run(
        [*run, "-m", "pytest", "-q", f"tests/{package}"], env=environment, check=False
    ).returncode
    report = folder / f"{package}.json"
    subprocess.run(
        [sys.executable, "-m", "coverage", "json", "-q", "-o", str(report)], env=environment, check=True
    )
    content = json.loads(report.read_text())
    totals = content["totals"]
    percent = 100.0 * totals["covered_branches"] / max(totals["num_branches"], 1)
    weak = [
        f"{Path(name).name} {100 * covered / branches:.0f} %"
        for name, part in content["files"].items()
        if (branches := part["summary"]["num_branches"]) - (covered := part["summary"]["covered_branches"])
        > 3
    ]
    return status, percent, ", ".join(weak)


def main() -> int:
    failed = False
    rows: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        for package in PACKAGES:
            status, percent, weak = branch_percent(package, Path(folder))
            good = status == 0 and percent >= REQUIRED_PERCENT
            failed = failed or not good
            rows.append(f"{'ok  ' if good else 'LOW '} {package:6} {percent:5.1f} % of branches  {weak}")
    print("\n".join(rows), flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
