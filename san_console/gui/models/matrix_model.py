"""The mapping matrix for Qt: a row per initiator, a column per LUN."""

from __future__ import annotations

from typing import Any, Final

from PySide6.QtCore import QAbstractTableModel, QModelIndex, QObject, QPersistentModelIndex, Qt, Signal

from san_console.api.serving_objects import LocalLun, Mapping
from san_console.gui import words
from san_console.gui.models.mapping_matrix import Access, MappingDraft, access_of
from san_console.gui.models.object_model import DetailRole, ToneRole
from san_console.gui.models.served_luns import kind_word
from san_console.gui.models.subjects import ANYONE, means_many, read_subject, subject_meaning, subject_title
from san_console.gui.theme.tokens import Tone
from san_console.gui.translation import QT_TRANSLATE_NOOP, translate, translated
from san_console.gui.widgets.labels import tooltip_text
from san_console.names.display import visible

Index = QModelIndex | QPersistentModelIndex

SubtitleRole: Final = int(Qt.ItemDataRole.UserRole) + 20
"""The second line: of an initiator whether it is connected, of a LUN its size and kind."""

BadgeRole: Final = int(Qt.ItemDataRole.UserRole) + 21
"""A word behind the name of a row that has to be noticed, with its tone."""

InheritedRole: Final = int(Qt.ItemDataRole.UserRole) + 22
"""What an initiator sees although its own cell is empty: another row means it, too."""

ACCESS_WORDS: Final[dict[Access, str]] = {
    "none": "–",
    "read-only": QT_TRANSLATE_NOOP("Table", "Read-only"),
    "read-write": QT_TRANSLATE_NOOP("Table", "Read-write"),
}


def access_word(access: Access) -> str:
    return translated(ACCESS_WORDS[access])


ACCESS_TONES: Final[dict[Access, Tone]] = {"none": "muted", "read-only": "accent", "read-write": "good"}


def lun_subtitle(lun: LocalLun) -> str:
    """`512 GiB · rw`, `2.0 TiB · thin`, `40 GiB · read-only`."""
    kind: str = (
        translate("matrix_model", "read-only")
        if lun.read_only
        else translate("matrix_model", "thin")
        if lun.thin
        else kind_word(lun)
    )
    if lun.state == "offline":
        kind = translate("matrix_model", "offline")
    return f"{words.size(lun.size_bytes)} · {kind}"


