"""What an initiator asks for beside SCSI commands, by opcode; NOP-Out; and the NOP-Ins that probe it.

Text, Logout and task management have their own modules. RFC 7143 §11.18, §11.19.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from san_console.iscsi import opcodes
from san_console.iscsi.framing import Frame
from san_console.iscsi.opcodes import REJECT_DATA_DIGEST_ERROR, REJECT_INVALID_PDU_FIELD, RESERVED_TAG
from san_console.iscsi.pdu import NopIn, NopOut
from san_console.iscsi.target_logout import Logouts
from san_console.iscsi.target_task_management import TaskManagement
from san_console.iscsi.target_text import TextNegotiation

if TYPE_CHECKING:
    from san_console.iscsi.target_connection import TargetConnection


class Requests:
    """The handlers of one connection, by opcode."""

    def __init__(
        self, connection: TargetConnection, nop_in_interval_s: float, nop_in_timeout_s: float, now: float
    ) -> None:
        self._connection = connection
        self._session = connection.session
        self._nop_in_interval_s = nop_in_interval_s
        self._nop_in_timeout_s = nop_in_timeout_s
        self._last_heard = now
        self._probed = False
        self._probed_stat_sn: int | None = None
        self._logouts = Logouts(connection)
        self.text = TextNegotiation(connection)
        self.handlers: dict[int, Callable[[Frame], None]] = {
            opcodes.NOP_OUT: self._nop_out,
            opcodes.TEXT_REQUEST: self.text.receive,
            opcodes.LOGOUT_REQUEST: self._logouts.receive,
            opcodes.TASK_MANAGEMENT_REQUEST: TaskManagement(connection).receive,
        }

    # Is the initiator still there?

    def heard(self, now: float) -> None:
        """Something came from the initiator: it is alive, whatever it was."""
        self._last_heard = now
        self._probed = False

    def tick(self, now: float, *, listening: bool = True) -> bool:
        """Probe an initiator that is silent. False when it did not answer in time.

        Without `listening`, because it has as many reads under way as it may, nothing that it sends is taken
        in, and nothing that is missing is its fault.
        """
        self._logouts.tick(now)
        if not listening:
            self.heard(now)
            return True
        self._connection.transfers.tick(now)
        silent_s = now - self._last_heard
        if self._probed:
            return silent_s < self._nop_in_interval_s + self._nop_in_timeout_s
        if silent_s >= self._nop_in_interval_s:
            self._probed = True
            self._nop_in()
        return True

    def _nop_in(self) -> None:
        connection = self._connection
        # With no ITT of the initiator's, StatSN is shown and not consumed (§11.19.2).
        connection.send(
            NopIn(
                ttt=self._session.new_ttt(),
                stat_sn=connection.stat_sn,
                exp_cmd_sn=self._session.exp_cmd_sn,
                max_cmd_sn=self._session.max_cmd_sn,
            ).pack()
        )

    def probe(self) -> None:
        """Have the initiator acknowledge what was sent (§4.2.2.3.3 b), once for each state of StatSN."""
        if self._probed_stat_sn != self._connection.stat_sn:
            self._probed_stat_sn = self._connection.stat_sn
            self._nop_in()

    def next_deadline(self) -> float:
        """When `tick` has something to do next."""
        extra = self._nop_in_timeout_s if self._probed else 0.0
        deadlines = [self._last_heard + self._nop_in_interval_s + extra]
        for owner in (self._logouts, self._connection.transfers):
            at = owner.next_deadline()
            if at is not None:
                deadlines.append(at)
        return min(deadlines)

    def _nop_out(self, frame: Frame) -> None:
        pdu = NopOut.parse(frame.bhs)
        connection, session = self._connection, self._session
        if not frame.data_digest_ok:
            self.bad_digest(frame)
            return
        if not pdu.immediate and pdu.itt == RESERVED_TAG:
            connection.reject(REJECT_INVALID_PDU_FIELD, frame.bhs)  # §11.18: then I must be set
            return
        if not connection.in_order(frame, pdu.cmd_sn):
            return
        if session.asyncs.terminating:
            session.asyncs.acknowledged(connection)
        if not pdu.immediate:
            session.command_done()
        if pdu.itt == RESERVED_TAG:
            return  # the answer to a NOP-In of ours, or to a task termination
        # The ping data comes back, as much of it as the initiator takes in one PDU (§11.18).
        data = bytes(frame.data[: connection.max_send_bytes])
        reply = NopIn(
            itt=pdu.itt,
            stat_sn=connection.take_stat_sn(),
            exp_cmd_sn=session.exp_cmd_sn,
            max_cmd_sn=session.max_cmd_sn,
        )
        connection.send_numbered(reply.stat_sn, reply.pack(len(data)), data)

    def bad_digest(self, frame: Frame) -> None:
        """The data digest of a request is wrong: it is discarded, its CmdSN stays a gap (§7.8)."""
        self._session.counters.digest_errors += 1
        self._connection.reject(REJECT_DATA_DIGEST_ERROR, frame.bhs)

    # Asynchronous messages about this connection

    def ask_for_logout(self, within_s: int) -> None:
        """Tell the initiator that the target goes away and it should log out (§11.9.1, event 1)."""
        self._session.asyncs.ask_for_logout(self._connection, within_s)

    def request_negotiation(self, max_recv_data_segment_bytes: int, within_s: int) -> None:
        """Have the initiator ask what has changed: the length of data segments (§11.9.1, event 4)."""
        self.text.declare(max_recv_data_segment_bytes)
        self._session.asyncs.request_negotiation(self._connection, within_s)
