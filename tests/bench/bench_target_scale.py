"""What size costs our target: memory, the time to load, and the time of a command beside much else.

    python tests/bench/bench_target_scale.py [--seconds 2] [--rounds 5] [--check]

- Resident memory of the process with 256 sessions that have each read 1 MiB and written nothing since.
- Processor time per read of 4 KiB with 1 session, and with 256 idle ones beside it.
- 1,000 targets of 4 LUNs each: seconds until they are served.
- Processor time per read with 1 target, and with those 1,000, each with a mapping.

With --check, the exit code is 1 when a limit is missed.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.bench.bulk_client import BulkSession, run
from tests.bench.measure import process_cpu_s

SESSIONS = 256
TARGETS = 1000
LUNS = 4
MAX_MEMORY_MIB = 120
MAX_LOAD_S = 2.0
MAX_GROWTH = 1.15  # "does not grow": less than what two runs of the same differ by
LUN_BYTES = 1 << 20
MIB_READS = 8  # of 128 KiB: all of the memory that a session may touch
DEPTH = 8
_TWO_PROCESSORS = (os.cpu_count() or 1) > 1


def name(number: int) -> str:
    return f"iqn.2026-11.org.example:target{number}"


async def _serve(targets: int, pipe: Connection) -> None:
    from san_console.names.portal import Portal
    from san_console.target.config import BackstoreSpec, LunConfig, MappingRule, PortalGroup, TargetConfig
    from san_console.target.server import TargetServer

    server = TargetServer()
    loop = asyncio.get_running_loop()
    began = time.perf_counter()
    portal = Portal("127.0.0.1", 0)
    for number in range(targets):
        luns = [
            LunConfig(f"l{lun}", f"l{lun}", BackstoreSpec("memory", size_bytes=LUN_BYTES))
            for lun in range(LUNS)
        ]
        await server.add(
            TargetConfig(
                name=name(number),
                groups=[PortalGroup(1, [portal])],
                luns=luns,
                mappings=[MappingRule("iqn.*", f"l{lun}", lun) for lun in range(LUNS)],
            )
        )
    pipe.send((str(server.bound_portals()[0]), time.perf_counter() - began))
    done = asyncio.Event()
    loop.add_reader(pipe.fileno(), done.set)
    await done.wait()
    await server.close()


def _process(targets: int, pipe: Connection) -> None:
    if _TWO_PROCESSORS:
        os.sched_setaffinity(0, {0})
    asyncio.run(_serve(targets, pipe))


class Served:
    """A process with that many targets."""

    def __init__(self, pid: int, portal: str, load_s: float) -> None:
        self.pid = pid
        self.portal = portal
        self.load_s = load_s

    def session(self, number: int, *, blocks: int = 8, target: int = 0) -> BulkSession:
        session = BulkSession(self.portal, name(target), 0, blocks=blocks, number=number)
        session.range_blocks = LUN_BYTES // 512
        return session

    @property
    def memory_mib(self) -> float:
        """Resident memory."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGESIZE") / (1 << 20)

    def cpu_us(self, sessions: list[BulkSession], seconds: float) -> float:
        """Processor time per read."""
        before = process_cpu_s(self.pid)
        count = sum(run(sessions, DEPTH, seconds))
        return (process_cpu_s(self.pid) - before) / count * 1e6


@contextmanager
def serving(targets: int) -> Iterator[Served]:
    """Serve until the context is left."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_process, args=(targets, theirs))
    process.start()
    assert process.pid is not None
    try:
        theirs.close()  # so that its end is heard
        if not ours.poll(120):
            raise TimeoutError(f"{targets} targets were not served within two minutes")
        portal, load_s = ours.recv()
        yield Served(process.pid, portal, load_s)
    finally:
        ours.close()
        process.join(30)
        if process.is_alive():
            process.kill()


def _in_turns(ones: list[Callable[[], float]], rounds: int) -> list[float]:
    found: list[list[float]] = [[] for _ in ones]
    for _ in range(rounds):
        for one, figures in zip(ones, found, strict=True):
            figures.append(one())
    return [statistics.median(figures) for figures in found]


def memory_and_sessions(rounds: int, seconds: float) -> list[tuple[str, float, float, str]]:
    """256 sessions, in work and idle."""
    with serving(1) as few, serving(1) as many:
        alone = [few.session(0)]
        empty_mib = many.memory_mib
        idle = [many.session(number, blocks=256) for number in range(1, SESSIONS)]
        for session in idle:
            session.read(MIB_READS)
        working = [many.session(0)]
        memory_mib = many.memory_mib
        figures = [lambda: few.cpu_us(alone, seconds), lambda: many.cpu_us(working, seconds)]
        one, beside = _in_turns(figures, rounds)
        for session in (*alone, *idle, *working):
            session.close()
    print(f"memory: {empty_mib:.0f} MiB without a session; CPU per read: {one:.1f} us alone, {beside:.1f} us")
    return [
        (f"memory with {SESSIONS} sessions", memory_mib, MAX_MEMORY_MIB, "MiB"),
        (f"CPU per read beside {SESSIONS - 1} idle sessions", beside / one, MAX_GROWTH, "times"),
    ]


def targets_and_luns(rounds: int, seconds: float) -> list[tuple[str, float, float, str]]:
    """1,000 targets with 4 LUNs."""
    with serving(1) as few, serving(TARGETS) as many:
        one_of_one, one_of_many = [few.session(0)], [many.session(0, target=TARGETS // 2)]
        figures = [lambda: few.cpu_us(one_of_one, seconds), lambda: many.cpu_us(one_of_many, seconds)]
        one, beside = _in_turns(figures, rounds)
        one_of_one[0].close()
        one_of_many[0].close()
        load_s = many.load_s
    print(f"CPU per read: {one:.1f} us with 1 target, {beside:.1f} us with {TARGETS}")
    return [
        (f"{TARGETS} targets of {LUNS} LUNs are served in", load_s, MAX_LOAD_S, "s"),
        (f"CPU per read beside {TARGETS - 1} targets", beside / one, MAX_GROWTH, "times"),
    ]


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--check", action="store_true", help="fail when a limit is missed")
    args = parser.parse_args()
    if _TWO_PROCESSORS:
        os.sched_setaffinity(0, {1})
    met = True
    for part in (memory_and_sessions, targets_and_luns):
        for what, figure, limit, unit in part(args.rounds, args.seconds):
            met = met and figure <= limit
            print(
                f"{what:44} {figure:8.2f} {unit} (at most {limit:g})"
                f"  {'met' if figure <= limit else 'MISSED'}",
                flush=True,
            )
    return 0 if met or not args.check else 1


if __name__ == "__main__":
    sys.exit(main())
