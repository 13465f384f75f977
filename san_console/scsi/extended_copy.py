"""EXTENDED COPY parameter lists and RECEIVE COPY RESULTS data (SPC-4 §6.4, §6.25 to §6.29)."""

import struct
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

from san_console.scsi.errors import MalformedData
from san_console.scsi.opcodes import SA_EXTENDED_COPY_LID4

Buffer: TypeAlias = bytes | bytearray | memoryview

CSCD_IDENTIFICATION = 0xE4
SEGMENT_BLOCK_TO_BLOCK = 0x02
DESCRIPTOR_TYPES = (SEGMENT_BLOCK_TO_BLOCK, CSCD_IDENTIFICATION)

CSCD_BYTES = 32
BLOCK_TO_BLOCK_BYTES = 28

# LIST ID USAGE: hold status and data; 01b is reserved; hold no data; there is no list identifier.
USAGE_HOLD, USAGE_RESERVED, USAGE_DISCARD, USAGE_NONE = 0, 1, 2, 3

_HEADER_LID1 = struct.Struct(">BBH4xII")
assert _HEADER_LID1.size == 16
_HEADER_LID4 = struct.Struct(">BBH11xBB3xI18xHHH")
assert _HEADER_LID4.size == 48
_FORMAT_LID4 = 0x01
_HEADER_CSCD_BYTES = 0x20
_HEADER_CSCD_TYPE = 0xFF
_IMMED = 0x01
_CSCD = struct.Struct(">BBHBBxB20sBBBB")
assert _CSCD.size == CSCD_BYTES
_SEGMENT = struct.Struct(">BBHHH2xHQQ")
assert _SEGMENT.size == BLOCK_TO_BLOCK_BYTES
_MAX_DESIGNATOR_BYTES = 20


class ListLengthError(MalformedData):
    """A length of the parameter list does not fit what was sent, or is over the limit."""


class BadDescriptor(MalformedData):
    """A descriptor that cannot be worked with. `octet` is where it starts in the list; `kind` tells how."""

    def __init__(self, kind: str, octet: int) -> None:
        super().__init__(f"descriptor at octet {octet}: {kind}")
        self.kind = kind
        self.octet = octet


TOO_MANY_CSCDS = "too many CSCD descriptors"
TOO_MANY_SEGMENTS = "too many segment descriptors"
UNKNOWN_CSCD = "unsupported CSCD descriptor type"
UNKNOWN_SEGMENT = "unsupported segment descriptor type"
BAD_FIELD = "invalid field"


class Limits(NamedTuple):
    """What one copy may hold; `list_bytes` counts all descriptors together."""

    cscds: int
    segments: int
    list_bytes: int


class Cscd(NamedTuple):
    """A copy source or destination, by the designator of a logical unit; `block_bytes` 0: not told."""

    code_set: int
    association: int
    type: int
    designator: bytes
    block_bytes: int


class BlockToBlock(NamedTuple):
    """Copy `blocks` blocks; they are blocks of the destination with `destination_count` (DC)."""

    source: int
    destination: int
    blocks: int
    source_lba: int
    destination_lba: int
    destination_count: bool


@dataclass(slots=True)
class CopyList:
    """An EXTENDED COPY parameter list."""

    list_id: int
    usage: int
    immediate: bool
    inline_bytes: int
    cscds: list[Cscd] = field(default_factory=list)
    segments: list[BlockToBlock] = field(default_factory=list)


