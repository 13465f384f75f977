"""The colours and measures of the window, light and dark. No other file names a colour.

`*_soft` colours are backgrounds for text in the colour of the same name; the contrast of every pair that
the window shows is checked by a test (4.5:1, WCAG 2.2 §1.4.3).
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Final, Literal

Tone = Literal["text", "muted", "accent", "good", "warning", "bad"]
"""What a colour says. It never says it alone: a word or an icon stands beside it."""


@dataclass(frozen=True, slots=True)
class Tokens:
    """One theme. Values are `#rrggbb`."""

    dark: bool
    background: str
    surface: str
    raised: str
    hover: str
    border: str
    border_strong: str
    text: str
    muted: str
    accent: str
    accent_hover: str
    accent_soft: str
    on_accent: str
    good: str
    good_soft: str
    warning: str
    warning_soft: str
    bad: str
    bad_soft: str
    neutral_soft: str
    field: str
    scroll: str
    chart_read: str
    chart_write: str
    chart_p50: str
    chart_p99: str
    chart_grid: str
    toast: str
    on_toast: str

    def tone(self, tone: Tone) -> str:
        value: str = getattr(self, tone)
        return value

    def soft(self, tone: Tone) -> str:
        """The background that goes with text in `tone`."""
        if tone in ("text", "muted"):
            return self.neutral_soft
        value: str = getattr(self, f"{tone}_soft")
        return value

    def as_dict(self) -> dict[str, str]:
        return {field.name: getattr(self, field.name) for field in fields(self) if field.name != "dark"}


LIGHT: Final = Tokens(
    dark=False,
    background="#f5f6f8",
    surface="#ffffff",
    raised="#fbfcfd",
    hover="#f1f4f8",
    border="#dfe3e8",
    border_strong="#c4cbd4",
    text="#1a1f26",
    muted="#5a6675",
    accent="#1f5fd6",
    accent_hover="#184fb8",
    accent_soft="#e7eefc",
    on_accent="#ffffff",
    good="#13783a",
    good_soft="#e6f5eb",
    warning="#a84c08",
    warning_soft="#fdf0de",
    bad="#c02626",
    bad_soft="#fdeaea",
    neutral_soft="#eceff3",
    field="#f5f6f8",
    scroll="#c4cbd4",
    chart_read="#1f5fd6",
    chart_write="#c2700b",
    chart_p50="#0f766e",
    chart_p99="#8b35c9",
    chart_grid="#e9ecf0",
    toast="#1a1f26",
    on_toast="#f5f6f8",
)

DARK: Final = Tokens(
    dark=True,
    background="#13161b",
    surface="#1a1e25",
    raised="#1f242c",
    hover="#222831",
    border="#2d343f",
    border_strong="#434d5b",
    text="#e7eaef",
    muted="#9aa5b4",
    accent="#6aa3ff",
    accent_hover="#86b4ff",
    accent_soft="#1c2b47",
    on_accent="#0d1420",
    good="#5cc98a",
    good_soft="#163022",
    warning="#f0b057",
    warning_soft="#362814",
    bad="#ff8080",
    bad_soft="#3b1f22",
    neutral_soft="#282e38",
    field="#15191f",
    scroll="#434d5b",
    chart_read="#6aa3ff",
    chart_write="#f0a850",
    chart_p50="#4fc4b5",
    chart_p99="#c58cff",
    chart_grid="#262c35",
    toast="#e7eaef",
    on_toast="#13161b",
)

GRID_PX: Final = 4
PAGE_MARGIN_PX: Final = 16
GAP_PX: Final = 12
CONTROL_HEIGHT_PX: Final = 30
ROW_HEIGHT_PX: Final = 34
HEADER_HEIGHT_PX: Final = 30
NAVIGATION_WIDTH_PX: Final = 200
TOP_BAR_HEIGHT_PX: Final = 48
STATUS_BAR_HEIGHT_PX: Final = 28
CONTROL_RADIUS_PX: Final = 6
CARD_RADIUS_PX: Final = 8
ICON_PX: Final = 16


def luminance(color: str) -> float:
    """Relative luminance of `#rrggbb`, 0 to 1 (WCAG 2.2)."""
    channels = [int(color[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(first: str, second: str) -> float:
    """Contrast ratio of two colours, 1 to 21 (WCAG 2.2)."""
    high, low = sorted((luminance(first), luminance(second)), reverse=True)
    return (high + 0.05) / (low + 0.05)


PAIRS: Final[tuple[tuple[str, str], ...]] = (
    *((fg, bg) for fg in ("text", "muted") for bg in ("background", "surface", "raised", "hover", "field")),
    *((fg, bg) for fg in ("accent", "good", "warning", "bad") for bg in ("background", "surface", "raised")),
    *((tone, f"{tone}_soft") for tone in ("accent", "good", "warning", "bad")),
    # A selected row keeps the colours of its states.
    *((fg, "accent_soft") for fg in ("text", "muted", "good", "warning", "bad")),
    ("text", "neutral_soft"),
    ("muted", "neutral_soft"),
    ("text", "warning_soft"),
    ("text", "bad_soft"),
    ("on_accent", "accent"),
    ("on_accent", "accent_hover"),
    ("on_toast", "toast"),
)
"""Text and background that meet somewhere in the window."""
