"""Lost connections, reinstatement and TASK REASSIGN (RFC 7143 §6.3.4–§6.3.6, §7.1.4.3, §7.2.2)."""

from __future__ import annotations

import pytest

from san_console.iscsi import opcodes as o
from san_console.iscsi import target_recovery, target_session, target_transfer_memory
from san_console.iscsi.parameters import OperationalParameters
from san_console.iscsi.pdu import (
    AsyncMessage,
    LogoutResponse,
    NopIn,
    Pdu,
    ReadyToTransfer,
    ScsiDataIn,
    ScsiResponse,
    TaskManagementResponse,
)
from tests.iscsi.target_harness import BAD_CDB, READ_CDB, FakeUnit, Initiator, Link, cdb


def recovering(level: int = 2, **changes: object) -> tuple[Initiator, Link, Link]:
    """Two connections at an error recovery level, and a unit that answers when told to."""
    fields: dict[str, object] = {
        "max_connections": 4,
        "error_recovery_level": level,
        "initial_r2t": False,
        "default_time2wait_s": 2,
        "default_time2retain_s": 20,
    }
    fields |= changes
    one = Initiator(OperationalParameters(**fields), command_window=32)  # type: ignore[arg-type]
    one.unit.fast, one.unit.later = False, True
    return one, one.link, one.connect(1)


def finish(unit: FakeUnit) -> None:
    for task in unit.running[:]:
        unit.running.remove(task)
        unit.finish(task)


def reassign(one: Initiator, link: Link, tag: int, **fields: int | bool) -> list[tuple[Pdu, bytes]]:
    raw = one.task_management(o.TMF_TASK_REASSIGN, referenced=tag, **fields)  # type: ignore[arg-type]
    return link.feed(raw, now=one.now)


def response(answers: list[tuple[Pdu, bytes]]) -> int:
    pdu = answers[0][0]
    assert isinstance(pdu, TaskManagementResponse)
    return pdu.response


def log_out_for_recovery(one: Initiator, link: Link, cid: int) -> None:
    [(pdu, _)] = link.feed(one.logout(o.LOGOUT_REMOVE_FOR_RECOVERY, cid), now=one.now)
    assert isinstance(pdu, LogoutResponse)
    assert (pdu.response, pdu.time2wait, pdu.time2retain) == (o.LOGOUT_DONE, 2, 20)


# A connection is lost


@pytest.mark.parametrize("level", [0, 1])
def test_below_level_2_the_tasks_of_a_lost_connection_end(level: int) -> None:
    """§7.6 b; the others go on, and the initiator is told by a unit attention (§11.14.5)."""
    one, first, second = recovering(level)
    first.feed(one.read(4))
    second.feed(one.read(4) + one.write(4096))
    second.answers()
    second.drop()
    assert one.session.may_continue
    assert [task.itt for task in one.session.tasks_on(first.connection)] == [0x101]
    assert one.nexus.cleared == []  # the unit still works for one of them: what is told has to be true
    [(pdu, _)] = first.answers()
    assert isinstance(pdu, AsyncMessage)  # §7.1.4.3
    assert (pdu.async_event, pdu.parameter1, pdu.parameter2, pdu.parameter3) == (
        o.ASYNC_CONNECTION_DROP,
        1,
        2,
        0,
    )
    finish(one.unit)
    assert one.nexus.cleared == [0]
    assert [type(p) for p, _ in first.answers()] == [ScsiDataIn]
    assert second.answers() == []
    assert one.session.quiet


@pytest.mark.parametrize("level", [0, 1])
def test_below_level_2_the_last_connection_takes_the_session_along(level: int) -> None:
    one, first, second = recovering(level)
    first.drop()
    assert one.session.may_continue
    second.drop()
    assert one.session.terminated


def test_with_nothing_to_retain_the_session_ends_with_its_last_connection() -> None:
    """§13.16: 0 means that the state is discarded at once, at level 2 too."""
    one, first, second = recovering(default_time2retain_s=0)
    first.feed(one.read(4))
    first.drop()
    assert one.session.quiet is False
    assert [task.state for task in one.unit.running] == [3]  # aborted
    second.drop()
    assert one.session.terminated