def parse_copy_list(data: Buffer, limits: Limits, *, lid4: bool = False) -> CopyList:
    """The list of EXTENDED COPY(LID1), or with `lid4` of EXTENDED COPY(LID4), with no more descriptors than
    `limits` allow.

    Raises ListLengthError, BadDescriptor.
    """
    header_bytes = _HEADER_LID4.size if lid4 else _HEADER_LID1.size
    if len(data) < header_bytes:
        raise ListLengthError(f"a copy list of {len(data)} octets has no header")
    if lid4:
        format_, options, cscd_header, flags, kind, list_id, cscd_bytes, segment_bytes, inline = (
            _HEADER_LID4.unpack_from(data)
        )
        if (format_, cscd_header, kind) != (_FORMAT_LID4, _HEADER_CSCD_BYTES, _HEADER_CSCD_TYPE):
            raise BadDescriptor(BAD_FIELD, 0)
    else:
        list_id, options, cscd_bytes, segment_bytes, inline = _HEADER_LID1.unpack_from(data)
        flags = 0
    found = CopyList(list_id, options >> 3 & 3, bool(flags & _IMMED), inline)
    if found.usage == USAGE_RESERVED or (found.usage == USAGE_NONE and list_id):
        raise BadDescriptor(BAD_FIELD, 1)
    segments_at = header_bytes + cscd_bytes
    end = segments_at + segment_bytes
    if cscd_bytes + segment_bytes > limits.list_bytes or end + inline > len(data):
        raise ListLengthError(
            f"descriptors of {cscd_bytes} and {segment_bytes} octets in a list of {len(data)}"
        )
    octets = bytes(data[:end])
    found.cscds = _cscds(octets, header_bytes, segments_at, limits.cscds)
    found.segments = _segments(octets, segments_at, end, limits.segments)
    return found


def _cscds(octets: bytes, start: int, end: int, most: int) -> list[Cscd]:
    found: list[Cscd] = []
    for position in range(start, end, CSCD_BYTES):
        if octets[position] != CSCD_IDENTIFICATION:
            raise BadDescriptor(UNKNOWN_CSCD, position)
        if position + CSCD_BYTES > end:
            raise ListLengthError("a CSCD descriptor is cut short")
        if len(found) == most:
            raise BadDescriptor(TOO_MANY_CSCDS, position)
        _, _, _, code_set, kind, length, designator, _, high, middle, low = _CSCD.unpack_from(
            octets, position
        )
        if not 0 < length <= _MAX_DESIGNATOR_BYTES:
            raise BadDescriptor(BAD_FIELD, position + 7)
        found.append(
            Cscd(
                code_set & 0x0F,
                kind >> 4 & 3,
                kind & 0x0F,
                designator[:length],
                high << 16 | middle << 8 | low,
            )
        )
    return found


def _segments(octets: bytes, start: int, end: int, most: int) -> list[BlockToBlock]:
    found: list[BlockToBlock] = []
    for position in range(start, end, BLOCK_TO_BLOCK_BYTES):
        if octets[position] != SEGMENT_BLOCK_TO_BLOCK:
            raise BadDescriptor(UNKNOWN_SEGMENT, position)
        if position + BLOCK_TO_BLOCK_BYTES > end:
            raise ListLengthError("a segment descriptor is cut short")
        if len(found) == most:
            raise BadDescriptor(TOO_MANY_SEGMENTS, position)
        _, flags, length, source, destination, blocks, source_lba, destination_lba = _SEGMENT.unpack_from(
            octets, position
        )
        if length != BLOCK_TO_BLOCK_BYTES - 4:
            raise BadDescriptor(BAD_FIELD, position + 2)
        found.append(
            BlockToBlock(source, destination, blocks, source_lba, destination_lba, bool(flags & 0x02))
        )
    return found


# RECEIVE COPY RESULTS

IN_PROGRESS, COMPLETED, FAILED = 0, 1, 2
# How EXTENDED COPY(LID4) says the same (SPC-4 table 275).
_STATUS_LID4 = {IN_PROGRESS: 0x10, COMPLETED: 0x01, FAILED: 0x02}
_UNIT_BYTES, _UNIT_KIB, _UNIT_MIB = 0, 1, 2

_STATUS_1 = struct.Struct(">IBHBI")
assert _STATUS_1.size == 12
_STATUS_4 = struct.Struct(">IBBHIBBBBQH6x")
assert _STATUS_4.size == 32
_OPERATING = struct.Struct(">IB3xHHIIIII2xHBBBB3xB")
assert _OPERATING.size == 44
_FAILURE = struct.Struct(">I52xBxH")
assert _FAILURE.size == 60


