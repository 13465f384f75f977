"""What a set of changes does, line by line, before it is applied."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from PySide6.QtWidgets import QWidget

from san_console.gui.dialogs.base import BaseDialog
from san_console.gui.widgets.change_tree import CostLines


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
        self.shown = CostLines(
            self.tr("Consequences"), lines, nothing=self.tr("Nothing changes for anybody.")
        )
        self.shown.setMinimumHeight(min(60 + 34 * len(lines), 320))
        self.content.addWidget(self.shown)

    def do(self) -> None:
        self._on_yes(self)
