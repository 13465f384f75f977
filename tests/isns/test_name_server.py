"""The rules of the server, message by message: who may register, see and remove what."""

from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from san_console.isns import functions, pdu, requests, status
from san_console.isns.attributes import (
    DELIMITER,
    KEY_TAGS,
    PORT_IS_UDP,
    Attribute,
    Kind,
    Tag,
    read_number,
    read_text,
    write_address,
    write_number,
    write_text,
)
from san_console.isns.changes import Moment
from san_console.isns.database import Database, StoredObject
from san_console.isns.message import Message
from san_console.isns.name_server import NameServer, Outcome
from san_console.isns.policy import Limits, ServerPolicy
from san_console.isns.requests import EntityEntry, NodeEntry, PortalEntry, PortalGroupEntry
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


@pytest.fixture
def site() -> Site:
    return Site()


# Registration


def test_isnsadm_registers_a_target(site: Site) -> None:
    """What isnsadm of Open-iSNS sends for `target=… portal=… pg,pgt=2`, its form of addresses included."""
    address = bytes(12) + bytes([127, 0, 0, 1])
    code = site.reg(
        name(T1), NO_EID, DELIMITER,
        name(T1), TARGET, name("disk", Tag.ISCSI_ALIAS),
        Attribute(16, address), number(17, 3260),
        Attribute(48, write_text(T1)), Attribute(49, address), number(50, 3260), number(51, 2),
    )  # fmt: skip
    assert code == status.SUCCESSFUL
    assert site.answer[0].tag == Tag.ENTITY_ID
    assert read_text(site.answer[0].value).startswith("isns:"), "RFC 4171 §6.2.1"
    assert [a.tag for a in site.answer] == [1, 0, 1, 2, 6, 32, 33, 34, 16, 17, 48, 49, 50, 51]
    assert Attribute(16, write_address(HERE)) in site.answer
    (stored,) = site.database.objects(Kind.PORTAL_GROUP)
    assert stored.number(Tag.PG_TAG) == 2
    assert [event.kind for event in site.outcome.events] == ["registered"] * 3
    assert site.server.counters.registrations == 1


def test_portal_groups_are_made_with_tag_1_and_a_null_tag_joins_nothing(site: Site) -> None:
    groups = [PortalGroupEntry(T1, P2, None)]
    assert site.add(target(T1, P1, P2, portal_groups=groups)) == 0
    tags = {s.key[2]: s.number(Tag.PG_TAG) for s in site.database.objects(Kind.PORTAL_GROUP)}
    assert tags == {write_number(3260).hex(): 1, write_number(3261).hex(): None}
    (node,) = site.database.objects(Kind.NODE)
    assert [found.key[1] for found, _ in site.database.related_portals(node)] == [write_number(3260).hex()]


def test_registration_without_eid_goes_to_the_entity_of_the_source(site: Site) -> None:
    assert site.add(target(T1, P1)) == 0
    assert site.reg(name(T1), NO_EID, DELIMITER, *portal(P2)) == 0
    assert site.reg(name(T1), DELIMITER, name(T2), TARGET) == 0
    assert len(site.database.entities) == 1
    assert len(site.database.objects(Kind.PORTAL_GROUP)) == 4


def test_update_keeps_what_it_does_not_name_and_replace_does_not(site: Site) -> None:
    assert site.add(target(T1, P1, entity_id="storage.example")) == 0
    assert site.reg(name(T1), name("storage.example", 1), DELIMITER, name(T1), name("new", 34)) == 0
    node = site.object(Kind.NODE, write_text(T1))
    assert (node.text(Tag.ISCSI_ALIAS), node.number(Tag.NODE_TYPE)) == ("new", 1)
    index = node.number(Tag.NODE_INDEX)
    assert site.add(target(T2, entity_id="STORAGE.example")) == 0, "names of entities are compared folded"
    replacement = EntityEntry([NodeEntry(T1, target=True)], [PortalEntry(P2)], entity_id="storage.example")
    assert site.add(replacement, replace=True) == 0
    assert [e.name for e in site.database.entities.values()] == ["storage.example"]
    node = site.object(Kind.NODE, write_text(T1))
    assert node.text(Tag.ISCSI_ALIAS) is None
    assert node.number(Tag.NODE_INDEX) != index
    assert [read_number(p.attributes[17]) for p in site.database.objects(Kind.PORTAL)] == [3261]
    kinds = [event.kind for event in site.outcome.events]
    assert "deregistered" in kinds
    assert "registered" in kinds


def test_replacing_one_portal_leaves_the_rest_of_the_entity(site: Site) -> None:
    """isnsadm --replace --key portal=… portal=…"""
    assert site.add(target(T1, P1)) == 0
    assert site.reg(name(T1), *portal(P1), DELIMITER, *portal(P2), replace=True) == 0
    assert site.names(Kind.PORTAL) == [f"{write_address(HERE).hex()} {write_number(3261).hex()}"]
    assert site.names() == [T1]


