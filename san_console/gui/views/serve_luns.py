"""The LUNs of a served target, mapped or not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from PySide6.QtWidgets import QMenu

from san_console.api.serving_objects import LocalLun, LocalTarget
from san_console.gui import words
from san_console.gui.context import Context
from san_console.gui.models.columns import Column
from san_console.gui.theme.tokens import Tone
from san_console.gui.translation import translate
from san_console.gui.views.serve_changes import propose
from san_console.gui.views.serve_table import TablePart
from san_console.gui.widgets.buttons import Button, enable
from san_console.gui.widgets.empty import EmptyState
from san_console.gui.widgets.menus import add_action


class LunsTab(TablePart):
    """The LUNs of a target, mapped or not."""

    def __init__(self, context: Context, on_add: Callable[[], object]) -> None:
        super().__init__(
            context,
            self.tr("LUNs of the target"),
            _lun_columns(),
            EmptyState(
                "database",
                self.tr("No LUNs yet"),
                self.tr("A LUN is a file, memory or a disk."),
                self.tr("Add LUN…"),
                on_add,
            ),
        )
        self.remove_button = Button(self.tr("Remove LUN…"), self._remove, kind="danger", tip="Del")
        self.head.addWidget(self.remove_button)
        self.head.addWidget(Button(self.tr("Add LUN…"), on_add, icon="plus"))
        self.table.delete_asked.connect(self._remove)

    def show_object(self, item: Any) -> None:
        self.target = item if isinstance(item, LocalTarget) else None
        luns = list(self.target.luns) if self.target is not None else []
        self.model.set_objects(luns)
        self.table.select_first()
        total = words.size(sum(lun.size_bytes for lun in luns))
        self.note.setText(f"{words.counted(len(luns), 'LUN')}, {total}" if luns else "")
        self.chosen()

    def chosen(self) -> None:
        lun = self.table.current_object()
        enable(self.remove_button, lun is not None, self.tr("Select a LUN"))
        self.failure.show_problem(lun.problem if isinstance(lun, LocalLun) else None)

    def fill_menu(self, menu: QMenu) -> None:
        if self.table.current_object() is not None:
            add_action(
                menu, self.tr("Remove LUN…"), self._remove, icon="trash-2", shortcut="Del", danger=True
            )

    def _remove(self) -> None:
        lun, target = self.table.current_object(), self.target
        if not isinstance(lun, LocalLun) or target is None:
            return
        new = msgspec.structs.replace(
            target,
            luns=[one for one in target.luns if one.id != lun.id],
            mappings=[rule for rule in target.mappings if rule.lun_id != lun.id],
        )
        propose(
            self.context,
            self,
            target,
            new,
            question=self.tr("Remove the LUN {name} from {id}?").format(
                name=lun.name, id=words.short_name(target.id)
            ),
            verb=self.tr("Remove LUN"),
            said=self.tr("{name} is served no longer.").format(name=lun.name)
            + (self.tr(" The file is kept.") if lun.kind == "file" else ""),
        )


def _lun_tone(lun: LocalLun) -> Tone:
    return "good" if lun.state == "online" else "bad"


def _lun_columns() -> list[Column]:
    return [
        Column("name", translate("serve_luns", "Name"), lambda lun: lun.name, strong=True, width=104),
        Column("kind", translate("serve_luns", "Made of"), lambda lun: lun.kind, width=72),
        Column(
            "size",
            translate("serve_luns", "Size"),
            lambda lun: words.size(lun.size_bytes),
            sort=lambda lun: lun.size_bytes,
            right=True,
            width=84,
        ),
        Column(
            "flags",
            translate("serve_luns", "Flags"),
            lambda lun: ", ".join(
                text
                for text, on in (
                    (translate("serve_luns", "read-only"), lun.read_only),
                    (translate("serve_luns", "thin"), lun.thin),
                )
                if on
            ),
            muted=True,
            width=90,
        ),
        Column(
            "state",
            translate("serve_luns", "State"),
            lambda lun: lun.state,
            kind="state",
            tone=_lun_tone,
            width=90,
        ),
        Column(
            "path",
            translate("serve_luns", "Path"),
            lambda lun: lun.path or words.NONE,
            mono=True,
            elide_middle=True,
            width=160,
            stretch=True,
        ),
        Column(
            "identity",
            translate("serve_luns", "Identity"),
            lambda lun: lun.identity,
            mono=True,
            elide_middle=True,
            width=170,
        ),
        Column(
            "block",
            translate("serve_luns", "Block"),
            lambda lun: f"{lun.block_bytes:,}",
            right=True,
            width=70,
            hidden=True,
        ),
    ]
