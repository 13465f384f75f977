"""iscsi:// URLs: `iscsi://[user@]host[:port][/target[/lun]]`.

The form is libiscsi's, without its password: a URL ends up in shell histories, process lists and logs.
"""

from dataclasses import dataclass
from urllib.parse import quote, unquote_to_bytes

from san_console.names.display import visible
from san_console.names.errors import InvalidLun, InvalidName, InvalidPortal, InvalidUrl
from san_console.names.iscsi_name import normalise
from san_console.names.lun import MAX_FLAT_LUN, encode_lun_u64
from san_console.names.portal import Portal

SCHEME = "iscsi://"

_MAX_URL_CHARACTERS = 4096  # three percent-encoded octets for each of a name's 223, a host, a user: far below
_MAX_USER_CHARACTERS = 255  # RFC 7143 §6.1: a text value is at most 255 bytes unless said otherwise
_TARGET_SAFE = ":@+~="

_REFUSAL = (
    "a password does not belong into a URL, where others can read it; "
    "leave it out and give the secret by a file, the keyring or the terminal."
)


def _unquote(text: str, what: str) -> str:
    try:
        return unquote_to_bytes(text).decode("utf-8")
    except UnicodeDecodeError:
        raise InvalidUrl(
            f"The {what} in the iscsi:// URL is not UTF-8 after its % signs are resolved."
        ) from None


def _user(text: str) -> str:
    # libiscsi writes user%password and the rest of the world user:password. A percent sign is taken as an
    # escape only where one is needed, so that a password is refused and not shown as a part of the name.
    if ":" in text:
        raise InvalidUrl(f"The URL is refused: {_REFUSAL}")
    try:
        user = unquote_to_bytes(text).decode("utf-8")
    except UnicodeDecodeError:
        raise InvalidUrl(f"The URL is refused: {_REFUSAL}") from None
    if "%" in text and quote(user, safe="").lower() != text.lower():
        raise InvalidUrl(f"The URL is refused: {_REFUSAL}")
    if not user or len(user) > _MAX_USER_CHARACTERS or " " in user or not user.isprintable():
        raise InvalidUrl(
            "The user before “@” in the iscsi:// URL is empty, too long, or has a space or control in it."
        )
    return user


@dataclass(frozen=True, slots=True)
class IscsiUrl:
    """A portal, a target name, a LUN number (0 to 16383) and a CHAP user; all but the portal may be None."""

    portal: Portal
    target: str | None = None
    lun: int | None = None
    user: str | None = None

    def __post_init__(self) -> None:
        if self.lun is not None and self.target is None:
            raise InvalidUrl("A LUN is given without its target.")

    @classmethod
    def parse(cls, text: str) -> "IscsiUrl":
        """Read a URL.

        Raises InvalidUrl; a password makes it refuse, and its message does not repeat the password.
        """
        if text[: len(SCHEME)].lower() != SCHEME:
            raise InvalidUrl(f"An iSCSI URL starts with {SCHEME} and goes on host[:port][/target[/lun]].")
        if len(text) > _MAX_URL_CHARACTERS:
            raise InvalidUrl(f"The iscsi:// URL has {len(text)} characters; no real one is that long.")
        authority, _, path = text[len(SCHEME) :].partition("/")
        user_text, at, address = authority.rpartition("@")
        # Before anything that quotes the text: a message must not repeat a password.
        user = _user(user_text) if at else None
        if "@" in path and not path.lower().startswith(("iqn.", "eui.", "naa.")):
            # A password with a slash in it was cut in two above.
            raise InvalidUrl(f"The URL is refused: {_REFUSAL}")
        if "?" in text or "#" in text:
            raise InvalidUrl("An iscsi:// URL has neither “?” nor “#”.")
        try:
            portal = Portal.parse(address)
        except InvalidPortal as error:
            raise InvalidUrl(str(error)) from None
        target_text, slash, lun_text = path.partition("/")
        if not target_text:
            if slash:
                raise InvalidUrl("The target name is missing in the iscsi:// URL.")
            return cls(portal, user=user)
        try:
            target = normalise(_unquote(target_text, "target name"), lenient=True)
        except InvalidName as error:
            raise InvalidUrl(str(error)) from None
        return cls(portal, target, _lun(lun_text) if lun_text else None, user)

    def __str__(self) -> str:
        user = "" if self.user is None else quote(self.user, safe="") + "@"
        target = "" if self.target is None else "/" + quote(self.target, safe=_TARGET_SAFE)
        lun = "" if self.lun is None else f"/{self.lun}"
        return f"{SCHEME}{user}{self.portal}{target}{lun}"


def _lun(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 5):
        raise InvalidUrl(f"“{visible(text, 40)}” is not a LUN number; it goes from 0 to {MAX_FLAT_LUN}.")
    try:
        encode_lun_u64(int(text))
    except InvalidLun as error:
        raise InvalidUrl(str(error)) from None
    return int(text)
