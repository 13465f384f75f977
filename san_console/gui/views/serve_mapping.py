"""The mapping matrix of a target, what is pending in it, and who sees what."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from PySide6.QtCore import QTimer
from PySide6.QtGui import QKeySequence, QShortcut
from PySide6.QtWidgets import QLabel, QStackedWidget

from san_console.api.methods import SaveLocalTarget
from san_console.api.problems import Problem
from san_console.api.serving_objects import Consequence, LocalTarget
from san_console.gui import words
from san_console.gui.context import Context
from san_console.gui.dialogs.review import ReviewDialog
from san_console.gui.icons import set_icon
from san_console.gui.models.mapping_matrix import ANYONE, MappingDraft
from san_console.gui.models.matrix_model import MatrixModel, initiator_title
from san_console.gui.theme.theme import tokens
from san_console.gui.translation import translate
from san_console.gui.views.page import DetailTab
from san_console.gui.views.serve_changes import consequence_text, propose, undo
from san_console.gui.widgets.buttons import Button
from san_console.gui.widgets.cards import Card, Frame, horizontal, vertical
from san_console.gui.widgets.empty import EmptyState
from san_console.gui.widgets.key_values import KeyValues, Pair
from san_console.gui.widgets.labels import PlainLabel
from san_console.gui.widgets.matrix import MatrixView
from san_console.names.display import visible

MAX_WIDGET_PX: Final = 16_777_215
"""Qt's QWIDGETSIZE_MAX: no limit."""

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
        column = vertical(self, gap=0)
        self.stack = QStackedWidget()
        self.stack.addWidget(self.view)
        self.empty = EmptyState("table-2", "")
        self.stack.addWidget(self.empty)
        column.addWidget(self.stack, 100)
        below = vertical(margin=12, gap=10)
        below.addWidget(self._pending_bar())
        below.addWidget(self._who_card())
        column.addLayout(below)
        column.addStretch(1)
        self._timer = QTimer(self, singleShot=True, interval=PLAN_AFTER_MS)
        self._timer.timeout.connect(self._ask_plan)
        self.model.edited.connect(self._edited)
        self.view.initiator_chosen.connect(lambda _name: self._show_who())
        self.view.refused.connect(lambda text: context.window.say(text, "warning"))
        self.view.remove_asked.connect(self._remove_initiator)
        for keys, act in (("Ctrl+Z", self.model.undo), ("Ctrl+Y", self.model.redo)):
            QShortcut(QKeySequence(keys), self, act)

    def _pending_bar(self) -> Frame:
        self.bar = Frame("notice")
        self.bar.setAccessibleName(self.tr("Pending changes"))
        row = horizontal(self.bar, margin=12, gap=12)
        picture = QLabel()
        picture.setAccessibleName(self.tr("Pending changes"))
        set_icon(picture, "list-checks", "warning", tokens())
        row.addWidget(picture)
        texts = vertical(gap=2)
        self.bar_title = PlainLabel("", style="strong")
        self.bar_text = PlainLabel("", wrap=True)
        texts.addWidget(self.bar_title)
        texts.addWidget(self.bar_text)
        row.addLayout(texts, 1)
        self.undo_button = Button(self.tr("Undo"), self.model.undo, tip="Ctrl+Z")
        self.discard_button = Button(self.tr("Discard"), self.model.discard)
        self.review_button = Button(self.tr("Review"), self._review)
        self.apply_button = Button(self.tr("Apply"), self.apply, kind="primary")
        for button in (self.undo_button, self.discard_button, self.review_button, self.apply_button):
            row.addWidget(button)
        self.bar.hide()
        return self.bar

    def _who_card(self) -> Card:
        self.who = KeyValues()
        self.who_card = Card(margin=12)
        self.who_card.body.addWidget(self.who)
        return self.who_card

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
        self.model.show_draft(draft, self._sessions(target))
        if target is not None and not target.luns:
            self.empty.say(self.tr("No LUNs yet"), self.tr("Add one with “LUN” above; then say who sees it."))
        else:
            self.empty.say(
                self.tr("No initiators yet"), self.tr("Add one with “Initiator” above, or let anyone in.")
            )
        shown = bool(self.model.rows and self.model.luns)
        self.stack.setCurrentIndex(0 if shown else 1)
        # What is pending and who sees what stand right below the last row.
        self.stack.setMaximumHeight(self.view.content_height() if shown else MAX_WIDGET_PX)
        if other:
            self.plan = []
        self._edited()

    def _sessions(self, target: LocalTarget | None) -> dict[str, int]:
        counts: dict[str, int] = {}
        if target is None:
            return counts
        rows = set(target.initiators)
        for session in self.host.values("target_sessions"):
            if session.target == target.id and session.session_type == "normal":
                row = session.initiator if session.initiator in rows else ANYONE
                counts[row] = counts.get(row, 0) + 1
        return counts

    def _edited(self) -> None:
        draft = self.model.draft
        changes = draft.changes() if draft is not None else []
        count = len(changes)
        self.bar.setVisible(bool(count))
        if count and draft is not None:
            self.bar_title.setText(f"{words.counted(count, 'pending change')}.")
            self.apply_button.setText(self.tr("Apply {count}").format(count=words.counted(count, "change")))
            self.apply_button.setAccessibleName(self.apply_button.text())
            self.undo_button.setEnabled(draft.can_undo)
            if not self.plan:
                self.bar_text.setText(self.tr("Asking what this does…"))
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
                self._show_plan()

        def failed(problem: Problem) -> None:
            if asked == self._planned:
                self.bar_text.setText(problem.message)

        self.host.call("serving.plan", SaveLocalTarget(target=draft.target()), take, failed, owner=self)

    def _show_plan(self) -> None:
        hit = {session for line in self.plan for session in line.session_ids}
        texts = [_shortened(line.text) for line in self.plan[:3]]
        if len(self.plan) > 3:
            texts.append(self.tr("And {plan} more.").format(plan=len(self.plan) - 3))
        texts.append(
            self.tr("{hit} may be hit.").format(hit=words.counted(len(hit), "session"))
            if hit
            else self.tr("No session is interrupted.")
        )
        self.bar_text.setText(visible(" ".join(texts), 1000))
        self.bar_text.set_tone("bad" if hit else "text")
        self.bar.setAccessibleDescription(self.bar_text.text())

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
        self.apply_button.setEnabled(False)

        def saved(target: LocalTarget) -> None:
            self.apply_button.setEnabled(True)
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
            self.apply_button.setEnabled(True)
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
        who = initiator_title(name)
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
        name = self.view.current_initiator()
        self.who_card.setVisible(bool(draft is not None and name and self.model.luns))
        if draft is None or not name:
            return
        names = {lun.id: lun for lun in draft.base.luns}
        seen = [rule for rule in draft.seen_by(name) if rule.lun_id in names]
        parts = []
        for rule in seen:
            lun = names[rule.lun_id]
            how = "read-only" if rule.read_only or lun.read_only else "read-write"
            pending = self.tr(", pending") if draft.pending(rule.initiator, rule.lun_id) else ""
            parts.append(
                self.tr("LUN {lun} {name} ({how}{pending})").format(
                    lun=rule.lun, name=lun.name, how=how, pending=pending
                )
            )
        address = next(
            (
                session.address
                for session in self.host.values("target_sessions")
                if session.target == draft.base.id and session.initiator == name
            ),
            "",
        )
        who = self.tr("Any other initiator") if name == ANYONE else initiator_title(name)
        where = self.tr(" from {address}").format(address=address) if address else ""
        shared = [
            lun.name
            for lun in draft.base.luns
            if len(writers := draft.writers(lun.id)) > 1 or ANYONE in writers
        ]
        sees = ", ".join(parts) if parts else self.tr("no LUN")
        self.who.show_pairs(
            [
                Pair(
                    self.tr("Who sees what"),
                    visible(
                        self.tr("{who}{where} sees {sees}.").format(who=who, where=where, sees=sees), 2000
                    ),
                    wrap=True,
                ),
                Pair(
                    self.tr("Shared writers"),
                    visible(_shared_text(shared), 1000) if shared else self.tr("No LUN has two writers."),
                    "warning" if shared else "muted",
                    wrap=True,
                ),
            ]
        )


def _shared_text(names: list[str]) -> str:
    listed = (
        ", ".join(names[:-1]) + (translate("serve_mapping", " and ") if len(names) > 1 else "") + names[-1]
    )
    needs = translate("serve_mapping", "needs") if len(names) == 1 else translate("serve_mapping", "need")
    return translate(
        "serve_mapping",
        "{listed} can be written by several initiators at once, and {needs} a cluster file system.",
    ).format(listed=listed, needs=needs)


def _shortened(sentence: str) -> str:
    """Names in the bar are short ones: `iqn.….hosts:esx-7` is `esx-7`."""
    return " ".join(
        words.short_name(word) if word.startswith("iqn.") else word for word in sentence.split(" ")
    )
