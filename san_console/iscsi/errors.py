"""The error tree of the iSCSI protocol package."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from san_console.iscsi.login_status import LoginExplanation


class IscsiError(Exception):
    """Whatever goes wrong in the protocol."""


class LocalProtocolError(IscsiError):
    """We were asked for something that RFC 7143 forbids; nothing was sent."""


class RemoteProtocolError(IscsiError):
    """The peer broke a rule.

    `reject_reason` is what a target answers in full feature phase (RFC 7143 §11.17.1), `login_status` the
    (class << 8 | detail) that it answers during login (§11.13.5); None where the connection is dropped.
    """

    def __init__(
        self, message: str, *, reject_reason: int | None = None, login_status: int | None = None
    ) -> None:
        super().__init__(message)
        self.reject_reason = reject_reason
        self.login_status = login_status


class LoginFailed(IscsiError):
    """The login ended without a session.

    `direction` tells which half of CHAP failed: "initiator" (the target refused our secret), "target" (the
    target failed to prove itself to us), None (the failure was another one).
    """

    def __init__(
        self,
        status_class: int,
        status_detail: int,
        explanation: LoginExplanation,
        *,
        direction: str | None = None,
    ) -> None:
        super().__init__(explanation.cause)
        self.status_class = status_class
        self.status_detail = status_detail
        self.explanation = explanation
        self.direction = direction


class Redirected(IscsiError):
    """The target has moved (RFC 7143 §11.13.5, class 1). `address` is the TargetAddress as it was sent."""

    def __init__(self, address: str, *, permanent: bool) -> None:
        super().__init__(f"the target moved {'permanently' if permanent else 'for now'} to another address")
        self.address = address
        self.permanent = permanent
