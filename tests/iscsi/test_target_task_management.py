"""Task management: what is aborted, what is waited for, what is answered."""

from __future__ import annotations

import pytest

from san_console.iscsi import opcodes as o
from san_console.iscsi import target_command_order, target_transfer_memory
from san_console.iscsi.errors import RemoteProtocolError
from san_console.iscsi.parameters import OperationalParameters
from san_console.iscsi.pdu import (
    Pdu,
    ReadyToTransfer,
    Reject,
    ScsiDataIn,
    TaskManagementResponse,
)
from san_console.iscsi.target_task import ABORTED
from san_console.iscsi.target_task_management import MAX_PENDING_FUNCTIONS
from san_console.iscsi.target_task_sets import DATA_WAIT_S
from tests.iscsi.target_harness import READ_CDB, WRITE_CDB, FakeNexus, FakeUnit, Initiator, cdb


def busy(**changes: int) -> Initiator:
    one = Initiator(command_window=16, **changes)  # type: ignore[arg-type]
    one.unit.fast = False
    one.unit.later = True
    return one


def response(answers: list[tuple[Pdu, bytes]]) -> int:
    [(pdu, _)] = answers
    assert isinstance(pdu, TaskManagementResponse)
    return pdu.response


def test_abort_task_waits_for_the_unit_and_no_status_is_sent() -> None:
    one = busy()
    one.feed(one.read(64))
    tag = one.itt
    assert one.feed(one.task_management(o.TMF_ABORT_TASK, referenced=tag)) == []
    one.unit.finish(one.unit.running[0])
    assert response(one.answers()) == o.TMF_FUNCTION_COMPLETE
    assert not one.session.tasks
    assert one.session.max_cmd_sn == 17
    assert one.session.counters.aborted_tasks == 1


def test_abort_of_a_write_in_transfer_is_answered_at_once_and_its_data_ignored() -> None:
    one = busy()
    [(r2t, _)] = one.feed(one.write(4096))
    assert isinstance(r2t, ReadyToTransfer)
    tag = one.itt
    assert response(one.feed(one.task_management(o.TMF_ABORT_TASK, referenced=tag))) == 0
    [(pdu, _)] = one.feed(one.data_out(0, b"x" * 4096, ttt=r2t.ttt, itt=tag))
    assert isinstance(pdu, Reject)
    assert one.unit.executed == 0


@pytest.mark.parametrize(
    ("tag", "ref_cmd_sn", "expected"),
    [
        (0x999, 1, o.TMF_TASK_DOES_NOT_EXIST),  # executed long ago
        (0x999, 100, o.TMF_TASK_DOES_NOT_EXIST),
        (0x999, 3, o.TMF_TASK_DOES_NOT_EXIST),  # not before the request itself
    ],
)
def test_abort_of_no_task(tag: int, ref_cmd_sn: int, expected: int) -> None:
    one = Initiator()
    one.feed(one.read(4) + one.read(4))
    raw = one.task_management(o.TMF_ABORT_TASK, referenced=tag, ref_cmd_sn=ref_cmd_sn)
    assert response(one.feed(raw)) == expected


def test_abort_of_a_command_that_has_not_come_yet_plugs_its_place() -> None:
    one = Initiator()
    lost, later = one.read(4), one.read(8)
    assert one.feed(later) == []
    answers = one.feed(one.task_management(o.TMF_ABORT_TASK, referenced=0x101, ref_cmd_sn=1))
    assert [type(pdu) for pdu, _ in answers] == [TaskManagementResponse, ScsiDataIn]
    assert isinstance(answers[0][0], TaskManagementResponse)
    assert answers[0][0].response == o.TMF_FUNCTION_COMPLETE
    assert one.feed(lost) == []  # late: ignored
    assert one.session.exp_cmd_sn == 3


def test_abort_of_a_command_that_is_held_back_drops_it() -> None:
    one = Initiator()
    first, held = one.read(4), one.write(4, b"abcd")
    assert one.feed(held) == []
    one.feed(one.task_management(o.TMF_ABORT_TASK, referenced=0x102, ref_cmd_sn=2))
    assert len(one.feed(first)) == 1
    assert one.unit.memory == FakeUnit().memory
    assert one.session.exp_cmd_sn == 3


def test_abort_task_set_waits_for_data_on_its_way() -> None:
    one = busy()
    [(r2t, _)] = one.feed(one.write(4096))
    assert isinstance(r2t, ReadyToTransfer)
    tag = one.itt
    one.feed(one.read(64))
    assert one.feed(one.task_management(o.TMF_ABORT_TASK_SET)) == []
    one.unit.finish(one.unit.running[0])
    assert one.answers() == []
    assert response(one.feed(one.data_out(0, b"x" * 4096, ttt=r2t.ttt, itt=tag))) == 0
    assert one.unit.executed == 1
    assert one.unit.memory == FakeUnit().memory
    assert not one.session.tasks


