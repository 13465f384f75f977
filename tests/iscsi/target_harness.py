"""An initiator's side in memory, and a logical unit of a few lines, for the tests of the target's full
feature phase.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from san_console.iscsi import opcodes as o
from san_console.iscsi.framing import Frame, Framer, encode
from san_console.iscsi.parameters import OperationalParameters
from san_console.iscsi.pdu import (
    LogoutRequest,
    NopOut,
    Pdu,
    ScsiCommand,
    ScsiDataOut,
    TaskManagementRequest,
    TextRequest,
    parse,
)
from san_console.iscsi.target_connection import TargetConnection
from san_console.iscsi.target_device import Arena, Buffer
from san_console.iscsi.target_device import LogicalUnit as UnitInterface
from san_console.iscsi.target_framing import TargetFramer
from san_console.iscsi.target_session import TargetSession
from san_console.iscsi.target_task import TargetTask

LUN = 0
READ_CDB = 0xF0  # the unit below knows commands that no SCSI standard has: this layer must not care
WRITE_CDB = 0xF1
BAD_CDB = 0xF2


def cdb(opcode: int, length: int, offset: int = 0) -> bytes:
    """A command of `FakeUnit`: opcode, length and offset in bytes."""
    return bytes([opcode]) + length.to_bytes(4, "big") + offset.to_bytes(4, "big") + bytes(7)


class FakeUnit:
    """Bytes by offset. With `later`, commands stay with the unit until `finish` is called."""

    def __init__(self, size: int = 1 << 20) -> None:
        self.memory = bytearray(i * 7 & 0xFF for i in range(256)) * (size // 256)
        self.fast = True
        self.later = False
        self.running: list[TargetTask] = []
        self.executed = 0

    @staticmethod
    def _fields(cdb: bytes) -> tuple[int, int]:
        return int.from_bytes(cdb[1:5], "big"), int.from_bytes(cdb[5:9], "big")

    def read_now(self, cdb: bytes, length: int, arena: Arena) -> Buffer | None:
        size, offset = self._fields(cdb)
        if not self.fast or cdb[0] != READ_CDB or size != length or offset + size > len(self.memory):
            return None
        view = arena.take(length)
        view[:] = self.memory[offset : offset + length]
        return view

    def write_now(self, cdb: bytes, data: Buffer) -> bool:
        size, offset = self._fields(cdb)
        if not self.fast or cdb[0] != WRITE_CDB or size != len(data):
            return False
        self.memory[offset : offset + size] = data
        return True

    def prepare(self, task: TargetTask) -> int:
        if task.cdb[0] == BAD_CDB:
            task.complete(2, b"", b"\x70\0\x05" + bytes(15))
            return 0
        return self._fields(task.cdb)[0] if task.cdb[0] == WRITE_CDB else 0

    def execute(self, task: TargetTask) -> None:
        self.executed += 1
        if self.later:
            self.running.append(task)
        else:
            self.finish(task)

    def finish(self, task: TargetTask) -> None:
        size, offset = self._fields(task.cdb)
        if task.cdb[0] == WRITE_CDB:
            self.memory[offset : offset + len(task.data_out)] = task.data_out
            task.complete(0)
        else:
            task.complete(0, bytes(self.memory[offset : offset + size]))


class FakeNexus:
    """A nexus with one unit at LUN 0."""

    def __init__(self, unit: UnitInterface) -> None:
        self.units: dict[int, UnitInterface] = {LUN: unit}
        self.unmapped: UnitInterface = FakeUnit()
        self.targets = b"TargetName=iqn.2026-11.org.example:a\0TargetAddress=10.0.0.1:3260,1\0"
        self.sessions: list[TargetSession] = []
        self.resets: list[tuple[int | None, int]] = []
        self.cleared: list[int] = []
        self.task_aborted_status = False
        self.attentions: list[tuple[int, int, int]] = []

    def send_targets(self, value: str) -> bytes | None:
        return None if value == "All" else self.targets

    def reset_scope(self, lun: int | None) -> Iterable[tuple[TargetSession, int]]:
        return [(session, LUN) for session in self.sessions]

    def reset(self, lun: int | None, function: int, then: Callable[[], None]) -> None:
        self.resets.append((lun, function))
        then()

    def commands_cleared(self, lun: int) -> None:
        self.cleared.append(lun)

    def reports_aborted(self, lun: int) -> bool:
        return self.task_aborted_status

    def pending_attention(self, lun: int) -> tuple[int, int, int, int] | None:
        return (len(self.attentions), *self.attentions[0]) if self.attentions else None

    def all_sessions(self) -> Iterable[TargetSession]:
        return self.sessions


class FakeArena:
    """Fresh memory each time."""

    def take(self, length: int) -> memoryview:
        return memoryview(bytearray(length))


class Link:
    """One connection: feeds PDUs in, and reads what comes back."""

    def __init__(
        self,
        session: TargetSession,
        parameters: OperationalParameters,
        *,
        cid: int,
        stat_sn: int,
        nop_in_interval_s: float,
        now: float,
    ) -> None:
        self.session = session
        self.framer = TargetFramer(capacity_bytes=64 * 1024)
        self.connection = TargetConnection(
            session,
            self.framer,
            FakeArena(),
            cid=cid,
            stat_sn=stat_sn,
            now=now,
            nop_in_interval_s=nop_in_interval_s,
            nop_in_timeout_s=5.0,
            parameters=parameters,
        )
        self.woken = 0
        self.connection.wake = self._wake
        self._back = Framer(1 << 24)
        self._back.header_digest = parameters.header_digest == "CRC32C"
        self._back.data_digest = parameters.data_digest == "CRC32C"

    def _wake(self) -> None:
        self.woken += 1

    def bytes_of(self, bhs: bytes, data: bytes = b"", ahs: bytes = b"") -> bytes:
        buffers = encode(
            bhs, data, ahs=ahs, header_digest=self._back.header_digest, data_digest=self._back.data_digest
        )
        return b"".join(bytes(buffer) for buffer in buffers)

    def feed(self, raw: bytes, *, limit: int = 1000, now: float = 0.0) -> list[tuple[Pdu, bytes]]:
        """Hand `raw` to the target, and return all answers on this connection with their data."""
        while raw:
            room = self.framer.writable()
            count = min(len(room), len(raw))
            room[:count] = raw[:count]
            self.framer.wrote(count)
            raw = raw[count:]
            while self.connection.receive(limit, now):
                if self.session.reads_full:
                    break
        return self.answers()

    def answers(self) -> list[tuple[Pdu, bytes]]:
        """What the target has sent since the last look."""
        raw = b"".join(bytes(buffer) for buffer in self.connection.output)
        assert len(raw) == self.connection.output_bytes
        self.connection.output.clear()
        self.connection.output_bytes = 0
        found: list[tuple[Pdu, bytes]] = []
        while raw:
            room = self._back.writable()
            count = min(len(room), len(raw))
            room[:count] = raw[:count]
            self._back.wrote(count)
            raw = raw[count:]
            frame: Frame | None
            while (frame := self._back.next_frame()) is not None:
                assert frame.data_digest_ok
                found.append((parse(frame.bhs), bytes(frame.data)))
        return found

    def acknowledge(self, *, lun: int = 0) -> list[tuple[Pdu, bytes]]:
        """Acknowledge all status so far, with a NOP-Out that wants no answer."""
        pdu = NopOut(lun=lun, cmd_sn=self.session.exp_cmd_sn, exp_stat_sn=self.connection.stat_sn)
        return self.feed(self.bytes_of(pdu.pack()), now=self.session.now)

    def drop(self, now: float | None = None) -> None:
        """The transport breaks."""
        self.session.connection_lost(self.connection, self.session.now if now is None else now)


class Initiator:
    """Packs PDUs with the right numbers for one session; `feed` uses its first connection unless told."""

    def __init__(
        self,
        parameters: OperationalParameters | None = None,
        *,
        unit: FakeUnit | None = None,
        nexus: FakeNexus | None = None,
        discovery: bool = False,
        command_window: int = 8,
        exp_cmd_sn: int = 1,
        nop_in_interval_s: float = 5.0,
    ) -> None:
        self.parameters = parameters or OperationalParameters(
            initial_r2t=False, max_recv_data_segment_bytes=8192, max_outstanding_r2t=2
        )
        self.unit = unit or FakeUnit()
        self.nexus = nexus or FakeNexus(self.unit)
        self.session = TargetSession(
            self.nexus,
            self.parameters,
            initiator_name="iqn.2026-11.org.example:host",
            isid=bytes(6),
            tsih=1,
            exp_cmd_sn=exp_cmd_sn,
            discovery=discovery,
            command_window=command_window,
        )
        self.closed: list[tuple[int, str]] = []
        self.session.on_close_connection = lambda one, reason: self.closed.append((one.cid, reason))
        self.nexus.sessions.append(self.session)
        self.cmd_sn = exp_cmd_sn
        self.itt = 0x100
        self.now = 0.0
        self.nop_in_interval_s = nop_in_interval_s
        self.link = self.connect(0)
        self.framer = self.link.framer
        self.connection = self.link.connection

    def connect(self, cid: int, parameters: OperationalParameters | None = None, *, stat_sn: int = 1) -> Link:
        """One more connection, after its login."""
        return Link(
            self.session,
            parameters or self.parameters,
            cid=cid,
            stat_sn=stat_sn,
            nop_in_interval_s=self.nop_in_interval_s,
            now=self.now,
        )

    def bytes_of(self, bhs: bytes, data: bytes = b"", ahs: bytes = b"") -> bytes:
        return self.link.bytes_of(bhs, data, ahs)

    def feed(self, raw: bytes, *, limit: int = 1000) -> list[tuple[Pdu, bytes]]:
        """Hand `raw` to the target on the first connection, and return all answers there."""
        return self.link.feed(raw, limit=limit, now=self.now)

    def answers(self) -> list[tuple[Pdu, bytes]]:
        """What the target has sent on the first connection since the last look."""
        return self.link.answers()

    def tick(self, now: float) -> None:
        """Time goes on."""
        self.now = now
        self.session.tick(now)

    def next_itt(self) -> int:
        self.itt += 1
        return self.itt

    def command(
        self,
        cdb: bytes,
        flags: int,
        edtl: int,
        data: bytes = b"",
        *,
        lun: int = LUN,
        immediate: bool = False,
        itt: int | None = None,
        cmd_sn: int | None = None,
        ahs: bytes = b"",
    ) -> bytes:
        """The bytes of a SCSI command; takes the next CmdSN unless one is given."""
        number = self.cmd_sn if cmd_sn is None else cmd_sn
        if cmd_sn is None and not immediate:
            self.cmd_sn = (self.cmd_sn + 1) & 0xFFFFFFFF
        pdu = ScsiCommand(
            immediate=immediate,
            flags=flags | o.ATTR_SIMPLE,
            lun=lun,
            itt=self.next_itt() if itt is None else itt,
            expected_data_transfer_length=edtl,
            cmd_sn=number,
            cdb=cdb,
        )
        return self.bytes_of(pdu.pack(len(data), len(ahs) // 4), data, ahs)

    def read(self, length: int, offset: int = 0, edtl: int | None = None) -> bytes:
        return self.command(cdb(READ_CDB, length, offset), o.FINAL | o.READ, length if edtl is None else edtl)

    def write(
        self,
        length: int,
        data: bytes = b"",
        *,
        offset: int = 0,
        final: bool = True,
        edtl: int | None = None,
        itt: int | None = None,
    ) -> bytes:
        return self.command(
            cdb(WRITE_CDB, length, offset),
            (o.FINAL if final else 0) | o.WRITE,
            length if edtl is None else edtl,
            data,
            itt=itt,
        )

    def data_out(
        self,
        offset: int,
        data: bytes,
        *,
        ttt: int,
        data_sn: int = 0,
        final: bool = True,
        itt: int | None = None,
    ) -> bytes:
        pdu = ScsiDataOut(
            final=final,
            itt=self.itt if itt is None else itt,
            ttt=ttt,
            data_sn=data_sn,
            buffer_offset=offset,
        )
        return self.bytes_of(pdu.pack(len(data)), data)

    def task_management(
        self,
        function: int,
        *,
        referenced: int = o.RESERVED_TAG,
        ref_cmd_sn: int = 0,
        lun: int = LUN,
        immediate: bool = True,
        exp_data_sn: int = 0,
        exp_stat_sn: int = 0,
    ) -> bytes:
        number = self.cmd_sn
        if not immediate:
            self.cmd_sn += 1
        pdu = TaskManagementRequest(
            immediate=immediate,
            function=function,
            lun=lun,
            itt=self.next_itt(),
            referenced_task_tag=referenced,
            cmd_sn=number,
            ref_cmd_sn=ref_cmd_sn,
            exp_data_sn=exp_data_sn,
            exp_stat_sn=exp_stat_sn,
        )
        return self.bytes_of(pdu.pack())

    def text(self, text: str, **fields: int) -> bytes:
        data = text.encode()
        pdu = TextRequest(itt=self.next_itt(), cmd_sn=self.cmd_sn)
        for name, value in fields.items():
            setattr(pdu, name, value)
        self.cmd_sn += 1
        return self.bytes_of(pdu.pack(len(data)), data)

    def logout(self, reason: int = o.LOGOUT_CLOSE_SESSION, cid: int = 0, *, itt: int | None = None) -> bytes:
        tag = self.next_itt() if itt is None else itt
        return self.bytes_of(LogoutRequest(reason=reason, itt=tag, cid=cid, cmd_sn=self.cmd_sn).pack())
