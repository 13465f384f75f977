"""Access to a served target: who may log in, groups of initiators, and who sees what."""

from __future__ import annotations

from typing import Any, Final

from PySide6.QtWidgets import QStackedWidget

from san_console.api.serving_objects import LocalTarget
from san_console.gui.context import Context
from san_console.gui.views.page import DetailTab
from san_console.gui.views.serve_effective import EffectivePart
from san_console.gui.views.serve_groups import GroupsPart
from san_console.gui.views.serve_rules import RulesPart
from san_console.gui.widgets.buttons import Chip
from san_console.gui.widgets.cards import horizontal, vertical

_KEPT: Final = "serve.access.part"


class AccessTab(DetailTab):
    """Three parts behind chips; the open one is remembered."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._target: LocalTarget | None = None
        self.rules = RulesPart(context)
        self.groups = GroupsPart(context)
        self.effective = EffectivePart(context)
        self.parts: dict[str, DetailTab] = {
            "rules": self.rules,
            "groups": self.groups,
            "effective": self.effective,
        }
        column = vertical(self, gap=0)
        row = horizontal(gap=8)
        row.setContentsMargins(10, 8, 8, 4)
        self.chips: dict[str, Chip] = {}
        self.stack = QStackedWidget()
        for key, title in (
            ("rules", self.tr("Who may log in")),
            ("groups", self.tr("Groups")),
            ("effective", self.tr("Who sees what")),
        ):
            chip = Chip(key, title)
            chip.setAccessibleName(title)
            chip.clicked.connect(lambda _checked=False, key=key: self.open(key))
            self.chips[key] = chip
            row.addWidget(chip)
            self.stack.addWidget(self.parts[key])
        row.addStretch(1)
        column.addLayout(row)
        column.addWidget(self.stack, 1)
        kept = str(context.preferences.get(_KEPT, "rules"))
        self.open(kept if kept in self.parts else "rules")

    def open(self, key: str) -> None:
        """Show one of the parts."""
        for one, chip in self.chips.items():
            chip.setChecked(one == key)
        self.context.preferences.set(_KEPT, key)
        self.stack.setCurrentWidget(self.parts[key])
        self.parts[key].show_object(self._target)

    def show_object(self, item: Any) -> None:
        self._target = item if isinstance(item, LocalTarget) else None
        groups = len(self._target.initiator_groups) if self._target is not None else 0
        chip = self.chips["groups"]
        chip.setText(f"{chip.label} {groups}" if groups else chip.label)
        part = self.stack.currentWidget()
        if isinstance(part, DetailTab):
            part.show_object(self._target)
