"""Data-Out in any order, lost, damaged, repeated, at all recovery levels (RFC 7143 §7.8, §7.9, §13.18)."""

from __future__ import annotations

import random
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from san_console.iscsi import data_sequence, target_data_recovery, target_transfer_memory
from san_console.iscsi import opcodes as o
from san_console.iscsi.parameters import OperationalParameters
from san_console.iscsi.pdu import Pdu, ReadyToTransfer, Reject, ScsiResponse
from san_console.iscsi.target_data_recovery import MAX_RECOVERIES, SEQUENCE_TIMEOUT_S
from san_console.iscsi.target_sense import (
    INCORRECT_AMOUNT_OF_DATA,
    PROTOCOL_SERVICE_CRC_ERROR,
    UNEXPECTED_UNSOLICITED_DATA,
)
from tests.iscsi.target_harness import FakeUnit, Initiator


def initiator(**changes: object) -> Initiator:
    values = OperationalParameters(
        initial_r2t=False,
        max_recv_data_segment_bytes=4096,
        first_burst_bytes=2048,
        max_burst_bytes=4096,
        error_recovery_level=1,
        data_digest="CRC32C",
    )
    for name, value in changes.items():
        setattr(values, name, value)
    return Initiator(values, command_window=32)


def data(length: int) -> bytes:
    return bytes((i * 3 + (i >> 8)) & 0xFF for i in range(length))


WHOLE = data(16384)


def damaged(raw: bytes) -> bytes:
    """The same PDU with a wrong data digest."""
    return raw[:-1] + bytes([raw[-1] ^ 1])


def r2t_of(answers: list[tuple[Pdu, bytes]]) -> ReadyToTransfer:
    [pdu] = [pdu for pdu, _ in answers if isinstance(pdu, ReadyToTransfer)]
    return pdu


def asked(answers: list[tuple[Pdu, bytes]]) -> list[tuple[int, int, int]]:
    """R2TSN, offset and length of each R2T."""
    return [
        (pdu.r2t_sn, pdu.buffer_offset, pdu.desired_data_transfer_length)
        for pdu, _ in answers
        if isinstance(pdu, ReadyToTransfer)
    ]


def rejects(answers: list[tuple[Pdu, bytes]]) -> list[int]:
    return [pdu.reason for pdu, _ in answers if isinstance(pdu, Reject)]


def written(one: Initiator, answers: list[tuple[Pdu, bytes]], length: int) -> None:
    pdu, _ = answers[-1]
    assert isinstance(pdu, ScsiResponse)
    assert pdu.status == 0
    assert one.unit.memory[:length] == WHOLE[:length]
    assert one.unit.memory[length:] == FakeUnit().memory[length:]
    assert not one.session.tasks


def failed(one: Initiator, answers: list[tuple[Pdu, bytes]], sense: bytes) -> None:
    pdu, segment = answers[-1]
    assert isinstance(pdu, ScsiResponse)
    assert pdu.status == 2
    assert segment == b"\0\x12" + sense
    assert one.unit.memory == FakeUnit().memory
    assert not one.session.tasks


def solicited(one: Initiator, length: int) -> ReadyToTransfer:
    """A write without unsolicited data; the first R2T of it."""
    return r2t_of(one.feed(one.write(length)))


def later(one: Initiator) -> list[tuple[Pdu, bytes]]:
    """Time passes, and nothing comes."""
    deadline = one.connection.transfers.next_deadline()
    assert deadline is not None
    one.connection.transfers.tick(deadline - 0.01)
    assert one.answers() == []
    one.session.now = deadline
    one.connection.transfers.tick(deadline)
    return one.answers()


# Damaged PDUs (§7.8)


