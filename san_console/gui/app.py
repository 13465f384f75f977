"""Opens the window. Nothing here blocks before the first picture is painted."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from san_console.console.backend import Backend
from san_console.gui.guard import check


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
    from PySide6.QtWidgets import QApplication

    from san_console.gui.bridge.host import QtHost
    from san_console.gui.bridge.urls import backend_for
    from san_console.gui.preferences import FilePreferences, MemoryPreferences
    from san_console.gui.shell.main_window import MainWindow
    from san_console.gui.theme.theme import MODES, Theme

    try:
        used = backend if backend is not None else backend_for(options.host)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    existing = QApplication.instance()
    application = existing if isinstance(existing, QApplication) else QApplication(["san-console"])
    application.setApplicationName("san-console")
    application.setApplicationDisplayName("SAN Console")
    application.setDesktopFileName("san-console")
    preferences = MemoryPreferences() if options.pictures is not None else FilePreferences()
    theme = options.theme or preferences.get("theme", "system")
    Theme.of().apply(theme if theme in MODES else "system")
    host = QtHost(used)
    window = MainWindow(host, preferences)
    driver = _drive_simulation(used, window)
    signal.signal(signal.SIGINT, lambda _signal, _frame: window.leave())
    signal.signal(signal.SIGTERM, lambda _signal, _frame: window.leave())
    window.show()
    host.start()
    if options.pictures is not None:
        from san_console.gui.pictures import BOTH_THEMES, DEFAULT_SIZES, save_pictures

        for path in save_pictures(window, options.pictures, DEFAULT_SIZES, BOTH_THEMES):
            print(path)
        window.leave()
    code: int = application.exec()
    host.close()
    del driver
    return code


def _drive_simulation(backend: Backend, owner: object) -> object:
    """A simulated host needs somebody who lets its time pass."""
    if "san_console.console.simulated" not in sys.modules:
        return None
    from san_console.console.simulated import SimulatedBackend
    from san_console.gui.bridge.simulated import SimulationDriver

    if not isinstance(backend, SimulatedBackend):
        return None
    driver = SimulationDriver(backend)
    driver.start()
    return driver
