"""The registrations of our targets with iSNS servers.

At each server this engine is one network entity with all targets that are to be found there: a portal
belongs to one entity (RFC 4171 §3.1), and targets share portals.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from san_console.api.problems import Problem
from san_console.api.serving_objects import IsnsRegistration, LocalTarget
from san_console.engine.context import EngineContext
from san_console.engine.problems import problem_of
from san_console.host.network import interfaces
from san_console.names.portal import ISNS_PORT, Portal
from san_console.nameserver.client import (
    EntityEntry,
    IsnsClient,
    NodeEntry,
    PortalEntry,
    PortalGroupEntry,
)
from san_console.nameserver.errors import IsnsFailure
from san_console.nameserver.registration import Registration, RegistrationEvent

CLIENT_TIMEOUT_S: Final = 10.0
LAST_WORDS_S: Final = 2.0
"""For taking registrations back; a server that does not answer forgets them itself in time."""


@dataclass(slots=True)
class _AtServer:
    """What is registered at one server."""

    targets: dict[str, LocalTarget]
    client: IsnsClient | None = None
    registration: Registration | None = None
    state: str = "pending"
    problem: Problem | None = None


class Registrations:
    """Keeps served targets registered where they ask for it. `show` tells clients of a changed target."""

    def __init__(self, context: EngineContext, show: Callable[[LocalTarget], None]) -> None:
        self._context = context
        self._show = show
        self._servers: dict[str, _AtServer] = {}
        self._changing = asyncio.Lock()

    async def follow(self, target: LocalTarget) -> None:
        """A target is served, or has changed: bring its registrations in line with it."""
        wanted = [str(Portal.parse(text, ISNS_PORT)) for text in target.register_with]
        async with self._changing:
            target.registrations = [IsnsRegistration(server=address) for address in wanted]
            self._show(target)
            for address in {*wanted, *self._servers}:
                at = self._servers.setdefault(address, _AtServer({}))
                if address in wanted:
                    at.targets[target.id] = target
                elif at.targets.pop(target.id, None) is None:
                    continue
                await self._register(address, at)

    async def drop(self, name: str) -> None:
        """A target is served no longer."""
        async with self._changing:
            for address, at in list(self._servers.items()):
                if at.targets.pop(name, None) is not None:
                    await self._register(address, at)

    async def close(self) -> None:
        """Take everything back."""
        async with self._changing:
            for at in self._servers.values():
                at.targets.clear()
            await asyncio.gather(*(self._register(*one) for one in list(self._servers.items())))

    async def _register(self, address: str, at: _AtServer) -> None:
        """Register what `at` now holds, in place of what was registered before."""
        last = not at.targets
        await self._end(address, at, deregister=last)
        if last:
            del self._servers[address]
            return
        entity = await self._entity(list(at.targets.values()))
        client = IsnsClient(
            Portal.parse(address, ISNS_PORT), source_name=entity.nodes[0].name, timeout_s=CLIENT_TIMEOUT_S
        )
        at.client = client
        at.registration = Registration(client, entity, on_event=lambda event: self._happened(address, event))
        at.registration.start_later()

    async def _end(self, address: str, at: _AtServer, *, deregister: bool) -> None:
        client, registration, at.client, at.registration = at.client, at.registration, None, None
        if client is None or registration is None:
            return
        try:
            async with asyncio.timeout(LAST_WORDS_S):
                await registration.stop(deregister=deregister)
        except (IsnsFailure, TimeoutError) as error:
            self._context.events.add(
                "isns_deregistration_failed",
                f"The targets could not be taken off the iSNS server {address}.",
                severity="warning",
                object_kind="isns",
                object_id=address,
                cause=str(error) or "no answer in time",
            )
        finally:
            await client.close()

    def _happened(self, address: str, event: RegistrationEvent) -> None:
        at = self._servers.get(address)
        if at is None:
            return
        before = at.state
        at.problem = None
        if event.failure is not None:
            at.state = "failed"
            at.problem = problem_of(event.failure)
        else:
            at.state = "pending" if event.kind == "lost" else "registered"
        for target in at.targets.values():
            self._mark(target, address, at)
        if at.state == before and at.state != "registered":
            return
        if at.problem is not None:
            self._context.events.add_problem(
                "isns_registration_failed", at.problem, object_kind="isns", object_id=address
            )
        elif event.kind != "renewed":
            names = ", ".join(at.targets)
            what = "Forgotten by" if event.kind == "lost" else "Registered at"
            self._context.events.add(
                f"isns_{event.kind}",
                f"{what} the iSNS server {address}: {names}.",
                object_kind="isns",
                object_id=address,
            )

    def _mark(self, target: LocalTarget, address: str, at: _AtServer) -> None:
        for shown in target.registrations:
            if shown.server == address and (shown.state, shown.problem) != (at.state, at.problem):
                shown.problem = at.problem
                shown.state = (
                    "registered"
                    if at.state == "registered"
                    else "failed"
                    if at.problem is not None
                    else "pending"
                )
                self._show(target)

    async def _entity(self, targets: list[LocalTarget]) -> EntityEntry:
        entity = EntityEntry(nodes=[], entity_id=self._context.info.initiator_name)
        served: dict[str, dict[Portal, int]] = {}
        portals: dict[Portal, None] = {}
        for target in targets:
            entity.nodes.append(NodeEntry(target.id, target=True, alias=target.alias))
            served[target.id] = {}
            for group in target.portal_groups:
                for text in group.portals:
                    for portal in await _numeric(Portal.parse(text)):
                        served[target.id][portal] = group.tag
                        portals[portal] = None
        entity.portals = [PortalEntry(portal) for portal in portals]
        # RFC 4171 §3.4: what is not said otherwise, every node is taken to serve at every portal.
        entity.portal_groups = [
            PortalGroupEntry(target.id, portal, served[target.id].get(portal))
            for target in targets
            for portal in portals
        ]
        return entity


async def _numeric(portal: Portal) -> list[Portal]:
    """The addresses under which a portal can be reached: iSNS keeps numbers, and "any" is none."""
    try:
        address = ipaddress.ip_address(portal.host)
    except ValueError:
        found = await asyncio.get_running_loop().getaddrinfo(portal.host, portal.port)
        return [Portal(str(entry[4][0]), portal.port) for entry in found[:1]]
    if not address.is_unspecified:
        return [portal]
    return [
        Portal(text, portal.port)
        for interface in await interfaces()
        for text in interface.addresses
        if "%" not in text and (":" in text) == (address.version == 6)
    ]
