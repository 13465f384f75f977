"""The navigation at the left: pages in groups, each with its count or a word when something is wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from PySide6.QtCore import QPointF, QRectF, QSize, Qt
from PySide6.QtGui import QColor, QFont, QFontMetrics, QKeyEvent, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QAbstractButton, QFrame, QSizePolicy, QWidget

from san_console.gui.bridge.host import QtHost
from san_console.gui.icons import pixmap
from san_console.gui.theme.theme import Theme, tokens
from san_console.gui.theme.tokens import ICON_PX, NAVIGATION_WIDTH_PX
from san_console.gui.translation import translated
from san_console.gui.views.registry import PAGES, Badge, PageSpec
from san_console.gui.widgets.cards import vertical
from san_console.gui.widgets.labels import PlainLabel

ITEM_HEIGHT_PX: Final = 32


class NavigationItem(QAbstractButton):
    """One page: icon, name, badge."""

    def __init__(self, spec: PageSpec, number: int, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.spec = spec
        self._badge = Badge("")
        self.setCheckable(True)
        self.setAutoExclusive(True)
        self._title = translated(spec.title)
        self.setText(self._title)
        self.setFixedHeight(ITEM_HEIGHT_PX)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setToolTip(self.tr("{title}  Ctrl+{number}").format(title=self._title, number=number))
        self.setAccessibleName(self._title)
        self.setAttribute(Qt.WidgetAttribute.WA_Hover)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)

    def sizeHint(self) -> QSize:
        return QSize(NAVIGATION_WIDTH_PX - 16, ITEM_HEIGHT_PX)

    def show_badge(self, badge: Badge) -> None:
        if badge != self._badge:
            self._badge = badge
            self.setAccessibleName(f"{self._title}, {badge.text}" if badge.text else self._title)
            self.update()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
            self.click()
            return
        super().keyPressEvent(event)

    def paintEvent(self, event: QPaintEvent) -> None:
        colors, theme = tokens(), Theme.of()
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        box = QRectF(self.rect()).adjusted(0.5, 0.5, -0.5, -0.5)
        chosen = self.isChecked()
        painter.setPen(QPen(QColor(colors.accent), 1) if self.hasFocus() else Qt.PenStyle.NoPen)
        if chosen:
            painter.setBrush(QColor(colors.accent_soft))
        elif self.underMouse():
            painter.setBrush(QColor(colors.hover))
        else:
            painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.drawRoundedRect(box, 6, 6)
        color = colors.accent if chosen else colors.text
        scale = 2 if self.devicePixelRatioF() > 1 else 1
        top = (self.height() - ICON_PX) // 2
        painter.drawPixmap(QPointF(8, top), pixmap(self.spec.icon, color, ICON_PX, scale))
        font = QFont(theme.font)
        if chosen:
            font.setWeight(QFont.Weight.DemiBold)
        painter.setFont(font)
        painter.setPen(QColor(color))
        left = Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter
        painter.drawText(QRectF(34, 0, self.width() - 40, self.height()), int(left), self.text())
        if self._badge.text:
            self._draw_badge(painter)

    def _draw_badge(self, painter: QPainter) -> None:
        colors = tokens()
        font = QFont(Theme.of().font)
        font.setPixelSize(font.pixelSize() - 1)
        tone = self._badge.tone
        right = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
        area = QRectF(0, 0, self.width() - 8, self.height())
        if tone is not None:
            font.setPixelSize(font.pixelSize() - 1)
            font.setWeight(QFont.Weight.DemiBold)
            width = QFontMetrics(font).horizontalAdvance(self._badge.text) + 14
            pill = QRectF(area.right() - width, area.center().y() - 8, width, 16)
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(QColor(colors.soft(tone)))
            painter.drawRoundedRect(pill, 8, 8)
            painter.setFont(font)
            painter.setPen(QColor(colors.tone(tone)))
            painter.drawText(pill, int(Qt.AlignmentFlag.AlignCenter), self._badge.text)
            return
        painter.setFont(font)
        painter.setPen(QColor(colors.muted))
        painter.drawText(area, int(right), self._badge.text)


class Navigation(QFrame):
    """`on_choose` gets the key of the page."""

    def __init__(self, host: QtHost, on_choose: Callable[[str], object]) -> None:
        super().__init__()
        self.setObjectName("navigation")
        self.setAccessibleName(self.tr("Pages"))
        self.setFixedWidth(NAVIGATION_WIDTH_PX)
        self._host = host
        self.items: dict[str, NavigationItem] = {}
        box = vertical(self, gap=2)
        box.setContentsMargins(8, 14, 8, 8)
        group = ""
        for number, spec in enumerate(PAGES, start=1):
            if spec.group != group:
                if group:
                    box.addSpacing(10)
                group = spec.group
                label = PlainLabel(translated(group), style="section")
                label.setContentsMargins(8, 2, 0, 5)
                box.addWidget(label)
            item = NavigationItem(spec, number)
            item.clicked.connect(lambda _checked=False, key=spec.key: on_choose(key))
            self.items[spec.key] = item
            box.addWidget(item)
        box.addStretch(1)

    def mark(self, key: str) -> None:
        """Show which page is open; a page outside the navigation leaves none marked."""
        for known, item in self.items.items():
            item.setAutoExclusive(False)
            item.setChecked(known == key)
            item.setAutoExclusive(True)

    def count(self, *, welcome: bool) -> None:
        for item in self.items.values():
            item.show_badge(Badge("") if welcome else item.spec.badge(self._host))
