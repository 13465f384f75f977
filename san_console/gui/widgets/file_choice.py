"""Choosing a file without stopping the window: the dialog is opened, and the answer comes later."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

from PySide6.QtWidgets import QFileDialog, QLineEdit, QWidget

from san_console.gui.widgets.buttons import Button
from san_console.gui.widgets.cards import horizontal


def choose_file(
    parent: QWidget,
    title: str,
    on_path: Callable[[str], object],
    *,
    save: bool = False,
    suggested: str = "",
    filters: Sequence[str] = (),
) -> QFileDialog:
    """Open the desktop's file dialog; `on_path` gets the path when one was chosen."""
    dialog = QFileDialog(parent, title)
    dialog.setAccessibleName(title)
    modes = QFileDialog.AcceptMode
    dialog.setAcceptMode(modes.AcceptSave if save else modes.AcceptOpen)
    kinds = QFileDialog.FileMode
    dialog.setFileMode(kinds.AnyFile if save else kinds.ExistingFile)
    if filters:
        dialog.setNameFilters(list(filters))
    if suggested:
        folder, name = os.path.split(suggested)
        if os.path.isdir(folder):
            dialog.setDirectory(folder)
        dialog.selectFile(name)
    dialog.fileSelected.connect(on_path)
    dialog.finished.connect(lambda _code: dialog.deleteLater())
    dialog.open()
    return dialog


class PathField(QWidget):
    """A path that can be typed, and a button that asks for it."""

    def __init__(
        self, name: str, *, save: bool = False, suggested: str = "", parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        row = horizontal(self, gap=8)
        self.line = QLineEdit(suggested)
        self.line.setProperty("mono", True)
        self.line.setAccessibleName(name)
        self.setFocusProxy(self.line)
        row.addWidget(self.line, 1)
        row.addWidget(
            Button(
                self.tr("Browse…"),
                lambda: choose_file(self, name, self.line.setText, save=save, suggested=self.path),
            )
        )

    @property
    def path(self) -> str:
        """As typed, with `~` taken for the user's own folder; empty when nothing was typed."""
        text = self.line.text().strip()
        return os.path.expanduser(text) if text else ""
