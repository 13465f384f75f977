"""What all parts of an initiator's connection share: numbers, digests, and the buffers that go out."""

from __future__ import annotations

from collections.abc import Callable, Container
from typing import Protocol

from san_console.iscsi.errors import RemoteProtocolError
from san_console.iscsi.framing import encode
from san_console.iscsi.initiator_events import Event, StatSnGap
from san_console.iscsi.initiator_tasks import Bytes
from san_console.iscsi.trace import Direction
from san_console.wire import serial

#: RFC 7143 §4.2.2.2 lets us choose how far StatSN may jump before the connection counts as broken. Over
#: TCP it never should; a few responses of leeway keep targets usable that miscount an unsolicited PDU.
MAX_STAT_SN_GAP = 16
#: Answers to NOP-In that may wait for the network. A target that pings faster than it reads floods us.
MAX_UNSENT_REPLIES = 256
#: Events between two `take_events`; far more than any target has a reason to send.
MAX_EVENTS = 1024

_PADDING = (b"", bytes(3), bytes(2), bytes(1))  # by the length of the data segment modulo 4

#: Called with the direction, the 48-byte header and the data segment, which must be copied to be kept.
Tracer = Callable[[Direction, Bytes, Bytes], None]


class SessionParameters(Protocol):
    """The negotiated values that the full feature phase depends on (see `OperationalParameters`)."""

    initial_r2t: bool
    immediate_data: bool
    peer_max_recv_data_segment_bytes: int
    max_burst_bytes: int
    first_burst_bytes: int


class InitiatorLink:
    """Sequence numbers of one connection, its output, and what its target reported on its own."""

    __slots__ = (
        "_events",
        "_next_itt",
        "_unsent_replies",
        "cmd_sn",
        "data_digest",
        "digest_errors",
        "exp_cmd_sn",
        "exp_stat_sn",
        "header_digest",
        "max_cmd_sn",
        "max_segment_bytes",
        "out",
        "tracer",
    )

    def __init__(self, max_segment_bytes: int, header_digest: bool, data_digest: bool) -> None:
        self.max_segment_bytes = max_segment_bytes
        self.header_digest = header_digest
        self.data_digest = data_digest
        self.cmd_sn = 0
        self.exp_stat_sn = 0
        self.exp_cmd_sn = 0
        self.max_cmd_sn = 0
        self.digest_errors = 0
        self.out: list[Bytes] = []
        self.tracer: Tracer | None = None
        self._events: list[Event] = []
        self._next_itt = 1
        self._unsent_replies = 0

    def new_itt(self, tasks: Container[int], others: Container[int]) -> int:
        """A task tag that neither has; 0 and the reserved tag 0xffffffff never come up."""
        itt = self._next_itt
        while itt in tasks or itt in others:
            itt = itt % 0x7FFFFFFF + 1
        self._next_itt = itt % 0x7FFFFFFF + 1
        return itt

    def emit(self, bhs: bytes, data: Bytes = b"") -> None:
        """Queue one PDU; `data` is sent from where it lies and must not change."""
        out = self.out
        if self.tracer is not None:
            self.tracer("out", bhs, data)
        if self.header_digest or self.data_digest:
            out += encode(bhs, data, header_digest=self.header_digest, data_digest=self.data_digest)
            return
        out.append(bhs)
        if data:
            out.append(data)
            if len(data) & 3:
                out.append(_PADDING[len(data) & 3])

    def count_reply(self) -> None:
        """One more answer that the target caused. RemoteProtocolError when it does not take them."""
        self._unsent_replies += 1
        if self._unsent_replies > MAX_UNSENT_REPLIES:
            raise RemoteProtocolError("the target sends pings faster than it takes the answers")

    def output_drained(self) -> None:
        """Everything taken so far has left."""
        self._unsent_replies = 0

    def note(self, event: Event) -> None:
        """Report what the target did on its own."""
        if len(self._events) >= MAX_EVENTS:
            raise RemoteProtocolError(f"the target sent {MAX_EVENTS} messages at once that nobody asked for")
        self._events.append(event)

    @property
    def has_events(self) -> bool:
        return bool(self._events)

    def take_events(self) -> list[Event]:
        events, self._events = self._events, []
        return events

    def accept_stat_sn(self, stat_sn: int) -> None:
        """A numbered response came (RFC 7143 §4.2.2.2)."""
        expected = self.exp_stat_sn
        if stat_sn == expected:
            self.exp_stat_sn = (expected + 1) & 0xFFFFFFFF
            return
        distance = serial.diff(stat_sn, expected)
        if not -MAX_STAT_SN_GAP <= distance <= MAX_STAT_SN_GAP:
            raise RemoteProtocolError(
                f"the target numbered a response {stat_sn} where {expected} was next: responses are lost"
            )
        self.note(StatSnGap(expected, stat_sn))
        if distance > 0:
            self.exp_stat_sn = (stat_sn + 1) & 0xFFFFFFFF

    def damaged(self, what: str) -> RemoteProtocolError:
        """A data digest was wrong where level 0 knows no repair but a new session (RFC 7143 §7.8)."""
        self.digest_errors += 1
        return RemoteProtocolError(f"the data digest of a {what} is wrong: it was damaged on its way")
