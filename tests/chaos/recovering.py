"""An initiator that recovers at levels 1 and 2 (RFC 7143 §7): gaps in DataSN, R2TSN and StatSN are asked for
by SNACK, what stays silent is asked about and sent again, and the tasks of a lost connection are reassigned.

It serves tests of the target behind a `FaultyLink`, and has one disk of stamped blocks. A command that fails
for good, or that the target has lost, is an error here: the link may do what it likes, nothing may get lost.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from san_console.iscsi import opcodes as o
from san_console.iscsi.pdu import (
    LogoutRequest,
    LogoutResponse,
    NopIn,
    NopOut,
    Pdu,
    ReadyToTransfer,
    Reject,
    ScsiCommand,
    ScsiDataIn,
    ScsiDataOut,
    ScsiResponse,
    SnackRequest,
    TaskManagementRequest,
    TaskManagementResponse,
)
from san_console.scsi import cdb
from san_console.wire import serial
from tests.chaos.faulty_link import FaultyLink
from tests.chaos.recovery_path import MASK, SILENCE_S, Job, Path
from tests.target.scripted import BLOCK_BYTES, MAX_SEGMENT_BYTES, Connection, Session

LOOK_S = 0.03
GIVE_UP_S = 30.0


class RecoveringInitiator:
    """Reads and writes over all connections of a session."""

    def __init__(self, session: Session, link: FaultyLink, rng: random.Random) -> None:
        self.link = link
        self.session = session
        self.paths: list[Path] = []
        self.jobs: dict[int, Job] = {}
        self.snacks: Counter[str] = Counter()
        self.counts: Counter[str] = Counter()
        self.rejects: Counter[int] = Counter()
        self.recovery_s: list[float] = []
        self._rng = rng
        self._exp_cmd_sn = session.cmd_sn
        self._waiting: dict[int, asyncio.Future[int]] = {}
        self._group = asyncio.TaskGroup()
        self._ending = False
        self._connected = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """From the logins, which are done, to the end of the session."""
        async with self._group:
            for connection in list(self.session.connections.values()):
                self._start(connection)
            watch = self._group.create_task(self._watch())
            try:
                yield
            finally:
                self._ending = True
                watch.cancel()
                for path in self.paths:
                    path.cut()

    def _start(self, connection: Connection) -> Path:
        path = Path(self, connection)
        self.paths.append(path)
        self._group.create_task(path.run())
        self._connected.set()
        if self._ending:
            path.cut()
        return path

    async def any_path(self) -> Path:
        """A connection that works."""
        while not (alive := [path for path in self.paths if path.alive]):
            self._connected.clear()
            await self._connected.wait()
        return self._rng.choice(alive)

    # Commands

    async def read(self, lba: int, blocks: int) -> bytes:
        job = await self._command(cdb.read(lba, blocks), o.READ, bytearray(blocks * BLOCK_BYTES))
        return bytes(job.data)

    async def write(self, lba: int, data: bytes) -> None:
        await self._command(cdb.write(lba, len(data) // BLOCK_BYTES), o.WRITE, bytearray(data))

    async def _command(self, block: bytes, direction: int, data: bytearray) -> Job:
        parameters = self.session.wanted.offer
        unsolicited = direction == o.WRITE and not parameters.initial_r2t
        pdu = ScsiCommand(
            # What goes as immediate data is all: the command is final unless more follows by itself.
            flags=(0 if unsolicited and len(data) > MAX_SEGMENT_BYTES else o.FINAL)
            | direction
            | o.ATTR_SIMPLE,
            expected_data_transfer_length=len(data),
            cdb=block.ljust(16, b"\0"),
        )
        job = Job(pdu, await self.any_path(), data, self._loop.create_future(), 0.0)
        self._issue(job)
        async with asyncio.timeout(GIVE_UP_S):
            await self._ended(job)
        return job

    def _issue(self, job: Job) -> None:
        job.pdu.itt = self.session.new_itt()
        job.pdu.cmd_sn = self.session.take_cmd_sn()
        job.heard_at = self._loop.time()
        self.jobs[job.pdu.itt] = job
        self._send_command(job)

    async def _ended(self, job: Job) -> None:
        status = await job.done
        assert status == 0, f"command {job.pdu.itt:#x} ended with status {status}"

    def _send_command(self, job: Job) -> None:
        offer = self.session.wanted.offer
        immediate = b""
        if job.pdu.write and not offer.initial_r2t:
            immediate = bytes(job.data[:MAX_SEGMENT_BYTES])
        job.path.send(job.pdu, immediate)
        if not job.pdu.final:
            end = min(offer.first_burst_bytes, len(job.data))
            self._data_out(job, o.RESERVED_TAG, len(immediate), end)

    def _data_out(self, job: Job, ttt: int, start: int, end: int) -> None:
        offsets = list(range(start, end, MAX_SEGMENT_BYTES))
        if not self.session.wanted.offer.data_pdu_in_order:
            self._rng.shuffle(offsets)
        for data_sn, offset in enumerate(offsets):
            piece = bytes(job.data[offset : min(offset + MAX_SEGMENT_BYTES, end)])
            pdu = ScsiDataOut(
                final=data_sn == len(offsets) - 1,
                itt=job.pdu.itt,
                ttt=ttt,
                data_sn=data_sn,
                buffer_offset=offset,
            )
            job.path.send(pdu, piece)

    # What comes

    def received(self, path: Path, pdu: Pdu, data: bytes, data_ok: bool) -> None:
        """A PDU whose header is good."""
        exp_cmd_sn: int = pdu.exp_cmd_sn  # type: ignore[union-attr]  # all that a target sends have it
        ahead = serial.diff(exp_cmd_sn, self._exp_cmd_sn & MASK)
        self._exp_cmd_sn += max(ahead, 0)
        if isinstance(pdu, ScsiDataIn):
            self._data_in(path, pdu, data, data_ok)
        elif not data_ok:
            self._damaged()
        elif isinstance(pdu, ReadyToTransfer):
            path.has_shown(pdu.stat_sn, consumed=False)
            self._r2t(path, pdu)
        elif isinstance(pdu, NopIn) and pdu.itt == o.RESERVED_TAG:
            path.has_shown(pdu.stat_sn, consumed=False)
            path.send(NopOut(itt=o.RESERVED_TAG, ttt=pdu.ttt, lun=pdu.lun, cmd_sn=self.session.cmd_sn))
        else:
            self._answer(path, pdu, data)

    def _damaged(self) -> None:
        """As if it had not come: its StatSN is a gap."""
        self.counts["answers with a wrong data digest"] += 1

    def ask_for_status(self, path: Path, begin: int, count: int) -> None:
        """Numbers that were not received."""
        self.snacks["status"] += 1
        path.send(SnackRequest(type=o.SNACK_STATUS, beg_run=begin & MASK, run_length=count))

    def _answer(self, path: Path, pdu: Pdu, data: bytes) -> None:
        stat_sn: int = pdu.stat_sn  # type: ignore[union-attr]  # the others were handled
        job = self._here(path, pdu.itt) if isinstance(pdu, ScsiResponse) else None
        number = path.has_shown(stat_sn, consumed=True)
        if not path.arrives(number, job):
            self.counts["duplicates"] += 1
            return
        if isinstance(pdu, ScsiResponse) and job is not None:
            job.status, job.total = pdu.status, pdu.exp_data_sn
            self._settle(job)
        elif isinstance(pdu, TaskManagementResponse | LogoutResponse):
            waiting = self._waiting.pop(pdu.itt, None)
            if waiting is not None and not waiting.done():
                waiting.set_result(pdu.response)
        elif isinstance(pdu, Reject):
            self.rejects[pdu.reason] += 1
            refused = self._here(path, int.from_bytes(data[16:20], "big"))
            again = pdu.reason == o.REJECT_DATA_DIGEST_ERROR and data[0] & 0x3F == o.SCSI_COMMAND
            if refused is not None and again:
                self._again(refused)

    def _here(self, path: Path, itt: int) -> Job | None:
        """The command, if its allegiance is to this connection; what comes for it proves that it is."""
        job = self.jobs.get(itt)
        if job is None or job.path is not path:
            return None
        job.homeless = False
        job.heard_at = self._loop.time()
        return job

    def _data_in(self, path: Path, pdu: ScsiDataIn, data: bytes, data_ok: bool) -> None:
        job = self._here(path, pdu.itt)
        if not data_ok:
            if job is not None:
                self._snack(job, pdu.data_sn, 1)
            return
        if pdu.flags & o.STATUS:
            new = path.arrives(path.has_shown(pdu.stat_sn, consumed=True), job)
            if job is not None and new:
                job.status, job.total = pdu.status, pdu.data_sn + 1
        if job is None or not job.take(pdu.data_sn):
            self.counts["duplicates"] += 1
            return
        assert pdu.buffer_offset + len(data) <= len(job.data)
        job.data[pdu.buffer_offset : pdu.buffer_offset + len(data)] = data
        self._gap(job, pdu.data_sn)
        if pdu.flags & o.ACKNOWLEDGE:
            job.acks[pdu.data_sn] = pdu.ttt
        for data_sn in [one for one in job.acks if one < job.next]:
            self.snacks["data acknowledged"] += 1
            ttt = job.acks.pop(data_sn)
            path.send(SnackRequest(type=o.SNACK_DATA_ACK, ttt=ttt, beg_run=data_sn + 1))
        self._settle(job)

    def _r2t(self, path: Path, pdu: ReadyToTransfer) -> None:
        job = self._here(path, pdu.itt)
        if job is None or not job.take(pdu.r2t_sn):
            self.counts["duplicates"] += 1
            return
        end = pdu.buffer_offset + pdu.desired_data_transfer_length
        assert end <= len(job.data)
        self._gap(job, pdu.r2t_sn)
        self._data_out(job, pdu.ttt, pdu.buffer_offset, end)

    def _gap(self, job: Job, number: int) -> None:
        if number > job.highest + 1:
            self._snack(job, job.highest + 1, number - job.highest - 1)
        job.highest = max(job.highest, number)

    def _snack(self, job: Job, begin: int, count: int) -> None:
        self.snacks["R2T" if job.pdu.write else "data"] += 1
        job.path.send(SnackRequest(type=o.SNACK_DATA_R2T, itt=job.pdu.itt, beg_run=begin, run_length=count))

    def _settle(self, job: Job) -> None:
        if job.status is None or job.done.done() or (not job.pdu.write and job.next < job.total):
            return
        job.done.set_result(job.status)
        del self.jobs[job.pdu.itt]
        job.path.acknowledge()

    # What does not come

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(LOOK_S)
            now = self._loop.time()
            for path in self.paths:
                if path.alive:
                    path.look(now)
                    self._ping(path)
            for job in list(self.jobs.values()):
                if job.path.alive and now - job.heard_at > SILENCE_S:
                    job.heard_at = now
                    self._nudge(job)

    def _ping(self, path: Path) -> None:
        """The answer shows the StatSN, and by that whether a status was lost."""
        path.send(NopOut(itt=self.session.new_itt(), cmd_sn=self.session.cmd_sn), b"ping")

    def _nudge(self, job: Job) -> None:
        unseen = serial.ge(job.pdu.cmd_sn, self._exp_cmd_sn & MASK)
        if unseen:
            self._again(job)
        elif job.homeless:
            self._group.create_task(self._reassign(job))
        else:
            self._snack(job, job.next, 0)

    def _again(self, job: Job) -> None:
        """§7.2.1: a retry, with the same CmdSN."""
        self.counts["commands sent again"] += 1
        self._send_command(job)

    async def _request(self, path: Path, pdu: TaskManagementRequest | LogoutRequest) -> int | None:
        """The response; None when none came."""
        answer: asyncio.Future[int] = self._loop.create_future()
        self._waiting[pdu.itt] = answer
        path.send(pdu)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(2 * SILENCE_S):
                return await answer
        return None

    async def _reassign(self, job: Job) -> None:
        path = job.path
        request = TaskManagementRequest(
            function=o.TMF_TASK_REASSIGN,
            itt=self.session.new_itt(),
            referenced_task_tag=job.pdu.itt,
            cmd_sn=self.session.cmd_sn,
            ref_cmd_sn=job.pdu.cmd_sn,
            exp_data_sn=job.next,
        )
        response = await self._request(path, request)
        if job.done.done() or job.path is not path:
            return
        if response in (o.TMF_FUNCTION_COMPLETE, o.TMF_TASK_STILL_ALLEGIANT):
            # "Still allegiant": an earlier request did it, whose response was lost.
            self.counts["tasks reassigned"] += response == o.TMF_FUNCTION_COMPLETE
            job.homeless = False
        elif response is not None and serial.lt(job.pdu.cmd_sn, self._exp_cmd_sn & MASK):
            raise AssertionError(f"the target has lost command {job.pdu.itt:#x}: response {response}")

    def lost(self, path: Path) -> None:
        """A connection is gone."""
        self.paths.remove(path)
        if not self._ending:
            self.counts["connections lost"] += 1
            self._group.create_task(self._recover(path))

    async def _recover(self, lost: Path) -> None:
        began = self._loop.time()
        heir = await self._logged_out(lost)
        if heir is None:
            heir = self._start(await self.session.connect(lost.cid))  # §6.3.4: an implicit logout
            self.counts["connections reinstated"] += 1
        else:
            self.counts["connections removed for recovery"] += 1
            # A new CID: a late copy of the logout must not hit it.
            self._start(await self.session.connect(max(self.session.connections) + 1))
            if not heir.alive:
                heir = await self.any_path()
        self.recovery_s.append(self._loop.time() - began)
        for job in self.jobs.values():
            if job.path is lost:
                job.move_to(heir)

    async def _logged_out(self, lost: Path) -> Path | None:
        """Have another connection log out the lost one; None when that does not come off."""
        others = [path for path in self.paths if path.alive]
        if not others or self._rng.random() < 0.5:
            return None
        heir = self._rng.choice(others)
        for _ in range(5):
            request = LogoutRequest(
                reason=o.LOGOUT_REMOVE_FOR_RECOVERY,
                itt=self.session.new_itt(),
                cid=lost.cid,
                cmd_sn=self.session.cmd_sn,
            )
            response = await self._request(heir, request)
            if response in (o.LOGOUT_DONE, o.LOGOUT_CID_NOT_FOUND):
                return heir
            if not heir.alive:
                break
            assert response is None, f"the logout of a lost connection was answered with {response}"
        return None