def test_replacing_the_only_object_keeps_the_entity_its_name_and_its_owner() -> None:
    site = Site(ServerPolicy(control_nodes={CONTROL: frozenset({ELSEWHERE})}))
    assert site.add(target(T1, entity_id="storage.example", period_s=50)) == 0
    code = site.reg(
        name(CONTROL), name(T1), DELIMITER, name(T2), TARGET, replace=True, address=ELSEWHERE
    )  # fmt: skip
    assert code == 0
    (entity,) = site.database.entities.values()
    assert (entity.name, entity.owner_address, entity.period_s) == ("storage.example", HERE, 50)
    assert site.names() == [T2]


def test_message_key_of_a_node_updates_only_with_the_node_among_the_operating_attributes(site: Site) -> None:
    assert site.add(target(T1, P1)) == 0
    assert site.reg(name(T1), name(T1), DELIMITER, name(T1), name("x", 34)) == 0
    assert site.reg(name(T1), name(T1), DELIMITER, *portal(P2)) == status.INVALID_REGISTRATION
    assert site.reg(name(T1), *group(T1, P1), DELIMITER, *group(T1, P1, 9)) == 0
    assert site.database.objects(Kind.PORTAL_GROUP)[0].number(Tag.PG_TAG) == 9


def test_explicit_portal_group_may_name_an_end_that_comes_later(site: Site) -> None:
    assert site.add(target(T1, P1)) == 0
    assert site.reg(name(T1), NO_EID, DELIMITER, *group(T1, P2, 5)) == 0
    assert site.reg(name(T1), NO_EID, DELIMITER, *portal(P2)) == 0
    assert {s.number(Tag.PG_TAG) for s in site.database.objects(Kind.PORTAL_GROUP)} == {1, 5}
    assert site.reg(name(T1), NO_EID, DELIMITER, *group(T2, Portal(HERE, 9))) == status.INVALID_REGISTRATION
    assert site.reg(name(T1), NO_EID, DELIMITER, *group(T1, Portal(HERE, 10))) == 0
    key = (T1, write_address(HERE).hex(), write_number(10).hex())
    stored = site.database.get(Kind.PORTAL_GROUP, key)
    assert stored is not None
    assert stored.number(Tag.PG_TAG) == 1, "without a tag it is 1 (RFC 4171 §6.5.4)"


@pytest.mark.parametrize(
    ("attributes", "code"),
    [
        ([name(T1), NO_EID, DELIMITER], 3),
        ([name(T1), NO_EID, DELIMITER, NO_EID], 3),
        ([name(T1), NO_EID, DELIMITER, number(2, 2)], 2),
        ([name(T1), NO_EID, DELIMITER, name(T1), TARGET, name("e", 1)], 2),
        ([name(T1), NO_EID, DELIMITER, name("e", 1), name("f", 1), name(T1), TARGET], 2),
        ([name(T1), name("e", 1), DELIMITER, name("f", 1), name(T1), TARGET], 3),
        ([name(T1), name("isns:mine", 1), DELIMITER, name(T1), TARGET], 3),
        ([name(T1), name("e", 1), name("f", 1), DELIMITER, name(T1), TARGET], 3),
        ([name(T1), name("e", 1), number(2, 2), DELIMITER, name(T1), TARGET], 3),
        ([name(T1), name(T2), DELIMITER, name(T1), TARGET], 3),
        ([name(T1), Attribute(32, b""), DELIMITER, name(T1), TARGET], 3),
        ([name(T1), NO_EID, DELIMITER, name(T1)], 3),
        ([name(T1), NO_EID, DELIMITER, name(T1), number(33, 0)], 3),
        ([name(T1), NO_EID, DELIMITER, name(T1), Attribute(33, b"")], 3),
        ([name(T1), NO_EID, DELIMITER, name(T1), number(33, 4)], 3),
        ([name(T1), NO_EID, DELIMITER, name(T1), TARGET, name(T1), TARGET], 3),
        ([name(T1), NO_EID, DELIMITER, name(T1), TARGET, name("not a name"), TARGET], 3),
        ([name(T1), NO_EID, DELIMITER, name(T1), TARGET, Attribute(32, b""), TARGET], 3),
        ([name(T1), NO_EID, DELIMITER, name(T1), TARGET, Attribute(4, bytes(8))], 3),
        ([name(T1), NO_EID, DELIMITER, name("e", 1), Attribute(4, bytes(8)), name(T1), TARGET], 3),
        ([name(T1), NO_EID, DELIMITER, name(T1), TARGET, number(38, 1)], 3),
        ([name(T1), NO_EID, DELIMITER, name(T1), TARGET, number(36, 1)], 3),
        ([name(T1), NO_EID, DELIMITER, name("e", 1), number(7, 1), name(T1), TARGET], 3),
        ([name(T1), NO_EID, DELIMITER, name(T1), TARGET, Attribute(64, bytes(8))], 23),
        ([name(T1), NO_EID, DELIMITER, name(T1), TARGET, number(2065, 1)], 23),
        ([name(T1), NO_EID, DELIMITER, name(T1), TARGET, number(5000, 1)], 18),
        ([name(T1), NO_EID, DELIMITER, name(T1), TARGET, number(256, 1)], 18),
        ([name(T1), NO_EID, DELIMITER, name(T1), TARGET, Attribute(33, bytes(8))], 2),
        ([name(T1), NO_EID, DELIMITER, name(T1), TARGET, Attribute(16, bytes(4)), number(17, 1)], 2),
        ([name(T1), NO_EID, DELIMITER, name(T1), TARGET, *group(T2, P2, 1)], 3),
        ([name(T1), number(36, 1), DELIMITER, name(T1), TARGET], 2),
        ([name(T2), NO_EID, DELIMITER, name(T1), TARGET], 6),
        ([name("e", 1), DELIMITER, name(T1), TARGET], 7),
        ([DELIMITER, name(T1), TARGET], 7),
        ([Attribute(64, bytes(8)), DELIMITER, name(T1), TARGET], 6),
    ],
)
def test_registrations_that_are_refused_change_nothing(
    site: Site, attributes: list[Attribute], code: int
) -> None:
    assert site.reg(*attributes) == code
    assert len(site.database) == 0
    assert site.outcome.changes == []
    assert [event.kind for event in site.outcome.events] == ["refused"]
    assert site.server.counters.refused == 1


