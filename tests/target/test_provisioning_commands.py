"""WRITE SAME, UNMAP and GET LBA STATUS: limits, and that only zeros are unmapped."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from san_console.iscsi.target_task import ABORTED
from san_console.scsi import cdb
from san_console.scsi import opcodes as op
from san_console.scsi.provisioning import build_unmap_list, parse_lba_status
from san_console.target.provisioning_commands import MAX_UNMAP_BYTES, MAX_WRITE_SAME_BYTES
from tests.target.disk import INVALID_FIELD, INVALID_LIST, LIST_LENGTH, WRITE_PROTECTED, Disk


@pytest.fixture
async def disk(tmp_path: Path) -> AsyncIterator[Disk]:
    one = Disk(f"file:{tmp_path}/disk,size=1G,thin")
    yield one
    await one.unit.close()


def write_same(lba: int, blocks: int, flags: int = 0) -> bytes:
    return bytes([op.WRITE_SAME_16, flags]) + lba.to_bytes(8, "big") + blocks.to_bytes(4, "big") + b"\0\0"


async def mapped(disk: Disk, lba: int) -> bool:
    return parse_lba_status(await disk.run(cdb.get_lba_status(lba, 24)))[0].status == 0


async def test_only_zeros_are_unmapped(disk: Disk) -> None:
    most = MAX_WRITE_SAME_BYTES // 512
    await disk.run(write_same(0, most), b"p" * 512)
    assert await disk.run(cdb.read(most - 1, 1)) == b"p" * 512
    assert await mapped(disk, 0)
    await disk.run(write_same(0, 64, 0x08), b"q" * 512)
    assert await disk.run(cdb.read(63, 1)) == b"q" * 512
    assert await mapped(disk, 0)
    await disk.run(write_same(0, 64, 0x08), bytes(512))
    assert not await mapped(disk, 0)
    await disk.run(write_same(64, 64, 0x09))  # no data: zeros
    assert not await mapped(disk, 64)
    await disk.run(write_same(0, 8), bytes(512))  # without UNMAP they are written
    assert await mapped(disk, 0)


async def test_what_write_same_refuses(disk: Disk) -> None:
    assert await disk.fails(write_same(0, MAX_WRITE_SAME_BYTES // 512 + 1)) == INVALID_FIELD
    assert await disk.fails(write_same(0, 0)) == INVALID_FIELD
    anchored = await disk.refused(write_same(0, 1, 0x18))
    assert (anchored.asc, anchored.sense_key_specific) == (0x24, bytes([0xCC, 0, 1]))
    only = Disk("memory:1M,thin", read_only=True)
    assert await only.fails(write_same(0, 1)) == WRITE_PROTECTED
    await only.unit.close()


async def test_an_aborted_write_same_stops(disk: Disk) -> None:
    task = disk.begin(write_same(0, MAX_WRITE_SAME_BYTES // 512), b"a" * 512)
    task.state = ABORTED
    await disk.unit.settle()
    assert await disk.run(cdb.read(MAX_WRITE_SAME_BYTES // 512 - 1, 1)) == bytes(512)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (bytes(7), LIST_LENGTH),
        (build_unmap_list([(0, 1)])[:-1], LIST_LENGTH),
        (build_unmap_list([(0, 1)] * 65), INVALID_LIST),
        (build_unmap_list([(0, MAX_UNMAP_BYTES // 512), (0, 1)]), INVALID_LIST),
        (build_unmap_list([(1 << 40, 1)]), (5, 0x21, 0)),
    ],
)
async def test_unmap_lists_that_are_refused(disk: Disk, data: bytes, code: tuple[int, int, int]) -> None:
    await disk.run(cdb.write(0, 1), b"k" * 512)
    assert await disk.fails(cdb.unmap(len(data)), data) == code
    assert await disk.run(cdb.read(0, 1)) == b"k" * 512


async def test_lba_status_has_to_have_a_block(disk: Disk) -> None:
    assert (await disk.refused(cdb.get_lba_status(1 << 31, 24))).information == 1 << 31
    assert len(await disk.run(cdb.get_lba_status(0, 8))) == 8
