"""The iSNS client: asks a server for targets, lists its database, registers and deregisters (RFC 4171)."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from san_console.isns import functions, requests, status
from san_console.isns.answers import AnsweredObject, objects_of, operating_of, targets_of
from san_console.isns.attributes import KEY_TAGS, Attribute, Kind, Tag, read_number, read_text
from san_console.isns.errors import LocalProtocolError, RemoteProtocolError
from san_console.isns.functions import RESPONSE, function_name
from san_console.isns.message import Message
from san_console.isns.requests import EntityEntry, NodeEntry, PortalEntry, PortalGroupEntry
from san_console.names.display import visible
from san_console.names.portal import Portal
from san_console.nameserver.connection import ServerConnection
from san_console.nameserver.errors import (
    SIDE_HERE,
    SIDE_SERVER,
    IsnsFailure,
    refused,
    unreachable,
)
from san_console.nameserver.objects import IsnsObject, object_of

__all__ = [
    "EntityEntry",
    "IsnsClient",
    "IsnsObject",
    "IsnsTarget",
    "NodeEntry",
    "ObjectList",
    "PortalEntry",
    "PortalGroupEntry",
    "Registered",
    "TargetList",
]

DEFAULT_TIMEOUT_S = 10.0

_LISTED_KINDS = (Kind.ENTITY, Kind.NODE, Kind.PORTAL, Kind.PORTAL_GROUP, Kind.DOMAIN)

# What a server says that does not keep such objects, or has none.
_NOTHING_OF_THE_KIND = frozenset(
    {
        status.INVALID_QUERY,
        status.NO_SUCH_ENTRY,
        status.MESSAGE_NOT_SUPPORTED,
        status.ATTRIBUTE_NOT_IMPLEMENTED,
    }
)


# Open-iSNS's server answers 11 when an answer would pass 8 KiB, which fifty targets do.
_TOO_MUCH_AT_ONCE = frozenset({status.INTERNAL_ERROR, status.BUSY})

MAX_WALK = 65536
"""Objects fetched one by one; the largest database that our own server keeps."""
WALK_TIMEOUT_S = 60.0
"""For all of them together: each request alone may be within its time for hours."""


@dataclass(frozen=True, slots=True)
class IsnsTarget:
    """A target as the server describes it: `portals` with portal group tags. `alias` is fit for display."""

    name: str
    alias: str
    portals: list[tuple[Portal, int | None]]
    entity: str = ""


class TargetList(list[IsnsTarget]):
    """Targets; `skipped` records could not be read, `truncated` says that there were too many."""

    skipped: int = 0
    truncated: bool = False


class ObjectList(list[IsnsObject]):
    """Objects; `skipped` attributes belonged to no object."""

    skipped: int = 0


@dataclass(frozen=True, slots=True)
class Registered:
    """What the server made of a registration: the name of the entity, and how long it keeps it unheard."""

    entity_id: str
    period_s: int | None


@dataclass(slots=True)
class _Own:
    """What this client registered, to know which inquiries are meant for it."""

    portals: set[bytes] = field(default_factory=set)


class IsnsClient:
    """A client of one server; connects when first asked and again when the connection was closed.

    `source_name` is the iSCSI name in whose name requests are sent. `on_change` gets the names of nodes that
    the server says have changed: a hint to ask again, nothing more, since anyone may forge it.

    All calls raise IsnsFailure.
    """

    def __init__(
        self,
        portal: Portal,
        *,
        source_name: str,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        on_change: Callable[[list[str]], None] | None = None,
    ) -> None:
        self.portal = portal
        self.source_name = source_name
        self.timeout_s = timeout_s
        self._on_change = on_change
        self._connection: ServerConnection | None = None
        self._connecting = asyncio.Lock()
        self._own: dict[str, _Own] = {}

    async def __aenter__(self) -> "IsnsClient":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connection; registrations stay at the server until they expire."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()

    async def query_targets(self, initiator_name: str | None = None) -> TargetList:
        """The targets that the server shows to `initiator_name` (default: the source name)."""
        source = initiator_name or self.source_name
        try:
            objects, _ = objects_of(await self._ask(requests.target_query, source))
        except IsnsFailure as failure:
            if failure.status not in _TOO_MUCH_AT_ONCE:
                raise
            objects = [*await self._walk(source, Kind.NODE), *await self._walk(source, Kind.PORTAL_GROUP)]
        found = targets_of(objects)
        result = TargetList(
            IsnsTarget(target.name, visible(target.alias), target.portals, visible(target.entity))
            for target in found.targets
        )
        result.skipped, result.truncated = found.skipped, found.truncated
        return result

    async def list_objects(self) -> ObjectList:
        """Every object that the server shows to the source name, each once, with all attributes."""
        result = ObjectList()
        seen: set[tuple[str, str]] = set()
        for kind in _LISTED_KINDS:
            try:
                objects, stray = objects_of(await self._ask(requests.kind_query, self.source_name, kind))
            except IsnsFailure as failure:
                if failure.status in _NOTHING_OF_THE_KIND:
                    continue
                if failure.status not in _TOO_MUCH_AT_ONCE:
                    raise
                objects, stray = await self._walk(self.source_name, kind), 0
            result.skipped += stray
            for item in objects:
                shown = object_of(item.kind, item.attributes)
                if (shown.kind, shown.id) not in seen:
                    seen.add((shown.kind, shown.id))
                    result.append(shown)
        order = {kind.value: position for position, kind in enumerate(_LISTED_KINDS)}
        result.sort(key=lambda item: order.get(item.kind, len(order)))
        return result

    async def _walk(self, source: str, kind: Kind) -> list[AnsweredObject]:
        """All objects of a kind, one request for each (§5.6.5.3)."""
        try:
            async with asyncio.timeout(WALK_TIMEOUT_S):
                return await self._fetch_each(source, kind)
        except TimeoutError:
            raise IsnsFailure(
                f"The iSNS server {self.portal} did not list its {kind.value}s within {WALK_TIMEOUT_S:g} s.",
                SIDE_SERVER,
                "Check the load of the server and the size of its database.",
            ) from None

    async def _fetch_each(self, source: str, kind: Kind) -> list[AnsweredObject]:
        found: list[AnsweredObject] = []
        seen: set[tuple[Attribute, ...]] = set()
        key: tuple[Attribute, ...] = ()
        while len(found) < MAX_WALK:
            message = requests.next_query(source, kind, list(key))
            answer = await self._exchange(message)
            if answer.status_code == status.NO_SUCH_ENTRY:
                return found
            if answer.status_code != status.SUCCESSFUL:
                raise refused(function_name(message.function), answer.status_code or 0)
            size = len(KEY_TAGS[kind])
            key = tuple(answer.attributes[:size])
            if tuple(attribute.tag for attribute in key) != KEY_TAGS[kind] or key in seen:
                raise self._unreadable("DevGetNext", "it names no next object.")
            seen.add(key)
            objects, _ = objects_of(operating_of(answer.attributes))
            found += [item for item in objects if item.kind is kind][:1]
        return found

    async def register(self, entity: EntityEntry, *, replace: bool = True) -> Registered:
        """Register an entity with its nodes, portals and portal groups.

        With `replace` the entity afterwards holds exactly this; without, what it held before stays. The
        source of the request is the source name where it is among the nodes, else the first node.
        """
        if not entity.nodes:
            raise IsnsFailure("A registration needs a node.", SIDE_HERE, "Name a target or initiator.")
        names = [node.name for node in entity.nodes]
        source = self.source_name if self.source_name in names else names[0]
        answer = await self._ask(requests.registration, source, entity, replace=replace)
        registered = self._registered(objects_of(answer)[0], entity)
        own = self._own.setdefault(registered.entity_id, _Own())
        own.portals = {_portal_octets(requests.portal_key(entry.portal)) for entry in entity.portals}
        return registered

    def _registered(self, objects: Iterable[AnsweredObject], entity: EntityEntry) -> Registered:
        for item in objects:
            if item.kind is not Kind.ENTITY:
                continue
            entity_id, period = item.value(Tag.ENTITY_ID), item.value(Tag.REGISTRATION_PERIOD)
            try:
                return Registered(
                    visible(read_text(entity_id or b"\0")), read_number(period) if period else None
                )
            except RemoteProtocolError as error:
                raise self._unreadable("the registration", str(error)) from None
        return Registered(entity.entity_id, entity.period_s)

    async def deregister(
        self, *, entity_id: str = "", nodes: Sequence[str] = (), source: str | None = None
    ) -> None:
        """Deregister a whole entity, or single nodes. `source` is a node of the entity (default: the first of
        `nodes`, else the source name). What is not registered is no error.
        """
        asker = source or (nodes[0] if nodes else self.source_name)
        await self._ask(requests.deregistration, asker, entity_id=entity_id, nodes=tuple(nodes))
        self._own.pop(entity_id, None)

    async def is_registered(self, name: str) -> bool:
        """Whether the server has the node `name`; asking for an own one renews its registration (§6.2.6)."""
        answer = await self._ask(requests.node_query, name, name)
        return any(item.kind is Kind.NODE for item in objects_of(answer)[0])

    async def subscribe(self, bitmap: int) -> None:
        """Ask for state change notifications; the source name must be registered, with an SCN port."""
        await self._ask(requests.scn_registration, self.source_name, bitmap)

    async def unsubscribe(self) -> None:
        """Ask for no further notifications."""
        await self._ask(requests.scn_deregistration, self.source_name)

    async def _ask(
        self, build: Callable[..., Message], *arguments: object, **options: object
    ) -> Sequence[Attribute]:
        """Send a request; the operating attributes of a successful answer."""
        try:
            message = build(*arguments, **options)
            message.encode()
        except LocalProtocolError as error:
            raise IsnsFailure(
                f"This cannot be said in iSNS: {error}", SIDE_HERE, "Check names and addresses."
            ) from None
        answer = await self._exchange(message)
        if answer.status_code != status.SUCCESSFUL:
            raise refused(f"{function_name(message.function)}", answer.status_code or 0)
        return operating_of(answer.attributes)

    async def _exchange(self, message: Message) -> Message:
        try:
            async with asyncio.timeout(self.timeout_s):
                reused = self._connection is not None and self._connection.is_open
                connection = await self._connected()
                try:
                    return await connection.ask(message)
                except IsnsFailure:
                    # A server may close an idle connection at the moment when it is used again.
                    if not reused or connection.is_open:
                        raise
                connection = await self._connected()
                return await connection.ask(message)
        except TimeoutError:
            connected = self._connection is not None and self._connection.is_open
            if not connected:
                raise unreachable(str(self.portal), None) from None
            # An answer may still come, in the middle of the next exchange; a new connection cannot have it.
            await self.close()
            raise IsnsFailure(
                f"The iSNS server {self.portal} did not answer within {self.timeout_s:g} s.",
                SIDE_SERVER,
                "Check that an iSNS server listens on this port, and its log.",
            ) from None

    async def _connected(self) -> ServerConnection:
        async with self._connecting:
            if self._connection is not None and self._connection.is_open:
                return self._connection
            await self.close()
            try:
                self._connection = await ServerConnection.open(
                    self.portal.host, self.portal.port, self._requested, self.timeout_s
                )
            except OSError as error:
                raise unreachable(str(self.portal), error) from error
            return self._connection

    def _unreadable(self, what: str, why: str) -> IsnsFailure:
        return IsnsFailure(
            f"The answer of the iSNS server {self.portal} to {what} cannot be read: {visible(why)}",
            SIDE_SERVER,
            "Check which version of iSNS the server implements.",
        )

    def _requested(self, message: Message) -> Message | None:
        """What to answer to a request of the server; None for what is not meant for this client."""
        if message.function == functions.SCN:
            return self._notified(message)
        if message.function == functions.ESI and self._is_own(message.attributes):
            return Message(functions.ESI | RESPONSE, message.transaction, 0, 0, message.attributes)
        return None

    def _notified(self, message: Message) -> Message | None:
        try:
            names = [read_text(value) for tag, value in message.attributes if tag == Tag.ISCSI_NAME]
        except RemoteProtocolError:
            return None
        if not names:
            return None
        if self._on_change is not None:
            # The first name is the destination (§5.6.5.8).
            self._on_change([visible(name, 256) for name in names[1:]])
        destination = [a for a in message.attributes if a.tag == Tag.ISCSI_NAME][:1]
        return Message(functions.SCN | RESPONSE, message.transaction, 0, 0, destination)

    def _is_own(self, attributes: Sequence[Attribute]) -> bool:
        """Whether an inquiry names an entity and a portal that this client registered."""
        values = {attribute.tag: attribute for attribute in attributes}
        try:
            entity_id = visible(read_text(values[Tag.ENTITY_ID].value))
            portal = _portal_octets([values[Tag.PORTAL_ADDRESS], values[Tag.PORTAL_PORT]])
        except (KeyError, RemoteProtocolError):
            return False
        return entity_id in self._own and portal in self._own[entity_id].portals


def _portal_octets(attributes: Sequence[Attribute]) -> bytes:
    return b"".join(attribute.value for attribute in attributes)
