"""Portals: an address with a TCP port, and the TargetAddress form that peers send (RFC 7143 §13.8)."""

import ipaddress
import re
from dataclasses import dataclass

from san_console.names.display import visible
from san_console.names.errors import InvalidPortal

ISCSI_PORT = 3260
"""IANA's port for iSCSI (RFC 7143 §14)."""

ISNS_PORT = 3205
"""IANA's port for iSNS (RFC 4171 §8)."""

MAX_PORTAL_GROUP_TAG = 65535
"""RFC 7143 §13.9: a 16-bit number."""

_MAX_HOST_CHARACTERS = 253  # RFC 1035 §2.3.4, written without the final dot
_MAX_TEXT_CHARACTERS = 512  # a host, a zone, a port and a tag are far below
# Underscores are no host names by RFC 952, but stand in many private zones.
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
# The resolver of the C library reads these as numbers ("10.1", "0x7f.1"), which nobody means.
_NUMERIC_LABEL = re.compile(r"[0-9]+|0x[0-9a-f]*")
_ZONE = re.compile(r"[A-Za-z0-9_.:-]{1,64}")


def _refuse(text: str, why: str) -> InvalidPortal:
    return InvalidPortal(f"“{visible(text, 96)}” is not an address: {why}")


def _host(text: str) -> str:
    """A host in its one form: compressed IPv6 in lower case, dotted IPv4, DNS name in lower case."""
    address, percent, zone = text.partition("%")
    if ":" in address:
        try:
            compressed = ipaddress.IPv6Address(address).compressed
        except ipaddress.AddressValueError:
            raise _refuse(
                text, "it has colons like an IPv6 address, but is none; with a port write [::1]:3260."
            ) from None
        if percent and not _ZONE.fullmatch(zone):
            raise _refuse(text, "what follows “%” is not the name of an interface.")
        return f"{compressed}%{zone}" if percent else compressed
    try:
        return str(ipaddress.IPv4Address(text))
    except ipaddress.AddressValueError:
        pass  # then it is a DNS name, checked below
    name = text.lower().removesuffix(".")
    if not name:
        raise _refuse(text, "the host is missing.")
    if not name.isascii():
        raise _refuse(text, "names outside of ASCII are to be written in their xn-- form.")
    if len(name) > _MAX_HOST_CHARACTERS:
        raise _refuse(text, f"a host name has at most {_MAX_HOST_CHARACTERS} characters.")
    labels = name.split(".")
    for label in labels:
        if not _LABEL.fullmatch(label):
            raise _refuse(text, f"“{visible(label, 70)}” cannot be a part of a host name.")
    if _NUMERIC_LABEL.fullmatch(labels[-1]):
        raise _refuse(text, "an IPv4 address has four numbers from 0 to 255, without leading zeros.")
    return name


def _port(digits: str, text: str) -> int:
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 5 and int(digits) <= 65535):
        raise _refuse(text, "after the colon comes a port from 0 to 65535.")
    return int(digits)


@dataclass(frozen=True, slots=True, order=True)
class Portal:
    """Where a node listens: `host` (IPv4, IPv6 without brackets, or DNS name) and TCP `port`.

    Port 0 means "any free one" and is only for portals of our own. Raises InvalidPortal.
    """

    host: str
    port: int = ISCSI_PORT

    def __post_init__(self) -> None:
        # Through object, since the class is frozen: two spellings of one address must be one dictionary key.
        object.__setattr__(self, "host", _host(self.host))
        if not 0 <= self.port <= 65535:
            raise InvalidPortal(f"{self.port} is not a TCP port (0 to 65535).")

    @classmethod
    def parse(cls, text: str, default_port: int = ISCSI_PORT) -> "Portal":
        """Read `10.0.0.1`, `10.0.0.1:3260`, `[::1]:3260`, `::1`, `name` or `name:3260`.

        Raises InvalidPortal.
        """
        text = text.strip(" ")
        if not text:
            raise InvalidPortal("An address is missing.")
        if len(text) > _MAX_TEXT_CHARACTERS:
            raise _refuse(text, f"it has {len(text)} characters.")
        if text.startswith("["):
            host, bracket, rest = text[1:].partition("]")
            if not bracket or ":" not in host:
                raise _refuse(text, "between the brackets stands an IPv6 address.")
            if rest and not rest.startswith(":"):
                raise _refuse(text, "after the bracket comes a colon and the port.")
            digits = rest[1:] if rest else None
        elif text.count(":") > 1:
            host, digits = text, None
        else:
            host, colon, port = text.partition(":")
            digits = port if colon else None
        return cls(host, default_port if digits is None else _port(digits, text))

    @property
    def is_ipv6(self) -> bool:
        """True for an IPv6 literal; a DNS name may still resolve to one."""
        return ":" in self.host

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if self.is_ipv6 else f"{self.host}:{self.port}"


def parse_target_address(text: str) -> tuple[Portal, int | None]:
    """Read `host[:port][,portal-group-tag]` as a peer sends it (RFC 7143 §13.8): the portal and the tag.

    Refuses what means nothing away from the machine that sent it: port 0 and IPv6 zones. Raises
    InvalidPortal.
    """
    address, comma, tag = text.partition(",")
    portal = Portal.parse(address)
    if portal.port == 0:
        raise _refuse(text, "nobody listens on port 0.")
    if "%" in portal.host:
        raise _refuse(text, "its IPv6 zone names an interface of the machine that sent it.")
    if not comma:
        return portal, None
    if not (tag.isascii() and tag.isdigit() and len(tag) <= 5 and int(tag) <= MAX_PORTAL_GROUP_TAG):
        raise _refuse(text, f"after the comma comes a portal group tag from 0 to {MAX_PORTAL_GROUP_TAG}.")
    return portal, int(tag)


def format_target_address(portal: Portal, tag: int | None) -> str:
    """The TargetAddress value of `portal`.

    A redirect carries no `tag` (RFC 7143 §13.8), a SendTargets answer one.
    """
    return str(portal) if tag is None else f"{portal},{tag}"
