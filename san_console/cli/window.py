"""`san-console` alone, or `san-console window`: the console's window."""

import argparse


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add `window`."""
    parser = subparsers.add_parser("window", help="open the console's window (as without a command)")
    parser.add_argument(
        "host",
        nargs="?",
        metavar="test://SCENARIO",
        help="show a simulated host instead of this computer: demo, empty, large or hostile",
    )
    parser.add_argument("--theme", choices=("system", "light", "dark"), help="instead of the one last chosen")
    parser.add_argument(
        "--pictures", metavar="DIR", help="save a picture of each page, light and dark, and end"
    )
    parser.set_defaults(handler=open_window)


def open_window(args: argparse.Namespace) -> int:
    """Open it and wait until it is closed; the exit code."""
    words = []
    if args.host is not None:
        if not _is_simulated_host(args.host):
            return 2
        words.append(args.host)
    if args.theme is not None:
        words += ["--theme", args.theme]
    if args.pictures is not None:
        words += ["--pictures", args.pictures]
    from san_console.gui.app import run_window

    return run_window(words)


def _is_simulated_host(host: str) -> bool:
    """Whether there is such a host; if not, that is printed. Needs no Qt."""
    from san_console.cli.output import print_failure
    from san_console.console.simulated import SCENARIOS
    from san_console.console.simulated.backend import SCHEME

    if host.startswith(SCHEME) and host.removeprefix(SCHEME).rstrip("/") in SCENARIOS:
        return True
    names = ", ".join(f"{SCHEME}{name}" for name in SCENARIOS)
    print_failure(f"There is no host {host}.", "this command", f"There are {names}.")
    return False
