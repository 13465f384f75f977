"""Below the mapping matrix: what is pending and what it does, and who sees what."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from PySide6.QtWidgets import QLabel

from san_console.api.serving_objects import Consequence
from san_console.gui import words
from san_console.gui.icons import set_icon
from san_console.gui.models.mapping_matrix import MappingDraft
from san_console.gui.models.subjects import ANYONE, means_many, subject_title
from san_console.gui.theme.theme import tokens
from san_console.gui.theme.tokens import Tone
from san_console.gui.translation import translate
from san_console.gui.widgets.buttons import Button
from san_console.gui.widgets.cards import Card, Frame, horizontal, vertical
from san_console.gui.widgets.key_values import KeyValues, Pair
from san_console.gui.widgets.labels import PlainLabel
from san_console.names.display import visible

MAX_LINES_SHOWN: Final = 3
MAX_NAMES_SHOWN: Final = 4
MAX_LUNS_SHOWN: Final = 6
"""More are on the tab Access, where there is room for a table."""


class PendingBar(Frame):
    """Hidden while nothing is pending."""

    def __init__(
        self,
        undo: Callable[[], object],
        discard: Callable[[], object],
        review: Callable[[], object],
        apply: Callable[[], object],
    ) -> None:
        super().__init__("notice")
        self.setAccessibleName(self.tr("Pending changes"))
        row = horizontal(self, margin=12, gap=12)
        picture = QLabel()
        picture.setAccessibleName(self.tr("Pending changes"))
        set_icon(picture, "list-checks", "warning", tokens())
        row.addWidget(picture)
        texts = vertical(gap=2)
        self.title = PlainLabel("", style="strong")
        self.text = PlainLabel("", wrap=True)
        texts.addWidget(self.title)
        texts.addWidget(self.text)
        row.addLayout(texts, 1)
        self.undo_button = Button(self.tr("Undo"), undo, tip="Ctrl+Z")
        self.discard_button = Button(self.tr("Discard"), discard)
        self.review_button = Button(self.tr("Review"), review)
        self.apply_button = Button(self.tr("Apply"), apply, kind="primary")
        for button in (self.undo_button, self.discard_button, self.review_button, self.apply_button):
            row.addWidget(button)
        self.hide()

    def show_count(self, count: int, *, undoable: bool, known: bool) -> None:
        """`known`: whether what the changes do was told already."""
        self.setVisible(bool(count))
        if not count:
            return
        self.title.setText(f"{words.counted(count, 'pending change')}.")
        self.apply_button.setText(self.tr("Apply {count}").format(count=words.counted(count, "change")))
        self.undo_button.setEnabled(undoable)
        if not known:
            self.text.setText(self.tr("Asking what this does…"))

    def show_plan(self, plan: Sequence[Consequence]) -> None:
        hit = {session for line in plan for session in line.session_ids}
        texts = [_shortened(line.text) for line in plan[:MAX_LINES_SHOWN]]
        if len(plan) > MAX_LINES_SHOWN:
            texts.append(self.tr("And {plan} more.").format(plan=len(plan) - MAX_LINES_SHOWN))
        texts.append(
            self.tr("{hit} may be hit.").format(hit=words.counted(len(hit), "session"))
            if hit
            else self.tr("No session is interrupted.")
        )
        self.text.setText(visible(" ".join(texts), 1000))
        self.text.set_tone("bad" if hit else "text")
        self.setAccessibleDescription(self.text.text())


class WhoCard(Card):
    """What the initiators of the chosen row see, and who else has the LUN of the chosen column."""

    def __init__(self) -> None:
        super().__init__(margin=12)
        self.lines = KeyValues()
        self.body.addWidget(self.lines)

    def show_row(self, draft: MappingDraft, name: str, lun_id: str, address: str) -> None:
        """`address` is where an initiator of the row is connected from; empty when there is none."""
        pairs = [Pair(self.tr("Who sees what"), visible(self._sees(draft, name, address), 2000), wrap=True)]
        if lun_id:
            text, tone = self._mapped_to(draft, lun_id)
            pairs.append(Pair(self.tr("Also mapped to"), visible(text, 1000), tone, wrap=True))
        self.lines.show_pairs(pairs)

    def _sees(self, draft: MappingDraft, name: str, address: str) -> str:
        names = {lun.id: lun for lun in draft.base.luns}
        parts = []
        for rule in draft.seen_by(name, address):
            lun = names[rule.lun_id]
            read_only = rule.read_only or lun.read_only
            how = self.tr("read-only") if read_only else self.tr("read-write")
            if draft.pending(rule.initiator, rule.lun_id):
                how = self.tr("{how}, pending").format(how=how)
            if rule.initiator != name:
                rest = subject_title(rule.initiator, draft.base.initiator_groups)
                how = self.tr("{how}, as {rest}").format(how=how, rest=rest)
            parts.append(self.tr("LUN {lun} {name} ({how})").format(lun=rule.lun, name=lun.name, how=how))
        who = (
            self.tr("Any other initiator")
            if name == ANYONE
            else subject_title(name, draft.base.initiator_groups)
        )
        if address:
            who = self.tr("{who} from {address}").format(who=who, address=address)
        if len(parts) > MAX_LUNS_SHOWN:
            left = len(parts) - MAX_LUNS_SHOWN
            parts[MAX_LUNS_SHOWN:] = [self.tr("and {left} more").format(left=left)]
        sees = ", ".join(parts) if parts else self.tr("no LUN")
        if means_many(name) and name != ANYONE:
            return self.tr("{who}: each sees at least {sees}.").format(who=who, sees=sees)
        return self.tr("{who} sees {sees}.").format(who=who, sees=sees)

    def _mapped_to(self, draft: MappingDraft, lun_id: str) -> tuple[str, Tone]:
        lun = next((one for one in draft.base.luns if one.id == lun_id), None)
        if lun is None:
            return "", "muted"
        writers, readers = draft.holders(lun_id)
        if not writers and not readers:
            return self.tr("Nobody sees {name} yet.").format(name=lun.name), "muted"
        if not writers:
            return (
                self.tr("{name} is read-only for {readers}: no writers.").format(
                    name=lun.name, readers=_listed(draft, readers)
                ),
                "text",
            )
        if not draft.shared(lun_id):
            return (
                self.tr("{name} is read-write for one initiator only: no shared writers.").format(
                    name=lun.name
                ),
                "text",
            )
        return (
            self.tr(
                "{name} can be written by {writers}: what writes from several places at once needs a "
                "cluster file system."
            ).format(name=lun.name, writers=_listed(draft, writers)),
            "warning",
        )


def _listed(draft: MappingDraft, subjects: list[str]) -> str:
    """`db-1, db-2 and 3 more`."""
    groups = draft.base.initiator_groups
    names = [
        translate("serve_pending", "anyone") if one == ANYONE else subject_title(one, groups)
        for one in subjects
    ]
    if len(names) > MAX_NAMES_SHOWN:
        more = translate("serve_pending", "{count} more").format(count=len(names) - MAX_NAMES_SHOWN + 1)
        names = [*names[: MAX_NAMES_SHOWN - 1], more]
    if len(names) == 1:
        return names[0]
    return translate("serve_pending", "{first} and {last}").format(
        first=", ".join(names[:-1]), last=names[-1]
    )


def _shortened(sentence: str) -> str:
    """Names in the bar are short ones: `iqn.….hosts:esx-7` is `esx-7`."""
    return " ".join(subject_title(word) if word.startswith("iqn.") else word for word in sentence.split(" "))
