"""The attributes of RFC 4171 §6.1: one table, and the codecs of their values.

A value travels and is stored as the octets between the TLV header and the next one, padding included. The
table says what they must look like; `check` applies it, `describe` makes text of it.
"""

import struct
from dataclasses import dataclass
from enum import Enum
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import NamedTuple

from san_console.isns import status
from san_console.isns.errors import LocalProtocolError, RemoteProtocolError
from san_console.names.display import visible

_U32 = struct.Struct(">I")
assert _U32.size == 4
_U64 = struct.Struct(">Q")
assert _U64.size == 8

PORT_IS_UDP = 0x10000
"""Bit 15 of a port attribute (§6.3.2); the bits above are reserved."""

NODE_TYPE_TARGET = 0x1
NODE_TYPE_INITIATOR = 0x2
NODE_TYPE_CONTROL = 0x4
"""§6.4.2."""

SCN_DD_MEMBER_ADDED = 0x01
SCN_DD_MEMBER_REMOVED = 0x02
SCN_OBJECT_UPDATED = 0x04
SCN_OBJECT_ADDED = 0x08
SCN_OBJECT_REMOVED = 0x10
SCN_MANAGEMENT = 0x20
SCN_TARGET_AND_SELF = 0x40
SCN_INITIATOR_AND_SELF = 0x80
"""§6.4.4."""

PROTOCOL_NONE = 1
PROTOCOL_ISCSI = 2
PROTOCOL_IFCP = 3
"""§6.2.2."""


class Tag:
    """Tags that the code names; the table has all of them."""

    DELIMITER = 0
    ENTITY_ID = 1
    ENTITY_PROTOCOL = 2
    MANAGEMENT_ADDRESS = 3
    TIMESTAMP = 4
    PROTOCOL_VERSION = 5
    REGISTRATION_PERIOD = 6
    ENTITY_INDEX = 7
    ENTITY_NEXT_INDEX = 8
    PORTAL_ADDRESS = 16
    PORTAL_PORT = 17
    PORTAL_NAME = 18
    ESI_INTERVAL = 19
    ESI_PORT = 20
    PORTAL_INDEX = 22
    SCN_PORT = 23
    PORTAL_NEXT_INDEX = 24
    ISCSI_NAME = 32
    NODE_TYPE = 33
    ISCSI_ALIAS = 34
    SCN_BITMAP = 35
    NODE_INDEX = 36
    NODE_NEXT_INDEX = 38
    AUTH_METHOD = 42
    PG_ISCSI_NAME = 48
    PG_ADDRESS = 49
    PG_PORT = 50
    PG_TAG = 51
    PG_INDEX = 52
    PG_NEXT_INDEX = 53
    FC_PORT_NAME = 64
    DDS_ID = 2049
    DD_ID = 2065
    DD_NAME = 2066
    DD_MEMBER_NODE_INDEX = 2067
    DD_MEMBER_NAME = 2068


class Form(Enum):
    """How a value is laid out."""

    TEXT = "text"
    NUMBER = "number"
    BITS = "bits"
    ADDRESS = "address"
    PORT = "port"
    TIME = "time"
    OCTETS = "octets"


class Kind(Enum):
    """The objects of the database (§3), each with the tags of its key in the order in which they are sent."""

    ENTITY = "entity"
    PORTAL = "portal"
    NODE = "node"
    PORTAL_GROUP = "portal group"
    FC_PORT = "FC port"
    FC_NODE = "FC node"
    FABRIC = "fabric"
    SERVER = "server"
    DOMAIN_SET = "discovery domain set"
    DOMAIN = "discovery domain"


KEY_TAGS: dict[Kind, tuple[int, ...]] = {
    Kind.ENTITY: (1,),
    Kind.PORTAL: (16, 17),
    Kind.NODE: (32,),
    Kind.PORTAL_GROUP: (48, 49, 50),
    Kind.FC_PORT: (64,),
    Kind.FC_NODE: (96,),
    Kind.FABRIC: (128,),
    Kind.DOMAIN_SET: (2049,),
    Kind.DOMAIN: (2065,),
}

KIND_OF_FIRST_KEY_TAG: dict[int, Kind] = {tags[0]: kind for kind, tags in KEY_TAGS.items()}

INDEX_TAGS: dict[int, Kind] = {7: Kind.ENTITY, 22: Kind.PORTAL, 36: Kind.NODE, 52: Kind.PORTAL_GROUP}
"""The index that a server assigns, usable as a key (§6.2.7, §6.3.6, §6.4.5, §6.5.5)."""

