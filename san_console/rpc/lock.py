"""The lock that makes an engine the only one of its runtime folder."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path
from typing import Final

from san_console.api.problems import ApiProblem

ACQUIRE_TRIES: Final = 5
TRY_AGAIN_S: Final = 0.02
"""`is_locked` holds the lock for an instant; an engine that starts just then must not give up."""


class EngineLock:
    """Held from `acquire` until `release` or the end of the process, however that comes.

    The file itself stays when the lock is released: removing it would let two engines lock two files of
    one name.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor = -1

    def acquire(self) -> None:
        """Raises ApiProblem `in-use` (details: pid) when another engine holds it, `forbidden` for a link."""
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise ApiProblem(
                "forbidden",
                f"The lock file {self._path} cannot be opened: {error.strerror}.",
                side="operating system",
                check="who made it",
            ) from error
        if not _lock(descriptor, ACQUIRE_TRIES):
            pid = os.read(descriptor, 20).decode("ascii", "replace").strip()
            os.close(descriptor)
            raise ApiProblem(
                "in-use",
                f"An engine runs already (process {pid or 'unknown'}).",
                side="engine",
                check="use that one, or end it with: san-console engine stop",
                details={"pid": pid},
            )
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode("ascii"))
        self._descriptor = descriptor

    def is_in_place(self) -> bool:
        """Whether the file that is locked is still the one that others would try to lock."""
        try:
            return os.path.samestat(os.fstat(self._descriptor), os.lstat(self._path))
        except OSError:
            return False

    def release(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def is_locked(path: Path) -> bool:
    """Whether an engine holds the lock at `path`. False where there is no such file."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return not _lock(descriptor, 1)
    finally:
        os.close(descriptor)


def _lock(descriptor: int, tries: int) -> bool:
    for attempt in range(tries):
        if attempt:
            time.sleep(TRY_AGAIN_S)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            continue
        return True
    return False
