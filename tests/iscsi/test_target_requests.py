"""NOP, Text and Logout at the target, and the NOP-Ins that probe the initiator."""

from __future__ import annotations

import pytest

from san_console.iscsi import opcodes as o
from san_console.iscsi.parameters import OperationalParameters
from san_console.iscsi.pdu import (
    AsyncMessage,
    LogoutRequest,
    LogoutResponse,
    NopIn,
    NopOut,
    Pdu,
    Reject,
    ScsiDataIn,
    TextResponse,
)
from tests.iscsi.target_harness import Initiator


def nop(one: Initiator, data: bytes = b"", **fields: int) -> bytes:
    pdu = NopOut(itt=one.next_itt(), cmd_sn=one.cmd_sn)
    for name, value in fields.items():
        setattr(pdu, name, value)
    if not pdu.immediate:
        one.cmd_sn += 1
    return one.bytes_of(pdu.pack(len(data)), data)


def logout(one: Initiator, reason: int = o.LOGOUT_CLOSE_SESSION, cid: int = 0) -> bytes:
    return one.bytes_of(LogoutRequest(reason=reason, itt=one.next_itt(), cid=cid, cmd_sn=one.cmd_sn).pack())


def text_of(answers: list[tuple[Pdu, bytes]]) -> tuple[TextResponse, bytes]:
    [(pdu, data)] = answers
    assert isinstance(pdu, TextResponse)
    return pdu, data


@pytest.mark.parametrize("immediate", [1, 0])
def test_a_ping_comes_back(immediate: int) -> None:
    one = Initiator()
    [(pdu, data)] = one.feed(nop(one, b"hello", immediate=immediate))
    assert isinstance(pdu, NopIn)
    assert (pdu.itt, pdu.ttt, pdu.stat_sn, data) == (one.itt, o.RESERVED_TAG, 1, b"hello")
    assert one.session.exp_cmd_sn == 2 - immediate
    assert one.session.max_cmd_sn == 9 - immediate
    assert one.connection.stat_sn == 2


def test_a_ping_is_cut_to_what_the_initiator_takes() -> None:
    one = Initiator(OperationalParameters(peer_max_recv_data_segment_bytes=512))
    [(_, data)] = one.feed(nop(one, b"p" * 1000))
    assert data == b"p" * 512


def test_pings_that_get_no_answer() -> None:
    one = Initiator()
    assert one.feed(nop(one, itt=o.RESERVED_TAG, ttt=7)) == []  # the answer to a NOP-In
    assert one.feed(nop(one, immediate=0, cmd_sn=40)) == []  # outside of the window
    [(pdu, _)] = one.feed(nop(one, itt=o.RESERVED_TAG, immediate=0))
    assert isinstance(pdu, Reject)


def test_a_silent_initiator_is_probed_and_then_given_up() -> None:
    one = Initiator()
    requests = one.connection.requests
    assert requests.next_deadline() == 5.0
    assert requests.tick(4.9)
    assert one.answers() == []
    assert requests.tick(5.0)
    [(pdu, _)] = one.answers()
    assert isinstance(pdu, NopIn)
    assert (pdu.itt, pdu.stat_sn) == (o.RESERVED_TAG, 1)
    assert pdu.ttt != o.RESERVED_TAG
    assert one.connection.stat_sn == 1  # shown, not consumed
    assert requests.next_deadline() == 10.0
    assert requests.tick(9.9)
    assert one.answers() == []
    assert not requests.tick(10.0)
    one.now = 10.5
    one.feed(nop(one, itt=o.RESERVED_TAG, ttt=pdu.ttt))
    assert requests.tick(11.0)
    assert requests.next_deadline() == 15.5


def test_send_targets_in_a_discovery_session() -> None:
    one = Initiator(discovery=True)
    pdu, data = text_of(one.feed(one.text("SendTargets=\0")))
    assert (pdu.final, pdu.continued, pdu.ttt, pdu.itt) == (True, False, o.RESERVED_TAG, one.itt)
    assert data == one.nexus.targets
    assert (pdu.exp_cmd_sn, pdu.max_cmd_sn) == (2, 9)
    _, data = text_of(one.feed(one.text("SendTargets=All\0")))
    assert data == b"SendTargets=Reject\0"


def test_a_long_answer_is_continued_under_a_tag() -> None:
    one = Initiator(OperationalParameters(peer_max_recv_data_segment_bytes=512))
    one.nexus.targets = b"".join(b"TargetName=iqn.2026-11.org.example:%03d\0" % n for n in range(40))
    pdu, data = text_of(one.feed(one.text("SendTargets=\0")))
    found = data
    while not pdu.final:
        assert pdu.ttt != o.RESERVED_TAG
        pdu, data = text_of(one.feed(one.text("", ttt=pdu.ttt, itt=pdu.itt)))
        found += data
        assert len(data) <= 512
    assert found == one.nexus.targets
    assert not pdu.continued


def test_a_request_in_pieces_is_asked_on() -> None:
    one = Initiator()
    pdu, data = text_of(one.feed(one.text("SendTa", final=0, continued=1)))
    assert (pdu.final, data) == (False, b"")
    pdu, data = text_of(one.feed(one.text("rgets=\0", ttt=pdu.ttt)))
    assert data == one.nexus.targets
    assert pdu.final


