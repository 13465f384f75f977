"""REPORT LUNS parameter data (SPC-4)."""

import struct
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TypeAlias

from san_console.names.errors import InvalidLun
from san_console.names.lun import LUN_BYTES, decode_lun_u64, encode_lun_u64
from san_console.scsi.errors import MalformedData

Buffer: TypeAlias = bytes | bytearray | memoryview

MAX_LUNS = 16384
"""All that peripheral and flat addressing can name; a target that lists more, lists nonsense."""

_HEADER = struct.Struct(">I4x")
assert _HEADER.size == 8


@dataclass(slots=True)
class LunList:
    """What REPORT LUNS told.

    `luns`: the numbers, ascending, each once. `addresses`: number → the u64 that the target listed for it,
    which is what commands are to be sent to. `skipped`: entries in an addressing method that is not
    supported, or repeated. `needed_bytes`: the allocation length that the whole list takes; `truncated`:
    not all of it is here.
    """

    luns: list[int] = field(default_factory=list)
    addresses: dict[int, int] = field(default_factory=dict)
    skipped: int = 0
    needed_bytes: int = _HEADER.size
    truncated: bool = False


def build(luns: Iterable[int]) -> bytes:
    """The list for LUN numbers 0 to 16383, ascending. Raises names.errors.InvalidLun."""
    numbers = sorted(set(luns))
    return build_raw(encode_lun_u64(number) for number in numbers)


def build_raw(addresses: Iterable[int]) -> bytes:
    """The list for LUNs given as the u64 of the wire (well-known units among them)."""
    entries = b"".join(address.to_bytes(LUN_BYTES, "big") for address in addresses)
    return _HEADER.pack(len(entries)) + entries


def parse(data: Buffer) -> LunList:
    """Read the list: at most MAX_LUNS entries, and never more than were sent.

    Raises MalformedData without a header.
    """
    if len(data) < _HEADER.size:
        raise MalformedData(f"REPORT LUNS data of {len(data)} octets has no header")
    (length,) = _HEADER.unpack_from(data)
    here = min(length, len(data) - _HEADER.size) // LUN_BYTES
    count = min(here, MAX_LUNS)
    found = LunList(
        needed_bytes=min(_HEADER.size + length, _HEADER.size + MAX_LUNS * LUN_BYTES),
        truncated=count < length // LUN_BYTES,
    )
    for (address,) in struct.iter_unpack(">Q", bytes(data[_HEADER.size : _HEADER.size + count * LUN_BYTES])):
        try:
            number = decode_lun_u64(address)
        except InvalidLun:
            found.skipped += 1
            continue
        if number in found.addresses:
            found.skipped += 1
            continue
        found.addresses[number] = address
    found.luns = sorted(found.addresses)
    return found
