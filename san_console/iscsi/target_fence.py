"""Response fences: the order of responses over several connections (RFC 7143 §4.2.2.3).

A fenced response is sent when everything sent before it, on all connections, was acknowledged; what comes
after it for the same logical units waits until the initiator has acknowledged the fenced one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from san_console.iscsi.target_connection import TargetConnection
    from san_console.iscsi.target_session import TargetSession

MASK = 0xFFFFFFFF
HALF = 0x80000000
FENCE_WAIT_S = 30.0
"""How long acknowledgments are waited for. The NOP-In that asks for one is answered at once by an initiator
that works; a connection that does not acknowledge for so long is closed, which clears the fence."""


@dataclass(slots=True)
class _Entry:
    """A response in the queue; `lun` is its unit, None for all. One that is not `fenced` only waits."""

    connection: TargetConnection
    lun: int | None
    fenced: bool
    send: Callable[[], None]
    started: bool = False
    sent: bool = False


class ResponseFence:
    """The fences of one session. Idle, and `busy` False, nearly always."""

    def __init__(self, session: TargetSession) -> None:
        self._session = session
        self._queue: deque[_Entry] = deque()
        self._waiting: dict[int, tuple[TargetConnection, int]] = {}
        self._started_at = 0.0
        self._expected: set[int] = set()
        self.busy = False
        """True while a fence is up: no answer may be sent past it."""
        self.alert = False
        """True when answers have to ask `hold` before they are sent: a fence is up, or one is expected."""

    def send(self, connection: TargetConnection, lun: int | None, send: Callable[[], None]) -> None:
        """Let `send` send a response with the Response Fence attribute; `lun` None: for all units."""
        if not self._queue and len(self._session.connections) <= 1:
            send()  # §4.2.2.3.3 a: one connection keeps the order by itself
            return
        self._queue.append(_Entry(connection, lun, True, send))
        self._update()
        if len(self._queue) == 1:
            self._go_on()

    def expect(self, luns: set[int]) -> None:
        """The next CHECK CONDITION for each of these units tells of commands that were cleared by others: it
        is to be fenced (§4.2.2.3.4 a).
        """
        if len(self._session.connections) > 1:
            self._expected |= luns
            self._update()

    def hold(self, connection: TargetConnection, lun: int, attention: bool, send: Callable[[], None]) -> bool:
        """True when a response for `lun` may not be sent now; `send` is called later. `attention`: it reports
        CHECK CONDITION.
        """
        if attention and lun in self._expected:
            self._expected.discard(lun)
            self._update()
            self.send(connection, lun, send)
            return True
        if any(entry.fenced and entry.lun in (lun, None) for entry in self._queue):
            self._queue.append(_Entry(connection, lun, False, send))
            return True
        return False

    def _await(self, connections: list[TargetConnection]) -> bool:
        """Wait until all that was sent on `connections` has arrived; False when it has already."""
        self._started_at = self._session.now
        for connection in connections:
            if connection.stat_sn != connection.exp_stat_sn and not (
                connection.closing or connection.suspended
            ):
                self._waiting[id(connection)] = (connection, connection.stat_sn)
                connection.requests.probe()
        return bool(self._waiting)

    def acknowledged(self, connection: TargetConnection) -> None:
        """`connection.exp_stat_sn` has advanced."""
        entry = self._waiting.get(id(connection))
        if entry is not None and (connection.exp_stat_sn - entry[1]) & MASK < HALF:
            self._cleared(connection)

    def connection_gone(self, connection: TargetConnection) -> None:
        """No acknowledgment comes from it any more, and what is queued for it cannot be sent."""
        for entry in self._queue:
            if entry.connection is connection and entry.fenced and not entry.sent:
                entry.send = _nothing
        self._cleared(connection)

    def _cleared(self, connection: TargetConnection) -> None:
        if self._waiting.pop(id(connection), None) is not None and not self._waiting:
            self._go_on()

    def _go_on(self) -> None:
        while self._queue:
            first = self._queue[0]
            if not first.fenced or first.sent:
                self._queue.popleft()
                if not first.fenced:
                    first.send()
                continue
            if not first.started:
                first.started = True
                if self._await(list(self._session.connections.values())):
                    return
            first.sent = True
            first.send()
            if self._await([first.connection]):
                return
        self._update()

    def _update(self) -> None:
        self.busy = bool(self._queue)
        self.alert = self.busy or bool(self._expected)
        self._session.refresh()

    # Time

    def next_deadline(self) -> float | None:
        """When a connection that does not acknowledge is given up."""
        return self._started_at + FENCE_WAIT_S if self._waiting else None

    def late(self, now: float) -> list[TargetConnection]:
        """The connections that have not acknowledged in time."""
        if self._session.reads_full:
            self._started_at = now  # nothing is taken in, and no acknowledgment either
        if not self._waiting or now < self._started_at + FENCE_WAIT_S:
            return []
        return [connection for connection, _ in self._waiting.values()]

    def clear(self) -> None:
        """The session is over."""
        self._queue.clear()
        self._waiting.clear()
        self._expected.clear()
        self._update()


def _nothing() -> None:
    """The connection that the response was for is gone."""
