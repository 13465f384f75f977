"""`san-console target export | apply | undo`: targets as a document, and the way back."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from san_console.api.plan_objects import ChangePlan
    from san_console.cli.engine_link import EngineView

_SCHEMA_EXPORT = "san-console/target-export/1"
_SCHEMA_APPLY = "san-console/target-apply/1"
_SCHEMA_UNDO = "san-console/target-undo/1"

STDIO = "-"


def add_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the commands to `target`."""
    from san_console.cli.target_lookup import add_json

    parser = commands.add_parser(
        "export",
        help="write targets as a YAML document",
        description="Write targets with all that is set of them. CHAP identities are named, secrets never.",
    )
    parser.add_argument("targets", nargs="*", metavar="TARGET", help="their names or aliases; without: all")
    parser.add_argument("--output", default=STDIO, metavar="FILE|-", help="a new file (-: standard output)")
    parser.add_argument("--force", action="store_true", help="replace the file if it is there")
    add_json(parser)
    parser.set_defaults(handler=export)

    parser = commands.add_parser(
        "apply",
        help="make the targets as a YAML document says",
        description="Show what a document changes and whom that disconnects, ask, and do all of it or "
        "nothing. Targets that it does not name stay, unless it says “targets_not_listed: remove”.",
    )
    parser.add_argument("file", metavar="FILE", help="the document (-: standard input)")
    parser.add_argument("--dry-run", action="store_true", help="only show what would change")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    parser.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="TARGET",
        help="this target of the document; several are possible",
    )
    add_json(parser)
    parser.set_defaults(handler=apply)

    parser = commands.add_parser(
        "undo",
        help="take the last changes of targets back",
        description="Show what taking the newest changes back would do, ask, and do all of it or nothing.",
    )
    parser.add_argument("--steps", type=_positive, default=1, metavar="N", help="how many (1)")
    parser.add_argument("--list", action="store_true", help="list the changes that can be taken back")
    parser.add_argument("--dry-run", action="store_true", help="only show what would change")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    add_json(parser)
    parser.set_defaults(handler=undo)


def _positive(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text[:4]) > 0 and len(text) < 4):
        raise argparse.ArgumentTypeError("1 at least")
    return int(text)


def export(args: argparse.Namespace) -> int:
    """Write targets as a document; the exit code."""
    from san_console.cli.target_lookup import find_target, run

    async def work(view: EngineView) -> int:
        from san_console.api.methods import ExportTargets
        from san_console.cli.output import print_failure, print_json

        names = [find_target(view, one).id for one in args.targets]
        text = (await view.call("serving.export_targets", ExportTargets(targets=names))).text
        if args.output != STDIO:
            try:
                _write(args.output, text, replace=args.force)
            except OSError as error:
                print_failure(
                    f"{args.output} could not be written: {error.strerror}.",
                    "operating system",
                    "another name, or --force to replace it" if isinstance(error, FileExistsError) else "",
                )
                return 1
        if args.json:
            print_json(_SCHEMA_EXPORT, {"file": args.output, "document": text})
        elif args.output == STDIO:
            print(text, end="")
        return 0

    return run(work)


def _write(path: str, text: str, *, replace: bool) -> None:
    with open(path, "w" if replace else "x", encoding="utf-8") as file:
        file.write(text)


def apply(args: argparse.Namespace) -> int:
    """Apply a document; the exit code."""
    from san_console.api.methods import MAX_DOCUMENT_BYTES
    from san_console.cli.output import print_failure
    from san_console.cli.target_lookup import run

    try:
        text = _read(args.file, MAX_DOCUMENT_BYTES)
    except (OSError, UnicodeError) as error:
        why = getattr(error, "strerror", None) or "it is no UTF-8 text"
        name = "Standard input" if args.file == STDIO else args.file
        print_failure(f"{name} could not be read: {why}.", "operating system", "the document")
        return 1

    async def work(view: EngineView) -> int:
        from san_console.api.methods import ApplyTargets, PlanTargets

        plan = await view.call("serving.plan_targets", PlanTargets(text=text, only=args.only))
        if not _wanted(args, plan, _SCHEMA_APPLY):
            return 0 if args.dry_run or not plan.changes else 1
        made = await view.call(
            "serving.apply_targets", ApplyTargets(text=text, only=args.only, base=plan.base)
        )
        _tell(args, made, _SCHEMA_APPLY, "Applied. Take it back with: san-console target undo")
        return 0

    return run(work)


def _read(path: str, limit: int) -> str:
    """At most a character more than the engine takes, so that it can say so."""
    if path == STDIO:
        text = sys.stdin.read(limit + 1)
        text.encode()  # raises for what stands for bytes that are no text, in some locales
        return text
    with open(path, encoding="utf-8") as file:
        return file.read(limit + 1)


def undo(args: argparse.Namespace) -> int:
    """Take changes back; the exit code."""
    from san_console.cli.target_lookup import run

    async def work(view: EngineView) -> int:
        from san_console.api.methods import UndoTargets

        if args.list:
            return await _list_steps(view, as_json=args.json)
        plan = await view.call("serving.plan_undo", UndoTargets(steps=args.steps))
        # A step that changed nothing that is still there is taken off the list all the same.
        if not _wanted(args, plan, _SCHEMA_UNDO) and (args.dry_run or plan.changes):
            return 0 if args.dry_run else 1
        made = await view.call("serving.undo_targets", UndoTargets(steps=args.steps, base=plan.base))
        _tell(args, made, _SCHEMA_UNDO, "Taken back.")
        return 0

    return run(work)


async def _list_steps(view: EngineView, *, as_json: bool) -> int:
    import time

    from san_console.cli.output import Column, plain_data, print_json, print_table, say, span_text

    steps = await view.call("serving.undo_steps")
    if as_json:
        print_json(_SCHEMA_UNDO, {"steps": [plain_data(step) for step in steps]})
        return 0
    rows = [[step.number, f"{span_text(time.time() - step.at)} ago", step.text] for step in steps]
    print_table([Column("steps", right=True), Column("when", right=True), "what"], rows)
    if not steps:
        say("There is no change that can be taken back.")
    return 0


def _wanted(args: argparse.Namespace, plan: ChangePlan, schema: str) -> bool:
    """Show the plan and ask."""
    from san_console.cli.output import counted
    from san_console.cli.target_lookup import agreed
    from san_console.cli.target_plan import print_plan

    if args.dry_run or not plan.changes:
        if args.json:
            _print(schema, plan, applied=False)
        else:
            print_plan(plan)
        return False
    if not args.json or not args.yes:
        # What is asked about has to be seen; standard output stays one object.
        print_plan(plan, to_errors=args.json)
    count = counted(len(plan.changes), "change")
    if agreed(f"{count}.", yes=args.yes):
        return True
    print("san-console: nothing was changed", file=sys.stderr)
    return False


def _tell(args: argparse.Namespace, made: ChangePlan, schema: str, said: str) -> None:
    if args.json:
        _print(schema, made, applied=True)
    else:
        print(said)


def _print(schema: str, plan: ChangePlan, *, applied: bool) -> None:
    from san_console.cli.output import plain_data, print_json

    print_json(schema, {"applied": applied, "plan": plain_data(plan)})
