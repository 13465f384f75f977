"""Which CHAP identities are accepted, and with which the target proves itself: of a target, of one of its
initiators, of discovery.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from PySide6.QtWidgets import QCheckBox, QComboBox, QFrame, QScrollArea, QWidget

from san_console.api.engine_objects import Identity
from san_console.gui.dialogs.base import BaseDialog
from san_console.gui.widgets.cards import vertical
from san_console.gui.widgets.labels import PlainLabel
from san_console.names.display import visible

_ROW_PX = 26
_ROWS_SHOWN = 8


class ChapDialog(BaseDialog):
    """`nothing` says what it means that no identity is ticked. `on_choice(dialog, identity ids, mutual id)`
    ends the dialog.
    """

    def __init__(
        self,
        title: str,
        nothing: str,
        identities: Sequence[Identity],
        chosen: Sequence[str],
        mutual_id: str,
        on_choice: Callable[[ChapDialog, list[str], str], object],
        *,
        open_to_all: bool = False,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(title, self.tr("Set CHAP"), width_px=520, parent=parent)
        self._on_choice = on_choice
        self._nothing = nothing
        self._before = list(chosen)
        self._open_to_all = open_to_all
        self.content.addWidget(PlainLabel(self.tr("An initiator proves itself with one of"), style="muted"))
        area = QScrollArea()
        area.setWidgetResizable(True)
        area.setFrameShape(QFrame.Shape.NoFrame)
        area.setAccessibleName(self.tr("Identities that are accepted"))
        holder = QWidget()
        holder.setObjectName("scrolled")
        column = vertical(holder, gap=2)
        self.boxes: dict[str, QCheckBox] = {}
        for one in identities:
            missing = one.place == "missing"
            text = visible(one.user, 80).replace("&", "&&")
            box = QCheckBox(self.tr("{text}  (no secret)").format(text=text) if missing else text)
            box.setChecked(one.id in self._before)
            box.setEnabled(not missing or one.id in self._before)
            box.toggled.connect(self._check)
            self.boxes[one.id] = box
            column.addWidget(box)
        if not identities:
            column.addWidget(
                PlainLabel(self.tr("There are no identities yet: make one on the page Secrets."), wrap=True)
            )
        column.addStretch(1)
        area.setWidget(holder)
        area.setMinimumHeight(min(max(len(self.boxes), 2), _ROWS_SHOWN) * _ROW_PX)
        self.content.addWidget(area, 1)
        self.content.addWidget(PlainLabel(self.tr("The target proves itself with"), style="muted"))
        self.mutual = QComboBox()
        self.mutual.setAccessibleName(self.tr("The target proves itself with"))
        self.mutual.addItem(self.tr("nothing"), "")
        for one in identities:
            if one.place != "missing" or one.id == mutual_id:
                self.mutual.addItem(visible(one.user, 80), one.id)
        self.mutual.setCurrentIndex(max(self.mutual.findData(mutual_id), 0))
        self.mutual.currentIndexChanged.connect(self._check)
        self.content.addWidget(self.mutual)
        self._hint = PlainLabel("", style="small", wrap=True)
        self.content.addWidget(self._hint)
        self._check()

    def accepted_ids(self) -> list[str]:
        """What is ticked: first in the order that it had, then what is new."""
        ticked = [identifier for identifier, box in self.boxes.items() if box.isChecked()]
        kept = [identifier for identifier in self._before if identifier in ticked]
        return kept + [identifier for identifier in ticked if identifier not in kept]

    def mutual_id(self) -> str:
        return str(self.mutual.currentData() or "")

    def _check(self) -> None:
        accepted, mutual = self.accepted_ids(), self.mutual_id()
        hint, wrong, alarming = "", False, False
        if mutual and not accepted:
            hint, wrong = self.tr("A target proves itself only to initiators that prove themselves."), True
        elif mutual in accepted:
            hint, wrong = (
                self.tr("Both directions may not use the same secret (RFC 7143 §9.2.1)."),
                True,
            )
        elif not accepted:
            hint, alarming = self._nothing, self._open_to_all
        self._hint.setText(hint)
        self._hint.set_tone("bad" if wrong or alarming else "muted")
        self.accept_button.setEnabled(not wrong)

    def do(self) -> None:
        self._on_choice(self, self.accepted_ids(), self.mutual_id())
