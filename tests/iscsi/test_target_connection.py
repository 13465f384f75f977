"""SCSI commands at the target: the fast path, Data-In, residuals, order of commands, what is refused."""

from __future__ import annotations

import pytest

from san_console.iscsi import opcodes as o
from san_console.iscsi.errors import RemoteProtocolError
from san_console.iscsi.parameters import OperationalParameters
from san_console.iscsi.pdu import NopOut, Reject, ScsiDataIn, ScsiResponse
from san_console.iscsi.target_fast_path import OUTPUT_BATCH_BYTES
from san_console.iscsi.target_session import MAX_IMMEDIATE_TASKS
from tests.iscsi.target_harness import BAD_CDB, READ_CDB, FakeUnit, Initiator, cdb


def memory(length: int, offset: int = 0) -> bytes:
    return bytes(FakeUnit().memory[offset : offset + length])


@pytest.mark.parametrize("fast", [True, False])
def test_a_read_is_one_data_in_with_status(fast: bool) -> None:
    initiator = Initiator()
    initiator.unit.fast = fast
    [(pdu, data)] = initiator.feed(initiator.read(512, 256))
    assert isinstance(pdu, ScsiDataIn)
    assert (pdu.flags, pdu.status, pdu.data_sn, pdu.buffer_offset) == (o.FINAL | o.STATUS, 0, 0, 0)
    assert (pdu.itt, pdu.ttt, pdu.stat_sn) == (initiator.itt, o.RESERVED_TAG, 1)
    assert (pdu.exp_cmd_sn, pdu.max_cmd_sn) == (2, 9)
    assert data == memory(512, 256)
    assert initiator.session.counters.reads == 1
    assert initiator.session.counters.read_bytes == 512


@pytest.mark.parametrize("fast", [True, False])
def test_a_write_with_immediate_data(fast: bool) -> None:
    initiator = Initiator()
    initiator.unit.fast = fast
    [(pdu, data)] = initiator.feed(initiator.write(511, b"x" * 511, offset=3))
    assert isinstance(pdu, ScsiResponse)
    assert (pdu.flags, pdu.status, pdu.response, pdu.stat_sn) == (o.FINAL, 0, 0, 1)
    assert (pdu.exp_cmd_sn, pdu.max_cmd_sn) == (2, 9)
    assert not data
    assert initiator.unit.memory[:515] == memory(3) + b"x" * 511 + memory(1, 514)
    assert initiator.session.counters.write_bytes == 511


def test_a_batch_is_answered_in_order_with_rising_numbers() -> None:
    initiator = Initiator(command_window=64)
    raw = b"".join(initiator.read(100 + n) if n % 3 else initiator.write(101, b"w" * 101) for n in range(32))
    answers = initiator.feed(raw)
    assert [pdu.stat_sn for pdu, _ in answers if isinstance(pdu, ScsiDataIn | ScsiResponse)] == list(
        range(1, 33)
    )
    assert [pdu.itt for pdu, _ in answers if isinstance(pdu, ScsiDataIn | ScsiResponse)] == list(
        range(0x101, 0x121)
    )
    assert initiator.session.exp_cmd_sn == 33
    assert initiator.session.max_cmd_sn == 96


def test_a_pdu_in_pieces_waits_for_its_end() -> None:
    initiator = Initiator()
    raw = initiator.write(1000, b"z" * 1000)
    answers = []
    for start in range(0, len(raw), 97):
        answers += initiator.feed(raw[start : start + 97])
    assert len(answers) == 1
    assert initiator.unit.memory[:1000] == b"z" * 1000


def test_a_long_read_is_cut_to_segments_and_bursts() -> None:
    parameters = OperationalParameters(peer_max_recv_data_segment_bytes=1024, max_burst_bytes=2560)
    initiator = Initiator(parameters)
    answers = initiator.feed(initiator.read(6000))
    pdus = [pdu for pdu, _ in answers]
    assert all(isinstance(pdu, ScsiDataIn) for pdu in pdus)
    seen = [(p.buffer_offset, p.data_sn, p.flags) for p in pdus if isinstance(p, ScsiDataIn)]
    assert seen == [
        (0, 0, 0),
        (1024, 1, 0),
        (2048, 2, o.FINAL),
        (2560, 3, 0),
        (3584, 4, 0),
        (4608, 5, o.FINAL),
        (5120, 6, o.FINAL | o.STATUS),
    ]
    assert b"".join(data for _, data in answers) == memory(6000)


