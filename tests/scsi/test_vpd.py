"""Vital product data pages."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from san_console.scsi import designators, vpd
from san_console.scsi.errors import MalformedData, UnencodableValue
from san_console.scsi.inquiry import StandardInquiry

u32 = st.integers(0, 2**32 - 1)
flag = st.booleans()


def test_supported_pages() -> None:
    data = vpd.build_supported_pages([0xB0, 0x83, 0x80])
    assert data.hex() == "00000004" + "008083b0"
    assert vpd.parse_supported_pages(data) == [0x00, 0x80, 0x83, 0xB0]


def test_serial_number() -> None:
    data = vpd.build_serial_number("SN 0001")
    assert data.hex() == "00800007" + b"SN 0001".hex()
    assert vpd.parse_serial_number(data) == "SN 0001"
    assert vpd.parse_serial_number(b"\0\x80\0\x05 \xffA \0") == "\\xffA"
    with pytest.raises(UnencodableValue, match="ASCII"):
        vpd.build_serial_number("é")


def test_identification() -> None:
    listed = [designators.naa(vpd.naa_from_seed(b"a")), designators.relative_target_port(1)]
    data = vpd.build_identification(listed)
    assert vpd.parse_identification(data) == listed
    assert vpd.identity(vpd.parse_identification(data)) == str(listed[0])


@pytest.mark.parametrize(
    ("data", "pages"), [("00000004008083", [0, 0x80, 0x83]), ("00000001008083", [0]), ("0000ffff00", [0])]
)
def test_a_length_that_lies(data: str, pages: list[int]) -> None:
    assert vpd.parse_supported_pages(bytes.fromhex(data)) == pages


PARSERS: list[Callable[[bytes], object]] = [
    vpd.parse_supported_pages,
    vpd.parse_serial_number,
    vpd.parse_identification,
    vpd.ExtendedInquiry.parse,
    vpd.BlockLimits.parse,
    vpd.BlockCharacteristics.parse,
    vpd.LogicalBlockProvisioning.parse,
]


@pytest.mark.parametrize("parse", PARSERS)
def test_no_page_or_another(parse: Callable[[bytes], object]) -> None:
    with pytest.raises(MalformedData, match="no header"):
        parse(b"\0\x80\0")
    with pytest.raises(MalformedData, match="came"):
        parse(b"\0\xff\0\0")


def test_a_device_that_ignores_the_page() -> None:
    standard = StandardInquiry(removable=True, vendor="OLD", product="DISK").build()
    with pytest.raises(MalformedData, match="80h came"):
        vpd.parse_identification(standard)


@pytest.mark.parametrize("parse", PARSERS)
@given(octets=st.binary(max_size=100))
def test_any_octets(parse: Callable[[bytes], object], octets: bytes) -> None:
    for page in (0x00, 0x80, 0x83, 0x86, 0xB0, 0xB1, 0xB2):
        try:
            parse(b"\0" + bytes((page,)) + octets)
        except MalformedData as error:
            message = str(error)
        else:
            message = ""
        assert message.isprintable()


@given(st.builds(vpd.ExtendedInquiry, flag, flag, flag, flag))
def test_extended_inquiry_round_trip(built: vpd.ExtendedInquiry) -> None:
    data = built.build()
    assert len(data) == 64
    assert vpd.ExtendedInquiry.parse(data) == built


def test_extended_inquiry_in_its_octets() -> None:
    page = vpd.ExtendedInquiry(head_of_queue_supported=True, volatile_cache=True)
    assert page.build()[:8].hex() == "0086003c" + "00050100"


@given(
    st.builds(
        vpd.BlockLimits,
        st.integers(0, 255),
        st.integers(0, 65535),
        u32,
        u32,
        u32,
        u32,
        u32,
        u32,
        st.one_of(st.none(), st.integers(0, 2**31 - 1)),
        st.integers(0, 2**64 - 1),
        flag,
    )
)
def test_block_limits(built: vpd.BlockLimits) -> None:
    data = built.build()
    assert len(data) == 64
    assert vpd.BlockLimits.parse(data) == built


def test_block_limits_in_their_octets() -> None:
    data = vpd.BlockLimits(
        maximum_compare_and_write_blocks=1,
        optimal_transfer_granularity_blocks=8,
        maximum_transfer_blocks=0x10000,
        optimal_transfer_blocks=0x800,
        maximum_unmap_blocks=0xFFFFFFFF,
        maximum_unmap_descriptors=0x100,
        optimal_unmap_granularity_blocks=8,
        unmap_alignment_blocks=0,
        maximum_write_same_blocks=0x8000,
    ).build()
    assert data[:44].hex() == (
        "00b0003c00010008000100000000080000000000ffffffff000001000000000880000000"
        "0000000000008000"
    )  # fmt: skip


def test_an_older_shorter_page() -> None:
    limits = vpd.BlockLimits(1, 2, 3, 4, 5, 6, 7).build()
    short = b"\0\xb0\0\x0c" + limits[4:16]
    assert vpd.BlockLimits.parse(short) == vpd.BlockLimits(1, 2, 3, 4)


def test_limits_that_do_not_fit() -> None:
    with pytest.raises(UnencodableValue, match="block limit"):
        vpd.BlockLimits(maximum_transfer_blocks=2**32).build()
    with pytest.raises(UnencodableValue, match="rotation"):
        vpd.BlockCharacteristics(65536).build()
    with pytest.raises(UnencodableValue, match="too long"):
        vpd.build_page(0x83, bytes(65536))


@given(st.builds(vpd.BlockCharacteristics, st.integers(0, 65535), st.integers(0, 15)))
def test_block_characteristics(built: vpd.BlockCharacteristics) -> None:
    assert vpd.BlockCharacteristics.parse(built.build()) == built
    assert len(built.build()) == 64


@given(
    st.builds(
        vpd.LogicalBlockProvisioning, flag, flag, flag, flag, flag, st.integers(0, 7), st.integers(0, 255)
    )
)
def test_logical_block_provisioning(built: vpd.LogicalBlockProvisioning) -> None:
    assert vpd.LogicalBlockProvisioning.parse(built.build()) == built


def test_thin_provisioning_octets() -> None:
    page = vpd.LogicalBlockProvisioning(
        unmap=True, write_same_16=True, reads_zeros=True, provisioning_type=vpd.PROVISIONING_THIN
    )
    assert page.build().hex() == "00b20004" + "00c40200"


def test_atomic_limits_and_sanitize() -> None:
    limits = vpd.BlockLimits(
        maximum_atomic_blocks=2048, atomic_alignment_blocks=8, atomic_granularity_blocks=4
    )
    data = limits.build()
    assert len(data) == 64
    assert data[44:56] == (2048).to_bytes(4, "big") + (8).to_bytes(4, "big") + (4).to_bytes(4, "big")
    assert vpd.BlockLimits.parse(data) == limits
    characteristics = vpd.BlockCharacteristics(7200, 3, vpd.SANITIZED_READABLE)
    assert characteristics.build()[7] == 0x43
    assert vpd.BlockCharacteristics.parse(characteristics.build()) == characteristics


def test_mode_page_policy() -> None:
    assert vpd.build_mode_page_policy() == bytes([0, 0x87, 0, 4, 0x3F, 0xFF, 0, 0])
