"""A session of the target at work: protocol, socket and what is shown of it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

from san_console.iscsi.login_policy import SessionRequest, TargetLoginResult
from san_console.iscsi.target_connection import TargetConnection
from san_console.iscsi.target_framing import TargetFramer
from san_console.iscsi.target_session import TargetSession
from san_console.target.backstore import ReadArena
from san_console.target.config import TargetLimits
from san_console.target.connection import ConnectionPump
from san_console.target.events import TargetSessionInfo
from san_console.target.nexus import SessionNexus

RECEIVE_BUFFER_EXTRA_BYTES = 256 * 1024  # beside one PDU of full length, a batch of small ones


class ServedSession:
    """One session with its one connection. `on_closed(session, reason, error)` is called once."""

    def __init__(
        self,
        id_: str,
        result: TargetLoginResult,
        nexus: SessionNexus,
        limits: TargetLimits,
        sock: socket.socket,
        leftover: bytes,
        *,
        address: str,
        portal: str,
        logged_in_at: float,
        on_closed: Callable[[ServedSession, str, bool], None],
    ) -> None:
        loop = asyncio.get_running_loop()
        self.id = id_
        self.result = result
        self.nexus = nexus
        self.address = address
        self.portal = portal
        self.logged_in_at = logged_in_at
        self.ended: asyncio.Future[None] = loop.create_future()
        self._on_closed = on_closed
        request = result.session
        self.protocol = TargetSession(
            nexus,
            result.params,
            initiator_name=request.initiator_name,
            isid=request.isid,
            tsih=result.tsih,
            exp_cmd_sn=result.exp_cmd_sn,
            discovery=request.session_type == "Discovery",
            command_window=limits.command_window,
        )
        nexus.session = self.protocol
        framer = TargetFramer(
            capacity_bytes=result.params.max_recv_data_segment_bytes + RECEIVE_BUFFER_EXTRA_BYTES
        )
        framer.writable()[: len(leftover)] = leftover
        framer.wrote(len(leftover))
        arena = ReadArena()
        connection = TargetConnection(
            self.protocol,
            framer,
            arena,
            cid=request.cid,
            stat_sn=result.stat_sn,
            now=loop.time(),
            nop_in_interval_s=limits.nop_in_interval_s,
            nop_in_timeout_s=limits.nop_in_timeout_s,
        )
        self.connection = connection
        self.pump = ConnectionPump(loop, sock, connection, arena, self._closed)

    @property
    def key(self) -> tuple[str, bytes, str | None]:
        """What makes the session one of its initiator (RFC 7143 §4.4.3): name, ISID, target."""
        request = self.result.session
        return request.initiator_name, request.isid, request.target_name

    def info(self) -> TargetSessionInfo:
        """The session as it is now."""
        request = self.result.session
        return TargetSessionInfo(
            id=self.id,
            target=request.target_name or "",
            initiator=request.initiator_name,
            initiator_alias=self.result.initiator_alias or "",
            address=self.address,
            portal=self.portal,
            isid=request.isid,
            tsih=self.result.tsih,
            discovery=self.protocol.discovery,
            auth=self.result.auth,
            connections=len(self.protocol.connections),
            logged_in_at=self.logged_in_at,
            keys=self.result.keys,
            luns=self.nexus.lun_list(),
            active_commands=self.protocol.active_commands,
            window=(self.protocol.max_cmd_sn - self.protocol.exp_cmd_sn + 1) & 0xFFFFFFFF,
            counters=self.protocol.counters,
        )

    def _closed(self, reason: str, error: bool) -> None:
        self.protocol.terminate()
        self.nexus.close()
        if not self.ended.done():
            self.ended.set_result(None)
        self._on_closed(self, reason, error)

    def close(self, reason: str) -> None:
        """End the session now."""
        self.pump.close(reason, error=False)

    def belongs_to(self, request: SessionRequest) -> bool:
        """True when the same initiator asks for the same target, by whatever port of it."""
        mine = self.result.session
        return (mine.initiator_name, mine.target_name) == (request.initiator_name, request.target_name)

    def when_quiet(self, then: Callable[[], None]) -> None:
        """Call `then` once nothing that the session began is still on its way to a backstore."""
        self.protocol.wait_for(list(self.protocol.tasks.values()), then, transfers_until=None)

    async def quiet(self) -> None:
        """Wait for that."""
        done = asyncio.Event()
        self.when_quiet(done.set)
        await done.wait()
