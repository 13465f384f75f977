"""MODE SELECT parameter lists."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from san_console.scsi import mode
from san_console.scsi.errors import MalformedData
from san_console.scsi.mode_select import MAX_SELECTED_PAGES, InvalidSelection, parse_mode_select

CACHING = mode.CachingPage(write_cache=True).build()
CONTROL = mode.ControlPage().build()


@pytest.mark.parametrize("ten", [False, True])
def test_what_mode_sense_gives_can_be_sent_back(ten: bool) -> None:
    build = mode.build_10 if ten else mode.build_6
    data = bytearray(build([CACHING, CONTROL], descriptor=mode.short_descriptor(100, 512)))
    start = 8 + 8 if ten else 4 + 8
    data[start] |= 0x80  # PS
    found = parse_mode_select(data, ten=ten)
    assert (found.blocks, found.block_bytes) == (100, 512)
    assert [(page.code, page.subpage, page.data) for page in found.pages] == [
        (8, 0, CACHING),
        (10, 0, CONTROL),
    ]
    assert found.page_octets == [start, start + 20]


def test_long_descriptors_and_none() -> None:
    data = mode.build_10([CACHING], descriptor=mode.long_descriptor(1 << 40, 4096))
    found = parse_mode_select(data, ten=True)
    assert (found.blocks, found.block_bytes) == (1 << 40, 4096)
    assert parse_mode_select(bytes(4), ten=False).blocks is None


def test_subpages() -> None:
    found = parse_mode_select(bytes(4) + b"\x4a\x01\0\2ab", ten=False)
    assert (found.pages[0].code, found.pages[0].subpage, found.pages[0].data) == (10, 1, b"\x4a\x01\0\2ab")


@pytest.mark.parametrize(
    ("data", "ten"),
    [
        (bytes(3), False),
        (bytes(7), True),
        (b"\0\0\0\x08" + bytes(7), False),
        (bytes(4) + CACHING[:-1], False),
        (bytes(4) + b"\x08", False),
        (bytes(4) + b"\x4a\x01\0", False),
    ],
)
def test_lengths_that_lie(data: bytes, ten: bool) -> None:
    with pytest.raises(MalformedData) as error:
        parse_mode_select(data, ten=ten)
    assert not isinstance(error.value, InvalidSelection)


@pytest.mark.parametrize(
    ("data", "ten", "octet"),
    [
        (b"\0\0\0\x10" + bytes(16), False, 2),
        (b"\0\0\0\0\1\0\0\x08" + bytes(8), True, 6),
        (bytes(4) + b"\x08\0" * (MAX_SELECTED_PAGES + 1), False, 4 + 2 * MAX_SELECTED_PAGES),
    ],
)
def test_values_that_cannot_be(data: bytes, ten: bool, octet: int) -> None:
    with pytest.raises(InvalidSelection) as error:
        parse_mode_select(data, ten=ten)
    assert error.value.octet == octet


@given(st.binary(max_size=80), st.booleans())
def test_no_list_breaks_the_parser(data: bytes, ten: bool) -> None:
    try:
        found = parse_mode_select(data, ten=ten)
    except MalformedData:
        return
    assert sum(len(page.data) for page in found.pages) <= len(data)
