"""Listening on a portal, and what goes wrong there."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
from collections.abc import Callable

from san_console.names.portal import Portal
from san_console.target.errors import PortalError

BACKLOG = 128  # logins that come at once after an outage; SOMAXCONN of older kernels
ACCEPT_PAUSE_S = 0.5  # after running out of file descriptors

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
                    # Nothing can be accepted, and the loop must not spin on it: others have to go first.
                    self._loop.remove_reader(self._socket.fileno())
                    self._resume = self._loop.call_later(ACCEPT_PAUSE_S, self._listen_again)
                return
            sock.setblocking(False)
            with contextlib.suppress(OSError):  # a peer that is gone already is noticed by the first receive
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._on_connection(self, sock)

    def _listen_again(self) -> None:
        self._loop.add_reader(self._socket.fileno(), self._accept)

    def close(self) -> None:
        """Stop listening."""
        if self._resume is not None:
            self._resume.cancel()
        self._loop.remove_reader(self._socket.fileno())
        self._socket.close()


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
