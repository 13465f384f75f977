"""LOG SENSE."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from san_console.scsi import cdb, vpd
from san_console.scsi import log_pages as pages
from san_console.scsi import opcodes as op
from tests.target.disk import INVALID_FIELD, Disk


def log_sense(page: int, subpage: int = 0, *, flags: int = 0, pc: int = 1, pointer: int = 0) -> bytes:
    head = bytes([op.LOG_SENSE, flags, pc << 6 | page, subpage, 0])
    return head + pointer.to_bytes(2, "big") + b"\x02\0\0"


async def test_the_pages_that_there_are() -> None:
    thin, full = Disk("memory:1M,thin"), Disk("memory:1M")
    assert pages.parse_log_page(await thin.run(log_sense(0))).body == bytes([0, 0x0C, 0x2F])
    assert pages.parse_log_page(await full.run(log_sense(0))).body == bytes([0, 0x2F])
    both = pages.parse_log_page(await thin.run(log_sense(0, 0xFF)))
    assert (both.subpage, both.body) == (0xFF, bytes([0, 0, 0x0C, 0, 0x2F, 0]))
    found = pages.parse_parameters(pages.parse_log_page(await full.run(log_sense(0x2F))).body)
    assert found == [pages.exception(0, 0)]
    for wrong in (
        log_sense(0x0D),
        log_sense(0x2F, 1),
        log_sense(0x2F, 0xFF),
        log_sense(0x2F, flags=1),
        log_sense(0x2F, pc=0),
        log_sense(0x2F, pointer=1),
    ):
        assert await thin.fails(wrong) == INVALID_FIELD
    assert await full.fails(log_sense(0x0C)) == INVALID_FIELD
    await thin.unit.close()
    await full.unit.close()


async def test_how_full_a_thin_file_is(tmp_path: Path) -> None:
    disk = Disk(f"file:{tmp_path}/disk,size=64M,thin")
    await disk.run(cdb.write(0, 4096), bytes([1]) * (2 << 20))
    await disk.run(cdb.synchronize_cache(0, 0))
    found = pages.parse_parameters(pages.parse_log_page(await disk.run(log_sense(0x0C))).body)
    counts = {one.code: int.from_bytes(one.data[:4], "big") for one in found}
    exponent = vpd.LogicalBlockProvisioning.parse(await disk.run(cdb.inquiry(0xB2, 64))).threshold_exponent
    assert (512 << exponent) == 1 << 20
    assert counts[pages.PARAMETER_USED] == 2
    free = os.statvfs(tmp_path)
    assert counts[pages.PARAMETER_AVAILABLE] == pytest.approx(free.f_bavail * free.f_frsize >> 20, rel=0.5)
    only_used = pages.parse_parameters(pages.parse_log_page(await disk.run(log_sense(0x0C, pointer=2))).body)
    assert [one.code for one in only_used] == [pages.PARAMETER_USED]
    await disk.unit.close()


async def test_a_medium_that_does_not_tell() -> None:
    disk = Disk("memory:1M,thin")

    def fail() -> None:
        raise OSError(errno.EIO, "broken")

    disk.unit.backstore.usage = fail  # type: ignore[method-assign, assignment]
    assert await disk.fails(log_sense(0x0C)) == (3, 0x11, 0)
    await disk.unit.close()
