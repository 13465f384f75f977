"""TransportIDs of iSCSI."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from san_console.scsi.errors import MalformedData
from san_console.scsi.transport_ids import (
    MAX_TRANSPORT_IDS,
    InitiatorPort,
    TransportId,
    build_transport_id,
    parse_transport_ids,
)

NAME = "iqn.2026-11.org.example:host"
ISID = bytes.fromhex("80123456789a")


def name_only(text: bytes, first: int = 0x05) -> bytes:
    return struct.pack(">BxH", first, len(text)) + text


def test_a_port_by_name_and_isid() -> None:
    data = build_transport_id(InitiatorPort(NAME, ISID))
    assert data[0] == 0x45
    assert len(data) % 4 == 0
    assert data[4:].startswith(f"{NAME},i,0x80123456789a\0".encode())
    assert parse_transport_ids(data) == [TransportId(NAME, ISID)]


def test_a_short_name_is_padded_to_the_least_length() -> None:
    assert len(build_transport_id(InitiatorPort("a", bytes(6)))) == 4 + 20


def test_an_initiator_by_name_alone_and_several_in_a_list() -> None:
    one = name_only(NAME.encode().ljust(32, b"\0"))
    two = build_transport_id(InitiatorPort(NAME, ISID))
    assert parse_transport_ids(one + two) == [TransportId(NAME), TransportId(NAME, ISID)]
    assert parse_transport_ids(b"") == []


@pytest.mark.parametrize(
    "data",
    [
        b"\x45\0",
        name_only(NAME.encode().ljust(32, b"\0"))[:-4],
        name_only(b"iqn.2026-11.a.b\0"),  # 16 octets: below the least length
        name_only(NAME.encode().ljust(30, b"\0")),  # not a multiple of four
        name_only(NAME.encode().ljust(32, b"\0"), first=0x00),  # Fibre Channel
        name_only(NAME.encode().ljust(32, b"\0"), first=0x85),
        name_only(b"i" * 32),  # no end
        name_only(NAME.encode().ljust(32, b"\0"), first=0x45),  # no ISID
        name_only(f"{NAME},i,0x80123456789a".encode().ljust(48, b"\0")),
        name_only(f"{NAME},i,0x8012".encode().ljust(48, b"\0"), first=0x45),
        name_only(f"{NAME},i,0xzz".encode().ljust(48, b"\0"), first=0x45),
        name_only(b"not a name\0".ljust(32, b"\0")),
        name_only(b"\xff\xfe\0".ljust(32, b"\0")),
    ],
)
def test_what_is_none(data: bytes) -> None:
    with pytest.raises(MalformedData):
        parse_transport_ids(data)


def test_a_list_is_bounded() -> None:
    one = build_transport_id(InitiatorPort(NAME, ISID))
    assert len(parse_transport_ids(one * MAX_TRANSPORT_IDS)) == MAX_TRANSPORT_IDS
    with pytest.raises(MalformedData):
        parse_transport_ids(one * (MAX_TRANSPORT_IDS + 1))


@given(st.binary(max_size=200))
def test_nothing_breaks_the_parser(data: bytes) -> None:
    try:
        found = parse_transport_ids(data)
    except MalformedData:
        return
    assert all(one.isid is None or len(one.isid) == 6 for one in found)


@given(
    st.binary(min_size=6, max_size=6),
    st.from_regex(r"iqn\.2026-11\.org\.example:[a-z0-9]{1,40}", fullmatch=True),
)
def test_there_and_back(isid: bytes, name: str) -> None:
    assert parse_transport_ids(build_transport_id(InitiatorPort(name, isid))) == [TransportId(name, isid)]
