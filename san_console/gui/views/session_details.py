"""What else can be known about a session: connections, negotiated keys, LUNs, what happened, tasks."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any, Final

from PySide6.QtWidgets import QVBoxLayout

from san_console.api.engine_objects import Event, Job
from san_console.api.initiator_objects import Lun, NegotiatedKey, Session
from san_console.api.methods import ById, QueryEvents
from san_console.gui import words
from san_console.gui.context import Context
from san_console.gui.models.columns import Column
from san_console.gui.models.object_model import ObjectTableModel
from san_console.gui.theme.tokens import GAP_PX, Tone
from san_console.gui.views.page import DetailTab
from san_console.gui.widgets.cards import Line, clear, vertical
from san_console.gui.widgets.empty import EmptyState
from san_console.gui.widgets.key_values import KeyValues, Pair
from san_console.gui.widgets.progress import JobRow
from san_console.gui.widgets.table import TableView

_SEVERITY_TONES: Final[dict[str, Tone]] = {"info": "muted", "warning": "warning", "error": "bad"}
_CONNECTION_TONES: Final[dict[str, Tone]] = {"logged_in": "good", "lost": "bad", "failed": "bad"}
TIMELINE_LIMIT: Final = 200


def inner_table(
    model: ObjectTableModel, name: str, context: Context, key: str, sort_by: str = ""
) -> TableView:
    """A table inside a tab."""
    return TableView(model, name, preferences=context.preferences, layout_key=key, sort_by=sort_by)


CONNECTION_COLUMNS: Final = (
    Column("cid", "CID", lambda c: str(c.cid), sort=lambda c: c.cid, right=True, width=60),
    Column(
        "state",
        "State",
        lambda c: c.state.replace("_", " ").capitalize(),
        kind="state",
        tone=lambda c: _CONNECTION_TONES.get(c.state, "warning"),
        width=120,
    ),
    Column("local", "This side", lambda c: c.local, mono=True, elide_middle=True, width=190),
    Column("remote", "Target's portal", lambda c: c.remote, mono=True, elide_middle=True, stretch=True),
    Column("header", "Header digest", lambda c: c.header_digest, width=110),
    Column("data", "Data digest", lambda c: c.data_digest, width=110),
    Column(
        "since",
        "Since",
        lambda c: clock(c.connected_at) if c.connected_at else words.NONE,
        sort=lambda c: c.connected_at or 0.0,
        width=140,
        muted=True,
    ),
)


def clock(at: float) -> str:
    """`21 Nov 06:00:12`, local time."""
    return time.strftime("%d %b %H:%M:%S", time.localtime(at))


class ConnectionsTab(DetailTab):
    def __init__(self, context: Context) -> None:
        super().__init__(context)
        box = vertical(self, gap=0)
        self._facts = KeyValues(columns=2)
        holder = vertical(margin=GAP_PX)
        holder.addWidget(self._facts)
        box.addLayout(holder)
        box.addWidget(Line())
        self._model = ObjectTableModel(CONNECTION_COLUMNS, key=lambda c: str(c.cid))
        box.addWidget(inner_table(self._model, "Connections", context, "session-connections", "cid"), 1)

    def show_object(self, item: Any) -> None:
        session: Session | None = item
        self._model.set_objects(session.connections if session is not None else ())
        if session is None:
            return
        self._facts.show_pairs(
            (
                Pair("Target", session.target, mono=True),
                Pair("ISID, TSIH", f"{session.isid or words.NONE}, {session.tsih}", mono=True),
                Pair("Portal group", str(session.tpgt) if session.tpgt is not None else words.NONE),
                Pair(
                    "Authentication", session.auth if session.auth != "None" else "none", auth_tone(session)
                ),
                Pair("Reconnects", str(session.reconnects)),
                Pair("Digest errors", str(session.digest_errors), "bad" if session.digest_errors else None),
            )
        )


def auth_tone(session: Session) -> Tone | None:
    return "warning" if session.auth in ("None", "") else None


def _differs(key: NegotiatedKey) -> Tone:
    return "accent" if key.effective and key.effective != key.default else "text"


KEY_COLUMNS: Final = (
    Column("name", "Key", lambda k: k.name, mono=True, width=230),
    Column("offered", "Offered", lambda k: k.offered or words.NONE, mono=True, width=130),
    Column("answered", "Answered", lambda k: k.answered or words.NONE, mono=True, width=120),
    Column(
        "effective", "Effective", lambda k: k.effective or words.NONE, tone=_differs, mono=True, width=120
    ),
    Column("default", "Default", lambda k: k.default or words.NONE, mono=True, muted=True, width=100),
    Column("rule", "Rule (RFC 7143 §13)", lambda k: k.rule, muted=True, width=190),
    Column("note", "Note", lambda k: k.note, muted=True, stretch=True),
)


class KeysTab(DetailTab):
    def __init__(self, context: Context) -> None:
        super().__init__(context)
        box = vertical(self)
        self._model = ObjectTableModel(KEY_COLUMNS, key=lambda k: k.name)
        box.addWidget(inner_table(self._model, "Negotiated keys", context, "session-keys"))
        self._shown: list[NegotiatedKey] = []

    def show_object(self, item: Any) -> None:
        keys = list(item.keys) if item is not None else []
        if keys != self._shown:
            self._shown = keys
            self._model.set_objects(keys)


LUN_COLUMNS: Final = (
    Column("lun", "LUN", lambda one: str(one.lun), sort=lambda one: one.lun, right=True, width=60),
    Column(
        "identity", "Identity", lambda one: one.identity or "none", mono=True, elide_middle=True, stretch=True
    ),
    Column(
        "size", "Size", lambda one: words.size(one.size_bytes), sort=lambda one: one.size_bytes, right=True
    ),
    Column("vendor", "Vendor", lambda one: one.vendor, width=90),
    Column("product", "Product", lambda one: one.product, width=140),
    Column("content", "Content", lambda one: one.content, width=170),
    Column(
        "access", "Access", lambda one: "read-only" if one.read_only else "read-write", width=100, muted=True
    ),
)


class LunsTab(DetailTab):
    def __init__(self, context: Context) -> None:
        super().__init__(context)
        box = vertical(self)
        self._model = ObjectTableModel(LUN_COLUMNS)
        table = inner_table(self._model, "LUNs of this session", context, "session-luns", "lun")
        table.opened.connect(lambda lun_id: context.window.go("luns", lun_id))
        box.addWidget(table)
        self._shown: list[Lun] = []

    def show_object(self, item: Any) -> None:
        luns = [lun for lun in self.host.values("luns") if item is not None and lun.session_id == item.id]
        if luns != self._shown:
            self._shown = luns
            self._model.set_objects(luns)


EVENT_COLUMNS: Final = (
    Column("at", "Time", lambda e: clock(e.at), sort=lambda e: (e.at, _number(e)), muted=True, width=130),
    Column(
        "kind",
        "What",
        lambda e: e.kind.replace("_", " "),
        kind="state",
        tone=lambda e: _SEVERITY_TONES[e.severity],
        width=150,
    ),
    Column("text", "Text", lambda e: e.text, stretch=True),
    Column("cause", "Cause", lambda e: e.cause, width=220, muted=True, hidden=True),
    Column("side", "Decided by", lambda e: e.side, width=120, muted=True),
    Column("check", "Check", lambda e: e.check, width=260, muted=True),
)


def _number(event: Event) -> int:
    return int(event.id) if event.id.isdecimal() else 0


class TimelineTab(DetailTab):
    """What happened to the session, also from before this window was opened."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        box = vertical(self)
        self._model = ObjectTableModel(EVENT_COLUMNS)
        table = TableView(
            self._model,
            "Timeline",
            preferences=context.preferences,
            layout_key="session-timeline",
            sort_by="at",
            descending=True,
        )
        box.addWidget(table)
        self._object_id = ""
        self._older: list[Event] = []
        self._shown: set[str] = set()

    def show_object(self, item: Any) -> None:
        object_id = item.id if item is not None else ""
        if object_id != self._object_id:
            self._object_id = object_id
            self._older = []
            self._shown = set()
            self._model.set_objects(())
            if object_id:
                query = QueryEvents(object_id=object_id, limit=TIMELINE_LIMIT)
                self.host.call("events.query", query, partial(self._take, object_id), owner=self)
        self._show()

    def _take(self, object_id: str, events: list[Event]) -> None:
        if object_id == self._object_id:
            self._older = events
            self._show()

    def _show(self) -> None:
        known = {event.id: event for event in self._older}
        known.update({e.id: e for e in self.host.values("events") if e.object_id == self._object_id})
        if known.keys() != self._shown:
            self._shown = set(known)
            self._model.set_objects(known.values())


