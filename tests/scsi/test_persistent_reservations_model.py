"""Persistent reservations against a model that is written the other way round: one row per nexus, and the
reservation as a set of holders. Whatever is sent, both have to agree.
"""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from san_console.scsi import persistent_reservations as pr
from san_console.scsi.persistent_reservations import (
    Outcome,
    PersistentReservations,
    Refused,
    Request,
    Surroundings,
)
from san_console.scsi.persistent_reservations_data import dump, load
from san_console.scsi.sense import REGISTRATIONS_PREEMPTED, RESERVATIONS_PREEMPTED, RESERVATIONS_RELEASED
from san_console.scsi.transport_ids import InitiatorPort, NexusId, TransportId

PORTS = (1, 2)
NEXUSES = [
    NexusId(InitiatorPort(f"iqn.2026-11.a.b:{name}", bytes(6)), port) for name in "abc" for port in PORTS
]
AROUND = Surroundings(PORTS, NEXUSES)
WHO = st.sampled_from(NEXUSES)
KEYS = st.integers(0, 3)
TYPES = st.sampled_from([0, *pr.TYPE_NAMES])
Told = dict[NexusId, str]


class Model:
    """SPC-4 in a few lines: `keys` has 0 for who is not registered."""

    def __init__(self) -> None:
        self.keys = dict.fromkeys(NEXUSES, 0)
        self.type = 0
        self.owner: NexusId | None = None

    def members(self) -> list[NexusId]:
        return [nexus for nexus, key in self.keys.items() if key]

    def holders(self) -> list[NexusId]:
        if not self.type:
            return []
        return self.members() if self.type in (7, 8) else [one for one in self.members() if one == self.owner]

    def settle(self, sender: NexusId, told: Told) -> None:
        """A reservation without a holder ends."""
        if self.type and not self.holders():
            if self.type >= 5:
                told.update({one: "released" for one in self.members() if one != sender and one not in told})
            self.type, self.owner = 0, None


class Machine(RuleBasedStateMachine):
    """Each rule tells the model what has to happen, and compares."""

    def __init__(self) -> None:
        super().__init__()
        self.state = PersistentReservations()
        self.model = Model()

    def compare(self, action: Callable[[], Outcome], allowed: bool, told: Told | None = None) -> None:
        names = {
            RESERVATIONS_RELEASED: "released",
            REGISTRATIONS_PREEMPTED: "removed",
            RESERVATIONS_PREEMPTED: "cleared",
        }
        try:
            outcome = action()
        except Refused:
            assert not allowed
            return
        assert allowed
        assert {who: names[condition] for who, condition in outcome.attentions} == (told or {})

    @rule(who=WHO, key=KEYS, new=KEYS, ignore=st.booleans())
    def register(self, who: NexusId, key: int, new: int, ignore: bool) -> None:
        allowed = ignore or key == self.model.keys[who]
        told: Told = {}
        if allowed:
            self.model.keys[who] = new
            self.model.settle(who, told)
        self.compare(
            lambda: self.state.register(who, Request(key, new), AROUND, ignore_key=ignore), allowed, told
        )

    @rule(who=WHO, new=st.integers(1, 3), other=WHO)
    def register_another(self, who: NexusId, new: int, other: NexusId) -> None:
        allowed = not self.model.keys[who]
        if allowed:
            self.model.keys[who] = new
            there = NexusId(other.port, who.target_port)
            self.model.keys[there] = self.model.keys[there] or new
        ids = [TransportId(other.port.name, other.port.isid)]
        request = Request(0, new, transport_ids=ids, spec_i_pt=True)
        self.compare(lambda: self.state.register(who, request, AROUND), allowed)

    @rule(who=WHO, key=KEYS, type_=TYPES)
    def reserve(self, who: NexusId, key: int, type_: int) -> None:
        model = self.model
        allowed = bool(key and key == model.keys[who] and type_)
        if model.type:
            allowed = allowed and who in model.holders() and model.type == type_
        elif allowed:
            model.type, model.owner = type_, who
        self.compare(lambda: self.state.reserve(who, Request(key), type_), allowed)

    @rule(who=WHO, key=KEYS, type_=TYPES)
    def release(self, who: NexusId, key: int, type_: int) -> None:
        model, told = self.model, dict[NexusId, str]()
        allowed = bool(key and key == model.keys[who])
        if allowed and who in model.holders():
            allowed = type_ == model.type
            if allowed:
                if model.type >= 5:
                    told = {one: "released" for one in model.members() if one != who}
                model.type, model.owner = 0, None
        self.compare(lambda: self.state.release(who, Request(key), type_), allowed, told)

    @rule(who=WHO, key=KEYS)
    def clear(self, who: NexusId, key: int) -> None:
        model, told = self.model, dict[NexusId, str]()
        allowed = bool(key and key == model.keys[who])
        if allowed:
            told = {one: "cleared" for one in model.members() if one != who}
            model.keys = dict.fromkeys(NEXUSES, 0)
            model.type, model.owner = 0, None
        self.compare(lambda: self.state.clear(who, Request(key)), allowed, told)

    @rule(who=WHO, key=KEYS, victim=KEYS, type_=TYPES)
    def preempt(self, who: NexusId, key: int, victim: int, type_: int) -> None:
        model, told = self.model, dict[NexusId, str]()
        everybody = model.type in (7, 8)
        takes = bool(model.type) and (victim == 0 if everybody else victim == model.keys[model.owner or who])
        leaving = [one for one in model.members() if (everybody and not victim) or model.keys[one] == victim]
        allowed = bool(
            key and key == model.keys[who] and leaving and (victim or takes) and (type_ or not takes)
        )
        if allowed:
            for one in leaving:
                if one != who:
                    told[one] = "removed"
                if one != who or not takes:
                    model.keys[one] = 0
            if takes:
                if model.type != type_:
                    told.update({one: "released" for one in model.members() if one != who})
                model.type, model.owner = type_, who
            model.settle(who, told)
        self.compare(lambda: self.state.preempt(who, Request(key, victim), type_), allowed, told)

    @rule(who=WHO, key=KEYS, new=KEYS, to=WHO, unregister=st.booleans())
    def move(self, who: NexusId, key: int, new: int, to: NexusId, unregister: bool) -> None:
        model = self.model
        single = model.type not in (0, 7, 8)
        allowed = bool(key and key == model.keys[who] and single and model.owner == who and new and to != who)
        if allowed:
            model.keys[to] = new
            model.owner = to
            if unregister:
                model.keys[who] = 0
        ids = [TransportId(to.port.name, to.port.isid)]
        request = Request(key, new, transport_ids=ids, target_port=to.target_port, unregister=unregister)
        self.compare(lambda: self.state.register_and_move(who, request, AROUND), allowed)

    @rule()
    def power(self) -> None:
        """It goes and comes back."""
        self.state = load(dump(self.state))

    @invariant()
    def agree(self) -> None:
        assert self.state.registrations == {one: key for one, key in self.model.keys.items() if key}
        assert self.state.type == self.model.type
        assert [one for one in NEXUSES if self.state.holds(one)] == self.model.holders()


TestMachine = Machine.TestCase
TestMachine.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
