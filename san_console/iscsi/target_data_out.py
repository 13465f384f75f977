"""Data from the initiator: immediate, unsolicited, solicited by R2T (RFC 7143 §4.2.5.2, §11.7, §11.8).

Each Data-Out has to continue exactly where the last one of its sequence ended, inside of what was allowed;
the first fault is remembered, what follows is dropped, and the command ends with CHECK CONDITION after the
last F bit. Where data may come in any order, or be asked for again, `target_data_recovery` takes it instead.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from san_console.iscsi import target_sense
from san_console.iscsi.framing import Frame
from san_console.iscsi.opcodes import (
    REJECT_DATA_DIGEST_ERROR,
    REJECT_INVALID_PDU_FIELD,
    RESERVED_TAG,
)
from san_console.iscsi.pdu import ReadyToTransfer, ScsiDataOut
from san_console.iscsi.target_data_recovery import DataRecovery
from san_console.iscsi.target_task import ABORTED, RUNNING, Solicited, TargetTask

if TYPE_CHECKING:
    from san_console.iscsi.target_connection import TargetConnection

CHECK_CONDITION = 0x02  # SAM-5 §5.3.1; the one SCSI status that the iSCSI layer itself reports


class WriteTransfers:
    """The write data machine of one connection."""

    def __init__(self, connection: TargetConnection) -> None:
        self._connection = connection
        self._session = connection.session
        parameters = connection.session.parameters
        self.immediate_data = parameters.immediate_data
        self.initial_r2t = parameters.initial_r2t
        self.first_burst_bytes = parameters.first_burst_bytes
        self._max_burst_bytes = parameters.max_burst_bytes
        self._max_outstanding_r2t = parameters.max_outstanding_r2t
        strict = parameters.data_pdu_in_order and not parameters.error_recovery_level
        self._recovery = None if strict else DataRecovery(connection, self)

    def begin(self, task: TargetTask, final: bool, data: memoryview) -> None:
        """The command PDU has come with `data`; `task.wanted_bytes` is known."""
        task.transfer_bytes = min(task.wanted_bytes, task.edtl)
        task.unsolicited_open = not final
        task.unsolicited_bytes = len(data)
        if self._recovery is not None:
            self._recovery.begin(task, len(data))
        if (data and not self.immediate_data) or (not final and self.initial_r2t):
            task.failure = target_sense.UNEXPECTED_UNSOLICITED_DATA
        elif len(data) > min(self.first_burst_bytes, task.edtl):
            task.failure = target_sense.INCORRECT_AMOUNT_OF_DATA
        elif data:
            if len(data) >= task.transfer_bytes:
                task.data_out = memoryview(bytes(data[: task.transfer_bytes]))
            else:
                self.store(task, 0, data)
        self.go_on(task)

    def store(self, task: TargetTask, offset: int, data: memoryview) -> None:
        """Bytes that belong at `offset` of the task's data have come."""
        end = min(offset + len(data), task.transfer_bytes)
        if offset >= end:
            return  # within EDTL, but more than the CDB takes
        if len(task.data_out) < end:
            # Unsolicited data only: its room is bounded by FirstBurstLength, solicited data has a reserved
            # buffer.
            room = memoryview(bytearray(min(task.transfer_bytes, self.first_burst_bytes)))
            room[: len(task.data_out)] = task.data_out
            task.data_out = room
        task.data_out[offset:end] = data[: end - offset]

    def receive(self, frame: Frame) -> None:
        """A Data-Out PDU."""
        pdu = ScsiDataOut.parse(frame.bhs)
        task = self._session.tasks.get(pdu.itt)
        if not frame.data_digest_ok:
            self._session.counters.digest_errors += 1
            self._connection.reject(REJECT_DATA_DIGEST_ERROR, frame.bhs)
        if task is None or task.connection is not self._connection:
            if frame.data_digest_ok:
                self._connection.reject(REJECT_INVALID_PDU_FIELD, frame.bhs)
            return
        if self._recovery is not None:
            self._recovery.receive(task, pdu, frame)
        else:
            if not frame.data_digest_ok:
                self.fail(task, target_sense.PROTOCOL_SERVICE_CRC_ERROR)
            if pdu.ttt == RESERVED_TAG:
                self._unsolicited(task, pdu, frame.data)
            else:
                self._solicited(task, pdu, frame)
        if task.state == ABORTED:
            if not task.transfer_open:
                self._session.task_gone(task)
        else:
            self.go_on(task)

    @staticmethod
    def fail(task: TargetTask, sense: bytes) -> None:
        """The command will end with CHECK CONDITION and the sense data of its first fault."""
        if not task.failure:
            task.failure = sense

    def _unsolicited(self, task: TargetTask, pdu: ScsiDataOut, data: memoryview) -> None:
        if not task.unsolicited_open:
            self.fail(task, target_sense.UNEXPECTED_UNSOLICITED_DATA)
            return
        if pdu.buffer_offset != task.unsolicited_bytes:
            self.fail(task, target_sense.INCORRECT_AMOUNT_OF_DATA)
        if pdu.data_sn != task.unsolicited_data_sn:
            self.fail(task, target_sense.PROTOCOL_SERVICE_CRC_ERROR)
        task.unsolicited_data_sn += 1
        task.unsolicited_bytes += len(data)
        if task.unsolicited_bytes > min(self.first_burst_bytes, task.edtl):
            self.fail(task, target_sense.INCORRECT_AMOUNT_OF_DATA)
        if not task.failure and task.state != ABORTED:
            self.store(task, pdu.buffer_offset, data)
        if pdu.final:
            task.unsolicited_open = False

    def _solicited(self, task: TargetTask, pdu: ScsiDataOut, frame: Frame) -> None:
        burst = task.solicited.get(pdu.ttt)
        # The LUN qualifies the TTT (§11.7.4), but several initiators leave it zero.
        if burst is None or (pdu.lun and pdu.lun != task.lun):
            self._connection.reject(REJECT_INVALID_PDU_FIELD, frame.bhs)
            return
        data = frame.data
        if pdu.buffer_offset != burst.offset + burst.received or burst.received + len(data) > burst.length:
            self.fail(task, target_sense.INCORRECT_AMOUNT_OF_DATA)
        if pdu.data_sn != burst.data_sn:
            self.fail(task, target_sense.PROTOCOL_SERVICE_CRC_ERROR)
        burst.data_sn += 1
        burst.received += len(data)
        if not task.failure and task.state != ABORTED:
            self.store(task, pdu.buffer_offset, data)
        if pdu.final:
            if burst.received < burst.length:
                self.fail(task, target_sense.INCORRECT_AMOUNT_OF_DATA)
            del task.solicited[pdu.ttt]

    def go_on(self, task: TargetTask) -> None:
        """The next step of the transfer, if anything is to be done now."""
        if task.state == RUNNING:
            return  # a stray Data-Out after the transfer; the command is with the logical unit
        if task.result is not None:
            if not task.transfer_open:
                status, data, sense = task.result
                self._connection.send_status(task, status, data, sense)
        elif task.failure:
            if not task.transfer_open:
                self._connection.send_status(task, CHECK_CONDITION, b"", task.failure)
        elif not task.unsolicited_open:
            task.solicited_bytes = max(task.solicited_bytes, task.unsolicited_bytes)
            if task.solicited_bytes < task.transfer_bytes or (task.tracked is not None and task.tracked.gaps):
                if task.reserved_bytes or self._session.reserve_transfer(task):
                    self.solicit(task)
                else:
                    self._session.queue_transfer(task)
            elif not task.solicited:
                task.state = RUNNING
                task.unit.execute(task)

    def solicit(self, task: TargetTask) -> None:
        """Send R2Ts, as many as MaxOutstandingR2T allows, each for MaxBurstLength at most."""
        tracked = task.tracked
        while len(task.solicited) < self._max_outstanding_r2t:
            if tracked is not None and tracked.gaps:
                offset, length = tracked.gaps.popleft()  # before new data: sequences stay in order (§13.19)
            elif task.solicited_bytes < task.transfer_bytes:
                offset = task.solicited_bytes
                length = min(self._max_burst_bytes, task.transfer_bytes - offset)
                task.solicited_bytes += length
            else:
                return
            ttt = self._session.new_ttt()
            if tracked is None:
                task.solicited[ttt] = Solicited(offset, length)
            else:
                task.solicited[ttt] = tracked.solicit(ttt, task.r2t_sn, offset, length, self._session.now)
            self.send_r2t(task, ttt, task.r2t_sn, offset, length)
            task.r2t_sn += 1

    def send_r2t(self, task: TargetTask, ttt: int, r2t_sn: int, offset: int, length: int) -> None:
        """Send one R2T, for the first time or again."""
        session = self._session
        r2t = ReadyToTransfer(
            lun=task.lun,
            itt=task.itt,
            ttt=ttt,
            stat_sn=self._connection.stat_sn,  # shown, not consumed (§11.8.3)
            exp_cmd_sn=session.exp_cmd_sn,
            max_cmd_sn=session.max_cmd_sn,
            r2t_sn=r2t_sn,
            buffer_offset=offset,
            desired_data_transfer_length=length,
        )
        self._connection.send(r2t.pack())

    # Recovery; nothing of it happens at error recovery level 0

    def tick(self, now: float) -> None:
        """Ask again for data that has stopped coming."""
        if self._recovery is not None:
            self._recovery.tick(now)

    def next_deadline(self) -> float | None:
        """When `tick` has something to do next."""
        return None if self._recovery is None else self._recovery.next_deadline()

    def resume(self, task: TargetTask, exp_data_sn: int) -> None:
        """`task` was reassigned to this connection: go on with its data, R2TSNs from `exp_data_sn` on."""
        if self._recovery is not None:
            self._recovery.resume(task, exp_data_sn)
