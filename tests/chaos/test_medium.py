"""The medium fails in the middle of a burst: what was acknowledged is there, and no session is lost.

Errors are injected into a backstore, and made for real: a file system that is full, a limit of the process, a
device whose own medium is full.
"""

from __future__ import annotations

import asyncio
import random
import signal
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from san_console.initiator.errors import InitiatorError, ScsiFailure
from san_console.initiator.logical_unit import LogicalUnit
from san_console.scsi.sense import parse
from san_console.target.config import BackstoreSpec, LunConfig
from san_console.target.unit_watch import UnitWatch
from tests.chaos.bench import session_to
from tests.chaos.load import LONGER, SEED, Load, check_all, check_file
from tests.chaos.stamps import BLOCK_BYTES, Ledger
from tests.target.faulty import EIO, ENOSPC, Fault, make_media_faulty
from tests.target.media import loop_device, small_tmpfs
from tests.target.raw_initiator import NAME, Served, config, until
from tests.target.serving import start

pytestmark = pytest.mark.conformance

BLOCKS = 16384
DEPTH = 32
READ_ERROR, WRITE_ERROR, NO_SPACE = (3, 0x11, 0), (3, 0x0C, 0), (7, 0x27, 7)
OFFLINE = (2, 0x04, 0x12)
MIB = 1 << 20


class Run:
    """A load on the disk of a served target, with a ledger."""

    def __init__(self, unit: LogicalUnit) -> None:
        print(f"chaos seed {SEED}: SAN_CHAOS_SEED={SEED} makes the same faults again")
        self.unit = unit
        self.rng = random.Random(SEED)
        self.ledger = Ledger(BLOCKS, SEED)
        self.load = Load(self.ledger, self.rng)

    async def burst(self, commands: int) -> Counter[tuple[int, int, int]]:
        """So many commands, DEPTH at a time; the sense data of those that failed."""
        self.load.failures.clear()
        await self.load.run(self.unit, commands, DEPTH)
        return senses(self.load.failures)

    def report(
        self, what: str, commands: int, failed: Counter[tuple[int, int, int]], lost: str = "nothing"
    ) -> None:
        """The figures of a test, for its output."""
        told = ", ".join(
            f"{key:x}/{asc:02x}/{ascq:02x}: {n}" for (key, asc, ascq), n in sorted(failed.items())
        )
        print(
            f"{what}: {commands} commands, {DEPTH} at a time, {failed.total()} failed ({told}); "
            f"{self.ledger.acknowledged_writes} writes acknowledged, {self.ledger.verified} blocks verified, "
            f"sessions lost: {self.sessions_lost()}, lost: {lost}"
        )

    def sessions_lost(self) -> int:
        return self.unit.session.counters.reconnects


def senses(failures: list[InitiatorError]) -> Counter[tuple[int, int, int]]:
    """How often each sense was told; anything else than sense data fails the test."""
    found: Counter[tuple[int, int, int]] = Counter()
    for failure in failures:
        assert isinstance(failure, ScsiFailure), failure
        sense = parse(failure.sense)
        found[sense.key, sense.asc, sense.ascq] += 1
    return found


@asynccontextmanager
async def disk(spec: BackstoreSpec) -> AsyncIterator[tuple[Served, Run]]:
    """A target with this disk, and a load for it."""
    async with (
        Served(config(luns=[LunConfig("a", "a", spec)])) as served,
        session_to(served.port) as (one, _),
    ):
        yield served, Run(one.lun(0))


def file_spec(path: Path) -> BackstoreSpec:
    return BackstoreSpec("file", str(path), BLOCKS * BLOCK_BYTES, create=True, thin=True)


