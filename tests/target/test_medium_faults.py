"""Media that fail, seen by an initiator: the right sense data, and the session goes on."""

from __future__ import annotations

import os
import random
from collections.abc import AsyncIterator, Awaitable
from pathlib import Path

import pytest

from san_console.initiator.errors import ScsiFailure
from san_console.initiator.logical_unit import LogicalUnit, failure
from san_console.scsi import cdb
from san_console.scsi.provisioning import build_unmap_list
from san_console.scsi.sense import parse
from san_console.target.config import BackstoreSpec, LunConfig
from san_console.target.units import retry_offline
from tests.chaos.bench import Watcher, session_to
from tests.target.faulty import EDQUOT, EFBIG, EIO, ENOSPC, EROFS, Call, Fault, Faulty, make_media_faulty
from tests.target.raw_initiator import NAME, Served, config

SIZE = 4 << 20

READ_ERROR = (3, 0x11, 0)
WRITE_ERROR = (3, 0x0C, 0)
NO_SPACE = (7, 0x27, 7)
WRITE_PROTECTED = (7, 0x27, 0)
OFFLINE = (2, 0x04, 0x12)


class Bench:
    """A session with a disk."""

    def __init__(self, served: Served, unit: LogicalUnit, watcher: Watcher) -> None:
        self.served = served
        self.unit = unit
        self.watcher = watcher

    async def fails(self, attempt: Awaitable[object]) -> tuple[tuple[int, int, int], int | None]:
        """(key, code, qualifier), and the LBA if the sense data tell one."""
        with pytest.raises(ScsiFailure) as failure:
            await attempt
        sense = parse(failure.value.sense)
        return (sense.key, sense.asc, sense.ascq), sense.information

    def same_session(self) -> bool:
        return self.unit.session.counters.reconnects == 0

    def errors(self) -> list[str]:
        return [event.text for event in self.served.events if event.kind == "backstore_error"]


def disk(path: Path) -> list[LunConfig]:
    return [LunConfig("a", "a", BackstoreSpec("file", str(path / "disk"), SIZE, create=True, thin=True))]


@pytest.fixture
async def faulty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[Bench, Faulty]]:
    media = make_media_faulty(monkeypatch, random.Random(1))
    async with Served(config(luns=disk(tmp_path))) as served, session_to(served.port) as (session, watcher):
        yield Bench(served, session.lun(0), watcher), media[0]


def attempt(unit: LogicalUnit, call: Call, lba: int = 16) -> Awaitable[object]:
    if call == "read":
        return unit.read(lba, 8)
    if call == "write":
        return unit.write(lba, b"x" * 4096)
    if call == "flush":
        return unit.flush()
    return unmap(unit, lba)


async def unmap(unit: LogicalUnit, lba: int) -> None:
    parameters = build_unmap_list([(lba, 8)])
    result = await unit.execute(cdb.unmap(len(parameters)), data=parameters)
    if result.status:
        raise failure(0, result.status, result.sense, "UNMAP")


@pytest.mark.parametrize("times", [1, -1], ids=["once", "sticky"])
@pytest.mark.parametrize(
    ("call", "number", "wanted"),
    [
        ("read", EIO, READ_ERROR),
        ("write", EIO, WRITE_ERROR),
        ("write", ENOSPC, NO_SPACE),
        ("write", EDQUOT, NO_SPACE),
        ("write", EFBIG, NO_SPACE),
        ("write", EROFS, WRITE_PROTECTED),
        ("unmap", EIO, WRITE_ERROR),
        ("flush", EIO, WRITE_ERROR),
    ],
)
async def test_an_error_is_told_and_the_session_goes_on(
    faulty: tuple[Bench, Faulty], call: Call, number: int, wanted: tuple[int, int, int], times: int
) -> None:
    bench, medium = faulty
    await bench.unit.write(16, b"old!" * 1024)
    medium.faults = [Fault(call, number, times)]
    for _ in range(1 if times > 0 else 3):
        sense, lba = await bench.fails(attempt(bench.unit, call))
        assert sense == wanted
        assert lba == (16 if call in ("read", "write") else None)
    assert len(bench.errors()) == 1, "each of many errors was told"
    if times < 0:
        medium.faults = []  # the medium is well again
    assert await bench.unit.read(16, 8) == b"old!" * 1024
    await attempt(bench.unit, call)
    assert bench.same_session()


@pytest.mark.parametrize("how", ["flush", "fua"])
async def test_after_a_failed_flush_nothing_is_written_until_the_operator_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    async with Served(config(luns=disk(tmp_path))) as served, session_to(served.port) as (session, watcher):
        bench = Bench(served, session.lun(0), watcher)
        unit = bench.unit
        await unit.write(0, b"old!" * 128)

        def broken(_: int) -> None:
            raise OSError(EIO, os.strerror(EIO))

        with monkeypatch.context() as patch:
            patch.setattr(os, "fdatasync", broken)
            failing = unit.flush() if how == "flush" else unit.write(0, b"old!" * 128, fua=True)
            assert (await bench.fails(failing))[0] == WRITE_ERROR
        assert (await bench.fails(unit.flush()))[0] == WRITE_ERROR, "a later flush succeeded"
        assert (await bench.fails(unit.write(0, b"new!" * 128)))[0] == WRITE_ERROR
        assert (await bench.fails(attempt(unit, "unmap")))[0] == WRITE_ERROR
        assert await unit.read(0, 1) == b"old!" * 128
        assert "flush failed" in served.server.backstore_failure(NAME, "a")

        served_unit = served.server._target(NAME).units["a"]
        await retry_offline(served_unit, served.server._pool)
        await unit.write(0, b"new!" * 128, fua=True)
        assert await unit.read(0, 1) == b"new!" * 128
        assert bench.same_session()
