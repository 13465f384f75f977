"""Pictures of every page in both themes, for the README, for `lab --pictures` and for looking at."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from PySide6.QtCore import QDeadlineTimer, QEventLoop, QSize
from PySide6.QtGui import QImage, QPainter
from PySide6.QtWidgets import QApplication

from san_console.console.backend import Backend
from san_console.gui.preferences import MemoryPreferences
from san_console.gui.shell.main_window import MainWindow
from san_console.gui.states import is_degraded
from san_console.gui.theme.theme import Theme, ThemeMode
from san_console.gui.views.registry import PAGES

DEFAULT_SIZES: Final = ((1280, 800), (1920, 1080))
BOTH_THEMES: Final[tuple[ThemeMode, ...]] = ("light", "dark")
CONNECT_MS: Final = 15_000
"""An engine that has to be started first takes some 300 ms, on a busy machine a few seconds."""

FIGURES_MS: Final = 5_000
"""Statistics come once a second."""

SETTLE_MS: Final = 2_000
"""The longest that a page is given to show its objects; mostly it takes a few milliseconds."""


def wait_until(holds: Callable[[], bool], timeout_ms: int = SETTLE_MS) -> bool:
    """Let the window work until `holds`, at most `timeout_ms`; returns whether it does."""
    deadline = QDeadlineTimer(timeout_ms)
    while not holds():
        if deadline.hasExpired():
            return False
        QApplication.processEvents(QEventLoop.ProcessEventsFlag.AllEvents, 20)
    return True


def grab(window: MainWindow, path: Path) -> Path:
    """The window as it is, as a PNG without alpha."""
    for _turn in range(3):
        QApplication.processEvents()
    picture = window.grab()
    image = QImage(picture.size(), QImage.Format.Format_RGB32)
    painter = QPainter(image)
    painter.drawPixmap(0, 0, picture)
    painter.end()
    if not image.save(str(path), "PNG"):  # type: ignore[call-overload]  # the stubs want bytes for the format
        raise OSError(f"the picture {path} cannot be written")
    return path


def _worth_showing(window: MainWindow) -> str:
    """A session that moves data, one with a story if there is one; its charts are the point of the page."""
    up = [session for session in window.host.values("sessions") if session.state == "logged_in"]
    return next((session.id for session in sorted(up, key=lambda one: not is_degraded(one))), "")


def save_pictures(
    window: MainWindow,
    folder: Path,
    sizes: Sequence[tuple[int, int]] = DEFAULT_SIZES,
    themes: Sequence[ThemeMode] = BOTH_THEMES,
) -> list[Path]:
    """A PNG of every page as `PAGE-THEME-WIDTHxHEIGHT.png`; returns the paths. Raises OSError.

    The page and theme that were shown before are shown again afterwards.
    """
    folder.mkdir(parents=True, exist_ok=True)
    wait_until(lambda: window.host.connected)
    before, mode, size = window.page_key or window.start_page(), Theme.of().mode, window.size()
    paths = []
    for theme in themes:
        Theme.of().apply(theme)
        for width, height in sizes:
            window.resize(QSize(width, height))
            for page in PAGES:
                window.go(page.key, _worth_showing(window) if page.key == "sessions" else "")
                QApplication.processEvents()
                wait_until(lambda: window.host.open_calls == 0)
                window.toasts.clear()
                paths.append(grab(window, folder / f"{page.key}-{theme}-{width}x{height}.png"))
    Theme.of().apply(mode)
    window.resize(size)
    window.go(before)
    return paths


def run_pictures(folder: Path, *, backend: Backend | None = None) -> list[Path]:
    """Pictures of the engine of this computer (or of `backend`) without a display, in this process.

    Returns the files. Raises OSError when they cannot be written, RuntimeError when nothing answers.
    """
    from san_console.gui.app import open_window

    opened = open_window(backend, preferences=MemoryPreferences())
    try:
        if not wait_until(lambda: opened.host.connected, CONNECT_MS):
            raise RuntimeError(f"no pictures: {opened.host.state_text or 'the engine does not answer'}")
        wait_until(lambda: opened.host.replica.newest_sample("engine") is not None, FIGURES_MS)
        return save_pictures(opened.window, folder)
    finally:
        opened.close()
