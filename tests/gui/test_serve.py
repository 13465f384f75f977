"""The page Serve on the simulated host: the matrix, what is pending, and the tabs beside it."""

from __future__ import annotations

import pytest
from PySide6.QtCore import QModelIndex, Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QComboBox

from san_console.api.serving_objects import InitiatorAccess
from san_console.gui.dialogs.base import Confirmation
from san_console.gui.models.matrix_model import BadgeRole, InheritedRole, SubtitleRole
from san_console.gui.models.subjects import ANYONE
from san_console.gui.views.serve import ServePage
from san_console.gui.views.serve_facts import facts_of
from san_console.gui.views.serve_settings import SettingsTab
from san_console.gui.widgets.numbers import NumberField
from tests.gui.page_bench import PageBench, harmful, nameless, open_page

pytestmark = [pytest.mark.gui, pytest.mark.usefixtures("qapp")]

PROD = "iqn.2026-11.org.example:prod"
LAB = "iqn.2026-11.org.example:lab-1"
ESX = "iqn.2004-10.com.example.hosts:esx-7.example"
BACKUP = "iqn.2004-10.com.example.hosts:backup.example"
DB = "iqn.2004-10.com.example.hosts:db-1.example"


def cell(bench: PageBench[ServePage], initiator: str, lun: str) -> QModelIndex:
    model = bench.page.mapping.model
    row = model.rows.index(initiator)
    column = [one.name for one in model.luns].index(lun) + 1
    return model.index(row, column)


def plan(bench: PageBench[ServePage]) -> None:
    """Ask for the plan now, instead of waiting until the user stops clicking."""
    bench.page.mapping._ask_plan()
    bench.settle(0.3)


def mapped(bench: PageBench[ServePage], initiator: str, lun_id: str) -> tuple[int, bool] | None:
    for rule in bench.host.get("local_targets", PROD).mappings:
        if (rule.initiator, rule.lun_id) == (initiator, lun_id):
            return (rule.lun, rule.read_only)
    return None


def test_the_list_says_what_matters_of_each_target() -> None:
    with open_page(ServePage) as bench:
        tags = {entry.title: entry.tag for entry in bench.page.targets.entries()}
        assert tags == {"prod": "filling up", "lab-1": "open", "archive": "offline"}
        assert bench.page.summary.text() == PROD


def test_a_long_list_has_a_filter_and_a_short_one_has_none() -> None:
    with open_page(ServePage) as bench:
        assert not bench.page.filter.isVisible()
    with open_page(ServePage, "large") as bench:
        page = bench.page
        assert page.filter.isVisible()
        page.filter.setText("pool-0123")
        assert [entry.title for entry in page.targets.entries()] == ["Pool 123"]
        page.filter.setText("no such target")
        assert page.targets.entries() == []
        assert page.current() is None
        page.select("iqn.2026-11.org.example:pool-0007")
        bench.settle(0.3)
        assert len(page.targets.entries()) == 1000
        assert page.targets.current_id.endswith("pool-0007")


def test_names_stay_while_luns_are_scrolled() -> None:
    with open_page(ServePage, "large") as bench:
        view = bench.page.mapping.view
        assert view.names.isVisible()
        view.setCurrentIndex(view.matrix.index(150, 30))
        bench.settle(0.3)
        assert view.names.verticalScrollBar().value() == view.verticalScrollBar().value() > 0
        assert view.names.columnViewportPosition(0) == 0
        view.setCurrentIndex(view.matrix.index(150, 3))
        bench.settle(0.3)
        assert view.visualRect(view.currentIndex()).left() >= view.columnWidth(0)
    with open_page(ServePage) as bench:
        assert not bench.page.mapping.view.names.isVisible()


def test_many_initiators_have_a_filter_and_what_is_pending_stays() -> None:
    with open_page(ServePage, "large") as bench:
        tab = bench.page.mapping
        assert tab.filter_row.isVisible()
        tab.model.set_access(tab.model.index(0, 1), "read-only")
        tab.filter.setText("rack-03 node-0")
        assert 0 < len(tab.model.rows) < 20
        assert all("rack-03" in row for row in tab.model.rows)
        assert f"{len(tab.model.rows)} of 201" in tab.found.text()
        assert tab.bar.isVisible()
        tab.filter.setText("nobody")
        assert tab.empty.isVisible()
        tab.filter.clear()
        assert len(tab.model.rows) == 201
        assert tab.model.draft is not None
        assert len(tab.model.draft.changes()) == 1


