from __future__ import annotations

import logging
import stat
from pathlib import Path

import pytest

from san_console.engine import log_file
from san_console.engine.log_file import start_log, stop_log
from san_console.names.credentials import Secret


@pytest.fixture
def engine_log(tmp_path: Path) -> Path:
    return tmp_path / "engine.log"


def test_each_record_is_one_line_of_key_and_value(tmp_path: Path, engine_log: Path) -> None:
    handler = start_log(tmp_path)
    try:
        log = logging.getLogger("san_console.test")
        log.info(
            "plain", extra={"fields": {"target": 'iqn.x:"a"\nlevel=error', "secret": Secret("s3cret-s3cret")}}
        )
        try:
            raise ValueError("bad\x1b[2J\nlevel=error forged")
        except ValueError:
            log.exception("a fault")
    finally:
        stop_log(handler)
    lines = engine_log.read_text(encoding="utf-8").splitlines()
    assert len(lines) == 2
    assert all(line.isprintable() for line in lines)
    assert " level=info where=test " in lines[0]
    assert '"iqn.x:\\"a\\"\\nlevel=error"' in lines[0]
    assert "s3cret" not in lines[0]
    assert 'secret="***"' in lines[0]
    assert " level=error where=test " in lines[1]
    assert "ValueError" in lines[1]


def test_the_log_and_its_rotated_files_are_private(
    tmp_path: Path, engine_log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_file, "MAX_LOG_BYTES", 2000)
    handler = start_log(tmp_path)
    try:
        for number in range(100):
            logging.getLogger("san_console.test").info("line %d", number)
    finally:
        stop_log(handler)
    files = sorted(tmp_path.iterdir())
    assert len(files) == 1 + log_file.KEPT_LOGS
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}


def test_a_link_in_its_place_is_not_followed(tmp_path: Path, engine_log: Path) -> None:
    victim = tmp_path / "victim"
    victim.touch()
    engine_log.symlink_to(victim)
    with pytest.raises(OSError):
        start_log(tmp_path)
    assert victim.read_bytes() == b""
