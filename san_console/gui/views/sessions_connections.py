"""The connections of a session, and what the log-in settled about the session as a whole."""

from __future__ import annotations

import time
from typing import Any

from PySide6.QtWidgets import QWidget

from san_console.api.initiator_objects import Connection, Session
from san_console.gui import words
from san_console.gui.context import Context
from san_console.gui.models.both_ends import target_end
from san_console.gui.models.columns import Column
from san_console.gui.models.object_model import ObjectTableModel
from san_console.gui.states import connection_state, connection_up
from san_console.gui.views.page import DetailTab
from san_console.gui.views.sessions_words import since_text, state_tone, state_word
from san_console.gui.widgets.buttons import Button
from san_console.gui.widgets.cards import Line, horizontal, vertical
from san_console.gui.widgets.empty import EmptyState
from san_console.gui.widgets.key_values import KeyValues, Pair
from san_console.gui.widgets.labels import PlainLabel
from san_console.gui.widgets.table import TableView
from san_console.gui.widgets.table_stack import TableStack


class ConnectionsTab(DetailTab):
    """Facts above, one row per connection below."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._session: Session | None = None
        self.model = ObjectTableModel(self._columns(), key=lambda connection: str(connection.cid))
        self.facts = KeyValues(columns=3)
        self.table = TableView(
            self.model,
            self.tr("Connections of the session"),
            preferences=context.preferences,
            layout_key="sessions.connections",
            sort_by="cid",
        )
        outer = vertical(self, gap=0)
        top = vertical(margin=14, gap=0)
        top.addWidget(self.facts)
        self.other_end = QWidget()
        row = horizontal(self.other_end, gap=12)
        row.setContentsMargins(0, 8, 0, 0)
        self.end_button = Button(self.tr("Other end"), self._show_other_end, icon="server")
        self.end_button.setAccessibleName(self.tr("Show the other end of the session"))
        row.addWidget(self.end_button)
        row.addWidget(PlainLabel(self.tr("This computer serves the target, too."), style="muted"), 1)
        self.other_end.hide()
        top.addWidget(self.other_end)
        outer.addLayout(top)
        outer.addWidget(Line())
        self.empty = EmptyState("unplug", self.tr("No connection"), self.tr("The session is not logged in."))
        card = TableStack(self.table, self.empty)
        outer.addWidget(card, 1)

    def _columns(self) -> list[Column]:
        now = self.context.now
        return [
            Column(
                "state",
                self.tr("State"),
                connection_state,
                kind="state",
                tone=lambda c: "good" if connection_up(c) else "warning",
                width=124,
            ),
            Column("cid", "CID", lambda c: str(c.cid), sort=lambda c: c.cid, width=72),
            Column(
                "local",
                self.tr("From this computer"),
                lambda c: c.local,
                mono=True,
                width=210,
                elide_middle=True,
            ),
            Column(
                "remote",
                self.tr("To the portal"),
                lambda c: c.remote,
                mono=True,
                stretch=True,
                elide_middle=True,
            ),
            Column("header_digest", self.tr("Header digest"), lambda c: c.header_digest, width=120),
            Column("data_digest", self.tr("Data digest"), lambda c: c.data_digest, width=110),
            Column(
                "since",
                self.tr("Connected for"),
                lambda c: words.duration(now() - c.connected_at) if c.connected_at else words.NONE,
                sort=lambda c: c.connected_at or 0.0,
                right=True,
                muted=True,
                live=True,
                width=130,
            ),
        ]

    def show_object(self, item: Any) -> None:
        session = self._session = item if isinstance(item, Session) else None
        self._show_end()
        connections: list[Connection] = list(session.connections) if session is not None else []
        if list(self.model.objects()) != connections:
            self.model.set_objects(connections)
        self.facts.setVisible(session is not None)
        if session is not None:
            self.facts.show_pairs(self._pairs(session))

    def _show_end(self) -> None:
        there = self._session is not None and target_end(self.host, self._session) is not None
        self.other_end.setVisible(there)

    def _show_other_end(self) -> None:
        other = target_end(self.host, self._session) if self._session is not None else None
        if other is not None:
            self.context.window.go("serve", other.id)

    def sampled(self, item: Any) -> None:
        self._show_end()
        if isinstance(item, Session):
            self.facts.show_pairs(self._pairs(item))
        self.model.refresh_live()

    def _pairs(self, session: Session) -> list[Pair]:
        now = self.context.now()
        begun = session.logged_in_at
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(begun)) if begun else words.NONE
        troubles = session.digest_errors + session.command_errors
        return [
            Pair(
                self.tr("State"), f"{state_word(session)} · {since_text(session, now)}", state_tone(session)
            ),
            Pair(self.tr("Target"), session.target, mono=True),
            Pair(self.tr("Portal"), session.portal, mono=True),
            Pair(self.tr("Authentication"), session.auth),
            Pair("ISID", session.isid or words.NONE, mono=True),
            Pair("TSIH", str(session.tsih) if session.tsih else words.NONE, mono=True),
            Pair(self.tr("Portal group"), str(session.tpgt) if session.tpgt is not None else words.NONE),
            Pair(self.tr("Logged in since"), since),
            Pair(self.tr("Reconnects"), str(session.reconnects), "warning" if session.reconnects else None),
            Pair(
                self.tr("Digest errors"), str(session.digest_errors), "bad" if session.digest_errors else None
            ),
            Pair(self.tr("Command errors"), str(session.command_errors), "warning" if troubles else None),
            Pair(
                self.tr("Favourite"),
                self.tr("yes, logs in again by itself") if session.login.favourite else self.tr("no"),
            ),
        ]
