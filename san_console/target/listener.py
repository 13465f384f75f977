"""Listening on a portal, and what goes wrong there."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
from collections.abc import Callable

from san_console.names.portal import Portal
from san_console.target.errors import PortalError
from san_console.target.turning_away import turn_away

BACKLOG = 128  # logins that come at once after an outage; SOMAXCONN of older kernels
ACCEPT_PAUSE_S = 0.05  # after running out of file descriptors: as long as somebody is being turned away
TURN_AWAY_S = 1.0  # for the Login Request of an initiator for which there is no descriptor

_CHECKS = {
    errno.EADDRINUSE: (
        "is already taken",
        "Stop the other program that listens there, or choose another port.",
    ),
    errno.EADDRNOTAVAIL: ("is no address of this machine", "Choose an address that this machine has."),
    errno.EACCES: ("may not be used by this user", "Choose a port of 1024 or above."),
    errno.EAFNOSUPPORT: ("is of a kind that this machine does not have", "Check that IPv6 is turned on."),
}
_OUT_OF_RESOURCES = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class Listener:
    """One listening socket; `users` are the names of the targets that are reachable through it."""

    def __init__(
        self, portal: Portal, sock: socket.socket, on_connection: Callable[[Listener, socket.socket], None]
    ) -> None:
        self.portal = portal
        self.users: set[str] = set()
        self._socket = sock
        self._loop = asyncio.get_running_loop()
        self._on_connection = on_connection
        self._resume: asyncio.TimerHandle | None = None
        # A descriptor in hand, to be given up for the connection that comes when there is none left.
        self._reserve: socket.socket | None = socket.socket()
        self._turning_away: asyncio.Task[None] | None = None
        self._loop.add_reader(sock.fileno(), self._accept)

    @property
    def bound(self) -> Portal:
        """The portal with the port that the system chose, where the configured one is 0."""
        return Portal(self.portal.host, self._socket.getsockname()[1])

    def _accept(self) -> None:
        for _ in range(BACKLOG):
            try:
                sock, _ = self._socket.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in _OUT_OF_RESOURCES:
                    self._out_of_resources()
                return
            _prepare(sock)
            self._on_connection(self, sock)

    def _out_of_resources(self) -> None:
        """There is no descriptor for a connection, and the loop must not spin on it: the one in reserve
        takes one initiator after the other, and tells it so.
        """
        self._loop.remove_reader(self._socket.fileno())
        if self._reserve is not None:
            self._reserve.close()
            self._reserve = None
            with contextlib.suppress(OSError):  # somebody else took the descriptor: then nobody is told
                sock, _ = self._socket.accept()
                _prepare(sock)
                self._turning_away = self._loop.create_task(self._turn_away(sock))
                self._turning_away.add_done_callback(lambda _: sock.close())
        self._resume = self._loop.call_later(ACCEPT_PAUSE_S, self._listen_again)

    async def _turn_away(self, sock: socket.socket) -> None:
        with contextlib.suppress(TimeoutError, OSError):
            async with asyncio.timeout(TURN_AWAY_S):
                await turn_away(sock)

    def _listen_again(self) -> None:
        if self._turning_away is not None and not self._turning_away.done():
            self._resume = self._loop.call_later(ACCEPT_PAUSE_S, self._listen_again)
            return
        if self._reserve is None:
            with contextlib.suppress(OSError):  # still none: tried again with the next connection
                self._reserve = socket.socket()
        self._loop.add_reader(self._socket.fileno(), self._accept)

    def close(self) -> None:
        """Stop listening."""
        if self._resume is not None:
            self._resume.cancel()
        if self._turning_away is not None:
            self._turning_away.cancel()
        if self._reserve is not None:
            self._reserve.close()
        self._loop.remove_reader(self._socket.fileno())
        self._socket.close()


def _prepare(sock: socket.socket) -> None:
    sock.setblocking(False)
    with contextlib.suppress(OSError):  # a peer that is gone already is noticed by the first receive
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


async def listen(portal: Portal, on_connection: Callable[[Listener, socket.socket], None]) -> Listener:
    """Listen on `portal`. Raises PortalError."""
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(
            portal.host, portal.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except OSError as error:
        raise PortalError(
            f"The address {portal.host} cannot be resolved: {error.strerror}.", check="Check the name."
        ) from error
    family, kind, protocol, _, address = found[0]
    sock = socket.socket(family, kind, protocol)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            # IPv4 has its own portals: what "::" serves does not depend on a setting of the system.
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(address)
        sock.listen(BACKLOG)
        sock.setblocking(False)
        return Listener(portal, sock, on_connection)
    except OSError as error:
        sock.close()
        what, check = _CHECKS.get(
            error.errno or 0, (f"cannot be used: {error.strerror}", "Check the address.")
        )
        raise PortalError(f"The portal {portal} {what}.", check=check) from error