def test_at_level_2_the_session_waits_for_its_continuation() -> None:
    """§6.3.6, Q4: with no connection, for Time2Wait and Time2Retain."""
    one, first, second = recovering()
    first.feed(one.read(4))
    second.drop(1.0)
    first.drop(1.5)
    assert one.session.next_deadline() == 23.0
    one.tick(23.0)
    assert one.session.may_continue
    one.tick(23.5)
    assert one.session.terminated
    finish(one.unit)
    assert one.session.quiet


def test_being_told_twice_changes_nothing() -> None:
    one, first, second = recovering()
    second.drop(1.0)
    second.drop(9.0)
    assert one.session.next_deadline() == 23.0
    first.answers()
    assert len(one.session.connections) == 1


def test_immediate_tasks_are_not_recoverable() -> None:
    """§7.14."""
    one, _, second = recovering()
    second.feed(one.command(cdb(READ_CDB, 4), o.FINAL | o.READ, 4, immediate=True) + one.read(4))
    second.drop()
    assert [task.itt for task in one.session.tasks.values() if task.state != 3] == [0x102]
    finish(one.unit)
    assert one.nexus.cleared == [0]
    assert list(one.session.tasks) == [0x102]


def test_what_nobody_takes_up_ends_after_time2retain() -> None:
    """§7.6 b, §8.2 M1."""
    one, first, second = recovering()
    second.feed(one.read(4))
    tag = one.itt
    finish(one.unit)
    second.answers()
    second.feed(one.read(8))
    second.drop(0.0)
    first.answers()
    log_out_for_recovery(one, first, 1)
    one.tick(21.9)
    assert one.session.recovery.task(tag) is not None
    assert one.nexus.cleared == []
    one.tick(22.0)
    assert one.session.recovery.task(tag) is None
    assert reassign(one, first, one.unit.running[0].itt) == []  # it is not there once nothing can come of it
    finish(one.unit)
    assert one.nexus.cleared == [0]  # for the task that was not answered
    assert response(first.answers()) == o.TMF_TASK_DOES_NOT_EXIST
    assert one.session.quiet
    assert response(reassign(one, first, tag)) == o.TMF_TASK_DOES_NOT_EXIST
    assert one.session.may_continue


# TASK REASSIGN


@pytest.mark.parametrize("level", [0, 1])
def test_reassignment_needs_level_2(level: int) -> None:
    one, first, _ = recovering(level)
    first.feed(one.read(4))
    assert response(reassign(one, first, one.itt)) == o.TMF_REASSIGNMENT_NOT_SUPPORTED
    assert response(reassign(one, first, one.itt, immediate=False)) == o.TMF_REASSIGNMENT_NOT_SUPPORTED


def test_a_task_of_a_working_connection_is_still_allegiant() -> None:
    """§7.2.2: also when the connection is lost, but was not logged out."""
    one, first, second = recovering()
    second.feed(one.read(4))
    tag = one.itt
    assert response(reassign(one, first, tag)) == o.TMF_TASK_STILL_ALLEGIANT
    assert response(reassign(one, second, tag)) == o.TMF_TASK_STILL_ALLEGIANT
    second.drop()
    first.answers()
    assert response(reassign(one, first, tag)) == o.TMF_TASK_STILL_ALLEGIANT
    log_out_for_recovery(one, first, 1)
    assert response(reassign(one, first, tag)) == o.TMF_FUNCTION_COMPLETE


def test_reassignment_of_what_is_no_task() -> None:
    """§11.5.1: unknown tags, other requests, and a request that is not immediate."""
    one, first, second = recovering()
    assert response(reassign(one, first, 0x999)) == o.TMF_TASK_DOES_NOT_EXIST
    second.feed(one.read(4))
    read = one.itt
    abort = one.task_management(o.TMF_ABORT_TASK, referenced=read)
    assert second.feed(abort) == []
    assert response(reassign(one, first, one.itt)) == o.TMF_FUNCTION_REJECTED
    assert reassign(one, first, read) == []  # it has been aborted, and is still with the unit
    finish(one.unit)
    assert response(first.answers()) == o.TMF_TASK_DOES_NOT_EXIST
    second.feed(one.text("X-a=b\0", final=0))
    assert response(reassign(one, first, one.itt)) == o.TMF_FUNCTION_REJECTED
    second.feed(one.read(4))
    assert response(reassign(one, first, one.itt, immediate=False)) == o.TMF_FUNCTION_REJECTED


