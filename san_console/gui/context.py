"""What every page gets: the host, the preferences, and ways to reach the rest of the window."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from san_console.api.problems import Problem
from san_console.gui.bridge.host import QtHost
from san_console.gui.preferences import Preferences
from san_console.gui.theme.tokens import Tone


class Window(Protocol):
    """The part of the main window that pages use."""

    def go(self, page: str, identifier: str = "") -> None:
        """Show a page (its key in `views.registry`) and select an object on it."""

    def say(
        self, text: str, tone: Tone = "text", action: str = "", on_action: Callable[[], object] | None = None
    ) -> None:
        """A toast, with a button (`Undo`) where there is something to do."""

    def quick_connect(self, text: str = "", portal: str = "") -> None:
        """Open the Quick Connect panel; a target's name and portal lead straight to its log-in."""


@dataclass(slots=True)
class Context:
    host: QtHost
    preferences: Preferences
    window: Window
    now: Callable[[], float] = field(default=time.time)

    def say_problem(self, problem: Problem) -> None:
        """A toast for a problem that has no better place."""
        self.window.say(problem.message, "bad")
