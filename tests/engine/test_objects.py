from __future__ import annotations

import asyncio
import time

import msgspec

from san_console.api.engine_objects import Job
from san_console.api.initiator_objects import Target, TargetPortal
from san_console.engine.objects import Changes, ObjectRegistry


def job(number: int, **more: object) -> Job:
    return Job(id=str(number), kind="k", title="t", **more)  # type: ignore[arg-type]  # members by name


async def test_changes_of_a_short_while_come_together_and_folded() -> None:
    registry = ObjectRegistry()
    seen: list[Changes] = []
    registry.listen(seen.append)
    one = job(1)
    registry.put("jobs", one)
    registry.put("jobs", job(2))
    one.done = 5
    registry.put("jobs", one)
    registry.flush()
    (changes,) = seen
    assert [(collection, object_id) for collection, object_id, _ in changes] == [("jobs", "1"), ("jobs", "2")]
    value = changes[0][2]
    assert value is not None
    assert msgspec.json.decode(value, type=Job).done == 5


async def test_that_an_object_went_and_came_again_is_told() -> None:
    registry = ObjectRegistry()
    seen: list[Changes] = []
    registry.put("jobs", job(1))
    registry.listen(seen.append)
    registry.remove("jobs", "1")
    registry.put("jobs", job(1))
    registry.flush()
    assert [value is None for _, _, value in seen[-1]] == [True, False]
    registry.remove("jobs", "never there")
    registry.flush()
    assert len(seen) == 1


async def test_the_flush_comes_by_itself() -> None:
    registry = ObjectRegistry()
    told = asyncio.Event()
    registry.listen(lambda _: told.set())
    registry.put("jobs", job(1))
    await asyncio.wait_for(told.wait(), 2)


async def test_without_listeners_nothing_is_scheduled_and_later_ones_get_no_old_changes() -> None:
    registry = ObjectRegistry()
    registry.put("jobs", job(1))
    assert registry._timer is None
    seen: list[Changes] = []
    snapshot = registry.snapshot()
    registry.listen(seen.append)
    registry.put("jobs", job(2))
    registry.flush()
    assert len(snapshot["jobs"]) == 1
    assert [object_id for _, object_id, _ in seen[0]] == ["2"]
    registry.unlisten(seen.append)


async def test_a_snapshot_of_ten_thousand_targets_is_quick() -> None:
    registry = ObjectRegistry()
    for number in range(10_000):
        portals = [
            TargetPortal(address=f"10.0.{number // 250}.{number % 250}:3260", found_by=["isns:10.0.0.1:3205"])
            for _ in range(2)
        ]
        name = f"iqn.2026-11.org.example:array-{number:05d}"
        registry.put("targets", Target(id=name, portals=portals, found_by=["isns:10.0.0.1:3205"]))
    began = time.perf_counter()
    first = registry.snapshot()
    cold_s = time.perf_counter() - began
    began = time.perf_counter()
    second = registry.snapshot()
    warm_s = time.perf_counter() - began
    assert len(first["targets"]) == len(second["targets"]) == 10_000
    # About 40 ms and 2 ms; the limits are for a busy machine.
    assert cold_s < 1.0
    assert warm_s < 0.2
