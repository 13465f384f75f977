"""`san-console`: the command line. Nothing heavy is imported before a command is chosen."""

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from typing import Protocol

from san_console import __version__

EXIT_FAILED = 1
EXIT_INTERRUPTED = 130

COMMAND_MODULES = (
    "window",
    "lab",
    "engine",
    "discover",
    "login",
    "sessions",
    "lun",
    "target",
    "isns",
)
"""Modules of this package that add commands, in the order of the help."""

_DESCRIPTION = "Find iSCSI targets, log in to them, use and serve LUNs, and watch every session."
_EPILOG = """\
Without a command the console's window opens. Commands that need the engine start it.
Exit codes: 0 done, 1 the work failed, 2 wrong usage.
"""


class CommandModule(Protocol):
    """What a module of this package with commands has."""

    def add_parser(self, subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None: ...


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="san-console",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"san-console {__version__}")
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND")
    for name in COMMAND_MODULES:
        module: CommandModule = importlib.import_module(f"san_console.cli.{name}")
        module.add_parser(subparsers)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code. Wrong usage raises SystemExit(2), as argparse does."""
    words = sys.argv[1:] if argv is None else list(argv)
    args = build_parser().parse_args(words or ["window"])
    try:
        code: int = args.handler(args)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has had enough. Python must not try to flush it once more at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_FAILED
    return code
