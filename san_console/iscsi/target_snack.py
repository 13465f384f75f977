"""What a target keeps to send again, and the SNACK requests that ask for it (RFC 7143 §11.16).

Exists at error recovery level 1 and above. Kept are the numbered PDUs of one connection until ExpStatSN
acknowledges them, the Data-In PDUs of each command until its status is acknowledged or a DataACK comes, and
(with the transfer itself) R2Ts until their data has come. What was acknowledged or never sent is refused as a
protocol error; what had to be dropped for want of memory, as a SNACK reject.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from san_console.iscsi.framing import Frame
from san_console.iscsi.opcodes import (
    REJECT_INVALID_DATA_ACK,
    REJECT_INVALID_PDU_FIELD,
    REJECT_PROTOCOL_ERROR,
    REJECT_SNACK,
    RESERVED_TAG,
    SNACK_DATA_ACK,
    SNACK_DATA_R2T,
    SNACK_R_DATA,
    SNACK_STATUS,
)
from san_console.iscsi.pdu import SnackRequest
from san_console.iscsi.target_device import Buffer
from san_console.iscsi.target_sent_data import SentData
from san_console.iscsi.target_task import ABORTED, TargetTask
from san_console.wire import serial

if TYPE_CHECKING:
    from san_console.iscsi.target_connection import TargetConnection

MAX_KEPT_BYTES = 32 << 20
"""Data of one connection that can be sent again, as much as reads of one session may hold before they are
sent. An initiator acknowledges with each PDU that it sends; of one that does not, the oldest is dropped."""
MAX_KEPT_PDUS = 4096  # numbered PDUs without acknowledgement: thirty times the usual command window

_WINDOW = struct.Struct(">II")
_WINDOW_OFFSET = 28  # ExpCmdSN and MaxCmdSN, in each PDU that a target sends
assert _WINDOW.size == 8


@dataclass(slots=True)
class NumberedPdu:
    """A PDU that consumed a StatSN. `bhs` is empty when `sent` has it as the last of its Data-In PDUs."""

    bhs: bytes
    data: bytes
    sent: SentData | None = None


class SnackKeeper:
    """What one connection has sent and its initiator has not acknowledged."""

    def __init__(self, connection: TargetConnection) -> None:
        self._connection = connection
        self._session = connection.session
        self._numbered: dict[int, NumberedPdu] = {}
        self._by_itt: dict[int, SentData] = {}
        self._by_ttt: dict[int, SentData] = {}
        self._kept_bytes = 0
        self._exp_stat_sn = connection.stat_sn
        self._types: dict[int, Callable[[SnackRequest, Frame], None]] = {
            SNACK_DATA_R2T: self._data_or_r2t,
            SNACK_STATUS: self._status,
            SNACK_DATA_ACK: self._data_ack,
            SNACK_R_DATA: self._r_data,
        }

    @property
    def kept_bytes(self) -> int:
        """Memory that is held for repetitions."""
        return self._kept_bytes

    # What is sent

    def keep(self, stat_sn: int, bhs: bytes, data: Buffer = b"") -> None:
        """A PDU with this StatSN is sent."""
        self._number(stat_sn, NumberedPdu(bhs, bytes(data)))

    def send(self, sent: SentData) -> None:
        """Send the answer to a read command for the first time on this connection, and keep it."""
        self._by_itt[sent.itt] = sent
        self._by_ttt[sent.ttt] = sent
        self._kept_bytes += sent.kept_bytes
        sent.stat_sn = self._connection.take_stat_sn()
        self._send_data(sent, sent.first_data_sn, sent.next_data_sn)
        if sent.collapsed:
            self._number(sent.stat_sn, NumberedPdu(b"", b"", sent))
        else:
            self._send_response(sent)

    def _number(self, stat_sn: int, pdu: NumberedPdu) -> None:
        before = self._numbered.get(stat_sn)
        self._kept_bytes += len(pdu.data) - (len(before.data) if before is not None else 0)
        self._numbered[stat_sn] = pdu
        while len(self._numbered) > MAX_KEPT_PDUS:
            self._forget(next(iter(self._numbered)))
        if self._kept_bytes > MAX_KEPT_BYTES:
            self._release_oldest()

    def _release_oldest(self) -> None:
        for stat_sn, pdu in list(self._numbered.items()):
            if self._kept_bytes <= MAX_KEPT_BYTES:
                return
            if pdu.sent is not None:
                self._kept_bytes -= pdu.sent.kept_bytes
                pdu.sent.release()
            elif pdu.data:  # a ping that was sent back may be as long as a read
                self._forget(stat_sn)

    def _send_data(self, sent: SentData, first: int, end: int) -> None:
        session = self._session
        for data_sn in range(first, end):
            pdu, data = sent.data_in(data_sn)
            pdu.exp_cmd_sn, pdu.max_cmd_sn = session.exp_cmd_sn, session.max_cmd_sn
            self._connection.send(pdu.pack(len(data)), data)

    def _send_response(self, sent: SentData) -> None:
        pdu = sent.response()
        pdu.exp_cmd_sn, pdu.max_cmd_sn = self._session.exp_cmd_sn, self._session.max_cmd_sn
        bhs = pdu.pack(len(sent.segment))
        self._number(sent.stat_sn, NumberedPdu(bhs, sent.segment, sent))
        self._connection.send(bhs, sent.segment)

    # What the initiator has

    def acknowledge(self, exp_stat_sn: int) -> None:
        """The initiator has all numbered PDUs before `exp_stat_sn`, and the data of their commands
        (§11.7.2). A number that was not sent yet says nothing.
        """
        if not serial.gt(exp_stat_sn, self._exp_stat_sn) or serial.gt(exp_stat_sn, self._connection.stat_sn):
            return
        self._exp_stat_sn = exp_stat_sn
        numbered = self._numbered
        while numbered:
            oldest = next(iter(numbered))
            if not serial.lt(oldest, exp_stat_sn):
                break
            self._forget(oldest)

    def _forget(self, stat_sn: int) -> None:
        pdu = self._numbered.pop(stat_sn)
        self._kept_bytes -= len(pdu.data)
        sent = pdu.sent
        if sent is not None:
            self._kept_bytes -= sent.kept_bytes
            sent.release()
            del self._by_ttt[sent.ttt]
            if self._by_itt.get(sent.itt) is sent:  # else the tag is in use again
                del self._by_itt[sent.itt]

    # What it asks for

    def receive(self, frame: Frame) -> None:
        """A SNACK Request."""
        request = SnackRequest.parse(frame.bhs)
        handler = self._types.get(request.type)
        if handler is None:
            self._connection.reject(REJECT_INVALID_PDU_FIELD, frame.bhs)
        else:
            handler(request, frame)

    def _refuse(self, frame: Frame, next_sn: int) -> None:
        """Never sent, or acknowledged (§11.16); `next_sn` is what would be sent next (§11.17.2)."""
        self._connection.reject(REJECT_PROTOCOL_ERROR, frame.bhs, data_sn=next_sn)

    @staticmethod
    def _run(request: SnackRequest, acknowledged: int, following: int) -> range | None:
        """The numbers asked for; None when some of them cannot be."""
        if not request.beg_run and not request.run_length:
            return range(acknowledged, following)
        end = request.beg_run + request.run_length if request.run_length else following
        if acknowledged <= request.beg_run < end <= following:
            return range(request.beg_run, end)
        return None

    def _data_or_r2t(self, request: SnackRequest, frame: Frame) -> None:
        task = self._session.tasks.get(request.itt)
        if task is not None and task.connection is self._connection and task.state != ABORTED:
            self._r2t(task, request, frame)
            return
        sent = self._by_itt.get(request.itt)
        if sent is None:
            self._refuse(frame, 0)
            return
        run = self._run(request, sent.acknowledged, sent.next_data_sn)
        if run is None:
            self._refuse(frame, sent.next_data_sn)
        elif not self._can_send(sent, run.start, run.stop):
            # The status has been sent: nothing more is to be done (§7.8 a.2).
            self._connection.reject(REJECT_SNACK, frame.bhs)
        else:
            self._send_data(sent, run.start, run.stop)

    def _can_send(self, sent: SentData, first: int, end: int) -> bool:
        """They are kept, and not longer than the initiator takes by now: else it has to ask for other ones by
        an R-Data SNACK (§11.16.3).
        """
        return sent.holds(first, end) and sent.longest(first, end) <= self._connection.max_send_bytes

    def _r2t(self, task: TargetTask, request: SnackRequest, frame: Frame) -> None:
        waiting = task.tracked.unfulfilled() if task.tracked is not None else {}
        run = self._run(request, 0, task.r2t_sn)
        if run is None or (request.run_length and any(number not in waiting for number in run)):
            self._refuse(frame, task.r2t_sn)
            return
        for number, sequence in waiting.items():
            if number in run:
                self._connection.transfers.send_r2t(
                    task, sequence.ttt, number, sequence.offset, sequence.length
                )

    def _status(self, request: SnackRequest, frame: Frame) -> None:
        first, count = request.beg_run, request.run_length
        if not first and not count:
            first = self._exp_stat_sn
            count = serial.diff(self._connection.stat_sn, first)
        else:
            sent = serial.diff(self._connection.stat_sn, first)
            if sent <= 0 or count > sent or serial.lt(first, self._exp_stat_sn):
                self._refuse(frame, 0)
                return
            count = count or sent
        # What is there bounds the work, not what is asked for.
        numbers = [serial.add(first, ahead) for ahead in range(min(count, len(self._numbered) + 1))]
        if not all(number in self._numbered and self._whole(self._numbered[number]) for number in numbers):
            self._connection.reject(REJECT_SNACK, frame.bhs)
            return
        for number in numbers:
            self._send_again(self._numbered[number])

    def _whole(self, pdu: NumberedPdu) -> bool:
        sent = pdu.sent
        return sent is None or bool(pdu.bhs) or self._can_send(sent, sent.next_data_sn - 1, sent.next_data_sn)

    def _send_again(self, pdu: NumberedPdu) -> None:
        if not pdu.bhs:
            assert pdu.sent is not None
            self._send_data(pdu.sent, pdu.sent.next_data_sn - 1, pdu.sent.next_data_sn)
            return
        # §11.16: replicas but for the command window.
        window = _WINDOW.pack(self._session.exp_cmd_sn, self._session.max_cmd_sn)
        bhs = pdu.bhs[:_WINDOW_OFFSET] + window + pdu.bhs[_WINDOW_OFFSET + _WINDOW.size :]
        self._connection.send(bhs, pdu.data)

    def _data_ack(self, request: SnackRequest, frame: Frame) -> None:
        sent = self._by_ttt.get(request.ttt)
        if (
            sent is None
            or request.lun != sent.lun
            or request.run_length
            or not sent.acknowledged <= request.beg_run <= sent.next_data_sn
        ):
            self._connection.reject(REJECT_INVALID_DATA_ACK, frame.bhs)
            return
        self._kept_bytes -= sent.kept_bytes
        sent.acknowledge(request.beg_run)
        self._kept_bytes += sent.kept_bytes

    def _r_data(self, request: SnackRequest, frame: Frame) -> None:
        if request.beg_run or request.run_length or request.ttt in (0, RESERVED_TAG):
            self._connection.reject(REJECT_INVALID_PDU_FIELD, frame.bhs)  # §11.16.5, §11.16.6
            return
        sent = self._by_itt.get(request.itt)
        if sent is None or request.itt in self._session.tasks:
            self._refuse(frame, 0)
        elif not sent.holds(sent.acknowledged, sent.next_data_sn):
            self._connection.reject(REJECT_SNACK, frame.bhs)
        else:
            sent.snack_tag = request.ttt
            sent.resegment(self._connection.max_send_bytes)
            self._send_data(sent, sent.first_data_sn, sent.next_data_sn)
            # §11.16.3: the status comes in a response with the tag, and with the StatSN that it had.
            self._send_response(sent)
