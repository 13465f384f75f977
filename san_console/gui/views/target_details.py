"""What is known about a discovered target: its portals, what changed, how to log in to it."""

from __future__ import annotations

from typing import Any, Final

from PySide6.QtWidgets import QScrollArea, QWidget

from san_console.api.initiator_objects import Target, TargetPortal
from san_console.api.methods import SetLogin, TargetByName
from san_console.gui import words
from san_console.gui.context import Context
from san_console.gui.models.columns import Column
from san_console.gui.models.object_model import ObjectTableModel
from san_console.gui.shell.login_form import LoginForm
from san_console.gui.states import portal_reach, source_kind
from san_console.gui.translation import translate
from san_console.gui.views.page import DetailTab
from san_console.gui.views.routes import interface_for
from san_console.gui.widgets.buttons import Button
from san_console.gui.widgets.cards import Line, horizontal, vertical
from san_console.gui.widgets.key_values import KeyValues, Pair
from san_console.gui.widgets.labels import PlainLabel
from san_console.gui.widgets.problems import InlineProblem
from san_console.gui.widgets.state import Pill
from san_console.gui.widgets.table import TableView

FORM_WIDTH_PX: Final = 640


class PortalsTab(DetailTab):
    def __init__(self, context: Context) -> None:
        super().__init__(context)
        columns = (
            Column("tpgt", self.tr("Portal group"), lambda p: str(p.tpgt), sort=lambda p: p.tpgt, width=116),
            Column("portal", self.tr("Portal"), lambda p: p.address, mono=True, elide_middle=True, width=140),
            Column(
                "answers",
                self.tr("Answers"),
                lambda p: portal_reach(p)[0],
                kind="state",
                tone=lambda p: portal_reach(p)[1],
                width=166,
            ),
            Column(
                "rtt",
                self.tr("Round trip"),
                lambda p: f"{p.round_trip_ms:.2f} ms" if p.round_trip_ms is not None else words.NONE,
                sort=lambda p: p.round_trip_ms if p.round_trip_ms is not None else 1e9,
                right=True,
                width=90,
            ),
            Column("route", self.tr("Interface and route"), self._route, width=204),
            Column("found", self.tr("Found by"), self._found_by, muted=True, stretch=True),
        )
        box = vertical(self)
        self._model = ObjectTableModel(columns, key=lambda p: f"{p.tpgt} {p.address}")
        table = TableView(
            self._model,
            self.tr("Portals"),
            preferences=context.preferences,
            layout_key="portals",
            sort_by="tpgt",
        )
        box.addWidget(table)
        table.opened.connect(self._log_in)
        self._target: Target | None = None
        self._shown: list[TargetPortal] = []

    def show_object(self, item: Any) -> None:
        self._target = item
        portals = list(item.portals) if item is not None else []
        if portals != self._shown:
            self._shown = portals
            self._model.set_objects(portals)

    def _route(self, portal: TargetPortal) -> str:
        return interface_for(portal.address, self.host.values("interfaces"))

    def _found_by(self, portal: TargetPortal) -> str:
        return found_by(self.host, portal.found_by)

    def _log_in(self, key: str) -> None:
        if self._target is not None:
            self.context.window.quick_connect(self._target.id, key.split(" ", 1)[1])


def found_by(host: Any, source_ids: list[str]) -> str:
    """`SendTargets, iSNS`: the kinds of the sources, each once."""
    kinds = []
    for source_id in source_ids:
        source = host.get("sources", source_id)
        kind = (
            source_kind(source)
            if source is not None
            else (translate("target_details", "by hand") if source_id == "manual" else source_id)
        )
        if kind not in kinds:
            kinds.append(kind)
    return ", ".join(kinds)


