"""The process of the target is killed or stopped under load: what it acknowledged is in the file, and nothing
older comes back over it.
"""

from __future__ import annotations

import asyncio
import random
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from san_console.initiator.errors import WritesLost
from tests.chaos.bench import BLOCKS, session_to
from tests.chaos.load import LONGER, SEED, Load, check_all, check_file
from tests.chaos.proxy import Proxy
from tests.chaos.stamps import BLOCK_BYTES, Ledger
from tests.peers import Process
from tests.target.raw_initiator import until
from tests.target.serving import NAME, start

pytestmark = pytest.mark.conformance

ROUNDS = 5
DEPTH = 32
COMMANDS = 200
MAX_BYTES = 8 << 20
COMMAND_TIMEOUT_S = 5.0  # of `session_to`


class Target:
    """`san-console target serve` that can be killed and started again, each time at another port."""

    def __init__(self, path: Path, options: str) -> None:
        self._spec = f"file:{path},size={BLOCKS * BLOCK_BYTES},thin{options}"
        self.process: Process | None = None
        self.port = 0

    def start(self) -> None:
        process = start("--name", NAME, "--portal", "127.0.0.1:0", "--lun", self._spec)
        self.process = process
        process.wait_until(lambda: "iscsi://" in process.output, 20)
        self.port = int(process.output.split("iscsi://", 1)[1].split("/")[0].rpartition(":")[2])

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.end()


@contextmanager
def target(path: Path, options: str = "") -> Iterator[Target]:
    one = Target(path, options)
    one.start()
    try:
        yield one
    finally:
        one.kill()


def _reached(proxy: Proxy, passed_bytes: int, work: asyncio.Task[None]) -> bool:
    return proxy.passed_bytes >= passed_bytes or work.done()


@pytest.mark.timeout(300)
@pytest.mark.parametrize("options", ["", ",wce=off"], ids=["cache on", "cache off"])
async def test_what_a_killed_target_acknowledged_is_there(tmp_path: Path, options: str) -> None:
    print(f"chaos seed {SEED}: SAN_CHAOS_SEED={SEED} makes the same faults again")
    rng = random.Random(SEED)
    ledger = Ledger(BLOCKS, SEED)
    load = Load(ledger, rng)
    path = tmp_path / "disk"
    rounds = ROUNDS * LONGER
    with target(path, options) as served:
        async with Proxy(served.port, rng) as proxy, session_to(proxy.port) as (session, watcher):
            for _ in range(rounds):
                proxy.passed_bytes = 0
                work = asyncio.create_task(load.run(session.lun(0), COMMANDS, DEPTH))
                fatal = rng.randrange(MAX_BYTES)
                await until(partial(_reached, proxy, fatal, work), timeout_s=60)
                await asyncio.to_thread(served.kill)
                check_file(ledger, path.read_bytes())
                await asyncio.to_thread(served.start)
                proxy.target_port = served.port
                await work
                async with session_to(served.port) as (direct, _):
                    await check_all(ledger, direct.lun(0))
                check_file(ledger, path.read_bytes())
            print(
                f"{rounds} kills, {DEPTH} commands at a time, {ledger.acknowledged_writes} writes "
                f"acknowledged, {ledger.verified} blocks verified, {len(load.failures)} commands failed, "
                "lost: nothing"
            )
            assert watcher.kinds.count("recovered") >= rounds
        # A flush must not pass over the restart; nothing else may fail.
        assert [str(error) for error in load.failures if not isinstance(error, WritesLost)] == []


@pytest.mark.parametrize("stop_s", [3.0, 8.0], ids=["3 s", "8 s"])
async def test_a_target_that_stands_still_for_a_while(tmp_path: Path, stop_s: float) -> None:
    """For less than the time-out of a command, and for more: then the session is recovered, and what the
    old one left behind must not be written over what the new one wrote.
    """
    rng = random.Random(SEED)
    ledger = Ledger(BLOCKS, SEED)
    load = Load(ledger, rng)
    path = tmp_path / "disk"
    with target(path) as served:
        async with Proxy(served.port, rng) as proxy, session_to(proxy.port) as (session, _):
            for _ in range(LONGER):
                proxy.passed_bytes = 0
                work = asyncio.create_task(load.run(session.lun(0), 4 * COMMANDS, DEPTH))
                await until(partial(_reached, proxy, rng.randrange(MAX_BYTES), work), timeout_s=60)
                assert served.process is not None
                served.process.signal(signal.SIGSTOP)
                await asyncio.sleep(stop_s)  # this is the fault
                served.process.signal(signal.SIGCONT)
                await work
                async with session_to(served.port) as (direct, _):
                    await check_all(ledger, direct.lun(0))
                check_file(ledger, path.read_bytes())
            print(
                f"{LONGER} stops of {stop_s:g} s, {ledger.acknowledged_writes} writes acknowledged, "
                f"{ledger.verified} blocks verified, {len(load.failures)} commands failed, "
                f"{session.counters.reconnects} sessions recovered, lost: nothing"
            )
            if stop_s < COMMAND_TIMEOUT_S:
                assert load.failures == []
                assert session.counters.reconnects == 0
