"""The full feature phase of an initiator, without I/O: one session of one connection at recovery level 0.

Bytes come in through a `Framer`, buffers to send are taken with `take_output`, ended tasks with
`take_completed` and `take_ended_requests`, what the target did on its own with `take_events`. Whatever does
not fit raises RemoteProtocolError, after which the session is of no further use and must be recovered by
logging in again: at level 0 there is nothing else (RFC 7143 §7.1.4.1).
"""

from __future__ import annotations

from collections.abc import Callable

from san_console.iscsi import opcodes
from san_console.iscsi.errors import LocalProtocolError, RemoteProtocolError
from san_console.iscsi.framing import Frame, Framer
from san_console.iscsi.initiator_commands import CommandExchange
from san_console.iscsi.initiator_events import AsyncReceived, Event
from san_console.iscsi.initiator_link import InitiatorLink, SessionParameters, Tracer
from san_console.iscsi.initiator_requests import OnDone, RequestExchange
from san_console.iscsi.initiator_tasks import Bytes, Request, ScsiTask
from san_console.wire import serial


class InitiatorSession:
    """Commands out, responses in; see the module.

    `exp_stat_sn` is the StatSN expected next, `cmd_sn` the CmdSN of the next command, `exp_cmd_sn` and
    `max_cmd_sn` the window, all as the login left them; `framer` has the negotiated digests set. `tracer`
    sees each PDU.
    """

    def __init__(
        self,
        framer: Framer,
        parameters: SessionParameters,
        *,
        cmd_sn: int,
        exp_stat_sn: int,
        exp_cmd_sn: int,
        max_cmd_sn: int,
        cid: int = 0,
        fast_abort: bool = False,
        tracer: Tracer | None = None,
    ) -> None:
        self._framer = framer
        self._link = link = InitiatorLink(
            parameters.peer_max_recv_data_segment_bytes, framer.header_digest, framer.data_digest
        )
        link.cmd_sn, link.exp_stat_sn = cmd_sn, exp_stat_sn
        link.exp_cmd_sn, link.max_cmd_sn = exp_cmd_sn, max_cmd_sn
        link.tracer = tracer
        self._commands = commands = CommandExchange(link, parameters)
        framer.place_of = commands.place_of
        self._requests = requests = RequestExchange(link, commands, cid, fast_abort)
        self._stopped: str | None = None
        # RFC 7143 §11.2.1.2: what a target may send in this phase; a Login Response is not among it.
        self._handlers: dict[int, Callable[[Frame], None]] = {
            opcodes.SCSI_DATA_IN: commands.data_in,
            opcodes.SCSI_RESPONSE: commands.scsi_response,
            opcodes.READY_TO_TRANSFER: commands.ready_to_transfer,
            opcodes.NOP_IN: requests.nop_in,
            opcodes.ASYNC_MESSAGE: requests.async_message,
            opcodes.REJECT: requests.reject,
            opcodes.TEXT_RESPONSE: requests.text_response,
            opcodes.TASK_MANAGEMENT_RESPONSE: requests.task_management_response,
            opcodes.LOGOUT_RESPONSE: requests.logout_response,
        }

    # ---- what the driver takes ----

    def take_output(self) -> list[Bytes]:
        """All buffers to send, in order; they are never joined."""
        out, self._link.out = self._link.out, []
        return out

    @property
    def has_output(self) -> bool:
        return bool(self._link.out)

    def output_drained(self) -> None:
        """Everything taken so far has left: answers that the target causes count anew."""
        self._link.output_drained()

    def take_completed(self) -> list[ScsiTask]:
        completed, self._commands.completed = self._commands.completed, []
        return completed

    def take_ended_requests(self) -> list[Request]:
        ended, self._requests.ended = self._requests.ended, []
        return ended

    def take_events(self) -> list[Event]:
        events = self._link.take_events()
        for event in events:
            if isinstance(event, AsyncReceived) and event.event == opcodes.ASYNC_LOGOUT_REQUEST:
                # §11.9.1: no new command once the target has asked for a logout.
                self.stop("the target asked for a logout")
        return events

    @property
    def has_news(self) -> bool:
        """Whether `take_ended_requests` or `take_events` would give anything."""
        return bool(self._requests.ended) or self._link.has_events

    @property
    def in_flight(self) -> int:
        """SCSI commands sent and not answered."""
        return len(self._commands.tasks)

    @property
    def waiting(self) -> int:
        """SCSI commands held back because the target's command window is closed."""
        return self._commands.waiting

    @property
    def digest_errors(self) -> int:
        """Damaged data segments, seen by us or reported by the target."""
        return self._link.digest_errors

    @property
    def window(self) -> tuple[int, int]:
        """(commands under way, commands that the target takes at a time)."""
        used = len(self._commands.tasks)
        return used, used + max(serial.diff(self._link.max_cmd_sn, self._link.cmd_sn) + 1, 0)

    def overdue(self, started_before: float) -> list[ScsiTask]:
        """Tasks without an answer that were submitted before that time, oldest first."""
        return self._commands.overdue(started_before)

    # ---- requests ----

    def submit(self, task: ScsiTask, now: float) -> None:
        """Send `task` now, or as soon as the command window lets it go. LocalProtocolError once stopped."""
        if self._stopped is not None:
            raise LocalProtocolError(f"no command can be sent: {self._stopped}")
        task.started_at = now
        self._commands.submit(task)

    def ping(self, now: float, on_done: OnDone = None) -> Request:
        """A NOP-Out that the target must answer (RFC 7143 §11.18)."""
        return self._requests.ping(now, on_done)

    def abort(self, task: ScsiTask, now: float, on_done: OnDone = None) -> Request | None:
        """ABORT TASK (RFC 7143 §11.5.1); None when nothing had to be sent for it."""
        if self._commands.withdraw(task) or self._commands.tasks.get(task.itt) is not task:
            return None
        return self._requests.task_management(opcodes.TMF_ABORT_TASK, task.lun, now, task, on_done)

    def task_management(self, function: int, lun: int, now: float, on_done: OnDone = None) -> Request:
        """A task management function (one of the TMF_ numbers); `lun` is the 64-bit field."""
        return self._requests.task_management(function, lun, now, None, on_done)

    def text(
        self, data: bytes, now: float, *, max_bytes: int, max_parts: int, on_done: OnDone = None
    ) -> Request:
        """A Text Request; see RequestExchange.text."""
        return self._requests.text(data, now, max_bytes=max_bytes, max_parts=max_parts, on_done=on_done)

    def logout(self, reason: int, now: float, on_done: OnDone = None) -> Request:
        """A Logout Request; no command may follow it (RFC 7143 §11.14)."""
        self.stop("the session is being logged out")
        return self._requests.logout(reason, now, on_done)

    def stop(self, why: str) -> None:
        """Take no further commands."""
        self._stopped = why

    def connection_lost(self) -> None:
        """The transport is gone: every task and request ends as LOST, in the order of submission."""
        self.stop("the connection is lost")
        self._commands.lose_all()
        self._requests.lose_all()
        self._link.out.clear()

    # ---- what comes in ----

    def receive(self) -> None:
        """Handle all whole PDUs in the framer. RemoteProtocolError: the connection must be dropped."""
        try:
            self._receive()
        except RemoteProtocolError:
            if self._framer.header_damaged:
                self._link.digest_errors += 1
            raise

    def _receive(self) -> None:
        next_frame = self._framer.next_frame
        handlers = self._handlers
        tracer = self._link.tracer
        while (frame := next_frame()) is not None:
            if tracer is not None:
                tracer("in", frame.bhs, frame.data)
            handler = handlers.get(frame.opcode)
            if handler is None:
                name = opcodes.OPCODE_NAMES.get(frame.opcode, f"PDU of opcode 0x{frame.opcode:02x}")
                raise RemoteProtocolError(f"the target sent a {name}, which it must not send in this phase")
            handler(frame)
