"""One table model for every collection: filter, sort and show objects by a table of columns.

Filtering and sorting happen here and not in a QSortFilterProxyModel: ten thousand calls from C++ into
Python per key press cost 60 ms, a list comprehension over prepared strings costs 2 ms.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, Final

from PySide6.QtCore import (
    QAbstractTableModel,
    QModelIndex,
    QObject,
    QPersistentModelIndex,
    Qt,
    QTimer,
    Signal,
)

from san_console.console.replica import ObjectChange
from san_console.gui.models.columns import Column
from san_console.gui.models.terms import Terms, parse_terms
from san_console.gui.widgets.labels import tooltip_text
from san_console.names.display import visible

Index = QModelIndex | QPersistentModelIndex
Predicate = Callable[[Any], bool]

ToneRole: Final = int(Qt.ItemDataRole.UserRole) + 1
DetailRole: Final = int(Qt.ItemDataRole.UserRole) + 2
ObjectRole: Final = int(Qt.ItemDataRole.UserRole) + 3
IdRole: Final = int(Qt.ItemDataRole.UserRole) + 4

ROWS_MOVED_ONE_BY_ONE: Final = 64
"""Above so many rows that come or go at once, one reset is cheaper than a signal for each."""

CELL_LIMIT: Final = 512

READ_AHEAD: Final = 400
READ_AHEAD_MS: Final = 5
"""So many objects, so often, are made ready for the filter after a reset: some 2 ms of work at a time."""


def object_id(item: Any) -> str:
    identifier: str = item.id
    return identifier


class ObjectTableModel(QAbstractTableModel):
    """Objects with an id, in rows. `fields` are the `key:value` terms that the filter line knows, beside
    the columns.
    """

    counted = Signal()
    """The set of objects, or of shown rows, may have changed."""

    def __init__(
        self,
        columns: Sequence[Column],
        *,
        fields: dict[str, Callable[[Any], str]] | None = None,
        key: Callable[[Any], str] = object_id,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self.columns = list(columns)
        self._key = key
        self._fields: dict[str, Callable[[Any], str]] = {column.key: column.value for column in columns}
        self._fields.update(fields or {})
        self._objects: dict[str, Any] = {}
        self._haystacks: dict[str, str] = {}
        self._field_texts: dict[str, dict[str, str]] = {}
        self._rows: list[str] = []
        self._row_of: dict[str, int] | None = None
        self._terms = Terms()
        self._predicate: Predicate | None = None
        self._sort_column = -1
        self._descending = False
        self._unread: Iterator[str] = iter(())
        self._reader = QTimer(self, interval=READ_AHEAD_MS)
        self._reader.timeout.connect(self._read_ahead)

    # what is shown

    def set_objects(self, items: Iterable[Any]) -> None:
        """Replace everything."""
        self.beginResetModel()
        self._objects = {self._key(item): item for item in items}
        self._haystacks.clear()
        self._field_texts.clear()
        self._set_rows(self._wanted_rows())
        self.endResetModel()
        self.counted.emit()
        self._unread = iter(list(self._objects))
        self._reader.start()

    @property
    def reading_ahead(self) -> bool:
        """Whether the filter is still being prepared; until then its first key is a little slower."""
        return self._reader.isActive()

    def _read_ahead(self) -> None:
        """Prepare what the filter looks into while nothing else is to do: the first key is as fast as the
        others.
        """
        batch = list(islice(self._unread, READ_AHEAD))
        for identifier in batch:
            if identifier in self._objects:
                self._haystack(identifier)
        if not batch:
            self._reader.stop()

    def apply(self, changes: Iterable[ObjectChange]) -> None:
        """Take a batch of changes; rows come, go and move with as few signals as the batch allows."""
        changed: set[str] = set()
        for change in changes:
            self._forget(change.id)
            if change.new is None:
                self._objects.pop(change.id, None)
            else:
                self._objects[change.id] = change.new
                changed.add(change.id)
        self._show(changed)

    def set_filter(self, line: str) -> str:
        """Show only what fits `line`; returns what is wrong with it (then nothing changes), or ""."""
        terms = parse_terms(line, self._fields)
        if terms.error:
            return terms.error
        if terms != self._terms:
            self._terms = terms
            self._show(set())
        return ""

    def set_predicate(self, predicate: Predicate | None) -> None:
        """Show only what `predicate` accepts, on top of the filter line."""
        self._predicate = predicate
        self._show(set())

    def refresh_live(self) -> None:
        """The statistics moved on: the cells of live columns look different."""
        if not self._rows:
            return
        for number, column in enumerate(self.columns):
            if column.live:
                if number == self._sort_column:
                    self._show(set())
                self.dataChanged.emit(self.index(0, number), self.index(len(self._rows) - 1, number))

    # who is where

    def object_at(self, row: int) -> Any:
        """The object in `row`, or None."""
        return self._objects.get(self._rows[row]) if 0 <= row < len(self._rows) else None

    def id_at(self, row: int) -> str:
        return self._rows[row] if 0 <= row < len(self._rows) else ""

    def row_of(self, identifier: str) -> int:
        """The row of an object, or -1."""
        if self._row_of is None:
            self._row_of = {known: row for row, known in enumerate(self._rows)}
        return self._row_of.get(identifier, -1)

    def get(self, identifier: str) -> Any:
        return self._objects.get(identifier)

    def objects(self) -> Iterable[Any]:
        """All objects, shown or not."""
        return self._objects.values()

    def __len__(self) -> int:
        return len(self._objects)

    def shown_ids(self) -> list[str]:
        return list(self._rows)

    @property
    def filtered(self) -> bool:
        return not self._terms.empty or self._predicate is not None

    # Qt's side

    def rowCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008 - Qt's signature
        return 0 if parent.isValid() else len(self._rows)

    def columnCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008 - Qt's signature
        return 0 if parent.isValid() else len(self.columns)

    def headerData(
        self, section: int, orientation: Qt.Orientation, role: int = int(Qt.ItemDataRole.DisplayRole)
    ) -> Any:
        if orientation != Qt.Orientation.Horizontal or not 0 <= section < len(self.columns):
            return None
        column = self.columns[section]
        if role == Qt.ItemDataRole.DisplayRole:
            return column.title
        if role == Qt.ItemDataRole.TextAlignmentRole:
            side = Qt.AlignmentFlag.AlignRight if column.right else Qt.AlignmentFlag.AlignLeft
            return side | Qt.AlignmentFlag.AlignVCenter
        return None

    def data(self, index: Index, role: int = int(Qt.ItemDataRole.DisplayRole)) -> Any:
        if not index.isValid() or index.row() >= len(self._rows):
            return None
        column = self.columns[index.column()]
        item = self._objects.get(self._rows[index.row()])
        if item is None:
            return None
        if role == Qt.ItemDataRole.DisplayRole:
            return visible(column.value(item), CELL_LIMIT)
        if role == ToneRole:
            return column.tone(item) if column.tone else None
        if role == DetailRole:
            return column.detail(item) if column.detail else None
        if role == Qt.ItemDataRole.TextAlignmentRole:
            side = Qt.AlignmentFlag.AlignRight if column.right else Qt.AlignmentFlag.AlignLeft
            return side | Qt.AlignmentFlag.AlignVCenter
        if role == Qt.ItemDataRole.ToolTipRole:
            if column.tooltip is None and column.kind == "sparkline":
                return None
            return tooltip_text((column.tooltip or column.value)(item)) or None
        if role == Qt.ItemDataRole.AccessibleTextRole:
            return f"{column.title}: {visible(column.value(item), CELL_LIMIT)}"
        if role == ObjectRole:
            return item
        if role == IdRole:
            return self._rows[index.row()]
        return None

    def sort(self, column: int, order: Qt.SortOrder = Qt.SortOrder.AscendingOrder) -> None:
        self._sort_column = column
        self._descending = order == Qt.SortOrder.DescendingOrder
        self._show(set())

    # inside

    def _forget(self, identifier: str) -> None:
        self._haystacks.pop(identifier, None)
        for texts in self._field_texts.values():
            texts.pop(identifier, None)

    def _haystack(self, identifier: str) -> str:
        text = self._haystacks.get(identifier)
        if text is None:
            item = self._objects[identifier]
            text = "\n".join(column.value(item) for column in self.columns if column.searched).lower()
            self._haystacks[identifier] = text
        return text

    def _field_text(self, field: str, identifier: str) -> str:
        texts = self._field_texts.setdefault(field, {})
        text = texts.get(identifier)
        if text is None:
            text = texts[identifier] = self._fields[field](self._objects[identifier]).lower()
        return text

    def _wanted_rows(self) -> list[str]:
        rows = list(self._objects)
        if self._predicate is not None:
            accepts = self._predicate
            rows = [known for known in rows if accepts(self._objects[known])]
        haystack = self._haystack
        for word in self._terms.words:
            rows = [known for known in rows if word in haystack(known)]
        for word in self._terms.not_words:
            rows = [known for known in rows if word not in haystack(known)]
        for field, value in self._terms.fields:
            rows = [known for known in rows if value in self._field_text(field, known)]
        if 0 <= self._sort_column < len(self.columns):
            column = self.columns[self._sort_column]
            objects = self._objects
            if column.sort is not None:
                key = column.sort
                rows.sort(key=lambda known: key(objects[known]), reverse=self._descending)
            else:
                value_of = column.value
                rows.sort(key=lambda known: value_of(objects[known]).lower(), reverse=self._descending)
        return rows

    def _set_rows(self, rows: list[str]) -> None:
        self._rows = rows
        self._row_of = None

    def _show(self, changed: set[str]) -> None:
        old, new = self._rows, self._wanted_rows()
        if old != new:
            gone = set(old).difference(new)
            came = set(new).difference(old)
            if len(gone) + len(came) > ROWS_MOVED_ONE_BY_ONE:
                self.beginResetModel()
                self._set_rows(new)
                self.endResetModel()
                self.counted.emit()
                return
            self._take_out(gone)
            self._reorder([known for known in new if known not in came])
            self._put_in(new, came)
        self._tell_changed(changed)
        self.counted.emit()

    def _take_out(self, gone: set[str]) -> None:
        for row in sorted((self.row_of(known) for known in gone), reverse=True):
            self.beginRemoveRows(QModelIndex(), row, row)
            del self._rows[row]
            self._row_of = None
            self.endRemoveRows()

    def _reorder(self, wanted: list[str]) -> None:
        if wanted == self._rows:
            return
        self.layoutAboutToBeChanged.emit()
        before = self.persistentIndexList()
        ids = [self._rows[index.row()] for index in before]
        self._set_rows(wanted)
        after = [
            self.index(self.row_of(known), index.column()) for known, index in zip(ids, before, strict=True)
        ]
        self.changePersistentIndexList(before, after)
        self.layoutChanged.emit()

    def _put_in(self, wanted: list[str], came: set[str]) -> None:
        if not came:
            return
        for row, known in enumerate(wanted):
            if known in came:
                self.beginInsertRows(QModelIndex(), row, row)
                self._rows.insert(row, known)
                self._row_of = None
                self.endInsertRows()

    def _tell_changed(self, changed: set[str]) -> None:
        rows = sorted(row for row in (self.row_of(known) for known in changed) if row >= 0)
        last_column = len(self.columns) - 1
        while rows:
            # Neighbours are told together.
            end = bisect_left(range(len(rows)), True, key=lambda at: rows[at] != rows[0] + at)
            self.dataChanged.emit(self.index(rows[0], 0), self.index(rows[end - 1], last_column))
            rows = rows[end:]
