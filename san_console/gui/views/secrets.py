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
from san_console.gui.views.page import FilterRow, KeptSplitter, Page
from san_console.gui.views.secrets_details import IdentityDetails
from san_console.gui.widgets.buttons import Button, enable
from san_console.gui.widgets.empty import EmptyState, TableCard
from san_console.gui.widgets.menus import add_action
from san_console.gui.widgets.problems import InlineProblem
from san_console.gui.widgets.table import TableView
from san_console.names.display import visible

PLACE_WORDS: Final[dict[str, str]] = {
    "keyring": "Keyring",
    "memory": "Memory, this run",
    "missing": "No secret",
}
PLACE_TONES: Final[dict[str, Tone]] = {"keyring": "good", "memory": "warning", "missing": "bad"}

_KEYRING_WORDS: Final[dict[str, str]] = {
    "locked": "The keyring is locked: its secrets cannot be used.",
    "missing": "There is no keyring on this computer.",
    "unknown": "The keyring has not answered yet.",
}


class SecretsPage(Page):
    """Identities in a table, the state of the keyring above it."""

    key = "secrets"
    title = "Secrets"
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
        self.model = ObjectTableModel(_COLUMNS)
        self.filter = FilterRow(
            self.model,
            self.tr("Filter identities"),
            [
                ("all", "All", None),
                ("findings", "To look at", lambda identity: bool(identity.findings)),
                ("missing", "No secret", lambda identity: identity.place == "missing"),
                ("unused", "Unused", lambda identity: not identity.used_by),
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
            "unlocked": f"{keyring.backend or 'keyring'}, unlocked",
            "memory": "kept in memory for this run",
            "locked": "the keyring is locked",
            "missing": "no keyring",
            "unknown": "keyring not looked at yet",
        }[keyring.state]
        found = sum(bool(identity.findings) for identity in identities)
        parts = [words.counted(len(identities), "identity", "identities")]
        if found:
            parts.append(f"{found} to look at")
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
                "Secrets are kept in memory, and are gone when the engine ends.",
                "",
                keyring.fix,
                ("Use the keyring again", lambda: self._use_memory(False)),
            )
            return
        fix = keyring.fix or "unlock it, or install GNOME Keyring or KWallet"
        actions = [
            ("Look again", self.renew),
            ("Keep in memory for this run", lambda: self._use_memory(True)),
        ]
        self.keyring_banner.say(
            _KEYRING_WORDS.get(keyring.state, _KEYRING_WORDS["unknown"]), "", fix, *actions
        )

    def _use_memory(self, use: bool) -> None:
        self.host.call("keyring.use_memory", UseMemory(use=use), owner=self)

    # identities

    def _current(self) -> Identity | None:
        item = self.table.current_object()
        return item if isinstance(item, Identity) else None

    def _chosen(self) -> None:
        count = len(self.table.selected_ids())
        one = "Select one identity"
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
        self.context.window.say(f"The identity {visible(identity.user, 64)} was {what}.", "good")
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
            text = "It is in use. Take it out of these log-in settings and targets first:"
        else:
            text = "Its secret is taken out of the keyring as well. Nothing uses it."
        Confirmation(
            f"Delete the identity {visible(identity.user, 64)}?",
            "Delete identity",
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
        add_action(menu, "Change…", self._change, icon="pencil", shortcut="F2")
        add_action(menu, "Test against a target…", self._test, icon="plug")
        add_action(menu, "Delete…", self._delete, icon="trash-2", shortcut="Del", danger=True)


def _used(identity: Identity) -> str:
    if not identity.used_by:
        return "nowhere"
    first = identity.used_by[0]
    more = len(identity.used_by) - 1
    return f"{first} and {words.counted(more, 'more place', 'more places')}" if more else first


_COLUMNS: Final = [
    Column("user", "CHAP name", lambda identity: identity.user, strong=True, width=170),
    Column(
        "place",
        "Secret",
        lambda identity: PLACE_WORDS.get(identity.place, identity.place),
        kind="state",
        tone=lambda identity: PLACE_TONES.get(identity.place, "muted"),
        width=150,
    ),
    Column(
        "uses",
        "Uses",
        lambda identity: f"{len(identity.used_by)}",
        sort=lambda identity: len(identity.used_by),
        right=True,
        width=64,
    ),
    Column(
        "used",
        "Used by",
        _used,
        tone=lambda identity: "text" if identity.used_by else "muted",
        tooltip=lambda identity: "\n".join(identity.used_by),
        width=280,
        stretch=True,
    ),
    Column(
        "findings",
        "To look at",
        lambda identity: words.counted(len(identity.findings), "finding") if identity.findings else "",
        sort=lambda identity: len(identity.findings),
        kind="tag",
        tone=lambda identity: "warning",
        tooltip=lambda identity: "\n".join(identity.findings),
        width=110,
    ),
    Column("note", "Note", lambda identity: identity.note, muted=True, width=210, stretch=True),
]
