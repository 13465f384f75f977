"""Our initiator against our target in one loop: every way that data can take, and what comes back."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from san_console.initiator import connect
from san_console.initiator.errors import WritesLost
from san_console.names.credentials import ChapCredentials, Secret
from san_console.names.portal import Portal
from san_console.target.config import BackstoreSpec, ChapConfig, LunConfig, TargetLimits
from tests.chaos.bench import session_to
from tests.target.raw_initiator import NAME, Served, config, until
from tests.target.slow_medium import SlowWrites

SIZE = 16 << 20

WAYS = {
    "immediate": TargetLimits(),
    "unsolicited": TargetLimits(immediate_data=False, first_burst_bytes=65536),
    "solicited": TargetLimits(immediate_data=False, initial_r2t=True),
    "small bursts": TargetLimits(
        max_recv_data_segment_bytes=4096, max_burst_bytes=16384, first_burst_bytes=8192, max_outstanding_r2t=3
    ),
    "one command at a time": TargetLimits(command_window=1),
}


@pytest.mark.parametrize("digest", ["none", "require"])
@pytest.mark.parametrize("way", WAYS)
async def test_what_is_written_in_any_way_is_read(tmp_path: Path, way: str, digest: str) -> None:
    path = tmp_path / "disk"
    luns = [LunConfig("a", "a", BackstoreSpec("file", str(path), SIZE, create=True, thin=True))]
    image = bytearray(SIZE)
    async with Served(config(luns=luns, limits=WAYS[way])) as served:
        url = f"iscsi://127.0.0.1:{served.port}/{NAME}/0"
        async with connect(url, header_digest=digest, data_digest=digest) as session:
            unit = session.lun(0)

            async def write(slot: int) -> None:
                # Slots do not overlap, so that the order of the writes does not matter.
                length = (512, 1024, 8192, 65536, 300 * 512, 1 << 20)[slot % 6]
                data = os.urandom(length)
                image[slot << 20 : (slot << 20) + length] = data
                await unit.write((slot << 20) // 512, data, fua=slot % 5 == 0)

            await asyncio.gather(*(write(slot) for slot in range(16)))
            for start in range(0, SIZE, 4 << 20):
                assert bytes(await unit.read(start // 512, 8192)) == image[start : start + (4 << 20)]
            await unit.flush()
        assert not [event for event in served.events if event.severity != "info"]
    assert path.read_bytes() == image


async def test_mutual_chap_between_the_two() -> None:
    alice = ChapCredentials("alice", Secret("opensesame-1234"))
    ours = ChapCredentials("target", Secret("secret-of-target-1"))
    async with Served(config(chap=ChapConfig([alice], ours))) as served:
        url = f"iscsi://127.0.0.1:{served.port}/{NAME}/0"
        async with connect(url, chap=alice, mutual_chap=ours) as session:
            assert await session.report_luns() == [0]
            info = await session.lun(0).info()
            assert info.serial == served.server.unit_identity(NAME, "a")[1]
            assert "mutual" in served.server.sessions()[0].auth


async def test_a_cancelled_write_is_over_when_its_cancellation_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else it could land on top of what the caller writes next."""
    slow = SlowWrites(monkeypatch)
    luns = [LunConfig("a", "a", BackstoreSpec("file", str(tmp_path / "disk"), SIZE, create=True, thin=True))]
    async with (
        Served(config(luns=luns)) as served,
        connect(f"iscsi://127.0.0.1:{served.port}/{NAME}/0") as session,
    ):
        unit = session.lun(0)
        await unit.info()
        write = asyncio.create_task(unit.write(0, b"o" * 512, fua=True))
        await slow.begun.wait()
        write.cancel()
        await until(lambda: served.server.sessions()[0].counters.aborted_tasks == 1)
        assert not write.done()
        slow.go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await write
        assert slow.order == ["write"]
        await unit.write(0, b"n" * 512)
        assert bytes(await unit.read(0, 1)) == b"n" * 512


async def test_a_restart_of_the_target_is_not_hidden_from_the_next_flush(tmp_path: Path) -> None:
    """The unit attention is all that tells of a cache that was lost; the commands are repeated past it."""
    luns = [LunConfig("a", "a", BackstoreSpec("file", str(tmp_path / "disk"), SIZE, create=True, thin=True))]
    async with Served(config(luns=luns)) as first:
        port = first.port
        async with session_to(port) as (session, _):
            unit = session.lun(0)
            await unit.write(0, b"a" * 512)
            await unit.flush()
            await first.server.close()
            async with Served(config(luns=luns, portals=[Portal("127.0.0.1", port)])) as second:
                await unit.write(0, b"b" * 512)
                await unit.flush()  # before the restart, all was flushed
                await unit.write(1, b"c" * 512)
                await second.server.close()
                async with Served(config(luns=luns, portals=[Portal("127.0.0.1", port)])) as third:
                    await unit.write(2, b"d" * 512)
                    with pytest.raises(WritesLost, match="may be lost"):
                        await unit.flush()
                    await unit.flush()
                    await unit.write(3, b"e" * 512)
                    await third.server.disconnect(third.server.sessions()[0].id)
                    await unit.write(4, b"f" * 512)
                    await unit.flush()  # a new session alone empties no cache