@pytest.mark.parametrize(
    ("length", "edtl", "flag", "residual"),
    [
        (100, 300, o.UNDERFLOW, 200),
        (300, 100, o.OVERFLOW, 200),
        (300, 0, o.OVERFLOW, 300),
        (0, 64, o.UNDERFLOW, 64),
    ],
)
def test_residuals_of_a_read(length: int, edtl: int, flag: int, residual: int) -> None:
    initiator = Initiator()
    [(pdu, data)] = initiator.feed(initiator.read(length, edtl=edtl))
    assert isinstance(pdu, ScsiDataIn | ScsiResponse)
    assert pdu.flags & (o.OVERFLOW | o.UNDERFLOW) == flag
    assert pdu.residual_count == residual
    assert data == memory(min(length, edtl))


def test_data_without_the_read_bit_is_an_overflow() -> None:
    initiator = Initiator()
    [(pdu, data)] = initiator.feed(initiator.command(cdb(READ_CDB, 64), o.FINAL, 0))
    assert isinstance(pdu, ScsiResponse)
    assert (pdu.overflow, pdu.residual_count, data) == (True, 64, b"")


def test_check_condition_carries_sense_and_the_length_of_it() -> None:
    initiator = Initiator()
    [(pdu, data)] = initiator.feed(initiator.command(cdb(BAD_CDB, 0), o.FINAL | o.READ, 512))
    assert isinstance(pdu, ScsiResponse)
    assert (pdu.status, pdu.underflow, pdu.residual_count) == (2, True, 512)
    assert data == b"\0\x12" + b"\x70\0\x05" + bytes(15)
    assert initiator.session.counters.errors == 1


def test_digests_in_both_directions() -> None:
    parameters = OperationalParameters(header_digest="CRC32C", data_digest="CRC32C")
    initiator = Initiator(parameters)
    answers = initiator.feed(initiator.write(513, b"d" * 513) + initiator.read(513))
    assert [type(pdu) for pdu, _ in answers] == [ScsiResponse, ScsiDataIn]
    assert answers[1][1] == b"d" * 513


def test_a_wrong_data_digest_leaves_the_command_a_gap() -> None:
    initiator = Initiator(OperationalParameters(data_digest="CRC32C"))
    good = initiator.write(512, b"a" * 512)
    spoiled = good[:-1] + bytes([good[-1] ^ 1])
    [(pdu, data)] = initiator.feed(spoiled)
    assert isinstance(pdu, Reject)
    assert pdu.reason == o.REJECT_DATA_DIGEST_ERROR
    assert data == good[:48]
    assert initiator.session.exp_cmd_sn == 1
    assert initiator.unit.memory[:512] == memory(512)
    # The same command once more plugs the gap (RFC 7143 §7.3).
    [(pdu, _)] = initiator.feed(good)
    assert isinstance(pdu, ScsiResponse)
    assert initiator.unit.memory[:512] == b"a" * 512
    assert initiator.session.counters.digest_errors == 1


def test_a_wrong_header_digest_ends_the_connection() -> None:
    initiator = Initiator(OperationalParameters(header_digest="CRC32C"))
    raw = bytearray(initiator.read(512))
    raw[20] ^= 4
    with pytest.raises(RemoteProtocolError):
        initiator.feed(bytes(raw))


