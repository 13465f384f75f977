"""What the first blocks of a LUN look like: partition table, file system, volume, or nothing.

Only what the formats' own magic numbers say; nothing is mounted, nothing written.
"""

from __future__ import annotations

import struct
from typing import Final

PROBE_BYTES: Final = 128 * 1024
"""The furthest magic number looked at is that of btrfs, at 64 KiB + 64."""

_GPT_ENTRIES_LIMIT: Final = 128
"""Entries of a GPT that are counted; UEFI asks for at least room for 128."""

_MAGICS: Final[tuple[tuple[int, bytes, str], ...]] = (
    (0, b"XFSB", "XFS"),
    (65536 + 64, b"_BHRfS_M", "btrfs"),
    (3, b"NTFS    ", "NTFS"),
    (3, b"EXFAT   ", "exFAT"),
    (82, b"FAT32   ", "FAT32"),
    (54, b"FAT16   ", "FAT16"),
    (54, b"FAT12   ", "FAT12"),
    (4096 - 10, b"SWAPSPACE2", "Linux swap"),
    (4096 - 10, b"SWAP-SPACE", "Linux swap"),
    (0, b"LUKS\xba\xbe", "LUKS"),
    (4096, b"\xfc\x4e\x2b\xa9", "Linux RAID member"),
    (32768 + 1, b"CD001", "ISO 9660"),
    (1024, b"H+\x00\x04", "HFS+"),
    (32, b"NXSB", "APFS"),
)
"""(offset, magic, name), of blkid's list those that are met on SANs."""

_EXT_MAGIC_OFFSET: Final = 1024 + 56
_EXT_FEATURES_OFFSET: Final = 1024 + 92
_EXT_FEATURES: Final = struct.Struct("<III")
_EXT_HAS_JOURNAL: Final = 0x4
_EXT4_INCOMPAT: Final = 0x40 | 0x80 | 0x200
"""extents, 64bit, flex_bg: what only ext4 knows."""

_GPT_HEADER: Final = struct.Struct("<8s4sIIIQQQQ16sQIII")
assert _GPT_HEADER.size == 92
_MBR_TYPE_PROTECTIVE: Final = 0xEE


def recognise(data: bytes, block_bytes: int) -> str:
    """A few words about `data`, the first bytes of a LUN (up to `PROBE_BYTES`); "unknown data" if need be."""
    if not any(data):
        return "empty"
    table = _gpt(data, block_bytes)
    if table:
        return table
    if data[_EXT_MAGIC_OFFSET : _EXT_MAGIC_OFFSET + 2] == b"\x53\xef":
        return _ext(data)
    for offset, magic, name in _MAGICS:
        if magic and data[offset : offset + len(magic)] == magic:
            return name
    if _is_lvm(data):
        return "LVM2 physical volume"
    return _mbr(data) or "unknown data"


def _gpt(data: bytes, block_bytes: int) -> str:
    header = data[block_bytes : block_bytes + _GPT_HEADER.size]
    if header[:8] != b"EFI PART" or len(header) < _GPT_HEADER.size:
        return ""
    fields = _GPT_HEADER.unpack(header)
    first_lba, count, size = fields[10], fields[11], fields[12]
    if size < 128 or size > 4096:
        return "GPT (damaged)"
    partitions = 0
    for number in range(min(count, _GPT_ENTRIES_LIMIT)):
        at = first_lba * block_bytes + number * size
        partitions += any(data[at : at + 16])
    return f"GPT, {partitions} partition{'' if partitions == 1 else 's'}"


def _ext(data: bytes) -> str:
    features = data[_EXT_FEATURES_OFFSET : _EXT_FEATURES_OFFSET + _EXT_FEATURES.size]
    if len(features) < _EXT_FEATURES.size:
        return "ext2"
    compatible, incompatible, _ = _EXT_FEATURES.unpack(features)
    if incompatible & _EXT4_INCOMPAT:
        return "ext4"
    return "ext3" if compatible & _EXT_HAS_JOURNAL else "ext2"


def _is_lvm(data: bytes) -> bool:
    # The label stands in one of the first four sectors (lvm.conf, label scan).
    return any(
        data[at : at + 8] == b"LABELONE" and data[at + 24 : at + 32] == b"LVM2 001"
        for at in range(0, 2048, 512)
    )


def _mbr(data: bytes) -> str:
    if data[510:512] != b"\x55\xaa":
        return ""
    types = [data[446 + 16 * number + 4] for number in range(4)]
    if _MBR_TYPE_PROTECTIVE in types:
        return "GPT (damaged)"
    partitions = sum(kind != 0 for kind in types)
    if not partitions:
        return "boot sector"
    return f"MBR, {partitions} partition{'' if partitions == 1 else 's'}"
