"""The page Targets on the simulated host: log in, test, log out, forget, settings, history."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QWidget

from san_console.api.initiator_objects import DigestPolicy, LoginSettings, Target
from san_console.api.methods import SetLogin
from san_console.gui.dialogs.login_trial import LoginTrialDialog, digest_words
from san_console.gui.theme.theme import ThemeMode
from san_console.gui.views.target_details import LoginTab
from san_console.gui.views.targets import TargetsPage
from san_console.gui.views.timeline_tab import TimelineTab
from tests.gui.page_bench import PageBench, harmful, nameless, open_page

pytestmark = [pytest.mark.gui, pytest.mark.usefixtures("qapp")]

PREFIX = "iqn.2026-11.org.example:"
TABS = ("sessions", "luns", "portals", "login", "changes", "history")


@pytest.fixture
def bench() -> Iterator[PageBench[TargetsPage]]:
    with open_page(TargetsPage) as opened:
        yield opened


def cell(page: TargetsPage, target: str, column: str) -> str:
    numbers = {known.key: number for number, known in enumerate(page.model.columns)}
    return str(page.model.index(page.model.row_of(target), numbers[column]).data())


def by_hand(bench: PageBench[TargetsPage], name: str, portal: str) -> str:
    """A target that is on the page without a session."""
    page = bench.page
    page.add.click()
    dialog = bench.dialog()
    dialog.name.setText(name)
    dialog.portals.setText(portal)
    dialog.accept_button.click()
    bench.settle()
    assert not bench.dialogs()
    page.select(name)
    return name


def test_rows_show_state_reach_and_log_in_settings(bench: PageBench[TargetsPage]) -> None:
    page = bench.page
    assert cell(page, PREFIX + "prod-vm", "state") == "Degraded"
    assert cell(page, PREFIX + "prod-vm", "chap") == "esx-lab, mutual"
    assert cell(page, PREFIX + "prod-vm", "digests") == "header"
    assert cell(page, PREFIX + "old-array", "state") == "Not logged in"
    assert cell(page, PREFIX + "old-array", "favourite") == "yes"
    assert PREFIX + "mail" not in page.model.shown_ids()


def test_a_target_by_hand_is_logged_in_to_as_set_without_a_panel(bench: PageBench[TargetsPage]) -> None:
    page = bench.page
    name = by_hand(bench, PREFIX + "hand", "10.9.9.1")
    page.log_in.click()
    bench.settle(2)
    assert cell(page, name, "state") == "Logged in"
    assert not page.log_in.isVisible()
    assert page.log_out.isVisible()
    assert not [gone for gone in bench.window.gone if gone[0] == "quick_connect"]
    bench.window.offered[-1]()
    assert bench.window.gone[-1][0] == "sessions"


def test_a_target_that_asks_for_chap_opens_the_panel(bench: PageBench[TargetsPage]) -> None:
    page = bench.page
    wish = LoginSettings(favourite=True)
    bench.host.call("targets.set_login", SetLogin(name=PREFIX + "mail", login=wish))
    bench.settle()
    page.select(PREFIX + "mail")
    page.log_in.click()
    assert bench.window.gone[-1] == ("quick_connect", PREFIX + "mail")


def test_a_log_in_that_fails_says_what_to_check(bench: PageBench[TargetsPage]) -> None:
    page = bench.page
    by_hand(bench, PREFIX + "dead", "10.9.9.99")
    page.log_in.click()
    bench.settle(8)
    text, tone = bench.window.said[-1]
    assert tone == "bad"
    assert "10.9.9.99" in text or "answer" in text


def test_log_out_names_what_it_hits(bench: PageBench[TargetsPage]) -> None:
    page = bench.page
    page.select(PREFIX + "prod-db")
    page.log_out.click()
    dialog = bench.dialog()
    assert dialog.accept_button.text() == "Log out 2 sessions"
    dialog.accept_button.click()
    bench.settle()
    assert cell(page, PREFIX + "prod-db", "state") == "Not logged in"


def test_the_log_in_is_tested_inside_a_dialog(bench: PageBench[TargetsPage]) -> None:
    page = bench.page
    by_hand(bench, PREFIX + "hand", "10.9.9.1, 10.9.9.99")
    page.test.click()
    dialog = bench.dialog()
    assert isinstance(dialog, LoginTrialDialog)
    dialog.portal.setCurrentIndex(0)
    dialog.accept_button.click()
    assert dialog.accept_button.text() == "Testing…"
    bench.settle(2)
    assert dialog.outcome.isVisible()
    assert "It works" in dialog.outcome.message.text()
    dialog.portal.setCurrentIndex(1)
    dialog.accept_button.click()
    bench.settle(2)
    assert dialog.problem.isVisible()
    assert not dialog.outcome.isVisible()
    assert not bench.host.get("targets", PREFIX + "hand").session_ids


def test_forget_says_what_is_lost(bench: PageBench[TargetsPage]) -> None:
    page = bench.page
    page.select(PREFIX + "old-array")
    QTest.keyClick(page.table, Qt.Key.Key_Delete)
    dialog = bench.dialog()
    said = "\n".join(label.text() for label in dialog.findChildren(QWidget) if hasattr(label, "text"))
    assert "no longer logs in by itself" in said
    dialog.accept_button.click()
    bench.settle()
    assert bench.host.get("targets", PREFIX + "old-array") is None


def test_a_target_in_use_is_not_forgotten(bench: PageBench[TargetsPage]) -> None:
    page = bench.page
    page.select(PREFIX + "prod-db")
    assert not page.forget.isVisible()
    QTest.keyClick(page.table, Qt.Key.Key_Delete)
    assert not bench.dialogs()
    assert bench.window.said[-1][1] == "warning"


def test_settings_are_applied_and_reverted(bench: PageBench[TargetsPage]) -> None:
    page = bench.page
    page.select(PREFIX + "old-array")
    page.details.open("login")
    tab = page.details.current
    assert isinstance(tab, LoginTab)
    tab.form.favourite.setChecked(False)
    tab._revert.click()
    assert tab.form.favourite.isChecked()
    tab.form.identity.choose("id-backup")
    tab._apply.click()
    bench.settle()
    assert bench.host.get("targets", PREFIX + "old-array").login.identity_id == "id-backup"
    assert cell(page, PREFIX + "old-array", "chap") == "backup"


def test_the_history_holds_the_sessions_too_also_after_log_out(bench: PageBench[TargetsPage]) -> None:
    page = bench.page
    page.select(PREFIX + "prod-vm")
    page.details.open("history")
    bench.settle()
    tab = page.details.current
    assert isinstance(tab, TimelineTab)
    assert {"target_changed", "connection_lost"} <= {event.kind for event in tab.model.events}
    page.log_out.click()
    bench.dialog().accept_button.click()
    bench.settle()
    assert {"logout", "connection_lost"} <= {event.kind for event in tab.model.events}


def test_digests_in_words() -> None:
    def target(header: DigestPolicy, data: DigestPolicy) -> Target:
        login = LoginSettings(header_digest=header, data_digest=data)
        return Target(id=PREFIX + "x", login=login)

    assert digest_words(target("none", "none")) == "none"
    assert digest_words(target("require", "prefer")) == "header required + data"


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_hostile_texts_are_shown_as_text(theme: ThemeMode) -> None:
    with open_page(TargetsPage, "hostile", theme=theme) as bench:
        page = bench.page
        for tab in TABS:
            page.details.open(tab)
            for name in page.model.shown_ids():
                page.select(name)
                assert not harmful(page)
            bench.settle(0.25)
            page.grab()
        shown = [
            str(page.model.index(row, column).data())
            for row in range(page.model.rowCount())
            for column in range(page.model.columnCount())
        ]
        assert shown
        assert not any("\x1b" in text or "\u202e" in text or "\n" in text for text in shown)
        page.test.click()
        bench.dialog().grab()
        assert not harmful(bench.dialog())


@pytest.mark.parametrize("size", [(1080, 724), (1720, 1004)])
def test_the_page_fits_its_window(size: tuple[int, int]) -> None:
    with open_page(TargetsPage, size=size) as bench:
        page = bench.page
        for tab in TABS:
            page.details.open(tab)
            bench.settle(0.25)
            assert (bench.shell.width(), bench.shell.height()) == size


def test_found_targets_that_nobody_uses_are_not_a_filter_that_fits_nothing() -> None:
    with open_page(TargetsPage, "large") as bench:
        assert bench.page.model.rowCount() == 0
        assert bench.page.empty.isVisible()


def test_an_empty_host_leads_to_discover() -> None:
    with open_page(TargetsPage, "empty") as bench:
        assert bench.page.model.rowCount() == 0
        assert not bench.page.log_in.isEnabled()


def test_every_control_has_a_name(bench: PageBench[TargetsPage]) -> None:
    for tab in TABS:
        bench.page.details.open(tab)
        bench.settle(0.25)
        assert not nameless(bench.page)
