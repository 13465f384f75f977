"""The text keys of a log-in: what the RFC gives, what was offered, what was answered, what holds now."""

from __future__ import annotations

from typing import Any, Final

from PySide6.QtGui import QKeySequence, QShortcut

from san_console.api.initiator_objects import NegotiatedKey, Session
from san_console.gui.context import Context
from san_console.gui.models.columns import Column
from san_console.gui.models.object_model import ObjectTableModel
from san_console.gui.theme.tokens import Tone
from san_console.gui.translation import translate
from san_console.gui.views.page import DetailTab, FilterRow
from san_console.gui.widgets.buttons import Button
from san_console.gui.widgets.cards import Line, vertical
from san_console.gui.widgets.empty import EmptyState
from san_console.gui.widgets.table import TableView
from san_console.gui.widgets.table_stack import TableStack
from san_console.names.display import visible

_NOT_UNDERSTOOD: Final = "NotUnderstood"


def own_value(key: NegotiatedKey) -> bool:
    """Another value than the RFC's default holds."""
    return bool(key.effective) and key.effective != key.default


def not_as_offered(key: NegotiatedKey) -> bool:
    """The target wanted it otherwise, or did not know the key."""
    return bool(key.offered) and key.effective not in key.offered.split(",")


def _tone(key: NegotiatedKey) -> Tone:
    if not_as_offered(key):
        return "warning"
    return "accent" if own_value(key) else "text"


class KeysTab(DetailTab):
    """A row per key of RFC 7143 §13."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.model = ObjectTableModel(self._columns(), key=lambda key: key.name)
        self.filter = FilterRow(
            self.model,
            self.tr("Filter keys: digest, rule:smaller"),
            [
                ("all", self.tr("All"), None),
                ("own", self.tr("Not the default"), own_value),
                ("otherwise", self.tr("Not as offered"), not_as_offered),
                ("note", self.tr("With a note"), lambda key: bool(key.note) or _NOT_UNDERSTOOD in key.rule),
            ],
        )
        self.copy = Button(
            self.tr("Copy as CSV"),
            self._copy,
            icon="copy",
            tip=self.tr("All rows that are shown, for a ticket"),
        )
        self.filter.end.addWidget(self.copy)
        self.table = TableView(
            self.model,
            self.tr("Negotiated keys"),
            preferences=context.preferences,
            layout_key="sessions.keys",
            sort_by="key",
        )
        outer = vertical(self, gap=0)
        top = vertical(margin=10, gap=0)
        top.addWidget(self.filter)
        outer.addLayout(top)
        outer.addWidget(Line())
        empty = EmptyState(
            "list-checks",
            self.tr("Nothing was negotiated yet"),
            self.tr("The keys come with the first log-in."),
        )
        card = TableStack(self.table, empty, self.filter.clear)
        outer.addWidget(card, 1)
        QShortcut(QKeySequence.StandardKey.Find, self.table, self.filter.line.setFocus)

    @staticmethod
    def _columns() -> list[Column]:
        return [
            Column("key", translate("KeysTab", "Key"), lambda key: key.name, mono=True, width=210),
            Column(
                "default",
                translate("KeysTab", "RFC default"),
                lambda key: key.default,
                mono=True,
                muted=True,
                width=94,
            ),
            Column("offered", translate("KeysTab", "Offered"), lambda key: key.offered, mono=True, width=112),
            Column(
                "answered", translate("KeysTab", "Answered"), lambda key: key.answered, mono=True, width=96
            ),
            Column(
                "effective",
                translate("KeysTab", "Effective"),
                lambda key: key.effective,
                mono=True,
                tone=_tone,
                width=96,
            ),
            Column("rule", translate("KeysTab", "Rule"), lambda key: key.rule, muted=True, width=316),
            Column("note", translate("KeysTab", "Note"), lambda key: key.note, muted=True, stretch=True),
        ]

    def show_object(self, item: Any) -> None:
        keys = list(item.keys) if isinstance(item, Session) else []
        if list(self.model.objects()) != keys:
            self.model.set_objects(keys)
            self.filter.count()

    def _copy(self) -> None:
        # Late: a clipboard is asked for only here.
        from PySide6.QtGui import QGuiApplication

        QGuiApplication.clipboard().setText(visible_lines(self.table.exported("csv", everything=True)))
        self.context.window.say(self.tr("The keys were copied as CSV."), "good")


def visible_lines(text: str) -> str:
    """Each line made harmless; the ends of the lines stay."""
    return "\n".join(visible(line, 8192) for line in text.splitlines())
