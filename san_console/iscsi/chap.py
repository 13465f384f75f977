"""CHAP as iSCSI uses it (RFC 1994; RFC 7143 §9.2.1, §12.1.3): responses, challenges, no reflection.

No secret, challenge or response ever stands in a message or a repr.
"""

from __future__ import annotations

import hashlib
import hmac
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from san_console.iscsi import login_status, text
from san_console.iscsi.errors import LocalProtocolError
from san_console.iscsi.text import MAX_BINARY_BYTES, MalformedValue, Pairs, protocol_error
from san_console.names.credentials import MIN_SECRET_BYTES, ChapCredentials, Secret

MD5, SHA1, SHA256, SHA3_256 = 5, 6, 7, 8
ALGORITHM_NAMES = {MD5: "MD5", SHA1: "SHA-1", SHA256: "SHA-256", SHA3_256: "SHA3-256"}
# What an initiator offers, in this order; 5 is always there (§12.1.3). 7 comes last on purpose: tgt, and
# others of its descent, follow an early draft and take 7 for SHA-1, so that a target which has the choice
# must not come to it.
PREFERENCE = (SHA3_256, SHA1, MD5, SHA256)

_HASHES: dict[int, Callable[[bytes], bytes]] = {
    # On a Python in FIPS mode MD5 is refused unless this says that no security of ours depends on it.
    MD5: lambda data: hashlib.md5(data, usedforsecurity=False).digest(),
    SHA1: lambda data: hashlib.sha1(data, usedforsecurity=False).digest(),
    SHA256: lambda data: hashlib.sha256(data).digest(),
    SHA3_256: lambda data: hashlib.sha3_256(data).digest(),
}

# 128 bits: never met again by chance (RFC 1994 §2.3), and the length that every peer takes.
CHALLENGE_BYTES = 16
# A reflected challenge comes back within one login, 15 to 30 s; no portal takes more logins in that time.
MAX_REMEMBERED_CHALLENGES = 8192

# Hashed for users that do not exist, so that their refusal takes as long as that of a wrong secret.
_NOBODY = bytes(MIN_SECRET_BYTES)

Random = Callable[[int], bytes]


def chap_response(algorithm: int, identifier: int, secret: Secret, challenge: bytes) -> bytes:
    """RFC 1994 §4.1: the hash over identifier, secret and the whole challenge."""
    return _HASHES[algorithm](bytes([identifier]) + secret.reveal() + challenge)


class ChallengeLedger:
    """The challenges that this node sent lately, on all its connections in one role.

    RFC 7143 §9.2.1: a peer that challenges us with our own challenge, here or on another connection, wants
    us to compute the answer that it owes us. One ledger per role: a node that logs in to itself sees its
    target's challenges legitimately.
    """

    __slots__ = ("_limit", "_sent")

    def __init__(self, limit: int = MAX_REMEMBERED_CHALLENGES) -> None:
        self._sent: OrderedDict[bytes, None] = OrderedDict()
        self._limit = limit

    def issue(self, random: Random, avoid: bytes = b"") -> bytes:
        """A challenge never sent before, and not the peer's own (`avoid`)."""
        for _ in range(8):
            challenge = random(CHALLENGE_BYTES)
            if challenge not in self._sent and challenge != avoid:
                self._sent[challenge] = None
                if len(self._sent) > self._limit:
                    self._sent.popitem(last=False)
                return challenge
        raise LocalProtocolError("the random generator repeats itself; CHAP is not possible with it")

    def is_ours(self, challenge: bytes) -> bool:
        return challenge in self._sent


