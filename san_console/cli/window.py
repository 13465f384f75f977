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
    parser.add_argument(
        "--pictures", metavar="DIR", help="save a picture of each page, light and dark, and open no window"
    )
    parser.set_defaults(handler=open_window)


def open_window(args: argparse.Namespace) -> int:
    """Open it and wait until it is closed; the exit code."""
    backend = None
    if args.host is not None:
        import time

        from san_console.cli.output import print_failure
        from san_console.console.simulated import SimulatedBackend

        try:
            backend = SimulatedBackend(args.host, now=time.time())
        except ValueError as error:
            print_failure(f"{error}.", "this command", "Name one of them as test://NAME.")
            return 2
    if args.pictures is None:
        from san_console.gui.app import run_window

        return run_window(["san-console"], backend=backend)
    import os
    from pathlib import Path

    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    from san_console.gui.pictures import run_pictures

    folder = Path(args.pictures).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    for path in run_pictures(folder, backend=backend):
        print(path)
    return 0
