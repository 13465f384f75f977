"""Standard INQUIRY data."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from san_console.scsi import inquiry
from san_console.scsi.errors import MalformedData, UnencodableValue
from san_console.scsi.inquiry import StandardInquiry, ascii_field, ascii_text, unsupported_lun

printable = st.characters(min_codepoint=33, max_codepoint=126)
inquiries = st.builds(
    StandardInquiry,
    device_type=st.integers(0, 31),
    vendor=st.text(printable, max_size=8),
    product=st.text(printable, max_size=16),
    revision=st.text(printable, max_size=4),
    qualifier=st.integers(0, 7),
    removable=st.booleans(),
    version=st.integers(0, 255),
    normaca=st.booleans(),
    hierarchical=st.booleans(),
    target_port_groups=st.integers(0, 3),
    third_party_copy=st.booleans(),
    protect=st.booleans(),
    multi_port=st.booleans(),
    command_queuing=st.booleans(),
    version_descriptors=st.lists(st.integers(1, 65535), max_size=8),
)


def test_octets() -> None:
    data = StandardInquiry(vendor="SANCON", product="DISK", revision="1", target_port_groups=1).build()
    assert data[:36].hex() == "000006025b100002" + b"SANCON  DISK            1   ".hex()
    assert data[58:66].hex() == "00a0096004" + "6004c0"
    assert len(data) == inquiry.STANDARD_INQUIRY_BYTES


@given(inquiries)
def test_round_trip(built: StandardInquiry) -> None:
    assert StandardInquiry.parse(built.build()) == built
    assert StandardInquiry.parse(memoryview(built.build()).toreadonly()) == built


def test_a_short_answer_is_read_as_far_as_it_goes() -> None:
    data = StandardInquiry(vendor="SANCON", product="DISK", revision="1").build()
    cut = StandardInquiry.parse(data[:20])
    assert (cut.vendor, cut.product, cut.revision, cut.version_descriptors) == ("SANCON", "DISK", "", [])
    lying = data[:4] + b"\x0b" + data[5:]
    assert StandardInquiry.parse(lying).product == ""
    assert StandardInquiry.parse(data[:36]).revision == "1"


@pytest.mark.parametrize("size", range(5))
def test_too_short(size: int) -> None:
    with pytest.raises(MalformedData, match="at least 5"):
        StandardInquiry.parse(bytes(size))


def test_a_lun_that_is_not_there() -> None:
    data = unsupported_lun()
    assert data[0] == 0x7F
    assert not StandardInquiry.parse(data).connected
    assert StandardInquiry.parse(data).device_type_name == "no device"
    assert StandardInquiry().connected
    assert StandardInquiry(0x0A).device_type_name == "device type 0ah"


@pytest.mark.parametrize(
    ("built", "reason"),
    [
        (StandardInquiry(vendor="123456789"), "the vendor takes 8"),
        (StandardInquiry(product="é"), "ASCII"),
        (StandardInquiry(revision="a\n"), "printable"),
        (StandardInquiry(revision="\x7f"), "printable"),
        (StandardInquiry(version_descriptors=[1] * 9), "8 version descriptors"),
    ],
)
def test_what_cannot_be_built(built: StandardInquiry, reason: str) -> None:
    with pytest.raises(UnencodableValue, match=reason):
        built.build()


def test_text_of_a_device() -> None:
    assert ascii_text(b"  DISK \0\0") == "DISK"
    assert ascii_text(b"a\xffb") == "a\\xffb"
    assert ascii_text(memoryview(b"")) == ""
    assert ascii_field("ab", 4, "x") == b"ab  "


@given(st.binary(max_size=120))
def test_any_octets(data: bytes) -> None:
    try:
        StandardInquiry.parse(data)
    except MalformedData:
        assert len(data) < 5
