"""What a target does on its own and the user of an initiator session should learn of."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class AsyncReceived:
    """An Asynchronous Message (RFC 7143 §11.9): the numbers as sent; `sense` is that of a SCSI event (0)."""

    event: int
    vcode: int
    lun: int
    parameter1: int
    parameter2: int
    parameter3: int
    sense: bytes


@dataclass(slots=True)
class RejectReceived:
    """A Reject PDU (RFC 7143 §11.17): `opcode` is the refused PDU's, None when it was not said."""

    reason: int
    opcode: int | None
    itt: int | None


@dataclass(slots=True)
class StatSnGap:
    """The target skipped numbers of its responses; small gaps are survived, for the sake of odd targets."""

    expected: int
    received: int


@dataclass(slots=True)
class LogoutAnswered:
    """The Logout Response (RFC 7143 §11.15); the times are in seconds."""

    response: int
    time2wait: int
    time2retain: int


Event = AsyncReceived | RejectReceived | StatSnGap | LogoutAnswered
