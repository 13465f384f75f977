"""The wizard that creates a target."""

from __future__ import annotations

import pytest

from san_console.api.serving_objects import LocalLun, LocalTarget
from san_console.gui.models.subjects import ANYONE
from san_console.gui.views.serve import ServePage
from san_console.gui.wizards.create_target import CreateTargetWizard
from san_console.gui.wizards.create_target_summary import lun_spec, serve_command
from tests.gui.page_bench import PageBench, harmful, nameless, open_page

pytestmark = [pytest.mark.gui, pytest.mark.usefixtures("qapp")]

NAME = "iqn.2026-11.org.san-console:disks"
HOST = "iqn.2004-10.com.example.hosts:db-1"


def start(bench: PageBench[ServePage]) -> CreateTargetWizard:
    bench.page.create_target()
    wizard = bench.dialog()
    assert isinstance(wizard, CreateTargetWizard)
    return wizard


def test_from_the_empty_page_to_a_served_target() -> None:
    with open_page(ServePage, "empty") as bench:
        wizard = start(bench)
        assert not wizard.next_button.isEnabled()
        wizard.name.line.setText(NAME.upper())
        assert wizard.name.chosen() == NAME
        wizard.next_button.click()
        assert wizard.portals.chosen() == ["127.0.0.1:3260"]
        wizard.portals.line.setText("127.0.0.1:3261")
        wizard.next_button.click()
        fields = wizard.luns.fields
        fields.path.line.setText("/srv/disks/one.img")
        wizard.luns.add_button.click()
        fields.kind.setCurrentIndex(fields.kind.findData("memory"))
        fields.size_line.setText("64M")
        wizard.luns.add_button.click()
        wizard.next_button.click()
        assert not wizard.next_button.isEnabled()
        wizard.access.names.setPlainText(f"{HOST}\n\n{HOST}")
        wizard.next_button.click()
        wizard.next_button.click()
        assert wizard.step == 5
        assert bench.host.values("local_targets") == []
        assert wizard.summary.command.toPlainText().startswith("san-console target serve --name iqn.")
        wizard.accept_button.click()
        bench.settle()
        assert bench.dialogs() == []
        (target,) = bench.host.values("local_targets")
        assert target.id == NAME
        assert target.portals == ["127.0.0.1:3260", "127.0.0.1:3261"]
        assert [(lun.name, lun.kind) for lun in target.luns] == [("disk0", "file"), ("disk1", "memory")]
        assert target.initiators == [HOST]
        assert [rule.lun for rule in target.mappings] == [0, 1]
        assert bench.page.targets.current_id == NAME


def test_a_lun_that_is_filled_in_need_not_be_added_first() -> None:
    with open_page(ServePage) as bench:
        wizard = start(bench)
        wizard.open_step(2)
        assert not wizard.next_button.isEnabled()
        wizard.luns.fields.path.line.setText("/srv/one.img")
        wizard.next_button.click()
        assert [lun.path for lun in wizard.luns.chosen()] == ["/srv/one.img"]
        assert wizard.step == 3


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("", "after the colon"),
        ("iqn.2026-11.org.san-console:", "after the colon"),
        ("disks", "iqn"),
        ("iqn.2026-11.org.example:with space", ""),
        ("iqn.2026-11.org.example:prod", "already"),
    ],
)
def test_names_that_cannot_be(name: str, word: str) -> None:
    with open_page(ServePage) as bench:
        wizard = start(bench)
        wizard.name.line.setText(name)
        assert not wizard.next_button.isEnabled()
        assert wizard.hint.text()
        assert word in wizard.hint.text()


def test_anyone_is_an_explicit_choice_and_marked() -> None:
    with open_page(ServePage) as bench:
        wizard = start(bench)
        wizard.open_step(3)
        wizard.access.anyone.setChecked(True)
        assert wizard.access.warning.isVisible()
        assert wizard.access.chosen() == [ANYONE]
        assert not wizard.access.names.isEnabled()


