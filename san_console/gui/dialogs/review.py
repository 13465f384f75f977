"""What a set of changes does, line by line, before it is applied."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QFrame, QLabel, QScrollArea, QWidget

from san_console.gui.dialogs.base import BaseDialog
from san_console.gui.icons import set_icon
from san_console.gui.theme.theme import tokens
from san_console.gui.translation import QT_TRANSLATE_NOOP, translated
from san_console.gui.widgets.cards import horizontal, vertical
from san_console.gui.widgets.labels import PlainLabel

_ICONS: Final[dict[str, tuple[str, str]]] = {
    "info": ("info", "accent"),
    "warning": ("triangle-alert", "warning"),
    "danger": ("circle-alert", "bad"),
}
_NAMES: Final[dict[str, str]] = {
    "info": QT_TRANSLATE_NOOP("Table", "info"),
    "warning": QT_TRANSLATE_NOOP("Table", "warning"),
    "danger": QT_TRANSLATE_NOOP("Table", "danger"),
}


class ReviewDialog(BaseDialog):
    """`lines`: severity and sentence. `on_yes` gets the dialog and ends it."""

    def __init__(
        self,
        title: str,
        accept_text: str,
        lines: Sequence[tuple[str, str]],
        on_yes: Callable[[ReviewDialog], object],
        parent: QWidget | None = None,
    ) -> None:
        danger = any(severity == "danger" for severity, _text in lines)
        super().__init__(
            title, accept_text, kind="destroy" if danger else "primary", width_px=560, parent=parent
        )
        self._on_yes = on_yes
        self.lines = [text for _severity, text in lines]
        area = QScrollArea()
        area.setWidgetResizable(True)
        area.setFrameShape(QFrame.Shape.NoFrame)
        area.setAccessibleName(self.tr("Consequences"))
        area.setMinimumHeight(min(60 + 34 * len(lines), 320))
        holder = QWidget()
        holder.setObjectName("scrolled")
        column = vertical(holder, gap=10)
        for severity, text in lines or (("info", self.tr("Nothing changes for anybody.")),):
            row = horizontal(gap=10)
            picture = QLabel()
            picture.setAccessibleName(translated(_NAMES.get(severity, severity)))
            name, role = _ICONS.get(severity, _ICONS["info"])
            set_icon(picture, name, role, tokens())
            row.addWidget(picture, 0, Qt.AlignmentFlag.AlignTop)
            row.addWidget(PlainLabel(text, wrap=True, selectable=True), 1)
            column.addLayout(row)
        column.addStretch(1)
        area.setWidget(holder)
        self.content.addWidget(area)

    def do(self) -> None:
        self._on_yes(self)
