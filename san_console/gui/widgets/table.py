"""The table of every page: keeps its columns and its selection, copies itself, tells what was chosen by
id.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

from PySide6.QtCore import QItemSelection, QItemSelectionModel, QPoint, Qt, Signal
from PySide6.QtGui import QFontMetrics, QGuiApplication, QKeyEvent, QKeySequence
from PySide6.QtWidgets import QAbstractItemView, QHeaderView, QMenu, QTableView, QWidget

from san_console.gui.models.columns import Column
from san_console.gui.models.export import ExportForm, export
from san_console.gui.models.object_model import ObjectTableModel
from san_console.gui.preferences import Preferences
from san_console.gui.theme.theme import Theme
from san_console.gui.theme.tokens import HEADER_HEIGHT_PX, ROW_HEIGHT_PX
from san_console.gui.translation import QT_TRANSLATE_NOOP, translated
from san_console.gui.widgets.delegate import CellDelegate
from san_console.gui.widgets.menus import add_action, popup

MIN_SECTION_PX: Final = 36
MAX_RESTORED_PX: Final = 2000
"""A column's width from the settings file beyond this is damage, not a wish."""

_MEASURED: Final = "2 of 2 answers"
_MEASURED_PX: Final = 91
"""What that text measures in the face that the columns' widths were chosen for."""

COPY_FORMS: Final[tuple[tuple[ExportForm, str], ...]] = (
    ("tsv", QT_TRANSLATE_NOOP("Table", "Copy rows as text (TSV)")),
    ("csv", QT_TRANSLATE_NOOP("Table", "Copy rows as CSV")),
    ("json", QT_TRANSLATE_NOOP("Table", "Copy rows as JSON")),
)


