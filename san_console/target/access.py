"""Access: who may log in, with which CHAP identities, and which LUNs an initiator sees.

The login, SendTargets, the session's LUN list and the console's "who sees what" ask the same functions, so
that what is shown is what holds.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from san_console.names.display import visible
from san_console.target.config import ChapConfig, InitiatorAccess, MappingRule, TargetConfig
from san_console.target.subjects import Subject, parse_subject

__all__ = [
    "EffectiveAccess",
    "SeenLun",
    "chap_for",
    "effective_access",
    "mapped_luns",
    "may_log_in",
    "parse_subject",
]


class SeenLun(NamedTuple):
    """A LUN as an initiator sees it, and the rule that shows it."""

    lun: int
    lun_id: str
    read_only: bool
    why: str


@dataclass(frozen=True, slots=True)
class EffectiveAccess:
    """What one initiator may do at one target. `rule` is the subject of the rule that decided about the
    login (empty: none, or the target is open to anyone); `chap_users` the CHAP names of which it has to
    prove one (empty: none is asked for); `mutual_user` is what the target proves when it is asked to.
    """

    allowed: bool
    why: str
    rule: str = ""
    chap_users: list[str] = field(default_factory=list)
    mutual_user: str = ""
    luns: list[SeenLun] = field(default_factory=list)
    hidden: list[tuple[str, str]] = field(default_factory=list)
    """(LUN id, why it is not seen)."""


def _login_rule(config: TargetConfig, initiator_name: str, address: str) -> tuple[Subject, str] | None:
    """The most specific rule that lets the initiator in, and what kind it is."""
    found = [
        (rank, subject, "access list")
        for rank, subject, _ in config.access_index.matching(initiator_name, address)[:1]
    ]
    found += [
        (rank, subject, "mapping")
        for rank, subject, _ in config.mapping_index.matching(initiator_name, address)[:1]
    ]
    if not found:
        return None
    _, subject, kind = max(found, key=lambda one: one[0])
    return subject, kind


def may_log_in(config: TargetConfig, initiator_name: str, address: str = "") -> bool:
    """True when a rule of the access list or a mapping means the initiator, or anyone may log in."""
    return config.anyone or _login_rule(config, initiator_name, address) is not None


def _access_entry(config: TargetConfig, initiator_name: str, address: str) -> InitiatorAccess | None:
    found = config.access_index.matching(initiator_name, address)
    return found[0][2] if found else None


def chap_for(config: TargetConfig, initiator_name: str, address: str = "") -> ChapConfig | None:
    """The identities that the initiator has to prove one of: its own, else the target's. None: no CHAP."""
    entry = _access_entry(config, initiator_name, address)
    return entry.chap if entry is not None and entry.chap is not None else config.chap


def _shown(
    config: TargetConfig, initiator_name: str, address: str
) -> tuple[list[tuple[MappingRule, str]], list[tuple[str, str]]]:
    """The mappings that hold with the subject that won, and (LUN id, reason) of what another rule hides."""
    shown: dict[str, tuple[MappingRule, str]] = {}
    numbers: dict[int, str] = {}
    hidden: list[tuple[str, str]] = []
    for _, subject, rule in config.mapping_index.matching(initiator_name, address):
        if rule.lun_id in shown:
            continue
        if rule.lun in numbers:
            hidden.append(
                (rule.lun_id, f"LUN number {rule.lun} is taken by a more specific rule ({numbers[rule.lun]})")
            )
            continue
        shown[rule.lun_id] = (rule, subject.text)
        numbers[rule.lun] = subject.text
    return list(shown.values()), [one for one in hidden if one[0] not in shown]


def mapped_luns(config: TargetConfig, initiator_name: str, address: str = "") -> list[MappingRule]:
    """The LUNs that the initiator sees, by number; the most specific rule decides per LUN and per number.

    A target that is open to anyone and has no mapping at all shows all its LUNs, numbered in their order.
    """
    if config.anyone and not config.mappings:
        return [MappingRule(initiator_name, lun.id, number) for number, lun in enumerate(config.luns)]
    shown, _ = _shown(config, initiator_name, address)
    return sorted((rule for rule, _ in shown), key=lambda rule: rule.lun)


def effective_access(config: TargetConfig, initiator_name: str, address: str = "") -> EffectiveAccess:
    """What `initiator_name` (normalised) may do when it comes from `address` (empty: not known)."""
    who = visible(initiator_name)
    where = f" from {visible(address, 64)}" if address else ""
    found = _login_rule(config, initiator_name, address)
    if not config.anyone and found is None:
        without = "" if address else " Rules with an address may, depending on where it comes from."
        return EffectiveAccess(False, f"No rule of the target means {who}{where}.{without}")
    rule = found[0].text if found is not None else ""
    why = (
        f"The {found[1]} lets {visible(rule, 120)} in."
        if found is not None
        else "The target is open to anyone."
    )
    chap = chap_for(config, initiator_name, address)
    return EffectiveAccess(
        True,
        why,
        rule,
        [one.user for one in chap.accepted] if chap is not None else [],
        chap.mutual.user if chap is not None and chap.mutual is not None else "",
        *_luns(config, initiator_name, address),
    )


def _luns(
    config: TargetConfig, initiator_name: str, address: str
) -> tuple[list[SeenLun], list[tuple[str, str]]]:
    shown, hidden = _shown(config, initiator_name, address)
    reasons = {rule.lun_id: f"mapped for {visible(text, 120)}" for rule, text in shown}
    stores = {lun.id: lun.backstore.read_only for lun in config.luns}
    luns = []
    for rule in mapped_luns(config, initiator_name, address):
        why = reasons.get(rule.lun_id, "the target is open to anyone and has no mapping: it shows all LUNs")
        if stores[rule.lun_id]:
            why += "; the LUN itself is read-only"
        luns.append(SeenLun(rule.lun, rule.lun_id, rule.read_only or stores[rule.lun_id], why))
    seen = {one.lun_id for one in luns} | {lun_id for lun_id, _ in hidden}
    hidden += [(lun_id, "no mapping means this initiator") for lun_id in stores if lun_id not in seen]
    return luns, hidden
