"""What the window remembers: written whole, damaged files kept aside."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from san_console.console.settings import CONFIG_DIR_VARIABLE, SettingsFile, config_dir


def test_values_come_back(tmp_path: Path) -> None:
    path = tmp_path / "new" / "window.json"
    settings = SettingsFile(path)
    assert settings.get("theme", "system") == "system"
    settings.set("theme", "dark")
    settings.set("columns.targets", [1, 2, {"width": 80}])
    settings.save()
    again = SettingsFile(path)
    assert again.get("theme") == "dark"
    assert again.get("columns.targets") == [1, 2, {"width": 80}]
    assert path.stat().st_mode & 0o077 == 0
    again.set("theme", None)
    again.save()
    assert SettingsFile(path).get("theme") is None
    assert [entry.name for entry in path.parent.iterdir()] == ["window.json"]


def test_nothing_is_written_when_nothing_changed(tmp_path: Path) -> None:
    settings = SettingsFile(tmp_path / "window.json")
    settings.set("gone", None)
    settings.save()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b'{"format": 2, "values": {}}',
        b'{"format": 1, "values": 3}',
        b"\xff\xfe",
        b"[" * 100_000,
    ],
)
def test_a_damaged_file_is_kept_aside_and_said(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "window.json"
    path.write_bytes(content)
    settings = SettingsFile(path)
    assert settings.get("theme", "system") == "system"
    aside = tmp_path / "window.json.damaged"
    assert aside.read_bytes() == content
    assert str(aside) in settings.note
    settings.set("theme", "light")
    settings.save()
    assert json.loads(path.read_bytes())["values"] == {"theme": "light"}


def test_a_save_that_fails_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "window.json"
    settings = SettingsFile(path)
    settings.set("theme", "dark")
    settings.save()

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    settings.set("theme", "light")
    with pytest.raises(OSError, match="No space"):
        settings.save()
    assert SettingsFile(path).get("theme") == "dark"
    assert [entry.name for entry in tmp_path.iterdir()] == ["window.json"]


def test_the_environment_names_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CONFIG_DIR_VARIABLE, str(tmp_path))
    assert config_dir() == tmp_path
    assert SettingsFile().path == tmp_path / "window.json"
