"""A target in memory, with whatever an initiator sends after its login: commands, and raw PDUs."""

from __future__ import annotations

import asyncio
import struct
from concurrent.futures import ThreadPoolExecutor

from san_console.iscsi import opcodes as o
from san_console.iscsi.errors import RemoteProtocolError
from san_console.iscsi.framing import Frame, Framer
from san_console.iscsi.parameters import OperationalParameters
from san_console.iscsi.pdu import ScsiCommand, ScsiDataIn, ScsiResponse, parse
from san_console.iscsi.target_connection import TargetConnection
from san_console.iscsi.target_framing import TargetFramer
from san_console.iscsi.target_session import TargetSession
from san_console.names.portal import Portal
from san_console.scsi.sense import parse as parse_sense
from san_console.scsi.status import CHECK_CONDITION, STATUS_NAMES
from san_console.target.backstore import ReadArena
from san_console.target.config import (
    BackstoreSpec,
    LunConfig,
    MappingRule,
    PortalGroup,
    TargetConfig,
)
from san_console.target.device_server import COMMANDS
from san_console.target.nexus import ServedTarget, SessionNexus
from san_console.target.units import close_units, open_units
from tests.fuzz.source import Source

UNIT_BYTES = 64 * 1024
ME = "iqn.2026-11.org.example:me"
GROUP = PortalGroup(1, [Portal("127.0.0.1", 3260)])
OPCODES = sorted(COMMANDS)
MAX_TURNS = 2000  # of the loop, for the commands of one input
_LENGTHS = struct.Struct(">I")


def _lun(name: str, *, read_only: bool = False) -> LunConfig:
    spec = BackstoreSpec("memory", size_bytes=UNIT_BYTES, thin=True, read_only=read_only)
    return LunConfig(name, name, spec)


CONFIG = TargetConfig(
    "iqn.2026-11.org.example:disk",
    [GROUP],
    luns=[_lun("mine"), _lun("shared"), _lun("kept", read_only=True), _lun("hidden")],
    mappings=[
        MappingRule(ME, "mine", 0),
        MappingRule(ME, "shared", 1, read_only=True),
        MappingRule(ME, "kept", 2),
    ],
)


class World:
    """A session with three LUNs, one of which may be written; a fourth belongs to nobody."""

    def __init__(self, served: ServedTarget, error_recovery_level: int) -> None:
        self.served = served
        nexus = SessionNexus(served, ME, bytes(6), lambda value: b"", address="127.0.0.1", group=GROUP)
        parameters = OperationalParameters(
            initial_r2t=False,
            max_recv_data_segment_bytes=8192,
            first_burst_bytes=8192,
            max_burst_bytes=16384,
            error_recovery_level=error_recovery_level,
        )
        self.session = TargetSession(
            nexus, parameters, initiator_name=ME, isid=bytes(6), tsih=1, exp_cmd_sn=1
        )
        nexus.session = self.session
        self.nexus = nexus
        self.connection = TargetConnection(
            self.session,
            TargetFramer(capacity_bytes=32768),
            ReadArena(),
            cid=0,
            stat_sn=1,
            now=0.0,
            nop_in_interval_s=15.0,
            nop_in_timeout_s=30.0,
        )

    def send(self, stream: bytes) -> list[tuple[bytes, bytes]]:
        """Feed PDUs in; gives (header, data) of what comes back at once."""
        framer = self.connection.framer
        answers: list[tuple[bytes, bytes]] = []
        position = 0
        while position < len(stream) and not self.connection.closing:
            room = framer.writable()
            piece = stream[position : position + len(room)]
            room[: len(piece)] = piece
            framer.wrote(len(piece))
            position += len(piece)
            more = True
            while more:
                more = self.connection.receive(64, 1.0) and not self.session.reads_full
                answers += self.answers()
        return answers

    def answers(self) -> list[tuple[bytes, bytes]]:
        """What has come up since the last look; the output is well formed."""
        framer = Framer(max_data_segment_bytes=1 << 24, capacity_bytes=65536)
        stream = b"".join(bytes(buffer) for buffer in self.connection.output)
        assert len(stream) == self.connection.output_bytes
        self.connection.output.clear()
        self.connection.output_bytes = 0
        found: list[tuple[bytes, bytes]] = []
        while stream:
            room = framer.writable()
            count = min(len(room), len(stream))
            room[:count] = stream[:count]
            framer.wrote(count)
            stream = stream[count:]
            while (frame := framer.next_frame()) is not None:
                found.append(_checked(frame))
        assert not len(framer)
        return found

    async def settle(self) -> list[tuple[bytes, bytes]]:
        """Let commands that run beside the loop come to their end."""
        found = self.answers()
        for _ in range(MAX_TURNS):
            if all(task.transfer_open for task in self.session.tasks.values()):
                break
            await asyncio.sleep(0)
            found += self.answers()
        return found + self.answers()


