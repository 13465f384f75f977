"""What is done to paths, LUNs, reservations and sessions of targets at work, and who may do what."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest

from san_console.api.methods import (
    AskAccess,
    Disconnect,
    GrowLun,
    LunOf,
    SaveIdentity,
    SaveLocalTarget,
    SetAccessState,
    SetDiscoveryChap,
    SetEnabled,
    SetLunOnline,
)
from san_console.api.problems import ApiProblem
from san_console.api.serving_objects import (
    InitiatorAccess,
    InitiatorGroup,
    LocalLun,
    LocalTarget,
    Mapping,
    PortalGroup,
    Reservation,
    TargetSession,
)
from san_console.initiator.discovery import send_targets
from san_console.initiator.errors import InitiatorError
from san_console.initiator.session import Session as LibrarySession
from san_console.initiator.settings import SessionSettings
from san_console.names.portal import Portal
from san_console.scsi.alua import STANDBY
from san_console.scsi.transport_ids import InitiatorPort, NexusId
from tests.engine.running import MIB, NAME, Running, local_target, running
from tests.peers import free_port

ALICE, BOB = "iqn.2026-11.org.example:alice", "iqn.2026-11.org.example:bob"
KEY = 0x1122334455667788


def shown(host: Running) -> LocalTarget:
    (target,) = host.all("local_targets", LocalTarget)
    return target


@asynccontextmanager
async def foreign(portal: str, name: str = ALICE) -> AsyncIterator[LibrarySession]:
    """Somebody else's initiator, logged in."""
    session = LibrarySession(SessionSettings(name, NAME, Portal.parse(portal)))
    await session.login()
    try:
        yield session
    finally:
        await session.drop()


def register(*, key: int = KEY, aptpl: bool = False) -> tuple[bytes, bytes]:
    """PERSISTENT RESERVE OUT, REGISTER AND IGNORE EXISTING KEY, and its parameter list (SPC-4 §6.16)."""
    data = bytes(8) + key.to_bytes(8) + bytes(4) + bytes([aptpl]) + bytes(3)
    return bytes([0x5F, 0x06, 0, 0, 0, 0, 0, 0, len(data), 0]), data


def reserve(*, key: int = KEY, type_: int = 5) -> tuple[bytes, bytes]:
    data = key.to_bytes(8) + bytes(16)
    return bytes([0x5F, 0x01, type_, 0, 0, 0, 0, 0, len(data), 0]), data


async def discover(portal: str) -> list[str]:
    """The names that SendTargets tells an asker without CHAP."""
    found = await send_targets(Portal.parse(portal), initiator_name=ALICE)
    return [target.name for target in found.targets]


async def send(session: LibrarySession, command: tuple[bytes, bytes]) -> None:
    result = await session.lun(0).execute(command[0], data=command[1])
    assert result.status == 0


async def test_reservations_are_shown_with_their_initiators_and_cleared(tmp_path: Path) -> None:
    async with running(tmp_path) as host:
        target = await host.call("serving.create", local_target())
        async with foreign(target.portals[0]) as alice, foreign(target.portals[0], BOB) as bob:
            for session, key in ((alice, KEY), (bob, 7)):
                await session.lun(0).info()
                await send(session, register(key=key))
            await send(alice, reserve())
            await host.until(lambda: any(one.holder for one in host.all("reservations", Reservation)))
            (found,) = host.all("reservations", Reservation)
            assert (found.id, found.holder, found.aptpl) == (f"{NAME}/disk", ALICE, False)
            assert "registrants only" in found.type.lower()
            assert {(one.initiator, one.key, one.holder) for one in found.registrations} == {
                (ALICE, f"{KEY:016x}", True),
                (BOB, f"{7:016x}", False),
            }
            ids = {one.initiator: one.id for one in host.all("target_sessions", TargetSession)}
            assert {one.initiator: one.session_ids for one in found.registrations} == {
                name: [session_id] for name, session_id in ids.items()
            }
            await host.call("serving.clear_reservation", LunOf(target=NAME, lun_id="disk"))
            assert host.all("reservations", Reservation) == []
            assert host.events("reservation_cleared")
        with pytest.raises(ApiProblem) as caught:
            await host.call("serving.clear_reservation", LunOf(target=NAME, lun_id="none"))
        assert caught.value.code == "unknown-object"


