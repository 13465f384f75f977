"""MODE SENSE and MODE SELECT."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from san_console.scsi import cdb, mode
from san_console.scsi import opcodes as op
from san_console.scsi.sense import DESCRIPTOR_CURRENT
from tests.target.disk import INVALID_FIELD, INVALID_LIST, LIST_LENGTH, Disk

CHANGED = (6, 0x2A, 1)


@pytest.fixture
async def disk(tmp_path: Path) -> AsyncIterator[Disk]:
    one = Disk(f"file:{tmp_path}/disk,size=1M,thin")
    yield one
    await one.unit.close()


def select(data: bytes, *, ten: bool = False, flags: int = 0x10) -> tuple[bytes, bytes]:
    if ten:
        return bytes([op.MODE_SELECT_10, flags, 0, 0, 0, 0, 0]) + len(data).to_bytes(2, "big") + b"\0", data
    return bytes([op.MODE_SELECT_6, flags, 0, 0, len(data), 0]), data


def listed(*pages: bytes, ten: bool = False) -> bytes:
    return bytes(8 if ten else 4) + b"".join(pages)


async def control(disk: Disk) -> mode.ControlPage:
    return mode.ControlPage.parse(mode.parse_6(await disk.run(cdb.mode_sense_6(mode.CONTROL))).pages[0].data)


@pytest.mark.parametrize("ten", [False, True])
async def test_the_write_cache_is_turned_off_and_on(disk: Disk, ten: bool) -> None:
    other = disk.other()
    for wanted in (False, True):
        page = mode.CachingPage(write_cache=wanted).build()
        await disk.run(*select(listed(page, ten=ten), ten=ten))
        assert disk.unit.backstore.write_cache is wanted
        now = mode.parse_6(await disk.run(cdb.mode_sense_6(mode.CACHING))).pages[0].data
        assert mode.CachingPage.parse(now).write_cache is wanted
        assert await other.fails(cdb.test_unit_ready()) == CHANGED
        await other.run(cdb.test_unit_ready())
        await disk.run(cdb.test_unit_ready())
    # The same again changes nothing, and nobody is told.
    await disk.run(*select(listed(mode.CachingPage(write_cache=True).build())))
    await other.run(cdb.test_unit_ready())


async def test_a_reset_brings_the_defaults_back(disk: Disk) -> None:
    await disk.run(*select(listed(mode.CachingPage(write_cache=False).build())))
    await disk.run(*select(listed(mode.ControlPage(descriptor_sense=True).build())))
    default = bytearray(cdb.mode_sense_6(mode.CACHING))
    default[2] |= 0x80
    assert mode.CachingPage.parse(mode.parse_6(await disk.run(bytes(default))).pages[0].data).write_cache
    disk.unit.reset()
    disk.nexus.attentions.pop(0)
    assert disk.unit.backstore.write_cache
    assert not (await control(disk)).descriptor_sense


async def test_descriptor_sense(disk: Disk) -> None:
    await disk.run(*select(listed(mode.ControlPage(descriptor_sense=True).build())))
    status, _, sense = await disk.status(cdb.read(4096, 1))
    assert (status, sense[0]) == (2, DESCRIPTOR_CURRENT)
    status, _, sense = await disk.other().status(bytes([0xC7]))
    assert sense[0] == DESCRIPTOR_CURRENT  # the mode pages are shared
    await disk.run(*select(listed(mode.ControlPage().build())))
    assert (await disk.status(cdb.read(4096, 1)))[2][0] & 0x7F == 0x70


async def test_software_write_protect(disk: Disk) -> None:
    await disk.run(cdb.write(0, 1), b"x" * 512)
    await disk.run(*select(listed(mode.ControlPage(software_write_protect=True).build())))
    assert await disk.fails(cdb.write(0, 1)) == (7, 0x27, 2)
    assert not disk.nexus.write_now(cdb.write_10(0, 1), bytes(512))
    assert mode.parse_6(await disk.run(cdb.mode_sense_6(8))).write_protected
    assert await disk.run(cdb.read(0, 1)) == b"x" * 512
    await disk.run(*select(listed(mode.ControlPage().build())))
    await disk.run(cdb.write(0, 1), b"y" * 512)


async def test_task_aborted_status(disk: Disk) -> None:
    await disk.run(*select(listed(mode.ControlPage(aborted_status=True).build())))
    assert disk.unit.device.mode.task_aborted_status
    assert (await control(disk)).aborted_status


async def test_what_can_be_changed_is_told(disk: Disk) -> None:
    for page, wanted in ((mode.CACHING, {2: 4}), (mode.CONTROL, {2: 4, 4: 8, 5: 0x40}), (0x1C, {})):
        ask = bytearray(cdb.mode_sense_6(page))
        ask[2] |= 0x40
        mask = mode.parse_6(await disk.run(bytes(ask))).pages[0].data
        assert {i: octet for i, octet in enumerate(mask) if octet and i > 1} == wanted
    memory = Disk("memory:1M")
    ask = bytearray(cdb.mode_sense_6(mode.CACHING))
    ask[2] |= 0x40
    assert not any(mode.parse_6(await memory.run(bytes(ask))).pages[0].data[2:])
    assert await memory.fails(*select(listed(mode.CachingPage(write_cache=True).build()))) == INVALID_LIST
    await memory.unit.close()


async def test_descriptors_in_the_answer(disk: Disk) -> None:
    long = bytearray(cdb.mode_sense_10(8))
    long[1] |= 0x10
    found = mode.parse_10(await disk.run(bytes(long)))
    assert (found.blocks, found.block_bytes) == (2048, 512)
    short = bytearray(cdb.mode_sense_6(8))
    short[1] |= 0x08
    assert mode.parse_6(await disk.run(bytes(short))).blocks is None
    wrong = bytearray(cdb.mode_sense_6(8))
    wrong[3] = 1
    assert await disk.fails(bytes(wrong)) == INVALID_FIELD


async def test_what_mode_select_refuses(disk: Disk) -> None:
    page = mode.CachingPage(write_cache=False).build()
    await disk.run(*select(b""))
    assert await disk.fails(*select(listed(page), flags=0x11)) == INVALID_FIELD  # SP
    assert await disk.fails(*select(listed(page), flags=0)) == INVALID_FIELD  # no PF
    assert await disk.fails(*select(listed(page)[:-1])) == LIST_LENGTH
    assert await disk.fails(*select(b"\0\0\0")) == LIST_LENGTH
    for octet, bit in ((2, 0x01), (3, 0x80), (12, 0x20)):
        wrong = bytearray(page)
        wrong[octet] ^= bit
        sense = await disk.refused(*select(listed(bytes(wrong))))
        assert (sense.key, sense.asc) == (5, 0x26)
        assert sense.sense_key_specific == bytes([0x80, 0, 4 + octet])
    assert await disk.fails(*select(listed(b"\x2f\x02ab"))) == INVALID_LIST
    assert await disk.fails(*select(listed(b"\x08\x02ab"))) == INVALID_LIST
    assert await disk.fails(*select(b"\0\0\0\x04" + bytes(4) + page)) == INVALID_LIST
    geometry = mode.short_descriptor(2048, 4096)
    assert await disk.fails(*select(b"\0\0\0\x08" + geometry + page)) == INVALID_LIST
    geometry = mode.short_descriptor(77, 512)
    assert await disk.fails(*select(b"\0\0\0\x08" + geometry + page)) == INVALID_LIST
    assert disk.unit.backstore.write_cache  # nothing of all this was done
    # A list is checked to its end before any of it is done.
    assert await disk.fails(*select(listed(page, b"\x2f\x00"))) == INVALID_LIST
    assert disk.unit.backstore.write_cache
    geometry = mode.short_descriptor(2048, 512)
    await disk.run(*select(b"\0\0\0\x08" + geometry + page))
    assert not disk.unit.backstore.write_cache
