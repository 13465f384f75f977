"""How to log in: CHAP identities, digests, interface. Used by Quick Connect and by the pages' log-in
settings.
"""

from __future__ import annotations

from typing import Any, Final

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QCheckBox, QComboBox, QGridLayout, QLineEdit, QWidget

from san_console.api.initiator_objects import DigestPolicy, LoginSettings
from san_console.api.methods import ChapSecrets
from san_console.gui.bridge.host import QtHost
from san_console.gui.icons import icon
from san_console.gui.theme.theme import tokens
from san_console.gui.translation import QT_TRANSLATE_NOOP, translated
from san_console.gui.widgets.cards import vertical
from san_console.gui.widgets.labels import PlainLabel
from san_console.names.display import visible

NEW_IDENTITY: Final = "\x00new"
"""Data of the entry that opens the fields for a name and a secret; no id of an identity can be equal."""

DIGESTS: Final[tuple[tuple[str, DigestPolicy, DigestPolicy], ...]] = (
    (QT_TRANSLATE_NOOP("Table", "CRC32C if offered"), "prefer", "prefer"),
    (QT_TRANSLATE_NOOP("Table", "CRC32C for headers if offered"), "prefer", "none"),
    (QT_TRANSLATE_NOOP("Table", "CRC32C required"), "require", "require"),
    (QT_TRANSLATE_NOOP("Table", "None"), "none", "none"),
)


