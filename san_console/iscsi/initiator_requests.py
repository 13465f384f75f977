"""What an initiator asks besides SCSI commands, and what a target says on its own (RFC 7143 §11.5-11.19)."""

from __future__ import annotations

import struct
from collections.abc import Callable

from san_console.iscsi import opcodes
from san_console.iscsi.errors import LocalProtocolError, RemoteProtocolError
from san_console.iscsi.framing import Frame
from san_console.iscsi.initiator_commands import CommandExchange, sense_of
from san_console.iscsi.initiator_events import AsyncReceived, LogoutAnswered, RejectReceived
from san_console.iscsi.initiator_link import InitiatorLink
from san_console.iscsi.initiator_tasks import ABORTED, COMPLETED, LOST, REJECTED, Request, ScsiTask
from san_console.iscsi.opcodes import RESERVED_TAG
from san_console.iscsi.pdu import (
    AsyncMessage,
    LogoutRequest,
    LogoutResponse,
    NopIn,
    NopOut,
    Reject,
    TaskManagementRequest,
    TaskManagementResponse,
    TextRequest,
    TextResponse,
)

_ITT_AT = 16
_UINT32 = struct.Struct(">I")

#: What a target may say when it asked for a negotiation; every operational key fits many times.
_MAX_TEXT_BYTES = 8192
_MAX_TEXT_PARTS = 8

OnDone = Callable[[Request], None] | None


