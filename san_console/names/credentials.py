"""CHAP secrets and the rules for them: RFC 7143 §9.2.1 and what products in the field accept.

A `Secret` can be compared, measured and, in one explicit place, revealed. It shows itself as `***`
everywhere and refuses to be copied or pickled, so that it cannot end up in a log, a trace, a state file or
an RPC answer by accident. Python cannot promise that the octets are wiped from memory afterwards.
"""

import base64
import binascii
import hmac
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, NoReturn, SupportsIndex

from san_console.names.display import visible
from san_console.names.errors import InvalidSecret

MAX_SECRET_BYTES = 1024
"""RFC 7143 §12.1.3: the largest binary item that CHAP carries; no product takes more as a secret."""

MIN_SECRET_BYTES = 12
"""RFC 7143 §9.2.1: 96 bits, unless IPsec protects the connection."""

COMMON_MAX_SECRET_BYTES = 16
"""RFC 7143 §9.2.1 makes 128 bits the most that everybody supports; Windows, TrueNAS and others stop there."""

MASK = "***"

_GENERATED_BYTES = 12  # 96 bits are 16 characters of six bits each


class Secret:
    """A CHAP secret. `data` is text (sent as UTF-8) or octets, 1 to 1024 bytes. Raises InvalidSecret."""

    __hash__ = None  # type: ignore[assignment]  # a hash would let the secret be found by trying candidates
    __slots__ = ("_data",)

    def __init__(self, data: bytes | bytearray | str) -> None:
        if isinstance(data, str):
            try:
                data = data.encode()
            except UnicodeEncodeError:
                # From None: the original error carries the text.
                raise InvalidSecret("The secret holds characters that cannot be written in UTF-8.") from None
        if not data:
            raise InvalidSecret("The secret is empty.")
        if len(data) > MAX_SECRET_BYTES:
            raise InvalidSecret(f"The secret has {len(data)} bytes; at most {MAX_SECRET_BYTES} are possible.")
        self._data = bytes(data)

    def reveal(self) -> bytes:
        """The octets, for the CHAP computation and for the keyring only."""
        return self._data

    def __len__(self) -> int:
        return len(self._data)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._data, other._data)

    def __repr__(self) -> str:
        return f"Secret({MASK})"

    def __str__(self) -> str:
        return MASK

    def __format__(self, format_spec: str) -> str:
        return MASK

    def _refuse_copy(self) -> NoReturn:
        raise TypeError("a CHAP secret is not copied or pickled; pass the same object on")

    def __copy__(self) -> NoReturn:
        self._refuse_copy()

    def __deepcopy__(self, memo: object) -> NoReturn:
        self._refuse_copy()

    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        self._refuse_copy()


@dataclass(slots=True)
class ChapCredentials:
    """A CHAP name and its secret, for one direction."""

    user: str
    secret: Secret


def generate_secret(random: Callable[[int], bytes]) -> Secret:
    """16 characters of `[A-Za-z0-9_-]`, 96 bits from `random(n)`: what every product accepts."""
    return Secret(base64.urlsafe_b64encode(random(_GENERATED_BYTES)))


def parse_secret(text: str) -> Secret:
    """A secret as a person typed it or a file holds it: taken literally, less one line end.

    Raises InvalidSecret.

    `0x…` and `0b…` stay as they are written: they are legal secrets, and products disagree about decoding
    them.
    """
    text = text.removesuffix("\n").removesuffix("\r")
    if any(ord(character) < 32 or ord(character) == 127 for character in text):
        raise InvalidSecret("The secret holds a control character or a line break; it is one line of text.")
    return Secret(text)


def secret_from_hex(text: str) -> Secret:
    """The secret whose octets `text` gives in hexadecimal, with or without `0x`. Raises InvalidSecret."""
    digits = text.strip()
    digits = digits[2:] if digits[:2].lower() == "0x" else digits
    try:
        return Secret(binascii.unhexlify(digits.encode()))
    except (binascii.Error, UnicodeEncodeError):
        raise InvalidSecret(
            "The secret is not hexadecimal: an even number of the digits 0-9 and a-f."
        ) from None


def secret_from_base64(text: str) -> Secret:
    """The secret whose octets `text` gives in base64, with or without `0b`. Raises InvalidSecret."""
    encoded = text.strip()
    # "0b" is itself valid base64, but a prefix leaves a multiple of four behind and base64 text is one as a
    # whole.
    if encoded[:2].lower() == "0b" and len(encoded) % 4 == 2:
        encoded = encoded[2:]
    try:
        return Secret(base64.b64decode(encoded.encode(), validate=True))
    except (binascii.Error, UnicodeEncodeError):
        raise InvalidSecret("The secret is not base64: groups of four characters, padded with “=”.") from None


@dataclass(frozen=True, slots=True)
class PeerRule:
    """What one product takes. Lengths are in bytes; a pattern of None takes everything."""

    title: str
    min_bytes: int = 1
    max_bytes: int = MAX_SECRET_BYTES
    pattern: re.Pattern[bytes] | None = None
    pattern_text: str = ""
    min_user: int = 1
    max_user: int = 255
    user_pattern: re.Pattern[str] | None = None
    user_pattern_text: str = ""
    forbidden: frozenset[bytes] = field(default_factory=frozenset)
    #: The product states a range, but takes what lies outside of it.
    only_warns: bool = False


_ASCII = re.compile(rb"[\x20-\x7e]*")

