"""A logical unit with a nexus, without a session: commands go in as CDBs, answers come out."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from san_console.iscsi.opcodes import ATTR_SIMPLE
from san_console.iscsi.target_task import RUNNING
from san_console.scsi.sense import Sense, parse
from san_console.target.backstore import Buffer
from san_console.target.backstores import open_backstore
from san_console.target.config import LunConfig, parse_spec
from san_console.target.device_server import COMMANDS
from san_console.target.logical_unit import LogicalUnit, UnitNexus

LBA_OUT_OF_RANGE = (5, 0x21, 0)
INVALID_OPCODE = (5, 0x20, 0)
INVALID_FIELD = (5, 0x24, 0)
INVALID_LIST = (5, 0x26, 0)
LIST_LENGTH = (5, 0x1A, 0)
WRITE_PROTECTED = (7, 0x27, 0)
GOOD, CHECK_CONDITION, CONDITION_MET = 0, 2, 4


class FakeTask:
    """What a handler sees of a task; `complete` keeps the answer."""

    def __init__(self, command: bytes, data: bytes = b"") -> None:
        self.cdb = command.ljust(16, b"\0")
        self.flags = ATTR_SIMPLE
        self.state = RUNNING
        self.on_gone: Callable[[], None] | None = None
        self.data_out = memoryview(data)
        self.edtl = len(data)
        self.answer: tuple[int, bytes, bytes] | None = None
        self.done = asyncio.Event()

    def complete(self, status: int, data: Buffer = b"", sense: bytes = b"") -> None:
        assert self.answer is None
        self.answer = (status, bytes(data), sense)
        self.done.set()


class Disk:
    """A nexus with a unit."""

    def __init__(
        self,
        spec: str,
        *,
        read_only: bool = False,
        naa: str = "3123456789abcdef",
        unit: LogicalUnit | None = None,
        physical_block_bytes: int = 0,
        rotation_rate: int = 1,
    ) -> None:
        self.pool = ThreadPoolExecutor(1)
        self.errors: list[str] = []
        config = replace(
            LunConfig("a", "a", parse_spec(spec)),
            physical_block_bytes=physical_block_bytes,
            rotation_rate=rotation_rate,
        )
        self.unit = unit or LogicalUnit(
            config,
            open_backstore(config.backstore, self.pool),
            target_name="iqn.2026-11.org.example:t",
            tpgt=3,
            serial="S123",
            naa=bytes.fromhex(naa),
            on_error=self.errors.append,
        )
        self.beside: list[UnitNexus] = []
        self.nexus = UnitNexus(
            self.unit,
            COMMANDS,
            lun=0,
            read_only=read_only,
            lun_list=lambda: [0, 2, 300],
            siblings=lambda: [self.nexus, *self.beside],
        )
        self.unit.nexuses.add(self.nexus)

    def other(self) -> Disk:
        """The same unit as another nexus sees it."""
        return Disk("memory:1M", unit=self.unit)

    async def run(self, command: bytes, data: bytes = b"") -> bytes:
        """The data of a command that has to succeed."""
        status, answer, sense = await self.status(command, data)
        assert status == 0, parse(sense)
        return answer

    def begin(self, command: bytes, data: bytes = b"") -> FakeTask:
        """Start a command."""
        task = FakeTask(command, data)
        wanted = self.nexus.prepare(task)  # type: ignore[arg-type]
        if task.answer is None:
            assert wanted == len(data) or not data
            self.nexus.execute(task)  # type: ignore[arg-type]
        return task

    async def status(self, command: bytes, data: bytes = b"") -> tuple[int, bytes, bytes]:
        """Status, data and sense data of a command."""
        task = self.begin(command, data)
        async with asyncio.timeout(10):
            await task.done.wait()
        assert task.answer is not None
        return task.answer

    async def refused(self, command: bytes, data: bytes = b"") -> Sense:
        """The sense data of a command that has to fail."""
        status, answer, sense = await self.status(command, data)
        assert (status, answer) == (CHECK_CONDITION, b"")
        return parse(sense)

    async def fails(self, command: bytes, data: bytes = b"") -> tuple[int, int, int]:
        """Sense key and codes of a command that has to fail."""
        found = await self.refused(command, data)
        return found.key, found.asc, found.ascq
