"""A group of initiators: its name, and who belongs to it, checked while it is typed."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from PySide6.QtWidgets import QLineEdit, QPlainTextEdit, QWidget

from san_console.api.serving_objects import InitiatorGroup, TargetSession
from san_console.gui.dialogs.base import BaseDialog
from san_console.gui.models.subjects import check_group_name, rank, read_subject
from san_console.gui.translation import translate
from san_console.gui.widgets.candidates import Candidate, CandidateList
from san_console.gui.widgets.labels import PlainLabel, restyle
from san_console.names.display import visible

MAX_MEMBERS = 1024
"""More are a network or a pattern, and would not be read by anybody."""


def read_members(text: str) -> list[str]:
    """One subject per line, each once. Raises ValueError with a sentence."""
    members: dict[str, None] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            read = read_subject(line)
            if read.kind == "group":
                raise ValueError(translate("initiator_group", "A group has no groups in it."))
        except ValueError as error:
            raise ValueError(
                translate("initiator_group", "Line {number}: {error}").format(number=number, error=error)
            ) from None
        members[read.text] = None
    if len(members) > MAX_MEMBERS:
        raise ValueError(
            translate("initiator_group", "A group has {most:,} members at most.").format(most=MAX_MEMBERS)
        )
    return list(members)


class GroupDialog(BaseDialog):
    """`group` None: a new one. `on_group(dialog, group)` ends the dialog."""

    def __init__(
        self,
        group: InitiatorGroup | None,
        taken: Sequence[str],
        choices: Sequence[Candidate],
        sessions: Sequence[TargetSession],
        on_group: Callable[[GroupDialog, InitiatorGroup], object],
        parent: QWidget | None = None,
    ) -> None:
        title = (
            self.tr("New group of initiators")
            if group is None
            else self.tr("Group {name}").format(name=visible(group.name, 64))
        )
        verb = self.tr("Create group") if group is None else self.tr("Change group")
        super().__init__(title, verb, width_px=600, parent=parent)
        self._taken = set(taken) - ({group.name} if group is not None else set())
        self._sessions = sessions
        self._on_group = on_group
        self.name = QLineEdit(group.name if group is not None else "")
        self.name.setAccessibleName(self.tr("Name of the group"))
        self.name.setPlaceholderText(self.tr("backup hosts"))
        self.members = QPlainTextEdit("\n".join(group.members) if group is not None else "")
        self.members.setProperty("mono", True)
        self.members.setAccessibleName(self.tr("Members, one per line"))
        self.members.setPlaceholderText(
            "iqn.2004-10.com.example.hosts:db-1\niqn.2004-10.com.example.hosts:esx-*\n10.20.0.0/16"
        )
        self.members.setTabChangesFocus(True)
        self.members.setFixedHeight(120)
        self.content.addWidget(PlainLabel(self.tr("Name"), style="muted"))
        self.content.addWidget(self.name)
        self.content.addWidget(
            PlainLabel(self.tr("Members, one per line: names, patterns, addresses"), style="muted")
        )
        self.content.addWidget(self.members)
        self._hint = PlainLabel("", style="small", wrap=True)
        self.content.addWidget(self._hint)
        self.choices = CandidateList(self.tr("Initiators to choose from"), choices)
        if len(self.choices):
            self.content.addWidget(PlainLabel(self.tr("Add one of these"), style="muted"))
            self.content.addWidget(self.choices)
        self.choices.picked.connect(self._pick)
        self.name.textChanged.connect(self._check)
        self.members.textChanged.connect(self._check)
        self._check()

    def _pick(self, subject: str) -> None:
        lines = [line for line in self.members.toPlainText().splitlines() if line.strip()]
        if subject not in lines:
            self.members.setPlainText("\n".join([*lines, subject]))

    def group(self) -> InitiatorGroup:
        """Raises ValueError with a sentence."""
        name = check_group_name(self.name.text().strip())
        if name in self._taken:
            raise ValueError(self.tr("There is a group of this name already."))
        return InitiatorGroup(name=name, members=read_members(self.members.toPlainText()))

    def _check(self) -> None:
        wrong, hint = False, ""
        try:
            group = self.group()
            hint = self._connected(group)
        except ValueError as error:
            wrong, hint = True, str(error)
        typed = bool(self.name.text().strip())
        self._hint.setText(hint if typed or self.members.toPlainText().strip() else "")
        self._hint.set_tone("bad" if wrong and typed else "muted")
        self.name.setProperty("invalid", typed and self.name.text().strip() in self._taken)
        restyle(self.name)
        self.accept_button.setEnabled(not wrong)

    def _connected(self, group: InitiatorGroup) -> str:
        if not group.members:
            return self.tr("Nobody belongs to it yet.")
        known = {group.name: group.members}
        now = sum(
            rank(f"group:{group.name}", one.initiator, one.address, known) is not None
            for one in self._sessions
        )
        return self.tr("{members} members; connected now: {now}.").format(members=len(group.members), now=now)

    def do(self) -> None:
        self._on_group(self, self.group())
