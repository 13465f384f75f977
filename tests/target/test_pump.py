"""Moving bytes between a socket that does as it likes and the protocol."""

from __future__ import annotations

import asyncio
import errno
import random
import socket
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from san_console.iscsi import target_session
from san_console.iscsi.parameters import OperationalParameters
from san_console.target import connection as pump_module
from san_console.target.backstore import ReadArena
from san_console.target.connection import (
    FEW_COMMANDS,
    MAX_PDUS_PER_TURN,
    STALL_TIMEOUT_S,
    ConnectionPump,
)
from san_console.wire.block_pool import BlockPool
from tests.iscsi.target_harness import Initiator

Buffer = bytes | bytearray | memoryview
PARAMETERS = OperationalParameters(
    initial_r2t=False,
    max_recv_data_segment_bytes=8192,
    peer_max_recv_data_segment_bytes=8192,
    first_burst_bytes=8192,
)


class FakeLoop:
    """Remembers what is waited for; `turn` runs what was to be called soon."""

    def __init__(self) -> None:
        self.readers: dict[int, Callable[[], object]] = {}
        self.writers: dict[int, Callable[[], object]] = {}
        self.soon: list[Callable[[], object]] = []
        self.now = 100.0

    def time(self) -> float:
        return self.now

    def add_reader(self, fd: int, callback: Callable[[], object]) -> None:
        self.readers[fd] = callback

    def remove_reader(self, fd: int) -> bool:
        return self.readers.pop(fd, None) is not None

    def add_writer(self, fd: int, callback: Callable[[], object]) -> None:
        self.writers[fd] = callback

    def remove_writer(self, fd: int) -> bool:
        return self.writers.pop(fd, None) is not None

    def call_soon(self, callback: Callable[[], object]) -> None:
        self.soon.append(callback)

    def turn(self) -> None:
        calls, self.soon = self.soon, []
        for call in calls:
            call()


class FakeSocket:
    """Gives what is in `incoming`; takes as many bytes as `room` says, call by call, then all (or none)."""

    def __init__(self) -> None:
        self.incoming: list[bytes | OSError] = []
        self.room: list[int | OSError] = []
        self.otherwise: int | None = None
        self.sent = bytearray()
        self.sends: list[int] = []
        self.closed = False

    def fileno(self) -> int:
        return 7

    def recv_into(self, view: memoryview) -> int:
        if not self.incoming:
            raise BlockingIOError
        what = self.incoming.pop(0)
        if isinstance(what, OSError):
            raise what
        count = min(len(view), len(what))
        view[:count] = what[:count]
        if count < len(what):
            self.incoming.insert(0, what[count:])
        return count

    def sendmsg(self, buffers: Sequence[Buffer]) -> int:
        assert 0 < len(buffers) <= pump_module.IOV_MAX
        data = b"".join(bytes(buffer) for buffer in buffers)
        room = self.room.pop(0) if self.room else self.otherwise
        if isinstance(room, OSError):
            raise room
        if room == 0:
            raise BlockingIOError
        taken = data if room is None else data[:room]
        self.sent += taken
        self.sends.append(len(taken))
        return len(taken)

    def close(self) -> None:
        self.closed = True


class Pumped:
    """A pump with a protocol behind it and a unit that answers at once."""

    def __init__(self, parameters: OperationalParameters = PARAMETERS, *, command_window: int = 2000) -> None:
        self.initiator = Initiator(parameters, command_window=command_window)
        self.unit = self.initiator.unit
        self.loop = FakeLoop()
        self.socket = FakeSocket()
        self.arena = ReadArena()
        self.initiator.connection.arena = self.arena
        self.ended: list[tuple[str, bool]] = []
        self.pump = ConnectionPump(
            self.loop,  # type: ignore[arg-type]  # as much of it as is used
            self.socket,  # type: ignore[arg-type]  # as much of it as is used
            self.initiator.connection,
            self.arena,
            lambda reason, error: self.ended.append((reason, error)),
        )
        self.pump.start()

    def come(self, raw: bytes) -> None:
        """Bytes arrive."""
        self.socket.incoming.append(raw)
        self.loop.readers[7]()

    def writable(self) -> None:
        self.loop.writers[7]()

    @property
    def reading(self) -> bool:
        return 7 in self.loop.readers

    @property
    def writing(self) -> bool:
        return 7 in self.loop.writers


def answers_to(raw_reads: Callable[[Initiator], bytes]) -> bytes:
    """What a socket that takes everything gets."""
    whole = Pumped()
    whole.come(raw_reads(whole.initiator))
    while whole.loop.soon:
        whole.loop.now += 1
        whole.loop.turn()
        if whole.pump._vigil.watching and len(whole.loop.soon) == 1:
            break
    return bytes(whole.socket.sent)


