"""Objects of an iSNS database, as tables and JSON show them."""

from collections.abc import Sequence
from dataclasses import dataclass

from san_console.isns.attributes import KEY_TAGS, Attribute, Kind, attribute_name, describe


@dataclass(frozen=True, slots=True)
class IsnsObject:
    """`kind` (entity, node, portal, portal group, discovery domain, …), `id`, and all attributes by name.

    All texts are fit for display: they went through `names.display.visible`.
    """

    kind: str
    id: str
    attributes: dict[str, str]


def object_of(kind: Kind, attributes: Sequence[Attribute]) -> IsnsObject:
    """The object with these attributes; an attribute that occurs more than once has its values joined."""
    keys = KEY_TAGS[kind]
    texts: dict[str, str] = {}
    for attribute in attributes:
        name, text = attribute_name(attribute.tag), describe(attribute)
        texts[name] = f"{texts[name]}, {text}" if name in texts else text
    shown = [describe(attribute) for attribute in attributes if attribute.tag in keys]
    if kind in (Kind.PORTAL, Kind.PORTAL_GROUP) and len(shown) == len(keys):
        address, port = shown[-2:]
        host = f"[{address}]" if ":" in address else address
        shown[-2:] = [f"{host}:{port.removesuffix('/tcp')}"]
    return IsnsObject(kind.value, " ".join(shown), texts)
