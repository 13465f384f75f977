"""Where the time of a read goes in our target: microseconds of processor time per command, step by step.

    python tests/bench/profile_target.py [--blocks 8] [--rounds 4000]

Target and initiator run in this one thread and take turns by hand, so that nothing but the step is in a
figure: no sleep, no wake-up, no other process. The loop's own turn is measured by itself.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from san_console.names.portal import Portal
from san_console.scsi import cdb
from san_console.target.config import BackstoreSpec, LunConfig
from san_console.target.connection import ConnectionPump
from san_console.target.server import TargetServer
from tests.bench.bulk_client import BLOCK_BYTES, BulkSession
from tests.target.raw_initiator import NAME, config

DISK_BYTES = 16 << 20
DIGESTS = {"none": (False, False), "header": (True, False), "both": (True, True)}
DEPTHS = (1, 32)
STEPS = ("receive", "commands", "send", "release", "watch")
_BATCHES, _PER_BATCH = 60, 300


class Stopwatch:
    """Times of named steps; the cost of reading the clock is taken off."""

    def __init__(self) -> None:
        self.times: dict[str, list[float]] = {}
        clock = time.perf_counter
        readings = [clock() for _ in range(1001)]
        self._cost = statistics.median(b - a for a, b in itertools.pairwise(readings))

    def time(self, name: str, step: Callable[[], object]) -> None:
        began = time.perf_counter()
        step()
        self.times.setdefault(name, []).append(time.perf_counter() - began - self._cost)

    def us(self, name: str, commands: int) -> float:
        """The median of a step, per command."""
        return statistics.median(self.times[name]) / commands * 1e6


def step_by_step(pump: ConnectionPump, client: BulkSession, depth: int, rounds: int) -> dict[str, float]:
    """Turns of `ConnectionPump`, taken apart: the same calls in the same order."""
    watch = Stopwatch()
    framer, connection = pump._framer, pump._connection
    client.socket.settimeout(None)
    for _ in range(rounds):
        client.ask(depth)
        watch.time("receive", lambda: framer.fill(pump._socket.recv_into))
        watch.time("commands", lambda: connection.receive(256, 0.0))
        watch.time("send", pump._flush)
        assert not connection.output
        watch.time("release", framer.release)
        watch.time("watch", pump._vigil.expect_more)
        left = depth
        while left:
            left -= client.take()
    return {name: watch.us(name, depth) for name in STEPS}


def median_us(step: Callable[[], object]) -> float:
    """One call of `step`: the median of batches, since other processes disturb some of them."""
    batches = []
    for _ in range(_BATCHES):
        began = time.perf_counter()
        for _ in range(_PER_BATCH):
            step()
        batches.append((time.perf_counter() - began) / _PER_BATCH * 1e6)
    return statistics.median(batches)


async def loop_turn_us() -> float:
    """A turn of the event loop that finds one callback, and polls its selector."""
    loop = asyncio.get_running_loop()
    batches = []
    for _ in range(_BATCHES):
        done = loop.create_future()
        left = _PER_BATCH

        def again(done: asyncio.Future[None] = done) -> None:
            nonlocal left
            left -= 1
            if left:
                loop.call_soon(again)
            else:
                done.set_result(None)

        began = time.perf_counter()
        loop.call_soon(again)
        await done
        batches.append((time.perf_counter() - began) / _PER_BATCH * 1e6)
    return statistics.median(batches)


def unit_us(pump: ConnectionPump, path: Path, blocks: int) -> tuple[float, float]:
    """A read by the logical unit alone, and the system call in it."""
    unit = next(iter(pump._connection.session.nexus.units.values()))
    command, length = cdb.read(0, blocks), blocks * BLOCK_BYTES
    arena = pump._arena

    def read() -> None:
        arena.used_bytes = 0
        assert unit.read_now(command, length, arena) is not None

    whole = median_us(read)
    view = (arena.take(length),)
    with path.open("rb", buffering=0) as file:
        number = file.fileno()
        call = median_us(lambda: os.preadv(number, view, 0, os.RWF_NOWAIT))
    arena.reset()
    return whole, call


async def profile(blocks: int, rounds: int) -> None:
    pumps: list[ConnectionPump] = []
    start = ConnectionPump.start

    def remember(pump: ConnectionPump) -> None:
        pumps.append(pump)
        start(pump)

    ConnectionPump.start = remember  # type: ignore[assignment,method-assign]  # the server offers no way to a pump
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "disk"
        path.write_bytes(bytes(DISK_BYTES))
        server = TargetServer()
        lun = LunConfig("a", "a", BackstoreSpec("file", str(path)))
        await server.add(config(portals=[Portal("127.0.0.1", 0)], luns=[lun]))
        portal = str(server.bound_portals()[0])
        print(f"{'digests':8} {'depth':>5} " + " ".join(f"{step:>9}" for step in STEPS) + f" {'sum':>7}")
        for name, (header_digest, data_digest) in DIGESTS.items():
            for depth in DEPTHS:
                client = await asyncio.to_thread(
                    BulkSession,
                    portal,
                    NAME,
                    0,
                    blocks=blocks,
                    header_digest=header_digest,
                    data_digest=data_digest,
                )
                client._lba = 0
                found = step_by_step(pumps[-1], client, depth, rounds // depth)
                row = " ".join(f"{found[step]:9.2f}" for step in STEPS)
                print(f"{name:8} {depth:5} {row} {sum(found.values()):7.2f}")
                client.close()
        whole_us, call_us = unit_us(pumps[-1], path, blocks)
        print(
            f"in “commands”: a read by the unit {whole_us:.2f} us, its system call {call_us:.2f} us of that"
        )
        print(f"a turn of the loop: {await loop_turn_us():.2f} us")
        await server.close()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--blocks", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=4000)
    args = parser.parse_args()
    asyncio.run(profile(args.blocks, args.rounds))


if __name__ == "__main__":
    main()
