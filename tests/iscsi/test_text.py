"""Text format of RFC 7143 §6.1: what is taken, what is refused, and bounds (B04, B06, B07, B18)."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from san_console.iscsi import text
from san_console.iscsi.errors import RemoteProtocolError
from san_console.iscsi.text import MalformedValue, TextCollector

KEY = st.from_regex(r"[A-Z][A-Za-z0-9.+@_-]{0,62}", fullmatch=True)
VALUE = st.text(st.characters(blacklist_characters="\0", blacklist_categories=["Cs"]), max_size=60)
PAIRS = st.lists(st.tuples(KEY, VALUE), max_size=8)


@settings(max_examples=100)
@given(pairs=PAIRS)
def test_pairs_travel(pairs: list[tuple[str, str]]) -> None:
    assert text.decode_pairs(text.encode_pairs(pairs)) == pairs


@settings(max_examples=100)
@given(pairs=PAIRS, cuts=st.lists(st.integers(1, 50), max_size=20))
def test_pairs_split_anywhere_are_joined(pairs: list[tuple[str, str]], cuts: list[int]) -> None:
    # Also in the middle of a key, or of a character of several bytes.
    data = text.encode_pairs(pairs)
    collector = TextCollector()
    for cut in cuts:
        if cut >= len(data):
            break
        assert collector.add(memoryview(data)[:cut], continued=True) is None
        assert collector.pending
        data = data[cut:]
    whole = collector.add(data, continued=False)
    assert whole is not None
    assert text.decode_pairs(whole) == pairs
    assert not collector.pending


@settings(max_examples=200)
@given(data=st.binary(max_size=120))
def test_noise_gives_pairs_or_the_declared_error(data: bytes) -> None:
    try:
        pairs = text.decode_pairs(data)
    except RemoteProtocolError:
        return
    assert all(key and "\0" not in value for key, value in pairs)


@pytest.mark.parametrize(
    "data",
    [
        b"Key=value",  # no NUL
        b"Key\0",  # no =
        b"=value\0",  # no key
        b"key=value\0",  # lower case
        b"9Key=value\0",
        b"Ke y=value\0",
        b"A\0\0B=1\0",
        b"A=1\0\0B=1\0",
        b"K" * 64 + b"=1\0",
        b"Key=\xff\0",
        b"iSCSIProtocolLevelX=1\0",
    ],
)
def test_malformed_text_is_refused(data: bytes) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        text.decode_pairs(data)
    assert caught.value.login_status == 0x0200


def test_what_is_legal_at_the_edge() -> None:
    assert text.decode_pairs(b"") == []
    assert text.decode_pairs(b"\0\0") == []
    assert text.decode_pairs(b"A=\0") == [("A", "")]
    assert text.decode_pairs(b"A=b=c\0") == [("A", "b=c")]
    assert text.decode_pairs(b"A=1\0\0\0") == [("A", "1")]  # padding counted into the length
    assert text.decode_pairs(b"iSCSIProtocolLevel=1\0X#NodeArchitecture=a\0")[0][1] == "1"
    assert text.decode_pairs(b"K" * 63 + b"=1\0")


def test_message_shows_no_raw_control_characters() -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        text.decode_pairs("a\n\x1b[31m\u202e=1\0".encode())
    assert str(caught.value).isprintable()


def test_endless_text_is_cut_off() -> None:
    collector = TextCollector(max_bytes=8192)
    collector.add(bytes(8192), continued=True)
    with pytest.raises(RemoteProtocolError, match="beyond 8192"):
        collector.add(b"x", continued=True)
    with pytest.raises(RemoteProtocolError, match="without sending any"):
        TextCollector().add(b"", continued=True)
    assert TextCollector().add(b"", continued=False) == b""


def test_limit_takes_what_the_rfc_demands() -> None:
    assert text.MAX_NEGOTIATION_BYTES >= 8192
    assert text.MAX_EXCHANGES >= 6


@pytest.mark.parametrize(
    ("value", "number"),
    [("0", 0), ("1", 1), ("8192", 8192), ("0x10", 16), ("0X1f", 31), (str(2**64 - 1), 2**64 - 1)],
)
def test_numbers(value: str, number: int) -> None:
    assert text.decode_number(value) == number


@pytest.mark.parametrize(
    "value",
    ["", "-1", "+1", "0x", "1e3", "01", " 1", "1 ", "1.0", "٣", str(2**64), "0x" + "1" * 17, "9" * 400],
)
def test_what_is_no_number(value: str) -> None:
    with pytest.raises(MalformedValue):
        text.decode_number(value)


def test_number_has_a_range() -> None:
    assert text.decode_number("512", 512, 600) == 512
    for value in ("511", "601"):
        with pytest.raises(MalformedValue, match="512 to 600"):
            text.decode_number(value, 512, 600)


def test_booleans_are_exact() -> None:
    assert text.decode_boolean("Yes") is True
    assert text.decode_boolean("No") is False
    assert text.encode_boolean(True) == "Yes"
    for value in ("yes", "YES", "no", "true", "1", "", "Yes "):
        with pytest.raises(MalformedValue):
            text.decode_boolean(value)


def test_lists() -> None:
    assert text.decode_list("CRC32C,None") == ["CRC32C", "None"]
    for value in ("", "a,,b", ",", "a,", "x" * 256):
        with pytest.raises(MalformedValue):
            text.decode_list(value)


@given(data=st.binary(min_size=1, max_size=1024))
def test_binary_travels(data: bytes) -> None:
    assert text.decode_binary(text.encode_binary(data)) == data


@pytest.mark.parametrize(
    ("value", "data"),
    [
        ("0xff", b"\xff"),
        ("0XFF", b"\xff"),
        ("0xfff", b"\x0f\xff"),  # §6.1: (n + 1) / 2 bytes
        ("0x00", b"\0"),
        ("0b/w==", b"\xff"),
        ("0Babcd", b"i\xb7\x1d"),
    ],
)
def test_binary_formats(value: str, data: bytes) -> None:
    assert text.decode_binary(value) == data


@pytest.mark.parametrize(
    "value",
    [
        "",
        "0x",
        "0b",
        "12345",
        "0xzz",
        "0x 12",
        "0babc",
        "0ba===",
        "0b=",
        "0xab\n",
        "0x" + "00" * 1025,
        "abcd",
    ],
)
def test_what_is_no_binary_value(value: str) -> None:
    with pytest.raises(MalformedValue) as caught:
        text.decode_binary(value)
    assert len(value) < 4 or value not in str(caught.value)


def test_binary_of_the_longest_length() -> None:
    assert len(text.decode_binary("0x" + "ab" * 1024)) == 1024
    assert text.decode_binary("0b" + "AAAA", max_bytes=3) == bytes(3)
    with pytest.raises(MalformedValue):
        text.decode_binary("0b" + "AAAA", max_bytes=2)
