"""Large Data-In payloads go straight to the buffer of their command, however the stream is cut."""

from __future__ import annotations

import random

import pytest

from san_console.iscsi import opcodes
from san_console.iscsi.errors import RemoteProtocolError
from san_console.iscsi.framing import DIRECT_BYTES, Framer, encode
from san_console.iscsi.initiator_session import InitiatorSession
from san_console.iscsi.initiator_tasks import COMPLETED, ScsiTask
from san_console.iscsi.negotiation import OperationalParameters
from san_console.iscsi.pdu import ScsiDataIn
from san_console.scsi import cdb

SEGMENT = 256 * 1024
STATUS = opcodes.FINAL | 0x01


def make_session(header_digest: bool = False, data_digest: bool = False) -> tuple[Framer, InitiatorSession]:
    framer = Framer(SEGMENT, capacity_bytes=64 * 1024)
    framer.header_digest, framer.data_digest = header_digest, data_digest
    session = InitiatorSession(
        framer, OperationalParameters(), cmd_sn=1, exp_stat_sn=1, exp_cmd_sn=1, max_cmd_sn=4096
    )
    return framer, session


def read_task(session: InitiatorSession, buffer: bytearray | memoryview) -> ScsiTask:
    task = ScsiTask(0, cdb.read(0, 1), memoryview(buffer))
    session.submit(task, 0.0)
    return task


def data_in(framer: Framer, task: ScsiTask, data: bytes, offset: int, stat_sn: int, **changes: int) -> bytes:
    """A Data-In with status when `stat_sn` is not 0."""
    pdu = ScsiDataIn(
        flags=STATUS if stat_sn else 0,
        itt=task.itt,
        ttt=0xFFFFFFFF,
        stat_sn=stat_sn,
        exp_cmd_sn=1,
        max_cmd_sn=4096,
        buffer_offset=offset,
    )
    for name, value in changes.items():
        setattr(pdu, name, value)
    bhs = pdu.pack(len(data))
    return b"".join(encode(bhs, data, header_digest=framer.header_digest, data_digest=framer.data_digest))


def feed(framer: Framer, session: InitiatorSession, stream: bytes, most: int, choose: random.Random) -> int:
    """Hand the stream over as a socket would, at most `most` bytes each; how many receives had two places."""
    at = scattered = 0
    while at < len(stream):
        spaces = framer.spaces()
        assert all(len(space) for space in spaces)
        scattered += len(spaces) == 2
        count = min(choose.randint(1, most), sum(map(len, spaces)), len(stream) - at)
        taken = 0
        for space in spaces:
            part = min(count - taken, len(space))
            space[:part] = stream[at : at + part]
            at, taken = at + part, taken + part
        framer.wrote(taken)
        session.receive()
    return scattered


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("digests", [(False, False), (True, False), (False, True)])
def test_all_data_arrives_whatever_a_receive_brings(seed: int, digests: tuple[bool, bool]) -> None:
    choose = random.Random(seed)
    framer, session = make_session(*digests)
    sizes = [choose.choice((512, 4096, DIRECT_BYTES, 30_001, 65536, SEGMENT)) for _ in range(24)]
    buffers = [bytearray(size) for size in sizes]
    contents = [choose.randbytes(size) for size in sizes]
    tasks = [read_task(session, buffer) for buffer in buffers]
    stream = bytearray()
    for number, (task, content) in enumerate(zip(tasks, contents, strict=True), 1):
        half = len(content) // 8 * 4 if number % 3 == 0 else 0
        if half:
            stream += data_in(framer, task, content[:half], 0, 0)
        stream += data_in(framer, task, content[half:], half, number, data_sn=1 if half else 0)
    scattered = feed(framer, session, bytes(stream), choose.choice((1500, 40_000, 400_000)), choose)
    assert buffers == contents
    assert [task.outcome for task in session.take_completed()] == [COMPLETED] * len(tasks)
    # Digests are computed over what lies in one piece.
    assert bool(scattered) == (digests == (False, False))
    assert len(framer) == 0


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"buffer_offset": 4}, "up to byte"),
        ({"buffer_offset": 0xFFFFFFFC}, "up to byte"),
        ({"data_sn": 1}, "with number 1"),
        ({"itt": 0x7777}, "does not exist"),
    ],
)
def test_nothing_is_placed_that_was_not_asked_for(changes: dict[str, int], why: str) -> None:
    framer, session = make_session()
    memory = bytearray(SEGMENT + 4096)
    task = read_task(session, memoryview(memory)[:SEGMENT])
    stream = data_in(framer, task, b"\xff" * SEGMENT, 0, 1, **changes)
    with pytest.raises(RemoteProtocolError, match=why):
        feed(framer, session, stream, 20_000, random.Random(1))
    assert memory == bytes(len(memory))


def test_data_for_a_command_that_writes_is_not_placed() -> None:
    framer, session = make_session()
    task = ScsiTask(0, cdb.write(0, 1), write_data=bytes(SEGMENT))
    session.submit(task, 0.0)
    with pytest.raises(RemoteProtocolError, match="reads nothing"):
        feed(framer, session, data_in(framer, task, bytes(SEGMENT), 0, 1), 20_000, random.Random(1))


def test_a_buffer_is_its_owners_again_when_the_read_has_ended() -> None:
    framer, session = make_session()
    buffer = bytearray(SEGMENT)
    task = read_task(session, buffer)
    assert feed(framer, session, data_in(framer, task, b"\x01" * SEGMENT, 0, 1), 50_000, random.Random(1))
    assert session.take_completed() == [task]
    del task
    buffer.append(0)  # BufferError while anybody holds a view
    assert len(buffer) == SEGMENT + 1
