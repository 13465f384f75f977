"""`san-console lun` against tgtd, and its arguments."""

from __future__ import annotations

import argparse
import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from san_console.cli import lun
from san_console.cli.chap_arguments import NoSecret, add_chap_arguments, read_chap
from san_console.names.credentials import Secret
from san_console.names.url import IscsiUrl
from tests.peers import Tgtd, free_port, tgtd

TARGET = "iqn.2026-11.org.san-console.test:disk"
SECRET = "the-cli-secret-1"
MIB = 1 << 20


def run(*words: str | Path) -> int:
    parser = argparse.ArgumentParser()
    lun.add_parser(parser.add_subparsers())
    args = parser.parse_args(["lun", *(str(word) for word in words)])
    code: int = args.handler(args)
    return code


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tgtd]:
    folder = tmp_path_factory.mktemp("tgtd")
    images = [folder / "one.img", folder / "two.img"]
    for image in images:
        with image.open("wb") as file:
            file.truncate(8 * MIB)
    with tgtd() as peer:
        peer.add_target(TARGET, images)
        peer.add_account("cli", SECRET)
        yield peer


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "secret"
    path.write_text(SECRET + "\n")
    return path


def url(target: Tgtd, number: int = 1) -> str:
    return f"iscsi://cli@{target.portal}/{TARGET}/{number}"


