"""What the measurements share: the data, iscsi-perf, CPU times, rounds in turns, and the table."""

from __future__ import annotations

import os
import re
import resource
import statistics
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

DISK_BYTES = 256 << 20
TARGET = "iqn.2026-11.org.example:tgtd"
READS = (  # name, blocks of 512 bytes, depth
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
    """One run: commands per second, and CPU time of the measured side per command."""

    iops: int
    cpu_us: float


def make_disk(path: Path, size_bytes: int = DISK_BYTES) -> Path:
    """A file of that many bytes that has all its blocks."""
    mib = os.urandom(1 << 20)
    with path.open("wb") as file:
        for _ in range(size_bytes >> 20):
            file.write(mib)
    return path


def warm(path: Path) -> None:
    """Read the file, so that it is in the page cache."""
    with path.open("rb", buffering=0) as file:
        while file.read(1 << 22):
            continue


def machine_busy_s() -> float:
    """What all processors have spent on anything, or lost to the hypervisor, since the boot."""
    user, nice, system, _, _, irq, softirq, steal = Path("/proc/stat").read_text().split()[1:9]
    return sum(map(int, (user, nice, system, irq, softirq, steal))) / _TICKS_PER_S


def process_cpu_s(pid: int) -> float:
    """User and system time of a running process with all its threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S


def run(argv: Sequence[str | Path], timeout_s: float, cwd: Path | None = None) -> tuple[str, float]:
    """The output of a program that must succeed, and its CPU time in seconds."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    output = subprocess.run(
        argv, capture_output=True, text=True, check=True, timeout=timeout_s, cwd=cwd
    ).stdout
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return output, after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def iscsi_perf(url: str, blocks: int, depth: int, seconds: int, *, prefix: Sequence[str] = ()) -> Figure:
    """Sequential reads by iscsi-perf; the CPU time is its own. `prefix` goes before the command."""
    argv = [*prefix, "iscsi-perf", "-b", str(blocks), "-m", str(depth), "-t", str(seconds), url]
    output, used_s = run(argv, seconds + 60)
    iops = int(re.findall(r"iops average (\d+)", output)[-1])
    return Figure(iops, used_s / seconds / max(iops, 1) * 1e6)


def print_header(ours: str, theirs: str) -> None:
    print(f"{'':23} {ours:>18} {theirs:>18} {'ratio':>7} {'CPU ratio':>10}", flush=True)


def compare(name: str, ours: Callable[[], Figure], theirs: Callable[[], Figure], rounds: int) -> None:
    """Measure both in turns, so that whatever else the machine does meets both; print the medians.

    A ratio above 1 means that ours is better: more commands per second, less CPU time for each.
    """
    found: Mapping[Callable[[], Figure], list[Figure]] = {ours: [], theirs: []}
    for _ in range(rounds):
        for side, figures in found.items():
            figures.append(side())
    mine, other = (_median(figures) for figures in found.values())
    print(
        f"{name:23} {mine.iops:>8} {mine.cpu_us:>6.1f} us {other.iops:>8} {other.cpu_us:>6.1f} us"
        f" {mine.iops / max(other.iops, 1):>7.2f} {other.cpu_us / max(mine.cpu_us, 0.01):>10.2f}",
        flush=True,
    )


def _median(figures: list[Figure]) -> Figure:
    return Figure(
        int(statistics.median(figure.iops for figure in figures)),
        statistics.median(figure.cpu_us for figure in figures),
    )
