"""The commands that need an engine, against the simulated host behind a real socket."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from san_console.api.methods import AddSource, Login
from san_console.cli.main import main
from san_console.console.simulated.demo_initiator import PREFIX
from san_console.rpc.paths import socket_path
from tests.cli.simulated_engine import SimulatedEngine, simulated_engine

SECRET = "right-secret-7f1c"

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def engine(folders: Path) -> Iterator[SimulatedEngine]:
    with simulated_engine(socket_path()) as engine:
        yield engine


@pytest.fixture
def hostile_engine(folders: Path) -> Iterator[SimulatedEngine]:
    with simulated_engine(socket_path(), "hostile") as engine:
        yield engine


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    def command(*words: str, stdin: str = "") -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
        capsys.readouterr()
        code = main(words)
        said = capsys.readouterr()
        return code, said.out, said.err

    return command


def data(run: Run, *words: str) -> Any:
    code, out, err = run(*words, "--json")
    assert code == 0, err
    document = json.loads(out)
    assert document["schema"] == f"san-console/{document['schema'].split('/')[1]}/1"
    return document


def test_sessions_are_a_table_and_an_object(engine: SimulatedEngine, run: Run) -> None:
    code, out, err = run("sessions")
    assert code == 0
    lines = out.splitlines()
    assert lines[0].split() == [
        "state",
        "target",
        "portal",
        "login",
        "LUNs",
        "read",
        "write",
        "IOPS",
        "p99",
        "up",
        "for",
    ]
    assert len(lines) == 7
    row = next(line for line in lines if "10.20.0.11:3260" in line)
    assert row.startswith("logged in")
    assert PREFIX + "prod-db" in row
    assert "4 d 2 h" in row
    retrying = next(line for line in lines if line.startswith("retrying"))
    assert "try 7 in" in retrying
    assert "Is the archive array switched on" in err
    document = data(run, "sessions")
    assert document["schema"] == "san-console/sessions/1"
    assert len(document["sessions"]) == 6
    first = document["sessions"][0]
    assert first["state"] == "logged_in"
    assert first["statistics"]["read_iops"] > 0
    assert {"id", "target", "portal", "isid", "tsih", "auth", "keys", "connections", "reconnects"} <= set(
        first
    )


def test_luns_are_known_by_their_identity(engine: SimulatedEngine, run: Run) -> None:
    code, out, err = run("luns")
    assert code == 0
    assert len(out.splitlines()) == 22
    row = next(line for line in out.splitlines() if line.startswith("naa.600a098038314f6e5a2b4e7a4c6d3551"))
    assert row.split()[1:6] == [PREFIX + "backup", "0", "10", "TiB", "512"]
    assert "Another unit stands behind LUN 1" in err
    assert "it was naa.3000c0ffee00beef" in err
    document = data(run, "luns")
    assert len(document["luns"]) == 21
    assert document["luns"][0]["size_bytes"] == 512 << 30


def test_discovery_lists_portals_and_whether_they_answer(engine: SimulatedEngine, run: Run) -> None:
    code, out, err = run("discover", "10.5.5.5")
    assert code == 0
    lines = out.splitlines()
    assert lines[0].split() == ["target", "group", "portal", "answers", "login", "alias"]
    assert lines[1].split()[:3] == ["iqn.2026-11.org.example.found:10.5.5.5-1", "1", "10.5.5.5:3260"]
    assert "2 targets from 10.5.5.5:3260" in err
    method, params = next(call for call in engine.calls if call[0] == "sources.add")
    assert isinstance(params, AddSource)
    assert (method, params.kind, params.address) == ("sources.add", "sendtargets", "10.5.5.5:3260")
    document = data(run, "discover", "isns.new", "--isns")
    assert document["source"]["address"] == "isns.new:3205"
    assert [target["portals"][0]["reach"] for target in document["targets"]] == ["answers", "answers"]


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("nowhere.invalid", "does not resolve"),
        ("10.9.9.99", "gave no answer in 5.0 s"),
        ("10.9.9.9:22", "is an SSH server"),
    ],
)
def test_a_discovery_that_fails_says_cause_side_and_check(
    engine: SimulatedEngine, run: Run, address: str, said: str
) -> None:
    code, out, err = run("discover", address)
    assert (code, out) == (1, "")
    lines = err.splitlines()
    assert said in lines[0]
    assert lines[0].startswith("san-console: ")
    assert lines[1].startswith("  decided by: ")
    assert lines[2].startswith("  check: ")


def test_a_secret_goes_from_its_file_to_the_engine_only(
    engine: SimulatedEngine, run: Run, folders: Path
) -> None:
    file = folders / "secret"
    file.write_text(SECRET + "\n")
    words = ["login", PREFIX + "prod-vm2", "--portal", "10.20.0.14", "--chap-user", "me"]
    code, out, err = run(*words, "--chap-secret-file", str(file))
    assert code == 0, err
    assert "CHAP SHA-256" in out
    assert "2 LUNs, 3 GiB" in out
    assert SECRET not in out + err
    (login,) = [params for method, params in engine.calls if method == "sessions.login"]
    assert isinstance(login, Login)
    assert login.chap is not None
    assert (login.chap.user, login.chap.secret) == ("me", SECRET)
    code, out, _ = run("logout", PREFIX + "prod-vm2")
    assert (code, out) == (0, f"Logged out of {PREFIX}prod-vm2.\n")


def test_both_secrets_may_come_from_standard_input(engine: SimulatedEngine, run: Run) -> None:
    words = ["login", PREFIX + "prod-vm2", "--portal", "10.20.0.14", "--chap-user", "me"]
    words += [
        "--chap-secret-file",
        "-",
        "--mutual-chap-user",
        "array",
        "--mutual-chap-secret-file",
        "-",
        "--json",
    ]
    code, out, err = run(*words, stdin=f"{SECRET}\nother-{SECRET}\n")
    assert code == 0, err
    assert json.loads(out)["session"]["auth"] == "CHAP SHA-256 mutual"


def test_without_a_file_the_identity_of_the_user_is_taken(engine: SimulatedEngine, run: Run) -> None:
    words = ["login", PREFIX + "prod-vm2", "--portal", "10.20.0.14"]
    code, _, err = run(*words, "--chap-user", "esx-lab", "--mutual-chap-user", "prod-array")
    assert code == 0, err
    (login,) = [params for method, params in engine.calls if method == "sessions.login"]
    assert login.chap is None
    assert (login.login.identity_id, login.login.mutual_identity_id) == ("id-esx-lab", "id-prod-array")


def test_what_the_user_has_set_for_a_target_is_kept(engine: SimulatedEngine, run: Run) -> None:
    code, _, _ = run("login", PREFIX + "old-array", "--portal", "10.20.0.90", "--data-digest", "require")
    assert code == 1
    (login,) = [params for method, params in engine.calls if method == "sessions.login"]
    assert login.login.favourite
    assert login.login.data_digest == "require"


def test_a_user_without_a_secret_is_told_what_to_do(engine: SimulatedEngine, run: Run) -> None:
    code, _, err = run("login", PREFIX + "prod-vm2", "--portal", "10.20.0.14", "--chap-user", "stranger")
    assert code == 1
    assert "stranger" in err
    assert "check: " in err
    assert not [call for call in engine.calls if call[0] == "sessions.login"]


@pytest.mark.parametrize(
    ("ours", "theirs", "said"),
    [
        ("wrong-secret-000", "right-secret-000", "The target refused the secret"),
        ("right-secret-000", "wrong-secret-000", "did not prove"),
    ],
)
def test_a_wrong_secret_names_its_direction(
    engine: SimulatedEngine, run: Run, ours: str, theirs: str, said: str
) -> None:
    words = ["login", PREFIX + "prod-vm2", "--portal", "10.20.0.14", "--chap-user", "me"]
    words += ["--chap-secret-file", "-", "--mutual-chap-user", "array", "--mutual-chap-secret-file", "-"]
    code, out, err = run(*words, stdin=f"{ours}\n{theirs}\n")
    assert (code, out) == (1, "")
    assert said in err
    assert ours not in err
    assert theirs not in err


@pytest.mark.parametrize(
    "words",
    [
        ["discover", "[::1"],
        ["discover", "10.0.0.1:99999"],
        ["discover", "10.0.0.1", "--isns", "--chap-user", "me"],
        ["login", "no name", "--portal", "10.0.0.1"],
        ["login", PREFIX + "x", "--portal", "::::"],
        ["logout", "\x1b[31m"],
    ],
)
def test_wrong_usage_is_2_and_asks_no_engine(run: Run, folders: Path, words: list[str]) -> None:
    code, out, err = run(*words)
    assert (code, out) == (2, "")
    assert err.startswith("san-console: ")
    assert "Starting the engine" not in err
    assert all(line.isprintable() for line in err.splitlines())


def test_a_session_that_is_not_there_cannot_be_logged_out(engine: SimulatedEngine, run: Run) -> None:
    code, _, err = run("logout", PREFIX + "mail")
    assert code == 1
    assert "There is no session" in err


def test_the_engine_says_how_it_is(engine: SimulatedEngine, run: Run) -> None:
    code, out, _ = run("engine", "status")
    assert code == 0
    assert "GNOME Keyring, unlocked" in out
    document = data(run, "engine", "status")
    assert document["engine"]["initiator_name"].startswith("iqn.")
    assert document["counts"]["sessions"] == 6
    code, _, err = run("engine", "stop")
    assert code == 1
    assert "4 initiators of others" in err
    code, out, _ = run("engine", "stop", "--force")
    assert code == 0


def test_no_engine_is_said_and_none_is_started_for_it(run: Run, folders: Path) -> None:
    code, out, err = run("engine", "status")
    assert (code, out) == (1, "")
    assert "No engine runs here" in err
    code, out, _ = run("engine", "stop")
    assert code == 0
    assert "No engine" in out
    assert list((folders / "data").iterdir()) == []


@pytest.mark.parametrize("words", [["sessions"], ["luns"], ["engine", "status"]])
def test_hostile_names_do_nothing_to_the_terminal(
    hostile_engine: SimulatedEngine, run: Run, words: list[str]
) -> None:
    code, out, err = run(*words)
    assert code == 0
    for line in (out + err).splitlines():
        assert line.isprintable(), repr(line)
    if words != ["engine", "status"]:
        assert len(out.splitlines()) == 1 + len(hostile_engine.backend.world.values("sessions"))
    document = data(run, *words)
    assert document
