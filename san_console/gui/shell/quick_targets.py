"""The targets that an address named, to choose one from by keyboard or pointer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QWidget

from san_console.api.initiator_objects import Target
from san_console.gui.models.columns import Column
from san_console.gui.models.object_model import ObjectTableModel
from san_console.gui.theme.tokens import HEADER_HEIGHT_PX, ROW_HEIGHT_PX, Tone
from san_console.gui.translation import translate
from san_console.gui.widgets.cards import Frame, vertical
from san_console.gui.widgets.table import TableView

MAX_ROWS_SHOWN: Final = 8


def _chap(target: Target) -> str:
    return (
        translate("quick_targets", "asks for CHAP")
        if any(portal.asks_for_chap for portal in target.portals)
        else ""
    )


def _chap_tone(target: Target) -> Tone:
    return "warning" if any(portal.asks_for_chap for portal in target.portals) else "muted"


def _columns() -> list[Column]:
    return [
        Column(
            "target",
            translate("quick_targets", "Target"),
            lambda t: t.id,
            mono=True,
            elide_middle=True,
            stretch=True,
        ),
        Column("alias", translate("quick_targets", "Alias"), lambda t: t.alias, width=120),
        Column("chap", translate("quick_targets", "Log-in"), _chap, kind="tag", tone=_chap_tone, width=120),
        Column(
            "session",
            translate("quick_targets", "Session"),
            lambda t: translate("quick_targets", "logged in") if t.session_ids else "",
            width=90,
            muted=True,
        ),
    ]


class TargetList(QWidget):
    chosen = Signal(str)

    def __init__(self) -> None:
        super().__init__()
        box = vertical(self)
        frame = Frame("inset")
        inside = vertical(frame, margin=1)
        self.model = ObjectTableModel(_columns())
        self.table = TableView(self.model, self.tr("Targets found"), sort_by="target", multiple=False)
        self.table.opened.connect(self.chosen)
        inside.addWidget(self.table)
        box.addWidget(frame)
        self.setFocusProxy(self.table)

    def show_targets(self, targets: Sequence[Target]) -> None:
        self.model.set_objects(targets)
        rows = min(len(targets), MAX_ROWS_SHOWN)
        self.table.setFixedHeight(HEADER_HEIGHT_PX + rows * ROW_HEIGHT_PX + 2)
        self.table.clearSelection()
        self.table.select_first()

    def current(self) -> str:
        ids = self.table.selected_ids()
        return ids[0] if ids else ""
