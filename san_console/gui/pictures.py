"""Pictures of every page in both themes, for the README, for `lab --pictures` and for looking at."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from PySide6.QtCore import QDeadlineTimer, QEventLoop, QSize
from PySide6.QtGui import QImage, QPainter
from PySide6.QtWidgets import QApplication

from san_console.gui.shell.main_window import MainWindow
from san_console.gui.theme.theme import Theme, ThemeMode
from san_console.gui.views.registry import PAGES

DEFAULT_SIZES: Final = ((1280, 800), (1920, 1080))
BOTH_THEMES: Final[tuple[ThemeMode, ...]] = ("light", "dark")
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
                window.go(page.key)
                window.toasts.clear()
                paths.append(grab(window, folder / f"{page.key}-{theme}-{width}x{height}.png"))
    Theme.of().apply(mode)
    window.resize(size)
    window.go(before)
    return paths
