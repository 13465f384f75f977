"""Loss of power: whatever the page cache had written by then, what was promised is on the medium."""

from __future__ import annotations

import asyncio
import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal

import pytest

from san_console.target import backstore_file
from san_console.target.backstore_file import FileBackstore
from san_console.target.config import BackstoreSpec, LunConfig
from tests.chaos.bench import BLOCKS, session_to
from tests.chaos.load import LONGER, SEED, Load, check_all
from tests.chaos.power_cut import SECTOR_BYTES, Recorder, cuts, file_after, lost, owed, stamped
from tests.chaos.stamps import BLOCK_BYTES, Ledger, Violation
from tests.target.raw_initiator import Served, config

pytestmark = pytest.mark.conformance

SECTORS = 96
COMMANDS = 500
WORKERS = 12
CUT_POINTS = 250
CONTROL_CUT_POINTS = 40  # a fault shows in a large part of the states

Fault = Literal["", "lying flush", "flush joins one that runs", "no FUA", "cache not off"]


class JoinsAny(FileBackstore):
    """Takes a flush that was running already for its own."""

    async def flush(self) -> None:
        if self._flushing.locked():
            async with self._flushing:
                return
        await super().flush()


class ForgetsFua(FileBackstore):
    """Means nothing by FUA."""

    async def write(self, offset: int, data: object, *, fua: bool = False) -> None:
        await super().write(offset, data, fua=False)  # type: ignore[arg-type]  # passed through


class KeepsCache(FileBackstore):
    """Says that its cache is off."""

    @property
    def write_cache(self) -> bool:
        return self._said

    @write_cache.setter
    def write_cache(self, on: bool) -> None:
        self._said = on


FAULTS: dict[Fault, type[FileBackstore]] = {
    "": FileBackstore,
    "lying flush": FileBackstore,
    "flush joins one that runs": JoinsAny,
    "no FUA": ForgetsFua,
    "cache not off": KeepsCache,
}


class Run:
    """Random writes, unmaps and flushes of a small disk, many at a time, no two on the same sectors."""

    def __init__(self, store: FileBackstore, recorder: Recorder, rng: random.Random) -> None:
        self._store = store
        self._recorder = recorder
        self._rng = rng
        self._busy = [False] * SECTORS
        self._acknowledged = [0] * SECTORS
        self._generation = 0
        self._left = COMMANDS

    async def work(self) -> None:
        while self._left > 0:
            self._left -= 1
            what = self._rng.random()
            if what < 0.12:
                await self._flush()
            else:
                await self._change(unmap=what < 0.2, fua=what > 0.9)

    async def _flush(self) -> None:
        before = self._acknowledged.copy()
        await self._store.flush()
        self._recorder.promise(0, before, self._recorder.tick())

    async def _change(self, *, unmap: bool, fua: bool) -> None:
        count = self._rng.choice((1, 1, 2, 8, 8, 16))
        sector = self._rng.randrange(SECTORS - count)
        if any(self._busy[sector : sector + count]):
            await asyncio.sleep(0)
            return
        self._busy[sector : sector + count] = [True] * count
        self._generation += 1
        generation, store = self._generation, self._store
        offset = sector * SECTOR_BYTES
        if unmap:
            self._recorder.unmapping[sector, count] = generation
            await store.unmap([(offset, count * SECTOR_BYTES)])
            durable = not store.write_cache
        else:
            data = stamped(sector, count, generation)
            durable = fua or not store.write_cache
            if fua or not store.write_nowait(offset, data):
                await store.write(offset, data, fua=fua)
        if durable:
            self._recorder.promise(sector, [generation] * count, self._recorder.tick())
        self._acknowledged[sector : sector + count] = [generation] * count
        self._busy[sector : sector + count] = [False] * count


async def _record(
    folder: Path, monkeypatch: pytest.MonkeyPatch, rng: random.Random, *, write_cache: bool, fault: Fault
) -> Recorder:
    recorder = Recorder(SECTORS, rng, lying=fault == "lying flush")
    spec = BackstoreSpec("file", str(folder / "disk"), SECTORS * SECTOR_BYTES, create=True, thin=True)
    with ThreadPoolExecutor(8) as pool, monkeypatch.context() as patch:
        store = FAULTS[fault](spec, pool)
        patch.setattr(backstore_file, "os", recorder)
        patch.setattr(backstore_file, "punch_hole", recorder.punch_hole)
        store.write_cache = write_cache
        run = Run(store, recorder, rng)
        async with asyncio.TaskGroup() as group:
            for _ in range(WORKERS):
                group.create_task(run.work())
        store.close()
    return recorder


