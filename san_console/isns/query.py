"""DevAttrQry and DevGetNext: which objects a source may see, and in what order they are answered
(RFC 4171 §5.6.5.2, §5.6.5.3).
"""

from collections.abc import Iterable, Sequence

from san_console.isns import status
from san_console.isns.attributes import (
    DELIMITER,
    INDEX_TAGS,
    KEY_TAGS,
    NEXT_INDEX_TAGS,
    Attribute,
    Kind,
    Tag,
    attribute_name,
    kind_of,
    write_number,
    write_text,
)
from san_console.isns.changes import Asker
from san_console.isns.database import Database, Entity, StoredObject, key_part
from san_console.isns.errors import Refused
from san_console.isns.message import RequestParts
from san_console.isns.policy import DEFAULT_DOMAIN_ID, ServerPolicy

_STORED = (Kind.ENTITY, Kind.NODE, Kind.PORTAL, Kind.PORTAL_GROUP)
_FOLDED_TAGS = frozenset(
    {Tag.ENTITY_ID, Tag.ISCSI_NAME, Tag.PG_ISCSI_NAME, Tag.PORTAL_ADDRESS, Tag.PG_ADDRESS}
)
_TLV_HEADER_BYTES = 8

MAX_QUERY_ATTRIBUTES = 256
"""Attributes of a query, which is more than one kind of object has. Each is looked at for each object of the
database: with as many as a message can hold, one query would keep the server busy for minutes.
"""


class View:
    """What one asker sees of the database: everything for a control node, else what its domains and its own
    entity hold (§2.2.2, §5.6.1).
    """

    def __init__(self, database: Database, policy: ServerPolicy, asker: Asker) -> None:
        self._database = database
        self._policy = policy
        self._asker = asker
        self._domains = policy.domains_of(asker.key[0])
        # With one domain for all, which is the usual case, nothing has to be looked up per node.
        self._sees_all = asker.control or (policy.default_domain and not policy.domains)

    def node(self, node: StoredObject) -> bool:
        """Whether the asker sees `node`."""
        if self._sees_all or (self._asker.entity is not None and node.entity == self._asker.entity.key):
            return True
        return bool(self._domains & self._policy.domains_of(node.key[0]))

    def nodes_of(self, entity: Entity) -> list[StoredObject]:
        return [node for node in self._database.nodes_of(entity) if self.node(node)]

    def stored(self, stored: StoredObject) -> bool:
        """Whether the asker sees an object: other kinds are seen with a node that they belong to."""
        if self._sees_all or (self._asker.entity is not None and stored.entity == self._asker.entity.key):
            return True
        if stored.kind is Kind.NODE:
            return self.node(stored)
        if stored.kind is Kind.ENTITY:
            return bool(self.nodes_of(self._database.entities[stored.key]))
        if stored.kind is Kind.PORTAL:
            return any(self.node(node) for node, _ in self._database.related_nodes(stored))
        end = self._database.get(Kind.NODE, stored.key[:1])
        return end is not None and self.node(end)

    def objects(self, kind: Kind) -> list[StoredObject]:
        """The visible objects of a kind, in the order of registration; domains are made up on the spot."""
        if kind is Kind.DOMAIN:
            return self._domain_objects()
        return [stored for stored in self._database.objects(kind) if self.stored(stored)]

    def _domain_objects(self) -> list[StoredObject]:
        names = {DEFAULT_DOMAIN_ID: "default"} if self._policy.default_domain else {}
        names.update(enumerate(self._policy.domains, DEFAULT_DOMAIN_ID + 1))
        found = []
        for number, name in names.items():
            if self._asker.control or number in self._domains:
                attributes = {Tag.DD_ID: write_number(number), Tag.DD_NAME: write_text(name)}
                found.append(StoredObject(Kind.DOMAIN, (write_number(number).hex(),), (), attributes))
        return found

    def members(self, domain: StoredObject) -> list[Attribute]:
        """The registered members of a domain as DD member names (§6.11.2.4)."""
        number = domain.number(Tag.DD_ID)
        return [
            Attribute(Tag.DD_MEMBER_NAME, node.attributes[Tag.ISCSI_NAME])
            for node in self._database.objects(Kind.NODE)
            if number in self._policy.domains_of(node.key[0])
        ]

    def related(self, stored: StoredObject, kind: Kind) -> list[StoredObject]:
        """The objects of `kind` in the same entity that are related to `stored`, itself included; portal
        groups with a NULL tag relate nothing (§5.6.5.2).
        """
        database = self._database
        if stored.kind is kind:
            return [stored]
        if stored.kind not in _STORED or kind not in _STORED:
            return []
        entity = database.entities[stored.entity]
        if kind is Kind.ENTITY:
            return [entity.stored]
        if stored.kind is Kind.ENTITY:
            if kind is Kind.NODE:
                return self.nodes_of(entity)
            pool = database.portals_of(entity) if kind is Kind.PORTAL else list(database.groups_of(entity))
            return [other for other in pool if self.stored(other)]
        if stored.kind is Kind.PORTAL_GROUP:
            end = stored.key[:1] if kind is Kind.NODE else stored.key[1:]
            found = database.get(kind, end) if stored.attributes[Tag.PG_TAG] else None
            return [found] if found is not None and self.stored(found) else []
        if stored.kind is Kind.NODE:
            pairs = database.related_portals(stored)
        else:
            pairs = [pair for pair in database.related_nodes(stored) if self.node(pair[0])]
        return [group if kind is Kind.PORTAL_GROUP else other for other, group in pairs]