def test_a_damaged_pdu_is_rejected_and_asked_for_again() -> None:
    one = initiator()
    r2t = solicited(one, 4096)
    assert one.feed(one.data_out(0, WHOLE[:1024], ttt=r2t.ttt, final=False)) == []
    answers = one.feed(damaged(one.data_out(1024, WHOLE[1024:2048], ttt=r2t.ttt, data_sn=1, final=False)))
    assert rejects(answers) == [o.REJECT_DATA_DIGEST_ERROR]
    # The first R2T is outstanding until its F bit (§13.17): the recovery R2T waits for it.
    assert asked(answers) == []
    answers = one.feed(one.data_out(2048, WHOLE[2048:4096], ttt=r2t.ttt, data_sn=2))
    assert asked(answers) == [(1, 1024, 1024)]  # §11.8: the next unused R2TSN
    again = r2t_of(answers)
    assert again.ttt != r2t.ttt
    written(one, one.feed(one.data_out(1024, WHOLE[1024:2048], ttt=again.ttt)), 4096)
    assert one.session.counters.digest_errors == 1


def test_a_damaged_last_pdu_ends_its_sequence() -> None:
    one = initiator()
    r2t = solicited(one, 4096)
    one.feed(one.data_out(0, WHOLE[:2048], ttt=r2t.ttt, final=False))
    answers = one.feed(damaged(one.data_out(2048, WHOLE[2048:4096], ttt=r2t.ttt, data_sn=1)))
    assert rejects(answers) == [o.REJECT_DATA_DIGEST_ERROR]
    assert asked(answers) == [(1, 2048, 2048)]
    written(one, one.feed(one.data_out(2048, WHOLE[2048:4096], ttt=r2t_of(answers).ttt)), 4096)


def test_damaged_unsolicited_data_comes_back_by_r2t_before_the_rest() -> None:
    one = initiator()
    assert one.feed(one.write(8192, WHOLE[:512], final=False)) == []
    one.feed(damaged(one.data_out(512, WHOLE[512:1024], ttt=o.RESERVED_TAG, final=False)))
    answers = one.feed(one.data_out(1024, WHOLE[1024:2048], ttt=o.RESERVED_TAG, data_sn=1))
    assert asked(answers) == [(0, 512, 512)]
    answers = one.feed(one.data_out(512, WHOLE[512:1024], ttt=r2t_of(answers).ttt))
    assert asked(answers) == [(1, 2048, 4096)]
    answers = one.feed(one.data_out(2048, WHOLE[2048:6144], ttt=r2t_of(answers).ttt))
    assert asked(answers) == [(2, 6144, 2048)]
    written(one, one.feed(one.data_out(6144, WHOLE[6144:8192], ttt=r2t_of(answers).ttt)), 8192)


def test_damaged_immediate_data_discards_the_command() -> None:
    """§7.8: the command's number stays a gap until it is sent again."""
    one = initiator()
    command = one.write(1024, WHOLE[:1024])
    [(pdu, _)] = one.feed(damaged(command))
    assert isinstance(pdu, Reject)
    assert (pdu.reason, pdu.exp_cmd_sn) == (o.REJECT_DATA_DIGEST_ERROR, 1)
    assert not one.session.tasks
    written(one, one.feed(command), 1024)


@pytest.mark.parametrize("level", [0, 1, 2])
@pytest.mark.parametrize("kind", ["immediate", "unsolicited", "solicited"])
def test_each_kind_of_damaged_data_at_each_level(kind: str, level: int) -> None:
    """§7.8, B31: a Reject in any case. A command is sent again; data comes back by R2T from level 1 on, and
    ends the command at level 0.
    """
    one = initiator(error_recovery_level=level)
    if kind == "immediate":
        command = one.write(1024, WHOLE[:1024])
        assert rejects(one.feed(damaged(command))) == [o.REJECT_DATA_DIGEST_ERROR]
        written(one, one.feed(command), 1024)
        return
    if kind == "unsolicited":
        assert one.feed(one.write(2048, final=False)) == []
        ttt = o.RESERVED_TAG
    else:
        ttt = solicited(one, 2048).ttt
    answers = one.feed(damaged(one.data_out(0, WHOLE[:2048], ttt=ttt)))
    assert rejects(answers) == [o.REJECT_DATA_DIGEST_ERROR]
    if level == 0:
        failed(one, answers, PROTOCOL_SERVICE_CRC_ERROR)
    else:
        written(one, one.feed(one.data_out(0, WHOLE[:2048], ttt=r2t_of(answers).ttt)), 2048)


