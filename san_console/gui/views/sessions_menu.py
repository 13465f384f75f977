"""What can be done with the selected sessions, as a menu."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QMenu

from san_console.api.initiator_objects import Session
from san_console.console import commands
from san_console.gui import words
from san_console.gui.context import Context
from san_console.gui.models.both_ends import target_end
from san_console.gui.translation import translate
from san_console.gui.views.sessions_actions import SessionActions
from san_console.gui.widgets.menus import add_action


class SessionMenu:
    """`selected` gives the selected sessions in a state, `loggable` those that can be logged out."""

    def __init__(
        self,
        context: Context,
        actions: SessionActions,
        current: Callable[[], Any],
        selected: Callable[[str], list[Session]],
        loggable: Callable[[], list[Session]],
        toggle: Callable[[], object],
    ) -> None:
        self._context = context
        self._actions = actions
        self._current = current
        self._selected = selected
        self._loggable = loggable
        self._toggle = toggle

    def fill(self, menu: QMenu) -> None:
        """Add what fits the selected sessions."""
        session = self._current()
        if not isinstance(session, Session):
            return
        up, waiting, chosen = self._selected("logged_in"), self._selected("retrying"), self._loggable()
        if waiting:
            add_action(
                menu,
                translate("SessionMenu", "Retry now"),
                lambda: self._actions.retry_now(waiting),
                icon="rotate-cw",
            )
            add_action(
                menu,
                translate("SessionMenu", "Stop retrying"),
                lambda: self._actions.stop_retrying(waiting),
                icon="ban",
            )
        if up:
            add_action(
                menu,
                translate("SessionMenu", "Rescan LUNs"),
                lambda: self._actions.rescan(up),
                icon="refresh-cw",
                shortcut="F5",
            )
        add_action(
            menu,
            translate("SessionMenu", "Show target"),
            lambda: self._context.window.go("targets", session.target),
            icon="target",
        )
        other = target_end(self._context.host, session)
        if other is not None:
            add_action(
                menu,
                translate("SessionMenu", "Show the other end"),
                lambda: self._context.window.go("serve", other.id),
                icon="server",
            )
        if chosen:
            favourite = all(one.login.favourite for one in chosen)
            add_action(menu, translate("SessionMenu", "Favourite"), self._toggle, checked=favourite)
        menu.addSeparator()
        name = words.short_name(session.target)
        add_action(
            menu,
            translate("SessionMenu", "Copy target name"),
            lambda: self._copy(session.target),
            icon="copy",
        )
        add_action(
            menu,
            translate("SessionMenu", "Copy log-in of {name} as command").format(name=name),
            lambda: self.copy_login(session),
            icon="terminal",
        )
        if chosen:
            menu.addSeparator()
            add_action(
                menu,
                translate("SessionMenu", "Log out…"),
                lambda: self._actions.log_out(chosen),
                icon="log-out",
                shortcut="Ctrl+Shift+L",
                danger=True,
            )

    @staticmethod
    def _copy(text: str) -> None:
        QGuiApplication.clipboard().setText(text)

    def copy_login(self, session: Session) -> None:
        """The log-in as a line for a terminal, without its secret."""
        identity = self._context.host.get("identities", session.login.identity_id)
        mutual = self._context.host.get("identities", session.login.mutual_identity_id)
        try:
            line = commands.login(
                session.target,
                session.portal,
                chap_user=identity.user if identity is not None else "",
                mutual_user=mutual.user if mutual is not None else "",
                favourite=session.login.favourite,
            )
        except ValueError as error:
            self._context.window.say(
                translate("SessionMenu", "No command was copied: {error}.").format(error=error), "bad"
            )
            return
        self._copy(line)
        self._context.window.say(
            translate("SessionMenu", "The command was copied; it asks for the secret."), "good"
        )