async def test_a_reservation_of_the_older_kind_is_shown_and_cleared_as_well(tmp_path: Path) -> None:
    async with running(tmp_path) as host:
        target = await host.call("serving.create", local_target())
        async with foreign(target.portals[0]) as alice:
            await alice.lun(0).info()
            await alice.lun(0).execute(bytes([0x16, 0, 0, 0, 0, 0]))
            await host.until(lambda: host.all("reservations", Reservation))
            (found,) = host.all("reservations", Reservation)
            assert (found.type, found.holder, found.aptpl) == ("Reserve (SPC-2)", ALICE, False)
            (one,) = found.registrations
            assert (one.holder, one.key, len(one.session_ids)) == (True, "", 1)
            await host.call("serving.clear_reservation", LunOf(target=NAME, lun_id="disk"))
            assert host.all("reservations", Reservation) == []


async def test_a_reservation_with_aptpl_outlives_the_engine_and_goes_with_its_lun(tmp_path: Path) -> None:
    async with running(tmp_path) as host:
        target = await host.call("serving.create", local_target())
        async with foreign(target.portals[0]) as alice:
            await alice.lun(0).info()
            await send(alice, register(aptpl=True))
            await send(alice, reserve())
    async with running(tmp_path) as host:
        await host.until(lambda: host.all("reservations", Reservation))
        (found,) = host.all("reservations", Reservation)
        assert (found.holder, found.aptpl) == (ALICE, True)
        assert found.registrations[0].session_ids == []
        await host.call("serving.set_enabled", SetEnabled(id=NAME, enabled=False))
        await host.call("serving.clear_reservation", LunOf(target=NAME, lun_id="disk"))
        await host.call("serving.set_enabled", SetEnabled(id=NAME, enabled=True))
        host.engine.serving.view.refresh_reservations()
        assert host.all("reservations", Reservation) == []


async def test_a_lun_goes_offline_and_comes_back(tmp_path: Path) -> None:
    disk = tmp_path / "disk.img"
    disk.write_bytes(os.urandom(MIB))
    lun = LocalLun(id="disk", name="Disk", kind="file", path=str(disk))
    async with running(tmp_path) as host:
        target = await host.call("serving.create", local_target(luns=[lun]))
        async with foreign(target.portals[0]) as alice:
            unit = alice.lun(0)
            before = await unit.read_bytes(0, 4096)
            off = SetLunOnline(target=NAME, lun_id="disk", online=False)
            answer = await host.call("serving.lun_online", off)
            assert (answer.luns[0].online, answer.luns[0].state) == (False, "offline")
            with pytest.raises(InitiatorError):
                await unit.read_bytes(0, 4096)
            disk.rename(tmp_path / "elsewhere")
            on = SetLunOnline(target=NAME, lun_id="disk", online=True)
            with pytest.raises(ApiProblem) as caught:
                await host.call("serving.lun_online", on)
            assert caught.value.code == "storage"
            assert shown(host).luns[0].problem is not None
            with pytest.raises(ApiProblem):
                await host.call("serving.retry_lun", LunOf(target=NAME, lun_id="disk"))
            (tmp_path / "elsewhere").rename(disk)
            await host.call("serving.retry_lun", LunOf(target=NAME, lun_id="disk"))
            assert (shown(host).luns[0].state, shown(host).luns[0].problem) == ("online", None)
            assert await unit.read_bytes(0, 4096) == before
    async with running(tmp_path) as host:
        await host.until(lambda: shown(host).state == "serving")
        await host.call("serving.lun_online", off)
    async with running(tmp_path) as host:
        await host.until(lambda: shown(host).state == "serving")
        assert (shown(host).luns[0].online, shown(host).luns[0].state) == (False, "offline")


async def test_a_lun_grows_while_it_is_used(tmp_path: Path) -> None:
    disk = tmp_path / "disk.img"
    disk.write_bytes(bytes(MIB))
    lun = LocalLun(id="disk", name="Disk", kind="file", path=str(disk))
    async with running(tmp_path) as host:
        target = await host.call("serving.create", local_target(luns=[lun]))
        async with foreign(target.portals[0]) as alice:
            await alice.lun(0).info()
            grow = GrowLun(target=NAME, lun_id="disk", size_bytes=2 * MIB)
            assert (await host.call("serving.grow_lun", grow)).luns[0].size_bytes == 2 * MIB
            await alice.lun(0).write_bytes(2 * MIB - 512, bytes(512))
        for size, code in ((MIB, "storage"), (2 * MIB + 1, "bad-request")):
            with pytest.raises(ApiProblem) as caught:
                await host.call("serving.grow_lun", GrowLun(target=NAME, lun_id="disk", size_bytes=size))
            assert caught.value.code == code
        os.truncate(disk, 3 * MIB)
        answer = await host.call("serving.grow_lun", GrowLun(target=NAME, lun_id="disk"))
        assert answer.luns[0].size_bytes == 3 * MIB
        assert answer.luns[0].used_bytes is not None


