"""Checks before Qt is used: versions that are known to crash, and a machine with no display."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping

BAD_ON_OLD_PYTHON = (6, 12)
"""From this PySide6 on, void calls drop a reference to None; before Python 3.12 that ends the process."""


def version_problem(pyside: tuple[int, int], python: tuple[int, int]) -> str:
    """Why this pair cannot run the window, or ""."""
    if pyside >= BAD_ON_OLD_PYTHON and python < (3, 12):
        return (
            f"PySide6 {pyside[0]}.{pyside[1]} crashes on Python {python[0]}.{python[1]}: it loses None.\n"
            "Check: install 'PySide6-Essentials>=6.8,<6.12', or use Python 3.12 or newer."
        )
    return ""


def display_problem(environment: Mapping[str, str], platform: str = sys.platform) -> str:
    """Why no window can be opened here, or ""."""
    if platform != "linux" or environment.get("QT_QPA_PLATFORM"):
        return ""
    if environment.get("DISPLAY") or environment.get("WAYLAND_DISPLAY"):
        return ""
    return (
        "There is no display here, so the window cannot be opened.\n"
        "Check: run it in a desktop session, or over `ssh -X`. `san-console --help` shows what works without."
    )


def check() -> str:
    """The first problem of this process, or ""."""
    from PySide6 import __version_info__

    pyside = (int(__version_info__[0]), int(__version_info__[1]))
    return version_problem(pyside, sys.version_info[:2]) or display_problem(os.environ)