class ChangesTab(DetailTab):
    def __init__(self, context: Context) -> None:
        super().__init__(context)
        box = vertical(self, margin=16)
        head = horizontal(gap=8)
        self._pill = Pill()
        self._note = PlainLabel("", wrap=True, selectable=True)
        head.addWidget(self._pill)
        head.addWidget(self._note, 1)
        self._seen = Button(self.tr("I have seen it"), self._acknowledge)
        head.addWidget(self._seen)
        box.addLayout(head)
        box.addWidget(Line())
        self._facts = KeyValues()
        box.addWidget(self._facts)
        box.addStretch(1)
        self._target: Target | None = None

    def show_object(self, item: Any) -> None:
        self._target = item
        if item is None:
            return
        tones = {"new": "accent", "changed": "warning", "vanished": "bad"}
        self._pill.show_tag(item.change, tones.get(item.change, "muted"))  # type: ignore[arg-type]  # literals above
        self._note.setText(item.change_note or self.tr("Nothing changed since you last looked."))
        self._seen.setVisible(bool(item.change))
        now = self.context.now()
        sources = ", ".join(item.found_by) or self.tr("nothing any more")
        self._facts.show_pairs(
            (
                Pair(self.tr("Name"), item.id, mono=True),
                Pair(self.tr("Alias"), item.alias or words.NONE),
                Pair(self.tr("Named by"), sources),
                Pair(
                    self.tr("First seen"),
                    words.ago(now - item.first_seen_at) if item.first_seen_at else words.NONE,
                ),
                Pair(
                    self.tr("Last seen"),
                    words.ago(now - item.last_seen_at) if item.last_seen_at else words.NONE,
                ),
            )
        )

    def _acknowledge(self) -> None:
        if self._target is not None:
            self.host.call("targets.acknowledge", TargetByName(name=self._target.id), owner=self)


class LoginTab(DetailTab):
    """How to log in. Discovery never changes it."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        outer = vertical(self)
        area = QScrollArea()
        area.setWidgetResizable(True)
        area.setAccessibleName(self.tr("Log-in settings"))
        inner = QWidget()
        inner.setObjectName("scrolled")
        box = vertical(inner, margin=16)
        self.form = LoginForm(self.host)
        for field in (self.form.identity, self.form.mutual):
            field.offer_typed(False)
        self.form.setMaximumWidth(FORM_WIDTH_PX)
        box.addWidget(self.form)
        self._problem = InlineProblem()
        self._problem.setMaximumWidth(FORM_WIDTH_PX)
        box.addWidget(self._problem)
        row = horizontal(gap=8)
        self._apply = Button(self.tr("Apply"), self._save, kind="primary")
        self._revert = Button(self.tr("Revert"), self._show_saved)
        row.addWidget(self._apply)
        row.addWidget(self._revert)
        row.addWidget(
            PlainLabel(
                self.tr("Used at the next log-in; sessions that are up are not touched."), style="muted"
            )
        )
        row.addStretch(1)
        box.addLayout(row)
        box.addStretch(1)
        area.setWidget(inner)
        outer.addWidget(area)
        self._target: Target | None = None
        self.form.changed.connect(self._compare)

    def show_object(self, item: Any) -> None:
        before, self._target = self._target, item
        self.setEnabled(item is not None)
        if item is not None and (before is None or before.id != item.id or before.login != item.login):
            self._show_saved()

    def _show_saved(self) -> None:
        self._problem.hide()
        if self._target is not None:
            self.form.show_settings(self._target.login)
        self._compare()

    def _compare(self) -> None:
        differs = self._target is not None and self.form.settings() != self._target.login
        self._apply.setEnabled(differs)
        self._revert.setEnabled(differs)

    def _save(self) -> None:
        complaint = self.form.complaint()
        if complaint or self._target is None:
            self._problem.say(complaint)
            return
        params = SetLogin(name=self._target.id, login=self.form.settings())
        self.host.call("targets.set_login", params, self._saved, self._problem.show_problem, owner=self)

    def _saved(self, target: Target) -> None:
        self._problem.hide()
        self._target = target
        self._compare()
        self.context.window.say(self.tr("Log-in settings are saved"), "good")
