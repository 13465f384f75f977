"""Rules of the source tree that no linter knows."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MAX_LINES = 700
VAGUE_NAMES = {"utils", "util", "misc", "helpers", "common", "core", "manager"}

MODULES = sorted((ROOT / "san_console").rglob("*.py"))


def test_there_are_modules() -> None:
    assert len(MODULES) > 50


@pytest.mark.parametrize("folder", ["san_console", "tests"])
def test_no_module_is_too_long(folder: str) -> None:
    long = {
        str(path.relative_to(ROOT)): lines
        for path in (ROOT / folder).rglob("*.py")
        if (lines := _lines(path)) > MAX_LINES
    }
    assert long == {}


def test_no_module_has_a_vague_name() -> None:
    vague = [str(path.relative_to(ROOT)) for path in MODULES if path.stem.strip("_") in VAGUE_NAMES]
    assert vague == []


def test_nothing_tracked_names_a_package_source() -> None:
    tracked = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True
    ).stdout.split(b"\0")
    suspicious = re.compile(r"--(extra-)?index-url|--find-links|py" + r"pi\.org|pythonhosted")
    hits = [
        name.decode()
        for name in tracked
        if name.endswith((b".txt", b".toml", b".py", b".md", b".sh", b".cfg"))
        and (ROOT / name.decode()).is_file()
        and suspicious.search((ROOT / name.decode()).read_text(encoding="utf-8"))
    ]
    assert hits in ([], ["tests/architecture/test_modules.py"])


def _lines(path: Path) -> int:
    return path.read_text(encoding="utf-8").count("\n")
