"""The mapping matrix of a target, what is pending in it, and who sees what."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from PySide6.QtCore import QTimer
from PySide6.QtGui import QKeySequence, QShortcut
from PySide6.QtWidgets import QStackedWidget, QWidget

from san_console.api.methods import SaveLocalTarget
from san_console.api.problems import Problem
from san_console.api.serving_objects import Consequence, LocalTarget, TargetSession
from san_console.gui import words
from san_console.gui.context import Context
from san_console.gui.dialogs.review import ReviewDialog
from san_console.gui.models.mapping_matrix import MappingDraft
from san_console.gui.models.matrix_model import MatrixModel
from san_console.gui.models.subjects import connected, groups_of, means_many, subject_title
from san_console.gui.views.page import DetailTab, FilterLine
from san_console.gui.views.serve_changes import consequence_text, propose, undo
from san_console.gui.views.serve_pending import PendingBar, WhoCard
from san_console.gui.widgets.cards import horizontal, vertical
from san_console.gui.widgets.empty import EmptyState
from san_console.gui.widgets.labels import PlainLabel
from san_console.gui.widgets.matrix import MatrixView
from san_console.names.display import visible

MAX_WIDGET_PX: Final = 16_777_215
"""Qt's QWIDGETSIZE_MAX: no limit."""

UNFILTERED: Final = 12
"""So many initiators are found without a filter."""

PLAN_AFTER_MS: Final = 120
"""While cells are changed quickly one plan at the end is enough."""


