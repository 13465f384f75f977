"""Persistent reservations of one logical unit, as a state machine (SPC-4 §5.13, §6.16).

Each service action is a method: it checks everything first, then changes the state, and returns what others
have to hear of it. A refused one raises `Refused` and has changed nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from san_console.scsi.errors import ScsiError
from san_console.scsi.sense import (
    INSUFFICIENT_REGISTRATION_RESOURCES,
    INVALID_FIELD_IN_CDB,
    INVALID_FIELD_IN_PARAMETER_LIST,
    INVALID_RELEASE,
    REGISTRATIONS_PREEMPTED,
    RESERVATIONS_PREEMPTED,
    RESERVATIONS_RELEASED,
    Condition,
)
from san_console.scsi.transport_ids import InitiatorPort, NexusId, TransportId

WRITE_EXCLUSIVE = 0x1
EXCLUSIVE_ACCESS = 0x3
WRITE_EXCLUSIVE_REGISTRANTS_ONLY = 0x5
EXCLUSIVE_ACCESS_REGISTRANTS_ONLY = 0x6
WRITE_EXCLUSIVE_ALL_REGISTRANTS = 0x7
EXCLUSIVE_ACCESS_ALL_REGISTRANTS = 0x8

TYPE_NAMES: dict[int, str] = {
    WRITE_EXCLUSIVE: "write exclusive",
    EXCLUSIVE_ACCESS: "exclusive access",
    WRITE_EXCLUSIVE_REGISTRANTS_ONLY: "write exclusive, registrants only",
    EXCLUSIVE_ACCESS_REGISTRANTS_ONLY: "exclusive access, registrants only",
    WRITE_EXCLUSIVE_ALL_REGISTRANTS: "write exclusive, all registrants",
    EXCLUSIVE_ACCESS_ALL_REGISTRANTS: "exclusive access, all registrants",
}
ALL_REGISTRANTS = frozenset({WRITE_EXCLUSIVE_ALL_REGISTRANTS, EXCLUSIVE_ACCESS_ALL_REGISTRANTS})
FOR_REGISTRANTS = ALL_REGISTRANTS | {WRITE_EXCLUSIVE_REGISTRANTS_ONLY, EXCLUSIVE_ACCESS_REGISTRANTS_ONLY}
EXCLUDES_READS = frozenset(
    {EXCLUSIVE_ACCESS, EXCLUSIVE_ACCESS_REGISTRANTS_ONLY, EXCLUSIVE_ACCESS_ALL_REGISTRANTS}
)
LU_SCOPE = 0

MAX_REGISTRATIONS = 512  # a cluster of 64 nodes, the largest that Windows and ESXi build, on 8 paths each
MAX_GENERATION = 0xFFFF_FFFF


class Refused(ScsiError):
    """The command changes nothing. `condition` None: it ends in RESERVATION CONFLICT."""

    def __init__(self, condition: Condition | None = None) -> None:
        super().__init__(condition)
        self.condition = condition


@dataclass(slots=True)
class Request:
    """The parameter list of PERSISTENT RESERVE OUT; the last three are of REGISTER AND MOVE."""

    key: int = 0
    service_action_key: int = 0
    all_target_ports: bool = False
    aptpl: bool = False
    transport_ids: list[TransportId] = field(default_factory=list)
    spec_i_pt: bool = False
    unregister: bool = False
    target_port: int = 0


@dataclass(slots=True)
class Outcome:
    """What follows from a command: unit attentions for others, and whose registrations were preempted."""

    attentions: list[tuple[NexusId, Condition]] = field(default_factory=list)
    preempted: list[NexusId] = field(default_factory=list)


@dataclass(slots=True)
class Surroundings:
    """What the unit knows of its target: its ports, and the I_T nexuses that there are."""

    target_ports: Collection[int] = ()
    nexuses: Collection[NexusId] = ()


class PersistentReservations:
    """Registrations (I_T nexus → key) and the reservation of one logical unit. `type` 0: none.

    `holder` is None for the types where all registrants hold it. `aptpl`: the state is kept over a loss of
    power.
    """

    def __init__(self) -> None:
        self.registrations: dict[NexusId, int] = {}
        self.type = 0
        self.holder: NexusId | None = None
        self.generation = 0
        self.aptpl = False

    def copy(self) -> PersistentReservations:
        """The same state, to try a command on."""
        other = PersistentReservations()
        other.registrations = dict(self.registrations)
        other.type, other.holder = self.type, self.holder
        other.generation, other.aptpl = self.generation, self.aptpl
        return other

    # Who may do what

    def holds(self, nexus: NexusId) -> bool:
        """True for a reservation holder (§5.13.10)."""
        if self.type in ALL_REGISTRANTS:
            return nexus in self.registrations
        return self.type != 0 and self.holder == nexus

    def shares(self, nexus: NexusId) -> bool:
        """True when the reservation forbids `nexus` nothing: there is none, it holds it, or is registered
        for a type that is for registrants.
        """
        if not self.type or self.holder == nexus:
            return True
        return self.type in FOR_REGISTRANTS and nexus in self.registrations

    # REGISTER, REGISTER AND IGNORE EXISTING KEY (§5.13.7)

    def register(
        self, nexus: NexusId, request: Request, around: Surroundings, *, ignore_key: bool = False
    ) -> Outcome:
        """Register, change the key, or unregister (service action key 0)."""
        mine = self.registrations.get(nexus)
        if not ignore_key and request.key != (mine or 0):
            raise Refused
        if request.spec_i_pt and (ignore_key or mine is not None):
            raise Refused(INVALID_FIELD_IN_PARAMETER_LIST)
        key = request.service_action_key
        if mine is None and not key:
            return Outcome()
        wanted = {nexus: key}
        ports = set(around.target_ports) if request.all_target_ports else {nexus.target_port}
        for port in sorted(ports - {nexus.target_port}):
            other = NexusId(nexus.port, port)
            theirs = self.registrations.get(other)
            # As if the same request had come through that port (SPC-4 §6.16.3, ALL_TG_PT).
            if theirs is None:
                if key:
                    wanted[other] = key
            elif ignore_key or theirs == request.key:
                wanted[other] = key
            elif key:
                raise Refused
        for other in _named(request.transport_ids, ports, around):
            if other not in self.registrations:
                wanted[other] = key
        if len(self.registrations.keys() | wanted.keys()) > MAX_REGISTRATIONS:
            raise Refused(INSUFFICIENT_REGISTRATION_RESOURCES)
        outcome = Outcome()
        if key:
            self.registrations.update(wanted)
        else:
            self._unregister(wanted, nexus, outcome)
        self.aptpl = request.aptpl
        self._count()
        return outcome

    def _unregister(self, leaving: Iterable[NexusId], sender: NexusId, outcome: Outcome) -> None:
        for nexus in leaving:
            self.registrations.pop(nexus, None)
        if self.type in ALL_REGISTRANTS:
            gone = not self.registrations
        else:
            gone = self.type != 0 and self.holder not in self.registrations
        if gone:
            self._release(sender, outcome)

    def _release(self, sender: NexusId, outcome: Outcome) -> None:
        """End the reservation; registrants learn that they lost what it gave them (§5.13.11.2)."""
        if self.type in FOR_REGISTRANTS:
            self._tell(self.registrations, sender, RESERVATIONS_RELEASED, outcome)
        self.type, self.holder = 0, None

    @staticmethod
    def _tell(
        nexuses: Iterable[NexusId], sender: NexusId | None, condition: Condition, outcome: Outcome
    ) -> None:
        outcome.attentions += [(nexus, condition) for nexus in nexuses if nexus != sender]

    def _count(self) -> None:
        self.generation = self.generation + 1 & MAX_GENERATION

    # REGISTER AND MOVE (§5.13.8)

    def register_and_move(self, nexus: NexusId, request: Request, around: Surroundings) -> Outcome:
        """Hand the reservation over to another I_T nexus, which is registered with the new key."""
        self._check_key(nexus, request)
        if self.type in ALL_REGISTRANTS:
            raise Refused
        if self.holder != nexus:
            raise Refused(INVALID_FIELD_IN_CDB)
        if not request.service_action_key or len(request.transport_ids) != 1:
            raise Refused(INVALID_FIELD_IN_PARAMETER_LIST)
        if request.target_port not in around.target_ports:
            raise Refused(INVALID_FIELD_IN_PARAMETER_LIST)
        named = _named(request.transport_ids, {request.target_port}, around)
        if len(named) != 1 or named[0] == nexus:
            raise Refused(INVALID_FIELD_IN_PARAMETER_LIST)
        new = named[0]
        if len(self.registrations.keys() | {new}) - request.unregister > MAX_REGISTRATIONS:
            raise Refused(INSUFFICIENT_REGISTRATION_RESOURCES)
        self.registrations[new] = request.service_action_key
        self.holder = new
        if request.unregister:
            del self.registrations[nexus]
        self.aptpl = request.aptpl
        self._count()
        return Outcome()

    def _check_key(self, nexus: NexusId, request: Request) -> None:
        if self.registrations.get(nexus) != request.key:
            raise Refused

    # RESERVE, RELEASE, CLEAR (§5.13.9, §5.13.11)

    def reserve(self, nexus: NexusId, request: Request, type_: int) -> Outcome:
        """Establish a reservation; the holder may repeat the same one."""
        self._check_key(nexus, request)
        if type_ not in TYPE_NAMES:
            raise Refused(INVALID_FIELD_IN_CDB)
        if self.type and not (self.holds(nexus) and self.type == type_):
            raise Refused
        if not self.type:
            self._take(nexus, type_)
        return Outcome()

    def _take(self, nexus: NexusId, type_: int) -> None:
        self.type = type_
        self.holder = None if type_ in ALL_REGISTRANTS else nexus

    def release(self, nexus: NexusId, request: Request, type_: int) -> Outcome:
        """End the reservation of this nexus; where it has none, nothing happens."""
        self._check_key(nexus, request)
        outcome = Outcome()
        if self.holds(nexus):
            if self.type != type_:
                raise Refused(INVALID_RELEASE)
            self._release(nexus, outcome)
        return outcome

    def clear(self, nexus: NexusId, request: Request) -> Outcome:
        """End the reservation and all registrations."""
        self._check_key(nexus, request)
        return self.wipe(nexus)

    def wipe(self, sender: NexusId | None = None) -> Outcome:
        """CLEAR without a check of the key: for the operator of the target."""
        outcome = Outcome()
        self._tell(self.registrations, sender, RESERVATIONS_PREEMPTED, outcome)
        self.registrations.clear()
        self.type, self.holder = 0, None
        self._count()
        return outcome

    # PREEMPT, PREEMPT AND ABORT (§5.13.11.4)

    def preempt(self, nexus: NexusId, request: Request, type_: int) -> Outcome:
        """Remove the registrations with the service action key, and take the reservation over when it
        identifies its holder (or is 0 where all registrants hold it).
        """
        self._check_key(nexus, request)
        key = request.service_action_key
        if self.type in ALL_REGISTRANTS:
            takes_over = key == 0
        else:
            takes_over = self.holder is not None and self.registrations[self.holder] == key
        if not key and not takes_over:
            raise Refused(INVALID_FIELD_IN_PARAMETER_LIST)
        leaving = [other for other, theirs in self.registrations.items() if theirs == key or not key]
        if not leaving:
            raise Refused
        if takes_over and type_ not in TYPE_NAMES:
            raise Refused(INVALID_FIELD_IN_CDB)
        outcome = Outcome(preempted=leaving)
        if takes_over:
            self._take_over(nexus, type_, leaving, outcome)
        else:
            self._unregister(leaving, nexus, outcome)
        self._tell(leaving, nexus, REGISTRATIONS_PREEMPTED, outcome)
        self._count()
        return outcome

    def _take_over(self, nexus: NexusId, type_: int, leaving: list[NexusId], outcome: Outcome) -> None:
        for other in leaving:
            if other != nexus:
                del self.registrations[other]
        # Those that stay registered learn of it when what they may do has changed.
        if type_ != self.type:
            self._tell(self.registrations, nexus, RESERVATIONS_RELEASED, outcome)
        self._take(nexus, type_)


def _named(ids: Iterable[TransportId], ports: Iterable[int], around: Surroundings) -> list[NexusId]:
    """The I_T nexuses that TransportIDs name: with the initiator's name alone, all that are known
    (§7.6.4.6).
    """
    found: dict[NexusId, None] = {}
    for one in ids:
        for target_port in sorted(ports):
            if one.isid is not None:
                found[NexusId(InitiatorPort(one.name, one.isid), target_port)] = None
                continue
            for known in around.nexuses:
                if known.port.name == one.name:
                    found[NexusId(known.port, target_port)] = None
    return list(found)