def test_all_answers_of_a_turn_leave_in_one_call() -> None:
    pumped = Pumped()
    pumped.come(b"".join(pumped.initiator.read(512, n) for n in range(32)))
    assert pumped.socket.sends == [32 * 560]
    assert pumped.arena.used_bytes == 0
    assert not pumped.initiator.connection.output


def reads(initiator: Initiator) -> bytes:
    return b"".join(initiator.read(300 + 7 * n, 11 * n) for n in range(12))


@given(st.lists(st.integers(0, 900), max_size=40), st.integers(1, 5000))
@settings(max_examples=60, deadline=None)
def test_a_partial_send_goes_on_where_it_ended(room: list[int], rest: int) -> None:
    pumped = Pumped()
    pumped.socket.room = list(room)
    pumped.socket.otherwise = rest
    pumped.come(reads(pumped.initiator))
    turns = 0
    while pumped.writing:
        assert not pumped.reading  # a slow reader holds one batch of answers, no more
        pumped.writable()
        turns += 1
        assert turns < 20000
    assert bytes(pumped.socket.sent) == answers_to(reads)
    assert pumped.reading
    assert pumped.arena.used_bytes == 0
    assert pumped.initiator.connection.output_bytes == 0


def test_what_waits_to_be_sent_is_not_overwritten_by_another_connection() -> None:
    slow, quick = Pumped(), Pumped()
    slow.socket.room = [100]
    slow.socket.otherwise = 0
    slow.come(reads(slow.initiator))
    assert slow.writing
    quick.unit.memory[:] = b"\xee" * len(quick.unit.memory)
    quick.come(reads(quick.initiator))
    slow.unit.memory[:] = b"\xdd" * len(slow.unit.memory)  # nor by a write that comes meanwhile
    slow.socket.otherwise = None
    slow.writable()
    assert bytes(slow.socket.sent) == answers_to(reads)


def test_connections_whose_answers_have_left_share_one_block() -> None:
    pool = BlockPool(1 << 16)
    arenas = [ReadArena() for _ in range(50)]
    for arena in arenas:
        arena._pool = pool
        arena.take(4096)
        arena.reset()
    assert len(pool) == 1


def test_an_arena_that_is_used_up_takes_from_the_heap() -> None:
    arena = ReadArena(8192)
    first, second, third = arena.take(8000), arena.take(500), arena.take(100)
    first[:], second[:], third[:] = b"a" * 8000, b"b" * 500, b"c" * 100
    assert (bytes(first), bytes(second), bytes(third)) == (b"a" * 8000, b"b" * 500, b"c" * 100)
    assert len(arena.take(100000)) == 100000


def test_more_buffers_than_one_call_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pump_module, "IOV_MAX", 10)
    pumped = Pumped()
    pumped.socket.room = [1000, 0, 3, 1]
    pumped.come(reads(pumped.initiator))
    while pumped.writing:
        pumped.writable()
    assert bytes(pumped.socket.sent) == answers_to(reads)


def test_a_connection_gives_way_after_its_share_of_a_turn() -> None:
    pumped = Pumped()
    wanted = 2 * MAX_PDUS_PER_TURN + 10
    pumped.come(b"".join(pumped.initiator.read(4) for _ in range(wanted)))
    done = []
    while pumped.initiator.session.counters.commands < wanted:
        done.append(pumped.initiator.session.counters.commands)
        pumped.loop.turn()
    assert done == [MAX_PDUS_PER_TURN, 2 * MAX_PDUS_PER_TURN]
    assert len(pumped.socket.sent) == wanted * 52


@pytest.mark.parametrize("number", [errno.EPIPE, errno.ECONNRESET])
def test_an_error_while_sending_ends_the_connection_once(number: int) -> None:
    pumped = Pumped()
    pumped.socket.room = [OSError(number, "gone")]
    pumped.come(reads(pumped.initiator))
    assert pumped.ended == [("the connection broke: gone", True)]
    assert pumped.socket.closed
    assert not pumped.reading
    assert not pumped.writing
    assert not pumped.initiator.connection.output
    pumped.pump.close("again", error=False)
    pumped.loop.turn()
    assert len(pumped.ended) == 1


def test_an_error_after_waiting_for_room_ends_the_connection() -> None:
    pumped = Pumped()
    pumped.socket.room = [60, 0, OSError(errno.ETIMEDOUT, "timed out")]
    pumped.come(reads(pumped.initiator))
    pumped.writable()
    assert pumped.writing
    pumped.writable()
    assert pumped.ended == [("the connection broke: timed out", True)]
    assert not pumped.writing


def test_an_error_while_receiving_ends_the_connection() -> None:
    pumped = Pumped()
    pumped.socket.incoming.append(OSError(errno.ECONNRESET, "reset"))
    pumped.loop.readers[7]()
    assert pumped.ended == [("the connection broke: reset", True)]


