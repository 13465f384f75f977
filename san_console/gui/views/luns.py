"""LUNs: every logical unit behind our sessions, known by its identity, with what is on it."""

from __future__ import annotations

from collections import Counter
from typing import Any, Final

from PySide6.QtCore import Qt
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QMenu

from san_console.api.engine_objects import Job
from san_console.api.initiator_objects import Lun
from san_console.api.methods import ById
from san_console.console import commands
from san_console.gui import words
from san_console.gui.context import Context
from san_console.gui.dialogs.lun_jobs import BenchDialog, SaveLunDialog, WriteLunDialog
from san_console.gui.models.columns import Column
from san_console.gui.models.object_model import ObjectTableModel
from san_console.gui.models.object_names import lun_name
from san_console.gui.theme.tokens import Tone
from san_console.gui.translation import QT_TRANSLATE_NOOP, translate, translated
from san_console.gui.views.luns_content import ContentTab
from san_console.gui.views.luns_identity import IdentityTab
from san_console.gui.views.luns_performance import PerformanceTab, TasksTab
from san_console.gui.views.page import Details, FilterRow, KeptSplitter, Page
from san_console.gui.widgets.buttons import Button, enable
from san_console.gui.widgets.empty import EmptyState, TableCard
from san_console.gui.widgets.menus import add_action
from san_console.gui.widgets.problems import InlineProblem
from san_console.gui.widgets.table import TableView
from san_console.names.display import visible

_STATE_WORDS: Final[dict[str, str]] = {
    "ready": QT_TRANSLATE_NOOP("Table", "Ready"),
    "reading": QT_TRANSLATE_NOOP("Table", "Reading"),
    "failed": QT_TRANSLATE_NOOP("Table", "Failed"),
}
_STATE_TONES: Final[dict[str, Tone]] = {"ready": "good", "reading": "muted", "failed": "bad"}


def state_text(lun: Lun) -> str:
    """The state in a word or two; another unit than before is worth more than being ready."""
    if lun.state == "ready" and lun.identity_changed_from:
        return translate("luns", "Another unit")
    return translated(_STATE_WORDS.get(lun.state, lun.state))


def state_tone(lun: Lun) -> Tone:
    return "bad" if lun.identity_changed_from else _STATE_TONES.get(lun.state, "muted")


def flags(lun: Lun) -> str:
    """`read-only, thin`."""
    return ", ".join(
        text
        for text, on in (
            (translate("luns", "read-only"), lun.read_only),
            (translate("luns", "thin"), lun.thin),
        )
        if on
    )


