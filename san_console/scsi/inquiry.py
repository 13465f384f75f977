"""Standard INQUIRY data (SPC-4)."""

import struct
from dataclasses import dataclass, field
from typing import TypeAlias

from san_console.scsi.errors import MalformedData, UnencodableValue

Buffer: TypeAlias = bytes | bytearray | memoryview

DIRECT_ACCESS = 0x00
SEQUENTIAL_ACCESS = 0x01
CD_DVD = 0x05
STORAGE_ARRAY_CONTROLLER = 0x0C
NO_DEVICE = 0x1F

DEVICE_TYPE_NAMES: dict[int, str] = {
    DIRECT_ACCESS: "disk",
    SEQUENTIAL_ACCESS: "tape",
    0x02: "printer",
    0x03: "processor",
    0x04: "write-once device",
    CD_DVD: "CD/DVD",
    0x06: "scanner",
    0x07: "optical memory",
    0x08: "medium changer",
    0x09: "communications device",
    STORAGE_ARRAY_CONTROLLER: "storage array controller",
    0x0D: "enclosure",
    0x0E: "simplified disk",
    0x0F: "optical card reader/writer",
    0x10: "bridge controller",
    0x11: "object-based storage",
    0x12: "automation/drive interface",
    0x13: "security manager",
    0x14: "zoned disk",
    0x1E: "well-known logical unit",
    NO_DEVICE: "no device",
}

QUALIFIER_CONNECTED = 0b000
QUALIFIER_NOT_CONNECTED = 0b001
QUALIFIER_NOT_SUPPORTED = 0b011

VERSION_SPC_3 = 0x05
VERSION_SPC_4 = 0x06

VERSION_NAMES: dict[int, str] = {
    0x00: "none claimed",
    0x01: "SCSI-1",
    0x02: "SCSI-2",
    0x03: "SPC",
    0x04: "SPC-2",
    VERSION_SPC_3: "SPC-3",
    VERSION_SPC_4: "SPC-4",
    0x07: "SPC-5",
    0x08: "SPC-6",
}

# Version descriptors (SPC-4) of what a block target over iSCSI claims.
CLAIMS_SAM_5 = 0x00A0
CLAIMS_ISCSI = 0x0960
CLAIMS_SPC_4 = 0x0460
CLAIMS_SBC_3 = 0x04C0

STANDARD_INQUIRY_BYTES = 96
"""With all eight version descriptors; the 36 octets before them are the least that SPC asks for."""

_FORMAT = struct.Struct(">BBBBBBBB8s16s4s22x8H22x")
assert _FORMAT.size == STANDARD_INQUIRY_BYTES
_HEADER_BYTES = 5
_MAX_DESCRIPTORS = 8
_RESPONSE_DATA_FORMAT = 2


def ascii_text(octets: Buffer) -> str:
    """An ASCII field of SCSI: padding dropped, octets outside of ASCII written as `\\xNN`.

    Not fit to show as it is.
    """
    return bytes(octets).rstrip(b" \0").lstrip(b" ").decode("ascii", "backslashreplace")


def ascii_field(text: str, size_bytes: int, name: str) -> bytes:
    """`text` left-aligned and padded with spaces (SPC-4).

    Raises UnencodableValue when it does not fit.
    """
    try:
        octets = text.encode("ascii")
    except UnicodeEncodeError:
        raise UnencodableValue(f"{name} takes ASCII characters only") from None
    if len(octets) > size_bytes:
        raise UnencodableValue(f"{name} takes {size_bytes} characters, not {len(octets)}")
    if any(octet < 0x20 or octet == 0x7F for octet in octets):
        raise UnencodableValue(f"{name} takes printable characters only")
    return octets.ljust(size_bytes)