def test_abort_task_set_does_not_wait_for_ever() -> None:
    one = busy()
    one.feed(one.write(4096))
    one.now = 10.0
    assert one.feed(one.task_management(o.TMF_ABORT_TASK_SET)) == []
    assert one.session.next_deadline() == 10.0 + DATA_WAIT_S
    one.session.tick(10.0 + DATA_WAIT_S - 0.1)
    assert one.answers() == []
    one.session.tick(10.0 + DATA_WAIT_S)
    assert response(one.answers()) == 0
    assert one.session.next_deadline() is None


def test_abort_task_set_waits_for_commands_sent_before_it() -> None:
    one = busy()
    first = one.read(4)
    one.feed(one.read(4))
    assert one.feed(one.task_management(o.TMF_ABORT_TASK_SET)) == []
    assert one.feed(first) == []  # both run now, and both are aborted
    assert one.session.counters.aborted_tasks == 2
    for task in one.unit.running:
        one.unit.finish(task)
    assert response(one.answers()) == 0


def test_the_task_set_of_a_lun_that_is_not_there() -> None:
    one = Initiator()
    assert (
        response(one.feed(one.task_management(o.TMF_ABORT_TASK_SET, lun=1 << 48))) == o.TMF_LUN_DOES_NOT_EXIST
    )


@pytest.mark.parametrize("function", [o.TMF_CLEAR_TASK_SET, o.TMF_LOGICAL_UNIT_RESET])
def test_functions_that_reach_other_sessions(function: int) -> None:
    unit = FakeUnit()
    unit.fast = False
    unit.later = True
    nexus = FakeNexus(unit)
    mine, other = Initiator(unit=unit, nexus=nexus), Initiator(unit=unit, nexus=nexus)
    mine.feed(mine.read(4))
    other.feed(other.read(4))
    [(r2t, _)] = other.feed(other.write(4096))
    assert isinstance(r2t, ReadyToTransfer)
    assert mine.feed(mine.task_management(function)) == []
    unit.finish(unit.running[0])
    assert mine.answers() == []  # the unit still works for the other one
    assert nexus.resets == []
    unit.finish(unit.running[1])
    assert response(mine.answers()) == 0
    assert nexus.resets == [(0, function)]
    assert other.answers() == []
    # The data of the other session's write is swallowed for a while (§4.2.3.3 a).
    assert list(other.session.tasks) == [other.itt]
    assert other.feed(other.data_out(0, bytes(4096), ttt=r2t.ttt)) == []
    assert not other.session.tasks


def test_target_warm_reset_does_not_wait_for_missing_commands() -> None:
    one = busy()
    missing = one.read(4)
    held = one.read(4)
    assert one.feed(held) == []
    assert response(one.feed(one.task_management(o.TMF_TARGET_WARM_RESET))) == 0
    assert one.session.exp_cmd_sn == 3
    assert one.feed(missing) == []
    assert not one.unit.running
    assert one.nexus.resets == [(None, o.TMF_TARGET_WARM_RESET)]


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (o.TMF_CLEAR_ACA, o.TMF_NOT_SUPPORTED),
        (o.TMF_TASK_REASSIGN, o.TMF_REASSIGNMENT_NOT_SUPPORTED),
        (o.TMF_QUERY_TASK, o.TMF_NOT_SUPPORTED),
        (0x55, o.TMF_NOT_SUPPORTED),
    ],
)
def test_functions_that_are_not_there(function: int, expected: int) -> None:
    one = Initiator()
    assert response(one.feed(one.task_management(function))) == expected
    assert response(one.feed(one.task_management(function, immediate=False))) == expected
    assert (one.session.exp_cmd_sn, one.session.max_cmd_sn) == (2, 9)


def test_a_function_out_of_order_waits_and_one_without_a_tag_is_rejected() -> None:
    one = Initiator()
    first = one.read(4)
    assert one.feed(one.task_management(o.TMF_CLEAR_ACA, immediate=False)) == []
    assert len(one.feed(first)) == 2
    one.itt = 0xFFFFFFFE
    [(pdu, _)] = one.feed(one.task_management(o.TMF_CLEAR_ACA))
    assert isinstance(pdu, Reject)


