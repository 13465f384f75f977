"""The commands `isns serve` and `isns query`, as processes."""

import argparse
import json
import os
import signal
import subprocess
import sys

import pytest

from san_console.cli import isns
from tests.peers import Process, free_port

T1 = "iqn.2026-11.test:t1"

# Without the other commands, so that the test depends on this module alone.
_RUN = """
import argparse, sys
from san_console.cli import isns
parser = argparse.ArgumentParser()
isns.add_parser(parser.add_subparsers())
args = parser.parse_args()
sys.exit(args.handler(args))
"""


def command(*words: str) -> list[str]:
    return [sys.executable, "-c", _RUN, "isns", *words]


def run(*words: str) -> "subprocess.CompletedProcess[str]":
    environment = os.environ | {"PYTHONPATH": os.getcwd()}
    return subprocess.run(
        command(*words), capture_output=True, check=False, text=True, timeout=60, env=environment
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_serve_says_where_and_ends_cleanly(number: int) -> None:
    with Process(command("serve", "--portal", "127.0.0.1:0")) as process:
        process.wait_until(lambda: "\n" in process.output, timeout_s=30)
        line = process.output.splitlines()[0]
        assert line.startswith("iSNS server ready on 127.0.0.1:")
        address = line.rpartition(" ")[2]
        shown = run("query", address)
        assert shown.returncode == 0, shown.stderr
        assert shown.stdout == ""
        assert "No node" in shown.stderr
        data = json.loads(run("query", address, "--json").stdout)
        assert data["schema"] == "san-console/isns-query/1"
        assert data["server"] == address
        assert data["targets"] == []
        process.signal(number)
        assert process.wait() == 0


def test_serve_as_json() -> None:
    with Process(command("serve", "--portal", "[::1]:0", "--json", "--esi", "--period", "60")) as process:
        process.wait_until(lambda: "}" in process.output, timeout_s=30)
        data = json.loads(process.output)
        assert data["schema"] == "san-console/isns-serve/1"
        assert data["portal"].startswith("[::1]:")


def test_port_that_is_taken_and_server_that_is_not_there() -> None:
    with Process(command("serve", "--portal", "127.0.0.1:0")) as process:
        process.wait_until(lambda: "\n" in process.output, timeout_s=30)
        taken = run("serve", "--portal", process.output.split()[-1])
        assert taken.returncode == 1
        assert "taken" in taken.stderr
        assert "this host" in taken.stderr
    away = run("query", f"127.0.0.1:{free_port()}")
    assert away.returncode == 1
    assert away.stdout == ""
    assert "cannot be reached" in away.stderr


@pytest.mark.parametrize(
    "words",
    [
        ("isns",),
        ("isns", "serve"),
        ("isns", "query"),
        ("isns", "query", "999.1.1.1"),
        ("isns", "query", "127.0.0.1", "--timeout", "never"),
        ("isns", "query", "127.0.0.1", "--timeout", "-1"),
    ],
)
def test_wrong_usage(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser()
    isns.add_parser(parser.add_subparsers())
    with pytest.raises(SystemExit) as caught:
        parser.parse_args(words)
    assert caught.value.code == 2
    assert "usage" in capsys.readouterr().err


def test_name_of_the_asker_must_be_one(capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser()
    isns.add_parser(parser.add_subparsers())
    args = parser.parse_args(["isns", "query", "127.0.0.1:1", "--initiator", "nobody"])
    assert args.handler(args) == 2
    assert "--initiator" in capsys.readouterr().err
