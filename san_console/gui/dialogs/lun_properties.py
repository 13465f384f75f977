"""What a served LUN tells its initiators about itself, and how it treats what they write."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec
from PySide6.QtCore import QRegularExpression, Signal
from PySide6.QtGui import QRegularExpressionValidator
from PySide6.QtWidgets import QCheckBox, QComboBox, QFormLayout, QLineEdit, QWidget

from san_console.api.serving_objects import LocalLun
from san_console.gui import words
from san_console.gui.dialogs.base import BaseDialog
from san_console.gui.models.sizes import parse_size
from san_console.gui.translation import QT_TRANSLATE_NOOP, translated
from san_console.gui.widgets.cards import vertical
from san_console.gui.widgets.labels import PlainLabel, restyle
from san_console.gui.widgets.numbers import NumberField

#: Rotation rates as SBC-3 §6.6.4 counts them, with words.
RATES: Final[tuple[tuple[int, str], ...]] = (
    (1, QT_TRANSLATE_NOOP("Table", "Solid state")),
    (0, QT_TRANSLATE_NOOP("Table", "Not told")),
    (5400, QT_TRANSLATE_NOOP("Table", "5,400 a minute")),
    (7200, QT_TRANSLATE_NOOP("Table", "7,200 a minute")),
    (10000, QT_TRANSLATE_NOOP("Table", "10,000 a minute")),
    (15000, QT_TRANSLATE_NOOP("Table", "15,000 a minute")),
)
_TEXTS: Final = (  # field, SPC-4 §6.6.2: its length; the serial number's is VPD page 80h's
    ("vendor", QT_TRANSLATE_NOOP("Table", "Vendor"), 8),
    ("product", QT_TRANSLATE_NOOP("Table", "Product"), 16),
    ("revision", QT_TRANSLATE_NOOP("Table", "Revision"), 4),
    ("serial", QT_TRANSLATE_NOOP("Table", "Serial number"), 36),
)
PHYSICAL_BYTES: Final = 4096
LABEL_WIDTH_PX: Final = 132
"""The same in every form about a LUN, so that fields of two forms stand below each other."""


def form_label(text: str) -> PlainLabel:
    """The label before a field."""
    label = PlainLabel(text, style="muted")
    label.setMinimumWidth(LABEL_WIDTH_PX)
    return label


class LunProperties(QWidget):
    """The fields; `apply_to` gives a LUN with what is in them."""

    changed = Signal()

    def __init__(self, lun: LocalLun, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        form = QFormLayout()
        form.setHorizontalSpacing(14)
        form.setVerticalSpacing(10)
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        vertical(self, gap=8).addLayout(form)
        self.write_cache = QCheckBox(self.tr("Write cache: answer writes before they are on the medium"))
        self.write_cache.setToolTip(
            self.tr("Initiators that need it on the medium say so. Off: every write waits for the medium.")
        )
        self.write_cache.setChecked(lun.write_cache)
        self.threshold = NumberField()
        self.threshold.setRange(0, 99)
        self.threshold.setSuffix(self.tr(" % of its size in use"))
        self.threshold.setSpecialValueText(self.tr("never"))
        self.threshold.setValue(lun.soft_threshold_percent)
        self.physical = QCheckBox(self.tr("Tell of physical blocks of 4,096 bytes (512e)"))
        self.physical.setChecked(lun.physical_block_bytes == PHYSICAL_BYTES)
        self.rate = QComboBox()
        for rate, name in RATES:
            self.rate.addItem(translated(name), rate)
        if self.rate.findData(lun.rotation_rate) < 0:
            self.rate.addItem(self.tr("{rate:,} a minute").format(rate=lun.rotation_rate), lun.rotation_rate)
        self.rate.setCurrentIndex(self.rate.findData(lun.rotation_rate))
        self.texts: dict[str, QLineEdit] = {}
        rows: list[tuple[str, QWidget]] = [
            ("", self.write_cache),
            (self.tr("Warn initiators from"), self.threshold),
            ("", self.physical),
            (self.tr("Rotation"), self.rate),
        ]
        graphic = QRegularExpression("[ -~]*")  # SPC-4 §4.4.1
        for field, name, length in _TEXTS:
            line = QLineEdit(getattr(lun, field))
            line.setMaxLength(length)
            line.setValidator(QRegularExpressionValidator(graphic, line))
            if field == "serial":
                line.setPlaceholderText(lun.unit_serial or self.tr("made by the engine, and never changes"))
            self.texts[field] = line
            rows.append((translated(name), line))
        for label, widget in rows:
            if label:
                widget.setAccessibleName(label)
            form.addRow(form_label(label), widget)
        self.set_kind(thin=lun.thin, block_bytes=lun.block_bytes)

    def set_kind(self, *, thin: bool, block_bytes: int) -> None:
        """Turn off what such a LUN cannot have."""
        self.threshold.setEnabled(thin)
        self.threshold.setToolTip("" if thin else self.tr("Only a thin LUN can run out of space."))
        self.physical.setEnabled(block_bytes < PHYSICAL_BYTES)

    def apply_to(self, lun: LocalLun) -> LocalLun:
        """`lun` with these properties."""
        physical = self.physical.isEnabled() and self.physical.isChecked()
        return msgspec.structs.replace(
            lun,
            write_cache=self.write_cache.isChecked(),
            soft_threshold_percent=self.threshold.value() if self.threshold.isEnabled() else 0,
            physical_block_bytes=PHYSICAL_BYTES if physical else 0,
            rotation_rate=int(self.rate.currentData()),
            **{field: line.text().strip() for field, line in self.texts.items()},
        )


class EditLunDialog(BaseDialog):
    """`on_lun(dialog, lun)` ends the dialog. What a LUN is made of stays as it is."""

    def __init__(
        self,
        lun: LocalLun,
        on_lun: Callable[[EditLunDialog, LocalLun], object],
        *,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(
            self.tr("LUN {name}").format(name=lun.name), self.tr("Change LUN"), width_px=600, parent=parent
        )
        self._lun = lun
        self._on_lun = on_lun
        form = QFormLayout()
        form.setHorizontalSpacing(14)
        form.setVerticalSpacing(10)
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        self.name = QLineEdit(lun.name)
        self.name.setAccessibleName(self.tr("Name"))
        self.read_only = QCheckBox(self.tr("Read-only for everyone"))
        self.read_only.setChecked(lun.read_only)
        form.addRow(form_label(self.tr("Name")), self.name)
        form.addRow(form_label(""), self.read_only)
        self.content.addLayout(form)
        self.properties = LunProperties(lun)
        self.content.addWidget(self.properties)
        self.content.addWidget(
            PlainLabel(
                self.tr("Initiators read vendor, product and serial number when they log in or scan again."),
                style="small",
                wrap=True,
            )
        )
        self.name.textChanged.connect(lambda text: self.accept_button.setEnabled(bool(text.strip())))

    def do(self) -> None:
        lun = msgspec.structs.replace(
            self._lun, name=self.name.text().strip(), read_only=self.read_only.isChecked()
        )
        self._on_lun(self, self.properties.apply_to(lun))


class GrowLunDialog(BaseDialog):
    """`on_size(dialog, size_bytes)` ends the dialog; 0 takes the size that the file or device has by now."""

    def __init__(
        self,
        lun: LocalLun,
        on_size: Callable[[GrowLunDialog, int], object],
        *,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(
            self.tr("Grow {name}").format(name=lun.name), self.tr("Grow LUN"), width_px=480, parent=parent
        )
        self._lun = lun
        self._on_size = on_size
        self.content.addWidget(
            PlainLabel(
                self.tr("It has {size} now. Its initiators are told, and go on working.").format(
                    size=words.size(lun.size_bytes)
                ),
                style="muted",
                wrap=True,
            )
        )
        self.line = QLineEdit()
        self.line.setAccessibleName(self.tr("New size"))
        self.line.setPlaceholderText("2 TiB")
        self.content.addWidget(self.line)
        self._hint = PlainLabel("", style="small", wrap=True)
        self.content.addWidget(self._hint)
        self.line.textChanged.connect(self._check)
        self._check()

    def _check(self) -> None:
        typed = self.line.text().strip()
        outside = self._lun.kind in ("file", "block")
        error = ""
        hint = self.tr("Empty: as large as the file or device is by now.") if outside else ""
        if typed:
            try:
                size_bytes = parse_size(typed)
                if size_bytes <= self._lun.size_bytes:
                    error = self.tr("A LUN is never made smaller: that would cut off what is on it.")
                elif size_bytes % self._lun.block_bytes:
                    error = self.tr("The size has to be a multiple of {block_bytes:,} bytes.").format(
                        block_bytes=self._lun.block_bytes
                    )
            except ValueError as problem:
                error = str(problem)
        self._hint.setText(error or hint)
        self._hint.set_tone("bad" if error else "muted")
        self.line.setProperty("invalid", bool(error))
        restyle(self.line)
        self.accept_button.setEnabled(not error and (bool(typed) or outside))

    def do(self) -> None:
        typed = self.line.text().strip()
        self._on_size(self, parse_size(typed) if typed else 0)
