"""Hexdump layout: what an administrator sees of a block."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from san_console.wire.hexdump import hexdump, hexdump_lines


def test_two_groups_and_aligned_last_line() -> None:
    assert hexdump(b"0123456789abcdef\x00\xffAB").split("\n") == [
        "00000000  30 31 32 33 34 35 36 37  38 39 61 62 63 64 65 66  |0123456789abcdef|",
        "00000010  00 ff 41 42                                       |..AB|",
    ]


def test_no_octets_give_no_lines() -> None:
    assert hexdump(b"") == ""


def test_offset_column_grows_for_all_lines() -> None:
    lines = list(hexdump_lines(bytes(32), offset=0xFFFF_FFF0))
    assert [line.split()[0] for line in lines] == ["0fffffff0", "100000000"]


def test_one_octet_wide() -> None:
    assert hexdump(b"A\n", width=1).split("\n") == ["00000000  41  |A|", "00000001  0a  |.|"]


def test_width_of_zero_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one octet"):
        list(hexdump_lines(b"x", width=0))


@given(st.binary(max_size=200), st.integers(1, 40), st.integers(0, 2**40))
def test_the_octets_can_be_read_back(data: bytes, width: int, offset: int) -> None:
    text = hexdump(memoryview(data), offset, width)
    octets = "".join(re.sub(r"^[0-9a-f]+  (.*)  \|.*\|$", r"\1", line) for line in text.split("\n"))
    assert bytes.fromhex(octets) == data
    assert text.isprintable() or "\n" in text
