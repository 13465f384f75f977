"""iSNS servers: the embedded one, and others to look into."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Final, Literal

from san_console.api.problems import ApiProblem
from san_console.api.serving_objects import IsnsObject, IsnsServer
from san_console.engine.context import EngineContext
from san_console.engine.problems import problem_of
from san_console.isns.name_server import ServerEvent
from san_console.names.display import visible
from san_console.names.errors import NamesError
from san_console.names.portal import ISNS_PORT, Portal
from san_console.nameserver.client import (
    IsnsClient,
)
from san_console.nameserver.errors import IsnsFailure
from san_console.nameserver.objects import IsnsObject as FoundObject
from san_console.nameserver.server import IsnsServer as EmbeddedServer

EMBEDDED: Final = "embedded"
MAX_SERVERS: Final = 64
MAX_SHOWN_OBJECTS: Final = 20_000
CLIENT_TIMEOUT_S: Final = 10.0

ObjectKind = Literal["entity", "node", "portal", "portal_group", "domain", "domain_set"]
_KINDS: Final[dict[str, ObjectKind]] = {
    "entity": "entity",
    "node": "node",
    "portal": "portal",
    "portal group": "portal_group",
    "discovery domain": "domain",
    "discovery domain set": "domain_set",
}


class NameServers:
    """Owner of the collection `isns_servers`."""

    def __init__(self, context: EngineContext) -> None:
        self._context = context
        self._server: EmbeddedServer | None = None
        for server in context.state.load("isns_server", IsnsServer):
            server.state = "stopped" if server.embedded else "idle"
            context.registry.put("isns_servers", server)

    async def start_kept(self) -> None:
        """At the start of the engine: the embedded server runs again when it ran before."""
        kept = self._get(EMBEDDED)
        if kept is not None:
            try:
                await self.start(kept.address)
            except ApiProblem as error:
                kept.state = "failed"
                kept.problem = error.problem
                self._context.registry.put("isns_servers", kept)
                self._context.events.add_problem(
                    "isns_failed", error.problem, object_kind="isns", object_id=EMBEDDED
                )

    async def start(self, address: str, *, this_run_only: bool = False) -> IsnsServer:
        """Start the embedded server. Raises ApiProblem `bad-request`, `exists`, `port-taken`."""
        if self._server is not None:
            raise ApiProblem("exists", "The embedded iSNS server runs already.", side="engine")
        server = EmbeddedServer(self._portal(address), on_event=self._happened)
        try:
            await server.start()
        except IsnsFailure as error:
            raise ApiProblem.from_problem(problem_of(error)) from error
        self._server = server
        shown = IsnsServer(id=EMBEDDED, address=str(server.bound_portal), embedded=True, state="running")
        self._context.registry.put("isns_servers", shown)
        if not this_run_only:
            self._context.state.put("isns_server", EMBEDDED, shown)
        self._count()
        return shown

    async def stop(self) -> None:
        """Stop the embedded server; it does not start again by itself. Raises ApiProblem `unknown-object`."""
        if self._get(EMBEDDED) is None:
            raise ApiProblem("unknown-object", "The embedded iSNS server does not run.", side="engine")
        server, self._server = self._server, None
        if server is not None:
            await server.close()
        self._context.registry.remove("isns_servers", EMBEDDED)
        self._context.state.delete("isns_server", EMBEDDED)

    def embedded_address(self) -> str:
        """Where the embedded server listens. Raises ApiProblem `unknown-object` when it does not run."""
        return self._find(EMBEDDED).address

    def runs(self, server_id: str) -> bool:
        """Whether there is such a server in the list."""
        return self._get(server_id) is not None

    async def add(self, address: str) -> IsnsServer:
        """Look into another server; one that does not answer is added all the same, and says so."""
        portal = self._portal(address)
        server = self._get(str(portal))
        if server is None:
            if self._context.registry.count("isns_servers") >= MAX_SERVERS:
                raise ApiProblem("too-large", f"There are {MAX_SERVERS} iSNS servers already.", side="engine")
            server = IsnsServer(id=str(portal), address=str(portal))
        with contextlib.suppress(ApiProblem):  # it is in the server's own object
            await self._look(server)
        self._context.registry.put("isns_servers", server)
        self._context.state.put("isns_server", server.id, server)
        return server

    async def remove(self, server_id: str) -> None:
        """Raises ApiProblem `unknown-object`."""
        server = self._find(server_id)
        if server.embedded:
            await self.stop()
            return
        self._context.registry.remove("isns_servers", server_id)
        self._context.state.delete("isns_server", server_id)

    async def objects(self, server_id: str) -> list[IsnsObject]:
        """What is registered there, as far as it shows it to us. Raises ApiProblem."""
        server = self._find(server_id)
        if server.embedded:
            found = self._server.objects() if self._server is not None else []
            self._count()
        else:
            found = await self._look(server)
        return [_shown(one) for one in found[:MAX_SHOWN_OBJECTS] if one.kind in _KINDS]

    async def close(self) -> None:
        """Stop the embedded server."""
        if self._server is not None:
            await self._server.close()
            self._server = None

    async def _look(self, server: IsnsServer) -> list[FoundObject]:
        client = IsnsClient(
            self._portal(server.address),
            source_name=self._context.info.initiator_name,
            timeout_s=CLIENT_TIMEOUT_S,
        )
        try:
            found = await client.list_objects()
        except IsnsFailure as error:
            server.state = "failed"
            server.problem = problem_of(error)
            self._context.registry.put("isns_servers", server)
            raise ApiProblem.from_problem(server.problem) from error
        finally:
            await client.close()
        server.state = "ok"
        server.problem = None
        server.last_seen_at = self._context.clock()
        server.entity_count = sum(one.kind == "entity" for one in found)
        server.node_count = sum(one.kind == "node" for one in found)
        self._context.registry.put("isns_servers", server)
        return list(found)

    def _count(self) -> None:
        shown = self._get(EMBEDDED)
        if shown is None or self._server is None:
            return
        found = self._server.objects()
        shown.entity_count = sum(one.kind == "entity" for one in found)
        shown.node_count = sum(one.kind == "node" for one in found)
        shown.last_seen_at = self._context.clock()
        self._context.registry.put("isns_servers", shown)

    def _happened(self, event: ServerEvent) -> None:
        self._context.events.add(
            f"isns_server_{event.kind}",
            event.text,
            severity="warning" if event.kind == "refused" else "info",
            object_kind="isns",
            object_id=EMBEDDED,
            cause=f"from {event.address}" if event.address else "",
        )
        # Counted after the server has finished with what it tells of.
        asyncio.get_running_loop().call_soon(self._count)

    def _get(self, server_id: str) -> IsnsServer | None:
        return self._context.registry.get("isns_servers", IsnsServer, server_id)

    def _find(self, server_id: str) -> IsnsServer:
        server = self._get(server_id)
        if server is None:
            raise ApiProblem(
                "unknown-object", f"There is no iSNS server {visible(server_id)}.", side="engine"
            )
        return server

    @staticmethod
    def _portal(address: str) -> Portal:
        try:
            return Portal.parse(address, ISNS_PORT)
        except NamesError as error:
            raise ApiProblem("bad-request", str(error), side="this side") from None


def _shown(found: FoundObject) -> IsnsObject:
    attributes = list(found.attributes.items())
    entity = next((value for name, value in attributes if name.lower().startswith("entity identifier")), "")
    return IsnsObject(kind=_KINDS[found.kind], name=found.id, entity=entity, attributes=attributes)
