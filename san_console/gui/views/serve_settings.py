"""Settings of a served target, and "who would see what" asked of the engine itself."""

from __future__ import annotations

from typing import Any

import msgspec
from PySide6.QtWidgets import QCheckBox, QComboBox, QFormLayout, QFrame, QLineEdit, QScrollArea, QWidget

from san_console.api.engine_objects import Identity
from san_console.api.serving_objects import LocalTarget
from san_console.gui import words
from san_console.gui.context import Context
from san_console.gui.models.subjects import ANYONE
from san_console.gui.views.page import DetailTab
from san_console.gui.views.serve_changes import propose
from san_console.gui.widgets.buttons import Button
from san_console.gui.widgets.cards import clear, horizontal, vertical
from san_console.gui.widgets.labels import PlainLabel
from san_console.gui.widgets.problems import InlineProblem
from san_console.names.display import visible


class SettingsTab(DetailTab):
    """Alias, CHAP, iSNS, on and off. Nothing is changed before Apply."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._target: LocalTarget | None = None
        self._shown: tuple[Any, ...] | None = None
        self.identities: dict[str, QCheckBox] = {}
        self.servers: dict[str, QCheckBox] = {}
        outer = vertical(self, margin=12, gap=10)
        area = QScrollArea()
        area.setWidgetResizable(True)
        area.setFrameShape(QFrame.Shape.NoFrame)
        area.setAccessibleName(self.tr("Settings of the target"))
        holder = QWidget()
        holder.setObjectName("scrolled")
        column = vertical(holder, gap=10)
        form = QFormLayout()
        form.setHorizontalSpacing(18)
        form.setVerticalSpacing(12)
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.FieldsStayAtSizeHint)
        self.enabled = QCheckBox(self.tr("Serve this target"))
        self.alias = QLineEdit()
        self.alias.setMinimumWidth(320)
        self.mutual = QComboBox()
        self.mutual.setMinimumWidth(320)
        identity_box, self._identity_column = _box()
        server_box, self._server_column = _box()
        for label, widget in (
            (self.tr("State"), self.enabled),
            (self.tr("Alias"), self.alias),
            (self.tr("Initiators log in with"), identity_box),
            (self.tr("The target proves itself with"), self.mutual),
            (self.tr("Registered with iSNS at"), server_box),
        ):
            widget.setAccessibleName(label)
            form.addRow(PlainLabel(label, style="muted"), widget)
        self.enabled.setAccessibleName(self.tr("Serve this target"))
        column.addLayout(form)
        self.open_note = InlineProblem("notice")
        column.addWidget(self.open_note)
        column.addStretch(1)
        area.setWidget(holder)
        outer.addWidget(area, 1)
        self.failure = InlineProblem()
        outer.addWidget(self.failure)
        row = horizontal(gap=8)
        self.state = PlainLabel("", style="muted")
        row.addWidget(self.state, 1)
        self.revert_button = Button(self.tr("Revert"), self._fill)
        self.apply_button = Button(self.tr("Apply"), self._apply, kind="primary")
        row.addWidget(self.revert_button)
        row.addWidget(self.apply_button)
        outer.addLayout(row)
        self.alias.textChanged.connect(self._check)
        self.enabled.toggled.connect(self._check)
        self.mutual.currentIndexChanged.connect(self._check)

    def show_object(self, item: Any) -> None:
        target = item if isinstance(item, LocalTarget) else None
        old = self._target
        unsaved = old is not None and target is not None and old.id == target.id and self._wanted() != old
        self._target = target
        if not unsaved and self._shown != self._sources():
            # Not on each message: the fields would lose the keyboard.
            self._fill()
        elif unsaved:
            # What the user has typed stays; only the state shown beside it is new.
            self._check()

    def _sources(self) -> tuple[Any, ...]:
        """What the fields are made of."""
        return (self._target, self.host.values("identities"), self.host.values("isns_servers"))

    def _fill(self) -> None:
        self._shown = self._sources()
        target = self._target
        self.setEnabled(target is not None)
        if target is None:
            return
        self.failure.hide()
        self.alias.setText(target.alias)
        self.enabled.setChecked(target.enabled)
        identities: list[Identity] = self.host.values("identities")
        rows = [(one.id, one.user) for one in identities]
        self.identities = self._checks(
            self._identity_column,
            rows,
            target.identity_ids,
            self.tr("no CHAP identities yet: make one on Secrets"),
        )
        servers = [
            (
                one.address,
                self.tr("{address} · this computer").format(address=one.address)
                if one.embedded
                else one.address,
            )
            for one in self.host.values("isns_servers")
            if one.address
        ]
        known = {address for address, _title in servers}
        servers += [(address, address) for address in target.register_with if address not in known]
        self.servers = self._checks(
            self._server_column,
            servers,
            target.register_with,
            self.tr("no iSNS server is known: see the page iSNS"),
        )
        self.mutual.blockSignals(True)
        self.mutual.clear()
        self.mutual.addItem(self.tr("nothing"), "")
        for identifier, user in rows:
            self.mutual.addItem(visible(user, 80), identifier)
        self.mutual.setCurrentIndex(max(self.mutual.findData(target.mutual_identity_id), 0))
        self.mutual.blockSignals(False)
        self._check()

    def _checks(
        self, column: Any, rows: list[tuple[str, str]], wanted: list[str], nothing: str
    ) -> dict[str, QCheckBox]:
        clear(column)
        made = {}
        for identifier, title in rows:
            box = QCheckBox(visible(title, 80).replace("&", "&&"))
            box.setChecked(identifier in wanted)
            box.toggled.connect(self._check)
            column.addWidget(box)
            made[identifier] = box
        if not rows:
            column.addWidget(PlainLabel(nothing, style="muted"))
        return made

    def _wanted(self) -> LocalTarget | None:
        if self._target is None:
            return None
        return msgspec.structs.replace(
            self._target,
            alias=self.alias.text().strip(),
            enabled=self.enabled.isChecked(),
            identity_ids=_ordered(self.identities, self._target.identity_ids),
            mutual_identity_id=str(self.mutual.currentData() or ""),
            register_with=_ordered(self.servers, self._target.register_with),
        )

    def _check(self) -> None:
        wanted = self._wanted()
        changed = wanted is not None and wanted != self._target
        self.revert_button.setEnabled(changed)
        self.apply_button.setEnabled(changed)
        self.state.setText(self.tr("Not applied yet.") if changed else "")
        if wanted is not None and not wanted.identity_ids and ANYONE in wanted.initiators:
            self.open_note.say(
                self.tr("Anyone may log in, without CHAP."),
                "",
                self.tr(
                    "Let initiators prove themselves with an identity, or take “Anyone” out of the mapping."
                ),
            )
        elif wanted is not None and wanted.mutual_identity_id and not wanted.identity_ids:
            self.open_note.say(self.tr("A target proves itself only to initiators that prove themselves."))
        else:
            self.open_note.hide()

    def _apply(self) -> None:
        old, new = self._target, self._wanted()
        if old is None or new is None or new == old:
            return
        name = words.short_name(old.id)
        propose(
            self.context,
            self,
            old,
            new,
            question=self.tr("Change the settings of {name}?").format(name=name),
            verb=self.tr("Apply"),
            said=self.tr("The settings of {name} were changed.").format(name=name),
            failed=self.failure.show_problem,
            done=self._saved,
        )

    def _saved(self, target: LocalTarget) -> None:
        if self._target is not None and self._target.id == target.id:
            self._target = target
            self._fill()


def _box() -> tuple[QWidget, Any]:
    holder = QWidget()
    return holder, vertical(holder, gap=2)


def _ordered(boxes: dict[str, QCheckBox], before: list[str]) -> list[str]:
    """What is ticked: first in the order that the target had, then what is new."""
    ticked = [identifier for identifier, box in boxes.items() if box.isChecked()]
    kept = [identifier for identifier in before if identifier in ticked]
    return kept + [identifier for identifier in ticked if identifier not in kept]
