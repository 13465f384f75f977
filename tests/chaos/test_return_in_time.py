"""Initiators that come back to a session before and after Time2Wait and Time2Retain are over (RFC 7143 §7.5,
§13.15, §13.16), at level 2 over real sockets with a write under way.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from dataclasses import dataclass

import pytest

from san_console.iscsi import opcodes as o
from san_console.iscsi.errors import LoginFailed
from san_console.iscsi.pdu import AsyncMessage, ReadyToTransfer
from san_console.target import server
from san_console.target.backstore import Buffer
from san_console.target.backstore_memory import MemoryBackstore
from san_console.target.config import TargetLimits
from tests.chaos.load import LONGER, SEED
from tests.chaos.stamps import Ledger, generation_of
from tests.target.raw_initiator import Served, config, settings, until
from tests.target.scripted import Command, Session, offer
from tests.target.test_recovery_levels import take_attention

pytestmark = pytest.mark.conformance

TICK_S = 0.03
BEFORE_S, AFTER_S = 0.3, 0.3  # a busy machine may be as late as this
BLOCKS = 8
DOES_NOT_EXIST = (2, 10)  # the login status for a session that is not there


@dataclass(frozen=True, slots=True)
class Case:
    """`at_s` after the loss the initiator comes back; `lives`: to its old session."""

    wait_s: int
    retain_s: int
    at_s: float
    lives: bool

    def __str__(self) -> str:
        return f"wait {self.wait_s}, retain {self.retain_s}, back after {self.at_s:g} s"


CASES = [
    Case(0, 0, 0.0, False),
    Case(2, 20, 0.0, True),  # too early by Time2Wait, which binds the initiator: it is served
    Case(2, 20, 2.0, True),
    Case(0, 1, 1 - BEFORE_S, True),
    Case(0, 1, 1 + AFTER_S, False),
    Case(1, 1, 2 - BEFORE_S, True),
    Case(1, 1, 2 + AFTER_S, False),
    Case(1, 3600, 0.5, True),
]


@pytest.fixture(autouse=True)
def _look_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "TICK_S", TICK_S)


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


class Visit:
    """A session that loses a connection with a write in the middle of its data, and one that was answered
    without the initiator hearing of it.
    """

    def __init__(self, number: int, case: Case, connections: int, executed: Counter[int]) -> None:
        self.case = case
        self.connections = connections
        self.executed = executed
        self.ledger = Ledger(64, SEED, first_generation=1 + number * 1000)  # `executed` is of all visits
        limits = TargetLimits(default_time2wait_s=case.wait_s, default_time2retain_s=case.retain_s)
        self.served = Served(config(limits=limits))
        wanted = offer(2, connections, default_time2wait_s=case.wait_s, default_time2retain_s=case.retain_s)
        self._settings = settings(offer=wanted)

    async def run(self) -> None:
        """Lose it, come back, and look what has become of the writes."""
        async with self.served:
            session = await Session.open(self.served.port, self._settings, self.connections)
            try:
                await take_attention(session)
                await self._lose_and_return(session)
            finally:
                await session.close()

    async def _lose_and_return(self, session: Session) -> None:
        lost = session.connections[self.connections - 1]
        generations, commands = [], []
        for number in range(2):
            generation, data = self.ledger.issue(number * BLOCKS, BLOCKS, 0)
            generations.append(generation)
            commands.append(lost.write(number * BLOCKS, data))
        r2ts = [(await lost.expect(ReadyToTransfer))[0] for _ in commands]
        lost.data_out(commands[1], r2ts[1])
        await until(lambda: self.executed[generations[1]])  # its status is never read
        began = asyncio.get_running_loop().time()
        lost.cut()
        served = self.served.server
        await until(lambda: not served.sessions() or served.sessions()[0].connections < self.connections)
        await asyncio.sleep(self.case.at_s - (asyncio.get_running_loop().time() - began))  # this is the case
        if self.case.lives:
            await self._goes_on(session, commands, generations, r2ts[0].r2t_sn)
        else:
            await self._is_over(session, commands, generations)

    async def _goes_on(
        self, session: Session, commands: list[Command], generations: list[int], r2t_sn: int
    ) -> None:
        heir = await session.connect(self.connections - 1)
        assert await heir.manage(o.TMF_TASK_REASSIGN, command=commands[0], exp_data_sn=r2t_sn) == 0
        assert await heir.finish_write(commands[0]) == 0
        assert await heir.manage(o.TMF_TASK_REASSIGN, command=commands[1]) == 0
        assert await heir.finish_write(commands[1]) == 0
        for number, generation in enumerate(generations):
            self.ledger.acknowledge(number * BLOCKS, BLOCKS, generation, durable=False)
            self.ledger.check(number * BLOCKS, await heir.finish_read(heir.read(number * BLOCKS, BLOCKS)))
        assert [self.executed[generation] for generation in generations] == [1, 1]
        assert "session_lost" not in self.served.kinds()

    async def _is_over(self, session: Session, commands: list[Command], generations: list[int]) -> None:
        cid = self.connections - 1
        if self.connections == 1:
            await until(lambda: not self.served.server.sessions())
            with pytest.raises(LoginFailed) as refused:
                await session.connect(cid)
            assert (refused.value.status_class, refused.value.status_detail) == DOES_NOT_EXIST
            session = await Session.open(self.served.port, self._settings)
            told = await take_attention(session)
            assert told == (0x29, 0x07)
            heir = session.connections[0]
        else:
            heir = await session.connect(cid)
            for command in commands:
                assert await heir.manage(o.TMF_TASK_REASSIGN, command=command) == o.TMF_TASK_DOES_NOT_EXIST
            event, _ = await session.connections[0].expect(AsyncMessage)
            times = (event.parameter2, event.parameter3)
            assert (event.async_event, event.parameter1) == (o.ASYNC_CONNECTION_DROP, cid)
            assert times == (self.case.wait_s, self.case.retain_s)
            told = await take_attention(session)
            assert told == (0x47, 0x7F)  # SOME COMMANDS CLEARED BY ISCSI PROTOCOL EVENT
        generation, data = self.ledger.issue(0, BLOCKS, 1)
        assert await heir.finish_write(heir.write(0, data)) == 0
        self.ledger.acknowledge(0, BLOCKS, generation, durable=False)
        self.ledger.check(0, await heir.finish_read(heir.read(0, 2 * BLOCKS)))
        # Half a write leaves nothing.
        assert [self.executed[one] for one in (*generations, generation)] == [0, 1, 1]
        await session.close()


@pytest.mark.parametrize("connections", [1, 4])
async def test_who_comes_back_in_time_goes_on_and_who_does_not_begins_anew(
    executed: Counter[int], connections: int
) -> None:
    cases = [case for case in CASES for _ in range(LONGER)]
    random.Random(SEED).shuffle(cases)
    # Side by side, since each waits most of the time.
    async with asyncio.TaskGroup() as group:
        for number, case in enumerate(cases):
            group.create_task(Visit(number, case, connections, executed).run())
    lived = sum(case.lives for case in cases)
    print(
        f"{connections} connections: {len(cases)} returns, {lived} in time (all tasks went on), "
        f"{len(cases) - lived} too late (all tasks ended); lost: nothing, executed twice: none"
    )
