"""SCSI commands of the initiator against a scripted target (RFC 7143 §11.3-11.8, §4.2.2)."""

from __future__ import annotations

import contextlib
import itertools
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from san_console.iscsi import opcodes
from san_console.iscsi.errors import LocalProtocolError, RemoteProtocolError
from san_console.iscsi.initiator_commands import MAX_COMMANDS
from san_console.iscsi.initiator_events import StatSnGap
from san_console.iscsi.initiator_tasks import ABORTED, COMPLETED, LOST, TARGET_FAILURE, ScsiTask
from san_console.iscsi.opcodes import FINAL, RESERVED_TAG, UNDERFLOW
from san_console.iscsi.pdu import (
    LoginResponse,
    ReadyToTransfer,
    ScsiCommand,
    ScsiDataIn,
    ScsiDataOut,
    ScsiResponse,
)
from tests.iscsi.initiator_peer import READ_CDB, WRITE_CDB, Peer, parameters

S = opcodes.STATUS


def data_in(task: ScsiTask, offset: int = 0, data_sn: int = 0, flags: int = 0, **more: Any) -> ScsiDataIn:
    return ScsiDataIn(itt=task.itt, buffer_offset=offset, data_sn=data_sn, flags=flags, **more)


# ---- reads ----


@pytest.mark.parametrize("digests", [False, True])
def test_a_read_gets_its_data_over_several_pdus_with_the_status_in_the_last(digests: bool) -> None:
    peer = Peer(digests=digests)
    task, buffer = peer.read(700)
    peer.send(data_in(task), b"a" * 300)
    peer.send(data_in(task, 300, 1, FINAL | S), b"b" * 400, numbered=True)
    assert peer.session.take_completed() == [task]
    assert (task.outcome, task.status, task.received_bytes, task.residual_bytes) == (COMPLETED, 0, 700, 0)
    assert buffer == b"a" * 300 + b"b" * 400
    assert peer.session.in_flight == 0


def test_a_command_has_the_numbers_of_the_session() -> None:
    peer = Peer()
    task = ScsiTask(1 << 48, READ_CDB, memoryview(bytearray(512)))
    peer.session.submit(task, 5.0)
    ((command, data),) = peer.sent()
    assert isinstance(command, ScsiCommand)
    assert (command.lun, command.cmd_sn, command.exp_stat_sn) == (1 << 48, 10, 100)
    assert command.expected_data_transfer_length == 512
    assert command.read
    assert command.final
    assert not command.write
    assert command.cdb == READ_CDB.ljust(16, b"\0")
    assert data == b""
    assert task.started_at == 5.0


def test_a_separate_response_with_a_residual_ends_a_short_read() -> None:
    peer = Peer()
    task, buffer = peer.read(255)
    peer.send(data_in(task, flags=FINAL), b"x" * 66)
    peer.send(ScsiResponse(itt=task.itt, flags=UNDERFLOW, residual_count=189, exp_data_sn=1), numbered=True)
    assert (task.received_bytes, task.residual_bytes, task.overflow) == (66, 189, False)
    assert bytes(buffer[:66]) == b"x" * 66


def test_a_short_read_without_a_residual_counts_what_is_missing() -> None:
    peer = Peer()
    task, _ = peer.read(255)
    peer.send(data_in(task, flags=FINAL | S), b"x" * 55, numbered=True)
    assert (task.outcome, task.residual_bytes) == (COMPLETED, 200)


def test_an_overflow_is_told_apart() -> None:
    peer = Peer()
    task, _ = peer.read(8)
    peer.send(data_in(task, flags=FINAL | S | opcodes.OVERFLOW, residual_count=92), b"x" * 8, numbered=True)
    assert (task.residual_bytes, task.overflow) == (92, True)


def test_check_condition_brings_its_sense_even_when_it_is_cut() -> None:
    peer = Peer()
    task, _ = peer.read(512)
    sense = bytes([0x70, 0, 5, 0, 0, 0, 0, 10])
    peer.send(ScsiResponse(itt=task.itt, status=2), b"\x00\x12" + sense, numbered=True)
    assert (task.status, task.sense) == (2, sense)
    task, _ = peer.read(512)
    peer.send(ScsiResponse(itt=task.itt, status=2), b"\x00", numbered=True)
    assert (task.status, task.sense) == (2, b"")