NEXT_INDEX_TAGS: dict[int, Kind] = {8: Kind.ENTITY, 24: Kind.PORTAL, 38: Kind.NODE, 53: Kind.PORTAL_GROUP}
"""Virtual attributes that can only be asked for (§6.2.8)."""

# §6.1, "Tag" column with the ranges kept for later attributes and for vendors; the first match counts.
_KIND_RANGES: tuple[tuple[int, int, Kind], ...] = (
    (1, 15, Kind.ENTITY),
    (16, 31, Kind.PORTAL),
    (32, 47, Kind.NODE),
    (48, 63, Kind.PORTAL_GROUP),
    (64, 95, Kind.FC_PORT),
    (96, 127, Kind.FC_NODE),
    (128, 131, Kind.FABRIC),
    (132, 384, Kind.SERVER),
    (385, 512, Kind.ENTITY),
    (513, 640, Kind.PORTAL),
    (641, 768, Kind.NODE),
    (769, 896, Kind.FC_PORT),
    (897, 1024, Kind.FC_NODE),
    (1025, 1280, Kind.DOMAIN_SET),
    (1281, 1536, Kind.DOMAIN),
    (2049, 2064, Kind.DOMAIN_SET),
    (2065, 2079, Kind.DOMAIN),
)


@dataclass(frozen=True, slots=True)
class AttributeType:
    """A line of the table: lengths in bytes as in the TLV, i.e. with terminator and padding."""

    tag: int
    name: str
    form: Form
    min_bytes: int
    max_bytes: int
    read_only: bool = False
    bits: tuple[tuple[int, str], ...] = ()


_MAX_OPAQUE_BYTES = 16 * 1024  # certificates and ISAKMP proposals have no limit in the RFC; this holds chains

_NODE_TYPE_BITS = (
    (NODE_TYPE_TARGET, "target"),
    (NODE_TYPE_INITIATOR, "initiator"),
    (NODE_TYPE_CONTROL, "control"),
)
_SCN_BITS = (
    (SCN_INITIATOR_AND_SELF, "initiator and self only"),
    (SCN_TARGET_AND_SELF, "target and self only"),
    (SCN_MANAGEMENT, "management"),
    (SCN_OBJECT_REMOVED, "object removed"),
    (SCN_OBJECT_ADDED, "object added"),
    (SCN_OBJECT_UPDATED, "object updated"),
    (SCN_DD_MEMBER_REMOVED, "member removed"),
    (SCN_DD_MEMBER_ADDED, "member added"),
)
_SECURITY_BITS = (
    (0x01, "valid"),
    (0x02, "IKE/IPsec"),
    (0x04, "main mode"),
    (0x08, "aggressive mode"),
    (0x10, "perfect forward secrecy"),
    (0x20, "transport mode"),
    (0x40, "tunnel mode"),
)


def _text(tag: int, name: str, max_bytes: int = 256) -> AttributeType:
    return AttributeType(tag, name, Form.TEXT, 4, max_bytes)


def _number(tag: int, name: str, *, read_only: bool = False) -> AttributeType:
    return AttributeType(tag, name, Form.NUMBER, 4, 4, read_only)


def _bits(tag: int, name: str, bits: tuple[tuple[int, str], ...]) -> AttributeType:
    return AttributeType(tag, name, Form.BITS, 4, 4, bits=bits)


def _address(tag: int, name: str) -> AttributeType:
    return AttributeType(tag, name, Form.ADDRESS, 16, 16)


def _port(tag: int, name: str) -> AttributeType:
    return AttributeType(tag, name, Form.PORT, 4, 4)


def _octets(tag: int, name: str, size: int = 0) -> AttributeType:
    return AttributeType(tag, name, Form.OCTETS, size, size or _MAX_OPAQUE_BYTES)