class MappingTab(DetailTab):
    """Drafts are kept per target, so that looking at another target loses nothing."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.drafts: dict[str, MappingDraft] = {}
        self.model = MatrixModel()
        self.view = MatrixView(self.model)
        self.plan: list[Consequence] = []
        self._planned = 0
        self._target: LocalTarget | None = None
        self._now: dict[str, list[TargetSession]] = {}
        column = vertical(self, gap=0)
        self.filter_row = QWidget()
        row = horizontal(self.filter_row, gap=10)
        row.setContentsMargins(8, 6, 8, 6)
        self.filter = FilterLine(self.tr("Filter initiators"))
        self.found = PlainLabel("", style="muted")
        row.addWidget(self.filter)
        row.addWidget(self.found, 1)
        self.filter_row.hide()
        self.filter.textChanged.connect(self._filtered)
        column.addWidget(self.filter_row)
        self.stack = QStackedWidget()
        self.stack.addWidget(self.view)
        self.empty = EmptyState("table-2", "")
        self.stack.addWidget(self.empty)
        column.addWidget(self.stack, 100)
        below = vertical(margin=12, gap=10)
        self.bar = PendingBar(self.model.undo, self.model.discard, self._review, self.apply)
        below.addWidget(self.bar)
        self.who = WhoCard()
        below.addWidget(self.who)
        column.addLayout(below)
        column.addStretch(1)
        self._timer = QTimer(self, singleShot=True, interval=PLAN_AFTER_MS)
        self._timer.timeout.connect(self._ask_plan)
        self.model.edited.connect(self._edited)
        self.view.cell_chosen.connect(self._show_who)
        self.view.refused.connect(lambda text: context.window.say(text, "warning"))
        self.view.remove_asked.connect(self._remove_initiator)
        for keys, act in (("Ctrl+Z", self.model.undo), ("Ctrl+Y", self.model.redo)):
            QShortcut(QKeySequence(keys), self, act)

    # what is shown

    def show_object(self, item: Any) -> None:
        target = item if isinstance(item, LocalTarget) else None
        other = target is None or self._target is None or target.id != self._target.id
        self._target = target
        for known in [name for name in self.drafts if self.host.get("local_targets", name) is None]:
            del self.drafts[known]
        draft = None
        if target is not None:
            draft = self.drafts.get(target.id)
            if draft is None:
                draft = self.drafts[target.id] = MappingDraft(target)
            elif draft.base is not target and draft.base != target:
                draft.rebase(target)
        self._now = self._connected(target)
        self.model.show_draft(
            draft,
            {row: len(sessions) for row, sessions in self._now.items()},
            {row: sessions[0].address for row, sessions in self._now.items()},
        )
        if other:
            self.plan = []
        self._show_rows()
        self._edited()

    def _filtered(self, text: str) -> None:
        self.model.set_filter(text)
        self._show_rows()
        self._show_who()

    def _show_rows(self) -> None:
        """The matrix, or why there is none."""
        target = self._target
        count = len(self.model.draft.initiators) if self.model.draft is not None else 0
        filtering = bool(self.filter.text())
        self.filter_row.setVisible(count > UNFILTERED or filtering)
        self.found.setText(
            self.tr("{shown} of {count} initiators").format(shown=len(self.model.rows), count=count)
        )
        if filtering and count and not self.model.rows:
            self.empty.say(self.tr("No initiator fits the filter"))
        elif target is not None and not target.luns:
            self.empty.say(self.tr("No LUNs yet"), self.tr("Add one with “LUN” above; then say who sees it."))
        else:
            self.empty.say(
                self.tr("No initiators yet"), self.tr("Add one with “Initiator” above, or let anyone in.")
            )
        shown = bool(self.model.rows and self.model.luns)
        self.stack.setCurrentIndex(0 if shown else 1)
        # What is pending and who sees what stand right below the last row.
        self.stack.setMaximumHeight(self.view.content_height() if shown else MAX_WIDGET_PX)

    def _connected(self, target: LocalTarget | None) -> dict[str, list[TargetSession]]:
        """The sessions that each row means now."""
        if target is None:
            return {}
        return connected(target.initiators, self._sessions_of(target), groups_of(target))

    def _sessions_of(self, target: LocalTarget) -> list[TargetSession]:
        return [
            session
            for session in self.host.values("target_sessions")
            if session.target == target.id and session.session_type == "normal"
        ]

    def _edited(self) -> None:
        draft = self.model.draft
        count = len(draft.changes()) if draft is not None else 0
        self.bar.show_count(count, undoable=draft is not None and draft.can_undo, known=bool(self.plan))
        if count:
            self._timer.start()
        else:
            self.plan = []
        self._show_who()

    # the plan

    def _ask_plan(self) -> None:
        draft = self.model.draft
        if draft is None or not draft.changes():
            return
        self._planned += 1
        asked = self._planned

        def take(lines: list[Consequence]) -> None:
            if asked == self._planned:
                self.plan = lines
                self.bar.show_plan(lines)

        def failed(problem: Problem) -> None:
            if asked == self._planned:
                self.bar.text.setText(problem.message)

        self.host.call("serving.plan", SaveLocalTarget(target=draft.target()), take, failed, owner=self)

    def _review(self) -> None:
        draft = self.model.draft
        if draft is None:
            return
        lines = [(line.severity, consequence_text(self.host, line)) for line in self.plan]
        count = words.counted(len(draft.changes()), "change")
        ReviewDialog(
            self.tr("Apply {count}?").format(count=count),
            self.tr("Apply {count}").format(count=count),
            lines,
            self._apply_from,
            parent=self,
        ).open()

    def _apply_from(self, dialog: ReviewDialog) -> None:
        self._save(dialog)

    def apply(self) -> None:
        """Save what is pending; with a question first where sessions are hit."""
        if any(line.session_ids or line.severity == "danger" for line in self.plan):
            self._review()
        else:
            self._save(None)

    def _save(self, dialog: ReviewDialog | None) -> None:
        draft = self.model.draft
        if draft is None or not draft.changes():
            return
        old, new = draft.base, draft.target()
        count = words.counted(len(draft.changes()), "change")
        self.bar.apply_button.setEnabled(False)

        def saved(target: LocalTarget) -> None:
            self.bar.apply_button.setEnabled(True)
            draft.discard()
            draft.rebase(target)
            if dialog is not None:
                dialog.finished_ok()
            self.context.window.say(
                self.tr("{count} applied.").format(count=count),
                "good",
                self.tr("Undo"),
                lambda: undo(self.context, old),
            )
            if self._target is not None and self._target.id == target.id:
                self.show_object(target)

        def refused(problem: Problem) -> None:
            self.bar.apply_button.setEnabled(True)
            if dialog is not None:
                dialog.finished_badly(problem)
            else:
                self.context.say_problem(problem)

        self.host.call("serving.change", SaveLocalTarget(target=new), saved, refused, owner=self)

    # initiators

    def _remove_initiator(self, name: str) -> None:
        target = self._target
        if target is None:
            return
        who = visible(subject_title(name, target.initiator_groups), 120)
        new = msgspec.structs.replace(
            target,
            access=[row for row in target.access if row.subject != name],
            mappings=[rule for rule in target.mappings if rule.initiator != name],
        )
        propose(
            self.context,
            self,
            target,
            new,
            question=self.tr("Remove {who} from {id}?").format(who=who, id=words.short_name(target.id)),
            verb=self.tr("Remove initiator"),
            said=self.tr("{who} was removed.").format(who=who),
        )

    # who sees what

    def _show_who(self) -> None:
        draft = self.model.draft
        name, lun = self.view.current_initiator(), self.view.current_lun()
        self.who.setVisible(bool(draft is not None and name and self.model.luns))
        if draft is None or not name:
            return
        sessions = self._now.get(name, [])
        # Initiators of a row that means several come from several places.
        address = sessions[0].address if sessions and not means_many(name) else ""
        self.who.show_row(draft, name, lun, address)
