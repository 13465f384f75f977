"""Error recovery levels 0, 1 and 2 with one and four connections, PDU by PDU (RFC 7143 §7)."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from san_console.iscsi import opcodes as o
from san_console.iscsi.errors import LoginFailed
from san_console.iscsi.pdu import ReadyToTransfer, Reject, ScsiDataIn, ScsiResponse
from san_console.scsi.sense import parse as parse_sense
from tests.target.raw_initiator import Served, settings, until
from tests.target.scripted import (
    BLOCK_BYTES,
    MAX_BURST_BYTES,
    MAX_SEGMENT_BYTES,
    Command,
    Connection,
    Session,
    offer,
)

pytestmark = pytest.mark.conformance

EVERY = [(level, connections) for level in (0, 1, 2) for connections in (1, 4)]
BURST_BLOCKS = MAX_BURST_BYTES // BLOCK_BYTES


@asynccontextmanager
async def session_of(
    level: int, connections: int, **changes: object
) -> AsyncIterator[tuple[Served, Session]]:
    async with Served() as served:
        session = await Session.open(
            served.port, settings(offer=offer(level, connections, **changes)), connections
        )
        try:
            parameters = session.connections[0].parameters
            assert parameters.error_recovery_level == level
            assert parameters.max_connections == connections
            await take_attention(session)
            yield served, session
        finally:
            await session.close()


async def take_attention(session: Session) -> tuple[int, int]:
    """Take the unit attention that is pending, such as that of a new nexus; gives its code."""
    first = session.connections[0]
    first.read(0, 1)
    pdu, data = await first.expect(ScsiResponse)
    sense = parse_sense(data[2:])
    assert (pdu.status, sense.key) == (2, 6)
    return sense.asc, sense.ascq


def blocks(count: int, seed: int) -> bytes:
    return random.Random(seed).randbytes(count * BLOCK_BYTES)


@pytest.mark.parametrize(("level", "connections"), EVERY)
async def test_data_goes_and_comes_on_every_connection(level: int, connections: int) -> None:
    async with session_of(level, connections) as (served, session):
        assert [info.connections for info in served.server.sessions()] == [connections]
        for number, connection in session.connections.items():
            data = blocks(24, number)  # three bursts
            assert await connection.finish_write(connection.write(number * 32, data)) == 0
            other = session.connections[(number + 1) % connections]
            assert await other.finish_read(other.read(number * 32, 24)) == data
            await connection.ping()


@pytest.mark.parametrize("level", [0, 1, 2])
async def test_commands_run_in_the_order_of_cmd_sn_whatever_connection_brings_them(level: int) -> None:
    """§4.2.2.1: the later commands wait, on their connections, until the first one has come."""
    async with session_of(level, 4) as (_, session):
        numbers = [session.take_cmd_sn() for _ in range(4)]
        writes: list[Command] = []
        for index in (3, 2, 1):
            connection = session.connections[index]
            writes.append(connection.write(0, blocks(1, index), cmd_sn=numbers[index]))
        for index in (3, 2, 1):
            await session.connections[index].ping()  # an immediate command is answered, the write is not
        first = session.connections[0]
        assert await first.finish_write(first.write(0, blocks(1, 0), cmd_sn=numbers[0])) == 0
        for index, command in zip((1, 2, 3), reversed(writes), strict=True):
            assert await session.connections[index].finish_write(command) == 0
        assert await first.finish_read(first.read(0, 1)) in {blocks(1, index) for index in range(4)}


@pytest.mark.parametrize(("level", "connections"), EVERY)
async def test_a_damaged_data_out_costs_the_command_or_nothing(level: int, connections: int) -> None:
    """§7.8: Reject 02h always; then a failed command at level 0, a recovery R2T above."""
    async with session_of(level, connections) as (served, session):
        connection = session.connections[connections - 1]
        data = blocks(BURST_BLOCKS, 1)
        command = connection.write(8, data)
        r2t, _ = await connection.expect(ReadyToTransfer)
        connection.data_out(command, r2t, damage=1)
        reject, _ = await connection.expect(Reject)
        assert reject.reason == o.REJECT_DATA_DIGEST_ERROR
        if level == 0:
            pdu, sense = await connection.expect(ScsiResponse)
            found = parse_sense(sense[2:])
            assert (pdu.status, found.key, found.asc, found.ascq) == (2, 0x0B, 0x47, 0x05)
            assert await connection.finish_read(connection.read(8, BURST_BLOCKS)) == bytes(len(data))
        else:
            assert await connection.finish_write(command) == 0
            assert await connection.finish_read(connection.read(8, BURST_BLOCKS)) == data
        assert served.server.sessions()[0].counters.digest_errors == 1
        await connection.ping()


@pytest.mark.parametrize(("level", "connections"), [(1, 1), (1, 4), (2, 1), (2, 4)])
async def test_a_lost_data_out_is_asked_for_again(level: int, connections: int) -> None:
    """§7.9, sequence error: the gap in DataSN brings an R2T for what is missing, and nothing else."""
    async with session_of(level, connections) as (_, session):
        connection = session.connections[0]
        data = blocks(BURST_BLOCKS, 2)
        command = connection.write(16, data)
        r2t, _ = await connection.expect(ReadyToTransfer)
        connection.data_out(command, r2t, leave_out=1)
        again, _ = await connection.expect(ReadyToTransfer)
        assert again.buffer_offset == MAX_SEGMENT_BYTES
        assert again.desired_data_transfer_length <= MAX_BURST_BYTES - MAX_SEGMENT_BYTES
        connection.data_out(command, again)
        assert await connection.finish_write(command) == 0
        assert await connection.finish_read(connection.read(16, BURST_BLOCKS)) == data


@pytest.mark.parametrize(("level", "connections"), [(1, 1), (1, 4), (2, 1), (2, 4)])
async def test_data_in_comes_again_for_a_snack(level: int, connections: int) -> None:
    """§11.16.1: a run of Data-In, the rest of it (RunLength 0), before the status is acknowledged."""
    async with session_of(level, connections) as (_, session):
        connection = session.connections[connections - 1]
        data = blocks(BURST_BLOCKS, 3)
        assert await connection.finish_write(connection.write(0, data)) == 0
        command = connection.read(0, BURST_BLOCKS)
        seen: list[ScsiDataIn] = []
        while not seen or not seen[-1].flags & o.STATUS:
            pdu, part = await connection.expect(ScsiDataIn)
            seen.append(pdu)
            connection.exp_stat_sn -= bool(pdu.flags & o.STATUS)  # as if the last one had been lost
        connection.snack(o.SNACK_DATA_R2T, 1, 2, command)
        for data_sn in (1, 2):
            pdu, part = await connection.expect(ScsiDataIn)
            assert (pdu.data_sn, pdu.buffer_offset) == (data_sn, data_sn * MAX_SEGMENT_BYTES)
            assert part == data[pdu.buffer_offset : pdu.buffer_offset + len(part)]
        connection.snack(o.SNACK_DATA_R2T, len(seen) - 1, 0, command)
        pdu, part = await connection.expect(ScsiDataIn)
        assert part == data[-MAX_SEGMENT_BYTES:]
        if not pdu.flags & o.STATUS:
            connection.snack(o.SNACK_STATUS, connection.exp_stat_sn, 1)
            again, _ = await connection.expect(ScsiResponse)
            assert (again.itt, again.status, again.exp_data_sn) == (command.itt, 0, len(seen))
        await connection.ping()


@pytest.mark.parametrize(("level", "connections"), [(1, 1), (1, 4), (2, 1), (2, 4)])
async def test_a_lost_status_comes_again_for_a_snack(level: int, connections: int) -> None:
    """§11.16.1: by StatSN; for a number that was never sent there is a Reject."""
    async with session_of(level, connections) as (_, session):
        connection = session.connections[0]
        command = connection.write(0, blocks(1, 4))
        assert await connection.finish_write(command) == 0
        stat_sn = connection.exp_stat_sn - 1
        connection.exp_stat_sn = stat_sn
        connection.snack(o.SNACK_STATUS, stat_sn, 1)
        again, _ = await connection.expect(ScsiResponse)
        assert (again.itt, again.stat_sn, again.status) == (command.itt, stat_sn, 0)
        connection.snack(o.SNACK_STATUS, stat_sn + 1000, 1)
        reject, _ = await connection.expect(Reject)
        assert reject.reason in (o.REJECT_PROTOCOL_ERROR, o.REJECT_SNACK)
        await connection.ping()


@pytest.mark.parametrize(("level", "connections"), [(1, 1), (1, 4), (2, 1), (2, 4)])
async def test_a_lost_r2t_comes_again_for_a_snack(level: int, connections: int) -> None:
    """§11.16.1: an R2T that the initiator has not seen."""
    async with session_of(level, connections) as (_, session):
        connection = session.connections[0]
        data = blocks(4, 5)
        command = connection.write(4, data)
        lost, _ = await connection.expect(ReadyToTransfer)
        connection.snack(o.SNACK_DATA_R2T, lost.r2t_sn, 1, command)
        again, _ = await connection.expect(ReadyToTransfer)
        assert (again.r2t_sn, again.buffer_offset) == (lost.r2t_sn, lost.buffer_offset)
        connection.data_out(command, again)
        assert await connection.finish_write(command) == 0
        assert await connection.finish_read(connection.read(4, 4)) == data


async def test_a_snack_at_level_0_is_refused() -> None:
    """§11.16: SNACK belongs to level 1 and above."""
    async with session_of(0, 1) as (_, session):
        connection = session.connections[0]
        connection.snack(o.SNACK_STATUS, 0, 0)
        reject, _ = await connection.expect(Reject)
        assert reject.reason in (o.REJECT_PROTOCOL_ERROR, o.REJECT_SNACK)
        await connection.ping()


@pytest.mark.parametrize(("level", "connections"), EVERY)
async def test_a_damaged_header_costs_the_connection(level: int, connections: int) -> None:
    """§7.8: without markers the stream cannot be followed; with others left, the session lives on."""
    async with session_of(level, connections) as (served, session):
        victim = session.connections[connections - 1]
        victim.send(victim.read(0, 1).pdu, damage="header")
        await victim.closed()
        if connections > 1:
            await until(lambda: served.server.sessions()[0].connections == connections - 1)
            response = await session.connections[0].logout(o.LOGOUT_CLOSE_CONNECTION, victim.cid)
            assert response.response in (o.LOGOUT_DONE, o.LOGOUT_CID_NOT_FOUND)
            await session.connections[0].ping()
        elif level < 2:
            await until(lambda: not served.server.sessions())


@pytest.mark.parametrize("level", [0, 1, 2])
async def test_a_connection_is_closed_by_another(level: int) -> None:
    """§11.14: Logout with reason 1 and another CID ends that connection and its tasks."""
    async with session_of(level, 4) as (served, session):
        victim = session.connections[2]
        victim.write(0, blocks(1, 9))
        await victim.expect(ReadyToTransfer)
        response = await session.connections[1].logout(o.LOGOUT_CLOSE_CONNECTION, 2)
        assert response.response == o.LOGOUT_DONE
        await victim.closed()
        assert served.server.sessions()[0].connections == 3
        fresh = await session.connect(2)
        # §11.14.5: SOME COMMANDS CLEARED BY ISCSI PROTOCOL EVENT
        assert await take_attention(session) == (0x47, 0x7F)
        data = blocks(2, 10)
        assert await fresh.finish_write(fresh.write(0, data)) == 0
        assert await session.connections[0].finish_read(session.connections[0].read(0, 2)) == data


async def test_more_connections_than_negotiated_are_refused() -> None:
    """§6.3.1 and §13.2: too many connections."""
    async with session_of(0, 4) as (served, session):
        with pytest.raises(LoginFailed) as refused:
            await session.connect(9)
        assert (refused.value.status_class, refused.value.status_detail) == (2, 6)
        assert served.server.sessions()[0].connections == 4


@pytest.mark.parametrize("reconnect_same_cid", [True, False])
async def test_level_2_takes_tasks_over_to_another_connection(reconnect_same_cid: bool) -> None:
    """§7.2.2: a connection is cut with a read and a write on it; both go on elsewhere, none runs twice."""
    async with session_of(2, 4) as (served, session):
        victim = session.connections[3]
        data = blocks(2 * BURST_BLOCKS, 11)
        write = victim.write(64, data)
        r2t, _ = await victim.expect(ReadyToTransfer)
        victim.data_out(write, r2t)
        next_r2t, _ = await victim.expect(ReadyToTransfer)
        assert next_r2t.r2t_sn == r2t.r2t_sn + 1
        victim.cut()
        if reconnect_same_cid:
            heir = await session.connect(3)
        else:
            heir = session.connections[0]
            response = await heir.logout(o.LOGOUT_REMOVE_FOR_RECOVERY, 3)
            assert response.response == o.LOGOUT_DONE
        assert await heir.manage(o.TMF_TASK_REASSIGN, command=write, exp_data_sn=next_r2t.r2t_sn) == 0
        assert await heir.finish_write(write) == 0
        assert await heir.finish_read(heir.read(64, 2 * BURST_BLOCKS)) == data
        assert len(served.server.sessions()) == 1


async def test_level_2_sends_a_lost_status_on_another_connection() -> None:
    """§11.5.1: a task that has ended, with its status not acknowledged, gives its status to the heir."""
    async with session_of(2, 4) as (_, session):
        victim, heir = session.connections[1], session.connections[0]
        data = blocks(1, 12)
        command = victim.write(80, data)
        r2t, _ = await victim.expect(ReadyToTransfer)
        victim.data_out(command, r2t)
        await victim.expect(ScsiResponse)
        victim.cut()
        response = await heir.logout(o.LOGOUT_REMOVE_FOR_RECOVERY, 1)
        assert response.response == o.LOGOUT_DONE
        assert await heir.manage(o.TMF_TASK_REASSIGN, command=command) == 0
        assert await heir.finish_write(command) == 0
        assert await heir.finish_read(heir.read(80, 1)) == data


async def test_level_2_goes_on_after_the_only_connection_was_lost() -> None:
    """§7.2.1, §8: the session waits for Time2Retain, and goes on with its tasks."""
    async with session_of(2, 1) as (served, session):
        lost = session.connections[0]
        data = blocks(BURST_BLOCKS, 13)
        command = lost.write(96, data)
        r2t, _ = await lost.expect(ReadyToTransfer)
        lost.cut()
        await until(lambda: served.server.sessions()[0].recovering, "the session knows of the loss")
        heir = await session.connect(0)
        assert await heir.manage(o.TMF_TASK_REASSIGN, command=command, exp_data_sn=r2t.r2t_sn) == 0
        assert await heir.finish_write(command) == 0
        assert await heir.finish_read(heir.read(96, BURST_BLOCKS)) == data
        assert "session_lost" not in served.kinds()


async def test_reassignment_below_level_2_is_refused() -> None:
    """§11.5.1: response 4."""
    async with session_of(1, 4) as (_, session):
        victim = session.connections[1]
        command = victim.write(0, blocks(1, 14))
        await victim.expect(ReadyToTransfer)
        heir = session.connections[0]
        assert await heir.manage(o.TMF_TASK_REASSIGN, command=command) == o.TMF_REASSIGNMENT_NOT_SUPPORTED


async def test_a_task_that_is_still_at_home_is_not_reassigned() -> None:
    """§11.5.1: response 3, task still allegiant."""
    async with session_of(2, 4) as (_, session):
        victim, heir = session.connections[1], session.connections[0]
        command = victim.write(0, blocks(1, 15))
        r2t, _ = await victim.expect(ReadyToTransfer)
        assert await heir.manage(o.TMF_TASK_REASSIGN, command=command) == 3
        victim.data_out(command, r2t)
        pdu, _ = await victim.expect(ScsiResponse)
        assert pdu.status == 0


@pytest.mark.parametrize("level", [0, 1])
async def test_below_level_2_a_session_ends_with_its_last_connection(level: int) -> None:
    """§7.1.4: session recovery; a new login brings a new session."""
    async with session_of(level, 1) as (served, session):
        session.connections[0].cut()
        await until(lambda: not served.server.sessions())
        with pytest.raises(LoginFailed) as refused:
            await session.connect(0)
        assert (refused.value.status_class, refused.value.status_detail) == (2, 10)
        again = await Session.open(served.port, session.wanted)
        await take_attention(again)
        await again.connections[0].ping()
        await again.close()


@pytest.mark.parametrize(("level", "connections"), EVERY)
async def test_random_traffic_leaves_what_was_written(level: int, connections: int) -> None:
    """Reads and writes over all connections, one in five damaged on its way; nothing wrong is ever read."""
    chance = random.Random(level * 10 + connections)
    model = bytearray(256 * BLOCK_BYTES)
    async with session_of(level, connections) as (served, session):
        faults = 0
        for number in range(120):
            connection = session.connections[chance.randrange(connections)]
            lba = chance.randrange(200)
            count = chance.randrange(1, 24)
            start, end = lba * BLOCK_BYTES, (lba + count) * BLOCK_BYTES
            if chance.random() < 0.5:
                assert await connection.finish_read(connection.read(lba, count)) == model[start:end]
                continue
            data = blocks(count, number)
            command = connection.write(lba, data)
            damage = 0 if chance.random() < 0.4 else -1
            faults += damage == 0
            if await _write(connection, command, damage):
                model[start:end] = data
            else:
                assert level == 0
                assert damage == 0
        first = session.connections[0]
        for lba in range(0, 256, 32):
            found = await first.finish_read(first.read(lba, 32))
            assert found == model[lba * BLOCK_BYTES : (lba + 32) * BLOCK_BYTES]
        assert faults > 10
        assert served.server.sessions()[0].counters.digest_errors == faults


async def _write(connection: Connection, command: Command, damage: int) -> bool:
    """True when the write succeeded; its first Data-Out is damaged when `damage` is 0."""
    while True:
        received = await connection.receive()
        if isinstance(received.pdu, ReadyToTransfer):
            connection.data_out(command, received.pdu, damage=damage)
            damage = -1
        elif isinstance(received.pdu, ScsiResponse):
            return received.pdu.status == 0
        else:
            assert isinstance(received.pdu, Reject)
            assert received.pdu.reason == o.REJECT_DATA_DIGEST_ERROR


async def test_four_connections_at_once_keep_every_command_apart() -> None:
    """All connections busy at the same time; each gets the answers of its own commands only."""
    async with session_of(2, 4) as (_, session):

        async def work(number: int) -> None:
            connection = session.connections[number]
            for turn in range(40):
                data = blocks(12, number * 1000 + turn)
                lba = number * 64 + turn % 4 * 12
                assert await connection.finish_write(connection.write(lba, data)) == 0
                assert await connection.finish_read(connection.read(lba, 12)) == data

        await asyncio.gather(*(work(number) for number in range(4)))