class TableView(QTableView):
    """Shows an `ObjectTableModel`. `name` is its accessible name and, with `layout_key`, where its columns
    are kept.
    """

    chosen = Signal()
    """The selection changed."""
    opened = Signal(str)
    """Enter or double click on the object of this id."""
    delete_asked = Signal()

    def __init__(
        self,
        model: ObjectTableModel,
        name: str,
        *,
        preferences: Preferences | None = None,
        layout_key: str = "",
        sort_by: str = "",
        descending: bool = False,
        multiple: bool = True,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self.table = model
        self.fill_menu: Callable[[QMenu], None] | None = None
        """Adds the page's own actions to the context menu."""
        self._preferences = preferences
        self._layout_key = layout_key
        self._kept: list[str] = []
        self._kept_current = ""
        self.setAccessibleName(name)
        self.setModel(model)
        self._delegate = CellDelegate(model.columns, self)
        self.setItemDelegate(self._delegate)
        self.setMouseTracking(True)
        self.setShowGrid(False)
        self.setWordWrap(False)
        self.setTabKeyNavigation(False)
        self.setFrameShape(QTableView.Shape.NoFrame)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        modes = QAbstractItemView.SelectionMode
        self.setSelectionMode(modes.ExtendedSelection if multiple else modes.SingleSelection)
        self.setVerticalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.setHorizontalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
        self.customContextMenuRequested.connect(self._show_menu)
        self.setCornerButtonEnabled(False)
        rows = self.verticalHeader()
        rows.hide()
        rows.setDefaultSectionSize(ROW_HEIGHT_PX)
        rows.setMinimumSectionSize(ROW_HEIGHT_PX)
        rows.setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
        self._set_up_header(sort_by, descending)
        model.modelAboutToBeReset.connect(self._keep_selection)
        model.modelReset.connect(self._restore_selection)
        self.selectionModel().selectionChanged.connect(self._tell_chosen)
        self.doubleClicked.connect(lambda index: self.opened.emit(self.table.id_at(index.row())))

    # selection

    def selected_ids(self) -> list[str]:
        """In the order of the rows."""
        rows = sorted(index.row() for index in self.selectionModel().selectedRows())
        return [self.table.id_at(row) for row in rows]

    def selected_objects(self) -> list[Any]:
        found = (self.table.get(identifier) for identifier in self.selected_ids())
        return [item for item in found if item is not None]

    def current_object(self) -> Any:
        """The selected object where exactly one is selected or current, else the first selected one, or
        None.
        """
        ids = self.selected_ids()
        if not ids:
            return None
        current = self.table.id_at(self.currentIndex().row())
        return self.table.get(current if current in ids else ids[0])

    def select_id(self, identifier: str) -> bool:
        """Select one object and show its row; False when it is not shown."""
        row = self.table.row_of(identifier)
        if row < 0:
            return False
        self.selectRow(row)
        self.setCurrentIndex(self.table.index(row, 0))
        self.scrollTo(self.table.index(row, 0))
        return True

    def select_first(self) -> None:
        """So that details have something to show; not while the user has selected something."""
        if self.table.rowCount() and not self.selectionModel().hasSelection():
            self.select_id(self.table.id_at(0))

    def _tell_chosen(self) -> None:
        self.chosen.emit()

    def _keep_selection(self) -> None:
        self._kept = self.selected_ids()
        self._kept_current = (
            self.table.id_at(self.currentIndex().row()) if self.currentIndex().isValid() else ""
        )

    def _restore_selection(self) -> None:
        selection = QItemSelection()
        last = self.table.columnCount() - 1
        for identifier in self._kept:
            row = self.table.row_of(identifier)
            if row >= 0:
                selection.select(self.table.index(row, 0), self.table.index(row, last))
        current = self.table.row_of(self._kept_current)
        if current >= 0:
            flags = QItemSelectionModel.SelectionFlag.NoUpdate
            self.selectionModel().setCurrentIndex(self.table.index(current, 0), flags)
        if not selection.isEmpty():
            self.selectionModel().select(selection, QItemSelectionModel.SelectionFlag.ClearAndSelect)
        elif self._kept:
            self.chosen.emit()

    def fitting_height(self) -> int:
        """What header and rows need, with the lines around them."""
        return HEADER_HEIGHT_PX + self.table.rowCount() * ROW_HEIGHT_PX + 3

    # columns

    def _set_up_header(self, sort_by: str, descending: bool) -> None:
        header = self.horizontalHeader()
        header.setMinimumSectionSize(MIN_SECTION_PX)
        header.setFixedHeight(HEADER_HEIGHT_PX)
        header.setHighlightSections(False)
        header.setSectionsMovable(True)
        header.setSectionsClickable(True)
        header.setSortIndicatorShown(True)
        header.setStretchLastSection(not any(column.stretch for column in self.table.columns))
        header.setAccessibleName(
            self.tr("{accessibleName}: columns").format(accessibleName=self.accessibleName())
        )
        header.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
        header.customContextMenuRequested.connect(self._show_header_menu)
        header.setTextElideMode(Qt.TextElideMode.ElideRight)
        self._apply_default_columns()
        number = next((n for n, column in enumerate(self.table.columns) if column.key == sort_by), -1)
        order = Qt.SortOrder.DescendingOrder if descending else Qt.SortOrder.AscendingOrder
        self._restore_columns()
        if header.sortIndicatorSection() not in range(len(self.table.columns)) or not self._saved().get(
            "sort"
        ):
            header.setSortIndicator(number, order)
        self.table.sort(header.sortIndicatorSection(), header.sortIndicatorOrder())
        header.sortIndicatorChanged.connect(self._sort)
        header.sectionResized.connect(self._save_columns)
        header.sectionMoved.connect(self._save_columns)

    def _apply_default_columns(self) -> None:
        header = self.horizontalHeader()
        modes = QHeaderView.ResizeMode
        for number, column in enumerate(self.table.columns):
            header.setSectionResizeMode(number, modes.Stretch if column.stretch else modes.Interactive)
            header.resizeSection(number, self._default_width(column))
            header.setSectionHidden(number, column.hidden)

    @staticmethod
    def _default_width(column: Column) -> int:
        """States and tags are whole words: with a wide face they get the room that they need."""
        if column.kind not in ("state", "tag"):
            return column.width
        wide = QFontMetrics(Theme.of().font).horizontalAdvance(_MEASURED) / _MEASURED_PX
        return round(column.width * max(1.0, wide))

    def _sort(self, number: int, order: Qt.SortOrder) -> None:
        self.table.sort(number, order)
        self._save_columns()

    def _saved(self) -> dict[str, Any]:
        if self._preferences is None or not self._layout_key:
            return {}
        saved = self._preferences.get(f"columns.{self._layout_key}", {})
        return saved if isinstance(saved, dict) else {}

    def _restore_columns(self) -> None:
        saved = self._saved()
        header = self.horizontalHeader()
        numbers = {column.key: number for number, column in enumerate(self.table.columns)}
        order = saved.get("order")
        wanted = [key for key in order if key in numbers] if isinstance(order, list) else []
        for place, key in enumerate(dict.fromkeys(wanted)):
            header.moveSection(header.visualIndex(numbers[key]), place)
        widths = saved.get("widths")
        for key, width in widths.items() if isinstance(widths, dict) else ():
            if key in numbers and isinstance(width, int) and MIN_SECTION_PX <= width <= MAX_RESTORED_PX:
                header.resizeSection(numbers[key], width)
        if isinstance(saved.get("hidden"), list):
            for key, number in numbers.items():
                header.setSectionHidden(number, key in saved["hidden"])
        if saved.get("sort") in numbers:
            order = Qt.SortOrder.DescendingOrder if saved.get("descending") else Qt.SortOrder.AscendingOrder
            header.setSortIndicator(numbers[saved["sort"]], order)

    def _save_columns(self) -> None:
        if self._preferences is None or not self._layout_key:
            return
        header = self.horizontalHeader()
        columns = self.table.columns
        places = sorted(range(len(columns)), key=header.visualIndex)
        sort = header.sortIndicatorSection()
        self._preferences.set(
            f"columns.{self._layout_key}",
            {
                "order": [columns[number].key for number in places],
                "widths": {
                    column.key: header.sectionSize(number)
                    for number, column in enumerate(columns)
                    if not column.stretch and not header.isSectionHidden(number)
                },
                "hidden": [c.key for number, c in enumerate(columns) if header.isSectionHidden(number)],
                "sort": columns[sort].key if 0 <= sort < len(columns) else "",
                "descending": header.sortIndicatorOrder() == Qt.SortOrder.DescendingOrder,
            },
        )

    def reset_columns(self) -> None:
        header = self.horizontalHeader()
        for number in range(len(self.table.columns)):
            header.moveSection(header.visualIndex(number), number)
        self._apply_default_columns()
        self._save_columns()

    def _show_header_menu(self, where: QPoint) -> None:
        header = self.horizontalHeader()
        menu = QMenu(self)
        shown = sum(not header.isSectionHidden(number) for number in range(len(self.table.columns)))
        for number, column in enumerate(self.table.columns):
            if not column.title:
                continue
            visible_now = not header.isSectionHidden(number)
            action = add_action(menu, column.title, checked=visible_now)
            action.setEnabled(not visible_now or shown > 1)
            action.toggled.connect(lambda on, number=number: self._set_shown(number, on))
        menu.addSeparator()
        add_action(menu, self.tr("Fit columns to their text"), self.resizeColumnsToContents)
        add_action(menu, self.tr("Reset columns"), self.reset_columns)
        popup(menu, header.mapToGlobal(where))

    def _set_shown(self, number: int, shown: bool) -> None:
        self.horizontalHeader().setSectionHidden(number, not shown)
        self._save_columns()

    # copying, menus, keys

    def _shown_columns(self) -> Sequence[int]:
        header = self.horizontalHeader()
        numbers = [n for n in range(len(self.table.columns)) if not header.isSectionHidden(n)]
        return sorted(numbers, key=header.visualIndex)

    def exported(self, form: ExportForm, *, everything: bool = False) -> str:
        """The selected (or all shown) rows as text."""
        ids = self.table.shown_ids() if everything else self.selected_ids()
        items = [item for item in map(self.table.get, ids) if item is not None]
        return export(form, [self.table.columns[number] for number in self._shown_columns()], items)

    def copy_selection(self, form: ExportForm = "tsv") -> None:
        if self.selectionModel().hasSelection():
            QGuiApplication.clipboard().setText(self.exported(form))

    def _show_menu(self, where: QPoint) -> None:
        menu = QMenu(self)
        if self.fill_menu is not None:
            self.fill_menu(menu)
            if menu.actions():
                menu.addSeparator()
        some = self.selectionModel().hasSelection()
        for form, title in COPY_FORMS:
            action = add_action(menu, translated(title), partial(self.copy_selection, form), icon="copy")
            action.setEnabled(some)
        popup(menu, self.viewport().mapToGlobal(where))

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.matches(QKeySequence.StandardKey.Copy):
            self.copy_selection()
        elif event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
            if self.currentIndex().isValid():
                self.opened.emit(self.table.id_at(self.currentIndex().row()))
        elif event.key() == Qt.Key.Key_Delete:
            self.delete_asked.emit()
        else:
            super().keyPressEvent(event)
            return
        event.accept()