@pytest.mark.parametrize("number", [EIO, ENOSPC], ids=["EIO", "ENOSPC"])
async def test_errors_in_the_middle_of_a_burst(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    media = make_media_faulty(monkeypatch, random.Random(SEED))
    path = tmp_path / "disk"
    commands = 1000 * LONGER
    async with disk(file_spec(path)) as (_, run):
        assert not await run.burst(100)
        medium = media[0]
        medium.faults = [Fault("write", number, chance=0.2), Fault("read", EIO, chance=0.1)]
        failed = await run.burst(commands)
        wanted = {READ_ERROR, WRITE_ERROR if number == EIO else NO_SPACE}
        assert set(failed) == wanted
        # A command may be done in several calls of which one fails: as many errors as commands that failed.
        assert failed.total() == medium.made
        medium.faults = []
        assert not await run.burst(200)
        await check_all(run.ledger, run.unit)
        check_file(run.ledger, path.read_bytes())
        run.report(f"{medium.made} injected errors", commands, failed)
        assert run.sessions_lost() == 0


async def test_a_full_file_system(tmp_path: Path) -> None:
    """The space is really gone, and comes back."""
    with small_tmpfs(tmp_path / "small", 6 * MIB) as folder:
        path, filler = folder / "disk", folder / "filler"
        async with disk(file_spec(path)) as (_, run):
            filler.write_bytes(bytes(4 * MIB))
            commands = 600 * LONGER
            failed = await run.burst(commands)
            assert set(failed) == {NO_SPACE}
            assert failed.total() > 20
            await check_all(run.ledger, run.unit)
            run.report("a full file system", commands, failed)
            filler.unlink()
            await run.unit.write(*_one(run))
            await run.unit.flush()
            assert run.sessions_lost() == 0


def _one(run: Run) -> tuple[int, bytes]:
    """One more write, of a block that has no space yet."""
    lba = next(n for n, block in enumerate(run.ledger.blocks) if len(block.issued) == 1)
    _, data = run.ledger.issue(lba, 1, 99)
    return lba, data


async def test_a_device_whose_medium_is_full(tmp_path: Path) -> None:
    """Writes go into the cache and only the flush fails: nothing is written after it, and reads go on."""
    with small_tmpfs(tmp_path / "small", 2 * MIB) as folder:
        backing = folder / "backing"
        with backing.open("wb") as file:
            file.truncate(BLOCKS * BLOCK_BYTES)
        with loop_device(backing) as device:
            async with disk(BackstoreSpec("block", device.path)) as (served, run):
                commands = 400
                failed = await run.burst(commands)
                with pytest.raises(ScsiFailure) as failure:
                    await run.unit.flush()
                sense = parse(failure.value.sense)
                assert (sense.key, sense.asc, sense.ascq) == WRITE_ERROR
                assert set(failed) <= {WRITE_ERROR, READ_ERROR}
                assert "flush failed" in served.server.backstore_failure(NAME, "a")
                await run.unit.read(0, 1)
                run.report("a device without space", commands, failed, lost="only what no flush had covered")
                assert run.sessions_lost() == 0


LIMIT_BYTES = 2 * MIB
LIMITED = f"import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, ({LIMIT_BYTES}, {LIMIT_BYTES}))\n"


async def test_a_limit_on_the_size_of_files(tmp_path: Path) -> None:
    """EFBIG from the kernel, with no privilege needed: the process of the target may not write so far."""
    path = tmp_path / "disk"
    with path.open("wb") as file:
        file.truncate(BLOCKS * BLOCK_BYTES)
    words = ("--name", NAME, "--portal", "127.0.0.1:0", "--lun", f"file:{path},thin")
    with start(*words, prelude=LIMITED) as process:
        await asyncio.to_thread(process.wait_until, lambda: "iscsi://" in process.output, 20)
        port = int(process.output.split("iscsi://", 1)[1].split("/")[0].rpartition(":")[2])
        async with session_to(port) as (session, _):
            run = Run(session.lun(0))
            commands = 600
            failed = await run.burst(commands)
            assert set(failed) == {NO_SPACE}
            await check_all(run.ledger, run.unit)
            check_file(run.ledger, path.read_bytes())
            run.report("a limit on the size of files", commands, failed)
            assert run.sessions_lost() == 0
        process.signal(signal.SIGTERM)
        assert await asyncio.to_thread(process.wait, 20) == 0, process.output


async def test_a_file_that_is_moved_away_and_back_under_load(tmp_path: Path) -> None:
    path, aside = tmp_path / "disk", tmp_path / "aside"
    async with disk(file_spec(path)) as (served, run):
        unit = served.server._target(NAME).units["a"]
        news: list[str] = []
        watch = UnitWatch(
            lambda: [unit], served.server._pool, lambda one: news.append(one.kind), interval_s=0.01
        )
        watch.start()
        commands = 3000
        work = asyncio.create_task(run.burst(commands))
        await until(lambda: run.ledger.acknowledged_writes > 200)
        path.rename(aside)
        await until(lambda: len(run.load.failures) > 50)
        aside.rename(path)
        failed = await work
        await until(lambda: not unit.offline)
        await watch.stop()
        assert set(failed) == {OFFLINE}
        assert news == ["lun_offline", "lun_online"]
        await check_all(run.ledger, run.unit)
        run.report("a file that was moved away and back", commands, failed)
        assert run.sessions_lost() == 0
