"""Logout at the target: all reasons, all responses, over several connections (RFC 7143 §11.14, §11.15)."""

from __future__ import annotations

import pytest

from san_console.iscsi import opcodes as o
from san_console.iscsi.parameters import OperationalParameters
from san_console.iscsi.pdu import (
    LogoutRequest,
    LogoutResponse,
    NopIn,
    NopOut,
    Pdu,
    ReadyToTransfer,
    Reject,
    ScsiDataIn,
    TaskManagementResponse,
)
from san_console.iscsi.target_logout import CLEANUP_WAIT_S
from tests.iscsi.target_harness import FakeUnit, Initiator, Link


def connected(level: int = 0, **changes: object) -> tuple[Initiator, Link, Link]:
    fields: dict[str, object] = {"max_connections": 4, "error_recovery_level": level}
    fields |= changes
    one = Initiator(OperationalParameters(**fields), command_window=16)  # type: ignore[arg-type]
    one.unit.fast, one.unit.later = False, True
    return one, one.link, one.connect(1)


def finish(unit: FakeUnit) -> None:
    for task in unit.running[:]:
        unit.running.remove(task)
        unit.finish(task)


def response(answers: list[tuple[Pdu, bytes]]) -> LogoutResponse:
    [pdu] = [pdu for pdu, _ in answers if isinstance(pdu, LogoutResponse)]
    return pdu


def test_close_session_ends_all_connections_and_tasks() -> None:
    """§11.14.1 reason 0, T8 of §8.1.2: the other connections are closed when the response leaves."""
    one, first, second = connected()
    first.feed(one.read(4))
    second.feed(one.read(4) + one.write(4096))
    second.answers()
    assert first.feed(one.logout()) == []
    assert first.feed(one.logout()) == []  # once is enough
    finish(one.unit)
    pdu = response(first.answers())
    assert (pdu.response, pdu.itt, pdu.time2retain) == (o.LOGOUT_DONE, 0x104, 0)
    assert second.answers() == []
    assert [cid for cid, _ in one.closed] == [0, 1]
    assert one.session.terminated
    assert one.session.quiet
    first.drop()
    second.drop()


@pytest.mark.parametrize("level", [0, 2])
def test_close_connection_leaves_the_session(level: int) -> None:
    """§11.14.1 reason 1: the tasks of that connection end, the others go on."""
    one, first, second = connected(level)
    first.feed(one.read(4))
    second.feed(one.read(4))
    assert second.feed(one.logout(o.LOGOUT_CLOSE_CONNECTION, 1)) == []
    finish(one.unit)
    assert response(second.answers()).response == o.LOGOUT_DONE
    assert [type(p) for p, _ in first.answers()] == [ScsiDataIn]
    assert one.closed == [(1, "logout")]
    assert set(one.session.connections) == {0}
    assert one.nexus.cleared == [0]  # §11.14.5
    second.drop()
    assert first.answers() == []
    assert one.session.may_continue


def test_close_of_the_last_connection_closes_the_session() -> None:
    """§6.3.5: session closure."""
    one, first, second = connected()
    second.feed(one.logout(o.LOGOUT_CLOSE_CONNECTION, 1))
    assert response(first.feed(one.logout(o.LOGOUT_CLOSE_CONNECTION, 0))).response == o.LOGOUT_DONE
    assert one.session.terminated


def test_close_of_the_last_connection_while_another_waits_for_cleanup() -> None:
    """§6.3.5: then it is no session closure."""
    one, first, second = connected(2)
    second.drop()
    first.feed(one.logout(o.LOGOUT_CLOSE_CONNECTION, 0))
    assert one.session.may_continue
    one.tick(22.0)
    assert one.session.terminated


@pytest.mark.parametrize("reason", [o.LOGOUT_CLOSE_CONNECTION, o.LOGOUT_REMOVE_FOR_RECOVERY])
def test_another_connection_may_be_logged_out(reason: int) -> None:
    """§11.14.3: the CID says which."""
    one, first, second = connected(2)
    second.feed(one.read(4))
    tag = one.itt
    answers = first.feed(one.logout(reason, 1))
    if reason == o.LOGOUT_CLOSE_CONNECTION:
        assert answers == []
        finish(one.unit)
        answers = first.answers()
    pdu = response(answers)
    retained = 20 if reason == o.LOGOUT_REMOVE_FOR_RECOVERY else 0
    assert (pdu.response, pdu.time2wait, pdu.time2retain) == (o.LOGOUT_DONE, 2, retained)
    assert one.closed == [(1, "logout")]
    assert (tag in one.session.tasks) == (reason == o.LOGOUT_REMOVE_FOR_RECOVERY)
    assert not first.connection.closing


