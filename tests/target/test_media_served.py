"""Media of a target that is served, as an initiator sees them: missing, lost, back, grown, offline."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from san_console.initiator.errors import ScsiFailure
from san_console.initiator.logical_unit import LogicalUnit
from san_console.scsi import capacity, cdb, luns, mode
from san_console.scsi.sense import parse
from san_console.target.config import BackstoreSpec, LunConfig
from san_console.target.errors import BackstoreError
from san_console.target.server import TargetServer
from tests.chaos.bench import session_to
from tests.target.raw_initiator import NAME, RawInitiator, Served, config, until

SIZE = 1 << 20
OFFLINE = (2, 0x04, 0x12)
MEDIUM_CHANGED = (6, 0x28, 0)
CAPACITY_CHANGED = (6, 0x2A, 9)
MODE_CHANGED = (6, 0x2A, 1)


def file_lun(path: Path, **fields: Any) -> LunConfig:
    return LunConfig("a", "a", BackstoreSpec("file", str(path), SIZE, create=True, thin=True), **fields)


def memory_lun() -> LunConfig:
    return LunConfig("b", "b", BackstoreSpec("memory", size_bytes=SIZE))


async def blocks_of(unit: LogicalUnit) -> int:
    answer = await unit.execute(cdb.read_capacity_16(32), read_bytes=32)
    return capacity.parse_16(answer.data).blocks


async def sense_of(raw: RawInitiator, command: bytes = b"", **fields: Any) -> tuple[int, int, int] | None:
    """The sense data that a command ends with; None when it ends well."""
    raw.command(command or cdb.test_unit_ready(), **fields)
    _, data = await raw.receive()
    if len(data) < 2:
        return None
    sense = parse(data[2:])
    return sense.key, sense.asc, sense.ascq


async def test_a_target_is_served_without_one_of_its_files(tmp_path: Path) -> None:
    path = tmp_path / "disk"
    async with Served(config(luns=[memory_lun()])) as served:
        server = served.server
        await server.remove(NAME)
        failed = await server.add_many([config(luns=[file_lun(path), memory_lun()])])
        assert failed == {}
        assert not path.exists()
        assert any("is offline" in event.text for event in served.events)
        async with session_to(served.port) as (session, _):
            listed = await session.lun(0).execute(cdb.report_luns(1024), read_bytes=1024)
            assert len(luns.parse(listed.data).luns) == 2
            with pytest.raises(ScsiFailure) as failure:
                await session.lun(0).read(0, 1)
            sense = parse(failure.value.sense)
            assert (sense.key, sense.asc, sense.ascq) == OFFLINE
            assert not any(await session.lun(1).read(0, 8))
            with pytest.raises(BackstoreError, match="does not exist"):
                await server.retry_lun(NAME, "a")
            path.write_bytes(b"back" * (SIZE // 4))
            await server.retry_lun(NAME, "a")
            assert await session.lun(0).read(0, 1) == b"back" * 128
            assert await blocks_of(session.lun(0)) == SIZE // 512
            assert session.counters.reconnects == 0


async def test_the_watch_of_the_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, aside = tmp_path / "disk", tmp_path / "aside"
    async with Served(config(luns=[file_lun(path)])) as served:
        watch = served.server._watch
        raw = await served.login()
        await raw.ready()
        path.rename(aside)
        await watch.look()
        assert served.kinds()[-1] == "lun_offline"
        assert served.events[-1].details == {"target": NAME, "lun": "a"}
        for command, fields in (
            (cdb.test_unit_ready(), {}),
            (cdb.read(0, 1), {"read": 512}),
            (cdb.write(0, 1), {"data": bytes(512)}),
            (cdb.synchronize_cache(0, 0), {}),
        ):
            assert await sense_of(raw, command, **fields) == OFFLINE
        raw.command(cdb.inquiry(None, 36), read=36)
        assert (await raw.receive())[1][0] & 0x1F == 0  # still a disk
        aside.rename(path)
        await watch.look()
        assert served.kinds()[-1] == "lun_online"
        assert await sense_of(raw) == MEDIUM_CHANGED
        assert await sense_of(raw) is None
        assert len(await raw.read_block()) == 512
        await raw.close()


async def test_growing_reaches_the_initiator(tmp_path: Path) -> None:
    path = tmp_path / "disk"
    async with Served(config(luns=[file_lun(path)])) as served:
        server = served.server
        raw = await served.login()
        await raw.ready()
        async with session_to(served.port) as (session, watcher):
            assert await blocks_of(session.lun(0)) == SIZE // 512
            assert await server.grow_lun(NAME, "a", 2 * SIZE) == 2 * SIZE
            assert await sense_of(raw) == CAPACITY_CHANGED
            assert await sense_of(raw) is None
            assert await blocks_of(session.lun(0)) == 2 * SIZE // 512
            assert "unit_attention" in watcher.kinds
            await session.lun(0).write(2 * SIZE // 512 - 1, b"last" * 128, fua=True)
            assert server.targets()[0].luns[0].backstore.size_bytes == 2 * SIZE

            os.truncate(path, 3 * SIZE)
            assert await server.grow_lun(NAME, "a") == 3 * SIZE
            assert await blocks_of(session.lun(0)) == 3 * SIZE // 512
            with pytest.raises(BackstoreError, match="cannot become smaller"):
                await server.grow_lun(NAME, "a", SIZE)
            assert await sense_of(raw) == CAPACITY_CHANGED

            larger = replace(
                server.targets()[0].luns[0],
                backstore=replace(server.targets()[0].luns[0].backstore, size_bytes=4 * SIZE),
            )
            await server.update(replace(server.targets()[0], luns=[larger]))
            assert await blocks_of(session.lun(0)) == 4 * SIZE // 512
            assert await sense_of(raw) == CAPACITY_CHANGED
            assert session.counters.reconnects == 0
        await raw.close()


async def _update(server: TargetServer, **fields: Any) -> None:
    now = server.targets()[0]
    await server.update(replace(now, luns=[replace(now.luns[0], **fields)]))


async def test_offline_and_online_by_the_operator(tmp_path: Path) -> None:
    path = tmp_path / "disk"
    async with Served(config(luns=[file_lun(path)])) as served:
        server = served.server
        raw = await served.login()
        await raw.ready()
        await _update(server, online=False)
        assert await sense_of(raw) == OFFLINE
        await server._watch.look()
        assert await sense_of(raw, cdb.read(0, 1), read=512) == OFFLINE
        await _update(server, online=True)
        assert await sense_of(raw) == MEDIUM_CHANGED
        assert await sense_of(raw) is None
        await raw.read_block()
        await raw.close()


async def test_the_write_cache_of_a_lun_can_be_switched(tmp_path: Path) -> None:
    async with Served(config(luns=[file_lun(tmp_path / "disk")])) as served:
        server = served.server
        raw = await served.login()
        await raw.ready()

        async def write_cache() -> bool:
            raw.command(cdb.mode_sense_10(8), read=255)
            _, data = await raw.receive()
            return mode.CachingPage.parse(mode.parse_10(data).pages[0].data).write_cache

        assert await write_cache()
        await _update(server, write_cache=False)
        assert await sense_of(raw) == MODE_CHANGED
        assert not await write_cache()
        raw.command(cdb.write(0, 1), data=b"x" * 512)
        await raw.receive()
        await _update(server, write_cache=True)
        await until(lambda: server.unit(NAME, "a").backstore.write_cache)
        assert await sense_of(raw) == MODE_CHANGED
        assert await write_cache()
        await raw.close()