def test_damaged_data_of_no_task_is_only_rejected() -> None:
    one = initiator()
    answers = one.feed(damaged(one.data_out(0, bytes(64), ttt=5, itt=0x999)))
    assert rejects(answers) == [o.REJECT_DATA_DIGEST_ERROR]
    assert len(answers) == 1


@pytest.mark.parametrize("pdu_in_order", [True, False])
def test_at_level_0_a_damaged_pdu_fails_the_command_after_its_data(pdu_in_order: bool) -> None:
    """§7.8 b: after the F bits of all R2Ts."""
    one = initiator(error_recovery_level=0, data_pdu_in_order=pdu_in_order, max_outstanding_r2t=2)
    answers = one.feed(one.write(8192))
    first, second = (pdu for pdu, _ in answers if isinstance(pdu, ReadyToTransfer))
    assert rejects(one.feed(damaged(one.data_out(0, WHOLE[:4096], ttt=first.ttt)))) == [2]
    failed(one, one.feed(one.data_out(4096, WHOLE[4096:8192], ttt=second.ttt)), PROTOCOL_SERVICE_CRC_ERROR)
    assert one.connection.transfers.next_deadline() is None
    one.connection.transfers.tick(100.0)


def test_a_link_that_damages_everything_is_given_up() -> None:
    one = initiator()
    r2t = solicited(one, 2048)
    for _ in range(MAX_RECOVERIES):
        r2t = r2t_of(one.feed(damaged(one.data_out(0, WHOLE[:2048], ttt=r2t.ttt))))
    failed(one, one.feed(damaged(one.data_out(0, WHOLE[:2048], ttt=r2t.ttt))), PROTOCOL_SERVICE_CRC_ERROR)


# Lost PDUs (§7.9, §7.1.4.1)


def test_a_gap_in_datasn_is_asked_for_again() -> None:
    one = initiator()
    r2t = solicited(one, 4096)
    one.feed(one.data_out(0, WHOLE[:512], ttt=r2t.ttt, final=False))
    one.feed(one.data_out(1024, WHOLE[1024:2048], ttt=r2t.ttt, data_sn=2, final=False))
    answers = one.feed(one.data_out(3072, WHOLE[3072:4096], ttt=r2t.ttt, data_sn=4))
    assert asked(answers) == [(1, 512, 512)]  # one at a time: MaxOutstandingR2T is 1
    answers = one.feed(one.data_out(512, WHOLE[512:1024], ttt=r2t_of(answers).ttt))
    assert asked(answers) == [(2, 2048, 1024)]
    written(one, one.feed(one.data_out(2048, WHOLE[2048:3072], ttt=r2t_of(answers).ttt)), 4096)


def test_a_pdu_that_comes_late_fills_its_gap() -> None:
    one = initiator()
    r2t = solicited(one, 4096)
    one.feed(one.data_out(0, WHOLE[:512], ttt=r2t.ttt, final=False))
    one.feed(one.data_out(1024, WHOLE[1024:2048], ttt=r2t.ttt, data_sn=2, final=False))
    one.feed(one.data_out(512, WHOLE[512:1024], ttt=r2t.ttt, data_sn=1, final=False))
    written(one, one.feed(one.data_out(2048, WHOLE[2048:4096], ttt=r2t.ttt, data_sn=3)), 4096)


def test_what_comes_late_overlays_nothing() -> None:
    one = initiator()
    r2t = solicited(one, 4096)
    one.feed(one.data_out(1024, WHOLE[1024:2048], ttt=r2t.ttt, data_sn=1, final=False))
    one.feed(one.data_out(512, b"\xee" * 1024, ttt=r2t.ttt, data_sn=0, final=False))
    answers = one.feed(one.data_out(2048, WHOLE[2048:4096], ttt=r2t.ttt, data_sn=2))
    failed(one, answers, INCORRECT_AMOUNT_OF_DATA)


