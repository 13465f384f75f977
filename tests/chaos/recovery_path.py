"""One connection of an initiator that recovers, behind a `FaultyLink`: its StatSN, and the commands on it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Protocol

from san_console.iscsi.errors import RemoteProtocolError
from san_console.iscsi.framing import encode
from san_console.iscsi.pdu import Pdu, ScsiCommand, parse
from san_console.wire import serial
from tests.chaos.faulty_link import TO_INITIATOR, TO_TARGET, FaultyLink, Lane
from tests.target.scripted import Connection, Request

MASK = 0xFFFFFFFF
SILENCE_S = 0.15  # then a command, or a gap, is asked about


class Owner(Protocol):
    """Whoever has the connections."""

    link: FaultyLink

    def received(self, path: Path, pdu: Pdu, data: bytes, data_ok: bool) -> None: ...
    def ask_for_status(self, path: Path, begin: int, count: int) -> None: ...
    def lost(self, path: Path) -> None: ...


@dataclass(slots=True, eq=False)
class Job:
    """A command under way. `next` is the first DataSN or R2TSN that has not come; `numbers` came after it."""

    pdu: ScsiCommand
    path: Path
    data: bytearray
    done: asyncio.Future[int]
    heard_at: float
    next: int = 0
    numbers: set[int] = field(default_factory=set)
    highest: int = -1
    total: int = 0
    status: int | None = None
    homeless: bool = False
    """Its connection was lost, and its new one does not know of it yet."""
    acks: dict[int, int] = field(default_factory=dict)
    """DataSN of a Data-In with the A bit: its Target Transfer Tag."""

    def take(self, number: int) -> bool:
        """False for a duplicate."""
        if number < self.next or number in self.numbers:
            return False
        self.numbers.add(number)
        while self.next in self.numbers:
            self.numbers.discard(self.next)
            self.next += 1
        return True

    def move_to(self, path: Path) -> None:
        """What came after a gap will come again on the new connection (§7.2.2)."""
        self.path = path
        self.homeless = True
        self.numbers.clear()
        self.acks.clear()
        self.highest = self.next - 1
        self.heard_at = 0.0


class Path:
    """One connection, through the link. StatSN counts here without end."""

    def __init__(self, owner: Owner, connection: Connection) -> None:
        self.cid = connection.cid
        self.alive = True
        self.exp_stat_sn = self.shown = connection.exp_stat_sn
        self.arrived: dict[int, Job | None] = {}
        self.asked_at = 0.0
        self._owner = owner
        self._connection = connection
        self._framer = connection.framer
        link = owner.link
        self._out = Lane(link, TO_TARGET, self._write)
        self._in = Lane(link, TO_INITIATOR, self._deliver)

    async def run(self) -> None:
        """Receive until the connection breaks."""
        reader = self._connection._reader
        self._hear()  # what came together with the login response
        if len(self._framer):
            self.cut()  # and half a PDU: the link wants whole ones
        try:
            while True:
                self._in.carry(await self._owner.link.read_pdu(reader))
        except (OSError, asyncio.IncompleteReadError):
            self.cut()
        finally:
            self.alive = False
            self._out.close()
            self._in.close()
            await self._connection.close()
        self._owner.lost(self)

    def cut(self) -> None:
        """Break the connection without a word."""
        self.alive = False
        self._connection.cut()

    def send(self, pdu: Request, data: bytes = b"") -> None:
        pdu.exp_stat_sn = self.exp_stat_sn & MASK
        framer = self._framer
        buffers = encode(
            pdu.pack(len(data)), data, header_digest=framer.header_digest, data_digest=framer.data_digest
        )
        if self.alive:
            self._out.carry(b"".join(bytes(buffer) for buffer in buffers))

    def _write(self, raw: bytes) -> None:
        writer = self._connection._writer
        if not writer.is_closing():
            writer.write(raw)

    def _deliver(self, raw: bytes) -> None:
        if not self.alive:
            return
        room = self._framer.writable()
        room[: len(raw)] = raw
        self._framer.wrote(len(raw))
        if not self._hear():
            self.cut()  # a damaged header: the stream cannot be followed

    def _hear(self) -> bool:
        """Take the PDUs that are there whole. False when something else is left."""
        try:
            while (frame := self._framer.next_frame()) is not None:
                pdu = parse(frame.bhs)
                self._owner.received(self, pdu, bytes(frame.data), frame.data_digest_ok)
        except RemoteProtocolError:
            return False
        return not len(self._framer)

    # StatSN

    def has_shown(self, stat_sn: int, *, consumed: bool) -> int:
        """A PDU came with this StatSN; gives it counted without end. A gap before it is asked for."""
        number = self.exp_stat_sn + serial.diff(stat_sn, self.exp_stat_sn & MASK)
        if number > self.shown:
            self._ask(self.shown, number - self.shown)
        self.shown = max(self.shown, number + consumed)
        return number

    def arrives(self, number: int, job: Job | None) -> bool:
        """A status, an answer: acknowledged once its data is complete. False for a duplicate."""
        if number < self.exp_stat_sn or number in self.arrived:
            return False
        self.arrived[number] = job
        self.acknowledge()
        return True

    def acknowledge(self) -> None:
        """Count what is complete (§11.4.8: with the status, all data of the command)."""
        while self.exp_stat_sn in self.arrived:
            job = self.arrived[self.exp_stat_sn]
            if job is not None and not job.done.done():
                return
            del self.arrived[self.exp_stat_sn]
            self.exp_stat_sn += 1

    def look(self, now: float) -> None:
        """Ask again for what is missing."""
        missing = [number for number in range(self.exp_stat_sn, self.shown) if number not in self.arrived]
        if missing and now - self.asked_at > SILENCE_S:
            end = next((n for n in range(missing[0], self.shown) if n in self.arrived), self.shown)
            self._ask(missing[0], end - missing[0])

    def _ask(self, begin: int, count: int) -> None:
        self.asked_at = asyncio.get_running_loop().time()
        self._owner.ask_for_status(self, begin, count)
