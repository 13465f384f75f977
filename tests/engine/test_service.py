"""The engine as its clients see it: its own methods, snapshot and deltas, what is kept over a restart."""

from __future__ import annotations

import asyncio
import resource
import time
from pathlib import Path

import msgspec
import pytest

from san_console.api.engine_objects import EngineInfo, Event, Interface
from san_console.api.initiator_objects import Target, TargetPortal
from san_console.api.messages import Delta, Snapshot, Statistics
from san_console.api.methods import (
    METHODS,
    AddTarget,
    ById,
    Disconnect,
    Login,
    QueryEvents,
    SetInitiatorName,
    StatisticsOf,
    StopEngine,
    TargetByName,
)
from san_console.api.problems import ApiProblem
from san_console.engine.handlers import HANDLERS
from tests.engine.running import NAME, local_target, running

pytestmark = pytest.mark.e2e


def test_every_method_has_its_handler() -> None:
    assert set(HANDLERS) | {"subscribe", "resync"} == set(METHODS)


async def test_info_name_and_what_is_kept(tmp_path: Path) -> None:
    async with running(tmp_path) as host:
        info: EngineInfo = await host.call("engine.info")
        assert info.initiator_name.startswith("iqn.2026-11.org.san-console:")
        first = info.initiator_name
        for bad in ("", "nonsense", "iqn.2026-11.org.example:" + "x" * 300, "iqn.2026-11.org.example:a\nb"):
            with pytest.raises(ApiProblem) as caught:
                await host.call("engine.set_initiator_name", SetInitiatorName(name=bad))
            assert caught.value.code == "bad-request"
        info = await host.call(
            "engine.set_initiator_name", SetInitiatorName(name="IQN.2026-11.org.Example:me")
        )
        assert info.initiator_name == "iqn.2026-11.org.example:me" != first
    async with running(tmp_path) as host:
        assert (await host.call("engine.info")).initiator_name == "iqn.2026-11.org.example:me"


async def test_snapshot_then_deltas_then_statistics(tmp_path: Path) -> None:
    async with running(tmp_path) as host:
        subscribed = await host.client.subscribe()
        messages = host.client.messages()
        snapshot = await anext(messages)
        assert isinstance(snapshot, Snapshot)
        assert snapshot.revision == subscribed.revision
        assert len(snapshot.collections["engine"]) == 1
        await host.call("targets.add", AddTarget(name=NAME, portals=["10.0.0.1"]))
        revision = snapshot.revision
        seen: set[str] = set()
        async with asyncio.timeout(10):
            async for message in messages:
                if isinstance(message, Delta):
                    revision += 1
                    assert message.revision == revision
                    seen |= {change.collection for change in message.changes}
                elif isinstance(message, Statistics):
                    seen.add("statistics")
                    assert message.samples[-1].id == "engine"
                if {"targets", "sources", "statistics"} <= seen:
                    break
        again = await host.call("resync")
        assert again.revision > revision
        assert len(await host.call("statistics.history", StatisticsOf(ids=["engine"]))) >= 1


async def test_interfaces_are_shown(tmp_path: Path) -> None:
    async with running(tmp_path) as host:
        await host.until(lambda: host.all("interfaces", Interface))
        assert any("127.0.0.1" in one.addresses for one in host.all("interfaces", Interface))


async def test_events_are_found_beyond_the_snapshot_and_over_restarts(tmp_path: Path) -> None:
    async with running(tmp_path) as host:
        await host.call("engine.info")
    async with running(tmp_path) as host:
        events: list[Event] = await host.call("events.query", QueryEvents())
        kinds = [event.kind for event in events]
        assert kinds.count("engine_started") == 2
        assert kinds.count("engine_stopped") == 1
        assert [int(event.id) for event in events] == sorted(
            (int(event.id) for event in events), reverse=True
        )
        older = await host.call("events.query", QueryEvents(before_id=events[0].id, limit=1))
        assert older[0].id == events[1].id
        assert (
            await host.call("events.query", QueryEvents(before_id="x; DROP TABLE events", limit=1))
            == events[:1]
        )
        assert await host.call("events.query", QueryEvents(limit=-5)) == []


