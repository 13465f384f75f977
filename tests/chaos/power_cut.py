"""What a loss of power may leave of a file: every state that the calls of a backstore allow.

A `Recorder` notes the calls that reach the kernel and what the backstore promised, in one order. At a cut,
writes that a completed fdatasync covers are there; of all others any subset may be there, in any order, each
torn at any sector. `cuts` makes such states, and `lost` says what is missing in one.

A sector is known by the number of the write that put it there: the blocks of a write carry their numbers, so
nothing here depends on what the backstore says it did.
"""

from __future__ import annotations

import os
import random
import struct
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any

SECTOR_BYTES = 512
_STAMP = struct.Struct(">QQ")  # sector, generation
EXHAUSTIVE_WRITES = 8  # of so many writes every subset is made
SAMPLES = 24


def stamped(sector: int, count: int, generation: int) -> bytes:
    """The data of a write: each sector says where it belongs and which write it is of."""
    return b"".join(
        _STAMP.pack(n, generation).ljust(SECTOR_BYTES, b"\xa5") for n in range(sector, sector + count)
    )


def generation_at(sector: int, data: bytes) -> int:
    """The write that a sector is of; 0 for zeros. AssertionError for what nobody wrote."""
    if not any(data):
        return 0
    at, generation = _STAMP.unpack_from(data)
    assert at == sector, f"sector {sector} holds the data of sector {at}"
    assert data == stamped(sector, 1, generation), f"sector {sector} is damaged"
    return int(generation)


@dataclass(slots=True)
class Write:
    """Sectors that a call changed, from the moment at which it began."""

    sector: int
    generations: list[int]
    data: bytes
    begun: int
    ended: int | None = None
    covered: int | None = None
    """When a completed fdatasync that began after `ended` came back."""


@dataclass(slots=True)
class Promise:
    """From `since` on, `sector` has to hold `generation` or a later one."""

    since: int
    sector: int
    generation: int


@dataclass(slots=True)
class Recorder:
    """Stands for the `os` module in a backstore. `jitter` makes threads overlap; `lying` syncs do nothing."""

    sectors: int
    rng: random.Random
    lying: bool = False
    stamps: bool = True
    """The data of all writes is `stamped`; else their generations are not known."""
    writes: list[Write] = field(default_factory=list)
    promises: list[Promise] = field(default_factory=list)
    syncs: int = 0
    clock: int = 0
    unmapping: dict[tuple[int, int], int] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def tick(self) -> int:
        with self._lock:
            self.clock += 1
            return self.clock

    def _begin(self, sector: int, generations: list[int], data: bytes) -> Write:
        write = Write(sector, generations, data, self.tick())
        with self._lock:
            self.writes.append(write)
        return write

    def pwrite(self, fd: int, data: bytes | memoryview, offset: int) -> int:
        raw, sector = bytes(data), offset // SECTOR_BYTES
        generations = []
        if self.stamps:
            for n in range(len(raw) // SECTOR_BYTES):
                generations.append(generation_at(sector + n, raw[n * SECTOR_BYTES : (n + 1) * SECTOR_BYTES]))
        write = self._begin(sector, generations, raw)
        done = os.pwrite(fd, data, offset)
        assert done == len(raw)
        write.ended = self.tick()
        return done

    def punch_hole(self, fd: int, offset: int, length: int) -> bool:
        """In the place of the function of this name. An unmapped sector counts as a write of its own."""
        sector, count = offset // SECTOR_BYTES, length // SECTOR_BYTES
        generation = self.unmapping.get((sector, count), 0)
        write = self._begin(sector, [generation] * count, bytes(length))
        os.pwrite(fd, bytes(length), offset)
        write.ended = self.tick()
        return True

    def fdatasync(self, fd: int) -> None:
        begun = self.tick()
        time.sleep(self.rng.random() * 0.001)
        if self.lying:
            return
        os.fdatasync(fd)
        ended = self.tick()
        self.syncs += 1
        with self._lock:
            for write in self.writes:
                if write.covered is None and write.ended is not None and write.ended < begun:
                    write.covered = ended

    def promise(self, sector: int, generations: Sequence[int], since: int) -> None:
        """The backstore said that these are durable now."""
        for n, generation in enumerate(generations):
            self.promises.append(Promise(since, sector + n, generation))


State = list[int]


def owed(recorder: Recorder, cut: int) -> State:
    """The oldest write that each sector may hold after a cut at this time."""
    least = [0] * recorder.sectors
    for promise in recorder.promises:
        if promise.since < cut:
            least[promise.sector] = max(least[promise.sector], promise.generation)
    return least


def _medium(recorder: Recorder, cut: int) -> tuple[State, list[Write]]:
    """What is surely on the medium, and the writes that may be."""
    base, loose = [0] * recorder.sectors, []
    for write in sorted(recorder.writes, key=lambda one: one.begun):
        if write.begun >= cut:
            continue
        if write.covered is not None and write.covered < cut:
            base[write.sector : write.sector + len(write.generations)] = write.generations
        else:
            loose.append(write)
    return base, loose


def _apply(state: State, write: Write, torn: random.Random | None) -> None:
    for n, generation in enumerate(write.generations):
        if torn is None or torn.random() < 0.5:
            state[write.sector + n] = generation


def cuts(recorder: Recorder, cut: int, rng: random.Random) -> Iterator[State]:
    """States after a loss of power at this time: all subsets when few writes are loose, else none, all, each
    prefix and suffix, and random ones; whole and torn, in order and out of order.
    """
    base, loose = _medium(recorder, cut)
    if len(loose) <= EXHAUSTIVE_WRITES:
        subsets = [
            [write for write, there in zip(loose, chosen, strict=True) if there]
            for chosen in product((False, True), repeat=len(loose))
        ]
    else:
        subsets = [loose[:n] for n in range(len(loose) + 1)] + [loose[n:] for n in range(len(loose))]
        subsets += [[write for write in loose if rng.random() < 0.5] for _ in range(SAMPLES)]
    for subset in subsets:
        for torn in (None, rng):
            state = base.copy()
            for write in subset if torn is None else rng.sample(subset, len(subset)):
                _apply(state, write, torn)
            yield state


def lost(state: State, least: State) -> list[int]:
    """Sectors that hold something older than what was promised."""
    return [sector for sector, (has, owes) in enumerate(zip(state, least, strict=True)) if has < owes]


def file_after(recorder: Recorder, cut: int, rng: random.Random) -> bytes:
    """One of the files that a loss of power at this time may leave: any writes, in any order, torn or not."""
    _, loose = _medium(recorder, cut)
    sure = [one for one in recorder.writes if one.begun < cut and one not in loose]
    content = bytearray(recorder.sectors * SECTOR_BYTES)
    for write in sorted(sure, key=lambda one: one.begun):
        start = write.sector * SECTOR_BYTES
        content[start : start + len(write.data)] = write.data
    some = rng.random()
    for write in rng.sample(loose, round(len(loose) * some)):
        torn = rng.random() < 0.5
        for start in range(0, len(write.data), SECTOR_BYTES):
            if not torn or rng.random() < 0.5:
                at = write.sector * SECTOR_BYTES + start
                content[at : at + SECTOR_BYTES] = write.data[start : start + SECTOR_BYTES]
    return bytes(content)
