"""Text requests in full feature phase: SendTargets, declarations, long answers (RFC 7143 §6.4, §11.10,
§11.11).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from san_console.iscsi.errors import RemoteProtocolError
from san_console.iscsi.framing import Frame
from san_console.iscsi.keys import KEYS, MAX_24_BIT
from san_console.iscsi.opcodes import (
    REJECT_INVALID_PDU_FIELD,
    REJECT_PROTOCOL_ERROR,
    REJECT_TASK_IN_PROGRESS,
    RESERVED_TAG,
)
from san_console.iscsi.pdu import TextRequest, TextResponse
from san_console.iscsi.target_device import Nexus
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


class _Exchange:
    """One negotiation: text requests and responses with the same Initiator Task Tag."""

    def __init__(self, itt: int) -> None:
        self.itt = itt
        self.ttt = RESERVED_TAG
        self.collector = TextCollector(MAX_TEXT_BYTES)
        self.answer: list[bytes] = []
        self.seen: set[str] = set()
        self.max_send_bytes: int | None = None


class TextNegotiation:
    """The text requests of one connection: one exchange at a time."""

    def __init__(self, connection: TargetConnection) -> None:
        self._connection = connection
        self._session = connection.session
        self._exchange = _Exchange(RESERVED_TAG)
        self._declare: int | None = None

    def declare(self, max_recv_data_segment_bytes: int) -> None:
        """Tell in the answer to the next Text Request how long data segments may be (§13.12).

        Longer ones are taken in from now on; shorter ones never refused, for the initiator may not know yet.
        """
        self._declare = max_recv_data_segment_bytes
        framer = self._connection.framer
        framer.max_data_segment_bytes = max(framer.max_data_segment_bytes, max_recv_data_segment_bytes)

    def receive(self, frame: Frame) -> None:
        """A Text Request."""
        pdu = TextRequest.parse(frame.bhs)
        session, connection, exchange = self._session, self._connection, self._exchange
        if not frame.data_digest_ok:
            connection.requests.bad_digest(frame)
            return
        if (pdu.final and pdu.continued) or pdu.itt == RESERVED_TAG:
            connection.reject(REJECT_PROTOCOL_ERROR, frame.bhs)
            return
        if pdu.ttt not in (RESERVED_TAG, exchange.ttt):
            connection.reject(REJECT_INVALID_PDU_FIELD, frame.bhs)
            return
        if pdu.itt in session.tasks or (pdu.itt in session.requests and pdu.itt != exchange.itt):
            connection.reject(REJECT_TASK_IN_PROGRESS, frame.bhs)
            return
        if not connection.in_order(frame, pdu.cmd_sn):
            return
        if not pdu.immediate:
            session.command_done()
        if pdu.ttt == RESERVED_TAG:  # a new exchange; an unfinished one is forgotten (§11.10.4)
            session.requests.pop(exchange.itt, None)
            exchange = self._exchange = _Exchange(pdu.itt)
            session.requests[pdu.itt] = connection
        elif pdu.itt != exchange.itt:  # §6.4 wants the same tag; some initiators take a new one
            session.requests.pop(exchange.itt, None)
            exchange.itt = pdu.itt
            session.requests[pdu.itt] = connection
        try:
            self._go_on(exchange, pdu, frame)
        except RemoteProtocolError:
            # §7.12: the whole negotiation has failed, nothing of it takes effect
            self._end(exchange)
            connection.reject(REJECT_PROTOCOL_ERROR, frame.bhs)

    def _go_on(self, exchange: _Exchange, pdu: TextRequest, frame: Frame) -> None:
        whole = exchange.collector.add(frame.data, continued=pdu.continued)
        if whole is None:
            exchange.ttt = self._session.new_ttt()
            self._send(exchange, pdu, b"", continued=False)
            return
        if not exchange.answer:
            exchange.answer = _split(
                encode_pairs(self._negotiate(exchange, decode_pairs(whole))), self._connection.max_send_bytes
            )
        data = exchange.answer.pop(0)
        # While text remains, or the initiator has not finished (F=0), the exchange goes on under a TTT.
        if exchange.answer or not pdu.final:
            exchange.ttt = self._session.new_ttt()
        else:
            # §6.4: what was declared holds from the end of the negotiation on
            self._end(exchange)
            if exchange.max_send_bytes is not None:
                self._connection.set_max_send_bytes(exchange.max_send_bytes)
        self._send(exchange, pdu, data, continued=bool(exchange.answer))

    def _end(self, exchange: _Exchange) -> None:
        exchange.ttt = RESERVED_TAG
        self._session.requests.pop(exchange.itt, None)
        self._exchange = _Exchange(RESERVED_TAG)

    def _send(self, exchange: _Exchange, pdu: TextRequest, data: bytes, *, continued: bool) -> None:
        response = TextResponse(
            final=exchange.ttt == RESERVED_TAG,
            continued=continued,
            lun=pdu.lun,
            itt=pdu.itt,
            ttt=exchange.ttt,
            stat_sn=self._connection.take_stat_sn(),
            exp_cmd_sn=self._session.exp_cmd_sn,
            max_cmd_sn=self._session.max_cmd_sn,
        )
        self._connection.send_numbered(response.stat_sn, response.pack(len(data)), data)

    def _negotiate(self, exchange: _Exchange, pairs: list[tuple[str, str]]) -> list[tuple[str, str]]:
        answers: list[tuple[str, str]] = []
        for key, value in pairs:
            if key in exchange.seen:
                raise RemoteProtocolError(f"the initiator sent the key {key} twice")  # §6.4
            exchange.seen.add(key)
            if key == "SendTargets":
                answers += _send_targets(self._session.nexus, value)
            elif key == "MaxRecvDataSegmentLength":
                exchange.max_send_bytes = _declared(value)
            elif key not in KEYS:
                answers.append((key, NOT_UNDERSTOOD))  # private ones (§13.22) too
            elif KEYS[key].use != "ALL" or "initiator" not in KEYS[key].senders:
                answers.append((key, REJECT))  # only for the login, or not the initiator's (§13)
        if self._declare is not None:
            answers.append(("MaxRecvDataSegmentLength", str(self._declare)))
            self._declare = None
        return answers


def _send_targets(nexus: Nexus, value: str) -> list[tuple[str, str]]:
    text = nexus.send_targets(value)
    return [("SendTargets", REJECT)] if text is None else decode_pairs(text)


def _declared(value: str) -> int:
    try:
        return decode_number(value, 512, MAX_24_BIT)
    except MalformedValue as error:
        raise RemoteProtocolError(
            f"the initiator's MaxRecvDataSegmentLength is not possible: {error}"
        ) from None
