"""MODE SENSE data: headers, block descriptors and the pages of a disk (SPC-4, SBC-3)."""

import struct
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TypeAlias

from san_console.scsi.errors import MalformedData, UnencodableValue

Buffer: TypeAlias = bytes | bytearray | memoryview

READ_WRITE_ERROR_RECOVERY = 0x01
DISCONNECT_RECONNECT = 0x02
CACHING = 0x08
CONTROL = 0x0A
INFORMATIONAL_EXCEPTIONS = 0x1C
ALL_PAGES = 0x3F
ALL_SUBPAGES = 0xFF

WRITE_PROTECTED = 0x80
DPOFUA = 0x10

MAX_PAGES = 64 * 256
"""Every page with every subpage: no data can hold more."""

_HEADER_6 = struct.Struct(">BBBB")
assert _HEADER_6.size == 4
_HEADER_10 = struct.Struct(">HBBBxH")
assert _HEADER_10.size == 8
_SHORT_DESCRIPTOR = struct.Struct(">I4s")
assert _SHORT_DESCRIPTOR.size == 8
_LONG_DESCRIPTOR = struct.Struct(">Q4xI")
assert _LONG_DESCRIPTOR.size == 16
_LONG_LBA = 0x01
_SUBPAGE_FORMAT = 0x40
_CODE_MASK = 0x3F

_CACHING = struct.Struct(">BBBBHHHHBBBBxxxx")
assert _CACHING.size == 20
_CONTROL = struct.Struct(">BBBBBBxxHH")
assert _CONTROL.size == 12
_EXCEPTIONS = struct.Struct(">BBBBII")
assert _EXCEPTIONS.size == 12


@dataclass(slots=True)
class ModePage:
    """A page as it was sent: `data` is the whole page with its header of two octets (four with a subpage)."""

    code: int
    subpage: int
    data: bytes


@dataclass(slots=True)
class ModeData:
    """MODE SENSE data. `blocks` and `block_bytes` come from the first block descriptor, None without one."""

    medium_type: int = 0
    write_protected: bool = False
    dpofua: bool = False
    blocks: int | None = None
    block_bytes: int | None = None
    pages: list[ModePage] = field(default_factory=list)

    def page(self, code: int, subpage: int = 0) -> ModePage | None:
        """The page, or None when it was not sent."""
        for page in self.pages:
            if page.code == code and page.subpage == subpage:
                return page
        return None


@dataclass(slots=True)
class CachingPage:
    """Page 08h: `write_cache` is WCE, `read_cache` is the opposite of RCD."""

    write_cache: bool = False
    read_cache: bool = True

    def build(self) -> bytes:
        """The page."""
        flags = (0x04 if self.write_cache else 0) | (0 if self.read_cache else 0x01)
        return _CACHING.pack(CACHING, _CACHING.size - 2, flags, 0, 0, 0, 0, 0, 0, 0, 0, 0)

    @classmethod
    def parse(cls, data: Buffer) -> "CachingPage":
        """Read the page. Raises MalformedData."""
        flags = _octet(data, CACHING, 2)
        return cls(bool(flags & 0x04), not flags & 0x01)


@dataclass(slots=True)
class ControlPage:
    """Page 0Ah: `descriptor_sense` is D_SENSE, `aborted_status` TAS, `software_write_protect` SWP."""

    descriptor_sense: bool = False
    unrestricted_reordering: bool = True
    aborted_status: bool = False
    software_write_protect: bool = False
    task_set_type: int = 0

    def build(self) -> bytes:
        """The page."""
        return _CONTROL.pack(
            CONTROL,
            _CONTROL.size - 2,
            (self.task_set_type & 7) << 5 | (0x04 if self.descriptor_sense else 0),
            0x10 if self.unrestricted_reordering else 0,
            0x08 if self.software_write_protect else 0,
            0x40 if self.aborted_status else 0,
            0,
            0,
        )

    @classmethod
    def parse(cls, data: Buffer) -> "ControlPage":
        """Read the page. Raises MalformedData."""
        return cls(
            descriptor_sense=bool(_octet(data, CONTROL, 2) & 0x04),
            unrestricted_reordering=_octet(data, CONTROL, 3) >> 4 == 1,
            aborted_status=bool(_octet(data, CONTROL, 5) & 0x40),
            software_write_protect=bool(_octet(data, CONTROL, 4) & 0x08),
            task_set_type=_octet(data, CONTROL, 2) >> 5,
        )


@dataclass(slots=True)
class ExceptionsPage:
    """Page 1Ch, informational exceptions: `disabled` is DEXCPT, `method` is MRIE (0: no reporting)."""

    disabled: bool = True
    method: int = 0

    def build(self) -> bytes:
        """The page."""
        return _EXCEPTIONS.pack(
            INFORMATIONAL_EXCEPTIONS,
            _EXCEPTIONS.size - 2,
            0x08 if self.disabled else 0,
            self.method & 0x0F,
            0,
            0,
        )

    @classmethod
    def parse(cls, data: Buffer) -> "ExceptionsPage":
        """Read the page. Raises MalformedData."""
        code = INFORMATIONAL_EXCEPTIONS
        return cls(bool(_octet(data, code, 2) & 0x08), _octet(data, code, 3) & 0x0F)


