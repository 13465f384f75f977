"""From bytes to PDUs and back (RFC 7143 §11.1, §11.2.3): lengths, padding, digests, without copying any data.

One receive takes what is there, then all whole PDUs in it are read; the views stay valid until the next
`writable()`. Every length is checked before a byte is buffered for it.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from san_console.iscsi import opcodes
from san_console.iscsi.ahs import MAX_AHS_BYTES, parse_ahs
from san_console.iscsi.errors import RemoteProtocolError
from san_console.iscsi.opcodes import BHS_BYTES, DEFAULT_MAX_RECV_DATA_SEGMENT_BYTES
from san_console.names.display import visible
from san_console.wire.crc32c import crc32c
from san_console.wire.receive_buffer import ReceiveBuffer

Bytes = bytes | bytearray | memoryview

# One receive of this size fills a batch of 32 PDUs of 4 KiB with room to spare, and stays inside an L2 cache.
DEFAULT_CAPACITY_BYTES = 256 * 1024

_LENGTHS = struct.Struct(">I")
_OPCODE_AND_LENGTHS = struct.Struct(">B3xI")
_DIGEST = struct.Struct("<I")  # §13.1 maps x**31 to bit 7 of the first byte: the reflected CRC, little-endian
assert _LENGTHS.size == _DIGEST.size == 4
assert _OPCODE_AND_LENGTHS.size == 8

_EMPTY = memoryview(b"")
_PADDING = (b"", bytes(3), bytes(2), bytes(1))  # by the length of the data segment modulo 4
#: From so many missing bytes on, a payload is received where it belongs. Below, one more receive into the
#: buffer and a copy that stays in the cache cost less than asking for the place.
DIRECT_BYTES = 16 * 1024
# While large segments come, receives end behind a header: what they bring of the next one has to be copied.
_AHEAD_BYTES = 4096
# The first bytes of a header that hold opcode and lengths: enough to see that a peer speaks another protocol.
_LENGTHS_END = 8


@dataclass(slots=True)
class Frame:
    """One PDU as received. `opcode` is without the I bit, `data` without padding; all views are borrowed."""

    opcode: int
    bhs: memoryview
    ahs: memoryview
    data: memoryview
    data_digest_ok: bool


class Framer:
    """Cuts the stream of one connection into frames.

    `max_data_segment_bytes` is what we accept (our MaxRecvDataSegmentLength), `header_digest` and
    `data_digest` hold from the full feature phase on; all three may be set between two frames. While
    `expected_opcodes` is set, any other opcode is refused at its first byte: during login nothing else is
    legal (RFC 7143 §6.3), and a server of another protocol is recognised before it has sent 48 bytes.

    `place_of(bhs)` may be set by whoever receives with `spaces()`: it is asked for each PDU much of which is
    still to come, and gives the place of its data segment (exactly that long) or None. A frame of such a PDU
    has `data` there already; it is that very view. Digests and padding are received the ordinary way.
    """

    __slots__ = (
        "_available",
        "_buffer",
        "_direct",
        "_direct_bhs",
        "_direct_bytes",
        "_large",
        "_need",
        "_position",
        "_unread",
        "data_digest",
        "expected_opcodes",
        "header_damaged",
        "header_digest",
        "max_data_segment_bytes",
        "place_of",
    )

    def __init__(
        self,
        max_data_segment_bytes: int = DEFAULT_MAX_RECV_DATA_SEGMENT_BYTES,
        capacity_bytes: int = DEFAULT_CAPACITY_BYTES,
        expected_opcodes: frozenset[int] | None = None,
    ) -> None:
        self.max_data_segment_bytes = max_data_segment_bytes
        #: A header digest was wrong: the stream ended for this reason and no other.
        self.header_damaged = False
        self.header_digest = False
        self.data_digest = False
        self.expected_opcodes = expected_opcodes
        self.place_of: Callable[[memoryview], memoryview | None] | None = None
        self._direct: memoryview | None = None
        self._direct_bhs = b""
        self._direct_bytes = 0
        self._large = False
        self._buffer = ReceiveBuffer(capacity_bytes)
        self._unread = _EMPTY
        self._available = 0
        self._position = 0
        self._need = 0

    def __len__(self) -> int:
        """Bytes received that belong to no frame given out yet."""
        return self._available - self._position

    def writable(self) -> memoryview:
        """Where to receive next; every view of earlier frames becomes invalid."""
        if self._position:
            self._buffer.consume(self._position)
            self._available -= self._position
            self._position = 0
        if self._need:
            self._buffer.reserve(self._need)
        view = self._buffer.writable()
        self._unread = self._buffer.readable()
        return view

    def spaces(self) -> list[memoryview]:
        """As `writable()`, for `recvmsg_into`: the place of a payload first, when one is being received.

        Only little is to be received beside large payloads, so that the next ones also go to their places.
        """
        direct = self._direct
        if direct is None:
            view = self.writable()
            return [view[:_AHEAD_BYTES] if self._large else view]
        return [direct[self._direct_bytes :], self.writable()[:_AHEAD_BYTES]]

    def wrote(self, n: int) -> None:
        """`n` bytes were received into the last `writable()`, or into the last `spaces()`."""
        direct = self._direct
        if direct is not None:
            placed = min(n, len(direct) - self._direct_bytes)
            self._direct_bytes += placed
            n -= placed
        self._buffer.wrote(n)
        self._unread = self._buffer.readable()
        self._available = len(self._unread)

    def next_frame(self) -> Frame | None:
        """The next whole PDU, or None.

        Raises RemoteProtocolError for a segment longer than allowed, an additional header that makes no
        sense, a wrong header digest, or an opcode that is not expected: the stream cannot be followed after
        any of these. After a wrong header digest no length is to be trusted, and without markers nothing
        tells where the next PDU begins (§7.8): the connection ends at every recovery level; at level 2 the
        session and its tasks outlive it. A wrong data digest only clears `data_digest_ok`: what follows is up
        to the role (§7.8).
        """
        if self._direct is not None:
            return self._placed()
        position = self._position
        available = self._available - position
        if available < BHS_BYTES or available < self._need:
            if available >= _LENGTHS_END or (available and self.expected_opcodes is not None):
                self._check_early(position, available)
            return None
        unread = self._unread
        byte0, lengths = _OPCODE_AND_LENGTHS.unpack_from(unread, position)
        data_bytes = lengths & 0xFFFFFF
        if data_bytes > self.max_data_segment_bytes or self.expected_opcodes is not None:
            self._check_early(position, available)
        data_start = position + BHS_BYTES
        ahs = _EMPTY
        if lengths > 0xFFFFFF:
            ahs_bytes = self._ahs_bytes(byte0, lengths)
            if available < BHS_BYTES + ahs_bytes:
                self._need = BHS_BYTES + ahs_bytes
                return None
            ahs = unread[data_start : data_start + ahs_bytes]
            data_start += ahs_bytes
        if self.header_digest:
            if available < data_start + 4 - position:
                self._need = data_start + 4 - position
                return None
            if crc32c(unread[position:data_start]) != _DIGEST.unpack_from(unread, data_start)[0]:
                self.header_damaged = True
                raise RemoteProtocolError(
                    "the header digest of a PDU is wrong: it was damaged on its way, and the stream is lost"
                )
            data_start += 4
        if ahs is not _EMPTY:
            parse_ahs(ahs)
        data_end = data_start + data_bytes
        padded_end = data_end + (-data_bytes & 3)
        end = padded_end + 4 if self.data_digest and data_bytes else padded_end
        if end - position > available:
            self._need = end - position
            if self.place_of is not None and self._need - available >= DIRECT_BYTES:
                self._place(position, data_start, data_end, end)
            return None
        self._need = 0
        self._position = end
        self._large = self.place_of is not None and data_bytes > DIRECT_BYTES + _AHEAD_BYTES
        return Frame(
            byte0 & 0x3F,
            unread[position : position + BHS_BYTES],
            ahs,
            unread[data_start:data_end] if data_bytes else _EMPTY,
            # Over the padding as received: senders only SHOULD make it zero (§13.1).
            end == padded_end
            or crc32c(unread[data_start:padded_end]) == _DIGEST.unpack_from(unread, padded_end)[0],
        )

    def _place(self, position: int, data_start: int, data_end: int, end: int) -> None:
        """Receive the rest of this data segment where it belongs, if the place is known."""
        assert self.place_of is not None
        if end != data_end or data_start != position + BHS_BYTES:
            return  # digests, padding or an additional header
        unread = self._unread
        place = self.place_of(unread[position:data_start])
        if place is None or len(place) != data_end - data_start:
            return
        self._direct_bhs = bytes(unread[position:data_start])
        self._direct_bytes = self._available - data_start
        place[: self._direct_bytes] = unread[data_start : self._available]
        self._direct = place
        self._large = True
        self._position = self._available
        self._need = 0

    def _placed(self) -> Frame | None:
        direct = self._direct
        assert direct is not None
        if self._direct_bytes < len(direct):
            return None
        self._direct = None
        bhs = memoryview(self._direct_bhs)
        return Frame(bhs[0] & 0x3F, bhs, _EMPTY, direct, True)

    def frames(self) -> Iterator[Frame]:
        """All whole PDUs that are here. Settings may change between two of them."""
        while (frame := self.next_frame()) is not None:
            yield frame

    def _ahs_bytes(self, byte0: int, lengths: int) -> int:
        ahs_bytes = (lengths >> 24) * 4
        if ahs_bytes > MAX_AHS_BYTES or byte0 & 0x3F != opcodes.SCSI_COMMAND:
            name = opcodes.OPCODE_NAMES.get(byte0 & 0x3F, f"opcode 0x{byte0 & 0x3F:02x}")
            raise RemoteProtocolError(
                f"the peer sent a {name} with {ahs_bytes} bytes of additional header; none or at most "
                f"{MAX_AHS_BYTES} are possible",
                reject_reason=opcodes.REJECT_PROTOCOL_ERROR,
                login_status=0x0200,
            )
        return ahs_bytes

    def _check_early(self, position: int, available: int) -> None:
        opcode = self._unread[position] & 0x3F
        expected = self.expected_opcodes
        if expected is not None and opcode not in expected:
            if self._unread[position] & 0x80 or opcode not in opcodes.OPCODE_NAMES:
                start = bytes(self._unread[position : position + min(available, 32)])
                raise RemoteProtocolError(
                    f"the peer does not speak iSCSI; it sent “{visible(start.decode('latin-1'), 64)}”"
                )
            raise RemoteProtocolError(
                f"the peer sent a {opcodes.OPCODE_NAMES[opcode]} during login", login_status=0x020B
            )
        if available < _LENGTHS_END:
            return
        (lengths,) = _LENGTHS.unpack_from(self._unread, position + 4)
        if lengths & 0xFFFFFF > self.max_data_segment_bytes:
            raise RemoteProtocolError(
                f"the peer announced a data segment of {lengths & 0xFFFFFF} bytes; "
                f"{self.max_data_segment_bytes} are the most that was agreed",
                reject_reason=opcodes.REJECT_PROTOCOL_ERROR,
                login_status=0x0200,
            )
        if lengths > 0xFFFFFF:
            self._ahs_bytes(opcode, lengths)


def encode(
    bhs: bytes, data: Bytes = b"", *, header_digest: bool, data_digest: bool, ahs: bytes = b""
) -> list[Bytes]:
    """The buffers of one PDU for a gathering write, never joined; `bhs` already holds the lengths.

    `data` must not change until it is sent: its digest is computed here.
    """
    buffers: list[Bytes] = [bhs]
    if ahs:
        buffers.append(ahs)
    if header_digest:
        buffers.append(_DIGEST.pack(crc32c(ahs, crc32c(bhs)) if ahs else crc32c(bhs)))
    if data:
        buffers.append(data)
        padding = _PADDING[len(data) & 3]
        if padding:
            buffers.append(padding)
        if data_digest:
            digest = crc32c(data)
            buffers.append(_DIGEST.pack(crc32c(padding, digest) if padding else digest))
    return buffers
