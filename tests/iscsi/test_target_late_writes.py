"""Task management under load: after its response, no write and no answer of a task that it has ended."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import pytest

from san_console.iscsi import opcodes as o
from san_console.iscsi.parameters import OperationalParameters
from san_console.iscsi.pdu import (
    AsyncMessage,
    NopOut,
    Pdu,
    ReadyToTransfer,
    Reject,
    ScsiDataIn,
    ScsiResponse,
    TaskManagementResponse,
)
from san_console.iscsi.target_session import LINGER_S
from san_console.iscsi.target_task import TargetTask
from tests.iscsi.target_harness import FakeNexus, FakeUnit, Initiator, Link

FUNCTIONS = (
    o.TMF_ABORT_TASK,
    o.TMF_ABORT_TASK_SET,
    o.TMF_CLEAR_TASK_SET,
    o.TMF_LOGICAL_UNIT_RESET,
    o.TMF_TARGET_WARM_RESET,
)
OWN_ONLY = (o.TMF_ABORT_TASK, o.TMF_ABORT_TASK_SET)
STEPS = 800


class Medium(FakeUnit):
    """Notices writes of tasks that have been concluded."""

    def __init__(self) -> None:
        super().__init__()
        self.fast = False
        self.later = True
        self.concluded: set[tuple[int, int]] = set()
        self.landed = 0

    def finish(self, task: TargetTask) -> None:
        assert (id(task.connection.session), task.itt) not in self.concluded
        self.landed += 1
        super().finish(task)


@dataclass
class Host:
    """One session of two connections, and what it has in flight."""

    one: Initiator
    links: list[Link]
    open: dict[int, tuple[int, Link]] = field(default_factory=dict)
    """Commands without an answer: CmdSN and connection by ITT."""
    outbox: dict[int, list[bytes]] = field(default_factory=lambda: {0: [], 1: []})
    functions: dict[int, tuple[int, set[int]]] = field(default_factory=dict)
    """Functions without an answer: which, and what they cover."""


class Storm:
    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.medium = Medium()
        self.nexus = FakeNexus(self.medium)
        self.nexus.task_aborted_status = self.random.random() < 0.5
        self.hosts = [self.host() for _ in range(2)]
        self.answered = 0
        self.now = 0.0

    def host(self) -> Host:
        parameters = OperationalParameters(
            max_connections=2,
            task_reporting=self.random.choice(("RFC3720", "ResponseFence", "FastAbort")),
            initial_r2t=self.random.random() < 0.5,
        )
        one = Initiator(parameters, unit=self.medium, nexus=self.nexus, command_window=16)
        return Host(one, [one.link, one.connect(1)])

    def command(self, host: Host) -> None:
        one = host.one
        if one.cmd_sn > one.session.max_cmd_sn:
            return
        cid = self.random.randrange(2)
        number = one.cmd_sn
        host.outbox[cid].append(one.write(2048) if self.random.random() < 0.6 else one.read(512))
        host.open[one.itt] = (number, host.links[cid])

    def function(self, host: Host) -> None:
        one = host.one
        function = self.random.choice(FUNCTIONS)
        covered = {itt for itt, (number, _) in host.open.items() if number < one.cmd_sn}
        cid = self.random.randrange(2)
        referenced, ref_cmd_sn = o.RESERVED_TAG, 0
        if function == o.TMF_ABORT_TASK:
            if not host.open:
                return
            referenced = self.random.choice(list(host.open))
            ref_cmd_sn, link = host.open[referenced]
            cid = host.links.index(link)
            covered = {referenced}
        raw = one.task_management(function, referenced=referenced, ref_cmd_sn=ref_cmd_sn)
        host.functions[one.itt] = (function, covered)
        host.outbox[cid].append(raw)

    def deliver(self, host: Host) -> None:
        cid = self.random.randrange(2)
        if host.outbox[cid]:
            self.feed(host, cid, host.outbox[cid].pop(0))

    def feed(self, host: Host, cid: int, raw: bytes) -> None:
        link = host.links[cid]
        framer = link.framer
        framer.writable()[: len(raw)] = raw
        framer.wrote(len(raw))
        while link.connection.receive(100, self.now):
            continue
        self.collect()

    def collect(self) -> None:
        for host in self.hosts:
            for cid in range(2):
                for pdu, _ in host.links[cid].answers():
                    self.take(host, cid, pdu)

    def take(self, host: Host, cid: int, pdu: Pdu) -> None:
        session = id(host.one.session)
        if isinstance(pdu, ReadyToTransfer):
            assert (session, pdu.itt) not in self.medium.concluded
            if self.random.random() < 0.8:  # else its initiator has lost interest
                data = bytes(pdu.desired_data_transfer_length)
                host.outbox[cid].append(host.one.data_out(pdu.buffer_offset, data, ttt=pdu.ttt, itt=pdu.itt))
        elif isinstance(pdu, ScsiResponse | ScsiDataIn):
            assert pdu.itt in host.open, "an answer after the end of its task"
            del host.open[pdu.itt]
        elif isinstance(pdu, TaskManagementResponse):
            function, covered = host.functions.pop(pdu.itt)
            if pdu.response == o.TMF_FUNCTION_COMPLETE:
                self.answered += 1
                self.conclude(host, covered)
                if function not in OWN_ONLY:
                    self.nexus.resets.clear()
        elif isinstance(pdu, AsyncMessage):
            host.outbox[cid] = [raw for raw in host.outbox[cid] if raw[0] != o.SCSI_DATA_OUT]
            self.acknowledge(host, cid)
        elif not isinstance(pdu, Reject):
            self.acknowledge(host, cid)

    def conclude(self, host: Host, covered: set[int]) -> None:
        for itt in covered & host.open.keys():
            del host.open[itt]
            self.medium.concluded.add((id(host.one.session), itt))

    def acknowledge(self, host: Host, cid: int) -> None:
        stat_sn = host.links[cid].connection.stat_sn
        pdu = NopOut(cmd_sn=host.one.cmd_sn, exp_stat_sn=stat_sn)
        host.outbox[cid].append(host.one.bytes_of(pdu.pack()))

    def finish(self) -> None:
        running = self.medium.running
        if running:
            self.medium.finish(running.pop(self.random.randrange(len(running))))
            self.collect()

    def run(self) -> None:
        for _ in range(STEPS):
            host = self.random.choice(self.hosts)
            roll = self.random.random()
            if roll < 0.3:
                self.command(host)
            elif roll < 0.34:
                self.function(host)
            elif roll < 0.8:
                self.deliver(host)
            else:
                self.finish()
            self.now += 0.01
            for one in self.hosts:
                one.one.tick(self.now)
            self.collect()

    def settle(self) -> None:
        """Everything on its way arrives, everything that runs ends."""
        for _ in range(40):
            for host in self.hosts:
                for cid in range(2):
                    while host.outbox[cid]:
                        self.feed(host, cid, host.outbox[cid].pop(0))
                    self.acknowledge(host, cid)
            while self.medium.running:
                self.finish()
            self.now += LINGER_S / 20
            for host in self.hosts:
                host.one.tick(self.now)
            self.collect()


@pytest.mark.parametrize("seed", range(20))
def test_nothing_of_an_ended_task_comes_after_the_response(seed: int) -> None:
    """RFC 7143 §4.2.3.3, §4.2.3.4, §11.5.1, in each TaskReporting, with two sessions of two connections."""
    storm = Storm(seed)
    storm.run()
    storm.settle()
    assert storm.answered
    assert storm.medium.landed
    for host in storm.hosts:
        assert not host.functions
        session = host.one.session
        assert not session.terminated
        assert not session.requests
        assert not session.fence.busy
        assert not session.asyncs.terminating
        assert session.order.empty
        assert session.plain
        # A write whose initiator lost interest in it may still wait for its data.
        assert all(task.transfer_open for task in session.tasks.values())
        assert session.max_cmd_sn == session.exp_cmd_sn + 15 - session.active_commands
