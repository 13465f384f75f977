"""From an address to a LUN by keyboard, with CHAP and without, and everything that can go wrong on the
way.
"""

from __future__ import annotations

from typing import Any

import pytest
from PySide6.QtCore import Qt
from PySide6.QtGui import QGuiApplication
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QWidget

from tests.gui.driving import Driven, MakeWindow

pytestmark = pytest.mark.gui

FOUND = "iqn.2026-11.org.example.found:"


def panel(demo: Driven) -> Any:
    return demo.window._panel()


def type_in_field(demo: Driven, text: str) -> None:
    """Ctrl+K, the text, Enter."""
    window = demo.window
    QTest.keyClick(window, Qt.Key.Key_K, Qt.KeyboardModifier.ControlModifier)
    demo.settle()
    QTest.keyClicks(window.top_bar.quick, text)
    QTest.keyClick(window.top_bar.quick, Qt.Key.Key_Return)
    demo.settle()


def press(widget: QWidget | None, key: Qt.Key) -> None:
    assert widget is not None
    QTest.keyClick(widget, key)


@pytest.fixture
def window(make_window: MakeWindow) -> Driven:
    return make_window("demo", page="events")


def test_an_address_leads_to_a_lun_by_keyboard_alone(window: Driven) -> None:
    type_in_field(window, "10.9.9.1")
    assert panel(window).step == "looking"
    window.run(2)
    assert panel(window).step == "targets"
    press(QApplication.focusWidget(), Qt.Key.Key_Return)
    window.settle()
    assert panel(window).step == "login"
    press(QApplication.focusWidget(), Qt.Key.Key_Return)
    window.run(2)
    assert not panel(window).isVisible()
    names = [session.target for session in window.host.values("sessions") if session.state == "logged_in"]
    assert f"{FOUND}10.9.9.1-1" in names
    window.bot.waitUntil(lambda: window.window.page_key == "luns", timeout=5_000)


def test_chap_is_typed_inside_the_panel(window: Driven) -> None:
    target = f"iscsi://10.9.9.2/{FOUND}10.9.9.2-2"
    type_in_field(window, "10.9.9.2")
    window.run(2)
    window.window._panel().close_panel()
    type_in_field(window, target)
    form = panel(window).form
    assert panel(window).step == "login"
    form.identity.choose("")
    panel(window).go_on()
    window.run(2)
    assert "CHAP" in panel(window).problem.message.text()
    assert QApplication.focusWidget() is form.identity.choice
    press(form.identity.choice, Qt.Key.Key_End)
    assert form.identity.typed
    QTest.keyClicks(form.identity.user, "lab-user")
    QTest.keyClicks(form.identity.secret, "a-secret-of-16-c")
    press(form.identity.secret, Qt.Key.Key_Return)
    window.run(2)
    session = next(s for s in window.host.values("sessions") if s.target == f"{FOUND}10.9.9.2-2")
    assert session.auth.startswith("CHAP")
    assert form.identity.secret.text() == "", "a secret does not stay in a field that nobody sees"


def test_a_wrong_secret_is_said_with_its_direction(window: Driven) -> None:
    window.window.quick_connect("iqn.2026-11.org.example:mail", "10.20.0.11:3260")
    form = panel(window).form
    form.identity.choose("\x00new")
    form.identity.user.setText("me")
    form.identity.secret.setText("wrong-secret-123")
    panel(window).go_on()
    window.run(2)
    assert "refused the secret" in panel(window).problem.message.text()
    assert panel(window).isVisible()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("iqn.bad name!", "name"),
        ("nowhere.invalid", "does not resolve"),
        ("10.0.0.1:22", "SSH"),
        ("host:99999", "port"),
        ("iscsi://user:secret@10.0.0.1/iqn.2026-11.org.example:x", "password"),
        ("iqn.2026-11.org.example:unheard-of", "not known"),
    ],
)
def test_what_cannot_be_is_said_in_the_panel(window: Driven, text: str, words: str) -> None:
    type_in_field(window, text)
    window.run(8, 1.0)
    shown = panel(window).problem
    assert shown.isVisible()
    assert words in shown.message.text() + shown.check.text()
    assert "secret@" not in shown.message.text()


def test_a_known_source_is_asked_again_however_fast_it_answers(window: Driven) -> None:
    type_in_field(window, "10.20.0.11")
    # The whole discovery falls into one batch of changes: nobody sees the source run.
    window.backend.tick(window.backend.world.now + 5)
    window.settle()
    assert panel(window).step == "targets"
    assert panel(window).targets.model.rowCount() == 5
    table = panel(window).targets.table
    last = table.visualRect(table.table.index(4, 0))
    assert table.viewport().rect().contains(last), "all five are to be seen"
    assert panel(window).rect().contains(table.mapTo(panel(window), table.rect().bottomRight()))


def test_an_address_that_led_nowhere_does_not_stay_among_the_sources(window: Driven) -> None:
    type_in_field(window, "nowhere.invalid")
    window.run(8, 1.0)
    assert window.host.get("sources", "nowhere.invalid:3260") is not None
    panel(window).close_panel()
    window.run(1)
    assert window.host.get("sources", "nowhere.invalid:3260") is None


def test_escape_gives_up_and_leaves_nothing_behind(window: Driven) -> None:
    type_in_field(window, "10.9.9.3")
    QTest.keyClick(window.window.top_bar.quick, Qt.Key.Key_Escape)
    window.settle()
    assert not panel(window).isVisible()
    assert window.window.top_bar.quick.text() == ""


def test_a_trial_says_what_it_saw(window: Driven) -> None:
    window.window.quick_connect("iqn.2026-11.org.example:prod-db", "10.20.0.11:3260")
    panel(window)._test()
    window.run(2)
    assert panel(window).verdict.isVisible()
    assert "2 LUNs" in panel(window).verdict.check.text()
    assert panel(window).step == "login"


def test_copied_commands_hold_no_secret(window: Driven) -> None:
    window.window.quick_connect("iqn.2026-11.org.example:mail", "10.20.0.11:3260")
    form = panel(window).form
    form.identity.choose("\x00new")
    form.identity.user.setText("me")
    form.identity.secret.setText("do-not-copy-this")
    for button in (panel(window).copy_cli, panel(window).copy_iscsiadm):
        button.click()
        text = QGuiApplication.clipboard().text()
        assert "iqn.2026-11.org.example:mail" in text
        assert "do-not-copy-this" not in text


def test_the_same_secret_in_both_directions_is_not_sent(window: Driven) -> None:
    window.window.quick_connect("iqn.2026-11.org.example:mail", "10.20.0.11:3260")
    form = panel(window).form
    for field in (form.identity, form.mutual):
        field.choose("\x00new")
        field.user.setText("me")
        field.secret.setText("one-secret-for-both")
    panel(window).go_on()
    assert "9.2.1" in panel(window).problem.message.text()
