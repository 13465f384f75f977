"""Looks after the media of all units, every few seconds: those that are lost or cut short, those that are
back, and those that fill up.

One call in a thread looks at all of them, so the cost is a stat for each LUN and nothing for a command.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Literal

from san_console.names.display import visible
from san_console.scsi.sense import UNIT_ATTENTION, Condition
from san_console.target.backstore import Backstore, Usage
from san_console.target.backstore_memory import OfflineBackstore
from san_console.target.errors import BackstoreError
from san_console.target.logical_unit import LogicalUnit
from san_console.target.units import changing, go_offline, go_online, retry_offline

INTERVAL_S = 5.0
HYSTERESIS_PERCENT = 5
"""How far the use has to fall below the threshold before reaching it again is news: a file system that
deletes and writes would tell it each time round.
"""

SOFT_THRESHOLD_REACHED = Condition(UNIT_ATTENTION, 0x38, 0x07)
"""THIN PROVISIONING SOFT THRESHOLD REACHED (SBC-3 §4.7.3.7)."""


@dataclass(frozen=True, slots=True)
class UnitNews:
    """What the watch found; the texts are fit to be shown."""

    kind: Literal["lun_offline", "lun_online", "threshold_reached"]
    severity: Literal["info", "warning", "error"]
    unit: LogicalUnit
    text: str
    check: str = ""


@dataclass(slots=True)
class _Finding:
    trouble: str
    usage: Usage | None


class UnitWatch:
    """Watches what `units()` gives at each round. All methods belong to one event loop; `pool` does the
    looking.
    """

    def __init__(
        self,
        units: Callable[[], Iterable[LogicalUnit]],
        pool: Executor,
        tell: Callable[[UnitNews], None],
        *,
        interval_s: float = INTERVAL_S,
    ) -> None:
        self._units = units
        self._pool = pool
        self._tell = tell
        self._interval_s = interval_s
        self._above: set[LogicalUnit] = set()
        """Units whose threshold was told, until their use falls."""
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Look every few seconds from now on. Idempotent."""
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run())

    async def stop(self) -> None:
        """No unit is touched any more when it returns."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._interval_s)
            try:
                await self.look()
            except Exception as fault:
                # Ours, and the loop's handler hears of it; the other media are looked after all the same.
                asyncio.get_running_loop().call_exception_handler(
                    {"message": "the care for the media failed", "exception": fault}
                )

    async def look(self) -> None:
        """One round, now."""
        watched = [(unit, unit.backstore) for unit in self._units() if unit.config.online]
        wanted = [(store, _has_threshold(unit)) for unit, store in watched]
        findings = await asyncio.get_running_loop().run_in_executor(self._pool, _examine_all, wanted)
        there = set(self._units())
        for (unit, store), finding in zip(watched, findings, strict=True):
            # Anything may have happened to it meanwhile: it may be closed, or have another medium.
            if unit not in there or not unit.config.online or unit.backstore is not store:
                continue
            if isinstance(store, OfflineBackstore):
                if not finding.trouble and not changing(unit).locked():
                    await self._try_again(unit)
                    there = set(self._units())
            elif not changing(unit).locked():
                self._judge(unit, store, finding)
        self._above &= there

    def _judge(self, unit: LogicalUnit, store: Backstore, finding: _Finding) -> None:
        if finding.trouble and not unit.offline:
            self._lost(unit, finding.trouble)
        elif unit.offline and finding.trouble:
            unit.offline = finding.trouble
        elif unit.offline:
            go_online(unit, store)
            self._back(unit)
        elif finding.usage is not None and _has_threshold(unit):
            self._compare(unit, finding.usage)

    def _lost(self, unit: LogicalUnit, trouble: str) -> None:
        go_offline(unit, trouble)
        self._tell(
            UnitNews(
                "lun_offline",
                "error",
                unit,
                f"LUN {visible(unit.config.name)} is offline: {trouble}.",
                "Bring the same file back and the LUN comes online by itself; "
                "to go on with another one, or one that was cut short, bring the LUN online by hand.",
            )
        )

    async def _try_again(self, unit: LogicalUnit) -> None:
        try:
            await retry_offline(unit, self._pool)
        except BackstoreError:
            return  # the reason is in `offline`; it was told when the unit went offline
        self._back(unit)

    def _back(self, unit: LogicalUnit) -> None:
        text = f"LUN {visible(unit.config.name)} is online again."
        self._tell(UnitNews("lun_online", "info", unit, text))

    def _compare(self, unit: LogicalUnit, usage: Usage) -> None:
        threshold = unit.config.soft_threshold_percent
        used = usage.used_bytes * 100 // unit.backstore.size_bytes
        if used >= threshold:
            if unit not in self._above:
                self._above.add(unit)
                unit.attention(SOFT_THRESHOLD_REACHED)
                self._tell(
                    UnitNews(
                        "threshold_reached",
                        "warning",
                        unit,
                        f"LUN {visible(unit.config.name)} uses {used} % of its space; "
                        f"the threshold is {threshold} %.",
                        "Let the initiators give space back (UNMAP), or make room in the file system.",
                    )
                )
        elif used < threshold - HYSTERESIS_PERCENT or not used:
            self._above.discard(unit)


def _has_threshold(unit: LogicalUnit) -> bool:
    # How much of a block device is in use, nobody tells.
    known = unit.backstore.thin and unit.config.backstore.kind != "block"
    return known and unit.config.soft_threshold_percent > 0


def _examine_all(wanted: list[tuple[Backstore, bool]]) -> list[_Finding]:
    return [_examine(store, with_usage) for store, with_usage in wanted]


def _examine(store: Backstore, with_usage: bool) -> _Finding:
    try:
        trouble = store.examine()
        return _Finding(trouble, store.usage() if with_usage and not trouble else None)
    except OSError:
        return _Finding("", None)  # what it reads and writes decides whether it works
