"""Whether a registration may be made: who asks, what it names, what it takes (RFC 4171 §5.6.1, §5.6.5.1)."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from san_console.isns import status
from san_console.isns.attributes import (
    INDEX_TAGS,
    KEY_TAGS,
    NEXT_INDEX_TAGS,
    NODE_TYPE_CONTROL,
    NODE_TYPE_INITIATOR,
    NODE_TYPE_TARGET,
    PORT_IS_UDP,
    Attribute,
    Kind,
    Tag,
    attribute_name,
    canonical_address,
    kind_of,
    read_number,
    read_text,
    write_address,
    write_number,
    write_text,
)
from san_console.isns.changes import Asker, Change
from san_console.isns.database import Database, Entity, Key, StoredObject, key_of
from san_console.isns.errors import Refused
from san_console.isns.grouping import GroupedObject, group_objects
from san_console.isns.message import RequestParts
from san_console.isns.policy import (
    ServerPolicy,
)
from san_console.names.display import visible
from san_console.names.errors import InvalidName
from san_console.names.iscsi_name import normalise

_REGISTRABLE = (Kind.ENTITY, Kind.PORTAL, Kind.NODE, Kind.PORTAL_GROUP)
GENERATED_PREFIX = "isns:"  # §6.2.1: only the server makes such names


@dataclass(slots=True)
class Plan:
    """A registration that has been checked and can be carried out without failing."""

    entity: Entity | None
    entity_id: bytes
    entity_attributes: dict[int, bytes]
    objects: list[tuple[Key, GroupedObject]]
    replaced: StoredObject | None
    answered: list[Attribute] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)


def plan_registration(
    database: Database, policy: ServerPolicy, asker: Asker, request: RequestParts, replace: bool
) -> Plan:
    _check_registrable((*request.key, *request.operating))
    groups = group_objects(request.operating)
    entity_groups = [group for group in groups if group.kind is Kind.ENTITY]
    if len(entity_groups) > 1 or (entity_groups and groups[0] is not entity_groups[0]):
        raise Refused(
            status.MESSAGE_FORMAT_ERROR,
            "One network entity stands first in a registration (RFC 4171 §5.6.4).",
        )
    members = [group for group in groups if group.kind is not Kind.ENTITY]
    entity_attributes = entity_groups[0].attributes if entity_groups else {}
    key_object, entity, entity_id = _entity_meant(database, asker, request, entity_attributes)
    if not groups:
        raise _invalid("A registration without an object.")
    if entity is None and not any(group.kind in (Kind.NODE, Kind.PORTAL) for group in members):
        raise _invalid("A new network entity has at least one portal or node (RFC 4171 §5.6.5.1).")
    objects = _checked_members(members)
    if entity is None and not entity_id:
        entity = _left_behind(database, asker, objects)
        entity_id = entity.stored.attributes[Tag.ENTITY_ID] if entity else b""
    _authorise(asker, entity, objects)
    _check_ownership(database, entity, objects)
    replaced = key_object if replace else None
    _check_nodes(database, asker, objects, replaced)
    _check_limits(database, policy, asker, entity, objects, entity_attributes, replaced)
    _check_indices(database, entity, entity_attributes, objects)
    # An update names its object again among the operating attributes (§5.6.5.1).
    named_again = key_object is None or any(
        key == key_object.key and group.kind is key_object.kind for key, group in objects
    )
    if not (named_again or replace or (key_object is not None and key_object.kind is Kind.ENTITY)):
        raise _invalid("The object of the message key is not among the operating attributes.")
    plan = Plan(entity, entity_id, entity_attributes, objects, replaced)
    _check_callbacks(database, policy, asker, plan)
    return plan


def _invalid(text: str, *attributes: Attribute) -> Refused:
    return Refused(status.INVALID_REGISTRATION, text, attributes)


def _check_registrable(attributes: Iterable[Attribute]) -> None:
    for attribute in attributes:
        kind = kind_of(attribute.tag)
        if kind in (Kind.FC_PORT, Kind.FC_NODE, Kind.FABRIC, Kind.DOMAIN, Kind.DOMAIN_SET):
            raise Refused(
                status.REGISTRATION_FEATURE_NOT_SUPPORTED,
                f"{attribute_name(attribute.tag)} cannot be registered here by DevAttrReg.",
            )
        if kind not in _REGISTRABLE:
            raise Refused(
                status.ATTRIBUTE_NOT_IMPLEMENTED, f"{attribute_name(attribute.tag)} is not known here."
            )
        if attribute.tag in NEXT_INDEX_TAGS or attribute.tag == Tag.TIMESTAMP:
            raise _invalid(
                f"{attribute_name(attribute.tag)} cannot be registered (RFC 4171 §6.2).", attribute
            )


def _entity_meant(
    database: Database, asker: Asker, request: RequestParts, entity_attributes: dict[int, bytes]
) -> tuple[StoredObject | None, Entity | None, bytes]:
    """The object of the message key, the entity to change (None: a new one), its EID (b"": make one up)."""
    operating_id = entity_attributes.get(Tag.ENTITY_ID, b"").strip(b"\0") and entity_attributes[Tag.ENTITY_ID]
    key_object: StoredObject | None = None
    wanted = operating_id
    if request.key:
        (group, *more) = group_objects(request.key)
        if more or any(tag not in KEY_TAGS[group.kind] for tag in group.attributes):
            raise _invalid("The message key of a registration is the key of one object.")
        if group.kind is Kind.ENTITY:
            key_id = group.attributes[Tag.ENTITY_ID].strip(b"\0") and group.attributes[Tag.ENTITY_ID]
            if key_id and operating_id and _entity_key(key_id) != _entity_key(operating_id):
                raise _invalid("Message key and operating attributes name two network entities.")
            wanted = key_id or operating_id
        else:
            if not all(group.key_values):
                raise _invalid("The message key of a registration is incomplete.")
            key_object = database.get(group.kind, key_of(group.kind, group.key_values))
            if key_object is None:
                raise _invalid(f"No such {group.kind.value} is registered (RFC 4171 §5.6.5.1).", *request.key)
            entity = database.entities[key_object.entity]
            if operating_id and _entity_key(operating_id) != entity.key:
                raise _invalid("An object does not move to another network entity (RFC 4171 §5.6.5.1).")
            return key_object, entity, entity.stored.attributes[Tag.ENTITY_ID]
    if wanted:
        entity_or_none = database.entities.get(_entity_key(wanted))
        if entity_or_none is None and read_text(wanted).casefold().startswith(GENERATED_PREFIX):
            raise _invalid(
                f"Names that start with {GENERATED_PREFIX} are made by the server (RFC 4171 §6.2.1)."
            )
    else:
        # Without an EID the RFC asks for a new entity, but a node belongs to one entity only: a source that
        # is registered means its own. Open-iSNS's server does the same, and its isnsadm relies on it.
        entity_or_none = asker.entity
    if entity_or_none is not None:
        return entity_or_none.stored, entity_or_none, entity_or_none.stored.attributes[Tag.ENTITY_ID]
    return None, None, wanted


def _left_behind(
    database: Database, asker: Asker, objects: Sequence[tuple[Key, GroupedObject]]
) -> Entity | None:
    """An entity from the same address with one of these portals and no node left that could speak for it.

    Without taking it up again, a client that deregistered its node could not register its portal before the
    period is over.
    """
    for key, group in objects:
        owner = database.entity_of(group.kind, key) if group.kind is Kind.PORTAL else None
        if owner is not None and not owner.nodes and owner.owner_address == asker.address:
            return owner
    return None


def _entity_key(value: bytes) -> Key:
    return key_of(Kind.ENTITY, [value])


def _checked_members(groups: Iterable[GroupedObject]) -> list[tuple[Key, GroupedObject]]:
    """The objects with their keys: names valid, keys complete, none twice."""
    found: dict[tuple[Kind, Key], GroupedObject] = {}
    for group in groups:
        if not all(group.key_values):
            raise _invalid(f"The key of a {group.kind.value} is empty.")
        if group.kind in (Kind.NODE, Kind.PORTAL_GROUP):
            tag = KEY_TAGS[group.kind][0]
            try:
                name = normalise(read_text(group.attributes[tag]), lenient=True)
            except InvalidName as error:
                raise _invalid(str(error), Attribute(tag, group.attributes[tag])) from None
            group.attributes[tag] = write_text(name)
        if group.kind is Kind.PORTAL:
            # Kept in the form of §6.3.1, whichever of the two spellings of IPv4 came.
            group.attributes[Tag.PORTAL_ADDRESS] = canonical_address(group.attributes[Tag.PORTAL_ADDRESS])
        if group.kind is Kind.PORTAL_GROUP:
            group.attributes[Tag.PG_ADDRESS] = canonical_address(group.attributes[Tag.PG_ADDRESS])
        key = key_of(group.kind, group.key_values)
        if (group.kind, key) in found:
            raise _invalid(f"A {group.kind.value} is listed twice (RFC 4171 §5.6.5.1).")
        found[group.kind, key] = group
    return [(key, group) for (_, key), group in found.items()]


def _authorise(asker: Asker, entity: Entity | None, objects: Sequence[tuple[Key, GroupedObject]]) -> None:
    """§5.6.1: the source is a control node, or part of the entity that is changed; and it calls from the
    address that registered the entity, since a name can be claimed by anyone.
    """
    if asker.control:
        return
    registers_itself = any(group.kind is Kind.NODE and key == asker.key for key, group in objects)
    if entity is None:
        if asker.entity is not None:
            raise Refused(
                status.SOURCE_UNAUTHORIZED, "The source node already belongs to another network entity."
            )
        if not registers_itself:
            raise Refused(
                status.SOURCE_UNKNOWN, "The source node is neither registered nor being registered."
            )
        return
    if entity.owner_address != asker.address:
        raise Refused(
            status.SOURCE_UNAUTHORIZED,
            f"Network entity {visible(entity.name)} was registered from {entity.owner_address}, "
            f"and the request comes from {asker.address}.",
        )
    if asker.entity is None:
        if not registers_itself:
            raise Refused(
                status.SOURCE_UNKNOWN, "The source node is neither registered nor being registered."
            )
    elif asker.entity is not entity:
        raise Refused(status.SOURCE_UNAUTHORIZED, "The source node belongs to another network entity.")


def _check_ownership(
    database: Database, entity: Entity | None, objects: Sequence[tuple[Key, GroupedObject]]
) -> None:
    """No object is taken from another entity; a portal group has at least one end in this one."""
    listed = {(group.kind, key) for key, group in objects}
    for key, group in objects:
        owner = database.entity_of(group.kind, key)
        if owner is not None and owner is not entity:
            raise _invalid(
                f"The {group.kind.value} is registered by network entity {visible(owner.name)} already.",
                *(Attribute(tag, group.attributes[tag]) for tag in KEY_TAGS[group.kind]),
            )
        if group.kind is Kind.PORTAL_GROUP:
            ends = ((Kind.NODE, key[:1]), (Kind.PORTAL, key[1:]))
            owners = [database.entity_of(kind, end) for kind, end in ends]
            if any(o is not None and o is not entity for o in owners):
                raise _invalid("A portal group joins a node and a portal of one network entity.")
            here = any(o is not None for o in owners) or any(end in listed for end in ends)
            if not here:
                raise _invalid("Neither the node nor the portal of a portal group is registered.")


def _check_nodes(
    database: Database,
    asker: Asker,
    objects: Sequence[tuple[Key, GroupedObject]],
    replaced: StoredObject | None,
) -> None:
    for key, group in objects:
        if group.kind is not Kind.NODE:
            continue
        value = group.attributes.get(Tag.NODE_TYPE)
        stored = database.get(Kind.NODE, key)
        if value is None and stored is not None and not _goes_with(stored, replaced):
            continue
        types = read_number(value) if value else 0
        if not types & (NODE_TYPE_TARGET | NODE_TYPE_INITIATOR | NODE_TYPE_CONTROL):
            raise _invalid("A node is registered with its type (RFC 4171 §6.4.2).")
        if types & NODE_TYPE_CONTROL and not asker.control:
            raise _invalid(
                "Only an administrator makes a node a control node (RFC 4171 §6.4.2).",
                Attribute(Tag.NODE_TYPE, write_number(types)),
            )


def _goes_with(stored: StoredObject, replaced: StoredObject | None) -> bool:
    """Whether `stored` is deregistered when `replaced` is (§5.6.5.1, replace bit)."""
    return replaced is not None and (replaced is stored or replaced.key == stored.entity)


def _check_limits(
    database: Database,
    policy: ServerPolicy,
    asker: Asker,
    entity: Entity | None,
    objects: Sequence[tuple[Key, GroupedObject]],
    entity_attributes: dict[int, bytes],
    replaced: StoredObject | None,
) -> None:
    limits = policy.limits
    full = Refused(status.BUSY, "The database of the server, or the share of this client, is full.")
    if entity is None:
        mine = sum(e.owner_address == asker.address for e in database.entities.values())
        if len(database.entities) >= limits.entities or mine >= limits.entities_per_address:
            raise full
    known: dict[Kind, set[Key]] = {kind: set() for kind in _REGISTRABLE}
    size = sum(map(len, entity_attributes.values()))
    if entity is not None and replaced is not entity.stored:
        for kind in (Kind.NODE, Kind.PORTAL, Kind.PORTAL_GROUP):
            known[kind].update(entity.members(kind))
            for key in entity.members(kind):
                stored = database.get(kind, key)
                size += sum(map(len, stored.attributes.values())) if stored else 0
    before = sum(map(len, known.values()))
    for key, group in objects:
        known[group.kind].add(key)
        size += sum(map(len, group.attributes.values()))
    nodes, portals, groups = (len(known[kind]) for kind in (Kind.NODE, Kind.PORTAL, Kind.PORTAL_GROUP))
    groups = max(groups, nodes * portals)  # what joining each node with each portal will make
    if (
        nodes > limits.nodes_per_entity
        or portals > limits.portals_per_entity
        or groups > limits.portal_groups_per_entity
        or size > limits.bytes_per_entity
        or len(database) - before + nodes + portals + groups > limits.objects
    ):
        raise full


def _check_indices(
    database: Database,
    entity: Entity | None,
    entity_attributes: dict[int, bytes],
    objects: Sequence[tuple[Key, GroupedObject]],
) -> None:
    """Indices are the server's to assign; a client may only repeat the one that it was given."""
    pairs: list[tuple[StoredObject | None, dict[int, bytes]]] = [
        (entity.stored if entity else None, entity_attributes)
    ]
    pairs += [(database.get(group.kind, key), group.attributes) for key, group in objects]
    for stored, attributes in pairs:
        for tag in INDEX_TAGS.keys() & attributes.keys():
            if stored is None or stored.attributes.get(tag) != attributes[tag]:
                raise _invalid(
                    f"{attribute_name(tag)} is assigned by the server.", Attribute(tag, attributes[tag])
                )


