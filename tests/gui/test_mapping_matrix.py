"""Drafts of mappings: what is pending, undone, numbered, and put on top of a newer state."""

from __future__ import annotations

import msgspec
import pytest

from san_console.api.serving_objects import InitiatorAccess, InitiatorGroup, LocalLun, LocalTarget, Mapping
from san_console.gui.models.mapping_matrix import MAX_LUN, MappingDraft, access_of

DB, ESX = "iqn.2004-10.com.example:db", "iqn.2004-10.com.example:esx"


@pytest.fixture
def target() -> LocalTarget:
    return LocalTarget(
        id="iqn.2026-11.org.example:t",
        luns=[
            LocalLun(id="a", name="data", kind="memory", size_bytes=4096),
            LocalLun(id="b", name="log", kind="memory", size_bytes=4096),
            LocalLun(id="c", name="iso", kind="file", path="/iso", read_only=True),
        ],
        access=[InitiatorAccess(subject=name) for name in (DB, "*", ESX)],
        mappings=[Mapping(initiator=DB, lun_id="a", lun=0), Mapping(initiator="*", lun_id="c", lun=0)],
    )


def test_anyone_is_the_last_row(target: LocalTarget) -> None:
    assert MappingDraft(target).initiators == [DB, ESX, "*"]


def test_a_cell_cycles_and_nothing_is_pending_when_it_is_back(target: LocalTarget) -> None:
    draft = MappingDraft(target)
    assert draft.cycle(ESX, "a")
    assert access_of(draft.mapping(ESX, "a")) == "read-only"
    assert draft.pending(ESX, "a")
    draft.cycle(ESX, "a")
    assert access_of(draft.mapping(ESX, "a")) == "read-write"
    draft.cycle(ESX, "a")
    assert draft.mapping(ESX, "a") is None
    assert not draft.changes()


def test_a_read_only_lun_never_becomes_writable(target: LocalTarget) -> None:
    draft = MappingDraft(target)
    draft.set_access(ESX, "c", "read-write")
    assert access_of(draft.mapping(ESX, "c")) == "read-only"
    draft.cycle(ESX, "c")
    assert draft.mapping(ESX, "c") is None


def test_the_number_is_the_usual_one_of_the_lun_or_the_lowest_free(target: LocalTarget) -> None:
    draft = MappingDraft(target)
    draft.set_access(ESX, "a", "read-write")
    draft.set_access(ESX, "b", "read-write")
    draft.set_access(DB, "b", "read-write")
    assert [draft.mapping(ESX, lun).lun for lun in ("a", "b")] == [0, 1]  # type: ignore[union-attr]  # mapped above
    assert draft.mapping(DB, "b").lun == 1  # type: ignore[union-attr]  # mapped above


def test_a_cell_that_comes_back_has_its_old_number(target: LocalTarget) -> None:
    draft = MappingDraft(msgspec.structs.replace(target, mappings=[Mapping(initiator=DB, lun_id="a", lun=7)]))
    draft.set_access(DB, "a", "none")
    draft.set_access(DB, "a", "read-write")
    assert not draft.changes()


@pytest.mark.parametrize(("number", "word"), [(0, "another LUN 0"), (-1, "0 to"), (MAX_LUN + 1, "0 to")])
def test_numbers_that_cannot_be_are_refused(target: LocalTarget, number: int, word: str) -> None:
    draft = MappingDraft(target)
    draft.set_access(DB, "b", "read-only")
    with pytest.raises(ValueError, match=word):
        draft.set_number(DB, "b", number)


def test_undo_and_redo_go_back_and_forth(target: LocalTarget) -> None:
    draft = MappingDraft(target)
    draft.set_access(ESX, "a", "read-write")
    draft.set_number(ESX, "a", 5)
    assert draft.undo()
    assert draft.mapping(ESX, "a").lun == 0  # type: ignore[union-attr]  # mapped above
    assert draft.undo()
    assert not draft.undo()
    assert not draft.changes()
    assert draft.redo()
    assert draft.redo()
    assert not draft.redo()
    assert draft.mapping(ESX, "a").lun == 5  # type: ignore[union-attr]  # mapped above


def test_what_is_pending_survives_a_newer_state_as_far_as_it_can(target: LocalTarget) -> None:
    draft = MappingDraft(target)
    draft.set_access(ESX, "a", "read-write")
    draft.set_access(ESX, "b", "read-only")
    newer = msgspec.structs.replace(target, luns=target.luns[:1], alias="new")
    draft.rebase(newer)
    assert [edit.cell for edit in draft.changes()] == [(ESX, "a")]
    assert draft.target().alias == "new"
    draft.rebase(draft.target())
    assert not draft.changes()


def test_each_lun_and_each_number_goes_to_the_most_specific_row(target: LocalTarget) -> None:
    draft = MappingDraft(target)
    assert [rule.lun_id for rule in draft.seen_by(ESX)] == ["c"]
    draft.set_access(ESX, "a", "read-only")
    # Number 0 is taken by its own row.
    assert [rule.lun_id for rule in draft.seen_by(ESX)] == ["a"]
    draft.set_number(ESX, "a", 4)
    assert [(rule.initiator, rule.lun) for rule in draft.seen_by(ESX)] == [("*", 0), (ESX, 4)]


def test_what_a_network_sees_depends_on_where_it_comes_from(target: LocalTarget) -> None:
    rows = [*target.access, InitiatorAccess(subject="10.0.0.0/8"), InitiatorAccess(subject="group:hosts")]
    groups = [InitiatorGroup(name="hosts", members=[ESX])]
    draft = MappingDraft(msgspec.structs.replace(target, access=rows, initiator_groups=groups))
    draft.set_access("10.0.0.0/8", "b", "read-write")
    draft.set_number("10.0.0.0/8", "b", 1)
    draft.set_access("group:hosts", "a", "read-only")
    assert [rule.lun_id for rule in draft.seen_by(ESX, "10.1.2.3")] == ["a", "b"]
    assert [rule.lun_id for rule in draft.seen_by(ESX, "fd00::1")] == ["a"]
    assert [rule.lun_id for rule in draft.seen_by("10.0.0.0/8")] == ["c", "b"]
    assert draft.shared("b")
    assert draft.holders("a") == ([DB], ["group:hosts"])


def test_writers_are_counted_for_luns_that_can_be_written(target: LocalTarget) -> None:
    draft = MappingDraft(target)
    draft.set_access(ESX, "a", "read-write")
    assert draft.writers("a") == [DB, ESX]
    assert draft.writers("c") == []
