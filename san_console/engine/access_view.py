"""Who may do what at a local target, as the login would decide. Pure: objects in, answers out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from san_console.api.problems import ApiProblem
from san_console.api.serving_objects import LocalTarget
from san_console.engine.problems import problem_of
from san_console.engine.serving_config import access_config
from san_console.target.access import effective_access
from san_console.target.errors import ConfigError
from san_console.target.subjects import Subject, parse_subject

NOBODY: Final = "iqn.2026-11.org.san-console:nobody-in-particular"
"""Stands for every initiator that no rule names."""


class Seen(NamedTuple):
    """One LUN as an initiator sees it."""

    lun: int
    read_only: bool


class Access(NamedTuple):
    """What one initiator may do. `chap` is what it has to prove, and what the target proves to it."""

    allowed: bool
    luns: dict[str, Seen]
    chap: tuple[tuple[str, ...], str]


class AccessView:
    """Asks the code of the login about one target. Raises ApiProblem `bad-request` where it is not whole."""

    def __init__(self, target: LocalTarget, users: Mapping[str, str]) -> None:
        self.target = target
        try:
            self._config = access_config(target, users)
        except ConfigError as error:
            raise ApiProblem.from_problem(problem_of(error)) from None

    def of(self, initiator: str, address: str = "") -> Access:
        """What `initiator` may do when it comes from `address` (empty: from nowhere in particular)."""
        found = effective_access(self._config, initiator, address)
        return Access(
            found.allowed,
            {one.lun_id: Seen(one.lun, one.read_only) for one in found.luns},
            (tuple(sorted(found.chap_users)), found.mutual_user),
        )

    def names(self) -> set[str]:
        """The initiators that are named exactly, by rules or as members of groups."""
        return {subject.name for subject in self._subjects() if _is_exact(subject)}

    def wider(self) -> list[str]:
        """The subjects of mappings that mean several initiators, but not anyone."""
        subjects = (parse_subject(rule.initiator) for rule in self.target.mappings)
        return list(
            dict.fromkeys(
                subject.text for subject in subjects if not _is_exact(subject) and not _is_anyone(subject)
            )
        )

    def mapped_for(self, subject: str) -> dict[str, Seen]:
        """What the rules of just this subject show."""
        read_only = {lun.id: lun.read_only for lun in self.target.luns}
        return {
            rule.lun_id: Seen(rule.lun, rule.read_only or read_only[rule.lun_id])
            for rule in self.target.mappings
            if rule.initiator == subject
        }

    def lets_in(self, subject: str) -> bool:
        return subject in self.target.initiators

    def _subjects(self) -> list[Subject]:
        texts = [
            *self.target.initiators,
            *(member for group in self.target.initiator_groups for member in group.members),
        ]
        return [parse_subject(text) for text in texts]


def means_several(text: str) -> bool:
    """Whether a subject stands for more than one name: a pattern, a network. Not groups."""
    subject = parse_subject(text)
    return not subject.group and (not subject.name or subject.pattern is not None)


def _is_exact(subject: Subject) -> bool:
    return bool(subject.name) and subject.pattern is None and subject.network is None


def _is_anyone(subject: Subject) -> bool:
    return not (subject.name or subject.network or subject.group)
