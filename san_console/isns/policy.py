"""What an administrator decides about a server: who sees whom, who may do what, and how much fits in."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from san_console.names.iscsi_name import comparison_key

DEFAULT_REGISTRATION_PERIOD_S = 600
MIN_REGISTRATION_PERIOD_S = 10
"""Shorter periods would let a client expire between two messages of a slow network."""
MAX_REGISTRATION_PERIOD_S = 24 * 3600
"""A host that went away is forgotten within a day even when it asked for ever."""

DEFAULT_DOMAIN_ID = 1
"""RFC 4171 §6.11.2.1: the discovery domain that the server keeps by itself."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much a server stores. Each guards memory, or the size of answers, against a hostile client."""

    entities: int = 4096
    entities_per_address: int = 256
    nodes_per_entity: int = 512
    portals_per_entity: int = 64
    portal_groups_per_entity: int = 4096
    objects: int = 65536
    bytes_per_entity: int = 1024 * 1024
    answer_bytes: int = 12 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class ServerPolicy:
    """The settings of a server.

    `domains`: discovery domains by name with the iSCSI names of their members. A node sees the members of
    its domains; nodes in none see each other while `default_domain` is on. Without any, everyone sees all.

    `control_nodes`: names that may see and change everything, each with the addresses from which it is
    believed. A name alone proves nothing (RFC 4171 §7), so one without an address has no such right.

    `open_queries`: answer nodes that are not registered as if they were in the default domain; isnsadm and
    most initiators ask without having registered. Off, they get status 6.
    """

    registration_period_s: int = DEFAULT_REGISTRATION_PERIOD_S
    default_domain: bool = True
    domains: Mapping[str, frozenset[str]] = field(default_factory=dict)
    control_nodes: Mapping[str, frozenset[str]] = field(default_factory=dict)
    open_queries: bool = True
    esi: bool = False
    callback_anywhere: bool = False
    """Send SCN and ESI to portals on other addresses than the one that registered them."""
    limits: Limits = field(default_factory=Limits)

    def is_control(self, source_key: str, address: str) -> bool:
        """Whether the node with this comparison key is a control node when it calls from `address`."""
        return any(
            comparison_key(name) == source_key and address in addresses
            for name, addresses in self.control_nodes.items()
        )

    def domains_of(self, node_key: str) -> frozenset[int]:
        """The IDs of the domains of a node: configured ones count from 2, in the order of `domains`."""
        found = frozenset(
            number
            for number, members in enumerate(self.domains.values(), DEFAULT_DOMAIN_ID + 1)
            if any(comparison_key(name) == node_key for name in members)
        )
        if not found and self.default_domain:
            return frozenset({DEFAULT_DOMAIN_ID})
        return found
