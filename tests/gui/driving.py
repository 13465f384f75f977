"""A window on a simulated host, driven by a test. Time passes only when the test says so."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from san_console.console.simulated import SimulatedBackend
from san_console.gui.bridge.host import QtHost
from san_console.gui.preferences import MemoryPreferences
from san_console.gui.shell.main_window import MainWindow


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
