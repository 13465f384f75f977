"""The tab Access of a served target: who may log in, groups, and who sees what."""

from __future__ import annotations

import msgspec
import pytest

from san_console.api.serving_objects import InitiatorAccess, InitiatorGroup, LocalTarget, Mapping
from san_console.gui.dialogs.initiator_group import read_members
from san_console.gui.models.access_rows import (
    access_rows,
    with_group,
    with_row_chap,
    without_group,
    without_subject,
)
from san_console.gui.views.serve import ServePage
from san_console.gui.views.serve_access import AccessTab
from tests.gui.page_bench import PageBench, harmful, nameless, open_page

pytestmark = [pytest.mark.gui, pytest.mark.usefixtures("qapp")]

PROD = "iqn.2026-11.org.example:prod"
LAB = "iqn.2026-11.org.example:lab-1"
DB = "iqn.2004-10.com.example.hosts:db-1.example"
ESX = "iqn.2004-10.com.example.hosts:esx-7.example"


def access_tab(bench: PageBench[ServePage], part: str = "rules") -> AccessTab:
    bench.page.details.open("access")
    tab = bench.page.details.current
    assert isinstance(tab, AccessTab)
    tab.open(part)
    bench.settle()
    return tab


def target(bench: PageBench[ServePage]) -> LocalTarget:
    found = bench.host.get("local_targets", PROD)
    assert isinstance(found, LocalTarget)
    return found


@pytest.fixture
def grouped() -> LocalTarget:
    return LocalTarget(
        id=PROD,
        initiator_groups=[InitiatorGroup(name="a", members=[DB])],
        access=[InitiatorAccess(subject="group:a", identity_ids=["x"]), InitiatorAccess(subject="*")],
        mappings=[
            Mapping(initiator="group:a", lun_id="l", lun=0),
            Mapping(initiator=DB, lun_id="l", lun=1),
        ],
        identity_ids=["t"],
        mutual_identity_id="m",
    )


def test_rows_show_what_holds_for_them(grouped: LocalTarget) -> None:
    rows = [(row.subject, row.own, row.identity_ids, row.luns) for row in access_rows(grouped, [])]
    assert rows == [("*", False, ("t",), 0), ("group:a", True, ("x",), 1), (DB, False, ("t",), 1)]


def test_a_new_name_of_a_group_is_followed_by_its_rules(grouped: LocalTarget) -> None:
    new = with_group(grouped, "a", InitiatorGroup(name="b", members=[DB, ESX]))
    assert [group.name for group in new.initiator_groups] == ["b"]
    assert new.initiators == ["group:b", "*", DB]
    assert new.access[0].identity_ids == ["x"]
    assert with_group(grouped, "", InitiatorGroup(name="c")).initiators == grouped.initiators
    assert without_group(new, "b").initiators == ["*", DB]


def test_a_row_that_only_a_mapping_made_becomes_one_of_its_own(grouped: LocalTarget) -> None:
    new = with_row_chap(grouped, DB, ["y"], "m")
    assert new.access[-1] == InitiatorAccess(subject=DB, identity_ids=["y"], mutual_identity_id="m")
    assert with_row_chap(new, DB, [], "").access[-1].identity_ids == []
    assert without_subject(new, DB).initiators == ["group:a", "*"]


def test_members_are_checked_line_by_line() -> None:
    assert read_members(f"{DB.upper()}\n\n 10.0.0.0/8 \n{DB}") == [DB, "10.0.0.0/8"]
    with pytest.raises(ValueError, match="Line 2: "):
        read_members("10.0.0.0/8\nnothing")
    with pytest.raises(ValueError, match="no groups"):
        read_members("group:a")


def test_chap_of_a_row_is_set_and_undone() -> None:
    with open_page(ServePage) as bench:
        tab = access_tab(bench)
        tab.rules.table.select_id(ESX)
        tab.rules.chap_button.click()
        dialog = bench.dialog()
        assert "As the target" not in dialog._hint.text()
        dialog.mutual.setCurrentIndex(dialog.mutual.findData("id-prod-array"))
        assert not dialog.accept_button.isEnabled()
        dialog.boxes["id-prod-array"].setChecked(True)
        assert "same secret" in dialog._hint.text()
        dialog.boxes["id-prod-array"].setChecked(False)
        dialog.boxes["id-esx-lab"].setChecked(True)
        assert not dialog.boxes["id-old"].isEnabled()
        dialog.accept_button.click()
        bench.settle()
        assert bench.dialogs() == []
        row = next(one for one in target(bench).access if one.subject == ESX)
        assert (row.identity_ids, row.mutual_identity_id) == (["id-esx-lab"], "id-prod-array")
        bench.window.offered[-1]()
        bench.settle()
        assert next(one for one in target(bench).access if one.subject == ESX).identity_ids == []


def test_chap_of_the_target_and_of_discovery() -> None:
    with open_page(ServePage) as bench:
        tab = access_tab(bench)
        tab.rules.default_button.click()
        dialog = bench.dialog()
        for box in dialog.boxes.values():
            box.setChecked(False)
        assert "itself only to" in dialog._hint.text()
        dialog.mutual.setCurrentIndex(0)
        assert "without any proof" in dialog._hint.text()
        dialog.accept_button.click()
        bench.settle()
        assert target(bench).identity_ids == []
        assert "without any proof" in tab.rules.anyone.text()
        tab.rules.discovery_button.click()
        dialog = bench.dialog()
        dialog.boxes["id-discovery"].setChecked(False)
        dialog.boxes["id-backup"].setChecked(True)
        dialog.accept_button.click()
        bench.settle()
        assert bench.host.engine is not None
        assert bench.host.engine.discovery_identity_ids == ["id-backup"]
        assert tab.rules.discovery_chap.text() == "backup"
        bench.window.offered[-1]()
        bench.settle()
        assert bench.host.engine.discovery_identity_ids == ["id-discovery"]