def _checked(frame: Frame) -> tuple[bytes, bytes]:
    pdu = parse(frame.bhs)
    if isinstance(pdu, ScsiResponse):
        assert pdu.status in STATUS_NAMES, pdu
        if pdu.status == CHECK_CONDITION:
            length = int.from_bytes(frame.data[:2], "big")
            assert length == len(frame.data) - 2 > 0, pdu
            assert parse_sense(frame.data[2:]).key in range(1, 16), bytes(frame.data)
    return bytes(frame.bhs), bytes(frame.data)


def _run(data: bytes, drive: str) -> None:
    with asyncio.Runner() as runner:
        runner.run(_play(data, drive))


async def _play(data: bytes, drive: str) -> None:
    source = Source(data)
    with ThreadPoolExecutor(1) as pool:
        units = await open_units(CONFIG, list(CONFIG.luns), pool, lambda target, text: None)
        before = {}
        for number, unit in enumerate(units.values()):
            pattern = bytes([number + 1]) * UNIT_BYTES
            if not unit.backstore.read_only:
                await unit.backstore.write(0, pattern)
            before[unit.config.id] = bytes(await unit.backstore.read(0, UNIT_BYTES))
        world = World(ServedTarget(CONFIG, units), source.number(1) % 3)
        try:
            await _DRIVES[drive](world, source)
        finally:
            world.session.terminate()
            world.nexus.close()
        for unit_id in ("shared", "kept", "hidden"):
            after = bytes(await units[unit_id].backstore.read(0, UNIT_BYTES))
            assert after == before[unit_id], f"the LUN {unit_id} was written to"
        await close_units(units.values())


async def _commands(world: World, source: Source) -> None:
    """Each command is answered once, with a status, and with no more data than it asked for."""
    cmd_sn = 1
    while source and cmd_sn < 30:
        opcode = OPCODES[source.number(1) % len(OPCODES)]
        shape = source.number(1)
        cdb = bytes([opcode]) + source.take(15).ljust(15, b"\0")
        payload = source.block(8192) if shape & 1 else b""
        edtl = len(payload) if shape & 1 else source.number(2)
        direction = o.WRITE if shape & 1 else o.READ if shape & 2 else 0
        command = ScsiCommand(
            flags=o.FINAL | direction | o.ATTR_SIMPLE,
            lun=(shape >> 2 & 3) << 48,
            itt=cmd_sn,
            expected_data_transfer_length=edtl if direction else 0,
            cmd_sn=cmd_sn,
            cdb=cdb,
        )
        stream = command.pack(len(payload)) + payload + bytes(-len(payload) & 3)
        answers = world.send(stream)
        answers += await world.settle()
        statuses = 0
        received = 0
        for bhs, data in answers:
            pdu = parse(bhs)
            if isinstance(pdu, ScsiDataIn):
                assert pdu.buffer_offset == received
                received += len(data)
                statuses += bool(pdu.flags & o.STATUS)
            elif isinstance(pdu, ScsiResponse):
                statuses += 1
        assert received <= (edtl if direction == o.READ else 0)
        waiting = world.session.tasks.get(cmd_sn)
        if waiting is None:
            assert statuses == 1, (cdb.hex(), answers)
        else:
            assert waiting.transfer_open, f"{cdb.hex()} is never answered"
        cmd_sn += 1


async def _stream(world: World, source: Source) -> None:
    """Any PDUs in any order: they are answered, refused, or end the connection; nothing else."""
    parts: list[bytes] = []
    raw = source.number(1) & 1
    while source and len(parts) < 60:
        bhs = bytearray(source.take(48).ljust(48, b"\0"))
        if raw:
            parts.append(bytes(bhs))
            continue
        payload = source.block(8192)
        bhs[4:8] = _LENGTHS.pack(len(payload))
        parts.append(bytes(bhs) + payload + bytes(-len(payload) & 3))
    try:
        for part in parts:
            world.send(part)
            await world.settle()
            world.session.tick(2.0)
    except RemoteProtocolError:
        return


_DRIVES = {"commands": _commands, "stream": _stream}


def commands(data: bytes) -> None:
    """SCSI commands of the table, with any CDB and any parameter list."""
    _run(data, "commands")


def stream(data: bytes) -> None:
    """PDUs of an initiator that has lost its mind."""
    _run(data, "stream")