def test_eid_of_nothing_but_nul_counts_as_none(site: Site) -> None:
    assert (
        site.reg(name(T1), Attribute(1, bytes(4)), DELIMITER, Attribute(1, bytes(4)), name(T1), TARGET) == 0
    )
    assert next(iter(site.database.entities.values())).name.startswith("isns:")


def test_null_protocol_becomes_iscsi_and_a_vendor_attribute_is_kept(site: Site) -> None:
    entity = [NO_EID, Attribute(2, b""), number(400, 5)]
    assert site.reg(name(T1), NO_EID, DELIMITER, *entity, name(T1), TARGET) == 0
    stored = next(iter(site.database.entities.values())).stored
    assert stored.number(Tag.ENTITY_PROTOCOL) == 2
    assert stored.number(400) == 5


def test_generated_names_avoid_the_ones_that_exist(site: Site) -> None:
    site.database.add_entity({Tag.ENTITY_ID: write_text("isns:00000002")}, HERE)
    assert site.add(target(T1)) == 0
    assert len(site.database.entities) == 2


def test_client_may_repeat_the_index_that_it_was_given(site: Site) -> None:
    assert site.add(target(T1, entity_id="e")) == 0
    index = site.object(Kind.NODE, write_text(T1)).attributes[Tag.NODE_INDEX]
    assert site.reg(name(T1), name("e", 1), DELIMITER, name(T1), Attribute(36, index)) == 0


def test_names_are_compared_folded_and_kept_as_written(site: Site) -> None:
    upper = "iqn.2026-11.test:T1"
    assert site.add(target(upper)) == 0
    assert site.reg(name(T1), NO_EID, DELIMITER, name(T1), name("x", 34)) == 0
    assert site.object(Kind.NODE, write_text(upper)).text(Tag.ISCSI_ALIAS) == "x"


# Who may change what (B44, B47)


def test_a_name_cannot_be_taken_by_another_entity_or_address(site: Site) -> None:
    assert site.add(target(T1, P1)) == 0
    assert site.add(target(T1, P2), ELSEWHERE) == status.SOURCE_UNAUTHORIZED
    assert "was registered from 127.0.0.1" in site.event()
    thief = EntityEntry([NodeEntry(I1, initiator=True), NodeEntry(T1, target=True)], [PortalEntry(P2)])
    assert site.add(thief, ELSEWHERE) == status.INVALID_REGISTRATION
    assert "registered by network entity" in site.event()
    assert site.answer == [name(T1)], "the conflict is shown"
    assert site.add(target(T2, P1)) == status.INVALID_REGISTRATION
    assert site.names() == [T1]


def test_portal_group_across_entities_is_refused(site: Site) -> None:
    assert site.add(target(T1, P1)) == 0
    assert site.add(target(T2, P2)) == 0
    assert site.reg(name(T1), NO_EID, DELIMITER, *group(T1, P2, 1)) == status.INVALID_REGISTRATION