async def test_a_damaged_state_is_said_in_the_info_and_as_an_event(tmp_path: Path) -> None:
    (tmp_path / "state.sqlite").write_bytes(b"damage" * 1000)
    async with running(tmp_path) as host:
        info = await host.call("engine.info")
        assert "damaged" in info.state_note
        assert len(host.events("state_damaged")) == 1


async def test_stop_is_answered_and_then_done(tmp_path: Path) -> None:
    async with running(tmp_path) as host:
        assert await host.call("engine.stop", StopEngine()) is None
        await asyncio.wait_for(host.engine.wait_for_stop(), 5)


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("jobs.cancel", ById(id="x")),
        ("jobs.dismiss", ById(id="x")),
        ("sources.remove", ById(id="x")),
        ("targets.probe", TargetByName(name="x")),
        ("targets.acknowledge", TargetByName(name="x")),
        ("targets.remove", TargetByName(name="x")),
        ("sessions.retry_now", ById(id="x")),
        ("sessions.stop_retrying", ById(id="x")),
        ("sessions.rescan", ById(id="x")),
        ("luns.vpd", ById(id="x/0")),
        ("serving.disconnect", Disconnect(id="x")),
        ("isns.objects", ById(id="x")),
        ("isns.remove", ById(id="x")),
        ("isns.stop", None),
        ("lab.stop", None),
        ("identities.remove", ById(id="x")),
    ],
)
async def test_what_is_not_there_is_said(tmp_path: Path, method: str, params: msgspec.Struct | None) -> None:
    async with running(tmp_path) as host:
        with pytest.raises(ApiProblem) as caught:
            await host.call(method, params)
        assert caught.value.code == "unknown-object"
        assert caught.value.message.endswith(".")


async def test_a_snapshot_of_ten_thousand_targets_arrives_quickly(tmp_path: Path) -> None:
    async with running(tmp_path) as host:
        for number in range(10_000):
            name = f"iqn.2026-11.org.example:array-{number:05d}"
            portals = [TargetPortal(address=f"10.0.{number % 250}.{side}:3260") for side in (1, 2)]
            host.engine.context.registry.put("targets", Target(id=name, portals=portals))
        began = time.perf_counter()
        await host.client.subscribe()
        snapshot = await anext(host.client.messages())
        took_s = time.perf_counter() - began
        assert isinstance(snapshot, Snapshot)
        assert len(snapshot.collections["targets"]) == 10_000
        print(f"snapshot of 10,000 targets: {took_s * 1000:.0f} ms")
        assert took_s < 2.0


async def test_an_idle_engine_uses_next_to_nothing(tmp_path: Path) -> None:
    async with running(tmp_path) as host:
        await host.client.subscribe()
        await host.until(lambda: host.all("interfaces", Interface))
        before = resource.getrusage(resource.RUSAGE_SELF)
        samples = 0
        async with asyncio.timeout(10):
            async for message in host.client.messages():
                samples += isinstance(message, Statistics)
                if samples == 3:
                    break
        after = resource.getrusage(resource.RUSAGE_SELF)
        used_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        print(f"idle engine with its client: {used_s / 3 * 100:.2f} % of a core")
        assert used_s / 3 < 0.05


async def test_problems_of_logins_are_told_apart(tmp_path: Path) -> None:
    async with running(tmp_path) as host:
        target = await host.call("serving.create", local_target())
        portal = target.portals[0]
        for params, code in (
            (Login(target="nonsense", portal=portal), "bad-request"),
            (Login(target=NAME, portal="no address:at all"), "bad-request"),
            (Login(target="iqn.2026-11.org.example:other", portal=portal), "not-found"),
            (Login(target=NAME, portal="127.0.0.1:1"), "unreachable"),
        ):
            with pytest.raises(ApiProblem) as caught:
                await host.call("sessions.login", params)
            assert caught.value.code == code
            assert caught.value.problem.side
        await host.call("sessions.login", Login(target=NAME, portal=portal))
        with pytest.raises(ApiProblem) as caught:
            await host.call("sessions.login", Login(target=NAME, portal=portal))
        assert caught.value.code == "exists"
