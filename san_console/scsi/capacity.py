"""READ CAPACITY(10) and (16) (SBC-3), with geometry that no device has refused."""

import struct
from dataclasses import dataclass
from typing import TypeAlias

from san_console.scsi.errors import MalformedData, UnencodableValue, UnusableGeometry

Buffer: TypeAlias = bytes | bytearray | memoryview

READ_CAPACITY_10_BYTES = 8
READ_CAPACITY_16_BYTES = 32

MIN_BLOCK_BYTES = 256
"""SCSI-1 disks had 256; nothing has had less."""

MAX_BLOCK_BYTES = 1 << 20
"""No device goes beyond 64 KiB; a block of a MiB still fits into any buffer here."""

MAX_CAPACITY_BYTES = (1 << 63) - 1
"""The offset type of operating systems is a signed 64-bit number of bytes."""

_BLOCK_GRANULARITY_BYTES = 8  # protection information comes in units of eight octets: 512, 520, 528, 4104, …
_LAST_LBA_TOO_LARGE = 0xFFFF_FFFF
_MAX_ALIGNED_LBA = 0x3FFF

_CAPACITY_10 = struct.Struct(">II")
assert _CAPACITY_10.size == READ_CAPACITY_10_BYTES
_CAPACITY_16 = struct.Struct(">QIBBH16x")
assert _CAPACITY_16.size == READ_CAPACITY_16_BYTES
# Some devices answer with the first twelve octets only.
_SHORTEST_CAPACITY_16_BYTES = 12


@dataclass(slots=True)
class Capacity:
    """A medium of `blocks` blocks of `block_bytes`; 2**`physical_exponent` of them make a physical block.

    `lbpme`: thin or resource provisioned; `lbprz`: unmapped blocks read as zeros; `protection_type` 0 for
    none.
    """

    blocks: int
    block_bytes: int
    physical_exponent: int = 0
    lowest_aligned_lba: int = 0
    lbpme: bool = False
    lbprz: bool = False
    protection_type: int = 0

    @property
    def size_bytes(self) -> int:
        """The size of the medium."""
        return self.blocks * self.block_bytes

    @property
    def physical_block_bytes(self) -> int:
        """The size of a physical block."""
        return self.block_bytes << self.physical_exponent


def check_geometry(blocks: int, block_bytes: int) -> None:
    """Raises UnusableGeometry for a block size or capacity that cannot be worked with."""
    if not MIN_BLOCK_BYTES <= block_bytes <= MAX_BLOCK_BYTES or block_bytes % _BLOCK_GRANULARITY_BYTES:
        raise UnusableGeometry(
            f"a block size of {block_bytes} bytes; it is to be a multiple of {_BLOCK_GRANULARITY_BYTES} "
            f"from {MIN_BLOCK_BYTES} to {MAX_BLOCK_BYTES}"
        )
    if not 1 <= blocks <= MAX_CAPACITY_BYTES // block_bytes:
        raise UnusableGeometry(f"a capacity of {blocks} blocks of {block_bytes} bytes cannot be addressed")


def build_10(capacity: Capacity) -> bytes:
    """READ CAPACITY(10) data.

    FFFFFFFFh for a medium that only READ CAPACITY(16) can tell. Raises UnusableGeometry.
    """
    check_geometry(capacity.blocks, capacity.block_bytes)
    return _CAPACITY_10.pack(min(capacity.blocks - 1, _LAST_LBA_TOO_LARGE), capacity.block_bytes)


def parse_10(data: Buffer) -> Capacity | None:
    """READ CAPACITY(10) data; None when the medium is too large and READ CAPACITY(16) is to be asked.

    Raises MalformedData, UnusableGeometry.
    """
    if len(data) < READ_CAPACITY_10_BYTES:
        raise MalformedData(f"READ CAPACITY(10) data of {len(data)} octets is cut short")
    last_lba, block_bytes = _CAPACITY_10.unpack_from(data)
    if last_lba == _LAST_LBA_TOO_LARGE:
        return None
    check_geometry(last_lba + 1, block_bytes)
    return Capacity(last_lba + 1, block_bytes)


def build_16(capacity: Capacity) -> bytes:
    """READ CAPACITY(16) data. Raises UnusableGeometry, UnencodableValue."""
    check_geometry(capacity.blocks, capacity.block_bytes)
    if not (0 <= capacity.physical_exponent <= 15 and 0 <= capacity.lowest_aligned_lba <= _MAX_ALIGNED_LBA):
        raise UnencodableValue("a physical block is at most 2**15 blocks, its first aligned LBA below 16384")
    protection = capacity.protection_type
    if not 0 <= protection <= 3:
        raise UnencodableValue(f"protection type {protection} does not exist")
    return _CAPACITY_16.pack(
        capacity.blocks - 1,
        capacity.block_bytes,
        (protection - 1) << 1 | 1 if protection else 0,
        capacity.physical_exponent,
        (0x8000 if capacity.lbpme else 0) | (0x4000 if capacity.lbprz else 0) | capacity.lowest_aligned_lba,
    )


def parse_16(data: Buffer) -> Capacity:
    """READ CAPACITY(16) data. Raises MalformedData, UnusableGeometry."""
    if len(data) < _SHORTEST_CAPACITY_16_BYTES:
        raise MalformedData(f"READ CAPACITY(16) data of {len(data)} octets is cut short")
    padded = bytes(data[:READ_CAPACITY_16_BYTES]).ljust(READ_CAPACITY_16_BYTES, b"\0")
    last_lba, block_bytes, protection, exponents, provisioning = _CAPACITY_16.unpack(padded)
    check_geometry(last_lba + 1, block_bytes)
    return Capacity(
        blocks=last_lba + 1,
        block_bytes=block_bytes,
        physical_exponent=exponents & 0x0F,
        lowest_aligned_lba=provisioning & _MAX_ALIGNED_LBA,
        lbpme=bool(provisioning & 0x8000),
        lbprz=bool(provisioning & 0x4000),
        # SBC-3: PROT_EN says whether, P_TYPE plus one says which.
        protection_type=(protection >> 1 & 7) + 1 if protection & 1 else 0,
    )