def test_recovery_uses_the_r2ts_that_are_allowed_at_once() -> None:
    """§13.19: more than one only where sequences may come in any order."""
    one = initiator(max_outstanding_r2t=3, data_sequence_in_order=False)
    answers = one.feed(one.write(12288))
    assert asked(answers) == [(0, 0, 4096), (1, 4096, 4096), (2, 8192, 4096)]
    first, second, third = (pdu for pdu, _ in answers if isinstance(pdu, ReadyToTransfer))
    one.feed(one.data_out(8192, WHOLE[8192:12288], ttt=third.ttt))  # out of order
    one.feed(one.data_out(0, WHOLE[:1024], ttt=first.ttt, final=False))
    one.feed(one.data_out(2048, WHOLE[2048:3072], ttt=first.ttt, data_sn=2, final=False))
    answers = one.feed(one.data_out(4080, WHOLE[4080:4096], ttt=first.ttt, data_sn=4))
    assert asked(answers) == [(3, 1024, 1024), (4, 3072, 1008)]
    again = [pdu for pdu, _ in answers if isinstance(pdu, ReadyToTransfer)]
    one.feed(one.data_out(3072, WHOLE[3072:4080], ttt=again[1].ttt))
    one.feed(one.data_out(4096, WHOLE[4096:8192], ttt=second.ttt))
    written(one, one.feed(one.data_out(1024, WHOLE[1024:2048], ttt=again[0].ttt)), 12288)


def test_a_lost_end_is_noticed_by_time() -> None:
    one = initiator()
    r2t = solicited(one, 4096)
    assert one.connection.transfers.next_deadline() == SEQUENCE_TIMEOUT_S
    one.now = 2.0
    one.feed(one.data_out(0, WHOLE[:3072], ttt=r2t.ttt, final=False))
    assert one.connection.transfers.next_deadline() == 2.0 + SEQUENCE_TIMEOUT_S
    answers = later(one)
    assert asked(answers) == [(1, 3072, 1024)]
    # What still comes for the first R2T is asked for anyway: it is dropped without a word.
    one.now = one.session.now
    assert one.feed(one.data_out(3072, b"\xee" * 1024, ttt=r2t.ttt, data_sn=1)) == []
    written(one, one.feed(one.data_out(3072, WHOLE[3072:4096], ttt=r2t_of(answers).ttt)), 4096)
    assert one.connection.transfers.next_deadline() is None


def test_an_r2t_that_got_lost_is_sent_anew() -> None:
    one = initiator()
    solicited(one, 2048)
    answers = later(one)
    assert asked(answers) == [(1, 0, 2048)]
    written(one, one.feed(one.data_out(0, WHOLE[:2048], ttt=r2t_of(answers).ttt)), 2048)


def test_data_that_is_not_taken_in_is_not_asked_for_again() -> None:
    """While the reads of the session wait for a slow medium, nothing is received."""
    one = initiator()
    one.feed(one.write(8192))
    for second in range(1, 60):
        assert one.connection.requests.tick(float(second), listening=False)
    assert one.answers() == []
    assert one.connection.requests.tick(60.0)
    assert len(one.answers()) == 1


def test_unsolicited_data_that_stops_is_asked_for() -> None:
    one = initiator()
    assert one.feed(one.write(4096, WHOLE[:512], final=False)) == []
    one.feed(one.data_out(1024, WHOLE[1024:1536], ttt=o.RESERVED_TAG, data_sn=1, final=False))
    answers = later(one)
    assert asked(answers) == [(0, 512, 512)]
    answers = one.feed(one.data_out(512, WHOLE[512:1024], ttt=r2t_of(answers).ttt))
    assert asked(answers) == [(1, 1536, 2560)]
    written(one, one.feed(one.data_out(1536, WHOLE[1536:4096], ttt=r2t_of(answers).ttt)), 4096)


def test_unsolicited_data_that_comes_too_late_is_dropped() -> None:
    """It was slow, not wrong: its bytes have been asked for by R2T."""
    one = initiator()
    one.feed(one.write(2048, WHOLE[:512], final=False))
    answers = later(one)
    one.now = one.session.now
    assert asked(answers) == [(0, 512, 1536)]
    assert one.feed(one.data_out(512, b"\xee" * 1536, ttt=o.RESERVED_TAG)) == []
    written(one, one.feed(one.data_out(512, WHOLE[512:2048], ttt=r2t_of(answers).ttt)), 2048)


