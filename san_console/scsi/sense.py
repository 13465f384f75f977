"""Sense data: fixed and descriptor format (SPC-4 §4.5), and the conditions that a target reports.

Parsing never fails: sense data is what explains a failure, and half of it explains more than a second error.
"""

import struct
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from san_console.scsi.asc import asc_text
from san_console.scsi.errors import UnencodableValue

Buffer: TypeAlias = bytes | bytearray | memoryview

NO_SENSE = 0x0
RECOVERED_ERROR = 0x1
NOT_READY = 0x2
MEDIUM_ERROR = 0x3
HARDWARE_ERROR = 0x4
ILLEGAL_REQUEST = 0x5
UNIT_ATTENTION = 0x6
DATA_PROTECT = 0x7
BLANK_CHECK = 0x8
VENDOR_SPECIFIC = 0x9
COPY_ABORTED = 0xA
ABORTED_COMMAND = 0xB
VOLUME_OVERFLOW = 0xD
MISCOMPARE = 0xE
COMPLETED = 0xF

KEY_NAMES: dict[int, str] = {
    NO_SENSE: "NO SENSE",
    RECOVERED_ERROR: "RECOVERED ERROR",
    NOT_READY: "NOT READY",
    MEDIUM_ERROR: "MEDIUM ERROR",
    HARDWARE_ERROR: "HARDWARE ERROR",
    ILLEGAL_REQUEST: "ILLEGAL REQUEST",
    UNIT_ATTENTION: "UNIT ATTENTION",
    DATA_PROTECT: "DATA PROTECT",
    BLANK_CHECK: "BLANK CHECK",
    VENDOR_SPECIFIC: "VENDOR SPECIFIC",
    COPY_ABORTED: "COPY ABORTED",
    ABORTED_COMMAND: "ABORTED COMMAND",
    0xC: "OBSOLETE SENSE KEY 0Ch",
    VOLUME_OVERFLOW: "VOLUME OVERFLOW",
    MISCOMPARE: "MISCOMPARE",
    COMPLETED: "COMPLETED",
}


class Condition(NamedTuple):
    """What a target reports: sense key, additional sense code and its qualifier."""

    key: int
    asc: int
    ascq: int