def result(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    data = json.loads(capsys.readouterr().out)
    assert isinstance(data, dict)
    return data


@pytest.mark.interop
def test_info_as_a_table_and_as_json(target: Tgtd, secret: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("info", url(target), "--chap-secret-file", secret) == 0
    shown = capsys.readouterr().out
    assert "VIRTUAL-DISK" in shown
    assert "8 MiB" in shown
    assert "naa." in shown
    assert run("info", url(target), "--chap-secret-file", secret, "--json") == 0
    data = result(capsys)
    assert data["schema"] == "san-console/lun-info/1"
    assert (data["size_bytes"], data["block_bytes"], data["read_only"]) == (8 * MIB, 512, False)
    assert data["authentication"].startswith("CHAP")


@pytest.mark.interop
def test_what_is_written_is_read_back(
    target: Tgtd, secret: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = os.urandom(3 * MIB + 777)
    source, back = tmp_path / "source", tmp_path / "back"
    source.write_bytes(content)
    common = ("--chap-secret-file", secret, "--data-digest", "none")
    assert run("write", url(target), "--input", source, "--offset", "1K", "--yes", "--json", *common) == 0
    data = result(capsys)
    assert (data["schema"], data["moved_bytes"]) == ("san-console/lun-write/1", len(content))
    words = ("--offset", "1024", "--length", str(len(content)), "--output", back)
    assert run("read", url(target), *words, *common) == 0
    assert "flushed" in capsys.readouterr().err
    assert back.read_bytes() == content
    assert run("copy", url(target), url(target, 2), "--yes", *common) == 0
    whole = tmp_path / "whole"
    assert run("copy", url(target, 2), whole, *common) == 0
    assert whole.stat().st_size == 8 * MIB
    assert whole.read_bytes()[1024 : 1024 + len(content)] == content


@pytest.mark.interop
def test_pipes(target: Tgtd, secret: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = (
        "import argparse, sys\nfrom san_console.cli import lun\np = argparse.ArgumentParser()\n"
        "lun.add_parser(p.add_subparsers())\na = p.parse_args(sys.argv[1:])\nsys.exit(a.handler(a))\n"
    )
    content = os.urandom(MIB + 100)
    base = [sys.executable, "-c", program, "lun"]
    chap = ["--chap-secret-file", str(secret)]
    written = subprocess.run(
        [*base, "write", url(target, 2), "--input", "-", "--yes", *chap],
        input=content,
        timeout=60,
        check=False,
    )
    assert written.returncode == 0
    read = subprocess.run(
        [*base, "read", url(target, 2), "--length", str(len(content)), "--output", "-", *chap],
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert (read.returncode, read.stdout) == (0, content)


@pytest.mark.interop
def test_bench_prints_what_it_measured(
    target: Tgtd, secret: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--seconds", "0.3", "--queue-depth", "4", "--pattern", "randread")
    assert run("bench", url(target), *words, "--chap-secret-file", secret, "--json") == 0
    data = result(capsys)
    assert data["schema"] == "san-console/lun-bench/1"
    assert data["iops"] > 10
    assert data["bytes_per_s"] == pytest.approx(data["iops"] * 4096)
    assert set(data["latency_us"]) == {"p50", "p90", "p99", "p999", "max"}
    assert run("bench", url(target), *words, "--chap-secret-file", secret) == 0
    assert "IOPS" in capsys.readouterr().out
    assert run("bench", url(target), "--block-size", "100", "--chap-secret-file", secret) == 2
    assert "does not fit" in capsys.readouterr().err


@pytest.mark.interop
def test_a_wrong_secret_is_told_with_its_side(
    target: Tgtd, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = tmp_path / "wrong"
    wrong.write_text("a-wrong-secret-99\n")
    assert run("info", url(target), "--chap-secret-file", wrong) == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "decided by: " in shown.err
    assert "check: " in shown.err
    assert "a-wrong-secret-99" not in shown.err


@pytest.mark.interop
def test_beyond_the_end_is_wrong_usage(
    target: Tgtd, secret: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    words = ("--offset", "8M", "--length", "1", "--output", out, "--chap-secret-file", secret)
    assert run("read", url(target), *words) == 2
    assert "beyond its end" in capsys.readouterr().err
    assert not out.exists()


def test_writing_needs_a_yes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"x")
    assert run("write", f"iscsi://127.0.0.1:{free_port()}/{TARGET}/0", "--input", source) == 2
    assert "--yes" in capsys.readouterr().err


def test_a_target_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("info", f"iscsi://127.0.0.1:{free_port()}/{TARGET}/0") == 1
    shown = capsys.readouterr().err
    assert "refused the connection" in shown
    assert "decided by: target" in shown


@pytest.mark.parametrize(
    "words",
    [
        ("info", "iscsi://host"),
        ("info", f"iscsi://host/{TARGET}"),
        ("info", f"iscsi://user:password-in-url@host/{TARGET}/0"),
        ("read", f"iscsi://host/{TARGET}/0", "--output", "x", "--length", "ten"),
        ("bench", f"iscsi://host/{TARGET}/0", "--queue-depth", "0"),
        ("bench", f"iscsi://host/{TARGET}/0", "--seconds", "nan"),
        ("bench", f"iscsi://host/{TARGET}/0", "--pattern", "sideways"),
    ],
)
def test_wrong_usage(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as code:
        run(*words)
    assert code.value.code == 2
    assert "password-in-url" not in capsys.readouterr().err


# ---- where secrets come from ----


def arguments(*words: str | Path) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_chap_arguments(parser)
    return parser.parse_args([str(word) for word in words])


class _Store:
    def __init__(self, known: dict[str, Secret]) -> None:
        self._known = known

    def get(self, identity_id: str) -> Secret | None:
        return self._known.get(identity_id)


def test_without_a_user_there_is_no_chap() -> None:
    assert read_chap(arguments(), IscsiUrl.parse("iscsi://host")) == (None, None)


def test_secrets_come_from_files_and_standard_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "secret"
    file.write_bytes(b"from-the-file-1\n")
    monkeypatch.setattr("sys.stdin", io.StringIO("from-the-input-1\n"))
    mutual_words = ("--mutual-chap-user", "b", "--mutual-chap-secret-file", "-")
    args = arguments("--chap-user", "a", "--chap-secret-file", file, *mutual_words)
    chap, mutual = read_chap(args)
    assert chap is not None
    assert mutual is not None
    assert (chap.user, chap.secret.reveal()) == ("a", b"from-the-file-1")
    assert (mutual.user, mutual.secret.reveal()) == ("b", b"from-the-input-1")


def test_both_secrets_on_standard_input_are_two_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("our-own-secret-1\nthe-other-secret\n"))
    mutual_words = ("--mutual-chap-user", "b", "--mutual-chap-secret-file", "-")
    args = arguments("--chap-user", "a", "--chap-secret-file", "-", *mutual_words)
    chap, mutual = read_chap(args)
    assert chap is not None
    assert mutual is not None
    assert (chap.secret.reveal(), mutual.secret.reveal()) == (b"our-own-secret-1", b"the-other-secret")


def test_the_keyring_is_asked_by_the_users_name(monkeypatch: pytest.MonkeyPatch) -> None:
    store = _Store({"admin": Secret("from-the-keyring")})
    monkeypatch.setattr("san_console.console.secrets.open_store", lambda: store)
    chap, _ = read_chap(arguments(), IscsiUrl.parse("iscsi://admin@host"))
    assert chap is not None
    assert chap.secret.reveal() == b"from-the-keyring"
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    with pytest.raises(NoSecret) as refusal:
        read_chap(arguments("--chap-user", "stranger"))
    assert "--chap-secret-file" in refusal.value.check


def test_the_terminal_is_asked_last(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr("san_console.console.secrets.open_store", lambda: _Store({}))
    monkeypatch.setattr("sys.stdin", Terminal())
    monkeypatch.setattr("getpass.getpass", lambda prompt: "typed-by-a-person")
    chap, _ = read_chap(arguments("--chap-user", "somebody"))
    assert chap is not None
    assert chap.secret.reveal() == b"typed-by-a-person"


@pytest.mark.parametrize(
    "words",
    [
        ("--chap-secret-file", "x"),
        ("--chap-user", "a", "--chap-secret-file", "/nonexistent/secret"),
        ("--chap-user", "a", "--mutual-chap-secret-file", "x"),
        ("--mutual-chap-user", "b", "--mutual-chap-secret-file", "x"),
    ],
)
def test_half_of_what_chap_needs_is_refused(words: tuple[str, ...]) -> None:
    with pytest.raises(NoSecret) as refusal:
        read_chap(arguments(*words))
    assert refusal.value.check.endswith(".")
