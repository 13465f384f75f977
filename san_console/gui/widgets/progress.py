"""One long work in a row: what it is, how far it is, how to end it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QProgressBar, QWidget

from san_console.api.engine_objects import Job
from san_console.gui import words
from san_console.gui.theme.tokens import Tone
from san_console.gui.translation import translate
from san_console.gui.widgets.buttons import IconButton
from san_console.gui.widgets.cards import horizontal, vertical
from san_console.gui.widgets.labels import ElidedLabel
from san_console.names.display import visible

_STATE_TONES: Final[dict[str, Tone]] = {
    "running": "muted",
    "done": "good",
    "failed": "bad",
    "cancelled": "warning",
}
_STEPS: Final = 1000


def how_far(job: Job) -> str:
    """`running · 1.2 GiB of 4.0 GiB`, `failed: …`, `done`."""
    if job.state != "running":
        return (
            translate("progress", "failed: {message}").format(message=job.problem.message)
            if job.problem is not None
            else job.message or job.state
        )
    if job.unit == "bytes":
        count = words.size(job.done)
        if job.total:
            count = translate("progress", "{done} of {total}").format(done=count, total=words.size(job.total))
    elif job.total:
        count = (
            translate("progress", "{done:,.0f} of {total:,.0f} {unit}")
            .format(done=job.done, total=job.total, unit=job.unit)
            .rstrip()
        )
    else:
        count = ""
    return " · ".join(part for part in (job.message, count) if part) or translate("progress", "running")


class JobRow(QWidget):
    """Shows a `Job` and keeps itself current through `show_job`."""

    def __init__(
        self, job: Job, on_cancel: Callable[[str], object], on_dismiss: Callable[[str], object]
    ) -> None:
        super().__init__()
        self.job_id = job.id
        row = horizontal(self, margin=8, gap=8)
        title = visible(job.title)
        texts = vertical(gap=4)
        self._title = ElidedLabel(job.title, style="strong", elide=Qt.TextElideMode.ElideRight)
        self._state = ElidedLabel("", style="small", elide=Qt.TextElideMode.ElideRight)
        self._bar = QProgressBar()
        self._bar.setTextVisible(False)
        texts.addWidget(self._title)
        texts.addWidget(self._bar)
        texts.addWidget(self._state)
        self._cancel = IconButton(
            "x", self.tr("Cancel: {title}").format(title=title), lambda: on_cancel(self.job_id), role="muted"
        )
        self._dismiss = IconButton(
            "check",
            self.tr("Dismiss: {title}").format(title=title),
            lambda: on_dismiss(self.job_id),
            role="muted",
        )
        row.addLayout(texts, 1)
        row.addWidget(self._cancel)
        row.addWidget(self._dismiss)
        self.show_job(job)

    def show_job(self, job: Job) -> None:
        running = job.state == "running"
        self._title.setText(job.title)
        self._state.setText(how_far(job))
        self._state.set_tone(_STATE_TONES[job.state])
        self._bar.setVisible(running)
        self._bar.setAccessibleName(self.tr("Progress of {title}").format(title=visible(job.title)))
        # 0 to 0 is Qt's way of saying "for as long as it takes".
        self._bar.setRange(0, _STEPS if job.total else 0)
        if job.total:
            self._bar.setValue(int(_STEPS * min(job.done / job.total, 1.0)))
        self._cancel.setVisible(running)
        self._dismiss.setVisible(not running)
