"""Ask for one address, checked while it is typed."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtWidgets import QLineEdit, QWidget

from san_console.gui.dialogs.base import BaseDialog
from san_console.gui.widgets.labels import PlainLabel, restyle
from san_console.names.errors import NamesError
from san_console.names.portal import Portal


class AddressDialog(BaseDialog):
    """`on_yes(dialog, address)` calls `finished_ok` or `finished_badly` of the dialog."""

    def __init__(
        self,
        title: str,
        accept_text: str,
        explanation: str,
        on_yes: Callable[[AddressDialog, str], object],
        *,
        default_port: int,
        suggested: str = "",
        placeholder: str = "",
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(title, accept_text, parent=parent)
        self._on_yes = on_yes
        self._default_port = default_port
        self.content.addWidget(PlainLabel(explanation, style="muted", wrap=True))
        self.line = QLineEdit(suggested)
        self.line.setProperty("mono", True)
        self.line.setPlaceholderText(placeholder)
        self.line.setAccessibleName(self.tr("Address"))
        self.content.addWidget(self.line)
        self._hint = PlainLabel("", style="small", wrap=True)
        self.content.addWidget(self._hint)
        self.line.textChanged.connect(self._check)
        self._check()
        self.line.setFocus()
        self.line.selectAll()

    def address(self) -> str:
        """`host:port`, normalised. Raises InvalidPortal."""
        return str(Portal.parse(self.line.text().strip(), self._default_port))

    def _check(self) -> None:
        typed = self.line.text().strip()
        error = ""
        shown = self.tr(
            "A name, an IPv4 address or [an IPv6 address]; the port is {default_port} unless given."
        ).format(default_port=self._default_port)
        if typed:
            try:
                shown = self.tr("Means {address}.").format(address=self.address())
            except NamesError as problem:
                error = shown = str(problem)
        self._hint.setText(shown)
        self._hint.set_tone("bad" if error else "muted")
        self.line.setProperty("invalid", bool(error))
        restyle(self.line)
        self.accept_button.setEnabled(bool(typed) and not error)

    def do(self) -> None:
        self._on_yes(self, self.address())
