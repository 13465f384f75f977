"""An initiator that sends what it is told, byte for byte, over a real socket."""

from __future__ import annotations

import asyncio
from typing import Self

from san_console.iscsi import opcodes as o
from san_console.iscsi.framing import Frame, Framer, encode
from san_console.iscsi.login_initiator import LoginInitiator
from san_console.iscsi.login_settings import LoginSettings
from san_console.iscsi.pdu import LoginResponse, NopOut, Pdu, ScsiCommand, TextRequest, parse
from san_console.names.portal import Portal
from san_console.scsi import cdb
from san_console.target.config import (
    BackstoreSpec,
    ChapConfig,
    LunConfig,
    MappingRule,
    PortalGroup,
    TargetConfig,
)
from san_console.target.events import TargetEvent
from san_console.target.server import TargetServer
from san_console.target.session import ServedConnection, ServedSession

__all__ = ["NAME", "RawInitiator", "Served", "config", "only", "settings", "until"]

NAME = "iqn.2026-11.org.example:disks"
ME = "iqn.2026-11.org.example:me"
ISID = bytes.fromhex("80123456789a")


def config(**changes: object) -> TargetConfig:
    """A target with one LUN of a MiB of memory, on a free port of 127.0.0.1, for anyone. `portals` are
    those of group 1.
    """
    portals = changes.pop("portals", [Portal("127.0.0.1", 0)])
    fields: dict[str, object] = {
        "name": NAME,
        "groups": [PortalGroup(1, portals)],  # type: ignore[arg-type]  # by name, as all here
        "luns": [LunConfig("a", "a", BackstoreSpec("memory", size_bytes=1 << 20))],
        "anyone": True,
    }
    fields |= changes
    return TargetConfig(**fields)  # type: ignore[arg-type]


def settings(**changes: object) -> LoginSettings:
    """A login of `ME` to `NAME`."""
    fields: dict[str, object] = {"initiator_name": ME, "target_name": NAME, "isid": ISID}
    fields |= changes
    return LoginSettings(**fields)  # type: ignore[arg-type]


async def until(predicate: object, what: str = "it", timeout_s: float = 10.0) -> None:
    """Wait in the loop until `predicate()` is true."""
    assert callable(predicate)
    async with asyncio.timeout(timeout_s):
        while not predicate():  # noqa: ASYNC110 - what is waited for sets no event
            await asyncio.sleep(0.005)


def only(session: ServedSession) -> ServedConnection:
    """The connection of a session that has one."""
    [connection] = session.connections.values()
    return connection


class Served:
    """A TargetServer with one target and the list of its events."""

    def __init__(self, *configs: TargetConfig, discovery_chap: ChapConfig | None = None) -> None:
        self.events: list[TargetEvent] = []
        self.server = TargetServer(self.events.append, discovery_chap=discovery_chap)
        self._configs = configs or (config(),)

    async def __aenter__(self) -> Self:
        for one in self._configs:
            await self.server.add(one)
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.server.close()

    @property
    def port(self) -> int:
        return self.server.bound_portals()[0].port

    def kinds(self) -> list[str]:
        return [event.kind for event in self.events]

    async def raw(self) -> RawInitiator:
        """A connection without a login."""
        return await RawInitiator.open(self.port)

    async def login(self, **changes: object) -> RawInitiator:
        """A connection after its login."""
        raw = await self.raw()
        await raw.login(settings(**changes))
        return raw


class RawInitiator:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.framer = Framer(1 << 24)
        self.cmd_sn = 1
        self.itt = 0x1000

    @classmethod
    async def open(cls, port: int, host: str = "127.0.0.1") -> RawInitiator:
        return cls(*await asyncio.open_connection(host, port))

    async def login(self, wanted: LoginSettings) -> LoginInitiator:
        login = LoginInitiator(wanted)
        requests = [login.start()]
        while requests:
            for request, data in requests:
                self.send(request.pack(len(data)), data)
            pdu, data = await self.receive()
            assert isinstance(pdu, LoginResponse)
            requests = login.receive(pdu, data)
        assert login.result is not None
        self.cmd_sn = login.result.cmd_sn
        self.framer.header_digest = login.result.params.header_digest == "CRC32C"
        self.framer.data_digest = login.result.params.data_digest == "CRC32C"
        return login

    def send(self, bhs: bytes, data: bytes = b"") -> None:
        buffers = encode(
            bhs, data, header_digest=self.framer.header_digest, data_digest=self.framer.data_digest
        )
        self.writer.write(b"".join(bytes(buffer) for buffer in buffers))

    async def receive(self) -> tuple[Pdu, bytes]:
        """The next PDU. Raises EOFError when the target has closed."""
        async with asyncio.timeout(10):
            while True:
                frame: Frame | None = self.framer.next_frame()
                if frame is not None:
                    assert frame.data_digest_ok
                    return parse(frame.bhs), bytes(frame.data)
                room = self.framer.writable()
                data = await self.reader.read(min(len(room), 65536))
                if not data:
                    raise EOFError
                room[: len(data)] = data
                self.framer.wrote(len(data))

    async def closed(self, timeout_s: float = 10.0) -> bytes:
        """What still came before the target closed the connection."""
        async with asyncio.timeout(timeout_s):
            try:
                return await self.reader.read()
            except ConnectionError:
                return b""

    def command(
        self, command: bytes, *, read: int = 0, data: bytes = b"", lun: int = 0, write: int = 0
    ) -> int:
        """Send a SCSI command; returns its tag."""
        self.itt += 1
        flags = o.FINAL | (o.READ if read else 0) | (o.WRITE if data or write else 0) | o.ATTR_SIMPLE
        pdu = ScsiCommand(
            flags=flags,
            lun=lun << 48,
            itt=self.itt,
            expected_data_transfer_length=read or write or len(data),
            cmd_sn=self.cmd_sn,
            cdb=command,
        )
        self.cmd_sn += 1
        self.send(pdu.pack(len(data)), data)
        return self.itt

    async def ready(self, lun: int = 0) -> None:
        """Take the unit attention that a new session gets."""
        self.command(cdb.test_unit_ready(), lun=lun)
        await self.receive()

    async def read_block(self, lba: int = 0, lun: int = 0) -> bytes:
        self.command(cdb.read(lba, 1), read=512, lun=lun)
        _, data = await self.receive()
        assert len(data) == 512
        return data

    async def ping(self) -> None:
        """Prove that the session works."""
        self.itt += 1
        self.send(NopOut(itt=self.itt, cmd_sn=self.cmd_sn).pack(4), b"ping")
        pdu, data = await self.receive()
        assert data == b"ping", pdu

    async def send_targets(self, value: str) -> bytes:
        self.itt += 1
        text = f"SendTargets={value}\0".encode()
        self.send(TextRequest(itt=self.itt, cmd_sn=self.cmd_sn).pack(len(text)), text)
        self.cmd_sn += 1
        _, data = await self.receive()
        return data

    async def close(self) -> None:
        self.writer.close()
        try:
            await self.writer.wait_closed()
        except ConnectionError:
            return


def mapping(initiator: str, lun: int, *, read_only: bool = False, lun_id: str = "a") -> MappingRule:
    return MappingRule(initiator, lun_id, lun, read_only)
