"""The queue of unit attentions."""

from __future__ import annotations

from san_console.scsi import sense
from san_console.scsi.sense import Condition
from san_console.target.attentions import MAX_UNIT_ATTENTIONS, Attentions


def queue() -> Attentions:
    return Attentions(lambda: None)


def test_each_is_told_once_in_the_order_in_which_it_happened() -> None:
    one = queue()
    for condition in (
        sense.MODE_PARAMETERS_CHANGED,
        sense.CAPACITY_DATA_CHANGED,
        sense.MODE_PARAMETERS_CHANGED,
    ):
        one.add(condition)
    assert len(one) == 2
    assert [one.pop(), one.pop()] == [sense.MODE_PARAMETERS_CHANGED, sense.CAPACITY_DATA_CHANGED]
    assert not one


def test_resets_come_first_and_the_greater_one_says_it_all() -> None:
    one = queue()
    one.add(sense.RESERVATIONS_PREEMPTED)
    one.add(sense.NEXUS_LOSS_OCCURRED)
    one.add(sense.DEVICE_RESET_OCCURRED)
    assert list(one) == [sense.DEVICE_RESET_OCCURRED, sense.RESERVATIONS_PREEMPTED]
    one.add(sense.NEXUS_LOSS_OCCURRED)
    assert list(one) == [sense.DEVICE_RESET_OCCURRED, sense.RESERVATIONS_PREEMPTED]
    one.add(sense.POWER_ON_RESET)
    assert one.pop() == sense.POWER_ON_RESET


def test_the_listener_hears_of_the_first_and_the_last() -> None:
    heard: list[int] = []
    one = Attentions(lambda: heard.append(len(one)))
    one.add(sense.CAPACITY_DATA_CHANGED)
    one.add(sense.REPORTED_LUNS_DATA_CHANGED)
    one.discard(sense.CAPACITY_DATA_CHANGED)
    one.discard(sense.CAPACITY_DATA_CHANGED)
    one.discard(sense.REPORTED_LUNS_DATA_CHANGED)
    assert heard == [1, 0]
    one.add(sense.CAPACITY_DATA_CHANGED)
    one.pop()
    assert heard == [1, 0, 1, 0]


def test_it_is_bounded() -> None:
    one = queue()
    for number in range(MAX_UNIT_ATTENTIONS + 5):
        one.add(Condition(6, 0x80, number))
    assert len(one) == MAX_UNIT_ATTENTIONS