def test_a_service_response_other_than_completed_is_no_status() -> None:
    peer = Peer()
    task, _ = peer.read(512)
    peer.send(ScsiResponse(itt=task.itt, response=1, status=0, flags=6), numbered=True)
    assert (task.outcome, task.response, peer.session.in_flight) == (TARGET_FAILURE, 1, 0)


@pytest.mark.parametrize(
    ("change", "data", "why"),
    [
        ({"buffer_offset": 512}, b"x" * 4, "up to byte 516"),
        ({"buffer_offset": 0xFFFFFFFC}, b"x" * 4, "up to byte"),
        ({}, b"x" * 513, "up to byte 513"),
        ({"data_sn": 1}, b"x", "number 1, where 0"),
        ({"buffer_offset": 4}, b"x", "byte 4, where byte 0"),
        ({"itt": 77}, b"x", "does not exist"),
        ({"itt": RESERVED_TAG}, b"x", "does not exist"),
        ({"flags": S}, b"x", "not the final one"),
        ({"flags": FINAL | S | 6}, b"x" * 512, "overflow and underflow"),
        ({"flags": FINAL | S | UNDERFLOW, "residual_count": 1}, b"x" * 512, "calls 1 missing"),
        ({"flags": FINAL | S | UNDERFLOW, "residual_count": 513}, b"", "513 bytes too few"),
    ],
)
def test_data_that_does_not_fit_the_read_is_refused(change: dict[str, int], data: bytes, why: str) -> None:
    peer = Peer()
    task, buffer = peer.read(512)
    pdu = data_in(task)
    for name, value in change.items():
        setattr(pdu, name, value)
    with pytest.raises(RemoteProtocolError, match=why):
        peer.send(pdu, data, numbered=bool(pdu.flags & S))
    assert len(buffer) == 512


def test_data_for_a_write_is_refused() -> None:
    peer = Peer()
    task, _ = peer.write(b"x" * 512)
    with pytest.raises(RemoteProtocolError, match="reads nothing"):
        peer.send(data_in(task), b"x")


def test_a_response_that_claims_more_data_pdus_than_came_is_refused() -> None:
    peer = Peer()
    task, _ = peer.read(512)
    peer.send(data_in(task, flags=FINAL), b"x" * 512)
    with pytest.raises(RemoteProtocolError, match="2 Data-In PDUs, 1 arrived"):
        peer.send(ScsiResponse(itt=task.itt, exp_data_sn=2), numbered=True)


@pytest.mark.parametrize("pdu", [ScsiResponse(itt=9), ReadyToTransfer(itt=9)])
def test_answers_to_nobody_are_refused(pdu: ScsiResponse | ReadyToTransfer) -> None:
    with pytest.raises(RemoteProtocolError, match="does not exist"):
        Peer().send(pdu)


def test_damaged_data_is_counted_and_ends_the_session() -> None:
    peer = Peer(digests=True)
    task, buffer = peer.read(512)
    with pytest.raises(RemoteProtocolError, match="data digest"):
        peer.send(data_in(task, flags=FINAL | S), b"x" * 512, numbered=True, damage=True)
    assert peer.session.digest_errors == 1
    assert buffer == bytes(512)


def test_a_damaged_response_is_counted_and_ends_the_session() -> None:
    peer = Peer(digests=True)
    task, _ = peer.read(512)
    with pytest.raises(RemoteProtocolError, match="SCSI Response"):
        peer.send(ScsiResponse(itt=task.itt, status=2), b"\0\2ab", numbered=True, damage=True)
    assert peer.session.digest_errors == 1


def test_what_a_target_must_not_send_is_refused() -> None:
    with pytest.raises(RemoteProtocolError, match="Login Response"):
        Peer().send(LoginResponse())


# ---- writes ----