def test_a_second_group_a_pattern_and_a_group_of_initiators() -> None:
    with open_page(ServePage) as bench:
        wizard = start(bench)
        wizard.name.line.setText(NAME)
        wizard.open_step(1)
        assert not wizard.portals._second_fields.isVisible()
        wizard.portals.second.setChecked(True)
        assert "Write the portals" in wizard.hint.text()
        wizard.portals.second_line.setText("127.0.0.1")
        assert "in both groups" in wizard.hint.text()
        wizard.portals.second_line.setText("10.21.0.77")
        assert wizard.next_button.isEnabled()
        wizard.luns.fields.path.line.setText("/srv/one.img")
        wizard.luns.fields.thin.setChecked(True)
        wizard.luns.fields.properties.threshold.setValue(80)
        wizard.luns.fields.properties.write_cache.setChecked(False)
        wizard.luns.add()
        wizard.open_step(3)
        wizard.access.names.setPlainText("iqn.2004-10.com.example.hosts:esx-*\n10.20.0.1/16")
        assert "Line 2" in wizard.hint.text()
        wizard.access.names.setPlainText("iqn.2004-10.com.example.hosts:esx-*\n10.20.0.0/16")
        wizard.access.choices.picked.emit(HOST)
        wizard.access.grouped.setChecked(True)
        assert not wizard.next_button.isEnabled()
        wizard.access.group.setText("cluster")
        wizard.open_step(5)
        command = wizard.summary.command.toPlainText()
        assert "--portal 127.0.0.1:3260,1 --portal 10.21.0.77:3260,2" in command
        assert "--access-state 2=active/non-optimized" in command
        assert "thin,threshold=80,wce=off" in command
        assert f"--acl 10.20.0.0/16 --acl {HOST}" in command
        wizard.accept_button.click()
        bench.settle()
        target = bench.host.get("local_targets", NAME)
        assert [(group.tag, group.access_state) for group in target.portal_groups] == [
            (1, "active/optimized"),
            (2, "active/non-optimized"),
        ]
        assert target.initiators == ["group:cluster"]
        assert len(target.initiator_groups[0].members) == 3
        assert [rule.initiator for rule in target.mappings] == ["group:cluster"]


def test_both_directions_with_one_identity_are_refused() -> None:
    with open_page(ServePage) as bench:
        wizard = start(bench)
        wizard.open_step(4)
        wizard.chap.mutual.setCurrentIndex(wizard.chap.mutual.findData("id-prod-array"))
        assert "tick an identity" in wizard.hint.text()
        wizard.chap.boxes["id-prod-array"].setChecked(True)
        assert "Both directions" in wizard.hint.text()
        wizard.chap.boxes["id-prod-array"].setChecked(False)
        wizard.chap.boxes["id-db"].setChecked(True)
        assert wizard.hint.text() == ""
        assert not wizard.chap.boxes["id-old"].isEnabled()


def test_a_refusal_of_the_engine_is_shown_inside() -> None:
    with open_page(ServePage) as bench:
        wizard = start(bench)
        wizard.name.line.setText(NAME)
        wizard.luns.fields.path.line.setText("/srv/one.img")
        wizard.luns.add()
        wizard.access.names.setPlainText(HOST)
        wizard.open_step(5)
        bench.backend.world.put("local_targets", LocalTarget(id=NAME))
        wizard.accept_button.click()
        bench.settle()
        assert wizard.isVisible()
        assert "served already" in wizard.problem.message.text()


@pytest.mark.parametrize(
    ("lun", "spec"),
    [
        (LocalLun(id="a", name="a", kind="memory", size_bytes=4096), "memory:4096"),
        (
            LocalLun(id="a", name="a", kind="file", path="/a", size_bytes=8192, read_only=True, thin=True),
            "file:/a,size=8192,ro,thin",
        ),
        (
            LocalLun(id="a", name="a", kind="block", path="/dev/vdb", block_bytes=4096),
            "block:/dev/vdb,block=4096",
        ),
    ],
)
def test_specs_of_the_command_line(lun: LocalLun, spec: str) -> None:
    assert lun_spec(lun) == spec


def test_specs_of_what_a_lun_tells_of_itself() -> None:
    lun = LocalLun(
        id="a", name="a", kind="file", path="/a", thin=True, physical_block_bytes=4096, write_cache=False
    )
    assert lun_spec(lun) == "file:/a,physical=4096,thin,wce=off"


def test_a_path_with_a_control_character_gives_no_command() -> None:
    target = LocalTarget(id=NAME, luns=[LocalLun(id="a", name="a", kind="file", path="/a\nrm -rf")])
    with pytest.raises(ValueError, match="cannot stand"):
        serve_command(target)


@pytest.mark.parametrize("scenario", ["demo", "hostile"])
def test_every_step_has_names_and_no_text_acts(scenario: str) -> None:
    with open_page(ServePage, scenario) as bench:
        wizard = start(bench)
        for number in range(5):
            wizard.open_step(number)
            assert nameless(wizard) == []
            assert harmful(wizard) == []
