"""A session against a scripted target: recovery, statuses, messages, bad answers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from san_console.initiator import Session, SessionEvent
from san_console.initiator.errors import (
    CommandRefused,
    CommandTimedOut,
    InitiatorError,
    ScsiFailure,
    SessionLost,
    ShortTransfer,
    UnusableLogicalUnit,
)
from san_console.initiator.settings import RetryPolicy
from san_console.iscsi.opcodes import FINAL, STATUS, UNDERFLOW
from san_console.iscsi.pdu import (
    AsyncMessage,
    LogoutRequest,
    LogoutResponse,
    NopIn,
    NopOut,
    Pdu,
    Reject,
    ScsiCommand,
    ScsiDataIn,
    ScsiResponse,
    TaskManagementRequest,
    TaskManagementResponse,
)
from san_console.names.portal import Portal
from san_console.scsi import sense
from san_console.scsi.inquiry import StandardInquiry
from tests.initiator.hostile import Hostile, hostile, session_settings

pytestmark = pytest.mark.conformance

READ_CAPACITY = 0x25
READ_10 = 0x28
WRITE_10 = 0x2A
INQUIRY = 0x12
Answer = Callable[[Hostile, ScsiCommand], Awaitable[bool]]


def check_condition(condition: sense.Condition) -> bytes:
    data = sense.build_fixed(*condition)
    return len(data).to_bytes(2, "big") + data


class Disk:
    """Answers like a disk of 64 blocks of 512 bytes, unless `special` has taken a command."""

    def __init__(self, special: Answer | None = None) -> None:
        self.special = special
        self.logins = 0
        self.isids: list[bytes] = []
        self.commands: list[int] = []
        self.peers: list[Hostile] = []
        self.unknown: list[Pdu] = []
        self.capacity = (63, 512)

    async def __call__(self, peer: Hostile) -> None:
        await peer.log_in()
        self.logins += 1
        self.isids.append(peer.isid)
        self.peers.append(peer)
        while True:
            pdu, _ = await peer.receive()
            if isinstance(pdu, ScsiCommand):
                self.commands.append(pdu.cdb[0])
                if self.special is None or not await self.special(peer, pdu):
                    await self.answer(peer, pdu)
            elif isinstance(pdu, LogoutRequest):
                await peer.send(LogoutResponse(itt=pdu.itt), numbered=True)
                return
            elif isinstance(pdu, TaskManagementRequest):
                await peer.send(TaskManagementResponse(itt=pdu.itt), numbered=True)
            elif isinstance(pdu, NopOut) and pdu.itt != 0xFFFFFFFF:
                await peer.send(NopIn(itt=pdu.itt), numbered=True)
            else:
                self.unknown.append(pdu)

    async def answer(self, peer: Hostile, pdu: ScsiCommand) -> None:
        length = pdu.expected_data_transfer_length
        match pdu.cdb[0]:
            case 0x12 if pdu.cdb[1] == 0:
                data = StandardInquiry(vendor="TEST", product="DISK", revision="1").build()
            case 0x12 | 0x1A | 0x9E:
                data = check_condition(sense.INVALID_FIELD_IN_CDB)
                await peer.send(ScsiResponse(itt=pdu.itt, status=2), data, numbered=True)
                return
            case 0x25:
                data = self.capacity[0].to_bytes(4, "big") + self.capacity[1].to_bytes(4, "big")
            case 0x28:
                data = b"r" * length
            case _:
                await peer.send(ScsiResponse(itt=pdu.itt), numbered=True)
                return
        data = data[:length]
        flags = FINAL | STATUS | (UNDERFLOW if len(data) < length else 0)
        residual = length - len(data)
        await peer.send(ScsiDataIn(itt=pdu.itt, flags=flags, residual_count=residual), data, numbered=True)


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - watches plain attributes
            await asyncio.sleep(0.005)


async def up(portal: Portal, events: list[SessionEvent] | None = None, **changes: object) -> Session:
    on_event = events.append if events is not None else None
    session = Session(session_settings(portal, **changes), on_event=on_event)
    await session.login()
    session.start()
    # Time2Wait is a matter of the target; these tests do not wait for it.
    assert session.result is not None
    session.result.params.default_time2wait_s = 0
    return session


def once(opcode: int, act: Answer) -> Answer:
    """`act` on the first command of that opcode, the ordinary answer on others."""
    done = False

    async def special(peer: Hostile, pdu: ScsiCommand) -> bool:
        nonlocal done
        if done or pdu.cdb[0] != opcode:
            return False
        done = True
        return await act(peer, pdu)

    return special


async def test_a_disk_without_extras_can_be_used() -> None:
    disk = Disk()
    async with hostile(disk) as portal:
        session = await up(portal)
        info = await session.lun(0).info()
        assert (info.vendor, info.blocks, info.block_bytes, info.identity) == ("TEST", 64, 512, "")
        assert info.notes
        assert await session.lun(0).read(0, 2) == b"r" * 1024
        await session.lun(0).flush()
        await session.logout()
        assert session.state == "logged_out"


async def test_commands_in_flight_are_sent_again_after_a_loss_with_the_same_isid() -> None:
    async def cut(peer: Hostile, pdu: ScsiCommand) -> bool:
        raise EOFError

    disk = Disk(once(READ_10, cut))
    events: list[SessionEvent] = []
    async with hostile(disk) as portal:
        session = await up(portal, events)
        unit = session.lun(0)
        await unit.info()
        reads = await asyncio.gather(*(unit.read(number, 1) for number in range(8)))
        assert reads == [b"r" * 512] * 8
        assert disk.logins == 2
        assert disk.isids[0] == disk.isids[1] == session.isid
        assert session.counters.reconnects == 1
        assert session.counters.reissued >= 1
        assert session.attempt == 0
        assert session.next_retry_at is None
        await session.logout()
    kinds = [event.kind for event in events]
    assert kinds[-4:] == ["connection_lost", "retry_scheduled", "recovered", "logout"]


async def test_what_may_not_be_repeated_fails_with_the_session() -> None:
    async def cut(peer: Hostile, pdu: ScsiCommand) -> bool:
        raise EOFError

    disk = Disk(once(0x89, cut))
    async with hostile(disk) as portal:
        session = await up(portal)
        with pytest.raises(SessionLost):
            await session.lun(0).execute(bytes([0x89]) + bytes(15), data=bytes(1024))
        assert disk.commands.count(0x89) == 1
        await session.logout()


async def test_a_session_that_is_not_kept_up_loses_its_commands() -> None:
    async def cut(peer: Hostile, pdu: ScsiCommand) -> bool:
        raise EOFError

    async with hostile(Disk(once(INQUIRY, cut))) as portal:
        session = Session(session_settings(portal))
        with pytest.raises(SessionLost, match="not logged in"):
            await session.report_luns()
        await session.login()
        with pytest.raises(SessionLost, match="closed the connection"):
            await session.lun(0).info()
        assert session.state == "failed"
        assert session.connections == []
        assert session.window == (0, 0)


async def test_a_bounded_number_of_tries_ends() -> None:
    disk = Disk()
    events: list[SessionEvent] = []
    async with hostile(disk) as portal:
        session = await up(portal, events, retry=RetryPolicy(first_s=0.01, max_s=0.02, attempts=3))
        unit = session.lun(0)
    await until(lambda: session.state == "failed")
    with pytest.raises(InitiatorError):
        await unit.info()
    assert [event.kind for event in events].count("login_failed") == 3
    assert events[-1].kind == "stopped"


async def test_unit_attentions_are_told_and_the_command_repeated() -> None:
    queue = [sense.POWER_ON_RESET, sense.REPORTED_LUNS_DATA_CHANGED, sense.CAPACITY_DATA_CHANGED]

    async def attention(peer: Hostile, pdu: ScsiCommand) -> bool:
        if not queue:
            return False
        await peer.send(ScsiResponse(itt=pdu.itt, status=2), check_condition(queue.pop(0)), numbered=True)
        return True

    events: list[SessionEvent] = []
    async with hostile(Disk(attention)) as portal:
        session = await up(portal, events)
        await session.lun(0).info()
        await session.logout()
    told = [(event.kind, event.details.get("asc")) for event in events if "lun" in event.details]
    assert told == [("unit_attention", 0x29), ("luns_changed", 0x3F), ("unit_attention", 0x2A)]


async def test_attentions_without_an_end_are_handed_on() -> None:
    async def attention(peer: Hostile, pdu: ScsiCommand) -> bool:
        await peer.send(
            ScsiResponse(itt=pdu.itt, status=2), check_condition(sense.POWER_ON_RESET), numbered=True
        )
        return True

    async with hostile(Disk(attention)) as portal:
        session = await up(portal)
        with pytest.raises(ScsiFailure, match="POWER ON"):
            await session.lun(0).info()
        await session.logout()


@pytest.mark.parametrize("status", [0x08, 0x28])
async def test_a_busy_target_is_given_time(status: int) -> None:
    left = 3

    async def busy(peer: Hostile, pdu: ScsiCommand) -> bool:
        nonlocal left
        if pdu.cdb[0] != READ_10 or not left:
            return False
        left -= 1
        await peer.send(ScsiResponse(itt=pdu.itt, status=status), numbered=True)
        return True

    disk = Disk(busy)
    async with hostile(disk) as portal:
        session = await up(portal)
        assert await session.lun(0).read(0, 1) == b"r" * 512
        assert disk.commands.count(READ_10) == 4
        await session.logout()


@pytest.mark.parametrize(
    ("status", "data", "word"),
    [
        (0x18, b"", "RESERVATION CONFLICT"),
        (0x02, b"", "without sense"),
        (0x02, check_condition(sense.UNRECOVERED_READ_ERROR), "MEDIUM ERROR"),
        (0x7E, b"", "7e"),
    ],
)
async def test_a_failed_status_is_explained(status: int, data: bytes, word: str) -> None:
    async def fail(peer: Hostile, pdu: ScsiCommand) -> bool:
        await peer.send(ScsiResponse(itt=pdu.itt, status=status), data, numbered=True)
        return True

    async with hostile(Disk(once(READ_10, fail))) as portal:
        session = await up(portal)
        with pytest.raises(ScsiFailure, match=word) as failure:
            await session.lun(0).read(0, 1)
        assert (failure.value.status, failure.value.side) == (status, "target")
        await session.logout()


async def test_a_good_read_that_brought_too_little_is_no_success() -> None:
    async def short(peer: Hostile, pdu: ScsiCommand) -> bool:
        await peer.send(ScsiDataIn(itt=pdu.itt, flags=FINAL | STATUS), b"r" * 100, numbered=True)
        return True

    async with hostile(Disk(once(READ_10, short))) as portal:
        session = await up(portal)
        with pytest.raises(ShortTransfer):
            await session.lun(0).read(0, 1)
        await session.logout()


async def test_a_rejected_command_fails() -> None:
    async def reject(peer: Hostile, pdu: ScsiCommand) -> bool:
        await peer.send(Reject(reason=5), pdu.pack(), numbered=True)
        return True

    async with hostile(Disk(once(READ_10, reject))) as portal:
        session = await up(portal)
        with pytest.raises(CommandRefused, match="not supported"):
            await session.lun(0).read(0, 1)
        await session.logout()


async def test_a_command_without_an_answer_is_aborted() -> None:
    async def ignore(peer: Hostile, pdu: ScsiCommand) -> bool:
        return True

    async with hostile(Disk(once(READ_10, ignore))) as portal:
        session = await up(portal, command_timeout_s=0.2)
        with pytest.raises(CommandTimedOut):
            await session.lun(0).read(0, 1)
        assert session.counters.timeouts == 1
        assert await session.lun(0).read(0, 1) == b"r" * 512
        await session.logout()


async def test_a_cancelled_read_is_aborted() -> None:
    arrived = asyncio.Event()

    async def ignore(peer: Hostile, pdu: ScsiCommand) -> bool:
        arrived.set()
        return True

    async with hostile(Disk(once(READ_10, ignore))) as portal:
        session = await up(portal)
        await session.lun(0).info()
        read = asyncio.create_task(session.lun(0).read(0, 1))
        await arrived.wait()
        read.cancel()
        with pytest.raises(asyncio.CancelledError):
            await read
        await until(lambda: session.window[0] == 0)
        await session.logout()


async def test_data_beyond_the_buffer_costs_the_session_and_nothing_else() -> None:
    async def beyond(peer: Hostile, pdu: ScsiCommand) -> bool:
        await peer.send(
            ScsiDataIn(itt=pdu.itt, buffer_offset=512, flags=FINAL | STATUS), b"!" * 64, numbered=True
        )
        return True

    disk = Disk(once(READ_10, beyond))
    events: list[SessionEvent] = []
    async with hostile(disk) as portal:
        session = await up(portal, events)
        assert await session.lun(0).read(0, 1) == b"r" * 512
        assert disk.logins == 2
        await session.logout()
    lost = next(event for event in events if event.kind == "connection_lost")
    assert "up to byte 576" in lost.text


@pytest.mark.parametrize("capacity", [(63, 0), (63, 3), (63, 1), (63, 0x7FFFFFFF)])
async def test_a_silly_geometry_is_refused(capacity: tuple[int, int]) -> None:
    disk = Disk()
    disk.capacity = capacity
    async with hostile(disk) as portal:
        session = await up(portal)
        with pytest.raises(UnusableLogicalUnit):
            await session.lun(0).read(0, 1)
        await session.logout()


async def test_a_list_of_luns_that_lies_about_its_length() -> None:
    async def lie(peer: Hostile, pdu: ScsiCommand) -> bool:
        data = (0xFFFFFFF8).to_bytes(4, "big") + bytes(4) + bytes(8) + (5 << 48).to_bytes(8, "big")
        flags = FINAL | STATUS | UNDERFLOW
        residual = pdu.expected_data_transfer_length - len(data)
        await peer.send(ScsiDataIn(itt=pdu.itt, flags=flags, residual_count=residual), data, numbered=True)
        return True

    async def special(peer: Hostile, pdu: ScsiCommand) -> bool:
        return pdu.cdb[0] == 0xA0 and await lie(peer, pdu)

    async with hostile(Disk(special)) as portal:
        session = await up(portal)
        async with asyncio.timeout(5):
            assert await session.report_luns() == [0, 5]
        await session.logout()


# ---- what the target says on its own ----


async def test_a_wish_for_logout_is_fulfilled_and_the_session_comes_back() -> None:
    disk = Disk()
    events: list[SessionEvent] = []
    async with hostile(disk) as portal:
        session = await up(portal, events)
        await session.lun(0).info()
        await disk.peers[0].send(AsyncMessage(async_event=1, parameter3=1), numbered=True)
        await until(lambda: disk.logins == 2 and session.state == "logged_in")
        assert await session.lun(0).read(0, 1) == b"r" * 512
        await session.logout()
    assert "async_message" in [event.kind for event in events]


async def test_a_scsi_event_tells_of_changed_luns() -> None:
    disk = Disk()
    events: list[SessionEvent] = []
    async with hostile(disk) as portal:
        session = await up(portal, events)
        await until(lambda: disk.peers)
        data = check_condition(sense.REPORTED_LUNS_DATA_CHANGED)
        await disk.peers[0].send(AsyncMessage(async_event=0, lun=3 << 48), data, numbered=True)
        await until(lambda: any(event.kind == "luns_changed" for event in events))
        assert events[-1].details["lun"] == 3
        await disk.peers[0].send(AsyncMessage(async_event=0, lun=0xFFFF << 48), data, numbered=True)
        await until(lambda: len([event for event in events if event.kind == "luns_changed"]) == 2)
        assert events[-1].details["lun"] is None
        await session.logout()


async def test_an_announced_drop_says_how_long_to_stay_away() -> None:
    disk = Disk()
    events: list[SessionEvent] = []
    async with hostile(disk) as portal:
        session = await up(portal, events)
        await until(lambda: disk.peers)
        await disk.peers[0].send(AsyncMessage(async_event=3, parameter2=30), numbered=True)
        await until(lambda: any(event.kind == "async_message" for event in events))
        disk.peers[0].writer.close()
        await until(lambda: session.state == "retrying" and session.next_retry_at)
        scheduled = next(event for event in events if event.kind == "retry_scheduled")
        assert scheduled.details["delay_s"] == 30
        session.retry_now()
        await until(lambda: session.state == "logged_in")
        await session.logout()


async def test_a_dead_connection_is_noticed() -> None:
    """A target that neither answers nor closes."""

    async def dead(peer: Hostile) -> None:
        await peer.log_in()
        while True:
            await peer.receive()

    events: list[SessionEvent] = []
    async with hostile(dead) as portal:
        session = await up(portal, events, nop_interval_s=0.05, nop_timeout_s=0.2)
        await until(lambda: any(event.kind == "nop_timeout" for event in events))
        assert "connection_lost" in [event.kind for event in events]
        await session.drop()
        assert session.state == "logged_out"


async def test_a_logout_that_nobody_answers_ends_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("san_console.initiator.session.LOGOUT_TIMEOUT_S", 0.1)

    async def deaf(peer: Hostile) -> None:
        await peer.log_in()
        while True:
            await peer.receive()

    events: list[SessionEvent] = []
    async with hostile(deaf) as portal:
        session = await up(portal, events)
        await session.logout()
    assert session.state == "logged_out"
    assert (events[-1].kind, events[-1].severity) == ("logout", "warning")
