"""Secrets: the CHAP identities, where their secrets are kept and where they are used. Never the secrets."""

from __future__ import annotations

from typing import Any, Final

from PySide6.QtCore import Qt
from PySide6.QtGui import QKeySequence, QShortcut
from PySide6.QtWidgets import QMenu

from san_console.api.engine_objects import Identity, Keyring
from san_console.api.methods import ById, UseMemory
from san_console.gui import words
from san_console.gui.context import Context
from san_console.gui.dialogs.base import Confirmation
from san_console.gui.dialogs.identity import IdentityDialog
from san_console.gui.dialogs.identity_test import TestIdentityDialog
from san_console.gui.models.columns import Column
from san_console.gui.models.object_model import ObjectTableModel
from san_console.gui.theme.tokens import Tone
from san_console.gui.translation import QT_TRANSLATE_NOOP, translate, translated
from san_console.gui.views.page import FilterRow, KeptSplitter, Page
from san_console.gui.views.secrets_details import IdentityDetails
from san_console.gui.widgets.buttons import Button, enable
from san_console.gui.widgets.empty import EmptyState, TableCard
from san_console.gui.widgets.menus import add_action
from san_console.gui.widgets.problems import InlineProblem
from san_console.gui.widgets.table import TableView
from san_console.names.display import visible

PLACE_WORDS: Final[dict[str, str]] = {
    "keyring": QT_TRANSLATE_NOOP("Table", "Keyring"),
    "memory": QT_TRANSLATE_NOOP("Table", "Memory, this run"),
    "missing": QT_TRANSLATE_NOOP("Table", "No secret"),
}
PLACE_TONES: Final[dict[str, Tone]] = {"keyring": "good", "memory": "warning", "missing": "bad"}

_KEYRING_WORDS: Final[dict[str, str]] = {
    "locked": QT_TRANSLATE_NOOP("Table", "The keyring is locked: its secrets cannot be used."),
    "missing": QT_TRANSLATE_NOOP("Table", "There is no keyring on this computer."),
    "unknown": QT_TRANSLATE_NOOP("Table", "The keyring has not answered yet."),
}


