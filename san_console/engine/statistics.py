"""Figures once a second: of each session, and of the engine's own loop. Nothing here polls faster."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from typing import Final

from san_console.api.engine_objects import Sample

INTERVAL_S: Final = 1.0
HISTORY: Final = 300
"""Samples kept per object."""

FORGET_AFTER_S: Final = 60.0
"""The history of an object stays for a while after its last sample, for a page that is just being opened."""

Probe = Callable[[float], Iterable[Sample]]
"""Gives the samples of one part of the engine at a time; called once a second."""


class Sampler:
    """Collects samples from its probes, keeps them, and hands the newest to `on_samples`."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._probes: list[Probe] = []
        self._history: dict[str, deque[Sample]] = {}
        self._task: asyncio.Task[None] | None = None
        self.on_samples: Callable[[list[Sample]], None] | None = None
        self.is_counted_elsewhere: Callable[[str], bool] = lambda _: False
        """Says of a sample that the other end of the same session is sampled too."""
        self.loop_lag_ms = 0.0
        """How late the loop came round, in the last second."""

    def add_probe(self, probe: Probe) -> None:
        self._probes.append(probe)

    def history(self, ids: Iterable[str], seconds: int) -> list[Sample]:
        """The samples of the last `seconds` of each id, oldest first."""
        since = self._clock() - seconds
        return [sample for one in ids for sample in self._history.get(one, ()) if sample.at >= since]

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._run(), name="statistics")

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    def sample(self) -> list[Sample]:
        """Take the samples of this second."""
        now = self._clock()
        samples = [sample for probe in self._probes for sample in probe(now)]
        total = Sample(id="engine", at=now, loop_lag_ms=self.loop_lag_ms)
        for sample in samples:
            if self.is_counted_elsewhere(sample.id):
                continue
            total.read_bytes_per_s += sample.read_bytes_per_s
            total.write_bytes_per_s += sample.write_bytes_per_s
            total.read_iops += sample.read_iops
            total.write_iops += sample.write_iops
            total.errors += sample.errors
        samples.append(total)
        for sample in samples:
            self._history.setdefault(sample.id, deque(maxlen=HISTORY)).append(sample)
        for one in [one for one, kept in self._history.items() if kept[-1].at < now - FORGET_AFTER_S]:
            del self._history[one]
        return samples

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time() + INTERVAL_S
        while True:
            await asyncio.sleep(max(0.0, due - loop.time()))
            late_s = max(loop.time() - due, 0.0)  # uvloop rounds its timers to a millisecond
            self.loop_lag_ms = round(late_s * 1000, 3)
            # After a stop of the machine the missed seconds are skipped.
            due = max(due + INTERVAL_S, loop.time() + INTERVAL_S / 2)
            samples = self.sample()
            if self.on_samples is not None:
                self.on_samples(samples)