def test_an_initiator_that_is_not_finished_is_asked_on() -> None:
    one = Initiator()
    pdu, data = text_of(one.feed(one.text("SendTargets=\0", final=0)))
    assert (pdu.final, data) == (False, one.nexus.targets)
    pdu, data = text_of(one.feed(one.text("", ttt=pdu.ttt)))
    assert (pdu.final, data) == (True, b"")


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("X-org.example.Colour=red\0", b"X-org.example.Colour=NotUnderstood\0"),
        ("HeaderDigest=CRC32C\0", b"HeaderDigest=Reject\0"),
        ("InitiatorAlias=me\0", b""),
        ("MaxRecvDataSegmentLength=1024\0", b""),
    ],
)
def test_other_keys(text: str, answer: bytes) -> None:
    one = Initiator()
    _, data = text_of(one.feed(one.text(text)))
    assert data == answer


def test_a_segment_length_declared_later_holds_from_then_on() -> None:
    one = Initiator()
    one.feed(one.text("MaxRecvDataSegmentLength=1024\0"))
    assert len(one.feed(one.read(4096))) == 4


@pytest.mark.parametrize(
    "text",
    ["SendTargets=\0SendTargets=\0", "novalue\0", "SendTargets=", "MaxRecvDataSegmentLength=1\0", "=x\0"],
)
def test_malformed_text_is_rejected_and_the_session_goes_on(text: str) -> None:
    one = Initiator()
    [(pdu, _)] = one.feed(one.text(text))
    assert isinstance(pdu, Reject)
    assert pdu.reason == o.REJECT_PROTOCOL_ERROR
    [(pdu, _)] = one.feed(one.read(4))
    assert isinstance(pdu, ScsiDataIn)


def test_text_without_end_is_refused() -> None:
    one = Initiator()
    raw = one.text("X-" + "a" * 4000, final=0, continued=1)
    pdu, _ = text_of(one.feed(raw))
    text_of(one.feed(one.text("a" * 4000, final=0, continued=1, ttt=pdu.ttt)))
    [(refused, _)] = one.feed(one.text("a" * 4000, final=0, continued=1, ttt=one.session.new_ttt() - 1))
    assert isinstance(refused, Reject)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"continued": 1}, o.REJECT_PROTOCOL_ERROR),  # F and C
        ({"itt": o.RESERVED_TAG}, o.REJECT_PROTOCOL_ERROR),
        ({"ttt": 5}, o.REJECT_INVALID_PDU_FIELD),
    ],
)
def test_text_requests_with_impossible_fields(fields: dict[str, int], reason: int) -> None:
    one = Initiator()
    [(pdu, _)] = one.feed(one.text("SendTargets=\0", **fields))
    assert isinstance(pdu, Reject)
    assert pdu.reason == reason


def test_text_out_of_order_waits() -> None:
    one = Initiator()
    first = one.read(4)
    assert one.feed(one.text("SendTargets=\0")) == []
    assert len(one.feed(first)) == 2


@pytest.mark.parametrize("kind", ["text", "nop"])
def test_wrong_data_digests_are_rejected(kind: str) -> None:
    one = Initiator(OperationalParameters(data_digest="CRC32C"))
    raw = bytearray(one.text("SendTargets=\0") if kind == "text" else nop(one, b"ping"))
    raw[50] ^= 1
    [(pdu, _)] = one.feed(bytes(raw))
    assert isinstance(pdu, Reject)
    assert pdu.reason == o.REJECT_DATA_DIGEST_ERROR


@pytest.mark.parametrize("reason", [o.LOGOUT_CLOSE_SESSION, o.LOGOUT_CLOSE_CONNECTION])
def test_logout(reason: int) -> None:
    one = Initiator()
    [(pdu, _)] = one.feed(logout(one, reason))
    assert isinstance(pdu, LogoutResponse)
    assert (pdu.response, pdu.itt, pdu.time2retain) == (o.LOGOUT_DONE, one.itt, 0)
    assert one.connection.closing
    assert one.feed(one.read(4)) == []


def test_logout_waits_for_what_runs() -> None:
    one = Initiator()
    one.unit.fast = False
    one.unit.later = True
    one.feed(one.read(4) + one.write(4096))
    assert one.feed(logout(one)) == []
    assert one.feed(logout(one)) == []  # once is enough
    one.unit.finish(one.unit.running[0])
    [(pdu, _)] = one.answers()
    assert isinstance(pdu, LogoutResponse)
    assert not one.session.tasks


@pytest.mark.parametrize(
    ("reason", "cid", "response"),
    [
        (o.LOGOUT_CLOSE_CONNECTION, 5, o.LOGOUT_CID_NOT_FOUND),
        (o.LOGOUT_REMOVE_FOR_RECOVERY, 0, o.LOGOUT_RECOVERY_NOT_SUPPORTED),
    ],
)
def test_logouts_that_close_nothing(reason: int, cid: int, response: int) -> None:
    one = Initiator()
    [(pdu, _)] = one.feed(logout(one, reason, cid))
    assert isinstance(pdu, LogoutResponse)
    assert pdu.response == response
    assert not one.connection.closing


def test_a_logout_for_no_reason_is_rejected() -> None:
    one = Initiator()
    [(pdu, _)] = one.feed(logout(one, 9))
    assert isinstance(pdu, Reject)
    assert pdu.reason == o.REJECT_INVALID_PDU_FIELD


def test_the_target_asks_for_a_logout() -> None:
    one = Initiator()
    woken: list[bool] = []
    one.connection.wake = lambda: woken.append(True)
    one.connection.requests.ask_for_logout(3)
    [(pdu, _)] = one.answers()
    assert isinstance(pdu, AsyncMessage)
    assert (pdu.async_event, pdu.parameter3, pdu.stat_sn, pdu.itt) == (
        o.ASYNC_LOGOUT_REQUEST,
        3,
        1,
        o.RESERVED_TAG,
    )
    assert woken == [True]
