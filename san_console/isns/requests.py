"""The requests of a client, as messages (RFC 4171 §5.6.5). Transaction IDs are filled in by whoever sends."""

from dataclasses import dataclass, field

from san_console.isns import functions, pdu
from san_console.isns.attributes import (
    DELIMITER,
    KEY_TAGS,
    NODE_TYPE_INITIATOR,
    NODE_TYPE_TARGET,
    PROTOCOL_ISCSI,
    Attribute,
    Kind,
    Tag,
    write_address,
    write_number,
    write_text,
)
from san_console.isns.message import Message
from san_console.names.portal import Portal


@dataclass(slots=True)
class NodeEntry:
    """A node to register."""

    name: str
    target: bool = False
    initiator: bool = False
    alias: str = ""


@dataclass(slots=True)
class PortalEntry:
    """A portal to register: a numeric address. `scn_port`: where state change notifications may be sent."""

    portal: Portal
    name: str = ""
    scn_port: int | None = None
    esi_port: int | None = None
    esi_interval_s: int | None = None


@dataclass(slots=True)
class PortalGroupEntry:
    """The tag under which `portal` serves the node `name`; a tag of None says that it does not."""

    name: str
    portal: Portal
    tag: int | None


@dataclass(slots=True)
class EntityEntry:
    """What one client registers: `entity_id` "" lets the server choose, `period_s` None its period."""

    nodes: list[NodeEntry]
    portals: list[PortalEntry] = field(default_factory=list)
    portal_groups: list[PortalGroupEntry] = field(default_factory=list)
    entity_id: str = ""
    period_s: int | None = None


def _request(function: int, attributes: list[Attribute], flags: int = 0) -> Message:
    return Message(function, 0, pdu.FLAG_CLIENT | flags, None, attributes)


def _source(name: str) -> Attribute:
    return Attribute(Tag.ISCSI_NAME, write_text(name))


def portal_key(portal: Portal, kind: Kind = Kind.PORTAL) -> list[Attribute]:
    """Address and port of a portal, as the key of a portal or as the latter part of a portal group's."""
    address, port = KEY_TAGS[kind][-2:]
    return [Attribute(address, write_address(portal.host)), Attribute(port, write_number(portal.port))]


def registration(source: str, entity: EntityEntry, *, replace: bool) -> Message:
    """DevAttrReg of an entity with all that it holds. Raises LocalProtocolError for what cannot be sent."""
    entity_id = Attribute(Tag.ENTITY_ID, write_text(entity.entity_id) if entity.entity_id else b"")
    attributes = [_source(source), entity_id, DELIMITER, entity_id]
    attributes.append(Attribute(Tag.ENTITY_PROTOCOL, write_number(PROTOCOL_ISCSI)))
    if entity.period_s is not None:
        attributes.append(Attribute(Tag.REGISTRATION_PERIOD, write_number(entity.period_s)))
    for entry in entity.portals:
        attributes += portal_key(entry.portal)
        if entry.name:
            attributes.append(Attribute(Tag.PORTAL_NAME, write_text(entry.name)))
        for tag, number in (
            (Tag.ESI_INTERVAL, entry.esi_interval_s),
            (Tag.ESI_PORT, entry.esi_port),
            (Tag.SCN_PORT, entry.scn_port),
        ):
            if number is not None:
                attributes.append(Attribute(tag, write_number(number)))
    for node in entity.nodes:
        types = NODE_TYPE_TARGET * node.target | NODE_TYPE_INITIATOR * node.initiator
        attributes += [_source(node.name), Attribute(Tag.NODE_TYPE, write_number(types))]
        if node.alias:
            attributes.append(Attribute(Tag.ISCSI_ALIAS, write_text(node.alias)))
    for group in entity.portal_groups:
        tag_value = b"" if group.tag is None else write_number(group.tag)
        attributes.append(Attribute(Tag.PG_ISCSI_NAME, write_text(group.name)))
        attributes += portal_key(group.portal, Kind.PORTAL_GROUP)
        attributes.append(Attribute(Tag.PG_TAG, tag_value))
    return _request(functions.DEV_ATTR_REG, attributes, pdu.FLAG_REPLACE if replace else 0)


def deregistration(source: str, *, entity_id: str = "", nodes: tuple[str, ...] = ()) -> Message:
    """DevDereg of an entity, or of single nodes."""
    attributes = [_source(source), DELIMITER]
    if entity_id:
        attributes.append(Attribute(Tag.ENTITY_ID, write_text(entity_id)))
    attributes += [_source(name) for name in nodes]
    return _request(functions.DEV_DEREG, attributes)


_TARGET_TAGS = (
    Tag.ENTITY_ID,
    Tag.ISCSI_NAME,
    Tag.NODE_TYPE,
    Tag.ISCSI_ALIAS,
    Tag.PORTAL_ADDRESS,
    Tag.PORTAL_PORT,
    Tag.PG_ISCSI_NAME,
    Tag.PG_ADDRESS,
    Tag.PG_PORT,
    Tag.PG_TAG,
)


def target_query(source: str) -> Message:
    """DevAttrQry for the nodes that `source` may see, each with its portals and portal groups.

    The key is every node, not those of type target: a node that is target and initiator would not match.
    """
    attributes = [_source(source), Attribute(Tag.ISCSI_NAME, b""), DELIMITER]
    attributes += [Attribute(tag, b"") for tag in _TARGET_TAGS]
    return _request(functions.DEV_ATTR_QRY, attributes)


def kind_query(source: str, kind: Kind) -> Message:
    """DevAttrQry for all objects of a kind with all their attributes."""
    attributes = [_source(source), *(Attribute(tag, b"") for tag in KEY_TAGS[kind]), DELIMITER]
    return _request(functions.DEV_ATTR_QRY, attributes)


def node_query(source: str, name: str) -> Message:
    """DevAttrQry whether a node is registered; asking it for one's own node also renews the registration."""
    attributes = [_source(source), _source(name), DELIMITER]
    attributes += [Attribute(Tag.ISCSI_NAME, b""), Attribute(Tag.NODE_TYPE, b"")]
    return _request(functions.DEV_ATTR_QRY, attributes)


def next_query(source: str, kind: Kind, key: list[Attribute]) -> Message:
    """DevGetNext after `key`; an empty list asks for the first object."""
    first = [Attribute(tag, b"") for tag in KEY_TAGS[kind]]
    return _request(functions.DEV_GET_NEXT, [_source(source), *(key or first), DELIMITER])


def scn_registration(source: str, bitmap: int) -> Message:
    """SCNReg of the source node for the events in `bitmap`."""
    attributes = [_source(source), _source(source), DELIMITER]
    return _request(functions.SCN_REG, [*attributes, Attribute(Tag.SCN_BITMAP, write_number(bitmap))])


def scn_deregistration(source: str) -> Message:
    """SCNDereg of the source node."""
    return _request(functions.SCN_DEREG, [_source(source), _source(source), DELIMITER])
