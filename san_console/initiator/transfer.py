"""Bulk transfers between logical units and files, several commands at a time."""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO, Protocol

from san_console.initiator.errors import WritesLost
from san_console.initiator.logical_unit import LogicalUnit
from san_console.iscsi.initiator_tasks import Bytes

#: One command of a bulk transfer; many targets take 512 KiB or 1 MiB at most.
CHUNK_BYTES = 256 * 1024
#: Commands under way. More gains nothing on a local network and costs memory.
DEPTH = 16
#: How often a transfer begins anew because the target was restarted before the flush; then it fails.
MAX_REPEATS = 2


class TransferCancelled(Exception):
    """The caller asked for the end; what was moved until then is moved."""


class Endpoint(Protocol):
    """A source or destination. `sequential`: only in order, from the present position on."""

    sequential: bool

    async def size_bytes(self) -> int | None:
        """How much there is; None when only the end will tell."""

    async def read(self, offset: int, length: int) -> Bytes:
        """Up to `length` bytes; fewer only at the end."""

    async def write(self, offset: int, data: Bytes) -> None: ...

    async def flush(self) -> None: ...


class UnitEndpoint:
    """A logical unit."""

    sequential = False

    def __init__(self, unit: LogicalUnit) -> None:
        self.unit = unit

    async def size_bytes(self) -> int | None:
        return (await self.unit.info()).size_bytes

    async def read(self, offset: int, length: int) -> Bytes:
        return await self.unit.read_bytes(offset, length)

    async def write(self, offset: int, data: Bytes) -> None:
        await self.unit.write_bytes(offset, data)

    async def flush(self) -> None:
        await self.unit.flush()


class FileEndpoint:
    """An open binary file. A pipe is sequential. Calls run in a thread: a disk or a pipe may be slow."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.sequential = not file.seekable()

    async def size_bytes(self) -> int | None:
        if self.sequential:
            return None
        return await asyncio.to_thread(self._size)

    def _size(self) -> int:
        position = self._file.tell()
        size = self._file.seek(0, os.SEEK_END)
        self._file.seek(position)
        return size

    async def read(self, offset: int, length: int) -> Bytes:
        return await asyncio.to_thread(self._read, offset, length)

    def _read(self, offset: int, length: int) -> bytes:
        if not self.sequential:
            return os.pread(self._file.fileno(), length, offset)
        parts: list[bytes] = []
        while length and (part := self._file.read(length)):
            parts.append(part)
            length -= len(part)
        return b"".join(parts)

    async def write(self, offset: int, data: Bytes) -> None:
        await asyncio.to_thread(self._write, offset, data)

    def _write(self, offset: int, data: Bytes) -> None:
        view = memoryview(data)
        while view:
            written = (
                self._file.write(view) if self.sequential else os.pwrite(self._file.fileno(), view, offset)
            )
            view, offset = view[written:], offset + written

    async def flush(self) -> None:
        await asyncio.to_thread(self._flush)

    def _flush(self) -> None:
        self._file.flush()
        if not self.sequential:
            os.fsync(self._file.fileno())


@dataclass(slots=True)
class TransferResult:
    """What was moved, flushed at the destination."""

    moved_bytes: int
    seconds: float


async def transfer(
    source: Endpoint,
    destination: Endpoint,
    *,
    source_offset: int = 0,
    destination_offset: int = 0,
    length: int | None = None,
    progress: Callable[[int], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> TransferResult:
    """Move `length` bytes (None: up to the end of the source), then flush the destination.

    `progress(moved_bytes)` is told how far it is, `cancelled()` is asked at each chunk (TransferCancelled).
    The first failure ends the transfer and is raised.
    """
    loop = asyncio.get_running_loop()
    started = loop.time()
    if length is None:
        size = await source.size_bytes()
        length = None if size is None else max(size - source_offset, 0)
    pending: deque[asyncio.Task[Bytes | int]] = deque()
    issued = moved = repeats = 0

    async def finish_oldest() -> None:
        nonlocal moved
        result = await pending.popleft()
        if isinstance(result, int):
            moved += result
        else:
            await destination.write(destination_offset + moved, result)
            moved += len(result)
        if progress is not None:
            progress(moved)

    async def move(offset: int, count: int) -> int:
        data = await source.read(source_offset + offset, count)
        await destination.write(destination_offset + offset, data)
        return len(data)

    async def put(offset: int, data: Bytes) -> int:
        await destination.write(destination_offset + offset, data)
        return len(data)

    async def get(offset: int, count: int) -> Bytes:
        return await source.read(source_offset + offset, count)

    try:
        while True:
            while length is None or issued < length:
                if cancelled is not None and cancelled():
                    raise TransferCancelled
                # The first chunk ends at a multiple of the chunk size, so that all others are aligned.
                aligned = CHUNK_BYTES - (destination_offset + issued) % CHUNK_BYTES
                count = aligned if length is None else min(aligned, length - issued)
                if source.sequential:
                    data = await source.read(source_offset + issued, count)
                    if not data:
                        break
                    count = len(data)
                    pending.append(loop.create_task(put(issued, data)))
                elif destination.sequential:
                    pending.append(loop.create_task(get(issued, count)))
                else:
                    pending.append(loop.create_task(move(issued, count)))
                issued += count
                # A sequential destination may be waited for chunk by chunk only when both sides are.
                while len(pending) >= (1 if source.sequential and destination.sequential else DEPTH):
                    await finish_oldest()
            while pending:
                await finish_oldest()
            try:
                await destination.flush()
                break
            except WritesLost:
                # All of it was written since the last flush; a source that can be read again makes it good.
                repeats += 1
                if source.sequential or repeats > MAX_REPEATS:
                    raise
                issued = moved = 0
    finally:
        for task in pending:
            task.cancel()
        if pending:
            await asyncio.wait(pending)
    return TransferResult(moved, loop.time() - started)
