"""The target port groups of a target: their access states, and who is told when one changes (SPC-4 §5.11).

A group is a portal group of the configuration. The state stands there, so that a change by an initiator
and one by the operator are the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from san_console.scsi import alua
from san_console.scsi.sense import ASYMMETRIC_ACCESS_STATE_CHANGED
from san_console.scsi.transport_ids import NexusId
from san_console.target.config import ACCESS_STATES, AccessState, PortalGroup
from san_console.target.errors import ConfigError

if TYPE_CHECKING:
    from san_console.target.nexus import ServedTarget

_STATE_OF: dict[int, AccessState] = {alua.STATES[name]: name for name in ACCESS_STATES}


def _ignore(_: PortalGroup) -> None:
    """Nobody listens."""


class PortGroups:
    """The groups of one target as its initiators see them.

    `on_set` hears of each group whose state an initiator changed with SET TARGET PORT GROUPS.
    """

    def __init__(self, served: ServedTarget, on_set: Callable[[PortalGroup], None] = _ignore) -> None:
        self.on_set = on_set
        self._served = served
        self._told = self._states()
        self._status: dict[int, int] = {}

    def _states(self) -> dict[int, int]:
        return {group.tag: alua.STATES[group.access_state] for group in self._served.config.groups}

    def tags(self) -> list[int]:
        """The relative target ports, which are the groups' tags."""
        return list(self._states())

    def state_of(self, tag: int) -> int:
        """The access state of a group; one that is no more there serves nothing."""
        return self._states().get(tag, alua.OFFLINE)

    def report(self) -> list[alua.TargetPortGroup]:
        """What REPORT TARGET PORT GROUPS tells."""
        return [
            alua.TargetPortGroup(
                group.tag,
                alua.STATES[group.access_state],
                group.preferred,
                self._status.get(group.tag, alua.STATUS_NONE),
            )
            for group in self._served.config.groups
        ]

    def follow(self, *, status: int = alua.STATUS_BY_ITSELF, but: NexusId | None = None) -> None:
        """The configuration may have changed: tell every nexus of the target, except `but`."""
        states = self._states()
        changed = [tag for tag, state in states.items() if self._told.get(tag, state) != state]
        self._told = states
        if not changed:
            return
        self._status.update(dict.fromkeys(changed, status))
        for session in self._served.nexuses:
            for nexus in session.by_lun.values():
                nexus.refresh()
                if nexus.id != but:
                    nexus.add_attention(ASYMMETRIC_ACCESS_STATE_CHANGED)

    def set_by_initiator(self, states: Mapping[int, int], sender: NexusId) -> None:
        """SET TARGET PORT GROUPS of a nexus: `states` by tag, all of them possible ones."""
        before = self._states()
        self._change({tag: _STATE_OF[state] for tag, state in states.items()})
        self.follow(status=alua.STATUS_BY_SET, but=sender)
        for group in self._served.config.groups:
            if before[group.tag] != alua.STATES[group.access_state]:
                self.on_set(group)

    def _change(self, states: Mapping[int, AccessState]) -> None:
        config = self._served.config
        groups = [
            replace(group, access_state=states.get(group.tag, group.access_state)) for group in config.groups
        ]
        self._served.config = replace(config, groups=groups)

    def set_by_operator(self, tag: int, state: AccessState) -> None:
        """Set one state. Raises ConfigError."""
        if tag not in self._states():
            raise ConfigError(
                f"The target has no portal group with the tag {tag}.", check="Look at its portal groups."
            )
        self._change({tag: state})
        self.follow()


def set_access_state(served: ServedTarget, tag: int, state: AccessState) -> None:
    """Set the access state of a portal group, for the operator. Raises ConfigError."""
    served.port_groups.set_by_operator(tag, state)
