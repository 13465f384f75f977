"""Who may do what at a target of the simulated host: the rules of the real one, in short."""

from __future__ import annotations

import ipaddress
import re

from san_console.api.serving_objects import EffectiveAccess, HiddenLun, LocalTarget, SeenLun

_Rank = tuple[int, bool, bool, int, int]
"""(kind, directly rather than through a group, with an address, length of the pattern, of the prefix)."""


def rank(subject: str, target: LocalTarget, name: str, address: str) -> _Rank | None:
    """How specifically a subject means an initiator; None when it does not. The largest decides."""
    if subject.startswith("group:"):
        members = [
            member
            for group in target.initiator_groups
            if f"group:{group.name}" == subject
            for member in group.members
        ]
        ranks = [found for member in members if (found := rank(member, target, name, address)) is not None]
        return (best[0], False, *best[2:]) if (best := max(ranks, default=None)) is not None else None
    if _is_network(subject):
        prefix = _prefix(subject, address)
        return (1, True, True, 0, prefix) if prefix is not None else None
    before, _, network = subject.rpartition("@")
    bound = bool(before) and _is_network(network)
    prefix = _prefix(network, address) if bound else 0
    if prefix is None:
        return None
    pattern = (before if bound else subject).lower()
    if "*" not in pattern:
        return (3, True, bound, 0, prefix) if pattern == name.lower() else None
    if pattern == "*":
        return (0, True, False, 0, 0)
    fits = re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), name.lower())
    return (2, True, bound, len(pattern), prefix) if fits else None


def effective(target: LocalTarget, name: str, address: str, users: dict[str, str]) -> EffectiveAccess:
    """What an initiator may do, and why."""
    subjects = {one: found for one in target.initiators if (found := rank(one, target, name, address))}
    names = {lun.id: lun.name or lun.id for lun in target.luns}
    if not subjects:
        hint = "" if address else " Rules with an address may, depending on where it comes from."
        return EffectiveAccess(allowed=False, why=f"No rule of the target means {name}.{hint}")
    deciding = max(subjects, key=lambda one: subjects[one])
    row = max(
        (one for one in target.access if one.subject in subjects),
        key=lambda one: subjects[one.subject],
        default=None,
    )
    own = row is not None and bool(row.identity_ids)
    chap, mutual = (
        (row.identity_ids, row.mutual_identity_id)
        if row is not None and own
        else (target.identity_ids, target.mutual_identity_id)
    )
    read_only = {lun.id: lun.read_only for lun in target.luns}
    seen: dict[str, SeenLun] = {}
    hidden: dict[str, str] = {}
    rules = [rule for rule in target.mappings if rule.initiator in subjects and rule.lun_id in names]
    for rule in sorted(rules, key=lambda one: subjects[one.initiator], reverse=True):
        if rule.lun_id in seen:
            continue
        if any(one.lun == rule.lun for one in seen.values()):
            hidden[rule.lun_id] = f"LUN number {rule.lun} is taken by a more specific rule"
            continue
        seen[rule.lun_id] = SeenLun(
            lun=rule.lun,
            lun_id=rule.lun_id,
            name=names[rule.lun_id],
            read_only=rule.read_only or read_only[rule.lun_id],
            why=f"mapped for {rule.initiator}",
        )
    for lun_id in names:
        if lun_id not in seen:
            hidden.setdefault(lun_id, "no mapping means this initiator")
    kind = "access list" if any(one.subject == deciding for one in target.access) else "mapping"
    return EffectiveAccess(
        allowed=True,
        why=f"The {kind} lets {deciding} in.",
        rule=deciding,
        chap_users=[users.get(one, one) for one in chap],
        mutual_user=users.get(mutual, mutual),
        luns=sorted(seen.values(), key=lambda one: one.lun),
        hidden=[
            HiddenLun(lun_id=one, name=names[one], why=why) for one, why in hidden.items() if one not in seen
        ],
    )


def _is_network(text: str) -> bool:
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        return False
    return True


def _prefix(text: str, address: str) -> int | None:
    """The length of the prefix when `text` is a network that holds `address`."""
    try:
        network = ipaddress.ip_network(text, strict=False)
        return network.prefixlen if ipaddress.ip_address(address.partition("%")[0]) in network else None
    except ValueError:
        return None
