"""A window on a simulated host, without a screen. Time passes only when a test says so."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from san_console.console.simulated import SimulatedBackend
from san_console.gui.bridge.host import QtHost
from san_console.gui.preferences import MemoryPreferences
from san_console.gui.shell.main_window import MainWindow
from san_console.gui.theme.theme import Theme
from tests.gui.driving import Driven, MakeWindow


@pytest.fixture
def make_window(qtbot: QtBot) -> Iterator[MakeWindow]:
    made: list[Driven] = []

    def make(scenario: str = "demo", *, page: str = "discover", targets: int | None = None) -> Driven:
        Theme.of().apply("light")
        backend = SimulatedBackend(scenario, targets=targets)
        host = QtHost(backend)
        preferences = MemoryPreferences({"window.page": page, "quit.silently": True})
        window = MainWindow(host, preferences, lambda: backend.world.now)
        driven = Driven(window, backend, host, preferences, qtbot)
        made.append(driven)
        with qtbot.waitActive(window):
            window.show()
            window.activateWindow()
        host.start()
        driven.settle()
        return driven

    yield make
    for driven in made:
        driven.host.close()
        driven.window.leave()
        driven.window.close()
        driven.window.deleteLater()
    QApplication.processEvents()


@pytest.fixture
def demo(make_window: MakeWindow) -> Driven:
    return make_window("demo")
