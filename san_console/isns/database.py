"""The object database of a server (RFC 4171 §3, §6): entities with their nodes, portals and portal groups.

Nothing here decides who may do what; `registration` and `query` do. Names and addresses are compared in one
form (RFC 3722 mapping, IPv4 mapped into IPv6), and kept as they were registered.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from san_console.isns.attributes import (
    KEY_TAGS,
    Attribute,
    Kind,
    Tag,
    canonical_address,
    read_number,
    read_text,
    write_number,
)
from san_console.names.iscsi_name import comparison_key

Key = tuple[str, ...]
"""A key in the form in which it is compared: texts folded, addresses and ports as hexadecimal digits."""

INDEX_TAG: dict[Kind, int] = {
    Kind.ENTITY: Tag.ENTITY_INDEX,
    Kind.PORTAL: Tag.PORTAL_INDEX,
    Kind.NODE: Tag.NODE_INDEX,
    Kind.PORTAL_GROUP: Tag.PG_INDEX,
}

_STORED_KINDS = tuple(INDEX_TAG)


def key_part(tag: int, value: bytes) -> str:
    """One attribute of a key in comparable form. Raises RemoteProtocolError for a malformed value."""
    if tag == Tag.ENTITY_ID:
        return read_text(value).casefold()
    if tag in (Tag.ISCSI_NAME, Tag.PG_ISCSI_NAME, Tag.DD_MEMBER_NAME):
        return comparison_key(read_text(value))
    if tag in (Tag.PORTAL_ADDRESS, Tag.PG_ADDRESS):
        return canonical_address(value).hex()
    return value.hex()


def key_of(kind: Kind, values: Iterable[bytes]) -> Key:
    """The key of an object from the values of its key attributes, in the order of `KEY_TAGS`."""
    return tuple(key_part(tag, value) for tag, value in zip(KEY_TAGS[kind], values, strict=True))


@dataclass(slots=True)
class StoredObject:
    """An object: its key, the attributes by tag, and the key of the entity that it belongs to."""

    kind: Kind
    key: Key
    entity: Key
    attributes: dict[int, bytes]

    def number(self, tag: int) -> int | None:
        """The number in attribute `tag`, None where it is absent or NULL."""
        value = self.attributes.get(tag)
        return read_number(value) if value else None

    def text(self, tag: int) -> str | None:
        """The text in attribute `tag`, None where it is absent or NULL."""
        value = self.attributes.get(tag)
        return read_text(value) if value else None

    def all_attributes(self) -> list[Attribute]:
        """Everything that has a value, the key first (§5.6.4)."""
        keys = KEY_TAGS[self.kind]
        rest = sorted(tag for tag in self.attributes if tag not in keys)
        return [Attribute(tag, self.attributes[tag]) for tag in (*keys, *rest) if self.attributes[tag]]

    def key_attributes(self) -> list[Attribute]:
        return [Attribute(tag, self.attributes[tag]) for tag in KEY_TAGS[self.kind]]


@dataclass(slots=True)
class Entity:
    """What a network entity contains, who registered it, and until when it stays."""

    stored: StoredObject
    owner_address: str
    """The address from which it was registered; changes are accepted from there only (§5.6.1)."""
    expires_at: float | None = None
    period_s: int = 0
    nodes: list[Key] = field(default_factory=list)
    portals: list[Key] = field(default_factory=list)
    portal_groups: list[Key] = field(default_factory=list)

    @property
    def key(self) -> Key:
        return self.stored.key

    @property
    def name(self) -> str:
        return self.stored.text(Tag.ENTITY_ID) or ""

    def members(self, kind: Kind) -> list[Key]:
        return {Kind.NODE: self.nodes, Kind.PORTAL: self.portals, Kind.PORTAL_GROUP: self.portal_groups}[kind]


def portal_group_key(node: Key, portal: Key) -> Key:
    """The key of the portal group that joins `node` and `portal` (§6.5)."""
    return (*node, *portal)


class Database:
    """All objects, by kind and key, in the order of their registration."""

    def __init__(self) -> None:
        self.entities: dict[Key, Entity] = {}
        self._objects: dict[Kind, dict[Key, StoredObject]] = {kind: {} for kind in _STORED_KINDS}
        self._by_index: dict[bytes, StoredObject] = {}
        # Indices are handed out once in the life of a server: §6.2.7 asks not to reuse them soon.
        self._next_index = 1

    @property
    def next_index(self) -> int:
        """The index that the next object will get, whatever its kind."""
        return self._next_index

    def __len__(self) -> int:
        return sum(len(objects) for objects in self._objects.values())

    def get(self, kind: Kind, key: Key) -> StoredObject | None:
        objects = self._objects.get(kind)
        return objects.get(key) if objects else None

    def objects(self, kind: Kind) -> list[StoredObject]:
        """All objects of a kind; none for kinds that are not stored."""
        return list(self._objects.get(kind, {}).values())

    def entity_of(self, kind: Kind, key: Key) -> Entity | None:
        """The entity that holds the object with this key."""
        stored = self.get(kind, key)
        return self.entities.get(stored.entity) if stored else None

    def by_index(self, kind: Kind, index: bytes) -> StoredObject | None:
        """The object of a kind with the index that the server gave it."""
        stored = self._by_index.get(index)
        return stored if stored is not None and stored.kind is kind else None

    def add_entity(self, attributes: dict[int, bytes], owner_address: str) -> Entity:
        key = key_of(Kind.ENTITY, [attributes[Tag.ENTITY_ID]])
        entity = Entity(self._store(Kind.ENTITY, key, key, attributes), owner_address)
        self.entities[key] = entity
        return entity

    def add(self, kind: Kind, entity: Entity, attributes: dict[int, bytes]) -> StoredObject:
        """Put a new object into `entity`; the caller knows that the key is free."""
        key = key_of(kind, [attributes[tag] for tag in KEY_TAGS[kind]])
        entity.members(kind).append(key)
        return self._store(kind, key, entity.key, attributes)

    def _store(self, kind: Kind, key: Key, entity: Key, attributes: dict[int, bytes]) -> StoredObject:
        stored = StoredObject(kind, key, entity, dict(attributes))
        index = stored.attributes[INDEX_TAG[kind]] = write_number(self._next_index)
        self._next_index += 1
        self._by_index[index] = stored
        self._objects[kind][key] = stored
        return stored

    def join(self, entity: Entity, node: StoredObject, portal: StoredObject, tag: bytes) -> StoredObject:
        """The portal group of `node` and `portal`, made with `tag` where there is none yet."""
        existing = self.get(Kind.PORTAL_GROUP, portal_group_key(node.key, portal.key))
        if existing is not None:
            return existing
        return self.add(
            Kind.PORTAL_GROUP,
            entity,
            {
                Tag.PG_ISCSI_NAME: node.attributes[Tag.ISCSI_NAME],
                Tag.PG_ADDRESS: portal.attributes[Tag.PORTAL_ADDRESS],
                Tag.PG_PORT: portal.attributes[Tag.PORTAL_PORT],
                Tag.PG_TAG: tag,
            },
        )

    def remove(self, stored: StoredObject) -> None:
        """Remove a node, portal or portal group, or an entity with all that it holds (§5.6.5.4).

        A portal group goes with the second of its two ends; an entity with its last node and portal.
        """
        entity = self.entities.get(stored.entity)
        if entity is None or self.get(stored.kind, stored.key) is not stored:
            return
        if stored.kind is Kind.ENTITY:
            for kind in (Kind.PORTAL_GROUP, Kind.PORTAL, Kind.NODE):
                for key in entity.members(kind):
                    self._forget(self._objects[kind][key])
            self._forget(stored)
            del self.entities[entity.key]
            return
        self._forget(stored)
        entity.members(stored.kind).remove(stored.key)
        if stored.kind is Kind.PORTAL_GROUP:
            return
        for group in list(self.groups_of(entity)):
            if group.key[:1] not in entity.nodes and group.key[1:] not in entity.portals:
                self.remove(group)
        if not entity.nodes and not entity.portals:
            self.remove(entity.stored)

    def _forget(self, stored: StoredObject) -> None:
        del self._objects[stored.kind][stored.key]
        del self._by_index[stored.attributes[INDEX_TAG[stored.kind]]]

    def groups_of(self, entity: Entity) -> Iterator[StoredObject]:
        for key in entity.portal_groups:
            yield self._objects[Kind.PORTAL_GROUP][key]

    def nodes_of(self, entity: Entity) -> list[StoredObject]:
        return [self._objects[Kind.NODE][key] for key in entity.nodes]

    def portals_of(self, entity: Entity) -> list[StoredObject]:
        return [self._objects[Kind.PORTAL][key] for key in entity.portals]

    def related_portals(self, node: StoredObject) -> list[tuple[StoredObject, StoredObject]]:
        """The registered portals of a node with the portal group that joins them; NULL tags join nothing."""
        entity = self.entities[node.entity]
        found = []
        for key in entity.portals:
            group = self.get(Kind.PORTAL_GROUP, portal_group_key(node.key, key))
            if group is not None and group.attributes[Tag.PG_TAG]:
                found.append((self._objects[Kind.PORTAL][key], group))
        return found

    def related_nodes(self, portal: StoredObject) -> list[tuple[StoredObject, StoredObject]]:
        """The registered nodes of a portal with the portal group that joins them."""
        entity = self.entities[portal.entity]
        found = []
        for key in entity.nodes:
            group = self.get(Kind.PORTAL_GROUP, portal_group_key(key, portal.key))
            if group is not None and group.attributes[Tag.PG_TAG]:
                found.append((self._objects[Kind.NODE][key], group))
        return found

    def expired(self, now: float) -> list[Entity]:
        """The entities whose registration period is over (§6.2.6)."""
        return [e for e in self.entities.values() if e.expires_at is not None and e.expires_at <= now]

    def next_expiry(self) -> float | None:
        """When the next entity expires, None when none ever does."""
        return min((e.expires_at for e in self.entities.values() if e.expires_at is not None), default=None)
