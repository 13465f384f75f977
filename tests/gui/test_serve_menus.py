"""What the menus and keys of a served target's tabs do."""

from __future__ import annotations

from typing import Any

import pytest
from PySide6.QtCore import QPoint, QPointF, Qt
from PySide6.QtGui import QWheelEvent
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QInputDialog, QMenu

from san_console.api.serving_objects import LocalTarget
from san_console.gui.dialogs.chap_choice import ChapDialog
from san_console.gui.dialogs.initiator import InitiatorDialog
from san_console.gui.dialogs.initiator_group import GroupDialog
from san_console.gui.views.serve import ServePage
from san_console.gui.views.serve_access import AccessTab
from san_console.gui.views.serve_luns import LunsTab
from san_console.gui.views.serve_portals import PortalsTab
from san_console.gui.widgets.numbers import DecimalField, NumberField
from tests.gui.page_bench import PageBench, open_page

pytestmark = [pytest.mark.gui, pytest.mark.usefixtures("qapp")]

PROD = "iqn.2026-11.org.example:prod"
DB = "iqn.2004-10.com.example.hosts:db-1.example"


def tab_of(bench: PageBench[ServePage], name: str) -> Any:
    bench.page.details.open(name)
    bench.settle(0.5)
    return bench.page.details.current


def prod(bench: PageBench[ServePage]) -> LocalTarget:
    found = bench.host.get("local_targets", PROD)
    assert isinstance(found, LocalTarget)
    return found


def actions(part: Any) -> dict[str, Any]:
    """The part's own entries of the menu, by their words."""
    menu = QMenu(part)
    part.fill_menu(menu)
    return {one.text().split("\t")[0]: one for one in menu.actions() if one.text()}


def test_a_rule_is_removed_at_once_where_nobody_is_connected_and_can_come_back() -> None:
    with open_page(ServePage) as bench:
        tab = tab_of(bench, "access")
        assert isinstance(tab, AccessTab)
        tab.rules.table.select_id("10.20.30.0/24")
        tab.rules.remove_button.click()
        bench.settle()
        for asked in bench.dialogs():
            asked.accept_button.click()
            bench.settle()
        assert "10.20.30.0/24" not in prod(bench).initiators
        bench.window.offered[-1]()
        bench.settle()
        assert "10.20.30.0/24" in prod(bench).initiators


def test_removing_who_is_connected_asks_first() -> None:
    with open_page(ServePage) as bench:
        tab = tab_of(bench, "access")
        tab.rules.table.select_id(DB)
        tab.rules.table.delete_asked.emit()
        bench.settle()
        said = " ".join(label.text() for label in bench.dialog().findChildren(type(bench.page.title_label)))
        assert "loses db-data" in said
        bench.dialog().reject()
        assert DB in prod(bench).initiators


def test_stop_letting_anyone_in() -> None:
    with open_page(ServePage) as bench:
        tab = tab_of(bench, "access")
        tab.rules.anyone_button.click()
        bench.settle()
        for asked in bench.dialogs():
            asked.accept_button.click()
            bench.settle()
        assert "*" not in prod(bench).initiators
        assert tab.rules.anyone.text() == "may not log in"


def test_the_menus_of_access_lead_to_their_dialogs() -> None:
    with open_page(ServePage) as bench:
        tab = tab_of(bench, "access")
        tab.rules.table.select_id(DB)
        actions(tab.rules)["CHAP…"].trigger()
        assert isinstance(bench.dialog(), ChapDialog)
        assert bench.dialog().accepted_ids() == ["id-db"]
        bench.dialog().reject()
        tab.rules.add_button.click()
        assert isinstance(bench.dialog(), InitiatorDialog)
        bench.dialog().reject()
        tab.open("groups")
        actions(tab.groups)["Change…"].trigger()
        assert isinstance(bench.dialog(), GroupDialog)
        bench.dialog().reject()
        tab.groups.table.opened.emit("esx-cluster")
        assert isinstance(bench.dialog(), GroupDialog)


