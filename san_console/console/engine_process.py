"""The engine as a process of its own, started by whoever needs it first: the window or a command."""

from __future__ import annotations

import os
import site
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import san_console
from san_console.rpc.lock import is_locked
from san_console.rpc.paths import data_dir, ensure_data_dir, ensure_private_dir, lock_path, runtime_dir

START_LOG_NAME: Final = "engine-start.log"
"""What an engine says before its own log is open, for instance why it could not start."""

_MAX_TAIL_BYTES: Final = 2000


def engine_running() -> bool:
    """Whether an engine holds the lock of the runtime folder. It may still be starting."""
    return is_locked(lock_path())


def python_command(*words: str) -> list[str]:
    """The argument list that runs `san-console` with `words` in another process of this same Python.

    With `-P`, so that a folder `san_console` in the current directory is not taken for the program.
    """
    return [sys.executable, "-P", "-m", "san_console", *words]


def python_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment for `python_command`: this one's, with the way to our package where needed."""
    environment = {**os.environ, **(extra or {})}
    root = str(Path(san_console.__file__).resolve().parents[1])
    if root not in (*site.getsitepackages(), site.getusersitepackages()):
        paths = [root, *filter(None, environment.get("PYTHONPATH", "").split(os.pathsep))]
        environment["PYTHONPATH"] = os.pathsep.join(dict.fromkeys(paths))
    return environment


def start_engine_process(
    extra_env: Mapping[str, str] | None = None, *, memory_secrets: bool = False
) -> subprocess.Popen[bytes]:
    """Start an engine that outlives this process, and return at once; the socket answers some 0.3 s later.

    When another engine runs already, or is faster, the new one ends by itself. Its folders are those of this
    process. Raises ApiProblem `forbidden` or `storage` when the folder for its log cannot be used, and
    OSError when Python cannot be started.
    """
    ensure_private_dir(runtime_dir())
    folder = ensure_data_dir(data_dir())
    words = ["engine", "run", *(["--memory-secrets"] if memory_secrets else [])]
    descriptor = os.open(
        folder / START_LOG_NAME, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600
    )
    try:
        return subprocess.Popen(
            python_command(*words),
            stdin=subprocess.DEVNULL,
            stdout=descriptor,
            stderr=descriptor,
            env=python_environment(extra_env),
            cwd="/",
            start_new_session=True,
        )
    finally:
        os.close(descriptor)


def start_log_tail() -> str:
    """The last of what an engine said when it was started, for an engine that ended at once."""
    try:
        with (data_dir() / START_LOG_NAME).open("rb") as log:
            log.seek(0, os.SEEK_END)
            log.seek(max(log.tell() - _MAX_TAIL_BYTES, 0))
            return log.read().decode("utf-8", "replace").strip()
    except OSError:
        return ""
