"""The page LUNs on the simulated host."""

from __future__ import annotations

import pytest
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QMenu

from san_console.gui.dialogs.lun_jobs import BenchDialog, SaveLunDialog, WriteLunDialog, hit_by_writing
from san_console.gui.views.luns import LunsPage
from san_console.gui.views.luns_content import ContentTab
from san_console.gui.views.luns_identity import IdentityTab
from san_console.gui.views.luns_performance import PerformanceTab, TasksTab, bench_pairs
from san_console.gui.widgets.empty import TableCard
from tests.gui.page_bench import PageBench, harmful, nameless, open_page

pytestmark = [pytest.mark.gui, pytest.mark.usefixtures("qapp")]


def content(bench: PageBench[LunsPage]) -> ContentTab:
    tab = bench.page.details.current
    assert isinstance(tab, ContentTab)
    return tab


def test_units_and_paths_are_counted_apart() -> None:
    with open_page(LunsPage) as bench:
        luns = bench.host.values("luns")
        assert f"{len(luns)} paths" in bench.page.summary.text()
        both = next(lun for lun in luns if lun.id == "s1/0")
        assert bench.page._path_text(both) == "2 of 2"
        down = next(lun for lun in luns if lun.session_id == "s5")
        assert bench.page._path_text(down) == "0 of 1"
        assert bench.page._path_tone(down) == "bad"


def test_a_lun_that_can_be_read_is_selected_first() -> None:
    with open_page(LunsPage) as bench:
        lun = bench.page.table.current_object()
        assert lun.state == "ready"
        assert content(bench).hex.toPlainText().startswith("00000200  45 46 49")


def test_blocks_can_be_walked_and_typed() -> None:
    with open_page(LunsPage) as bench:
        bench.page.select("s4/0")
        bench.settle()
        tab = content(bench)
        assert tab.block == 1
        tab.first.click()
        bench.settle()
        assert not tab.previous.isEnabled()
        assert tab.hex.toPlainText().startswith("00000000")
        tab.next.click()
        bench.settle()
        assert "EFI PART" in tab.hex.toPlainText()
        assert tab.hex.toPlainText().startswith("00000200")
        tab.line.setFocus()
        tab.line.selectAll()
        QTest.keyClicks(tab.line, "0x10")
        QTest.keyClick(tab.line, Qt.Key.Key_Return)
        bench.settle()
        assert tab.block == 16
        tab.last.click()
        bench.settle()
        assert tab.block == tab.blocks() - 1
        assert not tab.next.isEnabled()
        tab.line.setText(str(tab.blocks()))
        tab.line.returnPressed.emit()
        assert "last block" in tab.where.text()
        assert tab.block == tab.blocks() - 1


def test_partitions_are_drawn_where_there_is_a_table() -> None:
    with open_page(LunsPage) as bench:
        bench.page.select("s4/0")
        bench.settle()
        strip = content(bench).strip
        assert [piece.name for piece in strip.pieces] == ["EFI system", "backup-pool", "free"]
        assert "backup-pool" in strip.accessibleDescription()
        bench.page.select("s1/0")
        bench.settle()
        assert [piece.name for piece in strip.pieces] == ["ext4 “pgdata”"]


def test_a_lun_that_cannot_be_read_says_why() -> None:
    with open_page(LunsPage) as bench:
        bench.page.select("s5/0")
        bench.settle()
        assert content(bench).failure.isVisible()
        for button in (bench.page.save_button, bench.page.write_button, bench.page.bench_button):
            assert not button.isEnabled()


def test_another_unit_than_before_is_a_red_warning() -> None:
    with open_page(LunsPage) as bench:
        bench.page.select("s6/1")
        bench.settle()
        assert bench.page.warning.isVisible()
        assert "naa.3000c0ffee00beef" in bench.page.warning.message.text()
        bench.page.select("s6/0")
        bench.settle()
        assert not bench.page.warning.isVisible()


def test_vpd_pages_with_fields_and_bytes() -> None:
    with open_page(LunsPage) as bench:
        bench.page.select("s1/0")
        bench.page.details.open("identity")
        bench.settle()
        tab = bench.page.details.current
        assert isinstance(tab, IdentityTab)
        assert [page.code for page in tab.pages] == [0x00, 0x80, 0x83, 0xB0, 0xB1, 0xB2]
        assert tab.list.currentData() == 0x83
        tab.list.setCurrentIndex(tab.list.findData(0x80))
        assert tab.raw.toPlainText().startswith("00000000  00 80")


def test_figures_and_the_newest_measurement() -> None:
    with open_page(LunsPage) as bench:
        bench.page.select("s6/0")
        bench.page.details.open("performance")
        bench.settle(2)
        tab = bench.page.details.current
        assert isinstance(tab, PerformanceTab)
        assert "IOPS now" in tab.charts[1].accessibleDescription()
        assert tab.bench_title.text().startswith("Measured")


def test_results_of_the_engine_and_odd_ones_are_shown() -> None:
    pairs = bench_pairs({"iops": "1000.5", "latency_p50_us": "92.0", "p99_us": "much", "bytes_per_s": "4e6"})
    assert [(pair.name, pair.value) for pair in pairs] == [
        ("IOPS", "1,000"),
        ("Throughput", "4.00 MB/s"),
        ("Latency p50", "92 µs"),
    ]


