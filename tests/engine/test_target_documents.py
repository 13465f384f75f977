"""Documents of targets: exported, planned, applied and taken back on an engine at work."""

from __future__ import annotations

import asyncio
import os
import socket
from pathlib import Path
from typing import Any

import pytest
import yaml

from san_console.api.engine_objects import EngineInfo
from san_console.api.methods import (
    ApplyTargets,
    ExportTargets,
    GrowLun,
    Login,
    PlanTargets,
    SaveIdentity,
    SaveLocalTarget,
    SetEnabled,
    UndoTargets,
)
from san_console.api.plan_objects import ChangePlan, UndoStep
from san_console.api.problems import ApiProblem
from san_console.api.serving_objects import (
    InitiatorAccess,
    InitiatorGroup,
    LocalLun,
    LocalTarget,
    Mapping,
    OperationalLimits,
    PortalGroup,
    TargetSession,
)
from san_console.initiator.session import Session as LibrarySession
from san_console.initiator.settings import SessionSettings
from san_console.names.portal import Portal
from tests.engine.running import MIB, NAME, Running, local_target, running
from tests.peers import free_port

ALICE, BOB = "iqn.2026-11.org.example:alice", "iqn.2026-11.org.example:bob"
TWO = "iqn.2026-11.org.example:two"
SECRET = "a-secret-nobody-may-see"


async def export(host: Running, *names: str) -> str:
    return str((await host.call("serving.export_targets", ExportTargets(targets=list(names)))).text)


async def plan(host: Running, text: str, *only: str) -> ChangePlan:
    made: ChangePlan = await host.call("serving.plan_targets", PlanTargets(text=text, only=list(only)))
    return made


async def apply(host: Running, text: str, **more: Any) -> ChangePlan:
    made: ChangePlan = await host.call("serving.apply_targets", ApplyTargets(text=text, **more))
    return made


async def steps(host: Running) -> list[UndoStep]:
    found: list[UndoStep] = await host.call("serving.undo_steps")
    return found


def kept(folder: Path) -> bytes:
    """All that the engine has written."""
    return b"".join(path.read_bytes() for path in folder.glob("state.sqlite*"))


def edited(text: str, **changes: Any) -> str:
    """The document with other members of its first target."""
    document = yaml.safe_load(text)
    document["targets"][0] |= changes
    return yaml.safe_dump(document, sort_keys=False)


def target_of(host: Running, name: str = NAME) -> LocalTarget:
    (found,) = (one for one in host.all("local_targets", LocalTarget) if one.id == name)
    return found


async def rich_target(host: Running, folder: Path) -> SaveLocalTarget:
    """A target with everything that can be said of one."""
    (folder / "disk.img").write_bytes(bytes(MIB))
    one = await host.call("identities.save", SaveIdentity(user="alice", secret=SECRET))
    two = await host.call("identities.save", SaveIdentity(user="the target", secret="another-secret-of-it"))
    return local_target(
        alias="Disks: one, two",
        portal_groups=[
            PortalGroup(tag=1, portals=[f"127.0.0.1:{free_port()}"], preferred=True),
            PortalGroup(tag=9, portals=[f"127.0.0.1:{free_port()}"], access_state="standby"),
        ],
        luns=[
            LocalLun(id="disk", name="Disk", kind="memory", size_bytes=4 * MIB, rotation_rate=7200),
            LocalLun(
                id="file",
                name="ünïcode",
                kind="file",
                path=str(folder / "disk.img"),
                thin=True,
                soft_threshold_percent=80,
                write_cache=False,
                serial="0042",
                vendor="ACME",
                physical_block_bytes=4096,
            ),
        ],
        initiator_groups=[InitiatorGroup(name="cluster", members=[ALICE, "10.0.0.0/8"])],
        access=[
            InitiatorAccess(subject=ALICE, identity_ids=[one.id], mutual_identity_id=two.id),
            InitiatorAccess(subject="iqn.2026-11.org.example:*@127.0.0.0/8"),
        ],
        mappings=[
            Mapping(initiator="group:cluster", lun_id="disk", lun=0),
            Mapping(initiator=BOB, lun_id="file", lun=7, read_only=True),
        ],
        limits=OperationalLimits(max_connections=2, nop_in_interval_s=2.5, header_digest="prefer"),
    )


