"""Endpoints that failed authentication, remembered so that they are left alone for a while.

RFC 4171 §7.2 demands it where iSNS is used without security: whoever can forge an answer could otherwise make
every initiator knock at one address for ever.
"""

from dataclasses import dataclass

FIRST_BLOCK_S = 60.0
MAX_BLOCK_S = 3600.0
FREE_FAILURES = 3
"""A mistyped secret is corrected and tried again at once; only repeated failures are held back."""
MAX_ENTRIES = 4096
"""Beyond this the entry that is free again first is forgotten."""


@dataclass(slots=True)
class _Entry:
    failures: int = 0
    blocked_until: float = 0.0


class NegativeCache:
    """Failures by endpoint: any hashable description of portal and target. `now` is a monotonic time."""

    def __init__(self) -> None:
        self._entries: dict[tuple[str, str], _Entry] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def failed(self, portal: str, target: str, now: float) -> float:
        """Note a failed authentication; until when the endpoint is blocked, `now` when it is not."""
        entry = self._entries.setdefault((portal, target), _Entry())
        entry.failures += 1
        over = entry.failures - FREE_FAILURES
        entry.blocked_until = now if over < 0 else now + min(FIRST_BLOCK_S * 2 ** min(over, 16), MAX_BLOCK_S)
        if len(self._entries) > MAX_ENTRIES:
            del self._entries[min(self._entries, key=lambda key: self._entries[key].blocked_until)]
        return entry.blocked_until

    def succeeded(self, portal: str, target: str) -> None:
        """Forget the endpoint's failures."""
        self._entries.pop((portal, target), None)

    def blocked_for(self, portal: str, target: str, now: float) -> float:
        """How many seconds the endpoint is still to be left alone; 0.0 when it is not."""
        entry = self._entries.get((portal, target))
        return max(entry.blocked_until - now, 0.0) if entry else 0.0
