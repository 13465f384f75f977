"""Holes in files, and what happens where there are none."""

from __future__ import annotations

import ctypes
import errno
from pathlib import Path

import pytest

from san_console.target import hole


class Library:
    """A C library whose fallocate fails."""

    def __init__(self, number: int) -> None:
        self._number = number

    def fallocate(self, *_: int) -> int:
        ctypes.set_errno(self._number)
        return -1


def test_a_hole_reads_as_zeros_and_takes_no_space(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * (1 << 20))
    with path.open("r+b") as file:
        assert hole.punch_hole(file.fileno(), 4096, 1 << 19)
    content = path.read_bytes()
    assert content == b"x" * 4096 + bytes(1 << 19) + b"x" * ((1 << 19) - 4096)
    assert path.stat().st_blocks * 512 <= 600 << 10


@pytest.mark.parametrize("number", [errno.EOPNOTSUPP, errno.ENOSYS])
def test_a_file_system_without_holes_says_so(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    monkeypatch.setattr(hole, "_libc", Library(number))
    assert not hole.punch_hole(0, 0, 4096)


def test_an_error_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hole, "_libc", Library(errno.EIO))
    with pytest.raises(OSError, match="Input/output"):
        hole.punch_hole(0, 0, 4096)


def test_a_system_without_the_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hole, "_libc", None)
    assert not hole.punch_hole(0, 0, 4096)
    monkeypatch.setattr("sys.platform", "win32")
    assert hole._load() is None
