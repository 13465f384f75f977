"""Asynchronous messages: contents, deadlines, and what follows (RFC 7143 §11.9)."""

from __future__ import annotations

import pytest

from san_console.iscsi import opcodes as o
from san_console.iscsi.errors import LocalProtocolError
from san_console.iscsi.parameters import OperationalParameters
from san_console.iscsi.pdu import AsyncMessage, Pdu, ScsiDataIn, TextResponse
from tests.iscsi.target_harness import Initiator


def message(answers: list[tuple[Pdu, bytes]]) -> tuple[AsyncMessage, bytes]:
    [(pdu, data)] = answers
    assert isinstance(pdu, AsyncMessage)
    return pdu, data


def test_a_scsi_event_carries_sense_data() -> None:
    """§11.9.3, §11.9.4: LUN valid, sense data with its length first."""
    one = Initiator()
    assert one.session.send_async(o.ASYNC_SCSI_EVENT, lun=5 << 48, data=b"\x70\0\x06" + bytes(15))
    pdu, data = message(one.answers())
    assert (pdu.async_event, pdu.lun, pdu.itt, pdu.stat_sn) == (0, 5 << 48, o.RESERVED_TAG, 1)
    assert data == b"\0\x12\x70\0\x06" + bytes(15)
    assert one.link.woken == 1
    # StatSN was consumed (§11.9: the next response has another one).
    [(read, _)] = one.feed(one.read(4))
    assert isinstance(read, ScsiDataIn)
    assert read.stat_sn == 2


def test_event_data_of_other_events_has_no_sense() -> None:
    one = Initiator()
    one.session.send_async(o.ASYNC_VENDOR_SPECIFIC, parameter1=1, parameter2=2, parameter3=3, data=b"xyz")
    pdu, data = message(one.answers())
    assert (pdu.parameter1, pdu.parameter2, pdu.parameter3, data) == (1, 2, 3, b"\0\0xyz")


def test_a_message_goes_over_one_connection_that_works() -> None:
    one = Initiator(OperationalParameters(max_connections=3))
    second = one.connect(1)
    one.connection.close("test")
    assert one.session.send_async(o.ASYNC_SCSI_EVENT)
    assert message(second.answers())
    assert one.answers() == []
    second.drop()
    assert not one.session.send_async(o.ASYNC_SCSI_EVENT)


def test_task_termination_needs_fast_abort() -> None:
    """§11.9.1, event 5."""
    with pytest.raises(LocalProtocolError):
        Initiator().session.send_async(o.ASYNC_FAST_ABORT)
    one = Initiator(OperationalParameters(task_reporting="FastAbort"))
    assert one.session.send_async(o.ASYNC_FAST_ABORT, lun=7)


def test_an_initiator_that_does_not_log_out_in_time_is_dropped() -> None:
    """§11.9.1, event 1: then event 2, with the CID and both times."""
    one = Initiator(OperationalParameters(error_recovery_level=2))
    one.tick(10.0)
    one.connection.requests.ask_for_logout(3)
    pdu, _ = message(one.answers())
    assert (pdu.async_event, pdu.parameter3) == (o.ASYNC_LOGOUT_REQUEST, 3)
    assert one.session.next_deadline() == 13.0
    one.tick(12.9)
    assert not one.closed
    one.tick(13.0)
    pdu, _ = message(one.answers())
    assert (pdu.async_event, pdu.parameter1, pdu.parameter2, pdu.parameter3) == (
        o.ASYNC_CONNECTION_DROP,
        0,
        2,
        20,
    )
    assert one.connection.closing
    assert [cid for cid, _ in one.closed] == [0]
    assert one.session.may_continue  # level 2: for its continuation
    one.tick(35.0)
    assert one.session.terminated


def test_an_initiator_that_logs_out_is_not_dropped() -> None:
    one = Initiator()
    one.connection.requests.ask_for_logout(3)
    one.feed(one.logout())
    one.answers()
    one.tick(60.0)
    assert one.closed == [(0, "logout")]
    assert one.answers() == []


def test_the_drop_of_all_connections_ends_the_session() -> None:
    """§11.9.1, event 3."""
    one = Initiator(OperationalParameters(max_connections=2))
    second = one.connect(1)
    one.session.asyncs.drop_all("maintenance")
    for link in (one.link, second):
        pdu, _ = message(link.answers())
        assert (pdu.async_event, pdu.parameter2, pdu.parameter3) == (o.ASYNC_SESSION_DROP, 2, 0)
    assert one.closed == [(0, "maintenance"), (1, "maintenance")]
    assert one.session.terminated


def test_renegotiation_on_request_of_the_target() -> None:
    """§11.9.1, event 4: the initiator honours it by a Text Request, in whose answer the target declares."""
    one = Initiator()
    one.connection.requests.request_negotiation(32768, 5)
    pdu, _ = message(one.answers())
    assert (pdu.async_event, pdu.parameter3) == (o.ASYNC_NEGOTIATION_REQUEST, 5)
    [(answer, data)] = one.feed(one.text(""))
    assert isinstance(answer, TextResponse)
    assert (answer.final, data) == (True, b"MaxRecvDataSegmentLength=32768\0")
    one.feed(one.write(20000, b"x" * 20000))  # longer than the 8192 of the login
    assert one.unit.memory[:20000] == b"x" * 20000
    [(_, data)] = one.feed(one.text(""))
    assert data == b""


def test_a_shorter_segment_length_does_not_refuse_what_is_on_its_way() -> None:
    one = Initiator()
    one.connection.requests.request_negotiation(512, 5)
    one.answers()
    assert len(one.feed(one.write(8192, b"x" * 8192))) == 1
