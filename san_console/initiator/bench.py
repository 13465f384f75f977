"""Measure a logical unit: commands per second and their latency.

Commands are submitted by callback, so that what is measured is the target and the protocol, not the event
loop's bookkeeping of coroutines.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from san_console.initiator.counters import BUCKETS, bucket, bucket_floor_us, percentile_us
from san_console.initiator.errors import InitiatorError, SessionLost
from san_console.initiator.logical_unit import LogicalUnit, failure
from san_console.iscsi.initiator_tasks import CDB_BYTES, COMPLETED, ScsiTask
from san_console.scsi import cdb

Pattern = Literal["read", "randread", "write", "randwrite", "mixed"]
PATTERNS: tuple[Pattern, ...] = ("read", "randread", "write", "randwrite", "mixed")
#: Of a mixed load, as fio's and most vendors' default.
MIXED_READ_SHARE = 0.7
#: Addresses are prepared before the clock starts; more than this many are used again from the first on.
_PREPARED_COMMANDS = 1 << 15
#: A unit that fails this often is broken, not slow.
_MAX_ERRORS = 100


@dataclass(slots=True)
class BenchResult:
    """`latency_us` has p50, p90, p99, p999 and max in microseconds, each exact to an eighth."""

    pattern: str
    block_bytes: int
    queue_depth: int
    seconds: float
    commands: int
    errors: int
    iops: float
    bytes_per_s: float
    latency_us: dict[str, int]


async def run_bench(
    unit: LogicalUnit,
    *,
    block_bytes: int = 4096,
    queue_depth: int = 32,
    seconds: float = 10.0,
    pattern: Pattern = "read",
    progress: Callable[[float, int], None] | None = None,
) -> BenchResult:
    """Load `unit` for `seconds`. Writing patterns overwrite its content with random bytes.

    `progress(fraction, commands)` is called a few times a second. Raises InitiatorError when the session is
    lost or the unit fails, ValueError when the block size does not fit the unit.
    """
    info = await unit.info()
    if block_bytes <= 0 or block_bytes % info.block_bytes or block_bytes > info.size_bytes:
        raise ValueError(
            f"a block size of {block_bytes} bytes does not fit a LUN of {info.blocks} blocks "
            f"of {info.block_bytes} bytes"
        )
    run = _Run(unit, info.blocks, info.block_bytes, block_bytes, queue_depth, pattern)
    return await run.measure(seconds, progress)


class _Run:
    def __init__(
        self, unit: LogicalUnit, blocks: int, unit_block_bytes: int, size: int, depth: int, pattern: Pattern
    ) -> None:
        self._unit = unit
        self._size, self._depth, self._pattern = size, depth, pattern
        self._loop = asyncio.get_running_loop()
        self._finished: asyncio.Future[None] = self._loop.create_future()
        per_command = size // unit_block_bytes
        places = blocks // per_command
        count = min(places, _PREPARED_COMMANDS)
        choose = random.Random(os.urandom(8))
        if pattern in ("randread", "randwrite", "mixed"):
            positions = [choose.randrange(places) for _ in range(count)]
        else:
            positions = list(range(count))
        share = {"read": 1.0, "randread": 1.0, "mixed": MIXED_READ_SHARE}.get(pattern, 0.0)
        # (CDB, whether it reads), ready to send.
        self._commands = [
            (cdb.read(place * per_command, per_command).ljust(CDB_BYTES, b"\0"), True)
            if share == 1.0 or (share and choose.random() < share)
            else (cdb.write(place * per_command, per_command).ljust(CDB_BYTES, b"\0"), False)
            for place in positions
        ]
        self._next = 0
        data = os.urandom(size)
        first = self._commands[0][0]
        self._reads = [
            ScsiTask(
                unit.address, first, memoryview(bytearray(size)), None, on_done=self._on_done, context=slot
            )
            for slot in range(depth)
        ]
        self._writes = [
            ScsiTask(unit.address, first, None, data, on_done=self._on_done, context=slot)
            for slot in range(depth)
        ]
        self._deadline = 0.0
        self._done = self._errors = self._active = 0
        self._problem: InitiatorError | None = None
        self._histogram = [0] * BUCKETS

    async def measure(self, seconds: float, progress: Callable[[float, int], None] | None) -> BenchResult:
        started = self._loop.time()
        self._deadline = started + seconds
        for slot in range(self._depth):
            self._submit(slot)
        while not self._finished.done():
            await asyncio.wait([self._finished], timeout=0.2)
            if progress is not None:
                progress(min((self._loop.time() - started) / seconds, 1.0), self._done)
        if self._problem is not None:
            raise self._problem
        took = self._loop.time() - started
        histogram = self._histogram
        last = max((index for index, count in enumerate(histogram) if count), default=0)
        latency = {
            name: percentile_us(histogram, fraction)
            for name, fraction in (("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p999", 0.999))
        }
        latency["max"] = bucket_floor_us(last + 1)
        return BenchResult(
            self._pattern,
            self._size,
            self._depth,
            took,
            self._done,
            self._errors,
            self._done / took,
            self._done * self._size / took,
            latency,
        )

    def _submit(self, slot: int) -> None:
        connection = self._unit.session.connection
        if connection is None or connection.closed:
            self._stop(
                slot, SessionLost("the session was lost during the measurement", "target", _LOST_CHECK)
            )
            return
        commands = self._commands
        position = self._next
        self._next = position + 1 if position + 1 < len(commands) else 0
        command, reads = commands[position]
        self._active += 1
        # Tasks are used again: making one costs as much as sending it.
        task = self._reads[slot] if reads else self._writes[slot]
        task.renew(command)
        connection.submit(task)

    def _on_done(self, task: ScsiTask) -> None:
        self._active -= 1
        now = self._loop.time()
        if task.outcome != COMPLETED:
            self._stop(
                task.context,
                SessionLost("the session was lost during the measurement", "target", _LOST_CHECK),
            )
            return
        if task.status:
            self._errors += 1
            if self._errors > _MAX_ERRORS:
                self._stop(
                    task.context, failure(self._unit.number, task.status, task.sense, "the measurement")
                )
                return
        else:
            self._done += 1
            self._histogram[bucket(int((now - task.started_at) * 1e6))] += 1
        if now < self._deadline and self._problem is None:
            self._submit(task.context)
        elif not self._active and not self._finished.done():
            self._finished.set_result(None)

    def _stop(self, slot: int, problem: InitiatorError) -> None:
        self._problem = self._problem or problem
        if not self._active and not self._finished.done():
            self._finished.set_result(None)


_LOST_CHECK = "Look at the session's events; run the measurement again."
