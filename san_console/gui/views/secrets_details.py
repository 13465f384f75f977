"""The selected CHAP identity: where it is used, and what the rules of RFC 7143 §9.2.1 say of its secret."""

from __future__ import annotations

from typing import Final

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QFrame, QScrollArea, QWidget

from san_console.api.engine_objects import Identity
from san_console.gui import words
from san_console.gui.context import Context
from san_console.gui.theme.tokens import Tone
from san_console.gui.translation import QT_TRANSLATE_NOOP, translated
from san_console.gui.widgets.cards import Card, clear, horizontal, vertical
from san_console.gui.widgets.key_values import KeyValues, Pair
from san_console.gui.widgets.labels import ElidedLabel, PlainLabel
from san_console.gui.widgets.problems import InlineProblem
from san_console.names.display import visible

_PLACES: Final[dict[str, tuple[str, Tone]]] = {
    "keyring": (QT_TRANSLATE_NOOP("Table", "in the keyring"), "good"),
    "memory": (QT_TRANSLATE_NOOP("Table", "in memory, gone when the engine ends"), "warning"),
    "missing": (QT_TRANSLATE_NOOP("Table", "there is none: give it one with Change"), "bad"),
}
MAX_USES_SHOWN: Final = 50


class IdentityDetails(Card):
    """Empty until an identity is shown."""

    def __init__(self, context: Context) -> None:
        super().__init__(flush=True)
        self._context = context
        self.setAccessibleName(self.tr("The selected identity"))
        area = QScrollArea()
        area.setWidgetResizable(True)
        area.setFrameShape(QFrame.Shape.NoFrame)
        area.setAccessibleName(self.tr("The selected identity"))
        holder = QWidget()
        holder.setObjectName("scrolled")
        column = vertical(holder, margin=16, gap=12)
        area.setWidget(holder)
        self.body.addWidget(area)
        self._title = ElidedLabel("", style="heading")
        column.addWidget(self._title)
        self._finding = InlineProblem("notice")
        column.addWidget(self._finding)
        row = horizontal(gap=32)
        self._facts = KeyValues()
        row.addWidget(self._facts, 1, Qt.AlignmentFlag.AlignTop)
        uses = vertical(gap=6)
        self._uses_title = PlainLabel("", style="muted")
        uses.addWidget(self._uses_title)
        self._uses = vertical(gap=4)
        uses.addLayout(self._uses)
        row.addLayout(uses, 1)
        row.setAlignment(uses, Qt.AlignmentFlag.AlignTop)
        column.addLayout(row)
        column.addStretch(1)
        self._shown: Identity | None = None

    def show_identity(self, identity: Identity | None) -> None:
        if identity == self._shown and identity is not None:
            return
        self._shown = identity
        self._facts.setVisible(identity is not None)
        clear(self._uses)
        self._uses_title.setText("")
        if identity is None:
            self._title.setText(self.tr("Select an identity to see where it is used."))
            self._finding.hide()
            return
        self._title.setText(identity.user)
        marked, tone = _PLACES.get(identity.place, (identity.place, "muted"))
        place = translated(marked)
        pairs = [Pair(self.tr("CHAP name"), identity.user, mono=True), Pair(self.tr("Secret"), place, tone)]
        if identity.note:
            pairs.append(Pair(self.tr("Note"), identity.note, wrap=True))
        if identity.created_at:
            pairs.append(Pair(self.tr("Made"), words.ago(self._context.now() - identity.created_at)))
        self._facts.show_pairs(pairs)
        count = words.counted(len(identity.used_by), "place")
        self._uses_title.setText(
            self.tr("Used in {count}").format(count=count) if identity.used_by else self.tr("Used nowhere")
        )
        for text in identity.used_by[:MAX_USES_SHOWN]:
            self._uses.addWidget(ElidedLabel(text))
        if identity.findings:
            self._finding.say("\n".join(visible(text) for text in identity.findings))
        else:
            self._finding.hide()
