"""What a discovery changes in the list of targets: pure functions over the objects.

Each source answers for what it named: what it names no more vanishes unless another source still names it.
Nothing here touches `Target.login`, which is the user's.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from san_console.api.initiator_objects import Target, TargetPortal


@dataclass(slots=True)
class FoundTarget:
    """A target as a source named it. `name` is normalised; `portals` are (`host:port`, tag or None)."""

    name: str
    alias: str = ""
    portals: list[tuple[str, int | None]] = field(default_factory=list)


def merge_found(target: Target | None, found: FoundTarget, source_id: str, now: float) -> Target:
    """The target after `source_id` has named it; `target` itself is changed when there is one."""
    if target is None:
        target = Target(id=found.name, first_seen_at=now, change="new")
    notes: list[str] = []
    if target.change == "vanished":
        notes.append("came back")
        target.change = "changed"
    if found.alias and found.alias != target.alias:
        if target.alias:
            notes.append("has another alias")
        target.alias = found.alias
    by_address = {portal.address: portal for portal in target.portals}
    named = dict(found.portals)
    for address, tag in named.items():
        portal = by_address.get(address)
        tpgt = tag if tag is not None else 1
        if portal is None:
            target.portals.append(TargetPortal(address=address, tpgt=tpgt, found_by=[source_id]))
            notes.append(f"portal {address} is new")
            continue
        if portal.vanished:
            portal.vanished = False
            notes.append(f"portal {address} came back")
        if tag is not None and portal.tpgt != tag:
            notes.append(f"portal {address} moved from group {portal.tpgt} to {tag}")
            portal.tpgt = tag
        if source_id not in portal.found_by:
            portal.found_by.append(source_id)
    for portal in target.portals:
        if portal.address not in named and _withdraw(portal, source_id):
            notes.append(f"portal {portal.address} vanished")
    if source_id not in target.found_by:
        target.found_by.append(source_id)
    target.last_seen_at = now
    if target.change == "new":
        return target
    if notes:
        target.change = "changed"
        target.change_note = "; ".join(notes)
    return target


def withdraw_source(target: Target, source_id: str) -> bool:
    """`source_id` does not name `target` any more. True when that has changed something."""
    if source_id not in target.found_by:
        return False
    target.found_by.remove(source_id)
    for portal in target.portals:
        _withdraw(portal, source_id)
    if not target.found_by:
        target.change = "vanished"
        target.change_note = "no source names it any more"
    return True


def acknowledge(target: Target) -> bool:
    """The user has seen the changes. False when the target should leave the list: it vanished, and the
    user has set nothing about it.
    """
    vanished = target.change == "vanished"
    target.change = ""
    target.change_note = ""
    if not vanished:
        target.portals = [portal for portal in target.portals if not portal.vanished]
    return not vanished or bool(target.session_ids) or is_configured(target)


def is_configured(target: Target) -> bool:
    """Whether the user has set something about how to log in to it."""
    return target.login != type(target.login)()


def _withdraw(portal: TargetPortal, source_id: str) -> bool:
    """True when nobody names the portal any more, because of this."""
    if source_id not in portal.found_by:
        return False
    portal.found_by.remove(source_id)
    portal.vanished = not portal.found_by
    return portal.vanished