def test_source_of_another_entity_changes_nothing(site: Site) -> None:
    assert site.add(target(T1, entity_id="one")) == 0
    assert site.add(target(T2, entity_id="two")) == 0
    assert site.reg(name(T2), name("one", 1), DELIMITER, *portal(P1)) == status.SOURCE_UNAUTHORIZED
    assert site.reg(name(T2), name("three", 1), DELIMITER, *portal(P1)) == status.SOURCE_UNAUTHORIZED
    assert site.reg(name(T2), name(T1), DELIMITER, name("one", 1), name(T1)) == status.SOURCE_UNAUTHORIZED
    assert site.reg(name(T1), name(T1), DELIMITER, name("two", 1), name(T1)) == status.INVALID_REGISTRATION
    assert site.reg(name(I1), name("one", 1), DELIMITER, *portal(P1)) == status.SOURCE_UNKNOWN
    assert site.reg(name(I1), name("one", 1), DELIMITER, name(I1), INITIATOR) == 0, "same host, new node"


def test_control_node_is_believed_from_its_address_only() -> None:
    site = Site(ServerPolicy(control_nodes={CONTROL: frozenset({ELSEWHERE})}))
    assert site.add(target(T1, P1, entity_id="one")) == 0
    change = (name(CONTROL), name("one", 1), DELIMITER, *portal(P2))
    assert site.reg(*change) == status.SOURCE_UNKNOWN
    assert len(site.database.objects(Kind.PORTAL)) == 1
    assert site.reg(*change, address=ELSEWHERE) == 0
    assert site.reg(name(CONTROL), NO_EID, DELIMITER, name(CONTROL), number(33, 4), address=ELSEWHERE) == 0
    assert site.ask(functions.DEV_DEREG, name(CONTROL), DELIMITER, name("one", 1), address=ELSEWHERE) == 0
    assert site.names() == [CONTROL]


def test_portal_left_behind_without_a_node_can_be_registered_again(site: Site) -> None:
    assert site.add(target(T1, P1)) == 0
    assert site.ask(functions.DEV_DEREG, name(T1), DELIMITER, name(T1)) == 0
    assert len(site.database.objects(Kind.PORTAL)) == 1
    assert len(site.database.objects(Kind.PORTAL_GROUP)) == 1, "it stays with its portal (RFC 4171 §5.6.5.4)"
    assert site.add(target(T2, P1), ELSEWHERE) == status.INVALID_REGISTRATION
    assert site.add(target(T2, P1)) == 0
    assert len(site.database.entities) == 1


# Limits


@pytest.mark.parametrize(
    "limits",
    [
        Limits(entities=1),
        Limits(entities_per_address=1),
        Limits(objects=4),
    ],
)
def test_further_entities_are_refused_when_full(limits: Limits) -> None:
    site = Site(ServerPolicy(limits=limits))
    assert site.add(target(T1, P1)) == 0
    assert site.add(target(T2)) == status.BUSY
    assert site.names() == [T1]


@pytest.mark.parametrize(
    "limits",
    [
        Limits(nodes_per_entity=1),
        Limits(portals_per_entity=1),
        Limits(portal_groups_per_entity=3),
        Limits(bytes_per_entity=80),
    ],
)
def test_further_objects_of_an_entity_are_refused_when_full(limits: Limits) -> None:
    site = Site(ServerPolicy(limits=limits))
    assert site.reg(name(T1), NO_EID, DELIMITER, name(T1), TARGET) == 0
    more = [name(T2), TARGET, *portal(P1), *portal(P2)]
    assert site.reg(name(T1), NO_EID, DELIMITER, *more) == status.BUSY
    assert site.names() == [T1]
    assert site.reg(name(T1), NO_EID, DELIMITER, name(T1), TARGET, replace=True) == 0, "a replacement fits"


def test_answers_are_bounded() -> None:
    site = Site(ServerPolicy(limits=Limits(answer_bytes=100)))
    assert site.add(target(T1, P1, P2)) == 0
    assert site.send(requests.kind_query(I1, Kind.NODE)) == status.INTERNAL_ERROR
    assert "too large" in site.event()


# Registration period (§6.2.6)


@pytest.mark.parametrize(("asked", "given_s"), [(None, 600), (0, 600), (1, 10), (120, 120), (1 << 31, 86400)])
def test_registration_period_is_bounded_and_answered(site: Site, asked: int | None, given_s: int) -> None:
    assert site.add(target(T1, period_s=asked)) == 0
    assert number(Tag.REGISTRATION_PERIOD, given_s) in site.operating
    assert site.server.next_deadline() == NOW.monotonic_s + given_s


