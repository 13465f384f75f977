"""Network interfaces, their addresses and MTU, and the way to an address, from the kernel (rtnetlink(7)).

Where netlink is missing (another system, a closed sandbox) the functions give nothing instead of failing:
nothing of the protocol depends on them.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ipaddress
import logging
import socket
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

log = logging.getLogger(__name__)

_RTMGRP_LINK: Final = 0x1
_RTMGRP_IPV4_IFADDR: Final = 0x10
_RTMGRP_IPV6_IFADDR: Final = 0x100
_IFF_UP: Final = 0x1
_IFF_LOOPBACK: Final = 0x8

SETTLE_S: Final = 0.2
"""Changes come in bursts (link, then each address); one look after the burst is enough."""

NETLINK_BUFFER_BYTES: Final = 65536


@dataclass(slots=True)
class InterfaceInfo:
    """`addresses` are texts without a prefix length; link-local IPv6 ones carry their zone."""

    name: str
    mtu: int
    up: bool
    loopback: bool
    addresses: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Route:
    """How an address is reached: by which interface, from which address, through which gateway ("": none)."""

    interface: str
    source: str
    gateway: str
    mtu: int


async def interfaces() -> list[InterfaceInfo]:
    """The interfaces of this machine by index; empty where netlink is missing."""
    return await asyncio.to_thread(_interfaces)


async def route_to(address: str) -> Route | None:
    """The route to a literal IP address; None where there is none, or no netlink."""
    return await asyncio.to_thread(_route_to, address)


def _interfaces() -> list[InterfaceInfo]:
    found: dict[int, InterfaceInfo] = {}
    try:
        with _netlink() as netlink:
            for link in netlink.link("dump"):
                attributes = dict(link["attrs"])
                flags = int(link["flags"])
                found[int(link["index"])] = InterfaceInfo(
                    name=str(attributes.get("IFLA_IFNAME", "")),
                    mtu=int(attributes.get("IFLA_MTU", 0)),
                    up=bool(flags & _IFF_UP),
                    loopback=bool(flags & _IFF_LOOPBACK),
                )
            for address in netlink.addr("dump"):
                info = found.get(int(address["index"]))
                attributes = dict(address["attrs"])
                text = attributes.get("IFA_LOCAL") or attributes.get("IFA_ADDRESS")
                if info is not None and text:
                    info.addresses.append(_with_zone(str(text), info.name))
    except OSError as error:
        log.info("no netlink", extra={"fields": {"why": str(error)}})
    return list(found.values())


def _route_to(address: str) -> Route | None:
    try:
        target = ipaddress.ip_address(address.partition("%")[0])
        with _netlink() as netlink:
            for route in netlink.route("get", dst=str(target)):
                attributes = dict(route["attrs"])
                index = int(attributes.get("RTA_OIF", 0))
                links = [dict(link["attrs"]) for link in netlink.link("get", index=index)]
                of_link = links[0] if links else {}
                return Route(
                    interface=str(of_link.get("IFLA_IFNAME", "")),
                    source=str(attributes.get("RTA_PREFSRC", "")),
                    gateway=str(attributes.get("RTA_GATEWAY", "")),
                    mtu=int(of_link.get("IFLA_MTU", 0)),
                )
    except (OSError, ValueError) as error:
        log.info("no route", extra={"fields": {"to": address, "why": str(error)}})
    return None


async def changes() -> AsyncIterator[None]:
    """Gives something whenever links or addresses have changed; ends at once where netlink is missing.

    Reads the kernel's notifications itself: their content is not needed, only that there are some.
    """
    try:
        netlink = socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE
        )
    except (OSError, AttributeError) as error:
        log.info("no netlink", extra={"fields": {"why": str(error)}})
        return
    loop = asyncio.get_running_loop()
    with netlink:
        netlink.setblocking(False)
        try:
            netlink.bind((0, _RTMGRP_LINK | _RTMGRP_IPV4_IFADDR | _RTMGRP_IPV6_IFADDR))
        except OSError as error:
            log.info("no netlink notifications", extra={"fields": {"why": str(error)}})
            return
        while True:
            # ENOBUFS says that notifications were lost; what is there now is read anew in any case.
            with contextlib.suppress(OSError):
                await loop.sock_recv(netlink, NETLINK_BUFFER_BYTES)
            await asyncio.sleep(SETTLE_S)
            with contextlib.suppress(OSError):
                while netlink.recv(NETLINK_BUFFER_BYTES):
                    continue
            yield None


@contextlib.contextmanager
def _netlink() -> Iterator[Any]:
    """Raises OSError for whatever netlink does not do here.

    One object per use and per thread: an object of pyroute2 belongs to the thread that made it. In a thread
    at all, since its import alone takes a quarter of a second, and event loops other than asyncio's own
    cannot read netlink sockets.
    """
    try:
        from pyroute2 import IPRoute  # type: ignore[import-untyped]  # it has no py.typed
        from pyroute2.netlink.exceptions import NetlinkError  # type: ignore[import-untyped]  # the same
    except ImportError as error:
        raise OSError(errno.ENOSYS, "pyroute2 is not installed") from error
    try:
        with IPRoute() as netlink:
            yield netlink
    except NetlinkError as error:
        raise OSError(error.code, str(error)) from error


def _with_zone(address: str, interface: str) -> str:
    parsed = ipaddress.ip_address(address)
    return f"{address}%{interface}" if parsed.version == 6 and parsed.is_link_local else address
