"""MODE SELECT parameter lists (SPC-4 §6.11, §7.5)."""

import struct
from dataclasses import dataclass, field
from typing import TypeAlias

from san_console.scsi.errors import MalformedData
from san_console.scsi.mode import ModePage

Buffer: TypeAlias = bytes | bytearray | memoryview

MAX_SELECTED_PAGES = 64
"""Far more than a disk has; the same page more than once is of no use."""

_HEADER_6 = struct.Struct(">3xB")
assert _HEADER_6.size == 4
_HEADER_10 = struct.Struct(">4xBxH")
assert _HEADER_10.size == 8
_SHORT_DESCRIPTOR = struct.Struct(">IBBH")
assert _SHORT_DESCRIPTOR.size == 8
_LONG_DESCRIPTOR = struct.Struct(">Q4xI")
assert _LONG_DESCRIPTOR.size == 16
_LONG_LBA = 0x01
_PS = 0x80
_SUBPAGE_FORMAT = 0x40
_CODE_MASK = 0x3F


class InvalidSelection(MalformedData):
    """A field whose value is not allowed, at `octet` of the list."""

    def __init__(self, text: str, octet: int) -> None:
        super().__init__(text)
        self.octet = octet


@dataclass(slots=True)
class ModeSelection:
    """What an initiator wants: pages, and the geometry of the block descriptor (None without one)."""

    blocks: int | None = None
    block_bytes: int | None = None
    pages: list[ModePage] = field(default_factory=list)
    page_octets: list[int] = field(default_factory=list)
    """Where in the list each page starts."""


def parse_mode_select(data: Buffer, *, ten: bool) -> ModeSelection:
    """The list of MODE SELECT(6), or with `ten` of MODE SELECT(10).

    Raises MalformedData when a length does not fit what was sent, InvalidSelection for a field that cannot
    be.
    """
    octets = bytes(data)
    header = _HEADER_10 if ten else _HEADER_6
    if len(octets) < header.size:
        raise MalformedData(f"a mode parameter list of {len(octets)} octets has no header")
    if ten:
        flags, descriptor_bytes = _HEADER_10.unpack_from(octets)
    else:
        (descriptor_bytes,) = _HEADER_6.unpack_from(octets)
        flags = 0
    start = header.size + descriptor_bytes
    if start > len(octets):
        raise MalformedData(f"a block descriptor of {descriptor_bytes} octets is cut short")
    found = ModeSelection()
    descriptor = octets[header.size : start]
    if descriptor:
        long_lba = bool(flags & _LONG_LBA)
        if len(descriptor) != (_LONG_DESCRIPTOR.size if long_lba else _SHORT_DESCRIPTOR.size):
            raise InvalidSelection(f"block descriptors of {len(descriptor)} octets", header.size - 2)
        if long_lba:
            found.blocks, found.block_bytes = _LONG_DESCRIPTOR.unpack(descriptor)
        else:
            found.blocks, _, high, low = _SHORT_DESCRIPTOR.unpack(descriptor)
            found.block_bytes = high << 16 | low
    _read_pages(octets, start, found)
    return found


def _read_pages(octets: bytes, position: int, found: ModeSelection) -> None:
    while position < len(octets):
        if len(found.pages) == MAX_SELECTED_PAGES:
            raise InvalidSelection("more mode pages than exist", position)
        first = octets[position]
        long_format = bool(first & _SUBPAGE_FORMAT)
        head = 4 if long_format else 2
        if position + head > len(octets):
            raise MalformedData("a mode page is cut short")
        subpage = octets[position + 1] if long_format else 0
        size = head + int.from_bytes(octets[position + head // 2 : position + head], "big")
        if position + size > len(octets):
            raise MalformedData("a mode page is cut short")
        # PS is reserved here; initiators send back what MODE SENSE gave them.
        page = bytes((first & ~_PS,)) + octets[position + 1 : position + size]
        found.pages.append(ModePage(first & _CODE_MASK, subpage, page))
        found.page_octets.append(position)
        position += size
