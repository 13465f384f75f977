"""Who is logged in to a served target."""

from __future__ import annotations

from typing import Any, Final

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QMenu, QWidget

from san_console.api.initiator_objects import Session
from san_console.api.methods import Disconnect
from san_console.api.serving_objects import LocalTarget, TargetConnection, TargetSession
from san_console.gui import words
from san_console.gui.context import Context
from san_console.gui.dialogs.base import Confirmation
from san_console.gui.models.both_ends import initiator_end
from san_console.gui.models.object_model import ObjectTableModel
from san_console.gui.views.serve_sessions_columns import (
    connection_columns,
    connections_words,
    session_columns,
)
from san_console.gui.views.serve_table import TablePart
from san_console.gui.widgets.buttons import Button, enable
from san_console.gui.widgets.cards import Line, horizontal, vertical
from san_console.gui.widgets.empty import EmptyState
from san_console.gui.widgets.labels import ElidedLabel
from san_console.gui.widgets.menus import add_action
from san_console.gui.widgets.table import TableView
from san_console.names.display import visible

CONNECTIONS_HEIGHT_PX: Final = 172  # a header and four rows; more are scrolled to


class ConnectedTab(TablePart):
    """Who is logged in to a target now."""

    def __init__(self, context: Context) -> None:
        super().__init__(
            context,
            self.tr("Sessions of initiators"),
            session_columns(self.rate_of, context.now),
            EmptyState(
                "users", self.tr("Nobody is connected"), self.tr("Initiators appear here when they log in.")
            ),
        )
        self.disconnect_button = Button(self.tr("Disconnect…"), self._disconnect, kind="danger", tip="Del")
        self.end_button = Button(self.tr("Other end"), self._show_other_end, icon="link")
        self.end_button.setAccessibleName(self.tr("Show the other end of the session"))
        self.head.addWidget(self.end_button)
        self.head.addWidget(self.disconnect_button)
        self.table.delete_asked.connect(self._disconnect)
        self.connections = ObjectTableModel(connection_columns(context.now), key=lambda one: str(one.cid))
        self.connection_table = TableView(
            self.connections,
            self.tr("Connections of the session"),
            preferences=context.preferences,
            layout_key="serve.connections",
        )
        self.connection_table.fill_menu = self._connection_menu
        self.connection_table.delete_asked.connect(self._drop_connection)
        self.connection_table.setFixedHeight(CONNECTIONS_HEIGHT_PX)
        self.connections_title = ElidedLabel("", style="muted", elide=Qt.TextElideMode.ElideRight)
        self.drop_button = Button(self.tr("Drop connection…"), self._drop_connection, kind="danger")
        below = horizontal(margin=8, gap=8)
        below.addWidget(self.connections_title, 1)
        below.addWidget(self.drop_button)
        self.below = QWidget()
        column = vertical(self.below, gap=0)
        column.addWidget(Line())
        column.addLayout(below)
        column.addWidget(Line())
        column.addWidget(self.connection_table)
        layout = self.layout()
        assert layout is not None  # the table's
        layout.addWidget(self.below)

    def rate_of(self, session: TargetSession) -> tuple[float, float]:
        """Bytes per second and operations per second."""
        one = self.host.replica.newest_sample(session.id)
        if one is None:
            return (0.0, 0.0)
        return (one.read_bytes_per_s + one.write_bytes_per_s, one.read_iops + one.write_iops)

    def show_object(self, item: Any) -> None:
        self.target = item if isinstance(item, LocalTarget) else None
        wanted = self.target.id if self.target is not None else ""
        sessions = [one for one in self.host.values("target_sessions") if one.target == wanted]
        self.model.set_objects(sessions)
        self.table.select_first()
        self.note.setText(words.counted(len(sessions), "session") if sessions else "")
        self.chosen()

    def sampled(self, item: Any) -> None:
        self.model.refresh_live()

    def chosen(self) -> None:
        count = len(self.table.selected_ids())
        self.disconnect_button.setText(
            self.tr("Disconnect {count}…").format(count=count) if count > 1 else self.tr("Disconnect…")
        )
        enable(self.disconnect_button, bool(count), self.tr("Select a session"))
        session = self.session()
        enable(
            self.end_button,
            self._other_end() is not None,
            self.tr("Only for sessions of this console's own initiator"),
        )
        self.below.setVisible(session is not None)
        connections = session.connections if session is not None else []
        self.connections.set_objects(connections)
        self.connection_table.select_first()
        self.connections_title.setText(connections_words(session) if session is not None else "")
        enable(self.drop_button, len(connections) > 1, self.tr("Its only connection: disconnect the session"))

    def session(self) -> TargetSession | None:
        """The selected one."""
        found = self.table.current_object()
        return found if isinstance(found, TargetSession) else None

    def _other_end(self) -> Session | None:
        session = self.session()
        return initiator_end(self.host, session) if session is not None else None

    def _show_other_end(self) -> None:
        other = self._other_end()
        if other is not None:
            self.context.window.go("sessions", other.id)

    def _connection_menu(self, menu: QMenu) -> None:
        if len(self.connections) > 1:
            add_action(menu, self.tr("Drop connection…"), self._drop_connection, icon="unplug", danger=True)

    def _drop_connection(self) -> None:
        session, connection = self.session(), self.connection_table.current_object()
        if session is None or not isinstance(connection, TargetConnection) or len(self.connections) < 2:
            return

        def drop(dialog: Confirmation) -> None:
            self.host.call(
                "serving.disconnect",
                Disconnect(id=session.id, cid=connection.cid),
                lambda _nothing: dialog.finished_ok(),
                dialog.finished_badly,
                owner=dialog,
            )

        Confirmation(
            self.tr("Drop connection {cid} of {initiator}?").format(
                cid=connection.cid, initiator=visible(words.short_name(session.initiator), 120)
            ),
            self.tr("Drop connection"),
            drop,
            text=self.tr(
                "The session goes on over its other connections. Commands under way on this one are cut off, "
                "unless the initiator takes them over."
            ),
            parent=self,
        ).open()

    def fill_menu(self, menu: QMenu) -> None:
        if self.table.selected_ids():
            add_action(
                menu, self.tr("Disconnect…"), self._disconnect, icon="unplug", shortcut="Del", danger=True
            )

    def _disconnect(self) -> None:
        sessions: list[TargetSession] = self.table.selected_objects()
        if not sessions:
            return
        lines = []
        for session in sessions:
            numbers = ", ".join(str(number) for number in session.luns) or self.tr("none")
            rate, _iops = self.rate_of(session)
            moving = self.tr(", {rate} now").format(rate=words.rate(rate)) if rate else ""
            lines.append(
                visible(
                    self.tr("{initiator} from {address}: LUNs {numbers}{moving}").format(
                        initiator=session.initiator, address=session.address, numbers=numbers, moving=moving
                    )
                )
            )

        def disconnect(dialog: Confirmation) -> None:
            left = len(sessions)

            def one_done(_result: object) -> None:
                nonlocal left
                left -= 1
                if not left:
                    dialog.finished_ok()

            for session in sessions:
                self.host.call(
                    "serving.disconnect",
                    Disconnect(id=session.id),
                    one_done,
                    dialog.finished_badly,
                    owner=dialog,
                )

        count = words.counted(len(sessions), "initiator")
        Confirmation(
            self.tr("Disconnect {count}?").format(count=count),
            self.tr("Disconnect {count}").format(count=count),
            disconnect,
            text=self.tr(
                "Its commands are cut off. Most initiators log in again by themselves; "
                "take the mapping away to keep one out."
            ),
            consequences=lines,
            parent=self,
        ).open()
