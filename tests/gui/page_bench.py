"""A page on the simulated host without the main window: for tests and for looking at pictures."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import shiboken6
from PySide6.QtCore import QCoreApplication, QEvent, Qt
from PySide6.QtGui import QAccessible
from PySide6.QtWidgets import (
    QAbstractButton,
    QApplication,
    QComboBox,
    QDialog,
    QLabel,
    QLineEdit,
    QSplitter,
    QTabBar,
    QTabWidget,
    QVBoxLayout,
    QWidget,
)

from san_console.console.simulated import SimulatedBackend
from san_console.gui.bridge.host import QtHost
from san_console.gui.context import Context
from san_console.gui.preferences import MemoryPreferences
from san_console.gui.theme.theme import Theme, ThemeMode
from san_console.gui.theme.tokens import Tone
from san_console.gui.views.page import Page
from san_console.names.display import acts_or_hides

P = TypeVar("P", bound=Page)

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


class PageBench(Generic[P]):
    """`page` is shown in a window of its own. `settle` lets answers and batched changes arrive."""

    def __init__(self, kind: type[P], scenario: str, theme: ThemeMode, size: tuple[int, int]) -> None:
        if Theme.of().mode != theme:
            # Costs as much as a page does.
            Theme.of().apply(theme)
        self.now = START
        self.backend = SimulatedBackend(scenario, now=self.now)
        self.host = QtHost(self.backend)
        self.window = FakeWindow()
        self.preferences = MemoryPreferences()
        self.context = Context(self.host, self.preferences, self.window, lambda: self.now)
        self.host.start()
        self.page = kind(self.context)
        self.shell = QWidget()
        self.shell.setObjectName("content")
        layout = QVBoxLayout(self.shell)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.page)
        self.shell.resize(*size)
        self.shell.show()
        self.settle(1.0)

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
    kind: type[P],
    scenario: str = "demo",
    *,
    theme: ThemeMode = "light",
    size: tuple[int, int] = (1080, 724),
) -> Iterator[PageBench[P]]:
    """`with open_page(LunsPage) as bench`. A QApplication must exist (the fixture `qapp`)."""
    bench = PageBench(kind, scenario, theme, size)
    try:
        yield bench
    finally:
        bench.close()


def nameless(root: QWidget) -> list[str]:
    """Controls under `root` that the keyboard reaches and a screen reader could not name."""
    found = []
    for widget in root.findChildren(QWidget):
        reachable = widget.isVisible() and widget.focusPolicy() != Qt.FocusPolicy.NoFocus
        inside = isinstance(widget.parent(), (QComboBox, QTabBar, QLineEdit))
        if not reachable or inside or isinstance(widget, (QTabWidget, QSplitter)):
            continue
        interface = QAccessible.queryAccessibleInterface(widget)
        name = interface.text(QAccessible.Text.Name) if interface is not None else ""
        if not name:
            found.append(f"{type(widget).__name__} in {type(widget.parent()).__name__}")
    return found


def harmful(root: QWidget) -> list[str]:
    """Labels under `root` that read markup, and texts in which something acts instead of being seen."""
    found = []
    for label in root.findChildren(QLabel):
        # A label that shows an icon has no text to be read as anything.
        if label.text() and label.textFormat() != Qt.TextFormat.PlainText:
            found.append(f"reads markup: {label.text()!r}")
        if any(acts_or_hides(letter) for letter in label.text().replace("\n", "")):
            found.append(f"acts: {label.text()!r}")
    for widget in (root, *root.findChildren(QWidget)):
        for said in (widget.windowTitle(), widget.accessibleName()):
            if any(acts_or_hides(letter) for letter in said):
                found.append(f"name or title: {said!r}")
        tip = widget.toolTip()
        if "<img" in tip or "<a " in tip or "\x1b" in tip or "\u202e" in tip:
            found.append(f"tooltip: {tip!r}")
    for button in root.findChildren(QAbstractButton):
        if any(acts_or_hides(letter) for letter in button.text().lstrip("\u2009")):
            found.append(f"button: {button.text()!r}")
    return found
