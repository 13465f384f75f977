"""Whom a rule of access means: an initiator by its name, by a pattern, by its address, or a group of them.

    iqn.2026-11.org.example:host      this initiator
    iqn.2026-11.org.example:*         every initiator whose name fits; `*` stands for any characters
    10.0.0.0/8, fe80::/10, 10.0.0.1   every initiator that comes from there
    NAME-OR-PATTERN@10.0.0.0/8        both
    group:NAME                        the members of a group
    *                                 anyone

Of several rules that mean an initiator the most specific one decides: an exact name, then a pattern (the
longer first), then addresses (the smaller network first), then anyone. With an address goes before without;
a group stands where its best matching member does, behind a rule that names the initiator directly.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

from san_console.names.display import visible
from san_console.names.errors import InvalidName
from san_console.names.iscsi_name import MAX_NAME_BYTES, comparison_key, normalise
from san_console.target.errors import ConfigError

ANYONE = "*"
GROUP_PREFIX = "group:"
MAX_GROUP_NAME_CHARACTERS = 64  # a label in a table
_MAPPED_PREFIX = 96  # ::ffff:0:0/96 holds the IPv4 addresses (RFC 4291 §2.5.5.2)
_CHECK = (
    "Write an initiator's name, a pattern with *, an address or network such as 10.0.0.0/8, "
    "NAME@NETWORK, group:NAME, or * for anyone."
)

# What decides between kinds; with it the ranks of two rules compare as tuples.
_KIND_ANYONE, _KIND_NETWORK, _KIND_PATTERN, _KIND_NAME = range(4)

Rank = tuple[int, bool, bool, int, int]
"""(kind, directly rather than through a group, with an address, length of the pattern, of the prefix)."""

Address = tuple[int, int]
"""(bits of the family, the address as a number)."""

T = TypeVar("T")


def parse_address(text: str) -> Address | None:
    """A peer's address as a number; an IPv4 address inside of IPv6 counts as IPv4. None when it is none."""
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return address.max_prefixlen, int(address)


@dataclass(frozen=True, slots=True)
class Network:
    """Addresses of one family (32 or 128 bits) that begin with `prefix` bits of `first`."""

    bits: int
    first: int
    prefix: int

    def holds(self, address: Address) -> bool:
        """True for an address of this network."""
        return address[0] == self.bits and (address[1] ^ self.first) >> (self.bits - self.prefix) == 0


@dataclass(frozen=True, slots=True)
class Subject:
    """One of the forms above. `text` is its normal form; `name` a name or pattern, empty for any name."""

    text: str
    name: str = ""
    pattern: re.Pattern[str] | None = None
    network: Network | None = None
    group: str = ""

    def rank(self, *, direct: bool) -> Rank:
        """How specific the subject is."""
        kind = _KIND_ANYONE
        if self.name:
            kind = _KIND_NAME if self.pattern is None else _KIND_PATTERN
        elif self.network is not None:
            kind = _KIND_NETWORK
        length = len(self.name) if self.pattern is not None else 0
        prefix = self.network.prefix if self.network is not None else 0
        return kind, direct, self.network is not None, length, prefix

    def matches(self, name: str, address: Address | None) -> bool:
        """Whether it means this initiator; `name` is a `comparison_key`. A group is no question of one
        subject.
        """
        if self.group or (self.network is not None and (address is None or not self.network.holds(address))):
            return False
        if self.pattern is not None:
            return self.pattern.fullmatch(name) is not None
        return not self.name or self.name == name


def _network(text: str) -> Network | None:
    """None when the text is no address and no network. Raises ConfigError for bits behind the prefix."""
    found: ipaddress.IPv4Network | ipaddress.IPv6Network
    try:
        found = ipaddress.ip_network(text, strict=False)
    except ValueError:
        return None
    if "/" in text and text.partition("/")[0] != str(found.network_address):
        try:
            ipaddress.ip_network(text)
        except ValueError:
            raise ConfigError(
                f"“{visible(text, 60)}” has bits set behind its prefix.", check=f"Write {found}."
            ) from None
    if isinstance(found, ipaddress.IPv6Network) and found.prefixlen >= _MAPPED_PREFIX:
        mapped = found.network_address.ipv4_mapped
        if mapped is not None:  # as `parse_address` takes it, or the rule would mean nobody
            return Network(32, int(mapped), found.prefixlen - _MAPPED_PREFIX)
    return Network(found.max_prefixlen, int(found.network_address), found.prefixlen)


def _spell(network: Network) -> str:
    found: ipaddress.IPv4Address | ipaddress.IPv6Address
    found = (ipaddress.IPv4Address if network.bits == 32 else ipaddress.IPv6Address)(network.first)
    return str(found) if network.prefix == network.bits else f"{found}/{network.prefix}"


