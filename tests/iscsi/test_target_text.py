"""Text requests in full feature phase: one exchange, its end, what takes effect when (RFC 7143 §6.4)."""

from __future__ import annotations

import pytest

from san_console.iscsi import opcodes as o
from san_console.iscsi.parameters import OperationalParameters
from san_console.iscsi.pdu import Pdu, Reject, TextResponse
from tests.iscsi.target_harness import Initiator


def text_of(answers: list[tuple[Pdu, bytes]]) -> tuple[TextResponse, bytes]:
    [(pdu, data)] = answers
    assert isinstance(pdu, TextResponse)
    return pdu, data


def test_a_declaration_takes_effect_when_the_negotiation_ends() -> None:
    """§6.4: parameters become effective after the sequence is completed."""
    one = Initiator()
    pdu, _ = text_of(one.feed(one.text("MaxRecvDataSegmentLength=512\0", final=0)))
    assert not pdu.final
    assert len(one.feed(one.read(2048))) == 1
    text_of(one.feed(one.text("", ttt=pdu.ttt)))
    assert len(one.feed(one.read(2048))) == 4


def test_nothing_of_a_failed_negotiation_takes_effect() -> None:
    """§7.12 b."""
    one = Initiator()
    pdu, _ = text_of(one.feed(one.text("MaxRecvDataSegmentLength=512\0", final=0)))
    [(refused, _)] = one.feed(one.text("novalue\0", ttt=pdu.ttt))
    assert isinstance(refused, Reject)
    assert refused.reason == o.REJECT_PROTOCOL_ERROR
    assert len(one.feed(one.read(2048))) == 1
    assert not one.session.requests


def test_a_key_is_negotiated_once_in_a_sequence() -> None:
    """§6.4: over several requests too."""
    one = Initiator()
    pdu, _ = text_of(one.feed(one.text("X-a=b\0", final=0)))
    [(refused, _)] = one.feed(one.text("X-a=c\0", ttt=pdu.ttt))
    assert isinstance(refused, Reject)


def test_a_new_request_resets_the_exchange() -> None:
    """§11.10.4: TTT ffffffff."""
    one = Initiator()
    text_of(one.feed(one.text("X-a=b\0", final=0)))
    pdu, data = text_of(one.feed(one.text("X-a=b\0")))
    assert (pdu.final, data) == (True, b"X-a=NotUnderstood\0")
    assert not one.session.requests


def test_a_tag_of_a_running_task_is_no_tag_for_text() -> None:
    one = Initiator()
    one.unit.fast, one.unit.later = False, True
    one.feed(one.read(4))
    [(pdu, _)] = one.feed(one.text("X-a=b\0", itt=one.itt))
    assert isinstance(pdu, Reject)
    assert pdu.reason == o.REJECT_TASK_IN_PROGRESS


@pytest.mark.parametrize(
    "key", ["TargetAlias=x", "TargetAddress=10.0.0.1", "MaxConnections=4", "SessionType=Normal"]
)
def test_keys_that_have_no_place_here(key: str) -> None:
    """§13: only for the login, or only for the other side."""
    one = Initiator()
    _, data = text_of(one.feed(one.text(key + "\0")))
    assert data == key.split("=")[0].encode() + b"=Reject\0"


def test_a_long_answer_over_connections_of_different_segment_lengths() -> None:
    """§11.11.6: not longer than the initiator takes, on this connection."""
    one = Initiator(OperationalParameters(max_connections=2))
    one.nexus.targets = b"".join(
        b"TargetName=iqn.2026-11.org.example:%03d\0TargetAddress=10.0.0.1:3260,1\0" % n for n in range(40)
    )
    second = one.connect(1, OperationalParameters(peer_max_recv_data_segment_bytes=512))
    pdu, data = text_of(second.feed(one.text("SendTargets=\0")))
    parts = [data]
    tag = one.itt
    while not pdu.final:
        assert len(data) == 512
        assert pdu.ttt != o.RESERVED_TAG
        pdu, data = text_of(second.feed(one.text("", ttt=pdu.ttt, itt=tag)))
        parts.append(data)
    assert pdu.ttt == o.RESERVED_TAG
    assert b"".join(parts) == one.nexus.targets
    _, whole = text_of(one.feed(one.text("SendTargets=\0")))
    assert whole == one.nexus.targets


def test_discovery_of_all_targets_is_refused_on_a_normal_session() -> None:
    """Appendix C: All must not be asked there."""
    one = Initiator()
    _, data = text_of(one.feed(one.text("SendTargets=All\0")))
    assert data == b"SendTargets=Reject\0"
