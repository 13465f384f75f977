"""EXTENDED COPY lists and RECEIVE COPY RESULTS data, octet by octet."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from san_console.scsi import extended_copy as codec
from san_console.scsi.errors import MalformedData

LIMITS = codec.Limits(cscds=2, segments=3, list_bytes=160)
NAA = bytes.fromhex("3123456789abcdef")


def cscd(designator: bytes = NAA, *, kind: int = 0xE4, length: int | None = None, block: int = 512) -> bytes:
    size = len(designator) if length is None else length
    return (
        bytes([kind, 0, 0, 0, 1, 3, 0, size])
        + designator.ljust(20, b"\0")
        + bytes([0])
        + block.to_bytes(3, "big")
    )


def segment(
    source: int = 0, destination: int = 1, blocks: int = 8, *, kind: int = 2, flags: int = 0, length: int = 24
) -> bytes:
    return struct.pack(">BBHHHHHQQ", kind, flags, length, source, destination, 0, blocks, 100, 200)


def lid1(cscds: bytes, segments: bytes, *, list_id: int = 7, usage: int = 0, inline: int = 0) -> bytes:
    header = struct.pack(">BBHIII", list_id, usage << 3, len(cscds), 0, len(segments), inline)
    return header + cscds + segments


def lid4(cscds: bytes, segments: bytes, *, list_id: int = 0x01020304, flags: int = 0) -> bytes:
    header = bytearray(48)
    header[0], header[2:4], header[15], header[16] = 1, b"\0\x20", flags, 0xFF
    header[20:24] = list_id.to_bytes(4, "big")
    header[42:48] = struct.pack(">HHH", len(cscds), len(segments), 0)
    return bytes(header) + cscds + segments


def test_a_list_with_everything() -> None:
    found = codec.parse_copy_list(lid1(cscd() + cscd(b"t"), segment() + segment(1, 0, flags=2)), LIMITS)
    assert (found.list_id, found.usage, found.immediate, found.inline_bytes) == (7, 0, False, 0)
    assert found.cscds[0] == codec.Cscd(1, 0, 3, NAA, 512)
    assert found.cscds[1].designator == b"t"
    assert found.segments[0] == codec.BlockToBlock(0, 1, 8, 100, 200, False)
    assert found.segments[1].destination_count


def test_the_longer_header() -> None:
    found = codec.parse_copy_list(lid4(cscd(), segment(), flags=1), LIMITS, lid4=True)
    assert (found.list_id, found.immediate) == (0x01020304, True)
    assert len(found.cscds) == len(found.segments) == 1
    for octet in (0, 3, 16):
        wrong = bytearray(lid4(cscd(), segment()))
        wrong[octet] ^= 0x40
        with pytest.raises(codec.BadDescriptor):
            codec.parse_copy_list(bytes(wrong), LIMITS, lid4=True)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        lid1(cscd(), segment())[:15],
        lid1(cscd(), segment())[:-1],
        lid1(cscd()[:-1], b""),
        lid1(cscd(), segment()[:-1]),
        lid1(cscd(), segment() * 5),  # more than list_bytes
        lid1(cscd(), segment(), inline=4),
    ],
)
def test_lengths_that_lie(data: bytes) -> None:
    with pytest.raises(codec.ListLengthError):
        codec.parse_copy_list(data, LIMITS)


@pytest.mark.parametrize(
    ("data", "kind", "octet"),
    [
        (lid1(cscd() * 3, segment()), codec.TOO_MANY_CSCDS, 80),
        (lid1(cscd(), segment() * 4), codec.TOO_MANY_SEGMENTS, 16 + 32 + 3 * 28),
        (lid1(cscd(kind=0xE0), segment()), codec.UNKNOWN_CSCD, 16),
        (lid1(cscd(), segment(kind=3)), codec.UNKNOWN_SEGMENT, 48),
        (lid1(cscd(), segment(length=23)), codec.BAD_FIELD, 50),
        (lid1(cscd(length=0), segment()), codec.BAD_FIELD, 23),
        (lid1(cscd(length=21), segment()), codec.BAD_FIELD, 23),
        (lid1(cscd(), segment(), usage=1), codec.BAD_FIELD, 1),
        (lid1(cscd(), segment(), usage=3), codec.BAD_FIELD, 1),
    ],
)
def test_descriptors_that_cannot_be(data: bytes, kind: str, octet: int) -> None:
    with pytest.raises(codec.BadDescriptor) as error:
        codec.parse_copy_list(data, LIMITS)
    assert (error.value.kind, error.value.octet) == (kind, octet)


@given(st.binary(max_size=300), st.booleans())
def test_no_list_breaks_the_parser(data: bytes, long: bool) -> None:
    try:
        found = codec.parse_copy_list(data, LIMITS, lid4=long)
    except MalformedData:
        return
    assert len(found.cscds) <= LIMITS.cscds
    assert len(found.segments) <= LIMITS.segments


def test_results() -> None:
    status = codec.build_status_lid1(codec.COMPLETED, 3, 4096)
    assert status == bytes.fromhex("000000080100030000001000")
    assert codec.build_status_lid1(0, 0, 1 << 33)[7:] == bytes([1]) + (1 << 23).to_bytes(4, "big")
    assert codec.build_status_lid1(0, 0, 1 << 50)[7] == 2
    long = codec.build_status_lid4(codec.FAILED, 2, 512, 2, b"sense")
    assert int.from_bytes(long[:4], "big") == len(long) - 4
    assert (long[5], long[12], long[14], long[32:]) == (2, 2, 5, b"sense")
    assert codec.build_failure_details(None, b"") == bytes(4)
    details = codec.build_failure_details(2, b"xy")
    assert (int.from_bytes(details[:4], "big"), details[56], details[58:60], details[60:]) == (
        58,
        2,
        b"\0\2",
        b"xy",
    )
    operating = codec.build_operating_parameters(LIMITS, 1 << 20, 16)
    assert int.from_bytes(operating[:4], "big") == len(operating) - 4
    assert struct.unpack_from(">HHII", operating, 8) == (2, 3, 160, 1 << 20)
    assert operating[43:] == bytes([2, 0x02, 0xE4])


def test_the_page_of_third_party_copy() -> None:
    body = codec.build_third_party_copy({0x83: (0, 1), 0x84: (0, 3, 4)}, LIMITS, 1 << 20, 4)
    kinds = []
    position = 0
    while position < len(body):
        kind, length = struct.unpack_from(">HH", body, position)
        assert length % 4 == 0
        kinds.append(kind)
        position += 4 + length
    assert kinds == [0x0001, 0x0004, 0x0008, 0x000C, 0x8001]
    assert body[4:14] == bytes([9, 0x83, 2, 0, 1, 0x84, 3, 0, 3, 4])
