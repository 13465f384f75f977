"""Requests other than SCSI commands, and what the target says on its own (RFC 7143 §11.5-11.19)."""

from __future__ import annotations

import pytest

from san_console.iscsi import opcodes
from san_console.iscsi.errors import LocalProtocolError, RemoteProtocolError
from san_console.iscsi.initiator_events import AsyncReceived, LogoutAnswered, RejectReceived
from san_console.iscsi.initiator_link import MAX_EVENTS, MAX_UNSENT_REPLIES
from san_console.iscsi.initiator_tasks import ABORTED, COMPLETED, LOST, REJECTED, Request, ScsiTask
from san_console.iscsi.opcodes import RESERVED_TAG
from san_console.iscsi.pdu import (
    AsyncMessage,
    LogoutRequest,
    LogoutResponse,
    NopIn,
    NopOut,
    ReadyToTransfer,
    Reject,
    ScsiCommand,
    ScsiDataOut,
    ScsiResponse,
    TaskManagementRequest,
    TaskManagementResponse,
    TextRequest,
    TextResponse,
)
from tests.iscsi.initiator_peer import READ_CDB, Peer, parameters


def last(peer: Peer) -> tuple[object, bytes]:
    return peer.sent()[-1]


# ---- NOP ----


def test_a_ping_is_answered() -> None:
    peer = Peer()
    request = peer.session.ping(3.0)
    pdu, _ = last(peer)
    assert pdu == NopOut(True, 0, request.itt, RESERVED_TAG, 10, 100)
    peer.send(NopIn(itt=request.itt), numbered=True)
    assert peer.session.take_ended_requests() == [request]
    assert (request.outcome, request.sent_at) == (COMPLETED, 3.0)


def test_a_ping_of_the_target_is_answered_with_its_tag_lun_and_data() -> None:
    peer = Peer()
    peer.send(NopIn(lun=7, ttt=42, stat_sn=100), b"abc" * 300)
    pdu, data = last(peer)
    assert pdu == NopOut(True, 7, RESERVED_TAG, 42, 10, 100)  # §11.19.2: this StatSN is not consumed
    assert data == (b"abc" * 300)[:512]


def test_a_nop_in_without_a_tag_is_not_answered() -> None:
    peer = Peer(window=1)
    peer.send(NopIn(stat_sn=100, exp_cmd_sn=10, max_cmd_sn=20))
    assert peer.sent() == []
    assert peer.session.window == (0, 11)


def test_a_flood_of_pings_that_nobody_takes_answers_of_is_cut_off() -> None:
    peer = Peer()
    for _ in range(MAX_UNSENT_REPLIES):
        peer.send(NopIn(ttt=1))
    peer.session.take_output()
    with pytest.raises(RemoteProtocolError, match="faster than it takes"):
        peer.send(NopIn(ttt=1))
    peer.session.output_drained()
    peer.send(NopIn(ttt=1))


def test_a_damaged_ping_is_counted_and_not_answered() -> None:
    peer = Peer(digests=True)
    peer.send(NopIn(ttt=1), b"abcd", damage=True)
    assert (peer.session.digest_errors, peer.session.has_output) == (1, False)


def test_an_answer_to_a_ping_that_was_never_sent_is_refused() -> None:
    with pytest.raises(RemoteProtocolError, match="nobody sent"):
        Peer().send(NopIn(itt=5), numbered=True)


# ---- task management ----


def test_an_aborted_task_ends_with_the_answer() -> None:
    peer = Peer()
    task, _ = peer.read(4)
    ended: list[Request] = []
    request = peer.session.abort(task, 2.0, ended.append)
    assert request is not None
    pdu, _ = last(peer)
    assert isinstance(pdu, TaskManagementRequest)
    assert (pdu.function, pdu.referenced_task_tag, pdu.ref_cmd_sn) == (opcodes.TMF_ABORT_TASK, task.itt, 10)
    assert pdu.immediate
    assert peer.session.take_completed() == []
    peer.send(TaskManagementResponse(itt=request.itt), numbered=True)
    assert peer.session.take_completed() == [task]
    assert (task.outcome, request.on_done) == (ABORTED, ended.append)


def test_a_task_that_ended_first_is_not_ended_twice() -> None:
    peer = Peer()
    task, _ = peer.read(4)
    request = peer.session.abort(task, 0.0)
    assert request is not None
    peer.send(ScsiResponse(itt=task.itt, status=8), numbered=True)
    peer.send(TaskManagementResponse(itt=request.itt, response=1), numbered=True)
    assert peer.session.take_completed() == [task]
    assert task.outcome == COMPLETED
    assert peer.session.abort(task, 0.0) is None


def test_a_refused_abort_leaves_the_task() -> None:
    peer = Peer()
    task, _ = peer.read(4)
    request = peer.session.abort(task, 0.0)
    assert request is not None
    peer.send(TaskManagementResponse(itt=request.itt, response=255), numbered=True)
    assert (request.response, task.outcome, peer.session.in_flight) == (255, 0, 1)