def test_recoveries_that_succeed_do_not_add_up() -> None:
    one = initiator(max_burst_bytes=512)
    answers = one.feed(one.write(16384))
    for at in range(0, 16384, 512):
        piece = WHOLE[at : at + 512]
        answers = one.feed(damaged(one.data_out(at, piece, ttt=r2t_of(answers).ttt)))
        assert rejects(answers) == [o.REJECT_DATA_DIGEST_ERROR]
        answers = one.feed(one.data_out(at, piece, ttt=r2t_of(answers).ttt))
    written(one, answers, 16384)


def test_what_is_remembered_of_ended_r2ts_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(target_data_recovery, "MAX_CLOSED", 4)
    one = initiator(max_burst_bytes=512)
    answers = one.feed(one.write(16384))
    [task] = one.session.tasks.values()
    tracked = task.tracked
    assert tracked is not None
    tags = []
    for at in range(0, 16384 - 512, 512):
        answers = later(one)  # nothing comes for the first R2T: it is given up
        one.now = one.session.now
        tags.append(r2t_of(answers).ttt)
        answers = one.feed(one.data_out(at, WHOLE[at : at + 512], ttt=tags[-1]))
        assert len(tracked.closed) <= 4
        assert len(tracked.unanswered) <= 4
    stray = b"\xee" * 512
    assert one.feed(one.data_out(14848, stray, ttt=tags[-1], data_sn=0)) == []
    assert rejects(one.feed(one.data_out(0, stray, ttt=tags[0]))) == [o.REJECT_INVALID_PDU_FIELD]
    written(one, one.feed(one.data_out(15872, WHOLE[15872:], ttt=r2t_of(answers).ttt)), 16384)


def test_time_begins_with_the_r2t(monkeypatch: pytest.MonkeyPatch) -> None:
    """A write that had to wait for memory was not silent."""
    monkeypatch.setattr(target_transfer_memory, "MAX_TRANSFER_BYTES", 4096)
    one = initiator(initial_r2t=True, immediate_data=False)
    answers = one.feed(one.write(4096) + one.write(4096, offset=4096))
    first = one.itt - 1
    one.now = SEQUENCE_TIMEOUT_S - 1
    half = one.data_out(0, WHOLE[:2048], ttt=r2t_of(answers).ttt, itt=first, final=False)
    assert one.feed(half) == []
    one.now = SEQUENCE_TIMEOUT_S + 1
    ttt = r2t_of(answers).ttt
    answers = one.feed(one.data_out(2048, WHOLE[2048:4096], ttt=ttt, itt=first, data_sn=1))
    assert asked(answers) == [(0, 0, 4096)]
    assert one.connection.transfers.next_deadline() == one.now + SEQUENCE_TIMEOUT_S


def test_an_initiator_that_sends_nothing_any_more_gets_an_end() -> None:
    one = initiator()
    solicited(one, 2048)
    for round_ in range(MAX_RECOVERIES):
        assert asked(later(one)) == [(round_ + 1, 0, 2048)]
    failed(one, later(one), PROTOCOL_SERVICE_CRC_ERROR)
    assert SEQUENCE_TIMEOUT_S * (MAX_RECOVERIES + 1) < 60


def test_time_ends_a_command_that_has_failed_already() -> None:
    one = initiator()
    r2t = solicited(one, 4096)
    one.feed(one.data_out(4000, bytes(97), ttt=r2t.ttt, final=False))
    failed(one, later(one), INCORRECT_AMOUNT_OF_DATA)
    one = initiator()
    one.feed(one.command(bytes([0xF2]) + bytes(15), o.WRITE, 1024))
    pdu, segment = later(one)[-1]
    assert isinstance(pdu, ScsiResponse)
    assert segment[2:5] == b"\x70\0\x05"


# Repeated PDUs