def test_cells_show_access_and_number_and_can_be_heard() -> None:
    with open_page(ServePage) as bench:
        model = bench.page.mapping.model
        assert cell(bench, DB, "db-log").data() == "Read-write · 1"
        assert cell(bench, ESX, "iso").data() == "Read-only · 3"
        heard = model.data(cell(bench, ESX, "vm-store"), Qt.ItemDataRole.AccessibleTextRole)
        by_group = "nothing of its own, Read-write as LUN 0 by esx-cluster (group, 2)"
        assert heard == f"esx-7.example, vm-store: {by_group}"
        assert cell(bench, ESX, "vm-store").data(InheritedRole) == "Read-write · 0"
        assert cell(bench, DB, "vm-store").data(InheritedRole) is None
        # Number 0 of this one is taken: what anyone sees under it is hidden.
        assert cell(bench, BACKUP, "iso").data(InheritedRole) is None
        heard = model.data(cell(bench, DB, "vm-store"), Qt.ItemDataRole.AccessibleTextRole)
        assert heard == "db-1.example, vm-store: no access"
        assert model.rows[-1] == ANYONE


def test_keys_change_a_cell_and_nothing_is_written_before_apply() -> None:
    with open_page(ServePage) as bench:
        view = bench.page.mapping.view
        index = cell(bench, ESX, "vm-store")
        view.setCurrentIndex(index)
        view.setFocus()
        QTest.keyClick(view, Qt.Key.Key_Space)
        assert index.data() == "Read-only · 0"
        QTest.keyClick(view, Qt.Key.Key_W)
        assert index.data() == "Read-write · 0"
        QTest.keyClick(view, Qt.Key.Key_5)
        assert index.data() == "Read-write · 5"
        QTest.keyClick(view, Qt.Key.Key_3)
        assert index.data() == "Read-write · 5"
        assert "another LUN 3" in bench.window.said[-1][0]
        plan(bench)
        assert mapped(bench, ESX, "lun-vm-store") is None
        bar = bench.page.mapping
        assert bar.bar.isVisible()
        assert bar.bar.title.text() == "1 pending change."
        assert "gains vm-store" in bar.bar.text.text()
        assert "No session is interrupted" in bar.bar.text.text()
        QTest.keyClick(view, Qt.Key.Key_Delete)
        assert not bar.bar.isVisible()


def test_apply_then_undo_from_the_toast() -> None:
    with open_page(ServePage) as bench:
        tab = bench.page.mapping
        tab.model.set_access(cell(bench, ESX, "vm-store"), "read-write")
        plan(bench)
        tab.bar.apply_button.click()
        bench.settle()
        assert mapped(bench, ESX, "lun-vm-store") == (0, False)
        assert not tab.bar.isVisible()
        assert bench.window.said[-1][0] == "1 change applied."
        bench.window.offered[-1]()
        bench.settle()
        assert mapped(bench, ESX, "lun-vm-store") is None
        assert cell(bench, ESX, "vm-store").data() == "–"


def test_what_hits_a_session_is_reviewed_first() -> None:
    with open_page(ServePage) as bench:
        tab = bench.page.mapping
        tab.model.set_access(cell(bench, DB, "db-data"), "none")
        plan(bench)
        assert "1 session may be hit" in tab.bar.text.text()
        tab.bar.apply_button.click()
        dialog = bench.dialog()
        assert any("loses db-data" in line and "Hits now: db-1.example" in line for line in dialog.lines)
        assert dialog.cancel_button.isDefault()
        dialog.accept_button.click()
        bench.settle()
        assert mapped(bench, DB, "lun-db-data") is None
        assert bench.dialogs() == []


