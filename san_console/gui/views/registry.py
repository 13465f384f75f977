"""The pages by name. A page's module is imported when the page is first opened, not when the window
starts.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Final, NamedTuple

from san_console.gui.bridge.host import QtHost
from san_console.gui.context import Context
from san_console.gui.states import is_down, is_in_use, trouble
from san_console.gui.theme.tokens import Tone
from san_console.gui.translation import QT_TRANSLATE_NOOP
from san_console.gui.views.page import Page


class Badge(NamedTuple):
    """What stands at the right of an entry in the navigation: a count, or a word in a colour."""

    text: str
    tone: Tone | None = None


class PageSpec(NamedTuple):
    key: str
    title: str
    icon: str
    group: str
    module: str
    page_class: str
    badge: Callable[[QtHost], Badge]

    def build(self, context: Context) -> Page:
        page: Page = getattr(import_module(f"san_console.gui.views.{self.module}"), self.page_class)(context)
        return page


def _count(collection: str) -> Callable[[QtHost], Badge]:
    def badge(host: QtHost) -> Badge:
        number = len(host.replica.collections[collection])
        return Badge(f"{number:,}" if number else "")

    return badge


def _sessions(host: QtHost) -> Badge:
    sessions = host.values("sessions")
    troubled = trouble(sessions)
    if troubled:
        # There is room for the worse of two words.
        worst = troubled.rsplit(", ", 1)[-1]
        return Badge(worst, "bad" if any(map(is_down, sessions)) else "warning")
    return Badge(f"{len(sessions):,}" if sessions else "")


def _targets(host: QtHost) -> Badge:
    known = sum(1 for t in host.values("targets") if t.session_ids or t.login.favourite)
    return Badge(f"{known:,}" if known else "")


def _isns(host: QtHost) -> Badge:
    number = sum(map(is_in_use, host.values("isns_servers")))
    return Badge(f"{number:,}" if number else "")


def _nothing(_host: QtHost) -> Badge:
    return Badge("")


PAGES: Final[tuple[PageSpec, ...]] = (
    PageSpec(
        "discover",
        QT_TRANSLATE_NOOP("Table", "Discover"),
        "search",
        QT_TRANSLATE_NOOP("Table", "Initiator"),
        "discover",
        "DiscoverPage",
        _count("targets"),
    ),
    PageSpec(
        "targets",
        QT_TRANSLATE_NOOP("Table", "Targets"),
        "target",
        QT_TRANSLATE_NOOP("Table", "Initiator"),
        "targets",
        "TargetsPage",
        _targets,
    ),
    PageSpec(
        "sessions",
        QT_TRANSLATE_NOOP("Table", "Sessions"),
        "activity",
        QT_TRANSLATE_NOOP("Table", "Initiator"),
        "sessions",
        "SessionsPage",
        _sessions,
    ),
    PageSpec(
        "luns",
        "LUNs",
        "database",
        QT_TRANSLATE_NOOP("Table", "Initiator"),
        "luns",
        "LunsPage",
        _count("luns"),
    ),
    PageSpec(
        "serve",
        QT_TRANSLATE_NOOP("Table", "Serve"),
        "server",
        QT_TRANSLATE_NOOP("Table", "Target"),
        "serve",
        "ServePage",
        _count("local_targets"),
    ),
    PageSpec("isns", "iSNS", "network", QT_TRANSLATE_NOOP("Table", "Target"), "isns", "IsnsPage", _isns),
    PageSpec(
        "secrets",
        QT_TRANSLATE_NOOP("Table", "Secrets"),
        "key-round",
        QT_TRANSLATE_NOOP("Table", "Console"),
        "secrets",
        "SecretsPage",
        _count("identities"),
    ),
    PageSpec(
        "events",
        QT_TRANSLATE_NOOP("Table", "Events"),
        "list",
        QT_TRANSLATE_NOOP("Table", "Console"),
        "events",
        "EventsPage",
        _nothing,
    ),
)
"""In the order of the navigation and of Ctrl+1 to Ctrl+8."""


def spec(key: str) -> PageSpec:
    """Raises `KeyError` for a page that does not exist."""
    for page in PAGES:
        if page.key == key:
            return page
    raise KeyError(key)
