"""The PDUs that a target sends (RFC 7143 §11), fields in wire order. Conventions: see `pdu_initiator`."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import ClassVar

from san_console.iscsi import opcodes
from san_console.iscsi.opcodes import BHS_BYTES, CONTINUE, FINAL, RESERVED_TAG
from san_console.iscsi.pdu_target_scsi import (
    ReadyToTransfer,
    ScsiDataIn,
    ScsiResponse,
    TaskManagementResponse,
)

Bytes = bytes | bytearray | memoryview


@dataclass(slots=True)
class NopIn:
    """RFC 7143 §11.19."""

    OPCODE: ClassVar[int] = opcodes.NOP_IN
    FORMAT: ClassVar[struct.Struct] = struct.Struct(">BB2xIQIIIII12x")

    lun: int = 0
    itt: int = RESERVED_TAG
    ttt: int = RESERVED_TAG
    stat_sn: int = 0
    exp_cmd_sn: int = 0
    max_cmd_sn: int = 0

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
        )

    @classmethod
    def parse(cls, bhs: Bytes) -> NopIn:
        _, _, _, lun, itt, ttt, stat_sn, exp_cmd_sn, max_cmd_sn = cls.FORMAT.unpack(bhs)
        return cls(lun, itt, ttt, stat_sn, exp_cmd_sn, max_cmd_sn)


@dataclass(slots=True)
class LoginResponse:
    """RFC 7143 §11.13."""

    OPCODE: ClassVar[int] = opcodes.LOGIN_RESPONSE
    FORMAT: ClassVar[struct.Struct] = struct.Struct(">BBBBI6sHI4xIIIBB10x")

    transit: bool = False
    continued: bool = False
    csg: int = 0
    nsg: int = 0
    version_max: int = 0
    version_active: int = 0
    isid: bytes = bytes(6)
    tsih: int = 0
    itt: int = 0
    stat_sn: int = 0
    exp_cmd_sn: int = 0
    max_cmd_sn: int = 0
    status_class: int = 0
    status_detail: int = 0

    def pack(self, data_segment_length: int = 0, total_ahs_length: int = 0) -> bytes:
        return self.FORMAT.pack(
            self.OPCODE,
            (FINAL if self.transit else 0)
            | (CONTINUE if self.continued else 0)
            | self.csg << 2
            | (self.nsg if self.transit else 0),
            self.version_max,
            self.version_active,
            total_ahs_length << 24 | data_segment_length,
            self.isid,
            self.tsih,
            self.itt,
            self.stat_sn,
            self.exp_cmd_sn,
            self.max_cmd_sn,
            self.status_class,
            self.status_detail,
        )

    @classmethod
    def parse(cls, bhs: Bytes) -> LoginResponse:
        _, flags, version_max, version_active, _, *fields = cls.FORMAT.unpack(bhs)
        return cls(
            flags & FINAL != 0,
            flags & CONTINUE != 0,
            flags >> 2 & 3,
            flags & 3,
            version_max,
            version_active,
            *fields,
        )


@dataclass(slots=True)
class TextResponse:
    """RFC 7143 §11.11."""

    OPCODE: ClassVar[int] = opcodes.TEXT_RESPONSE
    FORMAT: ClassVar[struct.Struct] = struct.Struct(">BB2xIQIIIII12x")

    final: bool = True
    continued: bool = False
    lun: int = 0
    itt: int = 0
    ttt: int = RESERVED_TAG
    stat_sn: int = 0
    exp_cmd_sn: int = 0
    max_cmd_sn: int = 0

    def pack(self, data_segment_length: int = 0, total_ahs_length: int = 0) -> bytes:
        return self.FORMAT.pack(
            self.OPCODE,
            (FINAL if self.final else 0) | (CONTINUE if self.continued else 0),
            total_ahs_length << 24 | data_segment_length,
            self.lun,
            self.itt,
            self.ttt,
            self.stat_sn,
            self.exp_cmd_sn,
            self.max_cmd_sn,
        )

    @classmethod
    def parse(cls, bhs: Bytes) -> TextResponse:
        _, flags, _, *fields = cls.FORMAT.unpack(bhs)
        return cls(flags & FINAL != 0, flags & CONTINUE != 0, *fields)


@dataclass(slots=True)
class LogoutResponse:
    """RFC 7143 §11.15; the times are in seconds."""

    OPCODE: ClassVar[int] = opcodes.LOGOUT_RESPONSE
    FORMAT: ClassVar[struct.Struct] = struct.Struct(">BBBxI8xI4xIII4xHH4x")

    response: int = 0
    itt: int = 0
    stat_sn: int = 0
    exp_cmd_sn: int = 0
    max_cmd_sn: int = 0
    time2wait: int = 0
    time2retain: int = 0

    def pack(self, data_segment_length: int = 0, total_ahs_length: int = 0) -> bytes:
        return self.FORMAT.pack(
            self.OPCODE,
            FINAL,
            self.response,
            total_ahs_length << 24 | data_segment_length,
            self.itt,
            self.stat_sn,
            self.exp_cmd_sn,
            self.max_cmd_sn,
            self.time2wait,
            self.time2retain,
        )

    @classmethod
    def parse(cls, bhs: Bytes) -> LogoutResponse:
        _, _, response, _, *fields = cls.FORMAT.unpack(bhs)
        return cls(response, *fields)


@dataclass(slots=True)
class AsyncMessage:
    """RFC 7143 §11.9; `async_event` is one of the ASYNC_ constants of `opcodes`."""

    OPCODE: ClassVar[int] = opcodes.ASYNC_MESSAGE
    FORMAT: ClassVar[struct.Struct] = struct.Struct(">BB2xIQI4xIIIBBHHH4x")

    lun: int = 0
    itt: int = RESERVED_TAG
    stat_sn: int = 0
    exp_cmd_sn: int = 0
    max_cmd_sn: int = 0
    async_event: int = 0
    async_vcode: int = 0
    parameter1: int = 0
    parameter2: int = 0
    parameter3: int = 0

    def pack(self, data_segment_length: int = 0, total_ahs_length: int = 0) -> bytes:
        return self.FORMAT.pack(
            self.OPCODE,
            FINAL,
            total_ahs_length << 24 | data_segment_length,
            self.lun,
            self.itt,
            self.stat_sn,
            self.exp_cmd_sn,
            self.max_cmd_sn,
            self.async_event,
            self.async_vcode,
            self.parameter1,
            self.parameter2,
            self.parameter3,
        )

    @classmethod
    def parse(cls, bhs: Bytes) -> AsyncMessage:
        _, _, _, *fields = cls.FORMAT.unpack(bhs)
        return cls(*fields)


@dataclass(slots=True)
class Reject:
    """RFC 7143 §11.17; the data segment is the header of the refused PDU."""

    OPCODE: ClassVar[int] = opcodes.REJECT
    FORMAT: ClassVar[struct.Struct] = struct.Struct(">BBBxI8xI4xIIII8x")

    reason: int = 0
    itt: int = RESERVED_TAG
    stat_sn: int = 0
    exp_cmd_sn: int = 0
    max_cmd_sn: int = 0
    data_sn: int = 0

    def pack(self, data_segment_length: int = 0, total_ahs_length: int = 0) -> bytes:
        return self.FORMAT.pack(
            self.OPCODE,
            FINAL,
            self.reason,
            total_ahs_length << 24 | data_segment_length,
            self.itt,
            self.stat_sn,
            self.exp_cmd_sn,
            self.max_cmd_sn,
            self.data_sn,
        )

    @classmethod
    def parse(cls, bhs: Bytes) -> Reject:
        _, _, reason, _, *fields = cls.FORMAT.unpack(bhs)
        return cls(reason, *fields)


TargetPdu = (
    NopIn
    | ScsiResponse
    | TaskManagementResponse
    | LoginResponse
    | TextResponse
    | ScsiDataIn
    | LogoutResponse
    | ReadyToTransfer
    | AsyncMessage
    | Reject
)
TARGET_PDUS: tuple[type[TargetPdu], ...] = (
    NopIn,
    ScsiResponse,
    TaskManagementResponse,
    LoginResponse,
    TextResponse,
    ScsiDataIn,
    LogoutResponse,
    ReadyToTransfer,
    AsyncMessage,
    Reject,
)
assert all(pdu.FORMAT.size == BHS_BYTES for pdu in TARGET_PDUS)
