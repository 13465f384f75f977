"""iSCSI names: iqn., eui. and naa. (RFC 7143 §4.2.7), normalised by the stringprep profile of RFC 3722.

Names are compared octet for octet, so both ends must bring them into one form first. RFC 3722 allows, of
ASCII, only lower-case letters, digits, dash, dot and colon. Products in the field are less strict: they
give out names with underscores and capitals, and several of them (tgt among them) compare what they are
sent without folding the case. A name that a peer gave is therefore taken by `normalise(name,
lenient=True)`, which keeps the peer's spelling; whether two names mean the same node is asked by
`same_name`.
"""

import re
import stringprep
import unicodedata
from collections.abc import Callable
from typing import Literal, TypeAlias

from san_console.names.display import acts_or_hides, visible
from san_console.names.errors import InvalidName

MAX_NAME_BYTES = 223
"""RFC 7143 §4.2.7.2: the UTF-8 form of a name is not larger than this."""

NameType: TypeAlias = Literal["iqn", "eui", "naa"]

#: What this program calls the authority of the names that it makes up for initiators.
NAMING_AUTHORITY = "iqn.2026-11.org.san-console"

_PLAIN = re.compile(r"[a-z0-9.:-]+")
_PLAIN_LENIENT = re.compile(r"[a-z0-9.:_@+~=-]+")
_ALLOWED_ASCII = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-.:")
# RFC 3722 §6.2 reserves these, products use them all the same. Not `/` `,` `?` `#` `%`: they end a name in
# a URL, a TargetAddress or a path.
_LENIENT_ASCII = frozenset("_@+~=")

# A name shrinks in normalisation at most by what is mapped to nothing; beyond this nobody typed a name.
_MAX_INPUT_CHARACTERS = 4 * MAX_NAME_BYTES

# RFC 3722 §6: the tables of RFC 3454 whose characters a name must not contain, with what a reader calls them.
_PROHIBITED: tuple[tuple[Callable[[str], bool], str], ...] = (
    (stringprep.in_table_c11_c12, "a space"),
    (stringprep.in_table_c21_c22, "a control character"),
    (stringprep.in_table_c3, "a private-use character"),
    (stringprep.in_table_c4, "a non-character"),
    (stringprep.in_table_c5, "a surrogate"),
    (stringprep.in_table_c6, "inappropriate for plain text"),
    (stringprep.in_table_c7, "inappropriate for a canonical form"),
    (stringprep.in_table_c8, "a character that changes the display"),
    (stringprep.in_table_c9, "a tagging character"),
    ("\u3002".__eq__, "an ideographic full stop"),
    (stringprep.in_table_a1, "not assigned in Unicode 3.2"),
    # Stricter than the RFC: blank letters (Hangul fillers, the empty Braille cell) only serve to deceive.
    (acts_or_hides, "a character that cannot be seen"),
)

# RFC 7143 §4.2.7.4: date code, dot, reverse domain name, then anything after a colon.
_IQN = re.compile(r"iqn\.(?P<year>[0-9]{4})-(?P<month>[0-9]{2})\.(?P<authority>[^:]+)(?P<suffix>:.*)?")
_HEX_DIGITS: dict[str, tuple[int, ...]] = {
    "eui": (16,),  # RFC 7143 §4.2.7.5: an EUI-64
    "naa": (16, 32),  # RFC 7143 §4.2.7.6: 64 or 128 bits
}


def _refuse(text: str, why: str) -> InvalidName:
    return InvalidName(f"“{visible(text, 96)}” is not an iSCSI name: {why}")


def _prepare(text: str) -> str:
    """Map and normalise by RFC 3722 §4 and §5."""
    if text.isascii():
        # What the tables do to ASCII, 30 times as fast: lists of 10,000 targets pass through here.
        return text.lower()
    mapped = "".join(
        stringprep.map_table_b2(character) for character in text if not stringprep.in_table_b1(character)
    )
    # Unicode 3.2 is the repertoire (RFC 3722 §3): later versions would normalise the same name differently.
    return unicodedata.ucd_3_2_0.normalize("NFKC", mapped)


def _check_characters(name: str, original: str, lenient: bool) -> None:
    if (_PLAIN_LENIENT if lenient else _PLAIN).fullmatch(name):
        return
    for position, character in enumerate(name, 1):
        if character.isascii():
            if character in _ALLOWED_ASCII or (lenient and character in _LENIENT_ASCII):
                continue
            what = "a space" if character == " " else "a control character" if ord(character) < 32 else ""
            shown = what or f"“{visible(character)}”"
            raise _refuse(
                original,
                f"character {position} is {shown} (U+{ord(character):04X}); of ASCII only letters, digits, "
                f"“-”, “.” and “:” are allowed (RFC 3722 §6.2).",
            )
        for prohibited, what in _PROHIBITED:
            if prohibited(character):
                raise _refuse(
                    original, f"character {position} (U+{ord(character):04X}) is {what} (RFC 3722 §6)."
                )


