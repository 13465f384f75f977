"""PDUs: cutting, reassembly, and what hostile ones come to (B41, B42, B43)."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from san_console.isns import pdu, status
from san_console.isns.errors import LocalProtocolError, RemoteProtocolError
from san_console.isns.pdu import (
    FLAG_AUTHENTICATION,
    FLAG_CLIENT,
    FLAG_FIRST_PDU,
    FLAG_LAST_PDU,
    HEADER,
    MAX_PDU_PAYLOAD_BYTES,
    Reassembler,
    split,
)

FIRST, LAST = FLAG_FIRST_PDU, FLAG_LAST_PDU


def raw(
    payload: bytes = b"",
    *,
    version: int = 1,
    function: int = 2,
    flags: int = FIRST | LAST,
    transaction: int = 7,
    sequence: int = 0,
    length: int | None = None,
) -> bytes:
    size = len(payload) if length is None else length
    return HEADER.pack(version, function, size, flags, transaction, sequence) + payload


def violation(reassembler: Reassembler) -> RemoteProtocolError:
    with pytest.raises(RemoteProtocolError) as caught:
        reassembler.next_message(0.0)
    return caught.value


def test_header_is_laid_out_as_in_rfc_4171_5() -> None:
    (sent,) = split(0x0001, 0x1234, FLAG_CLIENT, b"abcd")
    assert sent == bytes.fromhex("0001 0001 0004 8c00 1234 0000") + b"abcd"


@settings(max_examples=60)
@given(st.binary(max_size=400).map(lambda data: data[: len(data) // 4 * 4]), st.data())
def test_message_survives_any_cut_of_the_stream(payload: bytes, data: st.DataObject) -> None:
    stream = b"".join(split(3, 9, FLAG_CLIENT, payload)) * 2
    reassembler = Reassembler()
    messages = []
    while stream:
        size = data.draw(st.integers(1, len(stream)))
        reassembler.feed(stream[:size], 0.0)
        stream = stream[size:]
        while (message := reassembler.next_message(0.0)) is not None:
            messages.append(message)
    assert [(m.function, m.transaction, m.payload) for m in messages] == [(3, 9, payload)] * 2
    assert reassembler.incomplete_since is None


def test_large_message_is_cut_into_numbered_pdus_and_joined_again() -> None:
    payload = bytes(range(256)) * 1024
    pdus = split(0x8002, 5, 0, payload)
    headers = [HEADER.unpack_from(one) for one in pdus]
    assert [header[5] for header in headers] == list(range(len(pdus)))
    assert [bool(header[3] & FIRST) for header in headers] == [True] + [False] * (len(pdus) - 1)
    assert [bool(header[3] & LAST) for header in headers] == [False] * (len(pdus) - 1) + [True]
    reassembler = Reassembler(max_message_bytes=1 << 20)
    reassembler.feed(b"".join(pdus), 0.0)
    whole = reassembler.next_message(0.0)
    assert whole is not None
    assert whole.payload == payload


def test_unaligned_or_endless_payload_is_not_sent() -> None:
    with pytest.raises(LocalProtocolError, match="aligned"):
        split(1, 1, 0, b"abc")
    with pytest.raises(LocalProtocolError, match="65536"):
        split(1, 1, 0, _Endless())  # type: ignore[arg-type]  # a stand-in that only has a length


class _Endless:
    """A payload of 4 GiB that takes no memory."""

    def __len__(self) -> int:
        return MAX_PDU_PAYLOAD_BYTES * 65537


@pytest.mark.parametrize(
    ("octets", "code"),
    [
        (raw(version=2), status.VERSION_NOT_SUPPORTED),
        (raw(b"abcde"), status.MESSAGE_FORMAT_ERROR),
        (raw(length=65535), status.MESSAGE_FORMAT_ERROR),
        (raw(flags=FIRST | LAST | FLAG_AUTHENTICATION), status.OPTION_NOT_UNDERSTOOD),
    ],
)
def test_header_that_loses_the_boundary_is_fatal_and_tells_what_to_answer(octets: bytes, code: int) -> None:
    reassembler = Reassembler()
    reassembler.feed(octets, 0.0)
    error = violation(reassembler)
    assert (error.status, error.function, error.transaction, error.fatal) == (code, 2, 7, True)


def test_too_large_a_message_is_refused_before_it_is_buffered() -> None:
    reassembler = Reassembler(max_message_bytes=1024)
    reassembler.feed(raw(length=2048), 0.0)
    error = violation(reassembler)
    assert error.status == status.MESSAGE_FORMAT_ERROR
    assert error.fatal

    reassembler = Reassembler(max_message_bytes=1024)
    reassembler.feed(raw(bytes(1000), flags=FIRST) + raw(bytes(28), flags=LAST, sequence=1), 0.0)
    assert violation(reassembler).fatal


@pytest.mark.parametrize(
    "octets",
    [
        raw(flags=LAST),
        raw(flags=0),
        raw(flags=FIRST) + raw(flags=FIRST | LAST),
        raw(flags=FIRST) + raw(flags=LAST, sequence=2),
        raw(flags=FIRST) + raw(flags=LAST, sequence=0),
        raw(flags=FIRST) + raw(flags=LAST, sequence=1, transaction=8),
        raw(flags=FIRST) + raw(flags=LAST, sequence=1, function=3),
        raw(flags=FIRST | LAST, sequence=5),
    ],
)
def test_pdus_out_of_order_drop_the_message_but_not_the_connection(octets: bytes) -> None:
    reassembler = Reassembler()
    reassembler.feed(octets + raw(b"good", transaction=77), 0.0)
    error = violation(reassembler)
    assert (error.status, error.fatal) == (status.MESSAGE_FORMAT_ERROR, False)
    following = reassembler.next_message(0.0)
    assert following is not None
    assert (following.transaction, following.payload) == (77, b"good")


def test_sixty_five_thousand_empty_pdus_are_refused_long_before() -> None:
    reassembler = Reassembler()
    reassembler.feed(
        raw(flags=FIRST) + b"".join(raw(flags=0, sequence=number) for number in range(1, 65536)), 0.0
    )
    error = violation(reassembler)
    assert error.fatal
    assert str(pdu.MAX_MESSAGE_PDUS) in str(error)


def test_an_unfinished_message_has_a_deadline() -> None:
    reassembler = Reassembler()
    assert not reassembler.overdue(1000.0)
    reassembler.feed(raw(b"abcd")[:13], 100.0)
    reassembler.feed(b"", 105.0)
    assert reassembler.next_message(105.0) is None
    assert not reassembler.overdue(119.0)
    assert reassembler.overdue(120.5)
    reassembler.feed(b"bcd" + b"\0", 121.0)
    assert reassembler.next_message(121.0) is not None
    assert reassembler.incomplete_since == 121.0, "one octet of the next message is there"
