"""Vital product data pages 00h, 80h, 83h, 86h, 87h, B0h, B1h, B2h (SPC-4, SBC-3)."""

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

from san_console.scsi.designators import (
    Designator as Designator,
)
from san_console.scsi.designators import build_designators, parse_designators
from san_console.scsi.designators import identity as identity
from san_console.scsi.designators import naa_from_seed as naa_from_seed
from san_console.scsi.errors import MalformedData, UnencodableValue
from san_console.scsi.inquiry import ascii_field, ascii_text

Buffer: TypeAlias = bytes | bytearray | memoryview

SUPPORTED_PAGES = 0x00
UNIT_SERIAL_NUMBER = 0x80
DEVICE_IDENTIFICATION = 0x83
MANAGEMENT_NETWORK_ADDRESSES = 0x85
EXTENDED_INQUIRY = 0x86
MODE_PAGE_POLICY = 0x87
THIRD_PARTY_COPY = 0x8F
BLOCK_LIMITS = 0xB0
BLOCK_CHARACTERISTICS = 0xB1
LOGICAL_BLOCK_PROVISIONING = 0xB2

PAGE_NAMES: dict[int, str] = {
    SUPPORTED_PAGES: "supported VPD pages",
    UNIT_SERIAL_NUMBER: "unit serial number",
    DEVICE_IDENTIFICATION: "device identification",
    0x84: "software interface identification",
    MANAGEMENT_NETWORK_ADDRESSES: "management network addresses",
    EXTENDED_INQUIRY: "extended INQUIRY data",
    MODE_PAGE_POLICY: "mode page policy",
    0x88: "SCSI ports",
    0x89: "ATA information",
    0x8A: "power condition",
    0x8D: "power consumption",
    THIRD_PARTY_COPY: "third-party copy",
    0x90: "protocol specific logical unit information",
    BLOCK_LIMITS: "block limits",
    BLOCK_CHARACTERISTICS: "block device characteristics",
    LOGICAL_BLOCK_PROVISIONING: "logical block provisioning",
    0xB3: "referrals",
    0xB6: "zoned block device characteristics",
}

_HEADER = struct.Struct(">BBH")
assert _HEADER.size == 4
_MAX_BODY_BYTES = 0xFFFF


def build_page(page: int, body: bytes, *, device_type: int = 0) -> bytes:
    """`body` behind the header of VPD page `page`. Raises UnencodableValue."""
    if len(body) > _MAX_BODY_BYTES:
        raise UnencodableValue(f"VPD page {page:02x}h of {len(body)} octets is too long")
    return _HEADER.pack(device_type, page, len(body)) + body


def page_body(data: Buffer, page: int) -> bytes:
    """The body of VPD page `page`, as far as it was sent.

    Raises MalformedData when there is no header or another page came: devices that do not know VPD
    answer with their standard INQUIRY data.
    """
    if len(data) < _HEADER.size:
        raise MalformedData(f"VPD page {page:02x}h of {len(data)} octets has no header")
    _, code, length = _HEADER.unpack_from(data)
    if code != page:
        raise MalformedData(f"VPD page {page:02x}h was asked for, {code:02x}h came")
    return bytes(data[_HEADER.size : _HEADER.size + length])


def build_supported_pages(pages: Iterable[int]) -> bytes:
    """Page 00h: the numbers of all pages, in ascending order as SPC-4 asks."""
    return build_page(SUPPORTED_PAGES, bytes(sorted({SUPPORTED_PAGES, *pages})))


def parse_supported_pages(data: Buffer) -> list[int]:
    """The page numbers in page 00h, sorted. Raises MalformedData."""
    return sorted(set(page_body(data, SUPPORTED_PAGES)))


def build_serial_number(serial: str) -> bytes:
    """Page 80h. Raises UnencodableValue."""
    return build_page(UNIT_SERIAL_NUMBER, ascii_field(serial, len(serial), "the serial number"))


def parse_serial_number(data: Buffer) -> str:
    """The serial number in page 80h, text of the device. Raises MalformedData."""
    return ascii_text(page_body(data, UNIT_SERIAL_NUMBER))


def build_identification(designators: Iterable[Designator]) -> bytes:
    """Page 83h. Raises UnencodableValue."""
    return build_page(DEVICE_IDENTIFICATION, build_designators(designators))


