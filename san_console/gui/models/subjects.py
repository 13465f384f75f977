"""Whom a rule of a target means, as the engine reads it: checked while it is typed, and put into words.

    iqn.2026-11.org.example:host      this initiator
    iqn.2026-11.org.example:*         every initiator whose name fits
    10.0.0.0/8, fe80::/10, 10.0.0.1   every initiator that comes from there
    NAME-OR-PATTERN@10.0.0.0/8        both
    group:NAME                        the members of a group
    *                                 anyone

The engine decides; this tells what it will decide, before it is asked. No Qt but its translation.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal

from san_console.api.serving_objects import InitiatorGroup, LocalTarget, TargetSession
from san_console.gui import words
from san_console.gui.translation import translate
from san_console.names.errors import NamesError
from san_console.names.iscsi_name import MAX_NAME_BYTES, comparison_key, normalise

ANYONE: Final = "*"
GROUP_PREFIX: Final = "group:"
MAX_GROUP_NAME: Final = 64
"""Of the engine: a label in a table."""

SubjectKind = Literal["name", "pattern", "network", "group", "anyone"]
_Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Groups = Mapping[str, list[str]]
Rank = tuple[int, bool, bool, int, int]


@dataclass(frozen=True, slots=True)
class Subject:
    """`text` is the form that is kept; `name` a name, a pattern or empty for any, as it is compared."""

    text: str
    kind: SubjectKind
    name: str = ""
    network: _Network | None = None


def groups_of(target: LocalTarget) -> dict[str, list[str]]:
    return {group.name: list(group.members) for group in target.initiator_groups}


def check_group_name(name: str) -> str:
    """Raises ValueError with a sentence."""
    if not name or len(name) > MAX_GROUP_NAME or not name.isprintable() or name != name.strip():
        raise ValueError(
            translate("subjects", "A group's name has 1 to {most} printable characters.").format(
                most=MAX_GROUP_NAME
            )
        )
    return name


def _network(text: str) -> _Network | None:
    """Raises ValueError with a sentence for bits behind the prefix."""
    try:
        found = ipaddress.ip_network(text, strict=False)
    except ValueError:
        return None
    address = text.partition("/")[0]
    if "/" in text and ipaddress.ip_address(address) != found.network_address:
        raise ValueError(
            translate("subjects", "It has bits set behind its prefix; the network is {network}.").format(
                network=found
            )
        )
    return found


def _spelled(network: _Network) -> str:
    whole = network.prefixlen == network.max_prefixlen
    return str(network.network_address) if whole else str(network)


@lru_cache(maxsize=8192)
def read_subject(text: str) -> Subject:
    """What `text` means. Raises ValueError with a sentence for whoever typed it."""
    text = text.strip()
    if text.startswith(GROUP_PREFIX):
        return Subject(text, "group", check_group_name(text.removeprefix(GROUP_PREFIX)))
    network = _network(text)
    if network is not None:
        return Subject(_spelled(network), "network", network=network)
    before, at, after = text.rpartition("@")
    network = _network(after) if at else None
    named = before if network is not None else text
    if "*" in named:
        name = re.sub(r"\*+", "*", comparison_key(named))
        if len(name) > MAX_NAME_BYTES or not name.isprintable() or any(one in " ,/" for one in name):
            raise ValueError(translate("subjects", "No initiator's name fits this pattern."))
        if name == ANYONE:
            if network is not None:
                return Subject(_spelled(network), "network", network=network)
            return Subject(ANYONE, "anyone")
        kind: SubjectKind = "pattern"
    else:
        if re.fullmatch(r"[0-9a-fA-F.:]+(/\d*)?", named):
            raise ValueError(
                translate("subjects", "This is no address, and no network such as 10.20.0.0/16.")
            )
        try:
            # What its own administrator typed may have an underscore: the engine takes it too.
            name = comparison_key(normalise(named, lenient=True))
        except NamesError as error:
            raise ValueError(str(error)) from None
        kind = "name"
    return Subject(name if network is None else f"{name}@{_spelled(network)}", kind, name, network)


def means_many(text: str) -> bool:
    """Whether a subject may mean more than one initiator."""
    try:
        return read_subject(text).kind != "name"
    except ValueError:
        return False


def rank(subject: str, name: str, address: str, groups: Groups, *, direct: bool = True) -> Rank | None:
    """How specifically a subject means an initiator, None when it does not. The largest decides."""
    try:
        read = read_subject(subject)
    except ValueError:
        return None
    if read.kind == "group":
        members = groups.get(read.name, []) if direct else []
        found = [rank(member, name, address, groups, direct=False) for member in members]
        return max((one for one in found if one is not None), default=None)
    if read.network is not None and not _holds(read.network, address):
        return None
    if read.kind == "name" and read.name != comparison_key(name):
        return None
    if read.kind == "pattern" and not re.fullmatch(
        ".*".join(map(re.escape, read.name.split("*"))), comparison_key(name)
    ):
        return None
    kind = 3 if read.kind == "name" else 2 if read.kind == "pattern" else 1 if read.network is not None else 0
    length = len(read.name) if read.kind == "pattern" else 0
    prefix = read.network.prefixlen if read.network is not None else 0
    return kind, direct, read.network is not None, length, prefix


def _holds(network: _Network, text: str) -> bool:
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address) in network


def connected(
    subjects: Iterable[str], sessions: Iterable[TargetSession], groups: Groups
) -> dict[str, list[TargetSession]]:
    """The sessions that each subject means; for anyone those that no other one means."""
    named: dict[str, str] = {}
    others = []
    for one in subjects:
        try:
            read = read_subject(one)
        except ValueError:
            continue
        if read.kind == "name" and read.network is None:
            named[read.name] = one
        elif read.kind != "anyone":
            others.append(one)
    found: dict[str, list[TargetSession]] = {}
    for session in sessions:
        exact = named.get(comparison_key(session.initiator))
        meant = [one for one in others if rank(one, session.initiator, session.address, groups) is not None]
        for one in ([exact] if exact is not None else []) + meant or [ANYONE]:
            found.setdefault(one, []).append(session)
    return found


def deciding(subjects: Iterable[str], name: str, address: str, groups: Groups) -> list[str]:
    """The subjects that mean an initiator, the most specific one first."""
    ranked = [(found, one) for one in subjects if (found := rank(one, name, address, groups)) is not None]
    return [one for _, one in sorted(ranked, key=lambda pair: pair[0], reverse=True)]


def subject_title(text: str, groups: Iterable[InitiatorGroup] = ()) -> str:
    """`db-1.example`, `esx-*`, `10.20.0.0/16`, `backup (group, 3)`, `Anyone`."""
    if text == ANYONE:
        return translate("subjects", "Anyone")
    if text.startswith(GROUP_PREFIX):
        name = text.removeprefix(GROUP_PREFIX)
        members = next((len(group.members) for group in groups if group.name == name), 0)
        return translate("subjects", "{name} (group, {members})").format(name=name, members=members)
    name, at, where = text.rpartition("@")
    if at and _is_network(where):
        return translate("subjects", "{name} from {where}").format(name=words.short_name(name), where=where)
    return text if _is_network(text) else words.short_name(text)


def _is_network(text: str) -> bool:
    try:
        return _network(text) is not None
    except ValueError:
        return False


def subject_meaning(subject: Subject) -> str:
    """Whom it means, as a sentence."""
    if subject.kind == "anyone":
        return translate("subjects", "Every initiator that reaches a portal.")
    if subject.kind == "group":
        return translate("subjects", "The members of the group {name}.").format(name=subject.name)
    where = _spelled(subject.network) if subject.network is not None else ""
    if subject.kind == "network":
        return translate("subjects", "Every initiator that comes from {where}.").format(where=where)
    if subject.kind == "pattern":
        text = (
            translate("subjects", "Every initiator whose name fits {name}, from {where}.")
            if where
            else translate("subjects", "Every initiator whose name fits {name}.")
        )
    else:
        text = (
            translate("subjects", "The initiator {name}, only from {where}.")
            if where
            else translate("subjects", "The initiator {name}.")
        )
    return text.format(name=subject.name, where=where)
