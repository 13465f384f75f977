"""The tasks of one object: progress, result, cancel and dismiss."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QFrame, QScrollArea, QWidget

from san_console.api.engine_objects import Job
from san_console.api.methods import ById
from san_console.gui.context import Context
from san_console.gui.widgets.cards import vertical
from san_console.gui.widgets.empty import EmptyState
from san_console.gui.widgets.progress import JobRow


class JobList(QWidget):
    """Rows are kept while their job lives, so that a progress bar does not flicker."""

    def __init__(self, context: Context, nothing: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._context = context
        self.rows: dict[str, JobRow] = {}
        outer = vertical(self, gap=0)
        self._empty = EmptyState("list-checks", nothing)
        outer.addWidget(self._empty, 1)
        self._area = QScrollArea()
        self._area.setWidgetResizable(True)
        self._area.setFrameShape(QFrame.Shape.NoFrame)
        self._area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self._area.setAccessibleName(self.tr("Tasks"))
        holder = QWidget()
        holder.setObjectName("scrolled")
        self._column = vertical(holder, margin=8, gap=4)
        self._column.addStretch(1)
        self._area.setWidget(holder)
        outer.addWidget(self._area, 1)

    def show_jobs(self, jobs: Iterable[Job]) -> None:
        """Newest first."""
        wanted = sorted(jobs, key=lambda job: (job.state != "running", -job.started_at))
        ids = [job.id for job in wanted]
        for gone in [known for known in self.rows if known not in ids]:
            self.rows.pop(gone).deleteLater()
        for place, job in enumerate(wanted):
            row = self.rows.get(job.id)
            if row is None:
                row = self.rows[job.id] = JobRow(job, self._ask("jobs.cancel"), self._ask("jobs.dismiss"))
            else:
                row.show_job(job)
            if self._column.indexOf(row) != place:
                self._column.removeWidget(row)
                self._column.insertWidget(place, row)
        self._empty.setVisible(not ids)
        self._area.setVisible(bool(ids))

    def _ask(self, method: str) -> Callable[[str], object]:
        return lambda job_id: self._context.host.call(method, ById(id=job_id))
