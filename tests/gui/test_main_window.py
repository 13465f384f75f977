"""The window around the pages: names for screen readers, keys, hostile hosts, a lost engine, leaving."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
from PySide6.QtCore import QEvent, QObject, Qt
from PySide6.QtGui import QAccessible
from PySide6.QtTest import QTest
from PySide6.QtWidgets import (
    QAbstractButton,
    QAbstractItemView,
    QApplication,
    QComboBox,
    QLabel,
    QLineEdit,
    QPlainTextEdit,
    QTextBrowser,
    QWidget,
)

from san_console.gui.dialogs.leaving import LeavingDialog, still_going
from san_console.gui.theme.theme import Theme
from san_console.gui.views.registry import PAGES
from san_console.gui.widgets.table import TableView
from tests.gui.driving import Driven, MakeWindow

pytestmark = pytest.mark.gui

PAGE_KEYS = [page.key for page in PAGES]


def all_widgets(widget: QWidget) -> Iterator[QWidget]:
    yield widget
    yield from widget.findChildren(QWidget)


def nameless(window: QWidget) -> list[str]:
    """Widgets that a screen reader would come to and could say nothing about."""
    found = []
    for widget in all_widgets(window):
        if not widget.isVisible() or widget.focusPolicy() == Qt.FocusPolicy.NoFocus:
            continue
        if not isinstance(widget, (QAbstractButton, QAbstractItemView, QComboBox, QLineEdit, QPlainTextEdit)):
            continue
        interface = QAccessible.queryAccessibleInterface(widget)
        if interface is None or not interface.text(QAccessible.Text.Name).strip():
            found.append(f"{type(widget).__name__} {widget.objectName()} in {type(widget.parent()).__name__}")
    return found


def discover_table(driven: Driven) -> TableView:
    page = driven.window.pages["discover"]
    return next(table for table in page.findChildren(TableView) if table.accessibleName() == "Targets")


@pytest.mark.parametrize("scenario", ["demo", "empty"])
@pytest.mark.parametrize("page", [*PAGE_KEYS, "settings"])
def test_every_control_of_a_page_has_a_name(make_window: MakeWindow, scenario: str, page: str) -> None:
    driven = make_window(scenario)
    driven.window.go(page)
    driven.run(1)
    assert nameless(driven.window) == []


@pytest.mark.parametrize("page", PAGE_KEYS)
def test_a_hostile_host_is_shown_as_text_on_every_page(make_window: MakeWindow, page: str) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        listener.setblocking(False)
        driven = make_window("hostile")
        driven.window.go(page)
        driven.run(2)
        for table in driven.window.findChildren(TableView):
            if table.isVisible() and table.table.rowCount():
                table.selectAll()
                for line in table.exported("csv").splitlines()[1:]:
                    assert line[0] not in "=+-@\t"
                    assert "\u202e" not in line
                    assert "\x1b" not in line
        for label in driven.window.findChildren(QLabel):
            plain = label.textFormat() == Qt.TextFormat.PlainText
            assert plain or not label.text(), f"{label.text()!r} may be read as markup"
            assert not any(mark in label.text() for mark in ("\u202e", "\x1b", "\x00", "\u2028"))
        for widget in all_widgets(driven.window):
            assert not isinstance(widget, QTextBrowser)
            assert "<img" not in widget.toolTip()
            assert "<a " not in widget.toolTip()
        with pytest.raises(BlockingIOError):
            listener.accept()


def test_ctrl_and_a_number_opens_each_page(demo: Driven) -> None:
    for number, page in enumerate(PAGES, start=1):
        key = Qt.Key(int(Qt.Key.Key_0) + number)
        QTest.keyClick(demo.window, key, Qt.KeyboardModifier.ControlModifier)
        assert demo.window.page_key == page.key
    assert demo.preferences.get("window.page") == PAGES[-1].key


@pytest.mark.parametrize("page", [key for key in PAGE_KEYS if key not in ("serve",)])
def test_ctrl_f_leads_to_the_filter(make_window: MakeWindow, page: str) -> None:
    driven = make_window("demo", page=page)
    QTest.keyClick(driven.window, Qt.Key.Key_F, Qt.KeyboardModifier.ControlModifier)
    assert isinstance(QApplication.focusWidget(), QLineEdit)


def test_f6_goes_round_the_parts_of_the_window(demo: Driven) -> None:
    seen = set()
    for _ in range(6):
        QTest.keyClick(demo.window, Qt.Key.Key_F6)
        seen.add(type(QApplication.focusWidget()).__name__)
    assert {"QuickConnectField", "NavigationItem", "TableView"} <= seen


def test_the_first_page_greets_where_nothing_is_known(make_window: MakeWindow) -> None:
    driven = make_window("empty")
    shown = driven.window.stack.currentWidget()
    assert type(shown).__name__ == "FirstRun"
    assert not any(item._badge.text for item in driven.window.navigation.items.values())


def test_a_lost_engine_greys_the_pages_and_says_so(demo: Driven) -> None:
    demo.backend.lose()
    demo.settle()
    assert demo.window.banner.isVisible()
    assert not demo.window.stack.isEnabled()
    demo.backend.start()
    demo.settle()
    assert not demo.window.banner.isVisible()
    assert demo.window.stack.isEnabled()


def test_the_theme_changes_while_pages_are_open(demo: Driven) -> None:
    for key in PAGE_KEYS:
        demo.window.go(key)
    Theme.of().apply("dark")
    demo.settle()
    middle = demo.window.grab().toImage().pixelColor(240, 780)
    assert middle.lightness() < 60
    Theme.of().apply("light")


def test_leaving_says_what_goes_on_and_asks(demo: Driven) -> None:
    lines = still_going(demo.host)
    assert any("prod-db" in line for line in lines)
    demo.preferences.set("quit.silently", False)
    demo.window.close()
    demo.settle()
    assert demo.window.isVisible()
    dialog = demo.window.findChild(LeavingDialog)
    assert dialog is not None
    dialog.stop_button.click()
    demo.settle()
    assert dialog.problem.isVisible(), "initiators of others are logged in: the engine refuses at first"
    dialog.stop_button.click()
    demo.settle()
    demo.bot.waitUntil(lambda: not demo.window.isVisible(), timeout=5_000)


def test_columns_are_kept(make_window: MakeWindow) -> None:
    first = make_window("demo", page="discover")
    table = discover_table(first)
    header = table.horizontalHeader()
    header.moveSection(header.visualIndex(3), 0)
    table._set_shown(5, False)
    kept = first.preferences.get("columns.discover")
    assert kept["order"][0] == table.table.columns[3].key
    assert table.table.columns[5].key in kept["hidden"]
    second = make_window("demo", page="discover")
    second.window.close()
    second.preferences.set("columns.discover", kept)
    fresh = TableView(table.table, "Targets", preferences=second.preferences, layout_key="discover")
    assert fresh.horizontalHeader().visualIndex(3) == 0
    assert fresh.horizontalHeader().isSectionHidden(5)
    fresh.deleteLater()


def test_a_damaged_layout_is_no_reason_to_fail(make_window: MakeWindow) -> None:
    driven = make_window("demo", page="discover")
    driven.preferences.set("columns.x", {"order": 7, "widths": [1], "hidden": "no", "sort": 3})
    model = discover_table(driven).table
    table = TableView(model, "Targets", preferences=driven.preferences, layout_key="x")
    assert table.horizontalHeader().count() == len(model.columns)
    table.deleteLater()


def test_toasts_of_a_storm_stay_few(demo: Driven) -> None:
    for _ in range(50):
        demo.window.say("The same thing again")
    for number in range(10):
        demo.window.say(f"Something else {number}")
    demo.settle()
    assert len(demo.window.toasts.texts()) <= 3


class OwnWindows(QObject):
    """Notes what is shown as a window of its own."""

    def __init__(self, expected: QWidget) -> None:
        super().__init__()
        self.expected = expected
        self.seen: list[str] = []

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        shown = event.type() == QEvent.Type.Show and isinstance(watched, QWidget) and watched.isWindow()
        if shown and watched is not self.expected:
            assert isinstance(watched, QWidget)
            self.seen.append(f"{type(watched).__name__} {watched.accessibleName()}")
        return False


@pytest.mark.parametrize("scenario", ["demo", "empty", "hostile"])
def test_no_part_of_a_page_flashes_as_a_window(make_window: MakeWindow, scenario: str) -> None:
    driven = make_window(scenario)
    watcher = OwnWindows(driven.window)
    application = QApplication.instance()
    assert application is not None
    application.installEventFilter(watcher)
    for key in (*PAGE_KEYS, "settings"):
        driven.window.pages.pop(key, None)
        driven.window.go(key)
        driven.settle()
    driven.window.open_notifications()
    driven.window.quick_connect()
    application.removeEventFilter(watcher)
    assert watcher.seen == []