class _Answer:
    """Attributes of a response, with a cap on their size."""

    def __init__(self, max_bytes: int) -> None:
        self.attributes: list[Attribute] = []
        self._left = max_bytes

    def add(self, attributes: Iterable[Attribute]) -> None:
        for attribute in attributes:
            self._left -= _TLV_HEADER_BYTES + len(attribute.value)
            if self._left < 0:
                raise Refused(
                    status.INTERNAL_ERROR, "The answer is too large; ask for fewer objects at a time."
                )
            self.attributes.append(attribute)


def _check_size(request: RequestParts) -> None:
    if len(request.key) + len(request.operating) > MAX_QUERY_ATTRIBUTES:
        raise Refused(
            status.INVALID_QUERY, f"A query of more than {MAX_QUERY_ATTRIBUTES} attributes is not answered."
        )


def _key_kind(key: Sequence[Attribute]) -> Kind:
    """The kind that all attributes of a message key belong to. Raises Refused (status 5, or 18)."""
    kinds = {kind_of(attribute.tag) for attribute in key}
    if len(kinds) != 1:
        raise Refused(
            status.INVALID_QUERY, "A message key holds attributes of one kind of object (§5.6.5.2)."
        )
    kind = kinds.pop()
    if kind not in KEY_TAGS:
        raise Refused(
            status.ATTRIBUTE_NOT_IMPLEMENTED, f"{attribute_name(key[0].tag)} is no key of a query here."
        )
    return kind


def _matches(stored: StoredObject, wanted: Iterable[Attribute]) -> bool:
    """Whether the object has these values; an empty one stands for any."""
    for tag, value in wanted:
        if not value:
            continue
        own = stored.attributes.get(tag)
        if not own:
            return False
        if own != value and (tag not in _FOLDED_TAGS or key_part(tag, own) != key_part(tag, value)):
            return False
    return True


def query(view: View, policy: ServerPolicy, next_index: int, request: RequestParts) -> list[Attribute]:
    """The attributes of a DevAttrQryRsp: message key, delimiter, then the objects (§5.7.5.2)."""
    _check_size(request)
    answer = _Answer(policy.limits.answer_bytes)
    answer.add(request.key)
    answer.add([DELIMITER])
    asked = request.operating
    if asked and all(attribute.tag in NEXT_INDEX_TAGS for attribute in asked):
        answer.add(Attribute(attribute.tag, write_number(next_index)) for attribute in asked)
        return answer.attributes
    tags_by_kind = _asked_tags(asked)
    if not request.key:
        for kind in tags_by_kind or dict.fromkeys((*_STORED, Kind.DOMAIN)):
            for stored in view.objects(kind):
                answer.add(_values(view, stored, tags_by_kind.get(kind)))
        return answer.attributes
    kind = _key_kind(request.key)
    seen: set[tuple[Kind, tuple[str, ...]]] = set()
    for stored in view.objects(kind):
        if not _matches(stored, request.key):
            continue
        if tags_by_kind:
            for other_kind, tags in tags_by_kind.items():
                for other in view.related(stored, other_kind):
                    answer.add(_values(view, other, tags))
            continue
        # Nothing asked for in particular: every related object, once, the entity before what it holds.
        for other in _everything_about(view, stored):
            if (other.kind, other.key) not in seen:
                seen.add((other.kind, other.key))
                answer.add(_values(view, other, None))
    return answer.attributes


