"""Starting the engine: which program, which folders, nothing of the current directory."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from san_console import __version__
from san_console.console import engine_process
from san_console.rpc.lock import EngineLock
from san_console.rpc.paths import lock_path


@pytest.fixture(autouse=True)
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SAN_CONSOLE_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("SAN_CONSOLE_RUNTIME_DIR", str(tmp_path / "run"))
    return tmp_path


def test_an_engine_runs_while_its_lock_is_held(folders: Path) -> None:
    assert not engine_process.engine_running()
    (folders / "run").mkdir(mode=0o700)
    lock = EngineLock(lock_path())
    lock.acquire()
    assert engine_process.engine_running()
    lock.release()
    assert not engine_process.engine_running()


def test_a_folder_here_is_not_taken_for_the_program(folders: Path) -> None:
    fake = folders / "san_console"
    fake.mkdir()
    (fake / "__main__.py").write_text("print('caught')")
    (fake / "__init__.py").write_text("")
    ended = subprocess.run(
        engine_process.python_command("--version"),
        env=engine_process.python_environment(),
        cwd=folders,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.stdout.strip() == f"san-console {__version__}"


def test_what_it_says_at_its_start_is_kept(folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = "import os, sys; print(os.getsid(0) == os.getpid(), os.getcwd(), sys.argv[1:])"
    monkeypatch.setattr(
        engine_process, "python_command", lambda *words: [sys.executable, "-c", program, *words]
    )
    process = engine_process.start_engine_process({"A": "b"}, memory_secrets=True)
    assert process.wait(30) == 0
    assert engine_process.start_log_tail() == "True / ['engine', 'run', '--memory-secrets']"
    log = folders / "data" / engine_process.START_LOG_NAME
    assert log.stat().st_mode & 0o077 == 0
    assert (folders / "run").stat().st_mode & 0o077 == 0
    log.unlink()
    assert engine_process.start_log_tail() == ""


def test_the_way_to_the_package_is_told_once() -> None:
    once = engine_process.python_environment()
    again = engine_process.python_environment(once)
    assert once["PYTHONPATH"] == again["PYTHONPATH"]
    assert once["PYTHONPATH"].split(os.pathsep)[0] == str(Path(engine_process.__file__).parents[2])