def _check_callbacks(database: Database, policy: ServerPolicy, asker: Asker, plan: Plan) -> None:
    """§6.3.4: an ESI interval needs a portal where the inquiry can be sent to, and a server that sends it."""
    if not any(group.attributes.get(Tag.ESI_INTERVAL, b"").strip(b"\0") for _, group in plan.objects):
        return
    if not policy.esi:
        # The inquiry is optional here; the registration stays, watched by its period alone (§6.2.6).
        for _, group in plan.objects:
            if group.attributes.get(Tag.ESI_INTERVAL):
                group.attributes[Tag.ESI_INTERVAL] = write_number(0)
        return
    candidates = [group.attributes for _, group in plan.objects if group.kind is Kind.PORTAL]
    if plan.entity is not None:
        candidates += [portal.attributes for portal in database.portals_of(plan.entity)]
    if not any(callback_port(attributes, Tag.ESI_PORT) for attributes in candidates):
        raise _invalid("An ESI interval without a portal with an ESI port (RFC 4171 §6.3.5).")
    if not any(callback_allowed(policy, a, Tag.ESI_PORT, asker.address) for a in candidates):
        raise Refused(
            status.ESI_NOT_AVAILABLE, "Inquiries go by TCP to the address that registered, and to no other."
        )


def callback_port(attributes: dict[int, bytes], tag: int) -> int | None:
    """The TCP port in attribute `tag` (SCN or ESI port) of a portal, None without one or for UDP."""
    value = attributes.get(tag)
    if not value:
        return None
    number = read_number(value)
    if number & PORT_IS_UDP:
        return None
    return number & 0xFFFF or None


def callback_allowed(
    policy: ServerPolicy, attributes: dict[int, bytes], tag: int, owner_address: str
) -> bool:
    """Whether the server will connect to this portal: never to a third party that the client names."""
    if callback_port(attributes, tag) is None:
        return False
    return policy.callback_anywhere or attributes[Tag.PORTAL_ADDRESS] == write_address(owner_address)
