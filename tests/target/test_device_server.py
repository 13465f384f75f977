"""SCSI commands at the device server, CDB by CDB, without a connection."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import AsyncIterator, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from san_console.names.lun import encode_lun_u64
from san_console.scsi import capacity, cdb, inquiry, luns, mode, vpd
from san_console.scsi import opcodes as op
from san_console.scsi.provisioning import build_unmap_list, parse_lba_status
from san_console.scsi.sense import Condition, parse
from san_console.target.block_access import MAX_TRANSFER_BYTES
from san_console.target.device_server import COMMANDS
from san_console.target.primary_commands import UnmappedUnit
from san_console.target.read_write_commands import Heap
from tests.target.disk import Disk, FakeTask

BLOCKS = 2048


@pytest.fixture
async def disk() -> AsyncIterator[Disk]:
    one = Disk("memory:1M,thin")
    yield one
    await one.unit.close()


@pytest.fixture
async def full(tmp_path: os.PathLike[str]) -> AsyncIterator[Disk]:
    one = Disk(f"file:{tmp_path}/disk,size=1M")
    yield one
    await one.unit.close()


LBA_OUT_OF_RANGE = (5, 0x21, 0)
INVALID_FIELD = (5, 0x24, 0)
WRITE_PROTECTED = (7, 0x27, 0)


async def test_inquiry_and_its_pages(disk: Disk) -> None:
    standard = inquiry.StandardInquiry.parse(await disk.run(cdb.inquiry(None, 255)))
    assert (standard.vendor, standard.product, standard.device_type) == ("SANCNSL", "VIRTUAL-DISK", 0)
    assert standard.command_queuing
    pages = vpd.parse_supported_pages(await disk.run(cdb.inquiry(0x00, 255)))
    assert pages == [0x00, 0x80, 0x83, 0x85, 0x86, 0x87, 0x8F, 0xB0, 0xB1, 0xB2]
    for page in pages:
        data = await disk.run(cdb.inquiry(page, 255))
        assert data[1] == page
        assert len(data) == 4 + int.from_bytes(data[2:4], "big")
        assert await disk.run(cdb.inquiry(page, 4)) == data[:4]
    assert vpd.parse_serial_number(await disk.run(cdb.inquiry(0x80, 255))) == "S123"
    names = [str(one) for one in vpd.parse_identification(await disk.run(cdb.inquiry(0x83, 255)))]
    assert names[0] == "naa.3123456789abcdef"
    assert "iqn.2026-11.org.example:t,t,0x0003" in names
    limits = vpd.BlockLimits.parse(await disk.run(cdb.inquiry(0xB0, 255)))
    assert limits.maximum_transfer_blocks == MAX_TRANSFER_BYTES // 512
    assert limits.write_same_non_zero
    assert limits.maximum_unmap_descriptors
    assert vpd.LogicalBlockProvisioning.parse(await disk.run(cdb.inquiry(0xB2, 255))).reads_zeros
    assert await disk.fails(cdb.inquiry(0xC0, 255)) == INVALID_FIELD
    assert await disk.fails(bytes([0x12, 0, 0x80, 0, 255, 0])) == INVALID_FIELD


async def test_a_full_disk_promises_nothing_thin(full: Disk) -> None:
    limits = vpd.BlockLimits.parse(await full.run(cdb.inquiry(0xB0, 255)))
    assert limits.maximum_unmap_blocks == 0
    assert not capacity.parse_16(await full.run(cdb.read_capacity_16(32))).lbpme
    assert await full.fails(cdb.unmap(24), b"") == (5, 0x20, 0)
    assert mode.CachingPage.parse(
        mode.parse_10(await full.run(cdb.mode_sense_10(8))).pages[0].data
    ).write_cache


async def test_capacity_and_luns(disk: Disk) -> None:
    assert capacity.parse_10(await disk.run(cdb.read_capacity_10())) == capacity.Capacity(BLOCKS, 512)
    found = capacity.parse_16(await disk.run(cdb.read_capacity_16(32)))
    assert (found.blocks, found.block_bytes, found.lbpme, found.lbprz) == (BLOCKS, 512, True, True)
    assert len(await disk.run(cdb.read_capacity_16(12))) == 12
    assert luns.parse(await disk.run(cdb.report_luns(256))).luns == [0, 2, 300]
    assert luns.parse(await disk.run(bytes([0xA0, 0, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0]))).luns == []
    assert await disk.fails(cdb.report_luns(8)) == INVALID_FIELD
    assert await disk.fails(bytes([0x25, 0, 0, 0, 0, 9, 0, 0, 0, 0])) == INVALID_FIELD
    assert await disk.fails(bytes([0x9E, 0x10, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 32, 0, 0])) == INVALID_FIELD
    assert await disk.fails(bytes([0x9E, 0x1F]) + bytes(14)) == INVALID_FIELD


@pytest.mark.parametrize("build", [cdb.mode_sense_6, cdb.mode_sense_10])
async def test_mode_sense(disk: Disk, build: object) -> None:
    assert callable(build)
    read = mode.parse_6 if build is cdb.mode_sense_6 else mode.parse_10
    data = read(await disk.run(build(mode.ALL_PAGES)))
    assert [page.code for page in data.pages] == [8, 10, 0x1C]
    assert (data.dpofua, data.write_protected) == (True, False)
    assert not mode.CachingPage.parse(data.pages[0].data).write_cache
    one = bytearray(build(mode.CACHING))
    one[2] |= 0x40  # changeable values
    assert not any(read(await disk.run(bytes(one))).pages[0].data[2:])
    one[2] |= 0xC0  # saved values
    assert await disk.fails(bytes(one)) == (5, 0x39, 0)
    assert await disk.fails(build(0x2F)) == INVALID_FIELD


READS = [cdb.read_10, cdb.read_12, cdb.read_16] if hasattr(cdb, "read_12") else [cdb.read_10, cdb.read_16]


@pytest.mark.parametrize("build", READS)
async def test_reads(disk: Disk, build: object) -> None:
    assert callable(build)
    disk.unit.backstore.write_nowait(5 * 512, b"r" * 1024)
    assert await disk.run(build(5, 2)) == b"r" * 1024
    assert await disk.run(build(5, 0)) == b""
    assert await disk.run(build(BLOCKS - 1, 1)) == bytes(512)
    assert await disk.fails(build(BLOCKS, 1)) == LBA_OUT_OF_RANGE
    assert await disk.fails(build(BLOCKS - 1, 2)) == LBA_OUT_OF_RANGE
    protected = bytearray(build(0, 1))
    protected[1] |= 0x20
    assert await disk.fails(bytes(protected)) == INVALID_FIELD


async def test_six_byte_commands(disk: Disk) -> None:
    assert await disk.run(bytes([op.WRITE_6, 0, 1, 0, 2, 0]), b"6" * 1024) == b""
    assert await disk.run(bytes([op.READ_6, 0, 1, 0, 2, 0])) == b"6" * 1024
    assert len(await disk.run(bytes([op.READ_6, 0, 0, 0, 0, 0]))) == 256 * 512
    assert await disk.fails(bytes([op.READ_6, 0x1F, 0xFF, 0xFF, 1, 0])) == LBA_OUT_OF_RANGE


async def test_fua_reads_and_writes_reach_the_medium(full: Disk) -> None:
    flushes: list[bool] = []
    real = full.unit.backstore.flush

    async def flush() -> None:
        flushes.append(True)
        await real()

    full.unit.backstore.flush = flush  # type: ignore[method-assign]
    assert await full.run(cdb.write(1, 1, fua=True), b"f" * 512) == b""
    assert await full.run(cdb.read(1, 1, fua=True)) == b"f" * 512
    assert flushes == [True, True]
    await full.run(cdb.synchronize_cache(0, 0))
    assert flushes == [True, True, True]


async def test_writes_and_their_limits(disk: Disk) -> None:
    assert await disk.run(cdb.write_16(7, 2), b"w" * 1024) == b""
    assert await disk.run(cdb.read(7, 2)) == b"w" * 1024
    assert await disk.fails(cdb.write_16(BLOCKS - 1, 2)) == LBA_OUT_OF_RANGE
    assert await disk.fails(cdb.write_16(2**64 - 1, 1)) == LBA_OUT_OF_RANGE
    # Less data than the CDB says: whole blocks only.
    task = FakeTask(cdb.write_10(20, 4), b"s" * 700)
    assert disk.nexus.prepare(task) == 2048  # type: ignore[arg-type]
    disk.nexus.execute(task)  # type: ignore[arg-type]
    assert await disk.run(cdb.read(20, 2)) == b"s" * 512 + bytes(512)
    huge = Disk("null:1G")
    assert await huge.fails(cdb.read_16(0, MAX_TRANSFER_BYTES // 512 + 1)) == INVALID_FIELD
    await huge.unit.close()


async def test_the_fast_path_does_what_the_table_does(disk: Disk) -> None:
    assert disk.nexus.write_now(cdb.write_10(9, 1), b"q" * 512)
    assert disk.nexus.write_now(cdb.write_16(10, 1), b"p" * 512)
    arena = Heap()
    assert bytes(disk.nexus.read_now(cdb.read_10(9, 2), 1024, arena) or b"") == b"q" * 512 + b"p" * 512
    assert bytes(disk.nexus.read_now(cdb.read_16(9, 1), 512, arena) or b"") == b"q" * 512
    for command, length in (
        (cdb.read_10(9, 1, fua=True), 512),
        (cdb.read_10(9, 1), 1024),
        (cdb.read_10(BLOCKS, 1), 512),
        (cdb.read_10(9, 0), 0),
        (cdb.inquiry(None, 96), 96),
    ):
        assert disk.nexus.read_now(command.ljust(16, b"\0"), length, arena) is None
    for command, length in (
        (cdb.write_10(9, 1, fua=True), 512),
        (cdb.write_10(9, 2), 512),
        (cdb.write_10(BLOCKS, 1), 512),
        (cdb.unmap(24), 24),
    ):
        assert not disk.nexus.write_now(command.ljust(16, b"\0"), bytes(length))
    disk.nexus.add_attention(Condition(6, 0x29, 0))
    assert disk.nexus.read_now(cdb.read_10(9, 1), 512, arena) is None
    assert not disk.nexus.write_now(cdb.write_10(9, 1), bytes(512))


async def test_unit_attentions_are_told_once_each(disk: Disk) -> None:
    disk.nexus.add_attention(Condition(6, 0x29, 0))
    disk.nexus.add_attention(Condition(6, 0x29, 0))
    disk.unit.attention(Condition(6, 0x2F, 0))
    disk.unit.attention(Condition(6, 0x3F, 0x0E), but=disk.nexus)
    await disk.run(cdb.inquiry(None, 96))
    await disk.run(cdb.report_luns(256))
    assert await disk.fails(cdb.test_unit_ready()) == (6, 0x29, 0)
    sense = parse(await disk.run(bytes([op.REQUEST_SENSE, 0, 0, 0, 252, 0])))
    assert (sense.key, sense.asc) == (6, 0x2F)
    assert parse(await disk.run(bytes([op.REQUEST_SENSE, 1, 0, 0, 252, 0]))).key == 0
    await disk.run(cdb.test_unit_ready())
    disk.nexus.add_attention(Condition(6, 0x29, 0))
    assert await disk.fails(bytes([0xC7])) == (6, 0x29, 0)
    assert await disk.fails(bytes([0xC7])) == (5, 0x20, 0)


async def test_a_read_only_nexus(disk: Disk) -> None:
    only = Disk("memory:1M,thin", read_only=True)
    assert mode.parse_6(await only.run(cdb.mode_sense_6(8))).write_protected
    assert not only.nexus.write_now(cdb.write_10(0, 1), bytes(512))
    for command in (cdb.write_10(0, 1), cdb.unmap(24), bytes([op.WRITE_SAME_10, 0, 0, 0, 0, 0, 0, 0, 1, 0])):
        assert await only.fails(command) == WRITE_PROTECTED
    await only.run(cdb.read(0, 1))
    await only.unit.close()


def verify(opcode: int, lba: int, blocks: int, bytchk: int) -> bytes:
    return bytes([opcode, bytchk << 1]) + lba.to_bytes(4, "big") + b"\0" + blocks.to_bytes(2, "big") + b"\0"


async def test_verify(disk: Disk) -> None:
    await disk.run(cdb.write(0, 2), b"v" * 1024)
    await disk.run(verify(op.VERIFY_10, 0, 2, 0))
    await disk.run(verify(op.VERIFY_10, 0, 0, 0))
    await disk.run(verify(op.VERIFY_10, 0, 2, 1), b"v" * 1024)
    await disk.run(verify(op.VERIFY_10, 0, 2, 3), b"v" * 512)
    assert await disk.fails(verify(op.VERIFY_10, 0, 2, 1), b"v" * 1023 + b"w") == (0xE, 0x1D, 0)
    assert await disk.fails(verify(op.VERIFY_10, 0, 2, 2)) == INVALID_FIELD
    assert await disk.fails(verify(op.VERIFY_10, BLOCKS, 1, 0)) == LBA_OUT_OF_RANGE
    await disk.run(verify(op.WRITE_AND_VERIFY_10, 5, 1, 0), b"W" * 512)
    assert await disk.run(cdb.read(5, 1)) == b"W" * 512


def write_same(flags: int, lba: int, blocks: int) -> bytes:
    return bytes([op.WRITE_SAME_16, flags]) + lba.to_bytes(8, "big") + blocks.to_bytes(4, "big") + b"\0\0"


async def test_write_same(disk: Disk, full: Disk) -> None:
    await disk.run(write_same(0, 4, 16), b"s" * 512)
    assert await disk.run(cdb.read(4, 16)) == b"s" * (16 * 512)
    await disk.run(write_same(8, 5, 2), bytes(512))
    assert await disk.run(cdb.read(4, 4)) == b"s" * 512 + bytes(1024) + b"s" * 512
    await disk.run(write_same(8, 5, 1), b"t" * 512)  # not zeros: written, not unmapped
    assert await disk.run(cdb.read(5, 1)) == b"t" * 512
    await disk.run(write_same(1, 4, 4))  # no data: zeros
    assert await disk.run(cdb.read(4, 4)) == bytes(2048)
    assert await disk.fails(write_same(0, 4, 0)) == INVALID_FIELD
    assert await disk.fails(write_same(0x10, 4, 1)) == INVALID_FIELD
    assert await disk.fails(write_same(0, BLOCKS, 1)) == LBA_OUT_OF_RANGE
    assert await full.fails(write_same(8, 4, 1)) == INVALID_FIELD
    task = FakeTask(write_same(0, 4, 4), b"x" * 100)
    disk.nexus.prepare(task)  # type: ignore[arg-type]
    disk.nexus.execute(task)  # type: ignore[arg-type]
    await task.done.wait()
    assert await disk.run(cdb.read(4, 4)) == bytes(2048)


async def unmap(disk: Disk, extents: Sequence[tuple[int, int]]) -> tuple[int, bytes, bytes]:
    data = build_unmap_list(extents)
    return await disk.status(cdb.unmap(len(data)), data)


async def test_unmap_and_lba_status(disk: Disk, tmp_path: os.PathLike[str]) -> None:
    await disk.run(cdb.write(0, 64), b"u" * (64 * 512))
    assert (await unmap(disk, [(1, 3), (8, 8), (20, 0)]))[0] == 0
    assert await disk.run(cdb.read(0, 5)) == b"u" * 512 + bytes(1536) + b"u" * 512
    assert (await unmap(disk, [(BLOCKS, 1)]))[0] == 2
    assert (await unmap(disk, [(0, 1)] * 65))[0] == 2
    assert (await unmap(disk, []))[0] == 0
    assert await disk.run(cdb.unmap(0)) == b""
    assert await disk.fails(cdb.unmap(4), bytes(4)) == (5, 0x1A, 0)
    anchored = bytearray(cdb.unmap(24))
    anchored[1] |= 1
    assert await disk.fails(bytes(anchored)) == INVALID_FIELD
    file = Disk(f"file:{tmp_path}/thin,size=1M,thin")
    await file.run(cdb.write(128, 8), b"u" * 4096)
    await file.run(cdb.synchronize_cache(0, 0))
    found = parse_lba_status(await file.run(cdb.get_lba_status(0, 256)))
    assert [(one.lba, one.blocks, one.status) for one in found] == [
        (0, 128, 1),
        (128, 8, 0),
        (136, BLOCKS - 136, 1),
    ]
    assert len(parse_lba_status(await file.run(cdb.get_lba_status(9, 24)))) == 1
    assert await file.fails(cdb.get_lba_status(BLOCKS, 24)) == LBA_OUT_OF_RANGE
    await file.unit.close()


async def test_start_stop_and_lock(disk: Disk) -> None:
    await disk.run(bytes([op.START_STOP_UNIT, 0, 0, 0, 0, 0]))
    await disk.run(bytes([op.START_STOP_UNIT, 0, 0, 0, 1, 0]))
    assert await disk.fails(bytes([op.START_STOP_UNIT, 0, 0, 0, 2, 0])) == INVALID_FIELD
    await disk.run(bytes([op.PREVENT_ALLOW_MEDIUM_REMOVAL, 0, 0, 0, 1, 0]))


def supported(options: int, opcode: int = 0, action: int = 0, allocation: int = 4096) -> bytes:
    return (
        bytes([0xA3, 0x0C, options, opcode])
        + action.to_bytes(2, "big")
        + allocation.to_bytes(4, "big")
        + b"\0\0"
    )


async def test_supported_operation_codes(disk: Disk) -> None:
    everything = await disk.run(supported(0))
    assert int.from_bytes(everything[:4], "big") == len(everything) - 4
    codes = {everything[i] for i in range(4, len(everything), 8)}
    assert codes == set(COMMANDS)
    with_timeouts = await disk.run(supported(0x80))
    assert len(with_timeouts) - 4 == (len(everything) - 4) // 8 * 20
    one = await disk.run(supported(1, op.READ_10))
    assert one[:4] == bytes([0, 3, 0, 10])
    assert one[4] == op.READ_10
    assert len(await disk.run(supported(0x81, op.READ_10))) == len(one) + 12
    two = await disk.run(supported(2, 0x9E, 0x10))
    assert two[5] == 0x10
    assert (await disk.run(supported(2, 0x9E, 0x1F)))[1] == 1
    assert (await disk.run(supported(1, 0xC7)))[1] == 1
    assert (await disk.run(supported(3, 0x28)))[1] == 3
    for wrong in (supported(1, 0x9E), supported(2, 0x28), supported(4, 0x28)):
        assert await disk.fails(wrong) == INVALID_FIELD
    assert len(await disk.run(bytes([0xA3, 0x0D, 0, 0, 0, 0, 0, 0, 0, 16, 0, 0]))) == 4


class Broken:
    """A backstore whose medium fails."""

    def __init__(self, disk: Disk, number: int) -> None:
        async def fail(*_: object, **__: object) -> None:
            raise OSError(number, os.strerror(number))

        store = disk.unit.backstore
        disk.nexus._read_nowait = lambda *_: None
        store.read_nowait = lambda *_: None  # type: ignore[method-assign]
        store.write_nowait = lambda *_: False  # type: ignore[method-assign]
        for name in ("read", "write", "flush", "unmap"):
            setattr(store, name, fail)


@pytest.mark.parametrize(
    ("number", "reading", "writing"),
    [
        (errno.EIO, (3, 0x11, 0), (3, 0x0C, 0)),
        (errno.ENOSPC, (3, 0x11, 0), (7, 0x27, 7)),
        (errno.EROFS, (3, 0x11, 0), (7, 0x27, 0)),
    ],
)
async def test_errors_of_the_medium(
    disk: Disk, number: int, reading: tuple[int, int, int], writing: tuple[int, int, int]
) -> None:
    Broken(disk, number)
    assert await disk.fails(cdb.read(0, 1)) == reading
    assert await disk.fails(cdb.write(0, 1), bytes(512)) == writing
    assert await disk.fails(cdb.synchronize_cache(0, 0)) == writing
    assert await disk.fails(write_same(0, 0, 1), b"x" * 512) == writing
    assert (await unmap(disk, [(0, 1)]))[0] == 2
    assert len(disk.errors) == 1  # the user is not told of each command
    assert os.strerror(number) in disk.errors[0]


async def test_a_lun_that_is_not_mapped() -> None:
    unit = UnmappedUnit(lambda: [3])

    def ask(command: bytes) -> tuple[int, bytes, bytes]:
        task = FakeTask(command)
        assert unit.prepare(task) == 0  # type: ignore[arg-type]
        unit.read_now(task.cdb, 512, None)
        assert not unit.write_now(task.cdb, b"")
        unit.execute(task)  # type: ignore[arg-type]
        assert task.answer is not None
        return task.answer

    assert ask(cdb.inquiry(None, 36))[1][0] == 0x7F
    assert parse(ask(cdb.inquiry(0x83, 36))[2]).asc == 0x24
    assert luns.parse(ask(cdb.report_luns(64))[1]).luns == [3]
    assert parse(ask(bytes([op.REQUEST_SENSE, 0, 0, 0, 18, 0]))[1]).asc == 0x25
    assert parse(ask(cdb.test_unit_ready())[2]).asc == 0x25
    assert encode_lun_u64(3) == 3 << 48


@given(
    st.sampled_from(sorted(COMMANDS)),
    st.binary(min_size=15, max_size=15),
    st.binary(max_size=600),
    st.booleans(),
)
@settings(max_examples=400, deadline=None)
def test_any_command_with_any_data_ends_in_a_status(
    opcode: int, rest: bytes, data: bytes, small: bool
) -> None:
    async def use() -> None:
        disk = Disk("memory:64K,thin")
        if small:  # numbers that come near to what makes sense
            command = bytes([opcode]) + bytes(octet & 0x1F if i % 3 else 0 for i, octet in enumerate(rest))
        else:
            command = bytes([opcode]) + rest
        task = FakeTask(command, b"")
        wanted = disk.nexus.prepare(task)  # type: ignore[arg-type]
        assert 0 <= wanted <= MAX_TRANSFER_BYTES
        if task.answer is None:
            task.data_out = memoryview(data[:wanted])
            task.edtl = wanted
            disk.nexus.execute(task)  # type: ignore[arg-type]
            async with asyncio.timeout(10):
                await task.done.wait()
        assert task.answer is not None
        status, _, sense = task.answer
        assert bool(sense) == (status == 2)
        await disk.unit.close()

    asyncio.run(use())