async def test_a_document_says_everything_but_secrets_and_changes_nothing(tmp_path: Path) -> None:
    async with running(tmp_path) as host:
        await host.call("serving.create", await rich_target(host, tmp_path))
        text = await export(host)
        assert SECRET not in text
        assert SECRET.encode() not in kept(tmp_path)
        assert yaml.safe_load(text)["targets"][0]["access"][0]["chap"] == {
            "identities": ["alice"],
            "mutual": "the target",
        }
        made = await plan(host, text)
        assert (made.changes, made.consequences, made.disconnects) == ([], [], [])
        await apply(host, text)
        assert len(await steps(host)) == 1
        before = target_of(host)
        await host.call("serving.undo_targets", UndoTargets())
        assert host.all("local_targets", LocalTarget) == []
        await apply(host, text)
        after = target_of(host)
        for one in (before, after):
            one.registrations = []
            for lun in one.luns:
                lun.used_bytes = None
        assert after == before
        assert await export(host, NAME) == text


async def test_a_plan_tells_who_is_disconnected_and_does_nothing(tmp_path: Path) -> None:
    async with running(tmp_path) as host:
        created = await host.call("serving.create", local_target(port=free_port()))
        session = LibrarySession(SessionSettings(ALICE, NAME, Portal.parse(created.portals[0])))
        await session.login()
        await host.until(lambda: host.all("target_sessions", TargetSession))
        text = await export(host)
        moved = edited(text, portal_groups=[{"tag": 1, "portals": [f"127.0.0.1:{free_port()}"]}])
        made = await plan(host, moved)
        assert [(one.kind, one.name, one.action) for one in made.changes] == [
            ("portal_group", "1", "changed")
        ]
        assert [(one.initiator, one.target) for one in made.disconnects] == [(ALICE, NAME)]
        assert any(one.severity == "danger" for one in made.consequences)
        assert await export(host) == text
        assert session.state == "logged_in"
        # Nobody is disconnected by a new name.
        assert (await plan(host, edited(text, alias="Other"))).disconnects == []
        await apply(host, edited(text, alias="Other"))
        assert session.state == "logged_in"
        await apply(host, moved)
        await host.until(lambda: session.state != "logged_in")
        await session.drop()


async def test_all_or_nothing_over_several_targets(tmp_path: Path) -> None:
    async with running(tmp_path) as host:
        content = os.urandom(4096)
        created = await host.call("serving.create", local_target(alias="before"))
        mine = await host.call("sessions.login", Login(target=NAME, portal=created.portals[0]))
        unit = host.engine.sessions.session(mine.id).lun(0)
        await unit.write_bytes(0, content)
        text = await export(host)
        with socket.create_server(("127.0.0.1", 0)) as taken:
            document = yaml.safe_load(text)
            document["targets"][0]["alias"] = "after"
            document["targets"][0]["luns"].append({"id": "more", "kind": "memory", "size": "1 MiB"})
            document["targets"].append(
                {
                    "name": TWO,
                    "portal_groups": [{"tag": 1, "portals": [f"127.0.0.1:{free_port()}"]}],
                    "luns": [{"id": "x", "kind": "memory", "size": "1 MiB"}],
                }
            )
            third = "iqn.2026-11.org.example:three"
            port = taken.getsockname()[1]
            document["targets"].append(
                {"name": third, "portal_groups": [{"tag": 1, "portals": [f"127.0.0.1:{port}"]}]}
            )
            with pytest.raises(ApiProblem) as caught:
                await apply(host, yaml.safe_dump(document))
            assert caught.value.code == "port-taken"
            assert third in caught.value.message
        assert await export(host) == text
        assert [config.name for config in host.engine.serving.server.targets()] == [NAME]
        assert [lun.id for lun in host.engine.serving.server.targets()[0].luns] == ["disk"]
        assert len(await steps(host)) == 1
        assert await unit.read_bytes(0, 4096) == content
        assert (await apply(host, yaml.safe_dump(document))).changes
        assert len(host.all("local_targets", LocalTarget)) == 3