def test_entity_expires_unless_it_is_heard_of(site: Site) -> None:
    assert site.server.next_deadline() is None
    assert site.add(target(T1, P1, period_s=100)) == 0
    assert site.add(target(T2, period_s=100), ELSEWHERE) == 0
    site.now = Moment(1090.0, NOW.unix_s + 90)
    assert site.send(requests.node_query(T1, T1)) == 0
    assert site.send(requests.node_query(T2, T2), HERE) == 0, "from another address, so it renews nothing"
    assert site.server.expire(Moment(1099.0, 0)).events == []
    outcome = site.server.expire(Moment(1100.0, NOW.unix_s + 100))
    assert [event.kind for event in outcome.events] == ["expired"]
    assert site.names() == [T1]
    assert site.server.counters.expired == 1
    timestamp = next(iter(site.database.entities.values())).stored.number(Tag.TIMESTAMP)
    assert timestamp == NOW.unix_s + 90
    site.server.expire(Moment(1190.0, 0))
    assert len(site.database) == 0


# Deregistration


def test_deregistration_by_every_kind_of_key(site: Site) -> None:
    assert site.add(target(T1, P1, P2, entity_id="e")) == 0
    assert site.reg(name(T1), NO_EID, DELIMITER, name(T2), TARGET) == 0
    index = site.object(Kind.NODE, write_text(T2)).attributes[Tag.NODE_INDEX]
    assert site.ask(functions.DEV_DEREG, name(T1), DELIMITER, Attribute(36, index), *portal(P2)) == 0
    assert site.names() == [T1]
    assert len(site.database.objects(Kind.PORTAL)) == 1
    assert site.answer == [DELIMITER]
    assert site.ask(functions.DEV_DEREG, name(T1), DELIMITER, name("nobody", 1), name(T2)) == 0
    assert site.ask(functions.DEV_DEREG, name(T1), DELIMITER, name("e", 1), name(T1)) == 0
    assert len(site.database) == 0
    assert site.server.counters.deregistrations == 3


def test_entity_goes_with_its_last_object(site: Site) -> None:
    assert site.add(target(T1, P1)) == 0
    assert site.ask(functions.DEV_DEREG, name(T1), DELIMITER, *portal(P1), name(T1)) == 0
    assert len(site.database) == 0
    assert site.database.entities == {}


def test_foreign_objects_are_not_deregistered_and_named_in_the_answer(site: Site) -> None:
    assert site.add(target(T1, P1)) == 0
    assert site.add(target(T2)) == 0
    dereg = functions.DEV_DEREG
    assert site.ask(dereg, name(T2), DELIMITER, name(T2), name(T1)) == status.SOURCE_UNAUTHORIZED
    assert site.operating == [name(T1)]
    assert site.ask(dereg, name(T1), DELIMITER, name(T1), address=ELSEWHERE) == status.SOURCE_UNAUTHORIZED
    assert site.ask(dereg, name(I1), DELIMITER, name(T1)) == status.SOURCE_UNKNOWN
    assert site.names() == [T1, T2]


@pytest.mark.parametrize(
    ("attributes", "code"),
    [
        ([name(T1), name(T1), DELIMITER], 2),
        ([name(T1), DELIMITER, *group(T1, P1)], 22),
        ([name(T1), DELIMITER, number(2065, 1)], 22),
        ([name(T1), DELIMITER, Attribute(32, b"")], 22),
        ([name(T1), DELIMITER, TARGET], 2),
        ([name(T1), DELIMITER, number(9999, 1)], 2),
        ([name(T1), DELIMITER, Attribute(16, write_address(HERE))], 2),
        ([name(T1), DELIMITER, number(52, 3)], 22),
    ],
)
def test_deregistrations_that_are_refused(site: Site, attributes: list[Attribute], code: int) -> None:
    assert site.add(target(T1, P1)) == 0
    assert site.ask(functions.DEV_DEREG, *attributes) == code
    assert site.names() == [T1]


# Queries


@pytest.fixture
def filled(site: Site) -> Site:
    groups = [PortalGroupEntry(T1, P2, 7)]
    nodes, portals = [NodeEntry(T1, target=True, alias="disk")], [PortalEntry(P1), PortalEntry(P2)]
    assert site.add(EntityEntry(nodes, portals, groups, "one")) == 0
    assert (
        site.add(EntityEntry([NodeEntry(T2, target=True), NodeEntry(I1, initiator=True)], entity_id="two"))
        == 0
    )
    return site


def tags(attributes: Iterable[Attribute]) -> list[int]:
    return [attribute.tag for attribute in attributes]


def test_query_without_operating_attributes_answers_everything_once(filled: Site) -> None:
    assert filled.send(requests.kind_query(I1, Kind.NODE)) == 0
    assert filled.answer[0] == Attribute(32, b"")
    assert filled.texts(Tag.ISCSI_NAME) == [T1, T2, I1]
    assert filled.texts(Tag.ENTITY_ID) == ["one", "two"]
    assert tags(filled.operating).count(Tag.PORTAL_PORT) == 2
    assert tags(filled.operating).count(Tag.PG_TAG) == 2


