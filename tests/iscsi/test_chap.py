"""CHAP arithmetic, the ledger of challenges, and what is refused before anything is sent (B15, B18-B21)."""

from __future__ import annotations

import hashlib

import pytest

from san_console.iscsi import chap
from san_console.iscsi.chap import ChallengeLedger, Challenger
from san_console.iscsi.errors import LocalProtocolError, RemoteProtocolError
from san_console.names.credentials import ChapCredentials, Secret
from tests.iscsi.login_pair import CountingRandom

ALICE = ChapCredentials("alice", Secret("alice-secret-0123"))
DISK = ChapCredentials("disk", Secret("disk-secret-45678"))


@pytest.mark.parametrize(("algorithm", "name"), [(5, "md5"), (6, "sha1"), (7, "sha256"), (8, "sha3_256")])
def test_response_is_the_hash_of_rfc_1994(algorithm: int, name: str) -> None:
    challenge = bytes(range(200)) * 5  # the whole challenge counts, not only its first 255 bytes
    expected = hashlib.new(name, b"\x07" + ALICE.secret.reveal() + challenge, usedforsecurity=False).digest()
    assert chap.chap_response(algorithm, 7, ALICE.secret, challenge) == expected


def test_a_challenge_is_never_sent_twice() -> None:
    ledger = ChallengeLedger()
    values = iter([b"A" * 16, b"A" * 16, b"B" * 16, b"C" * 16, b"D" * 16])
    assert ledger.issue(lambda n: next(values)) == b"A" * 16
    assert ledger.issue(lambda n: next(values), avoid=b"B" * 16) == b"C" * 16
    assert ledger.is_ours(b"A" * 16)
    assert not ledger.is_ours(b"B" * 16)
    with pytest.raises(LocalProtocolError, match="repeats itself"):
        ledger.issue(lambda n: b"A" * n)


def test_ledger_is_bounded() -> None:
    ledger = ChallengeLedger(limit=4)
    random = CountingRandom(1)
    challenges = [ledger.issue(random) for _ in range(10)]
    assert [ledger.is_ours(challenge) for challenge in challenges] == [False] * 6 + [True] * 4


def challenger(algorithm: int = chap.SHA256) -> Challenger:
    return Challenger.issue(algorithm, ChallengeLedger(), CountingRandom(1))


def test_verification() -> None:
    ours = challenger()
    good = chap.chap_response(ours.algorithm, ours.identifier, ALICE.secret, ours.challenge)
    assert ours.verify(good, ALICE.secret)
    assert ours.verify(good, ALICE.secret, DISK.secret)
    assert not ours.verify(good, DISK.secret)
    assert not ours.verify(good[:-1], ALICE.secret)
    assert not ours.verify(b"", ALICE.secret)
    assert not ours.verify(good, None)


def test_unknown_user_never_passes_even_with_the_stand_in_secret() -> None:
    ours = challenger()
    stand_in = chap.chap_response(ours.algorithm, ours.identifier, Secret(bytes(12)), ours.challenge)
    assert not ours.verify(stand_in, None)


def test_answer_with_our_own_secret_is_a_reflection() -> None:
    # RFC 7143 §9.2.1: the response that we would have produced ourselves is a failure.
    ours = challenger()
    own = chap.chap_response(ours.algorithm, ours.identifier, DISK.secret, ours.challenge)
    assert not ours.verify(own, DISK.secret, DISK.secret)


def test_our_challenge_is_not_answered_on_any_connection() -> None:
    ledger = ChallengeLedger()
    first = Challenger.issue(5, ledger, CountingRandom(1))
    with pytest.raises(RemoteProtocolError, match="our own CHAP challenge") as caught:
        chap.respond(5, 1, first.challenge, ALICE, ledger)
    assert caught.value.login_status == 0x0201
    assert chap.respond(5, 1, b"theirs", ALICE, ledger)[0] == ("CHAP_N", "alice")


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [
        ("5", 5),
        ("7,6,5", 7),
        ("5,8", 5),  # the initiator's order, not ours
        ("56,5", 5),
        ("5x,6", 6),
        ("0x7", 7),
        ("", None),
        ("56", None),
        ("5x", None),
        ("None", None),
        ("-5", None),
    ],
)
def test_choice_of_the_algorithm(offered: str, chosen: int | None) -> None:
    assert chap.choose_algorithm(offered) == chosen


@pytest.mark.parametrize("value", ["256", "-1", "x", ""])
def test_identifier_is_a_byte(value: str) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        chap.decode_identifier(value)
    assert caught.value.login_status == 0x0200


def test_octets() -> None:
    assert chap.decode_octets("CHAP_C", "0xab") == b"\xab"
    for value in ("0x", "12", "0x" + "ab" * 1025):
        with pytest.raises(RemoteProtocolError, match="CHAP_C is wrong") as caught:
            chap.decode_octets("CHAP_C", value)
        assert caught.value.login_status == 0x0200


def test_credentials_are_checked_before_sending() -> None:
    chap.check_credentials(None, None)
    chap.check_credentials(ALICE, None)
    chap.check_credentials(ALICE, DISK)
    short = ChapCredentials("alice", Secret("x" * 11))
    chap.check_credentials(short, None, allow_short_secret=True)
    for ours, theirs in ((None, DISK), (ALICE, ChapCredentials("x", ALICE.secret)), (short, None)):
        with pytest.raises(LocalProtocolError) as caught:
            chap.check_credentials(ours, theirs)
        assert "alice-secret" not in str(caught.value)


def test_nothing_secret_in_a_repr() -> None:
    ours = challenger()
    assert ours.challenge.hex() not in repr(ours)
    assert repr(ours.challenge) not in repr(ours)
    assert "alice-secret" not in repr(ALICE)


def test_texts() -> None:
    assert chap.auth_text(None, mutual=False) == "None"
    assert chap.auth_text(7, mutual=True) == "CHAP SHA-256 mutual"
