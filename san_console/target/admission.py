"""Who is let in to a login: limits on half-open logins, and a pause for addresses that guess secrets."""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from collections.abc import Awaitable, Callable
from time import monotonic

from san_console.target.listener import Listener

MAX_HALF_OPEN = 256  # connections whose login is not over; each costs 16 KiB
MAX_HALF_OPEN_PER_ADDRESS = 64  # so that one host cannot keep all others out
FREE_FAILURES = 3  # a person who mistypes a secret is not to wait
FIRST_PAUSE_S = 0.25
MAX_PAUSE_S = 4.0  # a guess per 4 s and half-open login; far below the login timeout
FORGET_AFTER_S = 60.0
MAX_REMEMBERED_ADDRESSES = 1024

LogIn = Callable[[Listener, socket.socket, str], Awaitable[bool]]


class Admission:
    """Runs `log_in(listener, socket, address)` for each connection that is admitted; True when it keeps
    the socket.
    """

    def __init__(self, log_in: LogIn) -> None:
        self.half_open: Counter[str] = Counter()
        self.logins: set[asyncio.Task[None]] = set()
        self._log_in = log_in
        self._failures: dict[str, tuple[int, float]] = {}

    def connected(self, listener: Listener, sock: socket.socket) -> None:
        """A new connection: begin its login, or close it at once when there are too many."""
        try:
            address = sock.getpeername()[0]
        except OSError:
            sock.close()
            return
        if self.half_open.total() >= MAX_HALF_OPEN or self.half_open[address] >= MAX_HALF_OPEN_PER_ADDRESS:
            sock.close()
            return
        self.half_open[address] += 1
        task = asyncio.get_running_loop().create_task(self._run(listener, sock, address))
        self.logins.add(task)
        task.add_done_callback(self.logins.discard)

    async def _run(self, listener: Listener, sock: socket.socket, address: str) -> None:
        kept = False
        try:
            kept = await self._log_in(listener, sock, address)
        except OSError:
            return  # the peer is gone, before it was anybody
        finally:
            self.half_open[address] -= 1
            if not self.half_open[address]:
                del self.half_open[address]
            if not kept:
                sock.close()

    async def authentication_failed(self, address: str) -> None:
        """Note a wrong secret, and wait before it is answered: longer for each one, up to MAX_PAUSE_S."""
        now = monotonic()
        count, last = self._failures.pop(address, (0, now))
        count = count + 1 if now - last < FORGET_AFTER_S else 1
        self._failures[address] = (count, now)
        if len(self._failures) > MAX_REMEMBERED_ADDRESSES:
            del self._failures[next(iter(self._failures))]
        if count > FREE_FAILURES:
            await asyncio.sleep(min(FIRST_PAUSE_S * 2 ** min(count - FREE_FAILURES - 1, 8), MAX_PAUSE_S))

    def authenticated(self, address: str) -> None:
        """A login succeeded: whoever is there knows a secret."""
        self._failures.pop(address, None)

    async def close(self) -> None:
        """End all logins that are under way."""
        for login in list(self.logins):
            login.cancel()
        await asyncio.gather(*self.logins, return_exceptions=True)