def test_a_reset_names_no_task() -> None:
    peer = Peer()
    peer.session.task_management(opcodes.TMF_LOGICAL_UNIT_RESET, 3 << 48, 0.0)
    pdu, _ = last(peer)
    assert isinstance(pdu, TaskManagementRequest)
    assert (pdu.lun, pdu.referenced_task_tag, pdu.ref_cmd_sn) == (3 << 48, RESERVED_TAG, 0)


# ---- text ----


def text(peer: Peer, max_bytes: int = 1000, max_parts: int = 10) -> Request:
    request = peer.session.text(b"SendTargets=All\0", 0.0, max_bytes=max_bytes, max_parts=max_parts)
    pdu, data = last(peer)
    assert isinstance(pdu, TextRequest)
    assert (pdu.final, pdu.immediate, pdu.ttt, data) == (True, True, RESERVED_TAG, b"SendTargets=All\0")
    return request


def test_a_text_answer_is_collected_over_its_parts() -> None:
    peer = Peer()
    request = text(peer)
    peer.send(
        TextResponse(final=False, continued=True, itt=request.itt, ttt=9, lun=4), b"Target", numbered=True
    )
    pdu, data = last(peer)
    assert isinstance(pdu, TextRequest)
    assert (pdu.ttt, pdu.lun, pdu.itt, data) == (9, 4, request.itt, b"")
    peer.send(TextResponse(itt=request.itt), b"Name=x\0", numbered=True)
    assert peer.session.take_ended_requests() == [request]
    assert (bytes(request.text), request.text_truncated) == (b"TargetName=x\0", False)


@pytest.mark.parametrize(("max_bytes", "max_parts", "expected"), [(10, 99, 10), (1000, 3, 12)])
def test_an_endless_text_answer_is_cut(max_bytes: int, max_parts: int, expected: int) -> None:
    peer = Peer()
    request = text(peer, max_bytes, max_parts)
    while not request.outcome:
        peer.send(TextResponse(final=False, itt=request.itt, ttt=9), b"abcd", numbered=True)
    assert (len(request.text), request.text_truncated) == (expected, True)


def test_a_long_final_text_is_cut_as_well() -> None:
    peer = Peer()
    request = text(peer, max_bytes=3)
    peer.send(TextResponse(itt=request.itt), b"abcdef", numbered=True)
    assert (bytes(request.text), request.text_truncated) == (b"abc", True)


@pytest.mark.parametrize(
    ("pdu", "why"),
    [
        (TextResponse(final=True, continued=True, itt=1), "both final"),
        (TextResponse(final=False, itt=1), "without a tag"),
        (TextResponse(itt=2), "nobody asked"),
    ],
)
def test_a_text_answer_that_makes_no_sense_is_refused(pdu: TextResponse, why: str) -> None:
    peer = Peer()
    text(peer)
    with pytest.raises(RemoteProtocolError, match=why):
        peer.send(pdu, b"x", numbered=True)


def test_a_damaged_text_answer_ends_the_session() -> None:
    peer = Peer(digests=True)
    request = text(peer)
    with pytest.raises(RemoteProtocolError, match="Text Response"):
        peer.send(TextResponse(itt=request.itt), b"abcd", numbered=True, damage=True)


def test_a_text_request_that_would_need_two_pdus_is_refused() -> None:
    with pytest.raises(LocalProtocolError, match="split"):
        Peer().session.text(bytes(513), 0.0, max_bytes=1, max_parts=1)


# ---- logout ----


def test_a_logout_stops_commands_and_brings_the_times() -> None:
    peer = Peer()
    request = peer.session.logout(opcodes.LOGOUT_CLOSE_SESSION, 0.0)
    pdu, _ = last(peer)
    assert pdu == LogoutRequest(True, 0, request.itt, 0, 10, 100)
    with pytest.raises(LocalProtocolError, match="logged out"):
        peer.session.submit(ScsiTask(0, READ_CDB), 0.0)
    peer.send(LogoutResponse(itt=request.itt, response=0, time2wait=3, time2retain=4), numbered=True)
    assert peer.session.take_events() == [LogoutAnswered(0, 3, 4)]
    assert request.outcome == COMPLETED


# ---- asynchronous messages ----


def test_a_scsi_event_brings_its_sense() -> None:
    peer = Peer()
    peer.send(AsyncMessage(lun=2 << 48, async_event=0), b"\x00\x04abcdrest", numbered=True)
    assert peer.session.take_events() == [AsyncReceived(0, 0, 2 << 48, 0, 0, 0, b"abcd")]
    peer.session.submit(ScsiTask(0, READ_CDB), 0.0)


def test_a_wish_for_logout_stops_new_commands() -> None:
    peer = Peer()
    peer.send(AsyncMessage(async_event=1, parameter3=9), numbered=True)
    (event,) = peer.session.take_events()
    assert isinstance(event, AsyncReceived)
    assert event.parameter3 == 9
    with pytest.raises(LocalProtocolError, match="asked for a logout"):
        peer.session.submit(ScsiTask(0, READ_CDB), 0.0)