def test_query_answers_related_objects_in_the_order_that_was_asked(filled: Site) -> None:
    """RFC 4171 §5.6.5.2: the attributes of each match, before those of the next."""
    wanted = [Attribute(tag, b"") for tag in (32, 16, 17, 51, 1)]
    assert filled.ask(functions.DEV_ATTR_QRY, name(I1), Attribute(32, b""), DELIMITER, *wanted) == 0
    assert tags(filled.operating) == [32, 16, 17, 16, 17, 51, 51, 1, 32, 1, 32, 1]


@pytest.mark.parametrize(
    ("key", "wanted", "found"),
    [
        ([name(T1)], [34], ["disk"]),
        ([name(T1.upper().replace("IQN", "iqn"))], [32], [T1]),
        ([TARGET], [32], [T1, T2]),
        ([name("ONE", 1)], [32], [T1]),
        ([name("two", 1)], [32], [T2, I1]),
        ([*portal(P1)], [32], [T1]),
        ([Attribute(16, bytes(12) + bytes([127, 0, 0, 1]))], [32], [T1, T1]),
        (group(T1, P1), [32], [T1]),
        ([*portal(P1)], [1], ["one"]),
        ([name("nobody")], [32], []),
        ([name("disk", 34)], [32], [T1]),
        ([number(35, 1)], [32], []),
        ([name(T1)], [32, 32], [T1]),
        ([name(T1)], [42], []),
        ([name(T2)], [18], []),
    ],
)
def test_query_by_key(filled: Site, key: list[Attribute], wanted: list[int], found: list[str]) -> None:
    asked = [Attribute(tag, b"") for tag in wanted]
    assert filled.ask(functions.DEV_ATTR_QRY, name(I1), *key, DELIMITER, *asked) == 0
    assert filled.answer[: len(key)] == key
    assert [read_text(attribute.value) for attribute in filled.operating] == found


def test_query_by_index_and_by_portal_group(filled: Site) -> None:
    index = filled.object(Kind.PORTAL, *(a.value for a in portal(P2))).attributes[Tag.PORTAL_INDEX]
    asked = [Attribute(tag, b"") for tag in (17, 51, 16)]
    assert filled.ask(functions.DEV_ATTR_QRY, name(I1), Attribute(22, index), DELIMITER, *asked) == 0
    assert [read_number(a.value) for a in filled.operating if a.tag != 16] == [3261, 7]
    asked = [Attribute(17, b"")]
    assert filled.ask(functions.DEV_ATTR_QRY, name(I1), number(51, 7), DELIMITER, *asked) == 0
    assert filled.operating == [number(17, 3261)]


def test_null_portal_group_relates_nothing(filled: Site) -> None:
    assert filled.reg(name(T1), NO_EID, DELIMITER, *group(T1, P2), Attribute(51, b"")) == 0
    asked = [Attribute(17, b"")]
    assert filled.ask(functions.DEV_ATTR_QRY, name(I1), name(T1), DELIMITER, *asked) == 0
    assert filled.operating == [number(17, 3260)]
    asked = [Attribute(32, b"")]
    assert filled.ask(functions.DEV_ATTR_QRY, name(I1), *group(T1, P2), DELIMITER, *asked) == 0
    assert filled.operating == []
    assert filled.ask(functions.DEV_ATTR_QRY, name(I1), *portal(P2), DELIMITER, *asked) == 0
    assert filled.operating == []


def test_query_without_a_key_lists_by_type(filled: Site) -> None:
    wanted = [Attribute(tag, b"") for tag in (17, 32)]
    assert filled.ask(functions.DEV_ATTR_QRY, name(I1), DELIMITER, *wanted) == 0
    assert tags(filled.operating) == [17, 17, 32, 32, 32]
    assert filled.ask(functions.DEV_ATTR_QRY, name(I1), DELIMITER) == 0
    assert {1, 16, 32, 48, 2065} <= set(tags(filled.operating))


def test_next_index_can_be_asked_for(filled: Site) -> None:
    wanted = [Attribute(tag, b"") for tag in (8, 38)]
    assert filled.ask(functions.DEV_ATTR_QRY, name(I1), DELIMITER, *wanted) == 0
    highest = max(
        stored.number(tag) or 0
        for tag, kind in ((7, Kind.ENTITY), (22, Kind.PORTAL), (36, Kind.NODE), (52, Kind.PORTAL_GROUP))
        for stored in filled.database.objects(kind)
    )
    assert [read_number(attribute.value) for attribute in filled.operating] == [highest + 1] * 2


@pytest.mark.parametrize(
    ("attributes", "code"),
    [
        ([name(T1), *portal(P1), DELIMITER], 5),
        ([number(256, 1), DELIMITER], 18),
        ([Attribute(64, bytes(8)), DELIMITER], 6),
        ([name("x", 1), DELIMITER], 7),
    ],
)
def test_queries_that_are_refused(filled: Site, attributes: list[Attribute], code: int) -> None:
    source = [name(I1)] if code in (5, 18) else []
    assert filled.ask(functions.DEV_ATTR_QRY, *source, *attributes) == code
    assert filled.ask(functions.DEV_ATTR_QRY, name(I1), DELIMITER, number(256, 1)) == 18
    assert filled.ask(functions.DEV_ATTR_QRY, name(I1), DELIMITER, number(1700, 1)) == 18


