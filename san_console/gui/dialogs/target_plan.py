"""What a document of targets, or an undoing, would change; and the choice how much is undone."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Final

from PySide6.QtCore import QSize, Qt, QTimer
from PySide6.QtWidgets import QListWidget, QListWidgetItem, QWidget

from san_console.api.methods import UndoTargets
from san_console.api.plan_objects import ChangePlan, UndoStep
from san_console.api.problems import Problem
from san_console.gui import words
from san_console.gui.bridge.host import QtHost
from san_console.gui.dialogs.base import BaseDialog
from san_console.gui.widgets.cards import Frame, vertical
from san_console.gui.widgets.change_tree import PlanView
from san_console.gui.widgets.empty import EmptyState
from san_console.gui.widgets.labels import PlainLabel, tooltip_text
from san_console.names.display import visible

WIDTH_PX: Final = 760
ROW_PX: Final = 26
PLAN_AFTER_MS: Final = 120
"""While somebody walks through the steps one plan at the end is enough."""


def hurts(plan: ChangePlan) -> bool:
    """Whether the button that applies it has to be red."""
    return bool(plan.disconnects) or any(line.severity == "danger" for line in plan.consequences)


class RefusedDialog(BaseDialog):
    """A document that cannot be read, and the way to another one."""

    def __init__(self, problem: Problem, choose: Callable[[], object], parent: QWidget | None = None) -> None:
        super().__init__(
            self.tr("The file cannot be applied"),
            self.tr("Choose another file…"),
            width_px=560,
            cancel_text=self.tr("Close"),
            parent=parent,
        )
        self._choose = choose
        self.content.addWidget(PlainLabel(self.tr("Nothing was changed."), style="muted"))
        self.problem.show_problem(problem)

    def do(self) -> None:
        self.finished_ok()
        self._choose()


class PlanDialog(BaseDialog):
    """`on_apply(dialog, plan)` ends the dialog; `again(dialog)` asks for the plan anew after a conflict."""

    def __init__(
        self,
        title: str,
        plan: ChangePlan,
        on_apply: Callable[[PlanDialog, ChangePlan], object],
        again: Callable[[PlanDialog], object],
        parent: QWidget | None = None,
    ) -> None:
        count = words.counted(len(plan.changes), "change")
        super().__init__(
            title,
            self.tr("Apply {count}").format(count=count),
            kind="destroy" if hurts(plan) else "primary",
            width_px=WIDTH_PX,
            parent=parent,
        )
        self._on_apply = on_apply
        self._again = again
        self._plan = plan
        self.view = PlanView()
        self.content.addWidget(self.view, 1)
        self.setMinimumHeight(520)
        self.show_plan(plan)

    def show_plan(self, plan: ChangePlan) -> None:
        """Another plan, for the configuration that there is by now."""
        self._plan = plan
        self.view.show_plan(plan)
        count = words.counted(len(plan.changes), "change")
        self.accept_button.setText(self.tr("Apply {count}").format(count=count))
        self.accept_button.setEnabled(bool(plan.changes))

    def do(self) -> None:
        self._on_apply(self, self._plan)

    def finished_badly(self, problem: Problem) -> None:
        super().finished_badly(problem)
        if problem.code == "conflict":
            # What is shown is not what would be done any more.
            self.accept_button.setEnabled(False)
            self._again(self)


class UndoHistoryDialog(BaseDialog):
    """The changes that can be taken back, newest first: to take one back is to take all newer ones back."""

    def __init__(
        self,
        host: QtHost,
        steps: Sequence[UndoStep],
        now: float,
        on_undone: Callable[[int], object],
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(
            self.tr("Changes of targets that can be undone"),
            self.tr("Undo"),
            width_px=WIDTH_PX,
            parent=parent,
        )
        self._host = host
        self._on_undone = on_undone
        self._plan: ChangePlan | None = None
        self._asked = 0
        self.setMinimumHeight(560 if steps else 260)
        self.list = QListWidget()
        self.list.setAccessibleName(self.tr("Changes, the newest first"))
        self.list.setUniformItemSizes(True)
        for step in steps:
            text = visible(step.text, 300) or ", ".join(words.short_name(one) for one in step.targets)
            when = time.strftime("%Y-%m-%d %H:%M", time.localtime(step.at))
            item = QListWidgetItem(
                self.tr("{text}  ·  {ago}").format(text=text, ago=words.ago(max(now - step.at, 0.0)))
            )
            item.setSizeHint(QSize(0, ROW_PX))
            item.setToolTip(tooltip_text("\n".join([text, when, *step.targets[:12]])))
            item.setData(int(Qt.ItemDataRole.UserRole), step.number)
            self.list.addItem(item)
        frame = Frame("inset")
        vertical(frame, margin=4).addWidget(self.list)
        self.list.setMinimumHeight(110)
        self.empty = EmptyState(
            "history",
            self.tr("Nothing can be undone"),
            self.tr("The newest 50 changes of targets are kept."),
        )
        self.note = PlainLabel("", style="muted", wrap=True)
        self.view = PlanView()
        self.content.addWidget(frame, 2)
        self.content.addWidget(self.note)
        self.content.addWidget(self.view, 4)
        self.content.addWidget(self.empty, 1)
        for widget in (frame, self.note, self.view):
            widget.setVisible(bool(steps))
        self.empty.setVisible(not steps)
        self.accept_button.setVisible(bool(steps))
        if not steps:
            self.cancel_button.setText(self.tr("Close"))
        self.accept_button.setEnabled(False)
        self._timer = QTimer(self, singleShot=True, interval=PLAN_AFTER_MS)
        self._timer.timeout.connect(self.ask)
        self.list.currentRowChanged.connect(self._chosen)
        if steps:
            self.list.setCurrentRow(0)

    @property
    def steps(self) -> int:
        """How many are to be undone."""
        return self.list.currentRow() + 1

    def _chosen(self) -> None:
        self.accept_button.setEnabled(False)
        self._plan = None
        self.note.setText(
            self.tr("Takes back this change.")
            if self.steps == 1
            else self.tr("Takes back this change and the {count} after it.").format(
                count=words.counted(self.steps - 1, "change")
            )
        )
        self._timer.start()

    def ask(self) -> None:
        """Ask what the chosen undoing would change."""
        self._timer.stop()
        if not self.steps:
            return
        self._asked += 1
        asked = self._asked
        self._host.call(
            "serving.plan_undo",
            UndoTargets(steps=self.steps),
            lambda plan: self._take(plan) if asked == self._asked else None,
            lambda problem: self.problem.show_problem(problem) if asked == self._asked else None,
            owner=self,
        )

    def _take(self, plan: ChangePlan) -> None:
        self.problem.hide()
        self._plan = plan
        self.view.show_plan(plan)
        count = words.counted(self.steps, "change")
        self.accept_button.setText(self.tr("Undo {count}").format(count=count))
        self.accept_button.setProperty("kind", "destroy" if hurts(plan) else "primary")
        self.accept_button.style().unpolish(self.accept_button)
        self.accept_button.style().polish(self.accept_button)
        # Where somebody is cut off, the key that comes by itself is Cancel.
        (self.cancel_button if hurts(plan) else self.accept_button).setDefault(True)
        self.accept_button.setEnabled(True)

    def do(self) -> None:
        plan, steps = self._plan, self.steps
        if plan is None:
            return

        def undone(_made: ChangePlan) -> None:
            self.finished_ok()
            self._on_undone(steps)

        self._host.call(
            "serving.undo_targets",
            UndoTargets(steps=steps, base=plan.base),
            undone,
            self.finished_badly,
            owner=self,
        )

    def finished_badly(self, problem: Problem) -> None:
        super().finished_badly(problem)
        if problem.code == "conflict":
            self.accept_button.setEnabled(False)
            self._timer.start()
