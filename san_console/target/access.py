"""Masking: which LUNs an initiator sees, under which number, and whether it may write.

The login, SendTargets and the console's "who sees what" ask the same functions, so that what is shown is
what holds.
"""

from __future__ import annotations

import re

from san_console.names.errors import InvalidName
from san_console.names.iscsi_name import normalise
from san_console.target.config import ANYONE, MappingRule, TargetConfig


def rule_matches(pattern: str, initiator_name: str) -> bool:
    """True when `pattern` (a name, or one with `*` for any characters) is for `initiator_name`
    (normalised).
    """
    if pattern == ANYONE:
        return True
    if "*" in pattern:
        # Only `*` has a meaning: fnmatch would also give one to [ and ?, which are no part of the
        # documented form.
        return re.fullmatch(".*".join(map(re.escape, pattern.lower().split("*"))), initiator_name) is not None
    try:
        return normalise(pattern) == initiator_name
    except InvalidName:
        return False


def _specificity(rule: MappingRule) -> tuple[int, int]:
    """An exact name goes before a pattern, a longer pattern before a shorter one."""
    return ("*" not in rule.initiator, len(rule.initiator))


def mapped_luns(config: TargetConfig, initiator_name: str) -> list[MappingRule]:
    """The LUNs that `initiator_name` sees, by number; the most specific rule decides per LUN and per number.

    A target that is open to anyone and has no rule at all shows all its LUNs, numbered in their order.
    """
    by_lun_id: dict[str, MappingRule] = {}
    taken: set[int] = set()
    for rule in sorted(config.mappings, key=_specificity, reverse=True):
        if rule.lun_id in by_lun_id or rule.lun in taken or not rule_matches(rule.initiator, initiator_name):
            continue
        by_lun_id[rule.lun_id] = rule
        taken.add(rule.lun)
    if not by_lun_id and config.anyone and not config.mappings:
        return [MappingRule(initiator_name, lun.id, number) for number, lun in enumerate(config.luns)]
    return sorted(by_lun_id.values(), key=lambda rule: rule.lun)


def may_log_in(config: TargetConfig, initiator_name: str) -> bool:
    """True when the initiator sees a LUN, or the target is open to anyone."""
    return config.anyone or any(rule_matches(rule.initiator, initiator_name) for rule in config.mappings)
