"""A plan of changes as text: what is added, changed and removed, and what that does to whom."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Final, TextIO

from san_console.names.display import visible

if TYPE_CHECKING:
    from san_console.api.plan_objects import ChangePlan, ObjectChange

_MARKS: Final = {"added": ("+", "32"), "changed": ("~", "33"), "removed": ("-", "31")}
_GRADES: Final = {"danger": "31", "warning": "33", "info": "0"}
_KINDS: Final = {
    "target": "target",
    "portal_group": "portal group",
    "lun": "LUN",
    "initiator_group": "group of initiators",
    "access": "access of",
    "mapping": "mapping",
    "limits": "limits",
    "chap": "CHAP",
    "discovery_chap": "discovery",
}
MAX_VALUE_CHARACTERS: Final = 300


def print_plan(plan: ChangePlan, *, to_errors: bool = False) -> None:
    """On standard output, or on standard error; with colours on a terminal."""
    out = sys.stderr if to_errors else sys.stdout
    if not plan.changes:
        print("Nothing differs.", file=out)
    target = None
    for change in plan.changes:
        if change.target != target:
            target = change.target
            if target:
                print(visible(target), file=out)
        _print_change(change, out)
    if plan.consequences:
        print(file=out)
    for line in plan.consequences:
        print(f"  {_painted(visible(line.text, 1000), _GRADES[line.severity], out)}", file=out)
    for note in plan.notes:
        print(f"  {visible(note, 1000)}", file=out)
    if plan.disconnects:
        print(_painted("\nThis disconnects:", "31", out), file=out)
        for one in plan.disconnects:
            print(f"  {visible(one.initiator)} from {visible(one.target)}", file=out)


def _print_change(change: ObjectChange, out: TextIO) -> None:
    mark, colour = _MARKS[change.action]
    whole = change.name in (change.target, "")
    name = "" if whole else f" {visible(change.name, MAX_VALUE_CHARACTERS)}"
    print(_painted(f"  {mark} {_KINDS[change.kind]}{name} {change.action}", colour, out), file=out)
    for field in change.fields:
        before, after = (visible(one, MAX_VALUE_CHARACTERS) for one in (field.before, field.after))
        value = after if change.action == "added" else f"{before or 'none'} → {after or 'none'}"
        print(f"      {visible(field.name, 80)}: {value}", file=out)


def _painted(text: str, colour: str, out: TextIO) -> str:
    if colour == "0" or not out.isatty() or "NO_COLOR" in os.environ:
        return text
    return f"\x1b[{colour}m{text}\x1b[0m"
