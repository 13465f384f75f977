"""The table of additional sense codes, and what is said about codes outside of it."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from san_console.scsi.asc import asc_table, asc_text
from san_console.scsi.asc_table_00_2f import ASC_TABLE_00_2F
from san_console.scsi.asc_table_30_7f import ASC_TABLE_30_7F


def test_every_row_is_well_formed_ordered_and_unique() -> None:
    rows = (ASC_TABLE_00_2F + ASC_TABLE_30_7F).splitlines()
    assert all(re.fullmatch(r"[0-9A-F]{2}/[0-9A-F]{2} [A-Z][ -~]*[A-Z0-9)]", row) for row in rows)
    assert [row[:5] for row in rows] == sorted({row[:5] for row in rows})
    assert len(asc_table()) == len(rows) > 700
    assert all(row < "30" for row in ASC_TABLE_00_2F.splitlines())


@pytest.mark.parametrize(
    ("asc", "ascq", "text"),
    [
        (0x21, 0x00, "LOGICAL BLOCK ADDRESS OUT OF RANGE"),
        (0x27, 0x07, "SPACE ALLOCATION FAILED WRITE PROTECT"),
        (0x40, 0x85, "DIAGNOSTIC FAILURE ON COMPONENT 85h"),
        (0x4D, 0x10, "TAGGED OVERLAPPED COMMANDS (TASK TAG 10h)"),
        (0x70, 0x01, "DECOMPRESSION EXCEPTION SHORT ALGORITHM ID OF 01h"),
        (0x80, 0x01, "VENDOR SPECIFIC CODE 80h QUALIFIER 01h"),
        (0x04, 0x90, "LOGICAL UNIT NOT READY, CAUSE NOT REPORTABLE, VENDOR SPECIFIC QUALIFIER 90h"),
        (0x25, 0x01, "LOGICAL UNIT NOT SUPPORTED, QUALIFIER 01h"),
        (0x7F, 0x01, "UNASSIGNED CODE 7Fh QUALIFIER 01h"),
        (0x7F, 0x81, "UNASSIGNED CODE 7Fh QUALIFIER 81h"),
    ],
)
def test_texts(asc: int, ascq: int, text: str) -> None:
    assert asc_text(asc, ascq) == text


@given(st.integers(0, 255), st.integers(0, 255))
def test_there_is_always_a_text(asc: int, ascq: int) -> None:
    assert asc_text(asc, ascq).isprintable()
