"""Who may log in to a served target, and how they prove themselves: per row, per target, for discovery."""

from __future__ import annotations

from typing import Any

import msgspec
from PySide6.QtWidgets import QGridLayout, QMenu, QWidget

from san_console.api.methods import SetDiscoveryChap
from san_console.api.serving_objects import InitiatorAccess, LocalTarget
from san_console.gui import words
from san_console.gui.context import Context
from san_console.gui.dialogs.chap_choice import ChapDialog
from san_console.gui.models.access_rows import AccessRow, access_rows, with_row_chap, without_subject
from san_console.gui.models.rule_columns import rule_columns
from san_console.gui.models.subjects import ANYONE, subject_title
from san_console.gui.views.serve_actions import add_initiator, sessions_of, target_title
from san_console.gui.views.serve_changes import propose
from san_console.gui.views.serve_facts import is_open
from san_console.gui.views.serve_table import TablePart
from san_console.gui.widgets.buttons import Button, enable
from san_console.gui.widgets.empty import EmptyState
from san_console.gui.widgets.labels import ElidedLabel, PlainLabel
from san_console.gui.widgets.menus import add_action
from san_console.names.display import visible


class RulesPart(TablePart):
    """Three lines of what holds for all, then a row for each that is named."""

    def __init__(self, context: Context) -> None:
        super().__init__(
            context,
            self.tr("Who may log in"),
            rule_columns(self.title_of, self.user),
            EmptyState(
                "lock",
                self.tr("Nobody may log in yet"),
                self.tr("Name initiators, by name, pattern, address or group."),
                self.tr("Add initiator…"),
                self._add,
                primary=False,
            ),
        )
        self.insert_above(self._defaults())
        self.remove_button = Button(self.tr("Remove…"), self._remove, kind="danger", tip="Del")
        self.remove_button.setAccessibleName(self.tr("Remove the initiator"))
        self.chap_button = Button("CHAP…", self._row_chap, icon="key-round", tip="F2")
        self.chap_button.setAccessibleName(self.tr("CHAP of the initiator"))
        self.add_button = Button(self.tr("Add…"), self._add, icon="plus")
        self.add_button.setAccessibleName(self.tr("Add initiator"))
        for button in (self.remove_button, self.chap_button, self.add_button):
            self.head.addWidget(button)
        self.table.delete_asked.connect(self._remove)
        self.table.opened.connect(lambda _id: self._row_chap())
        self.bind("F2", self._row_chap)

    def _defaults(self) -> QWidget:
        holder = QWidget()
        grid = QGridLayout(holder)
        grid.setContentsMargins(12, 4, 8, 4)
        grid.setHorizontalSpacing(14)
        grid.setVerticalSpacing(4)
        grid.setColumnStretch(1, 1)
        self.anyone = ElidedLabel("")
        self.default_chap = ElidedLabel("")
        self.discovery_chap = ElidedLabel("")
        self.anyone_button = Button("", self._switch_anyone)
        self.default_button = Button(self.tr("Change…"), self._target_chap)
        self.default_button.setAccessibleName(self.tr("Change CHAP of the target"))
        self.discovery_button = Button(self.tr("Change…"), self._discovery_chap)
        self.discovery_button.setAccessibleName(self.tr("Change CHAP of discovery"))
        for row, (label, value, button) in enumerate(
            (
                (self.tr("Everybody else"), self.anyone, self.anyone_button),
                (self.tr("CHAP of the target"), self.default_chap, self.default_button),
                (self.tr("CHAP of discovery, all targets"), self.discovery_chap, self.discovery_button),
            )
        ):
            grid.addWidget(PlainLabel(label, style="muted"), row, 0)
            grid.addWidget(value, row, 1)
            grid.addWidget(button, row, 2)
        return holder

    # what is shown

    def show_object(self, item: Any) -> None:
        self.target = item if isinstance(item, LocalTarget) else None
        target = self.target
        rows = access_rows(target, sessions_of(self.context, target)) if target is not None else []
        if list(self.model.objects()) != rows:
            self.model.set_objects(rows)
            if not self.table.selected_ids():
                self.table.select_first()
        self.note.setText(words.counted(len(rows), "initiator") if rows else "")
        if target is not None:
            self._show_defaults(target)
        self.chosen()

    def _show_defaults(self, target: LocalTarget) -> None:
        let_in = ANYONE in target.initiators
        if not let_in:
            self.anyone.setText(self.tr("may not log in"))
            self.anyone.set_tone("text")
        elif is_open(target):
            self.anyone.setText(self.tr("may log in without any proof"))
            self.anyone.set_tone("bad")
        else:
            self.anyone.setText(self.tr("may log in with a CHAP secret"))
            self.anyone.set_tone("warning")
        self.anyone_button.setText(
            self.tr("Stop letting anyone in…") if let_in else self.tr("Let anyone in…")
        )
        self.default_chap.setText(self.chap_text(target.identity_ids, target.mutual_identity_id))
        engine = self.host.engine
        if engine is not None:
            self.discovery_chap.setText(
                self.chap_text(engine.discovery_identity_ids, engine.discovery_mutual_identity_id)
            )
        self.discovery_button.setEnabled(engine is not None)

    def chap_text(self, ids: list[str] | tuple[str, ...], mutual: str) -> str:
        """`db-hosts or backup, the target as prod-array`."""
        if not ids:
            return self.tr("none asked for")
        accepted = self.tr(" or ").join(self.user(one) for one in ids)
        if not mutual:
            return accepted
        return self.tr("{accepted}; the target proves itself as {mutual}").format(
            accepted=accepted, mutual=self.user(mutual)
        )

    def user(self, identity_id: str) -> str:
        identity = self.host.get("identities", identity_id)
        return visible(identity.user, 80) if identity is not None else visible(identity_id, 80)

    def title_of(self, row: AccessRow) -> str:
        groups = self.target.initiator_groups if self.target is not None else ()
        return subject_title(row.subject, groups)

    def chosen(self) -> None:
        row = self.table.current_object()
        enable(self.remove_button, row is not None, self.tr("Select an initiator"))
        enable(self.chap_button, row is not None, self.tr("Select an initiator"))

    def fill_menu(self, menu: QMenu) -> None:
        add_action(menu, "CHAP…", self._row_chap, icon="key-round", shortcut="F2")
        add_action(menu, self.tr("Remove…"), self._remove, icon="trash-2", shortcut="Del", danger=True)

    # changes

    def _add(self) -> None:
        if self.target is not None:
            add_initiator(self, self.target)

    def _remove(self) -> None:
        row = self.table.current_object()
        if isinstance(row, AccessRow):
            self._take_out(row.subject, visible(self.title_of(row), 120))

    def _take_out(self, subject: str, who: str) -> None:
        target = self.target
        if target is None:
            return
        propose(
            self.context,
            self,
            target,
            without_subject(target, subject),
            question=self.tr("Remove {who} from {name}, and what is mapped to it?").format(
                who=who, name=target_title(target)
            ),
            verb=self.tr("Remove initiator"),
            said=self.tr("{who} was removed.").format(who=who),
        )

    def _switch_anyone(self) -> None:
        target = self.target
        if target is None:
            return
        if ANYONE in target.initiators:
            self._take_out(ANYONE, self.tr("Anyone"))
            return
        new = msgspec.structs.replace(target, access=[*target.access, InitiatorAccess(subject=ANYONE)])
        text = (
            self.tr("Everybody who reaches a portal and knows one of the CHAP secrets may log in.")
            if target.identity_ids
            else self.tr("Everybody who reaches a portal may log in: this target asks for no CHAP.")
        )
        propose(
            self.context,
            self,
            target,
            new,
            question=self.tr("Let anyone log in to {name}?").format(name=target_title(target)),
            verb=self.tr("Let anyone in"),
            said=self.tr("Anyone may log in to {name} now.").format(name=target_title(target)),
            warning=text,
        )

    def _row_chap(self) -> None:
        target, row = self.target, self.table.current_object()
        if target is None or not isinstance(row, AccessRow):
            return
        who = visible(self.title_of(row), 120)

        def save(dialog: ChapDialog, ids: list[str], mutual: str) -> None:
            self._propose_chap(dialog, target, with_row_chap(target, row.subject, ids, mutual), who)

        fallback = self.chap_text(target.identity_ids, target.mutual_identity_id)
        ChapDialog(
            self.tr("CHAP of {who}").format(who=who),
            self.tr("None ticked: as the target has it ({fallback}).").format(fallback=fallback),
            self.host.values("identities"),
            row.identity_ids if row.own else (),
            row.mutual_identity_id if row.own else "",
            save,
            open_to_all=row.subject == ANYONE and not target.identity_ids,
            parent=self,
        ).open()

    def _target_chap(self) -> None:
        target = self.target
        if target is None:
            return

        def save(dialog: ChapDialog, ids: list[str], mutual: str) -> None:
            new = msgspec.structs.replace(target, identity_ids=ids, mutual_identity_id=mutual)
            self._propose_chap(dialog, target, new, target_title(target))

        ChapDialog(
            self.tr("CHAP of {who}").format(who=target_title(target)),
            self.tr("None ticked: who has no identities of its own logs in without any proof."),
            self.host.values("identities"),
            target.identity_ids,
            target.mutual_identity_id,
            save,
            open_to_all=ANYONE in target.initiators,
            parent=self,
        ).open()

    def _propose_chap(self, dialog: ChapDialog, old: LocalTarget, new: LocalTarget, who: str) -> None:
        propose(
            self.context,
            self,
            old,
            new,
            question=self.tr("Change CHAP of {who}?").format(who=who),
            verb=self.tr("Set CHAP"),
            said=self.tr("CHAP of {who} was changed; it holds for new logins.").format(who=who),
            form=dialog,
        )

    def _discovery_chap(self) -> None:
        engine = self.host.engine
        if engine is None:
            return
        before = SetDiscoveryChap(
            identity_ids=engine.discovery_identity_ids,
            mutual_identity_id=engine.discovery_mutual_identity_id,
        )

        def undo() -> None:
            self.host.call("serving.set_discovery_chap", before, failed=self.context.say_problem)

        def save(dialog: ChapDialog, ids: list[str], mutual: str) -> None:
            def saved(_info: object) -> None:
                dialog.finished_ok()
                self.context.window.say(
                    self.tr("CHAP of discovery was changed."), "good", self.tr("Undo"), undo
                )

            self.host.call(
                "serving.set_discovery_chap",
                SetDiscoveryChap(identity_ids=ids, mutual_identity_id=mutual),
                saved,
                dialog.finished_badly,
                owner=dialog,
            )

        ChapDialog(
            self.tr("CHAP of discovery, for all targets of this computer"),
            self.tr(
                "None ticked: anybody may ask which targets there are, and is told those it may log in to."
            ),
            self.host.values("identities"),
            before.identity_ids,
            before.mutual_identity_id,
            save,
            parent=self,
        ).open()