def _everything_about(view: View, stored: StoredObject) -> list[StoredObject]:
    if stored.kind is Kind.DOMAIN:
        return [stored]
    order = [stored.kind, *(kind for kind in _STORED if kind not in (Kind.ENTITY, stored.kind))]
    found = view.related(stored, Kind.ENTITY) if stored.kind is not Kind.ENTITY else []
    for kind in order:
        found = found + view.related(stored, kind)
    return found


def _asked_tags(asked: Sequence[Attribute]) -> dict[Kind, list[int]]:
    """The tags to answer by kind, both in the order of the request (§5.6.5.2)."""
    tags: dict[Kind, list[int]] = {}
    for attribute in asked:
        kind = kind_of(attribute.tag)
        if kind is None or kind is Kind.SERVER:
            raise Refused(
                status.ATTRIBUTE_NOT_IMPLEMENTED, f"{attribute_name(attribute.tag)} is not known here."
            )
        if attribute.tag not in tags.setdefault(kind, []):
            tags[kind].append(attribute.tag)
    return tags


def _values(view: View, stored: StoredObject, tags: Sequence[int] | None) -> list[Attribute]:
    """The attributes of an object: all, or those of `tags` that have a value (§5.6.5.2)."""
    if stored.kind is Kind.DOMAIN:
        own = [*stored.all_attributes(), *view.members(stored)]
        return own if tags is None else [attribute for attribute in own if attribute.tag in tags]
    if tags is None:
        return stored.all_attributes()
    return [Attribute(tag, stored.attributes[tag]) for tag in tags if stored.attributes.get(tag)]


def get_next(view: View, request: RequestParts) -> list[Attribute]:
    """The attributes of a DevGetNextRsp: the key of the next object, delimiter, its attributes (§5.6.5.3).

    Objects come in the order of their keys, so that one that went between two requests loses no other.
    Raises Refused with status 9 after the last one.
    """
    _check_size(request)
    if not request.key:
        raise Refused(status.INVALID_QUERY, "DevGetNext without a message key (RFC 4171 §5.6.5.3).")
    kind = _key_kind(request.key)
    tags = tuple(attribute.tag for attribute in request.key)
    if tags != KEY_TAGS[kind] and not (len(tags) == 1 and tags[0] in INDEX_TAGS):
        raise Refused(status.INVALID_QUERY, "DevGetNext takes the whole key of one object, or its index.")
    if any(kind_of(attribute.tag) is not kind for attribute in request.operating):
        raise Refused(status.INVALID_QUERY, "DevGetNext answers attributes of the key's object only.")
    filters = [attribute for attribute in request.operating if attribute.value]
    wanted = [attribute.tag for attribute in request.operating if not attribute.value]
    given = [attribute.value for attribute in request.key]
    after = tuple(key_part(tag, value) for tag, value in request.key) if all(given) else ()
    by_key = tags == KEY_TAGS[kind]
    following = [
        (position, stored)
        for stored in view.objects(kind)
        if (position := stored.key if by_key else (stored.attributes[tags[0]].hex(),)) > after
        and _matches(stored, filters)
    ]
    if not following:
        raise Refused(status.NO_SUCH_ENTRY, "No further object.")
    _, stored = min(following, key=lambda pair: pair[0])
    key = [Attribute(tag, stored.attributes[tag]) for tag in tags]
    return [*key, DELIMITER, *_values(view, stored, wanted or None)]
