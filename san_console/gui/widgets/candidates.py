"""A list to choose initiators from, so that nobody has to type what is connected already."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

from PySide6.QtCore import QSize, Qt, Signal
from PySide6.QtWidgets import QListWidget, QListWidgetItem, QWidget

from san_console.gui.bridge.host import QtHost
from san_console.gui.icons import icon
from san_console.gui.models.subjects import ANYONE, GROUP_PREFIX, means_many
from san_console.gui.theme.theme import tokens
from san_console.gui.translation import translate
from san_console.gui.widgets.cards import Frame, vertical
from san_console.gui.widgets.labels import tooltip_text
from san_console.names.display import visible

_SUBJECT: Final = int(Qt.ItemDataRole.UserRole)
ROW_PX: Final = 26
ROWS_SHOWN: Final = 5
MAX_CANDIDATES: Final = 500


class Candidate(NamedTuple):
    """`detail` says why it is offered: `connected from 10.20.0.71`."""

    subject: str
    detail: str
    connected: bool = False


def candidates(host: QtHost, taken: Iterable[str], groups: Iterable[tuple[str, int]] = ()) -> list[Candidate]:
    """Initiators that are connected now, groups, and names that are used elsewhere; each once."""
    found: dict[str, Candidate] = {}
    for session in host.values("target_sessions"):
        detail = translate("candidates", "connected from {address}").format(address=session.address)
        found.setdefault(session.initiator, Candidate(session.initiator, detail, connected=True))
    for name, members in groups:
        subject = f"{GROUP_PREFIX}{name}"
        detail = translate("candidates", "group, {members}").format(members=members)
        found.setdefault(subject, Candidate(subject, detail))
    engine = host.engine
    if engine is not None:
        own = translate("candidates", "this computer")
        found.setdefault(engine.initiator_name, Candidate(engine.initiator_name, own))
    used = translate("candidates", "used before")
    for target in host.values("local_targets"):
        for subject in target.initiators:
            if subject != ANYONE and not subject.startswith(GROUP_PREFIX) and not means_many(subject):
                found.setdefault(subject, Candidate(subject, used))
    left = set(taken)
    return [one for subject, one in found.items() if subject not in left][:MAX_CANDIDATES]


class CandidateList(Frame):
    """`picked` is emitted with the subject that was clicked or entered."""

    picked = Signal(str)

    def __init__(
        self,
        name: str,
        rows: Iterable[Candidate],
        *,
        rows_shown: int = ROWS_SHOWN,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__("inset", parent)
        self.list = QListWidget()
        self.list.setAccessibleName(name)
        self.list.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.list.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        self.list.setUniformItemSizes(True)
        colors = tokens()
        for row in rows:
            shown = f"{visible(row.subject, 223)}   ·   {visible(row.detail, 120)}"
            item = QListWidgetItem(shown)
            item.setSizeHint(QSize(0, ROW_PX))
            item.setData(_SUBJECT, row.subject)
            item.setToolTip(tooltip_text(shown))
            picture = "users" if row.subject.startswith(GROUP_PREFIX) else "plug" if row.connected else "user"
            item.setIcon(icon(picture, colors.good if row.connected else colors.muted))
            self.list.addItem(item)
        vertical(self, margin=4).addWidget(self.list)
        height = max(self.list.sizeHintForRow(0), ROW_PX)
        self.list.setFixedHeight(min(max(self.list.count(), 1), rows_shown) * height + 4)
        self.list.itemClicked.connect(self._tell)
        self.list.itemActivated.connect(self._tell)
        if not self.list.count():
            self.hide()

    def __len__(self) -> int:
        return self.list.count()

    def _tell(self, item: QListWidgetItem) -> None:
        self.picked.emit(str(item.data(_SUBJECT)))
