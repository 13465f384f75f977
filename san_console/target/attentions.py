"""The unit attentions that one I_T nexus has not been told yet (SAM-5 §5.14)."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from san_console.scsi.sense import (
    DEVICE_RESET_OCCURRED,
    NEXUS_LOSS_OCCURRED,
    POWER_ON_OCCURRED,
    POWER_ON_RESET,
    Condition,
)

MAX_UNIT_ATTENTIONS = 16  # each kind is queued once; there are fewer kinds than this

# SAM-5 §5.14, table of precedence: a reset says all that a lesser one would. Everything else comes after
# them, in the order in which it happened.
_RESETS = {
    condition: rank
    for rank, condition in enumerate(
        (POWER_ON_RESET, POWER_ON_OCCURRED, DEVICE_RESET_OCCURRED, NEXUS_LOSS_OCCURRED)
    )
}


class Attentions:
    """A queue. `on_change` hears when it becomes empty, and when it no longer is."""

    def __init__(self, on_change: Callable[[], None]) -> None:
        self._on_change = on_change
        self._queue: list[Condition] = []

    def __bool__(self) -> bool:
        return bool(self._queue)

    def __len__(self) -> int:
        return len(self._queue)

    def __iter__(self) -> Iterator[Condition]:
        return iter(self._queue)

    def add(self, condition: Condition) -> None:
        """Establish a unit attention; the same one is not queued twice."""
        was_empty = not self._queue
        rank = _RESETS.get(condition)
        if rank is not None:
            first = _RESETS.get(self._queue[0]) if self._queue else None
            if first is None:
                self._queue.insert(0, condition)
            elif rank < first:
                self._queue[0] = condition
        elif condition not in self._queue and len(self._queue) < MAX_UNIT_ATTENTIONS:
            self._queue.append(condition)
        if was_empty:
            self._on_change()

    def pop(self, index: int = 0) -> Condition:
        """Take the next one: the initiator is being told."""
        condition = self._queue.pop(index)
        if not self._queue:
            self._on_change()
        return condition

    def discard(self, condition: Condition) -> None:
        """Forget one that the initiator has learned in another way."""
        if condition in self._queue:
            self._queue.remove(condition)
            if not self._queue:
                self._on_change()
