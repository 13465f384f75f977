"""DevDereg: which objects go, and who may remove them (RFC 4171 §5.6.5.4)."""

from collections.abc import Sequence

from san_console.isns import status
from san_console.isns.attributes import (
    DELIMITER,
    INDEX_TAGS,
    KEY_TAGS,
    Attribute,
    Kind,
    kind_of,
)
from san_console.isns.changes import Asker, Change, removal_changes
from san_console.isns.database import Database, StoredObject, key_of
from san_console.isns.errors import Refused
from san_console.isns.grouping import group_objects
from san_console.isns.message import RequestParts


def deregister(
    database: Database, asker: Asker, request: RequestParts
) -> tuple[list[Attribute], list[Change]]:
    """Carry out a DevDereg. Objects that do not exist are no error; one that belongs to another entity
    refuses the whole request with status 8 and stands in the response (§5.7.5.4).
    """
    if request.key:
        raise Refused(status.MESSAGE_FORMAT_ERROR, "DevDereg has no message key (RFC 4171 §5.6.5.4).")
    stored_objects: list[StoredObject] = []
    for kind, values in _dereg_keys(request.operating):
        stored = (
            database.by_index(kind, values[0].value)
            if values[0].tag in INDEX_TAGS
            else database.get(kind, key_of(kind, [a.value for a in values]))
        )
        if stored is not None:
            stored_objects.append(stored)
    if not asker.control:
        if asker.entity is None:
            raise Refused(status.SOURCE_UNKNOWN, "The source node is not registered.")
        foreign = [s for s in stored_objects if s.entity != asker.entity.key or not asker.owns_entity]
        if foreign:
            raise Refused(
                status.SOURCE_UNAUTHORIZED,
                "The source node deregisters what its own network entity registered, from the same address.",
                (DELIMITER, *(attribute for s in foreign for attribute in s.key_attributes())),
            )
    changes = []
    for stored in stored_objects:
        if database.get(stored.kind, stored.key) is not stored:
            continue  # it went with an object that was listed before it
        changes += removal_changes(database, stored)
        database.remove(stored)
    return [DELIMITER], changes


def _dereg_keys(attributes: Sequence[Attribute]) -> list[tuple[Kind, list[Attribute]]]:
    """The objects that a DevDereg lists, each by its key or its index."""
    found: list[tuple[Kind, list[Attribute]]] = []
    position = 0
    while position < len(attributes):
        kind = INDEX_TAGS.get(attributes[position].tag)
        size = 1
        if kind is None:
            size = _key_length(attributes[position])
            (group,) = group_objects(attributes[position : position + size])
            kind = group.kind
        values = list(attributes[position : position + size])
        position += size
        if kind not in (Kind.ENTITY, Kind.NODE, Kind.PORTAL):
            raise Refused(
                status.INVALID_DEREGISTRATION, f"A {kind.value} cannot be deregistered by DevDereg."
            )
        if not all(value.value for value in values):
            raise Refused(status.INVALID_DEREGISTRATION, "A key without a value matches nothing.")
        found.append((kind, values))
    return found


def _key_length(first: Attribute) -> int:
    kind = kind_of(first.tag)
    return len(KEY_TAGS[kind]) if kind in KEY_TAGS else 1
