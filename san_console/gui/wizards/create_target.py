"""Create a target: name, portals, LUNs, who may use it, CHAP, summary. Nothing is written before the end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QFrame, QScrollArea, QStackedWidget, QWidget

from san_console.api.methods import SaveLocalTarget
from san_console.api.serving_objects import InitiatorAccess, LocalTarget, Mapping
from san_console.gui.context import Context
from san_console.gui.dialogs.base import BaseDialog
from san_console.gui.translation import QT_TRANSLATE_NOOP, translated
from san_console.gui.widgets.buttons import Button
from san_console.gui.widgets.cards import Line, horizontal, vertical
from san_console.gui.widgets.labels import PlainLabel
from san_console.gui.wizards.create_target_access import AccessStep, ChapStep
from san_console.gui.wizards.create_target_luns import LunsStep
from san_console.gui.wizards.create_target_parts import NameStep, PortalsStep, Step
from san_console.gui.wizards.create_target_summary import SummaryStep

MIN_HEIGHT_PX: Final = 580
"""The longest step of the common case fits without scrolling."""

STEP_TITLES: Final = (
    QT_TRANSLATE_NOOP("Table", "Name"),
    QT_TRANSLATE_NOOP("Table", "Portals"),
    "LUNs",
    QT_TRANSLATE_NOOP("Table", "Initiators"),
    "CHAP",
    QT_TRANSLATE_NOOP("Table", "Summary"),
)


class CreateTargetWizard(BaseDialog):
    """Steps at the left, the open one at the right; Next is off while its step is not complete."""

    def __init__(
        self,
        context: Context,
        on_created: Callable[[LocalTarget], object] | None = None,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(self.tr("Create a target"), self.tr("Create target"), width_px=780, parent=parent)
        self.setMinimumHeight(MIN_HEIGHT_PX)
        self._context = context
        self._on_created = on_created
        self.name = NameStep(context)
        self.portals = PortalsStep(context)
        self.luns = LunsStep()
        self.access = AccessStep(context)
        self.chap = ChapStep(context)
        self.summary = SummaryStep()
        self.steps: tuple[Step, ...] = (
            self.name,
            self.portals,
            self.luns,
            self.access,
            self.chap,
            self.summary,
        )
        row = horizontal(gap=20)
        titles = vertical(gap=10)
        self.titles = []
        for number, title in enumerate(STEP_TITLES, 1):
            label = PlainLabel(f"{number}  {translated(title)}")
            label.setMinimumWidth(120)
            self.titles.append(label)
            titles.addWidget(label)
        titles.addStretch(1)
        row.addLayout(titles)
        row.addWidget(Line(upright=True))
        self.stack = QStackedWidget()
        for step in self.steps:
            self.stack.addWidget(_scrolling(step))
            step.changed.connect(self._check)
        row.addWidget(self.stack, 1)
        self.content.addLayout(row, 1)
        self.hint = PlainLabel("", style="small", wrap=True)
        self.hint.setAccessibleName(self.tr("What is missing"))
        self.content.addWidget(self.hint)
        self.back_button = Button(self.tr("Back"), self.back)
        self.next_button = Button(self.tr("Next"), self.next, kind="primary")
        self.extra.addWidget(self.back_button)
        outer = self.layout()
        assert outer is not None
        # Where "Create target" stands at the end, Next stands before.
        last = outer.itemAt(outer.count() - 1)
        row_of_buttons = last.layout() if last is not None else None
        assert row_of_buttons is not None
        row_of_buttons.addWidget(self.next_button)
        self.open_step(0)

    # steps

    @property
    def step(self) -> int:
        return self.stack.currentIndex()

    def open_step(self, number: int) -> None:
        if number == len(self.steps) - 1:
            self.summary.show_target(self.target())
        self.stack.setCurrentIndex(number)
        self.steps[number].setFocus()
        self._check()

    def next(self) -> None:
        if self.step < len(self.steps) - 1 and not self.steps[self.step].problem():
            self.steps[self.step].leave()
            self.open_step(self.step + 1)

    def back(self) -> None:
        if self.step:
            self.open_step(self.step - 1)

    def _check(self) -> None:
        last = self.step == len(self.steps) - 1
        problem = self.steps[self.step].problem()
        self.hint.setText(problem)
        self.hint.set_tone("bad" if problem and self.steps[self.step].touched else "muted")
        self.back_button.setEnabled(self.step > 0)
        self.next_button.setVisible(not last)
        self.next_button.setEnabled(not problem)
        self.accept_button.setVisible(last)
        self.accept_button.setEnabled(last and not any(step.problem() for step in self.steps))
        (self.accept_button if last else self.next_button).setDefault(True)
        for number, label in enumerate(self.titles):
            done = number < self.step
            label.set_tone("accent" if number == self.step else "text" if done else "muted")
            label.setProperty("textStyle", "strong" if number == self.step else "")
            mark = "✓" if done else str(number + 1)
            label.setText(f"{mark}  {translated(STEP_TITLES[number])}")
            label.style().unpolish(label)
            label.style().polish(label)

    # the result

    def target(self) -> LocalTarget:
        """What would be created now."""
        luns = self.luns.chosen()
        names = self.access.chosen()
        return LocalTarget(
            id=self.name.chosen(),
            alias=self.name.alias.text().strip(),
            portal_groups=self.portals.groups(),
            luns=luns,
            initiator_groups=self.access.groups(),
            access=[InitiatorAccess(subject=name) for name in names],
            mappings=[
                Mapping(initiator=name, lun_id=lun.id, lun=number, read_only=lun.read_only)
                for name in names
                for number, lun in enumerate(luns)
            ],
            identity_ids=self.chap.accepted(),
            mutual_identity_id=self.chap.mutual_id(),
            register_with=self.portals.register_with(),
            enabled=True,
        )

    def do(self) -> None:
        self._context.host.call(
            "serving.create",
            SaveLocalTarget(target=self.target()),
            self._created,
            self.finished_badly,
            owner=self,
        )

    def _created(self, target: LocalTarget) -> None:
        if self._on_created is not None:
            self._on_created(target)
        self.finished_ok()


def _scrolling(step: Step) -> QScrollArea:
    """A step that is opened wide (all of a LUN, a second portal group) scrolls, instead of being pressed."""
    area = QScrollArea()
    area.setWidgetResizable(True)
    area.setFrameShape(QFrame.Shape.NoFrame)
    area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
    area.setFocusPolicy(Qt.FocusPolicy.NoFocus)
    step.setObjectName("scrolled")
    area.setWidget(step)
    return area