def _octet(data: Buffer, code: int, index: int) -> int:
    if len(data) <= index or data[0] & _CODE_MASK != code:
        raise MalformedData(f"mode page {code:02x}h is cut short or another page")
    return data[index]


def short_descriptor(blocks: int, block_bytes: int) -> bytes:
    """A block descriptor of eight octets.

    More than 32 bits of blocks are told as FFFFFFFFh (SBC-3).
    """
    return _SHORT_DESCRIPTOR.pack(min(blocks, 0xFFFF_FFFF), (block_bytes & 0xFF_FFFF).to_bytes(4, "big"))


def long_descriptor(blocks: int, block_bytes: int) -> bytes:
    """A block descriptor of sixteen octets, for MODE SENSE(10) with LLBAA."""
    return _LONG_DESCRIPTOR.pack(blocks, block_bytes)


def _device_specific(write_protected: bool, dpofua: bool) -> int:
    return (WRITE_PROTECTED if write_protected else 0) | (DPOFUA if dpofua else 0)


def build_6(
    pages: Iterable[bytes], *, write_protected: bool = False, dpofua: bool = True, descriptor: bytes = b""
) -> bytes:
    """MODE SENSE(6) data from pages as their `build()` gave them.

    Raises UnencodableValue above 256 octets.
    """
    body = descriptor + b"".join(pages)
    length = _HEADER_6.size - 1 + len(body)
    if length > 0xFF:
        raise UnencodableValue(f"MODE SENSE(6) cannot carry {len(body)} octets; MODE SENSE(10) can")
    return _HEADER_6.pack(length, 0, _device_specific(write_protected, dpofua), len(descriptor)) + body


def build_10(
    pages: Iterable[bytes], *, write_protected: bool = False, dpofua: bool = True, descriptor: bytes = b""
) -> bytes:
    """MODE SENSE(10) data from pages as their `build()` gave them. Raises UnencodableValue."""
    body = descriptor + b"".join(pages)
    length = _HEADER_10.size - 2 + len(body)
    if length > 0xFFFF:
        raise UnencodableValue(f"MODE SENSE(10) cannot carry {len(body)} octets")
    long_lba = _LONG_LBA if len(descriptor) == _LONG_DESCRIPTOR.size else 0
    flags = _device_specific(write_protected, dpofua)
    return _HEADER_10.pack(length, 0, flags, long_lba, len(descriptor)) + body


def parse_6(data: Buffer) -> ModeData:
    """Read MODE SENSE(6) data, as far as it was sent. Raises MalformedData without a whole header."""
    if len(data) < _HEADER_6.size:
        raise MalformedData(f"MODE SENSE(6) data of {len(data)} octets has no header")
    length, medium_type, flags, descriptor_bytes = _HEADER_6.unpack_from(data)
    body = bytes(data[_HEADER_6.size : 1 + length])
    return _parse_body(medium_type, flags, body, descriptor_bytes, long_lba=False)


def parse_10(data: Buffer) -> ModeData:
    """Read MODE SENSE(10) data, as far as it was sent. Raises MalformedData without a whole header."""
    if len(data) < _HEADER_10.size:
        raise MalformedData(f"MODE SENSE(10) data of {len(data)} octets has no header")
    length, medium_type, flags, options, descriptor_bytes = _HEADER_10.unpack_from(data)
    body = bytes(data[_HEADER_10.size : 2 + length])
    return _parse_body(medium_type, flags, body, descriptor_bytes, long_lba=bool(options & _LONG_LBA))


def _parse_body(
    medium_type: int, flags: int, body: bytes, descriptor_bytes: int, *, long_lba: bool
) -> ModeData:
    mode = ModeData(medium_type, bool(flags & WRITE_PROTECTED), bool(flags & DPOFUA))
    descriptor = body[:descriptor_bytes]
    if long_lba and len(descriptor) >= _LONG_DESCRIPTOR.size:
        mode.blocks, mode.block_bytes = _LONG_DESCRIPTOR.unpack_from(descriptor)
    elif not long_lba and len(descriptor) >= _SHORT_DESCRIPTOR.size:
        mode.blocks, block_bytes = _SHORT_DESCRIPTOR.unpack_from(descriptor)
        mode.block_bytes = int.from_bytes(block_bytes[1:], "big")
    mode.pages = _parse_pages(body[descriptor_bytes:])
    return mode


def _parse_pages(octets: bytes) -> list[ModePage]:
    pages: list[ModePage] = []
    position = 0
    while position + 2 <= len(octets) and len(pages) < MAX_PAGES:
        first = octets[position]
        if first & _SUBPAGE_FORMAT:
            if position + 4 > len(octets):
                break
            subpage = octets[position + 1]
            size = 4 + int.from_bytes(octets[position + 2 : position + 4], "big")
        else:
            subpage = 0
            size = 2 + octets[position + 1]
        pages.append(ModePage(first & _CODE_MASK, subpage, octets[position : position + size]))
        position += size
    return pages
