"""The page Discover: sources, what changed, and the actions on both."""

from __future__ import annotations

import pytest
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest

from san_console.gui.dialogs.add_source import AddSourceDialog, AddTargetDialog
from san_console.gui.dialogs.base import Confirmation
from san_console.gui.views.discover import DiscoverPage
from tests.gui.driving import Driven

pytestmark = pytest.mark.gui

ARRAY = "10.20.0.11:3260"
PROD_VM = "iqn.2026-11.org.example:prod-vm"


def page_of(demo: Driven) -> DiscoverPage:
    page = demo.window.pages["discover"]
    assert isinstance(page, DiscoverPage)
    return page


def test_the_summary_counts_what_is_there(demo: Driven) -> None:
    text = page_of(demo).summary.text()
    assert "14 targets" in text
    assert "3 changes" in text


def test_a_source_restricts_the_targets_and_the_counts(demo: Driven) -> None:
    page = page_of(demo)
    page.sources.select_id(ARRAY)
    demo.settle()
    assert page.model.rowCount() == 5
    assert page.filter.chips["all"].text() == "All 5"
    page.filter.choose("out")
    shown = [page.model.object_at(row) for row in range(page.model.rowCount())]
    assert shown
    assert all(ARRAY in target.found_by and not target.session_ids for target in shown)


def test_a_source_that_failed_says_why_and_offers_another_try(demo: Driven) -> None:
    page = page_of(demo)
    page.sources.select_id("10.20.0.99:3260")
    demo.settle()
    assert page.problem.isVisible()
    assert "no answer" in page.problem.message.text()


def test_an_unknown_term_turns_the_filter_red_and_says_what_there_is(demo: Driven) -> None:
    page = page_of(demo)
    page.filter.line.setText("protal:10.20.")
    assert page.filter.line.property("invalid") is True
    assert "portal" in page.filter.line.toolTip()
    page.filter.line.setText("portal:10.20.0.12")
    assert page.filter.line.property("invalid") is False
    assert page.model.shown_ids() == [PROD_VM]


def test_a_portal_is_added_and_asked(demo: Driven) -> None:
    page = page_of(demo)
    page._add("sendtargets")
    dialog = page.findChild(AddSourceDialog)
    assert dialog is not None
    QTest.keyClicks(dialog.address, "not an address:::")
    dialog.accept_button.click()
    assert dialog.problem.isVisible()
    dialog.address.setText("10.7.7.7")
    dialog.accept_button.click()
    demo.run(3)
    source = demo.host.get("sources", "10.7.7.7:3260")
    assert source is not None
    assert source.state == "ok"
    assert page.sources.current_id == "10.7.7.7:3260"


def test_a_target_is_typed_in_by_hand(demo: Driven) -> None:
    dialog = AddTargetDialog(demo.window.context, demo.window)
    dialog.open()
    dialog.name.setText("IQN.2026-11.org.example:Typed")
    dialog.portals.setText("10.8.8.8, [fd00::8]:3261")
    dialog.accept_button.click()
    demo.run(1)
    target = demo.host.get("targets", "iqn.2026-11.org.example:typed")
    assert [portal.address for portal in target.portals] == ["10.8.8.8:3260", "[fd00::8]:3261"]


def test_del_asks_before_a_target_is_forgotten(demo: Driven) -> None:
    page = page_of(demo)
    page.table.select_id("eui.02004567a425678d")
    QTest.keyClick(page.table, Qt.Key.Key_Delete)
    dialog = page.findChild(Confirmation)
    assert dialog is not None
    assert dialog.cancel_button.isDefault(), "Enter alone destroys nothing"
    dialog.accept_button.click()
    demo.run(1)
    assert demo.host.get("targets", "eui.02004567a425678d") is None


def test_what_changed_can_be_acknowledged(demo: Driven) -> None:
    page = page_of(demo)
    page.table.select_id(PROD_VM)
    page._acknowledge([PROD_VM])
    demo.run(1)
    assert demo.host.get("targets", PROD_VM).change == ""
    assert "2 changes" in page.summary.text()


def test_login_settings_are_changed_by_the_user_only(demo: Driven) -> None:
    page = page_of(demo)
    page.table.select_id(PROD_VM)
    page.details.open("login")
    tab = page.details.current
    form = tab.form  # type: ignore[attr-defined]  # a LoginTab
    before = demo.host.get("targets", PROD_VM).login
    assert form.settings() == before
    form.favourite.setChecked(not before.favourite)
    tab._apply.click()  # type: ignore[attr-defined]  # a LoginTab
    demo.run(1)
    changed = demo.host.get("targets", PROD_VM).login
    assert changed.favourite is not before.favourite
    page.renew()
    demo.run(8)
    assert demo.host.get("targets", PROD_VM).login == changed