async def test_the_used_space_is_measured_and_a_threshold_told(tmp_path: Path) -> None:
    disk = tmp_path / "disk.img"
    lun = LocalLun(
        id="disk",
        name="Disk",
        kind="file",
        path=str(disk),
        size_bytes=4 * MIB,
        create=True,
        thin=True,
        soft_threshold_percent=50,
    )
    async with running(tmp_path) as host:
        target = await host.call("serving.create", local_target(luns=[lun]))
        await host.engine.serving.view.measure()
        assert shown(host).luns[0].used_bytes is not None
        assert not shown(host).luns[0].threshold_reached
        async with foreign(target.portals[0]) as alice:
            unit = alice.lun(0)
            await unit.write_bytes(0, os.urandom(3 * MIB))
            await unit.flush()
            await host.engine.serving.view.measure()
            assert shown(host).luns[0].threshold_reached
            assert (shown(host).luns[0].used_bytes or 0) >= 3 * MIB
            await host.call("serving.grow_lun", GrowLun(target=NAME, lun_id="disk", size_bytes=16 * MIB))
            assert not shown(host).luns[0].threshold_reached


async def test_paths_and_their_states(tmp_path: Path) -> None:
    groups = [
        PortalGroup(tag=1, portals=[f"127.0.0.1:{free_port()}"]),
        PortalGroup(tag=2, portals=[f"127.0.0.1:{free_port()}"]),
    ]
    async with running(tmp_path) as host:
        target = await host.call("serving.create", local_target(portal_groups=groups))
        async with foreign(target.portals[1]) as alice:
            await alice.lun(0).info()
            await host.until(lambda: host.all("target_sessions", TargetSession))
            (session,) = host.all("target_sessions", TargetSession)
            assert (session.tpgt, session.max_connections >= 1) == (2, True)
            assert [one.portal for one in session.connections] == [target.portals[1]]
            state = SetAccessState(target=NAME, tag=2, access_state="unavailable", preferred=True)
            answer = await host.call("serving.set_access_state", state)
            assert (answer.portal_groups[1].access_state, answer.portal_groups[1].preferred) == (
                "unavailable",
                True,
            )
            with pytest.raises(InitiatorError):
                await alice.lun(0).read_bytes(0, 512)
            back = SetAccessState(target=NAME, tag=2, access_state="active/optimized")
            await host.call("serving.set_access_state", back)
            assert await alice.lun(0).read_bytes(0, 512) == bytes(512)
            with pytest.raises(ApiProblem) as caught:
                await host.call(
                    "serving.set_access_state", SetAccessState(target=NAME, tag=3, access_state="standby")
                )
            assert caught.value.code == "unknown-object"
            cid = session.connections[0].cid
            with pytest.raises(ApiProblem):
                await host.call("serving.disconnect", Disconnect(id=session.id, cid=cid + 1))
            await host.call("serving.disconnect", Disconnect(id=session.id, cid=cid))
            await host.until(lambda: alice.state != "logged_in")


async def test_a_state_that_an_initiator_sets_is_kept(tmp_path: Path) -> None:
    async with running(tmp_path) as host:
        await host.call("serving.create", local_target())
        server = host.engine.serving.server
        groups = server._targets[NAME].port_groups  # as SET TARGET PORT GROUPS does it
        groups.set_by_initiator({1: STANDBY}, NexusId(InitiatorPort(BOB, bytes(6)), 1))
        assert shown(host).portal_groups[0].access_state == "standby"
        await host.call("serving.change", SaveLocalTarget(target=shown(host)))
        assert server.targets()[0].groups[0].access_state == "standby"


