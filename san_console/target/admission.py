"""Who is let in to a login: limits on half-open logins, and a pause for addresses that guess secrets."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections import Counter
from collections.abc import Callable, Coroutine
from time import monotonic
from typing import Any

from san_console.target.listener import Listener

MAX_HALF_OPEN = 512  # connections whose login is not over; each costs 16 KiB and a task
MAX_HALF_OPEN_PER_ADDRESS = 128  # so that one host cannot keep all others out
# A login that has said nothing whole for so long gives way to a newcomer when there are too many. A real
# initiator sends its first request at once: a crowd of silent ones cannot keep it out (slow loris).
SILENT_S = 0.1
# One that has spoken and is not over after so long gives way next: a real login takes milliseconds.
STALLED_S = 3.0
FREE_FAILURES = 3  # a person who mistypes a secret is not to wait
FIRST_PAUSE_S = 0.25
MAX_PAUSE_S = 4.0  # a guess per 4 s and half-open login; far below the login timeout
FORGET_AFTER_S = 60.0
MAX_REMEMBERED_ADDRESSES = 1024
_HOST_PREFIX = 64


def origin_of(address: str) -> str:
    """Whom an address stands for in limits. A host has a whole /64 of IPv6 addresses (RFC 4291 §2.5.4): by
    single ones there would be no limit for it.
    """
    if ":" not in address:
        return address
    try:
        return str(ipaddress.IPv6Network((address, _HOST_PREFIX), strict=False))
    except ValueError:
        return address


class Visit:
    """A connection before its login is over. `timeout_s` None: as long as any login may take."""

    __slots__ = ("_admission", "address", "origin", "since", "task", "timeout_s")

    def __init__(self, admission: Admission, address: str, since: float) -> None:
        self.address = address
        self.origin = origin_of(address)
        self.since = since
        self.timeout_s: float | None = None
        self.task: asyncio.Task[bool] | None = None
        self._admission = admission

    def spoke(self) -> None:
        """A whole Login Request came: it no longer gives way to others."""
        self._admission.no_longer_silent(self)


LogIn = Callable[[Listener, socket.socket, Visit], Coroutine[Any, Any, bool]]


class Admission:
    """Runs `log_in(listener, socket, visit)` for each connection that is admitted; True when it keeps the
    socket.
    """

    def __init__(self, log_in: LogIn) -> None:
        self.half_open: Counter[str] = Counter()
        self.logins: set[asyncio.Task[bool]] = set()
        self.refused = 0
        self._log_in = log_in
        # In the order in which they came: those that have said nothing yet, and the others.
        self._silent: dict[str, dict[Visit, None]] = {}
        self._talking: dict[str, dict[Visit, None]] = {}
        self._failures: dict[str, tuple[int, float]] = {}

    def connected(self, listener: Listener, sock: socket.socket) -> None:
        """A new connection: begin its login, or close it at once when there are too many."""
        try:
            address = str(sock.getpeername()[0]).partition("%")[0]
        except OSError:
            sock.close()
            return
        now = monotonic()
        origin = origin_of(address)
        crowded = self.half_open[origin] >= MAX_HALF_OPEN_PER_ADDRESS
        if crowded or self.half_open.total() >= MAX_HALF_OPEN:
            worst = origin if crowded else max(self.half_open, key=lambda one: self.half_open[one])
            if not self._give_way(worst, now):
                self.refused += 1
                sock.close()
                return
        self.half_open[origin] += 1
        visit = Visit(self, address, now)
        self._silent.setdefault(origin, {})[visit] = None
        visit.task = asyncio.get_running_loop().create_task(self._log_in(listener, sock, visit))
        self.logins.add(visit.task)
        # Not in the task itself: one that is cancelled before its first step runs no `finally`.
        visit.task.add_done_callback(lambda task: self._over(task, sock, visit))

    def _over(self, task: asyncio.Task[bool], sock: socket.socket, visit: Visit) -> None:
        self.logins.discard(task)
        _remove(self._silent, visit)
        _remove(self._talking, visit)
        self.half_open[visit.origin] -= 1
        if not self.half_open[visit.origin]:
            del self.half_open[visit.origin]
        if task.cancelled():
            sock.close()
            return
        error = task.exception()
        if error is not None or not task.result():
            sock.close()
        if error is not None and not isinstance(error, OSError):  # OSError: the peer is gone
            task.get_loop().call_exception_handler(
                {"message": "a login failed for a fault of ours", "exception": error, "task": task}
            )

    def _give_way(self, origin: str, now: float) -> bool:
        """End the login from `origin` that has been silent or stalled longest. False when none has for
        long.
        """
        for waiting, patience_s in ((self._silent, SILENT_S), (self._talking, STALLED_S)):
            visit = next(iter(waiting.get(origin, ())), None)
            if visit is not None and visit.task is not None and now - visit.since >= patience_s:
                _remove(waiting, visit)
                self.refused += 1
                visit.task.cancel()
                return True
        return False

    def no_longer_silent(self, visit: Visit) -> None:
        """The login has said something."""
        if _remove(self._silent, visit):
            self._talking.setdefault(visit.origin, {})[visit] = None

    async def authentication_failed(self, address: str) -> None:
        """Note a wrong secret, and wait before it is answered: longer for each one, up to MAX_PAUSE_S."""
        now = monotonic()
        origin = origin_of(address)
        count, last = self._failures.pop(origin, (0, now))
        count = count + 1 if now - last < FORGET_AFTER_S else 1
        self._failures[origin] = (count, now)
        if len(self._failures) > MAX_REMEMBERED_ADDRESSES:
            del self._failures[next(iter(self._failures))]
        if count > FREE_FAILURES:
            await asyncio.sleep(min(FIRST_PAUSE_S * 2 ** min(count - FREE_FAILURES - 1, 8), MAX_PAUSE_S))

    def authenticated(self, address: str) -> None:
        """A login succeeded: whoever is there knows a secret."""
        self._failures.pop(origin_of(address), None)

    async def close(self) -> None:
        """End all logins that are under way."""
        for login in list(self.logins):
            login.cancel()
        await asyncio.gather(*self.logins, return_exceptions=True)


def _remove(waiting: dict[str, dict[Visit, None]], visit: Visit) -> bool:
    """True when it was there."""
    mates = waiting.get(visit.origin)
    if mates is None or visit not in mates:
        return False
    del mates[visit]
    if not mates:
        del waiting[visit.origin]
    return True
