from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

import pytest

from san_console.api.problems import ApiProblem
from san_console.rpc import paths


@pytest.fixture
def clean(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in ("SAN_CONSOLE_DATA_DIR", "SAN_CONSOLE_RUNTIME_DIR", "XDG_RUNTIME_DIR", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


def test_overrides_win(clean: pytest.MonkeyPatch, tmp_path: Path) -> None:
    clean.setenv("SAN_CONSOLE_DATA_DIR", str(tmp_path / "data"))
    clean.setenv("SAN_CONSOLE_RUNTIME_DIR", str(tmp_path / "run"))
    assert paths.data_dir() == tmp_path / "data"
    assert paths.socket_path() == tmp_path / "run" / "engine.sock"
    assert paths.lock_path() == tmp_path / "run" / "engine.lock"


def test_the_runtime_folder_follows_xdg(clean: pytest.MonkeyPatch, tmp_path: Path) -> None:
    clean.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    assert paths.runtime_dir() == tmp_path / "san-console"


@pytest.mark.parametrize("value", ["", "relative/path", "/nonexistent/run/user/0"])
def test_without_a_usable_xdg_folder_it_lies_in_the_temporary_one(
    clean: pytest.MonkeyPatch, value: str
) -> None:
    clean.setenv("XDG_RUNTIME_DIR", value)
    assert paths.runtime_dir() == Path(tempfile.gettempdir()) / f"san-console-{os.geteuid()}"


def test_the_xdg_folder_of_another_user_is_not_used(clean: pytest.MonkeyPatch, tmp_path: Path) -> None:
    clean.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    clean.setattr(os, "geteuid", lambda: 54321)
    assert paths.runtime_dir() == Path(tempfile.gettempdir()) / "san-console-54321"


def test_the_data_folder_follows_the_platform(clean: pytest.MonkeyPatch, tmp_path: Path) -> None:
    clean.setenv("XDG_DATA_HOME", str(tmp_path))
    assert paths.data_dir() == tmp_path / "san-console"


def test_a_path_too_long_for_a_socket_is_said(clean: pytest.MonkeyPatch, tmp_path: Path) -> None:
    clean.setenv("SAN_CONSOLE_RUNTIME_DIR", str(tmp_path / ("x" * 120)))
    with pytest.raises(ApiProblem, match="longer than") as caught:
        paths.socket_path()
    assert caught.value.code == "bad-request"


def test_a_private_folder_is_made_whatever_the_umask(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        made = paths.ensure_private_dir(tmp_path / "a" / "run")
    finally:
        os.umask(old)
    assert stat.S_IMODE(made.stat().st_mode) == 0o700
    assert paths.ensure_private_dir(made) == made


def test_folders_that_others_could_use_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "target"
    target.mkdir(mode=0o700)
    link = tmp_path / "link"
    link.symlink_to(target)
    opened = tmp_path / "opened"
    opened.mkdir(mode=0o700)
    opened.chmod(0o710)
    file = tmp_path / "file"
    file.touch()
    dangling = tmp_path / "dangling"
    dangling.symlink_to(tmp_path / "nowhere")
    for path, why in ((link, "link"), (opened, "open to others"), (file, "no folder"), (dangling, "link")):
        with pytest.raises(ApiProblem, match=why) as caught:
            paths.ensure_private_dir(path)
        assert caught.value.code == "forbidden"
    monkeypatch.setattr(os, "geteuid", lambda: 54321)
    with pytest.raises(ApiProblem, match="belongs to user"):
        paths.ensure_private_dir(target)
    with pytest.raises(ApiProblem, match="belongs to user"):
        paths.ensure_data_dir(target)


def test_a_folder_that_cannot_be_made_is_a_storage_problem(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for make in (paths.ensure_private_dir, paths.ensure_data_dir):
        with pytest.raises(ApiProblem) as caught:
            make(tmp_path / "file" / "below")
        assert caught.value.code == "storage"


def test_the_data_folder_may_be_a_link_but_not_writable_by_others(tmp_path: Path) -> None:
    made = paths.ensure_data_dir(tmp_path / "data")
    assert stat.S_IMODE(made.stat().st_mode) == 0o700
    link = tmp_path / "link"
    link.symlink_to(made)
    assert paths.ensure_data_dir(link) == link
    made.chmod(0o770)
    with pytest.raises(ApiProblem, match="others may write"):
        paths.ensure_data_dir(made)
