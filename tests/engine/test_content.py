from __future__ import annotations

import shutil
import struct
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from san_console.engine.content import PROBE_BYTES, recognise


def image(*pieces: tuple[int, bytes]) -> bytes:
    data = bytearray(PROBE_BYTES)
    for offset, piece in pieces:
        data[offset : offset + len(piece)] = piece
    return bytes(data)


def gpt(block_bytes: int, partitions: int, *, size: int = 128) -> bytes:
    header = struct.pack(
        "<8s4sIIIQQQQ16sQIII", b"EFI PART", b"\0\0\1\0", 92, 0, 0, 1, 0, 0, 0, b"", 2, 128, size, 0
    )
    entries = b"".join(bytes([number + 1]) * 16 + bytes(112) for number in range(partitions))
    return image((510, b"\x55\xaa"), (446 + 4, b"\xee"), (block_bytes, header), (2 * block_bytes, entries))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (bytes(PROBE_BYTES), "empty"),
        (b"", "empty"),
        (gpt(512, 2), "GPT, 2 partitions"),
        (gpt(512, 1), "GPT, 1 partition"),
        (gpt(512, 0), "GPT, 0 partitions"),
        (gpt(512, 1, size=0), "GPT (damaged)"),
        (image((510, b"\x55\xaa"), (446 + 4, b"\xee")), "GPT (damaged)"),
        (image((510, b"\x55\xaa"), (450, b"\x83"), (466, b"\x82")), "MBR, 2 partitions"),
        (image((510, b"\x55\xaa")), "boot sector"),
        (image((1080, b"\x53\xef")), "ext2"),
        (image((1080, b"\x53\xef"), (1116, struct.pack("<I", 4))), "ext3"),
        (image((1080, b"\x53\xef"), (1120, struct.pack("<I", 0x40))), "ext4"),
        (image((0, b"XFSB")), "XFS"),
        (image((65536 + 64, b"_BHRfS_M")), "btrfs"),
        (image((3, b"NTFS    "), (510, b"\x55\xaa")), "NTFS"),
        (image((82, b"FAT32   "), (510, b"\x55\xaa")), "FAT32"),
        (image((4086, b"SWAPSPACE2")), "Linux swap"),
        (image((512, b"LABELONE"), (536, b"LVM2 001")), "LVM2 physical volume"),
        (image((0, b"LUKS\xba\xbe")), "LUKS"),
        (image((9999, b"whatever")), "unknown data"),
    ],
)
def test_formats_are_recognised_by_their_magic(data: bytes, words: str) -> None:
    assert recognise(data, 512) == words


def test_a_gpt_lies_in_the_second_block_whatever_its_size() -> None:
    assert recognise(gpt(4096, 3), 4096) == "GPT, 3 partitions"
    assert recognise(gpt(4096, 3), 512) == "GPT (damaged)"


@given(st.binary(max_size=2048), st.sampled_from([512, 4096]))
@settings(max_examples=200)
def test_nothing_makes_it_fail(data: bytes, block_bytes: int) -> None:
    assert recognise(data, block_bytes)
    assert recognise(data + b"EFI PART" + data, len(data) or 512)


@pytest.mark.parametrize(
    ("program", "arguments", "words"),
    [
        ("mkfs.ext4", ["-q", "-F"], "ext4"),
        ("mkfs.ext3", ["-q", "-F"], "ext3"),
        ("mkfs.ext2", ["-q", "-F"], "ext2"),
        ("mkswap", ["-q"], "Linux swap"),
    ],
)
def test_what_the_real_tools_write(tmp_path: Path, program: str, arguments: list[str], words: str) -> None:
    path = shutil.which(program, path="/sbin:/usr/sbin:/usr/bin:/bin")
    if path is None:
        pytest.skip(f"{program} is not installed: sudo apt-get install e2fsprogs util-linux")
    disk = tmp_path / "disk"
    with disk.open("wb") as file:
        file.truncate(16 * 1024 * 1024)
    subprocess.run([path, *arguments, str(disk)], check=True, capture_output=True)
    assert recognise(disk.read_bytes()[:PROBE_BYTES], 512) == words
