"""The page iSNS on the simulated host."""

from __future__ import annotations

import pytest

from san_console.gui.views.isns import EMBEDDED, IsnsPage
from tests.gui.page_bench import harmful, nameless, open_page

pytestmark = [pytest.mark.gui, pytest.mark.usefixtures("qapp")]

OTHER = "isns.example:3205"


def test_objects_of_the_chosen_server() -> None:
    with open_page(IsnsPage) as bench:
        page = bench.page
        assert [entry.id for entry in page.servers.entries()] == [EMBEDDED, OTHER]
        assert len(page.browser.model) == 6
        page.select(OTHER)
        bench.settle()
        assert len(page.browser.model) > 20
        page.browser.filter.chips["node"].click()
        kinds = {page.browser.model.get(known).kind for known in page.browser.model.shown_ids()}
        assert kinds == {"node"}


def test_a_second_snapshot_does_not_lose_the_objects() -> None:
    with open_page(IsnsPage) as bench:
        bench.page._ask()
        bench.host.reset.emit()
        bench.settle()
        assert len(bench.page.browser.model) == 6


def test_add_and_remove_with_undo() -> None:
    with open_page(IsnsPage) as bench:
        page = bench.page
        page.add_button.click()
        dialog = bench.dialog()
        dialog.line.setText("[fd00::9")
        assert not dialog.accept_button.isEnabled()
        dialog.line.setText("fd00::9")
        dialog.line.setText("10.9.0.1")
        dialog.accept_button.click()
        bench.settle()
        assert page.servers.current_id == "10.9.0.1:3205"
        page.servers.delete_asked.emit()
        bench.settle()
        assert bench.host.get("isns_servers", "10.9.0.1:3205") is None
        bench.window.offered[-1]()
        bench.settle()
        assert bench.host.get("isns_servers", "10.9.0.1:3205") is not None


def test_a_server_that_is_known_already_is_refused_inside_the_dialog() -> None:
    with open_page(IsnsPage) as bench:
        bench.page.add_button.click()
        dialog = bench.dialog()
        dialog.line.setText(OTHER)
        dialog.accept_button.click()
        bench.settle()
        assert dialog.problem.isVisible()
        assert "already" in dialog.problem.message.text()


def test_start_from_the_empty_page_and_stop_with_a_question() -> None:
    with open_page(IsnsPage, "empty") as bench:
        page = bench.page
        assert page.stack.currentIndex() == 1
        page._start()
        dialog = bench.dialog()
        assert dialog.line.text() == "127.0.0.1:3205"
        dialog.accept_button.click()
        bench.settle()
        assert page.stack.currentIndex() == 0
        assert bench.host.get("isns_servers", EMBEDDED).state == "running"
        page.power_button.click()
        bench.dialog().accept_button.click()
        bench.settle()
        assert bench.host.get("isns_servers", EMBEDDED).state == "stopped"


def test_a_server_that_went_is_said() -> None:
    with open_page(IsnsPage) as bench:
        bench.page.select(OTHER)
        bench.backend.world.remove("isns_servers", OTHER)
        bench.settle()
        assert bench.page.servers.current_id == EMBEDDED
        assert len(bench.page.browser.model) == 6


@pytest.mark.parametrize("scenario", ["demo", "empty", "hostile"])
def test_every_control_has_a_name_and_no_text_acts(scenario: str) -> None:
    with open_page(IsnsPage, scenario) as bench:
        assert nameless(bench.shell) == []
        assert harmful(bench.shell) == []
        bench.page._start()
        assert nameless(bench.dialog()) == []
