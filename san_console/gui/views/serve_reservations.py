"""Who has reserved the LUNs of a served target, or registered a key for it (SPC-4 §5.13)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from PySide6.QtWidgets import QMenu

from san_console.api.methods import LunOf
from san_console.api.serving_objects import LocalTarget, Registration, Reservation
from san_console.gui import words
from san_console.gui.context import Context
from san_console.gui.dialogs.base import Confirmation
from san_console.gui.models.columns import Column
from san_console.gui.theme.tokens import Tone
from san_console.gui.translation import translate
from san_console.gui.views.serve_table import TablePart
from san_console.gui.widgets.buttons import Button, enable
from san_console.gui.widgets.empty import EmptyState
from san_console.gui.widgets.menus import add_action
from san_console.names.display import visible


@dataclass(frozen=True, slots=True)
class Row:
    """One registration, with the reservation of its LUN."""

    reservation: Reservation
    registration: Registration

    @property
    def id(self) -> str:
        one = self.registration
        return f"{self.reservation.id}\n{one.initiator}\n{one.isid}\n{one.target_port}"


def rows_of(reservations: list[Reservation]) -> list[Row]:
    """The registrations of all LUNs; the holder of a LUN before the others."""
    return [
        Row(reservation, registration)
        for reservation in sorted(reservations, key=lambda one: (one.lun_name or one.lun_id).casefold())
        for registration in sorted(reservation.registrations, key=lambda one: not one.holder)
    ]


class ReservationsTab(TablePart):
    """Registrations of initiators, the reservations that they hold, and the way to clear them."""

    def __init__(self, context: Context) -> None:
        super().__init__(
            context,
            self.tr("Reservations and registrations"),
            _columns(),
            EmptyState(
                "key-round",
                self.tr("No LUN is reserved"),
                self.tr("Cluster software registers keys here, and reserves LUNs for one of its nodes."),
            ),
        )
        self.clear_button = Button(self.tr("Clear reservations…"), self._clear, kind="danger", tip="Del")
        self.head.addWidget(self.clear_button)
        self.table.delete_asked.connect(self._clear)

    def show_object(self, item: Any) -> None:
        self.target = item if isinstance(item, LocalTarget) else None
        wanted = self.target.id if self.target is not None else ""
        found = [one for one in self.host.values("reservations") if one.target == wanted]
        self.model.set_objects(rows_of(found))
        self.table.select_first()
        held = sum(bool(one.type) for one in found)
        self.note.setText(
            self.tr("{held} reserved, {luns} with registrations").format(
                held=words.counted(held, "LUN"), luns=len(found)
            )
            if found
            else ""
        )
        self.chosen()

    def chosen(self) -> None:
        enable(self.clear_button, self.table.current_object() is not None, self.tr("Select a registration"))

    def fill_menu(self, menu: QMenu) -> None:
        if self.table.current_object() is not None:
            add_action(
                menu, self.tr("Clear reservations…"), self._clear, icon="trash-2", shortcut="Del", danger=True
            )

    def _clear(self) -> None:
        row = self.table.current_object()
        if not isinstance(row, Row):
            return
        reservation = row.reservation
        name = reservation.lun_name or reservation.lun_id

        def clear(dialog: Confirmation) -> None:
            self.host.call(
                "serving.clear_reservation",
                LunOf(target=reservation.target, lun_id=reservation.lun_id),
                lambda _nothing: dialog.finished_ok(),
                dialog.finished_badly,
                owner=dialog,
            )

        Confirmation(
            self.tr("Clear the reservations of {name}?").format(name=visible(name)),
            self.tr("Clear reservations"),
            clear,
            text=self.tr(
                "All registrations of this LUN are dropped too. Cluster nodes that rely on them lose their "
                "protection against each other, and may write at the same time: clear only what is stale."
            ),
            consequences=[_loss(one) for one in reservation.registrations],
            parent=self,
        ).open()


def _loss(one: Registration) -> str:
    """What an initiator loses, for the question before it is done."""
    if one.holder:
        text = translate("serve_reservations", "{initiator} loses its reservation")
    else:
        text = translate("serve_reservations", "{initiator} loses its registration")
    if one.session_ids:
        text = translate("serve_reservations", "{loss}; it is connected now").format(loss=text)
    return visible(text.format(initiator=one.initiator))


def _role(row: Row) -> str:
    if not row.registration.holder:
        return translate("serve_reservations", "registered")
    return row.reservation.type or translate("serve_reservations", "holder")


def _presence(row: Row) -> str:
    if row.registration.session_ids:
        return translate("serve_reservations", "connected")
    return translate("serve_reservations", "away")


def _presence_tone(row: Row) -> Tone:
    return "good" if row.registration.session_ids else "warning"


def _columns() -> list[Column]:
    return [
        Column(
            "lun",
            "LUN",
            lambda row: row.reservation.lun_name or row.reservation.lun_id,
            strong=True,
            width=96,
        ),
        Column(
            "initiator",
            translate("serve_reservations", "Initiator"),
            lambda row: words.short_name(row.registration.initiator),
            tooltip=lambda row: row.registration.initiator,
            elide_middle=True,
            width=120,
            stretch=True,
        ),
        Column(
            "role",
            translate("serve_reservations", "Reservation"),
            _role,
            tooltip=_role,
            kind="tag",
            tone=lambda row: "accent" if row.registration.holder else "muted",
            width=230,
        ),
        Column(
            "key",
            translate("serve_reservations", "Key"),
            lambda row: row.registration.key or words.NONE,
            mono=True,
            width=140,
        ),
        Column(
            "presence",
            translate("serve_reservations", "Now"),
            _presence,
            kind="state",
            tone=_presence_tone,
            width=112,
        ),
        Column(
            "aptpl",
            translate("serve_reservations", "APTPL"),
            lambda row: (
                translate("serve_reservations", "yes")
                if row.reservation.aptpl
                else translate("serve_reservations", "no")
            ),
            tooltip=lambda row: (
                translate("serve_reservations", "Kept through a restart")
                if row.reservation.aptpl
                else translate("serve_reservations", "Gone after a restart")
            ),
            muted=True,
            width=68,
        ),
        Column(
            "isid",
            translate("serve_reservations", "ISID"),
            lambda row: row.registration.isid or words.NONE,
            mono=True,
            width=110,
            hidden=True,
        ),
        Column(
            "port",
            translate("serve_reservations", "Group"),
            lambda row: str(row.registration.target_port or words.NONE),
            sort=lambda row: row.registration.target_port,
            right=True,
            width=60,
            hidden=True,
        ),
    ]
