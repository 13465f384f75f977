"""The order of commands over all connections of a session (RFC 7143 §4.2.2.1).

Commands that come before an earlier CmdSN are kept, together with unsolicited data that follows them, until
the gap is filled: by the missing command, by its retry on any connection, or by an abort. What is kept is
bounded in number by the command window and in bytes by `MAX_HELD_BYTES`; in time by `GAP_WAIT_S`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from san_console.iscsi.errors import RemoteProtocolError
from san_console.iscsi.framing import Frame
from san_console.iscsi.opcodes import FINAL, RESERVED_TAG, SCSI_COMMAND, WRITE
from san_console.iscsi.pdu import ScsiCommand, ScsiDataOut

if TYPE_CHECKING:
    from san_console.iscsi.target_connection import TargetConnection
    from san_console.iscsi.target_session import TargetSession

MASK = 0xFFFFFFFF
HALF = 0x80000000
MAX_HELD_BYTES = 8 << 20  # data that waits for a missing CmdSN; beyond, the peer is not worth it
HELD_PDU_BYTES = 256  # what keeping one PDU costs besides its data, so that empty ones are bounded too
MAX_RELEASED_BYTES = 1 << 20  # of answers on one connection, then commands wait until they have left
MAX_DISCARDED_TAGS = 256  # commands whose unsolicited data is still on its way; two full windows
GAP_WAIT_S = 60.0
"""How long commands wait for a missing CmdSN. The initiator has to fill the gap (§7.3); one that did not
after twice the usual SCSI timeout never will, and its session is of no use any more."""


@dataclass(slots=True)
class HeldCommand:
    """A command PDU that came before an earlier CmdSN: copied, since its view would not last."""

    connection: TargetConnection
    opcode: int
    bhs: bytes
    ahs: bytes
    data: bytes
    data_out: list[Frame] = field(default_factory=list)
    """Unsolicited Data-Out PDUs that followed it."""
    size_bytes: int = 0
    tag: int | None = None
    """Its Initiator Task Tag while unsolicited data of it may come."""


class CommandOrder:
    """What waits for its turn. The numbers themselves, `exp_cmd_sn` and `max_cmd_sn`, are the session's."""

    def __init__(self, session: TargetSession) -> None:
        self._session = session
        self.held: dict[int, HeldCommand | None] = {}
        """By CmdSN; None: treat that number as received."""
        self._by_tag: dict[int, HeldCommand] = {}
        self._discarded: dict[int, TargetConnection] = {}
        self._waits: list[tuple[int, TargetConnection, Callable[[], None]]] = []
        self._held_bytes = 0
        self._gap: tuple[int, float] | None = None
        self._releasing = False
        self.paused = False
        """Commands whose turn has come wait for answers to leave: call `resume` then."""

    @property
    def empty(self) -> bool:
        """True when no command and no function waits for an earlier CmdSN."""
        return not (self.held or self._waits)

    @property
    def watches_data(self) -> bool:
        """True when Data-Out may belong to a command that has not been started."""
        return bool(self._by_tag or self._discarded)

    def hold(self, cmd_sn: int, command: HeldCommand) -> None:
        """Keep a command for its turn. Outside of the window, or a duplicate: silently ignored (§4.2.2.1)."""
        session = self._session
        ahead = (cmd_sn - session.exp_cmd_sn) & MASK
        window = (session.max_cmd_sn - session.exp_cmd_sn + 1) & MASK
        if not 0 < ahead < window <= HALF or cmd_sn in self.held:
            return
        command.size_bytes = len(command.data) + HELD_PDU_BYTES
        self._grow(command.size_bytes)
        self.held[cmd_sn] = command
        session.refresh()
        if command.opcode == SCSI_COMMAND and command.bhs[1] & (FINAL | WRITE) == WRITE:
            command.tag = ScsiCommand.parse(command.bhs).itt
            self._by_tag[command.tag] = command

    def _grow(self, size_bytes: int) -> None:
        self._held_bytes += size_bytes
        if self._held_bytes > MAX_HELD_BYTES:
            raise RemoteProtocolError(
                f"{self._held_bytes} bytes wait for CmdSN {self._session.exp_cmd_sn}, which does not come"
            )

    def _forget(self, command: HeldCommand) -> None:
        self._held_bytes -= command.size_bytes
        if command.tag is not None and self._by_tag.get(command.tag) is command:
            del self._by_tag[command.tag]

    # Unsolicited data of commands that were not started

    def discard_data(self, connection: TargetConnection, bhs: memoryview | bytes) -> None:
        """The SCSI command `bhs` is discarded: unsolicited data that follows it is to be dropped as well."""
        command = ScsiCommand.parse(bhs)
        if command.write and not command.final:
            self._discarded[command.itt] = connection
            if len(self._discarded) > MAX_DISCARDED_TAGS:
                del self._discarded[next(iter(self._discarded))]

    def started(self, itt: int) -> None:
        """A command with that tag runs now: data under it is its own (a retry after a digest error, §7.8)."""
        self._discarded.pop(itt, None)

    def takes_data(self, connection: TargetConnection, frame: Frame) -> bool:
        """True when the Data-Out in `frame` belongs to a command that waits, or was discarded."""
        pdu = ScsiDataOut.parse(frame.bhs)
        if pdu.ttt != RESERVED_TAG or pdu.itt in self._session.tasks:
            return False
        held = self._by_tag.get(pdu.itt)
        if held is not None and held.connection is connection:
            size_bytes = len(frame.data) + HELD_PDU_BYTES
            held.size_bytes += size_bytes
            self._grow(size_bytes)
            if pdu.final:
                del self._by_tag[pdu.itt]
                held.tag = None
            held.data_out.append(
                Frame(
                    frame.opcode,
                    memoryview(bytes(frame.bhs)),
                    memoryview(b""),
                    memoryview(bytes(frame.data)),
                    frame.data_digest_ok,
                )
            )
            return True
        if self._discarded.get(pdu.itt) is not connection:
            return False
        if pdu.final:
            del self._discarded[pdu.itt]
        return True

    # Gaps

    def plug(self, cmd_sn: int) -> None:
        """Treat `cmd_sn`, if it has not been executed yet, as received (§11.6.1 case b)."""
        if (cmd_sn - self._session.exp_cmd_sn) & MASK < HALF:
            dropped = self.held.get(cmd_sn)
            if dropped is not None:
                self._forget(dropped)
                if dropped.tag is not None:
                    self.discard_data(dropped.connection, dropped.bhs)
            self.held[cmd_sn] = None
            self._session.refresh()

    def release(self) -> None:
        """Execute what was held back, as far as the order is complete again, and what has waited for it.

        Pauses while as much waits to be sent as one turn may produce.
        """
        if self._releasing:
            return  # the loop below goes on with it
        self._releasing = True
        try:
            self._release()
        finally:
            self._releasing = False
            self._session.refresh()

    def resume(self) -> None:
        """Answers have left: go on where `release` has paused."""
        if self.paused:
            self.paused = False
            self.release()

    def _release(self) -> None:
        session = self._session
        self._release_waits()
        while session.exp_cmd_sn in self.held:
            cmd_sn = session.exp_cmd_sn
            command = self.held[cmd_sn]
            if command is not None and (
                session.reads_full or command.connection.output_bytes >= MAX_RELEASED_BYTES
            ):
                self.paused = True
                return
            del self.held[cmd_sn]
            if command is None:
                session.exp_cmd_sn = (cmd_sn + 1) & MASK
                session.command_done()
            else:
                self._forget(command)
                command.connection.replay(command)
                if session.exp_cmd_sn == cmd_sn:  # its handler refused it: the gap stays (§7.3)
                    return
            self._release_waits()

    def _release_waits(self) -> None:
        """A function acts before the commands that were sent after it (§11.5.1)."""
        for entry in self._waits[:]:
            if (self._session.exp_cmd_sn - entry[0]) & MASK < HALF and entry in self._waits:
                self._waits.remove(entry)
                entry[2]()

    def when_received(self, cmd_sn: int, connection: TargetConnection, then: Callable[[], None]) -> None:
        """Call `then`, which answers on `connection`, once all commands before `cmd_sn` were received."""
        if (self._session.exp_cmd_sn - cmd_sn) & MASK < HALF:
            then()
        else:
            self._waits.append((cmd_sn, connection, then))
            self._session.refresh()

    def drop(self, connection: TargetConnection) -> None:
        """The connection is gone: what it brought and was not acknowledged by ExpCmdSN is discarded (§11.14).

        The initiator fills the gaps with retries on other connections.
        """
        for cmd_sn, command in list(self.held.items()):
            if command is not None and command.connection is connection:
                del self.held[cmd_sn]
                self._forget(command)
        self._discarded = {tag: other for tag, other in self._discarded.items() if other is not connection}
        self._waits = [entry for entry in self._waits if entry[1] is not connection]
        self._session.refresh()

    def clear(self) -> None:
        """The session is over."""
        self.held.clear()
        self._by_tag.clear()
        self._discarded.clear()
        self._waits.clear()
        self._held_bytes = 0
        self._session.refresh()

    # Time

    def next_deadline(self) -> float | None:
        """When the gap that is there now has lasted too long."""
        return self._gap[1] if self._gap is not None else None

    def stuck(self, now: float, extra_s: float) -> bool:
        """True when the same CmdSN has been missing for `GAP_WAIT_S` and `extra_s`, the time of recovery.

        It is not missing while it may be there and cannot be taken in, or cannot have its turn.
        """
        exp_cmd_sn = self._session.exp_cmd_sn
        if self.empty or self.paused or self._session.reads_full:
            self._gap = None
        elif self._gap is None or self._gap[0] != exp_cmd_sn:
            self._gap = (exp_cmd_sn, now + GAP_WAIT_S + extra_s)
        return self._gap is not None and now >= self._gap[1]