def test_commands_are_executed_in_cmd_sn_order() -> None:
    initiator = Initiator()
    first, second, third = (initiator.write(4, word) for word in (b"1111", b"2222", b"3333"))
    assert initiator.feed(third) == []
    assert initiator.feed(second) == []
    assert initiator.unit.memory[:4] == memory(4)
    answers = initiator.feed(first)
    assert [pdu.itt for pdu, _ in answers if isinstance(pdu, ScsiResponse)] == [0x101, 0x102, 0x103]
    assert initiator.unit.memory[:4] == b"3333"
    assert initiator.session.exp_cmd_sn == 4
    assert not initiator.session.order.held


@pytest.mark.parametrize("cmd_sn", [0, 0x80000001, 0x80000000, 9, 100])
def test_cmd_sn_outside_of_the_window_is_ignored(cmd_sn: int) -> None:
    initiator = Initiator()
    assert initiator.feed(initiator.command(cdb(READ_CDB, 4), o.FINAL | o.READ, 4, cmd_sn=cmd_sn)) == []
    assert not initiator.session.order.held
    assert len(initiator.feed(initiator.read(4))) == 1


def test_cmd_sn_wraps() -> None:
    initiator = Initiator(exp_cmd_sn=0xFFFFFFFE)
    answers = initiator.feed(b"".join(initiator.read(4) for _ in range(4)))
    assert len(answers) == 4
    assert initiator.session.exp_cmd_sn == 2
    late = [initiator.read(4) for _ in range(3)]
    assert initiator.feed(late[2] + late[1]) == []
    assert len(initiator.feed(late[0])) == 3


def test_the_window_closes_and_opens() -> None:
    initiator = Initiator(command_window=2)
    initiator.unit.later = True
    initiator.unit.fast = False
    assert initiator.feed(initiator.read(4) + initiator.read(4)) == []
    refused = initiator.read(4)
    assert initiator.feed(refused) == []  # the window is closed: ignored (§4.2.2.1)
    initiator.unit.finish(initiator.unit.running[0])
    [(pdu, _)] = initiator.answers()
    assert isinstance(pdu, ScsiDataIn)
    assert (pdu.exp_cmd_sn, pdu.max_cmd_sn) == (3, 3)
    assert initiator.feed(refused) == []
    assert len(initiator.unit.running) == 3


def test_a_duplicate_of_a_running_command_is_ignored() -> None:
    initiator = Initiator()
    initiator.unit.later = True
    initiator.unit.fast = False
    raw = initiator.read(4)
    assert initiator.feed(raw + raw) == []
    assert len(initiator.unit.running) == 1


def test_another_command_with_the_tag_of_a_running_one_is_rejected() -> None:
    initiator = Initiator()
    initiator.unit.later = True
    initiator.unit.fast = False
    initiator.feed(initiator.read(4))
    [(pdu, _)] = initiator.feed(initiator.command(cdb(READ_CDB, 4), o.FINAL | o.READ, 4, itt=initiator.itt))
    assert isinstance(pdu, Reject)
    assert pdu.reason == o.REJECT_TASK_IN_PROGRESS


def test_immediate_commands_go_first_and_are_bounded() -> None:
    initiator = Initiator()
    initiator.unit.later = True
    initiator.unit.fast = False
    raw = b"".join(
        initiator.command(cdb(READ_CDB, 4), o.FINAL | o.READ, 4, immediate=True)
        for _ in range(MAX_IMMEDIATE_TASKS + 2)
    )
    answers = initiator.feed(raw)
    assert len(initiator.unit.running) == MAX_IMMEDIATE_TASKS
    assert [pdu.reason for pdu, _ in answers if isinstance(pdu, Reject)] == [
        o.REJECT_TOO_MANY_IMMEDIATE_COMMANDS
    ] * 2
    assert initiator.session.exp_cmd_sn == 1
    for task in initiator.unit.running:
        initiator.unit.finish(task)
    assert len(initiator.answers()) == MAX_IMMEDIATE_TASKS
    assert initiator.connection.immediate_tasks == 0


