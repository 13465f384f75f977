"""What a request changed, and who asked for it: shared by registration, queries and notifications."""

from dataclasses import dataclass

from san_console.isns.attributes import SCN_OBJECT_REMOVED, Kind, Tag, describe
from san_console.isns.database import Database, Entity, Key, StoredObject


@dataclass(frozen=True, slots=True)
class Moment:
    """Now, twice: `monotonic_s` for deadlines, `unix_s` for the timestamps that travel (RFC 4171 §6.2.4)."""

    monotonic_s: float
    unix_s: int


@dataclass(frozen=True, slots=True)
class Asker:
    """Who sent a request: the source node's name and comparison key, and the address it came from."""

    name: str
    key: Key
    address: str
    control: bool
    entity: Entity | None
    """The entity in which the source node is registered."""

    @property
    def owns_entity(self) -> bool:
        """True when the source node is registered, from the address that this request comes from (§5.6.1)."""
        return self.entity is not None and self.entity.owner_address == self.address


@dataclass(frozen=True, slots=True)
class Change:
    """Something that happened to an object; `bits` is one of the SCN_OBJECT_… of `attributes`.

    `node_types` are those of the node before it went or after it came, 0 for other kinds.
    """

    bits: int
    kind: Kind
    key: Key
    label: str
    entity: Key
    entity_name: str
    nodes: tuple[tuple[Key, str, int], ...] = ()
    """The nodes that are affected: key, name as registered, node types."""


def change_of(database: Database, stored: StoredObject, bits: int) -> Change:
    """The change of `stored` with the nodes that it affects; for a removal, to be asked before it."""
    entity = database.entities[stored.entity]
    if stored.kind is Kind.NODE:
        nodes = [stored]
    elif stored.kind is Kind.PORTAL:
        nodes = [node for node, _ in database.related_nodes(stored)]
    elif stored.kind is Kind.ENTITY:
        nodes = database.nodes_of(entity)
    else:
        node = database.get(Kind.NODE, stored.key[:1])
        nodes = [node] if node else []
    return Change(
        bits,
        stored.kind,
        stored.key,
        label(stored),
        entity.key,
        entity.name,
        tuple((n.key, n.text(Tag.ISCSI_NAME) or "", n.number(Tag.NODE_TYPE) or 0) for n in nodes),
    )


def removal_changes(database: Database, stored: StoredObject) -> list[Change]:
    """The changes that removing `stored` means; an entity takes its nodes with it. To be asked before."""
    going = database.nodes_of(database.entities[stored.key]) if stored.kind is Kind.ENTITY else []
    return [change_of(database, gone, SCN_OBJECT_REMOVED) for gone in (*going, stored)]


def label(stored: StoredObject) -> str:
    """What a person calls the object; fit for display."""
    return ", ".join(describe(attribute) for attribute in stored.key_attributes())