# The conditions that a target for block devices needs, named as in the table of additional sense codes.
NO_ADDITIONAL_SENSE = Condition(NO_SENSE, 0x00, 0x00)
IDLE_CONDITION_BY_COMMAND = Condition(NO_SENSE, 0x5E, 0x03)
STANDBY_CONDITION_BY_COMMAND = Condition(NO_SENSE, 0x5E, 0x04)
LUN_NOT_READY = Condition(NOT_READY, 0x04, 0x00)
LUN_BECOMING_READY = Condition(NOT_READY, 0x04, 0x01)
INITIALIZING_COMMAND_REQUIRED = Condition(NOT_READY, 0x04, 0x02)
SANITIZE_IN_PROGRESS = Condition(NOT_READY, 0x04, 0x1B)
LUN_OFFLINE = Condition(NOT_READY, 0x04, 0x12)
ACCESS_STATE_TRANSITION = Condition(NOT_READY, 0x04, 0x0A)
TARGET_PORT_IN_STANDBY = Condition(NOT_READY, 0x04, 0x0B)
TARGET_PORT_UNAVAILABLE = Condition(NOT_READY, 0x04, 0x0C)
MEDIUM_NOT_PRESENT = Condition(NOT_READY, 0x3A, 0x00)
WRITE_ERROR = Condition(MEDIUM_ERROR, 0x0C, 0x00)
UNRECOVERED_READ_ERROR = Condition(MEDIUM_ERROR, 0x11, 0x00)
SANITIZE_COMMAND_FAILED = Condition(MEDIUM_ERROR, 0x31, 0x03)
INTERNAL_TARGET_FAILURE = Condition(HARDWARE_ERROR, 0x44, 0x00)
PARAMETER_LIST_LENGTH_ERROR = Condition(ILLEGAL_REQUEST, 0x1A, 0x00)
INVALID_OPCODE = Condition(ILLEGAL_REQUEST, 0x20, 0x00)
LBA_OUT_OF_RANGE = Condition(ILLEGAL_REQUEST, 0x21, 0x00)
INVALID_FIELD_IN_CDB = Condition(ILLEGAL_REQUEST, 0x24, 0x00)
LUN_NOT_SUPPORTED = Condition(ILLEGAL_REQUEST, 0x25, 0x00)
INVALID_FIELD_IN_PARAMETER_LIST = Condition(ILLEGAL_REQUEST, 0x26, 0x00)
TOO_MANY_CSCD_DESCRIPTORS = Condition(ILLEGAL_REQUEST, 0x26, 0x06)
UNSUPPORTED_CSCD_DESCRIPTOR_TYPE = Condition(ILLEGAL_REQUEST, 0x26, 0x07)
TOO_MANY_SEGMENT_DESCRIPTORS = Condition(ILLEGAL_REQUEST, 0x26, 0x08)
UNSUPPORTED_SEGMENT_DESCRIPTOR_TYPE = Condition(ILLEGAL_REQUEST, 0x26, 0x09)
INLINE_DATA_LENGTH_EXCEEDED = Condition(ILLEGAL_REQUEST, 0x26, 0x0B)
OPERATION_IN_PROGRESS = Condition(ILLEGAL_REQUEST, 0x00, 0x16)
INVALID_MESSAGE = Condition(ILLEGAL_REQUEST, 0x49, 0x00)
SAVING_PARAMETERS_NOT_SUPPORTED = Condition(ILLEGAL_REQUEST, 0x39, 0x00)
INSUFFICIENT_REGISTRATION_RESOURCES = Condition(ILLEGAL_REQUEST, 0x55, 0x04)
INVALID_RELEASE = Condition(ILLEGAL_REQUEST, 0x26, 0x04)
POWER_ON_RESET = Condition(UNIT_ATTENTION, 0x29, 0x00)
POWER_ON_OCCURRED = Condition(UNIT_ATTENTION, 0x29, 0x01)
BUS_RESET_OCCURRED = Condition(UNIT_ATTENTION, 0x29, 0x02)
DEVICE_RESET_OCCURRED = Condition(UNIT_ATTENTION, 0x29, 0x03)
NEXUS_LOSS_OCCURRED = Condition(UNIT_ATTENTION, 0x29, 0x07)
MODE_PARAMETERS_CHANGED = Condition(UNIT_ATTENTION, 0x2A, 0x01)
RESERVATIONS_PREEMPTED = Condition(UNIT_ATTENTION, 0x2A, 0x03)
RESERVATIONS_RELEASED = Condition(UNIT_ATTENTION, 0x2A, 0x04)
REGISTRATIONS_PREEMPTED = Condition(UNIT_ATTENTION, 0x2A, 0x05)
ASYMMETRIC_ACCESS_STATE_CHANGED = Condition(UNIT_ATTENTION, 0x2A, 0x06)
CAPACITY_DATA_CHANGED = Condition(UNIT_ATTENTION, 0x2A, 0x09)
COMMANDS_CLEARED_BY_ANOTHER_INITIATOR = Condition(UNIT_ATTENTION, 0x2F, 0x00)
INQUIRY_DATA_CHANGED = Condition(UNIT_ATTENTION, 0x3F, 0x03)
REPORTED_LUNS_DATA_CHANGED = Condition(UNIT_ATTENTION, 0x3F, 0x0E)
WRITE_PROTECTED = Condition(DATA_PROTECT, 0x27, 0x00)
SOFTWARE_WRITE_PROTECTED = Condition(DATA_PROTECT, 0x27, 0x02)
SPACE_ALLOCATION_FAILED = Condition(DATA_PROTECT, 0x27, 0x07)
MISCOMPARE_DURING_VERIFY = Condition(MISCOMPARE, 0x1D, 0x00)
# What an EXTENDED COPY ends in when one of its segments fails (SPC-4 §6.4.5).
COPY_SEGMENT_FAILED = Condition(COPY_ABORTED, 0x00, 0x00)
UNREACHABLE_COPY_TARGET = Condition(COPY_ABORTED, 0x08, 0x04)
COPY_TARGET_NOT_REACHABLE = Condition(COPY_ABORTED, 0x0D, 0x02)
# RFC 7143 §11.4.7.2 names these for errors of the transport.
UNEXPECTED_UNSOLICITED_DATA = Condition(ABORTED_COMMAND, 0x0C, 0x0C)
NOT_ENOUGH_UNSOLICITED_DATA = Condition(ABORTED_COMMAND, 0x0C, 0x0D)
PROTOCOL_SERVICE_CRC_ERROR = Condition(ABORTED_COMMAND, 0x47, 0x05)
SNACK_REJECTED = Condition(ABORTED_COMMAND, 0x11, 0x13)

FIXED_CURRENT = 0x70
FIXED_DEFERRED = 0x71
DESCRIPTOR_CURRENT = 0x72
DESCRIPTOR_DEFERRED = 0x73

