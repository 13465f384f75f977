"""Line-drawn icons (Lucide, ISC) in the colours of the theme."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Final

from PySide6.QtCore import QByteArray, QRectF, QSize, Qt
from PySide6.QtGui import QIcon, QPainter, QPixmap
from PySide6.QtSvg import QSvgRenderer
from PySide6.QtWidgets import QAbstractButton, QLabel, QWidget

from san_console.gui.resources import resources_dir
from san_console.gui.theme.tokens import ICON_PX, Tokens

_NAME: Final = "icon_name"
_ROLE: Final = "icon_role"
_SIZE: Final = "icon_size"
_SCALES: Final = (1, 2)
"""Pixmaps for plain and for high-density screens."""


@lru_cache(maxsize=256)
def _source(name: str) -> bytes:
    return (resources_dir() / "icons" / f"{name}.svg").read_bytes()


@lru_cache(maxsize=1024)
def pixmap(name: str, color: str, size_px: int = ICON_PX, scale: int = 1) -> QPixmap:
    """The icon drawn in `color`. Raises `FileNotFoundError` for a name that is not bundled."""
    svg = (
        _source(name)
        .replace(b"currentColor", color.encode())
        .replace(b'stroke-width="2"', b'stroke-width="1.9"')
    )
    image = QPixmap(QSize(size_px, size_px) * scale)
    image.fill(Qt.GlobalColor.transparent)
    painter = QPainter(image)
    QSvgRenderer(QByteArray(svg)).render(painter, QRectF(0, 0, size_px * scale, size_px * scale))
    painter.end()
    image.setDevicePixelRatio(scale)
    return image


def icon(name: str, color: str, size_px: int = ICON_PX) -> QIcon:
    made = QIcon()
    for scale in _SCALES:
        made.addPixmap(pixmap(name, color, size_px, scale))
    return made


def set_icon(
    widget: QAbstractButton | QLabel, name: str, role: str, tokens: Tokens, size_px: int = ICON_PX
) -> None:
    """Give a button or label an icon in the token `role`; it is drawn anew when the theme changes."""
    widget.setProperty(_NAME, name)
    widget.setProperty(_ROLE, role)
    widget.setProperty(_SIZE, size_px)
    _draw(widget, tokens)


def _draw(widget: QAbstractButton | QLabel, tokens: Tokens) -> None:
    size_px = int(widget.property(_SIZE))
    color: str = getattr(tokens, str(widget.property(_ROLE)))
    name = str(widget.property(_NAME))
    if isinstance(widget, QAbstractButton):
        widget.setIcon(icon(name, color, size_px))
        widget.setIconSize(QSize(size_px, size_px))
    else:
        widget.setPixmap(pixmap(name, color, size_px, 2 if widget.devicePixelRatioF() > 1 else 1))


def retint(widgets: Iterable[QWidget], tokens: Tokens) -> None:
    """Draw every icon that `set_icon` gave in the colours of another theme."""
    for widget in widgets:
        if isinstance(widget, (QAbstractButton, QLabel)) and widget.property(_NAME):
            _draw(widget, tokens)
