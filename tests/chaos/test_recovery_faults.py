"""Error recovery at levels 1 and 2 behind a link that spoils one PDU in many, and with connections cut.

Whatever is lost on the way: what is read is what the ledger allows, each acknowledged write is there, and no
write reaches the medium twice.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import pytest

from san_console.iscsi import opcodes as o
from san_console.iscsi import target_data_recovery
from san_console.iscsi.target_session import TargetSession
from san_console.scsi import cdb
from san_console.target import server
from san_console.target.backstore import Buffer
from san_console.target.backstore_memory import MemoryBackstore
from san_console.target.config import TargetLimits
from san_console.wire import serial
from tests.chaos.faulty_link import (
    DAMAGE_DATA,
    DAMAGE_HEADER,
    DROP,
    DUPLICATE,
    SWAP,
    TO_INITIATOR,
    TO_TARGET,
    FaultyLink,
)
from tests.chaos.load import LONGER, SEED
from tests.chaos.recovering import RecoveringInitiator
from tests.chaos.restarting import RestartingInitiator
from tests.chaos.stamps import Ledger, Violation, generation_of
from tests.target.raw_initiator import Served, config, settings
from tests.target.scripted import MAX_SEGMENT_BYTES, Session, offer

pytestmark = pytest.mark.conformance

BLOCKS = 1024
MOST_BLOCKS = 24  # three bursts of eight PDUs
WORKERS = 12
COMMANDS = 96
RATE = 0.05
CUTS = 8
SLOW_S = 0.1

SOLICITED = {"immediate_data": False, "initial_r2t": True}
ANY_ORDER = SOLICITED | {
    "max_outstanding_r2t": 4,
    "data_pdu_in_order": False,
    "data_sequence_in_order": False,
}
UNSOLICITED = {"immediate_data": True, "initial_r2t": False, "first_burst_bytes": 2 * MAX_SEGMENT_BYTES}

# What an exchange at these levels consists of; the link has to have hit each of it in each of these ways.
ALWAYS = [
    *((TO_TARGET, opcode) for opcode in (o.SCSI_COMMAND, o.SCSI_DATA_OUT, o.SNACK_REQUEST, o.NOP_OUT)),
    *((TO_INITIATOR, opcode) for opcode in (o.SCSI_RESPONSE, o.SCSI_DATA_IN, o.READY_TO_TRANSFER, o.NOP_IN)),
]
WITH_CUTS = [(TO_TARGET, o.TASK_MANAGEMENT_REQUEST), (TO_INITIATOR, o.TASK_MANAGEMENT_RESPONSE)]
CARRY_DATA = {o.SCSI_DATA_OUT, o.NOP_OUT, o.SCSI_DATA_IN, o.NOP_IN}


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """The target waits for lost ends of sequences, and looks around, as impatiently as the initiator."""
    monkeypatch.setattr(target_data_recovery, "SEQUENCE_TIMEOUT_S", 0.1)
    monkeypatch.setattr(server, "TICK_S", 0.03)


@pytest.fixture
def executed(monkeypatch: pytest.MonkeyPatch) -> Counter[int]:
    """How often each write (by its generation) has reached the medium."""
    found: Counter[int] = Counter()
    write = MemoryBackstore.write_nowait

    def counting(store: MemoryBackstore, offset: int, data: Buffer) -> bool:
        found[generation_of(data)] += 1
        return write(store, offset, data)

    monkeypatch.setattr(MemoryBackstore, "write_nowait", counting)
    return found


class Run:
    """Random reads and writes, with their ledger."""

    def __init__(self, initiator: RecoveringInitiator, rng: random.Random) -> None:
        self.initiator = initiator
        self.ledger = Ledger(BLOCKS, SEED)
        self.acknowledged: list[int] = []
        self._busy = bytearray(BLOCKS)
        self._rng = rng

    async def load(self, commands: int) -> None:
        """`commands` commands, WORKERS at a time; no two touch the same block."""
        async with asyncio.TaskGroup() as group:
            for _ in range(WORKERS):
                group.create_task(self._work(commands // WORKERS))

    async def load_and_verify(self, commands: int) -> None:
        """Both."""
        await self.load(commands)
        await self.verify()

    async def _work(self, commands: int) -> None:
        for _ in range(commands):
            lba, count = self._take()
            if self._rng.random() < 0.5:
                generation, data = self.ledger.issue(lba, count, 0)
                await self.initiator.write(lba, data)
                self.ledger.acknowledge(lba, count, generation, durable=False)
                self.acknowledged.append(generation)
            else:
                self.ledger.check(lba, await self.initiator.read(lba, count))
            self._busy[lba : lba + count] = bytes(count)

    def _take(self) -> tuple[int, int]:
        while True:
            count = self._rng.randrange(1, MOST_BLOCKS + 1)
            lba = self._rng.randrange(BLOCKS - count)
            if not any(self._busy[lba : lba + count]):
                self._busy[lba : lba + count] = b"\1" * count
                return lba, count

    async def verify(self) -> None:
        """Read the whole disk, with the link as it should be."""
        self.initiator.link.active = False
        for lba in range(0, BLOCKS, 64):
            self.ledger.check(lba, await self.initiator.read(lba, 64))


@asynccontextmanager
async def run_of(
    level: int, connections: int, link: FaultyLink, **changes: object
) -> AsyncIterator[tuple[Served, Run]]:
    rng = link.rng
    print(f"chaos seed {SEED}: SAN_CHAOS_SEED={SEED} makes the same faults again")
    in_order = bool(changes.get("data_pdu_in_order", True))
    limits = TargetLimits(data_pdu_in_order=in_order, data_sequence_in_order=in_order)
    async with Served(config(limits=limits)) as served:
        wanted = settings(offer=offer(level, connections, **changes))
        session = await Session.open(served.port, wanted, connections)
        first = session.connections[0]
        agreed = first.parameters
        assert (agreed.data_pdu_in_order, agreed.data_sequence_in_order) == (in_order, in_order)
        first._command(cdb.test_unit_ready(), 0, 0, None)
        await first.receive()  # the unit attention of a new nexus
        initiator = (RecoveringInitiator if level else RestartingInitiator)(session, link, rng)
        try:
            async with initiator.running():
                yield served, Run(initiator, rng)
        finally:
            await initiator.session.close()


def table(link: FaultyLink) -> str:
    """How many faults of which kind."""
    lines = [
        f"  {name} {direction}: " + ", ".join(f"{count} {fault}" for fault, count in sorted(kinds.items()))
        for (direction, name), kinds in sorted(_by_pdu(link).items())
    ]
    return "\n".join(lines)


def _by_pdu(link: FaultyLink) -> dict[tuple[str, str], Counter[str]]:
    found: dict[tuple[str, str], Counter[str]] = {}
    for (direction, opcode, fault), count in link.made.items():
        found.setdefault((direction, o.OPCODE_NAMES[opcode]), Counter())[fault] += count
    return found


@pytest.mark.parametrize(
    "data", [SOLICITED, UNSOLICITED, ANY_ORDER], ids=["solicited", "unsolicited", "any order"]
)
@pytest.mark.parametrize(("level", "connections"), [(1, 1), (1, 4), (2, 1), (2, 4)])
async def test_nothing_is_lost_and_nothing_runs_twice(
    executed: Counter[int], level: int, connections: int, data: Mapping[str, object]
) -> None:
    await _recover_all(executed, level, connections, data)


@pytest.mark.parametrize(("level", "connections"), [(1, 4), (2, 1), (2, 4)])
async def test_the_same_with_a_medium_that_takes_its_time(
    executed: Counter[int], monkeypatch: pytest.MonkeyPatch, level: int, connections: int
) -> None:
    """Connections are lost while the unit is at work on their commands."""
    write, read = MemoryBackstore.write_nowait, MemoryBackstore.read
    chance = random.Random(SEED)

    async def slow_write(store: MemoryBackstore, offset: int, data: Buffer, *, fua: bool = False) -> None:
        await asyncio.sleep(chance.uniform(0, SLOW_S))  # the medium itself
        write(store, offset, data)

    async def slow_read(store: MemoryBackstore, offset: int, length: int) -> Buffer:
        await asyncio.sleep(chance.uniform(0, SLOW_S))
        return await read(store, offset, length)

    monkeypatch.setattr(MemoryBackstore, "write", slow_write)
    monkeypatch.setattr(MemoryBackstore, "write_nowait", lambda *_: False)
    monkeypatch.setattr(MemoryBackstore, "read", slow_read)
    monkeypatch.setattr(MemoryBackstore, "read_nowait", lambda *_: None)
    await _recover_all(executed, level, connections, UNSOLICITED)


async def _recover_all(
    executed: Counter[int], level: int, connections: int, data: Mapping[str, object]
) -> None:
    rng = random.Random(SEED * 100 + level * 10 + connections)
    link = FaultyLink(rng, RATE, headers=level == 2)
    async with run_of(level, connections, link, **data) as (served, run):
        link.active = True
        commands = COMMANDS * LONGER
        cuts = 0
        load = asyncio.create_task(run.load(commands))
        while level == 2 and not load.done() and cuts < CUTS * LONGER:
            await asyncio.wait([load], timeout=rng.uniform(0.05, 0.3))
            (await run.initiator.any_path()).cut()
            cuts += 1
        await load
        await run.verify()
        initiator = run.initiator
        slowest = max(initiator.recovery_s, default=0.0)
        print(
            f"level {level}, {connections} connections: {commands} commands, {link.passed} PDUs, "
            f"{link.made.total()} faults, {cuts} connections cut, {len(run.acknowledged)} writes "
            f"acknowledged, {run.ledger.verified} blocks verified\n{table(link)}\n"
            f"  recovered by: {dict(initiator.counts)}, SNACKs {dict(initiator.snacks)}, "
            f"rejects {dict(initiator.rejects)}, slowest recovery of a connection {slowest:.3f} s\n"
            "  lost: nothing; executed twice: none; wrong data read: none"
        )
        twice = {generation: count for generation, count in executed.items() if count > 1}
        assert twice == {}
        assert all(executed[generation] == 1 for generation in run.acknowledged)
        assert len(served.server.sessions()) == 1
        assert "session_lost" not in served.kinds()
        _assert_all_was_hit(link, level)


@pytest.mark.parametrize("data", [SOLICITED, UNSOLICITED], ids=["solicited", "unsolicited"])
@pytest.mark.parametrize("connections", [1, 4])
async def test_at_level_0_sessions_are_lost_and_nothing_else(
    executed: Counter[int], connections: int, data: Mapping[str, object]
) -> None:
    rng = random.Random(SEED * 100 + connections)
    link = FaultyLink(rng, RATE / 3, headers=True)
    async with run_of(0, connections, link, **data) as (served, run):
        link.active = True
        commands = COMMANDS * LONGER
        await run.load(commands)
        await run.verify()
        initiator = run.initiator
        print(
            f"level 0, {connections} connections: {commands} commands, {link.passed} PDUs, "
            f"{link.made.total()} faults, {len(run.acknowledged)} writes acknowledged, "
            f"{run.ledger.verified} blocks verified\n{table(link)}\n"
            f"  recovered by: {dict(initiator.counts)}, rejects {dict(initiator.rejects)}, slowest recovery "
            f"{max(initiator.recovery_s, default=0.0):.3f} s\n  lost: nothing; wrong data read: none"
        )
        assert all(executed[generation] for generation in run.acknowledged)
        assert initiator.counts["sessions recovered"]
        assert not initiator.snacks
        assert len(served.server.sessions()) == 1


def _assert_all_was_hit(link: FaultyLink, level: int) -> None:
    """In a run of the usual length some faults of the rarer PDUs do not get their turn."""
    pdus = ALWAYS + (WITH_CUTS if level == 2 else [])
    hit = {(direction, opcode) for direction, opcode, _ in link.made}
    assert {(TO_TARGET, o.SCSI_COMMAND), (TO_TARGET, o.SCSI_DATA_OUT), (TO_INITIATOR, o.SCSI_DATA_IN)} <= hit
    for direction, opcode in pdus if LONGER > 1 else []:
        faults = [DROP, DUPLICATE, SWAP]
        faults += [DAMAGE_DATA] if opcode in CARRY_DATA else []
        faults += [DAMAGE_HEADER] if level == 2 else []
        for fault in faults:
            assert link.made[direction, opcode, fault], (direction, o.OPCODE_NAMES[opcode], fault)


@pytest.mark.parametrize("direction", [TO_TARGET, TO_INITIATOR])
async def test_damage_without_digests_is_found_by_the_ledger_alone(direction: str) -> None:
    """What the ledger cannot find it does not prove: here everybody else has to miss it."""
    link = FaultyLink(random.Random(SEED), 0.2, digests=False)
    link.only = frozenset({DAMAGE_DATA})
    none = {"header_digest": ("None",), "data_digest": ("None",)}
    async with run_of(1, 1, link, **none) as (served, run):
        link.active = True
        link.direction = direction
        with pytest.raises((Violation, ExceptionGroup)) as found:
            await run.load_and_verify(COMMANDS)
        assert link.made.total()
        assert served.server.sessions()[0].counters.digest_errors == 0
        print(f"damage {direction} without digests: {link.made.total()} faults, found by the ledger")
    error = found.value
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, Violation)


async def test_a_target_that_takes_a_duplicate_for_a_new_command_is_found(
    executed: Counter[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control for what is counted at the medium."""
    admit = TargetSession.admit
    monkeypatch.setattr(
        TargetSession, "admit", lambda one, cmd_sn: admit(one, cmd_sn) or serial.lt(cmd_sn, one.exp_cmd_sn)
    )
    link = FaultyLink(random.Random(SEED), 1.0)
    link.only, link.direction = frozenset({DUPLICATE}), TO_TARGET
    async with run_of(1, 1, link, **UNSOLICITED) as (_, run):
        link.active = True
        generation, data = run.ledger.issue(0, 1, 0)
        await run.initiator.write(0, data)
        await run.initiator.read(0, 1)
        assert executed[generation] == 2
        print(f"{link.made.total()} duplicates, one write executed twice: found")
