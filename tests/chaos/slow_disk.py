"""A file whose writes land late, and a record of which ones may still land.

Each write is stamped: so a write that lands after its command is over is known by its generation.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter

import pytest

from san_console.target.backstore import Buffer
from san_console.target.backstore_file import FileBackstore
from tests.chaos.stamps import generation_of


class SlowDisk:
    """Writes of all files take up to `longest_s`. Generations in `over` must not land any more."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, rng: random.Random, longest_s: float) -> None:
        self.over: set[int] = set()
        self.late: list[int] = []
        self.landed: Counter[int] = Counter()
        self.under_way = 0
        write = FileBackstore.write

        async def slow(store: FileBackstore, offset: int, data: Buffer, *, fua: bool = False) -> None:
            generation = generation_of(data)
            self.under_way += 1
            try:
                await asyncio.sleep(rng.uniform(0, longest_s))  # the medium itself
                await write(store, offset, data, fua=fua)
            finally:
                self.under_way -= 1
            self.landed[generation] += 1
            if generation in self.over:
                self.late.append(generation)

        monkeypatch.setattr(FileBackstore, "write", slow)
        monkeypatch.setattr(FileBackstore, "write_nowait", lambda *_, **__: False)