class IdentityField(QWidget):
    """An identity from the list, or a name and a secret typed here for this log-in only."""

    changed = Signal()

    def __init__(self, title: str, none_text: str, host: QtHost, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._host = host
        self._none_text = none_text
        self._offers_typed = True
        box = vertical(self, gap=4)
        label = PlainLabel(title, style="small")
        self.choice = QComboBox()
        self.choice.setAccessibleName(title)
        label.setBuddy(self.choice)
        self.user = QLineEdit()
        self.user.setPlaceholderText(self.tr("CHAP name"))
        self.user.setAccessibleName(self.tr("{title}: name").format(title=title))
        self.secret = QLineEdit()
        self.secret.setPlaceholderText(self.tr("Secret, 12 to 16 characters"))
        self.secret.setAccessibleName(self.tr("{title}: secret").format(title=title))
        self.secret.setEchoMode(QLineEdit.EchoMode.Password)
        for widget in (label, self.choice, self.user, self.secret):
            box.addWidget(widget)
        self.choice.currentIndexChanged.connect(self._chosen)
        self.user.textChanged.connect(self.changed)
        self.secret.textChanged.connect(self.changed)
        self.fill()

    def fill(self) -> None:
        """List the identities that there are now, keeping the choice."""
        chosen = self.identity_choice()
        self.choice.blockSignals(True)
        self.choice.clear()
        self.choice.addItem(self._none_text, "")
        key = icon("key-round", tokens().text)
        for identity in sorted(self._host.values("identities"), key=lambda one: one.user.lower()):
            note = {
                "keyring": self.tr("from the keyring"),
                "memory": self.tr("in memory"),
                "missing": self.tr("secret missing"),
            }
            text = f"{visible(identity.user, 60)}   {note[identity.place]}"
            self.choice.addItem(key, text, identity.id)
        if self._offers_typed:
            self.choice.addItem(
                icon("plus", tokens().text), self.tr("Type a name and a secret…"), NEW_IDENTITY
            )
        self.choose(chosen)
        self.choice.blockSignals(False)
        self._chosen()

    def offer_typed(self, on: bool) -> None:
        """Whether a name and a secret may be typed here instead of choosing an identity."""
        self._offers_typed = on
        self.fill()

    def identity_choice(self) -> str:
        data = self.choice.currentData()
        return str(data) if data else ""

    def choose(self, identity_id: str) -> None:
        self.choice.setCurrentIndex(max(self.choice.findData(identity_id), 0))

    @property
    def typed(self) -> bool:
        return self.identity_choice() == NEW_IDENTITY

    @property
    def identity_id(self) -> str:
        return "" if self.typed else self.identity_choice()

    def chap_user(self) -> str:
        """The CHAP name that will be used; empty for none."""
        if self.typed:
            return self.user.text().strip()
        identity = self._host.get("identities", self.identity_id)
        return identity.user if identity is not None else ""

    def _chosen(self) -> None:
        for field in (self.user, self.secret):
            field.setVisible(self.typed)
        self.changed.emit()

    def forget(self) -> None:
        """Leave no secret in a field that is not shown any more."""
        self.user.clear()
        self.secret.clear()


class LoginForm(QWidget):
    """All that a log-in takes beside target and portal."""

    changed = Signal()

    def __init__(self, host: QtHost, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._host = host
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setHorizontalSpacing(14)
        grid.setVerticalSpacing(10)
        self.identity = IdentityField(self.tr("CHAP identity"), self.tr("No CHAP"), host)
        self.mutual = IdentityField(
            self.tr("The target proves itself (mutual)"), self.tr("Not asked for"), host
        )
        self.digests = _choice(
            self.tr("Header and data digest"), [(translated(text), (h, d)) for text, h, d in DIGESTS]
        )
        self.interface = _choice(self.tr("Interface"), [])
        self.favourite = QCheckBox(self.tr("Remember as favourite"))
        self.favourite.setToolTip(self.tr("Log in again when the engine starts"))
        # Where one field grows, its neighbour stays in line with its first row.
        top = Qt.AlignmentFlag.AlignTop
        grid.addWidget(self.identity, 0, 0, 1, 1, top)
        grid.addWidget(self.mutual, 0, 1, 1, 1, top)
        grid.addWidget(_titled(self.digests), 1, 0, 1, 1, top)
        grid.addWidget(_titled(self.interface), 1, 1, 1, 1, top)
        grid.addWidget(self.favourite, 2, 0)
        grid.setColumnStretch(0, 1)
        grid.setColumnStretch(1, 1)
        for field in (self.identity, self.mutual):
            field.changed.connect(self._identity_changed)
        for box in (self.digests, self.interface):
            box.currentIndexChanged.connect(lambda _number: self.changed.emit())
        self.favourite.toggled.connect(lambda _on: self.changed.emit())
        self.fill()

    def fill(self) -> None:
        """Take the identities and interfaces that there are now."""
        self.identity.fill()
        self.mutual.fill()
        chosen = self.interface.currentData()
        self.interface.blockSignals(True)
        self.interface.clear()
        self.interface.addItem(self.tr("Chosen by the system"), "")
        for one in self._host.values("interfaces"):
            for address in one.addresses:
                text = self.tr("{id} · {address} · MTU {mtu}").format(
                    id=visible(one.id, 40), address=address, mtu=one.mtu
                )
                self.interface.addItem(
                    text if one.up else self.tr("{text} · down").format(text=text), address
                )
        self.interface.setCurrentIndex(max(self.interface.findData(chosen), 0))
        self.interface.blockSignals(False)

    def show_settings(self, login: LoginSettings) -> None:
        self.fill()
        self.identity.choose(login.identity_id)
        self.mutual.choose(login.mutual_identity_id)
        wanted = (login.header_digest, login.data_digest)
        at = next((n for n, (_text, h, d) in enumerate(DIGESTS) if (h, d) == wanted), 0)
        self.digests.setCurrentIndex(at)
        self.interface.setCurrentIndex(max(self.interface.findData(login.source_address), 0))
        self.favourite.setChecked(login.favourite)

    def settings(self) -> LoginSettings:
        _text, header, data = DIGESTS[max(self.digests.currentIndex(), 0)]
        return LoginSettings(
            identity_id=self.identity.identity_id,
            mutual_identity_id=self.mutual.identity_id,
            header_digest=header,
            data_digest=data,
            source_address=str(self.interface.currentData() or ""),
            favourite=self.favourite.isChecked(),
        )

    def secrets(self) -> ChapSecrets | None:
        """What was typed here. None where identities from the list are used."""
        if not self.identity.typed:
            return None
        chap = ChapSecrets(user=self.identity.chap_user(), secret=self.identity.secret.text())
        if self.mutual.typed:
            chap.mutual_user = self.mutual.chap_user()
            chap.mutual_secret = self.mutual.secret.text()
        return chap

    def complaint(self) -> str:
        """What is missing or cannot be; empty when the form can be sent."""
        for field, title in ((self.identity, "CHAP"), (self.mutual, self.tr("mutual CHAP"))):
            if field.typed and not field.chap_user():
                return self.tr("The {title} name is missing.").format(title=title)
            if field.typed and not field.secret.text():
                return self.tr("The {title} secret is missing.").format(title=title)
        if self.mutual.identity_choice() and not self.identity.identity_choice():
            return self.tr("Mutual CHAP needs a CHAP identity of this computer as well.")
        if self.mutual.typed and not self.identity.typed:
            return self.tr(
                "A typed mutual secret goes with a typed CHAP secret; save an identity for it on Secrets."
            )
        if self.mutual.typed and self.mutual.secret.text() == self.identity.secret.text():
            return self.tr("The two directions must not have the same secret (RFC 7143 §9.2.1).")
        return ""

    def forget(self) -> None:
        self.identity.forget()
        self.mutual.forget()

    def _identity_changed(self) -> None:
        self.changed.emit()


def _choice(name: str, items: list[tuple[str, Any]]) -> QComboBox:
    box = QComboBox()
    box.setAccessibleName(name)
    box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
    box.setMinimumContentsLength(16)
    for text, data in items:
        box.addItem(text, data)
    return box


def _titled(box: QComboBox) -> QWidget:
    holder = QWidget()
    inside = vertical(holder, gap=4)
    label = PlainLabel(box.accessibleName(), style="small")
    label.setBuddy(box)
    inside.addWidget(label)
    inside.addWidget(box)
    return holder
