"""The LUNs behind our sessions: scanned after each login, known by their identity, read on request."""

from __future__ import annotations

import asyncio
from typing import Final

import msgspec

from san_console.api.initiator_objects import Lun, LunData, VpdPage
from san_console.api.methods import MAX_LUN_READ_BYTES, ReadLun
from san_console.api.problems import ApiProblem
from san_console.engine.content import PROBE_BYTES, recognise
from san_console.engine.context import EngineContext
from san_console.engine.problems import problem_of
from san_console.engine.vpd_pages import describe_page
from san_console.initiator.errors import InitiatorError
from san_console.initiator.logical_unit import LogicalUnit
from san_console.initiator.lun_info import LunInfo
from san_console.initiator.session import Session
from san_console.scsi import cdb, status

CONCURRENT_LUNS: Final = 4
"""Of one session's scan: quick enough, and the commands of the user's own work still get through."""

MAX_SHOWN_LUNS: Final = 1024
"""Of one session. A target that lists more than SAM's flat addressing of common arrays is not shown whole."""

VPD_BYTES: Final = 4096
MAX_VPD_PAGES: Final = 64


class SeenIdentity(msgspec.Struct, kw_only=True):
    """Which unit stood behind a number of a target when it was last seen."""

    target: str
    lun: int
    identity: str