def test_deleting_a_group_that_is_used_names_what_is_lost() -> None:
    with open_page(ServePage) as bench:
        tab = tab_of(bench, "access")
        tab.open("groups")
        bench.settle(0.3)
        assert tab.groups.rules(prod(bench).initiator_groups[0]) == "1 LUN"
        tab.groups.table.select_id("esx-cluster")
        actions(tab.groups)["Delete…"].trigger()
        bench.settle()
        for asked in bench.dialogs():
            asked.accept_button.click()
            bench.settle()
        target = prod(bench)
        assert target.initiator_groups == []
        assert "group:esx-cluster" not in target.initiators
        assert tab.groups.model.rowCount() == 0


def test_the_state_of_a_portal_group_is_set_from_its_menu() -> None:
    with open_page(ServePage) as bench:
        tab = tab_of(bench, "portals")
        assert isinstance(tab, PortalsTab)
        tab.table.select_first()
        menu = QMenu(tab)
        tab.fill_menu(menu)
        states = next(one.menu() for one in menu.actions() if one.menu() is not None)
        assert isinstance(states, QMenu)
        chosen = next(one for one in states.actions() if one.text() == "Standby")
        chosen.trigger()
        bench.settle()
        for asked in bench.dialogs():
            asked.accept_button.click()
            bench.settle()
        assert prod(bench).portal_groups[0].access_state == "standby"


def test_the_menu_of_a_lun_offers_what_fits_its_state() -> None:
    with open_page(ServePage) as bench:
        tab = tab_of(bench, "luns")
        assert isinstance(tab, LunsTab)
        tab.table.select_id("lun-db-data")
        words = set(actions(tab))
        assert {"Change…", "Grow…"} <= words
        archive = next(one for one in bench.host.values("local_targets") if one.alias == "archive")
        bench.page.select(archive.id)
        bench.settle(0.5)
        tab.table.select_first()
        assert set(actions(tab)) != words


def test_a_click_on_a_cell_opens_its_choices_and_a_number_is_asked_for() -> None:
    with open_page(ServePage) as bench:
        view = bench.page.mapping.view
        index = view.matrix.index(0, 1)
        QTest.mouseClick(view.viewport(), Qt.MouseButton.LeftButton, pos=view.visualRect(index).center())
        menu = next(one for one in view.findChildren(QMenu) if one.isVisible())
        number = next(one for one in menu.actions() if one.text().startswith("LUN number"))
        menu.close()
        number.trigger()
        dialog = next(one for one in bench.shell.findChildren(QInputDialog) if one.isVisible())
        dialog.setIntValue(9)
        dialog.accept()
        assert index.data() == "Read-write · 9"
        view.open_menu(view.visualRect(view.matrix.index(0, 0)).center())
        menu = next(one for one in view.findChildren(QMenu) if one.isVisible())
        assert menu.actions()[0].text().startswith("Remove this initiator")
        menu.close()


@pytest.mark.parametrize("kind", [NumberField, DecimalField])
def test_the_wheel_changes_a_number_only_where_the_keyboard_is(
    kind: type[NumberField | DecimalField],
) -> None:
    field = kind()
    field.setValue(5)
    field.show()
    turn = QWheelEvent(
        QPointF(5, 5),
        QPointF(5, 5),
        QPoint(0, 0),
        QPoint(0, 120),
        Qt.MouseButton.NoButton,
        Qt.KeyboardModifier.NoModifier,
        Qt.ScrollPhase.NoScrollPhase,
        False,
    )
    QApplication.sendEvent(field, turn)
    assert field.value() == 5
    field.activateWindow()
    field.setFocus()
    QApplication.processEvents()
    if field.hasFocus():
        QApplication.sendEvent(field, turn)
        assert field.value() == 6
    field.close()
    field.deleteLater()
