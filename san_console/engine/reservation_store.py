"""Persistent reservations in the engine's state: those that are to outlive a loss of power (APTPL)."""

from __future__ import annotations

import errno
from collections.abc import Callable

import msgspec

from san_console.api.problems import ApiProblem
from san_console.engine.state import StateStore

KIND = "reservation"

Forgotten = dict[tuple[str, str], bytes]
"""By target and LUN id."""


class KeptReservation(msgspec.Struct, kw_only=True):
    """What the target library wants to have back; only it knows what the bytes say."""

    target: str
    lun_id: str
    data: bytes


class StateReservations:
    """Implements `target.reservations.ReservationStore`.

    `is_kept` says of a target whether its configuration outlives the engine; the reservations of others (the
    lab's) end with it too.
    """

    def __init__(self, state: StateStore, is_kept: Callable[[str], bool]) -> None:
        self._state = state
        self._is_kept = is_kept
        self._held = {(one.target, one.lun_id): one.data for one in state.load(KIND, KeptReservation)}

    def load(self, target: str, lun_id: str) -> bytes | None:
        """What was saved last; None: nothing."""
        return self._held.get((target, lun_id))

    async def save(self, target: str, lun_id: str, data: bytes | None) -> None:
        """Keep `data`, or forget with None. It is on the medium when this returns. Raises OSError, and then
        what was kept before stays kept.
        """
        before = self._held.get((target, lun_id))
        self._note(target, lun_id, data)
        if not self._is_kept(target):
            return
        try:
            await self._state.settled()
        except ApiProblem as problem:
            # The state is tried again later: what this command wanted must not be in it then.
            if self._held.get((target, lun_id)) == data:
                self._note(target, lun_id, before)
            raise OSError(errno.EIO, problem.message) from problem

    def forget(self, target: str, lun_ids: set[str] | None = None) -> Forgotten:
        """The LUNs of a target (None: all) are no more, and what was reserved of them. Returns it for
        `restore`.
        """
        gone = {
            (name, lun_id): data
            for (name, lun_id), data in self._held.items()
            if name == target and (lun_ids is None or lun_id in lun_ids)
        }
        for name, lun_id in gone:
            self._note(name, lun_id, None)
        return gone

    def restore(self, gone: Forgotten) -> None:
        """They are there after all."""
        for (name, lun_id), data in gone.items():
            self._note(name, lun_id, data)

    def _note(self, target: str, lun_id: str, data: bytes | None) -> None:
        key = (target, lun_id)
        if data is None:
            self._held.pop(key, None)
        else:
            self._held[key] = data
        # An id that no target's name and LUN id can make by chance; a name has no such character.
        object_id = f"{target}\n{lun_id}"
        if data is None:
            self._state.delete(KIND, object_id)
        elif self._is_kept(target):
            kept = KeptReservation(target=target, lun_id=lun_id, data=data)
            self._state.put(KIND, object_id, kept)
