"""Where icons and other data files are: beside the package in a source tree, inside it when installed."""

from __future__ import annotations

from functools import cache
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent.parent


@cache
def resources_dir() -> Path:
    """Raises `FileNotFoundError` for an installation without its data files."""
    for candidate in (_PACKAGE / "_resources", _PACKAGE.parent / "resources"):
        if (candidate / "icons").is_dir():
            return candidate
    raise FileNotFoundError(f"the icons of the console are missing: looked beside and inside {_PACKAGE}")
