"""Long work with a LUN: copy it to a file, overwrite it from a file, measure it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

from PySide6.QtWidgets import QCheckBox, QComboBox, QFormLayout, QLineEdit, QWidget

from san_console.api.engine_objects import Job
from san_console.api.initiator_objects import Lun
from san_console.api.methods import BenchLun, FileToLun, LunToFile
from san_console.gui import words
from san_console.gui.context import Context
from san_console.gui.dialogs.base import BaseDialog
from san_console.gui.models.object_names import lun_name
from san_console.gui.models.sizes import parse_size
from san_console.gui.translation import QT_TRANSLATE_NOOP, translate, translated
from san_console.gui.widgets.file_choice import PathField
from san_console.gui.widgets.labels import PlainLabel, restyle
from san_console.names.display import visible

OnStarted = Callable[[Job], object]


def _form(dialog: BaseDialog, fields: list[tuple[str, QWidget]]) -> None:
    form = QFormLayout()
    form.setHorizontalSpacing(14)
    form.setVerticalSpacing(10)
    form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
    for label, widget in fields:
        if label:
            widget.setAccessibleName(label)
            form.addRow(PlainLabel(label, style="muted"), widget)
        else:
            form.addRow("", widget)
    dialog.content.addLayout(form)


class _Bytes(QLineEdit):
    """An amount of bytes; red while it is none."""

    def __init__(self, text: str, empty: int | None) -> None:
        super().__init__(text)
        self._empty = empty
        self.setProperty("mono", True)
        self.setPlaceholderText("0" if empty == 0 else self.tr("to the end"))
        self.textChanged.connect(self._mark)

    def value(self) -> int | None:
        """Raises ValueError."""
        text = self.text().strip()
        return parse_size(text) if text else self._empty

    @property
    def acceptable(self) -> bool:
        try:
            self.value()
        except ValueError:
            return False
        return True

    def _mark(self) -> None:
        self.setProperty("invalid", not self.acceptable)
        restyle(self)


class SaveLunDialog(BaseDialog):
    """LUN → file. The engine writes the file, on the computer where it runs."""

    def __init__(
        self, context: Context, lun: Lun, on_started: OnStarted, parent: QWidget | None = None
    ) -> None:
        name = lun_name(lun.target, lun.lun)
        super().__init__(
            self.tr("Save {name} to a file").format(name=visible(name, 80)),
            self.tr("Save to file"),
            width_px=560,
            parent=parent,
        )
        self._context, self._lun, self._on_started = context, lun, on_started
        self.content.addWidget(
            PlainLabel(
                self.tr("{size_bytes} · {identity}").format(
                    size_bytes=words.size(lun.size_bytes), identity=lun.identity or self.tr("no identity")
                ),
                style="muted",
                wrap=True,
            )
        )
        tail = "".join(letter if letter.isalnum() else "-" for letter in name.replace(" ", ""))[:60]
        self.path = PathField(self.tr("File"), save=True, suggested=str(Path.home() / f"{tail}.img"))
        self.offset = _Bytes("", 0)
        self.length = _Bytes("", None)
        self.overwrite = QCheckBox(self.tr("Overwrite the file when it exists"))
        _form(
            self,
            [
                (self.tr("File"), self.path),
                (self.tr("From byte"), self.offset),
                (self.tr("Length"), self.length),
                ("", self.overwrite),
            ],
        )
        self.path.line.textChanged.connect(self._check)
        self.offset.textChanged.connect(self._check)
        self.length.textChanged.connect(self._check)
        self._check()

    def _check(self) -> None:
        self.accept_button.setEnabled(
            bool(self.path.path) and self.offset.acceptable and self.length.acceptable
        )

    def do(self) -> None:
        self._context.host.call(
            "luns.to_file",
            LunToFile(
                id=self._lun.id,
                path=self.path.path,
                offset_bytes=self.offset.value() or 0,
                length_bytes=self.length.value(),
                overwrite=self.overwrite.isChecked(),
            ),
            self._started,
            self.finished_badly,
            owner=self,
        )

    def _started(self, job: Job) -> None:
        self._on_started(job)
        self.finished_ok()


class WriteLunDialog(BaseDialog):
    """File → LUN. What is there is lost, so the identity has to be typed."""

    def __init__(
        self, context: Context, lun: Lun, on_started: OnStarted, parent: QWidget | None = None
    ) -> None:
        name = visible(lun_name(lun.target, lun.lun), 80)
        super().__init__(
            self.tr("Overwrite {name} from a file").format(name=name),
            self.tr("Overwrite LUN"),
            kind="destroy",
            width_px=600,
            parent=parent,
        )
        self._context, self._lun, self._on_started = context, lun, on_started
        self.wanted = lun.identity or lun.id
        for line in hit_by_writing(context, lun):
            self.content.addWidget(PlainLabel(f"•  {visible(line, 500)}", wrap=True))
        self.path = PathField(self.tr("File to write"))
        self.offset = _Bytes("", 0)
        _form(self, [(self.tr("File to write"), self.path), (self.tr("To byte"), self.offset)])
        shown = visible(self.wanted)
        what = "identity" if lun.identity else self.tr("id, since it has no identity")
        self.content.addWidget(
            PlainLabel(
                self.tr("Type the LUN's {what}, to confirm:").format(what=what), style="muted", wrap=True
            )
        )
        self.content.addWidget(PlainLabel(shown, mono=True, selectable=True, wrap=True))
        self.typed = QLineEdit()
        self.typed.setProperty("mono", True)
        self.typed.setAccessibleName(self.tr("Identity of the LUN to overwrite"))
        self.content.addWidget(self.typed)
        for line_edit in (self.path.line, self.offset, self.typed):
            line_edit.textChanged.connect(self._check)
        self._check()

    def _check(self) -> None:
        confirmed = self.typed.text().strip() == visible(self.wanted)
        self.accept_button.setEnabled(confirmed and bool(self.path.path) and self.offset.acceptable)

    def do(self) -> None:
        self._context.host.call(
            "luns.from_file",
            FileToLun(
                id=self._lun.id,
                path=self.path.path,
                offset_bytes=self.offset.value() or 0,
                confirm_identity=self.wanted,
            ),
            self._started,
            self.finished_badly,
            owner=self,
        )

    def _started(self, job: Job) -> None:
        self._on_started(job)
        self.finished_ok()


def hit_by_writing(context: Context, lun: Lun) -> list[str]:
    """Whom and what an overwritten LUN hits, one sentence each."""
    lines = []
    if lun.content == "empty":
        lines.append(translate("lun_jobs", "The LUN looks empty; its first blocks hold zeros."))
    elif lun.content and not lun.content.startswith("unknown"):
        lines.append(
            translate("lun_jobs", "{content} on it is destroyed. There is no way back.").format(
                content=lun.content
            )
        )
    else:
        lines.append(translate("lun_jobs", "Whatever is on it is destroyed. There is no way back."))
    if lun.identity_changed_from:
        lines.append(
            translate(
                "lun_jobs", "Another unit stands here than before: be sure that it is the one you mean."
            )
        )
    paths = [
        other
        for other in context.host.values("luns")
        if lun.identity and other.identity == lun.identity and other.id != lun.id
    ]
    if paths:
        lines.append(
            translate("lun_jobs", "The same unit is open over {paths} here.").format(
                paths=words.counted(len(paths), "other session")
            )
        )
    users = [
        session
        for session in context.host.values("target_sessions")
        if session.target == lun.target and lun.lun in session.luns and not session.own
    ]
    lines += [
        translate("lun_jobs", "{initiator} uses it now, from {address}.").format(
            initiator=session.initiator, address=session.address
        )
        for session in users[:8]
    ]
    if len(users) > 8:
        lines.append(
            translate("lun_jobs", "{users} more initiators use it now.").format(users=len(users) - 8)
        )
    if not users and context.host.get("local_targets", lun.target) is None:
        lines.append(
            translate("lun_jobs", "Other initiators of the target may use it; this computer cannot see them.")
        )
    running = [
        job for job in context.host.values("jobs") if job.object_id == lun.id and job.state == "running"
    ]
    lines += [
        translate("lun_jobs", "A task works with it: {title}.").format(title=job.title) for job in running
    ]
    return lines


_PATTERNS: Final = (
    ("randread", QT_TRANSLATE_NOOP("Table", "Random reads")),
    ("read", QT_TRANSLATE_NOOP("Table", "Sequential reads")),
)
_BLOCKS: Final = (512, 4096, 8192, 65536, 262144, 1048576)
_DEPTHS: Final = (1, 4, 8, 16, 32, 64, 128)
_SECONDS: Final = (5, 10, 30, 60)


class BenchDialog(BaseDialog):
    """A measurement that only reads."""

    def __init__(
        self, context: Context, lun: Lun, on_started: OnStarted, parent: QWidget | None = None
    ) -> None:
        name = visible(lun_name(lun.target, lun.lun), 80)
        super().__init__(self.tr("Benchmark {name}").format(name=name), self.tr("Start"), parent=parent)
        self._context, self._lun, self._on_started = context, lun, on_started
        self.content.addWidget(
            PlainLabel(
                self.tr(
                    "Reads as fast as the target answers. Nothing is written; others will notice the load."
                ),
                style="muted",
                wrap=True,
            )
        )
        self.pattern, self.block, self.queue_depth, self.time = (QComboBox() for _ in range(4))
        for key, title in _PATTERNS:
            self.pattern.addItem(translated(title), key)
        for size in _BLOCKS:
            if size >= lun.block_bytes:
                self.block.addItem(words.size(size), size)
        for depth in _DEPTHS:
            self.queue_depth.addItem(str(depth), depth)
        for seconds in _SECONDS:
            self.time.addItem(words.duration(seconds), seconds)
        for box, wanted in ((self.block, 4096), (self.queue_depth, 32), (self.time, 10)):
            box.setCurrentIndex(max(box.findData(wanted), 0))
        _form(
            self,
            [
                (self.tr("Pattern"), self.pattern),
                (self.tr("Block size"), self.block),
                (self.tr("Commands at once"), self.queue_depth),
                (self.tr("For"), self.time),
            ],
        )

    def do(self) -> None:
        self._context.host.call(
            "luns.bench",
            BenchLun(
                id=self._lun.id,
                block_bytes=int(self.block.currentData()),
                queue_depth=int(self.queue_depth.currentData()),
                seconds=float(self.time.currentData()),
                pattern="read" if self.pattern.currentData() == "read" else "randread",
            ),
            self._started,
            self.finished_badly,
            owner=self,
        )

    def _started(self, job: Job) -> None:
        self._on_started(job)
        self.finished_ok()
