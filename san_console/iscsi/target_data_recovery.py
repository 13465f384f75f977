"""Data-Out that may come in any order, or be lost and asked for again (RFC 7143 §7.8, §7.9, §11.8, §13.18).

Used where DataPDUInOrder is No or ErrorRecoveryLevel is above 0. Each byte that has come is known. When a
sequence has ended, by its F bit or because nothing came for too long, and PDUs of it were lost or damaged,
recovery R2Ts ask for the missing bytes; at level 0 the command fails instead. A sequence that is whole by its
DataSNs and still lacks bytes was sent wrong, which no retransmission mends.

A recovery R2T waits for the end of its sequence: before that the first R2T counts as outstanding (§13.17).
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from san_console.iscsi import target_sense
from san_console.iscsi.data_sequence import AHEAD, DUPLICATE, LATE, ByteRanges, NumberGaps, TooScattered
from san_console.iscsi.framing import Frame
from san_console.iscsi.opcodes import REJECT_INVALID_PDU_FIELD, RESERVED_TAG
from san_console.iscsi.pdu import ScsiDataOut
from san_console.iscsi.target_task import ABORTED, TRANSFERRING, Solicited, TargetTask

if TYPE_CHECKING:
    from san_console.iscsi.target_connection import TargetConnection
    from san_console.iscsi.target_data_out import WriteTransfers

SEQUENCE_TIMEOUT_S = 5.0
"""A sequence of which nothing came for so long has lost its end (§7.1.4.1 b). Longer than any burst takes on
a link that still works; with all repetitions shorter than the usual SCSI timeout of 60 s."""
MAX_CLOSED = 256
"""R2Ts of one command that are remembered after their end. Data that is repeated belongs to one of the last
few; an initiator that leaves holes everywhere could make as many as the command has bytes.
"""
MAX_RECOVERIES = 8  # in a row, with no whole sequence between them: a link that damages so much is given up


class Sequence(Solicited):
    """One R2T's data, or the unsolicited data, any part of which may be missing."""

    __slots__ = ("damaged", "expected_offset", "given_up", "numbers", "r2t_sn", "ttt")

    def __init__(self, offset: int, length: int, ttt: int = RESERVED_TAG, r2t_sn: int = 0) -> None:
        super().__init__(offset, length)
        self.ttt = ttt
        self.r2t_sn = r2t_sn
        self.numbers = NumberGaps()
        self.damaged = False
        self.given_up = False
        self.expected_offset = offset

    def continues(self, arrival: int, start: int, end: int) -> bool:
        """True when `start` to `end` is where increasing offsets lead (§13.18); a hole needs a lost PDU."""
        expected = self.expected_offset
        if arrival == LATE:
            return True
        self.expected_offset = end
        return start == expected or (start > expected and (arrival == AHEAD or self.damaged))

    @property
    def lossy(self) -> bool:
        """PDUs of it were lost or damaged."""
        return self.damaged or not self.numbers.complete


class TrackedTransfer:
    """What is known about the data of one command."""

    __slots__ = ("closed", "gaps", "heard_at", "received", "recoveries", "unanswered", "unsolicited")

    def __init__(self, immediate_bytes: int, first_burst_bytes: int, now: float) -> None:
        self.received = ByteRanges()
        self.received.add(0, immediate_bytes)
        self.unsolicited = Sequence(immediate_bytes, max(0, first_burst_bytes - immediate_bytes))
        self.gaps: deque[tuple[int, int]] = deque()
        """Offset and length of what is to be asked for again."""
        self.recoveries = 0
        self.closed: dict[int, None] = {}
        """The last TTTs that take no more data: what still comes for them is a duplicate, or was given up."""
        self.unanswered: dict[int, Sequence] = {}
        """By R2TSN: R2Ts whose data has not all come. An R2T SNACK may ask for them."""
        self.heard_at = now

    def solicit(self, ttt: int, r2t_sn: int, offset: int, length: int, now: float) -> Sequence:
        """An R2T for these bytes is sent."""
        sequence = Sequence(offset, length, ttt, r2t_sn)
        self.unanswered[r2t_sn] = sequence
        oldest = next(iter(self.unanswered))
        if len(self.unanswered) > MAX_CLOSED and self.unanswered[oldest].given_up:
            del self.unanswered[oldest]  # its bytes have been asked for anew
        self.heard_at = max(self.heard_at, now)  # the initiator could not send before
        return sequence

    def close(self, ttt: int) -> None:
        """This tag takes no more data."""
        self.closed[ttt] = None
        if len(self.closed) > MAX_CLOSED:
            del self.closed[next(iter(self.closed))]

    def unfulfilled(self) -> dict[int, Sequence]:
        """R2Ts that may be asked for again: open ones, and ones given up whose bytes have not come since."""
        return {
            r2t_sn: one
            for r2t_sn, one in self.unanswered.items()
            if not one.given_up or self.received.missing(one.offset, one.offset + one.length)
        }