def parse_identification(data: Buffer) -> list[Designator]:
    """The designators in page 83h, malformed ones left out. Raises MalformedData when it is another page."""
    return parse_designators(page_body(data, DEVICE_IDENTIFICATION))


_EXTENDED = struct.Struct(">BBB57x")
assert _EXTENDED.size == 60


@dataclass(slots=True)
class ExtendedInquiry:
    """Page 86h, the parts that a block target over iSCSI has: task attributes and volatile cache."""

    simple_supported: bool = True
    ordered_supported: bool = False
    head_of_queue_supported: bool = False
    volatile_cache: bool = False

    def build(self) -> bytes:
        """The page."""
        attributes = (
            (0x01 if self.simple_supported else 0)
            | (0x02 if self.ordered_supported else 0)
            | (0x04 if self.head_of_queue_supported else 0)
        )
        cache = 0x01 if self.volatile_cache else 0
        return build_page(EXTENDED_INQUIRY, _EXTENDED.pack(0, attributes, cache))

    @classmethod
    def parse(cls, data: Buffer) -> "ExtendedInquiry":
        """Read page 86h; what was not sent is off. Raises MalformedData."""
        _, attributes, cache = _EXTENDED.unpack_from(_padded(data, EXTENDED_INQUIRY, _EXTENDED))
        return cls(
            simple_supported=bool(attributes & 0x01),
            ordered_supported=bool(attributes & 0x02),
            head_of_queue_supported=bool(attributes & 0x04),
            volatile_cache=bool(cache & 0x01),
        )


def _padded(data: Buffer, page: int, format_: struct.Struct) -> bytes:
    # Pages grew with each version of the standards: an older, shorter one reads as zeros, "not reported".
    return page_body(data, page).ljust(format_.size, b"\0")


# One descriptor for all pages and subpages: shared by all I_T nexuses, no copy of its own for any (SPC-4
# §7.8.11).
_SHARED_BY_ALL = bytes((0x3F, 0xFF, 0x00, 0x00))


def build_mode_page_policy() -> bytes:
    """Page 87h of a unit whose mode pages are all shared."""
    return build_page(MODE_PAGE_POLICY, _SHARED_BY_ALL)


_LIMITS = struct.Struct(">BBHIIIIIIIQIIIII")
assert _LIMITS.size == 60
_UGAVALID = 0x8000_0000


@dataclass(slots=True)
class BlockLimits:
    """Page B0h; lengths in blocks, 0 means "not reported" (or, for UNMAP, "not supported")."""

    maximum_compare_and_write_blocks: int = 0
    optimal_transfer_granularity_blocks: int = 0
    maximum_transfer_blocks: int = 0
    optimal_transfer_blocks: int = 0
    maximum_prefetch_blocks: int = 0
    maximum_unmap_blocks: int = 0
    maximum_unmap_descriptors: int = 0
    optimal_unmap_granularity_blocks: int = 0
    unmap_alignment_blocks: int | None = None
    maximum_write_same_blocks: int = 0
    write_same_non_zero: bool = False
    maximum_atomic_blocks: int = 0
    atomic_alignment_blocks: int = 0
    atomic_granularity_blocks: int = 0

    def build(self) -> bytes:
        """The page. Raises UnencodableValue."""
        alignment = self.unmap_alignment_blocks
        try:
            body = _LIMITS.pack(
                int(self.write_same_non_zero),
                self.maximum_compare_and_write_blocks,
                self.optimal_transfer_granularity_blocks,
                self.maximum_transfer_blocks,
                self.optimal_transfer_blocks,
                self.maximum_prefetch_blocks,
                self.maximum_unmap_blocks,
                self.maximum_unmap_descriptors,
                self.optimal_unmap_granularity_blocks,
                0 if alignment is None else alignment | _UGAVALID,
                self.maximum_write_same_blocks,
                self.maximum_atomic_blocks,
                self.atomic_alignment_blocks,
                self.atomic_granularity_blocks,
                0,  # no atomic boundaries
                0,
            )
        except struct.error as error:
            raise UnencodableValue(f"a block limit does not fit into its field: {error}") from None
        return build_page(BLOCK_LIMITS, body)

    @classmethod
    def parse(cls, data: Buffer) -> "BlockLimits":
        """Read page B0h; what was not sent is 0. Raises MalformedData."""
        fields = _LIMITS.unpack_from(_padded(data, BLOCK_LIMITS, _LIMITS))
        alignment = fields[9]
        return cls(
            maximum_compare_and_write_blocks=fields[1],
            optimal_transfer_granularity_blocks=fields[2],
            maximum_transfer_blocks=fields[3],
            optimal_transfer_blocks=fields[4],
            maximum_prefetch_blocks=fields[5],
            maximum_unmap_blocks=fields[6],
            maximum_unmap_descriptors=fields[7],
            optimal_unmap_granularity_blocks=fields[8],
            unmap_alignment_blocks=alignment & ~_UGAVALID if alignment & _UGAVALID else None,
            maximum_write_same_blocks=fields[10],
            write_same_non_zero=bool(fields[0] & 1),
            maximum_atomic_blocks=fields[11],
            atomic_alignment_blocks=fields[12],
            atomic_granularity_blocks=fields[13],
        )


