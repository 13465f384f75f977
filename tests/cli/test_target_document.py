"""Documents of targets on the command line, against the simulated host behind a real socket."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from san_console.api.plan_objects import ChangePlan, Disconnected, FieldChange, ObjectChange
from san_console.api.serving_objects import Consequence
from san_console.cli.main import main
from san_console.cli.target_plan import print_plan
from san_console.console.simulated.demo_serving import ARCHIVE, LAB, PROD, initiator
from san_console.rpc.paths import socket_path
from tests.cli.simulated_engine import SimulatedEngine, simulated_engine

Run = Callable[..., tuple[int, str, str]]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def engine(folders: Path) -> Iterator[SimulatedEngine]:
    with simulated_engine(socket_path()) as engine:
        yield engine


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    def command(*words: str, stdin: io.StringIO | None = None) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "stdin", stdin or io.StringIO())
        capsys.readouterr()
        try:
            code = main(["target", *words])
        except SystemExit as error:
            code = int(str(error.code))
        said = capsys.readouterr()
        return code, said.out, said.err

    return command


def edited(text: str, **changes: Any) -> str:
    document = yaml.safe_load(text)
    (target,) = (one for one in document["targets"] if one["name"] == ARCHIVE)
    target.update(changes)
    return yaml.safe_dump(document, sort_keys=False)


def test_export_writes_all_or_some_and_replaces_no_file(
    engine: SimulatedEngine, run: Run, tmp_path: Path
) -> None:
    code, text, _ = run("export")
    document = yaml.safe_load(text)
    assert (code, document["schema"]) == (0, "san-console/targets/1")
    names = {one["name"] for one in document["targets"]}
    assert {PROD, ARCHIVE} <= names
    assert LAB not in names, "the lab's targets belong to no document"
    file = tmp_path / "targets.yaml"
    assert run("export", "archive", "--output", str(file))[:2] == (0, "")
    assert [one["name"] for one in yaml.safe_load(file.read_text())["targets"]] == [ARCHIVE]
    code, _, err = run("export", "--output", str(file))
    assert (code, "--force" in err) == (1, True)
    assert run("export", "--output", str(file), "--force")[0] == 0
    assert file.read_text() == text
    assert json.loads(run("export", "--json")[1])["document"] == text


def test_apply_shows_asks_and_does(engine: SimulatedEngine, run: Run, tmp_path: Path) -> None:
    world = engine.backend.world
    text = run("export")[1]
    file = tmp_path / "targets.yaml"
    file.write_text(edited(text, alias="cellar"))
    code, out, _ = run("apply", str(file), "--dry-run")
    assert (code, "alias: archive → cellar" in out) == (0, True)
    code, _, err = run("apply", str(file))
    assert (code, "--yes" in err) == (2, True)
    code, _, err = run("apply", str(file), stdin=Terminal("no\n"))
    assert (code, "nothing was changed" in err) == (1, True)
    assert world.get("local_targets", ARCHIVE).alias == "archive"
    code, out, err = run("apply", str(file), stdin=Terminal("yes\n"))
    assert (code, "1 change" in err, "target undo" in out) == (0, True, True)
    assert world.get("local_targets", ARCHIVE).alias == "cellar"
    code, out, _ = run("apply", str(file), "--yes")
    assert (code, out) == (0, "Nothing differs.\n")
    done = json.loads(run("apply", "-", "--yes", "--json", stdin=io.StringIO(text))[1])
    assert (done["schema"], done["applied"]) == ("san-console/target-apply/1", True)
    assert done["plan"]["changes"][0]["fields"] == [{"name": "alias", "before": "cellar", "after": "archive"}]


def test_apply_only_some_and_refuses_what_is_wrong(engine: SimulatedEngine, run: Run, tmp_path: Path) -> None:
    world = engine.backend.world
    file = tmp_path / "targets.yaml"
    text = run("export")[1].replace("alias: prod", "alias: production")
    file.write_text(edited(text, alias="cellar"))
    assert run("apply", str(file), "--yes", "--only", ARCHIVE)[0] == 0
    assert world.get("local_targets", ARCHIVE).alias == "cellar"
    assert world.get("local_targets", PROD).alias == "prod"
    file.write_text("schema: san-console/targets/1\ntarget: []\n")
    code, out, err = run("apply", str(file), "--yes")
    assert (code, out, "Line 2" in err, "decided by: the document" in err) == (1, "", True, True)
    file.write_bytes(b"\xff\xfe\x00")
    assert run("apply", str(file), "--yes")[0] == 1
    code, _, err = run("apply", str(tmp_path / "none"), "--yes")
    assert (code, "could not be read" in err) == (1, True)


def test_undo_lists_shows_and_takes_back(engine: SimulatedEngine, run: Run, tmp_path: Path) -> None:
    world = engine.backend.world
    assert "no change" in run("undo", "--list")[2]
    code, _, err = run("undo", "--yes")
    assert (code, "can be undone" in err) == (1, True)
    file = tmp_path / "targets.yaml"
    for alias in ("one", "two"):
        file.write_text(edited(run("export")[1], alias=alias))
        assert run("apply", str(file), "--yes")[0] == 0
    assert len(json.loads(run("undo", "--list", "--json")[1])["steps"]) == 2
    assert run("undo", "--list")[1].count("\n") == 3
    code, out, _ = run("undo", "--steps", "2", "--dry-run")
    assert (code, "alias: two → archive" in out) == (0, True)
    assert run("undo")[0] == 2
    assert run("undo", "--yes")[0] == 0
    assert world.get("local_targets", ARCHIVE).alias == "one"
    assert json.loads(run("undo", "--yes", "--json")[1])["applied"] is True
    assert world.get("local_targets", ARCHIVE).alias == "archive"
    assert run("undo", "--steps", "0")[0] == 2


def test_a_plan_is_told_in_colours_on_a_terminal_only(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    who = initiator("db-1.example")
    plan = ChangePlan(
        base="x",
        changes=[
            ObjectChange(target=PROD, kind="lun", name="data\x1b[2J", action="removed"),
            ObjectChange(
                target=PROD,
                kind="portal_group",
                name="2",
                action="changed",
                fields=[FieldChange(name="portals", before="10.0.0.1:3260", after="")],
            ),
            ObjectChange(target=ARCHIVE, kind="target", name=ARCHIVE, action="added"),
        ],
        consequences=[Consequence(severity="danger", text="LUN data is closed.", target=PROD)],
        disconnects=[Disconnected(session_id="t1", initiator=who, target=PROD, why="x")],
        notes=["It comes back empty."],
    )
    print_plan(plan)
    plain = capsys.readouterr().out
    assert "\x1b" not in plain
    for text in ("- LUN data", "~ portal group 2 changed", "portals: 10.0.0.1:3260 → none", "+ target added"):
        assert text in plain
    assert plain.index("LUN data is closed.") < plain.index("This disconnects:") < plain.index(who)
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.delenv("NO_COLOR", raising=False)
    print_plan(plan)
    assert terminal.getvalue().count("\x1b[31m") == 3
    assert "\x1b[2J" not in terminal.getvalue()
