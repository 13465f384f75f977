"""Response fences over several connections (RFC 7143 §4.2.2.3)."""

from __future__ import annotations

import pytest

from san_console.iscsi import opcodes as o
from san_console.iscsi import target_session
from san_console.iscsi.parameters import OperationalParameters
from san_console.iscsi.pdu import (
    AsyncMessage,
    NopIn,
    Pdu,
    ScsiDataIn,
    ScsiResponse,
    TaskManagementResponse,
)
from san_console.iscsi.target_fence import FENCE_WAIT_S
from tests.iscsi.target_harness import BAD_CDB, FakeNexus, FakeUnit, Initiator, Link, cdb


def fenced(level: int = 0) -> tuple[Initiator, Link, Link]:
    """An initiator with two connections, whose unit answers when it is told to."""
    one = Initiator(
        OperationalParameters(max_connections=2, task_reporting="ResponseFence", error_recovery_level=level),
        command_window=32,
    )
    one.unit.fast, one.unit.later = False, True
    return one, one.link, one.connect(1)


def kinds(answers: list[tuple[Pdu, bytes]]) -> list[type[Pdu]]:
    return [type(pdu) for pdu, _ in answers]


def finish(unit: FakeUnit) -> None:
    for task in unit.running[:]:
        unit.running.remove(task)
        unit.finish(task)


def test_with_one_connection_nothing_is_fenced() -> None:
    """§4.2.2.3.3 a."""
    one = Initiator(OperationalParameters(max_connections=2))
    assert kinds(one.feed(one.read(4))) == [ScsiDataIn]
    assert kinds(one.feed(one.task_management(o.TMF_ABORT_TASK_SET))) == [TaskManagementResponse]
    assert not one.session.fence.busy


def test_a_multi_task_response_waits_for_all_acknowledgments() -> None:
    """§4.2.2.3.3 b: on each connection; NOP-Ins ask for them."""
    one, first, second = fenced()
    first.feed(one.read(4))
    second.feed(one.read(4))
    finish(one.unit)
    first.answers(), second.answers()
    asked = first.feed(one.task_management(o.TMF_ABORT_TASK_SET))
    assert kinds(asked) == [NopIn]
    assert isinstance(asked[0][0], NopIn)
    assert asked[0][0].ttt != o.RESERVED_TAG
    assert kinds(second.answers()) == [NopIn]
    assert first.acknowledge() == []
    second.acknowledge()
    # The response leaves, and its own acknowledgment is asked for at once.
    assert kinds(first.answers()) == [TaskManagementResponse, NopIn]
    assert one.session.fence.busy
    first.acknowledge()
    assert not one.session.fence.busy


def test_later_responses_of_the_unit_wait_for_the_acknowledgment_of_the_fenced_one() -> None:
    """§4.2.2.3.3 c, d: of this unit only."""
    one, first, second = fenced()
    other_unit = FakeUnit()
    one.nexus.units[1 << 48] = other_unit
    first.feed(one.read(4))
    finish(one.unit)
    first.answers()
    second.feed(one.task_management(o.TMF_ABORT_TASK_SET))
    second.feed(one.read(4))
    first.feed(one.read(4))
    first.answers(), second.answers()
    finish(one.unit)
    assert first.answers() == []
    assert second.answers() == []
    read = one.command(cdb(0xF0, 4), o.FINAL | o.READ, 4, lun=1 << 48)
    assert kinds(second.feed(read)) == [ScsiDataIn]  # another I_T_L nexus
    first.acknowledge()
    assert kinds(second.answers()) == [TaskManagementResponse, NopIn]
    assert first.answers() == []
    assert kinds(second.acknowledge()) == [ScsiDataIn]
    assert kinds(first.answers()) == [ScsiDataIn]
    assert one.session.straight


