"""`san-console lab`: a whole SAN on loopback, with an engine and folders of its own that go with it."""

import argparse
import contextlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator

_SCHEMA = "san-console/lab/1"
_FOLDER_PREFIX = "san-console-lab-"
ENGINE_END_S = 15.0
WINDOW_END_S = 10.0


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add `lab`."""
    parser = subparsers.add_parser(
        "lab", help="try everything with no SAN: an iSNS server and two targets on loopback"
    )
    parser.add_argument(
        "--headless",
        action="store_true",
        help="open no window; walk through the main job and print each step",
    )
    parser.add_argument(
        "--pictures", metavar="DIR", help="save a picture of each page, light and dark (with --headless)"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object (with --headless)")
    parser.set_defaults(handler=lab)


def lab(args: argparse.Namespace) -> int:
    """Start the lab, show it, end it; the exit code."""
    import asyncio
    import os
    from pathlib import Path

    from san_console.api.problems import ApiProblem
    from san_console.cli.output import print_failure

    if not args.headless and (args.pictures or args.json):
        print_failure(
            "--pictures and --json belong to --headless.", "this command", "Add --headless to the command."
        )
        return 2
    pictures = Path(args.pictures).absolute() if args.pictures else None
    if not args.headless and not _has_display():
        print_failure(
            "There is no display to open the window on.",
            "this computer",
            "Run san-console lab --headless, or set DISPLAY or WAYLAND_DISPLAY.",
        )
        return 1
    with _Signals() as signals, LabFolders() as folders:
        os.environ.update(folders.environment)
        engine = None
        try:
            with signals.held():
                engine = _start_engine()
            if args.headless:
                from san_console.cli.lab_walk import walk

                return asyncio.run(walk(engine, folders.path, pictures, as_json=args.json, schema=_SCHEMA))
            return _show_window(engine, signals)
        except ApiProblem as problem:
            print_failure(problem.message, problem.problem.side, problem.problem.check)
            return 1
        finally:
            signals.ignore()
            if engine is not None:
                _end_engine(engine)


class LabFolders:
    """Temporary folders for state, socket and settings; gone afterwards."""

    def __enter__(self) -> "LabFolders":
        import os
        import tempfile
        from pathlib import Path

        from san_console.rpc.paths import MAX_SOCKET_PATH_BYTES, SOCKET_NAME

        below = tempfile.gettempdir()
        longest = Path(below, f"{_FOLDER_PREFIX}12345678", "runtime", SOCKET_NAME)
        if len(os.fsencode(longest)) > MAX_SOCKET_PATH_BYTES:
            below = "/tmp"  # noqa: S108 - mkdtemp makes a folder of our own there; TMPDIR is too long for sockets
        self.path: Path = Path(tempfile.mkdtemp(prefix=_FOLDER_PREFIX, dir=below))
        self.environment = {
            f"SAN_CONSOLE_{name}_DIR": str(self.path / name.lower()) for name in ("DATA", "RUNTIME", "CONFIG")
        }
        return self

    def __exit__(self, *problem: object) -> None:
        import shutil

        shutil.rmtree(self.path, ignore_errors=True)


class _Signals:
    """SIGTERM ends the lab as Ctrl+C does; once it is being taken down neither leaves a half of it behind."""

    def __enter__(self) -> "_Signals":
        import signal

        def interrupt(number: int, frame: object) -> None:
            raise KeyboardInterrupt

        self._before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        signal.signal(signal.SIGTERM, interrupt)
        return self

    @contextlib.contextmanager
    def held(self) -> "Iterator[None]":
        """An interruption waits for the end of the block: no process is started and then not known."""
        import signal

        came: list[int] = []
        usual = {number: signal.getsignal(number) for number in self._before}
        for number in usual:
            signal.signal(number, lambda number, _frame: came.append(number))
        try:
            yield
        finally:
            for number, handler in usual.items():
                signal.signal(number, handler)
        if came:
            raise KeyboardInterrupt

    def ignore(self) -> None:
        import signal

        for number in self._before:
            signal.signal(number, signal.SIG_IGN)

    def __exit__(self, *problem: object) -> None:
        import signal

        for number, handler in self._before.items():
            signal.signal(number, handler)


def _has_display() -> bool:
    import os
    import sys

    if sys.platform != "linux":
        return True
    return any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM"))


def _start_engine() -> "subprocess.Popen[bytes]":
    from san_console.console.engine_process import start_engine_process

    return start_engine_process(memory_secrets=True)


def _end_engine(engine: "subprocess.Popen[bytes]") -> None:
    import asyncio
    import subprocess

    from san_console.api.methods import StopEngine
    from san_console.api.problems import ApiProblem
    from san_console.cli.engine_link import connect

    async def stop() -> None:
        async with await connect(start=False) as client:
            await client.call("engine.stop", StopEngine(force=True))

    try:
        asyncio.run(stop())
        engine.wait(ENGINE_END_S)
    except (ApiProblem, subprocess.TimeoutExpired):
        # It does not answer (any more): end the process itself.
        engine.terminate()
        try:
            engine.wait(ENGINE_END_S)
        except subprocess.TimeoutExpired:
            engine.kill()
            engine.wait()


def _show_window(engine: "subprocess.Popen[bytes]", signals: _Signals) -> int:
    """Start the lab inside the engine and the window on it; wait for the window to be closed."""
    import asyncio
    import subprocess

    from san_console.cli.engine_link import EngineView, connect_to_started
    from san_console.console.engine_process import python_command, python_environment

    async def begin() -> None:
        async with await connect_to_started(engine) as client, EngineView(client) as view:
            await view.finished(await view.call("lab.start"), timeout_s=30)

    asyncio.run(begin())
    window = None
    try:
        # A process of its own: Ctrl+C here must not leave the end of the lab to Qt's event loop.
        with signals.held():
            window = subprocess.Popen(python_command("window"), env=python_environment())
        return window.wait()
    finally:
        if window is not None and window.poll() is None:
            window.terminate()
            try:
                window.wait(WINDOW_END_S)
            except subprocess.TimeoutExpired:
                window.kill()
                window.wait()
