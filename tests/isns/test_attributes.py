"""The attribute table and the codecs of values."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from san_console.isns import attributes as a
from san_console.isns.attributes import ATTRIBUTE_TYPES, KEY_TAGS, Attribute, Form, Kind, Tag
from san_console.isns.errors import LocalProtocolError, RemoteProtocolError


def test_table_agrees_with_rfc_4171_6_1() -> None:
    """A sample of lines as they stand in the RFC: tag, smallest and largest length."""
    lines = [
        (1, 4, 256), (2, 4, 4), (3, 16, 16), (4, 8, 8), (16, 16, 16), (17, 4, 4), (18, 4, 256), (19, 4, 4),
        (20, 4, 4), (22, 4, 4), (23, 4, 4), (27, 4, 4), (32, 4, 224), (33, 4, 4), (34, 4, 256), (37, 8, 8),
        (48, 4, 224), (49, 16, 16), (50, 4, 4), (51, 4, 4), (64, 8, 8), (72, 32, 32), (74, 128, 128),
        (2049, 4, 4), (2065, 4, 4), (2066, 4, 256), (2068, 4, 224), (2071, 16, 16), (2078, 4, 4),
    ]  # fmt: skip
    assert [
        (tag, ATTRIBUTE_TYPES[tag].min_bytes, ATTRIBUTE_TYPES[tag].max_bytes) for tag, _, _ in lines
    ] == lines
    assert all(tag == line.tag for tag, line in ATTRIBUTE_TYPES.items())


def test_every_attribute_belongs_to_an_object_and_keys_to_their_own() -> None:
    assert all(a.kind_of(tag) is not None for tag in ATTRIBUTE_TYPES)
    for kind, tags in KEY_TAGS.items():
        assert all(a.kind_of(tag) is kind for tag in tags)
    assert a.kind_of(0) is None
    assert a.kind_of(1700) is None
    assert a.kind_of(700) is Kind.NODE, "vendor-specific node attributes"


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=60))
def test_text_goes_there_and_back_terminated_and_aligned(text: str) -> None:
    value = a.write_text(text)
    assert len(value) % 4 == 0
    assert value.endswith(b"\0")
    assert a.read_text(value) == text


@given(st.ip_addresses(v=4))
def test_ipv4_travels_mapped_into_ipv6(address: object) -> None:
    value = a.write_address(str(address))
    assert value[:12] == bytes(10) + b"\xff\xff"
    assert a.read_address(value) == str(address)


@given(st.ip_addresses(v=6))
def test_every_ipv6_value_can_be_read_and_written(address: object) -> None:
    shown = a.read_address(a.write_address(str(address)))
    assert a.read_address(a.write_address(shown)) == shown


def test_open_isns_writes_ipv4_without_the_mapping() -> None:
    value = bytes(12) + bytes([127, 0, 0, 1])
    assert a.read_address(value) == "127.0.0.1"
    assert a.canonical_address(value) == a.write_address("127.0.0.1")
    assert a.read_address(bytes(15) + b"\1") == "::1"
    assert a.read_address(bytes(16)) == "::"


@pytest.mark.parametrize(
    "value",
    [b"abcd", b"a\0b\0", b"\xff\xfe\0\0", b"\xc0\x80\0\0"],
    ids=["no NUL", "goes on after NUL", "not UTF-8", "overlong"],
)
def test_malformed_text_is_refused(value: bytes) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        a.check(Attribute(Tag.ISCSI_ALIAS, value))
    assert caught.value.status == 2


@pytest.mark.parametrize("tag", sorted(ATTRIBUTE_TYPES))
def test_wrong_size_is_refused_for_every_attribute(tag: int) -> None:
    line = ATTRIBUTE_TYPES[tag]
    a.check(Attribute(tag, b""))
    with pytest.raises(RemoteProtocolError):
        a.check(Attribute(tag, bytes(line.max_bytes + 4)))
    a.check(Attribute(tag, bytes(line.max_bytes)))


def test_unknown_attributes_pass() -> None:
    a.check(Attribute(40000, b"whatever"))
    assert a.attribute_name(40000) == "attribute 40000"


@pytest.mark.parametrize(("read", "value"), [(a.read_number, bytes(3)), (a.read_address, bytes(4))])
def test_values_of_wrong_size_are_not_read(read: object, value: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        read(value)  # type: ignore[operator]  # one of the readers above


def test_what_cannot_be_sent_is_said_so() -> None:
    for bad in ("a\0b", "\ud800"):
        with pytest.raises(LocalProtocolError):
            a.write_text(bad)
    for number in (-1, 1 << 32):
        with pytest.raises(LocalProtocolError):
            a.write_number(number)
    with pytest.raises(LocalProtocolError, match="numeric"):
        a.write_address("storage.example")


@pytest.mark.parametrize(
    ("tag", "value", "text"),
    [
        (Tag.ISCSI_NAME, a.write_text("iqn.2026-11.test:a"), "iqn.2026-11.test:a"),
        (Tag.ISCSI_ALIAS, a.write_text("a\u202eb\n"), "a\\u{202e}b\\u{a}"),
        (Tag.PORTAL_PORT, a.write_number(3260), "3260/tcp"),
        (Tag.PORTAL_PORT, a.write_number(3260 | a.PORT_IS_UDP), "3260/udp"),
        (Tag.NODE_TYPE, a.write_number(3), "target, initiator"),
        (Tag.NODE_TYPE, a.write_number(0x101), "target, 0x100"),
        (Tag.NODE_TYPE, a.write_number(0), "none"),
        (Tag.ENTITY_PROTOCOL, a.write_number(2), "iSCSI"),
        (Tag.ENTITY_PROTOCOL, a.write_number(9), "9"),
        (Tag.TIMESTAMP, a.write_time(5), "5"),
        (Tag.PORTAL_ADDRESS, a.write_address("::1"), "::1"),
        (12, bytes(100), "00" * 64 + "…"),
        (12, b"\1\2\3\4", "01020304"),
        (40000, b"\1\2\3\4", "01020304"),
        (Tag.ISCSI_NAME, b"abcd", "malformed: 61626364"),
        (Tag.ISCSI_NAME, b"", ""),
    ],
)
def test_describe(tag: int, value: bytes, text: str) -> None:
    assert a.describe(Attribute(tag, value)) == text


@settings(max_examples=200)
@given(st.sampled_from([*sorted(ATTRIBUTE_TYPES), 5000]), st.binary(max_size=300))
def test_describe_never_fails_and_never_acts(tag: int, value: bytes) -> None:
    shown = a.describe(Attribute(tag, value))
    assert "\n" not in shown
    assert "\x1b" not in shown


def test_forms_have_fixed_sizes() -> None:
    sizes = {Form.NUMBER: 4, Form.BITS: 4, Form.PORT: 4, Form.ADDRESS: 16, Form.TIME: 8}
    for line in ATTRIBUTE_TYPES.values():
        if line.form in sizes:
            assert line.min_bytes == line.max_bytes == sizes[line.form]
