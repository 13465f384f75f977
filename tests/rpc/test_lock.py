from __future__ import annotations

import os
from pathlib import Path

import pytest

from san_console.api.problems import ApiProblem
from san_console.rpc.lock import EngineLock, is_locked


def test_only_one_holds_it_and_the_other_learns_who(tmp_path: Path) -> None:
    path = tmp_path / "engine.lock"
    assert not is_locked(path)
    first = EngineLock(path)
    first.acquire()
    assert is_locked(path)
    with pytest.raises(ApiProblem) as caught:
        EngineLock(path).acquire()
    assert caught.value.code == "in-use"
    assert caught.value.problem.details["pid"] == str(os.getpid())
    first.release()
    assert not is_locked(path)
    second = EngineLock(path)
    second.acquire()
    second.release()
    second.release()


def test_a_link_in_its_place_is_refused(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / "engine.lock").symlink_to(victim)
    with pytest.raises(ApiProblem) as caught:
        EngineLock(tmp_path / "engine.lock").acquire()
    assert caught.value.code == "forbidden"
    assert victim.read_text() == "precious"
    assert not is_locked(tmp_path / "engine.lock")


def test_it_knows_when_its_file_is_no_longer_the_one_that_others_lock(tmp_path: Path) -> None:
    path = tmp_path / "engine.lock"
    lock = EngineLock(path)
    assert not lock.is_in_place()
    lock.acquire()
    assert lock.is_in_place()
    path.unlink()
    assert not lock.is_in_place()
    path.touch()
    assert not lock.is_in_place()
    lock.release()
