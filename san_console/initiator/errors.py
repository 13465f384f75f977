"""What the initiator raises. Each error says what happened, which side decided it, and what to look at."""

from __future__ import annotations


class InitiatorError(Exception):
    """`cause` is a sentence for the user, `side` who decided it, `check` what to look at.

    `side` is one of "initiator", "network", "target". Nothing in them is a secret, and text of the target in
    them is fit to show.
    """

    def __init__(self, cause: str, side: str, check: str) -> None:
        super().__init__(cause)
        self.cause = cause
        self.side = side
        self.check = check


class ConnectFailed(InitiatorError):
    """No TCP connection: the name does not resolve, nobody answers, or the port is closed."""


class NotIscsi(InitiatorError):
    """Something answered that is no iSCSI target."""


class LoginTimedOut(InitiatorError):
    """Connected, but the login did not end within its time."""


class LoginRefused(InitiatorError):
    """The login ended without a session.

    `status` is (class << 8 | detail) of RFC 7143 §11.13.5; `direction` tells which half of CHAP failed:
    "initiator" (the target refused our secret), "target" (the target failed to prove itself), None (neither).
    """

    def __init__(
        self, cause: str, side: str, check: str, *, status: int = 0, direction: str | None = None
    ) -> None:
        super().__init__(cause, side, check)
        self.status = status
        self.direction = direction

    @property
    def may_retry(self) -> bool:
        """Whether the same login can succeed later: class 2 says no (RFC 7143 §11.13.5)."""
        return self.status >> 8 == 3


class RedirectRefused(InitiatorError):
    """The target redirects in a way that is not followed: too often, or to no usable address."""


class ProtocolViolation(InitiatorError):
    """The target broke a rule of RFC 7143."""


class SessionLost(InitiatorError):
    """The connection went away before the command was answered, and it cannot or may not be sent again."""


class CommandTimedOut(InitiatorError):
    """The target did not answer a command in time; it was aborted."""


class CommandRefused(InitiatorError):
    """The target refused a command by a Reject PDU or a failed service response, without a SCSI status."""


class ShortTransfer(InitiatorError):
    """The target called a transfer good and transferred less than was asked for."""


class WritesLost(InitiatorError):
    """The target was restarted while it held writes that it had acknowledged and nobody had flushed."""


class UnusableLogicalUnit(InitiatorError):
    """What the logical unit says about itself cannot be: its geometry, or data that breaks the format."""


class ScsiFailure(InitiatorError):
    """A SCSI status other than GOOD; `status` and `sense` as sent (`sense` may be empty)."""

    def __init__(self, cause: str, side: str, check: str, *, status: int, sense: bytes) -> None:
        super().__init__(cause, side, check)
        self.status = status
        self.sense = sense
