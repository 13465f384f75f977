"""The question at the end: what the engine still does, and whether it goes on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from PySide6.QtWidgets import QWidget

from san_console.api.methods import StopEngine
from san_console.api.problems import Problem
from san_console.gui import words
from san_console.gui.bridge.host import QtHost
from san_console.gui.context import Context
from san_console.gui.dialogs.base import BaseDialog
from san_console.gui.translation import translate
from san_console.gui.widgets.buttons import Button
from san_console.gui.widgets.labels import PlainLabel

MAX_NAMED: Final = 6


def still_going(host: QtHost) -> list[str]:
    """One line for each thing that would end with the engine."""
    lines = []
    up = [session for session in host.values("sessions") if session.state != "logged_out"]
    if up:
        names = ", ".join(words.short_name(session.target) for session in up[:MAX_NAMED])
        more = (
            translate("leaving", " and {up} more").format(up=len(up) - MAX_NAMED)
            if len(up) > MAX_NAMED
            else ""
        )
        lines.append(
            translate("leaving", "{up} of this computer: {names}{more}").format(
                up=words.counted(len(up), "session"), names=names, more=more
            )
        )
    for target in host.values("local_targets"):
        if target.state != "serving":
            continue
        users = [s for s in host.values("target_sessions") if s.target == target.id and not s.own]
        who = ", ".join(words.short_name(s.initiator) for s in users[:MAX_NAMED])
        used = (
            translate("leaving", "used by {who}").format(who=who)
            if users
            else translate("leaving", "used by nobody now")
        )
        lines.append(
            translate("leaving", "{id} with {luns}, {used}").format(
                id=words.short_name(target.id), luns=words.counted(len(target.luns), "LUN"), used=used
            )
        )
    return lines


class LeavingDialog(BaseDialog):
    """Keep the engine (the usual answer), or stop it too."""

    def __init__(
        self, context: Context, on_leave: Callable[[], object], parent: QWidget | None = None
    ) -> None:
        super().__init__(
            self.tr("Close the window?"), self.tr("Close, keep the engine"), width_px=560, parent=parent
        )
        self._context = context
        self._on_leave = on_leave
        self._force = False
        self.content.addWidget(
            PlainLabel(self.tr("The engine goes on without the window. It still has:"), wrap=True)
        )
        for line in still_going(context.host):
            self.content.addWidget(PlainLabel(f"•  {line}", wrap=True))
        self.stop_button = Button(self.tr("Stop the engine too"), self._stop, kind="danger")
        self.extra.addWidget(self.stop_button)

    def do(self) -> None:
        self.finished_ok()
        self._on_leave()

    def _stop(self) -> None:
        self.problem.hide()
        self.stop_button.setEnabled(False)
        self._context.host.call(
            "engine.stop", StopEngine(force=self._force), self._stopped, self._refused, owner=self
        )

    def _stopped(self, _result: object) -> None:
        self.finished_ok()
        self._on_leave()

    def _refused(self, problem: Problem) -> None:
        if problem.code == "disconnected":
            # The engine was gone before its answer came through: that is what was asked for.
            self._stopped(None)
            return
        self.finished_badly(problem)
        self.stop_button.setEnabled(True)
        if problem.code == "in-use":
            self._force = True
            self.stop_button.setText(self.tr("Stop it all the same"))
