"""SCSI ports and I_T nexuses of iSCSI, and TransportIDs that name initiator ports (SPC-4 §7.6.4.6)."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from san_console.names.errors import InvalidName
from san_console.names.iscsi_name import normalise
from san_console.scsi.errors import MalformedData

Buffer: TypeAlias = bytes | bytearray | memoryview

PROTOCOL_ISCSI = 0x5
FORMAT_NAME, FORMAT_PORT = 0x00, 0x40
MIN_ADDITIONAL_BYTES = 20  # SPC-4: at least, and a multiple of four
MAX_TRANSPORT_IDS = 512  # in one list: all registrations that a logical unit keeps
SEPARATOR = ",i,0x"
ISID_BYTES = 6

_HEADER = struct.Struct(">BxH")
assert _HEADER.size == 4


class InitiatorPort(NamedTuple):
    """A SCSI initiator port: an iSCSI name and an ISID (RFC 7143 §4.4.1)."""

    name: str
    isid: bytes

    def __str__(self) -> str:
        return f"{self.name}{SEPARATOR}{self.isid.hex()}"


class NexusId(NamedTuple):
    """An I_T nexus: an initiator port and a target port, by its relative identifier."""

    port: InitiatorPort
    target_port: int


@dataclass(slots=True)
class TransportId:
    """One initiator port; `isid` None: all ports of the initiator that are known."""

    name: str
    isid: bytes | None = None


def build_transport_id(port: InitiatorPort) -> bytes:
    """The TransportID of an initiator port, name and ISID."""
    text = str(port).encode() + b"\0"
    text += bytes(max(MIN_ADDITIONAL_BYTES - len(text), -len(text) % 4))
    return _HEADER.pack(FORMAT_PORT | PROTOCOL_ISCSI, len(text)) + text


def parse_transport_ids(data: Buffer) -> list[TransportId]:
    """A list of TransportIDs, without its length field. Raises MalformedData."""
    octets = bytes(data)
    found: list[TransportId] = []
    while octets:
        if len(octets) < _HEADER.size or len(found) == MAX_TRANSPORT_IDS:
            raise MalformedData(f"a list of TransportIDs is cut short or longer than {MAX_TRANSPORT_IDS}")
        first, additional = _HEADER.unpack_from(octets)
        body, octets = octets[_HEADER.size : _HEADER.size + additional], octets[_HEADER.size + additional :]
        if len(body) != additional or additional < MIN_ADDITIONAL_BYTES or additional % 4:
            raise MalformedData(f"a TransportID of {additional} octets is cut short or badly padded")
        if first & 0x0F != PROTOCOL_ISCSI or first & 0xC0 not in (FORMAT_NAME, FORMAT_PORT):
            raise MalformedData(f"a TransportID {first:02x}h is none of iSCSI")
        found.append(_parse(body, with_port=first & 0xC0 == FORMAT_PORT))
    return found


def _parse(body: bytes, *, with_port: bool) -> TransportId:
    text, end, _ = body.partition(b"\0")
    if not end:
        raise MalformedData("the name in a TransportID has no end")
    name, separator, isid = text.decode("utf-8", "replace").partition(SEPARATOR)
    if bool(separator) != with_port:
        raise MalformedData("a TransportID has an ISID where its format says none, or the other way round")
    try:
        port = bytes.fromhex(isid)
        name = normalise(name, lenient=True)
    except (ValueError, InvalidName) as error:
        raise MalformedData(f"a TransportID names no initiator port: {error}") from None
    if with_port and len(port) != ISID_BYTES:
        raise MalformedData(f"an ISID has {ISID_BYTES} octets, not {len(port)}")
    return TransportId(name, port if with_port else None)
