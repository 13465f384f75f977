"""CHAP secrets: hidden everywhere, and checked by the rules of the RFC and of the products."""

import base64
import copy
import json
import logging
import pickle
import secrets

import pytest
from hypothesis import given
from hypothesis import strategies as st

from san_console.names.credentials import (
    PEER_RULES,
    ChapCredentials,
    Secret,
    check_secret,
    check_user,
    generate_secret,
    parse_secret,
    secret_from_base64,
    secret_from_hex,
)
from san_console.names.errors import InvalidSecret

CANARY = "canary-0123456789"
GOOD = Secret("Abcdef-123456_78")


def test_no_text_form_shows_it(caplog: pytest.LogCaptureFixture) -> None:
    secret = Secret(CANARY)
    credentials = ChapCredentials("user", secret)
    logging.getLogger("test").warning("%s %r %s", secret, secret, credentials)
    shown = [repr(secret), str(secret), f"{secret}", f"{secret:>20}", f"{secret!r}", repr(credentials)]
    shown += [f"{secret}", repr([secret]), repr({"x": secret}), repr(dir(secret)), caplog.text]
    for text in shown:
        assert CANARY not in text
        assert "0123456789" not in text
    assert "***" in repr(credentials)
    assert secret.reveal() == CANARY.encode()
    assert len(secret) == len(CANARY)


def test_it_cannot_be_copied_stored_or_hashed() -> None:
    secret = Secret(CANARY)
    for refused in (
        lambda: pickle.dumps(secret),
        lambda: copy.copy(secret),
        lambda: copy.deepcopy(secret),
        lambda: copy.deepcopy(ChapCredentials("u", secret)),
        lambda: json.dumps(secret),
        lambda: hash(secret),
        lambda: vars(secret),
    ):
        with pytest.raises(TypeError) as caught:
            refused()
        assert CANARY not in str(caught.value)


def test_equality() -> None:
    assert Secret("abc") == Secret(b"abc")
    assert Secret("abc") != Secret("abd")
    assert Secret("abc") != "abc"
    assert ChapCredentials("u", Secret("abc")) == ChapCredentials("u", Secret("abc"))


@pytest.mark.parametrize(
    ("data", "reason"), [("", "empty"), (b"", "empty"), ("x" * 1025, "1025 bytes"), ("a\ud800", "UTF-8")]
)
def test_what_is_no_secret(data: str | bytes, reason: str) -> None:
    with pytest.raises(InvalidSecret, match=reason) as caught:
        Secret(data)
    assert caught.value.__cause__ is None


def test_generated_secrets_suit_everybody() -> None:
    seen = {generate_secret(secrets.token_bytes).reveal() for _ in range(50)}
    assert len(seen) == 50
    for octets in seen:
        assert len(octets) == 16
        for peer in PEER_RULES:
            assert check_secret(Secret(octets), peer=peer) == []


def test_generation_uses_96_bits_of_the_source() -> None:
    asked: list[int] = []

    def source(n: int) -> bytes:
        asked.append(n)
        return bytes(n)

    assert generate_secret(source).reveal() == b"A" * 16
    assert asked == [12]


@pytest.mark.parametrize(
    ("text", "octets"),
    [
        ("secret\n", b"secret"),
        ("secret\r\n", b"secret"),
        (" two words ", b" two words "),
        ("0x616263", b"0x616263"),
        ("0bYWJj", b"0bYWJj"),
        ("pässwörd", "pässwörd".encode()),
    ],
)
def test_typed_secrets_are_literal(text: str, octets: bytes) -> None:
    assert parse_secret(text).reveal() == octets


@pytest.mark.parametrize("text", ["", "\n", f"{CANARY}\nmore", f"{CANARY}\x00", f"{CANARY}\x7f"])
def test_typed_text_that_is_no_secret(text: str) -> None:
    with pytest.raises(InvalidSecret) as caught:
        parse_secret(text)
    assert CANARY not in str(caught.value)


@pytest.mark.parametrize("text", ["616263", "0x616263", " 0X616263\n"])
def test_hex(text: str) -> None:
    assert secret_from_hex(text).reveal() == b"abc"


@pytest.mark.parametrize("text", ["YWJj", "0bYWJj", " 0BYWJj\n"])
def test_base64(text: str) -> None:
    assert secret_from_base64(text).reveal() == b"abc"


def test_base64_that_happens_to_begin_like_the_prefix() -> None:
    assert secret_from_base64("0bYW").reveal() == b"\xd1\xb6\x16"


@pytest.mark.parametrize("text", ["0x", "0x1", "xyz", "ü", "0x0g"])
def test_hex_refusals(text: str) -> None:
    with pytest.raises(InvalidSecret) as caught:
        secret_from_hex(text)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


