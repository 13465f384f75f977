"""Errors of the libraries, turned into the problems of the API: what reaches a client passes here."""

from __future__ import annotations

import errno
import logging
from typing import Final

from san_console.api.problems import ApiProblem, Problem
from san_console.initiator import errors as initiator
from san_console.iscsi import login_status
from san_console.names.errors import NamesError
from san_console.nameserver.errors import SIDE_NETWORK, SIDE_SERVER, IsnsFailure
from san_console.target import errors as target

log = logging.getLogger(__name__)

_BY_CLASS: Final[dict[type[BaseException], str]] = {
    initiator.ConnectFailed: "unreachable",
    initiator.NotIscsi: "not-iscsi",
    initiator.LoginTimedOut: "timeout",
    initiator.RedirectRefused: "protocol",
    initiator.ProtocolViolation: "protocol",
    initiator.SessionLost: "disconnected",
    initiator.CommandTimedOut: "timeout",
    initiator.InitiatorError: "peer-failure",
    target.ConfigError: "bad-request",
    target.BackstoreError: "storage",
    target.PortalError: "port-taken",
    target.UnknownTarget: "unknown-object",
    target.TargetBusy: "in-use",
    target.TargetError: "storage",
    NamesError: "bad-request",
}
"""The nearest class in an error's own class order counts."""

_BY_LOGIN_STATUS: Final[dict[int, str]] = {
    login_status.AUTHENTICATION_FAILURE: "authentication",
    login_status.AUTHORIZATION_FAILURE: "authorisation",
    login_status.NOT_FOUND: "not-found",
    login_status.TARGET_REMOVED: "not-found",
}


def problem_of(error: BaseException) -> Problem:
    """The problem that a client sees for `error`. What is not expected is logged and becomes `internal`."""
    if isinstance(error, ApiProblem):
        return error.problem
    if isinstance(error, initiator.LoginRefused):
        return _login_refused(error)
    if isinstance(error, IsnsFailure):
        return _isns_failure(error)
    for kind in type(error).__mro__:
        code = _BY_CLASS.get(kind)
        if code is not None:
            return Problem(
                code=code,
                message=getattr(error, "cause", None) or str(error),
                side=getattr(error, "side", "this side"),
                check=getattr(error, "check", ""),
            )
    if isinstance(error, TimeoutError):
        return Problem(code="timeout", message="The work was not done in its time.", side="this side")
    if isinstance(error, OSError):
        return _os_error(error)
    log.error("a fault of the engine", exc_info=error)
    return Problem(
        code="internal",
        message="The engine has a fault of its own.",
        side="engine",
        check="the engine's log, engine.log in its data folder",
    )


def _login_refused(error: initiator.LoginRefused) -> Problem:
    details: dict[str, str] = {}
    if error.status:
        details["status"] = f"{error.status:04x}"
    code = _BY_LOGIN_STATUS.get(error.status, "peer-failure")
    if error.direction is not None:
        details["direction"] = error.direction
        code = "authentication"
    return Problem(code=code, message=error.cause, side=error.side, check=error.check, details=details)


def _isns_failure(error: IsnsFailure) -> Problem:
    code = "bad-request"
    details: dict[str, str] = {}
    if error.status is not None:
        code = "peer-failure"
        details["status"] = str(error.status)
    elif error.side == SIDE_NETWORK:
        code = "unreachable"
    elif error.side == SIDE_SERVER:
        code = "not-iscsi"
    elif isinstance(error.__cause__, OSError) and error.__cause__.errno == errno.EADDRINUSE:
        code = "port-taken"
    return Problem(code=code, message=error.cause, side=error.side, check=error.check, details=details)


_PORT_ERRORS: Final = frozenset({errno.EADDRINUSE, errno.EADDRNOTAVAIL})


def _os_error(error: OSError) -> Problem:
    where = f"{error.filename}: " if error.filename else ""
    return Problem(
        code="port-taken" if error.errno in _PORT_ERRORS else "storage",
        message=f"{where}{error.strerror or error}",
        side="operating system",
    )
