"""PDUs: the header, cutting a message into PDUs, and putting it together again (RFC 4171 §5.1, §5.2)."""

import struct
from dataclasses import dataclass

from san_console.isns import status
from san_console.isns.errors import LocalProtocolError, RemoteProtocolError

VERSION = 1

FLAG_CLIENT = 0x8000
FLAG_SERVER = 0x4000
FLAG_AUTHENTICATION = 0x2000
FLAG_REPLACE = 0x1000
FLAG_LAST_PDU = 0x0800
FLAG_FIRST_PDU = 0x0400

# version, function ID, PDU length, flags, transaction ID, sequence ID
HEADER = struct.Struct(">HHHHHH")
HEADER_BYTES = 12
assert HEADER.size == HEADER_BYTES

MAX_PDU_PAYLOAD_BYTES = 65532
"""The largest multiple of four that the 16-bit length holds (§5.1.3)."""

MAX_MESSAGE_BYTES = 256 * 1024
"""What a server takes as one request: room for a thousand portals, far from hurting memory."""

MAX_MESSAGE_PDUS = 1024
"""PDUs of one message; empty ones cost no payload, so that the cap on bytes alone would let 65,536 by."""

MAX_MESSAGE_SECONDS = 20.0
"""From the first octet of a message to its last: a peer that takes longer holds memory for nothing."""


@dataclass(slots=True)
class WholeMessage:
    """A reassembled message: the fields that all its PDUs share, and the joined payload."""

    function: int
    transaction: int
    flags: int
    payload: bytes


def split(function: int, transaction: int, flags: int, payload: bytes) -> list[bytes]:
    """The PDUs that carry `payload`, in order. Raises LocalProtocolError where none can."""
    if len(payload) % 4:
        raise LocalProtocolError(
            f"A payload of {len(payload)} bytes is not aligned to 4 bytes (RFC 4171 §5.1.3)."
        )
    starts = range(0, max(len(payload), 1), MAX_PDU_PAYLOAD_BYTES)
    if len(starts) > 65536:
        raise LocalProtocolError("A message has at most 65536 PDUs (RFC 4171 §5.1.6).")
    pdus = []
    for sequence, start in enumerate(starts):
        part = payload[start : start + MAX_PDU_PAYLOAD_BYTES]
        pdu_flags = flags & ~(FLAG_FIRST_PDU | FLAG_LAST_PDU)
        if sequence == 0:
            pdu_flags |= FLAG_FIRST_PDU
        if sequence == len(starts) - 1:
            pdu_flags |= FLAG_LAST_PDU
        pdus.append(HEADER.pack(VERSION, function, len(part), pdu_flags, transaction, sequence) + part)
    return pdus


def _violation(
    text: str,
    function: int,
    transaction: int,
    *,
    code: int = status.MESSAGE_FORMAT_ERROR,
    fatal: bool = False,
) -> RemoteProtocolError:
    return RemoteProtocolError(text, status=code, function=function, transaction=transaction, fatal=fatal)


class Reassembler:
    """Bytes of one TCP connection in, whole messages out. Holds at most one unfinished message.

    Call `feed`, then `next_message` until it gives None. Where `next_message` raises RemoteProtocolError
    that is not fatal, go on calling it: the offending PDU is gone and the boundaries are still known.
    """

    def __init__(
        self, max_message_bytes: int = MAX_MESSAGE_BYTES, max_message_pdus: int = MAX_MESSAGE_PDUS
    ) -> None:
        self.max_message_bytes = max_message_bytes
        self.max_message_pdus = max_message_pdus
        self._buffer = bytearray()
        self._parts: list[bytes] = []
        self._parts_bytes = 0
        self._head: tuple[int, int, int] | None = None
        self.incomplete_since: float | None = None
        """When the oldest octet of what is not yet a whole message came; None when nothing is pending."""

    def feed(self, data: bytes, now: float) -> None:
        """Take octets off the wire. `now` is only compared with later values of itself."""
        if data and self.incomplete_since is None:
            self.incomplete_since = now
        self._buffer += data

    def overdue(self, now: float, limit_s: float = MAX_MESSAGE_SECONDS) -> bool:
        """True when an unfinished message has been waiting for longer than `limit_s`."""
        return self.incomplete_since is not None and now - self.incomplete_since > limit_s

    def next_message(self, now: float) -> WholeMessage | None:
        """The next whole message, or None when more octets are needed.

        Raises RemoteProtocolError with status 2 (lengths, order of PDUs), 10 (version) or 13 (an
        authentication block, which §5.5 reserves for multicast).
        """
        while len(self._buffer) >= HEADER_BYTES:
            version, function, length, flags, transaction, sequence = HEADER.unpack_from(self._buffer)

            # Checked before the payload is waited for: a PDU that will be refused is not worth buffering.
            if version != VERSION:
                # The length field of an unknown version means nothing, so the boundary is lost.
                raise _violation(
                    f"iSNSP version {version} instead of 1.",
                    function,
                    transaction,
                    code=status.VERSION_NOT_SUPPORTED,
                    fatal=True,
                )
            if length % 4:
                raise _violation(
                    f"A PDU length of {length} is not a multiple of 4.", function, transaction, fatal=True
                )
            if flags & FLAG_AUTHENTICATION:
                raise _violation(
                    "An authentication block in a unicast message.",
                    function,
                    transaction,
                    code=status.OPTION_NOT_UNDERSTOOD,
                    fatal=True,
                )
            if self._parts_bytes + length > self.max_message_bytes:
                raise _violation(
                    f"A message of more than {self.max_message_bytes} bytes.",
                    function,
                    transaction,
                    fatal=True,
                )
            end = HEADER_BYTES + length
            if len(self._buffer) < end:
                return None
            payload = bytes(memoryview(self._buffer)[HEADER_BYTES:end])
            del self._buffer[:end]
            problem = self._order_problem(function, transaction, flags, sequence)
            if problem:
                self._drop(now)
                raise _violation(problem, function, transaction)
            if self._head is None:
                self._head = (function, transaction, flags)
            self._parts.append(payload)
            self._parts_bytes += length
            if flags & FLAG_LAST_PDU:
                head_function, head_transaction, head_flags = self._head
                message = WholeMessage(
                    head_function, head_transaction, head_flags | FLAG_LAST_PDU, b"".join(self._parts)
                )
                self._drop(now)
                return message
            if len(self._parts) >= self.max_message_pdus:
                self._drop(now)
                raise _violation(
                    f"A message of more than {self.max_message_pdus} PDUs.", function, transaction, fatal=True
                )
        return None

    def _order_problem(self, function: int, transaction: int, flags: int, sequence: int) -> str:
        """What is wrong with this PDU's place in the message, or "" (§5.1.6, §5.2)."""
        if self._head is None:
            if not flags & FLAG_FIRST_PDU:
                return "A message that does not start with its first PDU."
        elif flags & FLAG_FIRST_PDU:
            return "A first PDU in the middle of another message."
        elif (function, transaction) != self._head[:2]:
            return "PDUs of two messages are mixed."
        if sequence != len(self._parts):
            return f"Sequence ID {sequence} where {len(self._parts)} is due."
        return ""

    def _drop(self, now: float) -> None:
        self._head = None
        self._parts = []
        self._parts_bytes = 0
        self.incomplete_since = now if self._buffer else None