def test_fences_queue_up() -> None:
    """Each waits for the one before; what lies between them has been ended by the second."""
    one, first, second = fenced()
    first.feed(one.read(4))
    finish(one.unit)
    first.feed(one.task_management(o.TMF_ABORT_TASK_SET))
    second.feed(one.read(4))
    finish(one.unit)
    second.feed(one.task_management(o.TMF_LOGICAL_UNIT_RESET))
    first.answers(), second.answers()
    assert kinds(first.acknowledge()) == [TaskManagementResponse, NopIn]
    first.acknowledge()
    assert kinds(second.answers()) == [TaskManagementResponse, NopIn]
    second.acknowledge()
    assert not one.session.fence.busy


def test_an_aborted_response_leaves_the_queue() -> None:
    """A TMF response is the last word on its tasks."""
    one, first, second = fenced()
    first.feed(one.read(4))
    finish(one.unit)
    first.feed(one.task_management(o.TMF_ABORT_TASK_SET))
    second.feed(one.read(4))
    tag = one.itt
    finish(one.unit)
    assert one.session.tasks[tag].result is not None
    first.answers(), second.answers()
    answers = second.feed(one.task_management(o.TMF_ABORT_TASK, referenced=tag))
    assert kinds(answers) == [TaskManagementResponse]
    first.acknowledge()
    first.acknowledge()
    second.acknowledge()
    assert ScsiDataIn not in kinds(second.answers())
    assert not one.session.fence.busy


@pytest.mark.parametrize("lost", [0, 1])
def test_a_lost_connection_clears_its_part_of_the_fence(lost: int) -> None:
    """Nothing of it can overtake any more."""
    one, first, second = fenced()
    for link in (first, second):
        link.feed(one.read(4))
    finish(one.unit)
    first.feed(one.task_management(o.TMF_ABORT_TASK_SET))
    second.feed(one.read(4))
    finish(one.unit)
    first.answers(), second.answers()
    (first, second)[lost].drop()
    answers = (second, first)[lost].acknowledge()
    if lost:
        assert TaskManagementResponse in kinds(answers)
        first.acknowledge()
    else:
        assert ScsiDataIn in kinds(answers)
    assert not one.session.fence.busy


def test_a_connection_that_never_acknowledges_is_dropped() -> None:
    """Bounded: the fence cannot be passed (§4.2.2.3.3 b), so the connection has to go."""
    one, first, second = fenced()
    second.feed(one.read(4))
    finish(one.unit)
    one.tick(5.0)
    first.feed(one.task_management(o.TMF_ABORT_TASK_SET), now=5.0)
    assert one.session.next_deadline() == 5.0 + FENCE_WAIT_S
    one.tick(5.0 + FENCE_WAIT_S - 1)
    assert not one.closed
    one.tick(5.0 + FENCE_WAIT_S)
    assert [cid for cid, _ in one.closed] == [1]
    assert kinds(first.answers()) == [TaskManagementResponse, NopIn, AsyncMessage]


def test_no_acknowledgment_is_late_while_nothing_is_taken_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """The reads of the session wait for a slow medium."""
    one, first, second = fenced()
    second.feed(one.read(4))
    finish(one.unit)
    first.feed(one.task_management(o.TMF_ABORT_TASK_SET))
    second.feed(one.read(4096))
    monkeypatch.setattr(target_session, "MAX_PENDING_READ_BYTES", 4000)
    one.tick(1000.0)
    finish(one.unit)
    one.tick(1000.0 + FENCE_WAIT_S - 1)
    assert not one.closed
    one.tick(1000.0 + FENCE_WAIT_S)
    assert [cid for cid, _ in one.closed] == [1]


def test_answers_that_wait_do_not_keep_the_acknowledgment_out(monkeypatch: pytest.MonkeyPatch) -> None:
    one, first, second = fenced()
    second.feed(one.read(4))
    finish(one.unit)
    second.answers()
    first.feed(one.task_management(o.TMF_ABORT_TASK_SET))
    second.feed(one.read(4096))
    monkeypatch.setattr(target_session, "MAX_PENDING_READ_BYTES", 4000)
    finish(one.unit)
    assert not one.session.plain
    second.acknowledge()
    first.acknowledge()
    assert one.session.straight
    assert kinds(second.answers()) == [ScsiDataIn]
    assert one.session.pending_read_bytes == 0


