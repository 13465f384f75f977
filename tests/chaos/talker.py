"""An initiator with many stamped writes under way at once, on one connection of its own."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass

from san_console.iscsi import opcodes as o
from san_console.iscsi.pdu import (
    AsyncMessage,
    NopIn,
    NopOut,
    Pdu,
    ReadyToTransfer,
    ScsiCommand,
    ScsiDataOut,
    ScsiResponse,
    TaskManagementRequest,
    TaskManagementResponse,
)
from san_console.scsi import cdb
from san_console.scsi.sense import parse as parse_sense
from tests.chaos.stamps import BLOCK_BYTES, Ledger
from tests.target.raw_initiator import RawInitiator

TIMEOUT_S = 20.0


@dataclass(slots=True, eq=False)
class Write:
    """A write under way."""

    itt: int
    cmd_sn: int
    lba: int
    blocks: int
    generation: int
    data: bytes


class Talker:
    """Receives all the while. `pending` are the writes without an answer, `statuses` what the others got."""

    def __init__(self, raw: RawInitiator, ledger: Ledger, number: int) -> None:
        self.raw = raw
        self.number = number
        self.pending: dict[int, Write] = {}
        self.concluded: set[int] = set()
        """Tags whose task a function has ended: nothing may come for them any more."""
        self.statuses: Counter[int] = Counter()
        self.told = 0
        """Asynchronous Messages about commands that were ended."""
        self._ledger = ledger
        self._waiting: dict[int, asyncio.Future[tuple[Pdu, bytes]]] = {}
        self._heard = asyncio.Event()
        self._receiving = asyncio.create_task(self._receive())

    async def _receive(self) -> None:
        try:
            while True:
                pdu, data = await self.raw.receive()
                self._take(pdu, data)
                self._heard.set()
        except (EOFError, OSError):
            return

    def _take(self, pdu: Pdu, data: bytes) -> None:
        waiting = self._waiting.pop(getattr(pdu, "itt", -1), None)
        if waiting is not None:
            waiting.set_result((pdu, data))
        elif isinstance(pdu, AsyncMessage):
            # RFC 7143 §11.9.1, event 5: others have ended commands, and wait until that is known here.
            assert pdu.async_event == o.ASYNC_FAST_ABORT
            self.told += 1
            self.raw.send(NopOut(itt=o.RESERVED_TAG, cmd_sn=self.raw.cmd_sn).pack())
        elif isinstance(pdu, ReadyToTransfer):
            write = self.pending.get(pdu.itt)
            end = pdu.buffer_offset + pdu.desired_data_transfer_length
            # Also for a task that was aborted meanwhile each R2T is answered (RFC 7143 §4.2.3.3).
            piece = (
                write.data[pdu.buffer_offset : end] if write is not None else bytes(end - pdu.buffer_offset)
            )
            out = ScsiDataOut(itt=pdu.itt, ttt=pdu.ttt, buffer_offset=pdu.buffer_offset)
            self.raw.send(out.pack(len(piece)), piece)
        elif isinstance(pdu, ScsiResponse):
            assert pdu.itt not in self.concluded, f"an answer to {pdu.itt:#x} after it was concluded"
            write = self.pending.pop(pdu.itt)
            self.statuses[pdu.status] += 1
            if pdu.status == 0:
                self._ledger.acknowledge(write.lba, write.blocks, write.generation, durable=False)

    def write(self, lba: int, blocks: int, *, immediate_bytes: int) -> Write:
        """Send a WRITE, the first bytes of its data with it."""
        generation, data = self._ledger.issue(lba, blocks, self.number)
        raw = self.raw
        raw.itt += 1
        pdu = ScsiCommand(
            flags=o.FINAL | o.WRITE | o.ATTR_SIMPLE,
            itt=raw.itt,
            expected_data_transfer_length=len(data),
            cmd_sn=raw.cmd_sn,
            cdb=cdb.write(lba, blocks).ljust(16, b"\0"),
        )
        raw.cmd_sn += 1
        immediate = data[:immediate_bytes]
        raw.send(pdu.pack(len(immediate)), immediate)
        write = Write(pdu.itt, pdu.cmd_sn, lba, len(data) // BLOCK_BYTES, generation, data)
        self.pending[write.itt] = write
        return write

    async def _ask(self, itt: int) -> tuple[Pdu, bytes]:
        future: asyncio.Future[tuple[Pdu, bytes]] = asyncio.get_running_loop().create_future()
        self._waiting[itt] = future
        async with asyncio.timeout(TIMEOUT_S):
            return await future

    async def ping(self) -> None:
        """Everything that was sent before has been received, and what was answered before has come."""
        self.raw.itt += 1
        self.raw.send(NopOut(itt=self.raw.itt, cmd_sn=self.raw.cmd_sn).pack(4), b"ping")
        pdu, _ = await self._ask(self.raw.itt)
        assert isinstance(pdu, NopIn)

    async def function(self, number: int, write: Write | None = None) -> int:
        """A task management function; gives the response."""
        raw = self.raw
        raw.itt += 1
        request = TaskManagementRequest(function=number, itt=raw.itt, cmd_sn=raw.cmd_sn)
        if write is not None:
            request.referenced_task_tag, request.ref_cmd_sn = write.itt, write.cmd_sn
        raw.send(request.pack())
        pdu, _ = await self._ask(raw.itt)
        assert isinstance(pdu, TaskManagementResponse)
        return pdu.response

    async def command(self, block: bytes, *, read: int = 0, data: bytes = b"") -> tuple[int, bytes]:
        """Status and data (sense data, if it failed) of a short command."""
        tag = self.raw.command(block, read=read, data=data)
        pdu, answer = await self._ask(tag)
        if isinstance(pdu, ScsiResponse):
            return pdu.status, answer[2:]
        return 0, answer

    async def attentions(self) -> list[tuple[int, int]]:
        """The unit attentions that wait, in their order."""
        found: list[tuple[int, int]] = []
        while True:
            status, sense = await self.command(cdb.test_unit_ready())
            if status == 0:
                return found
            told = parse_sense(sense)
            assert told.key == 6, told
            found.append((told.asc, told.ascq))

    async def quiet(self) -> None:
        """Wait until no write is without an answer."""
        async with asyncio.timeout(TIMEOUT_S):
            while self.pending:
                self._heard.clear()
                if self._receiving.done():
                    self._receiving.result()
                    raise AssertionError("the connection is gone")
                await self._heard.wait()

    async def close(self) -> None:
        self._receiving.cancel()
        await asyncio.gather(self._receiving, return_exceptions=True)
        await self.raw.close()
