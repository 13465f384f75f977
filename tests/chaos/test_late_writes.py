"""Commands that are ended while the medium is slow: nothing of them may land, or be answered, afterwards.

Ended by task management from two initiators at once; and by an initiator that is gone and logs in again.
"""

from __future__ import annotations

import asyncio
import random
import socket
import struct
from collections import Counter
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

import pytest

from san_console.iscsi import opcodes as o
from san_console.iscsi.parameters import DEFAULT_PROPOSALS, Offer
from san_console.iscsi.pdu import AsyncMessage, ReadyToTransfer, ScsiResponse
from san_console.scsi import cdb
from san_console.scsi import opcodes as op
from san_console.scsi.persistent_reservations import WRITE_EXCLUSIVE, Request
from san_console.scsi.persistent_reservations_data import build_out
from san_console.scsi.sense import parse
from san_console.target.config import BackstoreSpec, LunConfig, TargetLimits
from tests.chaos.load import LONGER, SEED
from tests.chaos.slow_disk import SlowDisk
from tests.chaos.stamps import BLOCK_BYTES, Ledger
from tests.chaos.talker import Talker, Write
from tests.target.raw_initiator import Served, config, settings, until
from tests.target.scripted import Command, Connection, Session, offer
from tests.target.test_recovery_levels import take_attention

pytestmark = pytest.mark.conformance

BLOCKS = 4096
SLOT_BLOCKS = 64
LONGEST_S = 0.02
UNDER_WAY = 16  # from each of two initiators
STORMS = 15
RETURNS = 8
ISIDS = [bytes.fromhex("8012345678a0"), bytes.fromhex("8012345678b0")]
SETS = {o.TMF_ABORT_TASK_SET, o.TMF_CLEAR_TASK_SET, o.TMF_LOGICAL_UNIT_RESET}
OF_ALL = {o.TMF_CLEAR_TASK_SET, o.TMF_LOGICAL_UNIT_RESET}
# SAM-5: COMMANDS CLEARED BY ANOTHER INITIATOR; the resets
ENDED_BY_OTHERS = {(0x2F, 0x00), (0x29, 0x02), (0x29, 0x03)}
KEY = 0xABCDEF
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER on, 0 s: close() sends RST


def served_file(folder: Path) -> Served:
    spec = BackstoreSpec("file", str(folder / "disk"), BLOCKS * BLOCK_BYTES, create=True)
    # Bursts so short that some writes need several R2Ts.
    limits = TargetLimits(max_burst_bytes=8192, first_burst_bytes=4096, max_outstanding_r2t=2)
    return Served(config(luns=[LunConfig("a", "a", spec)], limits=limits))


def begin(talker: Talker, slots: list[int], rng: random.Random) -> list[Write]:
    """UNDER_WAY writes, each in a slot of its own."""
    return [
        talker.write(
            slots.pop() * SLOT_BLOCKS,
            rng.choice((1, 2, 8, 8, 24, SLOT_BLOCKS)),
            immediate_bytes=rng.choice((0, BLOCK_BYTES, 4096)),
        )
        for _ in range(UNDER_WAY)
    ]


