"""DevAttrReg: carrying out a registration that was found admissible (RFC 4171 §5.6.5.1)."""

from san_console.isns.admission import GENERATED_PREFIX, Plan, plan_registration
from san_console.isns.attributes import (
    DELIMITER,
    KEY_TAGS,
    PROTOCOL_ISCSI,
    SCN_OBJECT_ADDED,
    SCN_OBJECT_UPDATED,
    Attribute,
    Kind,
    Tag,
    write_number,
    write_text,
    write_time,
)
from san_console.isns.changes import Asker, Change, Moment, change_of, removal_changes
from san_console.isns.database import Database, Entity, Key
from san_console.isns.grouping import GroupedObject
from san_console.isns.message import RequestParts
from san_console.isns.policy import (
    MAX_REGISTRATION_PERIOD_S,
    MIN_REGISTRATION_PERIOD_S,
    ServerPolicy,
)

_DEFAULT_TAG = write_number(1)  # §6.5.4: the tag of a portal group that nobody registered explicitly


def register(
    database: Database,
    policy: ServerPolicy,
    asker: Asker,
    request: RequestParts,
    *,
    replace: bool,
    moment: Moment,
) -> tuple[list[Attribute], list[Change]]:
    """Carry out a DevAttrReg: the attributes of the response and what changed.

    All or nothing: whatever is wrong raises Refused or RemoteProtocolError before anything is changed.
    """
    plan = plan_registration(database, policy, asker, request, replace)
    _carry_out(database, policy, asker, plan, moment)
    assert plan.entity is not None
    answer = [Attribute(Tag.ENTITY_ID, plan.entity_id), DELIMITER]
    answer.append(Attribute(Tag.ENTITY_ID, plan.entity_id))
    for tag in (Tag.ENTITY_PROTOCOL, Tag.REGISTRATION_PERIOD):
        answer.append(Attribute(tag, plan.entity.stored.attributes[tag]))
    return answer + plan.answered, plan.changes


def _carry_out(database: Database, policy: ServerPolicy, asker: Asker, plan: Plan, moment: Moment) -> None:
    """Apply a checked plan; from here on nothing fails."""
    kept_period = plan.entity.stored.attributes.get(Tag.REGISTRATION_PERIOD) if plan.entity else None
    if plan.replaced is not None:
        plan.changes += removal_changes(database, plan.replaced)
        database.remove(plan.replaced)
    entity = plan.entity
    if entity is None or entity.key not in database.entities:
        entity = _new_entity(database, asker, plan)
    attributes = entity.stored.attributes
    attributes.update({tag: value for tag, value in plan.entity_attributes.items() if tag != Tag.ENTITY_ID})
    attributes.setdefault(Tag.ENTITY_PROTOCOL, write_number(PROTOCOL_ISCSI))
    if not attributes[Tag.ENTITY_PROTOCOL]:
        attributes[Tag.ENTITY_PROTOCOL] = write_number(PROTOCOL_ISCSI)
    if Tag.REGISTRATION_PERIOD not in plan.entity_attributes and kept_period is not None:
        attributes[Tag.REGISTRATION_PERIOD] = kept_period
    plan.entity = entity
    for key, group in plan.objects:
        _store_member(database, plan, entity, key, group)
    for node in database.nodes_of(entity):
        for portal in database.portals_of(entity):
            database.join(entity, node, portal, _DEFAULT_TAG)
    _set_period(policy, entity)
    refresh(entity, moment)


def _new_entity(database: Database, asker: Asker, plan: Plan) -> Entity:
    if not plan.entity_id:
        number = database.next_index
        while (f"{GENERATED_PREFIX}{number:08d}",) in database.entities:
            number += 1
        plan.entity_id = write_text(f"{GENERATED_PREFIX}{number:08d}")
    # A replaced entity stays with the address that owned it, also when a control node replaces it.
    owner = plan.entity.owner_address if plan.entity is not None else asker.address
    entity = database.add_entity({Tag.ENTITY_ID: plan.entity_id}, owner)
    plan.changes.append(change_of(database, entity.stored, SCN_OBJECT_ADDED))
    return entity


def _store_member(database: Database, plan: Plan, entity: Entity, key: Key, group: GroupedObject) -> None:
    stored = database.get(group.kind, key)
    if stored is None:
        stored = database.add(group.kind, entity, group.attributes)
        if group.kind is Kind.PORTAL_GROUP:
            stored.attributes.setdefault(Tag.PG_TAG, _DEFAULT_TAG)
        bits = SCN_OBJECT_ADDED
    else:
        changed = {
            tag: value
            for tag, value in group.attributes.items()
            if tag not in KEY_TAGS[group.kind] and stored.attributes.get(tag) != value
        }
        stored.attributes.update(changed)
        bits = SCN_OBJECT_UPDATED if changed else 0
    if bits:
        if group.kind is Kind.PORTAL:
            for node in database.nodes_of(entity):
                database.join(entity, node, stored, _DEFAULT_TAG)
        plan.changes.append(change_of(database, stored, bits))
    plan.answered += stored.key_attributes()
    registered = [tag for tag in group.attributes if tag not in KEY_TAGS[group.kind]]
    plan.answered += [Attribute(tag, stored.attributes[tag]) for tag in registered]


def _set_period(policy: ServerPolicy, entity: Entity) -> None:
    """§6.2.6: never zero, since an entity is forgotten by its period here even where inquiries watch it."""
    asked = entity.stored.number(Tag.REGISTRATION_PERIOD) or policy.registration_period_s
    entity.period_s = min(max(asked, MIN_REGISTRATION_PERIOD_S), MAX_REGISTRATION_PERIOD_S)
    entity.stored.attributes[Tag.REGISTRATION_PERIOD] = write_number(entity.period_s)


def refresh(entity: Entity, moment: Moment) -> None:
    """Any message of the client renews the registration and its timestamp (§6.2.6)."""
    entity.expires_at = moment.monotonic_s + entity.period_s
    entity.stored.attributes[Tag.TIMESTAMP] = write_time(moment.unix_s)
