from __future__ import annotations

import msgspec
import pytest

from san_console.api.engine_objects import Keyring
from san_console.api.messages import Call, Cancel, Failure, Result
from san_console.api.methods import ById, Nothing, SaveIdentity
from san_console.api.problems import ApiProblem, Problem
from san_console.rpc.calls import CallTable
from san_console.rpc.peer import MAX_OPEN_CALLS, Peer


def table() -> tuple[CallTable[str], Peer]:
    client, engine = Peer("window"), Peer("engine")
    engine.receive(client.outgoing())
    client.receive(engine.outgoing())
    calls: CallTable[str] = CallTable(client)
    return calls, engine


def sent(calls: CallTable[str], engine: Peer) -> list[object]:
    return list(engine.receive(calls._peer.outgoing()))


def test_a_result_is_decoded_to_the_type_of_the_method() -> None:
    calls, engine = table()
    call_id = calls.start("keyring.check", Nothing(), "waiter")
    (call,) = sent(calls, engine)
    assert isinstance(call, Call)
    assert call.method == "keyring.check"
    answer = calls.finish(Result(id=call_id, result=msgspec.Raw(b'{"state":"locked"}')))
    assert answer is not None
    assert (answer.waiter, answer.value, answer.problem) == ("waiter", Keyring(state="locked"), None)
    assert len(calls) == 0


def test_nothing_is_an_acceptable_result() -> None:
    calls, _ = table()
    call_id = calls.start("jobs.cancel", ById(id="1"), "w")
    answer = calls.finish(Result(id=call_id))
    assert answer is not None
    assert answer.problem is None
    assert answer.value is None


def test_a_failure_carries_its_problem() -> None:
    calls, _ = table()
    call_id = calls.start("jobs.cancel", ById(id="1"), "w")
    problem = Problem(code="unknown-object", message="no such job")
    answer = calls.finish(Failure(id=call_id, problem=problem))
    assert answer is not None
    assert answer.problem == problem


@pytest.mark.parametrize("raw", [b'{"state":5}', b"null", b"[" * 100_000 + b"]" * 100_000])
def test_an_answer_of_another_form_is_a_problem_and_no_exception(raw: bytes) -> None:
    calls, _ = table()
    call_id = calls.start("keyring.check", Nothing(), "w")
    answer = calls.finish(Result(id=call_id, result=msgspec.Raw(raw)))
    assert answer is not None
    assert answer.problem is not None
    assert answer.problem.code == "protocol"


def test_an_answer_that_nobody_waits_for_is_ignored() -> None:
    calls, _ = table()
    assert calls.finish(Result(id=99)) is None


def test_wrong_calls_are_refused_before_they_are_sent() -> None:
    calls, engine = table()
    with pytest.raises(ApiProblem, match="no method") as caught:
        calls.start("no.such", Nothing(), "w")
    assert caught.value.code == "unknown-method"
    with pytest.raises(ApiProblem, match="takes ById"):
        calls.start("jobs.cancel", Nothing(), "w")
    with pytest.raises(ApiProblem) as caught:
        calls.start("identities.save", SaveIdentity(user="u", note="x" * 17_000_000), "w")
    assert caught.value.code == "too-large"
    assert sent(calls, engine) == []
    assert len(calls) == 0


def test_the_limit_of_open_calls_is_kept_on_this_side_too() -> None:
    calls, _ = table()
    for _ in range(MAX_OPEN_CALLS):
        calls.start("engine.info", Nothing(), "w")
    with pytest.raises(ApiProblem) as caught:
        calls.start("engine.info", Nothing(), "w")
    assert caught.value.code == "too-large"
    assert calls.drop_all() == ["w"] * MAX_OPEN_CALLS
    calls.start("engine.info", Nothing(), "w")


def test_cancel_is_sent_once_and_only_for_open_calls() -> None:
    calls, engine = table()
    call_id = calls.start("engine.info", Nothing(), "w")
    calls.cancel(call_id)
    calls.cancel(12345)
    assert sent(calls, engine)[1:] == [Cancel(id=call_id)]
