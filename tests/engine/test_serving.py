"""Local targets: created, changed while in use, broken storage, restart; who sees what."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from san_console.api.engine_objects import Event
from san_console.api.initiator_objects import Lun, Session
from san_console.api.methods import (
    AskAccess,
    Disconnect,
    Login,
    RemoveLocalTarget,
    SaveIdentity,
    SaveLocalTarget,
    SetEnabled,
    StopEngine,
)
from san_console.api.problems import ApiProblem
from san_console.api.serving_objects import LocalLun, LocalTarget, Mapping, TargetSession
from san_console.engine.log_file import start_log, stop_log
from san_console.initiator.session import Session as LibrarySession
from san_console.initiator.settings import SessionSettings
from san_console.names.portal import Portal
from tests.engine.running import MIB, NAME, Running, local_target, running

pytestmark = pytest.mark.e2e

ALICE = "iqn.2026-11.org.example:alice"


def shown(host: Running) -> LocalTarget:
    (target,) = host.all("local_targets", LocalTarget)
    return target


def file_lun(path: Path, **more: object) -> LocalLun:
    return LocalLun(id="disk", name="Disk", kind="file", path=str(path), **more)  # type: ignore[arg-type]  # by name


async def foreign(portal: str, name: str = ALICE) -> LibrarySession:
    """Somebody else's initiator, logged in."""
    session = LibrarySession(SessionSettings(name, NAME, Portal.parse(portal)))
    await session.login()
    return session


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (local_target(name="nonsense"), "bad-request"),
        (local_target(portals=[]), "bad-request"),
        (local_target(alias="x" * 300), "too-large"),
        (local_target(initiators=["*"] * 20_000), "too-large"),
        (local_target(portals=["not an address"]), "bad-request"),
        (local_target(portals=["192.0.2.77:3260"]), "port-taken"),
        (local_target(luns=[LocalLun(id="disk", name="x", kind="memory")]), "bad-request"),
        (local_target(luns=[LocalLun(id="disk", name="x", kind="file", path="/no/such/file")]), "storage"),
        (local_target(mappings=[Mapping(initiator="*", lun_id="other", lun=0)]), "bad-request"),
        (local_target(mappings=[Mapping(initiator="*", lun_id="disk", lun=99999)]), "bad-request"),
        (local_target(mutual_identity_id="x"), "bad-request"),
        (local_target(identity_ids=["x"]), "unknown-object"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_what_cannot_be_served_is_refused_and_leaves_nothing(
    tmp_path: Path, request_: SaveLocalTarget, code: str
) -> None:
    async with running(tmp_path) as host:
        with pytest.raises(ApiProblem) as caught:
            await host.call("serving.create", request_)
        assert caught.value.code == code
        assert caught.value.problem.message
        assert host.all("local_targets", LocalTarget) == []
        assert host.engine.serving.server.targets() == []


async def test_a_port_that_is_taken(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        async with running(tmp_path) as host:
            with pytest.raises(ApiProblem) as caught:
                await host.call("serving.create", local_target(port=taken.getsockname()[1]))
            assert caught.value.code == "port-taken"
            assert caught.value.problem.check


async def test_a_file_is_created_once_and_never_again(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    async with running(tmp_path) as host:
        lun = file_lun(disk, create=True, size_bytes=2 * MIB)
        target = await host.call("serving.create", local_target(luns=[lun]))
        assert disk.stat().st_size == 2 * MIB
        assert (target.luns[0].create, target.luns[0].state) == (False, "online")
        with pytest.raises(ApiProblem) as caught:
            await host.call("serving.create", local_target())
        assert caught.value.code == "exists"
    disk.unlink()
    async with running(tmp_path) as host:
        await host.until(lambda: shown(host).state != "stopped")
        assert shown(host).state == "serving"
        assert shown(host).luns[0].state == "offline"
        assert shown(host).luns[0].problem is not None
        assert [rule.lun for rule in shown(host).mappings] == [0]
        assert not disk.exists()
        assert host.events("backstore_error")
        disk.write_bytes(bytes(MIB))
        await host.call("serving.set_enabled", SetEnabled(id=NAME, enabled=True))
        assert shown(host).state == "serving"
        assert (shown(host).luns[0].state, shown(host).luns[0].size_bytes) == ("online", MIB)


async def test_one_missing_file_does_not_keep_the_others_from_being_served(tmp_path: Path) -> None:
    good, bad = tmp_path / "good", tmp_path / "bad"
    for path in (good, bad):
        path.write_bytes(bytes(MIB))
    luns = [
        LocalLun(id="good", name="Good", kind="file", path=str(good)),
        LocalLun(id="bad", name="Bad", kind="file", path=str(bad)),
    ]
    mappings = [Mapping(initiator="*", lun_id="good", lun=0), Mapping(initiator="*", lun_id="bad", lun=1)]
    async with running(tmp_path) as host:
        await host.call("serving.create", local_target(luns=luns, mappings=mappings))
    bad.unlink()
    async with running(tmp_path) as host:
        await host.until(lambda: shown(host).state == "serving")
        assert [lun.state for lun in shown(host).luns] == ["online", "offline"]
        assert host.events("backstore_error")
        await host.call("sessions.login", Login(target=NAME, portal=shown(host).portals[0]))
        await host.until(lambda: host.all("luns", Lun))
        assert [lun.lun for lun in host.all("luns", Lun)] == [0, 1]


async def test_a_new_name_or_mapping_does_not_touch_the_content(tmp_path: Path) -> None:
    async with running(tmp_path) as host:
        target = await host.call("serving.create", local_target())
        session = await host.call("sessions.login", Login(target=NAME, portal=target.portals[0]))
        unit = host.engine.sessions.session(session.id).lun(0)
        content = os.urandom(8192)
        await unit.write_bytes(0, content)
        renamed = shown(host)
        renamed.luns[0].name = "Another name"
        renamed.alias = "Another alias"
        renamed.mappings.append(Mapping(initiator=ALICE, lun_id="disk", lun=3, read_only=True))
        changed = await host.call("serving.change", SaveLocalTarget(target=renamed))
        assert (changed.state, changed.luns[0].name) == ("serving", "Another name")
        assert await unit.read_bytes(0, 8192) == content
        assert host.all("sessions", Session)[0].reconnects == 0
        seen = await host.call("serving.access", AskAccess(target=NAME, initiator=ALICE))
        assert [(lun.lun, lun.name, lun.read_only) for lun in seen.luns] == [(3, "Another name", True)]


async def test_a_failed_change_leaves_the_target_as_it_was(tmp_path: Path) -> None:
    async with running(tmp_path) as host:
        await host.call("serving.create", local_target())
        wrong = shown(host)
        wrong = LocalTarget(**{name: getattr(wrong, name) for name in wrong.__struct_fields__})
        wrong.luns = [*wrong.luns, LocalLun(id="more", name="More", kind="file", path="/no/such")]
        with pytest.raises(ApiProblem) as caught:
            await host.call("serving.change", SaveLocalTarget(target=wrong))
        assert caught.value.code == "storage"
        assert [lun.id for lun in shown(host).luns] == ["disk"]
        assert shown(host).state == "serving"
    async with running(tmp_path) as host:
        assert [lun.id for lun in shown(host).luns] == ["disk"]


async def test_others_at_work_protect_target_and_engine(tmp_path: Path) -> None:
    async with running(tmp_path) as host:
        target = await host.call("serving.create", local_target())
        session = await foreign(target.portals[0])
        await host.until(lambda: host.all("target_sessions", TargetSession))
        (seen,) = host.all("target_sessions", TargetSession)
        assert (seen.initiator, seen.own, seen.luns) == (ALICE, False, [0])
        with pytest.raises(ApiProblem) as caught:
            await host.call("engine.stop", StopEngine())
        assert caught.value.code == "in-use"
        assert ALICE in caught.value.problem.details["initiators"]
        with pytest.raises(ApiProblem) as caught:
            await host.call("serving.remove", RemoveLocalTarget(id=NAME))
        assert caught.value.code == "in-use"
        gone = shown(host)
        plan = await host.call(
            "serving.plan",
            SaveLocalTarget(target=LocalTarget(id=NAME, portal_groups=gone.portal_groups, enabled=True)),
        )
        assert plan[0].severity == "danger"
        assert plan[0].session_ids == [seen.id]
        await host.call("serving.disconnect", Disconnect(id=seen.id))
        await host.until(lambda: session.state == "failed")
        await host.until(lambda: not host.all("target_sessions", TargetSession))
        await host.call("serving.remove", RemoveLocalTarget(id=NAME))
        assert host.all("local_targets", LocalTarget) == []
        await session.drop()


async def test_chap_is_asked_and_a_refused_initiator_is_seen(tmp_path: Path) -> None:
    async with running(tmp_path) as host:
        one = await host.call("identities.save", SaveIdentity(user="alice", secret="a-secret-of-alice"))
        target = await host.call("serving.create", local_target(identity_ids=[one.id], initiators=[ALICE]))
        with pytest.raises(Exception, match=r"."):
            await foreign(target.portals[0])
        await host.until(lambda: host.events("target_login_failed"))
        assert host.events("target_login_failed")[0].object_id == NAME
        other = await host.call("identities.save", SaveIdentity(user="alice", secret="another-of-alice"))
        again = local_target(name="iqn.2026-11.org.example:two", identity_ids=[one.id, other.id])
        with pytest.raises(ApiProblem, match="same name"):
            await host.call("serving.create", again)


async def test_without_its_secret_a_target_is_not_served_open(tmp_path: Path) -> None:
    async with running(tmp_path) as host:
        one = await host.call("identities.save", SaveIdentity(user="alice", secret="a-secret-of-alice"))
        await host.call("serving.create", local_target(identity_ids=[one.id]))
    # The secret was in the memory of the engine that ended.
    async with running(tmp_path) as host:
        await host.until(lambda: shown(host).state == "failed")
        problem = shown(host).problem
        assert problem is not None
        assert problem.code == "secret-unavailable"
        assert host.engine.serving.server.targets() == []


async def test_hostile_texts_of_a_peer_are_shown_and_do_nothing(tmp_path: Path) -> None:
    hostile = "a\x1b[31mb\u202e<b>&lt;%s\u2066=cmd()"
    handler = start_log(tmp_path)
    try:
        async with running(tmp_path) as host:
            target = await host.call("serving.create", local_target(alias=hostile))
            session = await host.call("sessions.login", Login(target=NAME, portal=target.portals[0]))
            assert session.alias.isprintable()
            assert "\\u{202e}" in session.alias
            with pytest.raises(ApiProblem):
                await host.call("sessions.login", Login(target=NAME + ":\u0430", portal=target.portals[0]))
            other = LibrarySession(
                SessionSettings(ALICE, NAME, Portal.parse(target.portals[0]), initiator_alias=hostile)
            )
            await other.login()
            await host.until(lambda: len(host.all("target_sessions", TargetSession)) == 2)
            for seen in host.all("target_sessions", TargetSession):
                assert seen.initiator_alias.isprintable()
            await other.logout()
            for event in host.all("events", Event):
                assert (event.text + event.cause + event.side + event.check).isprintable()
    finally:
        stop_log(handler)
    for line in (tmp_path / "engine.log").read_text(encoding="utf-8").splitlines():
        assert line.isprintable()


async def test_the_files_of_a_target_that_is_not_served_are_made_when_it_is(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    lun = file_lun(disk, create=True, size_bytes=2 * MIB)
    async with running(tmp_path) as host:
        await host.call("serving.create", local_target(luns=[lun], enabled=False))
        assert (shown(host).state, disk.exists()) == ("stopped", False)
    async with running(tmp_path) as host:
        await host.call("serving.set_enabled", SetEnabled(id=NAME, enabled=True))
        assert (shown(host).state, shown(host).luns[0].state) == ("serving", "online")
        assert (disk.stat().st_size, shown(host).luns[0].create) == (2 * MIB, False)
