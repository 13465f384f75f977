"""Menus: made when they are opened, shown without a loop of their own, gone when they close."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import QPoint, Qt
from PySide6.QtGui import QAction
from PySide6.QtWidgets import QMenu

from san_console.gui.icons import icon as make_icon
from san_console.gui.theme.theme import tokens
from san_console.names.display import visible


def add_action(
    menu: QMenu,
    text: str,
    on_trigger: Callable[[], object] | None = None,
    *,
    icon: str = "",
    checked: bool | None = None,
    enabled: bool = True,
    shortcut: str = "",
    danger: bool = False,
) -> QAction:
    """An entry of `menu`. An ampersand in `text` is shown, not taken as a mnemonic, since names may hold
    one.
    """
    action = QAction(visible(text, 120).replace("&", "&&"), menu)
    if icon:
        action.setIcon(make_icon(icon, tokens().bad if danger else tokens().text))
    if checked is not None:
        action.setCheckable(True)
        action.setChecked(checked)
    if shortcut:
        # Shown only: the page owns the key.
        action.setText(f"{action.text()}\t{shortcut}")
    action.setEnabled(enabled)
    if on_trigger is not None:
        action.triggered.connect(lambda _checked=False: on_trigger())
    menu.addAction(action)
    return action


def popup(menu: QMenu, where: QPoint) -> None:
    """Show a menu that was made for this one time."""
    menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
    menu.popup(where)