@pytest.mark.parametrize("level", [0, 2])
def test_logout_of_a_connection_that_is_gone(level: int) -> None:
    """§8.2: an explicit logout cleans up, while Time2Wait and Time2Retain run; after that, it is unknown."""
    one, first, second = connected(level)
    second.drop()
    assert one.connect(2)
    one.session.connections[2].session.connection_lost(one.session.connections[2], 0.0)
    first.answers()
    assert response(first.feed(one.logout(o.LOGOUT_CLOSE_CONNECTION, 1))).response == o.LOGOUT_DONE
    assert response(first.feed(one.logout(o.LOGOUT_CLOSE_CONNECTION, 1))).response == o.LOGOUT_CID_NOT_FOUND
    one.tick(22.0)
    first.answers()
    assert response(first.feed(one.logout(o.LOGOUT_CLOSE_CONNECTION, 2))).response == o.LOGOUT_CID_NOT_FOUND


def test_removal_for_recovery_of_the_own_connection() -> None:
    """§11.14: transfers are suspended, the response comes, the connection closes; the session waits."""
    one, first, second = connected(2)
    first.feed(one.logout(o.LOGOUT_CLOSE_CONNECTION, 1))
    first.answers()
    first.feed(one.read(4))
    pdu = response(first.feed(one.logout(o.LOGOUT_REMOVE_FOR_RECOVERY, 0)))
    assert (pdu.response, pdu.time2retain) == (o.LOGOUT_DONE, 20)
    assert first.connection.closing
    finish(one.unit)
    assert first.answers() == []
    assert one.session.may_continue
    third = one.connect(3)
    answers = third.feed(one.task_management(o.TMF_TASK_REASSIGN, referenced=0x102))
    assert isinstance(answers[0][0], TaskManagementResponse)
    assert answers[0][0].response == o.TMF_FUNCTION_COMPLETE
    assert isinstance(answers[1][0], ScsiDataIn)
    assert second.answers() == []


@pytest.mark.parametrize("level", [0, 1])
def test_recovery_is_not_supported_below_level_2(level: int) -> None:
    """§11.15.1 response 2."""
    one, first, _ = connected(level)
    pdu = response(first.feed(one.logout(o.LOGOUT_REMOVE_FOR_RECOVERY, 1)))
    assert (pdu.response, pdu.time2retain) == (o.LOGOUT_RECOVERY_NOT_SUPPORTED, 0)
    assert not one.closed


def test_removal_with_nothing_to_retain() -> None:
    """§11.15.4: Time2Retain 0 means that the task state has been discarded."""
    one, first, second = connected(2, default_time2retain_s=0)
    second.feed(one.read(4))
    assert first.feed(one.logout(o.LOGOUT_REMOVE_FOR_RECOVERY, 1)) == []
    finish(one.unit)
    assert response(first.answers()).time2retain == 0
    assert one.session.quiet
    assert one.nexus.cleared == [0]


def test_a_logout_that_takes_too_long_has_failed() -> None:
    """§11.15.1 response 3; it may be tried again."""
    one, first, second = connected()
    second.feed(one.read(4))
    assert first.feed(one.logout(o.LOGOUT_CLOSE_CONNECTION, 1)) == []
    assert first.connection.requests.next_deadline() <= CLEANUP_WAIT_S
    first.connection.requests.tick(CLEANUP_WAIT_S)
    assert response(first.answers()).response == o.LOGOUT_CLEANUP_FAILED
    finish(one.unit)
    assert first.answers() == []
    assert response(first.feed(one.logout(o.LOGOUT_CLOSE_CONNECTION, 1))).response == o.LOGOUT_DONE


def test_after_a_logout_nothing_new_is_taken_in() -> None:
    """§11.14: the initiator must not send any new request; data that is on its way is dropped."""
    one, first, _ = connected(initial_r2t=False)
    first.feed(one.read(4))
    [(r2t, _)] = first.feed(one.write(4096))
    assert isinstance(r2t, ReadyToTransfer)
    tag = one.itt
    assert first.feed(one.logout()) == []
    late = one.read(4) + one.task_management(o.TMF_LOGICAL_UNIT_RESET) + one.text("SendTargets=\0")
    answers = first.feed(late)
    assert [p.reason for p, _ in answers if isinstance(p, Reject)] == [o.REJECT_PROTOCOL_ERROR] * 3
    [(stray, _)] = first.feed(one.data_out(0, bytes(4096), ttt=r2t.ttt, itt=tag))
    assert isinstance(stray, Reject)
    ping = NopOut(itt=0x900, cmd_sn=one.cmd_sn)
    assert isinstance(first.feed(one.bytes_of(ping.pack()))[0][0], NopIn)
    finish(one.unit)
    assert response(first.answers()).response == o.LOGOUT_DONE
    assert first.feed(one.read(4)) == []
    assert one.unit.executed == 1


