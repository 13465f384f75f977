"""One connection of a target session in full feature phase (RFC 7143 §4.2, §11). Sans-I/O.

What was received is in the framer; `receive` handles it and appends what is to be sent to `output`, a list
of buffers for a gathering write. Reads and writes that the logical unit can do at once are handled in one
loop over the receive buffer, without an object per PDU: that loop decides how fast the target is.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

from san_console.iscsi import opcodes
from san_console.iscsi.framing import Frame, encode
from san_console.iscsi.opcodes import (
    ATTR_SPECIAL,
    FINAL,
    IMMEDIATE,
    READ,
    REJECT_COMMAND_NOT_SUPPORTED,
    REJECT_DATA_DIGEST_ERROR,
    REJECT_INVALID_PDU_FIELD,
    REJECT_PROTOCOL_ERROR,
    REJECT_TASK_IN_PROGRESS,
    REJECT_TOO_MANY_IMMEDIATE_COMMANDS,
    RESERVED_TAG,
    SCSI_COMMAND,
    WRITE,
)
from san_console.iscsi.parameters import OperationalParameters
from san_console.iscsi.pdu import Reject, ScsiCommand
from san_console.iscsi.target_answers import Answers
from san_console.iscsi.target_command_order import HeldCommand
from san_console.iscsi.target_data_in import GOOD, Responses
from san_console.iscsi.target_data_out import WriteTransfers
from san_console.iscsi.target_device import Arena, Buffer
from san_console.iscsi.target_fast_path import BHS_BYTES, OUTPUT_BATCH_BYTES, fast_commands
from san_console.iscsi.target_framing import TargetFramer
from san_console.iscsi.target_requests import Requests
from san_console.iscsi.target_sense import INVALID_FIELD_IN_COMMAND_IU
from san_console.iscsi.target_session import MASK, MAX_IMMEDIATE_TASKS, TargetSession
from san_console.iscsi.target_snack import SnackKeeper
from san_console.iscsi.target_task import RUNNING, TRANSFERRING, TargetTask

PROTOCOL_LEVEL_7144 = 2  # command priorities (RFC 7144 §5.1.1)
_EXP_STAT_SN = struct.Struct(">28xI16x")  # in the header of every initiator PDU
assert _EXP_STAT_SN.size == BHS_BYTES
_READ_ONLY = FINAL | READ
_DIRECTIONS = FINAL | READ | WRITE | ATTR_SPECIAL  # their order is for the logical unit


def _nobody() -> None:
    """The shell has not attached yet."""


class TargetConnection:
    """`output`, of `output_bytes` in all, is to be sent in order; when `closing` is set, close after that.

    `wake` is called when there is something to send that came up outside of `receive`. `parameters` are those
    of the login of this connection: digests and MaxRecvDataSegmentLength are its own.
    """

    def __init__(
        self,
        session: TargetSession,
        framer: TargetFramer,
        arena: Arena,
        *,
        cid: int,
        stat_sn: int,
        now: float,
        nop_in_interval_s: float,
        nop_in_timeout_s: float,
        parameters: OperationalParameters | None = None,
    ) -> None:
        if parameters is None:
            parameters = session.parameters
        self.session = session
        self.framer = framer
        self.arena = arena
        self.cid = cid
        self.stat_sn = stat_sn
        self.exp_stat_sn = stat_sn
        """What the initiator has acknowledged: all status below it."""
        self.output: list[Buffer] = []
        self.output_bytes = 0
        self.closing = False
        self.closed = False
        """The socket is gone: nothing is sent any more."""
        self.suspended = False
        """Logged out or lost: answers to its tasks wait for their reassignment, if there is one."""
        self.logging_out = False
        self.immediate_tasks = 0
        self.wake: Callable[[], None] = _nobody
        self.header_digest = parameters.header_digest == "CRC32C"
        self.data_digest = parameters.data_digest == "CRC32C"
        self.max_data_in_bytes = min(parameters.peer_max_recv_data_segment_bytes, parameters.max_burst_bytes)
        self.max_send_bytes = parameters.peer_max_recv_data_segment_bytes
        self._max_burst_bytes = parameters.max_burst_bytes
        # From error recovery level 1 on, what was sent is kept until it is acknowledged (§7.1.4).
        self._fast = parameters.error_recovery_level == 0 and not session.discovery
        self._acknowledges = not self._fast or parameters.max_connections > 1
        self._receiving = False
        self.snacks = SnackKeeper(self) if parameters.error_recovery_level else None
        self.responses = Responses(self)
        self.answers = Answers(self, self.responses, keeps_data=not self._fast)
        self.send_status: Callable[[TargetTask, int, Buffer, bytes], None] = self.answers.send_status
        self.transfers = WriteTransfers(self)
        self.requests = Requests(self, nop_in_interval_s, nop_in_timeout_s, now)
        if self.snacks is not None:
            self.requests.handlers[opcodes.SNACK_REQUEST] = self.snacks.receive
        framer.header_digest = self.header_digest
        framer.data_digest = self.data_digest
        framer.max_data_segment_bytes = parameters.max_recv_data_segment_bytes
        framer.expected_opcodes = None
        session.attach(self)

    # Receiving

    def receive(self, limit: int, now: float) -> bool:
        """Handle up to about `limit` PDUs. True when more may be there: call again after sending.

        Raises RemoteProtocolError when the stream cannot be followed any further.
        """
        session = self.session
        session.now = now
        self.requests.heard(now)
        self._receiving = True
        try:
            left = limit
            while left > 0 and not self.closing and not session.reads_full:
                if self._fast and session.straight and not self.logging_out:
                    left -= fast_commands(self, left)
                    if left <= 0 or self.output_bytes >= OUTPUT_BATCH_BYTES:
                        return True
                frame = self.framer.next_frame()
                if frame is None:
                    return False
                left -= 1
                self._handle(frame)
                if not session.plain:
                    session.order.release()
                if self.output_bytes >= OUTPUT_BATCH_BYTES:
                    return True
            return not self.closing
        finally:
            self._receiving = False

    def replay(self, command: HeldCommand) -> None:
        """A command that was held back has its turn now, and then the data that came after it."""
        self._handle(
            Frame(
                command.opcode,
                memoryview(command.bhs),
                memoryview(command.ahs),
                memoryview(command.data),
                True,
            )
        )
        for frame in command.data_out:
            self._handle(frame)

    def _handle(self, frame: Frame) -> None:
        opcode = frame.opcode
        session = self.session
        if self._acknowledges:
            self._acknowledged(_EXP_STAT_SN.unpack(frame.bhs)[0])
        if session.discovery and opcode not in _DISCOVERY_OPCODES:
            self.reject(REJECT_PROTOCOL_ERROR, frame.bhs)
        elif opcode == SCSI_COMMAND and not self.logging_out:
            self._scsi_command(frame)
        elif opcode == opcodes.SCSI_DATA_OUT:
            if not session.order.watches_data or not session.order.takes_data(self, frame):
                self.transfers.receive(frame)
        else:
            handler = self.requests.handlers.get(opcode)
            if self.logging_out and opcode not in _AFTER_LOGOUT:
                self.reject(REJECT_PROTOCOL_ERROR, frame.bhs)  # §11.14: no new request after the logout
            elif handler is not None:
                handler(frame)
            else:
                self.reject(_REFUSED.get(opcode, REJECT_COMMAND_NOT_SUPPORTED), frame.bhs)

    def _acknowledged(self, exp_stat_sn: int) -> None:
        """The initiator has all responses below `exp_stat_sn` (§4.2.2.2); numbers never sent are ignored."""
        if not 0 < (exp_stat_sn - self.exp_stat_sn) & MASK <= (self.stat_sn - self.exp_stat_sn) & MASK:
            return
        old = self.exp_stat_sn
        self.exp_stat_sn = exp_stat_sn
        if self.snacks is not None:
            self.snacks.acknowledge(exp_stat_sn)
        self.answers.acknowledged(old, exp_stat_sn)
        if self.session.fence.busy:
            self.session.fence.acknowledged(self)

    def in_order(self, frame: Frame, cmd_sn: int) -> bool:
        """True when the command in `frame` may be executed now; else it was held back, or dropped."""
        if frame.bhs[0] & IMMEDIATE or self.session.admit(cmd_sn):
            return True
        self.session.order.hold(
            cmd_sn, HeldCommand(self, frame.opcode, bytes(frame.bhs), bytes(frame.ahs), bytes(frame.data))
        )
        return False

    def _scsi_command(self, frame: Frame) -> None:
        session = self.session
        command = ScsiCommand.parse(frame.bhs)
        itt = command.itt
        if not frame.data_digest_ok:
            # The command is discarded whole, and its CmdSN stays a gap until the initiator sends it again
            # (§7.3, §7.8).
            session.counters.digest_errors += 1
            self.reject(REJECT_DATA_DIGEST_ERROR, frame.bhs)
            session.order.discard_data(self, frame.bhs)
            return
        if itt == RESERVED_TAG or itt in session.requests:
            self.reject(REJECT_INVALID_PDU_FIELD, frame.bhs)
            return
        # The tag is looked at before the order (§4.2.2.1): a retry of a running command is no new command.
        existing = session.tasks.get(itt)
        if existing is not None:
            if existing.cmd_sn == command.cmd_sn and not command.immediate:
                return
            if existing.lingering:
                session.task_gone(existing)
            else:
                self.reject(REJECT_TASK_IN_PROGRESS, frame.bhs)
                return
        if command.immediate and self.immediate_tasks >= MAX_IMMEDIATE_TASKS:
            self.reject(REJECT_TOO_MANY_IMMEDIATE_COMMANDS, frame.bhs)
            return
        if not self.in_order(frame, command.cmd_sn):
            return
        session.counters.commands += 1
        session.order.started(itt)
        session.recovery.started(itt)
        unit = session.nexus.units.get(command.lun, session.nexus.unmapped)
        if (
            self._fast
            and not session.fence.busy
            and command.flags & _DIRECTIONS == _READ_ONLY
            and not frame.ahs
            and not command.immediate
        ):
            data = unit.read_now(command.cdb, command.expected_data_transfer_length, self.arena)
            if data is not None:
                session.command_done()
                session.counters.reads += 1
                session.counters.read_bytes += len(data)
                self.responses.respond(
                    itt, command.flags, command.expected_data_transfer_length, 0, GOOD, data, b""
                )
                return
        task = TargetTask(
            self,
            unit,
            itt,
            command.lun,
            command.cdb,
            command.expected_data_transfer_length,
            command.flags,
            command.cmd_sn,
            command.immediate,
            command.priority if session.parameters.protocol_level >= PROTOCOL_LEVEL_7144 else 0,
        )
        session.add_task(task)
        if task.write:
            self._write_command(task, frame)
        else:
            task.wanted_bytes = unit.prepare(task)
            if task.state == TRANSFERRING:
                task.state = RUNNING
                unit.execute(task)

    def _write_command(self, task: TargetTask, frame: Frame) -> None:
        final = task.flags & FINAL != 0
        if task.read:
            # Bidirectional commands need an expected read length in an AHS (§11.2.2.4); no command served
            # here is one.
            task.failure = INVALID_FIELD_IN_COMMAND_IU
        elif (
            final
            and not frame.ahs
            and not task.immediate
            and not task.flags & ATTR_SPECIAL
            and 0 < len(frame.data) == task.edtl <= self.transfers.first_burst_bytes
            and self.transfers.immediate_data
            and task.unit.write_now(task.cdb, frame.data)
        ):
            task.wanted_bytes = task.edtl
            self.send_status(task, GOOD, b"", b"")
            return
        else:
            # While unsolicited data is to come, `complete` keeps its result.
            task.unsolicited_open = not final
            task.wanted_bytes = task.unit.prepare(task)
        if task.state == TRANSFERRING:
            self.transfers.begin(task, final, frame.data)

    # Sending

    def send(self, bhs: bytes, data: Buffer = b"") -> None:
        """Queue one PDU; `bhs` already holds the length of `data`, which must not change until it was
        sent.
        """
        if self.closed:
            return
        buffers = encode(bhs, data, header_digest=self.header_digest, data_digest=self.data_digest)
        self.output += buffers
        self.output_bytes += sum(map(len, buffers))
        if not self._receiving:
            self.wake()

    def send_numbered(self, stat_sn: int, bhs: bytes, data: Buffer = b"") -> None:
        """Queue a PDU that has consumed `stat_sn`; until it is acknowledged, it may be asked for again."""
        if self.snacks is not None:
            self.snacks.keep(stat_sn, bhs, data)
        self.send(bhs, data)

    def close(self, reason: str) -> None:
        """Have the socket closed when the output has left."""
        if not self.closing:
            self.closing = True
            self.wake()
            self.session.on_close_connection(self, reason)

    def set_max_send_bytes(self, length: int) -> None:
        """The initiator takes data segments of `length` bytes from now on."""
        self.max_send_bytes = length
        self.max_data_in_bytes = min(length, self._max_burst_bytes)

    def take_stat_sn(self) -> int:
        """The StatSN of a response, which it consumes."""
        stat_sn = self.stat_sn
        self.stat_sn = (stat_sn + 1) & MASK
        return stat_sn

    def reject(self, reason: int, bhs: memoryview | bytes, *, data_sn: int = 0) -> None:
        """Send a Reject with the header of the refused PDU; `data_sn` as §11.17.2 has it for a SNACK."""
        self.session.counters.rejects += 1
        pdu = Reject(
            reason=reason,
            stat_sn=self.take_stat_sn(),
            exp_cmd_sn=self.session.exp_cmd_sn,
            max_cmd_sn=self.session.max_cmd_sn,
            data_sn=data_sn,
        )
        self.send_numbered(pdu.stat_sn, pdu.pack(BHS_BYTES), bytes(bhs))


# RFC 7143 §4.3: a discovery session carries SendTargets and Logout; NOP is harmless.
_DISCOVERY_OPCODES = frozenset({opcodes.TEXT_REQUEST, opcodes.LOGOUT_REQUEST, opcodes.NOP_OUT})
# What may still come while a logout waits for the end of its tasks: data for them, and answers to NOP-Ins.
_AFTER_LOGOUT = frozenset({opcodes.NOP_OUT, opcodes.SNACK_REQUEST, opcodes.LOGOUT_REQUEST})
# Known opcodes that have no place in this phase or direction; anything else is an opcode that nobody
# assigned.
_REFUSED = {
    opcodes.LOGIN_REQUEST: REJECT_PROTOCOL_ERROR,
    opcodes.SNACK_REQUEST: REJECT_PROTOCOL_ERROR,  # error recovery level 0 has none (§11.16)
    **dict.fromkeys(opcodes.TARGET_OPCODES, REJECT_PROTOCOL_ERROR),
}
