from __future__ import annotations

from san_console.api.initiator_objects import LoginSettings, Target
from san_console.engine.target_merge import (
    FoundTarget,
    acknowledge,
    is_configured,
    merge_found,
    withdraw_source,
)

NAME = "iqn.2026-11.org.example:a"
P1, P2 = "10.0.0.1:3260", "10.0.0.2:3260"


def found(*portals: str, alias: str = "", tag: int | None = 1) -> FoundTarget:
    return FoundTarget(NAME, alias, [(portal, tag) for portal in portals])


def seen(*portals: str) -> Target:
    target = merge_found(None, found(*portals), "s1", 1.0)
    acknowledge(target)
    return target


def test_a_new_target_is_new_until_it_was_acknowledged() -> None:
    target = merge_found(None, found(P1, P2), "s1", 5.0)
    assert (target.change, target.first_seen_at, target.found_by) == ("new", 5.0, ["s1"])
    merge_found(target, found(P1), "s1", 6.0)
    assert (target.change, target.last_seen_at) == ("new", 6.0)
    assert acknowledge(target)
    assert target.change == ""


def test_naming_the_same_again_changes_nothing() -> None:
    target = seen(P1)
    merge_found(target, found(P1), "s1", 9.0)
    assert (target.change, target.change_note) == ("", "")


def test_portals_that_come_move_and_go_are_said() -> None:
    target = seen(P1)
    merge_found(target, found(P2), "s1", 2.0)
    assert target.change == "changed"
    assert f"portal {P2} is new" in target.change_note
    assert f"portal {P1} vanished" in target.change_note
    assert [portal.vanished for portal in target.portals] == [True, False]
    acknowledge(target)
    assert [portal.address for portal in target.portals] == [P2]
    merge_found(target, found(P2, tag=7), "s1", 3.0)
    assert "moved from group 1 to 7" in target.change_note
    assert target.portals[0].tpgt == 7
    merge_found(target, found(P2, tag=None), "s1", 4.0)
    assert target.portals[0].tpgt == 7


def test_each_source_answers_only_for_what_it_named() -> None:
    target = seen(P1)
    merge_found(target, found(P1, P2), "s2", 2.0)
    merge_found(target, found(P1), "s1", 3.0)
    by_address = {portal.address: portal.found_by for portal in target.portals}
    assert by_address == {P1: ["s1", "s2"], P2: ["s2"]}
    assert withdraw_source(target, "s2")
    assert target.found_by == ["s1"]
    assert target.portals[1].vanished
    assert not withdraw_source(target, "s2")
    assert withdraw_source(target, "s1")
    assert target.change == "vanished"


def test_a_vanished_target_leaves_the_list_unless_the_user_has_set_something() -> None:
    target = seen(P1)
    withdraw_source(target, "s1")
    assert not acknowledge(target)
    target = seen(P1)
    target.login = LoginSettings(identity_id="x")
    withdraw_source(target, "s1")
    assert acknowledge(target)
    assert target.portals
    target = seen(P1)
    target.session_ids = ["7"]
    withdraw_source(target, "s1")
    assert acknowledge(target)


def test_one_that_comes_back_is_changed_and_keeps_what_the_user_has_set() -> None:
    target = seen(P1)
    target.login = LoginSettings(favourite=True)
    withdraw_source(target, "s1")
    merge_found(target, found(P1, alias="new alias"), "s1", 9.0)
    assert target.change == "changed"
    assert "came back" in target.change_note
    assert not target.portals[0].vanished
    assert is_configured(target)
    assert target.login == LoginSettings(favourite=True)
    merge_found(target, found(P1, alias="other"), "s1", 9.0)
    assert "alias" in target.change_note
