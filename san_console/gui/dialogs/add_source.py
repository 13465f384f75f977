"""A portal or an iSNS server to look for targets at; with CHAP where the discovery itself asks for it."""

from __future__ import annotations

from typing import Final, Literal

from PySide6.QtWidgets import QLineEdit, QWidget

from san_console.api.initiator_objects import Source
from san_console.api.methods import AddSource, AddTarget
from san_console.api.problems import Problem
from san_console.gui.context import Context
from san_console.gui.dialogs.base import BaseDialog
from san_console.gui.shell.login_form import IdentityField
from san_console.gui.translation import QT_TRANSLATE_NOOP, translate, translated
from san_console.gui.widgets.labels import PlainLabel
from san_console.names.errors import NamesError
from san_console.names.iscsi_name import normalise
from san_console.names.portal import ISNS_PORT, Portal

Kind = Literal["sendtargets", "isns"]

_TEXTS: Final[dict[Kind, tuple[str, str, str]]] = {
    "sendtargets": (
        QT_TRANSLATE_NOOP("Table", "Add a portal"),
        QT_TRANSLATE_NOOP("Table", "Asks one portal of the storage for all its targets (SendTargets)."),
        QT_TRANSLATE_NOOP("Table", "10.20.0.11, san.example:3260 or [fd00::5]"),
    ),
    "isns": (
        QT_TRANSLATE_NOOP("Table", "Add an iSNS server"),
        QT_TRANSLATE_NOOP("Table", "Asks a name server for the targets that this computer may see."),
        QT_TRANSLATE_NOOP("Table", "isns.example or 10.20.0.5:3205"),
    ),
}


def _field(name: str, placeholder: str) -> QLineEdit:
    field = QLineEdit()
    field.setPlaceholderText(placeholder)
    field.setAccessibleName(name)
    field.setMaxLength(1024)
    return field


class AddSourceDialog(BaseDialog):
    def __init__(self, context: Context, kind: Kind, parent: QWidget | None = None) -> None:
        title, text, example = _TEXTS[kind]
        super().__init__(translated(title), self.tr("Discover"), parent=parent)
        self._context = context
        self._kind: Kind = kind
        self.content.addWidget(PlainLabel(translated(text), style="muted", wrap=True))
        self.address = _field(self.tr("Address"), translated(example))
        self.content.addWidget(self.address)
        self._identity = IdentityField(self.tr("CHAP for the discovery"), self.tr("No CHAP"), context.host)
        self._mutual = IdentityField(
            self.tr("The portal proves itself (mutual)"), self.tr("Not asked for"), context.host
        )
        if kind == "sendtargets":
            self.content.addWidget(self._identity)
            self.content.addWidget(self._mutual)
        for field in (self._identity, self._mutual):
            # A source is asked again and again, so what it logs in with has to be kept: no typed secrets
            # here.
            field.offer_typed(False)
        self.address.textChanged.connect(self._check)
        self._check("")

    def _check(self, text: str) -> None:
        self.accept_button.setEnabled(bool(text.strip()))

    def do(self) -> None:
        port = {"isns": ISNS_PORT}.get(self._kind)
        text = self.address.text().strip()
        try:
            portal = Portal.parse(text, port) if port else Portal.parse(text)
        except NamesError as error:
            self.finished_badly(_refused(error))
            return
        params = AddSource(
            kind=self._kind,
            address=str(portal),
            identity_id=self._identity.identity_id,
            mutual_identity_id=self._mutual.identity_id,
        )
        self._context.host.call("sources.add", params, self._added, self.finished_badly, owner=self)

    def _added(self, source: Source) -> None:
        self._context.window.go("discover", source.id)
        self.finished_ok()


class AddTargetDialog(BaseDialog):
    """A target typed in by hand: name and portals."""

    def __init__(self, context: Context, parent: QWidget | None = None) -> None:
        super().__init__(self.tr("Add a target by hand"), self.tr("Add target"), width_px=560, parent=parent)
        self._context = context
        text = self.tr("For a target that no portal and no name server shows.")
        self.content.addWidget(PlainLabel(translated(text), style="muted", wrap=True))
        self.name = _field(self.tr("Target name"), "iqn.2026-11.org.example:name")
        self.name.setProperty("mono", True)
        self.portals = _field(self.tr("Portals"), "10.20.0.11, 10.21.0.11:3260")
        for title, field in (
            (self.tr("Target name"), self.name),
            (self.tr("Portals, with commas between them"), self.portals),
        ):
            self.content.addWidget(PlainLabel(title, style="small"))
            self.content.addWidget(field)

    def do(self) -> None:
        try:
            name = normalise(self.name.text().strip())
            portals = [
                str(Portal.parse(part.strip())) for part in self.portals.text().split(",") if part.strip()
            ]
        except NamesError as error:
            self.finished_badly(_refused(error))
            return
        if not portals:
            self.finished_badly(
                Problem(
                    code="bad-request",
                    message=self.tr("A target needs a portal at least."),
                    side=self.tr("this window"),
                )
            )
            return
        params = AddTarget(name=name, portals=portals)
        self._context.host.call("targets.add", params, self.finished_ok, self.finished_badly, owner=self)


def _refused(error: NamesError) -> Problem:
    return Problem(
        code="bad-request",
        message=str(error),
        side=translate("add_source", "this window, before anything was sent"),
    )
