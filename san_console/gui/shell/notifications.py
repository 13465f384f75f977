"""The panel under the bell: tasks that run or ended, and what went wrong lately."""

from __future__ import annotations

from typing import Final

from PySide6.QtCore import QPoint, Qt
from PySide6.QtGui import QKeyEvent
from PySide6.QtWidgets import QScrollArea, QSizePolicy, QVBoxLayout, QWidget

from san_console.api.engine_objects import Event
from san_console.api.methods import ById
from san_console.gui import words
from san_console.gui.context import Context
from san_console.gui.theme.tokens import Tone
from san_console.gui.widgets.buttons import Button
from san_console.gui.widgets.cards import Frame, Line, clear, horizontal, vertical
from san_console.gui.widgets.labels import PlainLabel
from san_console.gui.widgets.progress import JobRow
from san_console.gui.widgets.state import Dot

WIDTH_PX: Final = 400
MAX_EVENTS: Final = 12
SEVERITY_TONES: Final[dict[str, Tone]] = {"info": "accent", "warning": "warning", "error": "bad"}


class _EventRow(QWidget):
    def __init__(self, event: Event, now: float) -> None:
        super().__init__()
        row = horizontal(self, margin=8, gap=8)
        dot = vertical()
        # In the middle of the first line of text.
        dot.setContentsMargins(0, 4, 0, 0)
        dot.addWidget(Dot(SEVERITY_TONES[event.severity]))
        dot.addStretch()
        texts = vertical(gap=2)
        texts.addWidget(PlainLabel(event.text, wrap=True))
        details = " · ".join(part for part in (words.ago(now - event.at), event.check) if part)
        texts.addWidget(PlainLabel(details, style="small", wrap=True))
        row.addLayout(dot)
        row.addLayout(texts, 1)


class NotificationPanel(Frame):
    """Opens below the bell; Escape or a click elsewhere closes it."""

    def __init__(self, context: Context, parent: QWidget) -> None:
        super().__init__("popup", parent)
        self._context = context
        self._rows: dict[str, JobRow] = {}
        self.setAccessibleName(self.tr("Notifications"))
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setFixedWidth(WIDTH_PX)
        box = vertical(self, margin=12, gap=8)
        box.addWidget(PlainLabel(self.tr("Tasks"), style="strong"))
        self._tasks = vertical(gap=0)
        self._no_tasks = PlainLabel(self.tr("Nothing is running."), style="muted")
        box.addWidget(self._no_tasks)
        box.addLayout(self._tasks)
        box.addWidget(Line())
        box.addWidget(PlainLabel(self.tr("Lately"), style="strong"))
        area = QScrollArea()
        area.setWidgetResizable(True)
        area.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        inner = QWidget()
        inner.setObjectName("scrolled")
        inner.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Minimum)
        self._events: QVBoxLayout = vertical(inner, gap=0)
        area.setWidget(inner)
        box.addWidget(area, 1)
        row = horizontal()
        row.addStretch()
        row.addWidget(Button(self.tr("All events"), self._all_events))
        box.addLayout(row)
        context.host.changed.connect(self._changed)
        context.host.reset.connect(self._refresh)
        self.hide()

    def open_at(self, corner: QPoint, height: int) -> None:
        """`corner`: where the upper right corner goes, in the parent's coordinates."""
        self._refresh()
        self.setFixedHeight(min(height, 560))
        self.move(corner.x() - self.width(), corner.y())
        self.show()
        self.raise_()
        self.setFocus()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() == Qt.Key.Key_Escape:
            self.hide()
            return
        super().keyPressEvent(event)

    def _all_events(self) -> None:
        self.hide()
        self._context.window.go("events")

    def _changed(self, collection: str, _changes: list[object]) -> None:
        if self.isVisible() and collection in ("jobs", "events"):
            self._refresh()

    def _refresh(self) -> None:
        jobs = sorted(self._context.host.values("jobs"), key=lambda job: -job.started_at)
        self._no_tasks.setVisible(not jobs)
        if [job.id for job in jobs] != list(self._rows):
            clear(self._tasks)
            self._rows = {job.id: JobRow(job, self._cancel, self._dismiss) for job in jobs}
            for made in self._rows.values():
                self._tasks.addWidget(made)
        for job in jobs:
            self._rows[job.id].show_job(job)
        clear(self._events)
        now = self._context.now()
        events = [event for event in self._context.host.values("events") if event.severity != "info"]
        for event in sorted(events, key=lambda event: -event.at)[:MAX_EVENTS]:
            self._events.addWidget(_EventRow(event, now))
        if not events:
            self._events.addWidget(PlainLabel(self.tr("Nothing went wrong."), style="muted"))
        self._events.addStretch(1)

    def _cancel(self, job_id: str) -> None:
        self._context.host.call("jobs.cancel", ById(id=job_id))

    def _dismiss(self, job_id: str) -> None:
        self._context.host.call("jobs.dismiss", ById(id=job_id))
