"""The session object: command window, task aborts for other nexuses, memory for reads, its end."""

from __future__ import annotations

import pytest

from san_console.iscsi import opcodes as o
from san_console.iscsi.parameters import OperationalParameters
from san_console.iscsi.pdu import (
    NopIn,
    NopOut,
    ReadyToTransfer,
    Reject,
    ScsiDataIn,
    ScsiResponse,
    TaskManagementResponse,
)
from san_console.iscsi.target_session import LINGER_S, MAX_PENDING_READ_BYTES, TASK_ABORTED
from tests.iscsi.target_harness import READ_CDB, Initiator, cdb


def busy(**changes: object) -> Initiator:
    one = Initiator(OperationalParameters(**changes), command_window=8)  # type: ignore[arg-type]
    one.unit.fast, one.unit.later = False, True
    return one


# The command window (§4.2.2.1)


def test_a_window_that_grows() -> None:
    one = Initiator(command_window=4)
    one.session.set_command_window(10)
    [(pdu, _)] = one.feed(one.read(4))
    assert isinstance(pdu, ScsiDataIn)
    assert (pdu.exp_cmd_sn, pdu.max_cmd_sn) == (2, 11)


def test_a_window_that_shrinks_never_takes_a_number_back() -> None:
    """MaxCmdSN stays until enough commands have ended, on the fast path as on the other."""
    one = Initiator(command_window=8)
    one.session.set_command_window(5)
    seen = []
    for _ in range(6):
        [(pdu, _)] = one.feed(one.read(4))
        assert isinstance(pdu, ScsiDataIn)
        seen.append((pdu.exp_cmd_sn, pdu.max_cmd_sn))
    assert seen == [(2, 8), (3, 8), (4, 8), (5, 9), (6, 10), (7, 11)]
    assert one.session.straight


def test_a_window_that_shrinks_and_grows_again() -> None:
    one = Initiator(command_window=8)
    one.session.set_command_window(2)
    one.session.set_command_window(6)
    assert one.session.max_cmd_sn == 8
    one.feed(one.read(4) + one.read(4))
    assert one.session.max_cmd_sn == 8
    one.feed(one.read(4))
    assert (one.session.exp_cmd_sn, one.session.max_cmd_sn) == (4, 9)
    one.session.set_command_window(8)
    assert (one.session.exp_cmd_sn, one.session.max_cmd_sn) == (4, 11)


def test_the_window_closes_and_immediate_commands_still_come() -> None:
    """§4.2.2.1: MaxCmdSN is never less than ExpCmdSN - 1."""
    one = busy()
    one.feed(b"".join(one.read(4) for _ in range(8)))
    assert (one.session.exp_cmd_sn, one.session.max_cmd_sn) == (9, 8)
    assert one.feed(one.read(4)) == []
    [(pdu, _)] = one.feed(one.bytes_of(NopOut(itt=0x900, cmd_sn=9).pack()))
    assert isinstance(pdu, NopIn)
    assert (pdu.exp_cmd_sn, pdu.max_cmd_sn) == (9, 8)


# Aborts for other nexuses


def test_tasks_aborted_by_another_nexus_end_silently_or_with_task_aborted() -> None:
    """TAS of the Control mode page (SPC-4 §7.5.8)."""
    for report in (False, True):
        one = busy()
        [(r2t, _)] = one.feed(one.read(4) + one.write(4096))
        assert isinstance(r2t, ReadyToTransfer)
        done: list[bool] = []
        one.session.abort_set(0, report=report, then=lambda done=done: done.append(True))  # type: ignore[misc]
        assert done == []  # the unit still works for one of them
        one.unit.finish(one.unit.running[0])
        assert done == [True]
        answers = one.answers()
        answers += one.feed(one.data_out(0, bytes(4096), ttt=r2t.ttt))
        statuses = [(p.itt, p.status) for p, _ in answers if isinstance(p, ScsiResponse)]
        assert statuses == ([(0x101, TASK_ABORTED), (0x102, TASK_ABORTED)] if report else [])
        assert not any(isinstance(p, Reject) for p, _ in answers)
        assert one.session.quiet
        assert one.unit.executed == 1


def test_the_task_that_asks_is_spared() -> None:
    """PREEMPT AND ABORT does not end itself."""
    one = busy()
    one.feed(one.read(4) + one.read(4))
    mine, other = one.unit.running
    done: list[bool] = []
    one.session.abort_set(0, report=False, then=lambda: done.append(True), but=mine)
    one.unit.finish(other)
    assert done == [True]
    one.unit.finish(mine)
    assert [type(p) for p, _ in one.answers()] == [ScsiDataIn]


def test_what_was_aborted_before_and_is_still_with_the_unit_is_waited_for() -> None:
    """It may write as late as what is aborted now."""
    one = busy()
    one.feed(one.read(4))
    done: list[int] = []
    one.session.abort_set(0, report=False, then=lambda: done.append(1))
    one.session.abort_set(0, report=False, then=lambda: done.append(2))
    assert done == []
    one.unit.finish(one.unit.running[0])
    assert done == [1, 2]


def test_an_abort_of_nothing_is_done_at_once() -> None:
    one = busy()
    one.feed(one.read(4))
    done: list[bool] = []
    one.session.abort_set(1 << 48, report=True, then=lambda: done.append(True))
    assert done == [True]
    assert len(one.session.tasks) == 1


