"""Random commands, task management, losses and changes of the configuration, over a medium that answers late
and in any order, in memory. Whatever happens: nothing of the bookkeeping goes back, nothing is left over.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest

from san_console.iscsi import opcodes as o
from san_console.iscsi.pdu import ScsiCommand, ScsiResponse
from san_console.iscsi.target_connection import TargetConnection
from san_console.iscsi.target_session import TargetSession
from san_console.iscsi.target_task import TRANSFERRING
from san_console.scsi import cdb
from san_console.scsi import opcodes as op
from san_console.scsi.persistent_reservations import Request
from san_console.scsi.persistent_reservations_data import build_out
from san_console.target import sanitize_commands
from san_console.target.backstore import Backstore, Buffer
from san_console.target.config import MappingRule
from san_console.target.units import go_offline, go_online
from san_console.wire import serial
from tests.chaos.load import LONGER, SEED
from tests.iscsi.target_harness import Link
from tests.target.hosts import BLOCK, Array
from tests.target.nodes import Node
from tests.target.test_atomic_commands import compare_and_write, orwrite
from tests.target.test_sanitize_commands import overwrite

pytestmark = pytest.mark.conformance

CROWDS, SESSIONS = 10 * LONGER, 30 * LONGER
CROWD_STEPS, SESSION_STEPS = 500, 400
TURNS = 3000  # of the loop: all that can end has ended
FIRST_BYTES = 256  # sent with a command whose data does not come at once
MASK = 0xFFFFFFFF
TASK_SETS = (o.TMF_ABORT_TASK, o.TMF_ABORT_TASK_SET, o.TMF_LOGICAL_UNIT_RESET)
FUNCTIONS = (*TASK_SETS, o.TMF_CLEAR_TASK_SET, o.TMF_TARGET_WARM_RESET)
ACTIONS = (
    op.SA_REGISTER_AND_IGNORE_EXISTING_KEY,
    op.SA_RESERVE,
    op.SA_PREEMPT,
    op.SA_PREEMPT_AND_ABORT,
    op.SA_CLEAR,
)
WRITE_EXCLUSIVE_REGISTRANTS_ONLY = 5


class LateStore:
    """What is asked of a store waits until `go` chooses it; some of it fails."""

    def __init__(self, store: Backstore, monkeypatch: pytest.MonkeyPatch, rng: random.Random) -> None:
        self.waiting: list[asyncio.Future[None]] = []
        self._rng = rng
        for name in ("write", "read", "flush", "unmap"):
            monkeypatch.setattr(store, name, self._late(getattr(store, name)))
        write, read = store.write_nowait, store.read_nowait

        def write_nowait(offset: int, data: Buffer) -> bool:
            return rng.random() < 0.4 and write(offset, data)

        monkeypatch.setattr(store, "write_nowait", write_nowait)
        monkeypatch.setattr(
            store, "read_nowait", lambda *wanted: read(*wanted) if rng.random() < 0.5 else None
        )

    def _late(self, real: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def call(*arguments: Any, **options: Any) -> Any:
            if self._rng.random() < 0.7:
                turn = asyncio.get_running_loop().create_future()
                self.waiting.append(turn)
                await turn
            if self._rng.random() < 0.02:
                raise OSError(5, "planted")
            return await real(*arguments, **options)

        return call

    def go(self) -> None:
        """One of those that wait, not the first, goes on."""
        if self.waiting:
            turn = self.waiting.pop(self._rng.randrange(len(self.waiting)))
            if not turn.done():
                turn.set_result(None)

    async def drain(self, turns: int = TURNS) -> None:
        """All of them go on, and what follows from it."""
        for number in range(turns):
            self.go()
            await asyncio.sleep(0.0001 if number % 50 == 0 else 0)  # those with a timer, too


def check_window(session: TargetSession, before: int) -> None:
    """MaxCmdSN never goes back (RFC 7143 §4.2.2.1), and promises no more than the session has room for."""
    assert not serial.lt(session.max_cmd_sn, before)
    assert (session.max_cmd_sn - session.exp_cmd_sn + 1) & MASK <= session.command_window


def some_command(rng: random.Random, kinds: int = 10) -> tuple[bytes, bytes]:
    """A CDB with its data; one of the first `kinds` of the table."""
    lba, blocks = rng.randrange(16), rng.randrange(1, 5)
    block = bytes([rng.randrange(256)]) * BLOCK
    extent = lba.to_bytes(8, "big") + blocks.to_bytes(4, "big") + b"\0\0"
    return (
        (cdb.write_10(lba, blocks), block * blocks),
        (compare_and_write(lba, 1), block * 2),
        (cdb.test_unit_ready(), b""),
        (cdb.synchronize_cache(), b""),
        (cdb.write_10(lba, blocks, fua=True), block * blocks),
        (orwrite(lba, blocks), block * blocks),
        (bytes([op.RESERVE_6, 0, 0, 0, 0, 0]), b""),
        (bytes([op.RELEASE_6, 0, 0, 0, 0, 0]), b""),
        (bytes([op.WRITE_SAME_16, 0]) + extent, block),
        (bytes([op.WRITE_SAME_16, 9]) + extent, b""),  # UNMAP, NDOB
    )[rng.randrange(kinds)]


@pytest.fixture
async def faults() -> list[dict[str, Any]]:
    """What the loop's exception handler hears."""
    heard: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: heard.append(context))
    return heard