def test_the_end_of_the_stream_ends_the_connection() -> None:
    pumped = Pumped()
    pumped.come(b"")
    assert pumped.ended == [("the initiator closed the connection", True)]


def test_readiness_without_bytes_takes_no_memory() -> None:
    pumped = Pumped()
    pumped.loop.readers[7]()
    assert not pumped.ended
    assert len(pumped.initiator.framer) == 0


def test_a_protocol_error_still_sends_what_was_answered() -> None:
    pumped = Pumped()
    good, damaged = pumped.initiator.read(512), bytearray(pumped.initiator.read(512))
    damaged[4] = 0xFF  # an additional header of 1020 bytes
    pumped.come(good + bytes(damaged))
    assert len(pumped.socket.sent) == 560
    assert len(pumped.ended) == 1
    assert pumped.ended[0][1]


def test_a_fault_of_ours_closes_and_goes_to_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    pumped = Pumped()

    def broken(*_: object) -> bool:
        raise ZeroDivisionError

    monkeypatch.setattr(pumped.initiator.connection, "receive", broken)
    pumped.socket.incoming.append(b"x")
    with pytest.raises(ZeroDivisionError):
        pumped.loop.readers[7]()
    assert pumped.ended == [("an internal error", True)]


def test_an_initiator_that_takes_nothing_is_dropped() -> None:
    pumped = Pumped()
    pumped.socket.otherwise = 0
    pumped.come(reads(pumped.initiator))
    pumped.pump.tick(pumped.loop.now + STALL_TIMEOUT_S - 1)
    assert not pumped.ended
    pumped.pump.tick(pumped.loop.now + STALL_TIMEOUT_S + 1)
    assert pumped.ended == [("the initiator takes no data any more", True)]


def test_an_initiator_that_is_not_listened_to_is_not_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    """While its reads wait for a slow medium, nothing more is received, its answers to NOP-Ins neither."""
    monkeypatch.setattr(target_session, "MAX_PENDING_READ_BYTES", 8192)
    pumped = Pumped()
    pumped.unit.fast, pumped.unit.later = False, True
    pumped.come(b"".join(pumped.initiator.read(4096) for _ in range(4)))
    assert not pumped.loop.readers
    for _ in range(40):
        pumped.loop.now += 1
        pumped.pump.tick(pumped.loop.now)
    assert not pumped.ended
    for task in pumped.unit.running[:]:
        pumped.unit.finish(task)
    while pumped.loop.soon:
        pumped.loop.turn()
    assert pumped.loop.readers
    for _ in range(11):
        pumped.loop.now += 1
        pumped.pump.tick(pumped.loop.now)
    assert pumped.ended == [("the initiator did not answer a NOP-In", True)]


@pytest.mark.parametrize(
    ("commands", "watches"), [(1, True), (FEW_COMMANDS, True), (FEW_COMMANDS + 1, False)]
)
def test_the_next_command_is_watched_for_after_few_of_them(commands: int, watches: bool) -> None:
    pumped = Pumped()
    pumped.come(b"".join(pumped.initiator.read(4) for _ in range(commands)))
    assert pumped.pump._vigil.watching is watches


def test_answers_that_come_later_leave_together() -> None:
    """Nor is another command watched for before they come."""
    pumped = Pumped()
    pumped.unit.fast = False
    pumped.unit.later = True
    pumped.come(pumped.initiator.read(512) + pumped.initiator.read(512, 512))
    assert not pumped.socket.sends
    for task in pumped.unit.running:
        pumped.unit.finish(task)
    assert len(pumped.loop.soon) == 1
    pumped.loop.turn()
    assert pumped.socket.sends == [2 * 560]


async def test_over_a_real_socket_with_a_slow_reader() -> None:
    ours, theirs = socket.socketpair()
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    ours.setblocking(False)
    theirs.setblocking(False)
    loop = asyncio.get_running_loop()
    initiator = Initiator(PARAMETERS, command_window=2000)
    arena = ReadArena()
    initiator.connection.arena = arena
    ended: asyncio.Future[str] = loop.create_future()
    pump = ConnectionPump(loop, ours, initiator.connection, arena, lambda reason, _: ended.set_result(reason))
    pump.start()
    random.seed(5)
    offsets = [random.randrange(1000) for _ in range(100)]
    raw = b"".join(initiator.read(8192, offset) for offset in offsets)
    sending = asyncio.ensure_future(loop.sock_sendall(theirs, raw))
    received = bytearray()
    while len(received) < 100 * (8192 + 48):
        received += await loop.sock_recv(theirs, 3000)
    await sending
    for n, offset in enumerate(offsets):
        start = n * (8192 + 48) + 48
        assert received[start : start + 8192] == initiator.unit.memory[offset : offset + 8192]
    theirs.close()
    assert await asyncio.wait_for(ended, 10) == "the initiator closed the connection"
