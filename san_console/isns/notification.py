"""State change notifications and entity status inquiries (RFC 4171 §5.6.5.5 to §5.6.5.8, §5.6.5.13)."""

from dataclasses import dataclass

from san_console.isns import pdu, status
from san_console.isns.admission import callback_allowed, callback_port
from san_console.isns.attributes import (
    NODE_TYPE_INITIATOR,
    NODE_TYPE_TARGET,
    SCN_INITIATOR_AND_SELF,
    SCN_MANAGEMENT,
    SCN_OBJECT_UPDATED,
    SCN_TARGET_AND_SELF,
    Attribute,
    Kind,
    Tag,
    read_address,
    read_number,
    write_text,
    write_time,
)
from san_console.isns.changes import Asker, Change
from san_console.isns.database import Database, Entity, Key, StoredObject, key_of
from san_console.isns.errors import Refused
from san_console.isns.functions import ESI, SCN
from san_console.isns.message import Message, RequestParts
from san_console.isns.policy import ServerPolicy

_EVENT_BITS = 0x1F  # §6.4.4: removed, added, updated, DD member removed, DD member added


@dataclass(frozen=True, slots=True)
class Callback:
    """An address and TCP port of a portal where the server may connect to."""

    address: str
    port: int


@dataclass(slots=True)
class Notification:
    """An SCN for one node, and where it may be delivered when the node has no open connection."""

    node: Key
    node_name: str
    message: Message
    callbacks: list[Callback]


def _key_node(database: Database, request: RequestParts, refusal: int) -> StoredObject:
    if len(request.key) != 1 or request.key[0].tag != Tag.ISCSI_NAME or not request.key[0].value:
        raise Refused(refusal, "The message key is one iSCSI name.")
    node = database.get(Kind.NODE, key_of(Kind.NODE, [request.key[0].value]))
    if node is None:
        raise Refused(refusal, "The node is not registered.")
    return node


def _bitmap(request: RequestParts, refusal: int) -> int:
    if len(request.operating) != 1 or request.operating[0].tag != Tag.SCN_BITMAP:
        raise Refused(refusal, "The SCN bitmap is the one operating attribute.")
    return read_number(request.operating[0].value) if request.operating[0].value else 0


def _check_own(asker: Asker, node: StoredObject) -> None:
    if asker.control:
        return
    if asker.entity is None:
        raise Refused(status.SOURCE_UNKNOWN, "The source node is not registered.")
    if node.entity != asker.entity.key or not asker.owns_entity:
        raise Refused(status.SOURCE_UNAUTHORIZED, "The node belongs to another network entity.")


def register_scn(database: Database, policy: ServerPolicy, asker: Asker, request: RequestParts) -> Key:
    """Carry out a SCNReg; the key of the node that wants notifications (§5.6.5.5)."""
    node = _key_node(database, request, status.SCN_REGISTRATION_REJECTED)
    bits = _bitmap(request, status.SCN_REGISTRATION_REJECTED)
    _check_own(asker, node)
    if bits & (SCN_MANAGEMENT | 0x03) and not asker.control:
        # Bits 30 and 31 tell of discovery domains and come with bit 26 only (§6.4.4).
        raise Refused(status.SCN_REGISTRATION_REJECTED, "Management notifications are for control nodes.")
    if not callbacks_of(database, policy, node, Tag.SCN_PORT):
        raise Refused(
            status.SCN_REGISTRATION_REJECTED,
            "No portal of the node has a TCP port for notifications on the address that registered it.",
        )
    node.attributes[Tag.SCN_BITMAP] = request.operating[0].value
    return node.key


def deregister_scn(database: Database, asker: Asker, request: RequestParts) -> None:
    """Carry out a SCNDereg. An unknown node wants no notifications either, so it is no error."""
    try:
        node = _key_node(database, request, status.NO_SUCH_ENTRY)
    except Refused:
        if len(request.key) == 1 and request.key[0].value:
            return
        raise
    _check_own(asker, node)
    node.attributes.pop(Tag.SCN_BITMAP, None)


