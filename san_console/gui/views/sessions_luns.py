"""The LUNs behind a session: what they are, and the way to their page."""

from __future__ import annotations

from typing import Any, Final

from san_console.api.initiator_objects import Lun, Session
from san_console.gui import words
from san_console.gui.context import Context
from san_console.gui.models.columns import Column
from san_console.gui.models.object_model import ObjectTableModel
from san_console.gui.theme.tokens import Tone
from san_console.gui.translation import QT_TRANSLATE_NOOP, translate, translated
from san_console.gui.views.page import DetailTab
from san_console.gui.widgets.cards import vertical
from san_console.gui.widgets.empty import EmptyState
from san_console.gui.widgets.table import TableView
from san_console.gui.widgets.table_stack import TableStack

_STATE_WORDS: Final[dict[str, str]] = {
    "reading": QT_TRANSLATE_NOOP("Table", "Reading"),
    "ready": QT_TRANSLATE_NOOP("Table", "Ready"),
    "failed": QT_TRANSLATE_NOOP("Table", "Failed"),
}
_STATE_TONES: Final[dict[str, Tone]] = {"reading": "accent", "ready": "good", "failed": "bad"}


def access(lun: Lun) -> str:
    """`read-write, thin`."""
    return (
        translate("sessions_luns", "read-only") if lun.read_only else translate("sessions_luns", "read-write")
    ) + (translate("sessions_luns", ", thin") if lun.thin else "")


class SessionLunsTab(DetailTab):
    """Enter or a double click leads to the LUN."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.model = ObjectTableModel(self._columns())
        self.table = TableView(
            self.model,
            self.tr("LUNs of the session"),
            preferences=context.preferences,
            layout_key="sessions.luns",
            sort_by="lun",
        )
        self.table.opened.connect(lambda identifier: context.window.go("luns", identifier))
        self.empty = EmptyState("database", self.tr("No LUN"), "")
        card = TableStack(self.table, self.empty)
        vertical(self).addWidget(card)

    @staticmethod
    def _columns() -> list[Column]:
        return [
            Column(
                "state",
                translate("SessionLunsTab", "State"),
                lambda lun: translated(_STATE_WORDS.get(lun.state, lun.state)),
                kind="state",
                tone=lambda lun: _STATE_TONES.get(lun.state, "muted"),
                tooltip=lambda lun: lun.problem.message if lun.problem is not None else lun.state,
                width=110,
            ),
            Column("lun", "LUN", lambda lun: str(lun.lun), sort=lambda lun: lun.lun, width=72),
            Column(
                "identity",
                translate("SessionLunsTab", "Identity"),
                lambda lun: lun.identity or translate("SessionLunsTab", "none"),
                mono=True,
                elide_middle=True,
                stretch=True,
            ),
            Column(
                "size",
                translate("SessionLunsTab", "Size"),
                lambda lun: words.size(lun.size_bytes) if lun.size_bytes else words.NONE,
                sort=lambda lun: lun.size_bytes,
                right=True,
                width=96,
            ),
            Column("vendor", translate("SessionLunsTab", "Vendor"), lambda lun: lun.vendor, width=104),
            Column("product", translate("SessionLunsTab", "Product"), lambda lun: lun.product, width=132),
            Column("content", translate("SessionLunsTab", "Content"), lambda lun: lun.content, width=150),
            Column("access", translate("SessionLunsTab", "Access"), access, muted=True, width=132),
        ]

    def show_object(self, item: Any) -> None:
        session = item if isinstance(item, Session) else None
        luns = [lun for lun in self.host.values("luns") if session and lun.session_id == session.id]
        if list(self.model.objects()) != luns:
            self.model.set_objects(luns)
        if session is not None and session.state == "logged_in":
            self.empty.say(
                self.tr("No LUN"),
                self.tr("The target shows this computer none. Its access list decides that."),
            )
        else:
            self.empty.say(self.tr("No LUN"), self.tr("LUNs are read when the session is logged in."))
