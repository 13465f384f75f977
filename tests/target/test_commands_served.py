"""Commands through sessions: copies between LUNs and what masking does to them, atomic commands of several
initiators, sense formats.
"""

from __future__ import annotations

import asyncio
import os
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from san_console.initiator import Session, connect
from san_console.scsi import cdb, mode
from san_console.scsi import opcodes as op
from san_console.scsi.sense import DESCRIPTOR_CURRENT, parse
from san_console.scsi.status import CHECK_CONDITION, CONDITION_MET, GOOD
from san_console.scsi.vpd import identity, parse_identification
from san_console.target.config import BackstoreSpec, LunConfig, MappingRule
from tests.target.raw_initiator import NAME, Served, config

MIB = 1 << 20


def memory(name: str, mib: int = 4, block_bytes: int = 512) -> LunConfig:
    return LunConfig(name, name, BackstoreSpec("memory", size_bytes=mib * MIB, block_bytes=block_bytes))


@asynccontextmanager
async def one_session(**changes: object) -> AsyncIterator[Session]:
    """A session with a target of these changes."""
    async with (
        Served(config(**changes)) as served,
        connect(f"iscsi://127.0.0.1:{served.port}/{NAME}/0") as session,
    ):
        yield session


def copy_list(source: bytes, destination: bytes, blocks: int, lba: int, to: int) -> tuple[bytes, bytes]:
    cscds = b"".join(
        bytes([0xE4, 0, 0, 0, 1, 3, 0, 8]) + naa.ljust(20, b"\0") + bytes(4) for naa in (source, destination)
    )
    segment = struct.pack(">BBHHHHHQQ", 2, 0, 24, 0, 1, 0, blocks, lba, to)
    data = struct.pack(">BBHIII", 1, 0, len(cscds), 0, len(segment), 0) + cscds + segment
    return bytes([op.EXTENDED_COPY]) + bytes(9) + len(data).to_bytes(4, "big") + b"\0\0", data


async def naa_of(unit: object) -> bytes:
    """The NAA designator of a LUN, as its initiator learns it."""
    page = await unit.execute(cdb.inquiry(0x83, 255), read_bytes=255)  # type: ignore[attr-defined]
    return bytes.fromhex(identity(parse_identification(page.data)).removeprefix("naa."))


async def test_a_copy_inside_of_one_session() -> None:
    async with one_session(luns=[memory("a"), memory("b", block_bytes=4096)]) as session:
        source, destination = session.lun(0), session.lun(1)
        data = os.urandom(MIB)
        await source.write(8, data)
        command, listed = copy_list(await naa_of(source), await naa_of(destination), 2048, 8, 3)
        assert (await source.execute(command, data=listed)).status == GOOD
        assert bytes(await destination.read(3, 256)) == data
        status = bytes([op.RECEIVE_COPY_RESULTS, 0, 1]) + bytes(7) + (12).to_bytes(4, "big") + b"\0\0"
        assert (await source.execute(status, read_bytes=12)).data[8:] == MIB.to_bytes(4, "big")


async def test_a_lun_of_somebody_else_cannot_be_copied() -> None:
    """B35: a designator is no way around the masking."""
    luns = [memory("mine"), memory("theirs")]
    mappings = [
        MappingRule("iqn.2026-11.org.example:mine", "mine", 0),
        MappingRule("iqn.2026-11.org.example:theirs", "theirs", 0),
    ]
    async with Served(config(luns=luns, mappings=mappings, anyone=False)) as served:
        url = f"iscsi://127.0.0.1:{served.port}/{NAME}/0"
        async with (
            connect(url, initiator_name="iqn.2026-11.org.example:mine") as mine,
            connect(url, initiator_name="iqn.2026-11.org.example:theirs") as theirs,
        ):
            await theirs.lun(0).write(0, b"s" * 512)
            stolen, own = await naa_of(theirs.lun(0)), await naa_of(mine.lun(0))
            command, listed = copy_list(stolen, own, 1, 0, 0)
            refused = await mine.lun(0).execute(command, data=listed)
            assert refused.status == CHECK_CONDITION
            assert parse(refused.sense).key == 0xA
            assert bytes(await mine.lun(0).read(0, 1)) == bytes(512)


async def test_one_of_many_initiators_wins_a_block(tmp_path: Path) -> None:
    path = tmp_path / "disk"
    lun = LunConfig("a", "a", BackstoreSpec("file", str(path), MIB, create=True))
    async with Served(config(luns=[lun])) as served:
        url = f"iscsi://127.0.0.1:{served.port}/{NAME}/0"

        async def contend(number: int) -> bool:
            async with connect(url, initiator_name=f"iqn.2026-11.org.example:host{number}") as session:
                unit = session.lun(0)
                claim = bytes([op.COMPARE_AND_WRITE, 8]) + (5).to_bytes(8, "big") + bytes([0, 0, 0, 1, 0, 0])
                won = await unit.execute(claim, data=bytes(512) + bytes([number]) * 512)
                if won.status != GOOD:
                    assert parse(won.sense).key == 0xE
                return won.status == GOOD

        winners = [
            number for number, won in enumerate(await asyncio.gather(*map(contend, range(1, 9))), 1) if won
        ]
        assert len(winners) == 1
    assert path.read_bytes()[5 * 512 : 6 * 512] == bytes(winners) * 512


async def test_the_format_of_sense_data_and_a_status_without_any() -> None:
    async with one_session() as session:
        unit = session.lun(0)
        page = bytes(4) + mode.ControlPage(descriptor_sense=True).build()
        select = bytes([op.MODE_SELECT_6, 0x10, 0, 0, len(page), 0])
        assert (await unit.execute(select, data=page)).status == GOOD
        refused = await unit.execute(cdb.read_16(1 << 40, 1), read_bytes=512)
        assert refused.sense[0] == DESCRIPTOR_CURRENT
        assert parse(refused.sense).information == 1 << 40
        prefetch = bytes([op.PRE_FETCH_10, 0, 0, 0, 0, 0, 0, 0, 8, 0])
        assert (await unit.execute(prefetch)).status == CONDITION_MET
