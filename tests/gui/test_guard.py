"""What is refused before Qt is touched, and None that is not lost."""

from __future__ import annotations

import sys

import pytest
from PySide6.QtWidgets import QLabel
from pytestqt.qtbot import QtBot

from san_console.gui.guard import display_problem, version_problem

pytestmark = pytest.mark.gui


def test_the_release_that_loses_none_is_refused_on_old_python_only() -> None:
    assert "6.12" in version_problem((6, 12), (3, 11))
    assert version_problem((6, 12), (3, 12)) == ""
    assert version_problem((6, 11), (3, 11)) == ""


def test_no_display_is_said_with_what_to_do() -> None:
    assert "san-console" in display_problem({}, "linux")
    assert display_problem({"DISPLAY": ":0"}, "linux") == ""
    assert display_problem({"QT_QPA_PLATFORM": "offscreen"}, "linux") == ""


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="None is immortal from Python 3.12 on")
def test_void_calls_of_qt_keep_their_reference_to_none(qtbot: QtBot) -> None:
    label = QLabel()
    qtbot.addWidget(label)
    before = sys.getrefcount(None)
    for _ in range(1000):
        label.setText("x")
    assert abs(sys.getrefcount(None) - before) < 100