class SecretsPage(Page):
    """Identities in a table, the state of the keyring above it."""

    key = "secrets"
    title = QT_TRANSLATE_NOOP("Table", "Secrets")
    collections = ("identities", "engine")

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.change_button = Button(self.tr("Change…"), self._change, icon="pencil", tip="F2")
        self.test_button = Button(self.tr("Test…"), self._test, icon="plug")
        self.delete_button = Button(self.tr("Delete"), self._delete, kind="danger", tip="Del")
        self.new_button = Button(
            self.tr("New identity"), self._new, kind="primary", icon="plus", tip="Ctrl+N"
        )
        self.set_actions(self.test_button, self.change_button, self.delete_button, self.new_button)
        self.keyring_banner = InlineProblem("notice")
        self.body.addWidget(self.keyring_banner)
        self.model = ObjectTableModel(_columns())
        self.filter = FilterRow(
            self.model,
            self.tr("Filter identities"),
            [
                ("all", self.tr("All"), None),
                ("findings", self.tr("To look at"), lambda identity: bool(identity.findings)),
                ("missing", self.tr("No secret"), lambda identity: identity.place == "missing"),
                ("unused", self.tr("Unused"), lambda identity: not identity.used_by),
            ],
        )
        self.body.addWidget(self.filter)
        self.table = TableView(
            self.model,
            self.tr("CHAP identities"),
            preferences=context.preferences,
            layout_key="secrets",
            sort_by="user",
        )
        self.table.fill_menu = self._fill_menu
        self.table.chosen.connect(self._chosen)
        self.table.opened.connect(lambda _identifier: self._change())
        self.table.delete_asked.connect(self._delete)
        card = TableCard(
            self.table,
            EmptyState(
                "key-round",
                self.tr("No CHAP identities yet"),
                self.tr(
                    "An identity is a name and a secret with which this computer or a target proves itself."
                ),
                self.tr("New identity…"),
                self._new,
            ),
            self.filter.clear,
        )
        card.setMinimumHeight(110)
        self.details = IdentityDetails(context)
        self.details.setMinimumHeight(110)
        split = KeptSplitter(context, "secrets", Qt.Orientation.Vertical, [420, 190], card, self.details)
        # A taller window shows more rows, not more empty details.
        split.setStretchFactor(1, 0)
        self.body.addWidget(split, 1)
        for key, act in (("Ctrl+N", self._new), ("F2", self._change)):
            QShortcut(QKeySequence(key), self, act).setContext(Qt.ShortcutContext.WidgetWithChildrenShortcut)
        self.reload()

    def reload(self) -> None:
        self.model.set_objects(self.host.values("identities"))
        self.table.select_first()

    def apply_changes(self, collection: str, changes: list[Any]) -> None:
        if collection == "identities":
            self.model.apply(changes)
            self.table.select_first()

    def refresh(self) -> None:
        identities = self.host.values("identities")
        engine = self.host.engine
        keyring = engine.keyring if engine is not None else Keyring()
        where = {
            "unlocked": self.tr("{backend}, unlocked").format(backend=keyring.backend or "keyring"),
            "memory": self.tr("kept in memory for this run"),
            "locked": self.tr("the keyring is locked"),
            "missing": self.tr("no keyring"),
            "unknown": self.tr("keyring not looked at yet"),
        }[keyring.state]
        found = sum(bool(identity.findings) for identity in identities)
        parts = [words.counted(len(identities), "identity", "identities")]
        if found:
            parts.append(self.tr("{found} to look at").format(found=found))
        self.summary.setText(f"{', '.join(parts)} · {where}")
        self._show_keyring(keyring)
        self.filter.count()
        self.filter.setVisible(bool(identities))
        self.details.setVisible(bool(identities))
        self._chosen()

    def select(self, identifier: str) -> None:
        if not self.table.select_id(identifier):
            self.filter.clear()
            self.table.select_id(identifier)

    def focus_filter(self) -> None:
        self.filter.line.setFocus()

    def renew(self) -> None:
        self.host.call("keyring.check", owner=self)

    # the keyring

    def _show_keyring(self, keyring: Keyring) -> None:
        if keyring.state == "unlocked":
            self.keyring_banner.hide()
            return
        if keyring.state == "memory":
            self.keyring_banner.say(
                self.tr("Secrets are kept in memory, and are gone when the engine ends."),
                "",
                keyring.fix,
                (self.tr("Use the keyring again"), lambda: self._use_memory(False)),
            )
            return
        fix = keyring.fix or self.tr("unlock it, or install GNOME Keyring or KWallet")
        actions = [
            (self.tr("Look again"), self.renew),
            (self.tr("Keep in memory for this run"), lambda: self._use_memory(True)),
        ]
        self.keyring_banner.say(
            translated(_KEYRING_WORDS.get(keyring.state, _KEYRING_WORDS["unknown"])), "", fix, *actions
        )

    def _use_memory(self, use: bool) -> None:
        self.host.call("keyring.use_memory", UseMemory(use=use), owner=self)

    # identities

    def _current(self) -> Identity | None:
        item = self.table.current_object()
        return item if isinstance(item, Identity) else None

    def _chosen(self) -> None:
        count = len(self.table.selected_ids())
        one = self.tr("Select one identity")
        enable(self.change_button, count == 1, one)
        enable(self.test_button, count == 1, one)
        enable(self.delete_button, count == 1, one)
        self.details.show_identity(self._current())

    def _new(self) -> None:
        IdentityDialog(
            self.context, on_saved=lambda identity: self._saved(identity, "created"), parent=self
        ).open()

    def _change(self) -> None:
        identity = self._current()
        if identity is not None:
            IdentityDialog(
                self.context, identity, lambda saved: self._saved(saved, "changed"), parent=self
            ).open()

    def _saved(self, identity: Identity, what: str) -> None:
        self.context.window.say(
            self.tr("The identity {user} was {what}.").format(user=visible(identity.user, 64), what=what),
            "good",
        )
        self.host.call("keyring.check", owner=self, done=lambda _keyring: self.select(identity.id))

    def _test(self) -> None:
        identity = self._current()
        if identity is not None:
            TestIdentityDialog(self.context, identity, parent=self).open()

    def _delete(self) -> None:
        identity = self._current()
        if identity is None:
            return
        if identity.used_by:
            text = self.tr("It is in use. Take it out of these log-in settings and targets first:")
        else:
            text = self.tr("Its secret is taken out of the keyring as well. Nothing uses it.")
        Confirmation(
            self.tr("Delete the identity {user}?").format(user=visible(identity.user, 64)),
            self.tr("Delete identity"),
            lambda dialog: self.host.call(
                "identities.remove",
                ById(id=identity.id),
                dialog.finished_ok,
                dialog.finished_badly,
                owner=dialog,
            ),
            text=text,
            consequences=[visible(text) for text in identity.used_by],
            parent=self,
        ).open()

    def _fill_menu(self, menu: QMenu) -> None:
        if self._current() is None:
            return
        add_action(menu, self.tr("Change…"), self._change, icon="pencil", shortcut="F2")
        add_action(menu, self.tr("Test against a target…"), self._test, icon="plug")
        add_action(menu, self.tr("Delete…"), self._delete, icon="trash-2", shortcut="Del", danger=True)


def _used(identity: Identity) -> str:
    if not identity.used_by:
        return translate("secrets", "nowhere")
    first = identity.used_by[0]
    more = len(identity.used_by) - 1
    return (
        translate("secrets", "{first} and {more}").format(
            first=first, more=words.counted(more, "more place", "more places")
        )
        if more
        else first
    )


def _columns() -> list[Column]:
    return [
        Column(
            "user", translate("secrets", "CHAP name"), lambda identity: identity.user, strong=True, width=170
        ),
        Column(
            "place",
            translate("secrets", "Secret"),
            lambda identity: translated(PLACE_WORDS.get(identity.place, identity.place)),
            kind="state",
            tone=lambda identity: PLACE_TONES.get(identity.place, "muted"),
            width=150,
        ),
        Column(
            "uses",
            translate("secrets", "Uses"),
            lambda identity: f"{len(identity.used_by)}",
            sort=lambda identity: len(identity.used_by),
            right=True,
            width=64,
        ),
        Column(
            "used",
            translate("secrets", "Used by"),
            _used,
            tone=lambda identity: "text" if identity.used_by else "muted",
            tooltip=lambda identity: "\n".join(identity.used_by),
            width=280,
            stretch=True,
        ),
        Column(
            "findings",
            translate("secrets", "To look at"),
            lambda identity: words.counted(len(identity.findings), "finding") if identity.findings else "",
            sort=lambda identity: len(identity.findings),
            kind="tag",
            tone=lambda identity: "warning",
            tooltip=lambda identity: "\n".join(identity.findings),
            width=110,
        ),
        Column(
            "note",
            translate("secrets", "Note"),
            lambda identity: identity.note,
            muted=True,
            width=210,
            stretch=True,
        ),
    ]