class LunsPage(Page):
    """A row for each LUN of each session; units that two sessions reach show how many paths they have."""

    key = "luns"
    title = "LUNs"
    collections = ("luns", "sessions", "jobs", "target_sessions")

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._paths: Counter[str] = Counter()
        self._ready_paths: Counter[str] = Counter()
        self.rescan_button = Button(self.tr("Rescan"), self.renew, icon="refresh-cw", tip="F5")
        self.bench_button = Button(self.tr("Benchmark…"), self._bench)
        self.write_button = Button(self.tr("Write from file…"), self._write, kind="danger")
        self.save_button = Button(self.tr("Save to file…"), self._save, kind="primary")
        self.set_actions(self.rescan_button, self.bench_button, self.write_button, self.save_button)
        self.model = ObjectTableModel(
            self._columns(),
            fields={
                "target": lambda lun: lun.target,
                "portal": self._portal,
                "flag": flags,
                "serial": lambda lun: lun.serial,
            },
        )
        self.filter = FilterRow(
            self.model,
            self.tr("Filter: content:ext4 target:prod"),
            [
                ("all", self.tr("All"), None),
                (
                    "trouble",
                    self.tr("Trouble"),
                    lambda lun: lun.state == "failed" or bool(lun.identity_changed_from),
                ),
                ("readonly", self.tr("Read-only"), lambda lun: lun.read_only),
                (self.tr("thin"), self.tr("Thin"), lambda lun: lun.thin),
                ("empty", self.tr("Empty"), lambda lun: lun.content == "empty"),
            ],
        )
        self.body.addWidget(self.filter)
        self.table = TableView(
            self.model,
            self.tr("LUNs"),
            preferences=context.preferences,
            layout_key="luns",
            sort_by="where",
            multiple=True,
        )
        self.table.fill_menu = self._fill_menu
        self.table.chosen.connect(self._chosen)
        self.table.opened.connect(self._open_content)
        card = TableCard(
            self.table,
            EmptyState(
                "database",
                self.tr("No LUNs yet"),
                self.tr("LUNs appear here when a session is logged in to a target."),
                self.tr("Find a target…"),
                lambda: context.window.go("discover"),
            ),
            self.filter.clear,
        )
        card.setMinimumHeight(110)
        self.warning = InlineProblem()
        self.body.addWidget(self.warning)
        self.details = Details(
            context,
            "luns",
            [
                ("content", self.tr("Content"), lambda: ContentTab(context)),
                ("identity", self.tr("Identity and limits"), lambda: IdentityTab(context)),
                ("performance", self.tr("Performance"), lambda: PerformanceTab(context, self._bench)),
                ("tasks", self.tr("Tasks"), lambda: TasksTab(context)),
            ],
        )
        self.details.setMinimumHeight(180)
        self.body.addWidget(
            KeptSplitter(context, "luns", Qt.Orientation.Vertical, [230, 396], card, self.details), 1
        )
        self.reload()

    def _columns(self) -> list[Column]:
        return [
            Column(
                "identity",
                self.tr("Identity"),
                lambda lun: lun.identity or self.tr("no identity"),
                tone=lambda lun: "bad" if lun.identity_changed_from else "text" if lun.identity else "muted",
                tooltip=lambda lun: (
                    self.tr("was {identity_changed_from}").format(
                        identity_changed_from=lun.identity_changed_from
                    )
                    if lun.identity_changed_from
                    else lun.identity
                ),
                mono=True,
                elide_middle=True,
                width=232,
                stretch=True,
            ),
            Column(
                "where",
                self.tr("Target · LUN"),
                lambda lun: lun_name(lun.target, lun.lun),
                sort=lambda lun: (lun.target, lun.lun, lun.session_id),
                tooltip=lambda lun: f"{lun.target}\n{self._portal(lun)}",
                elide_middle=True,
                width=120,
            ),
            Column(
                "size",
                self.tr("Size"),
                lambda lun: words.size(lun.size_bytes) if lun.size_bytes else words.NONE,
                sort=lambda lun: lun.size_bytes,
                right=True,
                width=88,
            ),
            Column(
                "vendor",
                self.tr("Vendor, product"),
                lambda lun: " ".join(text for text in (lun.vendor, lun.product) if text) or words.NONE,
                width=160,
            ),
            Column("content", self.tr("Content"), lambda lun: lun.content or words.NONE, width=138),
            Column("flags", self.tr("Flags"), flags, muted=True, width=96),
            Column(
                "state",
                self.tr("State"),
                state_text,
                kind="state",
                tone=state_tone,
                tooltip=lambda lun: lun.problem.message if lun.problem is not None else "",
                width=118,
            ),
            Column(
                "paths",
                self.tr("Paths"),
                self._path_text,
                sort=lambda lun: self._paths[lun.identity],
                kind="state",
                tone=self._path_tone,
                width=88,
            ),
            Column("portal", self.tr("Portal"), self._portal, mono=True, width=150, hidden=True),
            Column("serial", self.tr("Serial"), lambda lun: lun.serial, mono=True, width=120, hidden=True),
        ]

    # Page

    def reload(self) -> None:
        self._count_paths()
        self.model.set_objects(self.host.values("luns"))
        self._select_first()

    def apply_changes(self, collection: str, changes: list[Any]) -> None:
        if collection == "luns":
            self._count_paths()
            self.model.apply(changes)
            self._select_first()

    def refresh(self) -> None:
        luns: list[Lun] = self.host.values("luns")
        units = {lun.identity or lun.id: lun.size_bytes for lun in luns}
        parts = [words.counted(len(units), "LUN")]
        if luns:
            parts += [words.counted(len(luns), "path"), words.size(sum(units.values()))]
        changed = sum(bool(lun.identity_changed_from) for lun in luns)
        if changed:
            parts.append(self.tr("{changed} changed identity").format(changed=changed))
        self.summary.setText(", ".join(parts))
        self.filter.count()
        # An empty page says what to do first, and nothing else.
        self.filter.setVisible(bool(luns))
        self.details.setVisible(bool(luns))
        self._chosen()

    def sampled(self) -> None:
        self.details.sampled()

    def select(self, identifier: str) -> None:
        if not self.table.select_id(identifier):
            self.filter.clear()
            self.table.select_id(identifier)

    def focus_filter(self) -> None:
        self.filter.line.setFocus()

    def renew(self) -> None:
        """Ask the targets of the selected LUNs (of all, when none is selected) for their LUNs again."""
        chosen = {lun.session_id for lun in self.table.selected_objects()}
        sessions = chosen or {lun.session_id for lun in self.host.values("luns")}
        for session_id in sorted(sessions):
            self.host.call("sessions.rescan", ById(id=session_id), owner=self)

    # what is selected

    def _select_first(self) -> None:
        """The first LUN that can be looked into; a failed one only where there is no other."""
        if self.table.selectionModel().hasSelection():
            return
        shown = self.model.shown_ids()
        ready = (known for known in shown if self.model.get(known).state == "ready")
        self.table.select_id(next(ready, shown[0] if shown else ""))

    def _current(self) -> Lun | None:
        item = self.table.current_object()
        return item if isinstance(item, Lun) else None

    def _chosen(self) -> None:
        lun = self._current()
        one = len(self.table.selected_ids()) == 1
        ready = one and lun is not None and lun.state == "ready"
        why = self.tr("Select one LUN") if not one else self.tr("The LUN is not ready")
        enable(self.rescan_button, lun is not None, self.tr("There is no LUN"))
        enable(self.bench_button, ready, why)
        enable(self.save_button, ready, why)
        read_only = ready and lun is not None and lun.read_only
        enable(
            self.write_button, ready and not read_only, self.tr("The LUN is read-only") if read_only else why
        )
        jobs = [job for job in self.host.values("jobs") if lun is not None and job.object_id == lun.id]
        running = sum(job.state == "running" for job in jobs)
        self.details.set_title(
            "tasks", self.tr("Tasks {running}").format(running=running) if running else self.tr("Tasks")
        )
        self._warn(lun)
        self.details.show_object(lun)

    def _warn(self, lun: Lun | None) -> None:
        if lun is None or not lun.identity_changed_from:
            self.warning.hide()
            return
        self.warning.say(
            visible(
                self.tr(
                    "Another unit stands at {lun_name} than before. It was "
                    "{identity_changed_from}, now it is {identity}."
                ).format(
                    lun_name=lun_name(lun.target, lun.lun),
                    identity_changed_from=lun.identity_changed_from,
                    identity=lun.identity or self.tr("without an identity"),
                ),
                1000,
            ),
            visible(words.short_name(lun.target)),
            self.tr("Do not write to it before you know why: ask who changed the target."),
        )

    def _portal(self, lun: Lun) -> str:
        session = self.host.get("sessions", lun.session_id)
        return session.portal if session is not None else words.NONE

    # paths: the same unit over several sessions

    def _count_paths(self) -> None:
        luns: list[Lun] = self.host.values("luns")
        self._paths = Counter(lun.identity for lun in luns)
        self._ready_paths = Counter(lun.identity for lun in luns if lun.state == "ready")

    def _path_counts(self, lun: Lun) -> tuple[int, int]:
        if not lun.identity:
            return (int(lun.state == "ready"), 1)
        return (self._ready_paths[lun.identity], self._paths[lun.identity])

    def _path_text(self, lun: Lun) -> str:
        up, count = self._path_counts(lun)
        return self.tr("{up} of {count}").format(up=up, count=count)

    def _path_tone(self, lun: Lun) -> Tone:
        up, count = self._path_counts(lun)
        return "good" if up == count else "warning" if up else "bad"

    # actions

    def _started(self, job: Job) -> None:
        self.context.window.say(self.tr("Started: {title}").format(title=visible(job.title, 120)))
        self.details.open("tasks")

    def _open_content(self, _identifier: str) -> None:
        self.details.open("content")

    def _save(self) -> None:
        lun = self._current()
        if lun is not None:
            SaveLunDialog(self.context, lun, self._started, self).open()

    def _write(self) -> None:
        lun = self._current()
        if lun is not None:
            WriteLunDialog(self.context, lun, self._started, self).open()

    def _bench(self) -> None:
        lun = self._current()
        if lun is not None and lun.state == "ready":
            BenchDialog(self.context, lun, self._bench_started, self).open()

    def _bench_started(self, job: Job) -> None:
        self._started(job)

    def _fill_menu(self, menu: QMenu) -> None:
        lun = self._current()
        if lun is None:
            return
        add_action(
            menu, self.tr("Save to file…"), self._save, icon="download", enabled=self.save_button.isEnabled()
        )
        add_action(
            menu,
            self.tr("Write from file…"),
            self._write,
            icon="upload",
            enabled=self.write_button.isEnabled(),
            danger=True,
        )
        add_action(
            menu, self.tr("Benchmark…"), self._bench, icon="gauge", enabled=self.bench_button.isEnabled()
        )
        menu.addSeparator()
        add_action(menu, self.tr("Copy identity"), lambda: _copy(lun.identity), enabled=bool(lun.identity))
        url = commands.lun_url(self._portal(lun), lun.target, lun.lun)
        add_action(menu, self.tr("Copy URL"), lambda: _copy(url))
        add_action(
            menu, self.tr("Copy as san-console lun info"), lambda: self._copy_command(url), icon="terminal"
        )
        add_action(
            menu,
            self.tr("Go to the session of {target}").format(target=words.short_name(lun.target)),
            lambda: self.context.window.go("sessions", lun.session_id),
            icon="activity",
        )

    def _copy_command(self, url: str) -> None:
        try:
            _copy(commands.lun_info(url))
        except ValueError as error:
            self.context.window.say(str(error), "warning")


def _copy(text: str) -> None:
    QGuiApplication.clipboard().setText(visible(text, 2000))
