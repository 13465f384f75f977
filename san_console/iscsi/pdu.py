"""All PDUs of RFC 7143 §11 in one place, the opcode → class table, and a one-line description of each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import Any

from san_console.iscsi import opcodes
from san_console.iscsi.errors import RemoteProtocolError
from san_console.iscsi.pdu_initiator import (
    INITIATOR_PDUS,
    Bytes,
    InitiatorPdu,
    LoginRequest,
    LogoutRequest,
    NopOut,
    ScsiCommand,
    ScsiDataOut,
    SnackRequest,
    TaskManagementRequest,
    TextRequest,
)
from san_console.iscsi.pdu_target import (
    TARGET_PDUS,
    AsyncMessage,
    LoginResponse,
    LogoutResponse,
    NopIn,
    Reject,
    TargetPdu,
    TextResponse,
)
from san_console.iscsi.pdu_target_scsi import (
    ReadyToTransfer,
    ScsiDataIn,
    ScsiResponse,
    TaskManagementResponse,
)

__all__ = [
    "INITIATOR_PDUS",
    "PDU_BY_OPCODE",
    "TARGET_PDUS",
    "AsyncMessage",
    "InitiatorPdu",
    "LoginRequest",
    "LoginResponse",
    "LogoutRequest",
    "LogoutResponse",
    "NopIn",
    "NopOut",
    "Pdu",
    "ReadyToTransfer",
    "Reject",
    "ScsiCommand",
    "ScsiDataIn",
    "ScsiDataOut",
    "ScsiResponse",
    "SnackRequest",
    "TargetPdu",
    "TaskManagementRequest",
    "TaskManagementResponse",
    "TextRequest",
    "TextResponse",
    "describe",
    "parse",
]

Pdu = InitiatorPdu | TargetPdu
PDU_BY_OPCODE: dict[int, type[Pdu]] = {pdu.OPCODE: pdu for pdu in (*INITIATOR_PDUS, *TARGET_PDUS)}
assert PDU_BY_OPCODE.keys() == opcodes.OPCODE_NAMES.keys()


def parse(bhs: Bytes) -> Pdu:
    """Read any 48-byte header. Raises RemoteProtocolError for an opcode that RFC 7143 does not assign."""
    opcode = bhs[0] & opcodes.OPCODE_MASK
    pdu = PDU_BY_OPCODE.get(opcode)
    if pdu is None:
        raise RemoteProtocolError(
            f"the peer sent opcode 0x{opcode:02x}, which RFC 7143 does not assign",
            reject_reason=opcodes.REJECT_COMMAND_NOT_SUPPORTED,
        )
    return pdu.parse(bhs)


def _named(names: dict[int, str]) -> Callable[[Any], str]:
    return lambda value: names.get(value, f"0x{value:02x}")


def _command_flags(value: int) -> str:
    letters = [
        text for bit, text in ((opcodes.FINAL, "F"), (opcodes.READ, "R"), (opcodes.WRITE, "W")) if value & bit
    ]
    attribute = opcodes.ATTR_NAMES.get(value & opcodes.ATTR_MASK, "reserved attribute")
    return "".join(letters) + f" {attribute}"


def _data_in_flags(value: int) -> str:
    bits = (
        (opcodes.FINAL, "F"),
        (opcodes.ACKNOWLEDGE, "A"),
        (opcodes.OVERFLOW, "O"),
        (opcodes.UNDERFLOW, "U"),
        (opcodes.STATUS, "S"),
    )
    return "".join(text for bit, text in bits if value & bit)


def _response_flags(value: int) -> str:
    bits = (
        (opcodes.BIDI_OVERFLOW, "o"),
        (opcodes.BIDI_UNDERFLOW, "u"),
        (opcodes.OVERFLOW, "O"),
        (opcodes.UNDERFLOW, "U"),
    )
    return "".join(text for bit, text in bits if value & bit)


def _hex8(value: int) -> str:
    return f"0x{value:x}"


# (opcode, field) first, then field, decides how a value is written.
_FORMATS: dict[str | tuple[int, str], Callable[[Any], str]] = {
    "lun": _hex8,
    "itt": _hex8,
    "ttt": _hex8,
    "referenced_task_tag": _hex8,
    "snack_tag": _hex8,
    "isid": lambda value: value.hex(),
    "cdb": lambda value: value.hex(),
    "status": _hex8,
    "csg": _named(opcodes.STAGE_NAMES),
    "nsg": _named(opcodes.STAGE_NAMES),
    "function": _named(opcodes.TMF_FUNCTION_NAMES),
    "async_event": _named(opcodes.ASYNC_EVENT_NAMES),
    "type": _named(opcodes.SNACK_TYPE_NAMES),
    (opcodes.SCSI_COMMAND, "flags"): _command_flags,
    (opcodes.SCSI_DATA_IN, "flags"): _data_in_flags,
    (opcodes.SCSI_RESPONSE, "flags"): _response_flags,
    (opcodes.REJECT, "reason"): _named(opcodes.REJECT_REASON_NAMES),
    (opcodes.LOGOUT_REQUEST, "reason"): _named(opcodes.LOGOUT_REASON_NAMES),
    (opcodes.LOGOUT_RESPONSE, "response"): _named(opcodes.LOGOUT_RESPONSE_NAMES),
    (opcodes.TASK_MANAGEMENT_RESPONSE, "response"): _named(opcodes.TMF_RESPONSE_NAMES),
}
# Zero says something in these; elsewhere it is only noise.
_SHOWN_WHEN_ZERO = frozenset({"itt", "cmd_sn", "stat_sn", "csg", "async_event", "reason", "response", "type"})
_ABBREVIATIONS = {"expected_data_transfer_length": "edtl", "desired_data_transfer_length": "ddtl"}


def describe(pdu: Pdu) -> str:
    """One line for a trace or a log: the RFC's title and the fields that say something."""
    parts = [opcodes.OPCODE_NAMES[pdu.OPCODE]]
    for field in fields(pdu):
        name, value = field.name, getattr(pdu, field.name)
        if isinstance(value, bool):
            if value:
                parts.append(name)
            continue
        if name == "nsg" and not getattr(pdu, "transit", False):
            continue
        if (not value and name not in _SHOWN_WHEN_ZERO) or (name == "ttt" and value == opcodes.RESERVED_TAG):
            continue
        written = _FORMATS.get((pdu.OPCODE, name)) or _FORMATS.get(name) or str
        text = written(value)
        if text:
            parts.append(f"{_ABBREVIATIONS.get(name, name)}={text}")
    return " ".join(parts)
