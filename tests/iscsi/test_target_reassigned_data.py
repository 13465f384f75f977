"""Data of tasks that go from connection to connection (RFC 7143 §7.2.2, §7.8), against a model.

Connections break in the middle of transfers, each time another one takes the task up: no byte is ever wrong.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from san_console.iscsi import opcodes as o
from san_console.iscsi.errors import RemoteProtocolError
from san_console.iscsi.parameters import OperationalParameters
from san_console.iscsi.pdu import (
    LogoutResponse,
    Pdu,
    ReadyToTransfer,
    ScsiDataIn,
    ScsiResponse,
    TaskManagementResponse,
)
from tests.iscsi.target_harness import FakeUnit, Initiator, Link

PARAMETERS = OperationalParameters(
    max_connections=4,
    initial_r2t=False,
    max_recv_data_segment_bytes=8192,
    first_burst_bytes=2048,
    max_burst_bytes=4096,
    default_time2wait_s=0,
    default_time2retain_s=20,
    error_recovery_level=2,
)
WHOLE = bytes((i * 5 + (i >> 8)) & 0xFF for i in range(16384))
MEDIUM = bytes(FakeUnit().memory)


def take_over(
    one: Initiator, lost: Link, cid: int, tag: int, exp_data_sn: int, segment: int = 8192
) -> tuple[Link, list[tuple[Pdu, bytes]]]:
    """A new connection, which logs the lost one out and takes its task up."""
    lost.drop()
    link = one.connect(cid, replace(PARAMETERS, peer_max_recv_data_segment_bytes=segment))
    answers = link.feed(one.logout(o.LOGOUT_REMOVE_FOR_RECOVERY, lost.connection.cid))
    assert [pdu.response for pdu, _ in answers if isinstance(pdu, LogoutResponse)] == [o.LOGOUT_DONE]
    raw = one.task_management(o.TMF_TASK_REASSIGN, referenced=tag, exp_data_sn=exp_data_sn)
    (response, _), *rest = link.feed(raw)
    assert isinstance(response, TaskManagementResponse)
    assert response.response == o.TMF_FUNCTION_COMPLETE
    return link, rest


@settings(max_examples=100, deadline=None)
@given(
    length=st.integers(1, 16384),
    immediate=st.integers(0, 2048),
    unsolicited=st.booleans(),
    pdu_in_order=st.booleans(),
    breaks=st.lists(st.tuples(st.integers(0, 5), st.booleans()), max_size=5),
)
def test_writes(
    length: int,
    immediate: int,
    unsolicited: bool,
    pdu_in_order: bool,
    breaks: list[tuple[int, bool]],
) -> None:
    """`breaks`: how many Data-Outs still arrive, and whether the last R2Ts had reached the initiator."""
    one = Initiator(replace(PARAMETERS, data_pdu_in_order=pdu_in_order), command_window=32)
    one.unit.fast = False
    link, cid = one.link, 0
    immediate = min(immediate, length)
    unsolicited = unsolicited and immediate < min(2048, length)
    answers = link.feed(one.write(length, WHOLE[:immediate], final=not unsolicited))
    tag = one.itt
    waiting = [(o.RESERVED_TAG, immediate, min(2048, length) - immediate)] if unsolicited else []
    seen = 0  # R2TSNs that the initiator has
    for _ in range(100):
        done = [pdu for pdu, _ in answers if isinstance(pdu, ScsiResponse)]
        if done:
            break
        for pdu, _ in answers:
            if isinstance(pdu, ReadyToTransfer):
                assert pdu.r2t_sn == seen
                seen += 1
                waiting.append((pdu.ttt, pdu.buffer_offset, pdu.desired_data_transfer_length))
        answers = []
        ttt, offset, size = waiting.pop(0)
        pieces = [(at, min(1000, offset + size - at)) for at in range(offset, offset + size, 1000)]
        if not pdu_in_order:
            pieces.reverse()
        arriving = len(pieces)
        broken = bool(breaks)
        if broken:
            count, r2ts_seen = breaks.pop()
            arriving = min(count, arriving)
        for data_sn, (at, count) in enumerate(pieces[:arriving]):
            final = data_sn == len(pieces) - 1
            answers += link.feed(
                one.data_out(at, WHOLE[at : at + count], ttt=ttt, data_sn=data_sn, final=final, itt=tag)
            )
        if broken:
            cid += 1
            waiting = []
            if r2ts_seen:
                seen += sum(isinstance(pdu, ReadyToTransfer) for pdu, _ in answers)
            # The status may have been on its way: then it comes again.
            link, answers = take_over(one, link, cid, tag, seen)
    assert [pdu.status for pdu in done] == [0]
    assert one.unit.memory[:length] == WHOLE[:length]
    assert one.unit.memory[length:] == MEDIUM[length:]
    assert one.unit.executed == 1  # never done twice


@settings(max_examples=100, deadline=None)
@given(
    length=st.integers(1, 16384),
    breaks=st.lists(st.tuples(st.integers(0, 20), st.integers(512, 8192)), max_size=5),
)
def test_reads(length: int, breaks: list[tuple[int, int]]) -> None:
    """`breaks`: how many PDUs arrive, and MaxRecvDataSegmentLength of the next connection."""
    one = Initiator(replace(PARAMETERS, peer_max_recv_data_segment_bytes=1024), command_window=32)
    one.unit.fast = False
    link = one.link
    answers = link.feed(one.read(length))
    tag = one.itt
    received = b""
    expected = 0
    for cid, (count, segment) in enumerate([*breaks, (1000, 0)], 1):
        for pdu, data in answers[:count]:
            if isinstance(pdu, ScsiDataIn):
                if pdu.data_sn < expected:  # all of it again
                    assert received[pdu.buffer_offset :][: len(data)] == data
                    continue
                assert (pdu.data_sn, pdu.buffer_offset) == (expected, len(received))
                expected += 1
                received += data
            else:
                assert isinstance(pdu, ScsiResponse)
                assert pdu.exp_data_sn == expected
        if segment:
            link, answers = take_over(one, link, cid, tag, expected, segment)
    assert received == MEDIUM[:length]
    last, _ = answers[-1]
    assert isinstance(last, ScsiDataIn | ScsiResponse)
    assert (last.status, last.stat_sn) == (0, link.connection.stat_sn - 1)
    assert one.unit.executed == 1


def test_a_damaged_header_costs_the_connection_and_not_the_task() -> None:
    """§7.8: the stream cannot be followed any more; at level 2 another connection goes on with the task."""
    digests = replace(PARAMETERS, header_digest="CRC32C")
    one = Initiator(digests, command_window=32)
    one.unit.fast = False
    [(r2t, _)] = one.feed(one.write(4096))
    tag = one.itt
    assert isinstance(r2t, ReadyToTransfer)
    raw = bytearray(one.data_out(0, WHOLE[:4096], ttt=r2t.ttt))
    raw[40] ^= 4
    with pytest.raises(RemoteProtocolError, match="header digest"):
        one.feed(bytes(raw))
    assert one.framer.header_damaged
    lost, one.link = one.link, one.connect(1, digests)
    lost.drop()
    one.link.feed(one.logout(o.LOGOUT_REMOVE_FOR_RECOVERY, 0))
    raw_request = one.task_management(o.TMF_TASK_REASSIGN, referenced=tag, exp_data_sn=1)
    [(response, _), (again, _)] = one.link.feed(raw_request)
    assert isinstance(response, TaskManagementResponse)
    assert isinstance(again, ReadyToTransfer)
    assert (again.r2t_sn, again.buffer_offset, again.desired_data_transfer_length) == (1, 0, 4096)
    [(done, _)] = one.link.feed(one.data_out(0, WHOLE[:4096], ttt=again.ttt, itt=tag))
    assert isinstance(done, ScsiResponse)
    assert one.unit.memory[:4096] == WHOLE[:4096]
