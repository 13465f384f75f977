"""Reservations of a logical unit at work: persistent ones, those of RESERVE(6) and (10), and their keeping.

The rules are in `scsi.persistent_reservations`. Here each command is tried on a copy of the state, made
durable when it has to be, and only then takes effect and is told to the nexuses.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from san_console.iscsi.target_task import TargetTask
from san_console.scsi import opcodes as op
from san_console.scsi.errors import MalformedData
from san_console.scsi.persistent_reservations import (
    EXCLUDES_READS,
    TYPE_NAMES,
    Outcome,
    PersistentReservations,
    Refused,
    Request,
    Surroundings,
)
from san_console.scsi.persistent_reservations_data import dump, load, parse_out
from san_console.scsi.reservation_conflicts import conflicts, conflicts_with_reserve
from san_console.scsi.sense import (
    INTERNAL_TARGET_FAILURE,
    INVALID_FIELD_IN_CDB,
    INVALID_FIELD_IN_PARAMETER_LIST,
    RESERVATIONS_PREEMPTED,
    field_pointer,
)
from san_console.scsi.status import BUSY, RESERVATION_CONFLICT
from san_console.scsi.transport_ids import NexusId
from san_console.target.backstore import Buffer
from san_console.target.check_condition import CheckCondition, StatusAnswer

if TYPE_CHECKING:
    from san_console.target.logical_unit import LogicalUnit
    from san_console.target.unit_nexus import UnitNexus


class ReservationStore(Protocol):
    """Where reservations with APTPL live while the process does not."""

    def load(self, target: str, lun_id: str) -> bytes | None:
        """What was saved last; None: nothing."""
        ...

    async def save(self, target: str, lun_id: str, data: bytes | None) -> None:
        """Keep `data`, or forget with None. It is durable when this returns. Raises OSError."""
        ...


@dataclass(frozen=True, slots=True)
class RegistrationInfo:
    """One registration, as it is shown. `isid` is hexadecimal; `holder`: it holds the reservation of
    `type`.
    """

    initiator: str
    isid: str
    target_port: int
    key: int
    holder: bool
    type: str
    aptpl: bool


class Reservations:
    """All reservations of one unit. `legacy_holder` is the nexus that has it by RESERVE(6) or (10)."""

    def __init__(self, unit: LogicalUnit) -> None:
        self._unit = unit
        self._store: ReservationStore | None = None
        self._changing = asyncio.Lock()
        self.state = PersistentReservations()
        self.legacy_holder: NexusId | None = None

    def use(self, store: ReservationStore | None) -> None:
        """Keep reservations in `store` from now on, and take back what it has. What cannot be read is
        told, and not served.
        """
        self._store = store
        kept = store.load(self._unit.target_name, self._unit.config.id) if store is not None else None
        if kept is not None:
            try:
                self.state = load(kept)
            except MalformedData as error:
                self._unit.tell(f"The reservations of LUN {self._unit.config.name} are lost: {error}")
            self._unit.refresh()

    @property
    def durable(self) -> bool:
        """True when reservations can be kept over a loss of power."""
        return self._store is not None

    # What is forbidden

    def allows(self, nexus: NexusId) -> tuple[bool, bool]:
        """(reads, writes) that no reservation forbids."""
        if self.legacy_holder not in (None, nexus):
            return False, False
        if self.state.shares(nexus):
            return True, True
        return self.state.type not in EXCLUDES_READS, False

    def check(self, nexus: NexusId, cdb: bytes) -> None:
        """Raises CheckCondition with RESERVATION CONFLICT when a reservation forbids the command."""
        forbidden = (
            conflicts_with_reserve(cdb, holder=self.legacy_holder == nexus)
            if self.legacy_holder is not None
            else conflicts(self.state, nexus, cdb)
        )
        if forbidden:
            raise StatusAnswer(RESERVATION_CONFLICT)

    # RESERVE and RELEASE (SPC-2 §7.21, SPC-4 §5.13.3)

    def reserve(self, nexus: NexusId) -> None:
        """RESERVE. Raises CheckCondition."""
        if not self._left_to_persistent(nexus):
            self.legacy_holder = nexus
            self._unit.refresh()

    def release(self, nexus: NexusId) -> None:
        """RELEASE; of somebody else's reservation it changes nothing. Raises CheckCondition."""
        if not self._left_to_persistent(nexus):
            self.nexus_lost(nexus)

    def _left_to_persistent(self, nexus: NexusId) -> bool:
        """Compatible reservation handling (CRH): who may use the unit by a persistent reservation is told
        that all is well; while there are registrations, the others are refused.
        """
        if self._changing.locked():
            raise StatusAnswer(BUSY)  # a registration is just being kept: what holds then is not known yet
        if not self.state.registrations:
            return False
        if self.state.type and self.state.shares(nexus):
            return True
        raise StatusAnswer(RESERVATION_CONFLICT)

    def nexus_lost(self, nexus: NexusId) -> None:
        """An I_T nexus is gone, and with it its RESERVE; persistent reservations stay (SAM-5 §6.3.4)."""
        if self.legacy_holder == nexus:
            self.reset()

    def reset(self) -> None:
        """The unit was reset (SAM-5 §6.3.3)."""
        if self.legacy_holder is not None:
            self.legacy_holder = None
            self._unit.refresh()

    # PERSISTENT RESERVE OUT

    async def out(self, nexus: UnitNexus, task: TargetTask) -> Buffer:
        """Run the command. Raises CheckCondition; then nothing has changed."""
        action, scope, type_ = task.cdb[1] & 0x1F, task.cdb[2] >> 4, task.cdb[2] & 0x0F
        async with self._changing:
            trial = self.state.copy()
            try:
                request = parse_out(task.data_out, action)
                if request.aptpl and self._store is None:
                    raise Refused(INVALID_FIELD_IN_PARAMETER_LIST)
                if scope and action in _WITH_SCOPE:
                    raise Refused(INVALID_FIELD_IN_CDB)
                outcome = self._apply(trial, nexus, action, type_, request)
            except Refused as refused:
                if refused.condition is None:
                    raise StatusAnswer(RESERVATION_CONFLICT) from None
                pointer = field_pointer(2, 7) if refused.condition == INVALID_FIELD_IN_CDB else None
                raise CheckCondition(refused.condition, sense_key_specific=pointer) from None
            await self._commit(trial, outcome)
        if action == op.SA_PREEMPT_AND_ABORT:
            await self._abort(outcome.preempted, task)
        return b""

    def _apply(
        self, trial: PersistentReservations, nexus: UnitNexus, action: int, type_: int, request: Request
    ) -> Outcome:
        around = Surroundings(nexus.target_ports(), [other.id for other in self._unit.nexuses])
        match action:
            case op.SA_REGISTER:
                return trial.register(nexus.id, request, around)
            case op.SA_REGISTER_AND_IGNORE_EXISTING_KEY:
                return trial.register(nexus.id, request, around, ignore_key=True)
            case op.SA_REGISTER_AND_MOVE:
                return trial.register_and_move(nexus.id, request, around)
            case op.SA_RESERVE:
                return trial.reserve(nexus.id, request, type_)
            case op.SA_RELEASE:
                return trial.release(nexus.id, request, type_)
            case op.SA_CLEAR:
                return trial.clear(nexus.id, request)
        return trial.preempt(nexus.id, request, type_)

    async def _commit(self, trial: PersistentReservations, outcome: Outcome) -> None:
        if self._store is not None:
            before = dump(self.state) if self.state.aptpl else None
            after = dump(trial) if trial.aptpl else None
            if before != after:
                try:
                    await self._store.save(self._unit.target_name, self._unit.config.id, after)
                except OSError as error:
                    self._unit.tell(
                        f"A reservation of LUN {self._unit.config.name} could not be kept: "
                        f"{error.strerror or error}"
                    )
                    raise CheckCondition(INTERNAL_TARGET_FAILURE) from error
        self.state = trial
        self._unit.refresh()
        self._tell(outcome)

    def _tell(self, outcome: Outcome) -> None:
        for nexus in self._unit.nexuses:
            for who, condition in outcome.attentions:
                if who == nexus.id:
                    nexus.add_attention(condition)

    async def _abort(self, preempted: Iterable[NexusId], sender: TargetTask) -> None:
        """End the commands of the preempted nexuses, all but this one (§5.13.11.5)."""
        left = set(preempted)
        there = self._unit.nexuses | self._unit.leaving
        endings = [nexus.abort_tasks(sender) for nexus in there if nexus.id in left]
        await asyncio.gather(*endings)

    # For the operator

    def describe(self) -> list[RegistrationInfo]:
        """All registrations."""
        state = self.state
        return [
            RegistrationInfo(
                nexus.port.name,
                nexus.port.isid.hex(),
                nexus.target_port,
                key,
                state.holds(nexus),
                TYPE_NAMES[state.type] if state.holds(nexus) else "",
                state.aptpl,
            )
            for nexus, key in state.registrations.items()
        ]

    async def clear(self) -> None:
        """End all reservations and registrations; their owners are told. Raises CheckCondition when that
        could not be kept.
        """
        async with self._changing:
            trial = self.state.copy()
            outcome = trial.wipe()
            if self.legacy_holder is not None:
                outcome.attentions.append((self.legacy_holder, RESERVATIONS_PREEMPTED))
                self.legacy_holder = None
            await self._commit(trial, outcome)


_WITH_SCOPE = frozenset({op.SA_RESERVE, op.SA_RELEASE})  # PREEMPT looks at it only when it takes over