# Stated by the products' own sources and manuals. Where a maker gives no rule, the RFC's is the only one
# here.
PEER_RULES: dict[str, PeerRule] = {
    "rfc7143": PeerRule("RFC 7143"),
    "windows": PeerRule("Microsoft initiator", max_bytes=16),
    "open-iscsi": PeerRule("open-iscsi", max_bytes=255),
    "vmware": PeerRule("VMware ESXi", max_bytes=255, max_user=511),
    "lio": PeerRule("Linux LIO", max_bytes=255, forbidden=frozenset({b"NULL"})),
    "scst": PeerRule("SCST", min_bytes=12),
    "ctld": PeerRule("FreeBSD ctld", min_bytes=12, max_bytes=16, only_warns=True),
    "truenas": PeerRule(
        "TrueNAS",
        min_bytes=12,
        max_bytes=16,
        pattern=re.compile(rb"(?! )[^#]*(?<! )"),
        pattern_text="no “#”, no space at either end",
    ),
    "ceph-iscsi": PeerRule(
        "ceph-iscsi",
        min_bytes=12,
        max_bytes=16,
        pattern=re.compile(rb"[A-Za-z0-9_@/-]*"),
        pattern_text="letters, digits and _ @ / -",
        min_user=8,
        max_user=64,
        user_pattern=re.compile(r"[\w.:@-]*", re.ASCII),
        user_pattern_text="letters, digits and . : @ _ -",
    ),
    "e-series": PeerRule(
        "Dell/NetApp E-Series", min_bytes=12, max_bytes=57, pattern=_ASCII, pattern_text="ASCII characters"
    ),
    "equallogic": PeerRule("Dell EqualLogic", max_bytes=255, max_user=63),
    "istorage": PeerRule("NEC iStorage", min_bytes=12, max_bytes=32),
    "nimble": PeerRule(
        "HPE Nimble",
        min_bytes=12,
        max_bytes=16,
        pattern=re.compile(rb"[^ \"']*"),
        pattern_text="no spaces, no quotes",
    ),
    "flexboot": PeerRule("NVIDIA FlexBoot", min_bytes=12, max_bytes=16),
    "ontap": PeerRule("NetApp ONTAP", max_bytes=512, max_user=128),
}


@dataclass(frozen=True, slots=True)
class SecretFinding:
    """What is wrong ("error": forbidden, or will not work) or risky ("warning") with a secret."""

    level: Literal["error", "warning"]
    text: str


def check_secret(
    secret: Secret, *, other: Secret | None = None, ipsec: bool = False, peer: str = "rfc7143"
) -> list[SecretFinding]:
    """Check `secret` by RFC 7143 §9.2.1 and by what `peer` (a key of PEER_RULES) takes; errors come first.

    `other` is the secret of the other direction. `ipsec` says that the connection is protected otherwise,
    which lifts the lower limit. Raises KeyError for an unknown peer.
    """
    rule = PEER_RULES[peer]
    size_bytes = len(secret)
    findings: list[SecretFinding] = []

    def error(text: str) -> None:
        findings.append(SecretFinding("error", text))

    def warning(text: str) -> None:
        findings.append(SecretFinding("warning", text))

    if other is not None and secret == other:
        error(
            "Both directions use the same secret, which lets an attacker reflect the challenge "
            "(RFC 7143 §9.2.1)."
        )
    if size_bytes < MIN_SECRET_BYTES and not ipsec:
        error(
            f"The secret has {size_bytes} bytes; without IPsec at least {MIN_SECRET_BYTES} are needed "
            "(RFC 7143 §9.2.1)."
        )
    if not rule.min_bytes <= size_bytes <= rule.max_bytes:
        limits = (
            f"{rule.title} takes {rule.min_bytes} to {rule.max_bytes} bytes; this secret has {size_bytes}."
        )
        if rule.only_warns:
            warning(limits)
        else:
            error(limits)
    octets = secret.reveal()
    if rule.pattern is not None and not rule.pattern.fullmatch(octets):
        error(f"{rule.title} does not take a character of this secret: {rule.pattern_text}.")
    if octets in rule.forbidden:
        error(f"{rule.title} takes this word as “no secret”.")
    if size_bytes < MIN_SECRET_BYTES and ipsec:
        warning(f"The secret has {size_bytes} bytes: only IPsec protects it from being guessed.")
    if size_bytes > COMMON_MAX_SECRET_BYTES:
        warning(
            f"The secret has {size_bytes} bytes; several products, Windows among them, take at most "
            f"{COMMON_MAX_SECRET_BYTES}."
        )
    if not _ASCII.fullmatch(octets):
        warning(
            "The secret holds more than printable ASCII; products disagree about how such text is encoded."
        )
    if len(set(octets)) <= 2:
        warning("The secret repeats one or two characters and is easily guessed.")
    return sorted(findings, key=lambda finding: finding.level)


def check_user(user: str, *, peer: str = "rfc7143") -> list[SecretFinding]:
    """Check a CHAP name by what `peer` (a key of PEER_RULES) takes. Raises KeyError for an unknown peer."""
    rule = PEER_RULES[peer]
    findings: list[SecretFinding] = []
    if not rule.min_user <= len(user) <= rule.max_user:
        findings.append(
            SecretFinding(
                "error",
                f"{rule.title} takes CHAP names of {rule.min_user} to {rule.max_user} characters; "
                f"this one has {len(user)}.",
            )
        )
    if rule.user_pattern is not None and not rule.user_pattern.fullmatch(user):
        findings.append(
            SecretFinding(
                "error", f"{rule.title} does not take “{visible(user, 64)}”: only {rule.user_pattern_text}."
            )
        )
    if not user.isprintable() or user != user.strip():
        findings.append(
            SecretFinding("error", "The CHAP name starts or ends with a space, or holds a control character.")
        )
    return findings
