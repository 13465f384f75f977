"""What can be done to a served target as a whole: give it a LUN or an initiator, stop and delete it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from san_console.api.methods import RemoveLocalTarget, SaveLocalTarget, SetEnabled
from san_console.api.serving_objects import InitiatorAccess, LocalLun, LocalTarget, TargetSession
from san_console.gui import words
from san_console.gui.context import Context
from san_console.gui.dialogs.base import Confirmation
from san_console.gui.dialogs.initiator import InitiatorDialog
from san_console.gui.dialogs.local_lun import AddLunDialog
from san_console.gui.models.subjects import subject_title
from san_console.gui.translation import translate
from san_console.gui.views.page import DetailTab, Page
from san_console.gui.views.serve_changes import undo
from san_console.gui.widgets.candidates import candidates
from san_console.names.display import visible

MAX_NAMES_SHOWN: Final = 8

Place = Page | DetailTab
"""What has a context and a host, and stands below a dialog."""


def target_title(target: LocalTarget) -> str:
    """What a person calls it."""
    return visible(target.alias or words.short_name(target.id), 64)


def sessions_of(context: Context, target: LocalTarget) -> list[TargetSession]:
    return [one for one in context.host.values("target_sessions") if one.target == target.id]


def add_lun(place: Place, target: LocalTarget) -> None:
    """Ask for a LUN and add it; nobody sees it yet."""
    names = {lun.name for lun in target.luns}
    suggested = next(f"disk{n}" for n in range(len(names) + 1) if f"disk{n}" not in names)

    def add(dialog: AddLunDialog, lun: LocalLun) -> None:
        new = msgspec.structs.replace(target, luns=[*target.luns, lun])

        def added(_target: LocalTarget) -> None:
            dialog.finished_ok()
            place.context.window.say(
                translate("serve_actions", "{name} was added. Map it to an initiator.").format(
                    name=visible(lun.name, 64)
                ),
                "good",
            )

        place.host.call(
            "serving.change", SaveLocalTarget(target=new), added, dialog.finished_badly, owner=dialog
        )

    AddLunDialog(target_title(target), add, suggested_name=suggested, parent=place).open()


def add_initiator(place: Place, target: LocalTarget, done: Callable[[], object] | None = None) -> None:
    """Ask whom to let in and give it a row; it sees no LUN yet."""

    def add(dialog: InitiatorDialog, subject: str) -> None:
        new = msgspec.structs.replace(target, access=[*target.access, InitiatorAccess(subject=subject)])

        def added(_target: LocalTarget) -> None:
            dialog.finished_ok()
            if done is not None:
                done()
            place.context.window.say(
                translate("serve_actions", "{who} was added and sees no LUN yet.").format(
                    who=visible(subject_title(subject, target.initiator_groups), 120)
                ),
                "good",
                translate("serve_actions", "Undo"),
                lambda: undo(place.context, target),
            )

        place.host.call(
            "serving.change", SaveLocalTarget(target=new), added, dialog.finished_badly, owner=dialog
        )

    groups = [(group.name, len(group.members)) for group in target.initiator_groups]
    choices = candidates(place.host, target.initiators, groups)
    InitiatorDialog(target, choices, sessions_of(place.context, target), add, parent=place).open()


def _hits(place: Place, target: LocalTarget) -> list[str]:
    """Who is cut off."""
    sessions = sessions_of(place.context, target)
    lines = [
        translate("serve_actions", "{initiator} from {address} is cut off").format(
            initiator=visible(session.initiator), address=visible(session.address)
        )
        for session in sessions[:MAX_NAMES_SHOWN]
    ]
    if len(sessions) > MAX_NAMES_SHOWN:
        lines.append(
            translate("serve_actions", "{sessions} more initiators are cut off").format(
                sessions=len(sessions) - MAX_NAMES_SHOWN
            )
        )
    return lines


def set_enabled(place: Place, target: LocalTarget, enabled: bool) -> None:
    """Stop serving a target, after a question where somebody is connected, or serve it again."""
    params = SetEnabled(id=target.id, enabled=enabled)
    hits = _hits(place, target)
    if enabled or not hits:
        place.host.call("serving.set_enabled", params, owner=place)
        return
    Confirmation(
        translate("serve_actions", "Stop serving {name}?").format(name=target_title(target)),
        translate("serve_actions", "Stop serving"),
        lambda dialog: place.host.call(
            "serving.set_enabled", params, dialog.finished_ok, dialog.finished_badly, owner=dialog
        ),
        text=translate("serve_actions", "The target stays here and can be served again."),
        consequences=hits,
        parent=place,
    ).open()


def delete_target(place: Place, target: LocalTarget) -> None:
    """Ask, naming everybody who is cut off and what is lost, then delete."""
    lines = _hits(place, target)
    memory = [lun.name for lun in target.luns if lun.kind == "memory"]
    files = sum(lun.kind in ("file", "block") for lun in target.luns)
    if memory:
        lines.append(
            translate("serve_actions", "The content of {memory} is lost: it is kept in memory only").format(
                memory=visible(", ".join(memory))
            )
        )
    if files:
        lines.append(
            translate("serve_actions", "{files} behind its LUNs stay as they are").format(
                files=words.counted(files, "file or disk", "files or disks")
            )
        )
    Confirmation(
        translate("serve_actions", "Delete the target {name}?").format(name=target_title(target)),
        translate("serve_actions", "Delete target"),
        lambda dialog: _remove(place, target, dialog),
        text=target.id,
        consequences=lines,
        type_to_confirm=words.short_name(target.id) if memory else "",
        parent=place,
    ).open()


def _remove(place: Place, target: LocalTarget, dialog: Confirmation) -> None:
    def removed(_result: object) -> None:
        dialog.finished_ok()
        place.context.window.say(
            translate("serve_actions", "{id} was deleted.").format(id=words.short_name(target.id)), "text"
        )

    place.host.call(
        "serving.remove",
        # The dialog has named everybody who is hit.
        RemoveLocalTarget(id=target.id, force=bool(sessions_of(place.context, target))),
        removed,
        dialog.finished_badly,
        owner=dialog,
    )
