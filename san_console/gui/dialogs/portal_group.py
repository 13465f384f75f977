"""Dialogs about the portals of a served target: a new portal, and what a portal group tells initiators."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import msgspec
from PySide6.QtWidgets import QCheckBox, QComboBox, QFormLayout, QLineEdit, QWidget

from san_console.api.serving_objects import AccessState, PortalGroup
from san_console.gui.dialogs.base import BaseDialog
from san_console.gui.translation import QT_TRANSLATE_NOOP, translated
from san_console.gui.widgets.labels import PlainLabel, restyle
from san_console.gui.widgets.numbers import NumberField
from san_console.names.errors import NamesError
from san_console.names.portal import Portal

MAX_TAG: Final = 65535  # RFC 7143 §13.9

#: The states that an operator may set, with what they are good for.
STATES: Final[tuple[tuple[AccessState, str, str], ...]] = (
    (
        "active/optimized",
        QT_TRANSLATE_NOOP("Table", "Active, optimized"),
        QT_TRANSLATE_NOOP("Table", "Initiators use these paths first."),
    ),
    (
        "active/non-optimized",
        QT_TRANSLATE_NOOP("Table", "Active, not optimized"),
        QT_TRANSLATE_NOOP("Table", "Initiators use these paths when there are no better ones."),
    ),
    (
        "standby",
        QT_TRANSLATE_NOOP("Table", "Standby"),
        QT_TRANSLATE_NOOP("Table", "These paths are there, and carry no reads or writes."),
    ),
    (
        "unavailable",
        QT_TRANSLATE_NOOP("Table", "Unavailable"),
        QT_TRANSLATE_NOOP("Table", "LUNs cannot be used here for now; initiators move to other groups."),
    ),
    (
        "offline",
        QT_TRANSLATE_NOOP("Table", "Offline"),
        QT_TRANSLATE_NOOP("Table", "LUNs cannot be used here until somebody changes that."),
    ),
)


def state_name(state: AccessState) -> str:
    """A state of ALUA in words."""
    names: dict[str, str] = {key: name for key, name, _ in STATES}
    return translated(names[state]) if state in names else state


def _form(fields: Sequence[tuple[str, QWidget]]) -> QFormLayout:
    form = QFormLayout()
    form.setHorizontalSpacing(14)
    form.setVerticalSpacing(10)
    form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
    for label, widget in fields:
        if label:
            widget.setAccessibleName(label)
        form.addRow(PlainLabel(label, style="muted"), widget)
    return form


class AddPortalDialog(BaseDialog):
    """`on_portal(dialog, portal, tag)` ends the dialog; a tag that is not there yet makes a new group."""

    def __init__(
        self,
        target_name: str,
        addresses: Sequence[str],
        groups: Sequence[PortalGroup],
        on_portal: Callable[[AddPortalDialog, str, int], object],
        *,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(
            self.tr("Add a portal to {target_name}").format(target_name=target_name),
            self.tr("Add portal"),
            width_px=520,
            parent=parent,
        )
        self._on_portal = on_portal
        self._known = {portal for group in groups for portal in group.portals}
        self.address = QComboBox()
        self.address.setEditable(True)
        self.address.addItems(list(addresses))
        self.address.setCurrentText("")
        line = self.address.lineEdit()
        assert line is not None  # an editable box has one
        self.line: QLineEdit = line
        self.line.setPlaceholderText("10.20.0.5:3260")
        self.line.setProperty("mono", True)
        self.group = QComboBox()
        for one in groups:
            self.group.addItem(
                self.tr("{tag}: {state}").format(tag=one.tag, state=state_name(one.access_state)), one.tag
            )
        new_tag = max((one.tag for one in groups), default=0) + 1
        self.group.addItem(self.tr("{tag}: a new group").format(tag=new_tag), new_tag)
        self.content.addLayout(
            _form([(self.tr("Address"), self.address), (self.tr("Portal group"), self.group)])
        )
        self._hint = PlainLabel("", style="small", wrap=True)
        self.content.addWidget(self._hint)
        self.content.addStretch(1)
        self.line.textChanged.connect(self._check)
        self._check()

    def portal(self) -> str:
        """`host:port`, normalised. Raises InvalidPortal."""
        return str(Portal.parse(self.line.text().strip()))

    def _check(self) -> None:
        typed = self.line.text().strip()
        hint = self.tr("An address of this computer, IPv4 or IPv6; the port is 3260 unless given.")
        wrong = False
        if typed:
            try:
                hint = self.tr("Means {portal}.").format(portal=self.portal())
                wrong = self.portal() in self._known
                if wrong:
                    hint = self.tr("The target listens there already.")
            except NamesError as error:
                hint, wrong = str(error), True
        self._hint.setText(hint)
        self._hint.set_tone("bad" if wrong else "muted")
        self.line.setProperty("invalid", wrong)
        restyle(self.line)
        self.accept_button.setEnabled(bool(typed) and not wrong)

    def do(self) -> None:
        self._on_portal(self, self.portal(), int(self.group.currentData()))


class PortalGroupDialog(BaseDialog):
    """`on_group(dialog, group)` ends the dialog, with the group as it is to be."""

    def __init__(
        self,
        group: PortalGroup,
        taken_tags: Sequence[int],
        on_group: Callable[[PortalGroupDialog, PortalGroup], object],
        *,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(
            self.tr("Portal group {tag}").format(tag=group.tag),
            self.tr("Change group"),
            width_px=560,
            parent=parent,
        )
        self._group = group
        self._taken = frozenset(taken_tags) - {group.tag}
        self._on_group = on_group
        self.tag = NumberField()
        self.tag.setRange(1, MAX_TAG)
        self.tag.setValue(group.tag)
        self.state = QComboBox()
        for key, name, _ in STATES:
            self.state.addItem(translated(name), key)
        self.state.setCurrentIndex(max(self.state.findData(group.access_state), 0))
        self.preferred = QCheckBox(self.tr("Initiators should prefer this group"))
        self.preferred.setChecked(group.preferred)
        self.redirect = QLineEdit(group.redirect_to)
        self.redirect.setProperty("mono", True)
        self.redirect.setPlaceholderText(self.tr("none"))
        self.permanent = QCheckBox(self.tr("For good: initiators remember the new address"))
        self.permanent.setChecked(group.redirect_permanent)
        self.meaning = PlainLabel("", style="muted", wrap=True)
        self.content.addLayout(
            _form(
                [
                    (self.tr("Group tag"), self.tag),
                    (self.tr("State of its paths"), self.state),
                    ("", self.meaning),
                    ("", self.preferred),
                    (self.tr("Send logins to"), self.redirect),
                    ("", self.permanent),
                ]
            )
        )
        self._hint = PlainLabel("", style="small", wrap=True)
        self.content.addWidget(self._hint)
        self.content.addStretch(1)
        self.state.currentIndexChanged.connect(self._check)
        self.redirect.textChanged.connect(self._check)
        self.tag.valueChanged.connect(self._check)
        self._check()

    def _redirect_to(self) -> str:
        typed = self.redirect.text().strip()
        return str(Portal.parse(typed)) if typed else ""

    def _check(self) -> None:
        self.meaning.setText(translated(STATES[self.state.currentIndex()][2]))
        hint, wrong = "", False
        try:
            if portal := self._redirect_to():
                hint = self.tr("Every login at this group is sent to {portal}.").format(portal=portal)
        except NamesError as error:
            hint, wrong = str(error), True
        self.redirect.setProperty("invalid", wrong)
        restyle(self.redirect)
        if self.tag.value() in self._taken:
            hint, wrong = self.tr("Another group of this target has this tag."), True
        self.permanent.setEnabled(bool(self.redirect.text().strip()))
        self._hint.setText(hint)
        self._hint.set_tone("bad" if wrong else "muted")
        self.accept_button.setEnabled(not wrong)

    def do(self) -> None:
        state: AccessState = self.state.currentData()
        self._on_group(
            self,
            msgspec.structs.replace(
                self._group,
                tag=self.tag.value(),
                access_state=state,
                preferred=self.preferred.isChecked(),
                redirect_to=self._redirect_to(),
                redirect_permanent=self.permanent.isChecked() and bool(self._redirect_to()),
            ),
        )
