from __future__ import annotations

import asyncio
from collections.abc import Iterator

from san_console.api.engine_objects import Sample
from san_console.engine.statistics import HISTORY, Sampler


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_the_total_leaves_out_what_is_counted_at_the_other_end() -> None:
    sampler = Sampler(Clock())

    def probe(at: float) -> Iterator[Sample]:
        yield Sample(id="initiator", at=at, read_iops=10, read_bytes_per_s=100, errors=1)
        yield Sample(id="own-target", at=at, read_iops=10, read_bytes_per_s=100)

    sampler.add_probe(probe)
    sampler.is_counted_elsewhere = lambda one: one == "own-target"
    total = sampler.sample()[-1]
    assert (total.id, total.read_iops, total.read_bytes_per_s, total.errors) == ("engine", 10, 100, 1)


def test_history_is_bounded_and_forgotten_some_time_after_the_object() -> None:
    clock = Clock()
    sampler = Sampler(clock)
    alive = True
    sampler.add_probe(lambda at: [Sample(id="s", at=at)] if alive else [])
    for _ in range(HISTORY + 50):
        clock.now += 1
        sampler.sample()
    assert len(sampler.history(["s"], 10_000)) == HISTORY
    assert [sample.at for sample in sampler.history(["s"], 2)] == [clock.now - 2, clock.now - 1, clock.now]
    alive = False
    clock.now += 61
    sampler.sample()
    assert sampler.history(["s"], 10_000) == []


async def test_it_samples_by_itself() -> None:
    sampler = Sampler(Clock())
    told = asyncio.Event()
    sampler.on_samples = lambda samples: told.set()
    sampler.start()
    await asyncio.wait_for(told.wait(), 5)
    await sampler.close()
    assert sampler.history(["engine"], 60)