@pytest.mark.parametrize("text", ["0b", "YWJ", "YW Jj", "ü"])
def test_base64_refusals(text: str) -> None:
    with pytest.raises(InvalidSecret):
        secret_from_base64(text)


def texts(secret: Secret, level: str, **options: object) -> list[str]:
    return [f.text for f in check_secret(secret, **options) if f.level == level]  # type: ignore[arg-type]  # by name


def test_a_good_secret_has_no_findings() -> None:
    assert check_secret(GOOD) == []
    assert check_secret(GOOD, other=Secret("another-secret-x")) == []


def test_both_directions_must_differ() -> None:
    assert "same secret" in texts(GOOD, "error", other=Secret(GOOD.reveal()))[0]


def test_short_secrets_need_ipsec() -> None:
    short = Secret("abcdefghijk")
    assert "at least 12" in texts(short, "error")[0]
    assert texts(short, "error", ipsec=True) == []
    assert "only IPsec" in texts(short, "warning", ipsec=True)[0]


def test_warnings_of_long_odd_and_dull_secrets() -> None:
    assert "at most 16" in texts(Secret("abcdefghijklmnopq"), "warning")[0]
    assert "printable ASCII" in texts(Secret("pässwörd-1234"), "warning")[0]
    assert "easily guessed" in texts(Secret("aaaaaaaaaaaa"), "warning")[0]


@pytest.mark.parametrize(
    ("peer", "secret", "accepted"),
    [
        ("windows", "abcdefghijklmnop", True),
        ("windows", "abcdefghijklmnopq", False),
        ("truenas", " abcdefghijklm", False),
        ("truenas", "abcdefghijklm ", False),
        ("truenas", "abcdef#ghijklm", False),
        ("truenas", "abcdef ghijklm", True),
        ("ceph-iscsi", "abcdef.ghijklm", False),
        ("ceph-iscsi", "abcd_ef/gh-ij@", True),
        ("nimble", "abcdef ghijklm", False),
        ("nimble", "abcdef'ghijklm", False),
        ("istorage", "a1" * 16, True),
        ("istorage", "a1" * 16 + "x", False),
        ("e-series", "a1" * 28, True),
        ("e-series", "a1" * 29, False),
        ("ctld", "a1b2" * 5, True),
    ],
)
def test_rules_of_products(peer: str, secret: str, accepted: bool) -> None:
    errors = texts(Secret(secret), "error", peer=peer)
    assert (errors == []) is accepted
    assert all(PEER_RULES[peer].title in text for text in errors)


def test_lio_takes_one_word_as_none() -> None:
    assert any("no secret" in text for text in texts(Secret("NULL"), "error", peer="lio", ipsec=True))


def test_ctld_only_warns_about_its_range() -> None:
    assert any("ctld" in text for text in texts(Secret("a1b2" * 5), "warning", peer="ctld"))


def test_errors_come_first_and_no_finding_quotes_the_secret() -> None:
    secret = Secret("canary#canary canary#canary")
    for peer in PEER_RULES:
        findings = check_secret(secret, other=secret, peer=peer)
        levels = [finding.level for finding in findings]
        assert levels == sorted(levels)
        assert all("canary" not in finding.text for finding in findings)


def test_an_unknown_peer_is_a_mistake_of_the_caller() -> None:
    with pytest.raises(KeyError):
        check_secret(GOOD, peer="nobody")
    with pytest.raises(KeyError):
        check_user("user", peer="nobody")


@pytest.mark.parametrize(
    ("user", "peer", "accepted"),
    [
        ("user", "rfc7143", True),
        ("", "rfc7143", False),
        ("u" * 256, "rfc7143", False),
        ("u" * 511, "vmware", True),
        ("u" * 64, "equallogic", False),
        ("short", "ceph-iscsi", False),
        ("iqn.2001-04.com:me", "ceph-iscsi", True),
        ("user name 1", "ceph-iscsi", False),
        ("user\n", "rfc7143", False),
        (" user", "rfc7143", False),
    ],
)
def test_user_names(user: str, peer: str, accepted: bool) -> None:
    findings = check_user(user, peer=peer)
    assert (findings == []) is accepted
    assert all(finding.text.isprintable() for finding in findings)


@given(st.binary(min_size=1, max_size=64))
def test_hex_and_base64_round_trip(octets: bytes) -> None:
    assert secret_from_hex("0x" + octets.hex()).reveal() == octets
    assert secret_from_base64("0b" + base64.b64encode(octets).decode()).reveal() == octets
    assert secret_from_base64(base64.b64encode(octets).decode()).reveal() == octets
