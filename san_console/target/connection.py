"""The socket of one connection in full feature phase.

One `recv_into` takes what is there, the protocol handles every whole PDU in it, one `sendmsg` sends all
answers, straight from the buffers that hold them. What the socket does not take waits for `add_writer`,
and meanwhile nothing more is received: so a slow reader holds at most one batch of answers.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

from san_console.iscsi.errors import RemoteProtocolError
from san_console.iscsi.target_connection import TargetConnection
from san_console.target.backstore import ReadArena
from san_console.target.vigil import vigil_of

MAX_PDUS_PER_TURN = 256  # then other connections have their turn; a full window of small commands fits
FEW_COMMANDS = 4  # in a turn: with more, the initiator has others in flight while it handles these
IOV_MAX = 1024  # buffers per sendmsg on Linux (sysconf _SC_IOV_MAX)
STALL_TIMEOUT_S = 60.0  # an initiator that takes no byte for so long is gone (SCST's RspTimeout is 90)


class ConnectionPump:
    """Moves bytes between a socket and a `TargetConnection`. `on_closed(reason, error)` is called once."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        sock: socket.socket,
        connection: TargetConnection,
        arena: ReadArena,
        on_closed: Callable[[str, bool], None],
    ) -> None:
        self._loop = loop
        self._socket = sock
        self._fd = sock.fileno()
        self._connection = connection
        self._framer = connection.framer
        self._counters = connection.session.counters
        self._vigil = vigil_of(loop)
        self._arena = arena
        self._on_closed = on_closed
        self._reading = False
        self._writing = False
        self._more = False
        self._flush_scheduled = False
        self._closed = False
        self._stalled_since = 0.0
        connection.wake = self._wake

    def start(self) -> None:
        """Begin; what came together with the last login request is handled first."""
        self._reading = True
        self._loop.add_reader(self._fd, self._readable)
        self._process()

    def tick(self, now: float) -> None:
        """Once a second: probe a silent initiator, drop a dead one."""
        if self._closed:
            return
        if self._writing:
            if now - self._stalled_since > STALL_TIMEOUT_S:
                self.close("the initiator takes no data any more", error=True)
        elif not self._connection.requests.tick(now, listening=self._reading):
            self.close("the initiator did not answer a NOP-In", error=True)
        if not self._closed:
            self._connection.session.tick(now)

    def _readable(self) -> None:
        if not self._more:
            try:
                count = self._framer.fill(self._socket.recv_into)
            except BlockingIOError:
                self._framer.release()
                return
            except OSError as error:
                self.close(f"the connection broke: {error.strerror}", error=True)
                return
            if not count:
                self.close("the initiator closed the connection", error=not self._connection.closing)
                return
        self._process()

    def _process(self) -> None:
        if self._closed or self._writing:
            return
        connection = self._connection
        counters = self._counters
        commands_before = counters.commands
        try:
            self._more = connection.receive(MAX_PDUS_PER_TURN, self._loop.time())
        except RemoteProtocolError as error:
            self._flush()
            self.close(str(error), error=True)
            return
        except BaseException:
            # A fault of ours goes to the loop's handler; what was read cannot be read again, so the
            # connection ends.
            self.close("an internal error", error=True)
            raise
        if connection.output:
            self._flush()
        if self._more:
            if connection.session.reads_full:
                self._pause()
            elif not self._closed:
                self._loop.call_soon(self._continue)
            return
        self._framer.release()
        if 0 < counters.commands - commands_before <= FEW_COMMANDS and not connection.session.tasks:
            self._vigil.expect_more()

    def _continue(self) -> None:
        if self._more and not self._writing:
            self._process()

    def _wake(self) -> None:
        """Answers came up between two receives; those of one turn leave together."""
        if not self._flush_scheduled:
            self._flush_scheduled = True
            self._loop.call_soon(self._flush_now)

    def _flush_now(self) -> None:
        self._flush_scheduled = False
        if self._closed or self._writing:
            return
        self._flush()
        if not self._reading and not self._writing and not self._connection.session.reads_full:
            self._resume()

    def _flush(self) -> None:
        connection = self._connection
        output = connection.output
        while output:
            batch = output if len(output) <= IOV_MAX else output[:IOV_MAX]
            try:
                sent = self._socket.sendmsg(batch)
            except BlockingIOError:
                sent = 0
            except OSError as error:
                self.close(f"the connection broke: {error.strerror}", error=True)
                return
            if sent == connection.output_bytes:
                output.clear()
                connection.output_bytes = 0
                break
            connection.output_bytes -= sent
            if not self._drop_sent(sent, len(batch)):
                self._wait_for_room()
                return
        self._arena.reset()
        if self._writing:
            self._writing = False
            self._loop.remove_writer(self._fd)
            self._resume()
        if connection.closing:
            self.close("logout", error=False)
        elif connection.session.order.paused:
            connection.session.order.resume()

    def _drop_sent(self, sent: int, batch: int) -> bool:
        """Forget the first `sent` bytes of the output. True when that was the whole batch."""
        output = self._connection.output
        for index in range(batch):
            length = len(output[index])
            if sent < length:
                output[index] = memoryview(output[index])[sent:]
                del output[:index]
                return False
            sent -= length
        del output[:batch]
        return True

    def _wait_for_room(self) -> None:
        self._stalled_since = self._loop.time()
        if not self._writing:
            self._writing = True
            self._pause()
            self._loop.add_writer(self._fd, self._flush)

    def _pause(self) -> None:
        if self._reading:
            self._reading = False
            self._loop.remove_reader(self._fd)

    def _resume(self) -> None:
        if not self._reading and not self._closed:
            self._reading = True
            self._loop.add_reader(self._fd, self._readable)
            if self._more:
                self._loop.call_soon(self._continue)

    def close(self, reason: str, *, error: bool) -> None:
        """Close the socket. Idempotent; `on_closed` hears the first reason."""
        if self._closed:
            return
        self._closed = True
        self._pause()
        if self._writing:
            self._loop.remove_writer(self._fd)
        self._socket.close()
        self._connection.output.clear()
        self._on_closed(reason, error)
