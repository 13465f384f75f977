"""Our target and tgtd in one run on one machine: IOPS, CPU time per command, ratios.

Reads by iscsi-perf, writes by qemu-img bench.

    python tests/bench/bench_target.py [--seconds 3] [--rounds 3]

The two take turns in each row, so that whatever else the machine does meets both; the medians count.
CPU time per command says more than IOPS where the load generator is the bottleneck.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.bench.measure import (
    READS,
    TARGET,
    Figure,
    compare,
    iscsi_perf,
    make_disk,
    print_header,
    process_cpu_s,
    run,
)
from tests.peers import tgtd
from tests.target.serving import serve

WRITES = (  # name, bytes, how many
    ("write 4 KiB, 32 deep", 4096, 60000),
    ("write 64 KiB, 32 deep", 65536, 12000),
    ("write 256 KiB, 32 deep", 262144, 3000),
)


def measure_reads(url: str, pid: int, blocks: int, depth: int, seconds: int) -> Figure:
    """Run iscsi-perf against `url`, which the process `pid` serves; the CPU time is that process's."""
    before = process_cpu_s(pid)
    iops = iscsi_perf(url, blocks, depth, seconds).iops
    return Figure(iops, (process_cpu_s(pid) - before) / seconds / max(iops, 1) * 1e6)


def measure_writes(url: str, pid: int, length: int, count: int) -> Figure:
    """Write `count` times `length` bytes with qemu-img bench."""
    before = process_cpu_s(pid)
    argv = ["qemu-img", "bench", "-w", "-f", "raw", "-t", "none", "-c", str(count), "-d", "32"]
    output, _ = run([*argv, "-s", str(length), url], 120)
    took_s = float(re.findall(r"completed in ([\d.]+)", output)[0])
    return Figure(int(count / took_s), (process_cpu_s(pid) - before) / count * 1e6)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, tgtd() as peer:
        peer.add_target(TARGET, [make_disk(Path(folder) / "theirs")])
        with serve([f"file:{make_disk(Path(folder) / 'ours')}"]) as serving:
            ours = (serving.url(0), serving.process.pid)
            theirs = (f"iscsi://{peer.portal}/{TARGET}/1", peer.pid)
            measures: list[tuple[str, Callable[[str, int], Figure]]] = [
                (name, partial(measure_reads, blocks=blocks, depth=depth, seconds=args.seconds))
                for name, blocks, depth in READS
            ]
            measures += [
                (name, partial(measure_writes, length=length, count=count)) for name, length, count in WRITES
            ]
            print_header("ours", "tgtd")
            for name, measure in measures:
                compare(name, partial(measure, *ours), partial(measure, *theirs), args.rounds)


if __name__ == "__main__":
    main()
