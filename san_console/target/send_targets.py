"""What SendTargets answers (RFC 7143 Appendix C): the targets that the asker may log in to, and where."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from san_console.iscsi.text import encode_pairs
from san_console.names.iscsi_name import comparison_key
from san_console.names.portal import Portal, format_target_address
from san_console.target.access import may_log_in
from san_console.target.nexus import ServedTarget
from san_console.target.portals import Portals


@dataclass(frozen=True, slots=True)
class Asker:
    """Who asks, from which address, and at which portal of ours. `target` is empty in a discovery session."""

    initiator_name: str
    address: str
    asked_at: Portal
    target: str


class Directory:
    """Answers for all targets of a server."""

    def __init__(self, targets: Mapping[str, ServedTarget], portals: Portals) -> None:
        self._targets = targets
        self._portals = portals

    def answer(self, value: str, asker: Asker) -> bytes | None:
        """The text of the answer; None where the value is not allowed: "All" belongs to discovery sessions
        only, an empty value to normal ones only.
        """
        discovery = not asker.target
        if value == "All":
            names = sorted(self._targets) if discovery else None
        elif value == "":
            names = None if discovery else [asker.target]
        else:
            name = comparison_key(value)
            names = [name] if discovery or name == asker.target else []
        if names is None:
            return None
        pairs: list[tuple[str, str]] = []
        for name in names:
            served = self._targets.get(name)
            if served is None or not may_log_in(served.config, asker.initiator_name, asker.address):
                continue
            where = self._portals.reachable(served.config, asker.asked_at)
            if not where:
                continue  # without an address it would be looked for where it was asked for (Appendix C)
            pairs.append(("TargetName", name))
            pairs += [("TargetAddress", format_target_address(portal, tag)) for portal, tag in where]
        return encode_pairs(pairs)