class TasksTab(DetailTab):
    def __init__(self, context: Context) -> None:
        super().__init__(context)
        box = vertical(self, margin=8, gap=0)
        self._empty = EmptyState("list-checks", "No tasks", "Rescans, copies and measurements show here.")
        box.addWidget(self._empty)
        self._rows: QVBoxLayout = vertical(gap=0)
        box.addLayout(self._rows)
        box.addStretch(1)
        self._made: dict[str, JobRow] = {}

    def show_object(self, item: Any) -> None:
        jobs = self._of(item, self.host.values("jobs")) if item is not None else []
        if [job.id for job in jobs] != list(self._made):
            clear(self._rows)
            self._made = {job.id: JobRow(job, self._cancel, self._dismiss) for job in jobs}
            for row in self._made.values():
                self._rows.addWidget(row)
        for job in jobs:
            self._made[job.id].show_job(job)
        self._empty.setVisible(not jobs)

    @staticmethod
    def _of(session: Session, jobs: Iterable[Job]) -> Sequence[Job]:
        prefix = f"{session.id}/"
        mine = (job for job in jobs if job.object_id == session.id or job.object_id.startswith(prefix))
        return sorted(mine, key=lambda job: -job.started_at)

    def _cancel(self, job_id: str) -> None:
        self.host.call("jobs.cancel", ById(id=job_id), owner=self)

    def _dismiss(self, job_id: str) -> None:
        self.host.call("jobs.dismiss", ById(id=job_id), owner=self)
