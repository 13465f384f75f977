"""Several targets at once: what fails in the middle leaves everything as it was, in memory, live and kept."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import msgspec
import pytest

from san_console.api.methods import Login, SaveIdentity, SaveLocalTarget, SetEnabled
from san_console.api.problems import ApiProblem
from san_console.api.serving_objects import InitiatorAccess, LocalLun, LocalTarget, Mapping, PortalGroup
from san_console.engine.target_transition import Transition, Wanted
from san_console.names.credentials import Secret
from san_console.target.backstore_memory import MemoryBackstore
from san_console.target.errors import BackstoreError
from tests.engine.running import MIB, NAME, Running, local_target, running
from tests.peers import free_port

TWO = "iqn.2026-11.org.example:two"


def shown(host: Running, name: str = NAME) -> LocalTarget:
    (target,) = (one for one in host.all("local_targets", LocalTarget) if one.id == name)
    return target


def live(host: Running) -> dict[str, tuple[str, list[str]]]:
    """What is served, by name: alias and LUNs."""
    return {
        config.name: (config.alias, [lun.id for lun in config.luns])
        for config in host.engine.serving.server.targets()
    }


async def move(host: Running, wanted: Wanted, text: str = "a test") -> None:
    async with host.engine.serving.changing:
        await host.engine.serving.transition(wanted, text)


def changed(host: Running, name: str = NAME, **more: object) -> LocalTarget:
    copy = msgspec.json.decode(msgspec.json.encode(shown(host, name)), type=LocalTarget)
    return msgspec.structs.replace(copy, **more)


async def test_when_it_cannot_be_kept_it_is_not_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running(tmp_path) as host:
        await host.call("serving.create", local_target(alias="one"))
        await host.call("serving.create", local_target(name=TWO, alias="two"))
        before = live(host)
        content = os.urandom(4096)
        session = await host.call("sessions.login", Login(target=NAME, portal=shown(host).portals[0]))
        unit = host.engine.sessions.session(session.id).lun(0)
        await unit.write_bytes(0, content)

        async def full(*, check: bool = True) -> None:
            raise ApiProblem("storage", "The state cannot be written: disk full.")

        new = local_target(name=TWO + "-new").target
        with monkeypatch.context() as patch:
            patch.setattr(host.engine.context.state, "settled", full)
            with pytest.raises(ApiProblem, match="disk full"):
                await move(host, {NAME: changed(host, alias="other"), TWO: None, new.id: new})
        assert live(host) == before
        assert [one.id for one in host.all("local_targets", LocalTarget)] == [NAME, TWO]
        assert (shown(host).alias, shown(host).state) == ("one", "serving")
        assert len(host.engine.serving.history.shown()) == 2
        assert await unit.read_bytes(0, 4096) == content
    async with running(tmp_path) as host:
        await host.until(lambda: len(live(host)) == 2)
        assert live(host) == before
        assert len(host.engine.serving.history.shown()) == 2


async def test_what_was_reserved_goes_with_its_lun_and_comes_back_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(tmp_path) as host:
        await host.call("serving.create", local_target())
        kept = host.engine.serving.reservations
        [lun] = shown(host).luns
        await kept.save(NAME, lun.id, b"registrations")

        async def full(*, check: bool = True) -> None:
            raise ApiProblem("storage", "The state cannot be written: disk full.")

        without = changed(host, luns=[], mappings=[])
        for new in (None, without):
            with monkeypatch.context() as patch:
                patch.setattr(host.engine.context.state, "settled", full)
                with pytest.raises(ApiProblem, match="disk full"):
                    await move(host, {NAME: new})
            assert kept.load(NAME, lun.id) == b"registrations"
        await move(host, {NAME: without})
        assert kept.load(NAME, lun.id) is None


async def test_a_new_secret_reaches_every_target_that_can_take_it(tmp_path: Path) -> None:
    """One that cannot is told of; the others do not go on with the old secret for that."""
    async with running(tmp_path) as host:
        one = await host.call("identities.save", SaveIdentity(user="one", secret="the-first-secret-1"))
        two = await host.call("identities.save", SaveIdentity(user="two", secret="the-second-secret"))
        proofs: tuple[dict[str, Any], ...] = ({"mutual_identity_id": two.id}, {})
        for name, more in zip((NAME, TWO), proofs, strict=True):
            await host.call("serving.create", local_target(name=name, identity_ids=[one.id], **more))
        with pytest.raises(ApiProblem, match="same in both directions"):
            await host.call(
                "identities.save", SaveIdentity(id=one.id, user="one", secret="the-second-secret")
            )
        config = host.engine.serving.server.config(TWO)
        assert config is not None
        assert config.chap is not None
        assert config.chap.accepted[0].secret == Secret("the-second-secret")
        assert host.events("serving_failed")


async def test_a_lun_that_cannot_grow_takes_the_rest_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def no_room(self: MemoryBackstore, size_bytes: int = 0) -> None:
        raise BackstoreError("There is no room.")

    async with running(tmp_path) as host:
        await host.call("serving.create", local_target(alias="one"))
        await host.call("serving.create", local_target(name=TWO, alias="two"))
        before = live(host)
        luns = [LocalLun(id="disk", name="Disk", kind="memory", size_bytes=8 * MIB)]
        monkeypatch.setattr(MemoryBackstore, "resize", no_room)
        with pytest.raises(ApiProblem) as caught:
            await move(host, {NAME: changed(host, alias="x"), TWO: changed(host, TWO, luns=luns)})
        assert caught.value.code == "storage"
        assert "no room" in caught.value.message
        assert TWO in caught.value.message
        assert live(host) == before
        assert shown(host, TWO).luns[0].size_bytes == 4 * MIB


async def test_storage_is_swapped_between_two_luns_of_one_target(tmp_path: Path) -> None:
    paths = [tmp_path / "a.img", tmp_path / "b.img"]
    for path in paths:
        path.write_bytes(path.name.encode() * (MIB // len(path.name)) + bytes(MIB % len(path.name)))
    luns = [LocalLun(id=path.stem, name=path.stem, kind="file", path=str(path)) for path in paths]
    mappings = [Mapping(initiator="*", lun_id=lun.id, lun=number) for number, lun in enumerate(luns)]
    async with running(tmp_path) as host:
        await host.call("serving.create", local_target(luns=luns, mappings=mappings))
        swapped = changed(host)
        swapped.luns[0].path, swapped.luns[1].path = swapped.luns[1].path, swapped.luns[0].path
        await host.call("serving.change", SaveLocalTarget(target=swapped))
        assert [lun.state for lun in shown(host).luns] == ["online", "online"]
        session = await host.call("sessions.login", Login(target=NAME, portal=shown(host).portals[0]))
        unit = host.engine.sessions.session(session.id).lun(0)
        assert bytes(await unit.read_bytes(0, 512)).startswith(b"b.img")


async def test_a_missing_file_of_before_does_not_hold_up_a_change(tmp_path: Path) -> None:
    disk = tmp_path / "disk.img"
    disk.write_bytes(bytes(MIB))
    async with running(tmp_path) as host:
        lun = LocalLun(id="disk", name="Disk", kind="file", path=str(disk))
        await host.call("serving.create", local_target(luns=[lun]))
        await host.call("serving.set_enabled", SetEnabled(id=NAME, enabled=False))
        disk.unlink()
        await host.call("serving.set_enabled", SetEnabled(id=NAME, enabled=True))
        assert (shown(host).state, shown(host).luns[0].state) == ("serving", "offline")
        await host.call("serving.change", SaveLocalTarget(target=changed(host, alias="renamed")))
        assert (shown(host).alias, shown(host).luns[0].state) == ("renamed", "offline")
        assert shown(host).luns[0].problem is not None
        disk.write_bytes(bytes(MIB))
        await host.call("serving.set_enabled", SetEnabled(id=NAME, enabled=True))
        assert shown(host).luns[0].state == "online"


async def test_what_cannot_be_brought_back_is_logged_and_the_rest_is(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with running(tmp_path) as host:
        await host.call("serving.create", local_target(alias="one"))
        serving = host.engine.serving
        one = changed(host, alias="other")
        new = LocalTarget(
            id=TWO,
            portal_groups=[PortalGroup(portals=[f"127.0.0.1:{free_port()}"])],
            access=[InitiatorAccess(subject="*")],
        )
        work = Transition(
            serving.server, host.engine.identities, {NAME: shown(host), TWO: None}, {NAME: one, TWO: new}
        )
        await work.carry_out()
        assert live(host)[NAME][0] == "other"
        await serving.server.remove(TWO)  # as a fault that nobody foresaw
        await work.take_back()
        assert live(host)[NAME][0] == "one"
        assert "could not be brought back" in caplog.text


async def test_no_file_is_made_anew_when_a_change_is_taken_back(tmp_path: Path) -> None:
    disk = tmp_path / "disk.img"
    lun = LocalLun(id="disk", name="Disk", kind="file", path=str(disk), size_bytes=MIB, create=True)
    async with running(tmp_path) as host:
        await host.call("serving.create", local_target(luns=[lun]))
        disk.unlink()
        gone = LocalLun(id="x", name="x", kind="file", path="/no/such")
        two = local_target(name=TWO, luns=[gone], mappings=[]).target
        other = changed(host, luns=[], mappings=[])
        with pytest.raises(ApiProblem) as caught:
            await move(host, {NAME: other, TWO: two})
        assert caught.value.code == "storage"
        assert not disk.exists()
        assert list(live(host)) == [NAME]
        assert shown(host).luns[0].state == "offline"