def test_query_of_thousands_of_attributes_is_not_begun(filled: Site) -> None:
    many = [name(I1), *([number(51, 1)] * 1000)]
    for function in (functions.DEV_ATTR_QRY, functions.DEV_GET_NEXT):
        assert filled.ask(function, *many, DELIMITER) == status.INVALID_QUERY
        assert filled.ask(function, name(I1), Attribute(32, b""), DELIMITER, *many) == status.INVALID_QUERY


def test_kinds_that_are_not_kept_have_no_objects(filled: Site) -> None:
    asked = [Attribute(96, b""), Attribute(64, b"")]
    assert filled.ask(functions.DEV_ATTR_QRY, name(I1), name(T1), DELIMITER, *asked) == 0
    assert filled.operating == []
    assert filled.ask(functions.DEV_ATTR_QRY, name(I1), Attribute(64, b""), DELIMITER, *asked) == 0
    assert filled.operating == []


# Discovery domains


def test_nodes_see_the_members_of_their_domains_only() -> None:
    policy = ServerPolicy(
        domains={"a": frozenset({T1, I1.upper().replace("IQN", "iqn")}), "b": frozenset({T2})}
    )
    site = Site(policy)
    assert site.add(target(T1, P1, entity_id="one")) == 0
    assert site.add(target(T2, P2, entity_id="two")) == 0
    other = "iqn.2026-11.test:other"
    assert site.add(EntityEntry([NodeEntry(other, initiator=True)], entity_id="three")) == 0
    for asker, seen in ((I1, [T1]), (T2, [T2]), (other, [other]), ("iqn.2026-11.test:stranger", [other])):
        assert site.send(requests.kind_query(asker, Kind.NODE)) == 0
        assert site.texts(Tag.ISCSI_NAME) == seen, asker
        ports = [read_number(a.value) for a in site.operating if a.tag == Tag.PORTAL_PORT]
        assert ports == {T1: [3260], T2: [3261], other: []}[seen[0]]
    for kind, key in (
        (Kind.PORTAL, portal(P2)),
        (Kind.ENTITY, [name("two", 1)]),
        (Kind.PORTAL_GROUP, group(T2, P2)),
    ):
        assert site.ask(functions.DEV_ATTR_QRY, name(I1), *key, DELIMITER) == 0
        assert site.operating == [], kind
    assert site.send(requests.kind_query(I1, Kind.DOMAIN)) == 0
    assert site.operating == [number(Tag.DD_ID, 2), name("a", Tag.DD_NAME), name(T1, Tag.DD_MEMBER_NAME)]
    asked = [Attribute(2068, b""), Attribute(32, b"")]
    assert site.ask(functions.DEV_ATTR_QRY, name(I1), number(Tag.DD_ID, 2), DELIMITER, *asked) == 0
    assert site.operating == [name(T1, Tag.DD_MEMBER_NAME)]


def test_without_a_default_domain_a_node_sees_its_own_entity_only() -> None:
    site = Site(ServerPolicy(default_domain=False))
    assert site.add(target(T1, P1, entity_id="one")) == 0
    assert site.add(target(T2, P2, entity_id="two")) == 0
    assert site.send(requests.kind_query(T1, Kind.NODE)) == 0
    assert site.texts(Tag.ISCSI_NAME) == [T1]
    assert site.send(requests.kind_query(T1, Kind.DOMAIN)) == 0
    assert site.operating == []
    asked = [Attribute(32, b"")]
    assert site.ask(functions.DEV_ATTR_QRY, name(T2), name(T1), DELIMITER, *asked) == 0
    assert site.operating == []


def test_unregistered_nodes_can_be_shut_out() -> None:
    site = Site(ServerPolicy(open_queries=False, control_nodes={CONTROL: frozenset({HERE})}))
    assert site.add(target(T1, P1)) == 0
    assert site.send(requests.target_query(I1)) == status.SOURCE_UNKNOWN
    assert site.send(requests.next_query(I1, Kind.NODE, [])) == status.SOURCE_UNKNOWN
    assert site.send(requests.target_query(T1)) == 0
    assert site.send(requests.target_query(CONTROL)) == 0
    assert site.send(requests.kind_query(CONTROL, Kind.DOMAIN)) == 0
    assert number(Tag.DD_ID, 1) in site.operating


# DevGetNext


