"""Operating attributes, grouped into the objects that they describe (RFC 4171 §5.6.4, §5.6.5.1)."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from san_console.isns import status
from san_console.isns.attributes import (
    KEY_TAGS,
    KIND_OF_FIRST_KEY_TAG,
    Attribute,
    Kind,
    Tag,
    attribute_name,
    kind_of,
)
from san_console.isns.errors import RemoteProtocolError


@dataclass(slots=True)
class GroupedObject:
    """An object as it stands in a message: all its attributes by tag, the key among them."""

    kind: Kind
    attributes: dict[int, bytes] = field(default_factory=dict)

    @property
    def key_values(self) -> list[bytes]:
        return [self.attributes[tag] for tag in KEY_TAGS[self.kind]]


def _malformed(text: str) -> RemoteProtocolError:
    return RemoteProtocolError(text, status=status.MESSAGE_FORMAT_ERROR)


def group_objects(attributes: Sequence[Attribute]) -> list[GroupedObject]:
    """Group the operating attributes of a registration or an answer into objects.

    The short form of portal groups (a PG tag right after a portal or node, followed by the names or portals
    that it applies to) comes out as portal groups with full keys. Raises RemoteProtocolError (status 2) where
    keys are incomplete or out of order, or an attribute stands behind an object of another kind.
    """
    objects: list[GroupedObject] = []
    current: GroupedObject | None = None
    anchor: GroupedObject | None = None  # the portal or node whose short form is being read
    short_tag: bytes | None = None
    position = 0
    while position < len(attributes):
        tag, value = attributes[position]
        short = _short_group(attributes, position, anchor, short_tag)
        if short is not None:
            current, used = short
            objects.append(current)
            # What follows is the next short group or the next object, never an attribute of this one.
            current = None
            position += used
            continue
        kind = KIND_OF_FIRST_KEY_TAG.get(tag)
        if kind is not None:
            current = _keyed_object(attributes, position, kind)
            objects.append(current)
            anchor = current if kind in (Kind.PORTAL, Kind.NODE) else anchor
            short_tag = None
            position += len(KEY_TAGS[kind])
            continue
        if tag == Tag.PG_TAG and anchor is not None and (current is anchor or short_tag is not None):
            short_tag, current = value, None
            position += 1
            continue
        if current is None or kind_of(tag) is not current.kind or tag in KEY_TAGS[current.kind]:
            raise _malformed(
                f"{attribute_name(tag)} does not follow the key of its object (RFC 4171 §5.6.4)."
            )
        # A second value of one attribute is legal for members of a domain only; the last one stands.
        current.attributes[tag] = value
        position += 1
    return objects


def _keyed_object(attributes: Sequence[Attribute], position: int, kind: Kind) -> GroupedObject:
    tags = KEY_TAGS[kind]
    keys = attributes[position : position + len(tags)]
    if tuple(attribute.tag for attribute in keys) != tags:
        raise _malformed(f"The key of a {kind.value} is incomplete or out of order (RFC 4171 §5.6.4).")
    return GroupedObject(kind, {attribute.tag: attribute.value for attribute in keys})


def _short_group(
    attributes: Sequence[Attribute], position: int, anchor: GroupedObject | None, tag: bytes | None
) -> tuple[GroupedObject, int] | None:
    """The portal group at `position` if it is one in the short form, and how many attributes it takes."""
    if anchor is None or tag is None:
        return None
    first = attributes[position]
    following = attributes[position + 1].tag if position + 1 < len(attributes) else None
    if anchor.kind is Kind.PORTAL and first.tag == Tag.PG_ISCSI_NAME and following != Tag.PG_ADDRESS:
        name, address, port, used = first.value, *anchor.key_values, 1
    elif anchor.kind is Kind.NODE and first.tag == Tag.PG_ADDRESS and following == Tag.PG_PORT:
        name, address, port, used = anchor.key_values[0], first.value, attributes[position + 1].value, 2
    else:
        return None
    values = {Tag.PG_ISCSI_NAME: name, Tag.PG_ADDRESS: address, Tag.PG_PORT: port, Tag.PG_TAG: tag}
    return GroupedObject(Kind.PORTAL_GROUP, dict(values)), used
