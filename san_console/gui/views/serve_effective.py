"""Who sees what: one name and address, asked of the code that the login uses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from PySide6.QtCore import QSignalBlocker, Qt, QTimer
from PySide6.QtWidgets import QComboBox, QLineEdit

from san_console.api.methods import AskAccess
from san_console.api.problems import Problem
from san_console.api.serving_objects import EffectiveAccess, LocalTarget
from san_console.gui import words
from san_console.gui.context import Context
from san_console.gui.models.columns import Column
from san_console.gui.models.object_model import ObjectTableModel
from san_console.gui.models.subjects import ANYONE, GROUP_PREFIX, means_many, subject_title
from san_console.gui.theme.tokens import Tone
from san_console.gui.translation import translate
from san_console.gui.views.page import DetailTab
from san_console.gui.views.serve_actions import sessions_of
from san_console.gui.widgets.cards import Line, horizontal, vertical
from san_console.gui.widgets.empty import EmptyState, TableCard
from san_console.gui.widgets.key_values import KeyValues, Pair
from san_console.gui.widgets.labels import PlainLabel
from san_console.gui.widgets.problems import InlineProblem
from san_console.gui.widgets.state import Pill
from san_console.gui.widgets.table import TableView
from san_console.names.display import visible

ASK_AFTER_MS: Final = 200
ADDRESS_WIDTH_PX: Final = 190


@dataclass(frozen=True, slots=True)
class LunRow:
    """A LUN of the target: seen under a number, or hidden (`number` None), and why."""

    id: str
    number: int | None
    name: str
    read_only: bool
    why: str


def lun_rows(access: EffectiveAccess) -> list[LunRow]:
    """What is seen, by number, then what is hidden."""
    seen = [
        LunRow(one.lun_id, one.lun, one.name or one.lun_id, one.read_only, one.why) for one in access.luns
    ]
    hidden = [LunRow(one.lun_id, None, one.name or one.lun_id, False, one.why) for one in access.hidden]
    return [*sorted(seen, key=lambda row: row.number or 0), *hidden]


class EffectivePart(DetailTab):
    """What an initiator would see if it logged in now."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._target: LocalTarget | None = None
        self._asked = 0
        column = vertical(self, gap=0)
        row = horizontal(margin=10, gap=8)
        self.initiator = QComboBox()
        self.initiator.setEditable(True)
        self.initiator.setInsertPolicy(QComboBox.InsertPolicy.NoInsert)
        self.initiator.setProperty("mono", True)
        self.initiator.setAccessibleName(self.tr("Initiator name"))
        self.initiator.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.initiator.setMinimumContentsLength(24)
        line = self.initiator.lineEdit()
        if line is not None:
            line.setAccessibleName(self.tr("Initiator name"))
            line.setPlaceholderText("iqn.2004-10.com.example.hosts:db-1")
        self.address = QLineEdit()
        self.address.setProperty("mono", True)
        self.address.setFixedWidth(ADDRESS_WIDTH_PX)
        self.address.setAccessibleName(self.tr("Address of the initiator"))
        self.address.setPlaceholderText(self.tr("any address"))
        self.address.setClearButtonEnabled(True)
        row.addWidget(PlainLabel(self.tr("Initiator"), style="muted"))
        row.addWidget(self.initiator, 1)
        row.addWidget(PlainLabel(self.tr("from"), style="muted"))
        row.addWidget(self.address)
        column.addLayout(row)
        self.failure = InlineProblem()
        column.addWidget(self.failure)
        answer = horizontal(margin=10, gap=10)
        self.verdict = Pill()
        self.why = PlainLabel("", wrap=True, selectable=True)
        self.why.setAccessibleName(self.tr("Reason"))
        answer.addWidget(self.verdict, 0, Qt.AlignmentFlag.AlignTop)
        answer.addWidget(self.why, 1)
        column.addLayout(answer)
        facts = vertical(gap=0)
        facts.setContentsMargins(10, 0, 10, 10)
        self.facts = KeyValues(columns=2)
        facts.addWidget(self.facts)
        column.addLayout(facts)
        column.addWidget(Line())
        self.model = ObjectTableModel(_columns())
        table = TableView(
            self.model,
            self.tr("LUNs that the initiator sees, and those that it does not"),
            preferences=context.preferences,
            layout_key="serve.effective",
        )
        self.empty = EmptyState("eye-off", "")
        card = TableCard(table, self.empty)
        card.setProperty("kind", "")
        column.addWidget(card, 1)
        self._timer = QTimer(self, singleShot=True, interval=ASK_AFTER_MS)
        self._timer.timeout.connect(self.ask)
        self.initiator.editTextChanged.connect(self._typed)
        self.address.textChanged.connect(lambda _text: self._timer.start())

    def show_object(self, item: Any) -> None:
        target = item if isinstance(item, LocalTarget) else None
        other = self._target is None or target is None or target.id != self._target.id
        changed = other or target != self._target
        self._target = target
        if target is None:
            return
        if other:
            self._offer(target)
        if changed:
            self.ask()

    def _offer(self, target: LocalTarget) -> None:
        """The initiators that are connected, with their addresses, then those that are named."""
        found: dict[str, str] = {}
        for session in sessions_of(self.context, target):
            found.setdefault(session.initiator, session.address)
        for subject in target.initiators:
            if subject != ANYONE and not subject.startswith(GROUP_PREFIX) and not means_many(subject):
                found.setdefault(subject.partition("@")[0], "")
        with QSignalBlocker(self.initiator):
            self.initiator.clear()
            for name, address in found.items():
                self.initiator.addItem(visible(name, 223), (name, address))
            self.initiator.setCurrentIndex(0 if found else -1)
        self._typed()

    def _chosen(self) -> tuple[str, str]:
        """The name, and the address that it is connected from where it is known."""
        typed = self.initiator.currentText().strip()
        place = self.initiator.findText(typed, Qt.MatchFlag.MatchFixedString)
        data = self.initiator.itemData(place) if place >= 0 else None
        return (str(data[0]), str(data[1])) if data is not None else (typed, "")

    def _typed(self) -> None:
        _name, address = self._chosen()
        with QSignalBlocker(self.address):
            self.address.setText(visible(address, 64))
        self._timer.start()

    def ask(self) -> None:
        """Ask now; an older answer that is still on its way is not shown."""
        self._timer.stop()
        target, (name, _known) = self._target, self._chosen()
        self._asked += 1
        if target is None or not name:
            self.clear()
            self.empty.say(self.tr("Whose view?"), self.tr("Choose or type the name of an initiator."))
            return
        asked = self._asked
        self.host.call(
            "serving.access",
            AskAccess(target=target.id, initiator=name, address=self.address.text().strip()),
            lambda found: self._take(found) if asked == self._asked else None,
            lambda problem: self._failed(problem) if asked == self._asked else None,
            owner=self,
        )

    def clear(self) -> None:
        self.failure.hide()
        self.model.set_objects([])
        self.verdict.show_tag("", "muted")
        self.why.setText("")
        self.facts.show_pairs([])

    def _take(self, found: EffectiveAccess) -> None:
        self.failure.hide()
        if found.allowed:
            self.empty.say(self.tr("It would see no LUN"), self.tr("Map one to it on the tab Mapping."))
        else:
            self.empty.say(self.tr("It may not log in"), self.tr("Add it under “Who may log in”."))
        self.verdict.show_tag(
            self.tr("may log in") if found.allowed else self.tr("refused"), "good" if found.allowed else "bad"
        )
        self.why.setText(found.why)
        groups = self._target.initiator_groups if self._target is not None else ()
        unproved: tuple[str, Tone] = (self.tr("no proof is asked for"), "warning")
        chap = (", ".join(found.chap_users), None) if found.chap_users else unproved
        pairs = [
            Pair(self.tr("Rule"), subject_title(found.rule, groups) if found.rule else words.NONE),
            Pair(self.tr("LUNs seen"), str(len(found.luns))),
            Pair(self.tr("Logs in with"), chap[0], chap[1]),
            Pair(self.tr("Target proves itself as"), found.mutual_user or self.tr("nobody")),
        ]
        self.facts.show_pairs(pairs if found.allowed else [])
        self.model.set_objects(lun_rows(found))

    def _failed(self, problem: Problem) -> None:
        self.clear()
        self.empty.say(self.tr("No answer"))
        self.failure.show_problem(problem)


def _access(row: LunRow) -> str:
    if row.number is None:
        return translate("serve_effective", "Hidden")
    if row.read_only:
        return translate("serve_effective", "Read-only")
    return translate("serve_effective", "Read-write")


def _access_tone(row: LunRow) -> Tone:
    if row.number is None:
        return "muted"
    return "accent" if row.read_only else "good"


def _columns() -> list[Column]:
    return [
        Column(
            "lun",
            "LUN",
            lambda row: words.NONE if row.number is None else str(row.number),
            sort=lambda row: (row.number is None, row.number or 0),
            right=True,
            width=64,
        ),
        Column(
            "name",
            translate("serve_effective", "Name"),
            lambda row: row.name,
            strong=True,
            tone=lambda row: "muted" if row.number is None else "text",
            width=140,
        ),
        Column(
            "access",
            translate("serve_effective", "Access"),
            _access,
            kind="tag",
            tone=_access_tone,
            width=120,
        ),
        Column("why", translate("serve_effective", "Why"), lambda row: row.why, width=240, stretch=True),
    ]
