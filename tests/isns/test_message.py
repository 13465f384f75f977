"""TLVs, status codes in front of responses, the parts of a request (B41)."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from san_console.isns import functions, pdu, status
from san_console.isns import message as m
from san_console.isns.attributes import DELIMITER, Attribute, Tag, write_number, write_text
from san_console.isns.errors import RemoteProtocolError
from san_console.isns.message import Message
from san_console.isns.pdu import Reassembler, WholeMessage

TLVS = st.lists(
    st.tuples(
        st.integers(0, 0xFFFFFFFF), st.binary(max_size=40).map(lambda data: data + bytes(-len(data) % 4))
    ).map(lambda pair: Attribute(*pair)),
    max_size=20,
)
NAME = Attribute(Tag.ISCSI_NAME, write_text("iqn.2026-11.test:a"))


@given(TLVS, st.one_of(st.none(), st.integers(0, 0xFFFFFFFF)))
def test_messages_go_there_and_back(attributes: list[Attribute], code: int | None) -> None:
    function = functions.DEV_ATTR_QRY | (functions.RESPONSE if code is not None else 0)
    reassembler = Reassembler()
    reassembler.feed(b"".join(Message(function, 3, pdu.FLAG_CLIENT, code, attributes).encode()), 0.0)
    whole = reassembler.next_message(0.0)
    assert whole is not None
    read = m.decode(whole)
    assert (read.function, read.transaction, read.status_code, read.attributes) == (
        function,
        3,
        code,
        attributes,
    )


@settings(max_examples=300)
@given(st.binary(max_size=120))
def test_any_payload_is_read_or_refused_as_malformed(payload: bytes) -> None:
    for function in (functions.DEV_ATTR_REG, functions.DEV_ATTR_REG | functions.RESPONSE):
        code = status.MESSAGE_FORMAT_ERROR
        try:
            m.parts_of(m.decode(WholeMessage(function, 1, 0, payload)))
        except RemoteProtocolError as error:
            code = error.status
        assert code == status.MESSAGE_FORMAT_ERROR


@pytest.mark.parametrize(
    ("payload", "why"),
    [
        (bytes(4), "left where a TLV should start"),
        (bytes.fromhex("00000020 00000008 61626300"), "says 8 bytes where 4 are left"),
        (bytes.fromhex("00000020 ffffffff"), "not a multiple of 4"),
        (bytes.fromhex("00000020 fffffffc 61626300"), "4294967292 bytes"),
        (bytes.fromhex("00000020 00000003 616200"), "not a multiple of 4"),
    ],
)
def test_tlvs_that_lie_about_their_length(payload: bytes, why: str) -> None:
    with pytest.raises(RemoteProtocolError, match=why) as caught:
        m.decode(WholeMessage(functions.DEV_ATTR_REG, 9, 0, payload))
    assert (caught.value.function, caught.value.transaction) == (functions.DEV_ATTR_REG, 9)


def test_number_of_tlvs_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(m, "MAX_ATTRIBUTES", 10)
    m.decode_attributes(bytes(8 * 10))
    with pytest.raises(RemoteProtocolError, match="More than 10"):
        m.decode_attributes(bytes(8 * 11))


def test_response_without_a_status_is_malformed() -> None:
    with pytest.raises(RemoteProtocolError, match="status code"):
        m.decode(WholeMessage(0x8002, 1, 0, b""))


def request(*attributes: Attribute) -> Message:
    return Message(functions.DEV_ATTR_QRY, 1, pdu.FLAG_CLIENT, None, list(attributes))


def test_parts_of_a_request() -> None:
    key, wanted = Attribute(Tag.NODE_TYPE, write_number(1)), Attribute(Tag.ISCSI_ALIAS, b"")
    parts = m.parts_of(request(NAME, key, DELIMITER, wanted))
    assert (parts.source, parts.key, parts.operating) == (NAME, [key], [wanted])


def test_request_without_source_or_delimiter() -> None:
    key = Attribute(Tag.NODE_TYPE, write_number(1))
    assert m.parts_of(request(key, DELIMITER)).source is None
    assert m.parts_of(request(Attribute(Tag.ISCSI_NAME, b""), DELIMITER)).source is None
    assert m.parts_of(request()).source is None
    parts = m.parts_of(request(NAME, key))
    assert (parts.source, parts.key, parts.operating) == (NAME, [key], [])


def test_delimiters_that_are_none() -> None:
    with pytest.raises(RemoteProtocolError, match="not empty"):
        m.parts_of(request(NAME, Attribute(0, bytes(4))))
    with pytest.raises(RemoteProtocolError, match="second delimiter"):
        m.parts_of(request(NAME, DELIMITER, DELIMITER))


def test_values_of_a_request_are_checked_against_the_table() -> None:
    with pytest.raises(RemoteProtocolError, match="16 bytes instead of 4"):
        m.parts_of(request(NAME, DELIMITER, Attribute(Tag.NODE_TYPE, bytes(16))))


def test_response_and_description() -> None:
    answer = m.response_to(request(NAME), status.NO_SUCH_ENTRY)
    assert (answer.function, answer.transaction, answer.is_response) == (0x8002, 1, True)
    assert m.describe(answer) == "DevAttrQryRsp transaction 1: No Such Entry, 0 attributes"
    assert m.describe(request(NAME)) == "DevAttrQry transaction 1, 1 attributes"
    assert functions.function_name(0x0123) == "function 0x0123"


def test_every_status_of_the_rfc_is_explained_and_others_are_too() -> None:
    assert sorted(status.STATUS_EXPLANATIONS) == [n for n in range(24) if n != 4]
    assert all(line.cause for line in status.STATUS_EXPLANATIONS.values())
    assert "99" in status.explain(99).cause