class LunStore:
    """Owner of the collection `luns`."""

    def __init__(self, context: EngineContext) -> None:
        self._context = context
        self._sessions: dict[str, Session] = {}
        self._seen = {
            (seen.target, seen.lun): seen.identity for seen in context.state.load("seen_lun", SeenIdentity)
        }

    async def scan(self, session_id: str, target: str, session: Session) -> int:
        """Ask which LUNs there are and what each is. Returns how many. Raises InitiatorError."""
        self._sessions[session_id] = session
        numbers = (await session.report_luns())[:MAX_SHOWN_LUNS]
        registry = self._context.registry
        for lun in registry.values("luns", Lun):
            if lun.session_id == session_id and lun.lun not in numbers:
                registry.remove("luns", lun.id)
        places = asyncio.Semaphore(CONCURRENT_LUNS)

        async def one(number: int) -> None:
            async with places:
                await self._look(session_id, target, session, number)

        async with asyncio.TaskGroup() as group:
            for number in numbers:
                if registry.get("luns", Lun, f"{session_id}/{number}") is None:
                    registry.put(
                        "luns",
                        Lun(id=f"{session_id}/{number}", session_id=session_id, target=target, lun=number),
                    )
                group.create_task(one(number))
        return len(numbers)

    async def look_again(self, lun_id: str) -> None:
        """Read anew what a LUN is and holds; nothing happens when its session is gone."""
        lun = self._context.registry.get("luns", Lun, lun_id)
        session = self._sessions.get(lun.session_id) if lun is not None else None
        if lun is not None and session is not None and session.state == "logged_in":
            await self._look(lun.session_id, lun.target, session, lun.lun)

    def forget_session(self, session_id: str) -> None:
        self._sessions.pop(session_id, None)
        for lun in self._context.registry.values("luns", Lun):
            if lun.session_id == session_id:
                self._context.registry.remove("luns", lun.id)

    def find(self, lun_id: str) -> tuple[Lun, LogicalUnit]:
        """Raises ApiProblem `unknown-object`, `disconnected` while its session is not logged in."""
        lun = self._context.registry.get("luns", Lun, lun_id)
        session = self._sessions.get(lun.session_id) if lun is not None else None
        if lun is None or session is None:
            raise ApiProblem("unknown-object", "This LUN does not exist (any more).", side="engine")
        if session.state != "logged_in":
            raise ApiProblem(
                "disconnected",
                "The session of this LUN is not logged in.",
                side="engine",
                check="its state on the Sessions page",
            )
        return lun, session.lun(lun.lun)

    def find_ready(self, lun_id: str) -> tuple[Lun, LogicalUnit]:
        """As `find`, for work that needs the sizes. Raises also ApiProblem `in-use` while they are read."""
        lun, unit = self.find(lun_id)
        if lun.problem is not None:
            raise ApiProblem.from_problem(lun.problem)
        if lun.state != "ready":
            raise ApiProblem(
                "in-use", "The LUN is still being read.", side="engine", check="again in a moment"
            )
        return lun, unit

    async def read(self, params: ReadLun) -> LunData:
        """Raises ApiProblem `bad-request` (outside of the LUN), `too-large`, and what reading raises."""
        lun, unit = self.find_ready(params.id)
        if params.length_bytes > MAX_LUN_READ_BYTES:
            raise ApiProblem(
                "too-large", f"At most {MAX_LUN_READ_BYTES} bytes are read at once.", side="engine"
            )
        if params.offset_bytes < 0 or params.length_bytes < 0 or params.offset_bytes > lun.size_bytes:
            raise ApiProblem(
                "bad-request", f"The LUN has {lun.size_bytes} bytes; the range lies outside.", side="engine"
            )
        length = min(params.length_bytes, lun.size_bytes - params.offset_bytes)
        data = await unit.read_bytes(params.offset_bytes, length) if length else b""
        return LunData(offset_bytes=params.offset_bytes, data=data)

    async def vpd(self, lun_id: str) -> list[VpdPage]:
        """The VPD pages that the LUN says it has; those that it then refuses are left out."""
        _, unit = self.find(lun_id)
        info = await unit.info()
        pages: list[VpdPage] = []
        for code in info.vpd_pages[:MAX_VPD_PAGES]:
            result = await unit.execute(cdb.inquiry(code, VPD_BYTES), read_bytes=VPD_BYTES)
            if result.status == status.GOOD:
                pages.append(describe_page(code, result.data))
        return pages

    async def _look(self, session_id: str, target: str, session: Session, number: int) -> None:
        lun = Lun(id=f"{session_id}/{number}", session_id=session_id, target=target, lun=number)
        before = self._context.registry.get("luns", Lun, lun.id)
        unit = session.lun(number)
        try:
            info = await unit.info()
            _describe(lun, info)
            if before is not None:
                lun.identity_changed_from = before.identity_changed_from
            self._compare_identity(lun)
            if info.size_bytes:
                data = await unit.read_bytes(0, min(PROBE_BYTES, info.size_bytes))
                lun.content = recognise(data, info.block_bytes)
            lun.state = "ready"
        except InitiatorError as error:
            lun.problem = problem_of(error)
            # A LUN that tells what it is, but cannot be read, is still shown with what is known.
            lun.state = "failed"
        if session_id in self._sessions:
            self._context.registry.put("luns", lun)

    def _compare_identity(self, lun: Lun) -> None:
        if not lun.identity:
            return
        key = (lun.target, lun.lun)
        known = self._seen.get(key)
        if known == lun.identity:
            return
        self._seen[key] = lun.identity
        self._context.state.put(
            "seen_lun",
            f"{lun.target} {lun.lun}",
            SeenIdentity(target=lun.target, lun=lun.lun, identity=lun.identity),
        )
        if known is not None:
            lun.identity_changed_from = known
            self._context.events.add(
                "identity_changed",
                f"Another unit stands behind LUN {lun.lun} of {lun.target} than before.",
                severity="warning",
                object_kind="lun",
                object_id=lun.id,
                cause=f"It was {known} and is now {lun.identity}.",
                side="target",
                check="whether this is the LUN you mean, before you write to it",
            )


def _describe(lun: Lun, info: LunInfo) -> None:
    lun.identity = info.identity
    lun.vendor = info.vendor.strip()
    lun.product = info.product.strip()
    lun.revision = info.revision.strip()
    lun.serial = info.serial
    lun.device_type = info.device_type_name or "disk"
    lun.size_bytes = info.size_bytes
    lun.block_bytes = info.block_bytes or 512
    lun.physical_block_bytes = info.physical_block_bytes or lun.block_bytes
    lun.read_only = info.read_only
    lun.thin = info.thin
    lun.write_cache = info.write_cache
    lun.designators = info.designators
