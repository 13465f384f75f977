"""A plan as lines of a tree: targets, their objects, the fields of each; and what it costs, in a sentence."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal

from san_console.api.plan_objects import ChangedKind, ChangePlan, ObjectChange
from san_console.gui import words
from san_console.gui.models.subjects import subject_title
from san_console.gui.theme.tokens import Tone
from san_console.gui.translation import QT_TRANSLATE_NOOP, translate, translated

MAX_OBJECTS_SHOWN: Final = 2_000
"""A tree of more is read by nobody; the rest is counted."""

Action = Literal["added", "changed", "removed"]
ACTIONS: Final[dict[str, tuple[str, str, Tone]]] = {
    "added": (QT_TRANSLATE_NOOP("Table", "added"), "plus", "good"),
    "changed": (QT_TRANSLATE_NOOP("Table", "changed"), "pencil", "accent"),
    "removed": (QT_TRANSLATE_NOOP("Table", "removed"), "trash-2", "bad"),
}
"""Word, icon and tone."""

KINDS: Final[dict[ChangedKind, str]] = {
    "target": QT_TRANSLATE_NOOP("Table", "target"),
    "portal_group": QT_TRANSLATE_NOOP("Table", "portal group"),
    "lun": QT_TRANSLATE_NOOP("Table", "LUN"),
    "initiator_group": QT_TRANSLATE_NOOP("Table", "group of initiators"),
    "access": QT_TRANSLATE_NOOP("Table", "access of"),
    "mapping": QT_TRANSLATE_NOOP("Table", "mapping"),
    "limits": QT_TRANSLATE_NOOP("Table", "limits"),
    "chap": QT_TRANSLATE_NOOP("Table", "CHAP"),
    "discovery_chap": QT_TRANSLATE_NOOP("Table", "CHAP of discovery"),
}


@dataclass(slots=True)
class Line:
    """A line of the tree: what, before, after."""

    text: str
    before: str = ""
    after: str = ""
    action: Action | None = None
    lines: list[Line] = field(default_factory=list)


def object_text(change: ObjectChange) -> str:
    """`LUN db-data`, `access of esx-*`, `limits`."""
    kind = translated(KINDS.get(change.kind, change.kind))
    if change.kind in ("limits", "chap", "discovery_chap"):
        return kind
    name = change.name
    if change.kind == "access":
        name = subject_title(name)
    elif change.kind == "mapping":
        # `target_differences` calls a mapping "SUBJECT · LUN".
        who, middle, lun = name.rpartition(" · ")
        name = f"{subject_title(who)}{middle}{lun}" if middle else name
    return translate("change_tree", "{kind} {name}").format(kind=kind, name=name)


def tree_of(plan: ChangePlan) -> list[Line]:
    """A line per target, in the order of the plan. The target's own line tells that it comes or goes."""
    targets: dict[str, Line] = {}
    for change in plan.changes[:MAX_OBJECTS_SHOWN]:
        title = words.short_name(change.target) if change.target else translate("change_tree", "all targets")
        top = targets.setdefault(change.target, Line(title))
        fields = [Line(one.name.replace("_", " "), one.before, one.after) for one in change.fields]
        if change.kind == "target":
            top.action = change.action
            top.lines[:0] = fields
        else:
            top.lines.append(Line(object_text(change), action=change.action, lines=fields))
    left = len(plan.changes) - MAX_OBJECTS_SHOWN
    lines = list(targets.values())
    if left > 0:
        lines.append(Line(translate("change_tree", "and {left:,} more").format(left=left)))
    return lines


def summary(plan: ChangePlan) -> str:
    """`3 added, 1 changed, 2 removed`."""
    if not plan.changes:
        return translate("change_tree", "nothing differs")
    counts = {action: sum(change.action == action for change in plan.changes) for action in ACTIONS}
    return ", ".join(
        translate("change_tree", "{count:,} {action}").format(
            count=count, action=translated(ACTIONS[action][0])
        )
        for action, count in counts.items()
        if count
    )


def cost(plan: ChangePlan) -> list[tuple[str, str]]:
    """Severity and sentence: what happens to whom, whom it disconnects, what cannot be brought back."""
    lines = []
    if plan.disconnects:
        names = list(dict.fromkeys(words.short_name(one.initiator) for one in plan.disconnects))
        shown = ", ".join(names[:4])
        if len(names) > 4:
            shown = translate("change_tree", "{shown} and {left} more").format(
                shown=shown, left=len(names) - 4
            )
        lines.append(
            (
                "danger",
                translate("change_tree", "{count} end: {shown}.").format(
                    count=words.counted(len(plan.disconnects), "session"), shown=shown
                ),
            )
        )
    lines += [(one.severity, one.text) for one in plan.consequences]
    lines += [("warning", note) for note in plan.notes]
    order = {"danger": 0, "warning": 1, "info": 2}
    return sorted(lines, key=lambda line: order.get(line[0], 3))
