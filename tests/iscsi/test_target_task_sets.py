"""Functions that end many tasks: standard and FastAbort semantics over several connections and sessions (RFC
7143 §4.2.3).
"""

from __future__ import annotations

import pytest

from san_console.iscsi import opcodes as o
from san_console.iscsi.parameters import OperationalParameters
from san_console.iscsi.pdu import (
    AsyncMessage,
    Pdu,
    ReadyToTransfer,
    Reject,
    ScsiDataIn,
    ScsiResponse,
    TaskManagementResponse,
)
from san_console.iscsi.target_session import LINGER_S, TASK_ABORTED
from san_console.iscsi.target_task_sets import DATA_WAIT_S
from tests.iscsi.target_harness import FakeNexus, FakeUnit, Initiator, Link

SETS = (o.TMF_ABORT_TASK_SET, o.TMF_CLEAR_TASK_SET, o.TMF_LOGICAL_UNIT_RESET, o.TMF_TARGET_WARM_RESET)


def one_of(reporting: str = "RFC3720", *, nexus: FakeNexus | None = None, **changes: object) -> Initiator:
    fields: dict[str, object] = {
        "max_connections": 4,
        "task_reporting": reporting,
        "initial_r2t": True,
        "protocol_level": 2,
    }
    fields |= changes
    unit = nexus.units[0] if nexus else FakeUnit()
    assert isinstance(unit, FakeUnit)
    unit.fast, unit.later = False, True
    return Initiator(
        OperationalParameters(**fields),  # type: ignore[arg-type]
        command_window=16,
        unit=unit,
        nexus=nexus,
    )


def finish(unit: FakeUnit) -> None:
    for task in unit.running[:]:
        unit.running.remove(task)
        unit.finish(task)


def write(one: Initiator, link: Link) -> tuple[int, int]:
    """A write that waits for its data: its tag and its TTT."""
    [(r2t, _)] = link.feed(one.write(4096))
    assert isinstance(r2t, ReadyToTransfer)
    return one.itt, r2t.ttt


def responses(answers: list[tuple[Pdu, bytes]]) -> list[int]:
    return [pdu.response for pdu, _ in answers if isinstance(pdu, TaskManagementResponse)]


def terminations(answers: list[tuple[Pdu, bytes]]) -> list[tuple[int, int]]:
    return [(pdu.async_event, pdu.lun) for pdu, _ in answers if isinstance(pdu, AsyncMessage)]


# Standard semantics


@pytest.mark.parametrize("function", SETS)
def test_standard_abort_waits_for_data_on_all_connections(function: int) -> None:
    """§4.2.3.3 a: for responses on currently valid transfer tags of the issuing initiator."""
    one = one_of()
    second = one.connect(1)
    first_tag, first_ttt = write(one, one.link)
    second_tag, second_ttt = write(one, second)
    assert one.feed(one.task_management(function)) == []
    assert second.feed(one.data_out(0, bytes(4096), ttt=second_ttt, itt=second_tag)) == []
    assert one.answers() == []
    assert responses(one.feed(one.data_out(0, bytes(4096), ttt=first_ttt, itt=first_tag))) == [0]
    assert one.unit.executed == 0
    assert one.nexus.resets == [(None if function == o.TMF_TARGET_WARM_RESET else 0, function)]


def test_standard_abort_waits_for_data_so_long_and_no_longer() -> None:
    one = one_of()
    write(one, one.link)
    one.feed(one.task_management(o.TMF_CLEAR_TASK_SET))
    one.tick(DATA_WAIT_S - 0.1)
    assert one.answers() == []
    one.tick(DATA_WAIT_S)
    assert responses(one.answers()) == [0]


@pytest.mark.parametrize("function", SETS)
def test_no_answer_before_the_last_write_of_an_aborted_task(function: int) -> None:
    """After the response nothing of the set reaches the medium any more."""
    one = one_of(initial_r2t=False)
    one.feed(one.write(512, b"a" * 512))
    assert one.feed(one.task_management(function)) == []
    one.tick(DATA_WAIT_S * 2)
    assert one.answers() == []
    finish(one.unit)
    assert responses(one.answers()) == [0]


def test_immediate_tasks_belong_to_the_set() -> None:
    one = one_of()
    one.feed(one.command(b"\xf0" + bytes(15), o.FINAL | o.READ, 4, immediate=True) + one.read(4))
    one.feed(one.task_management(o.TMF_ABORT_TASK_SET))
    assert one.session.counters.aborted_tasks == 2
    finish(one.unit)
    assert responses(one.answers()) == [0]


