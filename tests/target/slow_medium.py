"""Files whose writes take as long as a test wants."""

from __future__ import annotations

import asyncio

import pytest

from san_console.target.backstore import Buffer
from san_console.target.backstore_file import FileBackstore


class SlowWrites:
    """Every write to a file waits for `go_on`; `begun` is set by the first, `order` grows by "write" when one
    has landed.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.begun = asyncio.Event()
        self.go_on = asyncio.Event()
        self.order: list[str] = []
        write = FileBackstore.write

        async def slow(store: FileBackstore, offset: int, data: Buffer, *, fua: bool = False) -> None:
            self.begun.set()
            await self.go_on.wait()
            await write(store, offset, data, fua=fua)
            self.order.append("write")

        monkeypatch.setattr(FileBackstore, "write", slow)
        monkeypatch.setattr(FileBackstore, "write_nowait", lambda *_, **__: False)
