"""Device identification, VPD page 83h (SPC-4 §7.8.6): what a logical unit is, whatever its number.

A designator that breaks its format is skipped and the rest is kept: targets in the field send odd ones
beside good ones.
"""

import hashlib
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

from san_console.scsi.errors import UnencodableValue
from san_console.scsi.inquiry import ascii_field, ascii_text

Buffer: TypeAlias = bytes | bytearray | memoryview

CODE_SET_BINARY = 1
CODE_SET_ASCII = 2
CODE_SET_UTF8 = 3

ASSOCIATION_LOGICAL_UNIT = 0
ASSOCIATION_TARGET_PORT = 1
ASSOCIATION_TARGET_DEVICE = 2

TYPE_VENDOR_SPECIFIC = 0x0
TYPE_T10_VENDOR_ID = 0x1
TYPE_EUI_64 = 0x2
TYPE_NAA = 0x3
TYPE_RELATIVE_TARGET_PORT = 0x4
TYPE_TARGET_PORT_GROUP = 0x5
TYPE_LOGICAL_UNIT_GROUP = 0x6
TYPE_MD5 = 0x7
TYPE_SCSI_NAME = 0x8
TYPE_PROTOCOL_SPECIFIC_PORT = 0x9
TYPE_UUID = 0xA

TYPE_NAMES: dict[int, str] = {
    TYPE_VENDOR_SPECIFIC: "vendor specific",
    TYPE_T10_VENDOR_ID: "T10 vendor ID",
    TYPE_EUI_64: "EUI-64",
    TYPE_NAA: "NAA",
    TYPE_RELATIVE_TARGET_PORT: "relative target port",
    TYPE_TARGET_PORT_GROUP: "target port group",
    TYPE_LOGICAL_UNIT_GROUP: "logical unit group",
    TYPE_MD5: "MD5 logical unit identifier",
    TYPE_SCSI_NAME: "SCSI name string",
    TYPE_PROTOCOL_SPECIFIC_PORT: "protocol specific port",
    TYPE_UUID: "UUID",
}

PROTOCOL_ISCSI = 0x5

MAX_DESIGNATORS = 128
"""A page of 64 KiB holds some 16,000; no device has a use for more than a handful per port."""

NAA_LOCALLY_ASSIGNED = 0x3
_NAA_BYTES = {0x2: 8, 0x3: 8, 0x5: 8, 0x6: 16}
_EUI_BYTES = (8, 12, 16)
_MAX_DESIGNATOR_BYTES = 255
_SCSI_NAME_LIMIT_BYTES = 252  # the length field counts the padding, and the string ends with a NUL


@dataclass(slots=True)
class Designator:
    """One designator. `data` is its raw value; `protocol` is None unless it was marked valid (PIV)."""

    code_set: int
    association: int
    type: int
    data: bytes
    protocol: int | None = None

    def __str__(self) -> str:
        """What it says, as text of the device: not fit to show without `visible()`."""
        return _text(self)


def _text(designator: Designator) -> str:
    data = designator.data
    match designator.type:
        case 0x3:  # NAA
            return f"naa.{data.hex()}"
        case 0x2:  # EUI-64
            return f"eui.{data.hex()}"
        case 0x1:  # T10 vendor ID
            vendor, rest = ascii_text(data[:8]), ascii_text(data[8:])
            return f"t10.{vendor}:{rest}".replace(" ", "_")
        case 0x4 | 0x5 | 0x6 if len(data) == 4:  # port and group numbers
            return str(int.from_bytes(data[2:], "big"))
        case 0x8:  # SCSI name string
            return data.rstrip(b"\0").decode("utf-8", "backslashreplace")
        case 0xA if len(data) == 18:  # UUID
            return f"uuid.{uuid.UUID(bytes=data[2:])}"
    return ascii_text(data) if designator.code_set == CODE_SET_ASCII else data.hex()


def naa(data: bytes) -> Designator:
    """An NAA identifier of the logical unit: 8 octets (NAA 2, 3, 5) or 16 (NAA 6).

    Raises UnencodableValue.
    """
    if not data or _NAA_BYTES.get(data[0] >> 4) != len(data):
        raise UnencodableValue(f"{data.hex()} is no NAA identifier: its first digit does not fit its length")
    return Designator(CODE_SET_BINARY, ASSOCIATION_LOGICAL_UNIT, TYPE_NAA, data)


def eui_64(data: bytes) -> Designator:
    """An EUI-64 based identifier of the logical unit: 8, 12 or 16 octets. Raises UnencodableValue."""
    if len(data) not in _EUI_BYTES:
        raise UnencodableValue(f"an EUI-64 based identifier has 8, 12 or 16 octets, not {len(data)}")
    return Designator(CODE_SET_BINARY, ASSOCIATION_LOGICAL_UNIT, TYPE_EUI_64, data)


def t10_vendor_id(vendor: str, identifier: str) -> Designator:
    """A T10 vendor identifier: the vendor in eight characters, then what the vendor makes unique.

    Raises UnencodableValue.
    """
    rest = ascii_field(identifier, _MAX_DESIGNATOR_BYTES - 8, "the T10 identifier").rstrip(b" ")
    data = ascii_field(vendor, 8, "the vendor") + rest
    return Designator(CODE_SET_ASCII, ASSOCIATION_LOGICAL_UNIT, TYPE_T10_VENDOR_ID, data)