async def test_storage_and_portals_move_between_targets_and_back(tmp_path: Path) -> None:
    disk = tmp_path / "disk.img"
    disk.write_bytes(b"x" * MIB)
    lun = LocalLun(id="disk", name="Disk", kind="file", path=str(disk))
    async with running(tmp_path) as host:
        await host.call("serving.create", local_target(luns=[lun]))
        await host.call("serving.create", local_target(name=TWO))
        text = await export(host)
        document = yaml.safe_load(text)
        document["targets"].reverse()
        two, one = document["targets"]
        assert (two["name"], one["name"]) == (TWO, NAME)
        two["luns"].append(one["luns"].pop() | {"id": "moved"})
        one["mappings"] = []
        await apply(host, yaml.safe_dump(document))
        (moved,) = (one for one in target_of(host, TWO).luns if one.id == "moved")
        assert (moved.state, moved.problem, moved.path) == ("online", None, str(disk))
        await host.call("serving.undo_targets", UndoTargets())
        assert await export(host) == text
        assert target_of(host).luns[0].state == "online"
        # The whole target under another name, and the old one gone.
        document = yaml.safe_load(text) | {"targets_not_listed": "remove"}
        document["targets"] = [document["targets"][0] | {"name": "iqn.2026-11.org.example:renamed"}]
        made = await apply(host, yaml.safe_dump(document))
        assert {(one.kind, one.action) for one in made.changes if one.target in (NAME, TWO)} == {
            ("target", "removed")
        }
        assert [one.id for one in host.all("local_targets", LocalTarget)] == [
            "iqn.2026-11.org.example:renamed"
        ]
        await host.call("serving.undo_targets", UndoTargets())
        assert await export(host) == text


async def test_steps_are_taken_back_one_by_one_also_by_the_next_engine(tmp_path: Path) -> None:
    async with running(tmp_path) as host:
        await host.call("serving.create", local_target(alias="0"))
        texts = [await export(host)]
        for number in range(1, 4):
            await apply(host, edited(texts[-1], alias=str(number)))
            texts.append(await export(host))
        await host.call("serving.set_enabled", SetEnabled(id=NAME, enabled=False))
        assert [one.number for one in await steps(host)] == [1, 2, 3, 4, 5]
        assert (await steps(host))[0].text == f"{NAME} was disabled"
    async with running(tmp_path) as host:
        made = await host.call("serving.plan_undo", UndoTargets(steps=3))
        assert {field.name for one in made.changes for field in one.fields} == {"alias", "enabled"}
        await host.call("serving.undo_targets", UndoTargets(base=made.base))
        assert await export(host) == texts[3]
        assert target_of(host).state == "serving"
        await host.call("serving.undo_targets", UndoTargets(steps=2))
        assert await export(host) == texts[1]
        with pytest.raises(ApiProblem) as caught:
            await host.call("serving.undo_targets", UndoTargets(steps=3))
        assert caught.value.code == "unknown-object"
        await host.call("serving.undo_targets", UndoTargets(steps=2))
        assert host.all("local_targets", LocalTarget) == []
        with pytest.raises(ApiProblem, match="no change that can be taken back"):
            await host.call("serving.undo_targets", UndoTargets())


async def test_what_was_looked_at_is_what_is_changed(tmp_path: Path) -> None:
    async with running(tmp_path) as host:
        await host.call("serving.create", local_target())
        text = edited(await export(host), alias="mine")
        made = await plan(host, text)
        other = target_of(host)
        await host.call("serving.change", SaveLocalTarget(target=other))
        with pytest.raises(ApiProblem) as caught:
            await apply(host, text, base=made.base)
        assert caught.value.code == "conflict"
        await apply(host, text, base=(await plan(host, text)).base)
        assert target_of(host).alias == "mine"


async def test_luns_grow_and_never_shrink(tmp_path: Path) -> None:
    disk = tmp_path / "disk.img"
    disk.write_bytes(bytes(MIB))
    luns = [
        LocalLun(id="disk", name="Disk", kind="memory", size_bytes=MIB),
        LocalLun(id="file", name="File", kind="file", path=str(disk)),
    ]
    async with running(tmp_path) as host:
        await host.call("serving.create", local_target(luns=luns))
        text = await export(host)
        document = yaml.safe_load(text)
        for lun in document["targets"][0]["luns"]:
            assert lun["size"] == "1 MiB"
            lun["size"] = "2 MiB"
        await apply(host, yaml.safe_dump(document))
        assert [lun.size_bytes for lun in target_of(host).luns] == [2 * MIB, 2 * MIB]
        assert disk.stat().st_size == 2 * MIB
        with pytest.raises(ApiProblem, match=r"Line \d+, .*never made smaller"):
            await apply(host, text)
        for lun in document["targets"][0]["luns"]:
            del lun["size"]
        assert (await plan(host, yaml.safe_dump(document))).changes == []
        await host.call("serving.grow_lun", GrowLun(target=NAME, lun_id="file", size_bytes=3 * MIB))
        made = await host.call("serving.undo_targets", UndoTargets())
        assert len(made.notes) == 2
        assert [lun.size_bytes for lun in target_of(host).luns] == [2 * MIB, 3 * MIB]


