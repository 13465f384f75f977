"""Targets as files: export, the look at what a file changes, applying and taking back."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest
from PySide6.QtWidgets import QFileDialog
from pytestqt.qtbot import QtBot

from san_console.api.methods import ExportTargets, SaveLocalTarget
from san_console.api.plan_objects import ChangePlan, Disconnected, FieldChange, ObjectChange
from san_console.api.problems import Problem
from san_console.api.serving_objects import Consequence, LocalTarget
from san_console.gui.bridge.files import Files, read_text, write_text
from san_console.gui.dialogs.target_plan import PlanDialog, RefusedDialog, UndoHistoryDialog
from san_console.gui.models.change_tree import MAX_OBJECTS_SHOWN, cost, object_text, summary, tree_of
from san_console.gui.views.serve import ServePage
from tests.gui.page_bench import PageBench, harmful, nameless, open_page

pytestmark = [pytest.mark.gui, pytest.mark.usefixtures("qapp")]

PROD = "iqn.2026-11.org.example:prod"


def exported(bench: PageBench[ServePage], target: str = PROD) -> str:
    texts: list[str] = []
    bench.host.call(
        "serving.export_targets", ExportTargets(targets=[target]), lambda made: texts.append(made.text)
    )
    bench.settle(0.5)
    return texts[0]


def changed_alias(bench: PageBench[ServePage], alias: str) -> None:
    target = bench.host.get("local_targets", PROD)
    new = msgspec.structs.replace(target, alias=alias)
    bench.host.call("serving.change", SaveLocalTarget(target=new))
    bench.settle(0.5)


def wait(bench: PageBench[ServePage], bot: QtBot) -> None:
    bot.waitUntil(lambda: not bench.page.documents.files.busy, timeout=5_000)
    bench.settle(0.5)


# files


def test_a_file_is_read_whole_or_refused(tmp_path: Path) -> None:
    path = tmp_path / "targets.yaml"
    write_text(str(path), "a: ä\n")
    assert read_text(str(path)) == "a: ä\n"
    assert [one.name for one in tmp_path.iterdir()] == ["targets.yaml"]
    path.write_bytes(b"x" * 1001)
    with pytest.raises(ValueError, match="larger than 1,000"):
        read_text(str(path), 1000)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match="no text"):
        read_text(str(path))
    with pytest.raises(ValueError, match="ordinary"):
        read_text("/dev/zero")


def test_a_pipe_keeps_nobody_waiting(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(ValueError, match="ordinary"):
        read_text(str(pipe))


def test_a_failed_write_leaves_the_former_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "targets.yaml"
    path.write_text("old")

    def full(_handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_text(str(path), "new")
    assert path.read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 1


def test_files_answer_on_the_thread_that_asked(qtbot: QtBot, tmp_path: Path) -> None:
    with open_page(ServePage, "empty") as bench:
        files, said = Files(), list[str]()
        page = bench.page

        def failed(problem: Problem) -> None:
            said.append(problem.message)

        path = str(tmp_path / "x")
        files.write(path, "text", lambda _none: said.append("written"), failed, owner=page)
        qtbot.waitUntil(lambda: bool(said), timeout=5_000)
        files.read(path, said.append, failed, owner=page)
        qtbot.waitUntil(lambda: len(said) == 2, timeout=5_000)
        files.read(str(tmp_path / "gone\n\u202e"), said.append, failed, owner=page)
        qtbot.waitUntil(lambda: len(said) == 3, timeout=5_000)
        assert said[:2] == ["written", "text"]
        assert "No such file" in said[2]
        assert "\u202e" not in said[2]


# the model


def plan() -> ChangePlan:
    return ChangePlan(
        base="b",
        changes=[
            ObjectChange(target=PROD, kind="lun", name="disk1", action="added"),
            ObjectChange(
                target=PROD,
                kind="target",
                name=PROD,
                action="changed",
                fields=[FieldChange(name="register_with", before="a", after="b")],
            ),
            ObjectChange(target="iqn.2026-11.org.example:x", kind="target", name="x", action="removed"),
            ObjectChange(target="", kind="discovery_chap", name="", action="changed"),
        ],
        consequences=[
            Consequence(severity="info", text="Fine."),
            Consequence(severity="warning", text="Hm."),
        ],
        disconnects=[
            Disconnected(
                session_id=str(n), initiator=f"iqn.2004-10.com.example:h{n}", target=PROD, why="gone"
            )
            for n in range(6)
        ],
        notes=["The content of disk1 does not come back."],
    )


def test_a_plan_is_a_tree_by_target() -> None:
    prod, other, everywhere = tree_of(plan())
    assert (prod.text, prod.action) == ("prod", "changed")
    assert [(line.text, line.before, line.after) for line in prod.lines] == [
        ("register with", "a", "b"),
        ("LUN disk1", "", ""),
    ]
    assert (other.text, other.action) == ("x", "removed")
    assert (everywhere.text, everywhere.lines[0].text) == ("all targets", "CHAP of discovery")
    assert summary(plan()) == "1 added, 2 changed, 1 removed"
    assert summary(ChangePlan(base="")) == "nothing differs"
    access = ObjectChange(target=PROD, kind="access", name="*", action="added")
    assert object_text(access) == "access of Anyone"
    mapping = ObjectChange(target=PROD, kind="mapping", name="iqn.2004-10.com.x:h · disk1", action="added")
    assert object_text(mapping) == "mapping h · disk1"


def test_what_a_plan_costs_comes_worst_first() -> None:
    lines = cost(plan())
    assert lines[0] == ("danger", "6 sessions end: h0, h1, h2, h3 and 2 more.")
    assert [severity for severity, _text in lines] == ["danger", "warning", "warning", "info"]


def test_a_plan_of_thousands_is_cut() -> None:
    change = ObjectChange(target=PROD, kind="lun", name="l", action="added")
    lines = tree_of(ChangePlan(base="", changes=[change] * (MAX_OBJECTS_SHOWN + 7)))
    assert lines[-1].text == "and 7 more"


# the window


def test_a_target_is_exported_changed_and_applied_again(qtbot: QtBot, tmp_path: Path) -> None:
    with open_page(ServePage) as bench:
        path = tmp_path / "prod.yaml"
        bench.page.documents.export_to(str(path), PROD)
        bench.settle(0.5)
        wait(bench, qtbot)
        assert "Written to" in bench.window.said[-1][0]
        assert "db-hosts" in path.read_text()
        changed_alias(bench, "changed since")
        bench.page.documents.apply_from(str(path))
        wait(bench, qtbot)
        dialog = bench.dialog()
        assert isinstance(dialog, PlanDialog)
        assert dialog.view.summary.text() == "1 changed"
        top = dialog.view.tree.topLevelItem(0)
        assert top is not None
        field = top.child(0)
        assert field is not None
        assert [field.text(column) for column in range(3)] == ["alias", "changed since", "prod"]
        assert bench.host.get("local_targets", PROD).alias == "changed since"
        dialog.accept_button.click()
        bench.settle()
        assert bench.dialogs() == []
        assert bench.host.get("local_targets", PROD).alias == "prod"
        bench.window.offered[-1]()
        bench.settle()
        assert bench.host.get("local_targets", PROD).alias == "changed since"


def test_a_file_that_changes_nothing_says_so(qtbot: QtBot, tmp_path: Path) -> None:
    with open_page(ServePage) as bench:
        path = tmp_path / "prod.yaml"
        path.write_text(exported(bench))
        bench.page.documents.apply_from(str(path))
        wait(bench, qtbot)
        assert bench.dialogs() == []
        assert "Nothing differs" in bench.window.said[-1][0]


def test_a_file_that_cannot_be_read_is_told_with_its_line(qtbot: QtBot, tmp_path: Path) -> None:
    with open_page(ServePage) as bench:
        path = tmp_path / "bad.yaml"
        path.write_text("schema: san-console/targets/1\ntargets: [{nothing: 1}]\n")
        bench.page.documents.apply_from(str(path))
        wait(bench, qtbot)
        dialog = bench.dialog()
        assert isinstance(dialog, RefusedDialog)
        assert "ine 2" in dialog.problem.message.text()
        dialog.accept_button.click()
        assert isinstance(bench.dialog(), QFileDialog)


def test_a_plan_that_is_out_of_date_is_made_anew(qtbot: QtBot, tmp_path: Path) -> None:
    with open_page(ServePage) as bench:
        path = tmp_path / "prod.yaml"
        path.write_text(exported(bench))
        changed_alias(bench, "one")
        bench.page.documents.apply_from(str(path))
        wait(bench, qtbot)
        dialog = bench.dialog()
        changed_alias(bench, "two")
        dialog.accept_button.click()
        bench.settle()
        assert dialog.problem.isVisible()
        assert bench.host.get("local_targets", PROD).alias == "two"
        top = dialog.view.tree.topLevelItem(0)
        assert top is not None
        field = top.child(0)
        assert field is not None
        assert field.text(1) == "two"
        dialog.accept_button.click()
        bench.settle()
        assert bench.host.get("local_targets", PROD).alias == "prod"


def test_changes_are_taken_back_from_the_list() -> None:
    with open_page(ServePage) as bench:
        changed_alias(bench, "one")
        changed_alias(bench, "two")
        bench.page.documents.history()
        bench.settle()
        dialog = bench.dialog()
        assert isinstance(dialog, UndoHistoryDialog)
        assert dialog.list.count() >= 2
        dialog.list.setCurrentRow(1)
        dialog.ask()
        bench.settle()
        assert "this change and the 1 change after it" in dialog.note.text()
        assert dialog.accept_button.text() == "Undo 2 changes"
        top = dialog.view.tree.topLevelItem(0)
        assert top is not None
        field = top.child(0)
        assert field is not None
        assert field.text(1) == "two"
        dialog.accept_button.click()
        bench.settle()
        assert bench.host.get("local_targets", PROD).alias == "prod"
        assert "2 changes undone" in bench.window.said[-1][0]


def test_an_undo_that_came_too_late_shows_the_list(qtbot: QtBot, tmp_path: Path) -> None:
    with open_page(ServePage) as bench:
        path = tmp_path / "prod.yaml"
        path.write_text(exported(bench))
        changed_alias(bench, "one")
        bench.page.documents.apply_from(str(path))
        wait(bench, qtbot)
        bench.dialog().accept_button.click()
        bench.settle()
        offered = bench.window.offered[-1]
        changed_alias(bench, "somebody else's")
        offered()
        bench.settle()
        assert isinstance(bench.dialog(), UndoHistoryDialog)
        assert bench.host.get("local_targets", PROD).alias == "somebody else's"


def test_with_nothing_to_undo_the_list_says_so() -> None:
    with open_page(ServePage, "empty") as bench:
        bench.page.documents.history()
        bench.settle()
        dialog = bench.dialog()
        assert dialog.empty.isVisible()
        assert not dialog.accept_button.isEnabled()


def test_hostile_names_in_plans_are_shown_as_text() -> None:
    with open_page(ServePage) as bench:
        bad = "<img src=x>\u202e\x1b[2J"
        made = plan()
        made.changes[0].name = bad
        made.changes[1].fields[0].after = bad
        made.consequences[0].text = bad
        made.notes[0] = bad
        dialog = PlanDialog(bad, made, lambda *_all: None, lambda _dialog: None, parent=bench.page)
        dialog.open()
        bench.settle(0.3)
        assert harmful(dialog) == []
        assert nameless(dialog) == []
        texts = [dialog.view.tree.topLevelItem(0).child(row).text(0) for row in range(2)]  # type: ignore[union-attr]  # two are there
        assert not any("\u202e" in text or "\x1b" in text for text in texts)


def test_the_menus_offer_documents() -> None:
    with open_page(ServePage) as bench:
        words = [action.text() for action in bench.page.documents_menu().actions() if action.text()]
        assert words == ["Export all targets…", "Apply a file…", "Undo changes…"]
        assert any(action.text() == "Export…" for action in bench.page.target_menu().actions())
        bench.page.documents.export(PROD)
        assert isinstance(bench.dialog(), QFileDialog)
        assert isinstance(bench.host.get("local_targets", PROD), LocalTarget)
