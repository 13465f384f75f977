"""Closes a panel when the user clicks beside it. Watches the application only while a panel is open."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import QCoreApplication, QEvent, QObject
from PySide6.QtGui import QMouseEvent
from PySide6.QtWidgets import QApplication, QWidget


def within(widget: QWidget, *ancestors: QWidget) -> bool:
    return any(widget is one or one.isAncestorOf(widget) for one in ancestors)


class OutsideClicks(QObject):
    """`on_outside` is called for a click that is neither in `panel` nor in one of `friends`."""

    def __init__(self, panel: QWidget, on_outside: Callable[[], object], *friends: QWidget) -> None:
        super().__init__(panel)
        self._panel = panel
        self._friends = friends
        self._on_outside = on_outside
        panel.installEventFilter(self)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        kind = event.type()
        application = QCoreApplication.instance()
        if watched is self._panel and application is not None:
            # A filter on the application sees every event there is, so it stays no longer than needed.
            if kind == QEvent.Type.Show:
                application.installEventFilter(self)
            elif kind == QEvent.Type.Hide:
                application.removeEventFilter(self)
        if isinstance(event, QMouseEvent) and kind == QEvent.Type.MouseButtonPress:
            self._look(event)
        return False

    def _look(self, event: QMouseEvent) -> None:
        if not self._panel.isVisible() or QApplication.activePopupWidget() is not None:
            return
        under = QApplication.widgetAt(event.globalPosition().toPoint())
        if under is None or under.window() is not self._panel.window():
            return
        if not within(under, self._panel, *self._friends):
            self._on_outside()
