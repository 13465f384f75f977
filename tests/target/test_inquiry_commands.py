"""INQUIRY: that what is told is true."""

from __future__ import annotations

from pathlib import Path

import pytest

from san_console.scsi import capacity, cdb, inquiry, vpd
from tests.target.disk import INVALID_FIELD, Disk


async def test_standard_data() -> None:
    disk = Disk("memory:1M")
    data = inquiry.StandardInquiry.parse(await disk.run(cdb.inquiry(None, 96)))
    assert data.third_party_copy
    assert data.command_queuing
    assert data.target_port_groups == 3
    assert not data.protect
    assert not data.normaca
    assert data.version_descriptors[:4] == [0x00A0, 0x0960, 0x0460, 0x04C0]
    await disk.unit.close()


async def test_every_page_that_is_listed_is_there() -> None:
    disk = Disk("memory:1M,thin")
    pages = vpd.parse_supported_pages(await disk.run(cdb.inquiry(0, 255)))
    assert pages == sorted(pages)
    for page in range(256):
        if page in pages:
            data = await disk.run(cdb.inquiry(page, 1024))
            assert vpd.page_body(data, page) == data[4:]
        else:
            assert await disk.fails(cdb.inquiry(page, 1024)) == INVALID_FIELD
    await disk.unit.close()


@pytest.mark.parametrize(
    ("options", "physical", "exponent"),
    [("", 0, 0), ("", 4096, 3), (",block=4096", 0, 0), (",block=4096", 4096, 0)],
)
async def test_block_sizes(options: str, physical: int, exponent: int) -> None:
    disk = Disk(f"memory:1M,thin{options}", physical_block_bytes=physical)
    found = capacity.parse_16(await disk.run(cdb.read_capacity_16(32)))
    assert found.physical_exponent == exponent
    limits = vpd.BlockLimits.parse(await disk.run(cdb.inquiry(0xB0, 64)))
    assert limits.optimal_transfer_granularity_blocks * found.block_bytes == 4096
    assert limits.optimal_unmap_granularity_blocks * found.block_bytes == 4096
    assert limits.maximum_compare_and_write_blocks == 255
    await disk.unit.close()


async def test_what_follows_from_the_configuration(tmp_path: Path) -> None:
    disk = Disk(f"file:{tmp_path}/disk,size=1M", rotation_rate=7200)
    assert vpd.BlockCharacteristics.parse(await disk.run(cdb.inquiry(0xB1, 64))).rotation_rate == 7200
    assert vpd.ExtendedInquiry.parse(await disk.run(cdb.inquiry(0x86, 64))).volatile_cache
    disk.unit.backstore.write_cache = False
    extended = vpd.ExtendedInquiry.parse(await disk.run(cdb.inquiry(0x86, 64)))
    assert not extended.volatile_cache
    assert extended.simple_supported
    assert extended.ordered_supported
    assert extended.head_of_queue_supported
    assert not vpd.LogicalBlockProvisioning.parse(await disk.run(cdb.inquiry(0xB2, 64))).unmap
    names = [str(one) for one in vpd.parse_identification(await disk.run(cdb.inquiry(0x83, 255)))]
    assert names[2:4] == ["3", "3"]  # relative target port, target port group
    await disk.unit.close()
