"""LOG SENSE data, there and back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from san_console.scsi import log_pages as pages
from san_console.scsi.errors import MalformedData, UnencodableValue

PARAMETERS = st.lists(st.builds(pages.Parameter, st.integers(0, 0xFFFF), st.binary(max_size=20)), max_size=5)


@given(PARAMETERS)
def test_parameters_come_back(parameters: list[pages.Parameter]) -> None:
    page = pages.parse_log_page(pages.build_log_page(0x0C, pages.build_parameters(parameters)))
    assert (page.page, page.subpage) == (0x0C, 0)
    assert pages.parse_parameters(page.body) == parameters


@given(st.binary(max_size=60))
def test_no_page_breaks_the_parser(data: bytes) -> None:
    try:
        pages.parse_parameters(pages.parse_log_page(data).body)
    except MalformedData:
        assert len(data) < 4


def test_subpages_and_sizes() -> None:
    assert pages.build_log_page(0, b"ab", subpage=0xFF) == b"\x40\xff\0\2ab"
    assert pages.parse_log_page(b"\x40\xff\0\2ab").subpage == 0xFF
    with pytest.raises(UnencodableValue):
        pages.build_log_page(0, bytes(65536))


def test_what_the_parameters_say() -> None:
    assert pages.resource_count(1, 5, shared=True) == (1, b"\0\0\0\5\2\0\0\0")
    assert pages.resource_count(2, 1 << 40, shared=False) == (2, b"\xff\xff\xff\xff\1\0\0\0")
    assert pages.exception(0x5D, 0) == (0, b"\x5d\0\xff\0")
