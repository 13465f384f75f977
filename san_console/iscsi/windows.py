"""Command window, ordered delivery and StatSN bookkeeping (RFC 7143 §4.2.2), by RFC 1982 arithmetic."""

from __future__ import annotations

from typing import Generic, TypeVar

from san_console.iscsi import opcodes
from san_console.iscsi.errors import LocalProtocolError, RemoteProtocolError
from san_console.wire import serial

Command = TypeVar("Command")

# A gap this large cannot be filled by PDUs still on their way on one TCP connection (§4.2.2.2: "large" is
# ours).
MAX_STAT_SN_GAP = 1


class CommandWindow:
    """The initiator's view: which CmdSN comes next, and how many commands the target still takes."""

    __slots__ = ("cmd_sn", "exp_cmd_sn", "max_cmd_sn")

    def __init__(self, cmd_sn: int, exp_cmd_sn: int, max_cmd_sn: int) -> None:
        self.cmd_sn = cmd_sn
        self.exp_cmd_sn = exp_cmd_sn
        self.max_cmd_sn = max_cmd_sn

    def may_send(self) -> bool:
        """True if a non-immediate command fits into the window."""
        return serial.le(self.cmd_sn, self.max_cmd_sn)

    def take(self) -> int:
        """The CmdSN for a non-immediate command. Raises LocalProtocolError when the window is closed."""
        if not self.may_send():
            raise LocalProtocolError("the target's command window is closed")
        cmd_sn = self.cmd_sn
        self.cmd_sn = serial.add(cmd_sn, 1)
        return cmd_sn

    def update(self, exp_cmd_sn: int, max_cmd_sn: int) -> None:
        """Take the fields of a PDU: both only move forward, nonsense is ignored (§4.2.2.1)."""
        if serial.lt(max_cmd_sn, serial.add(exp_cmd_sn, -1)):
            return
        if serial.gt(exp_cmd_sn, self.exp_cmd_sn):
            self.exp_cmd_sn = exp_cmd_sn
        if serial.gt(max_cmd_sn, self.max_cmd_sn):
            self.max_cmd_sn = max_cmd_sn

    @property
    def free(self) -> int:
        """How many commands may still be sent."""
        return max(serial.diff(self.max_cmd_sn, self.cmd_sn) + 1, 0)

    @property
    def size(self) -> int:
        """How many commands the target takes beyond what it has received."""
        return max(serial.diff(self.max_cmd_sn, self.exp_cmd_sn) + 1, 0)


class CommandQueue(Generic[Command]):
    """The target's view: delivers commands in the order of their CmdSN, and never holds more than the window.

    `window` is the number of commands allowed beyond those delivered and not yet done.
    """

    __slots__ = ("_held", "exp_cmd_sn", "max_cmd_sn")

    def __init__(self, cmd_sn: int, window: int) -> None:
        self.exp_cmd_sn = cmd_sn
        self.max_cmd_sn = serial.add(cmd_sn, window - 1)
        self._held: dict[int, Command] = {}

    def offer(self, cmd_sn: int, command: Command) -> list[Command]:
        """What may be delivered now, in order. Outside the window, or twice: ignored (§4.2.2.1 MUST)."""
        if (
            serial.lt(cmd_sn, self.exp_cmd_sn)
            or not serial.le(cmd_sn, self.max_cmd_sn)
            or cmd_sn in self._held
        ):
            return []
        self._held[cmd_sn] = command
        ready: list[Command] = []
        while (following := self._held.pop(self.exp_cmd_sn, None)) is not None:
            ready.append(following)
            self.exp_cmd_sn = serial.add(self.exp_cmd_sn, 1)
        return ready

    def done(self, commands: int = 1) -> None:
        """That many delivered commands are answered: the window opens by as many."""
        self.max_cmd_sn = serial.add(self.max_cmd_sn, commands)

    @property
    def held(self) -> int:
        """Commands that wait for an earlier one."""
        return len(self._held)

    @property
    def missing(self) -> int | None:
        """The CmdSN that holds back the others, None when nothing waits."""
        return self.exp_cmd_sn if self._held else None


class StatSnTracker:
    """The initiator's ExpStatSN of one connection."""

    __slots__ = ("exp_stat_sn",)

    def __init__(self, exp_stat_sn: int) -> None:
        self.exp_stat_sn = exp_stat_sn

    def received(self, stat_sn: int, *, consumes: bool = True) -> bool:
        """Take the StatSN of a PDU; False for one that was seen before, which is to be discarded.

        `consumes` is False for PDUs that carry StatSN without taking it: R2T, Data-In without S, and NOP-In
        that answers nothing (§11.8.3, §11.19.2). Raises RemoteProtocolError for a gap: at recovery level 0
        a lost status can only be recovered by the session (§4.2.2.2).
        """
        ahead = serial.diff(stat_sn, self.exp_stat_sn)
        if ahead >= MAX_STAT_SN_GAP:
            raise RemoteProtocolError(
                f"the target skipped {ahead} of its responses (StatSN {stat_sn}, {self.exp_stat_sn} was due)",
                reject_reason=opcodes.REJECT_PROTOCOL_ERROR,
            )
        if not consumes:
            return True
        if ahead < 0:
            return False
        self.exp_stat_sn = serial.add(self.exp_stat_sn, 1)
        return True