class Storm:
    """Two initiators that end each other's commands."""

    def __init__(self, talkers: list[Talker], disk: SlowDisk, rng: random.Random) -> None:
        self.talkers = talkers
        self.disk = disk
        self.functions: Counter[str] = Counter()
        self.responses: Counter[int] = Counter()
        self.ended = 0
        self._rng = rng

    async def once(self) -> None:
        """32 writes, functions in the middle of them, and what they have to leave behind."""
        rng = self._rng
        slots = list(range(BLOCKS // SLOT_BLOCKS))
        rng.shuffle(slots)
        for talker in self.talkers:
            begin(talker, slots, rng)
        await asyncio.gather(*(talker.ping() for talker in self.talkers))
        wanted: list[tuple[Talker, int]] = []
        for talker in self.talkers:
            kinds = (o.TMF_ABORT_TASK, o.TMF_ABORT_TASK, *sorted(SETS))
            wanted += [(talker, rng.choice(kinds)) for _ in range(rng.randrange(4))]
        await asyncio.gather(*(self._function(talker, number) for talker, number in wanted))
        ended_by: dict[Talker, set[Talker]] = {
            talker: {one for one, number in wanted if number in OF_ALL and one is not talker}
            for talker in self.talkers
        }
        for talker in self.talkers:
            await talker.ping()
            if any(number in OF_ALL for _, number in wanted):
                self._conclude(talker, list(talker.pending.values()))
            await talker.quiet()
            told = await talker.attentions()
            resets = any(number == o.TMF_LOGICAL_UNIT_RESET for _, number in wanted)
            assert set(told) <= ENDED_BY_OTHERS, told
            if resets:
                assert told
            elif not ended_by[talker]:
                assert told == []

    async def _function(self, talker: Talker, number: int) -> None:
        await asyncio.sleep(self._rng.uniform(0, LONGEST_S))  # at any moment of the writes
        victim = self._rng.choice(list(talker.pending.values()) or [None])
        if number == o.TMF_ABORT_TASK and victim is None:
            return
        mine = list(talker.pending.values())
        response = await talker.function(number, victim if number == o.TMF_ABORT_TASK else None)
        self.functions[o.TMF_FUNCTION_NAMES[number]] += 1
        self.responses[response] += 1
        assert response == 0 or (number == o.TMF_ABORT_TASK and response == o.TMF_TASK_DOES_NOT_EXIST)
        if number == o.TMF_ABORT_TASK:
            assert victim is not None
            self._conclude(talker, [victim])
        else:
            self._conclude(talker, mine)
        if number in OF_ALL:
            # An answer may be on its way to the other one; on the medium it is over for it as well.
            for other in self.talkers:
                self.disk.over |= {write.generation for write in other.pending.values()}

    def _conclude(self, talker: Talker, writes: list[Write]) -> None:
        for write in writes:
            if talker.pending.pop(write.itt, None) is not None:
                self.ended += 1
                talker.concluded.add(write.itt)
                self.disk.over.add(write.generation)


@pytest.mark.parametrize("reporting", ["RFC3720", "ResponseFence", "FastAbort"])
async def test_no_write_of_an_ended_command_lands_after_the_response(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reporting: str
) -> None:
    print(f"chaos seed {SEED}: SAN_CHAOS_SEED={SEED} makes the same faults again")
    rng = random.Random(SEED)
    disk = SlowDisk(monkeypatch, rng, LONGEST_S)
    ledger = Ledger(BLOCKS, SEED)
    async with served_file(tmp_path) as served:
        proposal = Offer(task_reporting=(reporting,), proposals=(*DEFAULT_PROPOSALS, "TaskReporting"))
        talkers = []
        for number, isid in enumerate(ISIDS):
            raw = await served.raw()
            login = await raw.login(settings(isid=isid, offer=proposal))
            assert login.result is not None
            assert login.result.params.task_reporting == reporting
            talkers.append(Talker(raw, ledger, number))
        for talker in talkers:
            await talker.attentions()
        storm = Storm(talkers, disk, rng)
        for _ in range(STORMS * LONGER):
            await storm.once()
        await until(lambda: not disk.under_way)
        for talker in talkers:
            await talker.close()
    assert disk.late == []
    assert all(count == 1 for count in disk.landed.values())
    ledger.check(0, (tmp_path / "disk").read_bytes())
    good = sum(talker.statuses[0] for talker in talkers)
    issued = STORMS * LONGER * 2 * UNDER_WAY
    assert sum(talker.statuses.total() for talker in talkers) == good
    assert good + storm.ended == issued
    assert storm.ended > issued // 20
    assert good > issued // 20
    print(
        f"{STORMS * LONGER} storms with {reporting}: {issued} writes, {storm.functions.total()} functions "
        f"({dict(storm.functions)}; responses {dict(storm.responses)}), {good} writes acknowledged, "
        f"{storm.ended} ended, {sum(talker.told for talker in talkers)} messages about that; landed "
        "after the response: 0, answered after it: 0, lost: nothing"
    )


async def test_a_disk_that_writes_late_all_the_same_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: a target that answers an abort before the unit has let go."""
    rng = random.Random(SEED)
    disk = SlowDisk(monkeypatch, rng, LONGEST_S)
    ledger = Ledger(BLOCKS, SEED)
    monkeypatch.setattr("san_console.iscsi.target_session.TargetSession.wait_for", _answer_at_once)
    async with served_file(tmp_path) as served:
        talker = Talker(await served.login(), ledger, 0)
        await talker.attentions()
        begin(talker, list(range(BLOCKS // SLOT_BLOCKS)), rng)
        await talker.ping()
        assert await talker.function(o.TMF_ABORT_TASK_SET) == 0
        disk.over |= {write.generation for write in talker.pending.values()}
        await until(lambda: not disk.under_way)
        await talker.close()
    assert disk.late
    print(f"{len(disk.late)} late writes of a target that does not wait: found")


def _answer_at_once(_: object, __: object, then: object, **___: object) -> None:
    assert callable(then)
    then()


@pytest.mark.parametrize("level", [0, 2])
@pytest.mark.parametrize("how", ["RST", "FIN", "silence"])
async def test_an_initiator_that_is_gone_in_the_middle_of_writes_and_logs_in_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str, level: int
) -> None:
    """Its tasks end, it is told by a unit attention, its reservation stays, and no write of the old session
    lands on one of the new. At level 2 the old one would have waited for its return.
    """
    rng = random.Random(SEED)
    disk = SlowDisk(monkeypatch, rng, LONGEST_S)
    ledger = Ledger(BLOCKS, SEED)
    told: Counter[tuple[int, int]] = Counter()
    ended = good = 0
    rounds = RETURNS * LONGER
    async with served_file(tmp_path) as served:
        proposal = Offer(error_recovery_level=level)
        talker = Talker(await served.login(offer=proposal), ledger, 0)
        await talker.attentions()
        await _reserve(talker)
        for _ in range(rounds):
            slots = list(range(16 + UNDER_WAY))  # few: the same blocks again and again
            rng.shuffle(slots)
            begin(talker, slots, rng)
            await talker.ping()
            await asyncio.sleep(rng.uniform(0, LONGEST_S))  # at any moment of the writes
            ended += len(talker.pending)
            left = {write.generation for write in talker.pending.values()}
            good += talker.statuses[0]
            old = talker
            if how != "silence":
                _cut(old, reset=how == "RST")
            talker = Talker(await served.login(offer=proposal), ledger, 0)
            if how == "silence":
                await until(old._receiving.done)  # session reinstatement has closed it
            found = await talker.attentions()
            assert (0x29, 0x07) in found, found  # I_T NEXUS LOSS OCCURRED
            told.update(found)
            status, keys = await talker.command(cdb.persistent_reserve_in(op.SA_READ_RESERVATION), read=4096)
            assert (status, int.from_bytes(keys[8:16], "big")) == (0, KEY)
            disk.over |= left  # the first write of the new session follows
            slots = list(range(16 + UNDER_WAY))
            begin(talker, slots, rng)
            await talker.quiet()
            for write in [one for one in old.pending.values() if not disk.landed[one.generation]]:
                assert write.generation in disk.over
            await old.close()
        await until(lambda: not disk.under_way)
        good += talker.statuses[0]
        assert len(served.server.sessions()) == 1
        await talker.close()
    assert disk.late == []
    assert all(count == 1 for count in disk.landed.values())
    ledger.check(0, (tmp_path / "disk").read_bytes())
    assert ended > rounds
    print(
        f"{rounds} initiators of level {level} gone by {how}: {ended} writes ended, {good} acknowledged, "
        f"attentions {dict(told)}; reservation kept each time; landed after the new session began: 0, "
        "lost: nothing"
    )


@pytest.mark.parametrize("level", [0, 2])
@pytest.mark.parametrize("how", ["LU reset", "clear task set", "preempt and abort"])
async def test_a_survivor_that_fences_a_dead_initiator_is_not_written_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str, level: int
) -> None:
    """What a cluster does: one of two nodes is gone with writes at the medium, and the other one ends them.
    They belong to no session any more, and must not land after the answer all the same.
    """
    rng = random.Random(SEED)
    disk = SlowDisk(monkeypatch, rng, LONGEST_S)
    ledger = Ledger(BLOCKS, SEED)
    ended = 0
    rounds = RETURNS * LONGER
    async with served_file(tmp_path) as served:
        survivor = Talker(await served.login(isid=ISIDS[0]), ledger, 0)
        await survivor.attentions()
        await _register(survivor, KEY)
        for _ in range(rounds):
            proposal = Offer(error_recovery_level=level)
            victim = Talker(await served.login(isid=ISIDS[1], offer=proposal), ledger, 1)
            await victim.attentions()
            await _register(victim, KEY + 1)
            slots = list(range(16 + UNDER_WAY))
            rng.shuffle(slots)
            begin(victim, slots, rng)
            await victim.ping()
            _cut(victim, reset=True)
            await until(partial(_is_gone, served))
            left = {write.generation for write in victim.pending.values()}
            ended += disk.under_way
            await _fence(survivor, how)
            disk.over |= left
            begin(survivor, list(range(16 + UNDER_WAY)), rng)  # on the same blocks
            await survivor.attentions()
            await survivor.quiet()
            await victim.close()
        await until(lambda: not disk.under_way)
        await survivor.close()
    assert disk.late == []
    ledger.check(0, (tmp_path / "disk").read_bytes())
    assert ended > rounds
    print(
        f"{rounds} nodes of level {level} gone and fenced by {how}: {ended} writes at the medium then; "
        f"landed after the answer: 0; {survivor.statuses[0]} writes of the survivor acknowledged, "
        "lost: nothing"
    )


def _is_gone(served: Served) -> bool:
    """The other session is over, or, at level 2, waits for the return of its initiator."""
    return sum(1 for one in served.server.sessions() if not one.recovering) == 1


async def _fence(survivor: Talker, how: str) -> None:
    if how == "preempt and abort":
        data = build_out(Request(KEY, KEY + 1))
        command = cdb.persistent_reserve_out(op.SA_PREEMPT_AND_ABORT, WRITE_EXCLUSIVE, len(data))
        assert (await survivor.command(command, data=data))[0] == 0
    else:
        reset = how == "LU reset"
        number = o.TMF_LOGICAL_UNIT_RESET if reset else o.TMF_CLEAR_TASK_SET
        assert await survivor.function(number) == 0


async def _register(talker: Talker, key: int) -> None:
    data = build_out(Request(0, key))
    out = cdb.persistent_reserve_out(op.SA_REGISTER_AND_IGNORE_EXISTING_KEY, 0, len(data))
    assert (await talker.command(out, data=data))[0] == 0


def _cut(talker: Talker, *, reset: bool) -> None:
    sock = talker.raw.writer.get_extra_info("socket")
    if reset:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    talker.raw.writer.transport.abort()


async def _reserve(talker: Talker) -> None:
    for action, request, type_ in (
        (op.SA_REGISTER, Request(0, KEY), 0),
        (op.SA_RESERVE, Request(KEY, 0), WRITE_EXCLUSIVE),
    ):
        data = build_out(request)
        status, _ = await talker.command(cdb.persistent_reserve_out(action, type_, len(data)), data=data)
        assert status == 0


@pytest.mark.parametrize("level", [0, 1])
async def test_a_connection_that_is_lost_below_level_2_ends_its_writes_before_that_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, level: int
) -> None:
    """The session lives on with its other connections, and hears of the loss by a unit attention: what it
    writes after that must not be written over.
    """
    rng = random.Random(SEED)
    disk = SlowDisk(monkeypatch, rng, LONGEST_S)
    ledger = Ledger(BLOCKS, SEED)
    rounds = RETURNS * LONGER
    at_work = 0
    async with served_file(tmp_path) as served, AsyncExitStack() as stack:
        wanted = settings(offer=offer(level, 2))
        session = await Session.open(served.port, wanted, 2)
        await take_attention(session)
        stack.push_async_callback(session.close)
        first = session.connections[0]
        for cid in range(1, rounds + 1):
            lost = session.connections[cid]
            old: dict[int, tuple[int, int, Command]] = {}
            for lba in range(UNDER_WAY):
                generation, data = ledger.issue(lba, 1, 0)
                command = lost.write(lba, data)
                old[command.itt] = (lba, generation, command)
            asked_for = 0
            while asked_for < UNDER_WAY:
                pdu = (await lost.receive()).pdu
                if isinstance(pdu, ReadyToTransfer):
                    lost.data_out(old[pdu.itt][2], pdu)
                    asked_for += 1
                else:
                    assert isinstance(pdu, ScsiResponse)
                    lba, generation, _ = old.pop(pdu.itt)
                    ledger.acknowledge(lba, 1, generation, durable=False)
            await until(lambda: disk.under_way)
            at_work += disk.under_way
            lost.cut()
            assert await _next_attention(first) == (0x47, 0x7F)
            disk.over |= {generation for _, generation, _ in old.values()}
            for lba in range(UNDER_WAY):
                generation, data = ledger.issue(lba, 1, 1)
                assert await first.finish_write(first.write(lba, data)) == 0
                ledger.acknowledge(lba, 1, generation, durable=False)
            await session.connect(cid + 1)
        await until(lambda: not disk.under_way)
    assert disk.late == []
    ledger.check(0, (tmp_path / "disk").read_bytes())
    print(
        f"{rounds} connections lost at level {level}: {at_work} writes at the medium then, landed after the "
        f"unit attention: 0; {ledger.acknowledged_writes} writes acknowledged, lost: nothing"
    )


async def _next_attention(connection: Connection) -> tuple[int, int]:
    async with asyncio.timeout(10):
        while True:
            connection._command(cdb.test_unit_ready(), 0, 0, None)
            received = await connection.receive()
            while isinstance(received.pdu, AsyncMessage):
                received = await connection.receive()
            assert isinstance(received.pdu, ScsiResponse)
            if received.pdu.status:
                sense = parse(received.data[2:])
                return sense.asc, sense.ascq