def test_a_read_that_ran_when_its_connection_was_lost() -> None:
    """§7.2.2: the response first, then the exchange goes on; finished before or after the reassignment."""
    one, first, second = recovering()
    second.feed(one.read(64) + one.read(128, 64))
    second.drop()
    first.answers()
    log_out_for_recovery(one, first, 1)
    early, late = one.unit.running
    one.unit.finish(early)
    assert second.answers() == []
    assert first.answers() == []
    answers = reassign(one, first, 0x101)
    assert [type(p) for p, _ in answers][:2] == [TaskManagementResponse, ScsiDataIn]
    assert answers[1][1] == bytes(one.unit.memory[:64])
    assert [type(p) for p, _ in reassign(one, first, 0x102)] == [TaskManagementResponse]
    one.unit.finish(late)
    [(pdu, data)] = [(p, d) for p, d in first.answers() if d]
    assert isinstance(pdu, ScsiDataIn)
    assert (pdu.itt, data) == (0x102, bytes(one.unit.memory[64:192]))
    assert one.session.quiet
    assert one.session.max_cmd_sn == 34
    assert one.session.counters.reads == 2


def test_a_status_that_was_not_acknowledged_is_sent_again() -> None:
    """§7.2.2: it must involve the retransmission of the status PDU."""
    one, first, second = recovering()
    second.feed(one.read(64))
    tag = one.itt
    finish(one.unit)
    lost = second.answers()
    second.drop()
    first.answers()
    log_out_for_recovery(one, first, 1)
    answers = reassign(one, first, tag)
    assert isinstance(answers[0][0], TaskManagementResponse)
    assert b"".join(data for _, data in answers[1:]) == b"".join(data for _, data in lost)
    last = answers[-1][0]
    assert isinstance(last, ScsiDataIn | ScsiResponse)
    assert last.stat_sn == answers[0][0].stat_sn + 1
    # Not acknowledged there either: a second loss, a second reassignment.
    third = one.connect(2)
    first.drop()
    third.answers()
    log_out_for_recovery(one, third, 0)
    assert response(reassign(one, third, tag)) == o.TMF_FUNCTION_COMPLETE
    third.acknowledge()
    assert one.session.recovery.task(tag) is None


def test_an_acknowledged_task_is_gone() -> None:
    """§4.2.2.2: the state may be discarded once the status was acknowledged."""
    one, first, second = recovering()
    second.feed(one.read(64))
    tag = one.itt
    finish(one.unit)
    second.answers()
    second.acknowledge()
    second.drop()
    first.answers()
    log_out_for_recovery(one, first, 1)
    assert response(reassign(one, first, tag)) == o.TMF_TASK_DOES_NOT_EXIST


def test_exp_data_sn_tells_what_the_initiator_has() -> None:
    """§11.5.6: Data-In from that number on."""
    one, first, second = recovering(peer_max_recv_data_segment_bytes=512)
    second.feed(one.read(2048))
    tag = one.itt
    finish(one.unit)
    assert len([p for p, d in second.answers() if d]) == 4
    second.drop()
    first.answers()
    log_out_for_recovery(one, first, 1)
    answers = reassign(one, first, tag, exp_data_sn=3)
    data = [(p.data_sn, p.buffer_offset) for p, d in answers if isinstance(p, ScsiDataIn) and d]
    assert data == [(3, 1536)]


def test_a_write_in_transfer_goes_on() -> None:
    """§7.2.2: R2Ts are sent anew; what has come is kept."""
    one, first, second = recovering()
    [(r2t, _)] = second.feed(one.write(4096))
    tag = one.itt
    assert isinstance(r2t, ReadyToTransfer)
    second.feed(one.data_out(0, b"a" * 1024, ttt=r2t.ttt, itt=tag, final=False))
    second.drop()
    first.answers()
    log_out_for_recovery(one, first, 1)
    answers = reassign(one, first, tag, exp_data_sn=0)
    assert isinstance(answers[0][0], TaskManagementResponse)
    wanted = [p for p, _ in answers if isinstance(p, ReadyToTransfer)]
    assert wanted
    for pdu in wanted:
        assert pdu.ttt != r2t.ttt
        data = b"b" * pdu.desired_data_transfer_length
        first.feed(one.data_out(pdu.buffer_offset, data, ttt=pdu.ttt, itt=tag))
    finish(one.unit)
    assert [p.status for p, _ in first.answers() if isinstance(p, ScsiResponse)] == [0]
    start = min(p.buffer_offset for p in wanted)
    assert one.unit.memory[:4096] == b"a" * start + b"b" * (4096 - start)


