"""The PDUs that an initiator sends (RFC 7143 §11), fields in wire order.

`pack` gives the 48-byte basic header segment, `parse` reads one. `data_segment_length` is in bytes, without
the padding, `total_ahs_length` in 4-byte words, as on the wire. `lun` is the raw 64-bit field.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import ClassVar

from san_console.iscsi import opcodes
from san_console.iscsi.opcodes import BHS_BYTES, CONTINUE, FINAL, IMMEDIATE, RESERVED_TAG

Bytes = bytes | bytearray | memoryview


@dataclass(slots=True)
class NopOut:
    """RFC 7143 §11.18."""

    OPCODE: ClassVar[int] = opcodes.NOP_OUT
    FORMAT: ClassVar[struct.Struct] = struct.Struct(">BB2xIQIIII16x")

    immediate: bool = True
    lun: int = 0
    itt: int = RESERVED_TAG
    ttt: int = RESERVED_TAG
    cmd_sn: int = 0
    exp_stat_sn: int = 0

    def pack(self, data_segment_length: int = 0, total_ahs_length: int = 0) -> bytes:
        return self.FORMAT.pack(
            self.OPCODE | (IMMEDIATE if self.immediate else 0),
            FINAL,
            total_ahs_length << 24 | data_segment_length,
            self.lun,
            self.itt,
            self.ttt,
            self.cmd_sn,
            self.exp_stat_sn,
        )

    @classmethod
    def parse(cls, bhs: Bytes) -> NopOut:
        byte0, _, _, lun, itt, ttt, cmd_sn, exp_stat_sn = cls.FORMAT.unpack(bhs)
        return cls(byte0 & IMMEDIATE != 0, lun, itt, ttt, cmd_sn, exp_stat_sn)


@dataclass(slots=True)
class ScsiCommand:
    """RFC 7143 §11.3; `flags` holds F, R, W and ATTR as one int, `priority` is PRI of RFC 7144 §5.1.1.

    `cdb` is 16 bytes on the wire: shorter ones are padded with zeros (§11.3.5); longer ones need an AHS.
    """

    OPCODE: ClassVar[int] = opcodes.SCSI_COMMAND
    FORMAT: ClassVar[struct.Struct] = struct.Struct(">BBBxIQIIII16s")

    immediate: bool = False
    flags: int = FINAL | opcodes.ATTR_SIMPLE
    lun: int = 0
    itt: int = 0
    expected_data_transfer_length: int = 0
    cmd_sn: int = 0
    exp_stat_sn: int = 0
    cdb: bytes = bytes(16)
    priority: int = 0

    @property
    def final(self) -> bool:
        return self.flags & FINAL != 0

    @property
    def read(self) -> bool:
        return self.flags & opcodes.READ != 0

    @property
    def write(self) -> bool:
        return self.flags & opcodes.WRITE != 0

    @property
    def attribute(self) -> int:
        return self.flags & opcodes.ATTR_MASK

    def pack(self, data_segment_length: int = 0, total_ahs_length: int = 0) -> bytes:
        return self.FORMAT.pack(
            self.OPCODE | (IMMEDIATE if self.immediate else 0),
            self.flags,
            self.priority << 4,
            total_ahs_length << 24 | data_segment_length,
            self.lun,
            self.itt,
            self.expected_data_transfer_length,
            self.cmd_sn,
            self.exp_stat_sn,
            self.cdb,
        )

    @classmethod
    def parse(cls, bhs: Bytes) -> ScsiCommand:
        byte0, flags, byte2, _, lun, itt, edtl, cmd_sn, exp_stat_sn, cdb = cls.FORMAT.unpack(bhs)
        return cls(byte0 & IMMEDIATE != 0, flags, lun, itt, edtl, cmd_sn, exp_stat_sn, cdb, byte2 >> 4)


@dataclass(slots=True)
class TaskManagementRequest:
    """RFC 7143 §11.5; `function` is one of the TMF_ constants of `opcodes`."""

    OPCODE: ClassVar[int] = opcodes.TASK_MANAGEMENT_REQUEST
    FORMAT: ClassVar[struct.Struct] = struct.Struct(">BB2xIQIIIIII8x")

    immediate: bool = True
    function: int = 0
    lun: int = 0
    itt: int = 0
    referenced_task_tag: int = RESERVED_TAG
    cmd_sn: int = 0
    exp_stat_sn: int = 0
    ref_cmd_sn: int = 0
    exp_data_sn: int = 0

    def pack(self, data_segment_length: int = 0, total_ahs_length: int = 0) -> bytes:
        return self.FORMAT.pack(
            self.OPCODE | (IMMEDIATE if self.immediate else 0),
            FINAL | self.function,
            total_ahs_length << 24 | data_segment_length,
            self.lun,
            self.itt,
            self.referenced_task_tag,
            self.cmd_sn,
            self.exp_stat_sn,
            self.ref_cmd_sn,
            self.exp_data_sn,
        )

    @classmethod
    def parse(cls, bhs: Bytes) -> TaskManagementRequest:
        byte0, flags, _, lun, itt, rtt, cmd_sn, exp_stat_sn, ref_cmd_sn, exp_data_sn = cls.FORMAT.unpack(bhs)
        return cls(
            byte0 & IMMEDIATE != 0, flags & 0x7F, lun, itt, rtt, cmd_sn, exp_stat_sn, ref_cmd_sn, exp_data_sn
        )


@dataclass(slots=True)
class LoginRequest:
    """RFC 7143 §11.12; always immediate. `isid` is 6 bytes."""

    OPCODE: ClassVar[int] = opcodes.LOGIN_REQUEST
    FORMAT: ClassVar[struct.Struct] = struct.Struct(">BBBBI6sHIHxxII16x")

    transit: bool = False
    continued: bool = False
    csg: int = 0
    nsg: int = 0
    version_max: int = 0
    version_min: int = 0
    isid: bytes = bytes(6)
    tsih: int = 0
    itt: int = 0
    cid: int = 0
    cmd_sn: int = 0
    exp_stat_sn: int = 0

    def pack(self, data_segment_length: int = 0, total_ahs_length: int = 0) -> bytes:
        return self.FORMAT.pack(
            self.OPCODE | IMMEDIATE,
            (FINAL if self.transit else 0)
            | (CONTINUE if self.continued else 0)
            | self.csg << 2
            | (self.nsg if self.transit else 0),  # §11.12.3: reserved without T
            self.version_max,
            self.version_min,
            total_ahs_length << 24 | data_segment_length,
            self.isid,
            self.tsih,
            self.itt,
            self.cid,
            self.cmd_sn,
            self.exp_stat_sn,
        )

    @classmethod
    def parse(cls, bhs: Bytes) -> LoginRequest:
        (_, flags, version_max, version_min, _, isid, tsih, itt, cid, cmd_sn, exp_stat_sn) = (
            cls.FORMAT.unpack(bhs)
        )
        return cls(
            flags & FINAL != 0,
            flags & CONTINUE != 0,
            flags >> 2 & 3,
            flags & 3,
            version_max,
            version_min,
            isid,
            tsih,
            itt,
            cid,
            cmd_sn,
            exp_stat_sn,
        )


@dataclass(slots=True)
class TextRequest:
    """RFC 7143 §11.10."""

    OPCODE: ClassVar[int] = opcodes.TEXT_REQUEST
    FORMAT: ClassVar[struct.Struct] = struct.Struct(">BB2xIQIIII16x")

    immediate: bool = False
    final: bool = True
    continued: bool = False
    lun: int = 0
    itt: int = 0
    ttt: int = RESERVED_TAG
    cmd_sn: int = 0
    exp_stat_sn: int = 0

    def pack(self, data_segment_length: int = 0, total_ahs_length: int = 0) -> bytes:
        return self.FORMAT.pack(
            self.OPCODE | (IMMEDIATE if self.immediate else 0),
            (FINAL if self.final else 0) | (CONTINUE if self.continued else 0),
            total_ahs_length << 24 | data_segment_length,
            self.lun,
            self.itt,
            self.ttt,
            self.cmd_sn,
            self.exp_stat_sn,
        )

    @classmethod
    def parse(cls, bhs: Bytes) -> TextRequest:
        byte0, flags, _, lun, itt, ttt, cmd_sn, exp_stat_sn = cls.FORMAT.unpack(bhs)
        return cls(
            byte0 & IMMEDIATE != 0,
            flags & FINAL != 0,
            flags & CONTINUE != 0,
            lun,
            itt,
            ttt,
            cmd_sn,
            exp_stat_sn,
        )


@dataclass(slots=True)
class ScsiDataOut:
    """RFC 7143 §11.7; `ttt` is RESERVED_TAG for unsolicited data."""

    OPCODE: ClassVar[int] = opcodes.SCSI_DATA_OUT
    FORMAT: ClassVar[struct.Struct] = struct.Struct(">BB2xIQII4xI4xII4x")

    final: bool = True
    lun: int = 0
    itt: int = 0
    ttt: int = RESERVED_TAG
    exp_stat_sn: int = 0
    data_sn: int = 0
    buffer_offset: int = 0

    def pack(self, data_segment_length: int = 0, total_ahs_length: int = 0) -> bytes:
        return self.FORMAT.pack(
            self.OPCODE,
            FINAL if self.final else 0,
            total_ahs_length << 24 | data_segment_length,
            self.lun,
            self.itt,
            self.ttt,
            self.exp_stat_sn,
            self.data_sn,
            self.buffer_offset,
        )

    @classmethod
    def parse(cls, bhs: Bytes) -> ScsiDataOut:
        _, flags, _, lun, itt, ttt, exp_stat_sn, data_sn, buffer_offset = cls.FORMAT.unpack(bhs)
        return cls(flags & FINAL != 0, lun, itt, ttt, exp_stat_sn, data_sn, buffer_offset)


@dataclass(slots=True)
class LogoutRequest:
    """RFC 7143 §11.14; `reason` is one of the LOGOUT_ reasons of `opcodes`."""

    OPCODE: ClassVar[int] = opcodes.LOGOUT_REQUEST
    FORMAT: ClassVar[struct.Struct] = struct.Struct(">BB2xI8xIHxxII16x")

    immediate: bool = True
    reason: int = 0
    itt: int = 0
    cid: int = 0
    cmd_sn: int = 0
    exp_stat_sn: int = 0

    def pack(self, data_segment_length: int = 0, total_ahs_length: int = 0) -> bytes:
        return self.FORMAT.pack(
            self.OPCODE | (IMMEDIATE if self.immediate else 0),
            FINAL | self.reason,
            total_ahs_length << 24 | data_segment_length,
            self.itt,
            self.cid,
            self.cmd_sn,
            self.exp_stat_sn,
        )

    @classmethod
    def parse(cls, bhs: Bytes) -> LogoutRequest:
        byte0, flags, _, itt, cid, cmd_sn, exp_stat_sn = cls.FORMAT.unpack(bhs)
        return cls(byte0 & IMMEDIATE != 0, flags & 0x7F, itt, cid, cmd_sn, exp_stat_sn)


@dataclass(slots=True)
class SnackRequest:
    """RFC 7143 §11.16; `ttt` is the Target Transfer Tag or the SNACK Tag, by `type`."""

    OPCODE: ClassVar[int] = opcodes.SNACK_REQUEST
    FORMAT: ClassVar[struct.Struct] = struct.Struct(">BB2xIQII4xI8xII")

    type: int = 0
    lun: int = 0
    itt: int = RESERVED_TAG
    ttt: int = RESERVED_TAG
    exp_stat_sn: int = 0
    beg_run: int = 0
    run_length: int = 0

    def pack(self, data_segment_length: int = 0, total_ahs_length: int = 0) -> bytes:
        return self.FORMAT.pack(
            self.OPCODE,
            FINAL | self.type,
            total_ahs_length << 24 | data_segment_length,
            self.lun,
            self.itt,
            self.ttt,
            self.exp_stat_sn,
            self.beg_run,
            self.run_length,
        )

    @classmethod
    def parse(cls, bhs: Bytes) -> SnackRequest:
        _, flags, _, lun, itt, ttt, exp_stat_sn, beg_run, run_length = cls.FORMAT.unpack(bhs)
        return cls(flags & 0x0F, lun, itt, ttt, exp_stat_sn, beg_run, run_length)


InitiatorPdu = (
    NopOut
    | ScsiCommand
    | TaskManagementRequest
    | LoginRequest
    | TextRequest
    | ScsiDataOut
    | LogoutRequest
    | SnackRequest
)
INITIATOR_PDUS: tuple[type[InitiatorPdu], ...] = (
    NopOut,
    ScsiCommand,
    TaskManagementRequest,
    LoginRequest,
    TextRequest,
    ScsiDataOut,
    LogoutRequest,
    SnackRequest,
)
assert all(pdu.FORMAT.size == BHS_BYTES for pdu in INITIATOR_PDUS)
