"""START STOP UNIT, PREVENT ALLOW MEDIUM REMOVAL, REQUEST SENSE and REPORT LUNS."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from san_console.scsi import cdb, luns
from san_console.scsi import opcodes as op
from san_console.scsi.sense import DESCRIPTOR_CURRENT, POWER_ON_RESET, parse
from tests.target.disk import INVALID_FIELD, Disk

NOT_READY = (2, 0x04, 0x02)


@pytest.fixture
async def disk(tmp_path: Path) -> AsyncIterator[Disk]:
    one = Disk(f"file:{tmp_path}/disk,size=1M")
    yield one
    await one.unit.close()


def start_stop(flags: int, *, power: int = 0, immed: int = 0) -> bytes:
    return bytes([op.START_STOP_UNIT, immed, 0, 0, power << 4 | flags, 0])


async def sense_of(disk: Disk, flags: int = 0) -> tuple[int, int, int]:
    found = parse(await disk.run(bytes([op.REQUEST_SENSE, flags, 0, 0, 252, 0])))
    return found.key, found.asc, found.ascq


async def test_a_stopped_unit_is_not_ready_until_it_is_started(disk: Disk) -> None:
    flushes = 0
    real = disk.unit.backstore.flush

    async def flush() -> None:
        nonlocal flushes
        flushes += 1
        await real()

    disk.unit.backstore.flush = flush  # type: ignore[method-assign]
    await disk.run(start_stop(0))
    assert flushes == 1
    for command in (cdb.test_unit_ready(), cdb.read(0, 1), cdb.write(0, 1), cdb.read_capacity_10()):
        assert await disk.fails(command) == NOT_READY
    assert disk.nexus.read_now(cdb.read_10(0, 1), 512, None) is None  # type: ignore[arg-type]
    assert not disk.nexus.write_now(cdb.write_10(0, 1), bytes(512))
    assert await sense_of(disk) == NOT_READY
    await disk.run(cdb.inquiry(None, 96))
    await disk.run(cdb.mode_sense_6(8))
    await disk.run(cdb.synchronize_cache(0, 0))
    await disk.run(start_stop(1))
    await disk.run(cdb.read(0, 1))
    assert disk.nexus.write_now(cdb.write_10(0, 1), bytes(512))
    flushes = 0
    await disk.run(start_stop(4))  # NO_FLUSH
    assert flushes == 0
    disk.unit.reset()
    assert (await disk.refused(cdb.test_unit_ready())).asc == 0x29
    await disk.run(cdb.test_unit_ready())


async def test_power_conditions(disk: Disk) -> None:
    for power, code in ((2, (0, 0x5E, 3)), (3, (0, 0x5E, 4)), (1, (0, 0, 0))):
        await disk.run(start_stop(0, power=power))
        assert await sense_of(disk) == code
        await disk.run(cdb.read(0, 1))  # no condition but "stopped" needs a command to leave it
    assert await disk.fails(start_stop(0, power=5)) == INVALID_FIELD
    assert await disk.fails(start_stop(2)) == INVALID_FIELD  # nothing can be ejected
    assert await disk.fails(start_stop(3)) == INVALID_FIELD


async def test_a_stop_of_a_read_only_lun() -> None:
    only = Disk("memory:1M,ro")
    await only.run(start_stop(0))
    assert await only.fails(cdb.test_unit_ready()) == NOT_READY
    await only.unit.close()


async def test_prevent_allow(disk: Disk) -> None:
    await disk.run(bytes([op.PREVENT_ALLOW_MEDIUM_REMOVAL, 0, 0, 0, 1, 0]))
    assert len(disk.unit.device.prevented) == 1
    await disk.run(bytes([op.PREVENT_ALLOW_MEDIUM_REMOVAL, 0, 0, 0, 0, 0]))
    assert not disk.unit.device.prevented
    assert await disk.fails(bytes([op.PREVENT_ALLOW_MEDIUM_REMOVAL, 0, 0, 0, 2, 0])) == INVALID_FIELD


async def test_request_sense_in_both_formats(disk: Disk) -> None:
    disk.nexus.add_attention(POWER_ON_RESET)
    assert await sense_of(disk) == (6, 0x29, 0)
    assert await sense_of(disk) == (0, 0, 0)
    data = await disk.run(bytes([op.REQUEST_SENSE, 1, 0, 0, 252, 0]))
    assert data[0] == DESCRIPTOR_CURRENT
    assert len(await disk.run(bytes([op.REQUEST_SENSE, 0, 0, 0, 4, 0]))) == 4


@pytest.mark.parametrize(
    ("select", "expected"), [(0, [0, 2, 300]), (1, []), (2, [0, 2, 300]), (0x10, []), (0x11, []), (0x12, [])]
)
async def test_report_luns(disk: Disk, select: int, expected: list[int]) -> None:
    data = await disk.run(bytes([op.REPORT_LUNS, 0, select, 0, 0, 0, 0, 0, 1, 0, 0, 0]))
    assert luns.parse(data).luns == expected


async def test_what_report_luns_refuses(disk: Disk) -> None:
    assert await disk.fails(bytes([op.REPORT_LUNS, 0, 3, 0, 0, 0, 0, 0, 1, 0, 0, 0])) == INVALID_FIELD
    assert await disk.fails(bytes([op.REPORT_LUNS, 0, 0, 0, 0, 0, 0, 0, 0, 15, 0, 0])) == INVALID_FIELD