def test_a_write_whose_unsolicited_data_was_lost() -> None:
    one, first, second = recovering()
    second.feed(one.write(1024, b"a" * 256, final=False))
    tag = one.itt
    second.drop()
    first.answers()
    log_out_for_recovery(one, first, 1)
    answers = reassign(one, first, tag)
    wanted = [p for p, _ in answers if isinstance(p, ReadyToTransfer)]
    assert sum(p.desired_data_transfer_length for p in wanted) in (768, 1024)
    for pdu in wanted:
        data = b"b" * pdu.desired_data_transfer_length
        first.feed(one.data_out(pdu.buffer_offset, data, ttt=pdu.ttt, itt=tag))
    finish(one.unit)
    assert any(isinstance(p, ScsiResponse) for p, _ in first.answers())


def test_a_write_that_had_failed_ends_with_its_status() -> None:
    """Data that would only be dropped is not asked for again."""
    one, first, second = recovering()
    second.feed(one.command(cdb(BAD_CDB, 512), o.WRITE, 512))
    bad = one.itt
    second.feed(one.write(1024, b"a" * 2048, final=False, edtl=1024))
    wrong = one.itt
    assert second.answers() == []
    second.drop()
    first.answers()
    log_out_for_recovery(one, first, 1)
    for tag in (bad, wrong):
        answers = reassign(one, first, tag)
        assert [type(p) for p, _ in answers] == [TaskManagementResponse, ScsiResponse]
        status = answers[1][0]
        assert isinstance(status, ScsiResponse)
        assert status.status == 2
    assert one.session.quiet


def test_an_abort_of_an_answered_task_of_a_lost_connection_sends_the_status_first() -> None:
    """§11.5.1: it need not be reassigned; its status is resent, followed by the TMF response."""
    one, first, second = recovering()
    second.feed(one.read(64))
    tag = one.itt
    finish(one.unit)
    second.answers()
    abort = one.task_management(o.TMF_ABORT_TASK, referenced=tag)
    assert response(first.feed(abort)) == o.TMF_TASK_DOES_NOT_EXIST  # the status is on its way
    second.drop()
    first.answers()
    log_out_for_recovery(one, first, 1)
    answers = first.feed(one.task_management(o.TMF_ABORT_TASK, referenced=tag))
    assert isinstance(answers[0][0], ScsiDataIn)
    last = answers[-1][0]
    assert isinstance(last, TaskManagementResponse)
    assert last.response == o.TMF_FUNCTION_COMPLETE


def test_an_abort_of_a_waiting_task_of_a_lost_connection() -> None:
    one, first, second = recovering()
    second.feed(one.read(64) + one.write(4096))
    second.drop()
    finish(one.unit)  # the read waits, answered
    first.answers()
    log_out_for_recovery(one, first, 1)
    for tag in (0x101, 0x102):
        abort = one.task_management(o.TMF_ABORT_TASK, referenced=tag)
        assert response(first.feed(abort)) == o.TMF_FUNCTION_COMPLETE
    assert one.session.quiet


# Reinstatement


def test_connection_reinstatement_at_level_2_is_a_logout_for_recovery() -> None:
    """§6.3.4, §11.14: the implicit logout has reason 2."""
    one, first, second = recovering()
    second.feed(one.read(64))
    tag = one.itt
    one.session.reinstate(1)
    assert [cid for cid, _ in one.closed] == [1]
    again = one.connect(1, stat_sn=900)
    finish(one.unit)
    assert second.answers() == []
    answers = reassign(one, again, tag)
    assert [type(p) for p, _ in answers][:2] == [TaskManagementResponse, ScsiDataIn]
    second.drop()  # the old socket goes in the end; nothing hears of it
    assert first.answers() == []
    assert set(one.session.connections) == {0, 1}


