"""Data-In and SCSI Response PDUs: a task's data and status on their way back (RFC 7143 §11.4, §11.7)."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from san_console.iscsi.opcodes import FINAL, OVERFLOW, READ, STATUS, UNDERFLOW, WRITE
from san_console.iscsi.pdu import ScsiDataIn, ScsiResponse
from san_console.iscsi.target_device import Buffer
from san_console.iscsi.target_session import MASK

if TYPE_CHECKING:
    from san_console.iscsi.target_connection import TargetConnection

GOOD = 0x00
_FINAL_STATUS = FINAL | STATUS
_SENSE_LENGTH = struct.Struct(">H")


class Responses:
    """What one connection answers to SCSI commands."""

    def __init__(self, connection: TargetConnection) -> None:
        self._connection = connection
        self._max_burst_bytes = connection.session.parameters.max_burst_bytes

    def respond(
        self, itt: int, flags: int, edtl: int, wanted_bytes: int, status: int, data: Buffer, sense: bytes
    ) -> None:
        """Data-In with the status in the last one, or a SCSI Response; residuals as §11.4.5 has them."""
        session = self._connection.session
        send_bytes = min(len(data), edtl) if flags & READ and not flags & WRITE else 0
        moved = wanted_bytes if flags & WRITE else len(data)
        difference = moved + (0 if flags & WRITE else wanted_bytes) - (edtl if flags & (READ | WRITE) else 0)
        residual_flag = OVERFLOW if difference > 0 else UNDERFLOW if difference < 0 else 0
        residual = min(abs(difference), MASK)
        data_sn = 0
        if send_bytes:
            collapse = status == GOOD and not sense
            data_sn = self._data_in(itt, data, send_bytes, residual_flag if collapse else -1, residual)
            if collapse:
                return
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
        # §11.4.7: SenseLength goes before the sense data.
        segment = _SENSE_LENGTH.pack(len(sense)) + sense if sense else b""
        self._connection.send(pdu.pack(len(segment)), segment)

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