def test_the_tag_of_an_aborted_write_may_be_used_again() -> None:
    one = busy()
    one.feed(one.write(4096))
    tag = one.itt
    one.session.abort(one.session.tasks[tag])
    one.session.abort(one.session.tasks[tag])  # once is enough
    assert one.session.counters.aborted_tasks == 1
    one.feed(one.command(cdb(READ_CDB, 4), o.FINAL | o.READ, 4, itt=tag))
    one.unit.finish(one.unit.running[0])
    [(pdu, _)] = one.answers()
    assert isinstance(pdu, ScsiDataIn)


def test_an_aborted_write_with_unsolicited_data_on_its_way() -> None:
    one = busy()
    one.feed(one.write(4096, final=False))
    tag = one.itt
    one.session.abort(one.session.tasks[tag])
    assert one.feed(one.data_out(0, b"x" * 512, ttt=o.RESERVED_TAG, itt=tag, final=False)) == []
    assert tag in one.session.tasks
    assert one.feed(one.data_out(512, b"x" * 512, ttt=o.RESERVED_TAG, itt=tag, data_sn=1)) == []
    assert tag not in one.session.tasks
    assert one.unit.memory == FakeUnit().memory


def test_the_end_of_a_session_ends_its_tasks() -> None:
    one = busy()
    one.feed(one.read(4) + one.write(4096))
    one.feed(one.task_management(o.TMF_ABORT_TASK_SET))
    one.session.terminate()
    quiet = one.session.quiet
    assert not quiet
    done: list[bool] = []
    one.session.wait_for(list(one.session.tasks.values()), lambda: done.append(True), transfers_until=None)
    one.answers()
    one.unit.finish(one.unit.running[0])
    assert done == [True]
    assert one.session.quiet
    assert one.answers() == []


def test_abort_of_a_write_that_waits_for_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(target_transfer_memory, "MAX_TRANSFER_BYTES", 4096)
    one = busy()
    assert len(one.feed(one.write(4096) + one.write(4096))) == 1
    assert response(one.feed(one.task_management(o.TMF_ABORT_TASK, referenced=one.itt))) == 0


def test_too_much_data_held_back_ends_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(target_command_order, "MAX_HELD_BYTES", 1500)
    one = Initiator()
    one.read(4)  # never sent
    one.feed(one.write(600, b"x" * 600))
    with pytest.raises(RemoteProtocolError):
        one.feed(one.write(600, b"x" * 600))


def test_a_held_command_that_is_refused_at_its_turn_leaves_the_gap() -> None:
    one = busy()
    one.feed(one.read(4))
    tag = one.itt
    missing = one.read(4)
    reused = one.command(cdb(READ_CDB, 4), o.FINAL | o.READ, 4, itt=0x300)
    assert one.feed(reused) == []
    one.session.tasks[0x300] = one.session.tasks[tag]
    [(pdu, _)] = one.feed(missing)
    assert isinstance(pdu, Reject)
    assert one.session.exp_cmd_sn == 3


def test_a_storm_of_functions_is_bounded() -> None:
    one = busy()
    one.feed(one.read(4))
    tag = one.itt
    answers = one.feed(
        b"".join(
            one.task_management(o.TMF_ABORT_TASK, referenced=tag) for _ in range(MAX_PENDING_FUNCTIONS + 3)
        )
    )
    assert [pdu.reason for pdu, _ in answers if isinstance(pdu, Reject)] == [
        o.REJECT_TOO_MANY_IMMEDIATE_COMMANDS
    ] * 3
    one.unit.finish(one.unit.running[0])
    assert len(one.answers()) == MAX_PENDING_FUNCTIONS


def test_a_unit_can_hear_of_the_end_of_a_task_that_it_never_ran() -> None:
    one = busy()
    [(r2t, _)] = one.feed(one.write(4096))
    assert isinstance(r2t, ReadyToTransfer)
    gone: list[int] = []
    one.session.tasks[one.itt].on_gone = lambda: gone.append(1)
    one.feed(one.task_management(o.TMF_ABORT_TASK, referenced=one.itt))
    assert gone == [1]


@pytest.mark.parametrize("attribute", [o.ATTR_ORDERED, o.ATTR_HEAD_OF_QUEUE, o.ATTR_ACA])
def test_commands_with_an_order_of_their_own_do_not_take_the_fast_path(attribute: int) -> None:
    one = Initiator()
    one.feed(one.command(cdb(READ_CDB, 64), o.FINAL | o.READ | attribute, 64))
    one.feed(one.command(cdb(WRITE_CDB, 64), o.FINAL | o.WRITE | attribute, 64, bytes(64)))
    assert one.unit.executed == 2