@dataclass(slots=True)
class StandardInquiry:
    """The standard INQUIRY data.

    Texts are raw text of the device (vendor 8, product 16, revision 4 characters).
    """

    device_type: int = DIRECT_ACCESS
    vendor: str = ""
    product: str = ""
    revision: str = ""
    qualifier: int = QUALIFIER_CONNECTED
    removable: bool = False
    version: int = VERSION_SPC_4
    normaca: bool = False
    hierarchical: bool = False
    target_port_groups: int = 0
    third_party_copy: bool = False
    protect: bool = False
    multi_port: bool = False
    command_queuing: bool = True
    version_descriptors: list[int] = field(
        default_factory=lambda: [CLAIMS_SAM_5, CLAIMS_ISCSI, CLAIMS_SPC_4, CLAIMS_SBC_3]
    )

    @property
    def connected(self) -> bool:
        """True when a device stands behind the LUN."""
        return self.qualifier == QUALIFIER_CONNECTED and self.device_type != NO_DEVICE

    @property
    def device_type_name(self) -> str:
        """What kind of device it is, in a word."""
        return DEVICE_TYPE_NAMES.get(self.device_type, f"device type {self.device_type:02x}h")

    def build(self) -> bytes:
        """The 96 octets; the target cuts them to the allocation length. Raises UnencodableValue."""
        if len(self.version_descriptors) > _MAX_DESCRIPTORS:
            raise UnencodableValue(f"INQUIRY data holds {_MAX_DESCRIPTORS} version descriptors")
        vendor = ascii_field(self.vendor, 8, "the vendor")
        product = ascii_field(self.product, 16, "the product")
        revision = ascii_field(self.revision, 4, "the revision")
        descriptors = self.version_descriptors + [0] * (_MAX_DESCRIPTORS - len(self.version_descriptors))
        return _FORMAT.pack(
            (self.qualifier & 7) << 5 | self.device_type & 0x1F,
            0x80 if self.removable else 0,
            self.version,
            (0x20 if self.normaca else 0) | (0x10 if self.hierarchical else 0) | _RESPONSE_DATA_FORMAT,
            STANDARD_INQUIRY_BYTES - _HEADER_BYTES,
            (self.target_port_groups & 3) << 4
            | (0x08 if self.third_party_copy else 0)
            | (0x01 if self.protect else 0),
            0x10 if self.multi_port else 0,
            0x02 if self.command_queuing else 0,
            vendor,
            product,
            revision,
            *descriptors,
        )

    @classmethod
    def parse(cls, data: Buffer) -> "StandardInquiry":
        """Read what is there; fields that were not sent stay empty.

        Raises MalformedData below five octets.
        """
        if len(data) < _HEADER_BYTES:
            raise MalformedData(f"INQUIRY data of {len(data)} octets; at least {_HEADER_BYTES} are needed")
        end = min(len(data), STANDARD_INQUIRY_BYTES, _HEADER_BYTES + data[4])
        fields = _FORMAT.unpack(bytes(data[:end]).ljust(STANDARD_INQUIRY_BYTES, b"\0"))
        first, removable, version, format_, _, five, six, seven, vendor, product, revision = fields[:11]
        return cls(
            device_type=first & 0x1F,
            vendor=ascii_text(vendor),
            product=ascii_text(product),
            revision=ascii_text(revision),
            qualifier=first >> 5,
            removable=bool(removable & 0x80),
            version=version,
            normaca=bool(format_ & 0x20),
            hierarchical=bool(format_ & 0x10),
            target_port_groups=five >> 4 & 3,
            third_party_copy=bool(five & 0x08),
            protect=bool(five & 0x01),
            multi_port=bool(six & 0x10),
            command_queuing=bool(seven & 0x02),
            version_descriptors=[value for value in fields[11:] if value],
        )


def unsupported_lun() -> bytes:
    """What INQUIRY answers for a LUN that does not exist (SPC-4): qualifier 011b, type 1Fh."""
    return StandardInquiry(NO_DEVICE, qualifier=QUALIFIER_NOT_SUPPORTED, command_queuing=False).build()
