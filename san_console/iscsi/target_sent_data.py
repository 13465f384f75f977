"""The Data-In PDUs of one command as they were sent, so that any of them can be sent again (RFC 7143 §11.16).

Kept at error recovery level 1 and above only, until the initiator has acknowledged them: by the status that
follows, or by a DataACK. What was sent from memory that will be used again is copied, sequence by sequence.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from san_console.iscsi.opcodes import ACKNOWLEDGE, FINAL, STATUS
from san_console.iscsi.pdu import ScsiDataIn, ScsiResponse
from san_console.iscsi.target_device import Buffer


class Cut(NamedTuple):
    """One Data-In PDU: bytes `start` to `end`; `flags` are F and A."""

    start: int
    end: int
    flags: int


def cut(start: int, end: int, max_segment_bytes: int, max_burst_bytes: int) -> list[Cut]:
    """The PDUs for bytes `start` to `end`. Sequences begin at the multiples of MaxBurstLength.

    The A bit stands at the end of each whole sequence but the last, which the status acknowledges: that is
    once every MaxBurstLength bytes, as often as §11.7.2 allows.
    """
    cuts: list[Cut] = []
    while start < end:
        burst_end = start - start % max_burst_bytes + max_burst_bytes
        stop = min(start + max_segment_bytes, burst_end, end)
        flags = FINAL if stop == end else FINAL | ACKNOWLEDGE if stop == burst_end else 0
        cuts.append(Cut(start, stop, flags))
        start = stop
    return cuts


def keep_sequences(data: Buffer, length: int, start: int, max_burst_bytes: int) -> list[memoryview | None]:
    """The sequences of `data` that hold bytes from `start` on. Bytes that cannot change are not copied."""
    view = memoryview(data)[:length]
    fixed = isinstance(data, bytes)
    sequences: list[memoryview | None] = []
    for offset in range(0, length, max_burst_bytes):
        end = min(offset + max_burst_bytes, length)
        if end <= start:
            sequences.append(None)
        else:
            sequences.append(view[offset:end] if fixed else memoryview(bytes(view[offset:end])))
    return sequences


@dataclass(slots=True)
class SentData:
    """The answer to one read command: its Data-In PDUs from byte `start` on, and its status.

    `cuts[0]` has the DataSN `first_data_sn`; everything below `acknowledged` has arrived. `sequences` are the
    bytes, MaxBurstLength each, None where they are not kept any more. `collapsed`: the last PDU carries
    `stat_sn` and the GOOD status.
    """

    itt: int
    lun: int
    ttt: int
    start: int
    max_burst_bytes: int
    cuts: list[Cut]
    sequences: list[memoryview | None]
    status: int = 0
    residual_flag: int = 0
    residual: int = 0
    segment: bytes = b""
    stat_sn: int = 0
    collapsed: bool = False
    first_data_sn: int = 0
    acknowledged: int = 0
    snack_tag: int = 0

    @property
    def next_data_sn(self) -> int:
        """One more than the last DataSN."""
        return self.first_data_sn + len(self.cuts)

    @property
    def kept_bytes(self) -> int:
        """Memory that this holds."""
        return sum(len(sequence) for sequence in self.sequences if sequence is not None)

    def offset_of(self, data_sn: int) -> int:
        """Where the PDU with that number begins, or would begin."""
        index = data_sn - self.first_data_sn
        if index < len(self.cuts):
            return self.cuts[max(index, 0)].start
        return self.cuts[-1].end if self.cuts else self.start

    def acknowledge(self, data_sn: int) -> None:
        """The PDUs before `data_sn` have arrived: sequences that are whole are not needed any more."""
        self.acknowledged = data_sn
        whole = self.offset_of(data_sn) // self.max_burst_bytes
        if data_sn == self.next_data_sn:
            whole = len(self.sequences)
        self.sequences[:whole] = [None] * whole

    def release(self) -> None:
        """Nothing of it can be sent again from now on."""
        self.sequences = [None] * len(self.sequences)

    def holds(self, first: int, end: int) -> bool:
        """True when the PDUs `first` to `end` can be sent again."""
        cuts = self.cuts[first - self.first_data_sn : end - self.first_data_sn]
        return all(self.sequences[one.start // self.max_burst_bytes] is not None for one in cuts)

    def longest(self, first: int, end: int) -> int:
        """The bytes of the longest of the PDUs `first` to `end`."""
        cuts = self.cuts[first - self.first_data_sn : end - self.first_data_sn]
        return max((one.end - one.start for one in cuts), default=0)

    def resegment(self, max_segment_bytes: int) -> None:
        """Cut what is not acknowledged anew (§11.16.3); DataSN goes on from the last DataACK."""
        if self.cuts:
            start, end = self.offset_of(self.acknowledged), self.cuts[-1].end
            self.cuts = cut(start, end, max_segment_bytes, self.max_burst_bytes)
            self.first_data_sn = self.acknowledged
        self.collapsed = False

    def data_in(self, data_sn: int) -> tuple[ScsiDataIn, memoryview]:
        """The PDU with that number, which `holds`, and its data; without the command window."""
        index = data_sn - self.first_data_sn
        one = self.cuts[index]
        sequence = self.sequences[one.start // self.max_burst_bytes]
        assert sequence is not None
        base = one.start - one.start % self.max_burst_bytes
        pdu = ScsiDataIn(flags=one.flags, itt=self.itt, data_sn=data_sn, buffer_offset=one.start)
        if one.flags & ACKNOWLEDGE:
            pdu.lun, pdu.ttt = self.lun, self.ttt
        if self.collapsed and index == len(self.cuts) - 1:
            pdu.flags |= STATUS | self.residual_flag
            pdu.stat_sn, pdu.residual_count = self.stat_sn, self.residual
        return pdu, sequence[one.start - base : one.end - base]

    def response(self) -> ScsiResponse:
        """The status in a PDU of its own; without the command window."""
        return ScsiResponse(
            flags=FINAL | self.residual_flag,
            status=self.status,
            itt=self.itt,
            snack_tag=self.snack_tag,
            stat_sn=self.stat_sn,
            exp_data_sn=self.next_data_sn,
            residual_count=self.residual,
        )
