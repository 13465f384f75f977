"""`san-console target serve` as its user sees it."""

from __future__ import annotations

import json
import signal
import socket
from pathlib import Path

import pytest

from tests.target.serving import NAME, serve, start

pytestmark = pytest.mark.interop


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_prints_the_luns_and_ends_cleanly(number: int) -> None:
    with start("--name", NAME, "--portal", "127.0.0.1:0", "--lun", "memory:1M", "null:1G") as process:
        process.wait_until(lambda: process.output.count("\n") == 2)
        first, second = process.output.splitlines()
        assert first.startswith("iscsi://127.0.0.1:")
        assert first.endswith(f"/{NAME}/0")
        assert second.endswith(f"/{NAME}/1")
        process.signal(number)
        assert process.wait(10) == 0
        assert process.output.count("\n") == 2


def test_json() -> None:
    with start("--name", NAME, "--portal", "127.0.0.1:0", "--lun", "memory:1M", "--json") as process:
        process.wait_until(lambda: process.output.rstrip().endswith("}"))
        data = json.loads(process.output)
        assert data["schema"] == "san-console/target-serve/1"
        assert data["target"] == NAME
        assert len(data["luns"]) == 1


def test_ipv6_and_several_portals() -> None:
    with serve(["memory:1M"], "--portal", "[::1]:0") as serving:
        assert serving.portal.startswith("127.0.0.1:")


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (["--lun", "file:/nonexistent/disk"], 1, "does not exist"),
        (["--lun", "file:/dev/null"], 1, "not a regular file"),
        (["--lun", "block:/etc/hostname"], 1, "not a block device"),
        (["--lun", "tape:1M"], 2, "does not say what the LUN is made of"),
        (["--lun", "memory:1M,block=1000"], 2, "block size of 1000"),
        (["--lun", "memory:much"], 2, "is not a size"),
        (["--lun", "memory:1M", "--chap-secret-file", "/nonexistent"], 1, "without its user"),
    ],
)
def test_what_is_refused(words: list[str], code: int, text: str) -> None:
    with start("--name", NAME, "--portal", "127.0.0.1:0", *words) as process:
        assert process.wait(20) == code
        assert text in process.output
        assert "Traceback" not in process.output


def test_a_file_that_is_too_small_or_not_writable(tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.write_bytes(bytes(1000))
    with start("--name", NAME, "--portal", "127.0.0.1:0", "--lun", f"file:{small}") as process:
        assert process.wait(20) == 1
        assert "not a multiple of the block size" in process.output.replace("no multiple", "not a multiple")
    with start("--name", NAME, "--portal", "127.0.0.1:0", "--lun", f"file:{small},size=1M") as process:
        assert process.wait(20) == 1
        assert "too small" in process.output


def test_a_port_that_is_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with start("--name", NAME, "--portal", f"127.0.0.1:{port}", "--lun", "memory:1M") as process:
            assert process.wait(20) == 1
            assert "already taken" in process.output


@pytest.mark.parametrize("name", ["nonsense", "iqn.2026-11.org.example:\u202e", "iqn.bad"])
def test_names_that_are_none(name: str) -> None:
    with start("--name", name, "--portal", "127.0.0.1:0", "--lun", "memory:1M") as process:
        assert process.wait(20) == 2
        assert "\u202e" not in process.output
