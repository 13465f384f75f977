"""The error tree of the target: each error tells what happened, which side decided, and what to check."""

from __future__ import annotations


class TargetError(Exception):
    """Serving failed. `cause`, `side` ("this machine", "the initiator") and `check` are sentences for the
    user.
    """

    def __init__(self, cause: str, side: str = "this machine", check: str = "") -> None:
        super().__init__(cause)
        self.cause = cause
        self.side = side
        self.check = check


class ConfigError(TargetError):
    """The description of a target contradicts itself, or a backstore specification cannot be read."""


class BackstoreError(TargetError):
    """A backstore cannot be opened: missing, too small, not writable, in use."""


class PortalError(TargetError):
    """A portal cannot be listened on: the port is taken, the address is not ours."""


class UnknownTarget(TargetError):
    """No target, or no session, has this name."""


class TargetBusy(TargetError):
    """A target has sessions, and was to be removed without force."""
