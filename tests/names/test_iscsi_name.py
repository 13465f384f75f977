"""iSCSI names against RFC 3722 and RFC 7143 §4.2.7, and the spellings found in the field."""

import stringprep
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from san_console.names.errors import InvalidName
from san_console.names.iscsi_name import (
    MAX_NAME_BYTES,
    comparison_key,
    generate_initiator_name,
    name_type,
    normalise,
    same_name,
)

RFC_EXAMPLES = [
    "iqn.2001-04.com.example:storage:diskarrays-sn-a8675309",
    "iqn.2001-04.com.example",
    "iqn.2001-04.com.example:storage.tape1.sys1.xyz",
    "eui.02004567a425678d",
    "naa.52004567ba64678d",
    "naa.62004567ba64678d0123456789abcdef",
]


@pytest.mark.parametrize("name", RFC_EXAMPLES)
def test_the_rfcs_examples_are_in_normal_form(name: str) -> None:
    assert normalise(name) == name
    assert normalise(name, lenient=True) == name
    assert name_type(name) == name[:3]


@pytest.mark.parametrize(
    ("typed", "name"),
    [
        ("IQN.2001-04.COM.Example:Disk1", "iqn.2001-04.com.example:disk1"),
        ("eui.02004567A425678D", "eui.02004567a425678d"),
        ("iqn.2001-04.com.example:ｄｉｓｋ", "iqn.2001-04.com.example:disk"),
        ("iqn.2001-04.com.example:straße", "iqn.2001-04.com.example:strasse"),
        ("iqn.2001-04.com.example:ﬁle", "iqn.2001-04.com.example:file"),
        ("iqn.2001-04.com.example:a\u00adb\u200dc\ufe0f", "iqn.2001-04.com.example:abc"),
        ("iqn.2001-04.com.example:cafe\u0301", "iqn.2001-04.com.example:caf\u00e9"),
        ("iqn.2001-04.com.example:ΑΒΓ", "iqn.2001-04.com.example:αβγ"),
        ("iqn.2001-04.com.example:ディスク", "iqn.2001-04.com.example:ディスク"),
    ],
)
def test_mapping_and_normalisation(typed: str, name: str) -> None:
    assert normalise(typed) == name
    assert same_name(typed, name)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "missing"),
        ("disk1", "starts with none of"),
        ("iqn", "starts with none of"),
        ("iqn.", "a date as yyyy-mm"),
        ("iqn.2001-4.com.example", "a date as yyyy-mm"),
        ("iqn.2001-00.com.example", "“00” is not a month"),
        ("iqn.2001-13.com.example", "“13” is not a month"),
        ("iqn.2001-04.com..example", "empty part"),
        ("iqn.2001-04.com.example.:x", "empty part"),
        ("iqn.2001-04.com.example:", "nothing follows the colon"),
        ("eui.123", "exactly 16"),
        ("eui.02004567a425678g", "exactly 16"),
        ("naa.52004567ba64678d0", "exactly 16 or 32"),
        ("iqn.2001-04.com.example:a b", "character 26 is a space (U+0020)"),
        ("iqn.2001-04.com.example:a\nb", "character 26 is a control character (U+000A)"),
        ("iqn.2001-04.com.example:a\x00b", "character 26 is a control character (U+0000)"),
        ("iqn.2001-04.com.example:\x1b[31m", "character 25 is a control character (U+001B)"),
        ("iqn.2001-04.com.example:a\x7f", "U+007F"),
        ("iqn.2001-04.com.example:../../etc", "“/” (U+002F)"),
        ("iqn.2001-04.com.example:a_b", "“_” (U+005F)"),
        ("iqn.2001-04.com。example", "an ideographic full stop"),
        ("iqn.2001-04.com.example:\u202egnp", "changes the display"),
        ("iqn.2001-04.com.example:\u2066x", "not assigned in Unicode 3.2"),
        ("iqn.2001-04.com.example:a\u00a0b", "a space (U+0020)"),
        ("iqn.2001-04.com.example:a\u1680b", "a space (RFC 3722"),
        ("iqn.2001-04.com.example:\ue000", "private-use"),
        ("iqn.2001-04.com.example:\ufdd0", "non-character"),
        ("iqn.2001-04.com.example:\ud800", "surrogate"),
        ("iqn.2001-04.com.example:\ufffd", "inappropriate for plain text"),
        ("iqn.2001-04.com.example:\u2ff0", "inappropriate for a canonical form"),
        ("iqn.2001-04.com.example:\U000e0041", "tagging"),
        ("iqn.2001-04.com.example:\u0085", "control character (RFC 3722"),
        ("iqn.2001-04.com.example:\U0001f600", "not assigned in Unicode 3.2"),
        ("iqn.2001-04.com.example:\u3164x", "cannot be seen"),
        ("iqn.2001-04.com.example:שלום", "right to left"),
        ("iqn.2001-04.com.example:" + "a" * 200, "224 bytes"),
        ("iqn.2001-04.com.example:" + "é" * 100, "224 bytes"),
        ("x" * 10_000, "10000 characters"),
    ],
)
def test_refusals_say_what_and_where(text: str, reason: str) -> None:
    with pytest.raises(InvalidName) as caught:
        normalise(text)
    message = str(caught.value)
    assert reason in message
    assert message.isprintable()
    assert len(message) < 400


