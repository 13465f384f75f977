"""The database of an iSNS server: entities, nodes, portals, groups and domains with their attributes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from PySide6.QtCore import Qt, QTimer
from PySide6.QtWidgets import QFrame, QScrollArea, QWidget

from san_console.api.serving_objects import IsnsObject
from san_console.gui import words
from san_console.gui.context import Context
from san_console.gui.models.columns import Column
from san_console.gui.models.object_model import ObjectTableModel, Predicate
from san_console.gui.theme.tokens import GAP_PX, Tone
from san_console.gui.translation import QT_TRANSLATE_NOOP, translate, translated
from san_console.gui.views.page import FilterRow, KeptSplitter
from san_console.gui.widgets.cards import Card, vertical
from san_console.gui.widgets.empty import EmptyState, TableCard
from san_console.gui.widgets.key_values import KeyValues, Pair
from san_console.gui.widgets.labels import ElidedLabel
from san_console.gui.widgets.table import TableView

KIND_WORDS: Final[dict[str, str]] = {
    "entity": QT_TRANSLATE_NOOP("Table", "Entity"),
    "node": QT_TRANSLATE_NOOP("Table", "Node"),
    "portal": QT_TRANSLATE_NOOP("Table", "Portal"),
    "portal_group": QT_TRANSLATE_NOOP("Table", "Portal group"),
    "domain": QT_TRANSLATE_NOOP("Table", "Domain"),
    "domain_set": QT_TRANSLATE_NOOP("Table", "Domain set"),
}
_KIND_TONES: Final[dict[str, Tone]] = {"entity": "text", "node": "accent", "portal": "good"}
_KIND_ORDER: Final = {kind: number for number, kind in enumerate(KIND_WORDS)}
LOADING_AFTER_MS: Final = 200
"""A shorter wait needs no word about it."""


def _attributes(item: IsnsObject) -> str:
    """In one line, without what the columns before say already."""
    said = {item.name, item.entity}
    return ", ".join(f"{name} {value}" for name, value in item.attributes if value and value not in said)


def _entity(item: IsnsObject) -> str:
    return "" if item.kind == "entity" else item.entity


def _is(*kinds: str) -> Predicate:
    return lambda item: item.kind in kinds


class ObjectBrowser(QWidget):
    """Filter, table, attributes of the selected object."""

    def __init__(self, context: Context) -> None:
        super().__init__()
        self._waiting = False
        # An iSNS object has no id of its own: its kind, name and entity together are one.
        self.model = ObjectTableModel(
            _columns(), key=lambda item: "\n".join((item.kind, item.name, item.entity))
        )
        self.filter = FilterRow(
            self.model,
            self.tr("Filter: kind:node name:prod"),
            [
                ("all", self.tr("All"), None),
                ("node", self.tr("Nodes"), _is("node")),
                ("portal", self.tr("Portals"), _is("portal", "portal_group")),
                ("entity", self.tr("Entities"), _is("entity")),
                ("domain", self.tr("Domains"), _is("domain", "domain_set")),
            ],
        )
        self.table = TableView(
            self.model,
            self.tr("Registered objects"),
            preferences=context.preferences,
            layout_key="isns",
            sort_by="kind",
        )
        self.table.chosen.connect(self._show_details)
        self.empty = EmptyState("network", self.tr("Nothing is registered there"))
        card = TableCard(self.table, self.empty, self.filter.clear)
        card.setMinimumHeight(110)
        self.details = Card(flush=True)
        self.details.setMinimumHeight(90)
        area = QScrollArea()
        area.setWidgetResizable(True)
        area.setFrameShape(QFrame.Shape.NoFrame)
        area.setAccessibleName(self.tr("Attributes"))
        holder = QWidget()
        holder.setObjectName("scrolled")
        inner = vertical(holder, margin=14, gap=10)
        self.name_label = ElidedLabel("", style="strong", mono=True)
        self.attributes = KeyValues(columns=2)
        inner.addWidget(self.name_label)
        inner.addWidget(self.attributes)
        inner.addStretch(1)
        area.setWidget(holder)
        self.details.body.addWidget(area)
        column = vertical(self, gap=GAP_PX)
        column.addWidget(self.filter)
        split = KeptSplitter(context, "isns.objects", Qt.Orientation.Vertical, [440, 160], card, self.details)
        split.setStretchFactor(1, 0)
        column.addWidget(split, 1)

    def show_loading(self) -> None:
        self._waiting = True
        QTimer.singleShot(LOADING_AFTER_MS, self, self._say_loading)

    def _say_loading(self) -> None:
        if self._waiting and not len(self.model):
            self.empty.say(self.tr("Reading what is registered…"))

    def show_objects(self, objects: Iterable[IsnsObject]) -> None:
        self._waiting = False
        self.empty.say(
            self.tr("Nothing is registered there"), self.tr("What registers with the server appears here.")
        )
        self.model.set_objects(objects)
        self.filter.count()
        self.table.select_first()
        self._show_details()

    def show_nothing(self, title: str, sentence: str) -> None:
        self._waiting = False
        self.empty.say(title, sentence)
        self.model.set_objects([])
        self.filter.count()
        self._show_details()

    def _show_details(self) -> None:
        item: Any = self.table.current_object()
        self.details.setVisible(item is not None)
        if item is None:
            return
        self.name_label.setText(item.name)
        pairs = [Pair(self.tr("Kind"), translated(KIND_WORDS.get(item.kind, item.kind)))]
        if item.entity:
            pairs.append(Pair(self.tr("Entity"), item.entity, mono=True))
        pairs += [Pair(name, value or words.NONE) for name, value in item.attributes]
        self.attributes.show_pairs(pairs)


def _columns() -> list[Column]:
    return [
        Column(
            "kind",
            translate("isns_objects", "Kind"),
            lambda item: translated(KIND_WORDS.get(item.kind, item.kind)),
            sort=lambda item: (_KIND_ORDER.get(item.kind, 9), item.name.lower()),
            kind="tag",
            tone=lambda item: _KIND_TONES.get(item.kind, "muted"),
            width=112,
        ),
        Column(
            "name",
            translate("isns_objects", "Name"),
            lambda item: item.name,
            mono=True,
            elide_middle=True,
            width=300,
            stretch=True,
        ),
        Column(
            "entity", translate("isns_objects", "Entity"), _entity, muted=True, elide_middle=True, width=140
        ),
        Column("attributes", translate("isns_objects", "Attributes"), _attributes, muted=True, width=220),
    ]