def test_the_unit_attention_of_a_third_party_is_fenced() -> None:
    """§4.2.2.3.4 a, §4.2.3.3 e: it must not overtake responses that were sent before."""
    nexus = FakeNexus(FakeUnit())
    nexus_unit = nexus.units[0]
    assert isinstance(nexus_unit, FakeUnit)
    parameters = OperationalParameters(max_connections=2, task_reporting="ResponseFence")
    issuer = Initiator(parameters, unit=nexus_unit, nexus=nexus)
    other = Initiator(parameters, unit=nexus_unit, nexus=nexus)
    second = other.connect(1)
    nexus_unit.fast, nexus_unit.later = False, True
    other.feed(other.read(4))
    finish(nexus_unit)
    other.answers()
    second.feed(other.read(4))
    issuer.feed(issuer.task_management(o.TMF_CLEAR_TASK_SET))
    finish(nexus_unit)
    assert kinds(issuer.answers()) == [TaskManagementResponse]
    assert second.feed(other.command(cdb(BAD_CDB, 0), o.FINAL, 0)) == []  # stands for the unit attention
    assert kinds(other.answers()) == [NopIn]
    other.link.acknowledge()
    assert kinds(second.answers()) == [ScsiResponse, NopIn]
    second.acknowledge()
    assert not other.session.fence.alert


def test_a_third_party_that_expects_a_fence_still_runs_fast() -> None:
    """The unit attention may never come as CHECK CONDITION: REQUEST SENSE takes it too."""
    one, _, _ = fenced()
    one.session.fence.expect({0})
    assert one.session.fence.alert
    assert one.session.straight
    one.unit.later = False
    one.unit.fast = True
    assert kinds(one.feed(one.read(4))) == [ScsiDataIn]
    one.unit.fast = False
    assert kinds(one.feed(one.read(4))) == [ScsiDataIn]  # no attention: not held


def test_the_end_of_the_session_ends_its_fences() -> None:
    one, first, second = fenced()
    second.feed(one.read(4))
    finish(one.unit)
    first.feed(one.task_management(o.TMF_ABORT_TASK_SET))
    one.session.terminate()
    assert not one.session.fence.busy
    assert one.session.next_deadline() is None


def test_a_unit_may_ask_for_a_fence() -> None:
    """§4.2.2.3.4 f: the response to PREEMPT AND ABORT."""
    one, first, second = fenced()
    second.feed(one.read(4))
    first.feed(one.read(4))
    early, mine = one.unit.running
    one.unit.finish(early)
    mine.fenced = True
    one.unit.finish(mine)
    assert kinds(first.answers()) == []
    assert kinds(second.answers()) == [ScsiDataIn, NopIn]
    second.acknowledge()
    assert kinds(first.answers()) == [ScsiDataIn, NopIn]
    first.acknowledge()
    assert not one.session.fence.busy


def test_a_fenced_answer_with_one_connection_goes_at_once() -> None:
    one = Initiator()
    one.unit.fast, one.unit.later = False, True
    one.feed(one.read(4))
    one.unit.running[0].fenced = True
    finish(one.unit)
    assert kinds(one.answers()) == [ScsiDataIn]


def test_an_answer_of_a_unit_without_a_fence_is_not_held() -> None:
    """Only the I_T_L nexus of the fence waits; others pass through."""
    one, first, second = fenced()
    second.feed(one.read(4))
    finish(one.unit)
    first.feed(one.task_management(o.TMF_ABORT_TASK_SET))
    assert one.session.fence.busy
    second.answers(), first.answers()
    assert kinds(second.feed(one.command(cdb(0xF0, 4), o.FINAL | o.READ, 4, lun=3 << 48))) == [ScsiDataIn]
