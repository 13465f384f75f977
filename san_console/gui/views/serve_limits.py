"""The operational limits of a served target as fields, with what they mean and what is usual."""

from __future__ import annotations

from functools import partial
from typing import Any, Final

from PySide6.QtCore import QSignalBlocker, Signal
from PySide6.QtWidgets import QCheckBox, QComboBox, QGridLayout, QWidget

from san_console.api.serving_objects import OperationalLimits
from san_console.gui.models.limits import (
    DEFAULTS,
    DIGESTS,
    GROUPS,
    LIMITS,
    Limit,
    default_text,
    value_text,
    with_values,
)
from san_console.gui.translation import translated
from san_console.gui.widgets.buttons import IconButton
from san_console.gui.widgets.cards import vertical
from san_console.gui.widgets.labels import PlainLabel, tooltip_text
from san_console.gui.widgets.numbers import DecimalField, NumberField

FIELD_WIDTH_PX: Final = 150
TITLE_WIDTH_PX: Final = 190


class LimitFields(QWidget):
    """A line for each limit; `changed` after each edit. What differs from what holds now is marked."""

    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.fields: dict[str, QWidget] = {}
        self._marks: dict[str, PlainLabel] = {}
        self._notes: dict[str, PlainLabel] = {}
        self._reverts: dict[str, IconButton] = {}
        self._saved = DEFAULTS
        column = vertical(self, gap=6)
        for title, limits in GROUPS:
            column.addSpacing(6)
            column.addWidget(PlainLabel(translated(title), style="strong"))
            grid = QGridLayout()
            grid.setContentsMargins(0, 0, 0, 0)
            grid.setHorizontalSpacing(12)
            grid.setVerticalSpacing(8)
            grid.setColumnMinimumWidth(0, TITLE_WIDTH_PX)
            grid.setColumnMinimumWidth(2, 30)
            grid.setColumnStretch(3, 1)
            for row, limit in enumerate(limits):
                self._add(grid, row, limit)
            column.addLayout(grid)

    def _add(self, grid: QGridLayout, row: int, limit: Limit) -> None:
        title = translated(limit.title)
        field = self._field(limit)
        field.setAccessibleName(title)
        field.setAccessibleDescription(translated(limit.explanation))
        tip = translated(limit.explanation)
        field.setToolTip(tooltip_text(limit.key))
        field.setFixedWidth(FIELD_WIDTH_PX)
        revert = IconButton("undo-2", title, partial(self._revert, limit), role="muted")
        policy = revert.sizePolicy()
        policy.setRetainSizeWhenHidden(True)
        revert.setSizePolicy(policy)
        mark = PlainLabel("", style="small", wrap=True)
        note = PlainLabel(f"{tip}\n{default_text(limit)}", style="small", wrap=True)
        texts = vertical(gap=0)
        texts.addWidget(mark)
        texts.addWidget(note)
        label = PlainLabel(title)
        label.setToolTip(field.toolTip())
        grid.addWidget(label, row, 0)
        grid.addWidget(field, row, 1)
        grid.addWidget(revert, row, 2)
        grid.addLayout(texts, row, 3)
        self.fields[limit.field] = field
        self._marks[limit.field] = mark
        self._notes[limit.field] = note
        self._reverts[limit.field] = revert

    def _field(self, limit: Limit) -> QWidget:
        if limit.kind == "switch":
            box = QCheckBox(self.tr("on"))
            box.toggled.connect(self._edited)
            return box
        if limit.kind == "digest":
            choice = QComboBox()
            for key, name in DIGESTS:
                choice.addItem(translated(name), key)
            choice.currentIndexChanged.connect(self._edited)
            return choice
        if isinstance(getattr(DEFAULTS, limit.field), float):
            decimal = DecimalField()
            decimal.setDecimals(1)
            decimal.setRange(limit.least, limit.most)
            decimal.setSuffix(self.tr(" s"))
            if limit.none:
                decimal.setSpecialValueText(translated(limit.none))
            decimal.valueChanged.connect(self._edited)
            return decimal
        number = NumberField()
        number.setRange(int(limit.least), int(limit.most))
        number.setGroupSeparatorShown(True)
        if limit.kind == "bytes":
            number.setSuffix(self.tr(" bytes"))
            number.setSingleStep(4096)
        elif limit.kind == "seconds":
            number.setSuffix(self.tr(" s"))
        number.valueChanged.connect(self._edited)
        return number

    # values

    def show_limits(self, limits: OperationalLimits) -> None:
        """Fill the fields with what holds now."""
        self._saved = limits
        for limit in LIMITS.values():
            with QSignalBlocker(self.fields[limit.field]):
                self._put(limit, getattr(limits, limit.field))
        self._show_marks()

    def limits(self) -> OperationalLimits:
        """What the fields hold."""
        return with_values(self._saved, {limit.field: self._value(limit) for limit in LIMITS.values()})

    def _value(self, limit: Limit) -> Any:
        field = self.fields[limit.field]
        if isinstance(field, QCheckBox):
            return field.isChecked()
        if isinstance(field, QComboBox):
            return field.currentData()
        if isinstance(field, DecimalField):
            before = float(getattr(self._saved, limit.field))
            # A value with more decimals than the field shows stays as it is until somebody changes it.
            return before if field.value() == round(before, field.decimals()) else field.value()
        assert isinstance(field, NumberField)  # there are no other kinds
        return field.value()

    def _put(self, limit: Limit, value: Any) -> None:
        field = self.fields[limit.field]
        if isinstance(field, QCheckBox):
            field.setChecked(bool(value))
        elif isinstance(field, QComboBox):
            field.setCurrentIndex(max(field.findData(value), 0))
        elif isinstance(field, DecimalField):
            field.setValue(float(value))
        elif isinstance(field, NumberField):
            field.setValue(int(value))

    # marks

    def _edited(self) -> None:
        self._show_marks()
        self.changed.emit()

    def _show_marks(self) -> None:
        for limit in LIMITS.values():
            value, saved = self._value(limit), getattr(self._saved, limit.field)
            ours = getattr(DEFAULTS, limit.field)
            mark, revert = self._marks[limit.field], self._reverts[limit.field]
            title = translated(limit.title)
            marked = value != saved or value != ours
            mark.setVisible(marked)
            if value != saved:
                was = value_text(limit, saved)
                mark.setText(self.tr("Not applied yet, it is {was}.").format(was=was))
                mark.set_tone("accent")
                name = self.tr("{title}: back to {was}").format(title=title, was=was)
            elif value != ours:
                mark.setText(self.tr("Set to another value than usual."))
                mark.set_tone("warning")
                name = self.tr("{title}: set to {ours}").format(title=title, ours=value_text(limit, ours))
            else:
                name = title
            revert.setVisible(marked)
            revert.setAccessibleName(name)
            revert.setToolTip(tooltip_text(name))

    def _revert(self, limit: Limit) -> None:
        """To what holds now; where that is in the field, to what is usual."""
        saved = getattr(self._saved, limit.field)
        self._put(limit, saved if self._value(limit) != saved else getattr(DEFAULTS, limit.field))
