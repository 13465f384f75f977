"""Reads, writes and flushes of stamped blocks, many at a time, and the check of everything afterwards."""

from __future__ import annotations

import asyncio
import os
import random

from san_console.initiator.errors import InitiatorError
from san_console.initiator.logical_unit import LogicalUnit
from tests.chaos.stamps import BLOCK_BYTES, Ledger

#: 512 B to 1 MiB, small ones more often.
SIZES_BLOCKS = (1, 1, 1, 2, 3, 7, 8, 8, 8, 16, 16, 63, 64, 128, 129, 512, 1024, 2048)
_CHECK_BLOCKS = 1024
#: A multiple of what a normal test run does; the seed makes the same faults again.
LONGER = int(os.environ.get("SAN_CHAOS_ROUNDS", "1"))
SEED = int(os.environ.get("SAN_CHAOS_SEED", "20261121"))


class Load:
    """Commands on a disk whose blocks `ledger` knows. No two that are under way touch the same block."""

    def __init__(self, ledger: Ledger, rng: random.Random) -> None:
        self.ledger = ledger
        self.failures: list[InitiatorError] = []
        self._rng = rng
        self._busy = bytearray(len(ledger.blocks))

    async def run(self, unit: LogicalUnit, commands: int, depth: int) -> None:
        """`commands` commands, `depth` at a time."""
        each = -(-commands // depth)
        async with asyncio.TaskGroup() as group:
            for writer in range(depth):
                group.create_task(self._work(unit, writer, each))

    async def _work(self, unit: LogicalUnit, writer: int, commands: int) -> None:
        for _ in range(commands):
            what = self._rng.random()
            try:
                if what < 0.04:
                    before = self.ledger.before_flush()
                    await unit.flush()
                    self.ledger.flushed(before)
                elif what < 0.6:
                    await self._write(unit, writer, fua=what < 0.08)
                else:
                    await self._read(unit)
            except InitiatorError as error:
                self.failures.append(error)

    def _take(self) -> tuple[int, int]:
        for _ in range(100):
            count = self._rng.choice(SIZES_BLOCKS)
            lba = self._rng.randrange(len(self._busy) - count)
            if not any(self._busy[lba : lba + count]):
                self._busy[lba : lba + count] = b"\1" * count
                return lba, count
        raise AssertionError("the disk is too small for so many commands")

    def _release(self, lba: int, count: int) -> None:
        self._busy[lba : lba + count] = bytes(count)

    async def _write(self, unit: LogicalUnit, writer: int, *, fua: bool) -> None:
        lba, count = self._take()
        try:
            generation, data = self.ledger.issue(lba, count, writer)
            await unit.write(lba, data, fua=fua)
            self.ledger.acknowledge(lba, count, generation, durable=fua)
        finally:
            self._release(lba, count)

    async def _read(self, unit: LogicalUnit) -> None:
        lba, count = self._take()
        try:
            self.ledger.check(lba, await unit.read(lba, count))
        finally:
            self._release(lba, count)


async def check_all(ledger: Ledger, unit: LogicalUnit) -> None:
    """Read the whole disk and compare."""
    for lba in range(0, len(ledger.blocks), _CHECK_BLOCKS):
        count = min(_CHECK_BLOCKS, len(ledger.blocks) - lba)
        ledger.check(lba, await unit.read(lba, count))


def check_file(ledger: Ledger, data: bytes) -> None:
    """Compare what the file behind the disk holds, past both of our ends."""
    ledger.check(0, data[: len(ledger.blocks) * BLOCK_BYTES])
