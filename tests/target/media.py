"""Real media of small size for tests (a file system in memory, a loop device: they need root), and where
reads go.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.peers import need


class Heap:
    """An arena for tests that keep their answers."""

    def take(self, length: int) -> memoryview:
        return memoryview(bytearray(length))


def _run(*argv: str) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=20)
    if done.returncode:
        # A container may be root and still not be allowed to, CI included: what is tested here has a test
        # with an injected error beside it.
        pytest.skip(f"{argv[0]}: {done.stderr.strip()}")
    return done.stdout.strip()


def _root() -> None:
    if os.geteuid():
        pytest.skip("mounting needs root")


@contextmanager
def small_tmpfs(folder: Path, size_bytes: int) -> Iterator[Path]:
    """A file system of that size in memory, mounted on `folder`."""
    _root()
    folder.mkdir()
    _run(need("mount", "mount"), "-t", "tmpfs", "-o", f"size={size_bytes}", "tmpfs", str(folder))
    try:
        yield folder
    finally:
        # Lazily: what a failed test left open must not keep the mount for ever.
        subprocess.run([need("umount", "mount"), "-l", str(folder)], check=True, timeout=20)


class LoopDevice:
    """A block device whose blocks are in a file."""

    def __init__(self, path: str, file: Path) -> None:
        self.path = path
        self._file = file

    def grow(self, size_bytes: int) -> None:
        os.truncate(self._file, size_bytes)
        _run(need("losetup", "mount"), "--set-capacity", self.path)


@contextmanager
def loop_device(file: Path) -> Iterator[LoopDevice]:
    """A loop device over `file`, which exists."""
    _root()
    losetup = need("losetup", "mount")
    path = _run(losetup, "--find", "--show", str(file))
    try:
        yield LoopDevice(path, file)
    finally:
        subprocess.run([losetup, "--detach", path], check=True, timeout=20)
