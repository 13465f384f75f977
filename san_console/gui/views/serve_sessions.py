"""Who is logged in to a served target."""

from __future__ import annotations

from typing import Any

from PySide6.QtWidgets import QMenu

from san_console.api.methods import Disconnect
from san_console.api.serving_objects import LocalTarget, TargetSession
from san_console.gui import words
from san_console.gui.context import Context
from san_console.gui.dialogs.base import Confirmation
from san_console.gui.models.columns import Column
from san_console.gui.translation import translate
from san_console.gui.views.serve_table import TablePart
from san_console.gui.widgets.buttons import Button, enable
from san_console.gui.widgets.empty import EmptyState
from san_console.gui.widgets.menus import add_action
from san_console.names.display import visible


class ConnectedTab(TablePart):
    """Who is logged in to a target now."""

    def __init__(self, context: Context) -> None:
        super().__init__(
            context,
            self.tr("Sessions of initiators"),
            _session_columns(self),
            EmptyState(
                "users", self.tr("Nobody is connected"), self.tr("Initiators appear here when they log in.")
            ),
        )
        self.disconnect_button = Button(self.tr("Disconnect…"), self._disconnect, kind="danger", tip="Del")
        self.head.addWidget(self.disconnect_button)
        self.table.delete_asked.connect(self._disconnect)

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


def _session_columns(tab: ConnectedTab) -> list[Column]:
    def digests(session: TargetSession) -> str:
        found = [
            text
            for text, on in (
                (translate("serve_sessions", "header"), session.header_digest),
                (translate("serve_sessions", "data"), session.data_digest),
            )
            if on not in ("", "None")
        ]
        return ", ".join(found) or translate("serve_sessions", "none")

    return [
        Column(
            "initiator",
            translate("serve_sessions", "Initiator"),
            lambda one: (
                words.short_name(one.initiator)
                + (translate("serve_sessions", " (this computer)") if one.own else "")
            ),
            tooltip=lambda one: one.initiator,
            strong=True,
            elide_middle=True,
            width=150,
            stretch=True,
        ),
        Column("address", translate("serve_sessions", "From"), lambda one: one.address, mono=True, width=142),
        Column(
            "portal",
            translate("serve_sessions", "Portal"),
            lambda one: one.portal,
            mono=True,
            width=128,
            hidden=True,
        ),
        Column("auth", translate("serve_sessions", "Proved by"), lambda one: one.auth, muted=True, width=154),
        Column("digests", translate("serve_sessions", "Digests"), digests, muted=True, width=76, hidden=True),
        Column("luns", "LUNs", lambda one: ", ".join(map(str, one.luns)) or words.NONE, width=66),
        Column(
            "rate",
            translate("serve_sessions", "Throughput"),
            lambda one: words.rate(tab.rate_of(one)[0]) if tab.rate_of(one)[0] else words.NONE,
            sort=lambda one: tab.rate_of(one)[0],
            right=True,
            live=True,
            width=92,
        ),
        Column(
            "iops",
            "IOPS",
            lambda one: words.amount(tab.rate_of(one)[1]),
            sort=lambda one: tab.rate_of(one)[1],
            right=True,
            live=True,
            width=70,
        ),
        Column(
            "since",
            translate("serve_sessions", "Since"),
            lambda one: words.duration(tab.context.now() - one.logged_in_at) if one.logged_in_at else "",
            sort=lambda one: one.logged_in_at,
            right=True,
            muted=True,
            live=True,
            width=82,
        ),
        Column(
            "alias",
            translate("serve_sessions", "Alias"),
            lambda one: one.initiator_alias,
            width=100,
            hidden=True,
        ),
    ]
