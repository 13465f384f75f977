"""The last PDUs of a connection, for the user's eyes; nothing secret is kept (RFC 7143 §12.1.3 keys are
masked).
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Literal

from san_console.iscsi import opcodes
from san_console.iscsi.errors import RemoteProtocolError
from san_console.iscsi.pdu import describe, parse
from san_console.iscsi.text import Bytes, decode_pairs
from san_console.names.display import visible

Direction = Literal["out", "in"]

# A busy session sends tens of thousands of PDUs a second: the trace shows how something came about, not all
# of it.
DEFAULT_RECORDS = 512
MAX_TEXT_CHARACTERS = 512

MASK = "***"
# With challenge and response together, the secret can be guessed off line (§9.2.1).
MASKED_KEYS = frozenset({"CHAP_R", "CHAP_C"})

_WITH_TEXT = frozenset(
    {opcodes.LOGIN_REQUEST, opcodes.LOGIN_RESPONSE, opcodes.TEXT_REQUEST, opcodes.TEXT_RESPONSE}
)


@dataclass(slots=True)
class TraceRecord:
    """One PDU. `at` is the caller's clock, `bhs` the 48 bytes of its header, `data_bytes` the size of its
    data.

    `text` is the key=value text of login and text PDUs, masked; other data is never kept.
    """

    at: float
    direction: Direction
    opcode: int
    bhs: bytes
    data_bytes: int
    text: str = ""

    @property
    def summary(self) -> str:
        """One line; made only when somebody looks."""
        try:
            line = describe(parse(self.bhs))
        except RemoteProtocolError:
            line = f"opcode 0x{self.opcode:02x}, not of RFC 7143"
        if self.data_bytes:
            line += f" data={self.data_bytes}"
        return f"{line} | {self.text}" if self.text else line


class Trace:
    """A ring of the last `records` PDUs of one connection."""

    __slots__ = ("_continued", "_records", "seen")

    def __init__(self, records: int = DEFAULT_RECORDS) -> None:
        self._records: deque[TraceRecord] = deque(maxlen=records)
        self._continued: dict[Direction, bool] = {"out": False, "in": False}
        #: PDUs in all, also those that the ring has dropped.
        self.seen = 0

    def add(
        self, at: float, direction: Direction, bhs: Bytes, data: Bytes = b"", *, data_bytes: int | None = None
    ) -> None:
        """Note one PDU; header and text are copied, so that borrowed views may go away.

        `data_bytes` is for a caller that knows the size of the data, but does not hold it.
        """
        opcode = bhs[0] & opcodes.OPCODE_MASK
        text = self._text(direction, bhs, data) if opcode in _WITH_TEXT else ""
        size = len(data) if data_bytes is None else data_bytes
        self.seen += 1
        self._records.append(TraceRecord(at, direction, opcode, bytes(bhs), size, text))

    def records(self) -> list[TraceRecord]:
        """Oldest first."""
        return list(self._records)

    def clear(self) -> None:
        self._records.clear()

    def _text(self, direction: Direction, bhs: Bytes, data: Bytes) -> str:
        continued = bool(bhs[1] & opcodes.CONTINUE)
        part = continued or self._continued[direction]
        self._continued[direction] = continued
        if not len(data):
            return ""
        if part:
            # The pieces of a masked value cannot be told apart from others.
            return "(part of a longer text)"
        try:
            pairs = decode_pairs(data)
        except RemoteProtocolError:
            return "(text that cannot be read)"
        shown = (f"{key}={MASK if key in MASKED_KEYS else value}" for key, value in pairs)
        return visible(" ".join(shown), MAX_TEXT_CHARACTERS)
