"""A table without a frame of its own, for the inside of a card: with an empty state, and one for the
filter.
"""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import QSize
from PySide6.QtWidgets import QStackedWidget, QWidget

from san_console.gui.widgets.empty import EmptyState
from san_console.gui.widgets.table import TableView


class TableStack(QStackedWidget):
    """Shows `table` while it has rows. `whole` counts what an empty filter would show, where that is not
    all of the model.

    As small as its surroundings want: what does not fit scrolls.
    """

    def __init__(
        self,
        table: TableView,
        empty: EmptyState,
        clear_filter: Callable[[], object] | None = None,
        *,
        whole: Callable[[], int] | None = None,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self.table = table
        self.empty = empty
        self._whole = whole or (lambda: len(table.table))
        self._unfit = EmptyState(
            "search",
            self.tr("Nothing fits the filter"),
            "",
            self.tr("Clear filter"),
            clear_filter,
            primary=False,
        )
        for widget in (table, empty, self._unfit):
            self.addWidget(widget)
        table.table.counted.connect(self._choose)
        self._choose()

    def minimumSizeHint(self) -> QSize:
        return self.table.minimumSizeHint()

    def _choose(self) -> None:
        model = self.table.table
        if model.rowCount():
            wanted: QWidget = self.table
        elif model.filtered and self._whole():
            wanted = self._unfit
        else:
            wanted = self.empty
        if self.currentWidget() is not wanted:
            self.setCurrentWidget(wanted)