# RFC 7144: the functions that need iSCSIProtocolLevel 2


def modern(**changes: int) -> Initiator:
    one = Initiator(
        OperationalParameters(protocol_level=2, max_connections=2, **changes),  # type: ignore[arg-type]
        command_window=16,
    )
    one.unit.fast, one.unit.later = False, True
    return one


def test_query_task() -> None:
    """RFC 7144 §6.4.2: function succeeded when the task is in the task set, else function complete."""
    one = modern()
    one.feed(one.read(4))
    tag = one.itt
    assert (
        response(one.feed(one.task_management(o.TMF_QUERY_TASK, referenced=tag))) == o.TMF_FUNCTION_SUCCEEDED
    )
    assert (
        response(one.feed(one.task_management(o.TMF_QUERY_TASK, referenced=tag, lun=1 << 48)))
        == o.TMF_FUNCTION_COMPLETE
    )
    one.unit.finish(one.unit.running[0])
    one.answers()
    assert (
        response(one.feed(one.task_management(o.TMF_QUERY_TASK, referenced=tag))) == o.TMF_FUNCTION_COMPLETE
    )
    assert (
        response(one.feed(one.task_management(o.TMF_QUERY_TASK, referenced=0x999))) == o.TMF_FUNCTION_COMPLETE
    )


def test_query_of_a_task_that_waits_for_its_turn_waits_too() -> None:
    """It must not be taken for one that is not there."""
    one = modern()
    second = one.connect(1)
    missing = one.read(4)
    assert second.feed(one.read(4)) == []
    tag = one.itt
    assert second.feed(one.task_management(o.TMF_QUERY_TASK, referenced=tag)) == []
    one.feed(missing)
    assert response(second.answers()) == o.TMF_FUNCTION_SUCCEEDED


def test_query_of_an_aborted_task_and_of_a_function() -> None:
    """RFC 7144 §6.3: not to be executed on a task management request."""
    one = modern()
    one.feed(one.read(4))
    read = one.itt
    one.feed(one.task_management(o.TMF_ABORT_TASK, referenced=read))
    abort = one.itt
    assert (
        response(one.feed(one.task_management(o.TMF_QUERY_TASK, referenced=read))) == o.TMF_FUNCTION_COMPLETE
    )
    assert (
        response(one.feed(one.task_management(o.TMF_QUERY_TASK, referenced=abort))) == o.TMF_FUNCTION_REJECTED
    )


def test_query_task_set() -> None:
    one = modern()
    assert response(one.feed(one.task_management(o.TMF_QUERY_TASK_SET))) == o.TMF_FUNCTION_COMPLETE
    one.feed(one.read(4))
    assert response(one.feed(one.task_management(o.TMF_QUERY_TASK_SET))) == o.TMF_FUNCTION_SUCCEEDED
    assert (
        response(one.feed(one.task_management(o.TMF_QUERY_TASK_SET, lun=1 << 48))) == o.TMF_LUN_DOES_NOT_EXIST
    )


def test_query_asynchronous_event() -> None:
    """SAM-5 §7.9: depth of the queue, sense key, additional sense code."""
    one = modern()
    query = one.task_management(o.TMF_QUERY_ASYNCHRONOUS_EVENT)
    assert response(one.feed(query)) == o.TMF_FUNCTION_COMPLETE
    one.nexus.attentions = [(6, 0x2A, 0x01), (6, 0x3F, 0x0E)]
    [(pdu, _)] = one.feed(one.task_management(o.TMF_QUERY_ASYNCHRONOUS_EVENT))
    assert isinstance(pdu, TaskManagementResponse)
    assert (pdu.response, pdu.additional_response_information) == (o.TMF_FUNCTION_SUCCEEDED, 0x262A01)
    one.nexus.attentions = one.nexus.attentions[:1]
    [(pdu, _)] = one.feed(one.task_management(o.TMF_QUERY_ASYNCHRONOUS_EVENT))
    assert isinstance(pdu, TaskManagementResponse)
    assert pdu.additional_response_information == 0x162A01
    assert (
        response(one.feed(one.task_management(o.TMF_QUERY_ASYNCHRONOUS_EVENT, lun=1 << 48)))
        == o.TMF_LUN_DOES_NOT_EXIST
    )


@pytest.mark.parametrize(
    "function",
    [o.TMF_QUERY_TASK, o.TMF_QUERY_TASK_SET, o.TMF_I_T_NEXUS_RESET, o.TMF_QUERY_ASYNCHRONOUS_EVENT],
)
def test_new_functions_need_the_protocol_level(function: int) -> None:
    """RFC 7144 §6.3."""
    assert response(Initiator().feed(Initiator().task_management(function))) == o.TMF_NOT_SUPPORTED