def test_pending_changes_wait_while_another_target_is_looked_at() -> None:
    with open_page(ServePage) as bench:
        tab = bench.page.mapping
        tab.model.set_access(cell(bench, ESX, "vm-store"), "read-write")
        bench.page.select(LAB)
        bench.settle(0.3)
        assert not tab.bar.isVisible()
        bench.page.select(PROD)
        bench.settle(0.3)
        assert tab.bar.isVisible()
        tab.bar.discard_button.click()
        assert not tab.bar.isVisible()


def test_who_sees_what_and_shared_writers() -> None:
    with open_page(ServePage) as bench:
        tab = bench.page.mapping
        tab.view.setCurrentIndex(cell(bench, ESX, "vm-store"))
        tab.model.cycle(cell(bench, ESX, "vm-store"))
        shown = " ".join(label.text() for label in tab.who.lines._values)
        assert "esx-7.example from fd00::77 sees LUN 0 vm-store (read-only, pending), LUN 3 iso" in shown
        assert "vm-store can be written by esx-cluster (group, 2)" in shown
        tab.view.setCurrentIndex(cell(bench, DB, "iso"))
        shown = " ".join(label.text() for label in tab.who.lines._values)
        assert "iso is read-only for db-1.example, db-2.example, esx-7.example and 2 more" in shown
        tab.model.set_access(cell(bench, DB, "db-log"), "read-only")
        tab.view.setCurrentIndex(cell(bench, DB, "db-log"))
        shown = " ".join(label.text() for label in tab.who.lines._values)
        assert "db-log is read-write for one initiator only: no shared writers." in shown
        tab.view.setCurrentIndex(cell(bench, DB, "db-data"))
        shown = " ".join(label.text() for label in tab.who.lines._values)
        assert "db-data can be written by db-1.example and db-2.example" in shown


def test_a_row_may_mean_many_and_says_how_many_are_connected() -> None:
    with open_page(ServePage) as bench:
        target = bench.host.get("local_targets", PROD)
        access = [
            *target.access,
            InitiatorAccess(subject="10.20.0.0/16"),
            InitiatorAccess(subject="group:esx-cluster"),
            InitiatorAccess(subject="iqn.2004-10.com.example.hosts:db-*"),
        ]
        bench.backend.world.change("local_targets", PROD, access=access)
        bench.settle()
        model = bench.page.mapping.model
        shown = {
            row: (model.index(number, 0).data(), model.index(number, 0).data(SubtitleRole))
            for number, row in enumerate(model.rows)
        }
        assert shown["10.20.0.0/16"] == ("10.20.0.0/16", "2 connected")
        assert shown["group:esx-cluster"] == ("esx-cluster (group, 2)", "1 connected")
        assert shown["iqn.2004-10.com.example.hosts:db-*"] == ("db-*", "2 connected")
        assert shown[ESX] == ("esx-7.example", "connected")
        assert shown[ANYONE] == ("Anyone", "every other initiator")
        assert model.rows[-1] == ANYONE


def test_anyone_is_a_row_that_cannot_be_overlooked() -> None:
    with open_page(ServePage) as bench:
        bench.page.select(LAB)
        bench.settle(0.3)
        model = bench.page.mapping.model
        index = model.index(model.rows.index(ANYONE), 0)
        assert index.data(BadgeRole) == ("no proof asked", "bad")
        assert "no proof asked" in index.data(Qt.ItemDataRole.AccessibleTextRole)
        facts = {
            pair.name: (pair.value, pair.tone) for pair in facts_of(bench.host.get("local_targets", LAB))
        }
        assert facts["Access"] == ("anyone may log in", "bad")


def test_the_menu_of_a_cell_offers_what_is_possible() -> None:
    with open_page(ServePage) as bench:
        view = bench.page.mapping.view
        actions = {
            one.text().split("\t")[0]: one for one in view.cell_menu(cell(bench, ESX, "iso")).actions()
        }
        assert not actions["Read-write"].isEnabled()
        assert actions["Read-only"].isChecked()
        actions["No access"].trigger()
        assert cell(bench, ESX, "iso").data() == "–"


