"""Names and values in two columns, as on a property page."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QGridLayout, QSizePolicy, QWidget

from san_console.gui.theme.tokens import Tone
from san_console.gui.widgets.cards import clear
from san_console.gui.widgets.labels import ElidedLabel, PlainLabel


class Pair(NamedTuple):
    """One line. `mono` for addresses and names; `wrap` for sentences, which are not elided."""

    name: str
    value: str
    tone: Tone | None = None
    mono: bool = False
    wrap: bool = False


class KeyValues(QWidget):
    """Lines of `Pair`; made anew only when their names change, so that a live page does not flicker."""

    def __init__(self, *, columns: int = 1, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._columns = columns
        self._grid = QGridLayout(self)
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setHorizontalSpacing(14)
        self._grid.setVerticalSpacing(6)
        self._shape: tuple[tuple[str, bool, bool], ...] = ()
        self._values: list[PlainLabel] = []
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Fixed)

    def show_pairs(self, pairs: Iterable[Pair]) -> None:
        lines = list(pairs)
        shape = tuple((line.name, line.mono, line.wrap) for line in lines)
        if shape != self._shape:
            self._rebuild(lines)
            self._shape = shape
        for label, line in zip(self._values, lines, strict=True):
            label.setText(line.value)
            label.set_tone(line.tone or "text")

    def _rebuild(self, lines: list[Pair]) -> None:
        clear(self._grid)
        self._values = []
        per_column = -(-len(lines) // self._columns) or 1
        for number, line in enumerate(lines):
            column, row = divmod(number, per_column)
            name = PlainLabel(line.name, style="muted")
            value: PlainLabel
            if line.wrap:
                value = PlainLabel("", mono=line.mono, wrap=True, selectable=True)
            else:
                value = ElidedLabel("", mono=line.mono)
                value.setTextInteractionFlags(Qt.TextInteractionFlag.NoTextInteraction)
            self._grid.addWidget(name, row, column * 2, Qt.AlignmentFlag.AlignTop)
            self._grid.addWidget(value, row, column * 2 + 1, Qt.AlignmentFlag.AlignTop)
            self._values.append(value)
        for column in range(self._columns):
            self._grid.setColumnStretch(column * 2 + 1, 1)