def _check(recorder: Recorder, rng: random.Random, cut_points: int = CUT_POINTS) -> tuple[int, int]:
    """(states, states that have lost something)."""
    states = violations = 0
    points = range(1, recorder.clock + 2)
    for cut in rng.sample(points, min(cut_points, len(points))):
        least = owed(recorder, cut)
        for state in cuts(recorder, cut, rng):
            states += 1
            violations += bool(lost(state, least))
    return states, violations


@pytest.mark.parametrize("write_cache", [True, False], ids=["cache on", "cache off"])
async def test_nothing_durable_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write_cache: bool
) -> None:
    print(f"chaos seed {SEED}: SAN_CHAOS_SEED={SEED} makes the same load again")
    states = promises = syncs = 0
    for turn in range(LONGER):
        rng = random.Random(SEED + turn)
        folder = tmp_path / str(turn)
        await asyncio.to_thread(folder.mkdir)
        recorder = await _record(folder, monkeypatch, rng, write_cache=write_cache, fault="")
        made, violations = _check(recorder, rng)
        assert violations == 0
        states, promises, syncs = states + made, promises + len(recorder.promises), syncs + recorder.syncs
    print(f"{states} states after a loss of power, {promises} promises, {syncs} syncs, nothing lost")
    assert states > 5000 * LONGER
    assert promises


@pytest.mark.parametrize(
    ("fault", "write_cache"),
    [
        ("lying flush", True),
        ("lying flush", False),
        ("flush joins one that runs", True),
        ("flush joins one that runs", False),
        ("no FUA", True),
        ("cache not off", False),
    ],
)
async def test_a_backstore_that_lies_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: Fault, write_cache: bool
) -> None:
    rng = random.Random(SEED)
    recorder = await _record(tmp_path, monkeypatch, rng, write_cache=write_cache, fault=fault)
    states, violations = _check(recorder, rng, CONTROL_CUT_POINTS)
    print(f"{fault}: {violations} of {states} states have lost something")
    assert violations


async def _cut_and_restart(folder: Path, monkeypatch: pytest.MonkeyPatch, seed: int, *, lying: bool) -> None:
    """An initiator writes and flushes, the power goes, another target serves what is left."""
    path, rng, ledger = folder / "disk", random.Random(seed), Ledger(BLOCKS, seed)
    luns = [
        LunConfig("a", "a", BackstoreSpec("file", str(path), BLOCKS * BLOCK_BYTES, create=True, thin=True))
    ]
    recorder = Recorder(BLOCKS, rng, stamps=False, lying=lying)
    with monkeypatch.context() as patch:
        async with Served(config(luns=luns)) as served:
            patch.setattr(backstore_file, "os", recorder)
            patch.setattr(backstore_file, "punch_hole", recorder.punch_hole)
            async with session_to(served.port) as (session, _):
                await Load(ledger, rng).run(session.lun(0), 300, 16)
                cut = recorder.tick()
    durable = sum(block.durable > 0 for block in ledger.blocks)
    ledger.power_lost()
    await asyncio.to_thread(path.write_bytes, file_after(recorder, cut, rng))
    async with Served(config(luns=luns)) as again, session_to(again.port) as (session, _):
        await check_all(ledger, session.lun(0))
    assert durable
    print(
        f"seed {seed}: {ledger.acknowledged_writes} writes acknowledged, {durable} blocks durable, "
        f"{ledger.verified} blocks verified, lost: nothing"
    )
    await asyncio.to_thread(path.unlink)


async def test_a_restarted_target_has_what_it_promised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for turn in range(5 * LONGER):
        await _cut_and_restart(tmp_path, monkeypatch, SEED + turn, lying=False)


async def test_a_target_that_lies_about_flushes_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(Violation):
        await _cut_and_restart(tmp_path, monkeypatch, SEED, lying=True)
