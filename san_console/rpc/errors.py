"""Errors of the transport. Each carries the `Problem` that a user reads."""

from __future__ import annotations

from san_console.api.problems import Problem


class RpcError(Exception):
    """The connection between client and engine cannot go on."""

    code = "protocol"

    def __init__(self, message: str, *, side: str = "", check: str = "") -> None:
        super().__init__(message)
        self.problem = Problem(code=self.code, message=message, side=side, check=check)


class FrameError(RpcError):
    """The other side sent something that is no frame, no message, or not its to send."""


class FrameTooLarge(RpcError):
    """A message of our own is over the frame limit. The connection is as before; nothing was sent."""

    code = "too-large"


class VersionMismatch(RpcError):
    """The two sides have no API version in common."""

    code = "version"
