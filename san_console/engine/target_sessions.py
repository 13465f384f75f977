"""Who is logged in to our targets, and the figures of each of these sessions."""

from __future__ import annotations

import copy
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from san_console.api.engine_objects import Sample
from san_console.api.serving_objects import TargetConnection, TargetSession
from san_console.engine.context import EngineContext
from san_console.engine.session_objects import negotiated_keys
from san_console.iscsi.target_session import TargetCounters
from san_console.names.display import visible
from san_console.target.events import TargetSessionInfo
from san_console.target.server import TargetServer


@dataclass(slots=True)
class _Last:
    counters: TargetCounters
    at: float


class TargetSessions:
    """Owner of the collection `target_sessions`."""

    def __init__(
        self,
        context: EngineContext,
        server: TargetServer,
        own_isids: Callable[[], set[tuple[str, str]]],
    ) -> None:
        self._context = context
        self._server = server
        self._own_isids = own_isids
        # The library counts its sessions from 1 in each run; events of older runs are kept.
        self._run = secrets.token_hex(3)
        self._last: dict[str, _Last] = {}

    def shown_id(self, library_id: str) -> str:
        return f"{self._run}-{library_id}"

    def library_id(self, shown_id: str) -> str:
        return shown_id.removeprefix(f"{self._run}-")

    def all(self) -> list[TargetSession]:
        return list(self._context.registry.values("target_sessions", TargetSession))

    def of(self, target: str) -> list[TargetSession]:
        self.refresh()
        return [
            session
            for session in self._context.registry.values("target_sessions", TargetSession)
            if session.target == target
        ]

    def foreign(self) -> list[TargetSession]:
        """Sessions of initiators other than this engine's."""
        self.refresh()
        return [
            session
            for session in self._context.registry.values("target_sessions", TargetSession)
            if session.session_type == "normal" and not session.own
        ]

    def is_own(self, shown_id: str) -> bool:
        """Whether this engine's own initiator is at the other end."""
        session = self._context.registry.get("target_sessions", TargetSession, shown_id)
        return session is not None and session.own

    def refresh(self) -> None:
        """Bring the collection up to date; told are only differences."""
        registry = self._context.registry
        own = self._own_isids()
        infos = self._server.sessions()
        shown = {self.shown_id(info.id) for info in infos}
        for session in registry.values("target_sessions", TargetSession):
            if session.id not in shown:
                registry.remove("target_sessions", session.id)
                self._last.pop(session.id, None)
        for info in infos:
            described = self._describe(info, own)
            if described != registry.get("target_sessions", TargetSession, described.id):
                registry.put("target_sessions", described)

    def samples(self, now: float) -> Iterator[Sample]:
        """The figures of the last second, and the list brought up to date on the way."""
        self.refresh()
        for info in self._server.sessions():
            if info.discovery:
                continue
            shown_id = self.shown_id(info.id)
            counters = copy.copy(info.counters)
            last = self._last.get(shown_id)
            self._last[shown_id] = _Last(counters, now)
            if last is None:
                continue
            seconds = max(now - last.at, 0.001)
            before = last.counters
            yield Sample(
                id=shown_id,
                at=now,
                read_bytes_per_s=(counters.read_bytes - before.read_bytes) / seconds,
                write_bytes_per_s=(counters.write_bytes - before.write_bytes) / seconds,
                read_iops=(counters.reads - before.reads) / seconds,
                write_iops=(counters.writes - before.writes) / seconds,
                window_used=info.active_commands,
                window_size=info.window,
                errors=counters.errors,
            )

    def _describe(self, info: TargetSessionInfo, own: set[tuple[str, str]]) -> TargetSession:
        keys = negotiated_keys(info.keys)
        effective = {key.name: key.effective for key in keys}
        return TargetSession(
            id=self.shown_id(info.id),
            target=info.target,
            initiator=info.initiator,
            initiator_alias=visible(info.initiator_alias),
            address=info.address,
            portal=info.portal,
            tpgt=info.tpgt,
            isid=info.isid.hex(),
            tsih=info.tsih,
            session_type="discovery" if info.discovery else "normal",
            auth=info.auth,
            logged_in_at=info.logged_in_at,
            header_digest=effective.get("HeaderDigest", "None"),
            data_digest=effective.get("DataDigest", "None"),
            connections=[
                TargetConnection(
                    cid=one.cid,
                    address=one.address,
                    portal=one.portal,
                    logged_in_at=one.logged_in_at,
                    header_digest=_digest(one.header_digest),
                    data_digest=_digest(one.data_digest),
                )
                for one in info.connection_list
            ],
            max_connections=info.max_connections,
            error_recovery_level=info.error_recovery_level,
            recovering=info.recovering,
            digest_errors=info.counters.digest_errors,
            rejects=info.counters.rejects,
            aborted_tasks=info.counters.aborted_tasks,
            keys=keys,
            luns=info.luns,
            own=(info.target, info.isid.hex()) in own,
        )


def _digest(used: bool) -> str:
    return "CRC32C" if used else "None"
