"""A page on the simulated host without the main window: for tests and for looking at pictures."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import shiboken6
from PySide6.QtCore import QCoreApplication, QEvent
from PySide6.QtWidgets import QApplication, QDialog, QVBoxLayout, QWidget

from san_console.console.simulated import SimulatedBackend
from san_console.gui.bridge.host import QtHost
from san_console.gui.context import Context
from san_console.gui.preferences import MemoryPreferences
from san_console.gui.theme.theme import Theme, ThemeMode
from san_console.gui.theme.tokens import Tone
from san_console.gui.views.page import Page
from san_console.gui.views.registry import spec

START = 1_795_240_800.0


@dataclass
class FakeWindow:
    """Writes down what a page asks of the window."""

    gone: list[tuple[str, str]] = field(default_factory=list)
    said: list[tuple[str, Tone]] = field(default_factory=list)
    offered: list[Callable[[], object]] = field(default_factory=list)

    def go(self, page: str, identifier: str = "") -> None:
        self.gone.append((page, identifier))

    def say(
        self, text: str, tone: Tone = "text", action: str = "", on_action: Callable[[], object] | None = None
    ) -> None:
        self.said.append((text, tone))
        if on_action is not None:
            self.offered.append(on_action)

    def quick_connect(self, text: str = "", portal: str = "") -> None:
        self.gone.append(("quick_connect", text))


class PageBench:
    """`page` is shown in a window of its own. `settle` lets answers and batched changes arrive."""

    def __init__(self, key: str, scenario: str, theme: ThemeMode, size: tuple[int, int]) -> None:
        Theme.of().apply(theme)
        self.now = START
        self.backend = SimulatedBackend(scenario, now=self.now)
        self.host = QtHost(self.backend)
        self.window = FakeWindow()
        self.preferences = MemoryPreferences()
        self.context = Context(self.host, self.preferences, self.window, lambda: self.now)
        self.host.start()
        self.page: Page = spec(key).build(self.context)
        self.shell = QWidget()
        self.shell.setObjectName("content")
        layout = QVBoxLayout(self.shell)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.page)
        self.shell.resize(*size)
        self.shell.show()
        self.settle(2.0)

    def settle(self, seconds: float = 1.0) -> None:
        """Let simulated time pass, and hand everything on to the page without waiting for its batches."""
        steps = max(1, round(seconds * 4))
        for _ in range(steps):
            self.now += seconds / steps
            self.backend.tick(self.now)
            self.backend.deliver()
            self.host._flush()
            QApplication.processEvents()
        QApplication.processEvents()

    def dialogs(self) -> list[Any]:
        """Open dialogs, the newest last."""
        return [
            widget for widget in self.shell.findChildren(QDialog) if widget.isVisible() and not _dying(widget)
        ]

    def dialog(self) -> Any:
        found = self.dialogs()
        assert found, "no dialog is open"
        return found[-1]

    def close(self) -> None:
        for dialog in self.dialogs():
            dialog.close()
        self.host.close()
        self.shell.close()
        self.shell.deleteLater()
        QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete.value)
        QApplication.processEvents()


def _dying(widget: QWidget) -> bool:
    return not shiboken6.isValid(widget)


@contextmanager
def open_page(
    key: str,
    scenario: str = "demo",
    *,
    theme: ThemeMode = "light",
    size: tuple[int, int] = (1080, 724),
) -> Iterator[PageBench]:
    """`with open_page("luns") as bench`. A QApplication must exist (the fixture `qapp`)."""
    bench = PageBench(key, scenario, theme, size)
    try:
        yield bench
    finally:
        bench.close()
