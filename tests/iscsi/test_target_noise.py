"""An initiator that sends anything at all, on several connections: the target answers or hangs up."""

from __future__ import annotations

import random

import pytest

from san_console.iscsi import opcodes as o
from san_console.iscsi.errors import RemoteProtocolError
from san_console.iscsi.parameters import OperationalParameters
from san_console.iscsi.pdu import (
    INITIATOR_PDUS,
    LogoutRequest,
    NopOut,
    ReadyToTransfer,
    ScsiCommand,
    ScsiDataOut,
    SnackRequest,
    TaskManagementRequest,
    TextRequest,
)
from tests.iscsi.target_harness import BAD_CDB, READ_CDB, WRITE_CDB, FakeNexus, FakeUnit, Initiator, Link, cdb

STEPS = 600
TAGS = 12  # few, so that PDUs meet


class Noise:
    """Random PDUs whose fields are near enough to what is right to get somewhere."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.unit = FakeUnit()
        self.unit.fast = self.random.random() < 0.3
        self.unit.later = self.random.random() < 0.7
        self.nexus = FakeNexus(self.unit)
        self.nexus.units[1 << 48] = self.unit
        self.nexus.task_aborted_status = self.random.random() < 0.5
        self.hosts = [self.host() for _ in range(2)]
        self.ttts = [o.RESERVED_TAG]
        self.now = 0.0

    def host(self) -> tuple[Initiator, list[Link]]:
        level = self.random.randrange(3)
        parameters = OperationalParameters(
            max_connections=4,
            error_recovery_level=level,
            task_reporting=self.random.choice(("RFC3720", "ResponseFence", "FastAbort")),
            protocol_level=2,
            initial_r2t=self.random.random() < 0.5,
            max_outstanding_r2t=1 if level else 2,
            data_pdu_in_order=self.random.random() < 0.5,
            data_digest=self.random.choice(("None", "CRC32C")),
        )
        one = Initiator(parameters, unit=self.unit, nexus=self.nexus, command_window=8)
        return one, [one.link, one.connect(1), one.connect(2)]

    def some(self, *choices: int) -> int:
        return self.random.choice(choices)

    def pdu(self, one: Initiator, link: Link) -> bytes:
        pick, session = self.random, one.session
        data = bytes(pick.choice((0, 0, 4, 512, 700)))
        cmd_sn = (session.exp_cmd_sn + self.some(0, 0, 0, 0, 1, 2, 7, 8, -1)) & 0xFFFFFFFF
        lun = self.some(0, 0, 1 << 48, 5 << 48)
        itt = pick.randrange(TAGS)
        ttt = pick.choice(self.ttts[-6:])
        exp_stat_sn = (link.connection.stat_sn - self.some(0, 0, 0, 1, 3)) & 0xFFFFFFFF
        immediate = pick.random() < 0.2
        final = pick.random() < 0.7
        kind = pick.choice((*INITIATOR_PDUS, ScsiCommand, ScsiCommand, ScsiDataOut, TaskManagementRequest))
        if kind is ScsiCommand:
            length = self.some(0, 512, 2000)
            flags = (o.FINAL if final else 0) | self.some(0, o.READ, o.WRITE, o.WRITE, o.READ | o.WRITE)
            block = cdb(self.some(READ_CDB, WRITE_CDB, BAD_CDB), length)
            edtl = self.some(length, 0, 100)
            bhs = ScsiCommand(immediate, flags, lun, itt, edtl, cmd_sn, exp_stat_sn, block).pack(len(data))
        elif kind is ScsiDataOut:
            offset, data_sn = self.some(0, 0, 512, 700, 1400), pick.randrange(3)
            bhs = ScsiDataOut(final, lun, itt, ttt, exp_stat_sn, data_sn, offset).pack(len(data))
        elif kind is TaskManagementRequest:
            function = pick.randrange(1, 14)
            if function in (o.TMF_TARGET_COLD_RESET, o.TMF_I_T_NEXUS_RESET):
                function = o.TMF_TASK_REASSIGN  # those end the game
            data = b""
            bhs = TaskManagementRequest(
                immediate,
                function,
                lun,
                itt + 5,
                pick.randrange(TAGS),
                cmd_sn,
                exp_stat_sn,
                cmd_sn - 1 & 0xFFFFFFFF,
            ).pack()
        elif kind is LogoutRequest:
            reason = self.some(1, 2, 2, 3) if pick.random() < 0.98 else 0
            data = b""
            bhs = LogoutRequest(immediate, reason, itt, pick.randrange(5), cmd_sn, exp_stat_sn).pack()
        elif kind is SnackRequest:
            data = b""
            run = self.some(0, 1, 5)
            bhs = SnackRequest(pick.randrange(5), lun, itt, ttt, exp_stat_sn, pick.randrange(4), run).pack()
        elif kind is TextRequest:
            data = pick.choice((b"", b"SendTargets=\0", b"MaxRecvDataSegmentLength=512\0", b"X-a=b\0", b"x"))
            continued = pick.random() < 0.2
            bhs = TextRequest(immediate, final, continued, lun, itt, ttt, cmd_sn, exp_stat_sn).pack(len(data))
        else:
            tag = self.some(itt, o.RESERVED_TAG)
            bhs = NopOut(immediate, lun, tag, ttt, cmd_sn, exp_stat_sn).pack(len(data))
        raw = bytearray(link.bytes_of(bhs, data))
        if pick.random() < 0.03:
            raw[-1] ^= 1
        if pick.random() < 0.02:
            raw[self.some(0, 1, 16, 20, 24)] ^= 1 << pick.randrange(8)
        return bytes(raw)

    def step(self) -> None:
        one, links = self.random.choice(self.hosts)
        roll = self.random.random()
        if roll < 0.02 and links:
            self.lose(one, links, self.random.choice(links))
        elif roll < 0.05:
            cid = self.random.randrange(4)
            one.session.reinstate(cid)
            links[:] = [link for link in links if link.connection.cid != cid]
            links.append(one.connect(cid, stat_sn=self.random.randrange(1 << 32)))
        elif roll < 0.25 and self.unit.running:
            task = self.unit.running.pop(self.random.randrange(len(self.unit.running)))
            self.unit.finish(task)
        elif links:
            self.feed(one, links, self.random.choice(links))
        self.now += 0.05
        for host, _ in self.hosts:
            host.tick(self.now)

    def feed(self, one: Initiator, links: list[Link], link: Link) -> None:
        try:
            for pdu, _ in link.feed(self.pdu(one, link), now=self.now):
                if isinstance(pdu, ReadyToTransfer) or hasattr(pdu, "ttt"):
                    self.ttts.append(pdu.ttt)
        except RemoteProtocolError:
            self.lose(one, links, link)
            return
        for other in links[:]:
            if other.connection.closing:
                self.lose(one, links, other)

    def lose(self, one: Initiator, links: list[Link], link: Link) -> None:
        links.remove(link)
        link.drop(self.now)
        if not one.session.may_continue and one.session in self.nexus.sessions:
            self.nexus.sessions.remove(one.session)
            self.hosts = [host for host in self.hosts if host[0] is not one] + [self.host()]


@pytest.mark.parametrize("seed", range(25))
def test_noise_on_several_connections(seed: int) -> None:
    noise = Noise(seed)
    for _ in range(STEPS):
        noise.step()
        for one, _ in noise.hosts:
            session = one.session
            assert 0 <= session.active_commands == sum(not t.immediate for t in session.tasks.values())
            window = (session.max_cmd_sn - session.exp_cmd_sn + 1) & 0xFFFFFFFF
            assert window == 8 - session.active_commands
            assert session.pending_read_bytes == sum(t.pending_read_bytes for t in session.tasks.values())
            assert session.pending_read_bytes >= 0
            assert session.plain == (session.order.empty and not session.fence.busy)
    # Whatever it was, when all is over nothing is left.
    for one, links in noise.hosts:
        for link in links[:]:
            link.drop(noise.now)
        one.tick(noise.now + 1000.0)
    while noise.unit.running:
        noise.unit.finish(noise.unit.running.pop())
    for one, _ in noise.hosts:
        assert one.session.terminated
        assert one.session.quiet
        assert one.session.pending_read_bytes == 0
