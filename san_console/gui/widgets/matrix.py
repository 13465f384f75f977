"""The mapping matrix as a table that mouse and keyboard change."""

from __future__ import annotations

from functools import partial
from typing import Final

from PySide6.QtCore import QModelIndex, QPersistentModelIndex, QPoint, Qt, Signal
from PySide6.QtGui import QKeyEvent, QMouseEvent, QResizeEvent
from PySide6.QtWidgets import (
    QAbstractItemView,
    QHeaderView,
    QInputDialog,
    QMenu,
    QTableView,
    QWidget,
)

from san_console.gui.models.mapping_matrix import ACCESSES, MAX_LUN, Access, access_of
from san_console.gui.models.matrix_model import MatrixModel, access_word
from san_console.gui.widgets.matrix_painting import (
    COLUMN_PX,
    FIRST_COLUMN_PX,
    HEADER_PX,
    ROW_PX,
    MatrixDelegate,
    MatrixHeader,
)
from san_console.gui.widgets.menus import add_action, popup

_KEYS: Final[dict[int, Access]] = {
    int(Qt.Key.Key_W): "read-write",
    int(Qt.Key.Key_R): "read-only",
    int(Qt.Key.Key_N): "none",
    int(Qt.Key.Key_Delete): "none",
    int(Qt.Key.Key_Backspace): "none",
}


class _Names(QTableView):
    """The column of names once more, over the first one, which would scroll away with the LUNs."""

    def __init__(self, view: MatrixView) -> None:
        super().__init__(view)
        self._view = view
        self.setObjectName("frozen")
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.setModel(view.matrix)
        self.setSelectionModel(view.selectionModel())
        self.setItemDelegate(view.itemDelegate())
        header = MatrixHeader(self)
        self.setHorizontalHeader(header)
        rows = self.verticalHeader()
        rows.hide()
        rows.setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
        rows.setDefaultSectionSize(ROW_PX)
        self.setSelectionMode(view.selectionMode())
        self.setShowGrid(False)
        self.setFrameShape(QTableView.Shape.NoFrame)
        self.setVerticalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        off = Qt.ScrollBarPolicy.ScrollBarAlwaysOff
        self.setVerticalScrollBarPolicy(off)
        self.setHorizontalScrollBarPolicy(off)
        self.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
        self.customContextMenuRequested.connect(lambda where: view.open_menu(where, self.indexAt(where)))
        self.verticalScrollBar().valueChanged.connect(view.verticalScrollBar().setValue)
        view.verticalScrollBar().valueChanged.connect(self.verticalScrollBar().setValue)
        self.hide()

    def place(self) -> None:
        """Over the first column; away when all columns fit."""
        view = self._view
        self.setVisible(view.horizontalScrollBar().maximum() > 0)
        if self.isHidden():
            return
        for column in range(1, view.matrix.columnCount()):
            self.setColumnHidden(column, True)
        self.setColumnWidth(0, view.columnWidth(0))
        height = view.viewport().height() + view.horizontalHeader().height()
        self.setGeometry(view.frameWidth(), view.frameWidth(), view.columnWidth(0), height)
        self.verticalScrollBar().setValue(view.verticalScrollBar().value())


