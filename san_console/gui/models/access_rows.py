"""Who may log in to a target, one row per subject, and the target with a rule or group changed. No Qt."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import msgspec

from san_console.api.serving_objects import (
    InitiatorAccess,
    InitiatorGroup,
    LocalTarget,
    TargetSession,
)
from san_console.gui.models.subjects import ANYONE, GROUP_PREFIX, connected, groups_of, means_many


@dataclass(frozen=True, slots=True)
class AccessRow:
    """`own` tells whether it has identities of its own; else those of the target are shown."""

    subject: str
    own: bool
    identity_ids: tuple[str, ...]
    mutual_identity_id: str
    luns: int
    connected: int

    @property
    def id(self) -> str:
        return self.subject

    @property
    def many(self) -> bool:
        return means_many(self.subject)


def access_rows(target: LocalTarget, sessions: Iterable[TargetSession]) -> list[AccessRow]:
    """All that may log in, by a row of their own or by a mapping; anyone first, since it matters most."""
    own = {row.subject: row for row in target.access}
    found = connected(target.initiators, sessions, groups_of(target))
    rows = []
    for subject in sorted(target.initiators, key=lambda one: one != ANYONE):
        row = own.get(subject)
        has_own = row is not None and bool(row.identity_ids)
        rows.append(
            AccessRow(
                subject,
                has_own,
                tuple(row.identity_ids if row is not None and has_own else target.identity_ids),
                row.mutual_identity_id if row is not None and has_own else target.mutual_identity_id,
                sum(rule.initiator == subject for rule in target.mappings),
                len(found.get(subject, ())),
            )
        )
    return rows


def with_row_chap(target: LocalTarget, subject: str, ids: list[str], mutual: str) -> LocalTarget:
    """The target with other identities for a row; a row that only a mapping made becomes one of its own."""
    new = InitiatorAccess(subject=subject, identity_ids=ids, mutual_identity_id=mutual)
    rows = [new if row.subject == subject else row for row in target.access]
    if new not in rows:
        rows.append(new)
    return msgspec.structs.replace(target, access=rows)


def without_subject(target: LocalTarget, subject: str) -> LocalTarget:
    """The target without a row and its mappings."""
    return msgspec.structs.replace(
        target,
        access=[row for row in target.access if row.subject != subject],
        mappings=[rule for rule in target.mappings if rule.initiator != subject],
    )


def with_group(target: LocalTarget, old: str, group: InitiatorGroup) -> LocalTarget:
    """The target with a group changed (`old` is its name now) or added (`old` is empty). Rules follow a new
    name.
    """
    groups = [group if one.name == old else one for one in target.initiator_groups]
    if group not in groups:
        groups.append(group)
    before, after = f"{GROUP_PREFIX}{old}", f"{GROUP_PREFIX}{group.name}"
    if not old or before == after:
        return msgspec.structs.replace(target, initiator_groups=groups)
    return msgspec.structs.replace(
        target,
        initiator_groups=groups,
        access=[
            msgspec.structs.replace(row, subject=after) if row.subject == before else row
            for row in target.access
        ],
        mappings=[
            msgspec.structs.replace(rule, initiator=after) if rule.initiator == before else rule
            for rule in target.mappings
        ],
    )


def without_group(target: LocalTarget, name: str) -> LocalTarget:
    """The target without a group, its row and its mappings."""
    left = msgspec.structs.replace(
        target, initiator_groups=[group for group in target.initiator_groups if group.name != name]
    )
    return without_subject(left, f"{GROUP_PREFIX}{name}")
