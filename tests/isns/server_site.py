"""A name server in memory and requests to it, for the tests of its rules."""

from san_console.isns import functions, pdu, requests
from san_console.isns.attributes import (
    DELIMITER,
    KEY_TAGS,
    Attribute,
    Kind,
    Tag,
    read_text,
    write_number,
    write_text,
)
from san_console.isns.changes import Moment
from san_console.isns.database import Database, StoredObject
from san_console.isns.message import Message
from san_console.isns.name_server import NameServer, Outcome
from san_console.isns.policy import ServerPolicy
from san_console.isns.requests import EntityEntry, NodeEntry, PortalEntry
from san_console.names.portal import Portal

HERE, ELSEWHERE = "127.0.0.1", "127.0.0.2"
T1, T2, I1, CONTROL = (f"iqn.2026-11.test:{name}" for name in ("t1", "t2", "i1", "control"))
P1, P2 = Portal(HERE, 3260), Portal(HERE, 3261)
NOW = Moment(1000.0, 1_800_000_000)


def name(text: str, tag: int = Tag.ISCSI_NAME) -> Attribute:
    return Attribute(tag, write_text(text))


def number(tag: int, value: int) -> Attribute:
    return Attribute(tag, write_number(value))


def portal(where: Portal) -> list[Attribute]:
    return requests.portal_key(where)


def group(node: str, where: Portal, tag: int | None = None) -> list[Attribute]:
    key = [name(node, Tag.PG_ISCSI_NAME), *requests.portal_key(where, Kind.PORTAL_GROUP)]
    return key if tag is None else [*key, number(Tag.PG_TAG, tag)]


TARGET = number(Tag.NODE_TYPE, 1)
INITIATOR = number(Tag.NODE_TYPE, 2)
NO_EID = Attribute(Tag.ENTITY_ID, b"")


class Site:
    """A server, and requests to it."""

    def __init__(self, policy: ServerPolicy | None = None) -> None:
        self.server = NameServer(policy)
        self.outcome = Outcome()
        self.now = NOW

    @property
    def database(self) -> Database:
        return self.server.database

    def send(self, message: Message, address: str = HERE) -> int:
        self.outcome = self.server.handle(message, address, self.now)
        assert self.outcome.response is not None
        assert self.outcome.response.transaction == message.transaction
        assert self.outcome.response.function == message.function | functions.RESPONSE
        assert self.outcome.response.status_code is not None
        for pdu_bytes in self.outcome.response.encode():
            assert pdu_bytes
        return self.outcome.response.status_code

    def ask(
        self, function: int, *attributes: Attribute, address: str = HERE, flags: int = pdu.FLAG_CLIENT
    ) -> int:
        return self.send(Message(function, 77, flags, None, list(attributes)), address)

    def reg(self, *attributes: Attribute, address: str = HERE, replace: bool = False) -> int:
        flags = pdu.FLAG_CLIENT | (pdu.FLAG_REPLACE if replace else 0)
        return self.ask(functions.DEV_ATTR_REG, *attributes, address=address, flags=flags)

    def add(self, entity: EntityEntry, address: str = HERE, *, replace: bool = False) -> int:
        return self.send(requests.registration(entity.nodes[0].name, entity, replace=replace), address)

    @property
    def answer(self) -> list[Attribute]:
        assert self.outcome.response is not None
        return self.outcome.response.attributes

    @property
    def operating(self) -> list[Attribute]:
        return self.answer[self.answer.index(DELIMITER) + 1 :]

    def texts(self, tag: int) -> list[str]:
        return [read_text(attribute.value) for attribute in self.operating if attribute.tag == tag]

    def names(self, kind: Kind = Kind.NODE) -> list[str]:
        return [" ".join(stored.key) for stored in self.database.objects(kind)]

    def object(self, kind: Kind, *values: bytes) -> StoredObject:
        found = [
            s for s in self.database.objects(kind) if tuple(s.attributes[t] for t in KEY_TAGS[kind]) == values
        ]
        assert len(found) == 1
        return found[0]

    def event(self) -> str:
        (event,) = self.outcome.events
        return event.text


def target(node: str = T1, *portals: Portal, **options: object) -> EntityEntry:
    return EntityEntry([NodeEntry(node, target=True)], [PortalEntry(p) for p in portals], **options)  # type: ignore[arg-type]  # passed on
