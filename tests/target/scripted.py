"""An initiator of several connections that does what a script says, PDU by PDU, over real sockets.

It knows no recovery by itself: the script damages, drops and repeats PDUs, and asks for what is missing.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field
from typing import Self, TypeVar

from san_console.iscsi import opcodes as o
from san_console.iscsi.framing import Framer, encode
from san_console.iscsi.login_initiator import LoginInitiator
from san_console.iscsi.login_settings import LoginSettings
from san_console.iscsi.parameters import Offer, OperationalParameters
from san_console.iscsi.pdu import (
    LoginResponse,
    LogoutRequest,
    LogoutResponse,
    NopIn,
    NopOut,
    Pdu,
    ReadyToTransfer,
    ScsiCommand,
    ScsiDataIn,
    ScsiDataOut,
    ScsiResponse,
    SnackRequest,
    TaskManagementRequest,
    TaskManagementResponse,
    parse,
)
from san_console.scsi import cdb
from san_console.wire import serial

BLOCK_BYTES = 512
TIMEOUT_S = 20.0
MAX_SEGMENT_BYTES = 1024
MAX_BURST_BYTES = 4096

Answer = TypeVar("Answer", bound=Pdu)
Request = NopOut | ScsiCommand | ScsiDataOut | LogoutRequest | SnackRequest | TaskManagementRequest


def offer(level: int, connections: int, **changes: object) -> Offer:
    """Small segments and bursts, so that a few KiB make many PDUs; both digests."""
    values: dict[str, object] = {
        "header_digest": ("CRC32C",),
        "data_digest": ("CRC32C",),
        "max_connections": connections,
        "error_recovery_level": level,
        "max_recv_data_segment_bytes": MAX_SEGMENT_BYTES,
        "max_burst_bytes": MAX_BURST_BYTES,
        "first_burst_bytes": MAX_SEGMENT_BYTES,
        "immediate_data": False,
        "initial_r2t": True,
        "default_time2wait_s": 0,
        "default_time2retain_s": 20,
    }
    return Offer(**(values | changes))  # type: ignore[arg-type]


@dataclass(slots=True)
class Received:
    """A PDU as it came."""

    pdu: Pdu
    data: bytes


@dataclass(slots=True)
class Command:
    """A SCSI command under way. `data` is what it writes, or what has been read so far."""

    itt: int
    cmd_sn: int
    pdu: ScsiCommand
    data: bytearray = field(default_factory=bytearray)


class Connection:
    """One connection of a session, after its login."""

    def __init__(
        self, session: Session, cid: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.session = session
        self.cid = cid
        self.framer = Framer(1 << 24)
        self.exp_stat_sn = 0
        self.parameters = OperationalParameters()
        self._reader = reader
        self._writer = writer
        self.local_port: int = writer.get_extra_info("sockname")[1]

    def send(self, pdu: Request, data: bytes = b"", *, damage: str = "") -> None:
        """Send a PDU; `damage` is "header" or "data": a bit there falls over after the digest was made."""
        pdu.exp_stat_sn = self.exp_stat_sn
        buffers = encode(
            pdu.pack(len(data)),
            data,
            header_digest=self.framer.header_digest,
            data_digest=self.framer.data_digest,
        )
        parts = [bytearray(buffer) for buffer in buffers]
        if damage == "header":
            parts[0][-1] ^= 0x10  # of the CDB, or of a field at the end: the lengths stay
        elif damage == "data":
            parts[1 + self.framer.header_digest][0] ^= 0x01
        self._writer.write(b"".join(parts))

    def send_login(self, bhs: bytes, data: bytes) -> None:
        """There are no digests yet, and LoginInitiator has set ExpStatSN."""
        self._writer.write(b"".join(encode(bhs, data, header_digest=False, data_digest=False)))

    async def receive_login(self) -> Received:
        """As `receive`; its StatSN is LoginInitiator's affair."""
        exp_stat_sn = self.exp_stat_sn
        received = await self.receive()
        self.exp_stat_sn = exp_stat_sn
        return received

    async def receive(self) -> Received:
        """The next PDU; its status counts as received. Raises EOFError when the target has closed."""
        async with asyncio.timeout(TIMEOUT_S):
            while (frame := self.framer.next_frame()) is None:
                room = self.framer.writable()
                data = await self._reader.read(len(room))
                if not data:
                    raise EOFError
                room[: len(data)] = data
                self.framer.wrote(len(data))
        assert frame.data_digest_ok
        pdu = parse(frame.bhs)
        self._count(pdu)
        return Received(pdu, bytes(frame.data))

    def _count(self, pdu: Pdu) -> None:
        numbered = (isinstance(pdu, ScsiDataIn) and pdu.flags & o.STATUS) or not isinstance(
            pdu, ScsiDataIn | ReadyToTransfer
        )
        if isinstance(pdu, NopIn) and pdu.itt == o.RESERVED_TAG:
            numbered = False
        if numbered and pdu.stat_sn == self.exp_stat_sn:  # type: ignore[union-attr]  # all that are numbered
            self.exp_stat_sn = serial.add(self.exp_stat_sn, 1)

    async def expect(self, kind: type[Answer]) -> tuple[Answer, bytes]:
        """The next PDU, which has to be of this kind."""
        received = await self.receive()
        assert isinstance(received.pdu, kind), received.pdu
        return received.pdu, received.data

    async def ping(self) -> None:
        """Prove that the connection works."""
        itt = self.session.new_itt()
        self.send(NopOut(itt=itt, cmd_sn=self.session.cmd_sn), b"ping")
        pdu, data = await self.expect(NopIn)
        assert (pdu.itt, data) == (itt, b"ping")

    def cut(self) -> None:
        """Break the connection without a word."""
        self._writer.transport.abort()

    async def close(self) -> None:
        """Break the connection, and let go of its socket."""
        self.cut()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()

    async def closed(self) -> None:
        """Wait until the target has closed the connection; what it still sends does not matter."""
        async with asyncio.timeout(TIMEOUT_S):
            try:
                while await self._reader.read(65536):
                    continue
            except ConnectionError:
                return

    # SCSI commands

    def read(self, lba: int, blocks: int, *, cmd_sn: int | None = None) -> Command:
        """Send a READ."""
        return self._command(cdb.read(lba, blocks), o.READ, blocks * BLOCK_BYTES, cmd_sn)

    def write(self, lba: int, data: bytes, *, cmd_sn: int | None = None) -> Command:
        """Send a WRITE; its data is to be asked for by R2T."""
        command = self._command(cdb.write(lba, len(data) // BLOCK_BYTES), o.WRITE, len(data), cmd_sn)
        command.data[:] = data
        return command

    def _command(self, block: bytes, direction: int, length: int, cmd_sn: int | None) -> Command:
        session = self.session
        pdu = ScsiCommand(
            flags=o.FINAL | direction | o.ATTR_SIMPLE,
            itt=session.new_itt(),
            expected_data_transfer_length=length,
            cmd_sn=session.take_cmd_sn() if cmd_sn is None else cmd_sn,
            cdb=block.ljust(16, b"\0"),
        )
        self.send(pdu)
        return Command(pdu.itt, pdu.cmd_sn, pdu)

    def data_out(
        self, command: Command, r2t: ReadyToTransfer, *, damage: int = -1, leave_out: int = -1
    ) -> None:
        """Answer an R2T; the PDU with DataSN `damage` is damaged, the one with `leave_out` never sent."""
        end = r2t.buffer_offset + r2t.desired_data_transfer_length
        for data_sn, start in enumerate(range(r2t.buffer_offset, end, MAX_SEGMENT_BYTES)):
            piece = bytes(command.data[start : min(start + MAX_SEGMENT_BYTES, end)])
            pdu = ScsiDataOut(
                final=start + len(piece) == end,
                lun=r2t.lun,
                itt=command.itt,
                ttt=r2t.ttt,
                data_sn=data_sn,
                buffer_offset=start,
            )
            if data_sn != leave_out:
                self.send(pdu, piece, damage="data" if data_sn == damage else "")

    async def finish_write(self, command: Command) -> int:
        """Answer every R2T until the status comes."""
        while True:
            received = await self.receive()
            if isinstance(received.pdu, ReadyToTransfer):
                assert received.pdu.itt == command.itt
                self.data_out(command, received.pdu)
            else:
                assert isinstance(received.pdu, ScsiResponse), received.pdu
                assert received.pdu.itt == command.itt
                return received.pdu.status

    async def finish_read(self, command: Command) -> bytes:
        """Gather Data-In until the status comes; the order is that of DataSN."""
        data_sn = 0
        while True:
            pdu, data = await self.expect(ScsiDataIn)
            assert (pdu.itt, pdu.data_sn, pdu.buffer_offset) == (command.itt, data_sn, len(command.data))
            command.data += data
            data_sn += 1
            if pdu.flags & o.STATUS:
                assert pdu.status == 0
                return bytes(command.data)

    def snack(self, kind: int, begin: int, count: int, command: Command | None = None, ttt: int = -1) -> None:
        """Ask for PDUs again."""
        self.send(
            SnackRequest(
                type=kind,
                itt=command.itt if command is not None else o.RESERVED_TAG,
                ttt=ttt & 0xFFFFFFFF,
                beg_run=begin,
                run_length=count,
            )
        )

    async def logout(self, reason: int, cid: int | None = None) -> LogoutResponse:
        """Log out; other PDUs on their way are passed over."""
        itt = self.session.new_itt()
        self.send(
            LogoutRequest(
                reason=reason,
                itt=itt,
                cid=self.cid if cid is None else cid,
                cmd_sn=self.session.cmd_sn,
            )
        )
        while True:
            received = await self.receive()
            if isinstance(received.pdu, LogoutResponse):
                assert received.pdu.itt == itt
                return received.pdu

    async def manage(self, function: int, *, command: Command, exp_data_sn: int = 0) -> int:
        """A task management function about `command`; gives the response."""
        itt = self.session.new_itt()
        self.send(
            TaskManagementRequest(
                function=function,
                itt=itt,
                referenced_task_tag=command.itt,
                cmd_sn=self.session.cmd_sn,
                ref_cmd_sn=command.cmd_sn,
                exp_data_sn=exp_data_sn,
            )
        )
        pdu, _ = await self.expect(TaskManagementResponse)
        assert pdu.itt == itt
        return pdu.response


class Session:
    """A session; `open` logs in its leading connection, `connect` the others."""

    def __init__(self, port: int, wanted: LoginSettings) -> None:
        self.port = port
        self.wanted = wanted
        self.tsih = 0
        self.cmd_sn = wanted.cmd_sn
        self.connections: dict[int, Connection] = {}
        self._itt = 0x100
        self._opened: list[Connection] = []

    @classmethod
    async def open(cls, port: int, wanted: LoginSettings, connections: int = 1) -> Self:
        session = cls(port, wanted)
        for cid in range(connections):
            await session.connect(cid)
        return session

    def new_itt(self) -> int:
        self._itt += 1
        return self._itt

    def take_cmd_sn(self) -> int:
        """The CmdSN of the next command that is not immediate."""
        taken = self.cmd_sn
        self.cmd_sn = serial.add(taken, 1)
        return taken

    async def connect(self, cid: int, *, tsih: int | None = None) -> Connection:
        """Log in one more connection, or one of the same CID again. Raises LoginFailed."""
        wanted = self.wanted
        settings = LoginSettings(
            wanted.initiator_name,
            wanted.target_name,
            wanted.isid,
            tsih=self.tsih if tsih is None else tsih,
            cid=cid,
            cmd_sn=self.cmd_sn,
            offer=wanted.offer,
        )
        connection = Connection(self, cid, *await asyncio.open_connection("127.0.0.1", self.port))
        self._opened.append(connection)
        login = LoginInitiator(settings)
        requests = [login.start()]
        while requests:
            for request, data in requests:
                connection.send_login(request.pack(len(data)), data)
            received = await connection.receive_login()
            assert isinstance(received.pdu, LoginResponse)
            requests = login.receive(received.pdu, received.data)
        assert login.result is not None
        result = login.result
        connection.exp_stat_sn = result.exp_stat_sn
        connection.parameters = result.params
        connection.framer.header_digest = result.params.header_digest == "CRC32C"
        connection.framer.data_digest = result.params.data_digest == "CRC32C"
        self.tsih = result.tsih
        self.connections[cid] = connection
        return connection

    async def close(self) -> None:
        """Close what is open, without a logout."""
        for connection in self._opened:
            await connection.close()
