"""SCSI commands of an initiator: command window, data in both directions, status (RFC 7143 §11.3-11.8).

Nothing that the target says is believed before it is checked against what was asked for.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Container

from san_console.iscsi import opcodes
from san_console.iscsi.errors import RemoteProtocolError
from san_console.iscsi.framing import Frame
from san_console.iscsi.initiator_link import InitiatorLink, SessionParameters
from san_console.iscsi.initiator_tasks import ABORTED, COMPLETED, LOST, TARGET_FAILURE, ScsiTask
from san_console.iscsi.opcodes import FINAL, OVERFLOW, RESERVED_TAG, UNDERFLOW
from san_console.iscsi.pdu import ReadyToTransfer, ScsiCommand, ScsiDataIn, ScsiDataOut, ScsiResponse

#: RFC 7143 §4.2.2.1 allows windows up to 2**31 - 1; nobody executes that many commands at once, and the
#: number of tasks is what bounds our memory.
MAX_COMMANDS = 4096

_SENSE_LENGTH = struct.Struct(">H")
_DATA_IN = ScsiDataIn.FORMAT
_RESPONSE = ScsiResponse.FORMAT
_R2T = ReadyToTransfer.FORMAT
_COMMAND = ScsiCommand.FORMAT
_DATA_OUT = ScsiDataOut.FORMAT


def sense_of(data: memoryview) -> bytes:
    """The sense data of a response or an Asynchronous Message (RFC 7143 §11.4.7), as far as it is there."""
    if len(data) < _SENSE_LENGTH.size:
        return b""
    return bytes(data[2 : 2 + _SENSE_LENGTH.unpack_from(data)[0]])


class CommandExchange:
    """The SCSI tasks of one connection, by task tag."""

    __slots__ = (
        "_immediate",
        "_link",
        "_max_burst",
        "_place",
        "_unsolicited",
        "_waiting",
        "completed",
        "other_tags",
        "tasks",
    )

    def __init__(self, link: InitiatorLink, parameters: SessionParameters) -> None:
        self._link = link
        self._max_burst = parameters.max_burst_bytes
        self._immediate = (
            min(parameters.first_burst_bytes, link.max_segment_bytes) if parameters.immediate_data else 0
        )
        # RFC 7143 §13.14: immediate and unsolicited data together stay within FirstBurstLength.
        self._unsolicited = self._immediate if parameters.initial_r2t else parameters.first_burst_bytes
        self.tasks: dict[int, ScsiTask] = {}
        #: Tags that other requests of the connection use.
        self.other_tags: Container[int] = ()
        self.completed: list[ScsiTask] = []
        self._waiting: deque[ScsiTask] = deque()
        self._place: memoryview | None = None

    @property
    def waiting(self) -> int:
        """Commands that the window holds back."""
        return len(self._waiting)

    def submit(self, task: ScsiTask) -> None:
        """Send `task` now, or as soon as the command window (RFC 7143 §4.2.2.1) lets it go."""
        link = self._link
        if (
            self._waiting
            or len(self.tasks) >= MAX_COMMANDS
            or ((link.max_cmd_sn - link.cmd_sn) & 0xFFFFFFFF) >= 0x80000000
        ):
            self._waiting.append(task)
        else:
            self._start(task)

    def withdraw(self, task: ScsiTask) -> bool:
        """End a task as ABORTED that was not sent yet; False when it was."""
        if task not in self._waiting:
            return False
        self._waiting.remove(task)
        self.finish(task, ABORTED)
        return True

    def overdue(self, started_before: float) -> list[ScsiTask]:
        """Tasks that were submitted before that time, oldest first; held back ones among them."""
        overdue: list[ScsiTask] = []
        for task in (*self.tasks.values(), *self._waiting):
            if task.started_at >= started_before:
                break
            overdue.append(task)
        return overdue

    def lose_all(self) -> None:
        """Every task ends as LOST, in the order in which they were submitted."""
        for task in (*self.tasks.values(), *self._waiting):
            task.outcome = LOST
            self.completed.append(task)
        self.tasks.clear()
        self._waiting.clear()

    def update_window(self, exp_cmd_sn: int, max_cmd_sn: int) -> None:
        """RFC 7143 §4.2.2.1: values that make no window are ignored, the others only move forward."""
        link = self._link
        # Serial arithmetic (RFC 1982) written out, as this runs for each answer: below 2**31 is "not less".
        if (max_cmd_sn - exp_cmd_sn + 1) & 0xFFFFFFFF >= 0x80000000:
            return
        if (exp_cmd_sn - link.exp_cmd_sn) & 0xFFFFFFFF < 0x80000000:
            link.exp_cmd_sn = exp_cmd_sn
        if (max_cmd_sn - link.max_cmd_sn) & 0xFFFFFFFF < 0x80000000:
            link.max_cmd_sn = max_cmd_sn
        waiting = self._waiting
        while (
            waiting
            and len(self.tasks) < MAX_COMMANDS
            and ((link.max_cmd_sn - link.cmd_sn) & 0xFFFFFFFF) < 0x80000000
        ):
            self._start(waiting.popleft())

    def _start(self, task: ScsiTask) -> None:
        link = self._link
        task.itt = itt = link.new_itt(self.tasks, self.other_tags)
        task.cmd_sn = cmd_sn = link.cmd_sn
        link.cmd_sn = (cmd_sn + 1) & 0xFFFFFFFF
        self.tasks[itt] = task
        data = task.write_data
        if data is None:
            link.emit(
                _COMMAND.pack(
                    0x01,
                    task.flags | FINAL,
                    0,
                    0,
                    task.lun,
                    itt,
                    task.length,
                    cmd_sn,
                    link.exp_stat_sn,
                    task.cdb,
                )
            )
            return
        length = task.length
        immediate = min(length, self._immediate)
        unsolicited = min(length, self._unsolicited)
        view = memoryview(data)
        task.write_data = view
        # §11.3.1: F is clear when unsolicited Data-Out PDUs follow.
        flags = task.flags if unsolicited > immediate else task.flags | FINAL
        bhs = _COMMAND.pack(
            0x01, flags, 0, immediate, task.lun, itt, length, cmd_sn, link.exp_stat_sn, task.cdb
        )
        link.emit(bhs, view[:immediate])
        task.sent_bytes = immediate
        if unsolicited > immediate:
            self._send_data(task, immediate, unsolicited, RESERVED_TAG, task.lun)

    def _send_data(self, task: ScsiTask, start: int, end: int, ttt: int, lun: int) -> None:
        """One Data-Out sequence (RFC 7143 §11.7), its PDUs as large as the target takes them."""
        view = task.write_data
        assert isinstance(view, memoryview)
        data_sn = 0
        step = self._link.max_segment_bytes
        while start < end:
            stop = min(start + step, end)
            bhs = _DATA_OUT.pack(
                0x05,
                FINAL if stop == end else 0,
                stop - start,
                lun,
                task.itt,
                ttt,
                self._link.exp_stat_sn,
                data_sn,
                start,
            )
            self._link.emit(bhs, view[start:stop])
            data_sn += 1
            start = stop
        task.sent_bytes = max(task.sent_bytes, end)

    def finish(self, task: ScsiTask, outcome: int) -> None:
        """End `task` for another reason than its SCSI status."""
        task.outcome = outcome
        self.tasks.pop(task.itt, None)
        self.completed.append(task)

    def place_of(self, bhs: memoryview) -> memoryview | None:
        """Where the data of a Data-In belongs (see `Framer.place_of`); None for whatever is not in order.

        That comes to `data_in`, which says what is wrong with it.
        """
        if bhs[0] != opcodes.SCSI_DATA_IN:
            return None
        _, _, _, lengths, _, itt, _, _, _, _, data_sn, offset, _ = _DATA_IN.unpack(bhs)
        task = self.tasks.get(itt)
        end = offset + (lengths & 0xFFFFFF)
        if (
            task is None
            or task.read_buffer is None
            or data_sn != task.data_sn
            or offset != task.received_bytes
            or end > task.length
        ):
            return None
        self._place = task.read_buffer[offset:end]
        return self._place

    def data_in(self, frame: Frame) -> None:
        _, flags, status, _, _, itt, _, stat_sn, exp_cmd_sn, max_cmd_sn, data_sn, offset, residual = (
            _DATA_IN.unpack(frame.bhs)
        )
        task = self.tasks.get(itt)
        if task is None:
            raise self._unknown(itt, "SCSI Data-In")
        data = frame.data
        end = offset + len(data)
        buffer = task.read_buffer
        # In order and without gaps: DataPDUInOrder and DataSequenceInOrder are Yes unless both say No.
        if data_sn != task.data_sn or offset != task.received_bytes or end > task.length or buffer is None:
            raise self._bad_data_in(task, data_sn, offset, end)
        if not frame.data_digest_ok:
            raise self._link.damaged("SCSI Data-In")
        task.data_sn = data_sn + 1
        if data:
            if data is self._place:
                self._place = None  # a view that is kept would forbid the owner to resize its buffer
            else:
                buffer[offset:end] = data
            task.received_bytes = end
        link = self._link
        if flags & 0x01:
            if not flags & FINAL:
                raise RemoteProtocolError("the target sent a status in a Data-In that is not the final one")
            if stat_sn == link.exp_stat_sn:
                link.exp_stat_sn = (stat_sn + 1) & 0xFFFFFFFF
            else:
                link.accept_stat_sn(stat_sn)
            task.status = status
            if flags & 0x06 or end != task.length:
                self._residual(task, flags, residual, status)
            del self.tasks[itt]
            task.outcome = COMPLETED
            self.completed.append(task)
        if max_cmd_sn != link.max_cmd_sn:
            self.update_window(exp_cmd_sn, max_cmd_sn)

    @staticmethod
    def _bad_data_in(task: ScsiTask, data_sn: int, offset: int, end: int) -> RemoteProtocolError:
        if task.read_buffer is None:
            why = "for a command that reads nothing"
        elif end > task.length:
            why = f"up to byte {end}, where the command asked for {task.length}"
        elif data_sn != task.data_sn:
            why = f"with number {data_sn}, where {task.data_sn} was next"
        else:
            why = f"for byte {offset}, where byte {task.received_bytes} was next"
        return RemoteProtocolError(f"the target sent data {why}")

    @staticmethod
    def _residual(task: ScsiTask, flags: int, residual: int, status: int) -> None:
        """RFC 7143 §11.4.5. A good read must have brought exactly what its residual leaves."""
        if flags & OVERFLOW and flags & UNDERFLOW:
            raise RemoteProtocolError("the target reported overflow and underflow of one transfer")
        if flags & OVERFLOW:
            task.residual_bytes, task.overflow = residual, True
            return
        if flags & UNDERFLOW:
            if residual > task.length:
                raise RemoteProtocolError(
                    f"the target reported {residual} bytes too few of a transfer of {task.length}"
                )
            task.residual_bytes = residual
        if task.read_buffer is None:
            if status == 0:
                # What the target never asked for cannot be written, whatever it says.
                task.residual_bytes = max(task.residual_bytes, task.length - task.sent_bytes)
            return
        missing = task.length - task.received_bytes
        if status == 0 and flags & UNDERFLOW and missing != residual:
            raise RemoteProtocolError(
                f"the target sent {task.received_bytes} of {task.length} bytes and calls {residual} missing"
            )
        task.residual_bytes = missing

    def scsi_response(self, frame: Frame) -> None:
        (
            _,
            flags,
            response,
            status,
            _,
            _,
            itt,
            _,
            stat_sn,
            exp_cmd_sn,
            max_cmd_sn,
            exp_data_sn,
            _,
            residual,
        ) = _RESPONSE.unpack(frame.bhs)
        task = self.tasks.get(itt)
        if task is None:
            raise self._unknown(itt, "SCSI Response")
        if not frame.data_digest_ok:
            raise self._link.damaged("SCSI Response")
        self._link.accept_stat_sn(stat_sn)
        if response != opcodes.RESPONSE_COMPLETED:
            # §11.4.3: status and flags are undefined then.
            task.response = response
            self.finish(task, TARGET_FAILURE)
        else:
            # §11.4.8; targets that leave it zero are caught by the count of bytes instead.
            if exp_data_sn and task.read_buffer is not None and exp_data_sn != task.data_sn:
                raise RemoteProtocolError(
                    f"the target says that it sent {exp_data_sn} Data-In PDUs, {task.data_sn} arrived"
                )
            task.status = status
            self._residual(task, flags, residual, status)
            task.sense = sense_of(frame.data)
            self.finish(task, COMPLETED)
        self.update_window(exp_cmd_sn, max_cmd_sn)

    def ready_to_transfer(self, frame: Frame) -> None:
        _, _, _, lun, itt, ttt, _, exp_cmd_sn, max_cmd_sn, r2t_sn, offset, length = _R2T.unpack(frame.bhs)
        self.update_window(exp_cmd_sn, max_cmd_sn)
        task = self.tasks.get(itt)
        if task is None:
            raise self._unknown(itt, "Ready To Transfer")
        end = offset + length
        if task.write_data is None:
            why = "for a command that writes nothing"
        elif ttt == RESERVED_TAG:
            why = "without a transfer tag"
        elif r2t_sn != task.r2t_sn:
            why = f"with number {r2t_sn}, where {task.r2t_sn} was next"
        elif not 0 < length <= self._max_burst:
            why = f"of {length} bytes, where 1 to {self._max_burst} are allowed"
        elif end > task.length:
            why = f"up to byte {end}, where the command has {task.length}"
        elif offset != task.sent_bytes:
            # DataSequenceInOrder=Yes and no recovery R2T at level 0: each byte is asked for once, in order.
            why = f"for byte {offset}, where byte {task.sent_bytes} was next"
        else:
            task.r2t_sn = r2t_sn + 1
            if not task.stopped:
                self._send_data(task, offset, end, ttt, lun)
            return
        raise RemoteProtocolError(f"the target asked for data {why}")

    @staticmethod
    def _unknown(itt: int, what: str) -> RemoteProtocolError:
        return RemoteProtocolError(f"the target sent a {what} for task 0x{itt:x}, which does not exist")
