"""TCP connections to a portal, with reasons when there is none."""

from __future__ import annotations

import asyncio
import errno
import socket

from san_console.initiator.errors import ConnectFailed
from san_console.names.portal import Portal

_REASONS = {
    errno.ECONNREFUSED: (
        "{portal} refused the connection: nobody listens on that port",
        "target",
        "Check that the target runs, and that its portal has this address and port.",
    ),
    errno.EHOSTUNREACH: (
        "{portal} cannot be reached: no host answers at that address",
        "network",
        "Check the address, and that the host is up and in the right network.",
    ),
    errno.ENETUNREACH: (
        "{portal} cannot be reached: this machine has no route to that network",
        "initiator",
        "Check this machine's interfaces and routes.",
    ),
    errno.EADDRNOTAVAIL: (
        "the source address for {portal} is none of this machine's addresses",
        "initiator",
        "Choose an address that an interface of this machine has, of the same family as the portal's.",
    ),
    errno.ETIMEDOUT: (
        "{portal} did not answer",
        "network",
        "Check the address, and whether a firewall drops the packets.",
    ),
    errno.ECONNRESET: (
        "{portal} closed the connection at once",
        "target",
        "Check the target's log, and whether a firewall or a limit of connections is in the way.",
    ),
}


def _elapsed(loop: asyncio.AbstractEventLoop, started: float) -> str:
    return f"{loop.time() - started:.1f} s"


async def _resolve(portal: Portal, timeout_s: float) -> list[tuple[int, tuple[object, ...]]]:
    loop = asyncio.get_running_loop()
    started = loop.time()
    try:
        async with asyncio.timeout(timeout_s):
            found = await loop.getaddrinfo(portal.host, portal.port, type=socket.SOCK_STREAM)
    except TimeoutError:
        cause = f"the name {portal.host} was not resolved within {_elapsed(loop, started)}"
    except (socket.gaierror, UnicodeError) as error:
        reason = error.strerror if isinstance(error, socket.gaierror) else "it is no DNS name"
        cause = f"the name {portal.host} does not resolve: {reason} (after {_elapsed(loop, started)})"
    else:
        return [(family, address) for family, _, _, _, address in found]
    raise ConnectFailed(cause, "network", "Check the name, and this machine's DNS settings.") from None


async def connect(portal: Portal, *, timeout_s: float, source_address: str | None = None) -> socket.socket:
    """A connected, non-blocking socket. Raises ConnectFailed with the reason and the time that it took.

    All addresses of a name are tried, one after the other, within `timeout_s` in total.
    """
    loop = asyncio.get_running_loop()
    started = loop.time()
    addresses = await _resolve(portal, timeout_s)
    failure = ConnectFailed(
        f"{portal} has no address of the family of {source_address}", "initiator", "Check the source address."
    )
    for family, address in addresses:
        if source_address is not None and (":" in source_address) != (family == socket.AF_INET6):
            continue
        remaining = timeout_s - (loop.time() - started)
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            sock.setblocking(False)
            # Requests are small and latency is what counts; all of a turn leaves in one write anyway.
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            if source_address is not None:
                sock.bind((source_address, 0))
            async with asyncio.timeout(max(remaining, 0.001)):
                await loop.sock_connect(sock, address)
        except OSError as error:  # a TimeoutError is one, too
            sock.close()
            failure = _explain(portal, error, _elapsed(loop, started))
        except BaseException:
            sock.close()
            raise
        else:
            return sock
    raise failure


def _explain(portal: Portal, error: OSError, elapsed: str) -> ConnectFailed:
    number = errno.ETIMEDOUT if isinstance(error, TimeoutError) else error.errno
    known = _REASONS.get(number or 0)
    if known is None:
        cause = f"no connection to {portal}: {error.strerror or error}"
        side, check = "network", "Check the address."
    else:
        cause, side, check = known[0].format(portal=portal), known[1], known[2]
    return ConnectFailed(f"{cause} (after {elapsed})", side, check)


def describe_loss(error: BaseException | None) -> str:
    """Why a connection ended, for the user."""
    if error is None:
        return "the target closed the connection"
    if isinstance(error, OSError):
        if error.errno == errno.ECONNRESET:
            return "the target reset the connection"
        return f"the connection broke: {error.strerror or error}"
    return str(error)
