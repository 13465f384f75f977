"""Hosts at a target without sockets or sessions: each is an I_T nexus that runs CDBs one by one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from san_console.iscsi.opcodes import ATTR_SIMPLE
from san_console.iscsi.target_task import RUNNING
from san_console.names.portal import Portal
from san_console.scsi import cdb
from san_console.scsi.sense import parse
from san_console.scsi.status import CHECK_CONDITION
from san_console.target.backstore import Buffer
from san_console.target.backstores import open_backstore
from san_console.target.config import AccessState, LunConfig, PortalGroup, TargetConfig, parse_spec
from san_console.target.logical_unit import LogicalUnit
from san_console.target.nexus import ServedTarget, SessionNexus
from san_console.target.reservations import ReservationStore

NAME = "iqn.2026-11.org.example:disks"
BLOCK = 512


class Task:
    """What the target sees of a task; `complete` keeps the answer."""

    def __init__(self, command: bytes, data: bytes = b"", flags: int = ATTR_SIMPLE) -> None:
        self.cdb = command.ljust(16, b"\0")
        self.flags = flags
        self.state = RUNNING
        self.on_gone: Callable[[], None] | None = None
        self.on_abort: Callable[[], None] | None = None
        self.data_out = memoryview(data)
        self.edtl = len(data)
        self.answer: tuple[int, bytes, bytes] | None = None
        self.done = asyncio.Event()

    def complete(self, status: int, data: Buffer = b"", sense: bytes = b"") -> None:
        assert self.answer is None
        self.answer = (status, bytes(data), sense)
        self.done.set()
        if self.on_gone is not None:
            self.on_gone()


class Array:
    """A target with two portal groups and some LUNs, all mapped for everybody."""

    def __init__(
        self,
        luns: Sequence[str] = ("memory:1M",),
        states: Sequence[AccessState] = ("active/optimized", "active/optimized"),
        store: ReservationStore | None = None,
    ) -> None:
        pool = ThreadPoolExecutor(1)
        self.errors: list[str] = []
        configs = [LunConfig(f"lun{n}", f"lun{n}", parse_spec(spec)) for n, spec in enumerate(luns)]
        groups = [
            PortalGroup(tag, [Portal("127.0.0.1", 3260 + tag)], access_state=state)
            for tag, state in enumerate(states, 1)
        ]
        self.units = {
            one.id: LogicalUnit(
                one,
                open_backstore(one.backstore, pool),
                target_name=NAME,
                tpgt=1,
                serial=one.id,
                naa=bytes.fromhex("3123456789abcdef"),
                on_error=self.errors.append,
            )
            for one in configs
        }
        for unit in self.units.values():
            unit.reservations.use(store)
        self.served = ServedTarget(TargetConfig(NAME, groups, luns=configs, anyone=True), self.units)
        self.unit = next(iter(self.units.values()))

    def host(self, name: str, tag: int = 1, isid: int = 0) -> Host:
        """A host that logs in, and has been told of the power on."""
        host = Host(self, name, tag, isid)
        host.attentions()
        return host

    async def close(self) -> None:
        for unit in self.units.values():
            await unit.close()


class Host:
    """One I_T nexus, at LUN 0 unless another is chosen."""

    def __init__(self, array: Array, name: str, tag: int, isid: int) -> None:
        group = array.served.config.group_of_tag(tag)
        assert group is not None
        self.nexus = SessionNexus(
            array.served,
            f"iqn.2026-11.org.example:{name}",
            isid.to_bytes(6, "big"),
            lambda _: None,
            address="127.0.0.1",
            group=group,
        )
        self.tasks: list[Task] = []
        for nexus in self.nexus.by_lun.values():
            nexus.tasks = lambda: list(self.tasks)  # type: ignore[arg-type] # tasks of a few lines

    def begin(self, command: bytes, data: bytes = b"", *, flags: int = ATTR_SIMPLE, lun: int = 0) -> Task:
        """Send a command; it may still run."""
        task = Task(command, data, flags)
        unit = self.nexus.by_lun[lun]
        self.tasks.append(task)
        task.on_gone = lambda: self.tasks.remove(task)
        unit.prepare(task)  # type: ignore[arg-type] # a task of a few lines
        if task.answer is None:
            unit.execute(task)  # type: ignore[arg-type] # a task of a few lines
        return task

    async def status(self, command: bytes, data: bytes = b"", *, lun: int = 0) -> int:
        """The SCSI status of a command."""
        task = self.begin(command, data, lun=lun)
        async with asyncio.timeout(10):
            await task.done.wait()
        assert task.answer is not None
        return task.answer[0]

    async def run(self, command: bytes, data: bytes = b"", *, lun: int = 0) -> bytes:
        """The data of a command that has to succeed."""
        task = self.begin(command, data, lun=lun)
        async with asyncio.timeout(10):
            await task.done.wait()
        assert task.answer is not None
        assert task.answer[0] == 0, (task.answer[0], parse(task.answer[2]))
        return task.answer[1]

    async def fails(self, command: bytes, data: bytes = b"", *, lun: int = 0) -> tuple[int, int, int]:
        """Sense key and codes of a command that has to end in CHECK CONDITION."""
        task = self.begin(command, data, lun=lun)
        async with asyncio.timeout(10):
            await task.done.wait()
        assert task.answer is not None
        assert task.answer[0] == CHECK_CONDITION
        found = parse(task.answer[2])
        return found.key, found.asc, found.ascq

    def attentions(self, lun: int = 0) -> list[tuple[int, int]]:
        """(ASC, ASCQ) of all that it has not been told; TEST UNIT READY tells them."""
        told = []
        while self.nexus.by_lun[lun].attentions:
            answer = self.begin(cdb.test_unit_ready(), lun=lun).answer
            assert answer is not None
            sense = parse(answer[2])
            assert sense.key == 6
            told.append((sense.asc, sense.ascq))
        return told

    def reads_fast(self) -> bool:
        """Whether a plain read takes the fast path."""
        return self.nexus.by_lun[0].read_now(cdb.read_10(0, 1).ljust(16, b"\0"), BLOCK, Heap()) is not None

    def writes_fast(self) -> bool:
        """Whether a plain write takes the fast path."""
        return self.nexus.by_lun[0].write_now(cdb.write_10(0, 1).ljust(16, b"\0"), bytes(BLOCK))


class Heap:
    """Fresh memory each time."""

    def take(self, length: int) -> memoryview:
        return memoryview(bytearray(length))