def _check_direction(name: str, original: str) -> None:
    """RFC 3454 §6: right-to-left text is not mixed with left-to-right text and stands at both ends.

    An iSCSI name starts with a left-to-right type designator, so right-to-left letters can never be legal
    in one.
    """
    if name.isascii():
        return
    for position, character in enumerate(name, 1):
        if stringprep.in_table_d1(character):
            raise _refuse(
                original,
                f"character {position} (U+{ord(character):04X}) is written from right to left, and the "
                "name starts from the left (RFC 3454 §6).",
            )


def _check_iqn(name: str, original: str) -> None:
    match = _IQN.fullmatch(name)
    if match is None:
        raise _refuse(
            original,
            "after “iqn.” comes a date as yyyy-mm, a dot, and a domain name in reverse, as in "
            "iqn.2001-04.com.example:storage (RFC 7143 §4.2.7.4).",
        )
    if not 1 <= int(match["month"]) <= 12:
        raise _refuse(original, f"“{match['month']}” is not a month (01 to 12).")
    if "" in match["authority"].split("."):
        raise _refuse(original, "its domain name has an empty part (two dots together, or one at the end).")
    if match["suffix"] == ":":
        raise _refuse(original, "nothing follows the colon; leave the colon out or add a string.")


def _check_hex(kind: str, name: str, original: str) -> None:
    digits = name[4:]
    lengths = _HEX_DIGITS[kind]
    if len(digits) not in lengths or not all(digit in "0123456789abcdefABCDEF" for digit in digits):
        expected = " or ".join(str(length) for length in lengths)
        raise _refuse(original, f"after “{kind}.” come exactly {expected} hexadecimal digits.")


def _type_of(name: str) -> NameType | None:
    match name[:4].lower():
        case "iqn.":
            return "iqn"
        case "eui.":
            return "eui"
        case "naa.":
            return "naa"
    return None


def normalise(text: str, *, lenient: bool = False) -> str:
    """The one form of an iSCSI name that is compared and sent.

    Strict (names that a user types, names of our own nodes): RFC 3722 in full, capitals become small letters.

    `lenient` (names that a peer gives us): `_ @ + ~ =` and capitals pass and an ASCII name comes back as it
    was written, since the peer may compare it octet for octet; after `iqn.` anything of at least one
    character goes. Control characters, spaces, bidirectional and invisible characters are refused in both
    modes.

    Raises InvalidName, saying what is wrong and at which character.
    """
    if not text:
        raise InvalidName("An iSCSI name is missing: it starts with iqn., eui. or naa.")
    if len(text) > _MAX_INPUT_CHARACTERS:
        raise _refuse(text, f"it has {len(text)} characters; {MAX_NAME_BYTES} bytes are allowed.")
    name = _prepare(text)
    _check_characters(name, text, lenient)
    _check_direction(name, text)
    if lenient and text.isascii():
        name = text
    size_bytes = len(name.encode())
    if size_bytes > MAX_NAME_BYTES:
        raise _refuse(
            text, f"it takes {size_bytes} bytes in UTF-8; {MAX_NAME_BYTES} are allowed (RFC 7143 §4.2.7.2)."
        )
    kind = _type_of(name)
    if kind is None:
        raise _refuse(text, "it starts with none of iqn., eui., naa. (RFC 7143 §4.2.7.3).")
    if kind != "iqn":
        _check_hex(kind, name, text)
    elif not lenient:
        _check_iqn(name, text)
    elif len(name) == len("iqn."):
        raise _refuse(text, "nothing follows “iqn.”.")
    return name


def name_type(name: str) -> NameType:
    """The type designator of a name: "iqn", "eui" or "naa". Raises InvalidName for anything else."""
    kind = _type_of(name)
    if kind is None:
        raise _refuse(name, "it starts with none of iqn., eui., naa. (RFC 7143 §4.2.7.3).")
    return kind


def comparison_key(name: str) -> str:
    """What two spellings of one name have in common: the name mapped and normalised, not validated."""
    return _prepare(name)


def same_name(a: str, b: str) -> bool:
    """True when both name the same node once both are normalised (RFC 7143 §4.2.7.2)."""
    return comparison_key(a) == comparison_key(b)


def generate_initiator_name(host: str, random: Callable[[int], bytes]) -> str:
    """A name for the initiator of this machine: `iqn.2026-11.org.san-console:host-xxxxxxxx`.

    `host` is the machine's name (only its letters, digits and dashes are used); `random(n)` gives n octets,
    of which four make machines with one host name differ.
    """
    readable = re.sub(r"[^a-z0-9-]+", "-", host.split(".", 1)[0].lower()).strip("-")[:63].strip("-")
    return normalise(f"{NAMING_AUTHORITY}:{readable or 'host'}-{random(4).hex()}")
