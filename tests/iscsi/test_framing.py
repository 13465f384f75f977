"""Framing: lengths, padding, digests, chunking; bad inputs B01, B02, B24, B31."""

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from san_console.iscsi import opcodes
from san_console.iscsi.ahs import MAX_AHS_BYTES, extended_cdb, parse_ahs
from san_console.iscsi.errors import RemoteProtocolError
from san_console.iscsi.framing import Framer, encode
from san_console.iscsi.pdu import LoginRequest, NopOut, ScsiCommand, ScsiDataOut, parse
from san_console.wire.crc32c import crc32c


def feed(framer: Framer, data: bytes) -> None:
    while data:
        view = framer.writable()
        n = min(len(view), len(data))
        view[:n] = data[:n]
        framer.wrote(n)
        data = data[n:]


def packet(data: bytes = b"", *, header: bool = False, digest: bool = False, offset: int = 0) -> bytes:
    pdu = ScsiDataOut(itt=7, ttt=9, buffer_offset=offset)
    return b"".join(
        bytes(part) for part in encode(pdu.pack(len(data)), data, header_digest=header, data_digest=digest)
    )


# RFC 7143 A.4, in wire order
VECTORS = [
    (bytes(32), "aa36918a"),
    (b"\xff" * 32, "43aba862"),
    (bytes(range(32)), "4e79dd46"),
    (bytes(range(31, -1, -1)), "5cdb3f11"),
    (
        bytes.fromhex(
            "01c00000 00000000 00000000 00000000 14000000 00000400 00000014 00000018 28000000 00000000"
            "02000000 00000000"
        ),
        "563a96d9",
    ),
]


@pytest.mark.parametrize(("data", "wire"), VECTORS)
def test_digest_vectors_of_the_rfc(data: bytes, wire: str) -> None:
    buffers = encode(bytes(48), data, header_digest=False, data_digest=True)
    assert bytes(buffers[-1]).hex() == wire
    if len(data) == 48:
        assert bytes(encode(data, header_digest=True, data_digest=False)[1]).hex() == wire


@settings(max_examples=60, deadline=None)
@given(
    payloads=st.lists(st.binary(max_size=300), min_size=1, max_size=6),
    chunks=st.lists(st.integers(1, 120), min_size=1, max_size=20),
    header=st.booleans(),
    digest=st.booleans(),
)
def test_any_chunking_gives_the_same_frames(
    payloads: list[bytes], chunks: list[int], header: bool, digest: bool
) -> None:
    stream = b"".join(packet(p, header=header, digest=digest, offset=i) for i, p in enumerate(payloads))
    framer = Framer(capacity_bytes=64)
    framer.header_digest, framer.data_digest = header, digest
    seen: list[tuple[int, bytes]] = []
    turn = 0
    while stream:
        size = chunks[turn % len(chunks)]
        turn += 1
        feed(framer, stream[:size])
        stream = stream[size:]
        for frame in framer.frames():
            assert frame.opcode == opcodes.SCSI_DATA_OUT
            assert frame.data_digest_ok
            pdu = ScsiDataOut.parse(frame.bhs)
            seen.append((pdu.buffer_offset, bytes(frame.data)))
    assert seen == list(enumerate(payloads))
    assert len(framer) == 0


def test_one_receive_gives_a_whole_batch_without_copies() -> None:
    framer = Framer()
    feed(framer, packet(b"abcd") * 3 + packet(b"rest")[:20])
    frames = list(framer.frames())
    assert [bytes(frame.data) for frame in frames] == [b"abcd"] * 3
    assert all(frame.data.obj is frames[0].bhs.obj for frame in frames)
    assert len(framer) == 20


def test_buffers_are_never_joined() -> None:
    data = bytearray(b"12345")
    buffers = encode(NopOut().pack(5), data, header_digest=True, data_digest=True)
    assert [len(part) for part in buffers] == [48, 4, 5, 3, 4]
    assert buffers[2] is data


