"""Faults that the checker must find, each of them planted: what cannot fail proves nothing.

And the same damage with digests on, which our two ends must find before the checker does.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from san_console.initiator.session import Session
from san_console.iscsi.target_device import Arena
from san_console.target import backstore_file
from san_console.target.backstore import Buffer
from san_console.target.backstore_file import FileBackstore
from san_console.target.config import TargetLimits
from tests.chaos.bench import Bench, bench, session_to
from tests.chaos.load import LONGER, SEED
from tests.chaos.proxy import TO_INITIATOR, TO_TARGET, Plan
from tests.chaos.stamps import BLOCK_BYTES, Ledger, Violation, stamp

pytestmark = pytest.mark.conformance

ONE_IN = 25
Write = Callable[[FileBackstore, int, Buffer], bool]


def _dropped(real: Write, store: FileBackstore, offset: int, data: Buffer) -> bool:
    return True


def _misplaced(real: Write, store: FileBackstore, offset: int, data: Buffer) -> bool:
    return real(store, offset + BLOCK_BYTES if offset else offset, data)


def _torn(real: Write, store: FileBackstore, offset: int, data: Buffer) -> bool:
    return real(store, offset, data[: len(data) - BLOCK_BYTES // 2])


def _damaged(real: Write, store: FileBackstore, offset: int, data: Buffer) -> bool:
    damaged = bytearray(data)
    damaged[len(damaged) // 2] ^= 1
    return real(store, offset, damaged)


SHIMS = {"dropped": _dropped, "misplaced": _misplaced, "torn": _torn, "damaged": _damaged}


@pytest.mark.parametrize("fault", SHIMS)
async def test_a_target_that_spoils_one_write_in_many_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    real, count = FileBackstore.write_nowait, 0

    def spoiling(store: FileBackstore, offset: int, data: Buffer, *, flush_follows: bool = False) -> bool:
        nonlocal count
        if flush_follows:
            return False  # a thread writes it, unspoiled
        count += 1
        return SHIMS[fault](real, store, offset, data) if count % ONE_IN == 0 else real(store, offset, data)

    monkeypatch.setattr(FileBackstore, "write_nowait", spoiling)
    # On a busy machine writes would look throttled, and go to a thread that spoils nothing.
    monkeypatch.setattr(backstore_file, "SLOW_WRITE_S", float("inf"))
    async with bench(tmp_path, SEED, TargetLimits(), digests=False) as run:
        async with session_to(run.proxy.port) as (session, _):
            with pytest.raises((Violation, ExceptionGroup)) as found:
                await _load_and_verify(run, session, 200)
        assert _only_violations(found.value)


async def test_an_initiator_that_gets_stale_data_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The target answers each read of a range from the first one that it ever did."""
    real, first = FileBackstore.read_nowait, dict[tuple[int, int], Buffer]()

    def remembered(store: FileBackstore, offset: int, length: int, arena: Arena) -> Buffer | None:
        data = real(store, offset, length, arena)
        return data if data is None else first.setdefault((offset, length), bytes(data))

    monkeypatch.setattr(FileBackstore, "read_nowait", remembered)
    async with (
        bench(tmp_path, SEED, TargetLimits(), digests=False) as run,
        session_to(run.proxy.port) as (session, _),
    ):
        await run.verify()
        await run.load.run(session.lun(0), 1, 1)
        generation, data = run.ledger.issue(0, 1, 0)
        await session.lun(0).write(0, data)
        run.ledger.acknowledge(0, 1, generation, durable=False)
        with pytest.raises(Violation):
            await run.verify()


@pytest.mark.parametrize("direction", [TO_TARGET, TO_INITIATOR], ids=["written", "read"])
async def test_flipped_bits_without_digests_are_found_by_the_checker_alone(
    tmp_path: Path, direction: int
) -> None:
    async with bench(tmp_path, SEED, TargetLimits(), digests=False) as run:
        async with session_to(run.proxy.port) as (session, watcher):
            run.proxy.arm(Plan(flip=10, flip_direction=direction))
            with pytest.raises((Violation, ExceptionGroup)) as found:
                await _load_and_verify(run, session, 300)
            assert run.proxy.flips
            assert "digest_error" not in watcher.kinds
        assert _only_violations(found.value)


@pytest.mark.parametrize("headers", [False, True], ids=["data", "headers"])
@pytest.mark.parametrize("direction", [TO_TARGET, TO_INITIATOR], ids=["to target", "to initiator"])
async def test_flipped_bits_with_digests_reach_nobody(tmp_path: Path, direction: int, headers: bool) -> None:
    rounds = 4 * LONGER
    # Without unsolicited data a damaged segment belongs to a command that can still be answered.
    limits = TargetLimits(immediate_data=False, initial_r2t=True)
    async with (
        bench(tmp_path, SEED, limits, digests=True) as run,
        session_to(run.proxy.port, digests=True) as (session, _),
    ):
        for _ in range(rounds):
            run.proxy.arm(Plan(flip=20, flip_direction=direction, flip_headers=headers))
            await run.load.run(session.lun(0), 64, 8)
            run.proxy.arm(Plan())
            await run.verify()
        print(
            f"{rounds} rounds, {run.proxy.flips} flips, {run.ledger.verified} blocks verified, "
            f"{len(run.load.failures)} commands failed"
        )
        assert run.proxy.flips


def test_each_kind_of_violation_is_told() -> None:
    ledger = Ledger(8, 1)
    good = [ledger.issue(3, 1, 7) for _ in range(3)]
    ledger.acknowledge(3, 1, good[1][0], durable=False)
    ledger.check(3, good[1][1])
    ledger.check(3, good[2][1])
    for data, why in (
        (bytes(BLOCK_BYTES), "zeros"),
        (os.urandom(BLOCK_BYTES), "no stamp"),
        (good[0][1], "stale"),
        (stamp(4, good[1][0], 7, 1), "LBA 4"),
        (good[1][1][:256] + good[2][1][256:], "torn"),
        (stamp(3, 99, 7, 1), "generation 99"),
        (stamp(3, good[1][0], 7, 2), "holds the block"),
    ):
        with pytest.raises(Violation, match=why):
            ledger.check(3, data)


async def _load_and_verify(run: Bench, session: Session, commands: int) -> None:
    await run.load.run(session.lun(0), commands, 8)
    await run.verify()


def _only_violations(error: BaseException) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return all(map(_only_violations, error.exceptions))
    return isinstance(error, Violation)