def test_an_initiator_is_added_and_taken_out() -> None:
    with open_page(ServePage) as bench:
        bench.page.initiator_button.click()
        dialog = bench.dialog()
        dialog.line.setText("iqn.bad name")
        assert not dialog.accept_button.isEnabled()
        dialog.line.setText(DB)
        assert "already" in dialog._hint.text()
        dialog.line.setText("10.20.0.0/16")
        assert "comes from 10.20.0.0/16. Connected now: 2." in dialog._hint.text()
        dialog.line.setText("10.20.0.1/16")
        assert "the network is 10.20.0.0/16" in dialog._hint.text()
        dialog.line.setText("group:nobody")
        assert "no group nobody" in dialog._hint.text()
        dialog.line.setText("iqn.2004-10.com.example.hosts:NEW")
        assert "hosts:new" in dialog._hint.text()
        dialog.accept_button.click()
        bench.settle()
        name = "iqn.2004-10.com.example.hosts:new"
        assert name in bench.page.mapping.model.rows
        bench.page.mapping.view.remove_asked.emit(name)
        bench.settle()
        assert name not in bench.host.get("local_targets", PROD).initiators
        bench.page.mapping.view.remove_asked.emit(DB)
        bench.settle()
        question = bench.dialog()
        assert isinstance(question, Confirmation)
        question.reject()
        assert DB in bench.host.get("local_targets", PROD).initiators


def test_an_initiator_is_picked_from_those_connected_now() -> None:
    with open_page(ServePage) as bench:
        target = bench.host.get("local_targets", PROD)
        rows = [row for row in target.access if not row.subject.startswith("group:")]
        rules = [rule for rule in target.mappings if not rule.initiator.startswith("group:")]
        bench.backend.world.change("local_targets", PROD, access=rows, mappings=rules)
        bench.settle()
        bench.page.initiator_button.click()
        dialog = bench.dialog()
        offered = [dialog.choices.list.item(row).text() for row in range(len(dialog.choices))]
        assert any("backup.example" not in one and "127.0.0.1" in one for one in offered)
        assert any(one.startswith("group:esx-cluster") for one in offered)
        assert not any(DB in one for one in offered)
        dialog.choices.list.itemActivated.emit(dialog.choices.list.item(0))
        assert dialog.accept_button.isEnabled()
        dialog.accept_button.click()
        bench.settle()
        assert len(bench.host.get("local_targets", PROD).access) == 6


def test_settings_are_applied_and_reverted() -> None:
    with open_page(ServePage) as bench:
        bench.page.details.open("settings")
        bench.settle()
        tab = bench.page.details.current
        assert isinstance(tab, SettingsTab)
        assert not tab.apply_button.isEnabled()
        tab.alias.setText("production")
        tab.servers["127.0.0.1:3205"].setChecked(True)
        assert tab.apply_button.isEnabled()
        tab.revert_button.click()
        assert not tab.servers["127.0.0.1:3205"].isChecked()
        assert tab.alias.text() == "prod"
        tab.alias.setText("production")
        tab.apply_button.click()
        bench.settle()
        target = bench.host.get("local_targets", PROD)
        assert target.alias == "production"
        assert target.identity_ids == ["id-db", "id-esx-lab"]
        assert not tab.apply_button.isEnabled()


def settings_tab(bench: PageBench[ServePage]) -> SettingsTab:
    bench.page.details.open("settings")
    bench.settle()
    tab = bench.page.details.current
    assert isinstance(tab, SettingsTab)
    return tab


def test_limits_are_marked_reverted_and_applied() -> None:
    with open_page(ServePage) as bench:
        tab = settings_tab(bench)
        fields = tab.limits
        connections = fields.fields["max_connections"]
        assert isinstance(connections, NumberField)
        assert fields._marks["max_connections"].text() == "Set to another value than usual."
        assert "RFC: 1, here: 8." in fields._notes["max_connections"].text()
        connections.setValue(2)
        assert fields._marks["max_connections"].text() == "Not applied yet, it is 4."
        assert "1 changed limit" in tab.state.text()
        fields._reverts["max_connections"].click()
        assert connections.value() == 4
        assert not tab.apply_button.isEnabled()
        fields._reverts["max_connections"].click()
        assert connections.value() == 8
        digest = fields.fields["data_digest"]
        assert isinstance(digest, QComboBox)
        digest.setCurrentIndex(digest.findData("require"))
        tab.apply_button.click()
        bench.settle()
        limits = bench.host.get("local_targets", PROD).limits
        assert (limits.max_connections, limits.data_digest, limits.header_digest) == (8, "require", "prefer")
        assert not tab.apply_button.isEnabled()
        assert fields._marks["max_connections"].isHidden()