FIXED_SENSE_BYTES = 18
MAX_SENSE_BYTES = 252
"""SPC-4 §4.5.1: no sense data is longer."""

_FIXED = struct.Struct(">BxBIBIBBB3s")
assert _FIXED.size == FIXED_SENSE_BYTES
_DESCRIPTOR_HEADER = struct.Struct(">BBBB3xB")
assert _DESCRIPTOR_HEADER.size == 8
_INFORMATION = struct.Struct(">BBBxQ")
assert _INFORMATION.size == 12
_KEY_SPECIFIC = struct.Struct(">BB2x3sx")
assert _KEY_SPECIFIC.size == 8

_DESCRIPTOR_INFORMATION = 0x00
_DESCRIPTOR_KEY_SPECIFIC = 0x02
_VALID = 0x80
_SKSV = 0x80


@dataclass(slots=True)
class Sense:
    """Sense data. `response_code` 0 means that there was none, or too little to tell.

    `information` and `command_specific` are numbers of up to 64 bits (for block commands the LBA), None
    when not valid; `sense_key_specific` is three octets with the SKSV bit set, or None.
    """

    key: int
    asc: int
    ascq: int
    response_code: int = FIXED_CURRENT
    information: int | None = None
    command_specific: int | None = None
    sense_key_specific: bytes | None = None
    fru: int = 0
    filemark: bool = False
    eom: bool = False
    ili: bool = False

    @property
    def deferred(self) -> bool:
        """True when this is about an earlier command, not the one that failed now."""
        return self.response_code in (FIXED_DEFERRED, DESCRIPTOR_DEFERRED)

    @property
    def condition(self) -> Condition:
        """Key, code and qualifier, to compare with the named conditions."""
        return Condition(self.key, self.asc, self.ascq)

    def __str__(self) -> str:
        return describe(self)


def parse(data: Buffer) -> Sense:
    """Read sense data of either format. Never fails: what is missing stays zero or None."""
    octets = bytes(data[:MAX_SENSE_BYTES])
    if not octets:
        return Sense(NO_SENSE, 0, 0, response_code=0)
    response_code = octets[0] & 0x7F
    if response_code in (FIXED_CURRENT, FIXED_DEFERRED):
        return _parse_fixed(octets, response_code)
    if response_code in (DESCRIPTOR_CURRENT, DESCRIPTOR_DEFERRED):
        return _parse_descriptors(octets, response_code)
    return Sense(NO_SENSE, 0, 0, response_code=response_code)


def _parse_fixed(octets: bytes, response_code: int) -> Sense:
    # Devices cut sense data anywhere, and ADDITIONAL SENSE LENGTH may lie: the field is there if its octets
    # are.
    end = len(octets)
    if end > 7:
        end = min(end, 8 + octets[7])
    present = octets[:end].ljust(FIXED_SENSE_BYTES, b"\0")
    first, flags, information, _, command, asc, ascq, fru, specific = _FIXED.unpack_from(present)
    return Sense(
        key=flags & 0x0F,
        asc=asc,
        ascq=ascq,
        response_code=response_code,
        information=information if first & _VALID and end >= 7 else None,
        command_specific=command or None,
        sense_key_specific=specific if specific[0] & _SKSV and end >= FIXED_SENSE_BYTES else None,
        fru=fru,
        filemark=bool(flags & 0x80),
        eom=bool(flags & 0x40),
        ili=bool(flags & 0x20),
    )


def _parse_descriptors(octets: bytes, response_code: int) -> Sense:
    _, key, asc, ascq, additional = _DESCRIPTOR_HEADER.unpack_from(
        octets.ljust(_DESCRIPTOR_HEADER.size, b"\0")
    )
    sense = Sense(key & 0x0F, asc, ascq, response_code=response_code)
    position = _DESCRIPTOR_HEADER.size
    end = min(len(octets), position + additional)
    while position + 2 <= end:
        kind, length = octets[position], octets[position + 1]
        body = octets[position + 2 : min(end, position + 2 + length)]
        _read_descriptor(sense, kind, body)
        position += 2 + length
    return sense


