"""Data-In and SCSI Response PDUs: a task's data and status on their way back (RFC 7143 §11.4, §11.7)."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from san_console.iscsi.opcodes import FINAL, OVERFLOW, READ, STATUS, UNDERFLOW, WRITE
from san_console.iscsi.pdu import ScsiDataIn, ScsiResponse
from san_console.iscsi.target_device import Buffer
from san_console.iscsi.target_sent_data import SentData, cut, keep_sequences
from san_console.iscsi.target_session import MASK

if TYPE_CHECKING:
    from san_console.iscsi.target_connection import TargetConnection
    from san_console.iscsi.target_task import TargetTask

GOOD = 0x00
_FINAL_STATUS = FINAL | STATUS
_SENSE_LENGTH = struct.Struct(">H")


def _segment(sense: bytes) -> bytes:
    """§11.4.7: SenseLength goes before the sense data."""
    return _SENSE_LENGTH.pack(len(sense)) + sense if sense else b""


class Responses:
    """What one connection answers to SCSI commands."""

    def __init__(self, connection: TargetConnection) -> None:
        self._connection = connection
        self._snacks = connection.snacks
        self._max_burst_bytes = connection.session.parameters.max_burst_bytes

    def respond(
        self,
        itt: int,
        flags: int,
        edtl: int,
        wanted_bytes: int,
        status: int,
        data: Buffer,
        sense: bytes,
        lun: int = 0,
        task: TargetTask | None = None,
    ) -> None:
        """Data-In with the status in the last one, or a SCSI Response; residuals as §11.4.5 has them.

        `lun` is the raw field. `data` must not change until it was sent.
        """
        send_bytes = min(len(data), edtl) if flags & READ and not flags & WRITE else 0
        moved = wanted_bytes if flags & WRITE else len(data)
        difference = moved + (0 if flags & WRITE else wanted_bytes) - (edtl if flags & (READ | WRITE) else 0)
        residual_flag = OVERFLOW if difference > 0 else UNDERFLOW if difference < 0 else 0
        residual = min(abs(difference), MASK)
        collapse = send_bytes > 0 and status == GOOD and not sense
        if self._snacks is not None and send_bytes:
            sent = self._sent(itt, lun, data, send_bytes, 0)
            sent.residual_flag, sent.residual, sent.collapsed = residual_flag, residual, collapse
            sent.status, sent.segment = status, _segment(sense)
            if task is not None:
                task.sent = sent
            self._snacks.send(sent)
            return
        data_sn = 0
        if send_bytes:
            data_sn = self._data_in(itt, data, send_bytes, residual_flag if collapse else -1, residual)
            if collapse:
                return
        session = self._connection.session
        pdu = ScsiResponse(
            flags=FINAL | residual_flag,
            status=status,
            itt=itt,
            stat_sn=self._connection.take_stat_sn(),
            exp_cmd_sn=session.exp_cmd_sn,
            max_cmd_sn=session.max_cmd_sn,
            exp_data_sn=data_sn,
            residual_count=residual,
        )
        segment = _segment(sense)
        self._connection.send_numbered(pdu.stat_sn, pdu.pack(len(segment)), segment)

    def resume(self, task: TargetTask, exp_data_sn: int) -> None:
        """`task`, whose answer is `task.result`, was reassigned to this connection: send what its initiator
        lacks, Data-In from `exp_data_sn` on, and the status in any case (§7.2.2). The SNACK tag is 0 again.
        """
        assert task.result is not None
        assert self._snacks is not None
        status, data, sense = task.result
        before = task.sent
        send_bytes = min(len(data), task.edtl) if task.read and not task.write else 0
        if before is None or not send_bytes:
            # Nothing of it was sent before.
            self.respond(
                task.itt,
                task.flags,
                task.edtl,
                task.wanted_bytes,
                status,
                data,
                sense,
                task.lun,
                task,
            )
            return
        # It cannot have more than was sent.
        first = min(exp_data_sn, before.next_data_sn)
        if first < before.first_data_sn:
            first = 0  # segmented anew since then: all of it again (§7.2.2 allows that)
        sent = self._sent(task.itt, task.lun, data, send_bytes, before.offset_of(first) if first else 0)
        sent.first_data_sn = sent.acknowledged = first
        sent.status, sent.segment = status, before.segment
        sent.residual_flag, sent.residual = before.residual_flag, before.residual
        sent.collapsed = bool(sent.cuts) and status == GOOD and not sense
        task.sent = sent
        self._snacks.send(sent)

    def _sent(self, itt: int, lun: int, data: Buffer, length: int, start: int) -> SentData:
        return SentData(
            itt=itt,
            lun=lun,
            ttt=self._connection.session.new_ttt(),
            start=start,
            max_burst_bytes=self._max_burst_bytes,
            cuts=cut(start, length, self._connection.max_send_bytes, self._max_burst_bytes),
            sequences=keep_sequences(data, length, start, self._max_burst_bytes),
        )

    def _data_in(self, itt: int, data: Buffer, length: int, residual_flag: int, residual: int) -> int:
        """Send `length` bytes; with GOOD status in the last PDU unless `residual_flag` is -1. Returns the
        PDUs sent.
        """
        session = self._connection.session
        # A digest holds for bytes that do not change: what another command may overwrite meanwhile is
        # copied first.
        view = memoryview(bytes(data)) if self._connection.data_digest else memoryview(data)
        data_sn = offset = 0
        burst_end = self._max_burst_bytes
        while offset < length:
            end = min(offset + self._connection.max_send_bytes, length, burst_end)
            pdu = ScsiDataIn(
                itt=itt,
                exp_cmd_sn=session.exp_cmd_sn,
                max_cmd_sn=session.max_cmd_sn,
                data_sn=data_sn,
                buffer_offset=offset,
            )
            if end == burst_end:
                pdu.flags = FINAL
                burst_end += self._max_burst_bytes
            if end == length:
                pdu.flags = FINAL
                if residual_flag >= 0:
                    pdu.flags = _FINAL_STATUS | residual_flag
                    pdu.stat_sn = self._connection.take_stat_sn()
                    pdu.residual_count = residual
            self._connection.send(pdu.pack(end - offset), view[offset:end])
            offset = end
            data_sn += 1
        return data_sn
