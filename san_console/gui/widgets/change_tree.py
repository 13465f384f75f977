"""Shows a plan: what changes from what to what, and below it what that does to whom."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from PySide6.QtCore import QSize, Qt
from PySide6.QtGui import QBrush, QColor
from PySide6.QtWidgets import (
    QFrame,
    QHeaderView,
    QLabel,
    QScrollArea,
    QTreeWidget,
    QTreeWidgetItem,
    QWidget,
)

from san_console.api.plan_objects import ChangePlan
from san_console.gui.icons import icon, set_icon
from san_console.gui.models.change_tree import ACTIONS, Line, cost, summary, tree_of
from san_console.gui.theme.theme import Theme, tokens
from san_console.gui.translation import QT_TRANSLATE_NOOP, translate, translated
from san_console.gui.widgets.cards import Frame, clear, horizontal, vertical
from san_console.gui.widgets.labels import PlainLabel, tooltip_text
from san_console.names.display import visible

OPEN_UP_TO: Final = 60
"""So many lines are shown open; of more only the targets, which are opened one by one."""

MAX_COST_LINES: Final = 200
ROW_PX: Final = 24
_ACTION: Final = int(Qt.ItemDataRole.UserRole)

SEVERITY_ICONS: Final[dict[str, tuple[str, str]]] = {
    "info": ("info", "accent"),
    "warning": ("triangle-alert", "warning"),
    "danger": ("circle-alert", "bad"),
}
SEVERITY_NAMES: Final[dict[str, str]] = {
    "info": QT_TRANSLATE_NOOP("Table", "info"),
    "warning": QT_TRANSLATE_NOOP("Table", "warning"),
    "danger": QT_TRANSLATE_NOOP("Table", "danger"),
}


class CostLines(QScrollArea):
    """Sentences with the icon of their severity."""

    def __init__(self, name: str, lines: Sequence[tuple[str, str]] = (), nothing: str = "") -> None:
        super().__init__()
        self.setWidgetResizable(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setAccessibleName(name)
        holder = QWidget()
        holder.setObjectName("scrolled")
        self._column = vertical(holder, gap=8)
        self.setWidget(holder)
        self._nothing = nothing
        self.show_lines(lines)

    def show_lines(self, lines: Sequence[tuple[str, str]]) -> None:
        """Severity and sentence each."""
        clear(self._column)
        shown = list(lines[:MAX_COST_LINES])
        if len(lines) > MAX_COST_LINES:
            more = translate("change_tree", "and {left:,} more").format(left=len(lines) - MAX_COST_LINES)
            shown.append(("info", more))
        for severity, text in shown or [("info", self._nothing)]:
            row = horizontal(gap=10)
            picture = QLabel()
            picture.setAccessibleName(translated(SEVERITY_NAMES.get(severity, severity)))
            name, role = SEVERITY_ICONS.get(severity, SEVERITY_ICONS["info"])
            set_icon(picture, name, role, tokens())
            row.addWidget(picture, 0, Qt.AlignmentFlag.AlignTop)
            row.addWidget(PlainLabel(text, wrap=True, selectable=True), 1)
            self._column.addLayout(row)
        self._column.addStretch(1)


class PlanView(QWidget):
    """The tree above, the cost below."""

    def __init__(self) -> None:
        super().__init__()
        column = vertical(self, gap=8)
        self.summary = PlainLabel("", style="strong")
        column.addWidget(self.summary)
        frame = Frame("inset")
        self.tree = QTreeWidget()
        self.tree.setAccessibleName(self.tr("What changes"))
        self.tree.setHeaderLabels([self.tr("What"), self.tr("Before"), self.tr("After")])
        self.tree.setUniformRowHeights(True)
        self.tree.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        self.tree.setFrameShape(QFrame.Shape.NoFrame)
        self.tree.setMinimumHeight(170)
        header = self.tree.header()
        header.setAccessibleName(self.tr("Columns"))
        header.setStretchLastSection(True)
        header.setSectionResizeMode(QHeaderView.ResizeMode.Interactive)
        header.resizeSection(0, 290)
        header.resizeSection(1, 160)
        vertical(frame, margin=1).addWidget(self.tree)
        column.addWidget(frame, 5)
        self.cost = CostLines(
            self.tr("Consequences"), nothing=self.tr("No session is interrupted, nobody loses anything.")
        )
        self.cost.setMinimumHeight(84)
        column.addWidget(self.cost, 2)

    def show_plan(self, plan: ChangePlan) -> None:
        self.summary.setText(summary(plan))
        self.tree.clear()
        lines = tree_of(plan)
        for line in lines:
            self.tree.addTopLevelItem(_item(line))
        count = sum(1 + len(line.lines) for line in lines)
        if count <= OPEN_UP_TO or len(lines) == 1:
            self._open()
        self.cost.show_lines(cost(plan))

    def _open(self) -> None:
        """Open the targets, and what changed in them; what is new or gone says so in its own line."""
        for row in range(self.tree.topLevelItemCount()):
            top = self.tree.topLevelItem(row)
            if top is None:
                continue
            top.setExpanded(True)
            for number in range(top.childCount()):
                inner = top.child(number)
                if inner is not None:
                    inner.setExpanded(inner.data(0, _ACTION) == "changed")


def _item(line: Line) -> QTreeWidgetItem:
    texts = [visible(text, 400) for text in (line.text, line.before, line.after)]
    item = QTreeWidgetItem(texts)
    item.setSizeHint(0, QSize(0, ROW_PX))
    item.setData(0, _ACTION, line.action or "")
    for column, text in enumerate(texts):
        item.setToolTip(column, tooltip_text(text))
    said = texts[0]
    if line.action is not None:
        word, picture, tone = ACTIONS[line.action]
        color = QColor(tokens().tone(tone))
        item.setIcon(0, icon(picture, tokens().tone(tone)))
        said = f"{texts[0]}, {translated(word)}"
        item.setText(2, translated(word))
        item.setForeground(2, QBrush(color))
    if line.before or line.after:
        item.setFont(1, Theme.of().font)
        item.setForeground(0, QBrush(QColor(tokens().muted)))
    item.setData(0, int(Qt.ItemDataRole.AccessibleTextRole), said)
    for inner in line.lines:
        item.addChild(_item(inner))
    return item