def scsi_name(name: str, association: int = ASSOCIATION_TARGET_DEVICE) -> Designator:
    """A SCSI name string: for an iSCSI device its name, for a port `name,t,0xtttt` (RFC 7143 §4.4.2).

    Ends with a NUL and is padded to a multiple of four (SPC-4). Raises UnencodableValue.
    """
    octets = name.encode() + b"\0"
    if len(octets) > _SCSI_NAME_LIMIT_BYTES:
        raise UnencodableValue(f"a SCSI name string of {len(octets)} octets does not fit into a designator")
    octets += bytes(-len(octets) % 4)
    return Designator(CODE_SET_UTF8, association, TYPE_SCSI_NAME, octets, PROTOCOL_ISCSI)


def relative_target_port(port: int) -> Designator:
    """The relative target port identifier, 1 to 65535. Raises UnencodableValue."""
    return _numbered(port, TYPE_RELATIVE_TARGET_PORT)


def target_port_group(group: int) -> Designator:
    """The target port group, 0 to 65535. Raises UnencodableValue."""
    return _numbered(group, TYPE_TARGET_PORT_GROUP)


def _numbered(value: int, kind: int) -> Designator:
    if not 0 <= value <= 0xFFFF:
        raise UnencodableValue(f"{TYPE_NAMES[kind]} {value} does not fit into 16 bits")
    return Designator(
        CODE_SET_BINARY, ASSOCIATION_TARGET_PORT, kind, value.to_bytes(4, "big"), PROTOCOL_ISCSI
    )


def naa_from_seed(seed: bytes) -> bytes:
    """Eight octets of NAA 3h (locally assigned), for ever the same for the same `seed`.

    NAA 2, 5 and 6 carry an OUI that IEEE sells to its owner, and this program owns none; to borrow one
    could meet the identity of a real device. NAA 3 is made for numbers given out locally (SPC-4
    §7.8.6), and 60 bits of a hash keep seeds apart: among a million LUNs the chance of any two meeting
    is below one in a million.
    """
    digest = hashlib.sha256(b"san-console logical unit\0" + seed).digest()[:8]
    return bytes((NAA_LOCALLY_ASSIGNED << 4 | digest[0] & 0x0F,)) + digest[1:]


def build_designators(designators: Iterable[Designator]) -> bytes:
    """The body of page 83h. Raises UnencodableValue."""
    body = bytearray()
    for designator in designators:
        if len(designator.data) > _MAX_DESIGNATOR_BYTES:
            raise UnencodableValue(f"a designator holds {_MAX_DESIGNATOR_BYTES} octets")
        has_protocol = designator.protocol is not None
        body += bytes(
            (
                (designator.protocol or 0) << 4 & 0xF0 | designator.code_set & 0x0F,
                (0x80 if has_protocol else 0) | (designator.association & 3) << 4 | designator.type & 0x0F,
                0,
                len(designator.data),
            )
        )
        body += designator.data
    return bytes(body)


def parse_designators(body: Buffer) -> list[Designator]:
    """The designators in the body of page 83h.

    Never fails: empty, overlong and malformed ones are skipped.
    """
    octets = bytes(body)
    found: list[Designator] = []
    position = 0
    while position + 4 <= len(octets) and len(found) < MAX_DESIGNATORS:
        first, second, _, length = octets[position : position + 4]
        data = octets[position + 4 : position + 4 + length]
        position += 4 + length
        designator = Designator(
            code_set=first & 0x0F,
            association=second >> 4 & 3,
            type=second & 0x0F,
            data=data,
            protocol=first >> 4 if second & 0x80 else None,
        )
        if length and len(data) == length and _well_formed(designator):
            found.append(designator)
    return found


def _well_formed(designator: Designator) -> bool:
    data = designator.data
    match designator.type:
        case 0x3:  # NAA
            return _NAA_BYTES.get(data[0] >> 4) == len(data)
        case 0x2:  # EUI-64
            return len(data) in _EUI_BYTES
        case 0x1:  # T10 vendor ID
            return len(data) > 8
        case 0x4 | 0x5 | 0x6:  # port and group numbers
            return len(data) == 4
        case 0x8:  # SCSI name string
            return bool(data.rstrip(b"\0"))
        case 0xA:  # UUID
            return len(data) == 18
    return True


def _rank(designator: Designator) -> int | None:
    """How well it identifies the logical unit, 0 the best; None when it does not."""
    if designator.association != ASSOCIATION_LOGICAL_UNIT:
        return None
    if designator.type == TYPE_NAA:
        # Longest first, as operating systems choose; locally assigned numbers are unique only where they
        # were given.
        return {0x6: 0, 0x5: 1, 0x2: 2}.get(designator.data[0] >> 4, 6)
    return {TYPE_EUI_64: 3, TYPE_UUID: 4, TYPE_SCSI_NAME: 5, TYPE_T10_VENDOR_ID: 7}.get(designator.type)


def identity(designators: Iterable[Designator]) -> str:
    """The stable identity of a logical unit, as `naa.…`, `eui.…`, `uuid.…`, a SCSI name or `t10.…`.

    "" when it has none.

    The order among several does not depend on the order in which the target lists them. It is text of the
    target.
    """
    ranked = [
        (rank, str(designator)) for designator in designators if (rank := _rank(designator)) is not None
    ]
    return min(ranked)[1] if ranked else ""