@pytest.mark.parametrize("suffix", ["a" * 199, "é" * 99])
def test_223_bytes_are_allowed(suffix: str) -> None:
    name = normalise("iqn.2001-04.com.example:" + suffix)
    assert MAX_NAME_BYTES - 1 <= len(name.encode()) <= MAX_NAME_BYTES


@pytest.mark.parametrize(
    "name",
    [
        "iqn.2001-04.com.Example:Disk_1",
        "iqn.2003-01.org.linux-iscsi.my_host.x8664:sn.0123",
        "iqn.2001-13.odd",
        "iqn.no-date-at-all",
        "iqn.2001-04.com.example:a@b+c~d=e",
        "naa.52004567BA64678D",
    ],
)
def test_names_of_peers_keep_their_spelling(name: str) -> None:
    assert normalise(name, lenient=True) == name


@given(st.text(st.characters(max_codepoint=127), min_size=1))
def test_the_short_way_for_ascii_does_what_the_tables_do(text: str) -> None:
    mapped = "".join(stringprep.map_table_b2(character) for character in text)
    assert comparison_key(text) == unicodedata.ucd_3_2_0.normalize("NFKC", mapped)
    assert not any(
        stringprep.in_table_b1(character) or stringprep.in_table_d1(character) for character in text
    )


def test_a_peers_international_name_is_normalised() -> None:
    assert normalise("iqn.2001-04.com.example:ＤＩＳＫ_é", lenient=True) == "iqn.2001-04.com.example:disk_é"


@pytest.mark.parametrize(
    "text",
    [
        "iqn.",
        "foo",
        "eui.12",
        "iqn.a b",
        "iqn.a\n",
        "iqn.a/b",
        "iqn.a,1",
        "iqn.a?b",
        "iqn.a%41",
        "iqn.\u202ea",
        "iqn.\u3164",
        "iqn.<b>",
        "iqn.a'; --",
        "iqn." + "a" * 220,
    ],
)
def test_lenient_still_refuses_what_acts_or_hides(text: str) -> None:
    with pytest.raises(InvalidName):
        normalise(text, lenient=True)


def test_name_type_of_something_else() -> None:
    assert name_type("IQN.2001-04.com") == "iqn"
    with pytest.raises(InvalidName, match="none of"):
        name_type("wwn.1234")


def test_same_name_ignores_case_and_form_but_no_more() -> None:
    assert same_name("iqn.2001-04.com.A:B", "IQN.2001-04.com.a:b")
    assert same_name("iqn.2001-04.com:\u00e9", "iqn.2001-04.com:E\u0301")
    assert not same_name("iqn.2001-04.com:a", "iqn.2001-04.com:\u0430")
    assert not same_name("iqn.2001-04.com:a", "iqn.2001-04.com:a_")


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("server1.example.com", "iqn.2026-11.org.san-console:server1-01020304"),
        ("My_Host", "iqn.2026-11.org.san-console:my-host-01020304"),
        ("", "iqn.2026-11.org.san-console:host-01020304"),
        ("___", "iqn.2026-11.org.san-console:host-01020304"),
        ("a" * 300, f"iqn.2026-11.org.san-console:{'a' * 63}-01020304"),
    ],
)
def test_generated_names(host: str, name: str) -> None:
    assert generate_initiator_name(host, lambda n: bytes(range(1, n + 1))) == name


@settings(max_examples=300)
@given(st.text(max_size=60))
def test_any_text_gives_a_stable_name_or_a_clear_refusal(text: str) -> None:
    for lenient in (False, True):
        for candidate in (text, "iqn.2001-04.com.example:" + text):
            try:
                name = normalise(candidate, lenient=lenient)
            except InvalidName as error:
                message = str(error)
            else:
                message = ""
                assert normalise(name, lenient=lenient) == name
                assert unicodedata.ucd_3_2_0.normalize("NFC", name) == name
                assert name.isprintable()
                assert " " not in name
                assert comparison_key(name) == comparison_key(candidate)
                assert len(name.encode()) <= MAX_NAME_BYTES
            assert message.isprintable()


@given(st.text(max_size=40), st.binary(min_size=4, max_size=4))
def test_any_host_gives_a_legal_name(host: str, octets: bytes) -> None:
    name = generate_initiator_name(host, lambda n: octets[:n])
    assert normalise(name) == name
