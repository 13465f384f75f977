"""The command line as a whole: fast help, usage errors, exit codes, the output pipe."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from san_console import __version__
from san_console.cli import main as main_module
from san_console.cli.lab import LabFolders
from san_console.cli.main import COMMAND_MODULES, build_parser, main

HEAVY = (
    "PySide6",
    "asyncio",
    "keyring",
    "msgspec",
    "paramiko",
    "pyroute2",
    "rich",
    "sqlite3",
    "subprocess",
    "san_console.engine",
    "san_console.gui",
    "san_console.initiator",
    "san_console.rpc",
    "san_console.target",
)


def python(*words: str) -> subprocess.CompletedProcess[str]:
    root = Path(__file__).parents[2]
    return subprocess.run(
        [sys.executable, *words], capture_output=True, text=True, check=False, cwd=root, timeout=60
    )


def test_the_help_needs_nothing_heavy() -> None:
    program = (
        "import sys; from san_console.cli.main import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "print('loaded', *sys.modules)"
    )
    ended = python("-c", program)
    help_text, _, loaded = ended.stdout.partition("loaded ")
    assert ended.returncode == 0
    assert "Exit codes" in help_text
    modules = set(loaded.split())
    heavy = [name for name in HEAVY if name in modules]
    assert heavy == []


def test_the_help_is_there_at_once() -> None:
    took_s = []
    for _ in range(3):
        began = time.perf_counter()
        assert python("-m", "san_console", "--help").returncode == 0
        took_s.append(time.perf_counter() - began)
    assert min(took_s) < 0.3


def test_every_command_of_the_line_has_help(capsys: pytest.CaptureFixture[str]) -> None:
    commands = [
        [],
        ["lab"],
        ["engine", "run"],
        ["engine", "status"],
        ["engine", "stop"],
        ["discover"],
        ["login"],
        ["sessions"],
        ["luns"],
        ["logout"],
        ["lun", "info"],
        ["lun", "read"],
        ["lun", "write"],
        ["lun", "bench"],
        ["lun", "copy"],
        ["target", "serve"],
        ["isns", "serve"],
        ["isns", "query"],
    ]
    for words in commands:
        with pytest.raises(SystemExit) as ended:
            main([*words, "--help"])
        assert ended.value.code == 0
        assert "usage: san-console" in capsys.readouterr().out


@pytest.mark.parametrize(
    "words", [["nonsense"], ["login"], ["login", "iqn.x"], ["engine"], ["lab", "--wrong"]]
)
def test_wrong_usage_is_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 2
    assert "usage: san-console" in capsys.readouterr().err


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--version"])
    assert capsys.readouterr().out == f"san-console {__version__}\n"


def test_without_a_command_the_window_opens(monkeypatch: pytest.MonkeyPatch) -> None:
    parsed = build_parser().parse_args(["window"])
    opened = []

    class Parser:
        def parse_args(self, words: list[str]) -> object:
            def handler(args: object) -> int:
                opened.append(words)
                return 0

            parsed.handler = handler
            return parsed

    monkeypatch.setattr(main_module, "build_parser", Parser)
    assert main([]) == 0
    assert opened == [["window"]]
    assert COMMAND_MODULES[0] == "window"


def test_an_interrupt_is_130(monkeypatch: pytest.MonkeyPatch) -> None:
    from san_console.cli import sessions

    def interrupt(args: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(sessions, "sessions", interrupt)
    assert main(["sessions"]) == 130


def test_a_reader_that_goes_away_is_no_traceback(tmp_path: Path) -> None:
    program = (
        "import sys; from san_console.cli import output, sessions, main\n"
        "def many(args):\n"
        "    output.print_table(['n'], [[n] for n in range(100000)]); return 0\n"
        "sessions.sessions = many\n"
        "sys.exit(main.main(['sessions']))"
    )
    root = Path(__file__).parents[2]
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=root
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    complaint = process.stderr.read()
    process.stderr.close()
    assert process.wait(30) == 1
    assert complaint == b""


def test_a_window_on_a_host_that_does_not_exist(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["window", "test://nowhere"]) == 2
    assert "test://demo, test://empty" in capsys.readouterr().err


def test_pictures_of_the_lab_need_the_walk(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lab", "--pictures", "/nowhere"]) == 2
    assert "--headless" in capsys.readouterr().err


def test_a_lab_without_a_display_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    assert main(["lab"]) == 1
    assert "san-console lab --headless" in capsys.readouterr().err


def test_a_long_temporary_folder_is_no_place_for_a_socket(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    deep = tmp_path / ("long" * 30)
    deep.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(deep))
    with LabFolders() as folders:
        assert len(f"{folders.environment['SAN_CONSOLE_RUNTIME_DIR']}/engine.sock") <= 106
        assert folders.path.is_dir()
    assert not folders.path.exists()
