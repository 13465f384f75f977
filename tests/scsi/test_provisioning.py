"""UNMAP lists and LBA status."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from san_console.scsi.errors import MalformedData, UnencodableValue
from san_console.scsi.provisioning import (
    DEALLOCATED,
    MAX_UNMAP_DESCRIPTORS,
    Extent,
    ExtentStatus,
    build_lba_status,
    build_unmap_list,
    parse_lba_status,
    parse_unmap_list,
)

lbas = st.integers(0, 2**64 - 1)
counts = st.integers(0, 2**32 - 1)


def test_octets() -> None:
    assert build_unmap_list([(1, 2)]).hex() == "001600100000000000000000000000010000000200000000"  # fmt: skip
    assert build_lba_status([ExtentStatus(1, 2, DEALLOCATED)]).hex() == (
        "000000140000000000000000000000010000000201000000"
    )  # fmt: skip


@given(st.lists(st.builds(Extent, lbas, counts), max_size=20))
def test_unmap_round_trip(extents: list[Extent]) -> None:
    assert parse_unmap_list(memoryview(build_unmap_list(extents))) == extents


@given(st.lists(st.builds(ExtentStatus, lbas, counts, st.integers(0, 15)), max_size=20))
def test_status_round_trip(extents: list[ExtentStatus]) -> None:
    assert parse_lba_status(memoryview(build_lba_status(extents))) == extents


def test_unmap_lists_that_lie() -> None:
    with pytest.raises(MalformedData, match="no header"):
        parse_unmap_list(bytes(7))
    with pytest.raises(MalformedData, match="of which 16 came"):
        parse_unmap_list(bytes.fromhex("002600200000000000000000000000010000000200000000"))
    partial = bytes.fromhex("0016000f00000000") + bytes(16)
    assert parse_unmap_list(partial) == []


def test_lba_status_that_lies() -> None:
    with pytest.raises(MalformedData, match="no header"):
        parse_lba_status(bytes(7))
    whole = build_lba_status([ExtentStatus(0, 8, 0), ExtentStatus(8, 8, 1)])
    assert parse_lba_status(whole[:-1]) == [ExtentStatus(0, 8, 0)]
    assert parse_lba_status(b"\xff\xff\xff\xff" + whole[4:]) == parse_lba_status(whole)
    assert parse_lba_status(bytes(24)) == []


def test_what_does_not_fit() -> None:
    assert (
        len(parse_unmap_list(build_unmap_list([(0, 1)] * (MAX_UNMAP_DESCRIPTORS)))) == MAX_UNMAP_DESCRIPTORS
    )
    for extents in ([(0, 1)] * (MAX_UNMAP_DESCRIPTORS + 1), [(-1, 1)], [(0, 2**32)]):
        with pytest.raises(UnencodableValue):
            build_unmap_list(extents)
    with pytest.raises(UnencodableValue):
        build_lba_status([ExtentStatus(0, 2**32, 0)])