@pytest.mark.parametrize(("reason", "itt"), [(9, 0x500), (o.LOGOUT_CLOSE_SESSION, o.RESERVED_TAG)])
def test_impossible_logouts_are_rejected(reason: int, itt: int) -> None:
    one, first, _ = connected()
    [(pdu, _)] = first.feed(one.logout(reason, itt=itt))
    assert isinstance(pdu, Reject)
    assert pdu.reason == o.REJECT_INVALID_PDU_FIELD


def test_a_tag_in_use_is_no_tag_for_a_logout() -> None:
    one, first, _ = connected()
    first.feed(one.read(4))
    [(pdu, _)] = first.feed(one.logout(itt=one.itt))
    assert isinstance(pdu, Reject)
    assert pdu.reason == o.REJECT_TASK_IN_PROGRESS


def test_a_logout_waits_for_its_turn() -> None:
    """§4.2.2.1: a non-immediate one has a CmdSN, and frees its place in the window."""
    one, first, second = connected(2)
    missing = one.read(4)
    raw = LogoutRequest(
        immediate=False, reason=o.LOGOUT_REMOVE_FOR_RECOVERY, itt=0x900, cid=7, cmd_sn=one.cmd_sn
    )
    assert second.feed(one.bytes_of(raw.pack())) == []
    first.feed(missing)
    assert response(second.answers()).response == o.LOGOUT_CID_NOT_FOUND
    assert one.session.exp_cmd_sn == 3


def test_a_logout_whose_connection_breaks_is_not_answered() -> None:
    one, first, second = connected()
    first.feed(one.read(4))
    second.feed(one.logout(o.LOGOUT_CLOSE_CONNECTION, 0))
    second.drop()
    finish(one.unit)
    assert second.answers() == []
    assert not one.closed
    assert one.session.may_continue
    assert not first.connection.logging_out
    one.unit.later = False
    assert [type(p) for p, _ in first.feed(one.read(4))][-1] is ScsiDataIn


@pytest.mark.parametrize("reason", [o.LOGOUT_CLOSE_CONNECTION, o.LOGOUT_REMOVE_FOR_RECOVERY])
def test_the_logout_of_a_lost_connection_waits_for_what_it_left_with_the_unit(reason: int) -> None:
    """§11.15.1: the response tells that the cleanup is complete: no late write after it."""
    one, first, second = connected(2)
    second.feed(one.command(b"\xf0" + bytes(15), o.FINAL | o.READ, 4, immediate=True))
    second.drop()
    first.answers()
    assert first.feed(one.logout(reason, 1)) == []
    finish(one.unit)
    assert response(first.answers()).response == o.LOGOUT_DONE
    assert one.session.quiet


def test_nothing_is_written_after_a_logout_however_short_its_way() -> None:
    """§11.14: no new request after the logout, while that waits for the tasks before it."""
    one, first, _ = connected(max_connections=1, initial_r2t=False)
    first.feed(one.read(4))
    one.unit.fast = True
    before = bytes(one.unit.memory)
    assert first.feed(one.logout()) == []
    [(pdu, _)] = first.feed(one.write(512, b"z" * 512))
    assert isinstance(pdu, Reject)
    assert bytes(one.unit.memory) == before


def test_the_cleanup_of_a_lost_connection_waits_for_its_last_write_whatever_time2retain() -> None:
    """With 0 nothing is kept of it; and still no write may land after the response."""
    one, first, second = connected(default_time2retain_s=0, initial_r2t=False)
    second.feed(one.write(512, b"w" * 512))
    second.drop()
    first.answers()
    assert one.session.leaving(1) is second.connection
    assert first.feed(one.logout(o.LOGOUT_CLOSE_CONNECTION, 1)) == []
    finish(one.unit)
    assert response(first.answers()).response == o.LOGOUT_DONE
    assert one.session.leaving(1) is None
    assert response(first.feed(one.logout(o.LOGOUT_CLOSE_CONNECTION, 1))).response == o.LOGOUT_CID_NOT_FOUND