def test_duplicates_are_discarded_at_level_1() -> None:
    one = initiator()
    one.feed(one.write(4096, WHOLE[:512], final=False))
    unsolicited = one.data_out(512, WHOLE[512:1024], ttt=o.RESERVED_TAG, final=False)
    end = one.data_out(1024, WHOLE[1024:2048], ttt=o.RESERVED_TAG, data_sn=1)
    one.feed(unsolicited + one.data_out(512, b"\xee" * 512, ttt=o.RESERVED_TAG, final=False))
    r2t = r2t_of(one.feed(end))
    assert one.feed(end + unsolicited) == []  # after their sequence
    first = one.data_out(2048, WHOLE[2048:3072], ttt=r2t.ttt, final=False)
    assert one.feed(first + first) == []
    written(one, one.feed(one.data_out(3072, WHOLE[3072:4096], ttt=r2t.ttt, data_sn=1)), 4096)


def test_a_duplicate_at_level_0_fails_the_command() -> None:
    one = initiator(error_recovery_level=0, data_pdu_in_order=False)
    r2t = solicited(one, 4096)
    first = one.data_out(0, WHOLE[:2048], ttt=r2t.ttt, final=False)
    one.feed(first + first)
    answers = one.feed(one.data_out(2048, WHOLE[2048:4096], ttt=r2t.ttt, data_sn=1))
    failed(one, answers, PROTOCOL_SERVICE_CRC_ERROR)


# Any order (§13.18)


@pytest.mark.parametrize("level", [0, 1, 2])
def test_pdus_in_any_order(level: int) -> None:
    one = initiator(error_recovery_level=level, data_pdu_in_order=False)
    one.feed(one.write(6144, final=False))
    one.feed(one.data_out(1024, WHOLE[1024:2048], ttt=o.RESERVED_TAG, final=False))
    r2t = r2t_of(one.feed(one.data_out(0, WHOLE[:1024], ttt=o.RESERVED_TAG, data_sn=1)))
    assert (r2t.buffer_offset, r2t.desired_data_transfer_length) == (2048, 4096)
    order = [3, 0, 2, 1]
    for number, piece in enumerate(order):
        at = 2048 + 1024 * piece
        answers = one.feed(
            one.data_out(at, WHOLE[at : at + 1024], ttt=r2t.ttt, data_sn=number, final=number == 3)
        )
    written(one, answers, 6144)


@pytest.mark.parametrize("level", [0, 1])
def test_a_sequence_that_was_sent_with_a_hole_is_no_loss(level: int) -> None:
    """All DataSNs came, and bytes are missing: nothing that a retransmission would mend."""
    one = initiator(error_recovery_level=level, data_pdu_in_order=False)
    r2t = solicited(one, 4096)
    one.feed(one.data_out(2048, WHOLE[2048:4096], ttt=r2t.ttt, final=False))
    failed(one, one.feed(one.data_out(0, WHOLE[:1024], ttt=r2t.ttt, data_sn=1)), INCORRECT_AMOUNT_OF_DATA)


@pytest.mark.parametrize(
    ("offset", "length"),
    [(0, 1024), (512, 1024), (2048, 1024), (3072, 1025), (0xFFFFFFF0, 16)],
)
def test_in_order_means_without_overlays_holes_and_excess(offset: int, length: int) -> None:
    one = initiator()
    r2t = solicited(one, 4096)
    one.feed(one.data_out(0, WHOLE[:1024], ttt=r2t.ttt, final=False))
    answers = one.feed(one.data_out(offset, b"\xee" * length, ttt=r2t.ttt, data_sn=1))
    failed(one, answers, INCORRECT_AMOUNT_OF_DATA)


def test_unsolicited_data_beyond_the_first_burst() -> None:
    one = initiator(data_pdu_in_order=False)
    one.feed(one.write(4096, WHOLE[:1024], final=False))
    answers = one.feed(one.data_out(1024, WHOLE[1024:2049], ttt=o.RESERVED_TAG))
    failed(one, answers, INCORRECT_AMOUNT_OF_DATA)


def test_unsolicited_data_after_its_end() -> None:
    one = initiator()
    r2t = solicited(one, 4096)
    one.feed(one.data_out(0, WHOLE[:64], ttt=o.RESERVED_TAG))
    failed(one, one.feed(one.data_out(0, WHOLE[:4096], ttt=r2t.ttt)), UNEXPECTED_UNSOLICITED_DATA)


