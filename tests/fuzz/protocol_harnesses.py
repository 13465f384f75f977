"""What has to hold whatever a peer sends: framing, text, login, and the full feature phase of a target."""

from __future__ import annotations

import contextlib
import struct

from san_console.iscsi import text
from san_console.iscsi.chap import ChallengeLedger
from san_console.iscsi.errors import RemoteProtocolError
from san_console.iscsi.framing import Framer, encode
from san_console.iscsi.login_policy import SessionDecision, SessionRequest, SessionType, TargetDecision
from san_console.iscsi.login_target import LoginTarget
from san_console.iscsi.opcodes import LOGIN_REQUEST, LOGIN_RESPONSE
from san_console.iscsi.pdu import LoginRequest, describe, parse
from san_console.names.credentials import ChapCredentials, Secret
from tests.fuzz.source import Source

_LENGTHS = struct.Struct(">I")
TARGET = "iqn.2026-11.org.example:disk"


def _frames(data: bytes, cuts: list[int], header_digest: bool, data_digest: bool) -> list[bytes]:
    framer = Framer(max_data_segment_bytes=2048, capacity_bytes=4096)
    framer.header_digest = header_digest
    framer.data_digest = data_digest
    seen: list[bytes] = []
    position = 0
    for cut in [*cuts, len(data)]:
        while position < cut:
            room = framer.writable()
            piece = data[position : min(cut, position + len(room))]
            assert piece, "the framer has no room, and gives no frame"
            room[: len(piece)] = piece
            framer.wrote(len(piece))
            position += len(piece)
            try:
                for frame in framer.frames():
                    assert len(frame.bhs) == 48
                    assert len(frame.data) == _LENGTHS.unpack(frame.bhs[4:8])[0] & 0xFFFFFF <= 2048
                    seen.append(bytes(frame.bhs) + bytes(frame.ahs) + bytes(frame.data))
            except RemoteProtocolError:
                return seen
    return seen


def framing(data: bytes) -> None:
    """The same frames come out wherever the stream is cut, and nothing but RemoteProtocolError is raised."""
    source = Source(data)
    flags = source.number(1)
    header_digest, data_digest = bool(flags & 1), bool(flags & 2)
    if flags & 4:  # a stream that is well formed but for what the fuzzer puts into the PDUs
        parts: list[bytes] = []
        while source and len(parts) < 200:
            bhs = bytearray(source.take(48).ljust(48, b"\0"))
            payload = source.block(3000)
            bhs[4:8] = _LENGTHS.pack(len(payload))
            buffers = encode(bytes(bhs), payload, header_digest=header_digest, data_digest=data_digest)
            parts += [bytes(buffer) for buffer in buffers]
        stream = b"".join(parts)
        cuts = [len(stream) * (index + 1) // 7 for index in range(6)]
    else:
        cuts = sorted(source.number(2) for _ in range(source.number(1) % 8))
        stream = source.rest()
        cuts = [cut for cut in cuts if cut < len(stream)]
    whole = _frames(stream, [], header_digest, data_digest)
    assert _frames(stream, cuts, header_digest, data_digest) == whole


def pdus(data: bytes) -> None:
    """Any header can be parsed and described; what is packed parses to the same PDU."""
    bhs = data[:48].ljust(48, b"\0")
    try:
        pdu = parse(bhs)
    except RemoteProtocolError:
        return
    assert describe(pdu)
    # What a sender has to set is set, whatever was received; after that nothing changes any more.
    packed = parse(pdu.pack())
    assert parse(packed.pack()) == packed


def keys(data: bytes) -> None:
    """Text decodes into pairs that encode into the same text; values decode or are malformed."""
    try:
        pairs = text.decode_pairs(data)
    except RemoteProtocolError:
        return
    assert text.decode_pairs(text.encode_pairs(pairs)) == pairs
    for _, value in pairs:
        for decode in (text.decode_number, text.decode_boolean, text.decode_list):
            with contextlib.suppress(text.MalformedValue):
                decode(value)
        try:
            binary = text.decode_binary(value)
        except text.MalformedValue:
            continue
        assert 0 < len(binary) <= text.MAX_BINARY_BYTES
        assert text.decode_binary(text.encode_binary(binary)) == binary


class _Policy:
    def __init__(self, decision: TargetDecision) -> None:
        self.decision = decision
        self.let_in: list[SessionRequest] = []

    def find_target(
        self, initiator_name: str, target_name: str | None, session_type: SessionType, peer_address: str
    ) -> TargetDecision:
        return self.decision

    def session_for(self, request: SessionRequest) -> SessionDecision:
        self.let_in.append(request)
        return SessionDecision(tsih=1)


def login(data: bytes) -> None:
    """Login Requests let nobody in who has not proved the secret; each is answered, or ends the login."""
    source = Source(data)
    flags = source.number(1)
    chap = [ChapCredentials("user", Secret(b"a secret nobody has"))] if flags & 1 else None
    mutual = ChapCredentials("target", Secret(b"another secret here")) if flags & 2 else None
    policy = _Policy(TargetDecision(chap=chap, mutual=mutual))
    target = LoginTarget(policy, ledger=ChallengeLedger(), random=lambda count: bytes(range(1, count + 1)))
    for _ in range(40):
        if target.done or target.failed is not None or not source:
            break
        bhs = bytearray(48)
        bhs[0] = 0x40 | LOGIN_REQUEST
        bhs[1] = source.number(1)
        if source.number(1) & 1:
            bhs[2:48] = source.take(46).ljust(46, b"\0")
        segment = source.block(9000)
        bhs[4:8] = _LENGTHS.pack(len(segment))
        for response, answer in target.receive(LoginRequest.parse(bytes(bhs)), segment):
            packed = response.pack(len(answer))
            assert packed[0] == LOGIN_RESPONSE
            text.TextCollector().add(answer, continued=response.continued and bool(answer))
    if chap is not None:
        assert not policy.let_in, "a login without the secret"
    if target.done:
        assert target.result is not None
        assert target.result.params.first_burst_bytes <= target.result.params.max_burst_bytes
