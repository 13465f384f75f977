"""What a served LUN is made of: a file, memory, a block device. The same fields serve dialog and wizard."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Final

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QCheckBox, QComboBox, QFormLayout, QLineEdit, QWidget

from san_console.api.serving_objects import BackstoreKind, LocalLun
from san_console.gui.dialogs.base import BaseDialog
from san_console.gui.dialogs.lun_properties import LunProperties, form_label
from san_console.gui.models.sizes import parse_size
from san_console.gui.translation import QT_TRANSLATE_NOOP, translated
from san_console.gui.widgets.cards import horizontal, vertical
from san_console.gui.widgets.file_choice import PathField
from san_console.gui.widgets.labels import PlainLabel

_KINDS: Final[tuple[tuple[BackstoreKind, str], ...]] = (
    ("file", QT_TRANSLATE_NOOP("Table", "A file")),
    ("memory", QT_TRANSLATE_NOOP("Table", "Memory, gone when the engine ends")),
    ("block", QT_TRANSLATE_NOOP("Table", "A disk of this computer")),
)
DEFAULT_SIZE: Final = "1 GiB"


class LunFields(QWidget):
    """`changed` is emitted while something is typed; `problem()` says what is still missing."""

    changed = Signal()

    def __init__(self, *, suggested_name: str = "", parent: QWidget | None = None) -> None:
        super().__init__(parent)
        outer = vertical(self, gap=8)
        form = QFormLayout()
        form.setHorizontalSpacing(14)
        form.setVerticalSpacing(10)
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        self._form = form
        self.kind = QComboBox()
        for kind, title in _KINDS:
            self.kind.addItem(translated(title), kind)
        self.name = QLineEdit(suggested_name)
        self.path = PathField(self.tr("File or device"), save=True)
        self.size_line = QLineEdit(DEFAULT_SIZE)
        self.create_file = QCheckBox(self.tr("Create the file when it is missing"))
        self.create_file.setChecked(True)
        self.block = QComboBox()
        for size in (512, 4096):
            self.block.addItem(self.tr("{size:,} bytes").format(size=size), size)
        self.read_only = QCheckBox(self.tr("Read-only for everyone"))
        self.thin = QCheckBox(self.tr("Thin: takes space as it fills"))
        checks = horizontal(gap=16)
        checks.addWidget(self.read_only)
        checks.addWidget(self.thin)
        checks.addStretch(1)
        holder = QWidget()
        holder.setLayout(checks)
        fields: tuple[tuple[str, QWidget, QWidget | None], ...] = (
            (self.tr("Made of"), self.kind, self.kind),
            (self.tr("Name"), self.name, self.name),
            (self.tr("Path"), self.path, self.path.line),
            (self.tr("Size"), self.size_line, self.size_line),
            ("", self.create_file, None),
            (self.tr("Block size"), self.block, self.block),
            ("", holder, None),
        )
        self._labels: dict[QWidget, PlainLabel] = {}
        for label, shown, named in fields:
            if named is not None:
                named.setAccessibleName(label)
            self._labels[shown] = form_label(label)
            form.addRow(self._labels[shown], shown)
        outer.addLayout(form)
        self.more = QCheckBox(self.tr("More: cache, warnings, what initiators read about it"))
        self.properties = LunProperties(LocalLun(id="", name="", kind="file"))
        self.properties.hide()
        self.more.toggled.connect(self._show_more)
        outer.addWidget(self.more)
        outer.addWidget(self.properties)
        self.thin.toggled.connect(self._show_kind)
        self.block.currentIndexChanged.connect(self._show_kind)
        self.kind.currentIndexChanged.connect(self._show_kind)
        self.create_file.toggled.connect(self._show_kind)
        for line in (self.name, self.path.line, self.size_line):
            line.textChanged.connect(self.changed)
        self._show_kind()

    def _show_kind(self) -> None:
        kind = self.kind.currentData()
        sized = kind == "memory" or (kind == "file" and self.create_file.isChecked())
        for widget, on in (
            (self.path, kind != "memory"),
            (self.size_line, sized),
            (self.create_file, kind == "file"),
        ):
            widget.setVisible(on)
            self._labels[widget].setVisible(on)
        self.properties.set_kind(thin=self.thin.isChecked(), block_bytes=int(self.block.currentData()))
        self.changed.emit()

    def _show_more(self, shown: bool) -> None:
        self.properties.setVisible(shown)
        window = self.window()
        if shown and window is not self:
            window.adjustSize()

    def problem(self) -> str:
        """What is missing, as a sentence; empty when it is complete."""
        kind = self.kind.currentData()
        if not self.name.text().strip():
            return self.tr("The LUN needs a name.")
        if kind != "memory":
            if not self.path.path:
                return self.tr("Choose the file or device that holds the blocks.")
            if not self.path.path.startswith("/"):
                return self.tr("The path has to begin with a slash: the engine has no folder of its own.")
        if not self.size_line.isHidden():
            try:
                size_bytes = parse_size(self.size_line.text())
            except ValueError as error:
                return str(error)
            block_bytes = int(self.block.currentData())
            if size_bytes < block_bytes or size_bytes % block_bytes:
                return self.tr("The size has to be a multiple of {block_bytes:,} bytes, and not 0.").format(
                    block_bytes=block_bytes
                )
        return ""

    def lun(self) -> LocalLun:
        """Only to be asked for when there is no `problem`."""
        kind: BackstoreKind = self.kind.currentData()
        sized = not self.size_line.isHidden()
        lun = LocalLun(
            id=f"lun-{secrets.token_hex(4)}",
            name=self.name.text().strip(),
            kind=kind,
            path=self.path.path if kind != "memory" else "",
            size_bytes=parse_size(self.size_line.text()) if sized else 0,
            block_bytes=int(self.block.currentData()),
            read_only=self.read_only.isChecked(),
            thin=self.thin.isChecked(),
            create=kind == "file" and self.create_file.isChecked(),
        )
        return self.properties.apply_to(lun)


class AddLunDialog(BaseDialog):
    """`on_lun(dialog, lun)` ends the dialog."""

    def __init__(
        self,
        target_name: str,
        on_lun: Callable[[AddLunDialog, LocalLun], object],
        *,
        suggested_name: str = "",
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(
            self.tr("Add a LUN to {target_name}").format(target_name=target_name),
            self.tr("Add LUN"),
            width_px=600,
            parent=parent,
        )
        self._on_lun = on_lun
        self.content.addWidget(
            PlainLabel(self.tr("Nobody sees it before you map it to an initiator."), style="muted", wrap=True)
        )
        self.fields = LunFields(suggested_name=suggested_name)
        self.content.addWidget(self.fields)
        self._hint = PlainLabel("", style="small", wrap=True)
        self.content.addWidget(self._hint)
        self.content.addStretch(1)
        self.fields.changed.connect(self._check)
        self._check()

    def _check(self) -> None:
        problem = self.fields.problem()
        self._hint.setText(problem)
        self.accept_button.setEnabled(not problem)

    def do(self) -> None:
        self._on_lun(self, self.fields.lun())
