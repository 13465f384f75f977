"""Our target and tgtd in one run on one machine: commands per second, CPU time per command, ratios.

    python tests/bench/bench_target.py [--seconds 2] [--rounds 5] [--only TEXT] [--check]

Both serve a file of 1 GiB that is in the page cache. Target and client have a processor each (taskset) where
there are two. The targets take turns in each row, so that whatever else the machine does meets both; the
medians count. A run is repeated when other processes took more than a few percent of the machine meanwhile,
a bounded number of times. CPU time (user and system, of the target's process) per command says more than
commands per second where the client is the bottleneck.

Reads by iscsi-perf, writes by qemu-img bench; both digests and many sessions by bulk_client.py, since
iscsi-perf knows neither. With --check, the exit code is 1 when a required ratio is missed.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.bench.measure import TARGET, iscsi_perf, machine_busy_s, make_disk, process_cpu_s, run, warm
from tests.peers import Tgtd, tgtd
from tests.target.serving import NAME, serve

DISK_BYTES = 1 << 30
MAX_OTHERS = 0.04  # of the machine, by other processes: more than that shows in the figures
MAX_REPEATS = 2  # of one run, where the machine is never quiet
MIN_SHARE = 0.5  # of the slowest of many sessions, in the mean
_BULK = Path(__file__).with_name("bulk_client.py")
_TWO_PROCESSORS = (os.cpu_count() or 1) > 1
_TARGETS_PROCESSOR, _CLIENTS_PROCESSOR = 0, 1
_CLIENT = ["taskset", "-c", str(_CLIENTS_PROCESSOR)] if _TWO_PROCESSORS else []


@dataclass(slots=True)
class Side:
    """One of the two targets."""

    pid: int
    portal: str
    name: str
    lun: int
    disk: Path

    @property
    def url(self) -> str:
        return f"iscsi://{self.portal}/{self.name}/{self.lun}"


@dataclass(slots=True)
class Run:
    """`share`: of the slowest session in the mean of all; `others`: processor time of other processes, as a
    part of the machine.
    """

    iops: float
    cpu_us: float
    share: float
    others: float


@dataclass(slots=True)
class Outcome:
    """What a client reports: commands, the seconds they took, and the share of the slowest session."""

    commands: float
    seconds: float
    share: float = 1.0


Client = Callable[[Side, int], Outcome]


def perf(blocks: int, depth: int, arguments: str = "") -> Client:
    """Sequential reads by iscsi-perf."""

    def client(side: Side, seconds: int) -> Outcome:
        figure = iscsi_perf(side.url + arguments, blocks, depth, seconds, prefix=_CLIENT)
        return Outcome(figure.iops * seconds, seconds)

    return client


def qemu_writes(length: int, depth: int, per_second: int) -> Client:
    """Sequential writes by qemu-img bench; `per_second` sets how many."""

    def client(side: Side, seconds: int) -> Outcome:
        count = per_second * seconds
        argv = [*_CLIENT, "qemu-img", "bench", "-w", "-f", "raw", "-t", "none", "-c", str(count)]
        output, _ = run([*argv, "-d", str(depth), "-s", str(length), side.url], 300)
        return Outcome(count, float(re.findall(r"completed in ([\d.]+)", output)[0]))

    return client


def bulk(sessions: int, depth: int, *words: str) -> Client:
    """Sequential reads of 4 KiB by bulk_client.py."""

    def client(side: Side, seconds: int) -> Outcome:
        argv = [*_CLIENT, sys.executable, str(_BULK), side.portal, side.name, str(side.lun), *words]
        argv += ["--sessions", str(sessions), "--depth", str(depth), "--seconds", str(seconds)]
        counts: list[int] = json.loads(run(argv, seconds + 120)[0])["sessions"]
        return Outcome(sum(counts), seconds, min(counts) / statistics.mean(counts))

    return client


@dataclass(slots=True)
class Row:
    name: str
    required: float
    client: Client
    header_digest: bool = False
    data_digest: bool = False


ROWS = (
    Row("read 512 B, 32 deep", 2.0, perf(1, 32)),
    Row("read 4 KiB, 32 deep", 2.0, perf(8, 32)),
    Row("read 4 KiB, 1 deep", 1.5, perf(8, 1)),
    Row("read 64 KiB, 32 deep", 1.8, perf(128, 32)),
    Row("read 256 KiB, 32 deep", 1.8, perf(512, 32)),
    Row("read 1 MiB, 32 deep", 1.8, perf(2048, 32)),
    Row("write 4 KiB, 32 deep", 1.5, qemu_writes(4096, 32, 20000)),
    Row("read 4 KiB, header digest", 1.5, perf(8, 32, "?header_digest=crc32c"), header_digest=True),
    Row(
        "read 4 KiB, both digests",
        1.5,
        bulk(1, 32, "--header-digest", "--data-digest"),
        header_digest=True,
        data_digest=True,
    ),
    Row("64 sessions, 4 KiB, 8 deep", 1.5, bulk(64, 8)),
    Row("64 sessions, 4 KiB, 32 deep", 1.5, bulk(64, 32)),
)


def measure(side: Side, client: Client, seconds: int) -> Run:
    """One run."""
    began, busy, cpu = time.monotonic(), machine_busy_s(), process_cpu_s(side.pid)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    outcome = client(side, seconds)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = process_cpu_s(side.pid) - cpu
    clients = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    others = machine_busy_s() - busy - cpu - clients
    machine = (time.monotonic() - began) * (os.cpu_count() or 1)
    return Run(
        outcome.commands / outcome.seconds,
        cpu / max(outcome.commands, 1) * 1e6,
        outcome.share,
        max(others, 0.0) / machine,
    )


def quiet_run(side: Side, client: Client, seconds: int) -> Run:
    """The first run that was alone on the machine; else the one that was it most."""
    runs: list[Run] = []
    while len(runs) <= MAX_REPEATS:
        runs.append(measure(side, client, seconds))
        if runs[-1].others <= MAX_OTHERS:
            break
    return min(runs, key=lambda one: one.others)


def compare(row: Row, sides: Sequence[Side], rounds: int, seconds: int) -> bool:
    """Measure both in turns and print the medians. False when the requirement is missed."""
    found: list[list[Run]] = [[], []]
    for side in sides:
        warm(side.disk)
    for _ in range(rounds):
        for side, runs in zip(sides, found, strict=True):
            runs.append(quiet_run(side, row.client, seconds))
    iops = [statistics.median(one.iops for one in runs) for runs in found]
    cpu = [statistics.median(one.cpu_us for one in runs) for runs in found]
    share = statistics.median(one.share for one in found[0])
    others = max(one.others for runs in found for one in runs)
    ratio = iops[0] / iops[1]
    met = ratio >= row.required and share >= MIN_SHARE
    print(
        f"{row.name:28} {iops[0]:8.0f} {cpu[0]:6.1f} us {iops[1]:8.0f} {cpu[1]:6.1f} us {ratio:6.2f}"
        f" {row.required:8.1f} {cpu[1] / cpu[0]:9.2f}  {'met' if met else 'MISSED'}"
        + (f", slowest {share:.2f} of mean" if share < 1 else "")
        + (f" (other processes: {others:.0%} of the machine)" if others > MAX_OTHERS else ""),
        flush=True,
    )
    return met


def set_digests(peer: Tgtd, row: Row) -> None:
    """tgtd decides by its own settings, whatever the initiator prefers."""
    peer.set_key("HeaderDigest", "CRC32C" if row.header_digest else "None")
    peer.set_key("DataDigest", "CRC32C" if row.data_digest else "None")


def pin(pid: int) -> None:
    """Give all threads of a process the target's processor."""
    if _TWO_PROCESSORS:
        for thread in os.listdir(f"/proc/{pid}/task"):
            os.sched_setaffinity(int(thread), {_TARGETS_PROCESSOR})


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default="", metavar="TEXT", help="rows with this in their name")
    parser.add_argument("--check", action="store_true", help="fail when a requirement is missed")
    args = parser.parse_args()
    met = True
    with tempfile.TemporaryDirectory() as folder, tgtd() as peer:
        ours, theirs = (make_disk(Path(folder) / name, DISK_BYTES) for name in ("ours", "theirs"))
        peer.add_target(TARGET, [theirs])
        with serve([f"file:{ours}"]) as serving:
            sides = (
                Side(serving.process.pid, serving.portal, NAME, 0, ours),
                Side(peer.pid, peer.portal, TARGET, 1, theirs),
            )
            for side in sides:
                pin(side.pid)
            print(f"{'':28} {'ours':>18} {'tgtd':>18} {'ratio':>6} {'required':>8} {'CPU ratio':>9}")
            for row in ROWS:
                if args.only in row.name:
                    set_digests(peer, row)
                    met = compare(row, sides, args.rounds, args.seconds) and met
    return 0 if met or not args.check else 1


if __name__ == "__main__":
    sys.exit(main())
