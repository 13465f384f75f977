"""What the commands tell of local targets, against the simulated host behind a real socket."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from san_console.cli.main import main
from san_console.console.simulated.demo_serving import ARCHIVE, PROD, initiator
from san_console.rpc.paths import socket_path
from tests.cli.simulated_engine import SimulatedEngine, simulated_engine

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def engine(folders: Path) -> Iterator[SimulatedEngine]:
    with simulated_engine(socket_path()) as engine:
        yield engine


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def command(*words: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main(["target", *words])
        said = capsys.readouterr()
        return code, said.out, said.err

    return command


def data(run: Run, *words: str) -> Any:
    code, out, err = run(*words, "--json")
    assert code == 0, err
    return json.loads(out)


def test_the_list_tells_states_portals_and_users(engine: SimulatedEngine, run: Run) -> None:
    code, out, _ = run("list")
    assert code == 0
    (row,) = (line for line in out.splitlines() if PROD in line)
    assert "serving" in row
    assert "10.20.0.5:3260" in row
    assert row.rstrip().endswith("3")
    (row,) = (line for line in out.splitlines() if ARCHIVE in line)
    assert "1 offline" in row
    document = data(run, "list")
    assert document["schema"] == "san-console/target-list/1"
    assert {one["id"] for one in document["targets"]} >= {PROD, ARCHIVE}


def test_one_target_is_shown_by_name_and_by_alias(engine: SimulatedEngine, run: Run) -> None:
    code, out, _ = run("show", "prod")
    assert code == 0
    assert (code, out) == run("show", PROD)[:2]
    for text in (
        "active/non-optimized",
        "vm-store",
        "1.7 TiB !",
        "max_connections=4",
        "512/4096",
        "db-hosts",
    ):
        assert text in out
    assert data(run, "show", "prod")["target"]["id"] == PROD
    code, out, err = run("show", "archive")
    assert "10.20.0.5:3261, for now" in out
    assert "/mnt/archive/2024.img is not there" in err


def test_limits_are_told_one_by_one_and_only_those_that_were_changed(
    engine: SimulatedEngine, run: Run
) -> None:
    out = run("show", "prod")[1]
    lines = [line.split() for line in out.splitlines() if "=" in line and "usually" in line]
    assert ["limits", "max_connections=4", "(usually", "8)"] in lines or [
        "max_connections=4",
        "(usually",
        "8)",
    ] in lines
    assert "login_timeout_s" not in out
    everything = run("show", "prod", "--limits")[1]
    assert "login_timeout_s=15" in everything
    assert max(map(len, (line for line in everything.splitlines() if "=" in line))) < 100


def test_nothing_to_list_is_a_sentence_and_no_empty_table(folders: Path, run: Run) -> None:
    with simulated_engine(socket_path(), "empty"):
        for words, said in (
            (("list",), "No target is served"),
            (("sessions",), "Nobody is logged in"),
            (("reservations",), "Nothing is reserved"),
            (("undo", "--list"), "no change that can be taken back"),
        ):
            code, out, err = run(*words)
            assert (code, out) == (0, "")
            assert said in err


def test_what_is_not_there_is_a_failure_that_says_where_to_look(engine: SimulatedEngine, run: Run) -> None:
    code, out, err = run("show", "none")
    assert (code, out) == (1, "")
    assert "no local target none" in err
    assert "decided by: the engine" in err
    assert "check: Look at: san-console target list" in err


def test_sessions_with_their_connections(engine: SimulatedEngine, run: Run) -> None:
    code, out, _ = run("sessions", "prod")
    assert code == 0
    (row,) = (line for line in out.splitlines() if "db-1" in line)
    assert "4 of 4" in row
    assert "CHAP SHA-256 mutual" in row
    (row,) = (line for line in run("sessions")[1].splitlines() if ARCHIVE in line)
    assert "recovering" in row
    found = data(run, "sessions", "prod")["sessions"]
    assert [len(one["connections"]) for one in found] == [4, 2, 1]


def test_reservations_with_holders_and_those_that_are_away(engine: SimulatedEngine, run: Run) -> None:
    code, out, _ = run("reservations")
    assert code == 0
    lines = out.splitlines()
    (row,) = (line for line in lines if "0x00000000db010001" in line)
    assert "holder" in row
    (row,) = (line for line in lines if "db-3" in line)
    assert "registered, away" in row
    assert any("Reserve (SPC-2)" in line for line in lines)
    assert len(data(run, "reservations", "prod")["reservations"]) == 2
    assert data(run, "reservations", "archive")["reservations"] == []


def test_access_tells_what_holds_and_why(engine: SimulatedEngine, run: Run) -> None:
    code, out, _ = run("access", "prod", initiator("db-1.example"))
    assert code == 0
    assert "allowed" in out
    assert "db-hosts; the target proves itself as prod-array" in out
    assert "no mapping means this initiator" in out
    stranger = "iqn.2026-11.org.example:stranger"
    found = data(run, "access", "archive", stranger, "--address", "10.20.40.7")
    assert (found["allowed"], [lun["lun"] for lun in found["luns"]]) == (True, [4])
    code, out, _ = run("access", "archive", stranger, "--address", "10.1.1.1")
    assert (code, "refused" in out) == (0, True)
    code, _, err = run("access", "archive", stranger, "--address", "nowhere")
    assert (code, "is no address" in err) == (1, True)


@pytest.mark.parametrize("words", [("list",), ("sessions",), ("reservations",)])
def test_hostile_names_do_nothing_to_the_terminal(folders: Path, run: Run, words: tuple[str, ...]) -> None:
    with simulated_engine(socket_path(), "hostile"):
        code, out, err = run(*words)
        assert code == 0
        assert "\x1b" not in out + err
        assert "\x00" not in out + err
        assert "\u202e" not in out + err
