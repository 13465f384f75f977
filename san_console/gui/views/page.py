"""What all pages share: title and summary, actions at the right, filter row, content, details behind a
splitter.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from PySide6.QtCore import QSignalBlocker, Qt, QTimer
from PySide6.QtGui import QIcon, QKeyEvent, QResizeEvent, QShowEvent
from PySide6.QtWidgets import QHBoxLayout, QLineEdit, QSplitter, QTabWidget, QVBoxLayout, QWidget

from san_console.gui.context import Context
from san_console.gui.icons import icon
from san_console.gui.models.object_model import ObjectTableModel, Predicate
from san_console.gui.theme.theme import Theme, tokens
from san_console.gui.theme.tokens import GAP_PX, PAGE_MARGIN_PX
from san_console.gui.translation import translated
from san_console.gui.widgets.buttons import Chip
from san_console.gui.widgets.cards import Card, horizontal, vertical
from san_console.gui.widgets.labels import ElidedLabel, PlainLabel, restyle, tooltip_text

FILTER_WIDTH_PX: Final = 280
REBUILD_MS: Final = 0
MAX_FITTED: Final = 0.5
MIN_FITTED_PX: Final = 140


class Page(QWidget):
    """A page of the window. Built when it is first opened; `refresh` draws what the replica holds now.

    Subclasses set `key` and `title`, name the collections they show in `collections`, and fill `self.body`.
    """

    key = ""
    title = ""
    collections: tuple[str, ...] = ()
    """A change in one of these calls `refresh` (once per batch, and only while the page is on screen)."""

    def __init__(self, context: Context) -> None:
        super().__init__()
        self.context = context
        self.host = context.host
        self.setObjectName(f"page-{self.key}")
        self.setAccessibleName(translated(self.title))
        self._stale = True
        outer = vertical(self, margin=PAGE_MARGIN_PX, gap=GAP_PX)
        head = horizontal(gap=8)
        self.title_label = PlainLabel(translated(self.title), style="title")
        self.summary = ElidedLabel("", style="muted", elide=Qt.TextElideMode.ElideRight)
        head.addWidget(self.title_label)
        head.addSpacing(4)
        head.addWidget(self.summary, 1)
        self.action_row: QHBoxLayout = horizontal(gap=8)
        head.addLayout(self.action_row)
        outer.addLayout(head)
        self.body: QVBoxLayout = vertical(gap=GAP_PX)
        outer.addLayout(self.body, 1)
        self.host.changed.connect(self._take_changes)
        self.host.reset.connect(self._take_reset)
        self.host.sampled.connect(self._take_samples)

    # for subclasses

    def reload(self) -> None:
        """Everything was replaced (or the page was just built): fill models from the replica."""

    def apply_changes(self, collection: str, changes: list[Any]) -> None:
        """A batch of `ObjectChange` of one of `collections`. Comes also while the page is hidden."""

    def refresh(self) -> None:
        """Draw what depends on the replica: summary, buttons, counts, details."""

    def sampled(self) -> None:
        """Newer statistics; only while the page is on screen."""

    def select(self, identifier: str) -> None:
        """Show the object of this id."""

    def focus_filter(self) -> None:
        """Ctrl+F."""

    def renew(self) -> None:
        """F5."""

    # inside

    def set_actions(self, *widgets: QWidget) -> None:
        for widget in widgets:
            self.action_row.addWidget(widget)

    def _take_changes(self, collection: str, changes: list[Any]) -> None:
        if collection in self.collections:
            self.apply_changes(collection, changes)
            self._soon()

    def _take_reset(self) -> None:
        self.reload()
        self._soon()

    def _take_samples(self) -> None:
        if self.isVisible():
            self.sampled()

    def _soon(self) -> None:
        """Refresh once per turn of the loop, however many collections changed."""
        if not self.isVisible():
            self._stale = True
        elif not self._stale:
            self._stale = True
            QTimer.singleShot(REBUILD_MS, self, self._refresh_now)

    def _refresh_now(self) -> None:
        if self._stale and self.isVisible():
            self._stale = False
            self.refresh()

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        if self._stale:
            self._stale = False
            self.refresh()
        self.sampled()


class FilterLine(QLineEdit):
    """The filter of a page. A line that is not acceptable turns red and says why in its tooltip."""

    def __init__(self, placeholder: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setPlaceholderText(placeholder)
        self.setAccessibleName(placeholder)
        self.setClearButtonEnabled(True)
        self.setFixedWidth(FILTER_WIDTH_PX)
        self._glass = self.addAction(QIcon(), QLineEdit.ActionPosition.LeadingPosition)
        self._tint()
        Theme.of().changed.connect(self._tint)

    def _tint(self) -> None:
        self._glass.setIcon(icon("search", tokens().muted))

    def show_error(self, error: str) -> None:
        self.setToolTip(tooltip_text(error))
        self.setProperty("invalid", bool(error))
        restyle(self)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() == Qt.Key.Key_Escape and self.text():
            self.clear()
            return
        super().keyPressEvent(event)


class FilterRow(QWidget):
    """Filter line and counted tags over one model. `chips`: (key, label, predicate or None for all)."""

    def __init__(
        self,
        model: ObjectTableModel,
        placeholder: str,
        chips: Sequence[tuple[str, str, Predicate | None]] = (),
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._model = model
        self._predicates = {key: predicate for key, _label, predicate in chips}
        self.chips: dict[str, Chip] = {}
        self.base: Predicate | None = None
        """A restriction from outside the row (a source at the left); counts follow it."""
        row = horizontal(self, gap=8)
        self.line = FilterLine(placeholder)
        row.addWidget(self.line)
        for key, label, _predicate in chips:
            chip = Chip(key, label)
            chip.clicked.connect(lambda _checked=False, key=key: self.choose(key))
            self.chips[key] = chip
            row.addWidget(chip)
        row.addStretch(1)
        self.end = horizontal(gap=8)
        row.addLayout(self.end)
        self.chosen = next(iter(self.chips), "")
        self._mark()
        self.line.textChanged.connect(self._filter)

    def choose(self, key: str) -> None:
        self.chosen = key
        self._mark()
        self.apply()

    def restrict(self, base: Predicate | None) -> None:
        self.base = base
        self.apply()
        self.count()

    def apply(self) -> None:
        """Give the model the predicate of the chosen tag and of `base`."""
        chosen, base = self._predicates.get(self.chosen), self.base
        if chosen is not None and base is not None:
            self._model.set_predicate(lambda item: chosen(item) and base(item))
        else:
            self._model.set_predicate(chosen or base)

    def clear(self) -> None:
        with QSignalBlocker(self.line):
            self.line.clear()
        self.line.show_error("")
        self._model.set_filter("")
        if self.chips:
            self.choose(next(iter(self.chips)))

    def count(self) -> None:
        """Write the counts anew."""
        items = [item for item in self._model.objects() if self.base is None or self.base(item)]
        for key, chip in self.chips.items():
            predicate = self._predicates[key]
            chip.set_count(len(items) if predicate is None else sum(map(predicate, items)))

    def _mark(self) -> None:
        for key, chip in self.chips.items():
            chip.setChecked(key == self.chosen)

    def _filter(self, text: str) -> None:
        self.line.show_error(self._model.set_filter(text))


class DetailTab(QWidget):
    """One tab of the details. `show_object` gets the selected object, or None; only while the tab is on
    screen.
    """

    def __init__(self, context: Context) -> None:
        super().__init__()
        self.context = context
        self.host = context.host

    def show_object(self, item: Any) -> None:
        """Show `item`. Called again whenever it may have changed."""

    def sampled(self, item: Any) -> None:
        """Newer statistics."""


class Details(Card):
    """Tabs about the selected object. Tabs are built when first opened; the open one is remembered."""

    def __init__(
        self, context: Context, key: str, tabs: Sequence[tuple[str, str, Callable[[], DetailTab]]]
    ) -> None:
        super().__init__(flush=True)
        self._context = context
        self._key = f"tab.{key}"
        self._makers = {name: make for name, _title, make in tabs}
        self._built: dict[str, DetailTab] = {}
        self._item: Any = None
        self.tabs = QTabWidget()
        self.tabs.setDocumentMode(True)
        self.tabs.tabBar().setExpanding(False)
        self.tabs.tabBar().setAccessibleName(self.tr("Details"))
        self.tabs.tabBar().setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.keys = [name for name, _title, _make in tabs]
        self._places: dict[str, QVBoxLayout] = {}
        for name, title, _make in tabs:
            holder = QWidget()
            holder.setAccessibleName(title)
            self._places[name] = vertical(holder)
            self.tabs.addTab(holder, title)
        self.body.addWidget(self.tabs)
        wanted = context.preferences.get(self._key, "")
        if wanted in self.keys:
            self.tabs.setCurrentIndex(self.keys.index(wanted))
        self.tabs.currentChanged.connect(self._opened)

    @property
    def current(self) -> DetailTab:
        name = self.keys[self.tabs.currentIndex()]
        if name not in self._built:
            tab = self._built[name] = self._makers[name]()
            self._places[name].addWidget(tab)
        return self._built[name]

    def open(self, name: str) -> None:
        self.tabs.setCurrentIndex(self.keys.index(name))

    def set_title(self, name: str, title: str) -> None:
        self.tabs.setTabText(self.keys.index(name), title)

    def show_object(self, item: Any) -> None:
        self._item = item
        self.current.show_object(item)

    def sampled(self) -> None:
        self.current.sampled(self._item)

    def _opened(self, number: int) -> None:
        self._context.preferences.set(self._key, self.keys[number])
        self.show_object(self._item)
        self.sampled()


class KeptSplitter(QSplitter):
    """A splitter that remembers where it was put. `sizes`: the first proportions."""

    def __init__(
        self, context: Context, key: str, orientation: Qt.Orientation, sizes: Sequence[int], *widgets: QWidget
    ) -> None:
        super().__init__(orientation)
        self._preferences = context.preferences
        self._key = f"splitter.{key}"
        self.setHandleWidth(GAP_PX)
        self.setChildrenCollapsible(False)
        for number, widget in enumerate(widgets):
            self.addWidget(widget)
            self.setStretchFactor(number, sizes[number])
            handle = self.handle(number)
            if handle is not None:
                handle.setAccessibleName(self.tr("Drag to resize"))
        self._fitted = -1
        kept = self._preferences.get(self._key)
        fits = isinstance(kept, list) and len(kept) == len(widgets)
        if fits and all(isinstance(size, int) and size > 0 for size in kept):
            self.setSizes(kept)
        else:
            self.setSizes(list(sizes))
        self.splitterMoved.connect(lambda _at, _number: self._preferences.set(self._key, self.sizes()))

    def fit_first(self, wanted_px: int) -> None:
        """Give the first pane what it needs, at most `MAX_FITTED`, unless the user has moved the handle."""
        if isinstance(self._preferences.get(self._key), list):
            return
        total = sum(self.sizes())
        size = min(max(wanted_px, MIN_FITTED_PX), int(total * MAX_FITTED))
        if total and size != self._fitted:
            self._fitted = size
            self.setSizes([size, total - size])

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._fitted = -1
