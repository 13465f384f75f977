"""What this computer has of a target: its sessions and the LUNs behind them."""

from __future__ import annotations

from functools import partial
from typing import Any

from san_console.api.initiator_objects import Lun, Session
from san_console.gui import words
from san_console.gui.context import Context
from san_console.gui.models.columns import Column
from san_console.gui.models.object_model import ObjectTableModel
from san_console.gui.translation import translate
from san_console.gui.views.page import DetailTab
from san_console.gui.views.sessions_columns import session_columns
from san_console.gui.widgets.cards import vertical
from san_console.gui.widgets.empty import EmptyState
from san_console.gui.widgets.table import TableView
from san_console.gui.widgets.table_stack import TableStack


def lun_columns() -> list[Column]:
    return [
        Column("lun", "LUN", lambda one: str(one.lun), sort=lambda one: one.lun, right=True, width=60),
        Column(
            "identity",
            translate("target_use", "Identity"),
            lambda one: one.identity or translate("target_use", "none"),
            mono=True,
            elide_middle=True,
            stretch=True,
        ),
        Column(
            "size",
            translate("target_use", "Size"),
            lambda one: words.size(one.size_bytes),
            sort=lambda one: one.size_bytes,
            right=True,
        ),
        Column("vendor", translate("target_use", "Vendor"), lambda one: one.vendor, width=90),
        Column("product", translate("target_use", "Product"), lambda one: one.product, width=140),
        Column("content", translate("target_use", "Content"), lambda one: one.content, width=170),
        Column(
            "portal", translate("target_use", "Session"), lambda one: one.session_id, width=90, muted=True
        ),
    ]


class SessionsOfTarget(DetailTab):
    def __init__(self, context: Context) -> None:
        super().__init__(context)
        box = vertical(self)
        self._model = ObjectTableModel(session_columns(self.host, context.now))
        table = TableView(
            self._model,
            self.tr("Sessions of the target"),
            preferences=context.preferences,
            layout_key="target-sessions",
        )
        table.opened.connect(partial(context.window.go, "sessions"))
        empty = EmptyState(
            "activity", self.tr("Not logged in"), self.tr("There is no session with this target.")
        )
        box.addWidget(TableStack(table, empty))
        self._shown: list[Session] = []

    def show_object(self, item: Any) -> None:
        ids = item.session_ids if item is not None else []
        sessions = [
            session for session in map(partial(self.host.get, "sessions"), ids) if session is not None
        ]
        if sessions != self._shown:
            self._shown = sessions
            self._model.set_objects(sessions)

    def sampled(self, item: Any) -> None:
        self._model.refresh_live()


class LunsOfTarget(DetailTab):
    def __init__(self, context: Context) -> None:
        super().__init__(context)
        box = vertical(self)
        self._model = ObjectTableModel(lun_columns())
        table = TableView(
            self._model,
            self.tr("LUNs of the target"),
            preferences=context.preferences,
            layout_key="target-luns",
            sort_by="lun",
        )
        table.opened.connect(partial(context.window.go, "luns"))
        empty = EmptyState("database", self.tr("No LUNs known"), self.tr("LUNs are seen through a session."))
        box.addWidget(TableStack(table, empty))
        self._shown: list[Lun] = []

    def show_object(self, item: Any) -> None:
        ids = set(item.session_ids) if item is not None else set()
        luns = [lun for lun in self.host.values("luns") if lun.session_id in ids]
        if luns != self._shown:
            self._shown = luns
            self._model.set_objects(luns)