def test_zero_length_data_has_no_digest() -> None:
    assert len(encode(NopOut().pack(), header_digest=False, data_digest=True)) == 1
    framer = Framer()
    framer.data_digest = True
    feed(framer, packet() + packet())
    assert len(list(framer.frames())) == 2


def test_digest_covers_the_padding_as_received() -> None:
    padded = b"abc\x5a"  # a sender that does not zero its padding (§13.1: SHOULD)
    head = ScsiDataOut(itt=1).pack(3)
    framer = Framer()
    framer.data_digest = True
    feed(framer, head + padded + struct.pack("<I", crc32c(padded)))
    frame = framer.next_frame()
    assert frame is not None
    assert frame.data_digest_ok
    assert bytes(frame.data) == b"abc"
    feed(framer, head + b"abc\x00" + struct.pack("<I", crc32c(padded)))
    frame = framer.next_frame()
    assert frame is not None
    assert not frame.data_digest_ok


@pytest.mark.parametrize("bit", range(0, 48 * 8, 7))
def test_header_digest_error_is_fatal(bit: int) -> None:
    stream = bytearray(packet(b"data", header=True))
    stream[bit // 8] ^= 1 << bit % 8
    framer = Framer()
    framer.header_digest = True
    feed(framer, bytes(stream))
    # Either the digest says so, or the broken length did before a byte was buffered for it.
    with pytest.raises(RemoteProtocolError, match=r"digest|segment|additional header"):
        framer.next_frame()


def test_data_digest_error_is_reported_and_the_stream_goes_on() -> None:
    stream = bytearray(packet(b"data", digest=True))
    stream[50] ^= 1
    framer = Framer()
    framer.data_digest = True
    feed(framer, bytes(stream) + packet(b"next", digest=True))
    assert [frame.data_digest_ok for frame in framer.frames()] == [False, True]


@pytest.mark.parametrize("sent", [8, 47, 48])
def test_long_segment_is_refused_before_buffering(sent: int) -> None:
    framer = Framer(max_data_segment_bytes=8192)
    feed(framer, LoginRequest().pack(0xFFFFFF)[:sent])
    with pytest.raises(RemoteProtocolError, match="16777215") as caught:
        framer.next_frame()
    assert caught.value.login_status == 0x0200
    assert len(framer.writable()) < 300_000


def test_longest_allowed_segment_passes() -> None:
    framer = Framer(max_data_segment_bytes=1 << 20, capacity_bytes=4096)
    data = bytes(range(256)) * 4096
    feed(framer, packet(data))
    frame = framer.next_frame()
    assert frame is not None
    assert bytes(frame.data) == data


@pytest.mark.parametrize("words", [1, 255])
def test_ahs_on_anything_but_a_command_is_refused(words: int) -> None:
    framer = Framer()
    feed(framer, LoginRequest().pack(0, words))
    with pytest.raises(RemoteProtocolError, match="additional header"):
        framer.next_frame()


def test_absurd_ahs_is_refused_early() -> None:
    framer = Framer()
    feed(framer, ScsiCommand().pack(0, 255)[:10])
    with pytest.raises(RemoteProtocolError, match="1020 bytes"):
        framer.next_frame()


@pytest.mark.parametrize("header", [False, True])
def test_extended_cdb_travels(header: bool) -> None:
    cdb = bytes(range(32))
    ahs = extended_cdb(cdb)
    assert len(ahs) == 20
    pdu = ScsiCommand(cdb=cdb[:16])
    stream = b"".join(
        bytes(part)
        for part in encode(
            pdu.pack(4, len(ahs) // 4), b"data", header_digest=header, data_digest=False, ahs=ahs
        )
    )
    for cut in range(1, len(stream)):
        framer = Framer(capacity_bytes=16)
        framer.header_digest = header
        feed(framer, stream[:cut])
        assert framer.next_frame() is None
        feed(framer, stream[cut:])
        frame = framer.next_frame()
        assert frame is not None
        assert bytes(frame.data) == b"data"
        [(code, rest)] = parse_ahs(frame.ahs)
        assert code == opcodes.AHS_EXTENDED_CDB
        assert ScsiCommand.parse(frame.bhs).cdb + bytes(rest) == cdb


def test_short_cdb_needs_no_ahs() -> None:
    assert extended_cdb(bytes(16)) == b""
    assert len(extended_cdb(bytes(260))) <= MAX_AHS_BYTES - 8


def test_bidirectional_ahs() -> None:
    segments = parse_ahs(bytes.fromhex("0005020000001000") + extended_cdb(bytes(20)))
    assert [(code, bytes(data).hex()) for code, data in segments] == [(2, "00001000"), (1, "00000000")]


@pytest.mark.parametrize(
    "ahs",
    ["00050000 00000000", "00050300 00000000", "00060200 0000000000000000", "00ff0100", "00000100", "0005"],
)
def test_broken_ahs_is_refused(ahs: str) -> None:
    with pytest.raises(RemoteProtocolError, match="hold together"):
        parse_ahs(bytes.fromhex(ahs))


@pytest.mark.parametrize(
    ("banner", "shown"),
    [
        (b"HTTP/1.1 400 Bad Request\r\nServer: x\r\n", "HTTP/1.1"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "SSH-2.0"),
        (b"\x15\x03\x01\x00\x02\x02\x0a", "15"),
        (b"S", "S"),
    ],
)
def test_another_protocol_is_recognised_at_once(banner: bytes, shown: str) -> None:
    framer = Framer(expected_opcodes=frozenset({opcodes.LOGIN_RESPONSE}))
    assert framer.next_frame() is None
    feed(framer, banner)
    with pytest.raises(RemoteProtocolError, match="does not speak iSCSI") as caught:
        framer.next_frame()
    assert shown in str(caught.value)
    assert "\r" not in str(caught.value)


def test_other_pdus_during_login_are_refused() -> None:
    framer = Framer(expected_opcodes=frozenset({opcodes.LOGIN_REQUEST}))
    feed(framer, NopOut().pack())
    with pytest.raises(RemoteProtocolError, match="NOP-Out during login") as caught:
        framer.next_frame()
    assert caught.value.login_status == 0x020B


def test_login_passes_byte_by_byte_while_only_login_is_expected() -> None:
    framer = Framer(expected_opcodes=frozenset({opcodes.LOGIN_REQUEST}))
    stream = LoginRequest(csg=1).pack(4) + b"abcd"
    for position in range(len(stream)):
        assert framer.next_frame() is None
        feed(framer, stream[position : position + 1])
    frame = framer.next_frame()
    assert frame is not None
    assert frame.opcode == opcodes.LOGIN_REQUEST
    framer.expected_opcodes = None
    feed(framer, NopOut().pack())
    assert framer.next_frame() is not None


def test_unassigned_opcode_reaches_the_role() -> None:
    framer = Framer()
    feed(framer, b"\x1c" + bytes(47))
    frame = framer.next_frame()
    assert frame is not None
    assert frame.opcode == 0x1C
    with pytest.raises(RemoteProtocolError, match="0x1c") as caught:
        parse(frame.bhs)
    assert caught.value.reject_reason == opcodes.REJECT_COMMAND_NOT_SUPPORTED


@settings(max_examples=100, deadline=None)
@given(data=st.binary(max_size=400), digests=st.booleans())
def test_noise_never_gives_anything_but_frames_or_the_declared_error(data: bytes, digests: bool) -> None:
    framer = Framer(max_data_segment_bytes=512, capacity_bytes=64)
    framer.header_digest = framer.data_digest = digests
    feed(framer, data)
    try:
        for frame in framer.frames():
            assert len(frame.bhs) == 48
            assert len(frame.data) <= 512
    except RemoteProtocolError:
        return
    assert len(framer) <= len(data)