async def test_the_chap_of_discovery_goes_with_all_targets(tmp_path: Path) -> None:
    async with running(tmp_path) as host:
        await host.call("identities.save", SaveIdentity(user="asker", secret=SECRET))
        await host.call("serving.create", local_target())
        document = yaml.safe_load(await export(host))
        document["discovery_chap"] = {"identities": ["asker"]}
        made = await apply(host, yaml.safe_dump(document))
        assert [(one.kind, one.fields[0].after) for one in made.changes] == [("discovery_chap", "asker")]
        (info,) = host.all("engine", EngineInfo)
        assert len(info.discovery_identity_ids) == 1
        assert yaml.safe_load(await export(host))["discovery_chap"] == {"identities": ["asker"]}
        assert "discovery_chap" not in yaml.safe_load(await export(host, NAME))
        await host.call("serving.undo_targets", UndoTargets())
        assert "discovery_chap" not in yaml.safe_load(await export(host))


async def test_a_document_is_one_commit_and_so_is_the_way_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An engine that is killed in between has done all of it, or nothing."""
    async with running(tmp_path) as host:
        await host.call("identities.save", SaveIdentity(user="asker", secret=SECRET))
        await host.call("serving.create", local_target())
        document = yaml.safe_load(await export(host))
        document["discovery_chap"] = {"identities": ["asker"]}
        document["targets"][0]["alias"] = "other"
        text = yaml.safe_dump(document)
        state = host.engine.context.state
        await state.settled()
        commits: list[set[tuple[str, bool]]] = []
        commit = state._commit

        def seen(documents: dict[tuple[str, str], bytes | None], events: list[Any]) -> None:
            commits.append({(kind, body is not None) for (kind, _), body in documents.items()})
            commit(documents, events)

        monkeypatch.setattr(state, "_commit", seen)
        whole = {("local_target", True), ("discovery_chap", True)}
        await apply(host, text)
        assert [one for one in commits if one] == [whole | {("undo", True)}]
        commits.clear()
        await host.call("serving.undo_targets", UndoTargets())
        assert [one for one in commits if one] == [whole | {("undo", False)}]

        async def full(*, check: bool = True) -> None:
            raise ApiProblem("storage", "The state cannot be written: disk full.")

        before = await steps(host)
        with monkeypatch.context() as patch:
            patch.setattr(state, "settled", full)
            with pytest.raises(ApiProblem, match="disk full"):
                await apply(host, text)
        assert host.engine.discovery_access.current.identity_ids == []
        assert await steps(host) == before
        await apply(host, text)
        before = await steps(host)
        with monkeypatch.context() as patch:
            patch.setattr(state, "settled", full)
            with pytest.raises(ApiProblem, match="disk full"):
                await host.call("serving.undo_targets", UndoTargets())
        assert len(host.engine.discovery_access.current.identity_ids) == 1
        assert (await steps(host), target_of(host).alias) == (before, "other")


GOOD = f"""\
schema: san-console/targets/1
targets:
  - name: {NAME}
    portal_groups:
      - tag: 1
        portals: ["127.0.0.1:3260"]
