"""The fonts of the window: the desktop's own sans at its own size, and its fixed-width face.

Without a platform theme (bare X11, offscreen) Qt names the generic "Sans Serif" 9 pt. Then the first
installed face of `PREFERRED_SANS` is taken at 13 px, so that the window does not depend on what fontconfig
happens to list first.
"""

from __future__ import annotations

from typing import Final

from PySide6.QtGui import QFont, QFontDatabase, QFontInfo
from PySide6.QtWidgets import QApplication

PREFERRED_SANS: Final = ("Inter", "Cantarell", "Noto Sans", "Ubuntu", "Segoe UI", "Open Sans", "DejaVu Sans")
PREFERRED_FIXED: Final = (
    "JetBrains Mono",
    "Cascadia Mono",
    "Noto Sans Mono",
    "Ubuntu Mono",
    "DejaVu Sans Mono",
)
GENERIC_FAMILIES: Final = frozenset({"", "sans serif", "sans-serif", "sans", "monospace"})
DEFAULT_SIZE_PX: Final = 13
MIN_SIZE_PX: Final = 11
MAX_SIZE_PX: Final = 24
"""A desktop set for poor eyesight stays readable; beyond this the pages no longer fit any screen."""


def _first_installed(preferred: tuple[str, ...]) -> str:
    installed = set(QFontDatabase.families())
    return next((family for family in preferred if family in installed), "")


def interface_font() -> QFont:
    """The font of the application, with figures of one width so that columns of numbers line up."""
    font = QFont(QApplication.font())
    size_px = DEFAULT_SIZE_PX
    if font.family().lower() in GENERIC_FAMILIES:
        family = _first_installed(PREFERRED_SANS)
        if family:
            font.setFamily(family)
    else:
        size_px = QFontInfo(font).pixelSize()
    font.setPixelSize(max(MIN_SIZE_PX, min(MAX_SIZE_PX, size_px)))
    font.setFeature(QFont.Tag("tnum"), 1)
    return font


def fixed_font(size_px: int) -> QFont:
    """For names, addresses and bytes. A little smaller: fixed-width faces look larger."""
    font = QFontDatabase.systemFont(QFontDatabase.SystemFont.FixedFont)
    if font.family().lower() in GENERIC_FAMILIES:
        family = _first_installed(PREFERRED_FIXED)
        if family:
            font.setFamily(family)
    font.setStyleHint(QFont.StyleHint.Monospace)
    font.setPixelSize(max(MIN_SIZE_PX, size_px - 1))
    return font