ROTATION_NOT_REPORTED = 0
ROTATION_NONE = 1
# WABEREQ: not specified (no such command), or reads give data, without a write before.
SANITIZED_NOT_SPECIFIED = 0
SANITIZED_READABLE = 1

_CHARACTERISTICS = struct.Struct(">HBBB55x")
assert _CHARACTERISTICS.size == 60


@dataclass(slots=True)
class BlockCharacteristics:
    """Page B1h.

    `rotation_rate` in turns per minute, 0 not reported, 1 solid state. `form_factor` 0 not reported.
    `after_block_erase` (WABEREQ): how reads behave after SANITIZE BLOCK ERASE.
    """

    rotation_rate: int = ROTATION_NOT_REPORTED
    form_factor: int = 0
    after_block_erase: int = SANITIZED_NOT_SPECIFIED

    def build(self) -> bytes:
        """The page. Raises UnencodableValue."""
        if not 0 <= self.rotation_rate <= 0xFFFF:
            raise UnencodableValue(f"a rotation rate of {self.rotation_rate} does not fit into 16 bits")
        body = _CHARACTERISTICS.pack(
            self.rotation_rate, 0, (self.after_block_erase & 3) << 6 | self.form_factor & 0x0F, 0
        )
        return build_page(BLOCK_CHARACTERISTICS, body)

    @classmethod
    def parse(cls, data: Buffer) -> "BlockCharacteristics":
        """Read page B1h; what was not sent is 0. Raises MalformedData."""
        padded = _padded(data, BLOCK_CHARACTERISTICS, _CHARACTERISTICS)
        rate, _, form_factor, _ = _CHARACTERISTICS.unpack_from(padded)
        return cls(rate, form_factor & 0x0F, form_factor >> 6)


PROVISIONING_FULL = 0
PROVISIONING_RESOURCE = 1
PROVISIONING_THIN = 2

_PROVISIONING = struct.Struct(">BBBx")
assert _PROVISIONING.size == 4


@dataclass(slots=True)
class LogicalBlockProvisioning:
    """Page B2h: `unmap`, `write_same_16`, `write_same_10` say how blocks are given back.

    `reads_zeros` is LBPRZ.
    """

    unmap: bool = False
    write_same_16: bool = False
    write_same_10: bool = False
    reads_zeros: bool = False
    anchors: bool = False
    provisioning_type: int = PROVISIONING_FULL
    threshold_exponent: int = 0

    def build(self) -> bytes:
        """The page."""
        flags = (
            (0x80 if self.unmap else 0)
            | (0x40 if self.write_same_16 else 0)
            | (0x20 if self.write_same_10 else 0)
            | (0x04 if self.reads_zeros else 0)
            | (0x02 if self.anchors else 0)
        )
        body = _PROVISIONING.pack(self.threshold_exponent & 0xFF, flags, self.provisioning_type & 7)
        return build_page(LOGICAL_BLOCK_PROVISIONING, body)

    @classmethod
    def parse(cls, data: Buffer) -> "LogicalBlockProvisioning":
        """Read page B2h; what was not sent is off. Raises MalformedData."""
        padded = _padded(data, LOGICAL_BLOCK_PROVISIONING, _PROVISIONING)
        exponent, flags, kind = _PROVISIONING.unpack_from(padded)
        return cls(
            unmap=bool(flags & 0x80),
            write_same_16=bool(flags & 0x40),
            write_same_10=bool(flags & 0x20),
            reads_zeros=bool(flags & 0x04),
            anchors=bool(flags & 0x02),
            provisioning_type=kind & 7,
            threshold_exponent=exponent,
        )
