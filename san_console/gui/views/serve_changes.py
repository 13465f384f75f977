"""Changing a local target: ask what it would do, ask the user where it hurts, do it, offer Undo."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtWidgets import QWidget

from san_console.api.methods import SaveLocalTarget
from san_console.api.problems import Problem
from san_console.api.serving_objects import Consequence, LocalTarget
from san_console.gui import words
from san_console.gui.bridge.host import QtHost
from san_console.gui.context import Context
from san_console.gui.dialogs.base import BaseDialog, Confirmation
from san_console.gui.translation import translate
from san_console.names.display import visible


def consequence_text(host: QtHost, line: Consequence) -> str:
    """The sentence, with whose sessions it hits."""
    hit = []
    for session_id in line.session_ids:
        session = host.get("target_sessions", session_id)
        if session is not None:
            hit.append(visible(words.short_name(session.initiator), 120))
    names = list(dict.fromkeys(hit))
    if not names:
        return visible(line.text, 1000)
    shown = ", ".join(names[:4]) + (
        translate("serve_changes", " and {names} more").format(names=len(names) - 4) if len(names) > 4 else ""
    )
    return translate("serve_changes", "{text} Hits now: {shown}.").format(
        text=visible(line.text, 1000), shown=shown
    )


def hurts(lines: list[Consequence]) -> bool:
    """Whether somebody loses something that is in use."""
    return any(line.severity == "danger" or line.session_ids for line in lines)


def propose(
    context: Context,
    owner: QWidget,
    old: LocalTarget,
    new: LocalTarget,
    *,
    question: str,
    verb: str,
    said: str,
    done: Callable[[LocalTarget], object] | None = None,
    failed: Callable[[Problem], object] | None = None,
    form: BaseDialog | None = None,
    warning: str = "",
) -> None:
    """Save `new` in place of `old`; ask first with the consequences where it hurts. Undo goes into the
    toast. `form` is the dialog that the change was made in: it shows a refusal, and closes before a
    question, since no dialog stands over another one. With a `warning` it always asks.
    """
    host = context.host
    open_form = form

    def refused(problem: Problem) -> None:
        if open_form is not None:
            open_form.finished_badly(problem)
        else:
            (failed or context.say_problem)(problem)

    def close_form() -> None:
        nonlocal open_form
        if open_form is not None:
            open_form.finished_ok()
            open_form = None

    def take_plan(lines: list[Consequence]) -> None:
        if not warning and not hurts(lines):
            save(None)
            return
        close_form()
        Confirmation(
            visible(question, 300),
            verb,
            save,
            text=warning,
            consequences=[consequence_text(host, line) for line in lines],
            parent=owner,
        ).open()

    def save(dialog: Confirmation | None) -> None:
        def saved(target: LocalTarget) -> None:
            if dialog is not None:
                dialog.finished_ok()
            close_form()
            context.window.say(said, "good", translate("serve_changes", "Undo"), lambda: undo(context, old))
            if done is not None:
                done(target)

        host.call(
            "serving.change",
            SaveLocalTarget(target=new),
            saved,
            dialog.finished_badly if dialog is not None else refused,
            owner=dialog or open_form or owner,
        )

    host.call(
        "serving.plan",
        SaveLocalTarget(target=new),
        take_plan,
        refused,
        owner=open_form or owner,
    )


def undo(context: Context, old: LocalTarget) -> None:
    """Put the former state back, as far as the target still exists."""
    context.host.call(
        "serving.change",
        SaveLocalTarget(target=old),
        lambda _target: context.window.say(translate("serve_changes", "Undone."), "text"),
        context.say_problem,
    )
