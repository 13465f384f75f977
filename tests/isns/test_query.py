"""Queries: what a node is answered, in which order, and of which domains."""

from collections.abc import Iterable

import pytest

from san_console.isns import functions, requests, status
from san_console.isns.attributes import (
    DELIMITER,
    Attribute,
    Kind,
    Tag,
    read_number,
    read_text,
)
from san_console.isns.policy import ServerPolicy
from san_console.isns.requests import EntityEntry, NodeEntry, PortalEntry, PortalGroupEntry
from tests.isns.server_site import (
    CONTROL,
    HERE,
    I1,
    INITIATOR,
    NO_EID,
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
