"""Settings of a served target: whether it is served, its alias, iSNS, and its operational limits."""

from __future__ import annotations

from typing import Any

import msgspec
from PySide6.QtWidgets import QCheckBox, QFormLayout, QFrame, QLineEdit, QScrollArea, QWidget

from san_console.api.serving_objects import LocalTarget
from san_console.gui import words
from san_console.gui.context import Context
from san_console.gui.models.limits import changed_fields, problem_of
from san_console.gui.views.page import DetailTab
from san_console.gui.views.serve_actions import target_title
from san_console.gui.views.serve_changes import propose
from san_console.gui.views.serve_limits import TITLE_WIDTH_PX, LimitFields
from san_console.gui.widgets.buttons import Button
from san_console.gui.widgets.cards import Line, clear, horizontal, vertical
from san_console.gui.widgets.labels import PlainLabel
from san_console.gui.widgets.problems import InlineProblem
from san_console.names.display import visible


class SettingsTab(DetailTab):
    """Nothing is changed before Apply; what was typed stays while the engine tells of other changes."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._target: LocalTarget | None = None
        self._shown: tuple[Any, ...] | None = None
        self.servers: dict[str, QCheckBox] = {}
        outer = vertical(self, gap=0)
        area = QScrollArea()
        area.setWidgetResizable(True)
        area.setFrameShape(QFrame.Shape.NoFrame)
        area.setAccessibleName(self.tr("Settings of the target"))
        holder = QWidget()
        holder.setObjectName("scrolled")
        column = vertical(holder, margin=12, gap=10)
        form = QFormLayout()
        form.setHorizontalSpacing(12)
        form.setVerticalSpacing(10)
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.FieldsStayAtSizeHint)
        self.enabled = QCheckBox(self.tr("Serve this target"))
        self.alias = QLineEdit()
        self.alias.setMinimumWidth(320)
        server_box = QWidget()
        self._server_column = vertical(server_box, gap=2)
        for label, widget in (
            (self.tr("State"), self.enabled),
            (self.tr("Alias"), self.alias),
            (self.tr("Registered with iSNS at"), server_box),
        ):
            widget.setAccessibleName(label)
            name = PlainLabel(label)
            name.setMinimumWidth(TITLE_WIDTH_PX)
            form.addRow(name, widget)
        self.enabled.setAccessibleName(self.tr("Serve this target"))
        column.addLayout(form)
        column.addWidget(Line())
        column.addWidget(PlainLabel(self.tr("Limits"), style="heading"))
        column.addWidget(
            PlainLabel(
                self.tr(
                    "They are offered at login: a change holds for new sessions; those that are there "
                    "keep theirs."
                ),
                style="muted",
                wrap=True,
            )
        )
        self.limits = LimitFields()
        column.addWidget(self.limits)
        column.addStretch(1)
        area.setWidget(holder)
        outer.addWidget(area, 1)
        outer.addWidget(Line())
        self.failure = InlineProblem()
        outer.addWidget(self.failure)
        row = horizontal(margin=10, gap=8)
        self.state = PlainLabel("", style="muted", wrap=True)
        row.addWidget(self.state, 1)
        self.revert_button = Button(self.tr("Revert"), self._fill)
        self.apply_button = Button(self.tr("Apply"), self._apply, kind="primary")
        row.addWidget(self.revert_button)
        row.addWidget(self.apply_button)
        outer.addLayout(row)
        self.alias.textChanged.connect(self._check)
        self.enabled.toggled.connect(self._check)
        self.limits.changed.connect(self._check)

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
        return (self._target, self.host.values("isns_servers"))

    def _fill(self) -> None:
        self._shown = self._sources()
        target = self._target
        self.setEnabled(target is not None)
        if target is None:
            return
        self.failure.hide()
        self.alias.setText(target.alias)
        self.enabled.setChecked(target.enabled)
        self.limits.show_limits(target.limits)
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
        self._show_servers(servers, target.register_with)
        self._check()

    def _show_servers(self, servers: list[tuple[str, str]], wanted: list[str]) -> None:
        clear(self._server_column)
        self.servers = {}
        for address, title in servers:
            box = QCheckBox(visible(title, 80).replace("&", "&&"))
            box.setChecked(address in wanted)
            box.toggled.connect(self._check)
            self._server_column.addWidget(box)
            self.servers[address] = box
        if not servers:
            nothing = self.tr("no iSNS server is known: see the page iSNS")
            self._server_column.addWidget(PlainLabel(nothing, style="muted"))

    def _wanted(self) -> LocalTarget | None:
        if self._target is None:
            return None
        return msgspec.structs.replace(
            self._target,
            alias=self.alias.text().strip(),
            enabled=self.enabled.isChecked(),
            register_with=_ordered(self.servers, self._target.register_with),
            limits=self.limits.limits(),
        )

    def _check(self) -> None:
        wanted, now = self._wanted(), self._target
        changed = wanted is not None and wanted != now
        problem = problem_of(wanted.limits) if wanted is not None else ""
        self.revert_button.setEnabled(changed)
        self.apply_button.setEnabled(changed and not problem)
        text = self.tr("Not applied yet.") if changed else ""
        if wanted is not None and now is not None and (fields := changed_fields(wanted.limits, now.limits)):
            text = self.tr("Not applied yet: {limits}, for new sessions.").format(
                limits=words.counted(len(fields), "changed limit")
            )
        self.state.setText(problem or text)
        self.state.set_tone("bad" if problem else "muted")

    def _apply(self) -> None:
        old, new = self._target, self._wanted()
        if old is None or new is None or new == old:
            return
        name = target_title(old)
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


def _ordered(boxes: dict[str, QCheckBox], before: list[str]) -> list[str]:
    """What is ticked: first in the order that the target had, then what is new."""
    ticked = [identifier for identifier, box in boxes.items() if box.isChecked()]
    kept = [identifier for identifier in before if identifier in ticked]
    return kept + [identifier for identifier in ticked if identifier not in kept]
