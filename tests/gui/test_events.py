"""The page Events on the simulated host."""

from __future__ import annotations

import json
from pathlib import Path
from typing import get_args

import pytest
from PySide6.QtWidgets import QApplication

from san_console.gui.models.export import ExportForm
from san_console.gui.models.object_names import EVENT_ICONS, event_icon
from san_console.gui.resources import resources_dir
from san_console.gui.views.events import EventsPage
from san_console.target.events import TargetEventKind
from tests.gui.page_bench import harmful, nameless, open_page

pytestmark = [pytest.mark.gui, pytest.mark.usefixtures("qapp")]


def test_newest_first_with_counts_and_details() -> None:
    with open_page(EventsPage) as bench:
        page = bench.page
        newest = max(bench.host.values("events"), key=lambda event: (event.at, int(event.id)))
        assert page.model.id_at(0) == newest.id
        assert page.filter.chips["error"].text().startswith("Errors ")
        page.select(next(one.id for one in bench.host.values("events") if one.kind == "digest_error"))
        shown = page.details._facts
        texts = [label.text() for label in shown.findChildren(type(page.title_label))]
        assert "The CRC32C in a PDU's header differs from the one that was computed." in texts
        assert "Cause" in texts


def test_chips_and_filter() -> None:
    with open_page(EventsPage) as bench:
        page = bench.page
        page.filter.chips["error"].click()
        assert page.model.rowCount() == sum(one.severity == "error" for one in bench.host.values("events"))
        page.filter.line.setText("severity:nonsense")
        assert page.model.rowCount() == 0
        page.filter.clear()
        assert page.model.rowCount() == len(bench.host.values("events"))


def test_a_double_click_leads_to_the_object() -> None:
    with open_page(EventsPage) as bench:
        event = next(one for one in bench.host.values("events") if one.object_kind == "session")
        bench.page.table.opened.emit(event.id)
        assert bench.window.gone == [("sessions", event.object_id)]


def test_what_happened_has_an_icon_and_an_error_never_looks_good() -> None:
    pictures = {path.stem for path in (resources_dir() / "icons").glob("*.svg")}
    assert {picture for picture, _tone in EVENT_ICONS.values()} <= pictures
    assert event_icon("threshold_reached", "warning") == ("gauge", "warning")
    assert event_icon("lun_offline", "error") == ("power", "bad")
    assert event_icon("lun_offline", "info") == ("power", "bad")
    assert event_icon("lun_online", "info") == ("power", "good")
    assert event_icon("lun_online", "error") == ("power", "bad")
    assert event_icon("never heard of", "warning") == ("triangle-alert", "warning")
    kinds = set(get_args(TargetEventKind))
    assert kinds <= set(EVENT_ICONS)


def test_new_events_come_in_and_older_ones_can_be_loaded() -> None:
    with open_page(EventsPage) as bench:
        before = len(bench.page.model)
        bench.backend.world.event("warning", "test", "engine", "engine", "Something new.")
        bench.settle()
        assert len(bench.page.model) == before + 1
        assert bench.page.model.object_at(0).text == "Something new."
        bench.page.older_button.click()
        bench.settle()
        assert bench.window.said[-1][0] == "There are no older events."


@pytest.mark.parametrize("form", ["csv", "json"])
def test_export_disarms_formulas_and_controls(tmp_path: Path, form: ExportForm) -> None:
    with open_page(EventsPage, "hostile") as bench:
        path = tmp_path / f"events.{form}"
        bench.page.export_to(form, str(path))
        text = path.read_text(encoding="utf-8")
        assert "\x1b" not in text
        assert "\u202e" not in text
        if form == "csv":
            assert not any(
                cell.startswith(("=", "@")) for line in text.splitlines() for cell in line.split(",")
            )
        else:
            assert len(json.loads(text)) == len(bench.page.model)
        assert bench.window.said[-1][1] == "good"


def test_a_file_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    with open_page(EventsPage) as bench:
        bench.page.export_to("csv", str(tmp_path / "no" / "such" / "folder.csv"))
        assert bench.window.said[-1][1] == "bad"


def test_copy_puts_the_selected_row_on_the_clipboard() -> None:
    with open_page(EventsPage) as bench:
        bench.page.table.copy_selection("json")
        assert json.loads(QApplication.clipboard().text())[0]["severity"] in ("Info", "Warning", "Error")


@pytest.mark.parametrize("scenario", ["demo", "empty", "hostile"])
def test_every_control_has_a_name_and_no_text_acts(scenario: str) -> None:
    with open_page(EventsPage, scenario) as bench:
        assert nameless(bench.shell) == []
        assert harmful(bench.shell) == []
