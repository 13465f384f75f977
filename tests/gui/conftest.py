"""A window on a simulated host, without a screen. Time passes only when a test says so."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from san_console.console.simulated import SimulatedBackend
from san_console.gui.bridge.host import QtHost
from san_console.gui.preferences import MemoryPreferences
from san_console.gui.shell.main_window import MainWindow
from san_console.gui.theme.theme import Theme


@dataclass(slots=True)
class Driven:
    """A window, its simulated host and the clock of both."""

    window: MainWindow
    backend: SimulatedBackend
    host: QtHost
    preferences: MemoryPreferences
    bot: QtBot

    def run(self, seconds: float, step_s: float = 0.5) -> None:
        """Let `seconds` pass on the simulated host, and the window take them in."""
        end = self.backend.world.now + seconds
        while self.backend.world.now < end:
            self.backend.tick(min(self.backend.world.now + step_s, end))
            QApplication.processEvents()
        self.settle()

    def settle(self) -> None:
        """Until the bridge has handed over what it batched."""
        self.backend.deliver()
        self.bot.waitUntil(lambda: not self.host.batching, timeout=5_000)
        for _ in range(3):
            QApplication.processEvents()


MakeWindow = Callable[..., Driven]


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
        window.show()
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
