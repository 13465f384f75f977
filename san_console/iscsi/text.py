"""Text of login and text PDUs (RFC 7143 §6.1): key=value pairs, continuation over PDUs, formats of values."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable

from san_console.iscsi import login_status, opcodes
from san_console.iscsi.errors import RemoteProtocolError
from san_console.names.display import visible

Bytes = bytes | bytearray | memoryview
Pairs = list[tuple[str, str]]

MAX_KEY_CHARACTERS = 63  # §6.1, standard-label
MAX_VALUE_BYTES = 255  # §6.1, of a simple value in decoded form
MAX_BINARY_BYTES = 1024  # §12.1.3, CHAP_C and CHAP_R
# §6.1: at least 8192 bytes must be taken; challenges of 1024 bytes in hex take 2050 each, beside the names.
MAX_NEGOTIATION_BYTES = 16384
# §6.2 asks for six at least; CHAP in both directions and a continued answer take ten.
MAX_EXCHANGES = 32

NOT_UNDERSTOOD = "NotUnderstood"
IRRELEVANT = "Irrelevant"
REJECT = "Reject"
NONE = "None"
# §6.2: answers only, never offered. ("None" is reserved as well, but legal inside a list.)
ANSWERS_ONLY = frozenset({NOT_UNDERSTOOD, IRRELEVANT, REJECT})

# `#` stands in X#NodeArchitecture (§13.26); only iSCSIProtocolLevel (RFC 7144) starts in lower case.
_KEY = re.compile(r"(?:[A-Z]|iSCSIProtocolLevel\Z)[A-Za-z0-9.+@_#-]*")
_DECIMAL = re.compile(r"0|[1-9][0-9]{0,19}")
_HEX = re.compile(r"0[xX][0-9a-fA-F]{1,64}")
_HEX_BINARY = re.compile(r"0[xX][0-9a-fA-F]+")
_BASE64_BINARY = re.compile(r"0[bB][A-Za-z0-9+/]+={0,2}")


class MalformedValue(ValueError):
    """A value that is not of its key's format or range; the message says why."""


def protocol_error(message: str, status: int = login_status.INITIATOR_ERROR) -> RemoteProtocolError:
    """The peer's text broke a rule: refused with a login status, or with Reject in full feature phase."""
    return RemoteProtocolError(message, reject_reason=opcodes.REJECT_PROTOCOL_ERROR, login_status=status)


def decode_pairs(data: Bytes) -> Pairs:
    """The pairs of one logical text data segment. Raises RemoteProtocolError for what §6.1 does not allow.

    NULs beyond the last delimiter are taken as padding: some peers count it into the segment's length.
    """
    raw = bytes(data)
    if not raw:
        return []
    if raw[-1]:
        raise protocol_error("the peer's text does not end in a NUL byte (RFC 7143 §6.1)")
    pairs: Pairs = []
    for piece in raw.rstrip(b"\0").split(b"\0"):
        if not piece and not pairs:
            break
        try:
            text = piece.decode()
        except UnicodeDecodeError:
            raise protocol_error("the peer's text is not valid UTF-8 (RFC 7143 §6.1)") from None
        key, equals, value = text.partition("=")
        if not equals:
            raise protocol_error(f"the peer sent “{visible(text, 80)}”, which has no “=”")
        if len(key) > MAX_KEY_CHARACTERS or not _KEY.fullmatch(key):
            raise protocol_error(f"the peer sent a key that is none: “{visible(key, 80)}”")
        pairs.append((key, value))
    return pairs


def encode_pairs(pairs: Iterable[tuple[str, str]]) -> bytes:
    """The logical text data segment of `pairs`, each ended by a NUL."""
    return b"".join(f"{key}={value}\0".encode() for key, value in pairs)


class TextCollector:
    """Joins data segments until one comes without the C bit, up to `max_bytes` in all."""

    __slots__ = ("_data", "max_bytes")

    def __init__(self, max_bytes: int = MAX_NEGOTIATION_BYTES) -> None:
        self.max_bytes = max_bytes
        self._data = bytearray()

    @property
    def pending(self) -> bool:
        """True in the middle of a continued text."""
        return bool(self._data)

    def add(self, data: Bytes, *, continued: bool) -> bytes | None:
        """The whole text when `data` ends it, else None. Raises RemoteProtocolError past the limit."""
        if len(self._data) + len(data) > self.max_bytes:
            raise protocol_error(f"the peer's text goes on beyond {self.max_bytes} bytes")
        if continued:
            if not data:
                raise protocol_error("the peer continues a text without sending any of it")
            self._data += data
            return None
        if not self._data:
            return bytes(data)
        whole = bytes(self._data) + bytes(data)
        self._data.clear()
        return whole


def decode_number(value: str, minimum: int = 0, maximum: int = 2**64 - 1) -> int:
    """A numerical-value, decimal or hex (§6.1), within the range of its key. Raises MalformedValue."""
    if _DECIMAL.fullmatch(value):
        number = int(value)
    elif _HEX.fullmatch(value):
        number = int(value[2:], 16)
    else:
        raise MalformedValue(f"“{visible(value, 40)}” is not a number")
    if not minimum <= number <= maximum:
        raise MalformedValue(f"{number} is outside of {minimum} to {maximum}")
    return number


def decode_boolean(value: str) -> bool:
    """Exactly "Yes" or "No" (§6.1: values are case-sensitive). Raises MalformedValue."""
    if value not in ("Yes", "No"):
        raise MalformedValue(f"“{visible(value, 40)}” is neither Yes nor No")
    return value == "Yes"


def encode_boolean(value: bool) -> str:
    return "Yes" if value else "No"


def decode_list(value: str) -> list[str]:
    """A list-of-values, each 1 to 255 bytes. Raises MalformedValue."""
    items = value.split(",")
    for item in items:
        if not item or len(item.encode()) > MAX_VALUE_BYTES:
            raise MalformedValue(f"“{visible(value, 80)}” has an empty or overlong item")
    return items


def decode_binary(value: str, max_bytes: int = MAX_BINARY_BYTES) -> bytes:
    """A binary-value in hex or Base64 (§6.1); an odd number of hex digits has a leading zero.

    Decimal is refused: it has no implicit length (§6.1). Raises MalformedValue; its message never repeats the
    value.
    """
    if len(value) > 2 + 2 * max_bytes:
        raise MalformedValue(f"the binary value is longer than {max_bytes} bytes")
    if _HEX_BINARY.fullmatch(value):
        digits = value[2:]
        data = bytes.fromhex(digits if len(digits) % 2 == 0 else "0" + digits)
    elif _BASE64_BINARY.fullmatch(value):
        try:
            data = base64.b64decode(value[2:], validate=True)
        except binascii.Error:
            raise MalformedValue("the binary value is not valid Base64") from None
    else:
        raise MalformedValue("the binary value is neither hex (0x…) nor Base64 (0b…)")
    if not 0 < len(data) <= max_bytes:
        raise MalformedValue(f"the binary value has {len(data)} bytes; 1 to {max_bytes} are possible")
    return data


def encode_binary(data: bytes) -> str:
    """Hex, which every peer reads; Base64 has been mangled by some."""
    return "0x" + data.hex()
