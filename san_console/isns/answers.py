"""What a client makes of a server's answers: objects, and targets with their portals.

Answers are from a server that may be wrong or hostile: a record that cannot be read is left out and counted,
and never takes the rest of the answer with it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from san_console.isns.attributes import (
    KEY_TAGS,
    KIND_OF_FIRST_KEY_TAG,
    NODE_TYPE_TARGET,
    PORT_IS_UDP,
    Attribute,
    Kind,
    Tag,
    check,
    describe,
    kind_of,
    read_address,
    read_number,
    read_text,
)
from san_console.isns.errors import RemoteProtocolError
from san_console.names.errors import NamesError
from san_console.names.iscsi_name import comparison_key, normalise
from san_console.names.portal import ISCSI_PORT, Portal

MAX_TARGETS = 16384
"""Targets taken from one answer; a table with more is of no use to anyone."""

MAX_PORTALS_PER_TARGET = 256

_DEFAULT_TAG = 1  # §6.5.4: the tag of a portal group that nobody registered


@dataclass(slots=True)
class AnsweredObject:
    """An object of an answer with its attributes in the order in which they came."""

    kind: Kind
    attributes: list[Attribute]

    def value(self, tag: int) -> bytes | None:
        """The first non-empty value of `tag`."""
        return next((a.value for a in self.attributes if a.tag == tag and a.value), None)

    @property
    def key_text(self) -> str:
        """The key for a person: fit for display."""
        keys = KEY_TAGS[self.kind]
        return " ".join(describe(a) for a in self.attributes if a.tag in keys)


@dataclass(slots=True)
class AnsweredTarget:
    """A target with the portals through which it can be reached; a tag of None is not known."""

    name: str
    alias: str
    entity: str
    portals: list[tuple[Portal, int | None]] = field(default_factory=list)


@dataclass(slots=True)
class Targets:
    """The targets of an answer; `skipped` records could not be used, `truncated` ones were too many."""

    targets: list[AnsweredTarget]
    skipped: int = 0
    truncated: bool = False


def objects_of(attributes: Iterable[Attribute]) -> tuple[list[AnsweredObject], int]:
    """The objects of an answer's operating attributes, and how many attributes belonged to none.

    Servers differ in where non-key attributes stand, so an attribute belongs to the last object of its kind.
    """
    objects: list[AnsweredObject] = []
    stray = 0
    for attribute in attributes:
        kind = KIND_OF_FIRST_KEY_TAG.get(attribute.tag)
        if kind is not None:
            objects.append(AnsweredObject(kind, [attribute]))
        elif objects and kind_of(attribute.tag) is objects[-1].kind:
            objects[-1].attributes.append(attribute)
        else:
            stray += 1
    return objects, stray


def operating_of(attributes: Sequence[Attribute]) -> Sequence[Attribute]:
    """What stands behind the delimiter of a response; all of it where the server sends none."""
    for position, attribute in enumerate(attributes):
        if attribute.tag == Tag.DELIMITER:
            return attributes[position + 1 :]
    return attributes


def _portal(address: bytes | None, port: bytes | None) -> Portal | None:
    """The iSCSI portal, None for UDP; port 0 means the port of iSCSI (§6.3.2). Raises on bad values."""
    if address is None or port is None:
        raise ValueError("a portal without address or port")
    number = read_number(port)
    if number & PORT_IS_UDP:
        return None
    return Portal(read_address(address), number & 0xFFFF or ISCSI_PORT)


def targets_of(objects: Iterable[AnsweredObject]) -> Targets:
    """The target nodes among `objects` with their portals.

    Portal groups say which portal serves which node. A node without any portal group in the answer gets the
    portals that follow it, which is how a server without portal groups orders its answer (§5.6.5.2).
    """
    result = Targets([])
    by_key: dict[str, AnsweredTarget] = {}
    groups: dict[str, list[tuple[Portal, int | None]]] = {}
    following: dict[str, list[tuple[Portal, int | None]]] = {}
    grouped: set[str] = set()
    entity, last = "", ""
    for item in objects:
        try:
            for attribute in item.attributes:
                check(attribute)
            if item.kind is Kind.ENTITY:
                entity, last = read_text(item.value(Tag.ENTITY_ID) or b"\0"), ""
            elif item.kind is Kind.NODE:
                last = _take_node(item, entity, by_key, result)
            elif item.kind is Kind.PORTAL and last:
                portal = _portal(item.value(Tag.PORTAL_ADDRESS), item.value(Tag.PORTAL_PORT))
                if portal is not None:
                    _append(following.setdefault(last, []), (portal, _DEFAULT_TAG), result)
            elif item.kind is Kind.PORTAL_GROUP:
                key = comparison_key(read_text(item.value(Tag.PG_ISCSI_NAME) or b"\0"))
                grouped.add(key)
                tag = item.value(Tag.PG_TAG)
                portal = _portal(item.value(Tag.PG_ADDRESS), item.value(Tag.PG_PORT))
                if portal is not None and tag is not None:
                    _append(groups.setdefault(key, []), (portal, read_number(tag) & 0xFFFF), result)
        except (RemoteProtocolError, NamesError, ValueError):
            result.skipped += 1
    for key, target in by_key.items():
        target.portals = groups.get(key, []) if key in grouped else following.get(key, [])
    return result


def _take_node(item: AnsweredObject, entity: str, by_key: dict[str, AnsweredTarget], result: Targets) -> str:
    """Take a target node into `by_key`; the key of the node, "" when it is no target or one too many."""
    types = item.value(Tag.NODE_TYPE)
    if types is None or not read_number(types) & NODE_TYPE_TARGET:
        return ""
    name = normalise(read_text(item.value(Tag.ISCSI_NAME) or b"\0"), lenient=True)
    key = comparison_key(name)
    if key not in by_key:
        if len(by_key) >= MAX_TARGETS:
            result.truncated = True
            return ""
        alias = read_text(item.value(Tag.ISCSI_ALIAS) or b"\0")
        by_key[key] = AnsweredTarget(name, alias, entity)
        result.targets.append(by_key[key])
    return key


def _append(
    portals: list[tuple[Portal, int | None]], entry: tuple[Portal, int | None], result: Targets
) -> None:
    if entry in portals:
        return
    if len(portals) >= MAX_PORTALS_PER_TARGET:
        result.truncated = True
        return
    portals.append(entry)
