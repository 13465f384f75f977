"""The listening sockets of all targets: one for each portal, shared by the targets that it reaches."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterable

from san_console.names.portal import Portal
from san_console.target.config import TargetConfig
from san_console.target.listener import Listener, listen

ANY_ADDRESS = ("0.0.0.0", "::")  # noqa: S104 - compared with: what stands for every address of the machine


class Portals:
    """Listeners by the portal as it is configured."""

    def __init__(self, on_connection: Callable[[Listener, socket.socket], None]) -> None:
        self._on_connection = on_connection
        self._listeners: dict[Portal, Listener] = {}
        self._opening = asyncio.Lock()

    async def acquire(self, target: str, portals: Iterable[Portal]) -> None:
        """Make `target` reachable through `portals`. Raises PortalError; then nothing has changed."""
        wanted = list(portals)
        opened: list[Portal] = []
        # One at a time: of two targets that come at once with the same new portal, the second finds it.
        async with self._opening:
            try:
                for portal in wanted:
                    if portal not in self._listeners:
                        self._listeners[portal] = await listen(portal, self._on_connection)
                        opened.append(portal)
            except BaseException:
                for portal in opened:
                    self._listeners.pop(portal).close()
                raise
            for portal in wanted:
                self._listeners[portal].users.add(target)

    def release(self, target: str, portals: Iterable[Portal]) -> None:
        """`target` is no longer reachable there; a portal without targets is closed."""
        for portal in portals:
            listener = self._listeners.get(portal)
            if listener is not None:
                listener.users.discard(target)
                if not listener.users:
                    self._listeners.pop(portal).close()

    def bound(self, config: TargetConfig | None = None) -> list[Portal]:
        """Where the server (or one target, in the order of its groups) listens, with the ports that the
        system chose for 0.
        """
        if config is None:
            return [listener.bound for listener in self._listeners.values()]
        return [self._listeners[portal].bound for portal in config.portals if portal in self._listeners]

    def reachable(self, config: TargetConfig, asked_at: Portal) -> list[tuple[Portal, int]]:
        """(portal, portal group tag) of a target, as an initiator that asks at `asked_at` can use them.

        A portal on any address is told as the address that the initiator used: that one is surely its.
        """
        found = []
        for group in config.groups:
            for portal in group.portals:
                listener = self._listeners.get(portal)
                if listener is None:
                    continue
                bound = listener.bound
                if bound.host in ANY_ADDRESS:
                    if asked_at.is_ipv6 != bound.is_ipv6:
                        continue
                    bound = Portal(asked_at.host, bound.port)
                # The zone of a link-local address is the name of an interface of ours.
                bound = Portal(bound.host.partition("%")[0], bound.port)
                found.append((bound, group.tag))
        return found

    def close(self) -> None:
        """Stop listening everywhere."""
        for listener in self._listeners.values():
            listener.close()
        self._listeners.clear()