def test_reinstatement_of_a_lost_connection_continues_the_session() -> None:
    """§6.3.6: session continuation, with the last connection gone."""
    one, first, second = recovering()
    second.drop()
    first.feed(one.read(64))
    tag = one.itt
    first.drop()
    one.session.reinstate(0)
    again = one.connect(0)
    assert one.closed == []
    assert response(reassign(one, again, tag)) == o.TMF_FUNCTION_COMPLETE
    finish(one.unit)
    assert any(isinstance(p, ScsiDataIn) for p, _ in again.answers())
    one.tick(100.0)
    assert one.session.may_continue


@pytest.mark.parametrize("level", [0, 1])
def test_reinstatement_below_level_2_ends_the_tasks(level: int) -> None:
    """§6.3.4: immediately, without further notice."""
    one, _, second = recovering(level)
    second.feed(one.read(64) + one.write(4096))
    second.answers()
    one.session.reinstate(1)
    one.connect(1)
    finish(one.unit)
    assert second.answers() == []
    assert one.session.quiet
    assert one.nexus.cleared == [0]


def test_reinstatement_of_a_cid_that_nobody_knows() -> None:
    one, _, _ = recovering()
    one.session.reinstate(9)
    assert one.closed == []


# Bounds


def test_answers_that_nobody_acknowledges_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(target_recovery, "MAX_RETAINED_BYTES", 4096)
    one, first, second = recovering()
    for _ in range(3):
        first.feed(one.read(2048))
    assert one.closed == []
    while one.unit.running:
        finish(one.unit)  # the unit does not care who acknowledges what
    assert one.closed == [(cid, "the initiator has not acknowledged 6144 bytes of answers") for cid in (0, 1)]
    assert one.session.terminated
    assert second.connection.closing


def test_acknowledgments_are_asked_for_when_answers_pile_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """§7.1.4.2: a NOP-In with the next StatSN; the answer to it acknowledges."""
    monkeypatch.setattr(target_recovery, "SOLICIT_BYTES", 4096)
    one, first, _ = recovering()
    one.unit.later = False
    asked = [type(p) is NopIn for _ in range(6) for p, _ in first.feed(one.read(2048))]
    assert asked == [False, False, True, False, False, True, False, False, True]
    first.acknowledge()
    assert [type(p) for p, _ in first.feed(one.read(2048))] == [ScsiDataIn]


def test_a_tag_that_is_used_again_forgets_the_old_answer() -> None:
    one, first, _ = recovering()
    one.unit.later = False
    for _ in range(3):
        first.feed(one.command(cdb(READ_CDB, 64), o.FINAL | o.READ, 64, itt=5))
    assert one.session.recovery.task(5) is not None
    first.acknowledge()
    assert one.session.recovery.task(5) is None


def test_a_write_that_waits_for_memory_survives_its_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(target_transfer_memory, "MAX_TRANSFER_BYTES", 4096)
    one, first, second = recovering(initial_r2t=True)
    [(r2t, _)] = first.feed(one.write(4096))
    assert isinstance(r2t, ReadyToTransfer)
    holder = one.itt
    assert second.feed(one.write(4096)) == []
    waiting = one.itt
    second.drop()
    first.answers()
    log_out_for_recovery(one, first, 1)
    first.feed(one.data_out(0, bytes(4096), ttt=r2t.ttt, itt=holder))
    finish(one.unit)
    assert second.answers() == []
    first.answers()
    assert any(isinstance(p, ReadyToTransfer) for p, _ in reassign(one, first, waiting))


def test_reads_that_wait_do_not_keep_their_reassignment_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """The memory of a session for reads is full of tasks that nobody can take: the others still receive."""
    monkeypatch.setattr(target_session, "MAX_PENDING_READ_BYTES", 4096)
    one, first, second = recovering()
    second.feed(one.read(8192))
    tag = one.itt
    finish(one.unit)
    second.answers()
    second.feed(one.read(8192))
    running = one.itt
    full = one.session.reads_full
    assert full
    second.drop()
    assert not one.session.reads_full
    first.answers()
    log_out_for_recovery(one, first, 1)
    assert response(reassign(one, first, tag)) == o.TMF_FUNCTION_COMPLETE
    assert response(reassign(one, first, running)) == o.TMF_FUNCTION_COMPLETE
    finish(one.unit)
    assert one.session.quiet
    assert one.session.pending_read_bytes == 0
