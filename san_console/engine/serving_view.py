"""What is shown of local targets while they are served: the state of each LUN, its size, its use; and who has
reserved what.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from typing import Final

from san_console.api.engine_objects import Sample
from san_console.api.problems import Problem
from san_console.api.serving_objects import LocalLun, LocalTarget, Registration, Reservation, TargetSession
from san_console.engine.context import EngineContext
from san_console.scsi.persistent_reservations import TYPE_NAMES
from san_console.target.config import TargetConfig
from san_console.target.errors import UnknownTarget
from san_console.target.logical_unit import LogicalUnit
from san_console.target.server import TargetServer
from san_console.target.units import TAKEN_OFFLINE

log = logging.getLogger(__name__)

MEASURE_EVERY_S: Final = 10.0
"""How often the used space is looked at: one stat for each LUN, in a thread."""

LEGACY_TYPE: Final = "Reserve (SPC-2)"

_NOT_OPEN: Final = Problem(
    code="storage",
    message="The LUN is not open.",
    side="this machine",
    check="its file or device, then serve the target again",
)
_TAKEN_OFFLINE: Final = Problem(
    code="storage", message="The LUN was taken offline.", side="you", check="bring it online again"
)


class ServingView:
    """Brings the collections `local_targets` and `reservations` up to date with the library."""

    def __init__(
        self, context: EngineContext, server: TargetServer, sessions: Callable[[], list[TargetSession]]
    ) -> None:
        self._context = context
        self._server = server
        self._sessions = sessions

    def config_of(self, name: str) -> TargetConfig | None:
        """As the target is served; None: it is not."""
        return self._server.config(name)

    def unit(self, target: str, lun_id: str) -> LogicalUnit | None:
        """None where the LUN is not served."""
        try:
            return self._server.unit(target, lun_id)
        except UnknownTarget:
            return None

    def refresh(self, target: LocalTarget) -> None:
        """Bring what is shown of a target up to date with what is served."""
        served = self.config_of(target.id) is not None
        if served:
            target.state = "serving"
            target.problem = None
        elif target.state == "serving":
            target.state = "stopped"
        for lun in target.luns:
            unit = self.unit(target.id, lun.id) if served else None
            if unit is not None:
                _show_unit(lun, unit)
            elif served or lun.problem is not None:
                lun.state = "offline"
                lun.problem = lun.problem or _NOT_OPEN
        self._context.registry.put("local_targets", target)

    async def keep_measuring(self) -> None:
        """Look at the used space from time to time, until cancelled."""
        while True:
            await asyncio.sleep(MEASURE_EVERY_S)
            try:
                await self.measure()
            except OSError:
                log.exception("the used space could not be looked at")

    async def measure(self) -> None:
        """Look at the used space of all LUNs that are served, now."""
        wanted = [
            (target, lun, unit)
            for target in self._context.registry.values("local_targets", LocalTarget)
            for lun in target.luns
            if (unit := self.unit(target.id, lun.id)) is not None and not unit.offline
        ]
        found = await asyncio.to_thread(_used, [unit for _, _, unit in wanted])
        for (target, lun, unit), used_bytes in zip(wanted, found, strict=True):
            if used_bytes is None:
                continue
            reached = _reached(lun, used_bytes, unit.backstore.size_bytes)
            if (lun.used_bytes, lun.threshold_reached) != (used_bytes, reached):
                lun.used_bytes, lun.threshold_reached = used_bytes, reached
                if self._context.registry.get("local_targets", LocalTarget, target.id) is target:
                    self._context.registry.put("local_targets", target)

    # reservations

    def probe(self, now: float) -> Iterator[Sample]:
        """Once a second, as a probe of the sampler that has no figures."""
        self.refresh_reservations()
        yield from ()

    def refresh_reservations(self) -> None:
        """Bring the collection up to date; told are only differences."""
        registry = self._context.registry
        shown = {one.id: one for one in registry.values("reservations", Reservation)}
        sessions: list[TargetSession] | None = None
        for config in self._server.targets():
            for lun in config.luns:
                unit = self.unit(config.name, lun.id)
                if unit is None or not _is_reserved(unit):
                    continue
                if sessions is None:
                    sessions = self._sessions()
                described = self._reservation(config.name, unit, sessions)
                if shown.pop(described.id, None) != described:
                    registry.put("reservations", described)
        for gone in shown:
            registry.remove("reservations", gone)

    def _reservation(self, target: str, unit: LogicalUnit, sessions: list[TargetSession]) -> Reservation:
        mine = [session for session in sessions if session.target == target]
        reservations = unit.reservations
        local = self._context.registry.get("local_targets", LocalTarget, target)
        names = {lun.id: lun.name for lun in local.luns} if local is not None else {}
        made = Reservation(
            id=f"{target}/{unit.config.id}",
            target=target,
            lun_id=unit.config.id,
            lun_name=names.get(unit.config.id, ""),
        )
        if reservations.legacy_holder is not None:
            port, target_port = reservations.legacy_holder
            holder = _registration(port.name, port.isid.hex(), target_port, "", True, mine)
            made.type, made.holder, made.registrations = LEGACY_TYPE, port.name, [holder]
            return made
        state = reservations.state
        made.type = TYPE_NAMES.get(state.type, "").capitalize()
        made.holder = state.holder.port.name if state.holder is not None else ""
        made.aptpl = state.aptpl
        made.generation = state.generation
        made.registrations = [
            _registration(one.initiator, one.isid, one.target_port, f"{one.key:016x}", one.holder, mine)
            for one in reservations.describe()
        ]
        return made


def _is_reserved(unit: LogicalUnit) -> bool:
    reservations = unit.reservations
    return bool(reservations.state.registrations) or reservations.legacy_holder is not None


def _registration(
    initiator: str, isid: str, target_port: int, key: str, holder: bool, sessions: list[TargetSession]
) -> Registration:
    return Registration(
        initiator=initiator,
        isid=isid,
        target_port=target_port,
        key=key,
        holder=holder,
        session_ids=[
            session.id
            for session in sessions
            if (session.initiator, session.isid, session.tpgt) == (initiator, isid, target_port)
        ],
    )


def _show_unit(lun: LocalLun, unit: LogicalUnit) -> None:
    lun.identity, lun.unit_serial = f"naa.{unit.naa.hex()}", unit.serial
    reason = unit.offline or unit.backstore.failed
    lun.state = "offline" if reason else "online"
    lun.problem = None
    if reason == TAKEN_OFFLINE:
        lun.problem = _TAKEN_OFFLINE
    elif reason:
        lun.problem = Problem(
            code="storage",
            message=reason if reason.endswith(".") else f"{reason}.",
            side="this machine",
            check="its file or device; it comes online by itself when the same one is back, or by “retry”",
        )
    if unit.blocks:
        lun.size_bytes = unit.blocks * unit.block_bytes
    if lun.used_bytes is not None:
        lun.threshold_reached = _reached(lun, lun.used_bytes, lun.size_bytes)


def _reached(lun: LocalLun, used_bytes: int, size_bytes: int) -> bool:
    return bool(lun.soft_threshold_percent) and used_bytes * 100 >= size_bytes * lun.soft_threshold_percent


def _used(units: list[LogicalUnit]) -> list[int | None]:
    found: list[int | None] = []
    for unit in units:
        try:
            found.append(unit.backstore.usage().used_bytes)
        except OSError:
            found.append(None)
    return found