ATTRIBUTE_TYPES: dict[int, AttributeType] = {
    line.tag: line
    for line in (
        _text(1, "Entity Identifier"),
        _number(2, "Entity Protocol"),
        _address(3, "Management IP Address"),
        AttributeType(4, "Timestamp", Form.TIME, 8, 8, read_only=True),
        _number(5, "Protocol Version Range"),
        _number(6, "Registration Period"),
        _number(7, "Entity Index"),
        _number(8, "Entity Next Index", read_only=True),
        _octets(11, "Entity ISAKMP Phase-1"),
        _octets(12, "Entity Certificate"),
        _address(16, "Portal IP Address"),
        _port(17, "Portal TCP/UDP Port"),
        _text(18, "Portal Symbolic Name"),
        _number(19, "ESI Interval"),
        _port(20, "ESI Port"),
        _number(22, "Portal Index"),
        _port(23, "SCN Port"),
        _number(24, "Portal Next Index", read_only=True),
        _bits(27, "Portal Security Bitmap", _SECURITY_BITS),
        _octets(28, "Portal ISAKMP Phase-1"),
        _octets(29, "Portal ISAKMP Phase-2"),
        _octets(31, "Portal Certificate"),
        _text(32, "iSCSI Name", 224),
        _bits(33, "iSCSI Node Type", _NODE_TYPE_BITS),
        _text(34, "iSCSI Alias"),
        _bits(35, "iSCSI SCN Bitmap", _SCN_BITS),
        _number(36, "iSCSI Node Index"),
        _octets(37, "WWNN Token", 8),
        _number(38, "iSCSI Node Next Index", read_only=True),
        _text(42, "iSCSI AuthMethod"),
        _text(48, "PG iSCSI Name", 224),
        _address(49, "PG Portal IP Address"),
        _port(50, "PG Portal TCP/UDP Port"),
        _number(51, "PG Tag"),
        _number(52, "PG Index"),
        _number(53, "PG Next Index", read_only=True),
        _octets(64, "FC Port Name WWPN", 8),
        _number(65, "Port ID"),
        _number(66, "FC Port Type"),
        _text(67, "Symbolic Port Name"),
        _octets(68, "Fabric Port Name", 8),
        _number(69, "Hard Address"),
        _address(70, "Port IP Address"),
        _number(71, "Class of Service"),
        _octets(72, "FC-4 Types", 32),
        _text(73, "FC-4 Descriptor"),
        _octets(74, "FC-4 Features", 128),
        _number(75, "iFCP SCN Bitmap"),
        _number(76, "Port Role"),
        _octets(77, "Permanent Port Name", 8),
        _number(95, "FC-4 Type Code"),
        _octets(96, "FC Node Name WWNN", 8),
        _text(97, "Symbolic Node Name"),
        _address(98, "Node IP Address"),
        _octets(99, "Node IPA", 8),
        _text(101, "Proxy iSCSI Name"),
        _octets(128, "Switch Name", 8),
        _number(129, "Preferred ID"),
        _number(130, "Assigned ID"),
        _text(131, "Virtual Fabric ID"),
        _number(256, "iSNS Server Vendor OUI"),
        _number(2049, "DD Set ID"),
        _text(2050, "DD Set Symbolic Name"),
        _number(2051, "DD Set Status"),
        _number(2052, "DD Set Next ID", read_only=True),
        _number(2065, "DD ID"),
        _text(2066, "DD Symbolic Name"),
        _number(2067, "DD Member iSCSI Index"),
        _text(2068, "DD Member iSCSI Name", 224),
        _octets(2069, "DD Member FC Port Name", 8),
        _number(2070, "DD Member Portal Index"),
        _address(2071, "DD Member Portal IP Address"),
        _port(2072, "DD Member Portal TCP/UDP Port"),
        _number(2078, "DD Features"),
        _number(2079, "DD Next ID", read_only=True),
    )
}


class Attribute(NamedTuple):
    """A TLV: `value` is what stands after the length, so its size is a multiple of four."""

    tag: int
    value: bytes


DELIMITER = Attribute(Tag.DELIMITER, b"")


def kind_of(tag: int) -> Kind | None:
    """The kind of object that `tag` belongs to; None for tags that the RFC assigns to none."""
    for first, last, kind in _KIND_RANGES:
        if first <= tag <= last:
            return kind
    return None


def attribute_name(tag: int) -> str:
    """The name of §6.1, or `attribute N`."""
    line = ATTRIBUTE_TYPES.get(tag)
    return line.name if line else f"attribute {tag}"


def check(attribute: Attribute) -> None:
    """Raise RemoteProtocolError (status 2) when the value breaks the table. An empty value always passes:
    what it means, and whether it may stand there, depends on the message.
    """
    tag, value = attribute
    line = ATTRIBUTE_TYPES.get(tag)
    size = len(value)
    if line is None or size == 0:
        return
    if not line.min_bytes <= size <= line.max_bytes:
        wanted = (
            str(line.min_bytes)
            if line.min_bytes == line.max_bytes
            else f"{line.min_bytes} to {line.max_bytes}"
        )
        raise _malformed(f"{line.name} has {size} bytes instead of {wanted}.")
    if line.form is Form.TEXT:
        read_text(value, line.name)


