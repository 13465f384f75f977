"""The rules of an iSNS server: requests in, responses, notifications and events out (RFC 4171 §5.6).

Without I/O: the caller reads messages, passes the address that they came from and the time, and sends what
comes back.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from san_console.isns import functions, pdu, status
from san_console.isns.attributes import SCN_OBJECT_ADDED, SCN_OBJECT_REMOVED, Attribute, Kind, Tag, read_text
from san_console.isns.changes import Asker, Change, Moment, removal_changes
from san_console.isns.database import Database, Key, key_of
from san_console.isns.deregistration import deregister
from san_console.isns.errors import Refused, RemoteProtocolError
from san_console.isns.functions import function_name
from san_console.isns.message import Message, RequestParts, parts_of, response_to
from san_console.isns.notification import (
    Notification,
    deregister_scn,
    notifications,
    register_scn,
    scn_event,
)
from san_console.isns.policy import ServerPolicy
from san_console.isns.query import View, get_next, query
from san_console.isns.registration import refresh, register
from san_console.names.display import visible


@dataclass(frozen=True, slots=True)
class ServerEvent:
    """What an administrator may want to see: kind is registered, deregistered, expired or refused."""

    kind: str
    text: str
    entity: str
    address: str
    status: int = status.SUCCESSFUL


@dataclass(slots=True)
class Outcome:
    """What follows from a message or from the passing of time."""

    response: Message | None = None
    changes: list[Change] = field(default_factory=list)
    notifications: list[Notification] = field(default_factory=list)
    events: list[ServerEvent] = field(default_factory=list)
    listens: Key | None = None
    """The node that registered for notifications by this message; they go over the same connection."""


@dataclass(slots=True)
class Counters:
    requests: int = 0
    registrations: int = 0
    deregistrations: int = 0
    queries: int = 0
    refused: int = 0
    ignored: int = 0
    expired: int = 0


_Handler = Callable[["NameServer", Message, RequestParts, Asker, Moment, Outcome], list[Attribute]]


class NameServer:
    """One database with its policy."""

    def __init__(self, policy: ServerPolicy | None = None) -> None:
        self.policy = policy or ServerPolicy()
        self.database = Database()
        self.counters = Counters()

    def handle(self, message: Message, address: str, moment: Moment) -> Outcome:
        """Answer one message from `address`. Never raises for what a client sends.

        A response that nobody waits for, and a message that says it is from a server, get no answer.
        """
        outcome = Outcome()
        if message.is_response or message.flags & (pdu.FLAG_SERVER | pdu.FLAG_CLIENT) == pdu.FLAG_SERVER:
            self.counters.ignored += 1
            return outcome
        self.counters.requests += 1
        asker: Asker | None = None
        try:
            handler = _HANDLERS.get(message.function)
            if handler is None:
                raise Refused(
                    status.MESSAGE_NOT_SUPPORTED, f"{function_name(message.function)} is not supported."
                )
            parts = parts_of(message)
            asker = self._asker(parts, address)
            if asker.entity is not None and asker.owns_entity:
                refresh(asker.entity, moment)
            attributes = handler(self, message, parts, asker, moment, outcome)
            outcome.response = response_to(message, status.SUCCESSFUL, attributes)
        except Refused as refusal:
            self._refuse(outcome, message, refusal.status, str(refusal), address, asker)
            if outcome.response is not None:
                outcome.response.attributes = [Attribute(*pair) for pair in refusal.attributes]
        except RemoteProtocolError as error:
            self._refuse(outcome, message, error.status, str(error), address, asker)
        self._announce(outcome, address, moment)
        return outcome

    def expire(self, moment: Moment) -> Outcome:
        """Forget the entities whose registration period is over (§6.2.6)."""
        outcome = Outcome()
        for entity in self.database.expired(moment.monotonic_s):
            self.remove(entity.stored.key, outcome)
            self.counters.expired += 1
            outcome.events.append(
                ServerEvent(
                    "expired",
                    f"Network entity {visible(entity.name)} was not heard of for {entity.period_s} s.",
                    entity.name,
                    entity.owner_address,
                )
            )
        self._announce(outcome, "", moment)
        return outcome

    def remove(self, entity: Key, outcome: Outcome) -> None:
        """Take an entity out of the database, with the changes that its nodes' peers hear of."""
        stored = self.database.get(Kind.ENTITY, entity)
        if stored is None:
            return
        outcome.changes += removal_changes(self.database, stored)
        self.database.remove(stored)

    def next_deadline(self) -> float | None:
        """When `expire` has something to do, None while nothing is registered."""
        return self.database.next_expiry()

    def _asker(self, parts: RequestParts, address: str) -> Asker:
        if parts.source is None:
            raise Refused(status.SOURCE_ABSENT, "The request names no source node (RFC 4171 §5.6.1).")
        if parts.source.tag != Tag.ISCSI_NAME:
            raise Refused(status.SOURCE_UNKNOWN, "Fibre Channel nodes are not known here.")
        name = read_text(parts.source.value)
        key = key_of(Kind.NODE, [parts.source.value])
        return Asker(
            name,
            key,
            address,
            self.policy.is_control(key[0], address),
            self.database.entity_of(Kind.NODE, key),
        )

    def _refuse(
        self, outcome: Outcome, message: Message, code: int, text: str, address: str, asker: Asker | None
    ) -> None:
        outcome.response = response_to(message, code)
        # The end of a walk by DevGetNext is an answer, not a refusal that anyone has to look at.
        if code == status.NO_SUCH_ENTRY:
            return
        self.counters.refused += 1
        who = f" of {visible(asker.name, 96)}" if asker else ""
        outcome.events.append(
            ServerEvent(
                "refused",
                f"{function_name(message.function)}{who} from {address}: {text}",
                asker.entity.name if asker and asker.entity else "",
                address,
                code,
            )
        )

    def _announce(self, outcome: Outcome, address: str, moment: Moment) -> None:
        changes = outcome.changes
        outcome.notifications += notifications(self.database, self.policy, changes, moment.unix_s)
        for change in changes:
            if change.bits not in (SCN_OBJECT_ADDED, SCN_OBJECT_REMOVED) or not address:
                continue
            kind = "registered" if change.bits == SCN_OBJECT_ADDED else "deregistered"
            outcome.events.append(
                ServerEvent(kind, f"{change.kind.value} {change.label}", change.entity_name, address)
            )

    def _dev_attr_reg(
        self, message: Message, parts: RequestParts, asker: Asker, moment: Moment, outcome: Outcome
    ) -> list[Attribute]:
        replace = bool(message.flags & pdu.FLAG_REPLACE)
        attributes, changes = register(
            self.database, self.policy, asker, parts, replace=replace, moment=moment
        )
        self.counters.registrations += 1
        outcome.changes += changes
        return attributes

    def _dev_dereg(
        self, message: Message, parts: RequestParts, asker: Asker, moment: Moment, outcome: Outcome
    ) -> list[Attribute]:
        attributes, changes = deregister(self.database, asker, parts)
        self.counters.deregistrations += 1
        outcome.changes += changes
        return attributes

    def _view(self, asker: Asker) -> View:
        self.counters.queries += 1
        known = asker.entity is not None or asker.control
        if not known and not self.policy.open_queries:
            raise Refused(status.SOURCE_UNKNOWN, "Only registered nodes are answered.")
        return View(self.database, self.policy, asker)

    def _dev_attr_qry(
        self, message: Message, parts: RequestParts, asker: Asker, moment: Moment, outcome: Outcome
    ) -> list[Attribute]:
        return query(self._view(asker), self.policy, self.database.next_index, parts)

    def _dev_get_next(
        self, message: Message, parts: RequestParts, asker: Asker, moment: Moment, outcome: Outcome
    ) -> list[Attribute]:
        return get_next(self._view(asker), parts)

    def _scn_reg(
        self, message: Message, parts: RequestParts, asker: Asker, moment: Moment, outcome: Outcome
    ) -> list[Attribute]:
        outcome.listens = register_scn(self.database, self.policy, asker, parts)
        return []

    def _scn_dereg(
        self, message: Message, parts: RequestParts, asker: Asker, moment: Moment, outcome: Outcome
    ) -> list[Attribute]:
        deregister_scn(self.database, asker, parts)
        return []

    def _scn_event(
        self, message: Message, parts: RequestParts, asker: Asker, moment: Moment, outcome: Outcome
    ) -> list[Attribute]:
        change = scn_event(self.database, asker, parts)
        outcome.notifications += notifications(self.database, self.policy, [change], moment.unix_s)
        return []


# Discovery domains are set by the administrator of this server, not by clients: DDReg and its like get
# status 15, and so does every function that RFC 4171 does not define.
_HANDLERS: dict[int, _Handler] = {
    functions.DEV_ATTR_REG: NameServer._dev_attr_reg,
    functions.DEV_ATTR_QRY: NameServer._dev_attr_qry,
    functions.DEV_GET_NEXT: NameServer._dev_get_next,
    functions.DEV_DEREG: NameServer._dev_dereg,
    functions.SCN_REG: NameServer._scn_reg,
    functions.SCN_DEREG: NameServer._scn_dereg,
    functions.SCN_EVENT: NameServer._scn_event,
}
