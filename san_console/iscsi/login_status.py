"""What a login status means and what to look at (RFC 7143 §11.13.5)."""

from __future__ import annotations

from dataclasses import dataclass

SUCCESS = 0x0000
TARGET_MOVED_TEMPORARILY = 0x0101
TARGET_MOVED_PERMANENTLY = 0x0102
INITIATOR_ERROR = 0x0200
AUTHENTICATION_FAILURE = 0x0201
AUTHORIZATION_FAILURE = 0x0202
NOT_FOUND = 0x0203
TARGET_REMOVED = 0x0204
UNSUPPORTED_VERSION = 0x0205
TOO_MANY_CONNECTIONS = 0x0206
MISSING_PARAMETER = 0x0207
CANNOT_INCLUDE_IN_SESSION = 0x0208
SESSION_TYPE_NOT_SUPPORTED = 0x0209
SESSION_DOES_NOT_EXIST = 0x020A
INVALID_DURING_LOGIN = 0x020B
TARGET_ERROR = 0x0300
SERVICE_UNAVAILABLE = 0x0301
OUT_OF_RESOURCES = 0x0302


@dataclass(frozen=True, slots=True)
class LoginExplanation:
    """`cause`: what happened; `side`: who decided it ("initiator" or "target"); `check`: what to look at."""

    cause: str
    side: str
    check: str


_TABLE = {
    TARGET_MOVED_TEMPORARILY: (
        "The target has moved to another address for now.",
        "Log in at the address that the target named.",
    ),
    TARGET_MOVED_PERMANENTLY: (
        "The target has moved to another address for good.",
        "Log in at the address that the target named, and change the saved portal.",
    ),
    INITIATOR_ERROR: (
        "The target found an error in the login request.",
        "Look at the target's log; a digest or parameter that only one side requires is the usual reason.",
    ),
    AUTHENTICATION_FAILURE: (
        "The target refused the authentication.",
        "Check the CHAP user name, the secret and the algorithm, and whether the target wants CHAP at all.",
    ),
    AUTHORIZATION_FAILURE: (
        "The target does not allow this initiator.",
        "Compare the initiator name and this machine's address with the target's access list.",
    ),
    NOT_FOUND: (
        "There is no target of this name at this address.",
        "Compare the target name letter by letter (case counts for many targets), and the portal.",
    ),
    TARGET_REMOVED: (
        "The target has been removed and left no new address.",
        "Ask the administrator of the target where it went; discover again.",
    ),
    UNSUPPORTED_VERSION: (
        "The target does not support this version of iSCSI.",
        "Check whether the portal belongs to an iSCSI target of today; all of them use version 0.",
    ),
    TOO_MANY_CONNECTIONS: (
        "The target allows no further connection in this session.",
        "Raise the target's limit of connections per session, or log out a connection.",
    ),
    MISSING_PARAMETER: (
        "The target misses a parameter of the login, such as a name or a step of CHAP.",
        "Check the target name, and that CHAP is configured in the same directions on both sides.",
    ),
    CANNOT_INCLUDE_IN_SESSION: (
        "The target does not let this session span to this portal.",
        "Use a portal of the same portal group.",
    ),
    SESSION_TYPE_NOT_SUPPORTED: (
        "The target does not support this type of session for this initiator.",
        "Check whether the target allows discovery sessions, and discovery CHAP.",
    ),
    SESSION_DOES_NOT_EXIST: (
        "The target does not know the session that this connection was to join.",
        "Log in anew: the target has dropped the session in the meantime.",
    ),
    INVALID_DURING_LOGIN: (
        "The target refused a request that is not allowed during login.",
        "Look at the trace of the login.",
    ),
    TARGET_ERROR: (
        "The target has a hardware or software error.",
        "Look at the target's log; try again later.",
    ),
    SERVICE_UNAVAILABLE: (
        "The target is not in operation at present.",
        "Check that the target is enabled and its storage is there; try again later.",
    ),
    OUT_OF_RESOURCES: (
        "The target has no room for another session or connection.",
        "Look at the target's limits and at who is logged in; try again later.",
    ),
}

_CLASS_TEXTS = {
    1: ("The target redirects to another address.", "Log in at the address that the target named."),
    2: ("The target refused the login as the initiator's error.", "Look at the target's log."),
    3: ("The target cannot serve the login at present.", "Look at the target's log; try again later."),
}


def explain_status(status_class: int, status_detail: int) -> LoginExplanation:
    """The explanation of a non-zero status; unknown details are explained by their class alone."""
    status = status_class << 8 | status_detail
    if status in _TABLE:
        cause, check = _TABLE[status]
    else:
        cause, check = _CLASS_TEXTS.get(
            status_class,
            ("The target answered with a status that RFC 7143 does not define.", "Look at the trace."),
        )
    return LoginExplanation(f"{cause} (status {status:04x})", "target", check)