def _malformed(text: str) -> RemoteProtocolError:
    return RemoteProtocolError(text, status=status.MESSAGE_FORMAT_ERROR)


def read_text(value: bytes, name: str = "A text") -> str:
    """The text of a NUL-terminated, NUL-padded value. Raises RemoteProtocolError (status 2)."""
    text, terminator, padding = value.partition(b"\0")
    if not terminator:
        raise _malformed(f"{name} has no terminating NUL (RFC 4171 §6.1).")
    if padding.strip(b"\0"):
        raise _malformed(f"{name} goes on after its terminating NUL.")
    try:
        return text.decode()
    except UnicodeDecodeError:
        raise _malformed(f"{name} is not UTF-8.") from None


def read_number(value: bytes) -> int:
    """An unsigned number of 4 or 8 octets. Raises RemoteProtocolError (status 2)."""
    if len(value) not in (4, 8):
        raise _malformed(f"A number has {len(value)} bytes.")
    return int.from_bytes(value)


def read_address(value: bytes) -> str:
    """An address as text; IPv4 travels mapped into IPv6 (§6.3.1). Raises RemoteProtocolError (status 2).

    Open-iSNS leaves the ffff out and sends IPv4 as ::a.b.c.d; that form is read as IPv4 as well, `::1` and
    `::` aside.
    """
    if len(value) != 16:
        raise _malformed(f"An IP address has {len(value)} bytes instead of 16.")
    address = IPv6Address(value)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    if value[:12] == bytes(12) and int.from_bytes(value[12:]) > 1:
        return str(IPv4Address(value[12:]))
    return str(address)


def canonical_address(value: bytes) -> bytes:
    """`value` in the mapped form of §6.3.1, so that both spellings of one IPv4 address are one key."""
    return write_address(read_address(value))


def write_text(text: str) -> bytes:
    """NUL-terminated and padded to four. Raises LocalProtocolError for a NUL inside or a lone surrogate."""
    if "\0" in text:
        raise LocalProtocolError("A text attribute holds no NUL.")
    try:
        data = text.encode()
    except UnicodeEncodeError:
        raise LocalProtocolError("A text attribute holds no lone surrogate.") from None
    return data + bytes(4 - len(data) % 4)


def write_number(number: int) -> bytes:
    """Four octets. Raises LocalProtocolError for what does not fit."""
    if not 0 <= number <= 0xFFFFFFFF:
        raise LocalProtocolError(f"{number} does not fit into four octets.")
    return _U32.pack(number)


def write_time(unix_s: int) -> bytes:
    """Seconds since 1970 in eight octets (§6.2.4)."""
    return _U64.pack(unix_s)


def write_address(address: str) -> bytes:
    """16 octets; IPv4 mapped into IPv6. Raises LocalProtocolError for what is not a numeric address."""
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        raise LocalProtocolError(
            f"iSNS carries numeric addresses only, and “{visible(address, 96)}” is none."
        ) from None
    if isinstance(parsed, IPv4Address):
        return bytes(10) + b"\xff\xff" + parsed.packed
    return parsed.packed


def _show_bits(value: int, bits: tuple[tuple[int, str], ...]) -> str:
    names = [name for bit, name in bits if value & bit]
    rest = value & ~sum(bit for bit, _ in bits)
    if rest:
        names.append(f"0x{rest:x}")
    return ", ".join(names) or "none"


def describe(attribute: Attribute) -> str:
    """The value as text for a person; never raises, whatever the octets are."""
    tag, value = attribute
    line = ATTRIBUTE_TYPES.get(tag)
    if not value:
        return ""
    try:
        check(attribute)
        form = line.form if line else Form.OCTETS
        if form is Form.TEXT:
            return visible(read_text(value))
        if form is Form.ADDRESS:
            return read_address(value)
        if form is Form.OCTETS:
            return value[:64].hex() + ("…" if len(value) > 64 else "")
        number = read_number(value)
        if form is Form.PORT:
            return f"{number & 0xFFFF}/{'udp' if number & PORT_IS_UDP else 'tcp'}"
        if form is Form.BITS and line:
            return _show_bits(number, line.bits)
        if tag == Tag.ENTITY_PROTOCOL:
            return {PROTOCOL_NONE: "none", PROTOCOL_ISCSI: "iSCSI", PROTOCOL_IFCP: "iFCP"}.get(
                number, str(number)
            )
        return str(number)
    except RemoteProtocolError:
        return "malformed: " + value[:64].hex()
