"""Task management over sockets, with the units and sessions of a real server behind it."""

from __future__ import annotations

import asyncio

import pytest

from san_console.iscsi import opcodes as o
from san_console.iscsi.parameters import DEFAULT_PROPOSALS, Offer
from san_console.iscsi.pdu import ScsiResponse, TaskManagementRequest, TaskManagementResponse
from san_console.scsi import cdb
from san_console.scsi.sense import parse as parse_sense
from tests.target.raw_initiator import RawInitiator, Served, until

MODERN = Offer(protocol_level=2, proposals=(*DEFAULT_PROPOSALS, "iSCSIProtocolLevel"))
OTHER_ISID = bytes.fromhex("8012345678ff")


async def function(
    raw: RawInitiator, number: int, *, tag: int = o.RESERVED_TAG, lun: int = 0
) -> TaskManagementResponse:
    raw.itt += 1
    pdu = TaskManagementRequest(
        function=number, lun=lun << 48, itt=raw.itt, referenced_task_tag=tag, cmd_sn=raw.cmd_sn
    )
    raw.send(pdu.pack())
    answer, _ = await raw.receive()
    assert isinstance(answer, TaskManagementResponse)
    return answer


async def attention(raw: RawInitiator) -> tuple[int, int]:
    raw.command(cdb.test_unit_ready())
    pdu, data = await raw.receive()
    assert isinstance(pdu, ScsiResponse)
    sense = parse_sense(data[2:])
    assert sense.key == 6
    return sense.asc, sense.ascq


async def test_a_target_cold_reset_ends_all_sessions() -> None:
    """RFC 7143 §11.5.1: after the response, all connections to all initiators."""
    async with Served() as served:
        one, other = await served.login(), await served.login(isid=OTHER_ISID)
        assert len(served.server.sessions()) == 2
        assert (await function(one, o.TMF_TARGET_COLD_RESET)).response == o.TMF_FUNCTION_COMPLETE
        assert await one.closed() == b""
        assert await other.closed() == b""
        await until(lambda: not served.server.sessions())
        again = await served.login()
        await attention(again)
        await again.read_block()
        for raw in (one, other, again):
            await raw.close()


async def test_an_i_t_nexus_reset_ends_one_session() -> None:
    """RFC 7144 §6.3; what comes back is told of the loss of its nexus."""
    async with Served() as served:
        one, other = await served.login(offer=MODERN), await served.login(isid=OTHER_ISID)
        await other.ready()
        assert (await function(one, o.TMF_I_T_NEXUS_RESET)).response == o.TMF_FUNCTION_COMPLETE
        assert await one.closed() == b""
        await until(lambda: len(served.server.sessions()) == 1)
        await other.read_block()
        again = await served.login(offer=MODERN)
        assert await attention(again) == (0x29, 0x07)
        for raw in (one, other, again):
            await raw.close()


@pytest.mark.parametrize("number", [o.TMF_LOGICAL_UNIT_RESET, o.TMF_TARGET_WARM_RESET])
async def test_a_reset_is_told_to_everybody(number: int) -> None:
    async with Served() as served:
        one, other = await served.login(), await served.login(isid=OTHER_ISID)
        await asyncio.gather(one.ready(), other.ready())
        assert (await function(one, number)).response == o.TMF_FUNCTION_COMPLETE
        for raw in (one, other):
            assert (await attention(raw))[0] == 0x29
            await raw.read_block()
            await raw.close()


async def test_queries() -> None:
    """RFC 7144 §6.4.2: nothing runs; a unit attention waits, until it was told."""
    async with Served() as served:
        one = await served.login(offer=MODERN)
        answer = await function(one, o.TMF_QUERY_ASYNCHRONOUS_EVENT)
        assert answer.response == o.TMF_FUNCTION_SUCCEEDED
        assert answer.additional_response_information >> 16 == 0x16
        asc_and_ascq = answer.additional_response_information & 0xFFFF
        assert await attention(one) == (asc_and_ascq >> 8, asc_and_ascq & 0xFF)
        assert (await function(one, o.TMF_QUERY_ASYNCHRONOUS_EVENT)).response == o.TMF_FUNCTION_COMPLETE
        assert (await function(one, o.TMF_QUERY_TASK_SET)).response == o.TMF_FUNCTION_COMPLETE
        assert (await function(one, o.TMF_QUERY_TASK, tag=99)).response == o.TMF_FUNCTION_COMPLETE
        assert (await function(one, o.TMF_QUERY_TASK_SET, lun=9)).response == o.TMF_LUN_DOES_NOT_EXIST
        await one.close()
