"""REPORT LUNS lists."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from san_console.names.errors import InvalidLun
from san_console.names.lun import REPORT_LUNS_WLUN_U64, encode_lun_u64
from san_console.scsi import luns
from san_console.scsi.errors import MalformedData


def test_octets() -> None:
    data = luns.build([256, 0, 1, 1])
    assert data.hex() == "0000001800000000000000000000000000010000000000004100000000000000"  # fmt: skip


@given(st.sets(st.integers(0, 16383), max_size=60))
def test_round_trip(numbers: set[int]) -> None:
    found = luns.parse(memoryview(luns.build(numbers)))
    assert found.luns == sorted(numbers)
    assert found.addresses == {number: encode_lun_u64(number) for number in numbers}
    assert (found.skipped, found.truncated, found.needed_bytes) == (0, False, 8 + 8 * len(numbers))


def test_the_address_that_was_listed_is_kept() -> None:
    found = luns.parse(luns.build_raw([0x4005_0000_0000_0000, REPORT_LUNS_WLUN_U64, 0x0005_0000_0000_0000]))
    assert found.luns == [5]
    assert found.addresses == {5: 0x4005_0000_0000_0000}
    assert found.skipped == 2


def test_a_list_cut_by_the_allocation_length() -> None:
    found = luns.parse(luns.build(range(10))[: 8 + 24 + 3])
    assert found.luns == [0, 1, 2]
    assert found.truncated
    assert found.needed_bytes == 88


def test_a_length_that_lies() -> None:
    found = luns.parse(b"\xff\xff\xff\xf8" + bytes(4) + bytes(8))
    assert found.luns == [0]
    assert found.truncated
    assert found.needed_bytes == 8 + 8 * luns.MAX_LUNS
    assert luns.parse(b"\0\0\0\x07" + bytes(12)).luns == []


def test_a_flood_is_capped() -> None:
    found = luns.parse(luns.build_raw([0] * (luns.MAX_LUNS + 5)))
    assert found.luns == [0]
    assert found.skipped == luns.MAX_LUNS - 1
    assert found.truncated


def test_no_header_and_no_such_lun() -> None:
    with pytest.raises(MalformedData, match="7 octets"):
        luns.parse(bytes(7))
    with pytest.raises(InvalidLun):
        luns.build([16384])


@given(st.binary(min_size=8, max_size=200))
def test_any_octets(data: bytes) -> None:
    found = luns.parse(data)
    assert len(found.luns) + found.skipped <= (len(data) - 8) // 8
    assert found.luns == sorted(found.addresses)
