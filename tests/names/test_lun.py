"""LUN numbers on the wire."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from san_console.names.errors import InvalidLun, NamesError
from san_console.names.lun import (
    REPORT_LUNS_WLUN_U64,
    decode_lun,
    decode_lun_u64,
    encode_lun,
    encode_lun_u64,
)


@pytest.mark.parametrize(
    ("lun", "octets"),
    [
        (0, "0000000000000000"),
        (1, "0001000000000000"),
        (255, "00ff000000000000"),
        (256, "4100000000000000"),
        (16383, "7fff000000000000"),
    ],
)
def test_methods_of_sam_5(lun: int, octets: str) -> None:
    assert encode_lun(lun).hex() == octets
    assert decode_lun(bytes.fromhex(octets)) == lun


def test_flat_addressing_of_a_small_lun_is_understood() -> None:
    assert decode_lun(memoryview(bytes.fromhex("4005000000000000"))) == 5


@pytest.mark.parametrize("lun", [-1, 16384, 2**64])
def test_numbers_that_no_method_holds(lun: int) -> None:
    with pytest.raises(InvalidLun, match="0 to 16383"):
        encode_lun_u64(lun)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (REPORT_LUNS_WLUN_U64, "extended"),
        (0x8001_0000_0000_0000, "logical unit addressing"),
        (0x0101_0000_0000_0000, "behind another"),
        (0x0001_0001_0000_0000, "behind another"),
        (0x4001_0000_0000_0001, "behind another"),
        (1 << 64, "does not fit"),
        (-1, "does not fit"),
    ],
)
def test_addressing_that_is_not_supported(value: int, reason: str) -> None:
    with pytest.raises(NamesError, match=reason):
        decode_lun_u64(value)


@pytest.mark.parametrize("size", [0, 7, 9])
def test_eight_octets(size: int) -> None:
    with pytest.raises(InvalidLun, match="8 octets"):
        decode_lun(bytes(size))


@given(st.integers(0, 16383))
def test_round_trip(lun: int) -> None:
    assert decode_lun(encode_lun(lun)) == lun
    assert decode_lun_u64(encode_lun_u64(lun)) == lun


@given(st.binary(min_size=8, max_size=8))
def test_any_eight_octets(octets: bytes) -> None:
    try:
        lun = decode_lun(octets)
    except InvalidLun:
        return
    assert 0 <= lun <= 16383
