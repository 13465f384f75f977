"""What the commands about local targets mean by their words: a target, a LUN, a session; and how they ask."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from san_console.api.problems import ApiProblem
    from san_console.api.serving_objects import LocalLun, LocalTarget, TargetSession
    from san_console.cli.engine_link import EngineView
    from san_console.console.replica import Replica

SETTLE_S = 15.0
"""For targets of an engine that was started a moment ago."""

EXIT_USAGE = 2


def add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def add_target(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("target", metavar="TARGET", help="its name or alias")


def add_lun(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("lun", metavar="LUN", help="its name or id, as target show tells")


def run(work: Callable[[EngineView], Awaitable[int]]) -> int:
    """Run `work` once the engine's targets are up; the exit code."""
    from san_console.cli.engine_link import run_with_engine

    async def settled(view: EngineView) -> int:
        await view.until(_settled, SETTLE_S)
        return await work(view)

    return run_with_engine(settled)


def _settled(replica: Replica) -> bool:
    # A target that needs a keyring may wait for it for long.
    return all(
        target.state != "stopped" or not target.enabled or target.identities_in_use()
        for target in replica.values("local_targets")
    )


def find_target(view: EngineView, text: str) -> LocalTarget:
    """By its name, or by its alias where just one has it. Raises ApiProblem `unknown-object`."""
    targets: list[LocalTarget] = view.replica.values("local_targets")
    found = [one for one in targets if one.id == text.lower()] or [
        one for one in targets if one.alias == text
    ]
    if len(found) == 1:
        return found[0]
    if found:
        raise _problem(f"{len(found)} targets have the alias {text}.", "Give the whole name of one.")
    raise _problem(f"There is no local target {text}.", "Look at: san-console target list")


def find_lun(target: LocalTarget, text: str) -> LocalLun:
    """By its id, or by its name where just one has it. Raises ApiProblem `unknown-object`."""
    found = [one for one in target.luns if one.id == text] or [one for one in target.luns if one.name == text]
    if len(found) == 1:
        return found[0]
    if found:
        raise _problem(f"{len(found)} LUNs of {target.id} are called {text}.", "Give the id of one.")
    raise _problem(
        f"The target {target.id} has no LUN {text}.", f"Look at: san-console target show {target.id}"
    )


def find_sessions(view: EngineView, text: str, target: str = "") -> list[TargetSession]:
    """The sessions of an initiator, or the one with this id. Raises ApiProblem `unknown-object`."""
    sessions: list[TargetSession] = view.replica.values("target_sessions")
    found = [
        one
        for one in sessions
        if text in (one.id, one.initiator, one.initiator_alias) and target in ("", one.target)
    ]
    if not found:
        raise _problem(f"Nobody is logged in as {text}.", "Look at: san-console target sessions")
    return found


def _problem(message: str, check: str) -> ApiProblem:
    from san_console.api.problems import ApiProblem

    return ApiProblem("unknown-object", message, side="the engine", check=check)


def agreed(question: str, *, yes: bool) -> bool:
    """Whether the user wants it: said by --yes, or at the terminal. Raises SystemExit(2) where nobody can be
    asked.
    """
    if yes:
        return True
    if not sys.stdin.isatty():
        print("san-console: there is no terminal to ask at; add --yes if this is meant", file=sys.stderr)
        raise SystemExit(EXIT_USAGE)
    print(f"{question} Type yes to go on: ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip() == "yes"
