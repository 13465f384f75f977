"""What can be done to sessions: log out, rescan, retry, favourite. Asks before I/O of others is cut off."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from PySide6.QtWidgets import QWidget

from san_console.api.engine_objects import Job
from san_console.api.initiator_objects import Session
from san_console.api.methods import ById, Logout, SetFavourite
from san_console.api.problems import Problem
from san_console.gui import words
from san_console.gui.bridge.host import QtHost
from san_console.gui.context import Context
from san_console.gui.dialogs.base import Confirmation
from san_console.gui.translation import translate
from san_console.gui.views.sessions_words import throughput
from san_console.names.display import visible

NAMED_AT_MOST = 6
"""Of what a log-out hits; the rest is counted."""


def session_name(session: Session) -> str:
    """`prod-db at 10.20.0.11:3260`."""
    return translate("SessionActions", "{target} at {portal}").format(
        target=visible(words.short_name(session.target)), portal=visible(session.portal)
    )


def what_it_hits(host: QtHost, session: Session) -> list[str]:
    """Who loses what when this session is logged out, a line each."""
    lines = []
    luns = [lun for lun in host.values("luns") if lun.session_id == session.id]
    if luns:
        size = words.size(sum(lun.size_bytes for lun in luns))
        numbers = ", ".join(str(lun.lun) for lun in luns[:NAMED_AT_MOST])
        more = (
            translate("sessions_actions", " and {luns} more").format(luns=len(luns) - NAMED_AT_MOST)
            if len(luns) > NAMED_AT_MOST
            else ""
        )
        lines.append(
            translate(
                "sessions_actions", "LUN {numbers}{more} ({size}) can no longer be reached through it."
            ).format(numbers=numbers, more=more, size=size)
        )
    moving = throughput(host, session)
    if moving:
        lines.append(
            translate(
                "sessions_actions", "{moving} are being moved now; commands under way end with an error."
            ).format(moving=words.rate(moving))
        )
    for job in host.values("jobs"):
        if job.state == "running" and belongs(job, session):
            lines.append(
                translate("sessions_actions", "The running task “{title}” fails.").format(
                    title=visible(job.title, 120)
                )
            )
    if session.login.favourite:
        lines.append(
            translate("sessions_actions", "It is a favourite: it logs in again when the engine starts.")
        )
    return lines


def belongs(job: Job, session: Session) -> bool:
    """A task of the session itself or of one of its LUNs."""
    return job.object_id == session.id or job.object_id.startswith(f"{session.id}/")


class SessionActions:
    """Bound to a page. Every method takes the sessions that are selected."""

    def __init__(self, context: Context, parent: QWidget) -> None:
        self._context = context
        self._host = context.host
        self._parent = parent

    def log_out(self, sessions: Sequence[Session]) -> None:
        """Ask, naming what is hit, then log out of all of them."""
        if not sessions:
            return
        lines: list[str] = []
        if len(sessions) == 1:
            title = translate("SessionActions", "Log out of {target}?").format(
                target=visible(words.short_name(sessions[0].target))
            )
            lines = what_it_hits(self._host, sessions[0])
            accept = translate("SessionActions", "Log out")
            text = translate("SessionActions", "The session with {session_name} ends.").format(
                session_name=session_name(sessions[0])
            )
        else:
            title = translate("SessionActions", "Log out of {sessions} sessions?").format(
                sessions=len(sessions)
            )
            accept = translate("SessionActions", "Log out {sessions} sessions").format(sessions=len(sessions))
            text = translate("SessionActions", "These sessions end:")
            for session in sessions[:NAMED_AT_MOST]:
                hits = len([lun for lun in self._host.values("luns") if lun.session_id == session.id])
                moving = throughput(self._host, session)
                busy = (
                    translate("SessionActions", ", {moving} now").format(moving=words.rate(moving))
                    if moving
                    else ""
                )
                lines.append(f"{session_name(session)}: {words.counted(hits, 'LUN')}{busy}")
            if len(sessions) > NAMED_AT_MOST:
                lines.append(
                    translate("SessionActions", "and {sessions} more").format(
                        sessions=len(sessions) - NAMED_AT_MOST
                    )
                )
        Confirmation(
            title,
            accept,
            partial(self._log_out_all, [session.id for session in sessions]),
            text=text,
            # One label: labels of their own would be spread over the height of the dialog.
            consequences=["\n•  ".join(lines)] if lines else None,
            parent=self._parent,
        ).open()

    def rescan(self, sessions: Sequence[Session]) -> None:
        for session in sessions:
            self._host.call("sessions.rescan", ById(id=session.id), None, self._failed, owner=self._parent)
        if sessions:
            self._context.window.say(
                translate("SessionActions", "Looking for LUNs of {session_name}.").format(
                    session_name=session_name(sessions[0])
                )
                if len(sessions) == 1
                else translate("SessionActions", "Looking for LUNs of {sessions} sessions.").format(
                    sessions=len(sessions)
                )
            )

    def retry_now(self, sessions: Sequence[Session]) -> None:
        for session in sessions:
            self._host.call("sessions.retry_now", ById(id=session.id), None, self._failed, owner=self._parent)

    def stop_retrying(self, sessions: Sequence[Session]) -> None:
        for session in sessions:
            self._host.call(
                "sessions.stop_retrying", ById(id=session.id), None, self._failed, owner=self._parent
            )

    def set_favourite(self, sessions: Sequence[Session], favourite: bool) -> None:
        for session in sessions:
            self._host.call(
                "sessions.set_favourite",
                SetFavourite(id=session.id, favourite=favourite),
                None,
                self._failed,
                owner=self._parent,
            )

    # inside

    def _failed(self, problem: Problem) -> None:
        self._context.say_problem(problem)

    def _log_out_all(self, ids: list[str], dialog: Confirmation) -> None:
        left = set(ids)
        problems: list[Problem] = []

        def ended(identifier: str, _result: object = None) -> None:
            left.discard(identifier)
            if left:
                return
            if problems:
                dialog.finished_badly(problems[0])
                return
            dialog.finished_ok()
            self._context.window.say(
                translate("SessionActions", "Logged out.")
                if len(ids) == 1
                else translate("SessionActions", "Logged out of {ids} sessions.").format(ids=len(ids)),
                "good",
            )

        def failed(identifier: str, problem: Problem) -> None:
            # A session that is gone already is what was wanted.
            if problem.code != "unknown-object":
                problems.append(problem)
            ended(identifier)

        for identifier in ids:
            self._host.call(
                "sessions.logout",
                Logout(id=identifier),
                partial(ended, identifier),
                partial(failed, identifier),
                owner=dialog,
            )
