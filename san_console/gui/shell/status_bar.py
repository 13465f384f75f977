"""The line that always says: engine and its loop, sessions, throughput, keyring, running tasks."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QFrame, QWidget

from san_console.api.engine_objects import Keyring
from san_console.gui import words
from san_console.gui.bridge.host import QtHost
from san_console.gui.states import UP_STATE, trouble
from san_console.gui.theme.tokens import STATUS_BAR_HEIGHT_PX, Tone
from san_console.gui.translation import QT_TRANSLATE_NOOP, translated
from san_console.gui.widgets.buttons import Button
from san_console.gui.widgets.cards import horizontal
from san_console.gui.widgets.labels import ElidedLabel, PlainLabel
from san_console.gui.widgets.state import Dot

SLOW_LOOP_MS: Final = 50.0
"""An engine whose loop comes round so late answers visibly late."""

_STATE_WORDS: Final[dict[str, tuple[str, Tone]]] = {
    "connecting": (QT_TRANSLATE_NOOP("Table", "Connecting to the engine"), "warning"),
    "starting": (QT_TRANSLATE_NOOP("Table", "Starting the engine"), "warning"),
    "connected": (QT_TRANSLATE_NOOP("Table", "Engine running"), "good"),
    "lost": (QT_TRANSLATE_NOOP("Table", "Engine lost"), "bad"),
    "incompatible": (QT_TRANSLATE_NOOP("Table", "Engine of another version"), "bad"),
    "refused": (QT_TRANSLATE_NOOP("Table", "Engine refused"), "bad"),
}
_KEYRING_WORDS: Final[dict[str, tuple[str, Tone]]] = {
    "unlocked": (QT_TRANSLATE_NOOP("Table", "unlocked"), "text"),
    "locked": (QT_TRANSLATE_NOOP("Table", "locked"), "warning"),
    "missing": (QT_TRANSLATE_NOOP("Table", "none"), "warning"),
    "memory": (QT_TRANSLATE_NOOP("Table", "secrets in memory"), "warning"),
    "unknown": (QT_TRANSLATE_NOOP("Table", "looking"), "muted"),
}


def state_words(state: str) -> tuple[str, Tone]:
    """`Engine running` and its tone."""
    word, tone = _STATE_WORDS[state]
    return translated(word), tone


def keyring_words(keyring: Keyring) -> tuple[str, Tone]:
    """`GNOME Keyring, unlocked` and its tone."""
    marked, tone = _KEYRING_WORDS[keyring.state]
    word = translated(marked)
    if keyring.state in ("unlocked", "locked") and keyring.backend:
        return f"{keyring.backend}, {word}", tone
    return word, tone


class _Figure(QWidget):
    """`6 sessions · 1 down`: a strong part, and words around it."""

    def __init__(self) -> None:
        super().__init__()
        row = horizontal(self, gap=3)
        self.parts = [PlainLabel("", style=style) for style in ("muted", "strong", "muted", "strong")]
        for part in self.parts:
            row.addWidget(part)

    def say(self, *texts: str, tones: tuple[Tone | None, ...] = ()) -> None:
        for number, part in enumerate(self.parts):
            text = texts[number] if number < len(texts) else ""
            part.setText(text)
            part.setVisible(bool(text))
            tone = tones[number] if number < len(tones) else None
            part.set_tone(tone or ("text" if number % 2 else "muted"))


class StatusBar(QFrame):
    """`on_go` shows a page, `on_tasks` the running tasks."""

    def __init__(self, host: QtHost, on_go: Callable[[str], object], on_tasks: Callable[[], object]) -> None:
        super().__init__()
        self.setObjectName("statusBar")
        self.setAccessibleName(self.tr("Status"))
        self.setFixedHeight(STATUS_BAR_HEIGHT_PX)
        self._host = host
        row = horizontal(self, gap=18)
        row.setContentsMargins(12, 0, 12, 0)
        engine = horizontal(gap=5)
        self._dot = Dot()
        self._engine = _Figure()
        engine.addWidget(self._dot)
        engine.addWidget(self._engine)
        row.addLayout(engine)
        self._sessions, self._traffic, self._keyring = _Figure(), _Figure(), _Figure()
        for figure in (self._sessions, self._traffic, self._keyring):
            row.addWidget(figure)
        self._note = ElidedLabel("", style="muted", elide=Qt.TextElideMode.ElideRight)
        row.addWidget(self._note, 1)
        self.tasks = Button("", on_tasks, kind="link")
        row.addWidget(self.tasks)
        host.state_changed.connect(lambda _state, _text: self.refresh())
        host.reset.connect(self.refresh)
        host.changed.connect(lambda _collection, _changes: self.refresh())
        host.sampled.connect(self.refresh_figures)
        self.refresh()

    def refresh(self) -> None:
        host = self._host
        _text, tone = state_words(host.state)
        self._dot.set_tone(tone)
        self._note.setText("" if host.state == "connected" else host.state_text)
        sessions = host.values("sessions")
        troubled = trouble(sessions)
        up = sum(session.state == UP_STATE for session in sessions)
        if troubled:
            tones: tuple[Tone | None, ...] = (None, "text", "muted", "warning")
            self._sessions.say("", str(len(sessions)), self.tr("sessions ·"), troubled, tones=tones)
        else:
            self._sessions.say("", str(up), self.tr("session up") if up == 1 else self.tr("sessions up"))
        engine = host.engine
        if engine is not None:
            word, keyring_tone = keyring_words(engine.keyring)
            self._keyring.say(self.tr("Keyring:"), word, tones=(None, keyring_tone))
            self._keyring.setToolTip(engine.keyring.fix)
        running = sum(job.state == "running" for job in host.values("jobs"))
        self.tasks.setText(
            self.tr("{running} running").format(running=words.counted(running, "task"))
            if running
            else self.tr("No tasks")
        )
        self.tasks.setAccessibleName(self.tr("{text}. Show tasks").format(text=self.tasks.text()))
        for figure in (self._sessions, self._traffic, self._keyring):
            figure.setVisible(engine is not None)
        self.refresh_figures()

    def refresh_figures(self) -> None:
        host = self._host
        text, tone = state_words(host.state)
        sample = host.replica.newest_sample("engine")
        if host.state != "connected":
            stale = words.duration(time.time() - host.state_since)
            self._engine.say(
                "",
                text,
                self.tr("· figures are {stale} old").format(stale=stale) if host.engine else "",
                tones=(None, tone),
            )
        elif sample is None:
            self._engine.say("", text)
        else:
            lag_tone: Tone = "warning" if sample.loop_lag_ms > SLOW_LOOP_MS else "muted"
            self._engine.say(
                "",
                text,
                self.tr("· loop {loop_lag_ms:.1f} ms").format(loop_lag_ms=sample.loop_lag_ms),
                tones=(None, "text", lag_tone),
            )
        read, write = (sample.read_bytes_per_s, sample.write_bytes_per_s) if sample else (0.0, 0.0)
        self._traffic.say(self.tr("Read"), words.rate(read), self.tr("· Write"), words.rate(write))
