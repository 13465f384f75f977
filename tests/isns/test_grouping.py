"""Operating attributes grouped into objects, with both forms of portal groups."""

import pytest

from san_console.isns.attributes import Attribute, Kind, Tag, write_address, write_number, write_text
from san_console.isns.errors import RemoteProtocolError
from san_console.isns.grouping import group_objects

NAME, NAME2 = write_text("iqn.2026-11.test:a"), write_text("iqn.2026-11.test:b")
ADDRESS, PORT, PORT2 = write_address("10.0.0.1"), write_number(3260), write_number(3261)
ONE, SEVEN = write_number(1), write_number(7)
ENTITY = [Attribute(1, write_text("e"))]
NODE = [Attribute(32, NAME), Attribute(33, ONE)]
PORTAL = [Attribute(16, ADDRESS), Attribute(17, PORT)]


def test_objects_in_order_with_their_attributes() -> None:
    group = [Attribute(48, NAME), Attribute(49, ADDRESS), Attribute(50, PORT), Attribute(51, SEVEN)]
    objects = group_objects([*ENTITY, Attribute(6, ONE), *NODE, *PORTAL, Attribute(23, PORT), *group])
    assert [item.kind for item in objects] == [Kind.ENTITY, Kind.NODE, Kind.PORTAL, Kind.PORTAL_GROUP]
    assert objects[0].attributes[Tag.REGISTRATION_PERIOD] == ONE
    assert objects[2].key_values == [ADDRESS, PORT]
    assert objects[2].attributes[Tag.SCN_PORT] == PORT
    assert objects[3].attributes[Tag.PG_TAG] == SEVEN


def test_short_portal_groups_after_a_portal() -> None:
    objects = group_objects(
        [
            *PORTAL,
            *(Attribute(51, SEVEN), Attribute(48, NAME), Attribute(48, NAME2)),
            *(Attribute(51, ONE), Attribute(48, NAME)),
            *NODE,
        ]
    )
    groups = [item for item in objects if item.kind is Kind.PORTAL_GROUP]
    assert [(g.key_values, g.attributes[51]) for g in groups] == [
        ([NAME, ADDRESS, PORT], SEVEN),
        ([NAME2, ADDRESS, PORT], SEVEN),
        ([NAME, ADDRESS, PORT], ONE),
    ]
    assert objects[-1].kind is Kind.NODE


def test_short_portal_groups_after_a_node() -> None:
    pairs = [Attribute(49, ADDRESS), Attribute(50, PORT), Attribute(49, ADDRESS), Attribute(50, PORT2)]
    objects = group_objects([*NODE, Attribute(51, b""), *pairs])
    assert [(g.key_values, g.attributes[51]) for g in objects[1:]] == [
        ([NAME, ADDRESS, PORT], b""),
        ([NAME, ADDRESS, PORT2], b""),
    ]


@pytest.mark.parametrize(
    "attributes",
    [
        [Attribute(33, ONE)],
        [Attribute(17, PORT)],
        [Attribute(16, ADDRESS)],
        [Attribute(16, ADDRESS), *NODE],
        [*NODE, Attribute(23, PORT)],
        [*ENTITY, Attribute(51, ONE)],
        [*PORTAL, Attribute(51, ONE), Attribute(18, NAME)],
        [*NODE, Attribute(51, ONE), Attribute(49, ADDRESS)],
        [*PORTAL, Attribute(51, ONE), Attribute(49, ADDRESS), Attribute(50, PORT)],
        [*PORTAL, Attribute(17, PORT)],
        [Attribute(48, NAME), Attribute(50, PORT), Attribute(49, ADDRESS)],
        [*NODE, Attribute(9999, ONE)],
    ],
)
def test_attributes_out_of_order_are_a_format_error(attributes: list[Attribute]) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        group_objects(attributes)
    assert caught.value.status == 2
