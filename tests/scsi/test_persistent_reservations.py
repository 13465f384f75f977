"""Persistent reservations: each service action, in the words of the tables of SPC-4 §5.13."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from san_console.scsi import persistent_reservations as pr
from san_console.scsi import sense
from san_console.scsi.persistent_reservations import (
    MAX_REGISTRATIONS,
    Outcome,
    PersistentReservations,
    Refused,
    Request,
    Surroundings,
)
from san_console.scsi.sense import Condition
from san_console.scsi.transport_ids import InitiatorPort, NexusId, TransportId


def nexus(host: str, target_port: int = 1, isid: int = 0) -> NexusId:
    return NexusId(InitiatorPort(f"iqn.2026-11.org.example:{host}", isid.to_bytes(6, "big")), target_port)


A, B, C = nexus("a"), nexus("b"), nexus("c")
A2 = nexus("a", 2)
AROUND = Surroundings((1, 2), (A, B, C))
SINGLE = (pr.WRITE_EXCLUSIVE, pr.EXCLUSIVE_ACCESS)
REGISTRANTS = (pr.WRITE_EXCLUSIVE_REGISTRANTS_ONLY, pr.EXCLUSIVE_ACCESS_REGISTRANTS_ONLY)
ALL = (pr.WRITE_EXCLUSIVE_ALL_REGISTRANTS, pr.EXCLUSIVE_ACCESS_ALL_REGISTRANTS)


def registered(**keys: int) -> PersistentReservations:
    """Hosts by name with their keys."""
    state = PersistentReservations()
    for host, key in keys.items():
        state.register(nexus(host), Request(0, key), AROUND)
    return state


def held(type_: int, **keys: int) -> PersistentReservations:
    """Registered hosts, and a reservation of the first."""
    state = registered(**keys)
    host, key = next(iter(keys.items()))
    state.reserve(nexus(host), Request(key), type_)
    return state


def refused(action: Callable[[], Outcome], state: PersistentReservations) -> Condition | None:
    """Why the action is refused; the state must stay as it was."""
    before = (dict(state.registrations), state.type, state.holder, state.generation, state.aptpl)
    with pytest.raises(Refused) as info:
        action()
    assert before == (dict(state.registrations), state.type, state.holder, state.generation, state.aptpl)
    return info.value.condition


# REGISTER


def test_register_change_and_unregister() -> None:
    state = PersistentReservations()
    assert state.register(A, Request(0, 7), AROUND) == Outcome()
    assert (state.registrations, state.generation) == ({A: 7}, 1)
    state.register(A, Request(7, 8), AROUND)
    assert (state.registrations, state.generation) == ({A: 8}, 2)
    state.register(A, Request(8, 0), AROUND)
    assert (state.registrations, state.generation) == ({}, 3)


def test_to_unregister_who_is_not_registered_does_nothing() -> None:
    state = PersistentReservations()
    state.register(A, Request(0, 0, aptpl=True), AROUND)
    state.register(A, Request(9, 0), AROUND, ignore_key=True)
    assert (state.generation, state.aptpl) == (0, False)


@pytest.mark.parametrize("key", [0, 8])
def test_register_wants_the_key_that_is_registered(key: int) -> None:
    state = registered(a=7)
    assert refused(lambda: state.register(A, Request(key, 9), AROUND), state) is None
    state.register(A, Request(key, 9), AROUND, ignore_key=True)
    assert state.registrations == {A: 9}


def test_register_of_an_unknown_one_wants_no_key() -> None:
    state = PersistentReservations()
    assert refused(lambda: state.register(A, Request(5, 9), AROUND), state) is None


def test_the_last_registration_decides_what_outlives_the_power() -> None:
    state = PersistentReservations()
    state.register(A, Request(0, 7, aptpl=True), AROUND)
    assert state.aptpl
    state.register(B, Request(0, 8), AROUND)
    assert not state.aptpl


def test_other_initiator_ports_are_registered_by_their_transport_ids() -> None:
    state = registered(c=3)
    ids = [
        TransportId(B.port.name, B.port.isid),
        TransportId(C.port.name),
        TransportId("iqn.2026-11.a.b:none"),
    ]
    state.register(A, Request(0, 7, transport_ids=ids, spec_i_pt=True), AROUND)
    assert state.registrations == {C: 3, A: 7, B: 7}  # who is registered keeps its key
    assert state.generation == 2


@pytest.mark.parametrize("ignore_key", [False, True])
def test_transport_ids_are_for_new_registrations(ignore_key: bool) -> None:
    state = registered(a=7)
    request = Request(7, 8, transport_ids=[TransportId(B.port.name, B.port.isid)], spec_i_pt=True)
    found = refused(lambda: state.register(A, request, AROUND, ignore_key=ignore_key), state)
    assert found == sense.INVALID_FIELD_IN_PARAMETER_LIST


def test_all_target_ports_at_once() -> None:
    state = PersistentReservations()
    state.register(A, Request(0, 7, all_target_ports=True), AROUND)
    assert state.registrations == {A: 7, A2: 7}
    state.register(A, Request(7, 8, all_target_ports=True), AROUND)
    assert state.registrations == {A: 8, A2: 8}
    state.register(A2, Request(8, 9), AROUND)
    assert refused(lambda: state.register(A, Request(8, 1, all_target_ports=True), AROUND), state) is None
    state.register(A, Request(8, 0, all_target_ports=True), AROUND)
    assert state.registrations == {A2: 9}
    state.register(A, Request(0, 5, all_target_ports=True), AROUND, ignore_key=True)
    assert state.registrations == {A2: 5, A: 5}
    state.register(A, Request(1, 0, all_target_ports=True), AROUND, ignore_key=True)
    assert state.registrations == {}
    state.register(A, Request(0, 4), AROUND)
    state.register(A, Request(4, 0, all_target_ports=True), AROUND)
    assert state.registrations == {}


def test_registrations_are_bounded() -> None:
    state = PersistentReservations()
    for number in range(MAX_REGISTRATIONS):
        state.register(nexus("a", isid=number), Request(0, 7), AROUND)
    found = refused(lambda: state.register(B, Request(0, 7), AROUND), state)
    assert found == sense.INSUFFICIENT_REGISTRATION_RESOURCES
    state.register(A, Request(7, 8), AROUND)
    state.reserve(A, Request(8), pr.WRITE_EXCLUSIVE)
    to_b = Request(8, 9, transport_ids=[TransportId(B.port.name, B.port.isid)], target_port=1)
    found = refused(lambda: state.register_and_move(A, to_b, AROUND), state)
    assert found == sense.INSUFFICIENT_REGISTRATION_RESOURCES
    to_b.unregister = True
    state.register_and_move(A, to_b, AROUND)
    assert state.holder == B


def test_the_generation_wraps() -> None:
    state = PersistentReservations()
    state.generation = 0xFFFF_FFFF
    state.register(A, Request(0, 7), AROUND)
    assert state.generation == 0


@pytest.mark.parametrize("type_", SINGLE)
def test_a_holder_that_unregisters_ends_its_reservation(type_: int) -> None:
    state = held(type_, a=7, b=8)
    assert state.register(A, Request(7, 0), AROUND) == Outcome()
    assert (state.type, state.holder) == (0, None)


@pytest.mark.parametrize("type_", REGISTRANTS)
def test_registrants_learn_that_the_holder_went(type_: int) -> None:
    state = held(type_, a=7, b=8)
    outcome = state.register(A, Request(7, 0), AROUND)
    assert outcome.attentions == [(B, sense.RESERVATIONS_RELEASED)]
    assert state.type == 0


@pytest.mark.parametrize("type_", ALL)
def test_a_reservation_of_all_registrants_ends_with_the_last(type_: int) -> None:
    state = held(type_, a=7, b=8)
    assert state.holds(B)
    state.register(A, Request(7, 0), AROUND)
    assert state.type == type_
    assert not state.holds(A)
    state.register(B, Request(8, 0), AROUND)
    assert state.type == 0


# RESERVE and RELEASE


@pytest.mark.parametrize("type_", [*SINGLE, *REGISTRANTS, *ALL])
def test_reserve_and_release(type_: int) -> None:
    state = held(type_, a=7, b=8)
    assert state.generation == 2
    assert state.holds(A)
    assert state.reserve(A, Request(7), type_) == Outcome()  # once more is no error
    other = pr.EXCLUSIVE_ACCESS if type_ != pr.EXCLUSIVE_ACCESS else pr.WRITE_EXCLUSIVE
    assert refused(lambda: state.reserve(A, Request(7), other), state) is None
    if type_ in ALL:
        state.reserve(B, Request(8), type_)  # it holds it too
    else:
        assert refused(lambda: state.reserve(B, Request(8), type_), state) is None
        assert state.release(B, Request(8), type_) == Outcome()
    assert state.type == type_
    assert refused(lambda: state.release(A, Request(7), other), state) == sense.INVALID_RELEASE
    told = [(B, sense.RESERVATIONS_RELEASED)] if type_ not in SINGLE else []
    assert state.release(A, Request(7), type_).attentions == told
    assert (state.type, state.holder) == (0, None)
    assert state.release(A, Request(7), type_) == Outcome()
    assert state.generation == 2


@pytest.mark.parametrize("type_", [0, 2, 4, 9, 15])
def test_there_are_six_types(type_: int) -> None:
    state = registered(a=7)
    assert refused(lambda: state.reserve(A, Request(7), type_), state) == sense.INVALID_FIELD_IN_CDB


@pytest.mark.parametrize("who", [A, B])
def test_everything_but_register_wants_a_registration_and_its_key(who: NexusId) -> None:
    state = registered(a=7)
    wrong = Request(8, 7)
    for action in (
        lambda: state.reserve(who, wrong, 1),
        lambda: state.release(who, wrong, 1),
        lambda: state.clear(who, wrong),
        lambda: state.preempt(who, wrong, 1),
        lambda: state.register_and_move(who, wrong, AROUND),
    ):
        assert refused(action, state) is None


@pytest.mark.parametrize(
    ("type_", "owner", "registrant"),
    [(1, True, False), (3, True, False), (5, True, True), (6, True, True), (7, True, True), (8, True, True)],
)
def test_who_may_use_the_unit(type_: int, owner: bool, registrant: bool) -> None:
    state = held(type_, a=7, b=8)
    assert [state.shares(one) for one in (A, B, C)] == [owner, registrant, False]
    assert PersistentReservations().shares(C)


# CLEAR


def test_clear() -> None:
    state = held(pr.WRITE_EXCLUSIVE, a=7, b=8)
    outcome = state.clear(B, Request(8))
    assert outcome.attentions == [(A, sense.RESERVATIONS_PREEMPTED)]
    assert (state.registrations, state.type, state.holder, state.generation) == ({}, 0, None, 3)


def test_the_operator_clears_for_everybody() -> None:
    state = held(pr.WRITE_EXCLUSIVE, a=7, b=8)
    told = state.wipe().attentions
    assert told == [(A, sense.RESERVATIONS_PREEMPTED), (B, sense.RESERVATIONS_PREEMPTED)]


# PREEMPT


@pytest.mark.parametrize("type_", [*SINGLE, *REGISTRANTS])
def test_preempt_takes_the_reservation_over(type_: int) -> None:
    state = held(type_, a=7, b=8, c=9)
    outcome = state.preempt(B, Request(8, 7), type_)
    assert (state.registrations, state.type, state.holder) == ({B: 8, C: 9}, type_, B)
    assert outcome.attentions == [(A, sense.REGISTRATIONS_PREEMPTED)]
    assert outcome.preempted == [A]
    assert state.generation == 4


def test_preempt_with_another_type_tells_those_that_stay() -> None:
    state = held(pr.WRITE_EXCLUSIVE, a=7, b=8, c=9)
    outcome = state.preempt(B, Request(8, 7), pr.EXCLUSIVE_ACCESS_ALL_REGISTRANTS)
    assert outcome.attentions == [(C, sense.RESERVATIONS_RELEASED), (A, sense.REGISTRATIONS_PREEMPTED)]
    assert (state.type, state.holder) == (pr.EXCLUSIVE_ACCESS_ALL_REGISTRANTS, None)


def test_a_holder_preempts_itself_to_change_the_type() -> None:
    state = held(pr.WRITE_EXCLUSIVE, a=7, b=8)
    outcome = state.preempt(A, Request(7, 7), pr.EXCLUSIVE_ACCESS)
    assert (state.registrations, state.type, state.holder) == ({A: 7, B: 8}, pr.EXCLUSIVE_ACCESS, A)
    assert outcome.attentions == [(B, sense.RESERVATIONS_RELEASED)]


@pytest.mark.parametrize("type_", ALL)
def test_preempt_of_all_registrants_with_key_zero(type_: int) -> None:
    state = held(type_, a=7, b=8, c=9)
    outcome = state.preempt(B, Request(8, 0), pr.WRITE_EXCLUSIVE)
    assert (state.registrations, state.type, state.holder) == ({B: 8}, pr.WRITE_EXCLUSIVE, B)
    assert outcome.attentions == [(A, sense.REGISTRATIONS_PREEMPTED), (C, sense.REGISTRATIONS_PREEMPTED)]


@pytest.mark.parametrize("type_", ALL)
def test_preempt_of_some_registrants_leaves_the_reservation(type_: int) -> None:
    state = held(type_, a=7, b=8, c=7)
    outcome = state.preempt(B, Request(8, 7), pr.WRITE_EXCLUSIVE)
    assert (state.registrations, state.type) == ({B: 8}, type_)
    assert outcome.preempted == [A, C]
    state.preempt(B, Request(8, 8), 0)
    assert (state.registrations, state.type) == ({}, 0)


def test_preempt_without_a_reservation_removes_registrations() -> None:
    state = registered(a=7, b=8, c=7)
    outcome = state.preempt(B, Request(8, 7), 0)
    assert (state.registrations, state.type) == ({B: 8}, 0)
    assert outcome.attentions == [(A, sense.REGISTRATIONS_PREEMPTED), (C, sense.REGISTRATIONS_PREEMPTED)]


def test_preempt_of_registrants_beside_the_holder() -> None:
    state = held(pr.WRITE_EXCLUSIVE, a=7, b=8, c=9)
    outcome = state.preempt(B, Request(8, 9), 0)
    assert (state.registrations, state.holder) == ({A: 7, B: 8}, A)
    assert outcome.attentions == [(C, sense.REGISTRATIONS_PREEMPTED)]


def test_preempt_of_nobody() -> None:
    state = held(pr.WRITE_EXCLUSIVE, a=7, b=8)
    assert refused(lambda: state.preempt(B, Request(8, 99), 1), state) is None
    found = refused(lambda: state.preempt(B, Request(8, 0), 1), state)
    assert found == sense.INVALID_FIELD_IN_PARAMETER_LIST
    assert refused(lambda: state.preempt(B, Request(8, 7), 2), state) == sense.INVALID_FIELD_IN_CDB


# REGISTER AND MOVE


def move(key: int, new: int, to: NexusId = B, *, unregister: bool = False, **changes: int) -> Request:
    ids = [TransportId(to.port.name, to.port.isid)]
    port = changes.get("target_port", to.target_port)
    return Request(key, new, transport_ids=ids, unregister=unregister, target_port=port)


@pytest.mark.parametrize("unregister", [False, True])
@pytest.mark.parametrize("type_", [*SINGLE, *REGISTRANTS])
def test_register_and_move(type_: int, unregister: bool) -> None:
    state = held(type_, a=7)
    assert state.register_and_move(A, move(7, 5, unregister=unregister), AROUND) == Outcome()
    assert state.registrations == ({B: 5} if unregister else {A: 7, B: 5})
    assert (state.type, state.holder, state.generation) == (type_, B, 2)


def test_register_and_move_to_the_other_port_of_the_same_initiator() -> None:
    state = held(pr.WRITE_EXCLUSIVE, a=7)
    state.register_and_move(A, move(7, 5, A2), AROUND)
    assert state.holder == A2


@pytest.mark.parametrize("type_", ALL)
def test_what_all_registrants_hold_cannot_be_moved(type_: int) -> None:
    state = held(type_, a=7)
    assert refused(lambda: state.register_and_move(A, move(7, 5), AROUND), state) is None


def test_there_must_be_a_reservation_to_move() -> None:
    state = registered(a=7)
    found = refused(lambda: state.register_and_move(A, move(7, 5), AROUND), state)
    assert found == sense.INVALID_FIELD_IN_CDB


def test_only_the_holder_moves_it() -> None:
    state = held(pr.WRITE_EXCLUSIVE, a=7, b=8)
    found = refused(lambda: state.register_and_move(B, move(8, 5, C), AROUND), state)
    assert found == sense.INVALID_FIELD_IN_CDB


@pytest.mark.parametrize(
    "request_",
    [
        move(7, 0),
        move(7, 5, A),
        move(7, 5, target_port=3),
        Request(7, 5, target_port=1),
        Request(7, 5, target_port=1, transport_ids=[TransportId("iqn.2026-11.a.b:none")]),
    ],
)
def test_where_it_cannot_be_moved(request_: Request) -> None:
    state = held(pr.WRITE_EXCLUSIVE, a=7)
    found = refused(lambda: state.register_and_move(A, request_, AROUND), state)
    assert found == sense.INVALID_FIELD_IN_PARAMETER_LIST


def test_a_copy_is_independent() -> None:
    state = held(pr.WRITE_EXCLUSIVE, a=7)
    copy = state.copy()
    copy.clear(A, Request(7))
    assert state.holds(A)