@pytest.mark.parametrize("number", [2, 3, 5, 6, 200, 255])
def test_every_other_message_is_told_and_survived(number: int) -> None:
    peer = Peer()
    peer.send(AsyncMessage(async_event=number, parameter2=1), b"\xff\xff", numbered=True)
    (event,) = peer.session.take_events()
    assert isinstance(event, AsyncReceived)
    assert event.event == number
    assert peer.sent() == []


def test_a_wish_to_negotiate_is_answered_by_an_empty_text_request() -> None:
    peer = Peer()
    peer.send(AsyncMessage(async_event=4, parameter3=3), numbered=True)
    pdu, data = last(peer)
    assert isinstance(pdu, TextRequest)
    assert (pdu.final, pdu.ttt, data) == (True, RESERVED_TAG, b"")
    peer.send(AsyncMessage(async_event=4, parameter3=3), numbered=True)  # one is pending
    assert peer.sent() == []
    peer.send(TextResponse(itt=pdu.itt), numbered=True)
    assert len(peer.session.take_ended_requests()) == 1


def test_fast_abort_stops_data_of_the_unit_and_is_acknowledged() -> None:
    peer = Peer(parameters(), fast_abort=True)
    task, _ = peer.write(b"x" * 2000)
    other = ScsiTask(9, task.cdb, write_data=b"y" * 2000)
    peer.session.submit(other, 0.0)
    peer.sent()
    peer.send(AsyncMessage(lun=0, async_event=opcodes.ASYNC_FAST_ABORT), numbered=True)
    pdu, _ = last(peer)
    assert pdu == NopOut(True, 0, RESERVED_TAG, RESERVED_TAG, 12, 101)
    r2t = ReadyToTransfer(itt=task.itt, ttt=1, buffer_offset=512, desired_data_transfer_length=100)
    peer.send(r2t)
    assert peer.sent() == []
    peer.send(ReadyToTransfer(itt=other.itt, ttt=1, buffer_offset=512, desired_data_transfer_length=100))
    assert isinstance(last(peer)[0], ScsiDataOut)


def test_a_flood_of_messages_is_cut_off() -> None:
    peer = Peer()
    for _ in range(MAX_EVENTS):
        peer.send(AsyncMessage(async_event=255), numbered=True)
    with pytest.raises(RemoteProtocolError, match="nobody asked for"):
        peer.send(AsyncMessage(async_event=255), numbered=True)


# ---- reject ----


def test_a_rejected_command_is_over() -> None:
    peer = Peer()
    task, _ = peer.read(4)
    header = ScsiCommand(itt=task.itt).pack()
    peer.send(Reject(reason=opcodes.REJECT_WAITING_FOR_LOGOUT), header, numbered=True)
    assert peer.session.take_completed() == [task]
    assert (task.outcome, task.reject_reason) == (REJECTED, opcodes.REJECT_WAITING_FOR_LOGOUT)
    assert peer.session.take_events() == [RejectReceived(0x0C, opcodes.SCSI_COMMAND, task.itt)]


def test_rejected_data_leaves_the_task_to_its_own_response() -> None:
    peer = Peer()
    task, _ = peer.write(b"x" * 512)
    peer.send(Reject(reason=2), ScsiDataOut(itt=task.itt).pack(), numbered=True)
    peer.send(Reject(reason=2), ScsiCommand(itt=task.itt).pack(), numbered=True)
    assert (task.outcome, peer.session.digest_errors, peer.session.in_flight) == (0, 2, 1)


def test_a_rejected_request_is_over() -> None:
    peer = Peer()
    request = peer.session.ping(0.0)
    peer.send(Reject(reason=6), NopOut(itt=request.itt).pack(), numbered=True)
    assert (request.outcome, request.reject_reason) == (REJECTED, 6)


def test_a_reject_that_names_nothing_is_told() -> None:
    peer = Peer()
    peer.send(Reject(reason=4), b"short", numbered=True)
    peer.send(Reject(reason=4), NopOut(itt=77).pack(), numbered=True)
    assert peer.session.take_events() == [
        RejectReceived(4, None, None),
        RejectReceived(4, opcodes.NOP_OUT, 77),
    ]


def test_requests_end_with_the_connection() -> None:
    peer = Peer()
    request = text(peer)
    peer.session.connection_lost()
    assert request.outcome == LOST


def test_a_damaged_header_is_counted_as_a_digest_error() -> None:
    peer = Peer(digests=True)
    stream = bytearray(NopIn().pack() + bytes(4))
    view = peer.framer.writable()
    view[: len(stream)] = stream
    peer.framer.wrote(len(stream))
    with pytest.raises(RemoteProtocolError, match="header digest"):
        peer.session.receive()
    assert peer.session.digest_errors == 1


def test_everything_is_shown_to_the_tracer() -> None:
    peer = Peer()
    peer.session.ping(0.0)
    peer.send(NopIn())
    assert [direction for direction, _ in peer.traced] == ["out", "in"]
