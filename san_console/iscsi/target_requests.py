"""What an initiator asks for beside SCSI commands: NOP-Out, Text, Logout; and the NOP-Ins that probe it.

Task management has its own module. RFC 7143 §11.10, §11.11, §11.14, §11.15, §11.18, §11.19.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from san_console.iscsi import opcodes
from san_console.iscsi.errors import RemoteProtocolError
from san_console.iscsi.framing import Frame
from san_console.iscsi.keys import KEYS, MAX_24_BIT
from san_console.iscsi.opcodes import (
    ASYNC_LOGOUT_REQUEST,
    LOGOUT_CID_NOT_FOUND,
    LOGOUT_CLOSE_CONNECTION,
    LOGOUT_CLOSE_SESSION,
    LOGOUT_DONE,
    LOGOUT_RECOVERY_NOT_SUPPORTED,
    LOGOUT_REMOVE_FOR_RECOVERY,
    REJECT_DATA_DIGEST_ERROR,
    REJECT_INVALID_PDU_FIELD,
    REJECT_PROTOCOL_ERROR,
    RESERVED_TAG,
)
from san_console.iscsi.pdu import (
    AsyncMessage,
    LogoutRequest,
    LogoutResponse,
    NopIn,
    NopOut,
    TextRequest,
    TextResponse,
)
from san_console.iscsi.target_task_management import TaskManagement
from san_console.iscsi.text import (
    NOT_UNDERSTOOD,
    REJECT,
    MalformedValue,
    TextCollector,
    decode_number,
    decode_pairs,
    encode_pairs,
)

if TYPE_CHECKING:
    from san_console.iscsi.target_connection import TargetConnection

MAX_TEXT_BYTES = 8192  # RFC 7143 §6.1: what must be accepted at least; SendTargets needs 20


def _split(text: bytes, max_bytes: int) -> list[bytes]:
    """The data segments of a long answer; one empty one when there is nothing to say."""
    return [text[start : start + max_bytes] for start in range(0, len(text), max_bytes)] or [b""]


class Requests:
    """The handlers of one connection, by opcode."""

    def __init__(
        self, connection: TargetConnection, nop_in_interval_s: float, nop_in_timeout_s: float, now: float
    ) -> None:
        self._connection = connection
        self._session = connection.session
        self._nop_in_interval_s = nop_in_interval_s
        self._nop_in_timeout_s = nop_in_timeout_s
        self._last_heard = now
        self._probed = False
        self._collector = TextCollector(MAX_TEXT_BYTES)
        self._answer: list[bytes] = []
        self._answer_ttt = RESERVED_TAG
        self._logging_out = False
        self.handlers: dict[int, Callable[[Frame], None]] = {
            opcodes.NOP_OUT: self._nop_out,
            opcodes.TEXT_REQUEST: self._text,
            opcodes.LOGOUT_REQUEST: self._logout,
            opcodes.TASK_MANAGEMENT_REQUEST: TaskManagement(connection).receive,
        }

    # Is the initiator still there?

    def heard(self, now: float) -> None:
        """Something came from the initiator: it is alive, whatever it was."""
        self._last_heard = now
        self._probed = False

    def tick(self, now: float) -> bool:
        """Probe an initiator that is silent. False when it did not answer in time."""
        silent_s = now - self._last_heard
        if self._probed:
            return silent_s < self._nop_in_interval_s + self._nop_in_timeout_s
        if silent_s >= self._nop_in_interval_s:
            self._probed = True
            # With no ITT of the initiator's, StatSN is shown and not consumed (§11.19.4).
            self._connection.send(
                NopIn(
                    ttt=self._session.new_ttt(),
                    stat_sn=self._connection.stat_sn,
                    exp_cmd_sn=self._session.exp_cmd_sn,
                    max_cmd_sn=self._session.max_cmd_sn,
                ).pack()
            )
        return True

    def next_deadline(self) -> float:
        """When `tick` has something to do next."""
        extra = self._nop_in_timeout_s if self._probed else 0.0
        return self._last_heard + self._nop_in_interval_s + extra

    def _nop_out(self, frame: Frame) -> None:
        pdu = NopOut.parse(frame.bhs)
        if not frame.data_digest_ok:
            self._bad_digest(frame)
            return
        if not pdu.immediate and pdu.itt == RESERVED_TAG:
            self._connection.reject(REJECT_INVALID_PDU_FIELD, frame.bhs)  # §11.18: then I must be set
            return
        if not self._connection.in_order(frame, pdu.cmd_sn):
            return
        if not pdu.immediate:
            self._session.command_done()
        if pdu.itt == RESERVED_TAG:
            return  # the answer to a NOP-In of ours
        # The ping data comes back, as much of it as the initiator takes in one PDU (§11.18).
        data = bytes(frame.data[: self._connection.max_send_bytes])
        reply = NopIn(
            itt=pdu.itt,
            stat_sn=self._connection.take_stat_sn(),
            exp_cmd_sn=self._session.exp_cmd_sn,
            max_cmd_sn=self._session.max_cmd_sn,
        )
        self._connection.send(reply.pack(len(data)), data)

    def _bad_digest(self, frame: Frame) -> None:
        self._session.counters.digest_errors += 1
        self._connection.reject(REJECT_DATA_DIGEST_ERROR, frame.bhs)

    # Text

    def _text(self, frame: Frame) -> None:
        pdu = TextRequest.parse(frame.bhs)
        if not frame.data_digest_ok:
            self._bad_digest(frame)
            return
        if (pdu.final and pdu.continued) or pdu.itt == RESERVED_TAG:
            self._connection.reject(REJECT_PROTOCOL_ERROR, frame.bhs)
            return
        if pdu.ttt not in (RESERVED_TAG, self._answer_ttt):
            self._connection.reject(REJECT_INVALID_PDU_FIELD, frame.bhs)
            return
        if not self._connection.in_order(frame, pdu.cmd_sn):
            return
        if not pdu.immediate:
            self._session.command_done()
        if pdu.ttt == RESERVED_TAG:  # a new exchange; an unfinished one is forgotten (§11.10.4)
            self._answer = []
            self._collector = TextCollector(MAX_TEXT_BYTES)
        try:
            whole = self._collector.add(frame.data, continued=pdu.continued)
            if whole is None:
                self._answer_ttt = self._session.new_ttt()
                self._send_text(pdu, b"", final=False, continued=False)
                return
            if not self._answer:
                self._answer = _split(
                    encode_pairs(self._negotiate(decode_pairs(whole))), self._connection.max_send_bytes
                )
        except RemoteProtocolError:
            self._answer_ttt = RESERVED_TAG
            self._connection.reject(REJECT_PROTOCOL_ERROR, frame.bhs)
            return
        data = self._answer.pop(0)
        # While text remains, or the initiator has not finished (F=0), the exchange goes on under a TTT.
        if self._answer or not pdu.final:
            self._answer_ttt = self._session.new_ttt()
        else:
            self._answer_ttt = RESERVED_TAG
        self._send_text(pdu, data, final=self._answer_ttt == RESERVED_TAG, continued=bool(self._answer))

    def _send_text(self, pdu: TextRequest, data: bytes, *, final: bool, continued: bool) -> None:
        response = TextResponse(
            final=final,
            continued=continued,
            lun=pdu.lun,
            itt=pdu.itt,
            ttt=self._answer_ttt,
            stat_sn=self._connection.take_stat_sn(),
            exp_cmd_sn=self._session.exp_cmd_sn,
            max_cmd_sn=self._session.max_cmd_sn,
        )
        self._connection.send(response.pack(len(data)), data)

    def _negotiate(self, pairs: list[tuple[str, str]]) -> list[tuple[str, str]]:
        answers: list[tuple[str, str]] = []
        seen: set[str] = set()
        for key, value in pairs:
            if key in seen:
                raise RemoteProtocolError(f"the initiator sent the key {key} twice")
            seen.add(key)
            if key == "SendTargets":
                text = self._session.nexus.send_targets(value)
                answers += [(key, REJECT)] if text is None else decode_pairs(text)
            elif key == "MaxRecvDataSegmentLength":
                self._declared(value)
            elif key not in KEYS:
                answers.append((key, NOT_UNDERSTOOD))
            elif KEYS[key].use != "ALL":
                answers.append((key, REJECT))  # only for the login (§13)
        return answers

    def _declared(self, value: str) -> None:
        try:
            length = decode_number(value, 512, MAX_24_BIT)
        except MalformedValue as error:
            raise RemoteProtocolError(
                f"the initiator's MaxRecvDataSegmentLength is not possible: {error}"
            ) from None
        self._connection.set_max_send_bytes(length)

    # Logout

    def _logout(self, frame: Frame) -> None:
        pdu = LogoutRequest.parse(frame.bhs)
        if not self._connection.in_order(frame, pdu.cmd_sn) or self._logging_out:
            return
        if pdu.reason == LOGOUT_REMOVE_FOR_RECOVERY:
            self._send_logout(pdu, LOGOUT_RECOVERY_NOT_SUPPORTED)  # needs error recovery level 2 (§11.14.1)
        elif pdu.reason == LOGOUT_CLOSE_CONNECTION and pdu.cid != self._connection.cid:
            self._send_logout(pdu, LOGOUT_CID_NOT_FOUND)
        elif pdu.reason in (LOGOUT_CLOSE_SESSION, LOGOUT_CLOSE_CONNECTION):
            self._logging_out = True
            tasks = list(self._session.tasks.values())
            for task in tasks:
                self._session.abort(task)
            # The response tells that all tasks have ended (§11.15.1); data that is on its way does not
            # matter any more.
            self._session.wait_for(tasks, lambda: self._finish_logout(pdu), transfers_until=self._session.now)
            self._session.tick(self._session.now)
        else:
            self._connection.reject(REJECT_INVALID_PDU_FIELD, frame.bhs)

    def _finish_logout(self, pdu: LogoutRequest) -> None:
        self._send_logout(pdu, LOGOUT_DONE)
        self._connection.closing = True

    def _send_logout(self, pdu: LogoutRequest, response: int) -> None:
        parameters = self._session.parameters
        self._connection.send(
            LogoutResponse(
                response=response,
                itt=pdu.itt,
                stat_sn=self._connection.take_stat_sn(),
                exp_cmd_sn=self._session.exp_cmd_sn,
                max_cmd_sn=self._session.max_cmd_sn,
                time2wait=parameters.default_time2wait_s,
                time2retain=0,  # nothing is kept at error recovery level 0
            ).pack()
        )

    def ask_for_logout(self, within_s: int) -> None:
        """Tell the initiator that the target goes away and it should log out (§11.9.1, event 1)."""
        message = AsyncMessage(
            stat_sn=self._connection.take_stat_sn(),
            exp_cmd_sn=self._session.exp_cmd_sn,
            max_cmd_sn=self._session.max_cmd_sn,
            async_event=ASYNC_LOGOUT_REQUEST,
            parameter3=within_s,
        )
        self._connection.send(message.pack())
