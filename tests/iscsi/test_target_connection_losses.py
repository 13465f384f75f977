"""Commands over several connections that break at random: none lost, none run twice, all in order.

An initiator that follows RFC 7143 §7.1.4.3 to the letter, in memory: it logs out what broke (or reinstates
it), sends again what was not acknowledged, and reassigns what was.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import pytest

from san_console.iscsi import opcodes as o
from san_console.iscsi.parameters import OperationalParameters
from san_console.iscsi.pdu import (
    AsyncMessage,
    LogoutResponse,
    NopIn,
    NopOut,
    Pdu,
    ReadyToTransfer,
    ScsiDataIn,
    ScsiResponse,
    TaskManagementResponse,
)
from san_console.iscsi.target_task import TargetTask
from tests.iscsi.target_harness import READ_CDB, WRITE_CDB, FakeUnit, Initiator, Link, cdb

SLOT_BYTES = 2048  # each command has a place of its own in the unit's memory
COMMANDS = 60
WINDOW = 16


class RecordingUnit(FakeUnit):
    """Tells in which order commands reached it."""

    def __init__(self) -> None:
        super().__init__()
        self.fast = False
        self.later = True
        self.order: list[int] = []

    def prepare(self, task: TargetTask) -> int:
        self.order.append(task.cmd_sn)
        return super().prepare(task)


@dataclass
class Sent:
    """A command as its initiator sees it."""

    itt: int
    cmd_sn: int
    raw: bytes
    offset: int
    write: bool
    link: Path
    data: bytearray = field(default_factory=lambda: bytearray(SLOT_BYTES))
    done: bool = False


class Path:
    """One connection with what is on its way to the target; what comes back lies in its output."""

    def __init__(self, cid: int, link: Link) -> None:
        self.cid = cid
        self.link = link
        self.exp_stat_sn = link.connection.stat_sn
        self.outbox: list[bytes] = []


class Model:
    """The initiator, the network and the medium."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.unit = RecordingUnit()
        self.one = Initiator(
            OperationalParameters(
                max_connections=4,
                error_recovery_level=2,
                initial_r2t=self.random.random() < 0.5,
                immediate_data=self.random.random() < 0.5,
                peer_max_recv_data_segment_bytes=512,
                max_burst_bytes=1024,
                first_burst_bytes=1024,
            ),
            unit=self.unit,
            command_window=WINDOW,
        )
        self.paths = [Path(0, self.one.link), *(Path(cid, self.one.connect(cid)) for cid in range(1, 4))]
        self.sent: dict[int, Sent] = {}
        self.exp_cmd_sn = 1
        self.losses = 0
        self.responses: dict[int, int] = {}

    # What the initiator sends

    def issue(self) -> None:
        number = self.one.cmd_sn
        if len(self.sent) == COMMANDS or number > self.one.session.max_cmd_sn:
            return
        path = self.random.choice(self.paths)
        offset = len(self.sent) * SLOT_BYTES
        write = self.random.random() < 0.5
        parameters = self.one.parameters
        if write:
            immediate = content(offset)[:512] if parameters.immediate_data else b""
            raw = self.one.command(
                cdb(WRITE_CDB, SLOT_BYTES, offset), o.FINAL | o.WRITE, SLOT_BYTES, immediate
            )
        else:
            raw = self.one.command(cdb(READ_CDB, SLOT_BYTES, offset), o.FINAL | o.READ, SLOT_BYTES)
        self.sent[self.one.itt] = Sent(self.one.itt, number, raw, offset, write, path)
        path.outbox.append(raw)

    def deliver(self) -> None:
        path = self.random.choice(self.paths)
        if path.outbox:
            self.feed(path, path.outbox.pop(0))

    def feed(self, path: Path, raw: bytes) -> None:
        """To the target, with the acknowledgment as it is now."""
        raw = raw[:28] + path.exp_stat_sn.to_bytes(4, "big") + raw[32:]
        framer = path.link.framer
        framer.writable()[: len(raw)] = raw
        framer.wrote(len(raw))
        while path.link.connection.receive(100, 0.0):
            continue

    def finish(self) -> None:
        if self.unit.running:
            task = self.unit.running.pop(self.random.randrange(len(self.unit.running)))
            self.unit.finish(task)

    # What it receives

    def collect(self, path: Path) -> None:
        for pdu, data in path.link.answers():
            self.take(path, pdu, data)

    def take(self, path: Path, pdu: Pdu, data: bytes) -> None:
        if isinstance(pdu, ReadyToTransfer):
            sent = self.sent[pdu.itt]
            assert not sent.done
            start = pdu.buffer_offset
            whole = content(sent.offset)[start : start + pdu.desired_data_transfer_length]
            for number, at in enumerate(range(0, len(whole), 512)):
                piece = whole[at : at + 512]
                final = at + 512 >= len(whole)
                path.outbox.append(
                    self.one.data_out(
                        start + at, piece, ttt=pdu.ttt, itt=sent.itt, data_sn=number, final=final
                    )
                )
            return
        if isinstance(pdu, ScsiDataIn):
            self.sent[pdu.itt].data[pdu.buffer_offset : pdu.buffer_offset + len(data)] = data
            if not pdu.flags & o.STATUS:
                return
        assert not isinstance(pdu, NopIn) or pdu.itt != o.RESERVED_TAG
        assert isinstance(
            pdu, ScsiDataIn | ScsiResponse | NopIn | AsyncMessage | TaskManagementResponse | LogoutResponse
        )
        assert pdu.stat_sn == path.exp_stat_sn
        path.exp_stat_sn += 1
        self.exp_cmd_sn = max(self.exp_cmd_sn, pdu.exp_cmd_sn)
        if isinstance(pdu, ScsiDataIn | ScsiResponse):
            sent = self.sent[pdu.itt]
            assert pdu.status == 0
            assert not sent.done
            sent.done = True
        elif isinstance(pdu, TaskManagementResponse | LogoutResponse):
            self.responses[pdu.itt] = pdu.response

    # What breaks

    def lose(self) -> None:
        if self.losses == 12:
            return
        self.losses += 1
        path = self.random.choice(self.paths)
        path.link.drop()
        path.link.connection.output.clear()  # lost on its way
        path.link.connection.output_bytes = 0
        for _ in range(self.random.randrange(4)):
            self.finish()  # for nobody, until its task is taken up
        others = [one for one in self.paths if one is not path]
        if others and self.random.random() < 0.6:
            self.paths = others
            self.recover_by_logout(path)
        else:
            self.recover_by_reinstatement(path)

    def recover_by_logout(self, lost: Path) -> None:
        path = self.random.choice(self.paths)
        self.feed(path, self.one.logout(o.LOGOUT_REMOVE_FOR_RECOVERY, lost.cid))
        tag = self.one.itt
        self.collect(path)
        assert self.responses[tag] == o.LOGOUT_DONE
        self.take_up(lost)
        if len(self.paths) < 3 and self.random.random() < 0.7:
            free = next(cid for cid in range(9) if cid not in [one.cid for one in self.paths])
            self.paths.append(Path(free, self.one.connect(free)))

    def recover_by_reinstatement(self, lost: Path) -> None:
        self.one.session.reinstate(lost.cid)
        again = Path(lost.cid, self.one.connect(lost.cid, stat_sn=self.random.randrange(1000)))
        self.paths = [again if one is lost else one for one in self.paths]
        self.feed(again, self.one.bytes_of(NopOut(itt=0x8000, cmd_sn=self.one.cmd_sn).pack()))
        self.collect(again)
        self.take_up(lost)

    def take_up(self, lost: Path) -> None:
        """§7.2: retry what was not acknowledged, reassign what was. §4.2.2.1: in the order of CmdSN."""
        for sent in sorted(self.sent.values(), key=lambda one: one.cmd_sn):
            if sent.done or sent.link is not lost:
                continue
            path = sent.link = self.random.choice(self.paths)
            if sent.cmd_sn >= self.exp_cmd_sn:
                path.outbox.append(sent.raw)
                continue
            self.feed(path, self.one.task_management(o.TMF_TASK_REASSIGN, referenced=sent.itt))
            tag = self.one.itt
            self.collect(path)
            assert self.responses[tag] == o.TMF_FUNCTION_COMPLETE, sent

    def run(self) -> None:
        steps = [self.issue, self.deliver, self.deliver, self.finish]
        for _ in range(100_000):
            if len(self.sent) == COMMANDS and all(sent.done for sent in self.sent.values()):
                return
            self.random.choice(steps)()
            if self.random.random() < 0.5:
                self.collect(self.random.choice(self.paths))
            if self.random.random() < 0.02:
                self.lose()
        raise AssertionError([sent for sent in self.sent.values() if not sent.done])


def content(offset: int) -> bytes:
    """What is written at `offset`."""
    return bytes((offset // SLOT_BYTES + index) & 0xFF for index in range(SLOT_BYTES))


@pytest.mark.parametrize("seed", range(40))
def test_no_command_is_lost_or_run_twice(seed: int) -> None:
    model = Model(seed)
    model.run()
    first = model.one.session
    assert model.unit.order == list(range(1, COMMANDS + 1))
    assert model.unit.executed == COMMANDS
    before = FakeUnit().memory
    for sent in model.sent.values():
        place = slice(sent.offset, sent.offset + SLOT_BYTES)
        if sent.write:
            assert model.unit.memory[place] == content(sent.offset)
        else:
            assert sent.data == before[place]
    assert first.quiet
    assert first.exp_cmd_sn == COMMANDS + 1
    assert first.max_cmd_sn == COMMANDS + WINDOW
    assert first.pending_read_bytes == 0
    assert not first.order.watches_data
    assert model.losses > 0
