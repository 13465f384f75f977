"""The rules of the server, message by message: who may register, see and remove what."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from san_console.isns import functions, pdu, requests, status
from san_console.isns.attributes import (
    DELIMITER,
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
from san_console.isns.message import Message
from san_console.isns.name_server import Outcome
from san_console.isns.policy import Limits, ServerPolicy
from san_console.isns.requests import EntityEntry, NodeEntry, PortalEntry, PortalGroupEntry
from san_console.names.portal import Portal
from tests.isns.server_site import (
    CONTROL,
    ELSEWHERE,
    HERE,
    I1,
    INITIATOR,
    NO_EID,
    NOW,
    P1,
    P2,
    T1,
    T2,
    TARGET,
    Site,
    group,
    name,
    number,
    portal,
    target,
)


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
