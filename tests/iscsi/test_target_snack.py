"""Sending again what was lost on its way to the initiator (RFC 7143 §11.16, §11.4.4, §11.7.2; B32)."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from san_console.iscsi import opcodes as o
from san_console.iscsi import target_snack
from san_console.iscsi.parameters import OperationalParameters
from san_console.iscsi.pdu import (
    NopIn,
    NopOut,
    Pdu,
    ReadyToTransfer,
    Reject,
    ScsiDataIn,
    ScsiResponse,
    SnackRequest,
)
from san_console.iscsi.target_sent_data import cut, keep_sequences
from tests.iscsi.target_harness import FakeUnit, Initiator, cdb

Answers = list[tuple[Pdu, bytes]]
MEDIUM = bytes(FakeUnit().memory)
BAD_CDB = bytes([0xF2]) + bytes(15)


def initiator(**changes: object) -> Initiator:
    values = OperationalParameters(
        initial_r2t=False,
        max_recv_data_segment_bytes=8192,
        peer_max_recv_data_segment_bytes=1024,
        max_burst_bytes=4096,
        first_burst_bytes=2048,
        error_recovery_level=1,
    )
    for name, value in changes.items():
        setattr(values, name, value)
    return Initiator(values, command_window=32)


def snack(one: Initiator, kind: int, **fields: int) -> Answers:
    fields.setdefault("exp_stat_sn", one.connection.exp_stat_sn)
    return one.feed(one.bytes_of(SnackRequest(type=kind, **fields).pack()))


def acknowledge(one: Initiator, exp_stat_sn: int | None = None) -> None:
    """A NOP-Out that wants no answer."""
    number = one.connection.stat_sn if exp_stat_sn is None else exp_stat_sn
    assert one.feed(one.bytes_of(NopOut(cmd_sn=one.cmd_sn, exp_stat_sn=number).pack())) == []


def data_in(answers: Answers) -> list[tuple[ScsiDataIn, bytes]]:
    return [(pdu, data) for pdu, data in answers if isinstance(pdu, ScsiDataIn)]


def reason(answers: Answers) -> int:
    [(pdu, _)] = answers
    assert isinstance(pdu, Reject)
    return pdu.reason


def same(ours: Answers, theirs: Answers) -> bool:
    """Replicas but for the command window (§11.16)."""

    def bare(answers: Answers) -> list[tuple[bytes, bytes]]:
        return [(pdu.pack(len(data))[:28] + pdu.pack(len(data))[36:], data) for pdu, data in answers]

    return bare(ours) == bare(theirs)


# What is sent in the first place (§11.7.2)


def test_the_a_bit_comes_once_per_burst() -> None:
    one = initiator()
    answers = data_in(one.feed(one.read(10240)))
    acks = [pdu.data_sn for pdu, _ in answers if pdu.acknowledge]
    assert acks == [3, 7]  # after 4096 bytes each; the end is acknowledged by the status
    for pdu, _ in answers:
        assert pdu.acknowledge <= pdu.final
        assert (pdu.ttt != o.RESERVED_TAG) == pdu.acknowledge  # §11.7.4
    last, _ = answers[-1]
    assert (last.has_status, last.final, last.acknowledge) == (True, True, False)
    assert b"".join(data for _, data in answers) == MEDIUM[:10240]


def test_the_lun_comes_with_the_a_bit() -> None:
    """§11.7.4: the LUN and the tag are what the DataACK gives back."""
    one = initiator()
    one.nexus.units[0x0005 << 48] = one.unit
    raw = one.command(cdb(0xF0, 8192), o.FINAL | o.READ, 8192, lun=0x0005 << 48)
    answers = data_in(one.feed(raw))
    assert [pdu.lun for pdu, _ in answers if pdu.acknowledge] == [0x0005 << 48]
    assert {pdu.lun for pdu, _ in answers if not pdu.acknowledge} == {0}


def test_there_is_no_a_bit_at_level_0() -> None:
    one = initiator(error_recovery_level=0)
    assert not any(pdu.acknowledge for pdu, _ in data_in(one.feed(one.read(10240))))


@given(
    start=st.integers(0, 50),
    length=st.integers(0, 200),
    segment=st.integers(1, 64),
    burst=st.integers(1, 64),
)
def test_cuts(start: int, length: int, segment: int, burst: int) -> None:
    cuts = cut(start, start + length, segment, burst)
    assert [n for one in cuts for n in range(one.start, one.end)] == list(range(start, start + length))
    since_ack = 0
    for one in cuts:
        assert 0 < one.end - one.start <= segment
        assert one.start // burst == (one.end - 1) // burst  # no PDU in two sequences
        assert bool(one.flags & o.FINAL) == (one.end % burst == 0 or one is cuts[-1])
        since_ack += one.end - one.start
        if one.flags & o.ACKNOWLEDGE:
            assert since_ack == burst or one.start < start + burst
            since_ack = 0
    kept = keep_sequences(bytearray(start + length), start + length, start, burst)
    assert [one is None for one in kept] == [
        min((index + 1) * burst, start + length) <= start for index in range(len(kept))
    ]


# Data SNACK


@pytest.mark.parametrize(
    ("beg_run", "run_length", "expected"),
    [
        (0, 0, range(10)),
        (0, 1, range(1)),
        (3, 4, range(3, 7)),
        (9, 1, range(9, 10)),
        (7, 0, range(7, 10)),
        (0, 10, range(10)),
    ],
)
def test_data_is_sent_again(beg_run: int, run_length: int, expected: range) -> None:
    """§11.16.6, §11.16.7: exact replicas, the status of the last one included."""
    one = initiator()
    sent = one.feed(one.read(10240))
    one.unit.memory[:] = bytes(len(one.unit.memory))  # what was read is sent again, not what is there now
    again = snack(one, o.SNACK_DATA_R2T, itt=one.itt, beg_run=beg_run, run_length=run_length)
    assert same(again, [sent[n] for n in expected])
    assert one.connection.stat_sn == 2  # no new StatSN


@pytest.mark.parametrize(
    ("beg_run", "run_length"),
    [(10, 1), (10, 0), (9, 2), (0, 11), (0xFFFFFFFF, 0xFFFFFFFF), (1, 0xFFFFFFFF), (0xFFFFFFFF, 0)],
)
def test_data_that_was_not_sent(beg_run: int, run_length: int) -> None:
    """§11.16: Protocol Error, with the next DataSN (§11.17.2)."""
    one = initiator()
    one.feed(one.read(10240))
    answers = snack(one, o.SNACK_DATA_R2T, itt=one.itt, beg_run=beg_run, run_length=run_length)
    assert reason(answers) == o.REJECT_PROTOCOL_ERROR
    assert isinstance(answers[0][0], Reject)
    assert answers[0][0].data_sn == 10
    assert answers[0][1][0] == o.SNACK_REQUEST


@pytest.mark.parametrize("kind", [o.SNACK_DATA_R2T, o.SNACK_R_DATA])
def test_a_status_that_is_acknowledged_ends_it(kind: int) -> None:
    one = initiator()
    one.feed(one.read(10240))
    acknowledge(one)
    assert reason(snack(one, kind, itt=one.itt, ttt=5)) == o.REJECT_PROTOCOL_ERROR
    assert one.connection.snacks is not None
    assert one.connection.snacks.kept_bytes == 48  # the Reject


def test_an_acknowledgement_of_the_future_says_nothing() -> None:
    one = initiator()
    one.feed(one.read(2048))
    acknowledge(one, one.connection.stat_sn + 1)
    assert len(snack(one, o.SNACK_DATA_R2T, itt=one.itt)) == 2
    assert one.connection.snacks is not None
    one.connection.snacks.acknowledge(one.connection.stat_sn + 1)
    one.connection.snacks.acknowledge(0xFFFFFFF0)
    assert len(snack(one, o.SNACK_DATA_R2T, itt=one.itt)) == 2


def test_unknown_and_running_commands() -> None:
    one = initiator()
    assert reason(snack(one, o.SNACK_DATA_R2T, itt=0x999)) == o.REJECT_PROTOCOL_ERROR
    one.unit.fast, one.unit.later = False, True
    one.feed(one.read(1024))
    itt = one.itt
    assert snack(one, o.SNACK_DATA_R2T, itt=itt) == []  # all that was sent is nothing
    assert reason(snack(one, o.SNACK_DATA_R2T, itt=itt, run_length=1)) == o.REJECT_PROTOCOL_ERROR
    assert reason(snack(one, o.SNACK_R_DATA, itt=itt, ttt=5)) == o.REJECT_PROTOCOL_ERROR
    one.unit.finish(one.unit.running[0])
    assert data_in(one.answers())[0][1] == MEDIUM[:1024]


def test_a_tag_in_use_again_is_the_new_command() -> None:
    one = initiator()
    one.feed(one.read(2048))
    first = one.itt
    one.itt -= 1
    sent = one.feed(one.read(1024, offset=512))
    assert one.itt == first
    assert same(snack(one, o.SNACK_DATA_R2T, itt=first), sent)
    acknowledge(one, 2)  # the first one only
    assert same(snack(one, o.SNACK_DATA_R2T, itt=first), sent)
    acknowledge(one)
    assert reason(snack(one, o.SNACK_DATA_R2T, itt=first)) == o.REJECT_PROTOCOL_ERROR


# DataACK (§11.16.2)


def ack_tag(answers: Answers) -> int:
    return next(pdu.ttt for pdu, _ in data_in(answers) if pdu.acknowledge)


def test_acknowledged_data_is_given_free_and_not_sent_again() -> None:
    one = initiator()
    assert one.connection.snacks is not None
    sent = one.feed(one.read(10240))
    held = one.connection.snacks.kept_bytes
    assert held == 10240
    assert snack(one, o.SNACK_DATA_ACK, ttt=ack_tag(sent), beg_run=4) == []
    assert one.connection.snacks.kept_bytes == held - 4096
    itt = one.itt
    assert same(snack(one, o.SNACK_DATA_R2T, itt=itt), sent[4:])  # all that is not acknowledged
    assert reason(snack(one, o.SNACK_DATA_R2T, itt=itt, beg_run=3, run_length=1)) == 4
    assert same(snack(one, o.SNACK_DATA_R2T, itt=itt, beg_run=4, run_length=1), sent[4:5])
    # In the middle of a sequence: its bytes stay.
    assert snack(one, o.SNACK_DATA_ACK, ttt=ack_tag(sent), beg_run=6) == []
    assert same(snack(one, o.SNACK_DATA_R2T, itt=itt), sent[6:])
    assert snack(one, o.SNACK_DATA_ACK, ttt=ack_tag(sent), beg_run=10) == []
    assert one.connection.snacks.kept_bytes == 2 * 48 - 48
    assert snack(one, o.SNACK_DATA_R2T, itt=itt) == []
    acknowledge(one)
    assert one.connection.snacks.kept_bytes == 0


@pytest.mark.parametrize(
    "change",
    [{"ttt": 0x7777}, {"beg_run": 11}, {"beg_run": 3}, {"run_length": 1}, {"lun": 1}],
)
def test_invalid_data_acks(change: dict[str, int]) -> None:
    """§11.17.1: reason 08."""
    one = initiator()
    sent = one.feed(one.read(10240))
    assert snack(one, o.SNACK_DATA_ACK, ttt=ack_tag(sent), beg_run=4) == []
    fields = {"ttt": ack_tag(sent), "beg_run": 8, **change}
    assert reason(snack(one, o.SNACK_DATA_ACK, **fields)) == o.REJECT_INVALID_DATA_ACK


# Status SNACK


def several_answers(one: Initiator) -> Answers:
    """Status in Data-In, a response, a response with sense, a NOP-In."""
    one.unit.fast = False
    answers = one.feed(one.read(512))
    answers += one.feed(one.write(64, bytes(64), offset=1 << 19))
    answers += one.feed(one.command(BAD_CDB, o.FINAL, 0))
    answers += one.feed(one.bytes_of(NopOut(itt=0x900, cmd_sn=one.cmd_sn).pack(4), b"ping"))
    assert [type(pdu) for pdu, _ in answers] == [ScsiDataIn, ScsiResponse, ScsiResponse, NopIn]
    return answers


@pytest.mark.parametrize(
    ("beg_run", "run_length", "expected"),
    [(0, 0, range(4)), (1, 1, range(1)), (2, 2, range(1, 3)), (3, 0, range(2, 4)), (4, 1, range(3, 4))],
)
def test_numbered_pdus_are_sent_again(beg_run: int, run_length: int, expected: range) -> None:
    one = initiator()
    sent = several_answers(one)
    again = snack(one, o.SNACK_STATUS, beg_run=beg_run, run_length=run_length)
    assert same(again, [sent[n] for n in expected])
    assert one.connection.stat_sn == 5


def test_what_is_sent_again_has_the_window_of_now() -> None:
    one = initiator()
    [(sent, _)] = one.feed(one.write(64, bytes(64)))
    one.feed(one.read(512))
    [(again, _)] = snack(one, o.SNACK_STATUS, beg_run=1, run_length=1)
    assert isinstance(sent, ScsiResponse)
    assert isinstance(again, ScsiResponse)
    assert (sent.exp_cmd_sn, again.exp_cmd_sn) == (2, 3)
    assert again.max_cmd_sn == one.session.max_cmd_sn


@pytest.mark.parametrize(
    ("beg_run", "run_length"), [(1, 1), (5, 1), (5, 0), (4, 2), (3, 0xFFFFFFFF), (0x80000000, 1)]
)
def test_status_that_is_acknowledged_or_was_not_sent(beg_run: int, run_length: int) -> None:
    one = initiator()
    several_answers(one)
    acknowledge(one, 3)
    answers = snack(one, o.SNACK_STATUS, beg_run=beg_run, run_length=run_length)
    assert reason(answers) == o.REJECT_PROTOCOL_ERROR


def test_nothing_unacknowledged_is_nothing_to_send() -> None:
    one = initiator()
    several_answers(one)
    acknowledge(one)
    assert snack(one, o.SNACK_STATUS) == []


def test_stat_sn_wraps() -> None:
    """§4.2.2.2: serial number arithmetic."""
    one = initiator()
    one.connection.stat_sn = one.connection.exp_stat_sn = 0xFFFFFFFF
    assert one.connection.snacks is not None
    one.connection.snacks.__init__(one.connection)  # type: ignore[misc]  # with the StatSN of now

    def write() -> Answers:
        raw = one.write(64, bytes(64))
        return one.feed(raw[:28] + b"\xff\xff\xff\xff" + raw[32:])

    first, second = write(), write()
    assert one.connection.stat_sn == 1
    assert same(snack(one, o.SNACK_STATUS, beg_run=0xFFFFFFFF, run_length=2), first + second)
    acknowledge(one, 0)
    assert same(snack(one, o.SNACK_STATUS, beg_run=0, run_length=1), second)
    assert reason(snack(one, o.SNACK_STATUS, beg_run=0xFFFFFFFF, run_length=1)) == 4


# R2T SNACK


def r2ts(answers: Answers) -> list[ReadyToTransfer]:
    return [pdu for pdu, _ in answers if isinstance(pdu, ReadyToTransfer)]


def test_r2ts_are_sent_again_until_they_are_fulfilled() -> None:
    one = initiator(max_outstanding_r2t=2, data_sequence_in_order=False)
    sent = one.feed(one.write(16384, offset=1 << 19))
    first, second = r2ts(sent)
    itt = one.itt
    one.connection.take_stat_sn()
    for fields, expected in (({}, [0, 1]), ({"run_length": 1}, [0]), ({"beg_run": 1}, [1])):
        again = snack(one, o.SNACK_DATA_R2T, itt=itt, **fields)
        assert [pdu.r2t_sn for pdu in r2ts(again)] == expected
        for pdu in r2ts(again):
            original = (first, second)[pdu.r2t_sn]
            assert pdu.stat_sn == one.connection.stat_sn  # §11.16: the current value
            pdu.stat_sn = original.stat_sn
            assert pdu == original
    following = r2ts(one.feed(one.data_out(0, bytes(4096), ttt=first.ttt)))
    assert [pdu.r2t_sn for pdu in following] == [2]
    answers = snack(one, o.SNACK_DATA_R2T, itt=itt, run_length=1)
    assert reason(answers) == o.REJECT_PROTOCOL_ERROR
    assert isinstance(answers[0][0], Reject)
    assert answers[0][0].data_sn == 3
    assert [pdu.r2t_sn for pdu in r2ts(snack(one, o.SNACK_DATA_R2T, itt=itt))] == [1, 2]
    assert reason(snack(one, o.SNACK_DATA_R2T, itt=itt, beg_run=3)) == o.REJECT_PROTOCOL_ERROR


def test_an_r2t_that_was_given_up_can_be_asked_for_while_its_bytes_are_missing() -> None:
    """A lost R2T, and the recovery R2T that took its place: the initiator may want both."""
    one = initiator()
    one.feed(one.write(8192, offset=1 << 19))
    itt = one.itt
    deadline = one.connection.transfers.next_deadline()
    assert deadline is not None
    one.now = one.session.now = deadline
    one.connection.transfers.tick(deadline)
    [again] = r2ts(one.answers())
    assert again.r2t_sn == 1
    assert [pdu.r2t_sn for pdu in r2ts(snack(one, o.SNACK_DATA_R2T, itt=itt))] == [0, 1]
    [following] = r2ts(one.feed(one.data_out(0, bytes(4096), ttt=again.ttt, itt=itt)))
    assert [pdu.r2t_sn for pdu in r2ts(snack(one, o.SNACK_DATA_R2T, itt=itt))] == [2]
    assert reason(snack(one, o.SNACK_DATA_R2T, itt=itt, run_length=1)) == o.REJECT_PROTOCOL_ERROR
    answers = one.feed(one.data_out(4096, bytes(4096), ttt=following.ttt, itt=itt))
    assert isinstance(answers[-1][0], ScsiResponse)


def test_an_aborted_write_sends_no_r2t_again() -> None:
    one = initiator()
    one.feed(one.write(8192))
    one.session.abort(one.session.tasks[one.itt])
    assert reason(snack(one, o.SNACK_DATA_R2T, itt=one.itt)) == o.REJECT_PROTOCOL_ERROR


# R-Data SNACK (§11.16.3)


def declare(one: Initiator, length: int) -> None:
    one.connection.set_max_send_bytes(length)


def test_resegmentation() -> None:
    one = initiator()
    one.feed(one.read(10240))
    declare(one, 1500)
    stat_sn = one.connection.stat_sn
    again = snack(one, o.SNACK_R_DATA, itt=one.itt, ttt=0x55)
    pdus = data_in(again)
    assert [pdu.data_sn for pdu, _ in pdus] == list(range(8))
    assert b"".join(data for _, data in pdus) == MEDIUM[:10240]
    assert [len(data) for _, data in pdus] == [1500, 1500, 1096, 1500, 1500, 1096, 1500, 548]
    assert not any(pdu.has_status for pdu, _ in pdus)
    response, _ = again[-1]
    assert isinstance(response, ScsiResponse)
    assert (response.snack_tag, response.stat_sn, response.exp_data_sn) == (0x55, stat_sn - 1, 8)
    assert one.connection.stat_sn == stat_sn
    # From now on the new numbers count; a Status SNACK gives the latest content.
    assert same(snack(one, o.SNACK_DATA_R2T, itt=one.itt, beg_run=7), again[7:8])
    assert same(snack(one, o.SNACK_STATUS, beg_run=stat_sn - 1, run_length=1), again[-1:])
    second = snack(one, o.SNACK_R_DATA, itt=one.itt, ttt=0x56)
    assert isinstance(second[-1][0], ScsiResponse)
    assert second[-1][0].snack_tag == 0x56
    acknowledge(one)
    assert one.connection.snacks is not None
    assert one.connection.snacks.kept_bytes == 0


def test_resegmentation_starts_behind_the_last_data_ack() -> None:
    one = initiator()
    sent = one.feed(one.read(10240))
    snack(one, o.SNACK_DATA_ACK, ttt=ack_tag(sent), beg_run=4)
    declare(one, 2048)
    pdus = data_in(snack(one, o.SNACK_R_DATA, itt=one.itt, ttt=9))
    assert [(pdu.data_sn, pdu.buffer_offset) for pdu, _ in pdus] == [(4, 4096), (5, 6144), (6, 8192)]
    assert b"".join(data for _, data in pdus) == MEDIUM[4096:10240]


def test_resegmentation_of_a_read_that_ended_with_sense() -> None:
    """The response is repeated whole, with its residual and its sense data."""
    one = initiator()
    one.unit.fast, one.unit.later = False, True
    one.feed(one.read(2048, edtl=4096))
    sense = b"\x70\0\x03" + bytes(15)
    one.unit.running[0].complete(2, MEDIUM[:2048], sense)
    sent = one.answers()
    again = snack(one, o.SNACK_R_DATA, itt=one.itt, ttt=3)
    assert one.connection.snacks is not None
    assert one.connection.snacks.kept_bytes == 2048 + len(sent[-1][1])
    assert same(again[:-1], sent[:-1])
    ours, theirs = again[-1], sent[-1]
    assert isinstance(ours[0], ScsiResponse)
    assert isinstance(theirs[0], ScsiResponse)
    assert ours[1] == theirs[1] == b"\0\x12" + sense
    assert (ours[0].status, ours[0].residual_count, ours[0].stat_sn) == (2, 2048, theirs[0].stat_sn)


def test_replicas_that_have_become_too_long() -> None:
    """§11.16.3: after a change of MaxRecvDataSegmentLength it takes an R-Data SNACK; §13.12 holds always."""
    one = initiator()
    one.feed(one.read(4096))
    declare(one, 600)
    for fields in ({}, {"beg_run": 3, "run_length": 1}):
        assert reason(snack(one, o.SNACK_DATA_R2T, itt=one.itt, **fields)) == o.REJECT_SNACK
    assert reason(snack(one, o.SNACK_STATUS, beg_run=1, run_length=1)) == o.REJECT_SNACK
    again = snack(one, o.SNACK_R_DATA, itt=one.itt, ttt=1)
    assert b"".join(data for _, data in data_in(again)) == MEDIUM[:4096]
    assert max(len(data) for _, data in again) == 600


@pytest.mark.parametrize("change", [{"ttt": 0}, {"ttt": o.RESERVED_TAG}, {"beg_run": 1}, {"run_length": 1}])
def test_malformed_r_data(change: dict[str, int]) -> None:
    one = initiator()
    one.feed(one.read(2048))
    fields = {"itt": one.itt, "ttt": 5, **change}
    assert reason(snack(one, o.SNACK_R_DATA, **fields)) == o.REJECT_INVALID_PDU_FIELD


# Limits


@pytest.mark.parametrize("kind", range(4, 16))
def test_reserved_types(kind: int) -> None:
    assert reason(snack(initiator(), kind)) == o.REJECT_INVALID_PDU_FIELD


@pytest.mark.parametrize("kind", range(4))
def test_level_0_has_no_snack(kind: int) -> None:
    one = initiator(error_recovery_level=0)
    one.feed(one.read(2048))
    answers = one.feed(one.bytes_of(SnackRequest(type=kind, itt=one.itt).pack()))
    assert reason(answers) == o.REJECT_PROTOCOL_ERROR


def test_memory_is_bounded_and_the_oldest_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    """§7.8 a.2: what cannot be sent again any more is a SNACK Reject."""
    monkeypatch.setattr(target_snack, "MAX_KEPT_BYTES", 20000)
    one = initiator()
    assert one.connection.snacks is not None
    itts, numbers = [], []
    for _ in range(6):
        one.feed(one.read(8192))
        itts.append(one.itt)
        numbers.append(one.connection.stat_sn - 1)
        assert one.connection.snacks.kept_bytes <= 20000
    assert len(data_in(snack(one, o.SNACK_DATA_R2T, itt=itts[-1]))) == 8
    for kind, fields in (
        (o.SNACK_DATA_R2T, {"itt": itts[0]}),
        (o.SNACK_R_DATA, {"itt": itts[0], "ttt": 4}),
        (o.SNACK_STATUS, {"beg_run": numbers[0], "run_length": 1}),
        (o.SNACK_STATUS, {}),
    ):
        assert reason(snack(one, kind, **fields)) == o.REJECT_SNACK
    acknowledge(one)
    assert one.connection.snacks.kept_bytes == 0


def test_pings_that_nobody_acknowledges_are_bounded_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(target_snack, "MAX_KEPT_BYTES", 20000)
    one = initiator(peer_max_recv_data_segment_bytes=8192)
    assert one.connection.snacks is not None
    for _ in range(6):
        ping = NopOut(immediate=True, itt=one.next_itt(), cmd_sn=one.cmd_sn)
        assert len(one.feed(one.bytes_of(ping.pack(8192), bytes(8192)))) == 1
        assert one.connection.snacks.kept_bytes <= 20000
    assert reason(snack(one, o.SNACK_STATUS)) == o.REJECT_SNACK  # all of them, and the oldest is gone
    assert [data for _, data in snack(one, o.SNACK_STATUS, beg_run=6, run_length=1)] == [bytes(8192)]
    acknowledge(one)
    assert one.connection.snacks.kept_bytes == 0


def test_the_number_of_kept_pdus_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(target_snack, "MAX_KEPT_PDUS", 3)
    one = initiator()
    for _ in range(5):
        one.feed(one.read(512))
    assert reason(snack(one, o.SNACK_STATUS, beg_run=1, run_length=1)) == o.REJECT_SNACK
    assert reason(snack(one, o.SNACK_DATA_R2T, itt=0x101)) == o.REJECT_PROTOCOL_ERROR
    assert len(snack(one, o.SNACK_STATUS, beg_run=5, run_length=1)) == 1


@settings(max_examples=150, deadline=None)
@given(
    requests=st.lists(
        st.tuples(
            st.integers(0, 15),
            st.sampled_from([0x101, 0x102, 0x103, 0x104, o.RESERVED_TAG]),
            st.integers(0, 6) | st.just(o.RESERVED_TAG),
            st.integers(0, 12) | st.sampled_from([0x7FFFFFFF, 0x80000000, 0xFFFFFFFF]),
            st.integers(0, 12) | st.sampled_from([0x7FFFFFFF, 0x80000000, 0xFFFFFFFF]),
            st.integers(0, 8) | st.sampled_from([0x80000001, 0xFFFFFFFF]),
        ),
        max_size=12,
    )
)
def test_noise_is_answered_within_bounds(requests: list[tuple[int, int, int, int, int, int]]) -> None:
    """B32: a SNACK brings what there is, once, or one Reject; and afterwards all is as before."""
    one = initiator()
    one.feed(one.read(8192) + one.write(64, bytes(64), offset=1 << 19) + one.write(8192, offset=1 << 19))
    one.unit.fast, one.unit.later = False, True
    one.feed(one.read(512))
    for kind, itt, ttt, beg_run, run_length, exp_stat_sn in requests:
        answers = snack(
            one, kind, itt=itt, ttt=ttt, beg_run=beg_run, run_length=run_length, exp_stat_sn=exp_stat_sn
        )
        assert len(answers) <= 8 + 1 + len(requests)  # the long read and its status; earlier Rejects
    one.unit.finish(one.unit.running[0])
    one.answers()
    one.unit.later = False
    assert b"".join(data for _, data in data_in(one.feed(one.read(2048)))) == MEDIUM[:2048]


# Reassignment (§7.2.2)


def test_an_answer_is_resumed_where_the_initiator_has_it() -> None:
    one = initiator(error_recovery_level=2)
    one.unit.fast = False
    sent = one.feed(one.read(10240))
    task = one.session.recovery.task(one.itt)
    assert task is not None
    declare(one, 2048)
    one.connection.responses.resume(task, 5)
    pdus = data_in(one.answers())
    assert [(pdu.data_sn, pdu.buffer_offset) for pdu, _ in pdus] == [(5, 5120), (6, 7168), (7, 8192)]
    assert b"".join(data for _, data in pdus) == MEDIUM[5120:10240]
    last, _ = pdus[-1]
    assert (last.has_status, last.stat_sn) == (True, 2)
    assert len(sent) == 10
    # All data has arrived, or even more: only the status is left.
    for exp_data_sn in (8, 99):
        one.connection.responses.resume(task, exp_data_sn)
        [(response, _)] = one.answers()
        assert isinstance(response, ScsiResponse)
        assert (response.exp_data_sn, response.status, response.snack_tag) == (8, 0, 0)
        assert reason(snack(one, o.SNACK_R_DATA, itt=one.itt, beg_run=1)) == o.REJECT_INVALID_PDU_FIELD
    assert len(snack(one, o.SNACK_R_DATA, itt=one.itt, ttt=7)) == 1
    # A number of an earlier segmentation: all of it again.
    one.connection.responses.resume(task, 3)
    assert b"".join(data for _, data in data_in(one.answers())) == MEDIUM[:10240]


def test_an_answer_that_was_never_sent_or_has_no_data() -> None:
    one = initiator(error_recovery_level=2)
    one.unit.fast = False
    one.feed(one.write(64, bytes(64)))
    task = one.session.recovery.task(one.itt)
    assert task is not None
    one.connection.responses.resume(task, 0)
    [(response, _)] = one.answers()
    assert isinstance(response, ScsiResponse)
    assert (response.status, response.stat_sn) == (0, 2)


# Against a model: an initiator that loses Data-In and asks for it gets each byte


@settings(max_examples=100, deadline=None)
@given(
    length=st.integers(1, 12000),
    segment=st.integers(512, 4096),
    lost=st.lists(st.booleans(), max_size=60),
    acks=st.booleans(),
)
def test_lost_data_comes_back(length: int, segment: int, lost: list[bool], acks: bool) -> None:
    one = initiator(peer_max_recv_data_segment_bytes=segment)
    received: dict[int, bytes] = {}
    status = False
    fates = iter(lost)
    answers = one.feed(one.read(length))
    total = len(answers)
    for _ in range(len(lost) + 2):
        for pdu, data in answers:
            assert isinstance(pdu, ScsiDataIn)
            if next(fates, False):
                continue
            assert pdu.buffer_offset not in received or received[pdu.buffer_offset] == data
            received[pdu.buffer_offset] = data
            status = status or pdu.has_status
            if (
                acks
                and pdu.acknowledge
                and sum(len(part) for offset, part in received.items() if offset <= pdu.buffer_offset)
                == pdu.buffer_offset + len(data)
            ):
                beg_run = pdu.data_sn + 1
                assert snack(one, o.SNACK_DATA_ACK, ttt=pdu.ttt, lun=pdu.lun, beg_run=beg_run) == []
        if b"".join(received[offset] for offset in sorted(received)) == MEDIUM[:length]:
            break
        answers = snack(one, o.SNACK_DATA_R2T, itt=one.itt)
    assert b"".join(received[offset] for offset in sorted(received)) == MEDIUM[:length]
    assert status
    assert total == len(cut(0, length, segment, 4096))
    acknowledge(one)
    assert one.connection.snacks is not None
    assert one.connection.snacks.kept_bytes == 0
