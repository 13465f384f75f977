"""What the commands change of local targets, against the simulated host behind a real socket."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from san_console.api.serving_objects import LocalLun, LocalTarget
from san_console.cli.main import main
from san_console.console.simulated.demo_serving import PROD, initiator
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
        try:
            code = main(["target", *words])
        except SystemExit as error:
            code = int(str(error.code))
        said = capsys.readouterr()
        return code, said.out, said.err

    return command


def prod(engine: SimulatedEngine) -> LocalTarget:
    target: LocalTarget = engine.backend.world.get("local_targets", PROD)
    return target


def lun(engine: SimulatedEngine, name: str) -> LocalLun:
    return next(one for one in prod(engine).luns if one.name == name)


def done(run: Run, *words: str) -> Any:
    code, out, err = run(*words, "--json")
    assert code == 0, err
    return json.loads(out)


def test_luns_go_offline_online_and_grow(engine: SimulatedEngine, run: Run) -> None:
    assert run("offline", "prod", "iso")[0] == 0
    assert (lun(engine, "iso").online, lun(engine, "iso").state) == (False, "offline")
    document = done(run, "online", PROD, "lun-iso")
    assert document["schema"] == "san-console/target-change/1"
    assert lun(engine, "iso").state == "online"
    code, out, _ = run("grow", "prod", "vm-store", "3T")
    assert (code, "3 TiB" in out, lun(engine, "vm-store").size_bytes) == (0, True, 3 * 2**40)
    code, _, err = run("grow", "prod", "vm-store", "1G")
    assert (code, "never made smaller" in err) == (1, True)
    assert run("grow", "prod", "vm-store", "large")[0] == 2
    code, _, err = run("offline", "prod", "none")
    assert (code, "has no LUN none" in err) == (1, True)
    assert run("retry", "archive", "2024")[0] == 1
    assert run("retry", "prod", "iso")[0] == 0


def test_a_path_is_set(engine: SimulatedEngine, run: Run) -> None:
    assert run("alua", "prod", "2", "standby", "--preferred")[0] == 0
    group = prod(engine).portal_groups[1]
    assert (group.access_state, group.preferred) == ("standby", True)
    assert run("alua", "prod", "2", "active/optimized", "--not-preferred")[0] == 0
    assert not prod(engine).portal_groups[1].preferred
    assert run("alua", "prod", "7", "standby")[0] == 1
    assert run("alua", "prod", "2", "sleeping")[0] == 2


def test_a_reservation_is_dropped_only_when_it_is_meant(engine: SimulatedEngine, run: Run) -> None:
    code, _, err = run("clear-reservation", "prod", "db-data")
    assert (code, "--yes" in err) == (2, True)
    assert engine.backend.world.has("reservations", f"{PROD}/lun-db-data")
    assert run("clear-reservation", "prod", "db-data", "--yes")[0] == 0
    assert not engine.backend.world.has("reservations", f"{PROD}/lun-db-data")


def test_limits_are_set_by_name(engine: SimulatedEngine, run: Run) -> None:
    words = ("max_connections=2", "initial_r2t=yes", "nop_in_interval_s=2.5", "header_digest=require")
    assert run("set-limits", "prod", *words)[0] == 0
    limits = prod(engine).limits
    assert (limits.max_connections, limits.initial_r2t, limits.nop_in_interval_s, limits.header_digest) == (
        2,
        True,
        2.5,
        "require",
    )
    for word, code in (("max_connections", 2), ("nothing=1", 1), ("max_connections=x", 1)):
        assert run("set-limits", "prod", word)[0] == code
    assert "max_connections cannot be “x”" in run("set-limits", "prod", "max_connections=x")[2]


def test_sessions_and_connections_are_ended(engine: SimulatedEngine, run: Run) -> None:
    world = engine.backend.world
    db_1 = initiator("db-1.example")
    assert run("disconnect", db_1)[0] == 2
    assert run("disconnect", db_1, "--connection", "1", "--yes")[0] == 0
    assert len(world.get("target_sessions", "t1").connections) == 3
    assert run("disconnect", db_1, "--target", "archive", "--yes")[0] == 1
    code, out, _ = run("disconnect", "db-2", "--target", "prod", "--yes")
    assert (code, "db-2" in out, world.has("target_sessions", "t2")) == (0, True, False)
    assert done(run, "disconnect", "t1", "--yes")["sessions"] == ["t1"]


def test_a_target_with_sessions_is_not_stopped_unasked(engine: SimulatedEngine, run: Run) -> None:
    assert run("disable", "prod")[0] == 2
    assert prod(engine).enabled
    assert run("disable", "prod", "--yes")[0] == 0
    assert prod(engine).state == "stopped"
    assert run("enable", "prod")[0] == 0
    assert prod(engine).state == "serving"


def test_the_chap_of_discovery(engine: SimulatedEngine, run: Run) -> None:
    world = engine.backend.world
    assert (
        run("discovery-chap", "--identity", "backup", "--identity", "discovery", "--mutual", "prod-array")[0]
        == 0
    )
    info = world.get("engine", "engine")
    assert (info.discovery_identity_ids, info.discovery_mutual_identity_id) == (
        ["id-backup", "id-discovery"],
        "id-prod-array",
    )
    assert run("discovery-chap", "--identity", "nobody")[0] == 1
    assert run("discovery-chap")[0] == 2
    assert run("discovery-chap", "--none")[0] == 0
    assert world.get("engine", "engine").discovery_identity_ids == []