@pytest.mark.parametrize(
    ("immediate", "initial_r2t", "size", "with_command", "unsolicited"),
    [
        (True, True, 400, 400, []),
        (True, True, 2000, 512, []),
        (True, False, 2000, 512, [512]),
        (True, False, 700, 512, [188]),
        (False, False, 2000, 0, [512, 512]),
        (False, True, 2000, 0, []),
    ],
)
def test_how_much_data_goes_unasked(
    immediate: bool, initial_r2t: bool, size: int, with_command: int, unsolicited: list[int]
) -> None:
    peer = Peer(parameters(immediate_data=immediate, initial_r2t=initial_r2t))
    content = bytes(range(250)) * 8
    _, ((command, data), *rest) = peer.write(content[:size])
    assert isinstance(command, ScsiCommand)
    assert data == content[:with_command]
    assert command.final is (not unsolicited)
    assert [len(part) for _, part in rest] == unsolicited
    for number, (pdu, _) in enumerate(rest):
        assert isinstance(pdu, ScsiDataOut)
        assert (pdu.ttt, pdu.data_sn) == (RESERVED_TAG, number)
        assert pdu.final is (number == len(rest) - 1)
    assert data + b"".join(part for _, part in rest) == content[: with_command + sum(unsolicited)]


@pytest.mark.parametrize("digests", [False, True])
def test_a_write_follows_several_r2ts(digests: bool) -> None:
    peer = Peer(digests=digests)
    content = bytes(range(251)) * 17
    task, sent = peer.write(content[:4001])
    received = sent[0][1]
    for number, (start, length) in enumerate([(512, 2048), (2560, 1441)]):
        pdu = ReadyToTransfer(
            lun=5, itt=task.itt, ttt=0x70 + number, r2t_sn=number, buffer_offset=start,
            desired_data_transfer_length=length,
        )  # fmt: skip
        peer.send(pdu)
        parts = peer.sent()
        for data_sn, (out, data) in enumerate(parts):
            assert isinstance(out, ScsiDataOut)
            assert (out.ttt, out.lun, out.data_sn) == (0x70 + number, 5, data_sn)
            assert out.buffer_offset == len(received)
            assert out.final is (data_sn == len(parts) - 1)
            received += data
    assert received == content[:4001]
    peer.send(ScsiResponse(itt=task.itt), numbered=True)
    assert (task.outcome, task.residual_bytes) == (COMPLETED, 0)


def test_a_good_write_whose_data_was_never_asked_for_has_a_residual() -> None:
    peer = Peer(parameters(immediate_data=False, initial_r2t=True))
    task, _ = peer.write(b"x" * 4096)
    peer.send(ScsiResponse(itt=task.itt), numbered=True)
    assert (task.outcome, task.status, task.residual_bytes) == (COMPLETED, 0, 4096)


def test_a_write_that_was_taken_in_part_has_a_residual() -> None:
    peer = Peer()
    task, _ = peer.write(b"x" * 512)
    peer.send(ScsiResponse(itt=task.itt, flags=UNDERFLOW, residual_count=12), numbered=True)
    assert task.residual_bytes == 12


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"ttt": RESERVED_TAG}, "transfer tag"),
        ({"r2t_sn": 1}, "number 1"),
        ({"desired_data_transfer_length": 0}, "of 0 bytes"),
        ({"desired_data_transfer_length": 2049}, "of 2049 bytes"),
        ({"buffer_offset": 2500}, "up to byte"),
        ({"buffer_offset": 0xFFFFFFFF, "desired_data_transfer_length": 2}, "up to byte"),
        ({"buffer_offset": 0}, "byte 0, where byte 512"),
        ({"itt": 99}, "does not exist"),
    ],
)
def test_an_r2t_that_does_not_fit_is_refused(change: dict[str, int], why: str) -> None:
    peer = Peer()
    task, _ = peer.write(b"x" * 3000)
    pdu = ReadyToTransfer(itt=task.itt, ttt=1, buffer_offset=512, desired_data_transfer_length=1000)
    for name, value in change.items():
        setattr(pdu, name, value)
    with pytest.raises(RemoteProtocolError, match=why):
        peer.send(pdu)
    assert peer.sent() == []


