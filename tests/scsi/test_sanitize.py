"""The parameter list of SANITIZE, OVERWRITE."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from san_console.scsi.errors import MalformedData
from san_console.scsi.sanitize import Overwrite, parse_overwrite


def test_a_list() -> None:
    assert parse_overwrite(b"\x82\0\0\4abcd", 512) == Overwrite(2, True, b"abcd")
    assert parse_overwrite(b"\x01\0\0\1abcd", 512) == Overwrite(1, False, b"a")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\1\0\0\1",
        b"\1\0\0\1" + bytes(513),
        b"\0\0\0\1x",
        b"\x21\0\0\1x",
        b"\1\0\0\0x",
        b"\1\0\0\2x",
    ],
)
def test_what_is_refused(data: bytes) -> None:
    with pytest.raises(MalformedData):
        parse_overwrite(data, 512)


@given(st.binary(max_size=40))
def test_no_list_breaks_the_parser(data: bytes) -> None:
    try:
        found = parse_overwrite(data, 16)
    except MalformedData:
        return
    assert 1 <= found.passes <= 31
    assert 1 <= len(found.pattern) <= 16