def test_abort_task_set_touches_no_other_session_and_no_other_unit() -> None:
    """§4.2.3.2: the I_T_L nexus."""
    nexus = FakeNexus(FakeUnit())
    nexus.units[1 << 48] = nexus.units[0]
    one, other = one_of(nexus=nexus), one_of(nexus=nexus)
    one.feed(one.command(b"\xf0" + bytes(15), o.FINAL | o.READ, 4, lun=1 << 48))
    other.feed(other.read(4))
    assert responses(one.feed(one.task_management(o.TMF_ABORT_TASK_SET))) == [0]
    finish(one.unit)
    assert len(one.answers()) == 1
    assert [type(p) for p, _ in other.answers()] == [ScsiDataIn]


@pytest.mark.parametrize("report", [False, True])
@pytest.mark.parametrize("function", [o.TMF_CLEAR_TASK_SET, o.TMF_LOGICAL_UNIT_RESET])
def test_task_aborted_for_third_parties(function: int, report: bool) -> None:
    """TAS: CLEAR TASK SET by another nexus ends tasks in TASK ABORTED; a reset is told by its attention."""
    nexus = FakeNexus(FakeUnit())
    nexus.task_aborted_status = report
    one, other = one_of(nexus=nexus), one_of(nexus=nexus)
    one.feed(one.read(4))
    other.feed(other.read(4))
    assert one.feed(one.task_management(function)) == []
    finish(one.unit)
    assert responses(one.answers()) == [0]
    statuses = [p.status for p, _ in other.answers() if isinstance(p, ScsiResponse)]
    assert statuses == ([TASK_ABORTED] if report and function == o.TMF_CLEAR_TASK_SET else [])
    assert other.session.quiet


# FastAbort


@pytest.mark.parametrize("function", SETS)
def test_fast_abort_does_not_wait_for_data(function: int) -> None:
    """§4.2.3.4: the tags of the issuing connection are free at once, those of others after event 5."""
    one = one_of("FastAbort")
    second, third = one.connect(1), one.connect(2)
    first_tag, first_ttt = write(one, one.link)
    second_tag, second_ttt = write(one, second)
    answers = one.feed(one.task_management(function))
    assert terminations(second.answers()) == [(o.ASYNC_FAST_ABORT, 0)]
    assert third.answers() == []
    assert terminations(answers) == []
    if not responses(answers):  # the fence: the event has to be acknowledged first (e)
        assert second_tag in one.session.tasks
        # What is on its way is dropped, and no error (c).
        late = one.data_out(0, bytes(512), ttt=second_ttt, itt=second_tag, final=False)
        assert second.feed(late) == []
        second.acknowledge(lun=0)
        answers = one.answers()
    assert responses(answers) == [0]
    assert second_tag not in one.session.tasks  # (g)
    assert first_tag not in one.session.tasks
    [(stray, _)] = one.feed(one.data_out(0, bytes(4096), ttt=first_ttt, itt=first_tag))
    assert isinstance(stray, Reject)
    assert one.unit.executed == 0


def test_fast_abort_waits_for_the_unit() -> None:
    """§4.2.3.4 b: the response of the SCSI layer comes first."""
    one = one_of("FastAbort")
    one.feed(one.read(4))
    assert one.feed(one.task_management(o.TMF_LOGICAL_UNIT_RESET)) == []
    finish(one.unit)
    assert responses(one.answers()) == [0]


@pytest.mark.parametrize(
    ("issuer", "third_party", "told"),
    [
        ("FastAbort", "FastAbort", True),
        ("RFC3720", "FastAbort", True),  # §4.2.3.5: SHOULD
        ("FastAbort", "RFC3720", False),  # §4.2.3.5: MUST NOT
        ("ResponseFence", "ResponseFence", False),
    ],
)
def test_third_parties_are_told_if_they_have_fast_abort(issuer: str, third_party: str, told: bool) -> None:
    nexus = FakeNexus(FakeUnit())
    one, other = one_of(issuer, nexus=nexus), one_of(third_party, nexus=nexus)
    tag, ttt = write(other, other.link)
    assert responses(one.feed(one.task_management(o.TMF_CLEAR_TASK_SET))) == [0]
    assert terminations(other.answers()) == ([(o.ASYNC_FAST_ABORT, 0)] if told else [])
    assert tag in other.session.tasks  # its tag stays valid
    assert other.feed(other.data_out(0, bytes(512), ttt=ttt, itt=tag, final=False)) == []
    if told:
        other.link.acknowledge()
        assert tag not in other.session.tasks
    else:
        other.tick(LINGER_S)
    assert other.session.quiet