def test_a_wrong_tag_or_lun_is_rejected_and_the_transfer_goes_on() -> None:
    one = initiator()
    r2t = solicited(one, 2048)
    assert rejects(one.feed(one.data_out(0, WHOLE[:64], ttt=r2t.ttt + 1))) == [o.REJECT_INVALID_PDU_FIELD]
    assert rejects(one.feed(damaged(one.data_out(0, WHOLE[:64], ttt=r2t.ttt + 1)))) == [2]
    written(one, one.feed(one.data_out(0, WHOLE[:2048], ttt=r2t.ttt)), 2048)


def test_crumbs_fail_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data_sequence, "MAX_RANGES", 4)
    one = initiator(data_pdu_in_order=False)
    r2t = solicited(one, 4096)
    for number in range(6):
        answers = one.feed(one.data_out(number * 8, b"crumb", ttt=r2t.ttt, data_sn=number, final=number == 5))
    failed(one, answers, INCORRECT_AMOUNT_OF_DATA)


# Ends


def test_stray_data_of_a_command_that_runs_changes_nothing() -> None:
    one = initiator()
    one.unit.fast = False
    one.unit.later = True
    assert one.feed(one.write(64, WHOLE[:64])) == []
    assert one.feed(one.data_out(0, b"\xee" * 64, ttt=o.RESERVED_TAG)) == []
    one.unit.finish(one.unit.running[0])
    written(one, one.answers(), 64)


def test_an_aborted_command_takes_its_data_and_asks_for_none() -> None:
    one = initiator()
    r2t = solicited(one, 4096)
    task = one.session.tasks[one.itt]
    one.session.abort(task)
    one.feed(one.data_out(0, WHOLE[:1024], ttt=r2t.ttt, final=False))
    assert one.connection.transfers.next_deadline() is None
    assert one.feed(one.data_out(2048, WHOLE[2048:4096], ttt=r2t.ttt, data_sn=2)) == []
    assert not one.session.tasks
    assert one.unit.memory == FakeUnit().memory


def test_a_transfer_is_resumed_from_the_r2ts_that_were_received() -> None:
    """§7.2.2: R2TSNs from ExpDataSN on, for what has not come."""
    one = initiator(error_recovery_level=2)
    one.feed(one.write(8192, WHOLE[:512], final=False))
    r2t = r2t_of(one.feed(one.data_out(512, WHOLE[512:2048], ttt=o.RESERVED_TAG)))
    one.feed(one.data_out(2048, WHOLE[2048:3072], ttt=r2t.ttt, final=False))
    one.connection.transfers.resume(one.session.tasks[one.itt], 1)
    answers = one.answers()
    assert asked(answers) == [(1, 3072, 3072)]
    answers = one.feed(one.data_out(3072, WHOLE[3072:6144], ttt=r2t_of(answers).ttt))
    assert asked(answers) == [(2, 6144, 2048)]
    # The last R2T never arrived; and once more, with a number that was not sent yet.
    one.connection.transfers.resume(one.session.tasks[one.itt], 2)
    assert asked(one.answers()) == [(2, 6144, 2048)]
    one.connection.transfers.resume(one.session.tasks[one.itt], 99)
    answers = one.answers()
    assert asked(answers) == [(3, 6144, 2048)]
    written(one, one.feed(one.data_out(6144, WHOLE[6144:8192], ttt=r2t_of(answers).ttt)), 8192)


def test_only_transfers_are_resumed() -> None:
    one = initiator(error_recovery_level=2)
    one.unit.fast = False
    one.unit.later = True
    one.feed(one.write(64, WHOLE[:64]))
    one.connection.transfers.resume(one.session.tasks[one.itt], 0)
    assert one.answers() == []
    strict = initiator(error_recovery_level=0)
    solicited(strict, 64)
    strict.connection.transfers.resume(strict.session.tasks[strict.itt], 0)
    assert strict.answers() == []


# Against a model: whatever happens to the PDUs on their way, either the data is right or the command fails