def _read_descriptor(sense: Sense, kind: int, body: bytes) -> None:
    match kind:
        case 0x00 if len(body) >= 10 and body[0] & _VALID:  # information
            sense.information = int.from_bytes(body[2:10], "big")
        case 0x01 if len(body) >= 10:  # command specific
            sense.command_specific = int.from_bytes(body[2:10], "big")
        case 0x02 if len(body) >= 5 and body[2] & _SKSV:  # sense key specific
            sense.sense_key_specific = body[2:5]
        case 0x03 if len(body) >= 2:  # field replaceable unit
            sense.fru = body[1]
        case 0x04 if len(body) >= 2:  # stream commands
            sense.filemark = bool(body[1] & 0x80)
            sense.eom = bool(body[1] & 0x40)
            sense.ili = bool(body[1] & 0x20)
        case 0x05 if len(body) >= 2:  # block commands
            sense.ili = bool(body[1] & 0x20)


def field_pointer(octet: int, bit: int | None = None, *, in_cdb: bool = True) -> bytes:
    """Sense-key specific octets that point at the field in error (SPC-4 §4.5.2.4.2).

    `octet` counts from 0 in the CDB or, with `in_cdb` False, in the parameter list; `bit` is the highest
    bit of the field.
    """
    first = _SKSV | (0x40 if in_cdb else 0) | (0 if bit is None else 0x08 | bit & 7)
    return bytes((first,)) + octet.to_bytes(2, "big")


def progress(done: int, total: int) -> bytes:
    """Sense-key specific octets with a progress indication: `done` of `total` (SPC-4 §4.5.2.4.4)."""
    return bytes((_SKSV,)) + min(0xFFFF, done * 0x1_0000 // max(total, 1)).to_bytes(2, "big")


def _check(key: int, asc: int, ascq: int, specific: bytes | None) -> None:
    if not (0 <= key <= 15 and 0 <= asc <= 255 and 0 <= ascq <= 255):
        raise UnencodableValue(f"no such sense: key {key}, code {asc}, qualifier {ascq}")
    if specific is not None and len(specific) != 3:
        raise UnencodableValue(f"sense-key specific data has three octets, not {len(specific)}")


def build_fixed(
    key: int,
    asc: int,
    ascq: int,
    *,
    information: int | None = None,
    sense_key_specific: bytes | None = None,
    deferred: bool = False,
) -> bytes:
    """Sense data in fixed format, 18 octets.

    `information` above 32 bits cannot be told in this format and is left out, as SPC-4 §4.5.3 asks. Raises
    UnencodableValue.
    """
    _check(key, asc, ascq, sense_key_specific)
    valid = information is not None and 0 <= information <= 0xFFFF_FFFF
    return _FIXED.pack(
        (FIXED_DEFERRED if deferred else FIXED_CURRENT) | (_VALID if valid else 0),
        key,
        information if valid else 0,
        FIXED_SENSE_BYTES - 8,
        0,
        asc,
        ascq,
        0,
        sense_key_specific or bytes(3),
    )


def build_descriptor(
    key: int,
    asc: int,
    ascq: int,
    *,
    information: int | None = None,
    sense_key_specific: bytes | None = None,
    deferred: bool = False,
) -> bytes:
    """Sense data in descriptor format; `information` is up to 64 bits. Raises UnencodableValue."""
    _check(key, asc, ascq, sense_key_specific)
    body = b""
    if information is not None:
        if not 0 <= information < 1 << 64:
            raise UnencodableValue(f"{information} does not fit into the information field")
        body += _INFORMATION.pack(_DESCRIPTOR_INFORMATION, _INFORMATION.size - 2, _VALID, information)
    if sense_key_specific is not None:
        body += _KEY_SPECIFIC.pack(_DESCRIPTOR_KEY_SPECIFIC, _KEY_SPECIFIC.size - 2, sense_key_specific)
    first = DESCRIPTOR_DEFERRED if deferred else DESCRIPTOR_CURRENT
    return _DESCRIPTOR_HEADER.pack(first, key, asc, ascq, len(body)) + body


def describe(sense: Sense) -> str:
    """One line: `ILLEGAL REQUEST: LOGICAL BLOCK ADDRESS OUT OF RANGE (05/21/00)`."""
    if sense.response_code == 0:
        return "no sense data"
    if sense.response_code not in (FIXED_CURRENT, FIXED_DEFERRED, DESCRIPTOR_CURRENT, DESCRIPTOR_DEFERRED):
        return f"sense data in a format that is not standard (response code {sense.response_code:02x}h)"
    text = (
        f"{KEY_NAMES[sense.key]}: {asc_text(sense.asc, sense.ascq)} "
        f"({sense.key:02x}/{sense.asc:02x}/{sense.ascq:02x})"
    )
    return f"{text}, about an earlier command" if sense.deferred else text
