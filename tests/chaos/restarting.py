"""An initiator of level 0 (RFC 7143 §7.1.4.4): whatever goes wrong, it logs in anew and issues again what has
no answer yet.
"""

from __future__ import annotations

from san_console.iscsi.pdu import ScsiResponse
from san_console.scsi import cdb
from tests.chaos.recovering import RecoveringInitiator
from tests.chaos.recovery_path import Job, Path
from tests.target.scripted import Session


class RestartingInitiator(RecoveringInitiator):
    """Session recovery is all that it knows."""

    _restarting = False

    def _restart(self) -> None:
        if not self._restarting and not self._ending:
            self._restarting = True
            for path in self.paths:
                path.cut()

    def _damaged(self) -> None:
        super()._damaged()
        self._restart()

    def ask_for_status(self, path: Path, begin: int, count: int) -> None:
        self._restart()

    def _snack(self, job: Job, begin: int, count: int) -> None:
        self._restart()

    def _again(self, job: Job) -> None:
        self._restart()

    async def _ended(self, job: Job) -> None:
        while await job.done:
            # Data-Out that was lost or came twice fails the command, and nothing of it was written.
            self.counts["commands failed and issued again"] += 1
            self._renew(job, await self.any_path())

    def _renew(self, job: Job, path: Path) -> None:
        job.path = path
        job.next, job.highest, job.total, job.status = 0, -1, 0, None
        job.numbers.clear()
        if job.done.done():
            job.done = self._loop.create_future()
        self._issue(job)

    def lost(self, path: Path) -> None:
        """The other connections go with it."""
        self.paths.remove(path)
        self._restart()
        if not self.paths and not self._ending:
            self._group.create_task(self._log_in_again())

    async def _log_in_again(self) -> None:
        began = self._loop.time()
        old = self.session
        self.session = await Session.open(old.port, old.wanted, len(old.connections))
        await old.close()
        self._exp_cmd_sn = self.session.cmd_sn
        first = self.session.connections[0]
        ready = False
        while not ready:  # the unit attention of the new nexus
            first._command(cdb.test_unit_ready(), 0, 0, None)
            pdu, _ = await first.expect(ScsiResponse)
            ready = pdu.status == 0
        self._restarting = False
        for connection in list(self.session.connections.values()):
            self._start(connection)
        self.counts["sessions recovered"] += 1
        self.recovery_s.append(self._loop.time() - began)
        jobs, self.jobs = self.jobs, {}
        for job in jobs.values():
            self._renew(job, await self.any_path())
