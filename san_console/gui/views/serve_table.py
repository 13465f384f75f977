"""What the tabs of a served target share that are tables: buttons over a table that fills the tab."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from PySide6.QtCore import Qt
from PySide6.QtGui import QKeySequence, QShortcut
from PySide6.QtWidgets import QMenu, QWidget

from san_console.api.serving_objects import LocalTarget
from san_console.gui.context import Context
from san_console.gui.models.columns import Column
from san_console.gui.models.object_model import ObjectTableModel
from san_console.gui.views.page import DetailTab
from san_console.gui.widgets.cards import Line, horizontal, vertical
from san_console.gui.widgets.empty import EmptyState, TableCard
from san_console.gui.widgets.labels import ElidedLabel
from san_console.gui.widgets.problems import InlineProblem
from san_console.gui.widgets.table import TableView


class TablePart(DetailTab):
    """A row of buttons over a table that fills the tab."""

    def __init__(self, context: Context, name: str, columns: list[Column], empty: EmptyState) -> None:
        super().__init__(context)
        self.target: LocalTarget | None = None
        column = self._column = vertical(self, gap=0)
        self.head = horizontal(margin=8, gap=8)
        self.note = ElidedLabel("", style="muted", elide=Qt.TextElideMode.ElideRight)
        self.head.addWidget(self.note, 1)
        column.addLayout(self.head)
        self.failure = InlineProblem()
        column.addWidget(self.failure)
        column.addWidget(Line())
        key = type(self).__name__
        self.model = ObjectTableModel(columns, key=self.key_of)
        self.table = TableView(self.model, name, preferences=context.preferences, layout_key=f"serve.{key}")
        self.table.fill_menu = self.fill_menu
        self.table.chosen.connect(self.chosen)
        card = TableCard(self.table, empty)
        card.setProperty("kind", "")
        column.addWidget(card, 1)

    def insert_above(self, widget: QWidget) -> None:
        """Put `widget` over the buttons."""
        self._column.insertWidget(0, widget)
        self._column.insertWidget(1, Line())

    def bind(self, keys: str, act: Callable[[], object]) -> None:
        """A key that works while the keyboard is in this part."""
        shortcut = QShortcut(QKeySequence(keys), self, act)
        shortcut.setContext(Qt.ShortcutContext.WidgetWithChildrenShortcut)

    @staticmethod
    def key_of(item: Any) -> str:
        return str(item.id)

    def fill_menu(self, menu: QMenu) -> None:
        """The tab's own actions."""

    def chosen(self) -> None:
        """The selection changed."""
