"""What a page shows when it has nothing to show: a sentence and the way on."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QLabel, QStackedWidget, QWidget

from san_console.gui.icons import set_icon
from san_console.gui.theme.theme import tokens
from san_console.gui.widgets.buttons import Button
from san_console.gui.widgets.cards import Card, horizontal, vertical
from san_console.gui.widgets.labels import PlainLabel
from san_console.gui.widgets.table import TableView


class EmptyState(QWidget):
    """An icon, a title, a sentence and, where there is one, the button that mends it."""

    def __init__(
        self,
        icon: str,
        title: str,
        sentence: str = "",
        action: str = "",
        on_action: Callable[[], object] | None = None,
        *,
        primary: bool = True,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        box = vertical(self, margin=24, gap=8)
        box.addStretch(2)
        picture = QLabel()
        picture.setAlignment(Qt.AlignmentFlag.AlignCenter)
        picture.setAccessibleName(title)
        set_icon(picture, icon, "muted", tokens(), 28)
        self.title = PlainLabel(title, style="heading")
        self.title.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.sentence = PlainLabel(sentence, style="muted", wrap=True)
        self.sentence.setAlignment(Qt.AlignmentFlag.AlignCenter)
        if not sentence:
            # Never `setVisible(True)` before there is a parent: that would open a window of its own.
            self.sentence.hide()
        box.addWidget(picture)
        box.addWidget(self.title)
        box.addWidget(self.sentence)
        self.button: Button | None = None
        if action:
            row = horizontal()
            self.button = Button(action, on_action, kind="primary" if primary else "normal")
            row.addStretch()
            row.addWidget(self.button)
            row.addStretch()
            box.addSpacing(4)
            box.addLayout(row)
        box.addStretch(3)

    def say(self, title: str, sentence: str = "") -> None:
        self.title.setText(title)
        self.sentence.setText(sentence)
        self.sentence.setVisible(bool(sentence))


class TableCard(Card):
    """A table in a card, an empty state when there are no objects, another one when the filter leaves
    none.
    """

    def __init__(
        self,
        table: TableView,
        empty: EmptyState,
        clear_filter: Callable[[], object] | None = None,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(flush=True, parent=parent)
        self.table = table
        self.empty = empty
        self.stack = QStackedWidget()
        self._unfit = EmptyState(
            "search",
            self.tr("Nothing fits the filter"),
            "",
            self.tr("Clear filter"),
            clear_filter,
            primary=False,
        )
        for widget in (table, empty, self._unfit):
            self.stack.addWidget(widget)
        self.body.addWidget(self.stack)
        table.table.counted.connect(self._choose)
        self._choose()

    def _choose(self) -> None:
        model = self.table.table
        if model.rowCount():
            wanted: QWidget = self.table
        elif len(model) and model.filtered:
            wanted = self._unfit
        else:
            wanted = self.empty
        if self.stack.currentWidget() is not wanted:
            self.stack.setCurrentWidget(wanted)
