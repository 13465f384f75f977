"""UNMAP parameter lists and GET LBA STATUS data (SBC-3)."""

import struct
from collections.abc import Iterable
from typing import NamedTuple, TypeAlias

from san_console.scsi.errors import MalformedData, UnencodableValue

Buffer: TypeAlias = bytes | bytearray | memoryview

MAPPED = 0
DEALLOCATED = 1
ANCHORED = 2

MAX_UNMAP_DESCRIPTORS = 4095
"""The 16-bit length of an UNMAP list holds no more."""

_UNMAP_HEADER = struct.Struct(">HH4x")
assert _UNMAP_HEADER.size == 8
_UNMAP_DESCRIPTOR = struct.Struct(">QI4x")
assert _UNMAP_DESCRIPTOR.size == 16
_STATUS_HEADER = struct.Struct(">I4x")
assert _STATUS_HEADER.size == 8
_STATUS_DESCRIPTOR = struct.Struct(">QIB3x")
assert _STATUS_DESCRIPTOR.size == 16


class Extent(NamedTuple):
    """A run of `blocks` blocks from `lba` on."""

    lba: int
    blocks: int


class ExtentStatus(NamedTuple):
    """A run of blocks and whether it is MAPPED, DEALLOCATED or ANCHORED."""

    lba: int
    blocks: int
    status: int


def build_unmap_list(extents: Iterable[Extent | tuple[int, int]]) -> bytes:
    """The data of an UNMAP command. Raises UnencodableValue."""
    try:
        body = b"".join(_UNMAP_DESCRIPTOR.pack(lba, blocks) for lba, blocks in extents)
        return _UNMAP_HEADER.pack(_UNMAP_HEADER.size - 2 + len(body), len(body)) + body
    except struct.error as error:
        raise UnencodableValue(f"the UNMAP list cannot hold this: {error}") from None


def parse_unmap_list(data: Buffer) -> list[Extent]:
    """The extents in the data of an UNMAP command; whether they lie on the medium is for the caller to check.

    A partial descriptor at the end is ignored, as SBC-3 says. Raises MalformedData when the header
    is missing or names more than was sent.
    """
    if len(data) < _UNMAP_HEADER.size:
        raise MalformedData(f"an UNMAP list of {len(data)} octets has no header")
    _, length = _UNMAP_HEADER.unpack_from(data)
    if length > len(data) - _UNMAP_HEADER.size:
        raise MalformedData(
            f"an UNMAP list of {length} octets, of which {len(data) - _UNMAP_HEADER.size} came"
        )
    end = _UNMAP_HEADER.size + length // _UNMAP_DESCRIPTOR.size * _UNMAP_DESCRIPTOR.size
    return [Extent(*row) for row in _UNMAP_DESCRIPTOR.iter_unpack(bytes(data[_UNMAP_HEADER.size : end]))]


def build_lba_status(extents: Iterable[ExtentStatus]) -> bytes:
    """GET LBA STATUS data. Raises UnencodableValue."""
    try:
        body = b"".join(_STATUS_DESCRIPTOR.pack(*extent) for extent in extents)
    except struct.error as error:
        raise UnencodableValue(f"the LBA status cannot hold this: {error}") from None
    return _STATUS_HEADER.pack(_STATUS_HEADER.size - 4 + len(body)) + body


def parse_lba_status(data: Buffer) -> list[ExtentStatus]:
    """The extents that were sent. Raises MalformedData without a header."""
    if len(data) < _STATUS_HEADER.size:
        raise MalformedData(f"GET LBA STATUS data of {len(data)} octets has no header")
    (length,) = _STATUS_HEADER.unpack_from(data)
    here = min(max(length - 4, 0), len(data) - _STATUS_HEADER.size)
    end = _STATUS_HEADER.size + here // _STATUS_DESCRIPTOR.size * _STATUS_DESCRIPTOR.size
    return [
        ExtentStatus(lba, blocks, status & 0x0F)
        for lba, blocks, status in _STATUS_DESCRIPTOR.iter_unpack(bytes(data[_STATUS_HEADER.size : end]))
    ]