def scn_event(database: Database, asker: Asker, request: RequestParts) -> Change:
    """The change that a client asks to be announced (§5.6.5.7)."""
    node = _key_node(database, request, status.SCN_EVENT_REJECTED)
    bits = _bitmap(request, status.SCN_EVENT_REJECTED) & _EVENT_BITS
    _check_own(asker, node)
    if not bits:
        raise Refused(status.SCN_EVENT_REJECTED, "The bitmap names no event.")
    entity = database.entities[node.entity]
    name = node.text(Tag.ISCSI_NAME) or ""
    return Change(
        bits, Kind.NODE, node.key, name, entity.key, entity.name,
        ((node.key, name, node.number(Tag.NODE_TYPE) or 0),),
    )  # fmt: skip


def callbacks_of(database: Database, policy: ServerPolicy, node: StoredObject, tag: int) -> list[Callback]:
    """Where the server may connect to for this node's entity: portals with a port in attribute `tag`, on the
    address that registered them unless the policy allows others.
    """
    entity = database.entities[node.entity]
    found = []
    for portal in database.portals_of(entity):
        port = callback_port(portal.attributes, tag)
        if port and callback_allowed(policy, portal.attributes, tag, entity.owner_address):
            found.append(Callback(read_address(portal.attributes[Tag.PORTAL_ADDRESS]), port))
    return found


def notifications(
    database: Database, policy: ServerPolicy, changes: list[Change], unix_s: int
) -> list[Notification]:
    """The SCNs that follow from `changes`, one message per node that registered for them (§5.6.5.8)."""
    if not changes:
        return []
    found = []
    for node in database.objects(Kind.NODE):
        bitmap = node.number(Tag.SCN_BITMAP) or 0
        if not bitmap & _EVENT_BITS:
            continue
        told = _told(policy, node, bitmap, changes)
        if not told:
            continue
        name = node.text(Tag.ISCSI_NAME) or ""
        attributes = [
            Attribute(Tag.ISCSI_NAME, node.attributes[Tag.ISCSI_NAME]),
            Attribute(Tag.TIMESTAMP, write_time(unix_s)),
        ]
        for subject, bits in told.items():
            flags = bits | (bitmap & SCN_MANAGEMENT)
            attributes += [
                Attribute(Tag.SCN_BITMAP, flags.to_bytes(4)),
                Attribute(Tag.ISCSI_NAME, write_text(subject)),
            ]
        message = Message(SCN, 0, pdu.FLAG_SERVER, None, attributes)
        found.append(
            Notification(node.key, name, message, callbacks_of(database, policy, node, Tag.SCN_PORT))
        )
    return found


def _told(policy: ServerPolicy, node: StoredObject, bitmap: int, changes: list[Change]) -> dict[str, int]:
    """The names of the changed nodes that `node` wants to hear of, each with the event bits."""
    told: dict[str, int] = {}
    domains = policy.domains_of(node.key[0])
    for change in changes:
        # A node sees its own portals come and go as a change of itself (§5.6.5.8, example).
        bits = change.bits if change.kind is Kind.NODE else SCN_OBJECT_UPDATED
        if not bits & bitmap or change.kind is Kind.ENTITY:
            continue
        for key, name, types in change.nodes:
            own = key == node.key
            if bitmap & SCN_TARGET_AND_SELF and not (own or types & NODE_TYPE_TARGET):
                continue
            if bitmap & SCN_INITIATOR_AND_SELF and not (own or types & NODE_TYPE_INITIATOR):
                continue
            visible = own or bitmap & SCN_MANAGEMENT or bool(domains & policy.domains_of(key[0]))
            if visible and not (own and change.kind is Kind.NODE):
                told[name] = told.get(name, 0) | (bits & bitmap)
    return told


def inquiry(entity: Entity, portal: StoredObject, unix_s: int) -> Message:
    """The ESI for one portal (§5.6.5.13)."""
    return Message(
        ESI,
        0,
        pdu.FLAG_SERVER,
        None,
        [
            Attribute(Tag.TIMESTAMP, write_time(unix_s)),
            Attribute(Tag.ENTITY_ID, entity.stored.attributes[Tag.ENTITY_ID]),
            *portal.key_attributes(),
        ],
    )