def test_an_r2t_for_a_read_is_refused() -> None:
    peer = Peer()
    task, _ = peer.read(512)
    with pytest.raises(RemoteProtocolError, match="writes nothing"):
        peer.send(ReadyToTransfer(itt=task.itt, ttt=1, desired_data_transfer_length=4))


# ---- windows and numbers ----


def test_a_closed_window_holds_commands_back_in_order() -> None:
    peer = Peer(window=2)
    tasks = [ScsiTask(0, READ_CDB, memoryview(bytearray(4))) for _ in range(4)]
    for task in tasks:
        peer.session.submit(task, 0.0)
    assert len(peer.sent()) == 2
    assert (peer.session.in_flight, peer.session.waiting, peer.session.window) == (2, 2, (2, 2))
    first = data_in(tasks[0], flags=FINAL | S, exp_cmd_sn=12, max_cmd_sn=12)
    peer.send(first, b"abcd", numbered=True)
    ((command, _),) = peer.sent()
    assert isinstance(command, ScsiCommand)
    assert command.cmd_sn == 12
    assert peer.session.waiting == 1


def test_the_window_never_moves_back_and_nonsense_is_ignored() -> None:
    peer = Peer(window=2)
    task, _ = peer.read(8)
    peer.send(data_in(task, flags=0, exp_cmd_sn=11, max_cmd_sn=5), b"a")  # no window: below ExpCmdSN - 1
    peer.send(data_in(task, 1, 1, exp_cmd_sn=9, max_cmd_sn=9), b"a")  # a window of the past
    assert peer.session.window == (1, 2)


def test_command_numbers_wrap() -> None:
    peer = Peer()
    peer.session._link.cmd_sn = 0xFFFFFFFF
    peer.session._link.exp_cmd_sn, peer.session._link.max_cmd_sn = 0xFFFFFFFF, 1
    numbers = []
    for _ in range(4):
        peer.session.submit(ScsiTask(0, READ_CDB, memoryview(bytearray(4))), 0.0)
    for command, _ in peer.sent():
        assert isinstance(command, ScsiCommand)
        numbers.append(command.cmd_sn)
    assert numbers == [0xFFFFFFFF, 0, 1]
    assert peer.session.waiting == 1


def test_an_enormous_window_does_not_make_enormous_queues() -> None:
    peer = Peer(window=1 << 20)
    for _ in range(MAX_COMMANDS + 5):
        peer.session.submit(ScsiTask(0, READ_CDB), 0.0)
    assert (peer.session.in_flight, peer.session.waiting) == (MAX_COMMANDS, 5)


def test_task_tags_in_use_are_skipped_and_the_reserved_one_never_comes() -> None:
    peer = Peer()
    first, _ = peer.read(4)
    link = peer.session._link
    link._next_itt = 0x7FFFFFFF
    second, _ = peer.read(4)
    third, _ = peer.read(4)
    assert (first.itt, second.itt, third.itt) == (1, 0x7FFFFFFF, 2)


def test_a_small_jump_of_response_numbers_is_told_a_large_one_ends_the_session() -> None:
    peer = Peer()
    task, _ = peer.read(4)
    peer.stat_sn += 3
    peer.send(data_in(task, flags=FINAL | S), b"abcd", numbered=True)
    assert peer.session.take_events() == [StatSnGap(100, 103)]
    task, _ = peer.read(4)
    peer.stat_sn -= 2
    peer.send(data_in(task, flags=FINAL | S), b"abcd", numbered=True)
    assert peer.session._link.exp_stat_sn == 104
    task, _ = peer.read(4)
    peer.stat_sn += 1000
    with pytest.raises(RemoteProtocolError, match="responses are lost"):
        peer.send(data_in(task, flags=FINAL | S), b"abcd", numbered=True)


# ---- ends ----


def test_a_lost_connection_ends_everything_in_order() -> None:
    peer = Peer(window=2)
    tasks = [ScsiTask(0, READ_CDB, memoryview(bytearray(4))) for _ in range(3)]
    for task in tasks:
        peer.session.submit(task, 0.0)
    ping = peer.session.ping(0.0)
    peer.session.connection_lost()
    assert peer.session.take_completed() == tasks
    assert {task.outcome for task in tasks} == {LOST}
    assert peer.session.take_ended_requests() == [ping]
    assert not peer.session.has_output
    with pytest.raises(LocalProtocolError, match="connection is lost"):
        peer.session.submit(ScsiTask(0, READ_CDB), 0.0)


