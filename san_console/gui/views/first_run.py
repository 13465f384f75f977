"""The first page that anybody sees: who this computer is, three ways to begin, the state of the keyring."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from PySide6.QtCore import Qt
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QHBoxLayout, QLabel, QSizePolicy, QWidget

from san_console.api.methods import UseMemory
from san_console.gui.context import Context
from san_console.gui.icons import set_icon
from san_console.gui.theme.theme import tokens
from san_console.gui.theme.tokens import Tone
from san_console.gui.translation import QT_TRANSLATE_NOOP, translated
from san_console.gui.widgets.buttons import Button, ButtonKind
from san_console.gui.widgets.cards import Card, horizontal, vertical
from san_console.gui.widgets.labels import ElidedLabel, PlainLabel
from san_console.gui.widgets.state import Dot

WAY_WIDTH_PX: Final = 260
WAY_GAP_PX: Final = 14
FIX_WIDTH_PX: Final = 640

_KEYRING: dict[str, tuple[str, Tone]] = {
    "unlocked": (
        QT_TRANSLATE_NOOP("Table", "{backend} is unlocked: CHAP secrets will be kept there and nowhere else"),
        "good",
    ),
    "locked": (
        QT_TRANSLATE_NOOP(
            "Table", "{backend} is locked: it will ask for its password when a CHAP secret is needed"
        ),
        "warning",
    ),
    "missing": (
        QT_TRANSLATE_NOOP(
            "Table", "There is no keyring: CHAP secrets can be kept in memory for this run only"
        ),
        "warning",
    ),
    "memory": (
        QT_TRANSLATE_NOOP("Table", "CHAP secrets are kept in memory, and are gone when the engine ends"),
        "warning",
    ),
    "unknown": (QT_TRANSLATE_NOOP("Table", "Looking for the keyring"), "muted"),
}


class _Way(Card):
    """One of the three ways to begin."""

    def __init__(
        self, icon: str, title: str, text: str, action: str, kind: ButtonKind, on_click: Callable[[], object]
    ) -> None:
        super().__init__(margin=18)
        self.setFixedWidth(WAY_WIDTH_PX)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Preferred)
        picture = QLabel()
        picture.setAccessibleName(title)
        set_icon(picture, icon, "accent", tokens())
        self.body.addWidget(picture)
        self.body.addSpacing(2)
        self.body.addWidget(PlainLabel(title, style="heading"))
        label = PlainLabel(text, style="muted", wrap=True)
        self.body.addWidget(label)
        self.body.addSpacing(4)
        self.body.addStretch(1)
        row = horizontal()
        self.button = Button(action, on_click, kind=kind)
        row.addWidget(self.button)
        row.addStretch()
        self.body.addLayout(row)


class FirstRun(QWidget):
    """Shown in place of a page while there is nothing to show on it."""

    def __init__(self, context: Context, on_change_name: Callable[[], object]) -> None:
        super().__init__()
        self._context = context
        self.setAccessibleName(self.tr("Welcome"))
        box = vertical(self, margin=16, gap=18)
        box.addStretch(5)
        title = PlainLabel(self.tr("Welcome"), style="title")
        title.setAlignment(Qt.AlignmentFlag.AlignCenter)
        box.addWidget(title)
        box.addLayout(_centred(self._who(on_change_name)))
        box.addLayout(_centred(*self._ways()))
        line = horizontal(gap=6)
        self._dot = Dot()
        self._keyring = PlainLabel("")
        line.addStretch()
        line.addWidget(self._dot)
        line.addWidget(self._keyring)
        self.memory = Button(self.tr("Keep them in memory"), self._use_memory)
        line.addSpacing(6)
        line.addWidget(self.memory)
        line.addStretch()
        box.addLayout(line)
        self._fix = PlainLabel("", style="small", wrap=True)
        self._fix.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self._fix.setFixedWidth(FIX_WIDTH_PX)
        box.addWidget(self._fix, 0, Qt.AlignmentFlag.AlignHCenter)
        box.addStretch(6)
        context.host.reset.connect(self.refresh)
        context.host.changed.connect(
            lambda collection, _c: self.refresh() if collection == "engine" else None
        )
        self.refresh()

    def _who(self, on_change_name: Callable[[], object]) -> Card:
        card = Card(margin=12)
        card.setMinimumWidth(3 * WAY_WIDTH_PX + 2 * WAY_GAP_PX)
        row = horizontal(gap=12)
        row.addWidget(PlainLabel(self.tr("This computer is"), style="muted"))
        self.name = ElidedLabel("", mono=True)
        row.addWidget(self.name, 1)
        row.addWidget(Button(self.tr("Copy"), self._copy, tip=self.tr("Copy the initiator's name")))
        row.addWidget(Button(self.tr("Change…"), on_change_name))
        row.addWidget(PlainLabel(self.tr("targets know it by this name"), style="muted"))
        card.body.addLayout(row)
        return card

    def _ways(self) -> list[QWidget]:
        window = self._context.window
        use = self.tr("Find targets at an address or through iSNS, log in, and look at their LUNs.")
        serve = self.tr("Give a file, a disk or memory of this computer to other machines.")
        lab = self.tr(
            "A small SAN inside this console, on loopback only. Nothing to install, nothing to break."
        )
        self.discover = _Way(
            "search", self.tr("Use a LUN"), use, self.tr("Discover…"), "primary", window.quick_connect
        )
        self.serve = _Way(
            "server",
            self.tr("Serve a LUN"),
            serve,
            self.tr("Create target…"),
            "normal",
            lambda: window.go("serve", "create"),
        )
        self.lab = _Way(
            "flask-conical", self.tr("Try the lab"), lab, self.tr("Start the lab"), "normal", self._start_lab
        )
        return [self.discover, self.serve, self.lab]

    def _use_memory(self) -> None:
        self._context.host.call("keyring.use_memory", UseMemory(use=True), owner=self)

    def _start_lab(self) -> None:
        self.lab.button.setEnabled(False)
        self._context.host.call("lab.start", None, self._lab_runs, self._lab_failed, owner=self)

    def _lab_runs(self, _job: object) -> None:
        self.lab.button.setEnabled(True)
        self._context.window.say(self.tr("The lab is starting"), "good")

    def _lab_failed(self, problem: object) -> None:
        self.lab.button.setEnabled(True)
        self._context.host.failed.emit(problem)

    def _copy(self) -> None:
        QGuiApplication.clipboard().setText(self.name.text())
        self._context.window.say(self.tr("The name is copied"), "good")

    def refresh(self) -> None:
        engine = self._context.host.engine
        self.name.setText(engine.initiator_name if engine else "…")
        keyring = engine.keyring if engine else None
        text, tone = _KEYRING[keyring.state if keyring else "unknown"]
        backend = keyring.backend if keyring and keyring.backend else self.tr("The keyring")
        self._dot.set_tone(tone)
        self._keyring.setText(translated(text).format(backend=backend))
        self._keyring.set_tone(tone)
        self._fix.setText(keyring.fix if keyring and keyring.state in ("missing", "locked") else "")
        self._fix.setVisible(bool(self._fix.text()))
        self.memory.setVisible(keyring is not None and keyring.state == "missing")


def _centred(*widgets: QWidget) -> QHBoxLayout:
    row = horizontal(gap=WAY_GAP_PX)
    row.addStretch(1)
    for widget in widgets:
        row.addWidget(widget)
    row.addStretch(1)
    return row
