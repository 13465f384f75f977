"""Data from the initiator: immediate, unsolicited, solicited by R2T (RFC 7143 §4.2.5.2, §11.7, §11.8).

Each Data-Out has to continue exactly where the last one of its sequence ended, inside of what was allowed;
the first fault is remembered, what follows is dropped, and the command ends with CHECK CONDITION after the
last F bit.
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

    def begin(self, task: TargetTask, final: bool, data: memoryview) -> None:
        """The command PDU has come with `data`; `task.wanted_bytes` is known."""
        task.transfer_bytes = min(task.wanted_bytes, task.edtl)
        task.unsolicited_open = not final
        task.unsolicited_bytes = len(data)
        if (data and not self.immediate_data) or (not final and self.initial_r2t):
            task.failure = target_sense.UNEXPECTED_UNSOLICITED_DATA
        elif len(data) > min(self.first_burst_bytes, task.edtl):
            task.failure = target_sense.INCORRECT_AMOUNT_OF_DATA
        elif data:
            if len(data) >= task.transfer_bytes:
                task.data_out = memoryview(bytes(data[: task.transfer_bytes]))
            else:
                self._store(task, 0, data)
        self._go_on(task)

    def _store(self, task: TargetTask, offset: int, data: memoryview) -> None:
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
        if task is None or task.connection is not self._connection:
            self._connection.reject(REJECT_INVALID_PDU_FIELD, frame.bhs)
            return
        if not frame.data_digest_ok:
            self._session.counters.digest_errors += 1
            self._connection.reject(REJECT_DATA_DIGEST_ERROR, frame.bhs)
            self._fail(task, target_sense.PROTOCOL_SERVICE_CRC_ERROR)
        if pdu.ttt == RESERVED_TAG:
            self._unsolicited(task, pdu, frame.data)
        else:
            self._solicited(task, pdu, frame)
        if task.state == ABORTED:
            if not task.transfer_open:
                self._session.task_gone(task)
        else:
            self._go_on(task)

    @staticmethod
    def _fail(task: TargetTask, sense: bytes) -> None:
        if not task.failure:
            task.failure = sense

    def _unsolicited(self, task: TargetTask, pdu: ScsiDataOut, data: memoryview) -> None:
        if not task.unsolicited_open:
            self._fail(task, target_sense.UNEXPECTED_UNSOLICITED_DATA)
            return
        if pdu.buffer_offset != task.unsolicited_bytes:
            self._fail(task, target_sense.INCORRECT_AMOUNT_OF_DATA)
        if pdu.data_sn != task.unsolicited_data_sn:
            self._fail(task, target_sense.PROTOCOL_SERVICE_CRC_ERROR)
        task.unsolicited_data_sn += 1
        task.unsolicited_bytes += len(data)
        if task.unsolicited_bytes > min(self.first_burst_bytes, task.edtl):
            self._fail(task, target_sense.INCORRECT_AMOUNT_OF_DATA)
        if not task.failure and task.state != ABORTED:
            self._store(task, pdu.buffer_offset, data)
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
            self._fail(task, target_sense.INCORRECT_AMOUNT_OF_DATA)
        if pdu.data_sn != burst.data_sn:
            self._fail(task, target_sense.PROTOCOL_SERVICE_CRC_ERROR)
        burst.data_sn += 1
        burst.received += len(data)
        if not task.failure and task.state != ABORTED:
            self._store(task, pdu.buffer_offset, data)
        if pdu.final:
            if burst.received < burst.length:
                self._fail(task, target_sense.INCORRECT_AMOUNT_OF_DATA)
            del task.solicited[pdu.ttt]

    def _go_on(self, task: TargetTask) -> None:
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
            if task.solicited_bytes < task.transfer_bytes:
                if task.reserved_bytes or self._session.reserve_transfer(task):
                    self.solicit(task)
                else:
                    self._session.queue_transfer(task)
            elif not task.solicited:
                if len(task.data_out) > task.transfer_bytes:
                    task.data_out = task.data_out[: task.transfer_bytes]
                task.state = RUNNING
                task.unit.execute(task)

    def solicit(self, task: TargetTask) -> None:
        """Send R2Ts, as many as MaxOutstandingR2T allows, each for MaxBurstLength at most."""
        session = self._session
        while task.solicited_bytes < task.transfer_bytes and len(task.solicited) < self._max_outstanding_r2t:
            length = min(self._max_burst_bytes, task.transfer_bytes - task.solicited_bytes)
            ttt = session.new_ttt()
            task.solicited[ttt] = Solicited(task.solicited_bytes, length)
            # StatSN is shown, not consumed (§11.8.4).
            r2t = ReadyToTransfer(
                lun=task.lun,
                itt=task.itt,
                ttt=ttt,
                stat_sn=self._connection.stat_sn,
                exp_cmd_sn=session.exp_cmd_sn,
                max_cmd_sn=session.max_cmd_sn,
                r2t_sn=task.r2t_sn,
                buffer_offset=task.solicited_bytes,
                desired_data_transfer_length=length,
            )
            task.r2t_sn += 1
            task.solicited_bytes += length
            self._connection.send(r2t.pack())
