"""What a table shows: one `Column` per column, as data. The model and the delegate do the rest."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from san_console.gui.theme.tokens import Tone

CellKind = Literal["text", "state", "tag", "sparkline", "progress", "icon_text"]
"""How the delegate draws it: plain text, dot and word, filled tag, line of figures, bar, icon and text."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column over objects of one kind.

    `value` gives the text (made visible by the model), called for cells on screen, when filtering and
    exporting.
    `sort` gives the key to sort by, of one type for all rows; without it the lower-case text is used.
    `tone` gives the colour; `detail` gives what the kind needs besides the text: figures for `sparkline`,
    0–1 or None for `progress`, the icon's name for `icon_text`.
    """

    key: str
    title: str
    value: Callable[[Any], str]
    sort: Callable[[Any], Any] | None = None
    kind: CellKind = "text"
    tone: Callable[[Any], Tone] | None = None
    detail: Callable[[Any], Any] | None = None
    tooltip: Callable[[Any], str] | None = None
    right: bool = False
    mono: bool = False
    muted: bool = False
    strong: bool = False
    elide_middle: bool = False
    width: int = 100
    stretch: bool = False
    hidden: bool = False
    live: bool = False
    """Changes with the statistics, without a change of the object."""
    searched: bool = True
    """Part of what the filter's plain words look into."""


def by_key(columns: Sequence[Column]) -> dict[str, int]:
    """Column number by key."""
    return {column.key: number for number, column in enumerate(columns)}