def test_an_event_for_each_unit() -> None:
    """§4.2.3.4 d: one message per unit and connection after a target reset."""
    nexus = FakeNexus(FakeUnit())
    nexus.units[1 << 48] = nexus.units[0]
    one = one_of("FastAbort", nexus=nexus)
    second = one.connect(1)
    for lun in (0, 1 << 48, 1 << 48):
        second.feed(one.command(b"\xf0" + bytes(15), o.FINAL | o.READ, 4, lun=lun))
    one.feed(one.task_management(o.TMF_TARGET_WARM_RESET))
    assert terminations(second.answers()) == [(5, 0), (5, 1 << 48)]


def test_an_event_that_is_never_acknowledged() -> None:
    one = one_of("FastAbort", max_connections=1)
    nexus = one.nexus
    other = one_of("FastAbort", nexus=nexus)
    write(other, other.link)
    one.feed(one.task_management(o.TMF_CLEAR_TASK_SET))
    other.answers()
    # A NOP-Out that acknowledges something older frees nothing.
    other.feed(other.bytes_of(bytes([0x40, 0x80]) + bytes(14) + b"\xff" * 8 + bytes(24)))
    assert not other.session.quiet
    other.tick(LINGER_S)
    assert other.session.quiet


def test_a_lost_connection_is_not_waited_for() -> None:
    one = one_of("FastAbort")
    second = one.connect(1)
    write(one, second)
    one.feed(one.task_management(o.TMF_ABORT_TASK_SET))
    waiting = one.session.asyncs.terminating
    second.drop()
    assert (waiting, one.session.asyncs.terminating) == (True, False)
    assert one.session.quiet


# Whole targets, whole sessions


def test_target_cold_reset_ends_all_sessions_after_the_response() -> None:
    """§11.5.1: as a power-on event, all connections of all sessions end."""
    nexus = FakeNexus(FakeUnit())
    one, other = one_of(nexus=nexus), one_of(nexus=nexus)
    second = other.connect(1)
    one.feed(one.read(4))
    other.feed(other.read(4))
    assert one.feed(one.task_management(o.TMF_TARGET_COLD_RESET)) == []
    assert not one.closed
    finish(one.unit)
    assert responses(one.answers()) == [0]
    assert nexus.resets == [(None, o.TMF_TARGET_COLD_RESET)]
    assert [cid for cid, _ in one.closed] == [0]
    assert [cid for cid, _ in other.closed] == [0, 1]
    assert second.connection.closing
    assert one.session.terminated
    assert other.session.terminated
    assert other.answers() == []


def test_i_t_nexus_reset_ends_this_session_only() -> None:
    """RFC 7144 §6.3: all connections of the session time out at once, whatever Time2Wait and Time2Retain."""
    nexus = FakeNexus(FakeUnit())
    one = one_of(nexus=nexus, error_recovery_level=2)
    other = one_of(nexus=nexus)
    one.feed(one.read(4))
    other.feed(other.read(4))
    assert one.feed(one.task_management(o.TMF_I_T_NEXUS_RESET)) == []
    finish(one.unit)
    assert responses(one.answers()) == [0]
    assert nexus.resets == [(None, o.TMF_I_T_NEXUS_RESET)]
    assert one.session.terminated
    assert not one.session.may_continue
    assert [type(p) for p, _ in other.answers()] == [ScsiDataIn]
    assert other.session.may_continue


@pytest.mark.parametrize("function", [o.TMF_TARGET_WARM_RESET, o.TMF_I_T_NEXUS_RESET])
def test_missing_commands_are_plugged(function: int) -> None:
    """§4.2.3.3 b: no waiting for what will be aborted anyway."""
    one = one_of()
    second = one.connect(1)
    missing = one.read(4)
    assert second.feed(one.read(4)) == []
    assert responses(one.feed(one.task_management(function))) == [0]
    assert one.session.exp_cmd_sn == 3
    assert one.feed(missing) == []
    assert one.unit.executed == 0


def test_a_function_far_outside_of_the_window_plugs_nothing() -> None:
    one = one_of()
    one.cmd_sn = 1000
    assert responses(one.feed(one.task_management(o.TMF_TARGET_WARM_RESET))) == [0]
    assert one.session.exp_cmd_sn == 1
    assert not one.session.order.held
