"""The PDUs by which a target answers SCSI tasks (RFC 7143 §11). Conventions: see `pdu_initiator`."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import ClassVar

from san_console.iscsi import opcodes
from san_console.iscsi.opcodes import FINAL, RESERVED_TAG

Bytes = bytes | bytearray | memoryview


@dataclass(slots=True)
class ScsiResponse:
    """RFC 7143 §11.4; `flags` holds o, u, O, U as one int. `status_qualifier` is RFC 7144 §5.2.1."""

    OPCODE: ClassVar[int] = opcodes.SCSI_RESPONSE
    FORMAT: ClassVar[struct.Struct] = struct.Struct(">BBBBIH6xIIIIIIII")

    flags: int = FINAL
    response: int = 0
    status: int = 0
    status_qualifier: int = 0
    itt: int = 0
    snack_tag: int = 0
    stat_sn: int = 0
    exp_cmd_sn: int = 0
    max_cmd_sn: int = 0
    exp_data_sn: int = 0
    bidirectional_read_residual_count: int = 0
    residual_count: int = 0

    @property
    def overflow(self) -> bool:
        return self.flags & opcodes.OVERFLOW != 0

    @property
    def underflow(self) -> bool:
        return self.flags & opcodes.UNDERFLOW != 0

    def pack(self, data_segment_length: int = 0, total_ahs_length: int = 0) -> bytes:
        return self.FORMAT.pack(
            self.OPCODE,
            self.flags | FINAL,
            self.response,
            self.status,
            total_ahs_length << 24 | data_segment_length,
            self.status_qualifier,
            self.itt,
            self.snack_tag,
            self.stat_sn,
            self.exp_cmd_sn,
            self.max_cmd_sn,
            self.exp_data_sn,
            self.bidirectional_read_residual_count,
            self.residual_count,
        )

    @classmethod
    def parse(cls, bhs: Bytes) -> ScsiResponse:
        _, flags, response, status, _, *fields = cls.FORMAT.unpack(bhs)
        return cls(flags, response, status, *fields)


@dataclass(slots=True)
class TaskManagementResponse:
    """RFC 7143 §11.6; `additional_response_information` is the 24-bit field of RFC 7144 §6.4.1."""

    OPCODE: ClassVar[int] = opcodes.TASK_MANAGEMENT_RESPONSE
    FORMAT: ClassVar[struct.Struct] = struct.Struct(">BBBxII4xI4xIII12x")

    response: int = 0
    itt: int = 0
    stat_sn: int = 0
    exp_cmd_sn: int = 0
    max_cmd_sn: int = 0
    additional_response_information: int = 0

    def pack(self, data_segment_length: int = 0, total_ahs_length: int = 0) -> bytes:
        return self.FORMAT.pack(
            self.OPCODE,
            FINAL,
            self.response,
            total_ahs_length << 24 | data_segment_length,
            self.additional_response_information << 8,
            self.itt,
            self.stat_sn,
            self.exp_cmd_sn,
            self.max_cmd_sn,
        )

    @classmethod
    def parse(cls, bhs: Bytes) -> TaskManagementResponse:
        _, _, response, _, information, itt, stat_sn, exp_cmd_sn, max_cmd_sn = cls.FORMAT.unpack(bhs)
        return cls(response, itt, stat_sn, exp_cmd_sn, max_cmd_sn, information >> 8)


@dataclass(slots=True)
class ScsiDataIn:
    """RFC 7143 §11.7; `flags` holds F, A, O, U, S as one int. `status`, `stat_sn` are valid with S only."""

    OPCODE: ClassVar[int] = opcodes.SCSI_DATA_IN
    FORMAT: ClassVar[struct.Struct] = struct.Struct(">BBxBIQIIIIIIII")

    flags: int = 0
    status: int = 0
    lun: int = 0
    itt: int = 0
    ttt: int = RESERVED_TAG
    stat_sn: int = 0
    exp_cmd_sn: int = 0
    max_cmd_sn: int = 0
    data_sn: int = 0
    buffer_offset: int = 0
    residual_count: int = 0

    @property
    def final(self) -> bool:
        return self.flags & FINAL != 0

    @property
    def acknowledge(self) -> bool:
        return self.flags & opcodes.ACKNOWLEDGE != 0

    @property
    def has_status(self) -> bool:
        return self.flags & opcodes.STATUS != 0

    @property
    def overflow(self) -> bool:
        return self.flags & opcodes.OVERFLOW != 0

    @property
    def underflow(self) -> bool:
        return self.flags & opcodes.UNDERFLOW != 0

    def pack(self, data_segment_length: int = 0, total_ahs_length: int = 0) -> bytes:
        return self.FORMAT.pack(
            self.OPCODE,
            self.flags,
            self.status,
            total_ahs_length << 24 | data_segment_length,
            self.lun,
            self.itt,
            self.ttt,
            self.stat_sn,
            self.exp_cmd_sn,
            self.max_cmd_sn,
            self.data_sn,
            self.buffer_offset,
            self.residual_count,
        )

    @classmethod
    def parse(cls, bhs: Bytes) -> ScsiDataIn:
        (_, flags, status, _, lun, itt, ttt, stat_sn, exp_cmd_sn, max_cmd_sn, data_sn, offset, residual) = (
            cls.FORMAT.unpack(bhs)
        )
        return cls(flags, status, lun, itt, ttt, stat_sn, exp_cmd_sn, max_cmd_sn, data_sn, offset, residual)


@dataclass(slots=True)
class ReadyToTransfer:
    """RFC 7143 §11.8."""

    OPCODE: ClassVar[int] = opcodes.READY_TO_TRANSFER
    FORMAT: ClassVar[struct.Struct] = struct.Struct(">BB2xIQIIIIIIII")

    lun: int = 0
    itt: int = 0
    ttt: int = 0
    stat_sn: int = 0
    exp_cmd_sn: int = 0
    max_cmd_sn: int = 0
    r2t_sn: int = 0
    buffer_offset: int = 0
    desired_data_transfer_length: int = 0

    def pack(self, data_segment_length: int = 0, total_ahs_length: int = 0) -> bytes:
        return self.FORMAT.pack(
            self.OPCODE,
            FINAL,
            total_ahs_length << 24 | data_segment_length,
            self.lun,
            self.itt,
            self.ttt,
            self.stat_sn,
            self.exp_cmd_sn,
            self.max_cmd_sn,
            self.r2t_sn,
            self.buffer_offset,
            self.desired_data_transfer_length,
        )

    @classmethod
    def parse(cls, bhs: Bytes) -> ReadyToTransfer:
        _, _, _, lun, itt, ttt, stat_sn, exp_cmd_sn, max_cmd_sn, r2t_sn, offset, length = cls.FORMAT.unpack(
            bhs
        )
        return cls(lun, itt, ttt, stat_sn, exp_cmd_sn, max_cmd_sn, r2t_sn, offset, length)
