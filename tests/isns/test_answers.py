"""What a client makes of answers, those of wrong and hostile servers included."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from san_console.isns import answers, requests
from san_console.isns.answers import objects_of, operating_of, targets_of
from san_console.isns.attributes import (
    DELIMITER,
    PORT_IS_UDP,
    Attribute,
    Kind,
    Tag,
    write_address,
    write_number,
    write_text,
)
from san_console.isns.errors import LocalProtocolError
from san_console.names.portal import Portal

T1, T2 = "iqn.2026-11.test:t1", "iqn.2026-11.test:t2"
P1, P2 = Portal("10.0.0.1", 3260), Portal("fe80::1", 3261)


def node(name: str, types: int = 1, alias: str = "") -> list[Attribute]:
    more = [Attribute(Tag.ISCSI_ALIAS, write_text(alias))] if alias else []
    return [Attribute(32, write_text(name)), Attribute(33, write_number(types)), *more]


def group(name: str, portal: Portal, tag: int | None) -> list[Attribute]:
    return [
        Attribute(48, write_text(name)),
        *requests.portal_key(portal, Kind.PORTAL_GROUP),
        Attribute(51, b"" if tag is None else write_number(tag)),
    ]


def read(*attributes: Attribute) -> answers.Targets:
    return targets_of(objects_of(attributes)[0])


def test_portal_groups_say_which_portal_serves_which_target() -> None:
    entity = Attribute(1, write_text("storage.example"))
    found = read(
        entity, *node(T1, 3, "disk"), *requests.portal_key(P1), *requests.portal_key(P2), *node(T2),
        *node("iqn.2026-11.test:i", 2), *group(T1, P1, 7), *group(T1, P2, None), *group(T2, P1, 1),
        *group(T2, P1, 1), *group(T2, P2, 2),
    )  # fmt: skip
    assert [(t.name, t.alias, t.entity, t.portals) for t in found.targets] == [
        (T1, "disk", "storage.example", [(P1, 7)]),
        (T2, "", "storage.example", [(P1, 1), (P2, 2)]),
    ]
    assert (found.skipped, found.truncated) == (0, False)


def test_server_without_portal_groups() -> None:
    found = read(
        *requests.portal_key(P2), *node(T1), *requests.portal_key(P1), *node(T2), *requests.portal_key(P2)
    )
    assert [t.portals for t in found.targets] == [[(P1, 1)], [(P2, 1)]]


def test_target_of_which_every_portal_group_is_null_has_no_portal() -> None:
    assert read(*node(T1), *requests.portal_key(P1), *group(T1, P1, None)).targets[0].portals == []


def test_port_zero_means_3260_and_udp_is_no_iscsi() -> None:
    address = Attribute(16, write_address("10.0.0.1"))
    udp = write_number(3260 | PORT_IS_UDP)
    found = read(*node(T1), address, Attribute(17, write_number(0)), address, Attribute(17, udp))
    assert found.targets[0].portals == [(Portal("10.0.0.1", 3260), 1)]
    found = read(*node(T1), Attribute(48, write_text(T1)), Attribute(49, address.value), Attribute(50, udp))
    assert found.targets[0].portals == []


def test_same_target_twice_is_one() -> None:
    assert len(read(*node(T1), *node(T1.upper().replace("IQN", "iqn"))).targets) == 1


@pytest.mark.parametrize(
    "bad",
    [
        node("no iSCSI name"),
        node("iqn.2026-11.test:\u202ereversed"),
        [Attribute(32, b"abcd"), Attribute(33, write_number(1))],
        [Attribute(32, b""), Attribute(33, write_number(1))],
        [Attribute(32, write_text(T2)), Attribute(33, bytes(8))],
        [*node(T2), Attribute(34, b"abcd")],
        [Attribute(16, write_address("10.0.0.1"))],
        [Attribute(16, bytes(4)), Attribute(17, write_number(1))],
        [Attribute(48, b"abcd")],
        [Attribute(48, write_text(T2)), Attribute(51, write_number(1))],
        [Attribute(1, b"abcd")],
    ],
)
def test_bad_record_is_skipped_and_counted_and_the_rest_stays(bad: list[Attribute]) -> None:
    found = read(*node(T1), *bad, *group(T1, P1, 1))
    assert [(t.name, t.portals) for t in found.targets] == [(T1, [(P1, 1)])]
    assert found.skipped == 1


def test_targets_and_portals_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "MAX_TARGETS", 1)
    monkeypatch.setattr(answers, "MAX_PORTALS_PER_TARGET", 1)
    found = read(*node(T1), *node(T2), *requests.portal_key(P1))
    assert (len(found.targets), found.truncated) == (1, True)
    found = read(*node(T1), *requests.portal_key(P1), *requests.portal_key(P2))
    assert (found.targets[0].portals, found.truncated) == ([(P1, 1)], True)


def test_attributes_of_no_object_are_counted() -> None:
    objects, stray = objects_of([Attribute(33, write_number(1)), *node(T1), Attribute(17, write_number(1))])
    assert (len(objects), stray) == (1, 2)
    assert objects[0].key_text == T1


def test_answer_behind_the_delimiter() -> None:
    assert operating_of([*node(T1), DELIMITER, *node(T2)]) == node(T2)
    assert operating_of(node(T1)) == node(T1)
    assert operating_of([]) == []


@settings(max_examples=200)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([1, 16, 17, 32, 33, 34, 48, 49, 50, 51, 0, 9999]),
            st.one_of(
                st.binary(max_size=24),
                st.just(write_text(T1)),
                st.just(write_number(1)),
                st.just(write_address("10.0.0.1")),
            ),
        ).map(lambda pair: Attribute(*pair)),
        max_size=25,
    )
)
def test_no_answer_breaks_the_reader(attributes: list[Attribute]) -> None:
    for target in read(*attributes).targets:
        assert target.name.startswith("iqn.")
        assert all(portal.port for portal, _ in target.portals)


def test_requests_that_cannot_be_sent() -> None:
    entry = requests.EntityEntry([requests.NodeEntry(T1)], [requests.PortalEntry(Portal("storage.example"))])
    with pytest.raises(LocalProtocolError):
        requests.registration(T1, entry, replace=True)


def test_registration_lists_entity_portals_nodes_groups() -> None:
    entry = requests.EntityEntry(
        [requests.NodeEntry(T1, target=True, alias="disk")],
        [requests.PortalEntry(P1, "left", scn_port=1, esi_port=2, esi_interval_s=3)],
        [requests.PortalGroupEntry(T1, P1, 7)],
        "storage.example",
        60,
    )
    message = requests.registration(T1, entry, replace=True)
    tags = [attribute.tag for attribute in message.attributes]
    assert tags == [32, 1, 0, 1, 2, 6, 16, 17, 18, 19, 20, 23, 32, 33, 34, 48, 49, 50, 51]
    assert message.flags == 0x9000
    message = requests.deregistration(T1, entity_id="storage.example", nodes=(T2,))
    assert [attribute.tag for attribute in message.attributes] == [32, 0, 1, 32]
