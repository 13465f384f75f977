"""Groups of initiators of a served target: made, renamed, filled and deleted."""

from __future__ import annotations

from typing import Any

from PySide6.QtWidgets import QMenu

from san_console.api.serving_objects import InitiatorGroup, LocalTarget
from san_console.gui import words
from san_console.gui.context import Context
from san_console.gui.dialogs.initiator_group import GroupDialog
from san_console.gui.models.access_rows import with_group, without_group
from san_console.gui.models.columns import Column
from san_console.gui.models.subjects import GROUP_PREFIX, connected, subject_title
from san_console.gui.translation import translate
from san_console.gui.views.serve_actions import sessions_of
from san_console.gui.views.serve_changes import propose
from san_console.gui.views.serve_table import TablePart
from san_console.gui.widgets.buttons import Button, enable
from san_console.gui.widgets.candidates import candidates
from san_console.gui.widgets.empty import EmptyState
from san_console.gui.widgets.menus import add_action
from san_console.names.display import visible


class GroupsPart(TablePart):
    """A group stands in mappings and rules as one row, whoever belongs to it."""

    def __init__(self, context: Context) -> None:
        super().__init__(
            context,
            self.tr("Groups of initiators"),
            _columns(self),
            EmptyState(
                "users",
                self.tr("No groups yet"),
                self.tr("Initiators that shall see the same LUNs, such as the hosts of a cluster."),
                self.tr("New group…"),
                self._new,
                primary=False,
            ),
        )
        self.delete_button = Button(self.tr("Delete…"), self._delete, kind="danger", tip="Del")
        self.delete_button.setAccessibleName(self.tr("Delete the group"))
        self.change_button = Button(self.tr("Change…"), self._edit, icon="pencil", tip="F2")
        self.change_button.setAccessibleName(self.tr("Change the group"))
        self.new_button = Button(self.tr("New group…"), self._new, icon="plus")
        for button in (self.delete_button, self.change_button, self.new_button):
            self.head.addWidget(button)
        self.table.delete_asked.connect(self._delete)
        self.table.opened.connect(lambda _id: self._edit())
        self.bind("F2", self._edit)

    @staticmethod
    def key_of(item: Any) -> str:
        return str(item.name)

    def show_object(self, item: Any) -> None:
        self.target = item if isinstance(item, LocalTarget) else None
        groups = self.target.initiator_groups if self.target is not None else []
        if list(self.model.objects()) != groups:
            self.model.set_objects(groups)
            self.table.select_first()
        self.note.setText(words.counted(len(groups), "group") if groups else "")
        self.chosen()

    def chosen(self) -> None:
        picked = self.table.current_object() is not None
        for button in (self.delete_button, self.change_button):
            enable(button, picked, self.tr("Select a group"))

    def fill_menu(self, menu: QMenu) -> None:
        add_action(menu, self.tr("Change…"), self._edit, icon="pencil", shortcut="F2")
        add_action(menu, self.tr("Delete…"), self._delete, icon="trash-2", shortcut="Del", danger=True)

    def now(self, group: InitiatorGroup) -> int:
        """How many of its members' sessions there are."""
        if self.target is None:
            return 0
        subject = f"{GROUP_PREFIX}{group.name}"
        sessions = sessions_of(self.context, self.target)
        return len(connected([subject], sessions, {group.name: group.members}).get(subject, ()))

    def rules(self, group: InitiatorGroup) -> str:
        """What the group is used for."""
        subject = f"{GROUP_PREFIX}{group.name}"
        if self.target is None or subject not in self.target.initiators:
            return self.tr("not used")
        mapped = sum(rule.initiator == subject for rule in self.target.mappings)
        return words.counted(mapped, "LUN") if mapped else self.tr("may log in")

    def _new(self) -> None:
        self._ask(None)

    def _edit(self) -> None:
        group = self.table.current_object()
        if isinstance(group, InitiatorGroup):
            self._ask(group)

    def _ask(self, group: InitiatorGroup | None) -> None:
        target = self.target
        if target is None:
            return
        old = group.name if group is not None else ""

        def save(dialog: GroupDialog, new: InitiatorGroup) -> None:
            propose(
                self.context,
                self,
                target,
                with_group(target, old, new),
                question=self.tr("Change the group {name}?").format(name=new.name),
                verb=self.tr("Change group"),
                said=(
                    self.tr("The group {name} was changed.") if old else self.tr("The group {name} was made.")
                ).format(name=visible(new.name, 64)),
                form=dialog,
            )

        GroupDialog(
            group,
            [one.name for one in target.initiator_groups],
            candidates(self.host, ()),
            sessions_of(self.context, target),
            save,
            parent=self,
        ).open()

    def _delete(self) -> None:
        target, group = self.target, self.table.current_object()
        if target is None or not isinstance(group, InitiatorGroup):
            return
        name = visible(group.name, 64)
        propose(
            self.context,
            self,
            target,
            without_group(target, group.name),
            question=self.tr("Delete the group {name}, and what is mapped to it?").format(name=name),
            verb=self.tr("Delete group"),
            said=self.tr("The group {name} was deleted.").format(name=name),
        )


def _members(group: InitiatorGroup) -> str:
    return ", ".join(subject_title(one) for one in group.members) or words.NONE


def _columns(part: GroupsPart) -> list[Column]:
    return [
        Column("name", translate("serve_groups", "Group"), lambda group: group.name, strong=True, width=150),
        Column(
            "count",
            translate("serve_groups", "Members"),
            lambda group: str(len(group.members)),
            sort=lambda group: len(group.members),
            right=True,
            width=92,
        ),
        Column(
            "members",
            translate("serve_groups", "Who"),
            _members,
            tooltip=lambda group: "\n".join(group.members[:20]),
            width=200,
            stretch=True,
        ),
        Column(
            "now",
            translate("serve_groups", "Now"),
            lambda group: (
                translate("serve_groups", "{count} connected").format(count=part.now(group))
                if part.now(group)
                else translate("serve_groups", "none now")
            ),
            kind="state",
            tone=lambda group: "good" if part.now(group) else "muted",
            width=120,
        ),
        Column("used", translate("serve_groups", "Used for"), part.rules, muted=True, width=100),
    ]
