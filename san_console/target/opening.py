"""Opening the logical units of targets, with what all units of a server share."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor

from san_console.target.config import LunConfig, TargetConfig
from san_console.target.logical_unit import LogicalUnit
from san_console.target.reservations import ReservationStore
from san_console.target.units import open_units


class UnitOpener:
    """Opens units whose reservations are kept in `store` (None: they end with the process).

    `on_error(target, text)` hears of media that fail; `pool` waits for them.
    """

    def __init__(
        self, pool: Executor, on_error: Callable[[str, str], None], store: ReservationStore | None
    ) -> None:
        self.pool = pool
        self._on_error = on_error
        self._store = store

    async def open(
        self, config: TargetConfig, luns: list[LunConfig], *, strict: bool = True
    ) -> dict[str, LogicalUnit]:
        """Units by LUN id; `strict` as in `open_units`. Raises BackstoreError, and none of them is open."""
        units = await open_units(config, luns, self.pool, self._on_error, strict=strict)
        for unit in units.values():
            unit.reservations.use(self._store)
        return units
