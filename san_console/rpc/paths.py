"""Where the engine's state and socket lie, and the checks that make the socket's folder safe to use.

A folder that another user could have made, or could write to, is refused by both sides: whoever owns the
folder of the socket decides who answers on it.
"""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
from pathlib import Path
from typing import Final

import platformdirs

from san_console.api.problems import ApiProblem

APP_NAME: Final = "san-console"
SOCKET_NAME: Final = "engine.sock"
LOCK_NAME: Final = "engine.lock"
DATA_DIR_VARIABLE: Final = "SAN_CONSOLE_DATA_DIR"
RUNTIME_DIR_VARIABLE: Final = "SAN_CONSOLE_RUNTIME_DIR"

MAX_SOCKET_PATH_BYTES: Final = 106
"""Linux has room for 107 beside the closing NUL (unix(7)), but Qt's local sockets take one less."""


def data_dir() -> Path:
    """Where the state lies: `SAN_CONSOLE_DATA_DIR`, or the user's data folder. Not created here."""
    override = os.environ.get(DATA_DIR_VARIABLE)
    return Path(override).absolute() if override else platformdirs.user_data_path(APP_NAME, appauthor=False)


def runtime_dir() -> Path:
    """Where the socket lies. Not created here.

    `SAN_CONSOLE_RUNTIME_DIR`, else `$XDG_RUNTIME_DIR/san-console`, else `san-console-<uid>` in the system's
    folder for temporary files. An `XDG_RUNTIME_DIR` of another user (as sudo leaves it) counts as none.
    """
    override = os.environ.get(RUNTIME_DIR_VARIABLE)
    if override:
        return Path(override).absolute()
    base = os.environ.get("XDG_RUNTIME_DIR", "")
    if base and os.path.isabs(base):
        try:
            status = os.stat(base)
        except OSError:
            status = None
        if status is not None and stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid():
            return Path(base) / APP_NAME
    return Path(tempfile.gettempdir()) / f"{APP_NAME}-{os.geteuid()}"


def socket_path() -> Path:
    """The engine's socket. Raises ApiProblem `bad-request` when the path is too long for a socket."""
    path = runtime_dir() / SOCKET_NAME
    if len(os.fsencode(path)) > MAX_SOCKET_PATH_BYTES:
        raise ApiProblem(
            "bad-request",
            f"The path {path} is longer than the {MAX_SOCKET_PATH_BYTES} bytes that a socket may have.",
            side="operating system",
            check=f"set {RUNTIME_DIR_VARIABLE} to a folder with a shorter path",
        )
    return path


def lock_path() -> Path:
    return runtime_dir() / LOCK_NAME


def check_private_dir(path: Path) -> None:
    """Raises ApiProblem `forbidden` unless `path` is a folder, no link, ours, and closed to others.

    Raises FileNotFoundError where there is none.
    """
    status = path.lstat()
    if stat.S_ISLNK(status.st_mode):
        raise _refused(path, "it is a link")
    if not stat.S_ISDIR(status.st_mode):
        raise _refused(path, "it is no folder")
    if status.st_uid != os.geteuid():
        raise _refused(path, f"it belongs to user {status.st_uid}, not to {os.geteuid()}")
    if status.st_mode & 0o077:
        raise _refused(path, f"it is open to others (mode {stat.S_IMODE(status.st_mode):o})")


def ensure_private_dir(path: Path) -> Path:
    """Make `path` with mode 0700 if it is missing, and check it. Raises ApiProblem `forbidden`/`storage`."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):  # whoever made it: the check decides
            path.mkdir(mode=0o700)
        check_private_dir(path)
    except OSError as error:
        raise ApiProblem(
            "storage",
            f"The folder {path} cannot be made: {error.strerror}.",
            side="operating system",
            check="its rights and the free space there",
        ) from error
    return path


def ensure_data_dir(path: Path) -> Path:
    """Make the folder of the state with mode 0700 if it is missing; others may not write to it.

    A link is allowed here, since a user may keep his data on another disk. Raises ApiProblem
    `forbidden` or `storage`.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = path.stat()
    except OSError as error:
        raise ApiProblem(
            "storage",
            f"The folder {path} cannot be made or read: {error.strerror}.",
            side="operating system",
            check="its rights and the free space there",
        ) from error
    if status.st_uid != os.geteuid():
        raise _refused(path, f"it belongs to user {status.st_uid}, not to {os.geteuid()}")
    if status.st_mode & 0o022:
        raise _refused(path, f"others may write to it (mode {stat.S_IMODE(status.st_mode):o})")
    return path


def _refused(path: Path, why: str) -> ApiProblem:
    return ApiProblem(
        "forbidden",
        f"The folder {path} is not used: {why}.",
        side="this side",
        check=f"who made it; remove it, or set {RUNTIME_DIR_VARIABLE} to a folder of your own with mode 700",
    )