@pytest.mark.parametrize(
    ("opcode", "reason"),
    [
        (0x07, o.REJECT_COMMAND_NOT_SUPPORTED),
        (0x1E, o.REJECT_COMMAND_NOT_SUPPORTED),
        (o.LOGIN_REQUEST, o.REJECT_PROTOCOL_ERROR),
        (o.SNACK_REQUEST, o.REJECT_PROTOCOL_ERROR),
        (o.SCSI_DATA_IN, o.REJECT_PROTOCOL_ERROR),
        (o.NOP_IN, o.REJECT_PROTOCOL_ERROR),
    ],
)
def test_opcodes_that_are_not_for_us_are_rejected(opcode: int, reason: int) -> None:
    initiator = Initiator()
    bhs = bytes([opcode, 0x80]) + bytes(46)
    [(pdu, data)] = initiator.feed(bhs)
    assert isinstance(pdu, Reject)
    assert (pdu.reason, data, pdu.stat_sn) == (reason, bhs, 1)
    [(pdu, _)] = initiator.feed(initiator.read(4))  # the session goes on
    assert isinstance(pdu, ScsiDataIn)
    assert pdu.stat_sn == 2


def test_the_reserved_tag_is_no_task_tag() -> None:
    initiator = Initiator()
    [(pdu, _)] = initiator.feed(initiator.command(cdb(READ_CDB, 4), o.FINAL | o.READ, 4, itt=o.RESERVED_TAG))
    assert isinstance(pdu, Reject)
    assert pdu.reason == o.REJECT_INVALID_PDU_FIELD


def test_a_discovery_session_takes_no_scsi_command() -> None:
    initiator = Initiator(discovery=True)
    [(pdu, _)] = initiator.feed(initiator.read(4))
    assert isinstance(pdu, Reject)
    assert pdu.reason == o.REJECT_PROTOCOL_ERROR
    assert len(initiator.feed(initiator.bytes_of(NopOut(itt=5).pack()))) == 1


def test_both_directions_in_one_command_end_in_check_condition() -> None:
    initiator = Initiator()
    ahs = b"\x00\x05\x02\x00\x00\x00\x01\x00"
    raw = initiator.command(cdb(READ_CDB, 4), o.FINAL | o.READ | o.WRITE, 4, b"abcd", ahs=ahs)
    [(pdu, data)] = initiator.feed(raw)
    assert isinstance(pdu, ScsiResponse)
    assert pdu.status == 2
    assert data[2 + 2] == 0x05


def test_a_segment_above_the_agreed_length_ends_the_connection() -> None:
    initiator = Initiator()
    with pytest.raises(RemoteProtocolError):
        initiator.feed(initiator.write(9000, b"x" * 9000))


def test_one_turn_is_bounded_in_pdus_and_in_bytes() -> None:
    initiator = Initiator(
        OperationalParameters(peer_max_recv_data_segment_bytes=1 << 20, max_burst_bytes=1 << 20),
        command_window=64,
    )
    raw = b"".join(initiator.read(1 << 18) for _ in range(12))
    room = initiator.framer.writable()
    room[: len(raw)] = raw
    initiator.framer.wrote(len(raw))
    assert initiator.connection.receive(100, 0.0)
    assert OUTPUT_BATCH_BYTES <= initiator.connection.output_bytes < OUTPUT_BATCH_BYTES + (1 << 19)
    assert len(initiator.answers()) == 4
    assert initiator.connection.receive(2, 0.0)
    assert len(initiator.answers()) == 2
    while initiator.connection.receive(100, 0.0):
        initiator.answers()
    assert initiator.session.counters.reads == 12


def test_reads_under_way_are_bounded_in_memory() -> None:
    initiator = Initiator(command_window=64)
    initiator.unit.later = True
    initiator.unit.fast = False
    initiator.feed(b"".join(initiator.read(16, edtl=1 << 24) for _ in range(6)))
    full = initiator.session.reads_full
    assert full
    assert len(initiator.unit.running) == 3
    woken: list[bool] = []
    initiator.connection.wake = lambda: woken.append(True)
    initiator.unit.finish(initiator.unit.running[0])
    assert woken
    assert not initiator.session.reads_full
    initiator.connection.receive(100, 0.0)
    assert len(initiator.unit.running) == 4