"""


@pytest.mark.parametrize(
    ("text", "code", "line", "said"),
    [
        ("schema: other\n", "bad-request", 1, "schema: san-console/targets/1"),
        (GOOD + "    nmae: x\n", "bad-request", 7, "nmae"),
        (GOOD + "    chap: {identities: [nobody]}\n", "unknown-object", 3, "nobody"),
        (GOOD + "    luns: [{id: a, kind: tape}]\n", "bad-request", 7, "tape"),
        (GOOD + "    luns: [{id: a, kind: memory}]\n", "bad-request", 3, "size"),
        (GOOD + "    luns: [{id: a, kind: memory, size: 1000}]\n", "bad-request", 3, "blocks"),
        (GOOD + "    mappings: [{initiator: '*', lun_id: a, lun: 0}]\n", "bad-request", 7, "LUN a"),
        (GOOD + "    access: [{subject: 'group:none'}]\n", "bad-request", 3, "group"),
        (GOOD + "    access: [{subject: '10.0.0.1/8'}]\n", "bad-request", 3, "prefix"),
        (GOOD + "    limits: {max_connections: 9}\n", "bad-request", 3, "max connections"),
        (GOOD + "    limits: {max_conections: 1}\n", "bad-request", 7, "max_conections"),
        (GOOD.replace("tag: 1", "tag: 0"), "bad-request", 3, "tag of 0"),
        (GOOD.replace(NAME, "nonsense"), "bad-request", 3, "nonsense"),
        (GOOD.replace("127.0.0.1:3260", "nowhere at all"), "bad-request", 3, "nowhere"),
        (GOOD + GOOD[GOOD.index("  - name") :], "bad-request", 7, "already"),
        ("a: " + "[" * 100, "bad-request", 1, "nested"),
    ],
)
async def test_what_is_wrong_with_a_document_is_said_with_its_line(
    tmp_path: Path, text: str, code: str, line: int, said: str
) -> None:
    async with running(tmp_path) as host:
        with pytest.raises(ApiProblem) as caught:
            await apply(host, text)
        assert (caught.value.code, caught.value.problem.details["line"]) == (code, str(line))
        assert said in caught.value.message
        assert host.all("local_targets", LocalTarget) == []


async def test_only_some_of_the_targets_of_a_document(tmp_path: Path) -> None:
    second = GOOD[GOOD.index("  - name") :].replace(NAME, TWO).replace("3260", str(free_port()))
    text = GOOD.replace("3260", str(free_port())) + second
    async with running(tmp_path) as host:
        await apply(host, text, only=[TWO.upper()])
        assert [one.id for one in host.all("local_targets", LocalTarget)] == [TWO]
        with pytest.raises(ApiProblem, match="has no target"):
            await apply(host, text, only=["iqn.2026-11.org.example:none"])


async def test_a_document_without_ids_is_the_same_when_it_is_applied_again(tmp_path: Path) -> None:
    """Also for a LUN that was made elsewhere and has another id."""
    text = f"""schema: san-console/targets/1
targets:
- name: {NAME}
  portal_groups: [{{tag: 1, portals: ["127.0.0.1:{free_port()}"]}}]
  luns:
  - {{name: Data, kind: memory, size: 1 MiB}}
  - {{name: Other One, kind: memory, size: 1 MiB}}
  access: [{{subject: "*"}}]
  mappings: [{{initiator: "*", lun_id: Other One, lun: 3}}]
"""
    async with running(tmp_path) as host:
        made = local_target(
            luns=[LocalLun(id="77aa", name="Data", kind="memory", size_bytes=MIB)], mappings=[]
        )
        await host.call("serving.create", made)
        await apply(host, text)
        target = target_of(host)
        assert [lun.id for lun in target.luns] == ["77aa", "other-one"]
        assert [(rule.lun_id, rule.lun) for rule in target.mappings] == [("other-one", 3)]
        assert (await plan(host, text)).changes == []


async def test_a_large_document_does_not_hold_the_engine_up(tmp_path: Path) -> None:
    portals = f'["127.0.0.1:{free_port()}"]'
    rows = "".join(
        f"  - name: {NAME}-{number}\n    portal_groups:\n      - {{tag: 1, portals: {portals}}}\n"
        "    luns:\n      - {id: a, kind: 'null', size: 1 GiB}\n      - {id: b, kind: 'null', size: 1 GiB}\n"
        for number in range(300)
    )
    async with running(tmp_path) as host:
        text = f"schema: san-console/targets/1\ntargets:\n{rows}"
        made, info = await asyncio.gather(apply(host, text), host.call("engine.info"))
        assert info.version
        assert len([one for one in made.changes if one.kind == "target"]) == 300
        assert (await plan(host, await export(host))).changes == []
        await host.call("serving.undo_targets", UndoTargets())
        assert host.all("local_targets", LocalTarget) == []
