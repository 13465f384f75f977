"""The LUNs of a served target, mapped or not: what they are made of, how full they are, whether they work."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from PySide6.QtWidgets import QMenu

from san_console.api.methods import GrowLun, LunOf, SetLunOnline
from san_console.api.serving_objects import LocalLun, LocalTarget
from san_console.gui import words
from san_console.gui.context import Context
from san_console.gui.dialogs.base import Confirmation
from san_console.gui.dialogs.lun_properties import EditLunDialog, GrowLunDialog
from san_console.gui.models.served_luns import lun_columns
from san_console.gui.views.serve_changes import propose
from san_console.gui.views.serve_table import TablePart
from san_console.gui.widgets.buttons import Button, enable
from san_console.gui.widgets.empty import EmptyState
from san_console.gui.widgets.menus import add_action, popup
from san_console.names.display import visible


class LunsTab(TablePart):
    """Add, change, grow, take offline and online, remove."""

    def __init__(self, context: Context, on_add: Callable[[], object]) -> None:
        super().__init__(
            context,
            self.tr("LUNs of the target"),
            lun_columns(),
            EmptyState(
                "database",
                self.tr("No LUNs yet"),
                self.tr("A LUN is a file, memory or a disk."),
                self.tr("Add LUN…"),
                on_add,
            ),
        )
        self.change_button = Button(self.tr("Change…"), self._edit, icon="pencil", tip="F2")
        self.more_button = Button(self.tr("More"), self._more, icon="ellipsis")
        self.more_button.setAccessibleName(self.tr("More about the LUN"))
        self.remove_button = Button(self.tr("Remove LUN…"), self._remove, kind="danger", tip="Del")
        for button in (self.remove_button, self.more_button, self.change_button):
            self.head.addWidget(button)
        self.head.addWidget(Button(self.tr("Add LUN…"), on_add, icon="plus"))
        self.table.delete_asked.connect(self._remove)
        self.table.opened.connect(lambda _id: self._edit())
        self.bind("F2", self._edit)

    def show_object(self, item: Any) -> None:
        self.target = item if isinstance(item, LocalTarget) else None
        luns = list(self.target.luns) if self.target is not None else []
        self.model.set_objects(luns)
        self.table.select_first()
        total = words.size(sum(lun.size_bytes for lun in luns))
        self.note.setText(f"{words.counted(len(luns), 'LUN')}, {total}" if luns else "")
        self.chosen()

    def lun(self) -> LocalLun | None:
        """The selected one."""
        found = self.table.current_object()
        return found if isinstance(found, LocalLun) else None

    def chosen(self) -> None:
        lun = self.lun()
        for button in (self.remove_button, self.change_button, self.more_button):
            enable(button, lun is not None, self.tr("Select a LUN"))
        self.failure.show_problem(lun.problem if lun is not None else None)

    def fill_menu(self, menu: QMenu) -> None:
        lun = self.lun()
        if lun is None:
            return
        add_action(menu, self.tr("Change…"), self._edit, icon="pencil", shortcut="F2")
        add_action(menu, self.tr("Grow…"), self._grow, icon="chevron-up")
        if lun.online and lun.state == "offline":
            add_action(menu, self.tr("Try to open it again"), self._retry, icon="rotate-cw")
        if lun.online:
            add_action(menu, self.tr("Take offline…"), self._take_offline, icon="power")
        else:
            add_action(menu, self.tr("Take online"), self._take_online, icon="power")
        add_action(menu, self.tr("Remove LUN…"), self._remove, icon="trash-2", shortcut="Del", danger=True)

    def _more(self) -> None:
        menu = QMenu(self)
        self.fill_menu(menu)
        popup(menu, self.more_button.mapToGlobal(self.more_button.rect().bottomLeft()))

    def _users(self, lun: LocalLun) -> list[str]:
        """The sessions that see the LUN now, for the question before it is taken away."""
        target = self.target
        if target is None:
            return []
        numbers = {rule.lun for rule in target.mappings if rule.lun_id == lun.id}
        return [
            visible(
                self.tr("{initiator} from {address} is connected to it").format(
                    initiator=session.initiator, address=session.address
                )
            )
            for session in self.host.values("target_sessions")
            if session.target == target.id and numbers & set(session.luns)
        ]

    def _edit(self) -> None:
        target, lun = self.target, self.lun()
        if target is None or lun is None:
            return

        def change(dialog: EditLunDialog, new: LocalLun) -> None:
            dialog.finished_ok()
            luns = [new if one.id == new.id else one for one in target.luns]
            propose(
                self.context,
                self,
                target,
                msgspec.structs.replace(target, luns=luns),
                question=self.tr("Change the LUN {name}?").format(name=lun.name),
                verb=self.tr("Change LUN"),
                said=self.tr("{name} was changed.").format(name=new.name),
                failed=self.failure.show_problem,
            )

        EditLunDialog(lun, change, parent=self).open()

    def _grow(self) -> None:
        target, lun = self.target, self.lun()
        if target is None or lun is None:
            return

        def grow(dialog: GrowLunDialog, size_bytes: int) -> None:
            def done(changed: LocalTarget) -> None:
                dialog.finished_ok()
                size = next((one.size_bytes for one in changed.luns if one.id == lun.id), 0)
                said = self.tr("{name} has {size} now.").format(name=lun.name, size=words.size(size))
                self.context.window.say(said, "good")

            self.host.call(
                "serving.grow_lun",
                GrowLun(target=target.id, lun_id=lun.id, size_bytes=size_bytes),
                done,
                dialog.finished_badly,
                owner=dialog,
            )

        GrowLunDialog(lun, grow, parent=self).open()

    def _retry(self) -> None:
        target, lun = self.target, self.lun()
        if target is None or lun is None:
            return
        self.host.call(
            "serving.retry_lun",
            LunOf(target=target.id, lun_id=lun.id),
            lambda _target: self.context.window.say(
                self.tr("{name} is online again.").format(name=lun.name), "good"
            ),
            self.failure.show_problem,
            owner=self,
        )

    def _take_online(self) -> None:
        target, lun = self.target, self.lun()
        if target is None or lun is None:
            return
        self.host.call(
            "serving.lun_online",
            SetLunOnline(target=target.id, lun_id=lun.id, online=True),
            lambda _target: self.context.window.say(
                self.tr("{name} is online again.").format(name=lun.name), "good"
            ),
            self.failure.show_problem,
            owner=self,
        )

    def _take_offline(self) -> None:
        target, lun = self.target, self.lun()
        if target is None or lun is None:
            return

        def offline(dialog: Confirmation) -> None:
            self.host.call(
                "serving.lun_online",
                SetLunOnline(target=target.id, lun_id=lun.id, online=False),
                lambda _target: dialog.finished_ok(),
                dialog.finished_badly,
                owner=dialog,
            )

        Confirmation(
            self.tr("Take {name} offline?").format(name=lun.name),
            self.tr("Take offline"),
            offline,
            text=self.tr(
                "Its initiators cannot read or write it until it is online again. Its mappings and its data "
                "stay."
            ),
            consequences=self._users(lun),
            parent=self,
        ).open()

    def _remove(self) -> None:
        target, lun = self.target, self.lun()
        if lun is None or target is None:
            return
        new = msgspec.structs.replace(
            target,
            luns=[one for one in target.luns if one.id != lun.id],
            mappings=[rule for rule in target.mappings if rule.lun_id != lun.id],
        )
        propose(
            self.context,
            self,
            target,
            new,
            question=self.tr("Remove the LUN {name} from {id}?").format(
                name=lun.name, id=words.short_name(target.id)
            ),
            verb=self.tr("Remove LUN"),
            said=self.tr("{name} is served no longer.").format(name=lun.name)
            + (self.tr(" The file is kept.") if lun.kind == "file" else ""),
        )