@dataclass
class Link:
    """What becomes of each Data-Out, in turn: "ok", "lost", "damaged" or "twice"."""

    fates: list[str]
    used: int = 0
    losses: int = 0
    repeats: int = 0

    def carry(self, raw: bytes, payload: int) -> bytes:
        fate = self.fates[self.used] if self.used < len(self.fates) else "ok"
        self.used += 1
        self.losses += fate in ("lost", "damaged")
        self.repeats += fate == "twice"
        if fate == "damaged" and payload:
            return damaged(raw)
        return {"lost": b"", "twice": raw + raw}.get(fate, raw)


def segments(rng: random.Random, offset: int, length: int, in_order: bool) -> list[tuple[int, int]]:
    pieces: list[tuple[int, int]] = []
    while length:
        size = min(length, rng.choice([128, 256, 700, 1024, 4096]))
        pieces.append((offset, size))
        offset, length = offset + size, length - size
    if not in_order:
        rng.shuffle(pieces)
    return pieces


@settings(max_examples=200, deadline=None)
@given(
    level=st.integers(0, 2),
    pdu_in_order=st.booleans(),
    sequence_in_order=st.booleans(),
    length=st.integers(1, 16384),
    immediate=st.integers(0, 2048),
    unsolicited=st.booleans(),
    fates=st.lists(st.sampled_from(["ok", "ok", "ok", "lost", "damaged", "twice"]), max_size=24),
    seed=st.integers(0, 2**32),
)
def test_right_data_or_a_failed_command(
    level: int,
    pdu_in_order: bool,
    sequence_in_order: bool,
    length: int,
    immediate: int,
    unsolicited: bool,
    fates: list[str],
    seed: int,
) -> None:
    rng = random.Random(seed)
    one = initiator(
        error_recovery_level=level,
        data_pdu_in_order=pdu_in_order,
        data_sequence_in_order=sequence_in_order,
        max_outstanding_r2t=1 if level and sequence_in_order else 3,
    )
    link = Link(fates)
    immediate = min(immediate, length)
    first_burst = min(2048, length)
    unsolicited = unsolicited and immediate < first_burst
    answers = one.feed(one.write(length, WHOLE[:immediate], final=not unsolicited))
    to_send: list[tuple[int, int, int]] = []
    if unsolicited:
        to_send.append((o.RESERVED_TAG, immediate, first_burst - immediate))
    response: ScsiResponse | None = None
    idle = 0
    while response is None and idle <= MAX_RECOVERIES + 1:
        for pdu, _ in answers:
            if isinstance(pdu, ReadyToTransfer):
                assert 0 < pdu.desired_data_transfer_length <= 4096
                assert pdu.buffer_offset + pdu.desired_data_transfer_length <= length
                to_send.append((pdu.ttt, pdu.buffer_offset, pdu.desired_data_transfer_length))
            elif isinstance(pdu, ScsiResponse):
                response = pdu
        outstanding = [task.solicited for task in one.session.tasks.values()]
        assert all(len(bursts) <= (1 if level and sequence_in_order else 3) for bursts in outstanding)
        if to_send:
            ttt, offset, size = to_send.pop(0 if sequence_in_order else rng.randrange(len(to_send)))
            pieces = segments(rng, offset, size, pdu_in_order)
            raw = b""
            for data_sn, (at, count) in enumerate(pieces):
                final = data_sn == len(pieces) - 1
                pdu_bytes = one.data_out(at, WHOLE[at : at + count], ttt=ttt, data_sn=data_sn, final=final)
                raw += link.carry(pdu_bytes, count)
            answers = one.feed(raw)
        elif response is None:
            idle += 1
            one.now += SEQUENCE_TIMEOUT_S
            one.session.now = one.now
            one.connection.transfers.tick(one.now)
            answers = one.answers()
    pristine = FakeUnit().memory
    if response is not None and response.status == 0:
        assert one.unit.memory[:length] == WHOLE[:length]
        assert one.unit.memory[length:] == pristine[length:]
    else:
        assert one.unit.memory == pristine
        assert link.losses or (level == 0 and link.repeats)
    if level and link.losses <= MAX_RECOVERIES:
        assert response is not None
        assert response.status == 0
    if not link.losses and not link.repeats:
        assert response is not None
