"""Opens the window. Nothing here blocks before the first picture is painted."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from san_console.console.backend import Backend
from san_console.gui.guard import check

if TYPE_CHECKING:
    # Qt is imported after the checks, so that its absence is a sentence and no traceback.
    from PySide6.QtCore import QObject
    from PySide6.QtWidgets import QApplication

    from san_console.gui.bridge.host import QtHost
    from san_console.gui.preferences import Preferences
    from san_console.gui.shell.main_window import MainWindow

SIGNALS_MS: Final = 250
"""How soon Ctrl+C in the terminal ends the window."""


def run_window(argv: Sequence[str], *, backend: Backend | None = None) -> int:
    """Open the window and stay until it is closed; returns the exit code.

    `argv`: an optional host (`test://demo`), `--theme light|dark|system`, `--pictures DIR` (save a picture of
    each page in both themes and end). `backend`: instead of the one that `argv` names.
    """
    parser = argparse.ArgumentParser(prog="san-console window", description="The console window.")
    parser.add_argument("host", nargs="?", default="", help="test://demo for a simulated host")
    parser.add_argument("--theme", choices=("system", "light", "dark"))
    parser.add_argument("--pictures", type=Path, metavar="DIR")
    options = parser.parse_args(list(argv))
    if options.pictures is not None:
        os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    problem = check()
    if problem:
        print(problem, file=sys.stderr)
        return 1
    return _run(options, backend)


def _run(options: argparse.Namespace, backend: Backend | None) -> int:
    from san_console.gui.bridge.urls import backend_for
    from san_console.gui.preferences import FilePreferences

    try:
        used = backend if backend is not None else backend_for(options.host)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    if options.pictures is not None:
        from san_console.gui.pictures import run_pictures

        try:
            for path in run_pictures(options.pictures, backend=used):
                print(path)
        except (OSError, RuntimeError) as error:
            print(error, file=sys.stderr)
            return 1
        return 0
    opened = open_window(used, preferences=FilePreferences(), theme=options.theme)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda _signal, _frame: opened.window.leave())
    opened.hear_signals()
    code: int = opened.application.exec()
    opened.close()
    return code


@dataclass(slots=True)
class OpenedWindow:
    """What makes up a window that is open."""

    application: QApplication
    window: MainWindow
    host: QtHost
    keep: list[QObject]

    def hear_signals(self) -> None:
        """Let Python look at signals now and then: Qt's loop alone would never give it a turn."""
        from PySide6.QtCore import QTimer

        timer = QTimer(self.window, interval=SIGNALS_MS)
        timer.timeout.connect(lambda: None)
        timer.start()

    def close(self) -> None:
        import shiboken6

        self.host.close()
        self.window.leave()
        self.window.close()
        # Event filters written in Python must not be called by Qt while the interpreter is being taken down.
        shiboken6.delete(self.window)


def open_window(
    backend: Backend | None, *, preferences: Preferences, theme: str | None = None
) -> OpenedWindow:
    """Make application and window, show it, and begin to connect. `backend` None: the engine of this
    computer.
    """
    from PySide6.QtWidgets import QApplication

    from san_console.gui.bridge.host import QtHost
    from san_console.gui.bridge.urls import backend_for
    from san_console.gui.shell.main_window import MainWindow
    from san_console.gui.theme.theme import MODES, Theme
    from san_console.gui.translation import install_translations

    used = backend if backend is not None else backend_for("")
    existing = QApplication.instance()
    application = existing if isinstance(existing, QApplication) else QApplication(["san-console"])
    application.setApplicationName("san-console")
    application.setApplicationDisplayName("SAN Console")
    application.setDesktopFileName("san-console")
    install_translations(application)
    mode = theme or preferences.get("theme", "system")
    Theme.of().apply(next((known for known in MODES if known == mode), "system"))
    host = QtHost(used)
    window = MainWindow(host, preferences)
    opened = OpenedWindow(application, window, host, _drivers(used))
    window.show()
    host.start()
    return opened


def _drivers(backend: Backend) -> list[QObject]:
    """A simulated host needs somebody who lets its time pass."""
    if "san_console.console.simulated" not in sys.modules:
        return []
    from san_console.console.simulated import SimulatedBackend
    from san_console.gui.bridge.simulated import SimulationDriver

    if not isinstance(backend, SimulatedBackend):
        return []
    driver = SimulationDriver(backend)
    driver.start()
    return [driver]
