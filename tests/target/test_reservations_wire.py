"""Reservations between real sessions: commands of a preempted initiator, a server that is started anew."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from san_console.iscsi.pdu import AsyncMessage, ReadyToTransfer, ScsiResponse
from san_console.scsi import cdb
from san_console.scsi import opcodes as op
from san_console.scsi.persistent_reservations import EXCLUSIVE_ACCESS, Request
from san_console.scsi.persistent_reservations_data import build_out
from san_console.scsi.sense import parse
from san_console.scsi.status import GOOD, RESERVATION_CONFLICT, TASK_ABORTED
from san_console.target.config import BackstoreSpec, LunConfig
from san_console.target.server import TargetServer
from tests.target.raw_initiator import ISID, RawInitiator, Served, config, settings, until
from tests.target.slow_medium import SlowWrites

OTHER = bytes.fromhex("800000000001")


async def answer(raw: RawInitiator, tag: int) -> ScsiResponse:
    """The response to a command; asynchronous messages and R2Ts before it are passed over."""
    while True:
        pdu, data = await raw.receive()
        if isinstance(pdu, ScsiResponse):
            assert pdu.itt == tag, data
            return pdu
        assert isinstance(pdu, AsyncMessage | ReadyToTransfer)


async def pr_out(
    raw: RawInitiator, action: int, key: int, new: int = 0, type_: int = 0, **flags: bool
) -> int:
    data = build_out(Request(key, new, **flags))  # type: ignore[arg-type] # flags by their names
    tag = raw.command(cdb.persistent_reserve_out(action, type_, len(data)), data=data)
    return (await answer(raw, tag)).status


def lun_in(folder: Path) -> LunConfig:
    spec = BackstoreSpec("file", str(folder / "disk"), size_bytes=1 << 20, create=True)
    return LunConfig("a", "a", spec)


@pytest.mark.parametrize("tas", [False, True])
async def test_preempt_and_abort_ends_the_commands_of_the_preempted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tas: bool
) -> None:
    slow = SlowWrites(monkeypatch)
    async with Served(config(luns=[lun_in(tmp_path)])) as served:
        victim, other = await served.login(), await served.login(isid=OTHER)
        for raw, key in ((victim, 1), (other, 2)):
            await raw.ready()
            assert await pr_out(raw, op.SA_REGISTER, 0, key) == GOOD
        assert await pr_out(victim, op.SA_RESERVE, 1, type_=EXCLUSIVE_ACCESS) == GOOD
        unit = served.server.unit(config().name, "a")
        unit.device.mode.task_aborted_status = tas
        running = victim.command(cdb.write(0, 1), data=b"o" * 512)
        victim.command(cdb.write(8, 1024), write=1024 * 512)  # its data never comes
        await slow.begun.wait()
        preempting = asyncio.ensure_future(pr_out(other, op.SA_PREEMPT_AND_ABORT, 2, 1, EXCLUSIVE_ACCESS))
        await until(lambda: len(unit.reservations.describe()) == 1)
        assert not preempting.done()  # a write of the preempted one may still land
        slow.go_on.set()
        assert await preempting == GOOD
        assert slow.order == ["write"]
        if tas:  # the other one is told once its data has come, or nobody waits for it any more
            assert (await answer(victim, running)).status == TASK_ABORTED
        tag = victim.command(cdb.test_unit_ready())
        while True:
            pdu, data = await victim.receive()
            if isinstance(pdu, ScsiResponse):
                break
        assert pdu.itt == tag
        sense = parse(data[2:])
        assert (sense.key, sense.asc, sense.ascq) == (6, 0x2A, 5)
        assert (await answer(victim, victim.command(cdb.write(0, 1), data=b"n" * 512))).status == (
            RESERVATION_CONFLICT
        )
        await victim.close()
        await other.close()


class Shelf:
    """A store in memory."""

    def __init__(self) -> None:
        self.kept: dict[tuple[str, str], bytes] = {}

    def load(self, target: str, lun_id: str) -> bytes | None:
        return self.kept.get((target, lun_id))

    async def save(self, target: str, lun_id: str, data: bytes | None) -> None:
        await asyncio.sleep(0)
        self.kept[target, lun_id] = data or b""


async def test_a_reservation_is_there_after_a_restart() -> None:
    shelf = Shelf()
    first = TargetServer(reservation_store=shelf)
    await first.add(config())
    raw = await RawInitiator.open(first.bound_portals()[0].port)
    await raw.login(settings(isid=ISID))
    await raw.ready()
    assert await pr_out(raw, op.SA_REGISTER, 0, 7, aptpl=True) == GOOD
    assert await pr_out(raw, op.SA_RESERVE, 7, type_=EXCLUSIVE_ACCESS) == GOOD
    await raw.close()
    await first.close()
    second = TargetServer(reservation_store=shelf)
    await second.add(config())
    port = second.bound_portals()[0].port
    stranger, owner = await RawInitiator.open(port), await RawInitiator.open(port)
    await stranger.login(settings(isid=OTHER))
    await owner.login(settings(isid=ISID))
    for one in (stranger, owner):
        await one.ready()
    stranger.command(cdb.read(0, 1), read=512)
    pdu, _ = await stranger.receive()
    assert isinstance(pdu, ScsiResponse)
    assert pdu.status == RESERVATION_CONFLICT
    assert await owner.read_block() == bytes(512)
    for one in (stranger, owner):
        await one.close()
    await second.close()