@pytest.fixture(autouse=True)
def _fast_sanitize(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sanitize_commands, "BYTES_PER_S", 1 << 40)
    monkeypatch.setattr(sanitize_commands, "ABORT_POLL_S", 0.001)


# Three initiators, one connection each


class Crowd:
    """Initiators that come, go, lose and get access, and end each other's commands."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, rng: random.Random) -> None:
        self.rng = rng
        self.array = Array(["memory:4M,thin", "memory:4M,thin"])
        for number, unit in enumerate(self.array.units.values()):
            unit.naa = bytes([0x31, number]) + bytes(6)
        self.store = LateStore(self.array.unit.backstore, monkeypatch, rng)
        self.now_s = 0.0
        self.gone: list[Node] = []
        self.unsent: dict[Node, dict[int, bytes]] = {}
        """Data that is to follow a command, by its ITT."""
        self.nodes = [self._node(name) for name in "abc"]

    def _node(self, name: str) -> Node:
        node = Node(
            self.array,
            name,
            error_recovery_level=self.rng.choice((0, 0, 1, 2)),
            task_reporting=self.rng.choice(("RFC3720", "ResponseFence", "FastAbort")),
            max_connections=1,
        )
        self.unsent[node] = {}
        return node

    async def step(self, number: int) -> None:
        """One thing happens."""
        rng, node = self.rng, self.rng.choice(self.nodes)
        self.now_s += 0.05
        node.side.now = self.now_s
        before, choice = node.session.max_cmd_sn, rng.random()
        open_window = not serial.lt(before, node.side.cmd_sn)
        if choice < 0.35:
            if open_window:
                self._command(node)
        elif choice < 0.50 and self.unsent[node]:
            itt, data = self.unsent[node].popitem()
            node.rest(data[FIRST_BYTES:], FIRST_BYTES, itt)
        elif choice < 0.58:
            node.manage(rng.choice(FUNCTIONS), rng.choice(list(node.session.tasks) or [1]))
        elif choice < 0.66:
            if open_window:
                data = build_out(Request(rng.randrange(1, 4), rng.randrange(1, 4)))
                kind = WRITE_EXCLUSIVE_REGISTRANTS_ONLY
                node.send(cdb.persistent_reserve_out(rng.choice(ACTIONS), kind, len(data)), data)
        elif choice < 0.70:
            await rng.choice((self._toggle, self.array.unit.reservations.clear, self._replace, self._remap))()
        elif choice < 0.71 and open_window:
            node.send(*overwrite(b"s", flags=rng.choice((0, 0x80))))
        elif choice < 0.76:
            node.side.link.acknowledge()
        else:
            for _ in range(3):
                self.store.go()
            for _ in range(5):
                await asyncio.sleep(0)
        check_window(node.session, before)
        if rng.random() < 0.1:
            await node.answers()
        if rng.random() < 0.05:
            node.session.tick(self.now_s)

    def _command(self, node: Node) -> None:
        command, data = some_command(self.rng)
        first = data[:FIRST_BYTES] if self.rng.random() < 0.3 else data
        itt = node.send(command, first, edtl=len(data), ordered=self.rng.random() < 0.2)
        if len(first) < len(data):
            self.unsent[node][itt] = data

    async def _toggle(self) -> None:
        unit = self.array.unit
        if unit.offline:
            go_online(unit, unit.backstore)
        else:
            go_offline(unit, "taken away")

    async def _replace(self) -> None:
        node = self.rng.choice(self.nodes)
        node.session.terminate()
        node.nexus.close()
        self.nodes.remove(node)
        self.gone.append(node)
        self.nodes.append(self._node(f"{self.rng.choice('abc')}{len(self.gone)}"))

    async def _remap(self) -> None:
        served, rng = self.array.served, self.rng
        rules = [
            MappingRule(node.nexus.initiator_name, "lun0", 0, rng.random() < 0.2)
            for node in rng.sample(self.nodes, 2)
        ]
        served.config = replace(served.config, mappings=rules if rng.random() < 0.5 else [])
        for node in self.nodes:
            node.nexus.remap()

    async def end(self) -> None:
        """All data comes, the medium works, time goes on."""
        for node in self.nodes:
            for itt, data in self.unsent[node].items():
                node.rest(data[FIRST_BYTES:], FIRST_BYTES, itt)
        if self.array.unit.offline:
            await self._toggle()
        await self.store.drain(TURNS // 2)
        for node in self.nodes + self.gone:
            node.session.tick(self.now_s + 31)
            node.session.tick(self.now_s + 62)
        await self.store.drain()


@pytest.mark.parametrize("number", range(CROWDS))
async def test_nothing_is_left_of_a_crowd(
    number: int, monkeypatch: pytest.MonkeyPatch, faults: list[dict[str, Any]]
) -> None:
    print(f"chaos seed {SEED}: SAN_CHAOS_SEED={SEED} makes the same storms again")
    crowd = Crowd(monkeypatch, random.Random(SEED + number))
    for step in range(CROWD_STEPS):
        await crowd.step(step)
    await crowd.end()
    assert all(node.session.quiet for node in crowd.gone)
    for node in crowd.nodes:
        left = [
            (hex(task.cdb[0]), task.state, task.with_unit)
            for task in node.session.tasks.values()
            if not (task.state == TRANSFERRING and task.transfer_open)  # for want of an answer to an R2T
        ]
        assert not left
        assert not node.session.requests
    unit = crowd.array.unit
    assert not unit.ranges.busy
    assert not unit.leaving
    async with asyncio.timeout(1):
        await unit.settle()
    assert not faults


# One session with several connections, which are lost and come again


class Connections:
    """One initiator whose connections come and go, and whose tasks move from one to another."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, rng: random.Random) -> None:
        self.rng = rng
        self.array = Array(["memory:4M,thin"])
        self.store = LateStore(self.array.unit.backstore, monkeypatch, rng)
        self.level = rng.choice((0, 1, 2, 2))
        self.node = Node(
            self.array,
            "a",
            error_recovery_level=self.level,
            max_connections=4,
            default_time2retain_s=rng.choice((0, 20)),
        )
        self.session = self.node.session
        self.links = {0: self.node.side.link}
        for cid in (1, 2):
            self._connect(cid)
        self.now_s = 0.0
        self._to_close: list[TargetConnection] = []
        self.session.on_close_connection = lambda connection, _: self._to_close.append(connection)
        self._unsent: dict[int, tuple[Link, bytes]] = {}
        self._itts: list[int] = []
        self._stat_sn: dict[Link, int] = {}

    def _connect(self, cid: int) -> None:
        self.links[cid] = self.node.side.connect(cid)

    def _live(self) -> list[Link]:
        return [
            link
            for link in self.links.values()
            if not (link.connection.closed or link.connection.closing or link.connection.logging_out)
        ]

    async def step(self) -> None:
        """One thing happens."""
        rng, side, session = self.rng, self.node.side, self.session
        self.now_s += 0.1
        side.now = self.now_s
        live = self._live()
        if not live:
            self._connect(len(self.links))
            return
        before, choice, link = session.max_cmd_sn, rng.random(), rng.choice(live)
        if choice < 0.40:
            if not serial.lt(before, side.cmd_sn):
                self._command(link)
        elif choice < 0.55 and self._unsent:
            itt = rng.choice(list(self._unsent))
            first, data = self._unsent.pop(itt)
            if first in live:
                rest = side.data_out(FIRST_BYTES, data[FIRST_BYTES:], ttt=o.RESERVED_TAG, itt=itt)
                self._feed(first, rest)
        elif choice < 0.60:
            task = rng.choice(list(session.tasks) or [1])
            self._feed(link, side.task_management(rng.choice(TASK_SETS), referenced=task))
        elif choice < 0.64:
            if len(live) > 1:
                link.drop(self.now_s)
        elif choice < 0.68:
            keep = self.level == 2 and rng.random() < 0.7
            reason = o.LOGOUT_REMOVE_FOR_RECOVERY if keep else o.LOGOUT_CLOSE_CONNECTION
            self._feed(link, side.logout(reason, rng.choice(list(self.links))))
        elif choice < 0.76:
            self._reassign(link)
        elif choice < 0.80:
            self._connect(len(self.links))
        elif choice < 0.84:
            link.acknowledge()
        else:
            for _ in range(3):
                self.store.go()
            for _ in range(4):
                await asyncio.sleep(0)
        self._close_sockets()
        for one in live:
            self._read(one)
        if rng.random() < 0.05:
            session.tick(self.now_s)
        check_window(session, before)

    def _feed(self, link: Link, raw: bytes) -> None:
        for pdu, _ in link.feed(raw, now=self.now_s):
            self._check(link, pdu)

    def _read(self, link: Link) -> None:
        for pdu, _ in link.answers():
            self._check(link, pdu)

    def _check(self, link: Link, pdu: object) -> None:
        if isinstance(pdu, ScsiResponse):
            assert serial.lt(self._stat_sn.get(link, 0), pdu.stat_sn)
            self._stat_sn[link] = pdu.stat_sn

    def _command(self, link: Link) -> None:
        rng, side = self.rng, self.node.side
        command, data = some_command(rng, 4)
        first = data[:FIRST_BYTES] if rng.random() < 0.3 else data
        flags = (0 if len(first) < len(data) else o.FINAL) | (o.WRITE if data else 0)
        acknowledged = link.connection.stat_sn if rng.random() < 0.8 else link.connection.exp_stat_sn
        pdu = ScsiCommand(
            flags=flags | (o.ATTR_ORDERED if rng.random() < 0.15 else o.ATTR_SIMPLE),
            itt=side.next_itt(),
            expected_data_transfer_length=len(data),
            cmd_sn=side.cmd_sn,
            exp_stat_sn=acknowledged,
            cdb=command.ljust(16, b"\0"),
        )
        side.cmd_sn += 1
        self._itts.append(pdu.itt)
        self._feed(link, link.bytes_of(pdu.pack(len(first)), first))
        if len(first) < len(data):
            self._unsent[pdu.itt] = link, data

    def _reassign(self, link: Link) -> None:
        for itt in self._itts[-64:]:
            allowed = self.session.recovery.may_reassign(itt) == o.TMF_FUNCTION_COMPLETE
            if allowed and self.rng.random() < 0.7:
                self._feed(link, self.node.side.task_management(o.TMF_TASK_REASSIGN, referenced=itt))
                self._unsent.pop(itt, None)

    def _close_sockets(self) -> None:
        while self._to_close:
            connection = self._to_close.pop()
            for link in self.links.values():
                if link.connection is connection:
                    link.drop(self.now_s)

    async def end(self) -> None:
        """All connections are lost, and nobody comes back in time."""
        self.now_s += 40000
        for link in self.links.values():
            if not link.connection.closed:
                link.drop(self.now_s)
        await self.store.drain(300)
        self.session.tick(self.now_s + 8000)
        self.session.tick(self.now_s + 16000)
        await self.store.drain(600)


@pytest.mark.parametrize("number", range(SESSIONS))
async def test_nothing_is_left_of_a_session_that_loses_its_connections(
    number: int, monkeypatch: pytest.MonkeyPatch, faults: list[dict[str, Any]]
) -> None:
    print(f"chaos seed {SEED}: SAN_CHAOS_SEED={SEED} makes the same storms again")
    storm = Connections(monkeypatch, random.Random(SEED + number))
    for _ in range(SESSION_STEPS):
        if storm.session.terminated:
            break
        await storm.step()
    await storm.end()
    assert storm.session.terminated
    assert storm.session.quiet
    unit = storm.array.unit
    assert not unit.busy
    async with asyncio.timeout(1):
        await unit.settle()
    assert not faults
