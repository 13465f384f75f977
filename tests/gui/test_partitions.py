"""Partition tables as a LUN holds them, also broken ones."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from san_console.gui.models.partitions import read_partitions, table_bytes
from san_console.gui.models.sizes import parse_size

MIB = 2**20
LINUX = bytes.fromhex("af3dc60f838472478e793d69d8477de4")


def gpt(entries: list[tuple[bytes, int, int, str]], *, block_bytes: int = 512, count: int = 128) -> bytes:
    header = struct.pack(
        "<8s4I4Q16sQ3I", b"EFI PART", 0x10000, 92, 0, 0, 1, 99, 34, 90, b"", 2, count, 128, 0
    )
    rows = b"".join(
        struct.pack("<16s16sQQQ72s", kind, b"\1" * 16, first, last, 0, name.encode("utf-16-le"))
        for kind, first, last, name in entries
    )
    return (bytes(block_bytes) + header.ljust(block_bytes, b"\0") + rows).ljust(
        table_bytes(block_bytes), b"\0"
    )


@pytest.mark.parametrize("block_bytes", [512, 4096])
def test_gpt_names_places_and_free_space(block_bytes: int) -> None:
    size = 100 * MIB
    half = size // block_bytes // 2
    data = gpt([(LINUX, 256, half - 1, "data")], block_bytes=block_bytes)
    pieces = read_partitions(data, block_bytes, size)
    assert [(piece.name, piece.kind, piece.free) for piece in pieces] == [
        ("data", "Linux", False),
        ("free", "", True),
    ]
    assert pieces[0].start_bytes == 256 * block_bytes
    assert pieces[1].start_bytes == half * block_bytes
    assert pieces[1].size_bytes == size // 2


def test_a_name_from_the_disk_is_made_visible() -> None:
    data = gpt([(LINUX, 34, 2000, "a\u202eb\x1b[31m")])
    assert "\u202e" not in read_partitions(data, 512, MIB)[0].name


@pytest.mark.parametrize("last", [10, 10**15])
def test_partitions_that_cannot_be_are_left_out(last: int) -> None:
    assert read_partitions(gpt([(LINUX, 34, last, "x")]), 512, MIB) == []


def test_mbr() -> None:
    data = bytearray(table_bytes(512))
    data[446:462] = struct.pack("<B3sB3sII", 0x80, b"", 0x83, b"", 2048, 4096)
    data[510:512] = b"\x55\xaa"
    pieces = read_partitions(bytes(data), 512, 8 * MIB)
    assert pieces[1].kind == "Linux"
    assert pieces[1].size_bytes == 2 * MIB


@settings(max_examples=80, deadline=None)
@given(st.binary(max_size=600), st.sampled_from([512, 4096]), st.integers(0, 2**62))
def test_no_bytes_raise(noise: bytes, block_bytes: int, size: int) -> None:
    data = gpt([(LINUX, 34, 2000, "x")], block_bytes=block_bytes, count=0xFFFFFFFF)
    data = data[: block_bytes + 60] + noise + data[block_bytes + 60 + len(noise) :]
    for piece in read_partitions(data, block_bytes, size):
        assert piece.start_bytes >= 0
        assert piece.start_bytes + piece.size_bytes <= size


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("4096", 4096),
        ("256M", 256 * MIB),
        ("1.5 GiB", 1536 * MIB),
        ("2t", 2**41),
        ("0x200", 512),
        ("1 kb", 1024),
    ],
)
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "x", "1.5", "-1", "9999P", "1 Q", "1e9", "٣"])
def test_texts_that_are_no_size(text: str) -> None:
    if text == "٣":
        # Digits of other scripts are digits to Python; they mean the same number.
        assert parse_size(text) == 3
        return
    with pytest.raises(ValueError):
        parse_size(text)