def test_overdue_commands_are_found_oldest_first() -> None:
    peer = Peer(window=1)
    tasks = [ScsiTask(0, READ_CDB, memoryview(bytearray(4))) for _ in range(3)]
    for at, task in enumerate(tasks):
        peer.session.submit(task, float(at))
    assert peer.session.overdue(2.0) == tasks[:2]
    assert peer.session.overdue(9.0) == tasks


def test_a_task_that_waits_is_withdrawn_without_a_word() -> None:
    peer = Peer(window=0)
    task = ScsiTask(0, READ_CDB, memoryview(bytearray(4)))
    peer.session.submit(task, 0.0)
    assert peer.session.abort(task, 0.0) is None
    assert peer.sent() == []
    assert (task.outcome, peer.session.take_completed()) == (ABORTED, [task])


def test_an_ended_task_can_be_sent_again() -> None:
    peer = Peer()
    task, buffer = peer.read(8)
    peer.send(ScsiResponse(itt=task.itt, status=2), b"\0\2ab", numbered=True)
    assert peer.session.take_completed() == [task]
    other = bytes([0x28, 0, 0, 0, 0, 9]).ljust(16, b"\0")
    task.renew(other)
    peer.session.submit(task, 2.0)
    ((command, _),) = peer.sent()
    assert isinstance(command, ScsiCommand)
    assert (command.cdb, command.cmd_sn, command.itt) == (other, 11, 2)
    peer.send(data_in(task, flags=FINAL | S), b"12345678", numbered=True)
    assert (task.outcome, task.status, task.sense, bytes(buffer)) == (COMPLETED, 0, b"", b"12345678")
    assert not peer.session.has_news


def test_impossible_tasks_are_refused_before_they_are_sent() -> None:
    with pytest.raises(LocalProtocolError, match="17 bytes"):
        ScsiTask(0, bytes(17))
    with pytest.raises(LocalProtocolError, match="bidirectional"):
        ScsiTask(0, WRITE_CDB, memoryview(bytearray(1)), b"x")


class _Huge(bytes):
    def __len__(self) -> int:
        return 1 << 32


def test_more_than_the_length_field_holds_is_refused() -> None:
    with pytest.raises(LocalProtocolError, match="do not fit"):
        ScsiTask(0, WRITE_CDB, write_data=_Huge())


@settings(max_examples=60, deadline=None)
@given(
    cuts=st.lists(st.integers(1, 999), max_size=6, unique=True),
    extra=st.integers(0, 50),
)
def test_any_cutting_of_a_read_gives_the_same_bytes(cuts: list[int], extra: int) -> None:
    peer = Peer()
    content = bytes(range(200)) * 5
    task, buffer = peer.read(1000 + extra)
    edges = [0, *sorted(cuts), 1000]
    for number, (start, end) in enumerate(itertools.pairwise(edges)):
        peer.send(data_in(task, start, number), content[start:end])
    flags = UNDERFLOW if extra else 0
    peer.send(ScsiResponse(itt=task.itt, flags=flags, residual_count=extra), numbered=True)
    assert bytes(buffer[:1000]) == content
    assert task.residual_bytes == extra


@settings(max_examples=200, deadline=None)
@given(st.binary(min_size=48, max_size=48), st.integers(1, 3))
def test_no_header_leads_out_of_the_declared_errors(bhs: bytes, itt: int) -> None:
    peer = Peer()
    peer.read(64)
    peer.write(b"x" * 3000)
    peer.session.ping(0.0)
    header = bytearray(bhs)
    header[0] = (header[0] & 0x1F) | 0x20
    header[4:8] = bytes(4)
    header[16:20] = itt.to_bytes(4, "big")
    view = peer.framer.writable()
    view[:48] = header
    peer.framer.wrote(48)
    with contextlib.suppress(RemoteProtocolError):  # the declared error
        peer.session.receive()
