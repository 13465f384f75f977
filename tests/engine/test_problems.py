from __future__ import annotations

import errno
import logging

import pytest

from san_console.api.problems import ApiProblem
from san_console.engine.problems import problem_of
from san_console.initiator import errors as initiator
from san_console.names.errors import InvalidName
from san_console.nameserver.errors import refused, unreachable
from san_console.target import errors as target


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ApiProblem("exists", "x"), "exists"),
        (initiator.ConnectFailed("c", "network", "k"), "unreachable"),
        (initiator.NotIscsi("c", "target", "k"), "not-iscsi"),
        (initiator.LoginTimedOut("c", "target", "k"), "timeout"),
        (initiator.LoginRefused("c", "target", "k", status=0x0202), "authorisation"),
        (initiator.LoginRefused("c", "target", "k", status=0x0203), "not-found"),
        (initiator.LoginRefused("c", "target", "k", status=0x0301), "peer-failure"),
        (initiator.ProtocolViolation("c", "target", "k"), "protocol"),
        (initiator.ScsiFailure("c", "target", "k", status=2, sense=b""), "peer-failure"),
        (target.BackstoreError("c"), "storage"),
        (target.PortalError("c"), "port-taken"),
        (target.ConfigError("c"), "bad-request"),
        (InvalidName("c"), "bad-request"),
        (unreachable("10.0.0.1:3205", None), "unreachable"),
        (refused("a query", 6), "peer-failure"),
        (TimeoutError(), "timeout"),
        (OSError(errno.EADDRINUSE, "in use"), "port-taken"),
        (OSError(errno.ENOSPC, "no space", "/a/file"), "storage"),
    ],
)
def test_errors_get_their_codes(error: Exception, code: str) -> None:
    problem = problem_of(error)
    assert problem.code == code
    assert problem.message


@pytest.mark.parametrize("direction", ["initiator", "target"])
def test_a_failed_authentication_tells_the_direction(direction: str) -> None:
    error = initiator.LoginRefused("c", "target", "k", status=0x0201, direction=direction)
    problem = problem_of(error)
    assert problem.code == "authentication"
    assert problem.details == {"status": "0201", "direction": direction}
    assert (problem.side, problem.check) == ("target", "k")


def test_the_unexpected_is_logged_and_tells_nothing(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        problem = problem_of(ZeroDivisionError("canary"))
    assert problem.code == "internal"
    assert "canary" not in problem.message
    assert "canary" in caplog.text