def _count(transferred_bytes: int) -> tuple[int, int]:
    """(unit, count) that 32 bits can hold."""
    for unit, shift in ((_UNIT_BYTES, 0), (_UNIT_KIB, 10)):
        if transferred_bytes >> shift <= 0xFFFF_FFFF:
            return unit, transferred_bytes >> shift
    return _UNIT_MIB, min(transferred_bytes >> 20, 0xFFFF_FFFF)


def build_status_lid1(status: int, segments: int, transferred_bytes: int) -> bytes:
    """RECEIVE COPY STATUS(LID1) data."""
    unit, count = _count(transferred_bytes)
    return _STATUS_1.pack(_STATUS_1.size - 4, status, segments, unit, count)


def build_status_lid4(
    status: int, segments: int, transferred_bytes: int, completion: int, sense: bytes
) -> bytes:
    """RECEIVE COPY STATUS(LID4) data; `completion` is the SCSI status that the copy ended in."""
    unit, count = _count(transferred_bytes)
    length = _STATUS_4.size + len(sense)
    header = _STATUS_4.pack(
        length - 4,
        SA_EXTENDED_COPY_LID4,
        _STATUS_LID4[status],
        0,
        0,
        completion,
        len(sense),
        len(sense),
        unit,
        count,
        segments,
    )
    return header + sense


def build_failure_details(completion: int | None, sense: bytes) -> bytes:
    """RECEIVE COPY FAILURE DETAILS(LID1) data; None: nothing failed."""
    if completion is None:
        return bytes(4)
    return _FAILURE.pack(_FAILURE.size - 4 + len(sense), completion, len(sense)) + sense


def build_operating_parameters(limits: Limits, segment_bytes: int, concurrent: int) -> bytes:
    """RECEIVE COPY OPERATING PARAMETERS data: what one copy may hold, how many run at the same time."""
    codes = bytes(sorted(DESCRIPTOR_TYPES))
    snlid = 1  # a list identifier is not needed for every copy
    return (
        _OPERATING.pack(
            _OPERATING.size - 4 + len(codes),
            snlid,
            limits.cscds,
            limits.segments,
            limits.list_bytes,
            segment_bytes,
            0,
            0,
            0,
            concurrent,
            min(concurrent, 0xFF),
            0,
            0,
            0,
            len(codes),
        )
        + codes
    )


# VPD page 8Fh

_PARAMETER_DATA = struct.Struct(">HH4xHHII12x")
assert _PARAMETER_DATA.size == 32
_GENERAL = struct.Struct(">HHIIIBB18x")
assert _GENERAL.size == 36


def _padded(kind: int, body: bytes) -> bytes:
    body += bytes(-len(body) % 4)
    return struct.pack(">HH", kind, len(body)) + body


def build_third_party_copy(
    commands: dict[int, tuple[int, ...]], limits: Limits, segment_bytes: int, concurrent: int
) -> bytes:
    """The body of VPD page 8Fh (SPC-4 §7.8.17); `commands`: operation code → service actions."""
    listed = b"".join(bytes((opcode, len(actions), *actions)) for opcode, actions in commands.items())
    types = bytes(sorted(DESCRIPTOR_TYPES))
    return b"".join(
        (
            _padded(0x0001, bytes((len(listed),)) + listed),
            _PARAMETER_DATA.pack(
                0x0004, _PARAMETER_DATA.size - 4, limits.cscds, limits.segments, limits.list_bytes, 0
            ),
            _padded(0x0008, bytes((len(types),)) + types),
            _padded(0x000C, bytes(2)),  # no CSCD identifiers but the indexes of the list
            _GENERAL.pack(0x8001, _GENERAL.size - 4, concurrent, concurrent, segment_bytes, 0, 0),
        )
    )