def test_an_abort_of_a_function_is_rejected() -> None:
    """§11.5.1."""
    one = busy()
    one.feed(one.read(4))
    one.feed(one.task_management(o.TMF_ABORT_TASK, referenced=one.itt))
    assert (
        response(one.feed(one.task_management(o.TMF_ABORT_TASK, referenced=one.itt)))
        == o.TMF_FUNCTION_REJECTED
    )


def test_an_abort_on_another_connection() -> None:
    """§11.5.1 wants the connection of the task; its answer is the last word there too."""
    one = modern()
    second = one.connect(1)
    one.feed(one.read(4))
    assert second.feed(one.task_management(o.TMF_ABORT_TASK, referenced=one.itt)) == []
    one.unit.finish(one.unit.running[0])
    assert response(second.answers()) == o.TMF_FUNCTION_COMPLETE
    assert one.answers() == []


def test_the_tag_of_a_function_is_in_use_until_its_answer() -> None:
    one = busy()
    one.feed(one.read(4))
    raw = one.task_management(o.TMF_ABORT_TASK, referenced=one.itt)
    one.feed(raw)
    [(pdu, _)] = one.feed(raw)
    assert isinstance(pdu, Reject)
    assert pdu.reason == o.REJECT_TASK_IN_PROGRESS


def test_a_retry_of_a_function_that_was_received_is_ignored() -> None:
    """§7.2.1."""
    one = busy()
    one.feed(one.read(4))
    raw = one.task_management(o.TMF_ABORT_TASK, referenced=one.itt, immediate=False)
    assert one.feed(raw + raw) == []
    one.unit.finish(one.unit.running[0])
    assert response(one.answers()) == o.TMF_FUNCTION_COMPLETE


def test_a_storm_of_numbered_functions_is_bounded_too() -> None:
    """Too many are rejected as functions, since their numbers were received."""
    one = busy()
    one.feed(one.read(4))
    tag = one.itt
    raw = b"".join(
        one.task_management(o.TMF_ABORT_TASK, referenced=tag, immediate=False)
        for _ in range(MAX_PENDING_FUNCTIONS + 3)
    )
    answers = one.feed(raw)
    assert [p.response for p, _ in answers if isinstance(p, TaskManagementResponse)] == [
        o.TMF_FUNCTION_REJECTED
    ] * 3


def test_each_connection_has_room_for_functions() -> None:
    """§4.2.2.1: at least one per connection at any time."""
    one = modern()
    second = one.connect(1)
    one.feed(one.read(4))
    tag = one.itt
    for _ in range(MAX_PENDING_FUNCTIONS):
        one.feed(one.task_management(o.TMF_ABORT_TASK, referenced=tag))
    assert second.feed(one.task_management(o.TMF_ABORT_TASK, referenced=tag)) == []


def test_functions_of_a_lost_connection_are_not_answered() -> None:
    one = modern()
    second = one.connect(1)
    one.feed(one.read(4))
    second.feed(one.task_management(o.TMF_ABORT_TASK, referenced=one.itt))
    second.drop()
    one.unit.finish(one.unit.running[0])
    assert second.answers() == []
    assert one.session.quiet


def test_an_abort_of_a_command_that_a_lost_connection_brought() -> None:
    """§7.11: received or not, it counts as received, and the gap is filled."""
    one = modern()
    second = one.connect(1)
    lost = one.read(4)
    tag = one.itt
    held = one.read(4)
    assert second.feed(held) == []
    second.drop()
    one.answers()
    assert lost
    raw = one.task_management(o.TMF_ABORT_TASK, referenced=tag, ref_cmd_sn=1)
    assert response(one.feed(raw)) == o.TMF_FUNCTION_COMPLETE
    raw = one.task_management(o.TMF_ABORT_TASK, referenced=tag + 1, ref_cmd_sn=2)
    assert response(one.feed(raw)) == o.TMF_FUNCTION_COMPLETE
    assert one.session.exp_cmd_sn == 3


def test_a_unit_that_has_not_begun_with_a_task_is_told_of_its_abort() -> None:
    one = busy()
    one.feed(one.read(64))
    tag, task = one.itt, one.unit.running[0]
    told: list[int] = []

    def let_go() -> None:
        told.append(task.state)
        task.on_abort = None
        one.unit.finish(task)

    task.on_abort = let_go
    assert response(one.feed(one.task_management(o.TMF_ABORT_TASK, referenced=tag))) == 0
    assert told == [ABORTED]