def test_data_that_never_comes_is_not_waited_for_for_ever() -> None:
    one = busy()
    one.feed(one.write(4096))
    one.session.abort_set(0, report=True)
    assert one.answers() == []
    one.tick(LINGER_S)
    [(pdu, _)] = one.answers()
    assert isinstance(pdu, ScsiResponse)
    assert pdu.status == TASK_ABORTED
    assert one.session.max_cmd_sn == 9


def test_a_stray_data_out_does_not_end_the_wait_for_the_unit() -> None:
    """No answer before the last write of an aborted task: the unit says when it has finished."""
    one = busy(initial_r2t=False)
    one.feed(one.write(512, b"x" * 512))
    tag = one.itt
    assert one.feed(one.task_management(o.TMF_ABORT_TASK, referenced=tag)) == []
    assert one.feed(one.data_out(0, b"y" * 512, ttt=o.RESERVED_TAG, itt=tag)) == []
    assert tag in one.session.tasks
    one.unit.finish(one.unit.running[0])
    assert len(one.answers()) == 1


# Memory for reads


def test_a_paused_session_wakes_when_others_have_ended_its_reads() -> None:
    """All its connections: each of them may have stopped receiving."""
    one = busy(max_connections=2)
    second = one.connect(1)
    one.feed(b"".join(one.read(16, edtl=MAX_PENDING_READ_BYTES // 2) for _ in range(3)))
    full = one.session.reads_full
    assert full
    one.session.abort_set(0, report=False)
    woken = one.link.woken, second.woken
    for task in one.unit.running:
        one.unit.finish(task)
    assert not one.session.reads_full
    assert (one.link.woken, second.woken) == (woken[0] + 1, woken[1] + 1)


# Attributes of tasks, tags, the end


@pytest.mark.parametrize(("level", "priority"), [(1, 0), (2, 9)])
def test_attribute_and_priority_of_a_task(level: int, priority: int) -> None:
    """RFC 7144 §5.1.1: PRI is ignored unless iSCSIProtocolLevel is 2."""
    one = busy(protocol_level=level)
    raw = bytearray(one.command(cdb(READ_CDB, 4), o.FINAL | o.READ, 4))
    raw[2] = 9 << 4
    one.feed(bytes(raw))
    [task] = one.unit.running
    assert (task.attribute, task.priority) == (o.ATTR_SIMPLE, priority)


def test_a_command_with_the_tag_of_a_waiting_request_is_refused() -> None:
    """§11.2.1.8: tags are unique in the session."""
    one = busy()
    one.feed(one.read(4))
    one.feed(one.task_management(o.TMF_ABORT_TASK, referenced=one.itt))
    [(pdu, _)] = one.feed(one.command(cdb(READ_CDB, 4), o.FINAL | o.READ, 4, itt=one.itt))
    assert isinstance(pdu, Reject)


def test_nothing_is_sent_on_a_closed_connection() -> None:
    one = busy()
    one.feed(one.read(4))
    one.link.drop()
    one.unit.finish(one.unit.running[0])
    one.connection.send(bytes(48))
    assert one.answers() == []
    assert not one.session.may_continue


def test_the_end_is_told_once() -> None:
    one = Initiator()
    one.session.close("enough")
    one.session.close("enough")
    assert one.closed == [(0, "enough")]
    one.session.tick(5.0)
    assert one.session.next_deadline() is None


def test_the_own_abort_of_a_task_that_another_has_aborted_silences_it() -> None:
    """§11.5.1: no response of a covered task after the response to the function."""
    one = busy()
    one.feed(one.write(4096))
    tag = one.itt
    one.session.abort_set(0, report=True)
    answers = one.feed(one.task_management(o.TMF_ABORT_TASK, referenced=tag))
    assert [type(p) for p, _ in answers] == [TaskManagementResponse]
    one.tick(LINGER_S)
    assert one.answers() == []


def test_task_aborted_is_kept_for_recovery_like_any_status() -> None:
    one = busy(error_recovery_level=2)
    one.feed(one.read(4))
    tag = one.itt
    one.session.abort_set(0, report=True)
    one.unit.finish(one.unit.running[0])
    one.link.drop()
    one.session.reinstate(0)
    again = one.connect(0)
    answers = again.feed(one.task_management(o.TMF_TASK_REASSIGN, referenced=tag))
    assert [p.status for p, _ in answers if isinstance(p, ScsiResponse)] == [TASK_ABORTED]


def test_task_aborted_waits_for_fences_and_not_for_lost_connections() -> None:
    one = busy(max_connections=2)
    second = one.connect(1)
    one.feed(one.read(4))
    one.unit.finish(one.unit.running[0])
    one.answers()
    second.feed(one.task_management(o.TMF_ABORT_TASK_SET))  # waits for the acknowledgment of the read
    second.feed(one.read(4) + one.read(4))
    one.session.abort_set(0, report=True)
    for task in one.unit.running[1:]:
        one.unit.finish(task)
    assert second.answers() == []
    one.link.acknowledge()
    assert [type(p) for p, _ in second.answers()] == [TaskManagementResponse, NopIn]
    statuses = [p.status for p, _ in second.acknowledge() if isinstance(p, ScsiResponse)]
    assert statuses == [TASK_ABORTED] * 2
    second.feed(one.read(4))
    one.session.abort_set(0, report=True)
    second.drop()
    one.unit.finish(one.unit.running[-1])
    assert second.answers() == []
