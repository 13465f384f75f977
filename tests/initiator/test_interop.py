"""Our initiator against tgtd and istgt: real targets, written by others."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from san_console.initiator import (
    RetryPolicy,
    Session,
    SessionEvent,
    SessionSettings,
    connect,
    probe,
    send_targets,
)
from san_console.initiator.bench import run_bench
from san_console.initiator.errors import LoginRefused, ScsiFailure, UnusableLogicalUnit, WritesLost
from san_console.initiator.transfer import FileEndpoint, UnitEndpoint, transfer
from san_console.names.credentials import ChapCredentials, Secret
from san_console.names.portal import Portal
from tests.peers import ISTGT_TARGET, Tgtd, istgt, tgtd

pytestmark = pytest.mark.interop

NAME = "iqn.2026-11.org.san-console.test:initiator"
TARGET = "iqn.2026-11.org.san-console.test:disk"
OURS, THEIRS = "the-initiators-1", "the-targets-0001"
MIB = 1 << 20


@pytest.fixture
def target(tmp_path: Path) -> Iterator[Tgtd]:
    """tgtd with two LUNs and CHAP in both directions."""
    images = [tmp_path / "one.img", tmp_path / "two.img"]
    for image, size in zip(images, (96 * MIB, 8 * MIB), strict=True):
        with image.open("wb") as file:
            file.truncate(size)
    with tgtd() as peer:
        peer.add_target(TARGET, images)
        peer.add_account("initiator", OURS)
        peer.add_account("target", THEIRS, outgoing=True)
        yield peer


def settings(peer: Tgtd, **changes: object) -> SessionSettings:
    values: dict[str, object] = {
        "chap": ChapCredentials("initiator", Secret(OURS)),
        "mutual_chap": ChapCredentials("target", Secret(THEIRS)),
        "retry": RetryPolicy(first_s=0.1, max_s=0.5),
    }
    return SessionSettings(NAME, TARGET, Portal.parse(peer.portal), **(values | changes))  # type: ignore[arg-type]


async def until(condition: Callable[[], object], timeout_s: float = 20.0) -> None:
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110 - the condition is another process's
            await asyncio.sleep(0.02)


async def test_discovery_finds_the_target_and_its_portal(target: Tgtd) -> None:
    found = await send_targets(Portal.parse(target.portal), initiator_name=NAME)
    assert [(record.name, [str(portal) for portal, _ in record.addresses]) for record in found.targets] == [
        (TARGET, [target.portal])
    ]
    assert (found.truncated, found.skipped) == (False, 0)
    assert 0 < found.took_s < 5


async def test_a_probe_tells_that_a_target_answers(target: Tgtd) -> None:
    result = await probe(Portal.parse(target.portal))
    assert (result.reachable, result.is_iscsi, result.failure) == (True, True, None)
    assert result.round_trip_ms is not None
    assert result.round_trip_ms < 1000


@pytest.mark.parametrize("digest", ["none", "require"])
async def test_64_mib_are_read_back_as_they_were_written(target: Tgtd, digest: str) -> None:
    if digest == "require":
        target.set_key("HeaderDigest", "CRC32C")
        target.set_key("DataDigest", "CRC32C")
    content = random.Random(digest).randbytes(64 * MIB)
    async with connect(settings(target, header_digest=digest, data_digest=digest)) as session:
        assert session.result is not None
        assert session.result.auth in ("CHAP MD5 mutual", "CHAP SHA-1 mutual")
        expected = "None" if digest == "none" else "CRC32C"
        assert (session.result.params.header_digest, session.result.params.data_digest) == (
            expected,
            expected,
        )
        assert await session.report_luns() == [0, 1, 2]
        unit = session.lun(1)
        info = await unit.info()
        assert (info.size_bytes, info.block_bytes, info.vendor, info.read_only) == (
            96 * MIB,
            512,
            "IET",
            False,
        )
        assert info.identity.startswith("naa.")
        steps = range(0, 64 * MIB, MIB)
        for start in range(0, len(steps), 8):
            batch = steps[start : start + 8]
            await asyncio.gather(*(unit.write(at // 512, content[at : at + MIB]) for at in batch))
        await unit.flush()
        back = await asyncio.gather(*(unit.read(at // 512, MIB // 512) for at in steps))
        assert b"".join(back) == content
        assert session.counters.write_bytes == 64 * MIB
        assert session.counters.errors == 0  # the unit attentions after the login are none
        # The other LUN is another place.
        assert await session.lun(2).read_bytes(0, 4096) == bytes(4096)
    assert session.state == "logged_out"


async def test_bytes_at_any_place(target: Tgtd) -> None:
    async with connect(settings(target)) as session:
        unit = session.lun(2)
        await unit.write_bytes(0, b"\xaa" * 8192)
        await unit.write_bytes(700, b"hello" * 300)
        assert await unit.read_bytes(690, 1520) == b"\xaa" * 10 + b"hello" * 300 + b"\xaa" * 10
        with pytest.raises(ScsiFailure, match="OUT OF RANGE") as failure:
            await unit.read(1 << 31, 1)
        assert failure.value.side == "target"
        with pytest.raises(UnusableLogicalUnit, match="no LUN 9"):
            await session.lun(9).info()


@pytest.mark.parametrize(("ours", "theirs", "direction"), [
    ("a-wrong-secret-1", THEIRS, "initiator"),
    (OURS, "a-wrong-secret-2", "target"),
])  # fmt: skip
async def test_a_wrong_secret_names_its_direction(
    target: Tgtd, ours: str, theirs: str, direction: str
) -> None:
    chap = ChapCredentials("initiator", Secret(ours))
    session = Session(settings(target, chap=chap, mutual_chap=ChapCredentials("target", Secret(theirs))))
    with pytest.raises(LoginRefused) as failure:
        await session.login()
    assert failure.value.direction == direction
    assert session.state == "failed"
    shown = f"{failure.value.cause} {failure.value.check} {failure.value!r}"
    assert ours not in shown
    assert theirs not in shown
    trace = " ".join(record.summary for record in session.trace.records())
    assert "CHAP_R=***" in trace
    assert ours not in trace


async def test_a_login_with_a_wrong_secret_is_not_repeated(target: Tgtd) -> None:
    events: list[SessionEvent] = []
    wrong = ChapCredentials("initiator", Secret("a-wrong-secret-1"))
    session = Session(settings(target, chap=wrong), on_event=events.append)
    session.start()
    await until(lambda: session.state == "failed" and events[-1].kind == "stopped")
    assert [event.kind for event in events] == ["login_failed", "stopped"]


async def test_a_target_that_is_killed_and_comes_back_loses_nothing(target: Tgtd) -> None:
    events: list[SessionEvent] = []
    session = Session(settings(target), on_event=events.append)
    await session.login()
    session.start()
    unit = session.lun(1)
    await unit.info()
    blocks: dict[int, bytes] = {}

    async def writer(first: int) -> None:
        for lba in range(first, first + 4000, 8):
            data = os.urandom(4096)
            await unit.write(lba, data)
            blocks[lba] = data

    writers = asyncio.gather(*(writer(number * 8192) for number in range(8)))
    await until(lambda: len(blocks) > 400)
    await asyncio.to_thread(target.kill)
    await until(lambda: session.state == "retrying" and session.next_retry_at is not None)
    before = len(blocks)
    assert not writers.done()
    await asyncio.to_thread(target.start)
    session.retry_now()
    async with asyncio.timeout(60):
        await writers
    # Nothing tells a target whose process alone was killed from one that lost its cache with the power.
    with pytest.raises(WritesLost):
        await unit.flush()
    await unit.flush()
    assert len(blocks) == 8 * 500 > before
    for lba, data in blocks.items():
        assert await unit.read(lba, 8) == data
    kinds = [event.kind for event in events]
    assert kinds.index("connection_lost") < kinds.index("retry_scheduled") < kinds.index("recovered")
    assert session.counters.reconnects == 1
    assert session.counters.reissued > 0
    await session.logout()
    assert session.state == "logged_out"


async def test_retrying_can_be_stopped(target: Tgtd) -> None:
    session = Session(settings(target))
    await session.login()
    session.start()
    unit = session.lun(1)
    await unit.info()
    await asyncio.to_thread(target.kill)
    await until(lambda: session.state == "retrying")
    read = asyncio.create_task(unit.read(0, 1))
    await asyncio.sleep(0)
    session.stop_retrying()
    assert session.state == "failed"
    with pytest.raises(Exception, match=r"lost|no session"):
        await read


async def test_a_silent_target_is_noticed_by_its_missing_answers(target: Tgtd) -> None:
    import signal

    events: list[SessionEvent] = []
    session = Session(settings(target, nop_interval_s=0.2, nop_timeout_s=0.5), on_event=events.append)
    await session.login()
    session.start()
    assert target.process is not None
    target.process.signal(signal.SIGSTOP)
    try:
        await until(lambda: any(event.kind == "nop_timeout" for event in events))
    finally:
        target.process.signal(signal.SIGCONT)
    session.retry_now()
    await until(lambda: session.state == "logged_in")
    await session.logout()


async def test_a_measurement_has_plausible_figures(target: Tgtd) -> None:
    async with connect(settings(target)) as session:
        result = await run_bench(
            session.lun(2), block_bytes=4096, queue_depth=8, seconds=0.5, pattern="mixed"
        )
        assert result.commands > 100
        assert result.errors == 0
        assert result.bytes_per_s == pytest.approx(result.iops * 4096)
        assert result.latency_us["p50"] <= result.latency_us["p99"] <= result.latency_us["max"]
        with pytest.raises(ValueError, match="does not fit"):
            await run_bench(session.lun(2), block_bytes=100)


async def test_a_file_goes_to_a_lun_and_from_there_to_another(target: Tgtd, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(os.urandom(3 * MIB + 12345))
    async with connect(settings(target)) as session:
        one, two = session.lun(1), session.lun(2)
        seen: list[int] = []
        with source.open("rb") as file:
            done = await transfer(
                FileEndpoint(file), UnitEndpoint(one), destination_offset=1000, progress=seen.append
            )
        assert done.moved_bytes == source.stat().st_size == seen[-1]
        await transfer(UnitEndpoint(one), UnitEndpoint(two), source_offset=1000, length=done.moved_bytes)
        with (tmp_path / "back").open("wb") as file:
            await transfer(UnitEndpoint(two), FileEndpoint(file), length=done.moved_bytes)
    assert (tmp_path / "back").read_bytes() == source.read_bytes()


async def test_istgt_can_be_used(tmp_path: Path) -> None:
    with istgt(tmp_path) as port:
        portal = Portal("127.0.0.1", port)
        found = await send_targets(portal, initiator_name=NAME)
        assert [record.name for record in found.targets] == [ISTGT_TARGET]
        async with connect(SessionSettings(NAME, ISTGT_TARGET, portal)) as session:
            assert await session.report_luns() == [0]
            unit = session.lun(0)
            info = await unit.info()
            assert info.size_bytes == 16 * MIB
            data = os.urandom(MIB)
            await unit.write(0, data)
            await unit.flush()
            assert await unit.read(0, MIB // info.block_bytes) == data