def test_limits_that_cannot_be_are_not_applied() -> None:
    with open_page(ServePage) as bench:
        tab = settings_tab(bench)
        burst = tab.limits.fields["max_burst_bytes"]
        assert isinstance(burst, NumberField)
        burst.setValue(65536)
        assert "first burst" in tab.state.text()
        assert not tab.apply_button.isEnabled()


def test_deleting_names_the_sessions_that_it_hits() -> None:
    with open_page(ServePage) as bench:
        bench.page.targets.delete_asked.emit()
        dialog = bench.dialog()
        labels = " ".join(label.text() for label in dialog.findChildren(type(bench.page.title_label)))
        assert DB in labels
        assert "stay as they are" in labels
        dialog.accept_button.click()
        bench.settle()
        assert bench.host.get("local_targets", PROD) is None


def test_a_target_in_memory_is_deleted_only_by_typing_its_name() -> None:
    with open_page(ServePage) as bench:
        bench.page.select(LAB)
        bench.settle()
        bench.page.delete()
        dialog = bench.dialog()
        assert not dialog.accept_button.isEnabled()
        dialog.typed.setText("lab-1")
        dialog.accept_button.click()
        bench.settle()
        assert bench.host.get("local_targets", LAB) is None


def test_stop_and_serve_again() -> None:
    with open_page(ServePage) as bench:
        stop = next(one for one in bench.page.target_menu().actions() if "Stop" in one.text())
        stop.trigger()
        bench.dialog().accept_button.click()
        bench.settle()
        assert bench.host.get("local_targets", PROD).state == "stopped"
        again = next(one for one in bench.page.target_menu().actions() if "again" in one.text())
        again.trigger()
        bench.settle()
        assert bench.host.get("local_targets", PROD).state == "serving"


@pytest.mark.parametrize("scenario", ["demo", "empty", "hostile"])
@pytest.mark.parametrize("tab", ["mapping", "luns", "portals", "sessions", "access", "settings"])
def test_every_control_has_a_name_and_no_text_acts(scenario: str, tab: str) -> None:
    with open_page(ServePage, scenario) as bench:
        bench.page.details.open(tab)
        bench.settle(0.5)
        assert nameless(bench.shell) == []
        assert harmful(bench.shell) == []


def test_typing_in_the_settings_is_not_disturbed_by_what_happens() -> None:
    with open_page(ServePage) as bench:
        bench.page.details.open("settings")
        bench.settle()
        tab = bench.page.details.current
        assert isinstance(tab, SettingsTab)
        box = tab.servers["127.0.0.1:3205"]
        tab.alias.setText("half typ")
        bench.backend.world.change("target_sessions", "t3", luns=[0])
        bench.backend.world.change("local_targets", PROD, state="failed")
        bench.settle()
        assert tab.alias.text() == "half typ"
        assert tab.servers["127.0.0.1:3205"] is box
        tab.revert_button.click()
        box = tab.servers["127.0.0.1:3205"]
        bench.backend.world.change("target_sessions", "t3", luns=[3])
        bench.settle()
        assert tab.servers["127.0.0.1:3205"] is box


def test_dialogs_have_names_and_no_text_acts() -> None:
    with open_page(ServePage, "hostile") as bench:
        bench.page.targets.setCurrentRow(3)
        bench.settle(0.5)
        for act in (bench.page.add_lun, bench.page.add_initiator, bench.page.delete):
            act()
            dialog = bench.dialog()
            assert nameless(dialog) == []
            assert harmful(dialog) == []
            dialog.reject()
            bench.settle(0.3)
