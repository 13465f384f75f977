"""The partitions of a LUN, read from its first blocks: GPT (UEFI 2.10 §5.3) and MBR.

Nothing here trusts what it reads: counts are limited, and a partition that lies outside the LUN is left
out.
"""

from __future__ import annotations

import struct
import uuid
from dataclasses import dataclass
from typing import Final

from san_console.gui.translation import QT_TRANSLATE_NOOP, translate, translated
from san_console.names.display import visible

MAX_PARTITIONS: Final = 128
"""What a GPT has room for at least, and more than anyone can see in a strip."""

_GPT_HEADER: Final = struct.Struct("<8s4sIIIQQQQ16sQIII")
_GPT_ENTRY: Final = struct.Struct("<16s16sQQQ72s")
_MBR_ENTRY: Final = struct.Struct("<B3sB3sII")
assert _GPT_HEADER.size == 92
assert _GPT_ENTRY.size == 128
assert _MBR_ENTRY.size == 16
_ENTRIES_BYTES: Final = MAX_PARTITIONS * _GPT_ENTRY.size
_PROTECTIVE: Final = 0xEE

_GPT_TYPES: Final[dict[str, str]] = {
    "c12a7328-f81f-11d2-ba4b-00a0c93ec93b": QT_TRANSLATE_NOOP("Table", "EFI system"),
    "21686148-6449-6e6f-744e-656564454649": QT_TRANSLATE_NOOP("Table", "BIOS boot"),
    "0fc63daf-8483-4772-8e79-3d69d8477de4": "Linux",
    "e6d6d379-f507-44c2-a23c-238f2a3df928": "Linux LVM",
    "a19d880f-05fc-4d3b-a006-743f0f84911e": "Linux RAID",
    "0657fd6d-a4ab-43c4-84e5-0933c84b4f4f": QT_TRANSLATE_NOOP("Table", "Linux swap"),
    "ebd0a0a2-b9e5-4433-87c0-68b6b72699c7": QT_TRANSLATE_NOOP("Table", "Windows data"),
    "e3c9e316-0b5c-4db8-817d-f92df00215ae": QT_TRANSLATE_NOOP("Table", "Windows reserved"),
    "aa31e02a-400f-11db-9590-000c2911d1b8": "VMFS",
    "6a898cc3-1dd2-11b2-99a6-080020736631": "ZFS",
    "516e7cb6-6ecf-11d6-8ff8-00022d09712b": "FreeBSD UFS",
}
_MBR_TYPES: Final[dict[int, str]] = {
    0x05: QT_TRANSLATE_NOOP("Table", "extended"),
    0x07: QT_TRANSLATE_NOOP("Table", "NTFS or exFAT"),
    0x0B: "FAT32",
    0x0C: "FAT32",
    0x0F: QT_TRANSLATE_NOOP("Table", "extended"),
    0x82: QT_TRANSLATE_NOOP("Table", "Linux swap"),
    0x83: "Linux",
    0x8E: "Linux LVM",
    0xFB: "VMFS",
    0xFD: "Linux RAID",
}


@dataclass(frozen=True, slots=True)
class Piece:
    """A partition, or `free` space between two."""

    name: str
    kind: str
    start_bytes: int
    size_bytes: int
    free: bool = False


def table_bytes(block_bytes: int) -> int:
    """How much of the beginning of a LUN holds its partition table."""
    return 2 * block_bytes + _ENTRIES_BYTES


def read_partitions(data: bytes, block_bytes: int, lun_bytes: int) -> list[Piece]:
    """The pieces of a LUN in order, free space included; empty where there is no table that can be read."""
    found = _gpt(data, block_bytes, lun_bytes) or _mbr(data, lun_bytes)
    return _with_gaps(sorted(found, key=lambda piece: piece.start_bytes), lun_bytes) if found else []


def _gpt(data: bytes, block_bytes: int, lun_bytes: int) -> list[Piece]:
    header = data[block_bytes : block_bytes + _GPT_HEADER.size]
    if len(header) < _GPT_HEADER.size or header[:8] != b"EFI PART":
        return []
    fields = _GPT_HEADER.unpack(header)
    first_lba, count, entry_bytes = fields[10], fields[11], fields[12]
    if not _GPT_ENTRY.size <= entry_bytes <= 4096:
        return []
    found = []
    for number in range(min(count, MAX_PARTITIONS)):
        at = first_lba * block_bytes + number * entry_bytes
        if at + _GPT_ENTRY.size > len(data):
            break
        kind, _unique, first, last, _flags, name = _GPT_ENTRY.unpack_from(data, at)
        start, end = first * block_bytes, (last + 1) * block_bytes
        if any(kind) and start < end <= lun_bytes:
            type_name = translated(
                _GPT_TYPES.get(str(uuid.UUID(bytes_le=kind)), QT_TRANSLATE_NOOP("Table", "partition"))
            )
            label = name.decode("utf-16-le", "replace").split("\0", 1)[0]
            found.append(Piece(visible(label, 64) or type_name, type_name, start, end - start))
    return found


def _mbr(data: bytes, lun_bytes: int) -> list[Piece]:
    if len(data) < 512 or data[510:512] != b"\x55\xaa":
        return []
    found = []
    for number in range(4):
        boot, _head, kind, _tail, first, count = _MBR_ENTRY.unpack_from(data, 446 + number * 16)
        # Sectors of an MBR have 512 bytes, whatever the LUN's blocks have.
        start, size = first * 512, count * 512
        if boot in (0, 0x80) and kind not in (0, _PROTECTIVE) and size and start + size <= lun_bytes:
            type_name = (
                translated(_MBR_TYPES[kind])
                if kind in _MBR_TYPES
                else translate("partitions", "type {kind:02x}").format(kind=kind)
            )
            found.append(
                Piece(
                    translate("partitions", "Partition {number}").format(number=number + 1),
                    type_name,
                    start,
                    size,
                )
            )
    return found


def _with_gaps(found: list[Piece], lun_bytes: int) -> list[Piece]:
    """Free space is worth showing from a hundredth of the LUN on; less is alignment."""
    pieces: list[Piece] = []
    at = 0
    worth = lun_bytes // 100
    for piece in found:
        if piece.start_bytes - at > worth:
            pieces.append(Piece(translate("partitions", "free"), "", at, piece.start_bytes - at, free=True))
        pieces.append(piece)
        at = max(at, piece.start_bytes + piece.size_bytes)
    if lun_bytes - at > worth:
        pieces.append(Piece(translate("partitions", "free"), "", at, lun_bytes - at, free=True))
    return pieces
