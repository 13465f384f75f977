"""The main window: top bar, navigation, the pages, status bar. Pages are built when they are first opened."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from PySide6.QtCore import QByteArray, QPoint, Qt, QTimer
from PySide6.QtGui import QCloseEvent, QKeySequence, QResizeEvent, QShortcut
from PySide6.QtWidgets import QAbstractItemView, QApplication, QMainWindow, QStackedWidget, QTabBar, QWidget

from san_console.api.initiator_objects import Target
from san_console.api.problems import Problem
from san_console.gui.bridge.host import QtHost
from san_console.gui.context import Context
from san_console.gui.preferences import Preferences
from san_console.gui.shell.navigation import Navigation
from san_console.gui.shell.popups import OutsideClicks, within
from san_console.gui.shell.status_bar import StatusBar
from san_console.gui.shell.top_bar import TopBar
from san_console.gui.states import is_in_use
from san_console.gui.theme.tokens import GRID_PX, STATUS_BAR_HEIGHT_PX, TOP_BAR_HEIGHT_PX, Tone
from san_console.gui.views.page import Page
from san_console.gui.views.registry import PAGES, spec
from san_console.gui.widgets.cards import horizontal, vertical
from san_console.gui.widgets.problems import InlineProblem
from san_console.gui.widgets.toast import Toasts

DEFAULT_WIDTH_PX: Final = 1280
DEFAULT_HEIGHT_PX: Final = 800
MINIMUM_WIDTH_PX: Final = 960
MINIMUM_HEIGHT_PX: Final = 600
SETTINGS_PAGE: Final = "settings"
WELCOME: Final = "welcome"
_STALE_STATES: Final = ("lost", "incompatible", "refused")


class MainWindow(QMainWindow):
    """The window on one host."""

    def __init__(
        self, host: QtHost, preferences: Preferences, now: Callable[[], float] | None = None
    ) -> None:
        super().__init__()
        self.host = host
        self.preferences = preferences
        self.context = Context(host, preferences, self, *([now] if now is not None else []))
        self.setWindowTitle("SAN Console")
        self.setMinimumSize(MINIMUM_WIDTH_PX, MINIMUM_HEIGHT_PX)
        self.pages: dict[str, Page] = {}
        self.page_key = ""
        self._welcome: QWidget | None = None
        self._notifications: QWidget | None = None
        self._quick: Any = None
        self._leaving = False
        self._seen_events = ""
        self._build()
        self.toasts = Toasts(self)
        self._add_shortcuts()
        host.state_changed.connect(self._state_changed)
        host.reset.connect(self._reset)
        host.changed.connect(self._changed)
        host.failed.connect(self._call_failed)
        self._restore_geometry()

    def _build(self) -> None:
        shell = QWidget()
        shell.setObjectName("shell")
        outer = vertical(shell, gap=0)
        self.top_bar = TopBar(self.host, self.open_notifications, lambda: self.go(SETTINGS_PAGE))
        outer.addWidget(self.top_bar)
        middle = horizontal(gap=0)
        self.navigation = Navigation(self.host, self.go)
        middle.addWidget(self.navigation)
        content = QWidget()
        content.setObjectName("content")
        inside = vertical(content, gap=0)
        self.banner = InlineProblem("notice")
        holder = QWidget()
        self._banner_holder = holder
        held = vertical(holder)
        held.setContentsMargins(16, 12, 16, 0)
        held.addWidget(self.banner)
        holder.hide()
        inside.addWidget(holder)
        self.stack = QStackedWidget()
        self.stack.setObjectName("pages")
        inside.addWidget(self.stack, 1)
        middle.addWidget(content, 1)
        outer.addLayout(middle, 1)
        self.status_bar = StatusBar(self.host, self.go, self.open_notifications)
        outer.addWidget(self.status_bar)
        self.setCentralWidget(shell)
        quick = self.top_bar.quick
        quick.returnPressed.connect(self._quick_entered)
        quick.entered.connect(self._quick_focused)
        quick.left.connect(self._quick_left)
        quick.into_panel.connect(self._into_quick_panel)

    def _add_shortcuts(self) -> None:
        keys: list[tuple[str, Callable[[], object]]] = [
            ("Ctrl+K", self.quick_connect),
            ("Ctrl+F", lambda: self._on_page("focus_filter")),
            ("F5", lambda: self._on_page("renew")),
            ("F6", lambda: self._next_pane(1)),
            ("Shift+F6", lambda: self._next_pane(-1)),
            ("Ctrl+,", lambda: self.go(SETTINGS_PAGE)),
            ("Ctrl+E", lambda: self.go("events")),
            ("Ctrl+Q", self.close),
        ]
        for number, page in enumerate(PAGES, start=1):
            keys.append((f"Ctrl+{number}", lambda key=page.key: self.go(key)))  # type: ignore[misc]  # a default binds it
        for key, action in keys:
            shortcut = QShortcut(QKeySequence(key), self)
            shortcut.activated.connect(action)

    # pages

    def go(self, page: str, identifier: str = "") -> None:
        if page not in self.pages:
            self._build_page(page)
        self.page_key = page
        self.navigation.mark(page)
        if page != SETTINGS_PAGE:
            self.preferences.set("window.page", page)
        self._show_page()
        self._focus_page()
        if identifier:
            self.pages[page].select(identifier)

    def _focus_page(self) -> None:
        """The keyboard goes on in the page, unless it is walking through the navigation."""
        focus = QApplication.focusWidget()
        page = self.stack.currentWidget()
        if page is None or (focus is not None and within(focus, self.navigation)):
            return
        views = (view for view in page.findChildren(QAbstractItemView) if view.isVisibleTo(page))
        next(views, page).setFocus(Qt.FocusReason.OtherFocusReason)

    def _build_page(self, key: str) -> None:
        if key == SETTINGS_PAGE:
            from san_console.gui.views.settings import SettingsPage

            page: Page = SettingsPage(self.context)
        else:
            page = spec(key).build(self.context)
        page.reload()
        self.pages[key] = page
        self.stack.addWidget(page)

    @property
    def nothing_known(self) -> bool:
        """Nothing was found, typed in, logged in to or served yet."""
        collections = self.host.replica.collections
        sources = [source for source in collections["sources"].values() if source.kind != "manual"]
        others = ("targets", "sessions", "local_targets", "identities")
        if self.host.replica.revision is None or sources or any(map(collections.get, others)):
            return False
        # The embedded name server is always on the list; it counts once it runs.
        return not any(is_in_use(server) for server in collections["isns_servers"].values())

    def _show_page(self) -> None:
        if self.page_key == "discover" and self.nothing_known:
            if self._welcome is None:
                from san_console.gui.views.first_run import FirstRun

                self._welcome = FirstRun(self.context, self._change_initiator_name)
                self.stack.addWidget(self._welcome)
            self.stack.setCurrentWidget(self._welcome)
        elif self.page_key in self.pages:
            self.stack.setCurrentWidget(self.pages[self.page_key])

    def start_page(self) -> str:
        last = self.preferences.get("window.page", "discover")
        return last if any(page.key == last for page in PAGES) else "discover"

    def _on_page(self, action: str) -> None:
        page = self.stack.currentWidget()
        if isinstance(page, Page):
            getattr(page, action)()

    def _next_pane(self, step: int) -> None:
        """F6: the navigation, the page's table, its details, Quick Connect, and round again."""
        page = self.stack.currentWidget()
        panes: list[QWidget] = [self.top_bar.quick, self.navigation]
        if page is not None:
            panes += [w for w in page.findChildren(QAbstractItemView) if w.isVisible()][:2]
            panes += [w for w in page.findChildren(QTabBar) if w.isVisible()][:1]
        focus = QApplication.focusWidget()
        here = next((n for n, pane in enumerate(panes) if focus is not None and within(focus, pane)), -1)
        wanted = panes[(here + step) % len(panes)]
        if wanted is self.navigation:
            item = self.navigation.items.get(self.page_key) or self.navigation.items["discover"]
            item.setFocus(Qt.FocusReason.TabFocusReason)
        else:
            wanted.setFocus(Qt.FocusReason.TabFocusReason)

    def _change_initiator_name(self) -> None:
        from san_console.gui.dialogs.initiator_name import InitiatorNameDialog

        InitiatorNameDialog(self.context, self).open()

    # the host

    def _state_changed(self, state: str, text: str) -> None:
        stale = state in _STALE_STATES
        self._banner_holder.setVisible(stale)
        if stale:
            self.banner.say(
                self.tr(
                    "The connection to the engine is gone. What you see is from before; "
                    "it is being tried again."
                ),
                "",
                text,
            )
        self.stack.setEnabled(not stale)

    def _reset(self) -> None:
        self._banner_holder.hide()
        self.stack.setEnabled(True)
        self.navigation.count(welcome=self.nothing_known)
        self._seen_events = max((event.id for event in self.host.values("events")), key=_number, default="")
        if not self.page_key:
            self.go(self.start_page())
        else:
            self._show_page()
        engine = self.host.engine
        if engine is not None and engine.state_note:
            self.say(engine.state_note, "warning")

    def _changed(self, collection: str, changes: list[Any]) -> None:
        self.navigation.count(welcome=self.nothing_known)
        if collection == "events":
            self._tell_events([change.new for change in changes if change.new is not None])
        if self.page_key == "discover":
            self._show_page()

    def _tell_events(self, events: list[Any]) -> None:
        """What an admin has to know at once becomes a toast; the rest waits under the bell."""
        fresh = [event for event in events if _number(event.id) > _number(self._seen_events)]
        if not fresh:
            return
        self._seen_events = max((event.id for event in fresh), key=_number)
        bad = [event for event in fresh if event.severity != "info"]
        if bad:
            self.top_bar.bell.show_unread(len(bad))
        told_in_panel = self._quick is not None and self._quick.isVisible()
        for event in fresh:
            if event.kind == "login_failed" and told_in_panel:
                continue
            if event.kind in ("connection_lost", "login_failed", "backstore_error", "stopped"):
                self.say(event.text, "bad" if event.severity == "error" else "warning")
            elif event.kind == "recovered":
                self.say(event.text, "good")

    def _call_failed(self, problem: Problem) -> None:
        self.say(problem.message, "bad")

    # what pages ask for

    def say(
        self, text: str, tone: Tone = "text", action: str = "", on_action: Callable[[], object] | None = None
    ) -> None:
        self.toasts.say(text, tone, action, on_action)

    def quick_connect(self, text: str = "", portal: str = "") -> None:
        if text and portal:
            self._panel().log_in_to(text, portal)
        elif text and isinstance(self.host.get("targets", text), Target):
            self._panel().begin(text)
        else:
            self.top_bar.quick.setFocus(Qt.FocusReason.ShortcutFocusReason)
            self.top_bar.quick.selectAll()
            self._panel().open_idle()
        self._place_popups()

    def open_notifications(self) -> None:
        if self._notifications is None:
            from san_console.gui.shell.notifications import NotificationPanel

            panel = NotificationPanel(self.context, self)
            OutsideClicks(panel, panel.hide, self.top_bar.bell, self.status_bar.tasks)
            self._notifications = panel
        if self._notifications.isVisible():
            self._notifications.hide()
            return
        self.top_bar.bell.show_unread(0)
        height = self.height() - TOP_BAR_HEIGHT_PX - STATUS_BAR_HEIGHT_PX - 4 * GRID_PX
        corner = QPoint(self.width() - 2 * GRID_PX, TOP_BAR_HEIGHT_PX - GRID_PX)
        self._notifications.open_at(corner, height)  # type: ignore[attr-defined]  # a NotificationPanel, made above

    # Quick Connect

    def _panel(self) -> Any:
        if self._quick is None:
            from san_console.gui.shell.quick_connect import QuickConnectPanel

            self._quick = QuickConnectPanel(self.context, self)
            self._quick.closed.connect(self._quick_closed)
            OutsideClicks(self._quick, self._quick.close_panel, self.top_bar.quick)
        return self._quick

    def _place_popups(self) -> None:
        if self._quick is not None:
            field = self.top_bar.quick
            self._quick.move(field.mapTo(self, QPoint(0, field.height() + GRID_PX)))

    def _quick_entered(self) -> None:
        self._panel().begin(self.top_bar.quick.text())
        self._place_popups()

    def _quick_focused(self) -> None:
        self._panel().open_idle()
        self._place_popups()

    def _quick_left(self) -> None:
        if self._quick is not None:
            self._quick.close_panel()

    def _into_quick_panel(self) -> None:
        if self._quick is not None and self._quick.isVisible():
            self._quick.go_button.setFocus(Qt.FocusReason.TabFocusReason)

    def _quick_closed(self) -> None:
        self.top_bar.quick.clear()
        self._focus_page()

    # Qt

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._place_popups()
        if self._notifications is not None:
            self._notifications.hide()

    def _restore_geometry(self) -> None:
        kept = self.preferences.get("window.geometry", "")
        if not (
            isinstance(kept, str)
            and self.restoreGeometry(QByteArray.fromBase64(kept.encode("ascii", "ignore")))
        ):
            self.resize(DEFAULT_WIDTH_PX, DEFAULT_HEIGHT_PX)

    def closeEvent(self, event: QCloseEvent) -> None:
        if not self._leaving and self._still_served():
            event.ignore()
            self._ask_to_leave()
            return
        self.preferences.set("window.geometry", bytes(self.saveGeometry().toBase64().data()).decode("ascii"))
        self.preferences.save()
        super().closeEvent(event)

    def _still_served(self) -> bool:
        if not self.host.connected or self.preferences.get("quit.silently", False):
            return False
        serving = any(target.state == "serving" for target in self.host.values("local_targets"))
        return serving or any(session.state != "logged_out" for session in self.host.values("sessions"))

    def _ask_to_leave(self) -> None:
        from san_console.gui.dialogs.leaving import LeavingDialog

        LeavingDialog(self.context, self.leave, self).open()

    def leave(self) -> None:
        """Close without asking again."""
        self._leaving = True
        QTimer.singleShot(0, self, self.close)


def _number(event_id: str) -> int:
    return int(event_id) if event_id.isdecimal() else 0
