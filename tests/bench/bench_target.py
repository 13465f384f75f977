"""Our target and tgtd in one run on one machine: IOPS, CPU time per command, ratios.

Reads by iscsi-perf, writes by qemu-img bench.

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
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
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
WRITES = (  # name, bytes, how many
    ("write 4 KiB, 32 deep", 4096, 60000),
    ("write 64 KiB, 32 deep", 65536, 12000),
    ("write 256 KiB, 32 deep", 262144, 3000),
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


def measure_writes(url: str, pid: int, length: int, count: int) -> Figure:
    """Write `count` times `length` bytes with qemu-img bench."""
    before = cpu_s(pid)
    output = subprocess.run(
        [
            "qemu-img",
            "bench",
            "-w",
            "-f",
            "raw",
            "-t",
            "none",
            "-c",
            str(count),
            "-d",
            "32",
            "-s",
            str(length),
            url,
        ],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    ).stdout
    took_s = float(re.findall(r"completed in ([\d.]+)", output)[0])
    return Figure(int(count / took_s), (cpu_s(pid) - before) / count * 1e6)


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
            print(f"{'':23} {'ours':>18} {'tgtd':>18} {'ratio':>7} {'CPU ratio':>10}")
            for name, blocks, depth in ROWS:
                report(
                    name,
                    sides,
                    args.rounds,
                    partial(measure, blocks=blocks, depth=depth, seconds=args.seconds),
                )
            for name, length, count in WRITES:
                report(name, sides, args.rounds, partial(measure_writes, length=length, count=count))


def report(
    name: str, sides: dict[str, tuple[str, int]], rounds: int, run: Callable[[str, int], Figure]
) -> None:
    """Measure both sides in turns, and print a row."""
    found: dict[str, list[Figure]] = {side: [] for side in sides}
    for _ in range(rounds):
        for side, (url, pid) in sides.items():
            found[side].append(run(url, pid))
    mine, other = best(found["ours"]), best(found["tgtd"])
    print(
        f"{name:23} {mine.iops:>8} {mine.cpu_us:>6.1f} us {other.iops:>8} {other.cpu_us:>6.1f} us"
        f" {mine.iops / other.iops:>7.2f} {other.cpu_us / max(mine.cpu_us, 0.01):>10.2f}",
        flush=True,
    )


if __name__ == "__main__":
    main()
