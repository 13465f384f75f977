"""READ CAPACITY, with geometry that lies."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from san_console.scsi import capacity
from san_console.scsi.capacity import Capacity
from san_console.scsi.errors import MalformedData, UnencodableValue, UnusableGeometry

capacities = st.builds(
    Capacity,
    blocks=st.integers(1, 2**40),
    block_bytes=st.sampled_from([256, 512, 520, 528, 2048, 4096, 4160, 65536, 1 << 20]),
    physical_exponent=st.integers(0, 15),
    lowest_aligned_lba=st.integers(0, 0x3FFF),
    lbpme=st.booleans(),
    lbprz=st.booleans(),
    protection_type=st.integers(0, 3),
)


def test_octets() -> None:
    built = Capacity(0x100000000, 512, 3, lbpme=True, lbprz=True, protection_type=2)
    assert capacity.build_16(built).hex() == "00000000ffffffff000002000303c000" + "00" * 16  # fmt: skip
    assert capacity.build_10(built).hex() == "ffffffff" + "00000200"
    assert capacity.build_10(Capacity(2048, 4096)).hex() == "000007ff" + "00001000"
    assert (built.size_bytes, built.physical_block_bytes) == (2**41, 4096)


@given(capacities)
def test_round_trip(built: Capacity) -> None:
    assert capacity.parse_16(memoryview(capacity.build_16(built))) == built
    small = capacity.parse_10(capacity.build_10(built))
    if built.blocks <= 0xFFFF_FFFF:
        assert small == Capacity(built.blocks, built.block_bytes)
    else:
        assert small is None


def test_the_largest_that_ten_octets_tell() -> None:
    assert capacity.parse_10(capacity.build_10(Capacity(0xFFFF_FFFF, 512))) == Capacity(0xFFFF_FFFF, 512)
    assert capacity.parse_10(capacity.build_10(Capacity(0x1_0000_0000, 512))) is None


@pytest.mark.parametrize(
    ("last_lba", "block_bytes"),
    [
        (2**64 - 1, 512),
        (2**64 - 2, 512),
        (2**55, 512),
        (100, 0),
        (100, 1),
        (100, 3),
        (100, 513),
        (100, 248),
        (100, 1 << 21),
        (100, 2**32 - 8),
    ],
)
def test_silly_geometry_is_refused(last_lba: int, block_bytes: int) -> None:
    data = last_lba.to_bytes(8, "big") + block_bytes.to_bytes(4, "big") + bytes(20)
    with pytest.raises(UnusableGeometry):
        capacity.parse_16(data)
    if last_lba < 0xFFFF_FFFF:
        with pytest.raises(UnusableGeometry):
            capacity.parse_10(data[4:12])


def test_the_largest_medium() -> None:
    assert capacity.parse_16((2**54 - 2).to_bytes(8, "big") + b"\0\0\x02\0").size_bytes < 2**63


def test_short_data() -> None:
    with pytest.raises(MalformedData, match="7 octets"):
        capacity.parse_10(bytes(7))
    with pytest.raises(MalformedData, match="11 octets"):
        capacity.parse_16(bytes(11))
    assert capacity.parse_16(bytes.fromhex("00000000000007ff00000200")) == Capacity(2048, 512)


@pytest.mark.parametrize(
    "built",
    [
        Capacity(10, 512, physical_exponent=16),
        Capacity(10, 512, lowest_aligned_lba=0x4000),
        Capacity(10, 512, protection_type=4),
    ],
)
def test_what_cannot_be_built(built: Capacity) -> None:
    with pytest.raises(UnencodableValue):
        capacity.build_16(built)


@pytest.mark.parametrize("built", [Capacity(0, 512), Capacity(-1, 512), Capacity(10, 100)])
def test_no_medium(built: Capacity) -> None:
    for build in (capacity.build_10, capacity.build_16):
        with pytest.raises(UnusableGeometry):
            build(built)


@given(st.binary(max_size=40))
def test_any_octets(data: bytes) -> None:
    for parse in (capacity.parse_10, capacity.parse_16):
        try:
            found = parse(data)
        except MalformedData:
            continue
        assert found is None or 0 < found.size_bytes < 2**63
