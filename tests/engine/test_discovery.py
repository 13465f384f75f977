"""Discovery by SendTargets and iSNS against our own target and server, and against what is neither."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from san_console.api.engine_objects import Identity
from san_console.api.initiator_objects import LoginSettings, Source, Target
from san_console.api.methods import (
    AddSource,
    AddTarget,
    ByAddress,
    ById,
    ChapSecrets,
    RunSource,
    SaveIdentity,
    SaveLocalTarget,
    SetEnabled,
    SetLogin,
    TargetByName,
)
from san_console.api.problems import ApiProblem
from san_console.api.serving_objects import IsnsServer, LocalTarget
from tests.engine.running import NAME, Running, close_writers, local_target, running
from tests.peers import free_port

pytestmark = pytest.mark.e2e


def targets(host: Running) -> dict[str, Target]:
    return {target.id: target for target in host.all("targets", Target)}


def source(host: Running, source_id: str) -> Source:
    return next(one for one in host.all("sources", Source) if one.id == source_id)


async def run(host: Running, source_id: str = "") -> str:
    job = await host.ended(await host.call("sources.run", RunSource(id=source_id)))
    return job.state


async def test_send_targets_finds_merges_and_keeps_what_the_user_has_set(tmp_path: Path) -> None:
    async with running(tmp_path) as host:
        local = await host.call("serving.create", local_target())
        added = await host.call(
            "sources.add", AddSource(kind="sendtargets", address=local.portals[0], run=False)
        )
        assert added.id == f"sendtargets:{local.portals[0]}"
        assert await run(host, added.id) == "done"
        target = targets(host)[NAME]
        assert (target.change, target.found_by) == ("new", [added.id])
        (portal,) = target.portals
        assert (portal.address, portal.reach, portal.asks_for_chap) == (local.portals[0], "answers", False)
        assert portal.round_trip_ms is not None
        assert (source(host, added.id).state, source(host, added.id).target_count) == ("ok", 1)
        login = LoginSettings(header_digest="require")
        await host.call("targets.set_login", SetLogin(name=NAME, login=login))
        await host.call("targets.acknowledge", TargetByName())
        more = local_target(port=free_port()).target
        more.portal_groups[0].portals = [*local.portals, *more.portals]
        await host.call("serving.change", SaveLocalTarget(target=more))
        await run(host, added.id)
        target = targets(host)[NAME]
        assert target.change == "changed"
        assert len(target.portals) == 2
        assert target.login == login
        await host.call("serving.set_enabled", SetEnabled(id=NAME, enabled=False))
        assert await run(host, added.id) == "failed"
        assert targets(host)[NAME].change == "changed"
        await host.call("sources.remove", ById(id=added.id))
        assert targets(host)[NAME].change == "vanished"
        await host.call("targets.acknowledge", TargetByName(name=NAME))
        assert targets(host)[NAME].login == login
    async with running(tmp_path) as host:
        assert targets(host)[NAME].login == login
        assert [one.id for one in host.all("sources", Source)] == ["manual"]


async def test_a_target_without_settings_leaves_with_its_source(tmp_path: Path) -> None:
    async with running(tmp_path) as host:
        local = await host.call("serving.create", local_target())
        added = await host.call("sources.add", AddSource(kind="sendtargets", address=local.portals[0]))
        await host.until(lambda: NAME in targets(host))
        await host.call("sources.remove", ById(id=added.id))
        assert targets(host) == {}


async def test_isns_with_the_embedded_server(tmp_path: Path) -> None:
    async with running(tmp_path) as host:
        server: IsnsServer = await host.call("isns.start", ByAddress(address="127.0.0.1:0"))
        assert server.state == "running"
        with pytest.raises(ApiProblem) as caught:
            await host.call("isns.start", ByAddress(address="127.0.0.1:0"))
        assert caught.value.code == "exists"
        second = "iqn.2026-11.org.example:second"
        first_port, second_port = free_port(), free_port()
        await host.call("serving.create", local_target(port=first_port, register_with=[server.address]))
        await host.call(
            "serving.create",
            local_target(
                name=second,
                portals=[f"127.0.0.1:{first_port}", f"127.0.0.1:{second_port}"],
                register_with=[server.address],
            ),
        )

        def states() -> list[str]:
            return [
                one.registrations[0].state
                for one in host.all("local_targets", LocalTarget)
                if one.registrations
            ]

        await host.until(lambda: states() == ["registered", "registered"])
        added = await host.call("sources.add", AddSource(kind="isns", address=server.address, run=False))
        await host.until(lambda: len(host.engine.nameservers._server.objects()) >= 7)  # type: ignore[union-attr]  # it runs
        assert await run(host, added.id) == "done"
        found = {
            name: {portal.address for portal in target.portals} for name, target in targets(host).items()
        }
        assert found == {
            NAME: {f"127.0.0.1:{first_port}"},
            second: {f"127.0.0.1:{first_port}", f"127.0.0.1:{second_port}"},
        }
        objects = await host.call("isns.objects", ById(id="embedded"))
        assert {NAME, second} <= {one.name for one in objects if one.kind == "node"}
        other: IsnsServer = await host.call("isns.add", ByAddress(address=server.address))
        assert (other.state, other.node_count) == ("ok", 2)
        assert len(await host.call("isns.objects", ById(id=other.id))) > 3
        await host.call("serving.set_enabled", SetEnabled(id=second, enabled=False))
        await host.until(lambda: host.engine.nameservers._server is not None)

        async def nodes() -> set[str]:
            objects = await host.call("isns.objects", ById(id="embedded"))
            return {one.name for one in objects if one.kind == "node"}

        async with asyncio.timeout(10):
            while await nodes() != {NAME}:  # noqa: ASYNC110 - asked over the wire
                await asyncio.sleep(0.02)
        await host.call("isns.stop")
        await host.call("isns.remove", ById(id=other.id))
        assert host.all("isns_servers", IsnsServer) == []


async def test_the_embedded_server_runs_again_after_a_restart(tmp_path: Path) -> None:
    address = f"127.0.0.1:{free_port()}"
    async with running(tmp_path) as host:
        await host.call("isns.start", ByAddress(address=address))
    async with running(tmp_path) as host:
        await host.until(lambda: [one.state for one in host.all("isns_servers", IsnsServer)] == ["running"])
        assert host.all("isns_servers", IsnsServer)[0].address == address


@asynccontextmanager
async def stranger(greeting: bytes) -> AsyncIterator[str]:
    """A server that is no iSCSI target."""
    writers: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        if greeting:
            writer.write(greeting)
        while await reader.read(4096):
            continue
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        await close_writers(writers)
        await server.wait_closed()


@pytest.mark.parametrize("kind", ["sendtargets", "isns"])
async def test_what_is_no_server_is_said(tmp_path: Path, kind: str) -> None:
    async with running(tmp_path) as host, stranger(b"SSH-2.0-OpenSSH_9.2p1\r\n" * 10) as address:
        params = AddSource(kind="isns" if kind == "isns" else "sendtargets", address=address, run=False)
        added = await host.call("sources.add", params)
        job = await host.ended(await host.call("sources.run", RunSource(id=added.id)))
        assert job.state == "failed"
        problem = source(host, added.id).problem
        assert problem is not None
        assert problem.code in ("not-iscsi", "protocol")
        assert problem.check
        assert source(host, added.id).took_s > 0
        assert host.events("discovery_failed")


@pytest.mark.parametrize("address", ["127.0.0.1:1", "no-such-host.invalid"])
async def test_nobody_there_is_said_with_the_time_it_took(tmp_path: Path, address: str) -> None:
    async with running(tmp_path) as host:
        added = await host.call("sources.add", AddSource(kind="sendtargets", address=address, run=False))
        assert await run(host, added.id) == "failed"
        shown = source(host, added.id)
        assert shown.state == "failed"
        assert shown.problem is not None
        assert shown.problem.code == "unreachable"


async def test_one_bad_source_does_not_spoil_the_others(tmp_path: Path) -> None:
    async with running(tmp_path) as host:
        local = await host.call("serving.create", local_target())
        await host.call("sources.add", AddSource(kind="sendtargets", address=local.portals[0], run=False))
        await host.call("sources.add", AddSource(kind="sendtargets", address="127.0.0.1:1", run=False))
        assert await run(host) == "done"
        assert NAME in targets(host)
        assert sorted(one.state for one in host.all("sources", Source)) == ["failed", "idle", "ok"]


async def test_bad_sources_are_refused(tmp_path: Path) -> None:
    async with running(tmp_path) as host:
        for params, code in (
            (AddSource(kind="sendtargets", address="not an address"), "bad-request"),
            (AddSource(kind="sendtargets", address="10.0.0.1", identity_id="x"), "unknown-object"),
            (
                AddSource(kind="isns", address="10.0.0.1", chap=ChapSecrets(user="u", secret="")),
                "bad-request",
            ),
        ):
            with pytest.raises(ApiProblem) as caught:
                await host.call("sources.add", params)
            assert caught.value.code == code
        with pytest.raises(ApiProblem) as caught:
            await host.call("sources.remove", ById(id="manual"))
        assert caught.value.code == "bad-request"
        one: Identity = await host.call("identities.save", SaveIdentity(user="a", secret="discovery-secret"))
        await host.call(
            "sources.add", AddSource(kind="isns", address="10.0.0.1", identity_id=one.id, run=False)
        )
        with pytest.raises(ApiProblem) as caught:
            await host.call("identities.remove", ById(id=one.id))
        assert caught.value.code == "in-use"


async def test_targets_by_hand_and_probing(tmp_path: Path) -> None:
    async with running(tmp_path) as host:
        local = await host.call("serving.create", local_target())
        for params in (
            AddTarget(name="nonsense", portals=["10.0.0.1"]),
            AddTarget(name=NAME, portals=[]),
            AddTarget(name=NAME, portals=["a b"]),
        ):
            with pytest.raises(ApiProblem) as caught:
                await host.call("targets.add", params)
            assert caught.value.code == "bad-request"
        target = await host.call("targets.add", AddTarget(name=NAME, portals=[*local.portals, "127.0.0.1:1"]))
        assert (target.found_by, target.change) == (["manual"], "")
        assert source(host, "manual").target_count == 1
        job = await host.ended(await host.call("targets.probe", TargetByName(name=NAME)))
        assert job.result == {"portals": "2", "answering": "1"}
        assert [portal.reach for portal in targets(host)[NAME].portals] == ["answers", "no answer"]
        assert targets(host)[NAME].portals[1].detail
        await host.call("targets.remove", TargetByName())
        assert targets(host) == {}
