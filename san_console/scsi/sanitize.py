"""SANITIZE (SBC-3 §5.24): its flags and the parameter list of OVERWRITE."""

import struct
from typing import NamedTuple, TypeAlias

from san_console.scsi.errors import MalformedData

Buffer: TypeAlias = bytes | bytearray | memoryview

IMMED = 0x80
AUSE = 0x20

_HEADER = struct.Struct(">BxH")
assert _HEADER.size == 4
MIN_LIST_BYTES = _HEADER.size + 1
_INVERT = 0x80
_TEST_MASK = 0x60
_COUNT_MASK = 0x1F


class Overwrite(NamedTuple):
    """`passes` times `pattern`; with `invert` every second one with its complement."""

    passes: int
    invert: bool
    pattern: bytes


def parse_overwrite(data: Buffer, block_bytes: int) -> Overwrite:
    """The parameter list of OVERWRITE, whose pattern fills at most one block. Raises MalformedData."""
    if not MIN_LIST_BYTES <= len(data) <= _HEADER.size + block_bytes:
        raise MalformedData(f"an OVERWRITE list of {len(data)} octets")
    flags, length = _HEADER.unpack_from(data)
    if not flags & _COUNT_MASK or flags & _TEST_MASK:
        raise MalformedData(f"an OVERWRITE list with count {flags & _COUNT_MASK}, test {flags >> 5 & 3}")
    if not 0 < length <= len(data) - _HEADER.size:
        raise MalformedData(f"an OVERWRITE pattern of {length} octets in a list of {len(data)}")
    pattern = bytes(data[_HEADER.size : _HEADER.size + length])
    return Overwrite(flags & _COUNT_MASK, bool(flags & _INVERT), pattern)