def test_overwriting_asks_for_the_identity_and_names_whom_it_hits() -> None:
    with open_page(LunsPage) as bench:
        bench.page.select("s1/0")
        bench.settle()
        bench.page.write_button.click()
        dialog = bench.dialog()
        assert isinstance(dialog, WriteLunDialog)
        lines = " ".join(hit_by_writing(bench.context, bench.host.get("luns", "s1/0")))
        assert "pgdata" in lines
        assert "1 other session" in lines
        dialog.path.line.setText("/srv/images/new.img")
        assert not dialog.accept_button.isEnabled()
        dialog.typed.setText("naa.600140")
        assert not dialog.accept_button.isEnabled()
        dialog.typed.setText("naa.6001405a1f3c0d2e8b7146d0a1c2e3f4")
        assert dialog.accept_button.isEnabled()
        dialog.offset.setText("much")
        assert not dialog.accept_button.isEnabled()
        dialog.offset.setText("1M")
        dialog.accept_button.click()
        bench.settle(0.3)
        assert bench.dialogs() == []
        job = next(one for one in bench.host.values("jobs") if one.kind == "lun_from_file")
        assert job.object_id == "s1/0"
        assert isinstance(bench.page.details.current, TasksTab)
        assert job.id in bench.page.details.current.jobs.rows


def test_whom_a_write_hits_when_the_lun_is_served_here() -> None:
    with open_page(LunsPage) as bench:
        session = bench.host.get("target_sessions", "t4")
        bench.backend.world.change("target_sessions", "t4", own=False)
        bench.settle()
        lun = bench.host.get("luns", "s6/0")
        assert any(session.initiator in line for line in hit_by_writing(bench.context, lun))


def test_a_copy_shows_progress_and_can_be_cancelled() -> None:
    with open_page(LunsPage) as bench:
        bench.page.select("s1/1")
        bench.settle()
        bench.page.save_button.click()
        dialog = bench.dialog()
        assert isinstance(dialog, SaveLunDialog)
        assert dialog.path.path.endswith(".img")
        dialog.accept_button.click()
        bench.settle(2)
        tab = bench.page.details.current
        assert isinstance(tab, TasksTab)
        (row,) = tab.jobs.rows.values()
        assert "of 64 GiB" in row._state.text()
        row._cancel.click()
        bench.settle()
        assert bench.host.get("jobs", row.job_id).state == "cancelled"
        row._dismiss.click()
        bench.settle()
        assert tab.jobs.rows == {}


def test_a_measurement_ends_with_its_result() -> None:
    with open_page(LunsPage) as bench:
        bench.page.select("s1/0")
        bench.settle()
        bench.page.bench_button.click()
        dialog = bench.dialog()
        assert isinstance(dialog, BenchDialog)
        dialog.time.setCurrentIndex(0)
        dialog.accept_button.click()
        bench.settle(8)
        bench.page.details.open("performance")
        bench.settle()
        tab = bench.page.details.current
        assert isinstance(tab, PerformanceTab)
        assert tab.bench_title.text().startswith("Measured")


def test_a_read_only_lun_cannot_be_written() -> None:
    with open_page(LunsPage) as bench:
        bench.page.select("s1/3")
        bench.settle()
        assert bench.page.save_button.isEnabled()
        assert not bench.page.write_button.isEnabled()
        assert "read-only" in bench.page.write_button.toolTip()


def test_an_empty_page_says_what_to_do_first() -> None:
    with open_page(LunsPage, "empty") as bench:
        assert not bench.page.details.isVisible()
        assert not bench.page.filter.isVisible()
        card = bench.page.findChild(TableCard)
        assert card is not None
        assert card.empty.isVisible()
        assert card.empty.button is not None
        card.empty.button.click()
        assert bench.window.gone == [("discover", "")]


def test_rescan_asks_each_session_once() -> None:
    with open_page(LunsPage) as bench:
        bench.page.select("s1/0")
        bench.page.renew()
        bench.settle(0.3)
        jobs = [job for job in bench.host.values("jobs") if job.object_id == "s1"]
        assert len(jobs) == 1


def test_the_menu_copies_commands_but_none_that_would_act() -> None:
    with open_page(LunsPage) as bench:
        bench.page.select("s1/0")
        menu = QMenu()
        bench.page._fill_menu(menu)
        next(one for one in menu.actions() if "lun info" in one.text()).trigger()
        assert QApplication.clipboard().text().startswith("san-console lun info iscsi://10.20.0.11:3260/iqn.")
    with open_page(LunsPage, "hostile") as bench:
        QApplication.clipboard().setText("before")
        bench.page.select("h18/0")
        menu = QMenu()
        bench.page._fill_menu(menu)
        next(one for one in menu.actions() if "lun info" in one.text()).trigger()
        assert "\u2028" not in QApplication.clipboard().text()


@pytest.mark.parametrize("scenario", ["demo", "empty", "hostile"])
@pytest.mark.parametrize("tab", ["content", "identity", "performance", "tasks"])
def test_every_control_has_a_name_and_no_text_acts(scenario: str, tab: str) -> None:
    with open_page(LunsPage, scenario) as bench:
        bench.page.details.open(tab)
        bench.settle()
        assert nameless(bench.shell) == []
        assert harmful(bench.shell) == []


@pytest.mark.parametrize("action", ["save_button", "write_button", "bench_button"])
def test_dialogs_have_names_and_no_text_acts(action: str) -> None:
    with open_page(LunsPage, "hostile") as bench:
        bench.page.select("h4/0")
        bench.settle()
        getattr(bench.page, action).click()
        assert nameless(bench.dialog()) == []
        assert harmful(bench.dialog()) == []