def _name(text: str, whole: str) -> tuple[str, re.Pattern[str] | None]:
    """A name or a pattern. Only `*` has a meaning: fnmatch would also give one to [ and ?."""
    if "*" not in text:
        try:
            return comparison_key(normalise(text, lenient=True)), None
        except InvalidName as error:
            raise ConfigError(f"“{visible(whole, 80)}” means no initiator: {error}", check=_CHECK) from error
    name = re.sub(r"\*+", "*", comparison_key(text))
    if len(name) > MAX_NAME_BYTES or not name.isprintable() or any(c in " ,/" for c in name):
        raise ConfigError(f"“{visible(whole, 80)}” fits no initiator's name.", check=_CHECK)
    if name == ANYONE:
        return "", None
    return name, _pattern(name)


def _pattern(name: str) -> re.Pattern[str]:
    """Between two `*` the first place that fits is as good as any later one, so nothing is tried twice: a
    peer chooses the name, and must not be able to keep the loop busy with it.
    """
    first, *middle, last = map(re.escape, name.split("*"))
    return re.compile(f"{first}{''.join(f'(?>.*?{part})' for part in middle)}.*{last}")


def parse_subject(text: str) -> Subject:
    """Read a subject. Raises ConfigError."""
    text = text.strip()
    if text.startswith(GROUP_PREFIX):
        return Subject(text, group=check_group_name(text.removeprefix(GROUP_PREFIX)))
    network = _network(text)
    if network is not None:
        return Subject(_spell(network), network=network)
    before, at, after = text.rpartition("@")
    network = _network(after) if at else None
    # Names out of the field may hold an @ (they are taken leniently): only an address behind it counts.
    name, pattern = _name(before if network is not None else text, text)
    spelled = name or ANYONE
    if network is not None:
        # Anyone from there is just that network.
        spelled = f"{spelled}@{_spell(network)}" if name else _spell(network)
    return Subject(spelled, name=name, pattern=pattern, network=network)


def check_group_name(name: str) -> str:
    """The name of a group of initiators. Raises ConfigError."""
    if not name or len(name) > MAX_GROUP_NAME_CHARACTERS or not name.isprintable() or name != name.strip():
        raise ConfigError(
            f"“{visible(name, 80)}” cannot be the name of a group.",
            check=f"Use 1 to {MAX_GROUP_NAME_CHARACTERS} printable characters.",
        )
    return name


class SubjectIndex(Generic[T]):
    """Rules by whom they mean: one that names its initiator is found without looking at all others.

    `groups` are the members of each group. Raises ConfigError for a subject that cannot be read, and for a
    group that is missing.
    """

    __slots__ = ("_exact", "_members", "_of_group", "_others")

    def __init__(self, rules: Iterable[tuple[str, T]], groups: Iterable[tuple[str, list[str]]] = ()) -> None:
        self._exact: dict[str, list[tuple[Subject, T]]] = {}
        self._others: list[tuple[Subject, T]] = []
        self._of_group: dict[str, list[tuple[Subject, T]]] = {}
        members = [(member, name) for name, texts in groups for member in texts]
        names = {name for name, _ in groups}
        self._members: SubjectIndex[str] | None = SubjectIndex(members) if members else None
        for text, value in rules:
            subject = parse_subject(text)
            if subject.group:
                if subject.group not in names:
                    raise ConfigError(
                        f"There is no group “{visible(subject.group, 64)}” of initiators.",
                        check="Add the group, or correct its name.",
                    )
                self._of_group.setdefault(subject.group, []).append((subject, value))
            elif subject.name and subject.pattern is None:
                self._exact.setdefault(subject.name, []).append((subject, value))
            else:
                self._others.append((subject, value))

    def matching(self, initiator_name: str, address: str) -> list[tuple[Rank, Subject, T]]:
        """The rules that mean this initiator, the most specific first; equals in the order given.

        `address` is empty when it is not known; then no rule with an address fits.
        """
        name = comparison_key(initiator_name)
        where = parse_address(address) if address else None
        found = [
            (subject.rank(direct=True), subject, value)
            for subject, value in (*self._exact.get(name, ()), *self._others)
            if subject.matches(name, where)
        ]
        if self._members is not None and self._of_group:
            best: dict[str, Rank] = {}
            for rank, _, group in self._members.matching(initiator_name, address):
                best.setdefault(group, (rank[0], False, *rank[2:]))
            for group, rank in best.items():
                found += [(rank, subject, value) for subject, value in self._of_group.get(group, ())]
        found.sort(key=lambda one: one[0], reverse=True)
        return found
