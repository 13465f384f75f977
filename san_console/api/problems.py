"""Problem codes: a closed list. A new code is a change of the API version."""

from __future__ import annotations

from typing import Final

import msgspec

PROBLEM_CODES: Final[dict[str, str]] = {
    "bad-request": "the call is malformed, or a value in it is not acceptable",
    "unknown-method": "no such method in this API version",
    "unknown-object": "the object named in the call does not exist (any more)",
    "exists": "an object of that name exists already",
    "conflict": "what the call was made from has changed since; look again, then decide",
    "in-use": "the object is used by something else; the details name it",
    "unreachable": "the address did not resolve, did not answer, or refused the connection",
    "not-iscsi": "something answered, but it does not speak the protocol",
    "authentication": "CHAP failed; the details carry the direction",
    "authorisation": "the target denies this initiator",
    "not-found": "the target does not know what was asked for",
    "protocol": "the peer broke a rule of the protocol",
    "peer-failure": "the peer reported a failure of its own",
    "secret-unavailable": "the keyring is missing or locked, or holds no such secret",
    "storage": "a file, device or medium failed",
    "port-taken": "the address and port are used by another program",
    "timeout": "the work was not done in its time",
    "cancelled": "the work was cancelled by the user",
    "version": "the two sides have no API version in common",
    "forbidden": "the caller may not do this",
    "too-large": "the message or the data is over its limit",
    "disconnected": "the connection to the engine ended",
    "internal": "a fault of the engine itself; its log has the details",
}


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """What went wrong, as the user reads it: what happened, which side decided, what to check."""

    code: str
    message: str
    side: str = ""
    check: str = ""
    details: dict[str, str] = {}


class ApiProblem(Exception):
    """The only error that crosses the RPC.

    Raises `ValueError` for a code outside `PROBLEM_CODES`: it is a closed list.
    """

    def __init__(
        self,
        code: str,
        message: str,
        *,
        side: str = "",
        check: str = "",
        details: dict[str, str] | None = None,
    ) -> None:
        if code not in PROBLEM_CODES:
            raise ValueError(f"{code!r} is no problem code")
        super().__init__(message)
        self.problem = Problem(code=code, message=message, side=side, check=check, details=details or {})

    @classmethod
    def from_problem(cls, problem: Problem) -> ApiProblem:
        """Raise again on this side what the other side sent; an unknown code becomes `internal`."""
        code = problem.code if problem.code in PROBLEM_CODES else "internal"
        return cls(code, problem.message, side=problem.side, check=problem.check, details=problem.details)

    @property
    def code(self) -> str:
        return self.problem.code

    @property
    def message(self) -> str:
        return self.problem.message
