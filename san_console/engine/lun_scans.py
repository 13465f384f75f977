"""Looking at the LUNs of a session: after each login by itself, and as a job when the user asks for it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from san_console.api.engine_objects import Job
from san_console.api.initiator_objects import Session as SessionObject
from san_console.engine.context import EngineContext
from san_console.engine.luns import LunStore
from san_console.engine.problems import problem_of
from san_console.initiator.errors import InitiatorError
from san_console.initiator.session import Session
from san_console.names.display import visible


@dataclass(slots=True)
class _Scan:
    task: asyncio.Task[None] | None = None
    again: bool = False


class LunScans:
    """At most one scan per session in the background."""

    def __init__(self, context: EngineContext, luns: LunStore) -> None:
        self._context = context
        self._luns = luns
        self._scans: dict[str, _Scan] = {}

    def start(self, session_id: str, target: str, session: Session) -> None:
        """Look at the LUNs in the background; once more when something happens meanwhile."""
        scan = self._scans.setdefault(session_id, _Scan())
        if scan.task is not None and not scan.task.done():
            scan.again = True
            return
        scan.task = asyncio.get_running_loop().create_task(
            self._run(scan, session_id, target, session), name="LUN scan"
        )

    def stop(self, session_id: str) -> None:
        """The session goes away."""
        scan = self._scans.pop(session_id, None)
        if scan is not None and scan.task is not None:
            scan.task.cancel()

    def job(self, session_id: str, target: str, session: Session) -> Job:
        """Look again, as a job."""

        async def work(_: object) -> dict[str, str]:
            count = await self._luns.scan(session_id, target, session)
            self._count(session_id, count)
            return {"luns": str(count)}

        title = f"LUNs of {visible(target)}"
        return self._context.jobs.start("rescan", title, work, object_id=session_id, unit="LUNs")

    async def _run(self, scan: _Scan, session_id: str, target: str, session: Session) -> None:
        while True:
            scan.again = False
            try:
                count = await self._luns.scan(session_id, target, session)
            except InitiatorError as error:
                self._context.events.add_problem(
                    "lun_scan_failed", problem_of(error), object_kind="session", object_id=session_id
                )
            else:
                self._count(session_id, count)
            if not scan.again:
                return

    def _count(self, session_id: str, count: int) -> None:
        shown = self._context.registry.get("sessions", SessionObject, session_id)
        if shown is not None and shown.lun_count != count:
            shown.lun_count = count
            self._context.registry.put("sessions", shown)
