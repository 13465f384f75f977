"""Initiators with the target's real sessions and units, in memory: PDUs go in, answers come out."""

from __future__ import annotations

import asyncio

import pytest

from san_console.iscsi import opcodes as o
from san_console.iscsi.parameters import OperationalParameters
from san_console.iscsi.pdu import Pdu, ScsiCommand, ScsiResponse
from san_console.scsi import cdb
from san_console.scsi.persistent_reservations import Request
from san_console.scsi.persistent_reservations_data import build_out
from san_console.target.backstore import Backstore, Buffer
from san_console.target.logical_unit import UnitNexus
from san_console.target.nexus import SessionNexus
from tests.iscsi.target_harness import FakeNexus, Initiator
from tests.target.hosts import Array

BLOCK = b"x" * 512
WRITE = cdb.write_10(0, 1)


class _ListedNexus(SessionNexus, FakeNexus):
    """`Initiator` puts its session into a list of its nexus."""


class Node:
    """One initiator, logged in, which has been told of the power on. Its first LUN is `unit`."""

    def __init__(self, array: Array, name: str, **parameters: object) -> None:
        values = OperationalParameters(initial_r2t=False)
        for key, value in parameters.items():
            setattr(values, key, value)
        self.nexus = _ListedNexus(
            array.served,
            f"iqn.2026-11.org.example:{name}",
            bytes(6),
            lambda _: None,
            address="127.0.0.1",
            group=array.served.config.groups[0],
        )
        self.nexus.sessions = []
        self._answers: list[tuple[Pdu, bytes]] = []
        self.side = Initiator(values, nexus=self.nexus)
        self.session = self.nexus.session = self.side.session
        for nexus in self.nexus.by_lun.values():
            while nexus.attentions:
                nexus.attentions.pop(0)

    @property
    def unit(self) -> UnitNexus:
        return self.nexus.by_lun[0]

    def send(
        self, command: bytes, data: bytes = b"", *, edtl: int | None = None, ordered: bool = False
    ) -> int:
        """Send a command with `data` at once; with a longer `edtl`, the rest follows unsolicited."""
        length = len(data) if edtl is None else edtl
        flags = (o.FINAL if length == len(data) else 0) | (o.WRITE if length else 0)
        side = self.side
        pdu = ScsiCommand(
            flags=flags | (o.ATTR_ORDERED if ordered else o.ATTR_SIMPLE),
            itt=side.next_itt(),
            expected_data_transfer_length=length,
            cmd_sn=side.cmd_sn,
            cdb=command.ljust(16, b"\0"),
        )
        side.cmd_sn += 1
        self._answers += side.feed(side.bytes_of(pdu.pack(len(data)), data))
        return side.itt

    def rest(self, data: bytes, offset: int, itt: int | None = None) -> None:
        """The unsolicited data that was left of a command, the last one unless told."""
        self._answers += self.side.feed(self.side.data_out(offset, data, ttt=o.RESERVED_TAG, itt=itt))

    def manage(self, function: int, referenced: int = o.RESERVED_TAG) -> None:
        """Send an immediate task management function."""
        self._answers += self.side.feed(self.side.task_management(function, referenced=referenced))

    async def answers(self) -> list[Pdu]:
        """What has come since the last look, when all has run that can."""
        for _ in range(40):
            await asyncio.sleep(0)
        found = [pdu for pdu, _ in self._answers + self.side.answers()]
        self._answers = []
        return found

    async def statuses(self) -> list[int]:
        """The SCSI statuses among it."""
        return [pdu.status for pdu in await self.answers() if isinstance(pdu, ScsiResponse)]

    async def reserve_out(self, action: int, key: int, new: int = 0, type_: int = 0) -> list[int]:
        """The statuses after a PERSISTENT RESERVE OUT."""
        data = build_out(Request(key, new))
        self.send(cdb.persistent_reserve_out(action, type_, len(data)), data)
        return await self.statuses()


class HeldWrites:
    """All writes to a store wait for `go_on`; `landed` of them are done."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, store: Backstore, *users: Node) -> None:
        self.begun = asyncio.Event()
        self.go_on = asyncio.Event()
        self.landed = 0
        real = store.write

        async def write(offset: int, data: Buffer, *, fua: bool = False) -> None:
            self.begun.set()
            await self.go_on.wait()
            await real(offset, data, fua=fua)
            self.landed += 1

        monkeypatch.setattr(store, "write", write)
        monkeypatch.setattr(store, "write_nowait", lambda *_: False)
        for user in users:
            user.unit.refresh()
