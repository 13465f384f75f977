"""What can be done to targets: log in as their settings say, log out, test, forget."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Final

from PySide6.QtWidgets import QWidget

from san_console.api.initiator_objects import LoginSettings, Session, Target
from san_console.api.methods import Login, TargetByName
from san_console.api.problems import Problem
from san_console.gui import words
from san_console.gui.context import Context
from san_console.gui.dialogs.base import Confirmation
from san_console.gui.dialogs.login_trial import LoginTrialDialog
from san_console.gui.shell.quick_connect import best_portal
from san_console.gui.translation import translate
from san_console.gui.views.sessions_actions import NAMED_AT_MOST, SessionActions
from san_console.names.display import visible

_NEEDS_FORM: Final = frozenset({"authentication", "secret-unavailable"})
"""Problems that another identity or secret mends: the panel for it opens."""

_DEFAULT_LOGIN: Final = LoginSettings()


def short(target: Target) -> str:
    return visible(words.short_name(target.id), 80)


def needs_form(target: Target, portal: str) -> bool:
    """CHAP is asked for, and no identity was chosen: a log-in as set would be refused."""
    if target.login.identity_id or not portal:
        return not portal
    return any(one.asks_for_chap for one in target.portals if one.address == portal)


class TargetActions:
    """Bound to a page."""

    def __init__(self, context: Context, parent: QWidget) -> None:
        self._context = context
        self._host = context.host
        self._parent = parent
        self._sessions = SessionActions(context, parent)

    def sessions_of(self, target: Target) -> list[Session]:
        found = (self._host.get("sessions", known) for known in target.session_ids)
        return [session for session in found if session is not None]

    def log_in(self, target: Target, portal: str = "") -> None:
        """At once where the settings say all that is needed, else through the panel of Quick Connect."""
        portal = portal or best_portal(target)
        if needs_form(target, portal):
            self._context.window.quick_connect(target.id, portal)
            return
        self._context.window.say(
            translate("TargetActions", "Logging in to {short} at {portal}…").format(
                short=short(target), portal=visible(portal)
            )
        )
        self._host.call(
            "sessions.login",
            Login(target=target.id, portal=portal, login=target.login),
            self._logged_in,
            partial(self._log_in_failed, target, portal),
            owner=self._parent,
        )

    def _logged_in(self, session: Session) -> None:
        self._context.window.say(
            translate("TargetActions", "Logged in to {target}.").format(
                target=visible(words.short_name(session.target), 80)
            ),
            "good",
            translate("TargetActions", "Show session"),
            lambda: self._context.window.go("sessions", session.id),
        )

    def _log_in_failed(self, target: Target, portal: str, problem: Problem) -> None:
        said = problem.message + (
            translate("TargetActions", " Check: {check}").format(check=problem.check) if problem.check else ""
        )
        self._context.window.say(said, "bad")
        if problem.code in _NEEDS_FORM:
            self._context.window.quick_connect(target.id, portal)

    def log_out(self, targets: Sequence[Target]) -> None:
        self._sessions.log_out([session for target in targets for session in self.sessions_of(target)])

    def test(self, target: Target) -> None:
        LoginTrialDialog(self._context, target, best_portal(target), self._parent).open()

    def forget(self, targets: Sequence[Target]) -> None:
        """Take targets off the list, with their log-in settings; those in use are left."""
        free = [target for target in targets if not target.session_ids]
        if not free:
            if targets:
                self._context.window.say(
                    translate("TargetActions", "Log out first: a target with a session cannot be forgotten."),
                    "warning",
                )
            return
        lines = []
        for target in free[:NAMED_AT_MOST]:
            kept = (
                ""
                if target.login == _DEFAULT_LOGIN
                else translate("TargetActions", ": its log-in settings are lost")
            )
            favourite = (
                translate("TargetActions", ", it no longer logs in by itself")
                if target.login.favourite
                else ""
            )
            lines.append(f"{short(target)}{kept}{favourite}")
        if len(free) > NAMED_AT_MOST:
            lines.append(translate("TargetActions", "and {free} more").format(free=len(free) - NAMED_AT_MOST))
        if len(free) < len(targets):
            lines.append(
                translate("TargetActions", "{targets} with a session stays").format(
                    targets=words.counted(len(targets) - len(free), "target")
                )
            )
        Confirmation(
            translate("TargetActions", "Forget {short}?").format(short=short(free[0]))
            if len(free) == 1
            else translate("TargetActions", "Forget {free} targets?").format(free=len(free)),
            translate("TargetActions", "Forget")
            if len(free) == 1
            else translate("TargetActions", "Forget {free} targets").format(free=len(free)),
            partial(self._forget_all, [target.id for target in free]),
            text=translate(
                "TargetActions", "Sources that still name it find it again. Nothing on the target is changed."
            ),
            consequences=["\n•  ".join(lines)],
            parent=self._parent,
        ).open()

    def _forget_all(self, names: list[str], dialog: Confirmation) -> None:
        left = set(names)
        problems: list[Problem] = []

        def ended(name: str, _result: object = None) -> None:
            left.discard(name)
            if not left and problems:
                dialog.finished_badly(problems[0])
            elif not left:
                dialog.finished_ok()
                self._context.window.say(
                    translate("TargetActions", "{names} forgotten.").format(
                        names=words.counted(len(names), "target")
                    ),
                    "good",
                )

        def failed(name: str, problem: Problem) -> None:
            if problem.code != "unknown-object":
                problems.append(problem)
            ended(name)

        for name in names:
            self._host.call(
                "targets.remove",
                TargetByName(name=name),
                partial(ended, name),
                partial(failed, name),
                owner=dialog,
            )
