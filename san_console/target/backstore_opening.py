"""Opening, creating, checking and locking the file or device behind a LUN. Everything here may block."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from dataclasses import dataclass

from san_console.names.display import visible
from san_console.target.config import BackstoreSpec
from san_console.target.errors import BackstoreError


@dataclass(frozen=True, slots=True)
class OpenFile:
    """An open, locked file or device. `identity` is what tells it from another one at the same path."""

    fd: int
    size_bytes: int
    identity: tuple[int, int]


def describe(error: OSError) -> str:
    """The system's own words for an error."""
    return os.strerror(error.errno) if error.errno else str(error)


def identity_of(status: os.stat_result) -> tuple[int, int]:
    """What tells a file or a device from another one; a device node that was made anew is the same device."""
    if stat.S_ISBLK(status.st_mode):
        return (0, status.st_rdev)
    return (status.st_dev, status.st_ino)


def open_file(spec: BackstoreSpec, *, claim: bool = True) -> OpenFile:
    """Open what `spec` names, and create it when `spec.create` says so. With `claim`, a block device is
    ours alone: one that is mounted, or part of a volume, is refused. Raises BackstoreError.
    """
    path = os.path.abspath(spec.path)
    shown = visible(path)
    fd = _open(spec, path, shown, claim=claim and spec.kind == "block" and not spec.read_only)
    try:
        size_bytes = check_size(spec, fd, shown)
        lock(fd, read_only=spec.read_only, shown=shown)
        return OpenFile(fd, size_bytes, identity_of(os.fstat(fd)))
    except BaseException:
        os.close(fd)
        raise


def _open(spec: BackstoreSpec, path: str, shown: str, *, claim: bool) -> int:
    flags = (os.O_RDONLY if spec.read_only else os.O_RDWR) | os.O_CLOEXEC
    try:
        # On a block device O_EXCL does not create: it fails with EBUSY when the system uses it (open(2)).
        return os.open(path, flags | os.O_EXCL if claim else flags)
    except FileNotFoundError as error:
        if not spec.create:
            raise BackstoreError(
                f"The backstore {shown} does not exist.",
                check="Check the path, or give a size to create the file.",
            ) from error
    except PermissionError as error:
        raise BackstoreError(
            f"The backstore {shown} cannot be opened for {'reading' if spec.read_only else 'writing'}.",
            check="Check the permissions of the file, or serve it read-only.",
        ) from error
    except OSError as error:
        if claim and error.errno == errno.EBUSY:
            raise BackstoreError(
                f"The backstore {shown} is in use.",
                check="Unmount it, or take it out of its volume or array.",
            ) from error
        raise BackstoreError(
            f"The backstore {shown} cannot be opened: {describe(error)}.", check="Check the path."
        ) from error
    return _create(spec, path, flags, shown)


def _create(spec: BackstoreSpec, path: str, flags: int, shown: str) -> int:
    try:
        fd = os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise BackstoreError(
            f"The backstore {shown} cannot be created: {describe(error)}.",
            check="Check that the folder exists and that you may write there.",
        ) from error
    try:
        allocate(fd, 0, spec.size_bytes, thin=spec.thin)
        # The name too has to survive a loss of power: the first flush is about the data alone.
        os.fsync(fd)
        _sync_folder(os.path.dirname(path))
    except OSError as error:
        os.close(fd)
        os.unlink(path)
        raise BackstoreError(
            f"There is no room for {spec.size_bytes} bytes in {shown}: {describe(error)}.",
            check="Free some space, choose a smaller size, or make it thin.",
        ) from error
    return fd


def _sync_folder(folder: str) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def allocate(fd: int, start: int, end: int, *, thin: bool) -> None:
    """Let a file of `start` bytes become one of `end` bytes, with its space reserved unless `thin`. Raises
    OSError.
    """
    if thin:
        os.ftruncate(fd, end)
    else:
        os.posix_fallocate(fd, start, end - start)


def check_size(spec: BackstoreSpec, fd: int, shown: str) -> int:
    """The size to serve, of a file that is of the right kind and large enough. Raises BackstoreError."""
    mode = os.fstat(fd).st_mode
    if spec.kind == "block":
        if not stat.S_ISBLK(mode):
            raise BackstoreError(f"{shown} is not a block device.", check="Use file: for a regular file.")
    elif not stat.S_ISREG(mode):
        raise BackstoreError(
            f"{shown} is not a regular file.", check="Use block: for a device; folders cannot be served."
        )
    actual = medium_bytes(fd)
    if spec.size_bytes > actual:
        raise BackstoreError(
            f"The backstore {shown} is too small: {actual} bytes where {spec.size_bytes} are asked for.",
            check="Enlarge the file, or give the size that it has.",
        )
    size = spec.size_bytes or actual
    if size < spec.block_bytes:
        raise BackstoreError(
            f"The backstore {shown} is too small: {size} bytes are less than one block.",
            check="Enlarge the file, or give a size to create a new one.",
        )
    if size % spec.block_bytes:
        raise BackstoreError(
            f"The size of {shown}, {size} bytes, is no multiple of the block size, {spec.block_bytes}.",
            check="Give size= to serve a part of it, or choose another block size.",
        )
    return size


def medium_bytes(fd: int) -> int:
    """The size of a file or a block device, as it is now; `st_size` of a device is 0."""
    return os.lseek(fd, 0, os.SEEK_END)


def lock(fd: int, *, read_only: bool, shown: str) -> None:
    """Keep other targets away. Raises BackstoreError when somebody has it."""
    try:
        fcntl.flock(fd, (fcntl.LOCK_SH if read_only else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except OSError as error:
        raise BackstoreError(
            f"The backstore {shown} is in use.", check="Stop the program, or the other LUN, that uses it."
        ) from error
