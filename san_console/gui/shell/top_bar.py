"""The bar at the top: which host, the Quick Connect field, notifications, settings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from PySide6.QtCore import QEvent, QSize, Qt, Signal
from PySide6.QtGui import QColor, QFocusEvent, QIcon, QKeyEvent, QPainter, QPaintEvent, QResizeEvent
from PySide6.QtWidgets import QFrame, QHBoxLayout, QLabel, QLineEdit, QWidget

from san_console.gui.bridge.host import QtHost
from san_console.gui.icons import icon, set_icon
from san_console.gui.theme.theme import Theme, tokens
from san_console.gui.theme.tokens import NAVIGATION_WIDTH_PX, TOP_BAR_HEIGHT_PX
from san_console.gui.translation import QT_TRANSLATE_NOOP, translated
from san_console.gui.widgets.buttons import IconButton
from san_console.gui.widgets.cards import horizontal
from san_console.gui.widgets.labels import ElidedLabel, PlainLabel

QUICK_WIDTH_PX: Final = 505
PLACEHOLDER: Final = QT_TRANSLATE_NOOP("Table", "Quick Connect: address, iSCSI name or iscsi:// URL")


_WISHES: Final = (
    Qt.FocusReason.MouseFocusReason,
    Qt.FocusReason.ShortcutFocusReason,
)


class QuickConnectField(QLineEdit):
    """Where everything begins. Enter goes on, Escape leaves, Down goes into the panel."""

    left = Signal()
    into_panel = Signal()
    entered = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("quickConnect")
        self.setPlaceholderText(translated(PLACEHOLDER))
        self.setAccessibleName(self.tr("Quick Connect"))
        self.setAccessibleDescription(self.tr("An address, an iSCSI name or an iscsi:// URL; Enter goes on"))
        self.setMaxLength(1024)
        self.setMinimumWidth(260)
        self.setMaximumWidth(QUICK_WIDTH_PX)
        self.setFixedHeight(32)
        self._glass = self.addAction(QIcon(), QLineEdit.ActionPosition.LeadingPosition)
        self._keycap = PlainLabel("Ctrl+K", parent=self)
        self._keycap.setProperty("keycap", True)
        self._keycap.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self._tint()
        Theme.of().changed.connect(self._tint)
        self.textChanged.connect(lambda text: self._keycap.setVisible(not text))

    def _tint(self) -> None:
        self._glass.setIcon(icon("search", tokens().muted))

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._place()

    def event(self, event: QEvent) -> bool:
        handled = super().event(event)
        if event.type() in (QEvent.Type.Polish, QEvent.Type.StyleChange, QEvent.Type.Show):
            self._place()
        return handled

    def _place(self) -> None:
        size = self._keycap.sizeHint()
        self._keycap.resize(size)
        self._keycap.move(self.width() - size.width() - 10, (self.height() - size.height()) // 2)

    def focusInEvent(self, event: QFocusEvent) -> None:
        super().focusInEvent(event)
        # A window that comes to the front gives the focus back; that is no wish to connect.
        if event.reason() in _WISHES:
            self.entered.emit()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() == Qt.Key.Key_Escape:
            self.left.emit()
        elif event.key() == Qt.Key.Key_Down:
            self.into_panel.emit()
        else:
            super().keyPressEvent(event)


class Bell(IconButton):
    """Notifications, with a dot while there are unread ones."""

    def __init__(self, on_click: Callable[[], object]) -> None:
        super().__init__("bell", self.tr("Notifications"), on_click)
        self._unread = 0

    def show_unread(self, number: int) -> None:
        self._unread = number
        self.setAccessibleName(
            self.tr("Notifications, {number} unread").format(number=number)
            if number
            else self.tr("Notifications")
        )
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        super().paintEvent(event)
        if self._unread:
            painter = QPainter(self)
            painter.setRenderHint(QPainter.RenderHint.Antialiasing)
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(QColor(tokens().bad))
            painter.drawEllipse(self.width() - 13, 5, 7, 7)


class TopBar(QFrame):
    def __init__(
        self, host: QtHost, on_notifications: Callable[[], object], on_settings: Callable[[], object]
    ) -> None:
        super().__init__()
        self.setObjectName("topBar")
        self.setAccessibleName(self.tr("Top bar"))
        self.setFixedHeight(TOP_BAR_HEIGHT_PX)
        row: QHBoxLayout = horizontal(self, gap=0)
        row.setContentsMargins(12, 0, 8, 0)
        name = QWidget()
        name.setFixedWidth(NAVIGATION_WIDTH_PX)
        inside = horizontal(name, gap=8)
        picture = QLabel()
        picture.setAccessibleName(self.tr("Host"))
        set_icon(picture, "monitor", "text", tokens())
        self.host_name = ElidedLabel(translated(host.backend.name), style="strong")
        inside.addWidget(picture)
        inside.addWidget(self.host_name, 1)
        row.addWidget(name)
        self.quick = QuickConnectField()
        row.addWidget(self.quick, 4)
        row.addStretch(1)
        self.bell = Bell(on_notifications)
        self.settings = IconButton("settings", self.tr("Settings"), on_settings)
        row.addWidget(self.bell)
        row.addWidget(self.settings)

    def minimumSizeHint(self) -> QSize:
        return QSize(600, TOP_BAR_HEIGHT_PX)
