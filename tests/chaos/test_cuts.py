"""Connections that break, dribble and stall under load: nothing acknowledged is lost."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from san_console.target.config import TargetLimits
from tests.chaos.bench import Bench, bench, session_to
from tests.chaos.load import LONGER, SEED
from tests.chaos.proxy import LOGIN_CUT_BYTES, Plan

pytestmark = pytest.mark.conformance

ROUNDS = 10
MAX_CUT_BYTES = 2 << 20

WAYS = {
    "immediate": (TargetLimits(), False),
    "immediate, digests": (TargetLimits(), True),
    "solicited, small bursts": (
        TargetLimits(
            immediate_data=False,
            initial_r2t=True,
            max_recv_data_segment_bytes=8192,
            max_burst_bytes=32768,
            first_burst_bytes=8192,
        ),
        False,
    ),
    "unsolicited, digests, narrow window": (
        TargetLimits(immediate_data=False, first_burst_bytes=65536, command_window=4),
        True,
    ),
}


def cut_plan(rng: random.Random) -> Plan:
    """A cut at a random byte, in the middle of whatever is under way then."""
    span = rng.choice((LOGIN_CUT_BYTES, 65536, MAX_CUT_BYTES))
    return Plan(
        cut_after_bytes=rng.randrange(1, span),
        reset=rng.random() < 0.7,
        chop_bytes=rng.choice((0, 0, 2048)),
        stall_every=rng.choice((0, 0, 40)),
        more_cuts=rng.choice((0, 0, 1, 3)),
    )


def report(run: Bench, rounds: int) -> None:
    print(
        f"{rounds} rounds, {run.proxy.cuts} cuts, {run.proxy.flips} flips, "
        f"{run.ledger.acknowledged_writes} writes acknowledged, {run.ledger.verified} blocks verified, "
        f"{len(run.load.failures)} commands failed"
    )


@pytest.mark.parametrize("way", WAYS)
async def test_connections_cut_at_random_bytes(tmp_path: Path, way: str) -> None:
    limits, digests = WAYS[way]
    rounds = ROUNDS * LONGER
    async with bench(tmp_path, SEED, limits, digests=digests) as run:
        async with session_to(run.proxy.port, digests=digests) as (session, watcher):
            for _ in range(rounds):
                run.proxy.arm(cut_plan(run.rng))
                depth = run.rng.choice((1, 4, 16, 32))
                await run.load.run(session.lun(0), 64, depth)
                run.proxy.arm(Plan())
                await run.verify()
            report(run, rounds)
            assert watcher.kinds.count("recovered") >= rounds // 3
        assert [str(error) for error in run.load.failures] == []


@pytest.mark.parametrize("digests", [False, True], ids=["plain", "digests"])
async def test_small_buffers_and_pieces(tmp_path: Path, digests: bool) -> None:
    """Every send is partial, every receive a piece: what the socket took must not be sent again."""
    rounds = 2 * LONGER
    async with bench(tmp_path, SEED + 1, TargetLimits(), digests=digests, tiny_buffers=True) as run:
        async with session_to(run.proxy.port, digests=digests, tiny_buffers=True) as (session, watcher):
            for _ in range(rounds):
                run.proxy.arm(Plan(chop_bytes=4096, stall_every=200))
                await run.load.run(session.lun(0), 48, run.rng.choice((8, 32)))
                run.check_file()
            await run.verify()
            report(run, rounds)
            assert "connection_lost" not in watcher.kinds
        assert [str(error) for error in run.load.failures] == []


async def test_silence_is_noticed_and_survived(tmp_path: Path) -> None:
    rounds = LONGER
    async with bench(tmp_path, SEED + 2, TargetLimits(), digests=False) as run:
        quick: dict[str, Any] = {"nop_interval_s": 0.2, "nop_timeout_s": 0.2}
        async with session_to(run.proxy.port, **quick) as (session, watcher):
            for _ in range(rounds):
                run.proxy.arm(Plan(cut_after_bytes=run.rng.randrange(1, 1 << 20), silence=True))
                await run.load.run(session.lun(0), 128, 16)
                await run.verify()
            report(run, rounds)
            assert watcher.kinds.count("nop_timeout") == rounds
        assert [str(error) for error in run.load.failures] == []