async def test_effective_access_is_what_the_login_decides(tmp_path: Path) -> None:
    async with running(tmp_path) as host:
        one = await host.call("identities.save", SaveIdentity(user="alice-chap", secret="a-secret-of-alice"))
        request = local_target(
            initiator_groups=[InitiatorGroup(name="near", members=["127.0.0.0/8"])],
            access=[
                InitiatorAccess(subject=ALICE, identity_ids=[one.id]),
                InitiatorAccess(subject="group:near"),
            ],
            mappings=[Mapping(initiator="group:near", lun_id="disk", lun=4, read_only=True)],
        )
        target = await host.call("serving.create", request)
        for enabled in (True, False):
            await host.call("serving.set_enabled", SetEnabled(id=NAME, enabled=enabled))
            near = await host.call(
                "serving.access", AskAccess(target=NAME, initiator=BOB, address="127.0.0.1")
            )
            assert (near.allowed, near.rule, near.chap_users) == (True, "group:near", [])
            assert [(lun.lun, lun.name, lun.read_only) for lun in near.luns] == [(4, "Disk", True)]
            assert "group:near" in near.luns[0].why
            far = await host.call("serving.access", AskAccess(target=NAME, initiator=BOB, address="10.0.0.1"))
            assert (far.allowed, far.luns) == (False, [])
            assert far.why
            alice = await host.call("serving.access", AskAccess(target=NAME, initiator=ALICE))
            assert (alice.allowed, alice.chap_users, alice.luns) == (True, ["alice-chap"], [])
            assert [one.lun_id for one in alice.hidden] == ["disk"]
        await host.call("serving.set_enabled", SetEnabled(id=NAME, enabled=True))
        async with foreign(target.portals[0], BOB) as bob:
            await host.until(lambda: host.all("target_sessions", TargetSession))
            assert host.all("target_sessions", TargetSession)[0].luns == [4]
            assert bob.state == "logged_in"
        with pytest.raises(InitiatorError):
            async with foreign(target.portals[0]):
                pass
        for initiator, address in ((BOB, "here"), ("nonsense name", "")):
            with pytest.raises(ApiProblem) as caught:
                await host.call(
                    "serving.access", AskAccess(target=NAME, initiator=initiator, address=address)
                )
            assert caught.value.code == "bad-request"


async def test_chap_of_one_initiator_only_is_told_before_it_is_set(tmp_path: Path) -> None:
    async with running(tmp_path) as host:
        one = await host.call("identities.save", SaveIdentity(user="alice", secret="a-secret-of-alice"))
        target = await host.call("serving.create", local_target(initiators=[ALICE, "*"]))
        async with foreign(target.portals[0]) as alice:
            await host.until(lambda: host.all("target_sessions", TargetSession))
            (session,) = host.all("target_sessions", TargetSession)
            rows = [InitiatorAccess(subject=ALICE, identity_ids=[one.id]), InitiatorAccess(subject="*")]
            wanted = msgspec.structs.replace(shown(host), access=rows)
            lines = await host.call("serving.plan", SaveLocalTarget(target=wanted))
            (line,) = (line for line in lines if "identities of its own" in line.text)
            assert ALICE in line.text
            assert (line.session_ids, line.ends_sessions) == ([session.id], False)
            await host.call("serving.change", SaveLocalTarget(target=wanted))
            assert alice.state == "logged_in"
        with pytest.raises(InitiatorError):
            async with foreign(target.portals[0]):
                pass
        async with foreign(target.portals[0], BOB) as bob:
            assert bob.state == "logged_in"


async def test_discovery_asks_for_chap_and_stays_closed_without_the_secret(tmp_path: Path) -> None:
    async with running(tmp_path) as host:
        one = await host.call("identities.save", SaveIdentity(user="asker", secret="a-secret-of-asker"))
        target = await host.call("serving.create", local_target())
        info = await host.call("serving.set_discovery_chap", SetDiscoveryChap(identity_ids=[one.id]))
        assert info.discovery_identity_ids == [one.id]
        assert host.engine.identities.find(one.id).used_by == ["accepted for discovery"]
        with pytest.raises(InitiatorError):
            await discover(target.portals[0])
        with pytest.raises(ApiProblem):
            await host.call("serving.set_discovery_chap", SetDiscoveryChap(mutual_identity_id=one.id))
    async with running(tmp_path) as host:
        # The secret was in the memory of the engine that ended.
        await host.until(lambda: host.events("discovery_chap_failed") and shown(host).state == "serving")
        with pytest.raises(InitiatorError):
            await discover(target.portals[0])
        await host.call("serving.set_discovery_chap", SetDiscoveryChap())
        assert await discover(target.portals[0]) == [NAME]