class DataRecovery:
    """Takes the Data-Out PDUs of one connection, in place of the strict way of `WriteTransfers`."""

    def __init__(self, connection: TargetConnection, transfers: WriteTransfers) -> None:
        parameters = connection.session.parameters
        self._connection = connection
        self._session = connection.session
        self._transfers = transfers
        self._in_order = parameters.data_pdu_in_order
        self._recovers = parameters.error_recovery_level > 0
        self._max_burst_bytes = parameters.max_burst_bytes

    def begin(self, task: TargetTask, immediate_bytes: int) -> None:
        """The command PDU has come."""
        first_burst_bytes = min(self._transfers.first_burst_bytes, task.edtl)
        task.tracked = TrackedTransfer(immediate_bytes, first_burst_bytes, self._session.now)

    def receive(self, task: TargetTask, pdu: ScsiDataOut, frame: Frame) -> None:
        """A Data-Out of `task`. When its data digest was wrong, the Reject has been sent."""
        tracked = task.tracked
        if tracked is None or task.state not in (TRANSFERRING, ABORTED):
            return  # stray data of a command that has all it needs
        tracked.heard_at = self._session.now
        sequence = self._sequence_of(task, tracked, pdu, frame)
        if sequence is None:
            return
        try:
            arrival = sequence.numbers.add(pdu.data_sn)
            if arrival == DUPLICATE and self._recovers:
                return  # §7.9
            self._take(task, tracked, sequence, arrival, pdu.buffer_offset, frame)
        except TooScattered:
            self._transfers.fail(task, target_sense.INCORRECT_AMOUNT_OF_DATA)
        if pdu.final:
            self._close(task, tracked, sequence)

    def _sequence_of(
        self, task: TargetTask, tracked: TrackedTransfer, pdu: ScsiDataOut, frame: Frame
    ) -> Sequence | None:
        if pdu.ttt == RESERVED_TAG:
            if task.unsolicited_open:
                return tracked.unsolicited
            known = self._recovers and pdu.data_sn < tracked.unsolicited.numbers.next
            if not known and not tracked.unsolicited.given_up:
                self._transfers.fail(task, target_sense.UNEXPECTED_UNSOLICITED_DATA)
            return None
        sequence = task.solicited.get(pdu.ttt)
        # The LUN qualifies the TTT (§11.7.4), but several initiators leave it zero.
        if isinstance(sequence, Sequence) and pdu.lun in (0, task.lun):
            return sequence
        if pdu.ttt not in tracked.closed and frame.data_digest_ok:
            self._connection.reject(REJECT_INVALID_PDU_FIELD, frame.bhs)
        return None

    def _take(
        self,
        task: TargetTask,
        tracked: TrackedTransfer,
        sequence: Sequence,
        arrival: int,
        start: int,
        frame: Frame,
    ) -> None:
        if arrival in (AHEAD, DUPLICATE) and not self._recovers:
            self._transfers.fail(task, target_sense.PROTOCOL_SERVICE_CRC_ERROR)
        if not frame.data_digest_ok:
            # §7.3: its number counts as come, so that what follows it is in sequence.
            sequence.damaged = True
            if not self._recovers:
                self._transfers.fail(task, target_sense.PROTOCOL_SERVICE_CRC_ERROR)
            return
        end = start + len(frame.data)
        if start < sequence.offset or end > sequence.offset + sequence.length:
            self._transfers.fail(task, target_sense.INCORRECT_AMOUNT_OF_DATA)
            return
        overlaid = tracked.received.add(start, end) < end - start
        if self._in_order and (overlaid or not sequence.continues(arrival, start, end)):
            self._transfers.fail(task, target_sense.INCORRECT_AMOUNT_OF_DATA)
            return
        if not task.failure and task.state != ABORTED:
            self._transfers.store(task, start, frame.data)

    def _close(self, task: TargetTask, tracked: TrackedTransfer, sequence: Sequence) -> None:
        """The F bit has come: what is missing of the sequence will not come by itself."""
        if sequence.ttt == RESERVED_TAG:
            missing = self._close_unsolicited(task, tracked)
        else:
            del task.solicited[sequence.ttt]
            if self._recovers:
                tracked.close(sequence.ttt)
            missing = tracked.received.missing(
                sequence.offset, min(sequence.offset + sequence.length, task.transfer_bytes)
            )
            tracked.unanswered.pop(sequence.r2t_sn, None)
        if not missing:
            tracked.recoveries = 0
            return
        if task.failure or task.state == ABORTED:
            return
        if not sequence.lossy:
            self._transfers.fail(task, target_sense.INCORRECT_AMOUNT_OF_DATA)
        else:
            self._ask_again(task, tracked, missing)

    @staticmethod
    def _close_unsolicited(task: TargetTask, tracked: TrackedTransfer) -> list[tuple[int, int]]:
        """What follows the last byte that came is asked for by the next R2Ts in any case."""
        task.unsolicited_open = False
        end = min(tracked.received.end, task.transfer_bytes)
        task.unsolicited_bytes = max(task.unsolicited_bytes, end)
        return tracked.received.missing(0, end)

    def _ask_again(self, task: TargetTask, tracked: TrackedTransfer, missing: list[tuple[int, int]]) -> None:
        tracked.recoveries += 1
        if tracked.recoveries > MAX_RECOVERIES:
            self._transfers.fail(task, target_sense.PROTOCOL_SERVICE_CRC_ERROR)
            return
        self._add_gaps(tracked, missing)

    def _add_gaps(self, tracked: TrackedTransfer, missing: list[tuple[int, int]]) -> None:
        for offset, length in missing:
            end = offset + length
            while offset < end:  # §11.8.4: an R2T is for MaxBurstLength at most
                piece = min(end - offset, self._max_burst_bytes)
                tracked.gaps.append((offset, piece))
                offset += piece

    def _give_up_open(self, task: TargetTask, tracked: TrackedTransfer) -> list[tuple[int, int]]:
        """Expect nothing more of the sequences that are open; returns the bytes that they still lack."""
        missing: list[tuple[int, int]] = []
        if task.unsolicited_open:
            tracked.unsolicited.given_up = True
            missing += self._close_unsolicited(task, tracked)
        for ttt, sequence in task.solicited.items():
            tracked.close(ttt)
            end = min(sequence.offset + sequence.length, task.transfer_bytes)
            missing += tracked.received.missing(sequence.offset, end)
        for given_up in tracked.unanswered.values():
            given_up.given_up = True
        task.solicited.clear()
        return missing

    # Time

    def tick(self, now: float) -> None:
        """Recovery R2Ts for sequences that have stopped coming (§7.1.4.1 b, §7.9)."""
        if not self._recovers:
            return
        for task in list(self._session.tasks.values()):
            tracked = self._waiting(task)
            if tracked is None or now - tracked.heard_at < SEQUENCE_TIMEOUT_S:
                continue
            tracked.heard_at = now
            missing = self._give_up_open(task, tracked)
            if not task.failure and task.result is None:
                self._ask_again(task, tracked, missing)
            self._transfers.go_on(task)

    def next_deadline(self) -> float | None:
        """When `tick` has something to do next."""
        if not self._recovers:
            return None
        waiting = (self._waiting(task) for task in self._session.tasks.values())
        return min((one.heard_at + SEQUENCE_TIMEOUT_S for one in waiting if one is not None), default=None)

    def _waiting(self, task: TargetTask) -> TrackedTransfer | None:
        here = task.connection is self._connection and task.state == TRANSFERRING and task.transfer_open
        return task.tracked if here else None

    def resume(self, task: TargetTask, exp_data_sn: int) -> None:
        """The task came over from another connection (§7.2.2): what has not come of its data is asked for
        anew, by R2Ts from R2TSN `exp_data_sn` on. What was on its way is lost with its connection.
        """
        tracked = task.tracked
        if tracked is None or task.state != TRANSFERRING:
            return
        tracked.heard_at = self._session.now
        self._add_gaps(tracked, self._give_up_open(task, tracked))
        tracked.unanswered.clear()
        # Fewer than were sent were received; more cannot be.
        task.r2t_sn = min(task.r2t_sn, exp_data_sn)
        self._transfers.go_on(task)
