"""Make or change a CHAP identity: name, secret (typed or generated), and what the rules say of both."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Final

from PySide6.QtCore import QByteArray, QMimeData, QTimer
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QApplication, QComboBox, QFormLayout, QLineEdit, QWidget

from san_console.api.engine_objects import Identity
from san_console.api.methods import SaveIdentity
from san_console.gui.context import Context
from san_console.gui.dialogs.base import BaseDialog
from san_console.gui.theme.tokens import CONTROL_HEIGHT_PX, Tone
from san_console.gui.widgets.buttons import Button, enable
from san_console.gui.widgets.cards import Frame, clear, horizontal, vertical
from san_console.gui.widgets.labels import PlainLabel
from san_console.gui.widgets.state import Dot
from san_console.names.credentials import (
    PEER_RULES,
    Secret,
    SecretFinding,
    check_secret,
    check_user,
    generate_secret,
    parse_secret,
)
from san_console.names.display import visible
from san_console.names.errors import InvalidSecret

CLIPBOARD_S: Final = 60
"""Time to paste a generated secret into the other side's form; then it leaves the clipboard."""

_FINDING_TONES: Final[dict[str, Tone]] = {"error": "bad", "warning": "warning"}


class IdentityDialog(BaseDialog):
    """`identity` None makes a new one. The secret of an old one is never shown; an empty field keeps it."""

    def __init__(
        self,
        context: Context,
        identity: Identity | None = None,
        on_saved: Callable[[Identity], object] | None = None,
        *,
        random: Callable[[int], bytes] = os.urandom,
        parent: QWidget | None = None,
    ) -> None:
        title = (
            self.tr("New CHAP identity")
            if identity is None
            else self.tr("Change {user}").format(user=visible(identity.user, 64))
        )
        super().__init__(
            title,
            self.tr("Create identity") if identity is None else self.tr("Save"),
            width_px=560,
            parent=parent,
        )
        self._context = context
        self._identity = identity
        self._on_saved = on_saved
        self._random = random
        self._generated: Secret | None = None
        self._copied = False
        form = QFormLayout()
        form.setHorizontalSpacing(14)
        form.setVerticalSpacing(10)
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        self.user = QLineEdit(identity.user if identity is not None else "")
        self.note = QLineEdit(identity.note if identity is not None else "")
        self.note.setPlaceholderText(self.tr("What it is for"))
        self.secret = QLineEdit()
        self.secret.setEchoMode(QLineEdit.EchoMode.Password)
        if identity is not None:
            self.secret.setPlaceholderText(self.tr("Leave empty to keep the secret as it is"))
        self.peer = QComboBox()
        for key, rule in PEER_RULES.items():
            self.peer.addItem(self.tr("RFC 7143, any product") if key == "rfc7143" else rule.title, key)
        self.generate_button = Button(
            self.tr("Generate"),
            self.generate,
            icon="dices",
            tip=self.tr("16 characters, 96 bits: every product takes them"),
        )
        self.copy_button = Button(self.tr("Copy once"), self._copy, icon="copy")
        secret_row = horizontal(gap=8)
        secret_row.addWidget(self.secret, 1)
        secret_row.addWidget(self.generate_button)
        secret_row.addWidget(self.copy_button)
        holder = QWidget()
        holder.setLayout(secret_row)
        holder.setFixedHeight(CONTROL_HEIGHT_PX + 2)
        fields: tuple[tuple[str, QWidget, QWidget], ...] = (
            (self.tr("CHAP name"), self.user, self.user),
            (self.tr("Secret"), holder, self.secret),
            (self.tr("Other side"), self.peer, self.peer),
            (self.tr("Note"), self.note, self.note),
        )
        for label, shown, named in fields:
            named.setAccessibleName(label)
            form.addRow(PlainLabel(label, style="muted"), shown)
        self.content.addLayout(form)
        self._box = Frame("code")
        self.findings = vertical(self._box, margin=10, gap=6)
        self.content.addWidget(self._box)
        self._place = PlainLabel(self._where(), style="small", wrap=True)
        self.content.addWidget(self._place)
        self.user.textChanged.connect(self._check)
        self.peer.currentIndexChanged.connect(self._check)
        self.secret.textEdited.connect(self._typed)
        self._check()
        self.user.setFocus()

    def _where(self) -> str:
        engine = self._context.host.engine
        state = engine.keyring.state if engine is not None else "unknown"
        if state == "memory":
            return self.tr("The secret is kept in memory, and gone when the engine ends.")
        backend = (
            engine.keyring.backend
            if engine is not None and engine.keyring.backend
            else self.tr("the keyring")
        )
        return self.tr("The secret is kept in {backend} and nowhere else. It is never shown again.").format(
            backend=backend
        )

    # the secret

    def generate(self) -> None:
        self._generated = generate_secret(self._random)
        # Bullets stand in the field, not the secret: nothing can read it out of the widget.
        self.secret.setText("•" * len(self._generated))
        self._copied = False
        self.copy_button.setText(self.tr("Copy once"))
        self._check()

    def current_secret(self) -> Secret | None:
        """None while the field is empty. Raises InvalidSecret."""
        if self._generated is not None:
            return self._generated
        text = self.secret.text()
        return parse_secret(text) if text else None

    def _typed(self, text: str) -> None:
        if self._generated is not None:
            # The bullets of the generated one are no start for a typed one.
            self._generated = None
            self.secret.setText(text.replace("•", ""))
        self._check()

    def _copy(self) -> None:
        if self._generated is None:
            return
        copy_for_a_while(self._generated)
        self._copied = True
        self.copy_button.setText(self.tr("Copied"))
        enable(
            self.copy_button,
            False,
            self.tr("It leaves the clipboard after {CLIPBOARD_S} s").format(CLIPBOARD_S=CLIPBOARD_S),
        )

    # the rules

    def _findings(self) -> list[SecretFinding]:
        peer = str(self.peer.currentData())
        user = self.user.text()
        found = check_user(user, peer=peer) if user else []
        try:
            secret = self.current_secret()
        except InvalidSecret as error:
            return [*found, SecretFinding("error", str(error))]
        if secret is not None:
            found = [*found, *check_secret(secret, peer=peer)]
        return sorted(found, key=lambda finding: finding.level)

    def _check(self) -> None:
        clear(self.findings)
        found = self._findings()
        empty = not self.secret.text()
        lines: list[tuple[str, Tone]] = [(finding.text, _FINDING_TONES[finding.level]) for finding in found]
        if empty and self._identity is None:
            lines.append(
                (self.tr("A secret has 12 to 16 bytes. Generate one: it fits every product."), "muted")
            )
        elif not empty and not found:
            lines.append(
                (
                    self.tr("{length} bytes, as {currentText} asks for.").format(
                        length=self._length(), currentText=self.peer.currentText()
                    ),
                    "good",
                )
            )
        for text, tone in lines:
            holder = QWidget()
            row = horizontal(holder, gap=8)
            dot = vertical()
            dot.setContentsMargins(0, 5, 0, 0)
            dot.addWidget(Dot(tone))
            dot.addStretch(1)
            row.addLayout(dot)
            row.addWidget(PlainLabel(text, tone=tone, wrap=True), 1)
            self.findings.addWidget(holder)
        self._box.setVisible(bool(lines))
        # New labels know their height only after they were polished.
        QTimer.singleShot(0, self, self._grow)
        enable(
            self.copy_button,
            self._generated is not None and not self._copied,
            self.tr("Only a generated secret can be copied, once"),
        )
        errors = any(finding.level == "error" for finding in found)
        ready = bool(self.user.text().strip()) and not errors and (not empty or self._identity is not None)
        self.accept_button.setEnabled(ready)

    def _grow(self) -> None:
        """More findings need more room; with fewer the dialog keeps its size and does not jump."""
        layout = self.layout()
        if self.isVisible() and layout is not None:
            layout.activate()
            needed = layout.totalHeightForWidth(self.width())
            if needed > self.height():
                self.resize(self.width(), needed)

    def _length(self) -> int:
        secret = self.current_secret()
        return len(secret) if secret is not None else 0

    # saving

    def do(self) -> None:
        secret = self.current_secret()
        self._context.host.call(
            "identities.save",
            SaveIdentity(
                id=self._identity.id if self._identity is not None else "",
                user=self.user.text().strip(),
                note=self.note.text().strip(),
                secret=secret.reveal().decode() if secret is not None else None,
            ),
            self._saved,
            self.finished_badly,
            owner=self,
        )

    def _saved(self, identity: Identity) -> None:
        self.secret.clear()
        self._generated = None
        if self._on_saved is not None:
            self._on_saved(identity)
        self.finished_ok()

    def done(self, code: int) -> None:
        self.secret.clear()
        self._generated = None
        super().done(code)


def copy_for_a_while(secret: Secret) -> None:
    """Put a secret on the clipboard for `CLIPBOARD_S`, marked so that clipboard histories leave it out."""
    clipboard = QGuiApplication.clipboard()
    data = QMimeData()
    data.setText(secret.reveal().decode())
    # KDE's and others' clipboard managers honour this hint.
    data.setData("x-kde-passwordManagerHint", QByteArray(b"secret"))
    clipboard.setMimeData(data)
    application = QApplication.instance()

    def take_back() -> None:
        if Secret(clipboard.text() or " ") == secret:
            clipboard.clear()

    if application is not None:
        QTimer.singleShot(CLIPBOARD_S * 1000, application, take_back)