class RequestExchange:
    """Pings, task management, text, logout; Asynchronous Messages and Rejects."""

    __slots__ = ("_cid", "_commands", "_fast_abort", "_link", "_requests", "ended")

    def __init__(self, link: InitiatorLink, commands: CommandExchange, cid: int, fast_abort: bool) -> None:
        self._link = link
        self._commands = commands
        self._cid = cid
        self._fast_abort = fast_abort
        self._requests: dict[int, Request] = {}
        commands.other_tags = self._requests
        self.ended: list[Request] = []

    def _request(self, opcode: int, now: float, on_done: OnDone) -> Request:
        itt = self._link.new_itt(self._commands.tasks, self._requests)
        request = Request(opcode, itt, on_done, now)
        self._requests[itt] = request
        return request

    def ping(self, now: float, on_done: OnDone = None) -> Request:
        """A NOP-Out that the target must answer (RFC 7143 §11.18)."""
        request = self._request(opcodes.NOP_OUT, now, on_done)
        self._link.emit(
            NopOut(True, 0, request.itt, RESERVED_TAG, self._link.cmd_sn, self._link.exp_stat_sn).pack()
        )
        return request

    def task_management(
        self,
        function: int,
        lun: int,
        now: float,
        referenced: ScsiTask | None = None,
        on_done: OnDone = None,
    ) -> Request:
        """A task management function as immediate command; `lun` is the 64-bit field."""
        request = self._request(opcodes.TASK_MANAGEMENT_REQUEST, now, on_done)
        request.referenced = referenced
        pdu = TaskManagementRequest(
            immediate=True,
            function=function,
            lun=lun,
            itt=request.itt,
            referenced_task_tag=referenced.itt if referenced else RESERVED_TAG,
            cmd_sn=self._link.cmd_sn,
            exp_stat_sn=self._link.exp_stat_sn,
            ref_cmd_sn=referenced.cmd_sn if referenced else 0,
        )
        self._link.emit(pdu.pack())
        return request

    def text(
        self,
        data: bytes,
        now: float,
        *,
        max_bytes: int,
        max_parts: int,
        on_done: OnDone = None,
    ) -> Request:
        """A Text Request (RFC 7143 §11.10), immediate so that no window holds it back.

        The answer is collected over all its parts up to `max_bytes` and `max_parts`; beyond them the request
        ends with `text_truncated`.
        """
        if len(data) > self._link.max_segment_bytes:
            raise LocalProtocolError(f"a text request of {len(data)} bytes needs to be split")
        request = self._request(opcodes.TEXT_REQUEST, now, on_done)
        request.details = {"max_bytes": max_bytes, "max_parts": max_parts}
        self._emit_text(request, RESERVED_TAG, 0, data)
        return request

    def _emit_text(self, request: Request, ttt: int, lun: int, data: bytes = b"") -> None:
        pdu = TextRequest(True, True, False, lun, request.itt, ttt, self._link.cmd_sn, self._link.exp_stat_sn)
        self._link.emit(pdu.pack(len(data)), data)

    def logout(self, reason: int, now: float, on_done: OnDone = None) -> Request:
        """A Logout Request; no command may follow it (RFC 7143 §11.14)."""
        request = self._request(opcodes.LOGOUT_REQUEST, now, on_done)
        pdu = LogoutRequest(True, reason, request.itt, self._cid, self._link.cmd_sn, self._link.exp_stat_sn)
        self._link.emit(pdu.pack())
        return request

    def lose_all(self) -> None:
        """Every request ends as LOST."""
        for request in self._requests.values():
            request.outcome = LOST
            self.ended.append(request)
        self._requests.clear()

    def _end(self, itt: int, opcode: int, outcome: int) -> Request:
        request = self._requests.get(itt)
        if request is None or request.opcode != opcode:
            name = opcodes.OPCODE_NAMES[opcode]
            raise RemoteProtocolError(f"the target answered a {name} (0x{itt:x}) that nobody sent")
        del self._requests[itt]
        request.outcome = outcome
        self.ended.append(request)
        return request

    def nop_in(self, frame: Frame) -> None:
        pdu = NopIn.parse(frame.bhs)
        if pdu.itt != RESERVED_TAG:
            self._link.accept_stat_sn(pdu.stat_sn)
            self._end(pdu.itt, opcodes.NOP_OUT, COMPLETED)
        elif pdu.ttt != RESERVED_TAG and frame.data_digest_ok:
            self._link.count_reply()
            # §11.18.2: TTT and LUN are copied, and the answer is no ping itself.
            echo = bytes(frame.data[: self._link.max_segment_bytes])
            reply = NopOut(True, pdu.lun, RESERVED_TAG, pdu.ttt, self._link.cmd_sn, self._link.exp_stat_sn)
            self._link.emit(reply.pack(len(echo)), echo)
        if not frame.data_digest_ok:
            self._link.digest_errors += 1
        self._commands.update_window(pdu.exp_cmd_sn, pdu.max_cmd_sn)

    def async_message(self, frame: Frame) -> None:
        pdu = AsyncMessage.parse(frame.bhs)
        self._link.accept_stat_sn(pdu.stat_sn)
        self._commands.update_window(pdu.exp_cmd_sn, pdu.max_cmd_sn)
        sense = sense_of(frame.data) if frame.data_digest_ok else b""
        self._link.note(
            AsyncReceived(
                pdu.async_event,
                pdu.async_vcode,
                pdu.lun,
                pdu.parameter1,
                pdu.parameter2,
                pdu.parameter3,
                sense,
            )
        )
        if pdu.async_event == opcodes.ASYNC_NEGOTIATION_REQUEST:
            # §11.9.1: it has to be answered by a Text Request, which may be empty: we have nothing to change.
            if not any(request.opcode == opcodes.TEXT_REQUEST for request in self._requests.values()):
                self._link.count_reply()
                self.text(b"", 0.0, max_bytes=_MAX_TEXT_BYTES, max_parts=_MAX_TEXT_PARTS)
        elif pdu.async_event == opcodes.ASYNC_FAST_ABORT and self._fast_abort:
            for task in self._commands.tasks.values():
                if task.lun == pdu.lun:
                    task.stopped = True
            self._link.count_reply()
            # §11.9.1: the StatSN is acknowledged by a NOP-Out that is no ping, with the LUN copied.
            self._link.emit(
                NopOut(
                    True, pdu.lun, RESERVED_TAG, RESERVED_TAG, self._link.cmd_sn, self._link.exp_stat_sn
                ).pack()
            )

    def reject(self, frame: Frame) -> None:
        pdu = Reject.parse(frame.bhs)
        self._link.accept_stat_sn(pdu.stat_sn)
        self._commands.update_window(pdu.exp_cmd_sn, pdu.max_cmd_sn)
        if pdu.reason == opcodes.REJECT_DATA_DIGEST_ERROR:
            self._link.digest_errors += 1
        header = frame.data
        if len(header) < opcodes.BHS_BYTES or not frame.data_digest_ok:
            self._link.note(RejectReceived(pdu.reason, None, None))
            return
        opcode = header[0] & opcodes.OPCODE_MASK
        (itt,) = _UINT32.unpack_from(header, _ITT_AT)
        self._link.note(RejectReceived(pdu.reason, opcode, itt))
        # §11.17: a task that runs already is ended by its own SCSI Response; only a refused request is over.
        task = self._commands.tasks.get(itt)
        if opcode == opcodes.SCSI_COMMAND and task is not None:
            if pdu.reason != opcodes.REJECT_DATA_DIGEST_ERROR:
                task.reject_reason = pdu.reason
                self._commands.finish(task, REJECTED)
        elif itt in self._requests and self._requests[itt].opcode == opcode:
            self._end(itt, opcode, REJECTED).reject_reason = pdu.reason

    def text_response(self, frame: Frame) -> None:
        pdu = TextResponse.parse(frame.bhs)
        self._link.accept_stat_sn(pdu.stat_sn)
        self._commands.update_window(pdu.exp_cmd_sn, pdu.max_cmd_sn)
        if not frame.data_digest_ok:
            raise self._link.damaged("Text Response")
        request = self._requests.get(pdu.itt)
        if request is None or request.opcode != opcodes.TEXT_REQUEST:
            raise RemoteProtocolError("the target sent a Text Response that nobody asked for")
        if pdu.final and pdu.continued:
            raise RemoteProtocolError(
                "the target sent a Text Response that is both final and to be continued"
            )
        request.text += frame.data
        request.text_parts += 1
        over = (
            len(request.text) > request.details["max_bytes"]
            or request.text_parts >= request.details["max_parts"]
        )
        if pdu.final or over:
            if not pdu.final or len(request.text) > request.details["max_bytes"]:
                request.text_truncated = True
                del request.text[request.details["max_bytes"] :]
            self._end(pdu.itt, opcodes.TEXT_REQUEST, COMPLETED)
        elif pdu.ttt == RESERVED_TAG:
            raise RemoteProtocolError("the target sent a part of a Text Response without a tag to go on with")
        else:
            # §11.10.4: an empty request with the target's tag and LUN asks for the next part.
            self._emit_text(request, pdu.ttt, pdu.lun)

    def task_management_response(self, frame: Frame) -> None:
        pdu = TaskManagementResponse.parse(frame.bhs)
        self._link.accept_stat_sn(pdu.stat_sn)
        request = self._end(pdu.itt, opcodes.TASK_MANAGEMENT_REQUEST, COMPLETED)
        request.response = pdu.response
        task = request.referenced
        # "Task does not exist" means here that its response came first (§11.6.1), or that it never arrived.
        if (
            task is not None
            and pdu.response
            in (
                opcodes.TMF_FUNCTION_COMPLETE,
                opcodes.TMF_TASK_DOES_NOT_EXIST,
            )
            and self._commands.tasks.get(task.itt) is task
        ):
            self._commands.finish(task, ABORTED)
        self._commands.update_window(pdu.exp_cmd_sn, pdu.max_cmd_sn)

    def logout_response(self, frame: Frame) -> None:
        pdu = LogoutResponse.parse(frame.bhs)
        self._link.accept_stat_sn(pdu.stat_sn)
        self._end(pdu.itt, opcodes.LOGOUT_REQUEST, COMPLETED).response = pdu.response
        self._link.note(LogoutAnswered(pdu.response, pdu.time2wait, pdu.time2retain))