def test_anyone_is_let_in_only_after_a_warning() -> None:
    with open_page(ServePage) as bench:
        tab = access_tab(bench)
        bench.backend.world.change(
            "local_targets",
            PROD,
            access=target(bench).access[:-1],
            mappings=target(bench).mappings[:-1],
            identity_ids=[],
        )
        bench.settle()
        assert tab.rules.anyone.text() == "may not log in"
        tab.rules.anyone_button.click()
        bench.settle()
        dialog = bench.dialog()
        said = " ".join(label.text() for label in dialog.findChildren(type(bench.page.title_label)))
        assert "asks for no CHAP" in said
        assert dialog.cancel_button.isDefault()
        assert "*" not in target(bench).initiators
        dialog.accept_button.click()
        bench.settle()
        assert "*" in target(bench).initiators
        assert tab.rules.anyone.property("tone") == "bad"


def test_a_group_is_made_renamed_and_deleted() -> None:
    with open_page(ServePage) as bench:
        tab = access_tab(bench, "groups")
        tab.groups.new_button.click()
        dialog = bench.dialog()
        dialog.name.setText("esx-cluster")
        assert "already" in dialog._hint.text()
        assert not dialog.accept_button.isEnabled()
        dialog.name.setText("databases")
        dialog.choices.picked.emit(DB)
        dialog.choices.picked.emit(DB)
        assert dialog.members.toPlainText() == DB
        assert "connected now: 1" in dialog._hint.text()
        dialog.accept_button.click()
        bench.settle()
        assert bench.dialogs() == []
        assert target(bench).initiator_groups[-1] == InitiatorGroup(name="databases", members=[DB])
        tab.groups.table.select_id("databases")
        tab.groups.change_button.click()
        dialog = bench.dialog()
        dialog.name.setText("dbs")
        dialog.accept_button.click()
        bench.settle()
        assert [group.name for group in target(bench).initiator_groups] == ["esx-cluster", "dbs"]
        assert tab.chips["groups"].text() == "Groups 2"
        tab.groups.table.select_id("dbs")
        tab.groups.delete_button.click()
        bench.settle()
        assert [group.name for group in target(bench).initiator_groups] == ["esx-cluster"]


def test_who_sees_what_is_asked_of_the_engine() -> None:
    with open_page(ServePage) as bench:
        tab = access_tab(bench, "effective")
        part = tab.effective
        part.initiator.setCurrentText("iqn.2004-10.com.example:stranger")
        part.ask()
        bench.settle()
        rows = [(row.number, row.name) for row in part.model.objects()]
        assert rows == [(0, "iso"), (None, "db-data"), (None, "db-log"), (None, "vm-store")]
        assert part.verdict.text() == "may log in"
        part.initiator.setCurrentText(DB)
        assert part.address.text() == "10.20.0.71"
        part.ask()
        bench.settle()
        assert [row.number for row in part.model.objects()][:3] == [0, 1, 3]
        assert "lets" in part.why.text()


def test_who_is_refused_is_told_why() -> None:
    with open_page(ServePage) as bench:
        tab = access_tab(bench, "effective")
        world = bench.backend.world
        rows = [row for row in target(bench).access if row.subject != "*"]
        rules = [rule for rule in target(bench).mappings if rule.initiator != "*"]
        world.change("local_targets", PROD, access=rows, mappings=rules)
        bench.settle()
        tab.effective.initiator.setCurrentText("iqn.2004-10.com.example:stranger")
        tab.effective.ask()
        bench.settle()
        assert tab.effective.verdict.text() == "refused"
        assert "No rule of the target means" in tab.effective.why.text()
        assert tab.effective.empty.title.text() == "It may not log in"
        tab.effective.initiator.setCurrentText("")
        tab.effective.ask()
        assert tab.effective.why.text() == ""


@pytest.mark.parametrize("scenario", ["demo", "hostile", "large"])
@pytest.mark.parametrize("part", ["rules", "groups", "effective"])
def test_every_part_has_names_and_no_text_acts(scenario: str, part: str) -> None:
    with open_page(ServePage, scenario) as bench:
        access_tab(bench, part)
        assert nameless(bench.shell) == []
        assert harmful(bench.shell) == []


def test_hostile_names_of_groups_are_shown_as_text() -> None:
    with open_page(ServePage) as bench:
        group = InitiatorGroup(name="<b>x</b>\u202e", members=["10.0.0.0/8"])
        bench.backend.world.change("local_targets", PROD, initiator_groups=[group])
        tab = access_tab(bench, "groups")
        assert harmful(bench.shell) == []
        tab.groups.change_button.click()
        assert harmful(bench.dialog()) == []


def test_a_change_of_the_engine_is_shown_at_once() -> None:
    with open_page(ServePage) as bench:
        tab = access_tab(bench)
        changed = msgspec.structs.replace(target(bench), access=[InitiatorAccess(subject="10.0.0.0/8")])
        bench.backend.world.put("local_targets", changed)
        bench.settle()
        assert "10.0.0.0/8" in [row.subject for row in tab.rules.model.objects()]