class MatrixModel(QAbstractTableModel):
    """Column 0 is the initiator. `edited` is emitted after each change of the draft."""

    edited = Signal()

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.draft: MappingDraft | None = None
        self.rows: list[str] = []
        self.luns: list[LocalLun] = []
        self._sessions: dict[str, int] = {}
        self._addresses: dict[str, str] = {}
        self._inherited: dict[str, dict[str, Mapping]] = {}
        self._filter: list[str] = []

    def show_draft(
        self,
        draft: MappingDraft | None,
        sessions: dict[str, int],
        addresses: dict[str, str] | None = None,
    ) -> None:
        """`sessions`: how many each row means now; `addresses`: where they come from. Resets only when rows
        or columns are others.
        """
        rows = self._wanted(draft) if draft is not None else []
        luns = list(draft.base.luns) if draft is not None else []
        same = draft is self.draft and rows == self.rows and luns == self.luns
        if not same:
            self.beginResetModel()
        self.draft, self.rows, self.luns, self._sessions = draft, rows, luns, dict(sessions)
        self._addresses = dict(addresses) if addresses is not None else self._addresses
        self._inherited.clear()
        if not same:
            self.endResetModel()
        elif rows:
            self.dataChanged.emit(self.index(0, 0), self.index(len(rows) - 1, len(luns)))

    def set_filter(self, text: str) -> None:
        """Show only the rows whose name has all words of `text`. What is pending elsewhere stays pending."""
        self._filter = text.lower().split()
        self.show_draft(self.draft, self._sessions)

    def _wanted(self, draft: MappingDraft) -> list[str]:
        if not self._filter:
            return draft.initiators
        groups = draft.base.initiator_groups
        return [
            row
            for row in draft.initiators
            if all(word in f"{row} {subject_title(row, groups)}".lower() for word in self._filter)
        ]

    # cells

    def cell(self, index: Index) -> tuple[str, str] | None:
        """Initiator and LUN id, or None for the first column."""
        if not index.isValid() or index.column() == 0:
            return None
        return (self.rows[index.row()], self.luns[index.column() - 1].id)

    def set_access(self, index: Index, access: Access) -> None:
        cell = self.cell(index)
        if cell is not None and self.draft is not None and self.draft.set_access(*cell, access):
            self._changed()

    def cycle(self, index: Index) -> None:
        cell = self.cell(index)
        if cell is not None and self.draft is not None and self.draft.cycle(*cell):
            self._changed()

    def set_number(self, index: Index, number: int) -> str:
        """Returns what is wrong with the number, or an empty text."""
        cell = self.cell(index)
        if cell is None or self.draft is None:
            return ""
        try:
            if self.draft.set_number(*cell, number):
                self._changed()
        except ValueError as error:
            return str(error)
        return ""

    def undo(self) -> None:
        if self.draft is not None and self.draft.undo():
            self._changed()

    def redo(self) -> None:
        if self.draft is not None and self.draft.redo():
            self._changed()

    def discard(self) -> None:
        if self.draft is not None:
            self.draft.discard()
            self._changed()

    def _changed(self) -> None:
        self._inherited.clear()
        if self.rows:
            self.dataChanged.emit(self.index(0, 0), self.index(len(self.rows) - 1, len(self.luns)))
        self.edited.emit()

    # Qt's side

    def rowCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008 - Qt's signature
        return 0 if parent.isValid() else len(self.rows)

    def columnCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008 - Qt's signature
        return 0 if parent.isValid() or self.draft is None else len(self.luns) + 1

    def headerData(
        self, section: int, orientation: Qt.Orientation, role: int = int(Qt.ItemDataRole.DisplayRole)
    ) -> Any:
        if orientation != Qt.Orientation.Horizontal or not 0 <= section <= len(self.luns):
            return None
        if section == 0:
            return self.tr("Initiator") if role == Qt.ItemDataRole.DisplayRole else None
        lun = self.luns[section - 1]
        if role == Qt.ItemDataRole.DisplayRole:
            return visible(lun.name or lun.id, 64)
        if role == SubtitleRole:
            return lun_subtitle(lun)
        if role == ToneRole:
            return "bad" if lun.state == "offline" else "muted"
        if role == Qt.ItemDataRole.ToolTipRole:
            return tooltip_text("\n".join(text for text in (lun.name, lun.path, lun.identity) if text))
        return None

    def data(self, index: Index, role: int = int(Qt.ItemDataRole.DisplayRole)) -> Any:
        if not index.isValid() or self.draft is None:
            return None
        name = self.rows[index.row()]
        if index.column() == 0:
            return self._initiator_data(name, role)
        lun = self.luns[index.column() - 1]
        mapping = self.draft.mapping(name, lun.id)
        access = access_of(mapping)
        text = access_word(access) + (f" · {mapping.lun}" if mapping is not None else "")
        if role == Qt.ItemDataRole.DisplayRole:
            return text
        if role == ToneRole:
            return ACCESS_TONES[access]
        if role == DetailRole:
            return self.draft.pending(name, lun.id)
        rule = self._inherited_rule(name, lun.id) if mapping is None else None
        if role == InheritedRole:
            return f"{access_word(self._access(rule, lun))} · {rule.lun}" if rule is not None else None
        if role in (Qt.ItemDataRole.AccessibleTextRole, Qt.ItemDataRole.ToolTipRole):
            what = (
                self.tr("no access")
                if mapping is None
                else self.tr("{ACCESS_WORDS} as LUN {lun}").format(
                    ACCESS_WORDS=access_word(access), lun=mapping.lun
                )
            )
            if rule is not None:
                what = self.tr("nothing of its own, {access} as LUN {lun} by {row}").format(
                    access=access_word(self._access(rule, lun)), lun=rule.lun, row=self._title(rule.initiator)
                )
            pending = self.tr(", pending") if self.draft.pending(name, lun.id) else ""
            sentence = f"{self._title(name)}, {lun.name}: {what}{pending}"
            return tooltip_text(sentence) if role == Qt.ItemDataRole.ToolTipRole else visible(sentence)
        return None

    @staticmethod
    def _access(rule: Mapping, lun: LocalLun) -> Access:
        return "read-only" if lun.read_only else access_of(rule)

    def _inherited_rule(self, name: str, lun_id: str) -> Mapping | None:
        """The mapping of another row by which an initiator sees a LUN. Only of one that is named: the others
        mean initiators of which each may see something else.
        """
        if self.draft is None or means_many(name):
            return None
        if name not in self._inherited:
            seen = self.draft.seen_by(name, self._addresses.get(name, ""))
            self._inherited[name] = {rule.lun_id: rule for rule in seen if rule.initiator != name}
        return self._inherited[name].get(lun_id)

    def _title(self, name: str) -> str:
        groups = self.draft.base.initiator_groups if self.draft is not None else ()
        return subject_title(name, groups)

    def _initiator_data(self, name: str, role: int) -> Any:
        count = self._sessions.get(name, 0)
        if role == Qt.ItemDataRole.DisplayRole:
            return visible(self._title(name), 200)
        if role == SubtitleRole:
            return self._presence(name, count)
        if role == ToneRole:
            return "good" if count else "muted"
        if role == BadgeRole:
            return self._badge(name)
        if role == Qt.ItemDataRole.ToolTipRole:
            return tooltip_text(self._explained(name))
        if role == Qt.ItemDataRole.AccessibleTextRole:
            badge = self._badge(name)
            parts = [self._title(name), self._presence(name, count), badge[0] if badge is not None else ""]
            return visible(", ".join(part for part in parts if part))
        return None

    def _presence(self, name: str, count: int) -> str:
        if name == ANYONE:
            others = self.tr("every other initiator")
            if not count:
                return others
            return self.tr("{others}, {count} connected").format(others=others, count=count)
        if not count:
            return self.tr("none now")
        if means_many(name):
            return self.tr("{count} connected").format(count=count)
        return self.tr("connected") if count == 1 else self.tr("{count} sessions").format(count=count)

    def _badge(self, name: str) -> tuple[str, Tone] | None:
        if name != ANYONE or self.draft is None:
            return None
        if self.draft.base.identity_ids:
            return self.tr("asks for CHAP"), "warning"
        return self.tr("no proof asked"), "bad"

    def _explained(self, name: str) -> str:
        if name == ANYONE:
            return self.tr("Every initiator that no other row means.")
        try:
            meaning = subject_meaning(read_subject(name))
        except ValueError:
            return name
        groups = self.draft.base.initiator_groups if self.draft is not None else []
        members = [one for group in groups if name == f"group:{group.name}" for one in group.members]
        return "\n".join([meaning, *members[:_MEMBERS_SHOWN], *(["…"] if members[_MEMBERS_SHOWN:] else [])])


_MEMBERS_SHOWN: Final = 12
