"""A backstore whose medium fails when it is told to."""

from __future__ import annotations

import errno
import os
import random
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Literal

import pytest

from san_console.iscsi.target_device import Arena
from san_console.target import backstores, units
from san_console.target.backstore import Backstore, Buffer, MediumError, Usage
from san_console.target.config import BackstoreSpec

Call = Literal["read", "write", "flush", "unmap"]


@dataclass(slots=True)
class Fault:
    """Calls of one kind fail with `number`: the next `times` of them (-1: all), each with `chance`."""

    call: Call
    number: int
    times: int = -1
    chance: float = 1.0


class Faulty(Backstore):
    """Passes everything on to `real`, unless a fault is due."""

    def __init__(self, real: Backstore, rng: random.Random) -> None:
        self.real = real
        self.size_bytes = real.size_bytes
        self.block_bytes = real.block_bytes
        self.read_only = real.read_only
        self.thin = real.thin
        self.write_cache = real.write_cache
        self.faults: list[Fault] = []
        self.made = 0
        self._rng = rng

    def _due(self, call: Call) -> Fault | None:
        for fault in self.faults:
            if fault.call == call and fault.times and self._rng.random() < fault.chance:
                return fault
        return None

    def _fail(self, call: Call, offset: int | None = None) -> None:
        fault = self._due(call)
        if fault is None:
            return
        fault.times -= 1
        self.made += 1
        text = os.strerror(fault.number)
        raise OSError(fault.number, text) if offset is None else MediumError(fault.number, text, offset)

    def read_nowait(self, offset: int, length: int, arena: Arena) -> Buffer | None:
        # As with a real medium: what fails is not cached, and the call that waits finds out.
        return (
            None
            if any(one.call == "read" for one in self.faults)
            else self.real.read_nowait(offset, length, arena)
        )

    def write_nowait(self, offset: int, data: Buffer) -> bool:
        return not any(one.call == "write" for one in self.faults) and self.real.write_nowait(offset, data)

    async def read(self, offset: int, length: int) -> Buffer:
        self._fail("read", offset)
        return await self.real.read(offset, length)

    async def write(self, offset: int, data: Buffer, *, fua: bool = False) -> None:
        self._fail("write", offset)
        await self.real.write(offset, data, fua=fua)

    async def flush(self) -> None:
        self._fail("flush")
        await self.real.flush()

    async def unmap(self, ranges: Sequence[tuple[int, int]]) -> None:
        self._fail("unmap")
        await self.real.unmap(ranges)

    def extent(self, offset: int) -> tuple[bool, int]:
        return self.real.extent(offset)

    def usage(self) -> Usage:
        return self.real.usage()

    def close(self) -> None:
        self.real.close()


def make_media_faulty(monkeypatch: pytest.MonkeyPatch, rng: random.Random) -> list[Faulty]:
    """From now on, what a target opens is Faulty; the list gets each of them."""
    opened: list[Faulty] = []

    def open_backstore(spec: BackstoreSpec, pool: Executor) -> Backstore:
        opened.append(Faulty(backstores.open_backstore(spec, pool), rng))
        return opened[-1]

    monkeypatch.setattr(units, "open_backstore", open_backstore)
    return opened


EIO, ENOSPC, EDQUOT, EFBIG, EROFS = errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS
