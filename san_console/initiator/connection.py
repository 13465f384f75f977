"""One connection in full feature phase: the socket, the timers, and the protocol object between them.

All whole PDUs of one receive are handled in one go, and everything that this makes us send leaves in one
gathering write. Commands are submitted by callback (`submit`) or awaited (`run`); the callback way costs no
turn of the event loop per command.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any

from san_console.initiator.counters import BUCKETS, SessionCounters
from san_console.iscsi import opcodes
from san_console.iscsi.errors import IscsiError
from san_console.iscsi.framing import Framer
from san_console.iscsi.initiator_events import Event
from san_console.iscsi.initiator_session import InitiatorSession
from san_console.iscsi.initiator_tasks import COMPLETED, PENDING, Bytes, Request, ScsiTask
from san_console.scsi import sense as scsi_sense

#: How many buffers one sendmsg takes (IOV_MAX of Linux; POSIX guarantees 16, BSD and macOS have 1024).
_MAX_BUFFERS = 1024
#: Within a turn, output leaves after so many completions: the target works on them while we handle the rest.
#: Sending only at the end of the turn makes both sides wait for each other, sending each alone costs more.
_SEND_AFTER = 8
#: Receives per turn of the event loop: what arrives while we handle the last ones costs no turn of its own,
#: and other sessions get theirs soon.
_RECEIVES_PER_TURN = 8
#: After less than this the socket is most likely empty, and asking again costs more than the next turn.
_LITTLE_BYTES = 4096
#: How long a target may take to answer an ABORT TASK before the connection counts as broken (as open-iscsi).
ABORT_TIMEOUT_S = 15.0
#: How often timers are looked at: fine enough for time-outs of seconds, too coarse to cost anything.
_TICK_S = 0.25


class NopTimeout(Exception):
    """The target answered no ping: the connection is dead although nobody closed it."""


class AbortTimeout(Exception):
    """The target answered neither a command nor the request to abort it."""


class Connection:
    """Drives an `InitiatorSession` over `sock`, which is connected, non-blocking and logged in.

    `on_closed(error)` is called once when the connection ends by itself; `error` of None means that the
    target closed it. By then every task has ended as LOST.
    """

    def __init__(
        self,
        sock: socket.socket,
        framer: Framer,
        session: InitiatorSession,
        *,
        counters: SessionCounters,
        on_closed: Callable[[BaseException | None], None],
        on_protocol_event: Callable[[Event], None],
        nop_interval_s: float,
        nop_timeout_s: float,
        command_timeout_s: float,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._sock = sock
        self._framer = framer
        self.session = session
        self._counters = counters
        self._on_closed = on_closed
        self._on_protocol_event = on_protocol_event
        self._nop_interval_s = nop_interval_s
        self._nop_timeout_s = nop_timeout_s
        self._command_timeout_s = command_timeout_s
        self._pending: list[Bytes] = []
        self._flush_scheduled = False
        self._writing = False
        self._in_turn = False
        self._ping: Request | None = None
        self._aborts: dict[int, float] = {}
        self._idle: asyncio.Future[None] | None = None
        self._logging_out = False
        self.closed = False
        self.opened_at = self._last_received = self._now = self._loop.time()
        self.local_address = _address(sock.getsockname())
        self.peer_address = _peer_address(sock)
        self._timer = self._loop.call_later(_TICK_S, self._tick)
        self._loop.add_reader(sock.fileno(), self._on_readable)
        # The last receive of the login may have brought more than the login.
        self._loop.call_soon(self._on_leftover)

    # ---- commands ----

    def submit(self, task: ScsiTask) -> None:
        """Send a command; its `on_done` is called when it has ended. LocalProtocolError once stopped."""
        if self._in_turn:
            self.session.submit(task, self._now)
            return
        self.session.submit(task, self._loop.time())
        self._want_flush()

    async def run(self, task: ScsiTask) -> ScsiTask:
        """Send a command and wait for its end, whichever that is.

        When cancelled, the command is aborted, and the cancellation goes on once the target has said so.
        """
        task.context = future = self._loop.create_future()
        task.on_done = _resolve
        self.submit(task)
        try:
            await future
        except asyncio.CancelledError:
            if not self.closed and task.outcome == PENDING:
                self._abort(task)
                # Until the target has answered that, data may still come into the caller's buffer, or go to
                # the unit after what the caller writes next.
                if task.outcome == PENDING:
                    task.context = ended = self._loop.create_future()
                    await ended
            raise
        return task

    async def request(self, send: Callable[[float, Callable[[Request], None]], Request]) -> Request:
        """Send a request other than a command and wait for its end.

        `send(now, on_done)` is a method of the session, such as `session.ping`.
        """
        future: asyncio.Future[None] = self._loop.create_future()
        request = send(self._loop.time(), lambda _: None if future.done() else future.set_result(None))
        self._want_flush()
        await future
        return request

    def _abort(self, task: ScsiTask) -> None:
        request = self.session.abort(task, self._loop.time())
        if request is not None:
            self._aborts[task.itt] = self._loop.time()
        self._want_flush()

    # ---- receiving ----

    def _on_leftover(self) -> None:
        self._handle_received()
        self._flush()

    def _on_readable(self) -> None:
        framer = self._framer
        recv_into, recvmsg_into = self._sock.recv_into, self._sock.recvmsg_into
        for _ in range(_RECEIVES_PER_TURN):
            spaces = framer.spaces()
            try:
                received = recv_into(spaces[0]) if len(spaces) == 1 else recvmsg_into(spaces)[0]
            except (BlockingIOError, InterruptedError):
                break
            except OSError as error:
                self._lose(error)
                return
            if not received:
                self._lose(None)
                return
            framer.wrote(received)
            self._handle_received()
            if self.closed:
                return
            if received < _LITTLE_BYTES:
                break
        if not self._flush_scheduled:
            self._flush()

    def _handle_received(self) -> None:
        if self.closed:
            return
        self._now = self._last_received = self._loop.time()
        self._in_turn = True
        problem: IscsiError | None = None
        try:
            self.session.receive()
        except IscsiError as error:
            problem = error
        try:
            self._deliver()
        finally:
            self._in_turn = False
        if problem is not None:
            self._lose(problem)

    def _deliver(self) -> None:
        """Hand out what has ended. Callbacks may submit; that output leaves with this turn's write."""
        session = self.session
        completed = session.take_completed()
        if completed:
            counters, now = self._counters, self._now
            histogram = counters.histogram
            count = 0
            for task in completed:
                if task.outcome == COMPLETED:
                    # A unit attention tells of something, and its command is repeated (SAM-5 §5.14).
                    if task.status and scsi_sense.parse(task.sense).key != scsi_sense.UNIT_ATTENTION:
                        counters.errors += 1
                    if task.read_buffer is not None:
                        counters.reads += 1
                        counters.read_bytes += task.received_bytes
                    elif task.write_data is not None:
                        counters.writes += 1
                        counters.write_bytes += task.length
                    else:
                        counters.others += 1
                    # `counters.bucket`, written out: a call per command would cost more than the rest.
                    latency_us = int((now - task.started_at) * 1e6)
                    if latency_us >= 16:
                        exponent = latency_us.bit_length() - 4
                        index = (exponent << 3) + (latency_us >> exponent)
                        histogram[index if index < BUCKETS else BUCKETS - 1] += 1
                    else:
                        histogram[max(latency_us, 0)] += 1
                else:
                    counters.errors += 1
                if task.on_done is not None:
                    task.on_done(task)
                    count += 1
                    if count == _SEND_AFTER:
                        count = 0
                        self._flush()
            if self._idle is not None and not session.in_flight and not self._idle.done():
                self._idle.set_result(None)
        if not session.has_news:
            return
        for request in session.take_ended_requests():
            if request is self._ping:
                self._ping = None
            if request.referenced is not None:
                self._aborts.pop(request.referenced.itt, None)
                if request.outcome == COMPLETED and request.referenced.outcome == PENDING:
                    error = AbortTimeout("the target did not answer a command, and would not abort it")
                    self._loop.call_soon(self._lose, error)
            if request.on_done is not None:
                request.on_done(request)
        for event in session.take_events():
            self._on_protocol_event(event)

    # ---- sending ----

    def _want_flush(self) -> None:
        if not self._flush_scheduled and not self._in_turn and not self.closed:
            self._flush_scheduled = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flush_scheduled = False
        if self.closed or not self.session.has_output:
            return
        out = self.session.take_output()
        if self._writing:
            self._pending += out
            return
        self._pending = out
        self._send()

    def _send(self) -> None:
        pending = self._pending
        position = 0
        try:
            while position < len(pending):
                # Never again what has left: the socket may take more right after it took a part.
                whole = not position and len(pending) <= _MAX_BUFFERS
                batch = pending if whole else pending[position : position + _MAX_BUFFERS]
                # With one command at a time this is the rule, and building the vector shows in its CPU time.
                sent = self._sock.send(batch[0]) if len(batch) == 1 else self._sock.sendmsg(batch)
                if sent == sum(map(len, batch)):
                    position += len(batch)
                    continue
                position += _skip(pending, position, sent)
        except (BlockingIOError, InterruptedError):
            if position:
                self._pending = pending[position:]
            if not self._writing:
                self._writing = True
                self._loop.add_writer(self._sock.fileno(), self._send)
            return
        except OSError as error:
            self._loop.call_soon(self._lose, error)
            self._pending = []
            return
        self._pending = []
        if self._writing:
            self._writing = False
            self._loop.remove_writer(self._sock.fileno())
        self.session.output_drained()

    # ---- timers ----

    def _tick(self) -> None:
        if self.closed:
            return
        now = self._loop.time()
        if self._ping is not None:
            if now - max(self._ping.sent_at, self._last_received) > self._nop_timeout_s:
                self._lose(NopTimeout(f"the target answered no ping within {self._nop_timeout_s:g} s"))
                return
        elif self._nop_interval_s and now - self._last_received >= self._nop_interval_s:
            self._ping = self.session.ping(now)
            self._want_flush()
        if any(now - aborted_at > ABORT_TIMEOUT_S for aborted_at in self._aborts.values()):
            self._lose(AbortTimeout("the target answered neither a command nor its abort"))
            return
        for task in self.session.overdue(now - self._command_timeout_s):
            if task.itt in self._aborts:
                continue
            self._counters.timeouts += 1
            self._abort(task)
        self._deliver()
        self._timer = self._loop.call_later(_TICK_S, self._tick)

    # ---- the end ----

    async def drained(self, deadline: float) -> None:
        """Return when no command is under way, when the connection is closed, or at `deadline`."""
        while self.session.in_flight and not self.closed:
            remaining = deadline - self._loop.time()
            if remaining <= 0:
                return
            self._idle = self._loop.create_future()
            await asyncio.wait([self._idle], timeout=remaining)

    async def logout(self, timeout_s: float) -> Request | None:
        """Log out (RFC 7143 §11.14) and close; None when the target did not answer in time."""
        answer: Request | None = None
        self._logging_out = True
        if not self.closed:
            try:
                async with asyncio.timeout(timeout_s):
                    answer = await self.request(
                        lambda now, on_done: self.session.logout(opcodes.LOGOUT_CLOSE_SESSION, now, on_done)
                    )
            except TimeoutError:
                answer = None
        self.close()
        return answer

    def close(self) -> None:
        """Drop the connection now; tasks end as LOST. `on_closed` is not called."""
        if self.closed:
            return
        self.closed = True
        self._timer.cancel()
        descriptor = self._sock.fileno()
        self._loop.remove_reader(descriptor)
        self._loop.remove_writer(descriptor)
        self._sock.close()
        self._pending = []
        self.session.connection_lost()
        self._in_turn = True  # nothing submitted from a callback may schedule a write any more
        self._deliver()

    def _lose(self, error: BaseException | None) -> None:
        if self.closed:
            return
        self.close()
        # RFC 7143 §11.15: the target closes after it has answered a logout; that is no loss.
        if not self._logging_out:
            self._on_closed(error)


def _resolve(task: ScsiTask) -> None:
    future: asyncio.Future[None] = task.context
    if not future.done():
        future.set_result(None)


def _skip(buffers: list[Bytes], position: int, sent: int) -> int:
    """How many whole buffers from `position` on are covered by `sent` bytes; the next one is cut."""
    whole = 0
    while sent and sent >= len(buffers[position + whole]):
        sent -= len(buffers[position + whole])
        whole += 1
    if sent:
        buffers[position + whole] = memoryview(buffers[position + whole])[sent:]
    return whole


def _peer_address(sock: socket.socket) -> str:
    """Empty when the peer has reset the connection already: the first receive finds that out, and tells it
    as the loss that it is.
    """
    try:
        return _address(sock.getpeername())
    except OSError:
        return ""


def _address(name: Any) -> str:
    """`host:port` of a socket name."""
    host, port = name[0], name[1]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