@dataclass(slots=True)
class Challenger:
    """Our challenge to the peer, and the judgement of its answer."""

    algorithm: int
    identifier: int
    challenge: bytes = field(repr=False)

    @classmethod
    def issue(cls, algorithm: int, ledger: ChallengeLedger, random: Random, avoid: bytes = b"") -> Challenger:
        return cls(algorithm, random(1)[0], ledger.issue(random, avoid))

    def pairs(self) -> Pairs:
        return [("CHAP_I", str(self.identifier)), ("CHAP_C", text.encode_binary(self.challenge))]

    def verify(self, response: bytes, secret: Secret | None, ours: Secret | None = None) -> bool:
        """True if the peer knows `secret`; None means that there is none by its name (takes the same time).

        `ours` is what we prove ourselves with: a peer that answers with it only reflects (§9.2.1).
        """
        candidate = secret if secret is not None else Secret(_NOBODY)
        expected = chap_response(self.algorithm, self.identifier, candidate, self.challenge)
        good = hmac.compare_digest(response, expected) and secret is not None
        if ours is not None:
            reflected = chap_response(self.algorithm, self.identifier, ours, self.challenge)
            good = not hmac.compare_digest(response, reflected) and good
        return good


def check_credentials(
    ours: ChapCredentials | None, theirs: ChapCredentials | None, *, allow_short_secret: bool = False
) -> None:
    """Refuse what RFC 7143 §9.2.1 forbids before anything is sent. Raises LocalProtocolError.

    `ours` is what we prove, `theirs` what the peer has to prove. `allow_short_secret`: IPsec protects the
    connection.
    """
    if ours is None:
        if theirs is not None:
            raise LocalProtocolError(
                "the target can only be authenticated when this initiator authenticates itself too: "
                "set a CHAP user and secret for this direction as well"
            )
        return
    if theirs is not None and ours.secret == theirs.secret:
        raise LocalProtocolError(
            "both directions of CHAP have the same secret, which lets an attacker reflect it: choose two"
        )
    if len(ours.secret) < MIN_SECRET_BYTES and not allow_short_secret:
        raise LocalProtocolError(
            f"the CHAP secret has {len(ours.secret)} bytes; "
            f"without IPsec at least {MIN_SECRET_BYTES} are needed"
        )
    for credentials in (ours, theirs):
        if credentials is not None and len(credentials.user.encode()) > text.MAX_VALUE_BYTES:
            raise LocalProtocolError(f"a CHAP user name has at most {text.MAX_VALUE_BYTES} bytes")


def respond(
    algorithm: int, identifier: int, challenge: bytes, credentials: ChapCredentials, ledger: ChallengeLedger
) -> Pairs:
    """Our CHAP_N and CHAP_R. Raises RemoteProtocolError if the challenge is one of our own (§9.2.1)."""
    if ledger.is_ours(challenge):
        raise protocol_error(
            "the peer sent our own CHAP challenge back to us, as an attacker without the secret would",
            login_status.AUTHENTICATION_FAILURE,
        )
    response = chap_response(algorithm, identifier, credentials.secret, challenge)
    return [("CHAP_N", credentials.user), ("CHAP_R", text.encode_binary(response))]


def choose_algorithm(offered: str, supported: Sequence[int] = PREFERENCE) -> int | None:
    """The first algorithm of the initiator's list that is supported (§6.2.1); None if there is none."""
    for item in offered.split(","):
        try:
            algorithm = text.decode_number(item, 0, 255)
        except MalformedValue:
            continue  # §6.2.1: values not understood are ignored
        if algorithm in supported:
            return algorithm
    return None


def decode_identifier(value: str) -> int:
    """CHAP_I, one byte. Raises RemoteProtocolError."""
    try:
        return text.decode_number(value, 0, 255)
    except MalformedValue as error:
        raise protocol_error(f"the peer's CHAP_I is wrong: {error}") from None


def decode_octets(key: str, value: str) -> bytes:
    """CHAP_C or CHAP_R, 1 to 1024 bytes. Raises RemoteProtocolError, without the value."""
    try:
        return text.decode_binary(value, MAX_BINARY_BYTES)
    except MalformedValue as error:
        raise protocol_error(f"the peer's {key} is wrong: {error}") from None


def auth_text(algorithm: int | None, *, mutual: bool) -> str:
    """How a session was authenticated, for the user: "CHAP SHA-256 mutual", "None"."""
    if algorithm is None:
        return text.NONE
    return f"CHAP {ALGORITHM_NAMES[algorithm]}" + (" mutual" if mutual else "")
