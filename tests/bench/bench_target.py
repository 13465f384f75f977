"""Our target and tgtd under iscsi-perf, in one run on one machine: IOPS, CPU time per command, ratios.

    python tests/bench/bench_target.py [--seconds 3] [--rounds 2]

The two take turns in each row, so that whatever else the machine does meets both; the better round counts.
CPU time per command says more than IOPS where the load generator is the bottleneck.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.peers import Process, tgtd
from tests.target.serving import serve

SIZE = "256M"
TARGET = "iqn.2026-11.org.example:tgtd"
ROWS = (  # name, blocks of 512 bytes, depth
    ("512 B, 1 deep", 1, 1),
    ("512 B, 32 deep", 1, 32),
    ("4 KiB, 1 deep", 8, 1),
    ("4 KiB, 32 deep", 8, 32),
    ("64 KiB, 32 deep", 128, 32),
    ("256 KiB, 32 deep", 512, 32),
)
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@dataclass(slots=True)
class Figure:
    """One run."""

    iops: int
    cpu_us: float


def cpu_s(pid: int) -> float:
    """User and system time of a process with all its threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S


def measure(url: str, pid: int, blocks: int, depth: int, seconds: int) -> Figure:
    """Run iscsi-perf against `url`, which the process `pid` serves."""
    before = cpu_s(pid)
    output = subprocess.run(
        ["iscsi-perf", "-b", str(blocks), "-m", str(depth), "-t", str(seconds), url],
        capture_output=True,
        text=True,
        check=True,
        timeout=seconds + 60,
    ).stdout
    used = cpu_s(pid) - before
    iops = int(re.findall(r"iops average (\d+)", output)[-1])
    return Figure(iops, used / seconds / max(iops, 1) * 1e6)


def best(figures: list[Figure]) -> Figure:
    return max(figures, key=lambda figure: figure.iops)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=2)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, tgtd() as peer:
        theirs = Path(folder) / "theirs"
        theirs.write_bytes(os.urandom(1 << 20) * 256)
        peer.add_target(TARGET, [theirs])
        ours = Path(folder) / "ours"
        ours.write_bytes(theirs.read_bytes())
        with serve([f"file:{ours}"]) as serving:
            process: Process = serving.process
            sides = {
                "ours": (serving.url(0), process.pid),
                "tgtd": (f"iscsi://{peer.portal}/{TARGET}/1", peer.pid),
            }
            print(f"{'':18} {'ours':>18} {'tgtd':>18} {'ratio':>7} {'CPU ratio':>10}")
            for name, blocks, depth in ROWS:
                found: dict[str, list[Figure]] = {"ours": [], "tgtd": []}
                for _ in range(args.rounds):
                    for side, (url, pid) in sides.items():
                        found[side].append(measure(url, pid, blocks, depth, args.seconds))
                mine, other = best(found["ours"]), best(found["tgtd"])
                print(
                    f"{name:18} {mine.iops:>8} {mine.cpu_us:>6.1f} us {other.iops:>8} {other.cpu_us:>6.1f} us"
                    f" {mine.iops / other.iops:>7.2f} {other.cpu_us / max(mine.cpu_us, 0.01):>10.2f}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
