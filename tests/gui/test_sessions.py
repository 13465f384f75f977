"""The page Sessions on the simulated host."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from PySide6.QtCore import QPointF, Qt
from PySide6.QtGui import QMouseEvent
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QWidget
from pytestqt.qtbot import QtBot

from san_console.gui.theme.theme import ThemeMode
from san_console.gui.views.serve import ServePage
from san_console.gui.views.serve_sessions import ConnectedTab
from san_console.gui.views.sessions import SessionsPage
from san_console.gui.views.sessions_connections import ConnectionsTab
from san_console.gui.views.sessions_keys import KeysTab
from san_console.gui.views.sessions_luns import SessionLunsTab
from san_console.gui.views.sessions_performance import PerformanceTab
from san_console.gui.views.timeline_tab import TimelineTab
from san_console.gui.widgets.linked_chart import close_top
from tests.gui.page_bench import PageBench, harmful, nameless, open_page

pytestmark = [pytest.mark.gui, pytest.mark.usefixtures("qapp")]

TABS = ("performance", "connections", "keys", "luns", "timeline", "tasks")


@pytest.fixture
def bench() -> Iterator[PageBench[SessionsPage]]:
    with open_page(SessionsPage) as opened:
        yield opened


def cell(page: SessionsPage, session_id: str, column: str) -> str:
    numbers = {known.key: number for number, known in enumerate(page.model.columns)}
    return str(page.model.index(page.model.row_of(session_id), numbers[column]).data())


def test_rows_say_state_connections_and_figures_in_words(bench: PageBench[SessionsPage]) -> None:
    page = bench.page
    assert cell(page, "s3", "state") == "Degraded"
    assert cell(page, "s3", "conns") == "1 of 2"
    assert cell(page, "s1", "state") == "Logged in"
    assert cell(page, "s1", "p99").endswith("ms")
    assert int(cell(page, "s1", "iops").replace(",", "")) > 1000
    assert cell(page, "s5", "state") == "Retrying"
    assert cell(page, "s5", "iops") == "–"
    assert page.summary.text() == "6 sessions to 5 targets, 1 degraded, 1 retrying"


def test_troubles_come_first(bench: PageBench[SessionsPage]) -> None:
    assert bench.page.model.shown_ids()[:2] == ["s5", "s3"]


def test_the_next_try_counts_down(bench: PageBench[SessionsPage]) -> None:
    page = bench.page
    before = cell(page, "s5", "since")
    assert before.startswith("next try in ")
    bench.settle(2)
    assert cell(page, "s5", "since") != before


def test_chips_count_and_filter(bench: PageBench[SessionsPage]) -> None:
    page = bench.page
    assert page.filter.chips["all"].text() == "All 6"
    assert page.filter.chips["up"].text() == "Up 4"
    assert not page.filter.chips["failed"].isVisible()
    page.filter.chips["degraded"].click()
    assert page.model.shown_ids() == ["s3"]
    page.filter.choose("all")
    page.filter.line.setText("state:retrying")
    assert page.model.shown_ids() == ["s5"]


def test_the_history_fills_the_lines_of_all_rows(bench: PageBench[SessionsPage]) -> None:
    samples = bench.host.replica.samples
    assert all(len(samples[known]) >= 60 for known in ("s1", "s2", "s4"))


def test_charts_follow_the_selection_and_mark_what_happened(bench: PageBench[SessionsPage]) -> None:
    page = bench.page
    page.select("s3")
    bench.settle()
    tab = page.details.current
    assert isinstance(tab, PerformanceTab)
    assert {mark.text for mark in tab.throughput.marks} == {"connection lost", "recovered"}
    assert tab.window_chart.unit == "of 128"
    assert tab.throughput.unit == "MB/s"
    assert "connection lost" in tab.throughput.accessibleDescription()
    newest = tab.throughput.series[0].points[-1]
    bench.settle(2)
    assert tab.throughput.series[0].points[-1][0] >= newest[0] + 2
    page.select("s6")
    assert not tab.throughput.marks
    assert tab.latency.unit == "µs"


def test_a_longer_span_shows_more_and_is_kept(bench: PageBench[SessionsPage]) -> None:
    page = bench.page
    page.select("s1")
    tab = page.details.current
    assert isinstance(tab, PerformanceTab)
    bench.settle()
    short = len(tab.throughput.series[0].points)
    QTest.mouseClick(tab.spans[300], Qt.MouseButton.LeftButton)
    assert len(tab.throughput.series[0].points) > 4 * short
    assert tab.operations.span_s == 300
    assert bench.preferences.get("sessions.span") == 300


def test_a_long_span_goes_on_chart_by_chart(bench: PageBench[SessionsPage], qtbot: QtBot) -> None:
    page = bench.page
    page.select("s1")
    tab = page.details.current
    assert isinstance(tab, PerformanceTab)
    tab.choose_span(600)
    bench.settle()
    wanted = bench.host.replica.samples["s1"][-1].at
    qtbot.waitUntil(lambda: all(chart.now == wanted for chart in tab.charts), timeout=2_000)


def test_the_end_of_a_scale_is_round_and_close() -> None:
    assert close_top(0) == 3
    assert close_top(309) == 360
    assert close_top(574) == 600
    assert close_top(float("inf")) == 3
    for largest in (0.4, 1, 17, 999, 61_870, 5.1e8):
        assert largest <= close_top(largest) <= largest * 1.5


def test_the_crosshair_is_on_all_charts_by_pointer_and_keys(bench: PageBench[SessionsPage]) -> None:
    page = bench.page
    page.select("s1")
    tab = page.details.current
    assert isinstance(tab, PerformanceTab)
    chart = tab.throughput
    middle = QPointF(chart.width() / 2, chart.height() / 2)
    move = QMouseEvent(
        QMouseEvent.Type.MouseMove,
        middle,
        chart.mapToGlobal(middle),
        Qt.MouseButton.NoButton,
        Qt.MouseButton.NoButton,
        Qt.KeyboardModifier.NoModifier,
    )
    QApplication.sendEvent(chart, move)
    assert chart.pointed_at is not None
    assert tab.latency.pointed_at == chart.pointed_at
    assert any("MB/s" in text for _series, text in chart.figures_at(chart.pointed_at))
    page.grab()
    here = chart.pointed_at
    QTest.keyClick(chart, Qt.Key.Key_Left)
    assert tab.operations.pointed_at == pytest.approx(here + 1)
    QTest.keyClick(chart, Qt.Key.Key_Escape)
    assert tab.operations.pointed_at is None


def test_connections_and_facts(bench: PageBench[SessionsPage]) -> None:
    page = bench.page
    page.select("s3")
    page.details.open("connections")
    tab = page.details.current
    assert isinstance(tab, ConnectionsTab)
    assert [tab.model.index(row, 0).data() for row in range(2)] == ["Logged in", "Lost"]


def test_keys_can_be_filtered_and_copied(bench: PageBench[SessionsPage]) -> None:
    page = bench.page
    page.select("s3")
    page.details.open("keys")
    tab = page.details.current
    assert isinstance(tab, KeysTab)
    assert tab.model.rowCount() == 17
    tab.filter.choose("otherwise")
    assert set(tab.model.shown_ids()) == {"FirstBurstLength", "InitialR2T", "MaxOutstandingR2T"}
    tab.filter.choose("all")
    tab.filter.line.setText("digest")
    assert set(tab.model.shown_ids()) == {"HeaderDigest", "DataDigest"}
    tab.copy.click()
    assert "HeaderDigest" in QApplication.clipboard().text()


def test_a_lun_leads_to_its_page(bench: PageBench[SessionsPage]) -> None:
    page = bench.page
    page.select("s3")
    page.details.open("luns")
    tab = page.details.current
    assert isinstance(tab, SessionLunsTab)
    assert tab.model.rowCount() == 4
    tab.table.select_id("s3/2")
    QTest.keyClick(tab.table, Qt.Key.Key_Return)
    assert bench.window.gone == [("luns", "s3/2")]


def test_retry_and_stop_retrying(bench: PageBench[SessionsPage]) -> None:
    page = bench.page
    page.select("s3")
    assert not page.retry_button.isVisible()
    page.select("s5")
    assert page.retry_button.isVisible()
    assert "no answer" in page.problem.message.text()
    page.retry_button.click()
    bench.settle()
    assert bench.host.get("sessions", "s5").attempt == 7
    page.stop_button.click()
    bench.settle()
    assert cell(page, "s5", "state") == "Failed"
    assert page.filter.chips["failed"].text() == "Failed 1"
    assert not page.stop_button.isVisible()


def test_log_out_names_what_it_hits_and_keeps_the_time_line(bench: PageBench[SessionsPage]) -> None:
    page = bench.page
    page.select("s4")
    page.logout_button.click()
    dialog = bench.dialog()
    said = "\n".join(label.text() for label in dialog.findChildren(QWidget) if hasattr(label, "text"))
    assert "LUN 0, 1, 2" in said
    assert "Copy backup" in said
    assert "favourite" in said
    assert dialog.cancel_button.isDefault()
    dialog.accept_button.click()
    bench.settle()
    assert not bench.dialogs()
    assert bench.host.get("sessions", "s4") is None
    assert "s4" not in page.model.shown_ids()
    page.select("s4")
    assert page.filter.chosen == "ended"
    page.details.open("timeline")
    tab = page.details.current
    assert isinstance(tab, TimelineTab)
    bench.settle()
    assert [event.kind for event in tab.model.events] == ["logout", "login"]


def test_sessions_that_ended_before_are_known_by_their_events(bench: PageBench[SessionsPage]) -> None:
    where = "(iqn.2026-11.org.example:gone at 10.3.0.1:3260)"
    for text in ("logged in", "logged out"):
        bench.backend.world.event("info", "login", "session", "old1", f"{text} {where}")
    bench.backend.world.event("info", "login", "session", "old2", "tells no name")
    bench.settle()
    page = bench.page
    page.reload()
    page.refresh()
    assert page.filter.chips["ended"].text() == "Ended 1"
    assert page.filter.chips["all"].text() == "All 6"
    page.select("old1")
    assert cell(page, "old1", "target") == "iqn.2026-11.org.example:gone"
    assert cell(page, "old1", "state") == "Logged out"
    assert not page.logout_button.isEnabled()
    page.details.open("timeline")
    bench.settle()
    tab = page.details.current
    assert isinstance(tab, TimelineTab)
    assert [tab.model.index(row, 0).data() for row in range(2)] == ["logged out", "logged in"]


def test_cancelling_the_log_out_does_nothing(bench: PageBench[SessionsPage]) -> None:
    page = bench.page
    page.select("s1")
    QTest.keyClick(page.table, Qt.Key.Key_Delete)
    dialog = bench.dialog()
    QTest.keyClick(dialog, Qt.Key.Key_Escape)
    bench.settle()
    assert bench.host.get("sessions", "s1").state == "logged_in"


def test_several_sessions_are_logged_out_together(bench: PageBench[SessionsPage]) -> None:
    page = bench.page
    page.table.selectAll()
    assert page.logout_button.text() == "Log out 6 sessions"
    page.logout_button.click()
    bench.dialog().accept_button.click()
    bench.settle()
    assert not bench.host.values("sessions")
    assert page.summary.text() == "nothing is logged in"
    assert page.empty.isVisible()
    assert not page.below.isVisible()
    page.filter.chips["ended"].click()
    assert page.model.rowCount() == 6
    bench.settle()
    assert page.below.isVisible()


def test_the_time_line_is_newest_first_and_takes_what_comes(bench: PageBench[SessionsPage]) -> None:
    page = bench.page
    page.select("s5")
    page.details.open("timeline")
    tab = page.details.current
    assert isinstance(tab, TimelineTab)
    bench.settle()
    times = [event.at for event in tab.model.events]
    assert times == sorted(times, reverse=True)
    known = len(times)
    page.retry_button.click()
    bench.settle()
    assert len(tab.model.events) == known + 1
    tab.view.setCurrentIndex(tab.model.index(known, 0))
    tab.view.copy_selection()
    assert "Decided by: this computer, after waiting" in QApplication.clipboard().text()


def test_favourite_is_toggled(bench: PageBench[SessionsPage]) -> None:
    page = bench.page
    page.select("s6")
    assert not page.favourite_button.isChecked()
    page.favourite_button.click()
    bench.settle()
    assert bench.host.get("sessions", "s6").login.favourite
    assert page.favourite_button.isChecked()
    assert "take that back" in page.favourite_button.accessibleName()


def test_rescan_is_a_task_of_the_session(bench: PageBench[SessionsPage]) -> None:
    page = bench.page
    page.select("s1")
    page.rescan_button.click()
    bench.settle(0.3)
    assert page.details.tabs.tabText(5) == "Tasks 1"
    page.details.open("tasks")
    page.select("s5")
    assert not page.rescan_button.isEnabled()


def test_the_log_in_is_copied_as_a_command_without_a_secret(bench: PageBench[SessionsPage]) -> None:
    page = bench.page
    page.menu.copy_login(bench.host.get("sessions", "s3"))
    copied = QApplication.clipboard().text()
    assert copied.startswith("san-console login iqn.2026-11.org.example:prod-vm --portal 10.20.0.12:3260")
    assert "secret" not in copied


def test_an_empty_host_leads_to_discover() -> None:
    with open_page(SessionsPage, "empty") as bench:
        page = bench.page
        assert page.empty.button is not None
        assert page.empty.isVisible()
        assert not page.below.isVisible()
        page.empty.button.click()
        assert bench.window.gone == [("discover", "")]


def test_a_lost_engine_leaves_the_page_standing(bench: PageBench[SessionsPage]) -> None:
    page = bench.page
    page.details.open("timeline")
    bench.backend.lose()
    page.select("s2")
    page.rescan_button.click()
    bench.settle()
    assert page.model.rowCount() == 6
    assert bench.window.said[-1][1] == "bad"


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_hostile_texts_are_shown_as_text(theme: ThemeMode) -> None:
    with open_page(SessionsPage, "hostile", theme=theme) as bench:
        page = bench.page
        for tab in TABS:
            page.details.open(tab)
            for session_id in page.model.shown_ids():
                page.select(session_id)
                assert not harmful(page)
            page.grab()
        bench.settle()
        shown = [
            str(page.model.index(row, column).data())
            for row in range(page.model.rowCount())
            for column in range(page.model.columnCount())
        ]
        assert not any("\x1b" in text or "\u202e" in text or "\n" in text for text in shown)
        page.select(page.model.shown_ids()[0])
        page.logout_button.click()
        bench.dialog().grab()
        assert not harmful(bench.dialog())
        for session in bench.host.values("sessions"):
            page.menu.copy_login(session)
            assert "\x1b" not in QApplication.clipboard().text()


@pytest.mark.parametrize("size", [(1080, 724), (1720, 1004)])
def test_the_page_fits_its_window(size: tuple[int, int]) -> None:
    with open_page(SessionsPage, size=size) as bench:
        page = bench.page
        for tab in TABS:
            page.details.open(tab)
            for session_id in ("s3", "s5"):
                page.select(session_id)
                bench.settle(0.5)
                assert (bench.shell.width(), bench.shell.height()) == size


def test_every_control_has_a_name(bench: PageBench[SessionsPage]) -> None:
    for tab in TABS:
        bench.page.details.open(tab)
        bench.settle(0.25)
        assert not nameless(bench.page)


def test_tooltips_of_states_say_the_problem(bench: PageBench[SessionsPage]) -> None:
    page = bench.page
    tip = str(page.model.index(page.model.row_of("s5"), 0).data(int(Qt.ItemDataRole.ToolTipRole)))
    assert "gave no answer" in tip


def test_the_other_end_of_a_session_with_this_computer() -> None:
    with open_page(SessionsPage) as bench:
        bench.page.details.open("connections")
        ours = next(one for one in bench.host.values("sessions") if one.target.endswith(":lab-1"))
        bench.page.table.select_id(ours.id)
        bench.settle()
        tab = bench.page.details.current
        assert isinstance(tab, ConnectionsTab)
        assert tab.other_end.isVisible()
        tab.end_button.click()
        assert bench.window.gone == [("serve", "t4")]
        other = next(one for one in bench.host.values("sessions") if one.target.endswith(":prod-vm"))
        bench.page.table.select_id(other.id)
        bench.settle()
        assert not tab.other_end.isVisible()


def test_the_page_serve_shows_the_session_that_it_is_sent_to() -> None:
    with open_page(ServePage) as bench:
        bench.page.select("t3")
        bench.settle()
        tab = bench.page.details.current
        assert isinstance(tab, ConnectedTab)
        assert tab.table.selected_ids() == ["t3"]
