"""What a target does on its own, turned into events for the user and into action."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from san_console.iscsi import opcodes
from san_console.iscsi.initiator_events import AsyncReceived, Event, LogoutAnswered, RejectReceived, StatSnGap
from san_console.names.errors import NamesError
from san_console.names.lun import decode_lun_u64
from san_console.scsi import sense as scsi_sense


class Emit(Protocol):
    """The session's way to tell its watcher."""

    def __call__(self, kind: str, severity: str, text: str, /, **details: Any) -> None: ...


# Which unit attentions mean that what the user sees is out of date (SPC-4 annex D).
_LUNS_CHANGED = scsi_sense.REPORTED_LUNS_DATA_CHANGED
_CHANGES = {
    _LUNS_CHANGED: "the list of LUNs has changed",
    scsi_sense.CAPACITY_DATA_CHANGED: "the capacity has changed",
    scsi_sense.INQUIRY_DATA_CHANGED: "the inquiry data has changed",
}


def emit_unit_attention(emit: Emit, lun: int | None, sense: scsi_sense.Sense) -> None:
    """One event for a unit attention, whether a command or an Asynchronous Message brought it."""
    where = "" if lun is None else f"LUN {lun}: "
    change = _CHANGES.get(sense.condition)
    text = f"{where}{change or scsi_sense.describe(sense)}"
    details = {"lun": lun, "asc": sense.asc, "ascq": sense.ascq, "changed": change is not None}
    kind = "luns_changed" if sense.condition == _LUNS_CHANGED else "unit_attention"
    emit(kind, "warning" if change else "info", text, **details)


class ProtocolEvents:
    """Handles the events of an `InitiatorSession`.

    `drain_and_log_out(within_s)` is started when the target asks for a logout, `hold_retry(seconds)` called
    when it says how long to stay away.
    """

    def __init__(
        self,
        emit: Emit,
        drain_and_log_out: Callable[[float], Awaitable[None]],
        hold_retry: Callable[[float], None],
    ) -> None:
        self._emit = emit
        self._drain_and_log_out = drain_and_log_out
        self._hold_retry = hold_retry
        self._tasks: set[asyncio.Future[None]] = set()

    def handle(self, event: Event) -> None:
        if isinstance(event, AsyncReceived):
            self._async_message(event)
        elif isinstance(event, RejectReceived):
            reason = opcodes.REJECT_REASON_NAMES.get(event.reason, f"reason 0x{event.reason:02x}")
            what = opcodes.OPCODE_NAMES.get(event.opcode, "PDU") if event.opcode is not None else "PDU"
            kind = "digest_error" if event.reason == opcodes.REJECT_DATA_DIGEST_ERROR else "protocol_note"
            self._emit(kind, "warning", f"the target rejected a {what}: {reason}", reason=event.reason)
        elif isinstance(event, LogoutAnswered):
            self._hold_retry(event.time2wait)
        elif isinstance(event, StatSnGap):
            text = f"the target numbered a response {event.received} where {event.expected} was next"
            self._emit("protocol_note", "warning", text)

    def _async_message(self, event: AsyncReceived) -> None:
        number = event.event
        text = opcodes.ASYNC_EVENT_NAMES.get(number, f"an event of unknown number {number}")
        if number == opcodes.ASYNC_SCSI_EVENT and event.sense:
            try:
                lun: int | None = decode_lun_u64(event.lun)
            except NamesError:
                lun = None
            emit_unit_attention(self._emit, lun, scsi_sense.parse(event.sense))
            return
        self._emit(
            "async_message",
            "warning",
            f"message of the target: {text}",
            event=number,
            vcode=event.vcode,
            parameters=[event.parameter1, event.parameter2, event.parameter3],
        )
        if number == opcodes.ASYNC_LOGOUT_REQUEST:
            # §11.9.1: not later than Parameter3 seconds; 0 leaves no time to let anything end.
            task = asyncio.ensure_future(self._drain_and_log_out(float(event.parameter3)))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        elif number in (opcodes.ASYNC_CONNECTION_DROP, opcodes.ASYNC_SESSION_DROP):
            self._hold_retry(float(event.parameter2))