@pytest.mark.parametrize("kind", [Kind.ENTITY, Kind.NODE, Kind.PORTAL, Kind.PORTAL_GROUP, Kind.DOMAIN])
def test_get_next_walks_through_every_object_once(filled: Site, kind: Kind) -> None:
    found: list[tuple[bytes, ...]] = []
    key: list[Attribute] = []
    while (code := filled.send(requests.next_query(I1, kind, key))) == 0:
        key = filled.answer[: filled.answer.index(DELIMITER)]
        found.append(tuple(attribute.value for attribute in key))
        assert filled.operating[: len(key)] == key
    assert code == status.NO_SUCH_ENTRY
    assert filled.outcome.events == [], "the end of a walk is no incident"
    count = 1 if kind is Kind.DOMAIN else len(filled.database.objects(kind))
    assert len(found) == len(set(found)) == count


def test_get_next_filters_and_selects(filled: Site) -> None:
    get = functions.DEV_GET_NEXT
    assert filled.ask(get, name(I1), Attribute(32, b""), DELIMITER, INITIATOR, Attribute(33, b"")) == 0
    assert filled.answer == [name(I1), DELIMITER, INITIATOR]
    assert filled.ask(get, name(I1), number(36, 0), DELIMITER, Attribute(32, b"")) == 0
    assert filled.operating == [name(T1)]
    gone = name("iqn.2026-11.test:j")
    assert filled.ask(get, name(I1), gone, DELIMITER, Attribute(32, b"")) == 0
    assert filled.operating == [name(T1)], "the one after a node that is gone"


@pytest.mark.parametrize(
    "attributes",
    [
        [DELIMITER],
        [Attribute(16, b""), DELIMITER],
        [TARGET, DELIMITER],
        [Attribute(32, b""), DELIMITER, Attribute(16, b"")],
    ],
)
def test_get_next_that_makes_no_sense(filled: Site, attributes: list[Attribute]) -> None:
    assert filled.ask(functions.DEV_GET_NEXT, name(I1), *attributes) == status.INVALID_QUERY


# Functions that are not, and messages that get no answer (B43)


@pytest.mark.parametrize(
    "function", [0x0008, 0x0009, 0x000A, 0x000B, 0x000C, 0x000D, 0x000E, 0x0011, 0x0100, 0x7FFF]
)
def test_unknown_functions_get_status_15(site: Site, function: int) -> None:
    assert site.ask(function, name(T1), DELIMITER) == status.MESSAGE_NOT_SUPPORTED
    assert site.ask(function) == status.MESSAGE_NOT_SUPPORTED


def test_responses_and_messages_of_servers_are_ignored(site: Site) -> None:
    for function, flags in ((0x8001, pdu.FLAG_CLIENT), (0x0002, pdu.FLAG_SERVER), (0x8008, pdu.FLAG_SERVER)):
        outcome = site.server.handle(Message(function, 1, flags, None, [name(T1)]), HERE, NOW)
        assert outcome == Outcome()
    assert site.server.counters.ignored == 3
    assert site.ask(functions.DEV_ATTR_QRY, name(T1), DELIMITER, flags=0) == 0, (
        "neither flag: taken for a client"
    )


_PIECES = [
    *(DELIMITER, NO_EID, name("e", 1), name(T1), name(T2), TARGET, number(35, 28), number(6, 20)),
    *(*portal(P1), *portal(P2), number(51, 3), Attribute(51, b""), *group(T1, P1), number(23, 99)),
    *(Attribute(32, b""), Attribute(16, b""), number(36, 2), number(19, 60), Attribute(33, bytes(8))),
]


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([1, 2, 3, 4, 5, 6]),
            st.booleans(),
            st.lists(
                st.sampled_from(_PIECES),
                max_size=10,
            ),
        ),
        max_size=12,
    )
)
def test_no_sequence_of_requests_breaks_the_database(steps: list[tuple[int, bool, list[Attribute]]]) -> None:
    site = Site(ServerPolicy(esi=True))
    for function, replace, attributes in [(1, False, [NO_EID, DELIMITER, name(T1), TARGET]), *steps]:
        flags = pdu.FLAG_CLIENT | (pdu.FLAG_REPLACE if replace else 0)
        site.ask(function, name(T1), *attributes, flags=flags)
        assert site.outcome.response is not None
        for kind in (Kind.NODE, Kind.PORTAL, Kind.PORTAL_GROUP):
            listed = [key for entity in site.database.entities.values() for key in entity.members(kind)]
            assert sorted(listed) == sorted(stored.key for stored in site.database.objects(kind))
        assert all(entity.nodes or entity.portals for entity in site.database.entities.values())
        assert {e.key for e in site.database.entities.values()} == {
            s.key for s in site.database.objects(Kind.ENTITY)
        }


def test_udp_port_is_no_callback() -> None:
    site = Site(ServerPolicy(esi=True))
    esi = [number(19, 60), number(20, 4000 | PORT_IS_UDP)]
    code = site.reg(name(T1), NO_EID, DELIMITER, name(T1), TARGET, *portal(P1), *esi)
    assert code == status.INVALID_REGISTRATION