class MatrixView(QTableView):
    """Click opens the choices of a cell; Space cycles, R, W and N choose, a digit sets the number."""

    cell_chosen = Signal()
    refused = Signal(str)
    """Why a number could not be set."""
    remove_asked = Signal(str)
    """Del on the name of an initiator."""

    def __init__(self, model: MatrixModel, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.matrix = model
        self._ready = False  # Qt calls what is overridden here before the names are made
        self.setModel(model)
        self.setAccessibleName(self.tr("Mapping of initiators and LUNs"))
        self.setItemDelegate(MatrixDelegate(self))
        header = MatrixHeader(self)
        header.setAccessibleName(self.tr("LUNs"))
        self.setHorizontalHeader(header)
        header.setDefaultSectionSize(COLUMN_PX)
        header.setStretchLastSection(False)
        rows = self.verticalHeader()
        rows.hide()
        rows.setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
        rows.setDefaultSectionSize(ROW_PX)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectItems)
        self.setShowGrid(False)
        self.setMouseTracking(True)
        self.setTabKeyNavigation(False)
        self.setHorizontalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.setVerticalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
        self.customContextMenuRequested.connect(self.open_menu)
        self.names = _Names(self)
        self._ready = True
        model.modelReset.connect(self._fit)
        self.selectionModel().currentChanged.connect(self._tell)
        self.horizontalScrollBar().rangeChanged.connect(lambda _low, _high: self.names.place())

    def _fit(self) -> None:
        header = self.horizontalHeader()
        if not self.matrix.columnCount():
            return
        header.setSectionResizeMode(QHeaderView.ResizeMode.Stretch)
        header.setMinimumSectionSize(112)
        header.setSectionResizeMode(0, QHeaderView.ResizeMode.Fixed)
        self.setColumnWidth(0, FIRST_COLUMN_PX)
        if self.matrix.rowCount() and not self.currentIndex().isValid():
            self.setCurrentIndex(self.matrix.index(0, min(1, self.matrix.columnCount() - 1)))

    def content_height(self) -> int:
        """Pixels that header and all rows need."""
        return HEADER_PX + ROW_PX * self.matrix.rowCount() + 2

    def current_initiator(self) -> str:
        row = self.currentIndex().row()
        return self.matrix.rows[row] if 0 <= row < len(self.matrix.rows) else ""

    def current_lun(self) -> str:
        """The id of the LUN of the chosen column, empty on a name."""
        cell = self.matrix.cell(self.currentIndex())
        return cell[1] if cell is not None else ""

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        if self._ready:
            self.names.place()

    def scrollTo(
        self,
        index: QModelIndex | QPersistentModelIndex,
        hint: QAbstractItemView.ScrollHint = QAbstractItemView.ScrollHint.EnsureVisible,
    ) -> None:
        super().scrollTo(index, hint)
        if not self._ready:
            return
        hidden = self.columnWidth(0) - self.visualRect(index).left()
        if index.column() and self.names.isVisible() and hidden > 0:
            # It would be behind the names, which stay where they are.
            bar = self.horizontalScrollBar()
            bar.setValue(bar.value() - hidden)

    def _tell(self) -> None:
        self.cell_chosen.emit()

    # editing

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        super().mouseReleaseEvent(event)
        index = self.indexAt(event.position().toPoint())
        if event.button() == Qt.MouseButton.LeftButton and self.matrix.cell(index) is not None:
            self.open_menu(self.visualRect(index).bottomLeft() + QPoint(6, 0), index)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        index = self.currentIndex()
        key = int(event.key())
        if self.matrix.cell(index) is None:
            if key == int(Qt.Key.Key_Delete) and self.current_initiator():
                self.remove_asked.emit(self.current_initiator())
                return
        elif key in (int(Qt.Key.Key_Space), int(Qt.Key.Key_Return), int(Qt.Key.Key_Enter)):
            self.matrix.cycle(index)
            return
        elif key in _KEYS and not event.modifiers() & Qt.KeyboardModifier.ControlModifier:
            self.matrix.set_access(index, _KEYS[key])
            return
        elif int(Qt.Key.Key_0) <= key <= int(Qt.Key.Key_9) and not event.modifiers():
            self._set_number(index, key - int(Qt.Key.Key_0))
            return
        super().keyPressEvent(event)

    def _set_number(self, index: QModelIndex | QPersistentModelIndex, number: int) -> None:
        problem = self.matrix.set_number(index, number)
        if problem:
            self.refused.emit(problem)

    def open_menu(self, where: QPoint, index: QModelIndex | None = None) -> None:
        """The choices of a cell, or of an initiator; `where` in the viewport."""
        index = self.indexAt(where) if index is None else index
        cell = self.matrix.cell(index)
        menu = self.cell_menu(index) if cell is not None else self._row_menu(index)
        popup(menu, self.viewport().mapToGlobal(where))

    def cell_menu(self, index: QModelIndex) -> QMenu:
        """The choices of a cell."""
        menu = QMenu(self)
        cell, draft = self.matrix.cell(index), self.matrix.draft
        if cell is None or draft is None:
            return menu
        mapping = draft.mapping(*cell)
        now = access_of(mapping)
        fixed = self.matrix.luns[index.column() - 1].read_only
        kept = QPersistentModelIndex(index)
        for access, key in zip(ACCESSES, "NRW", strict=True):
            add_action(
                menu,
                self.tr("No access") if access == "none" else access_word(access),
                partial(self.matrix.set_access, kept, access),
                checked=now == access,
                enabled=not (fixed and access == "read-write"),
                shortcut=key,
            )
        menu.addSeparator()
        add_action(
            menu,
            self.tr("LUN number…"),
            lambda: self._ask_number(kept, mapping.lun if mapping is not None else 0),
            enabled=mapping is not None,
            shortcut="0–9",
        )
        return menu

    def _row_menu(self, index: QModelIndex) -> QMenu:
        menu = QMenu(self)
        if index.isValid():
            name = self.matrix.rows[index.row()]
            add_action(
                menu,
                self.tr("Remove this initiator…"),
                lambda: self.remove_asked.emit(name),
                icon="trash-2",
                shortcut="Del",
                danger=True,
            )
        return menu

    def _ask_number(self, index: QPersistentModelIndex, number: int) -> None:
        dialog = QInputDialog(self)
        dialog.setWindowTitle(self.tr("LUN number"))
        dialog.setLabelText(self.tr("The number by which this initiator sees the LUN:"))
        dialog.setInputMode(QInputDialog.InputMode.IntInput)
        dialog.setIntRange(0, MAX_LUN)
        dialog.setIntValue(number)
        dialog.intValueSelected.connect(lambda value: self._set_number(index, value))
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.open()
