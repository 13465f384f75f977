"""A session of the target at work: the protocol's session, its connections with their sockets, and what is
shown of them.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from san_console.iscsi.login_policy import TargetLoginResult
from san_console.iscsi.target_connection import TargetConnection
from san_console.iscsi.target_framing import TargetFramer
from san_console.iscsi.target_session import TargetSession
from san_console.names.portal import Portal
from san_console.target.backstore import ReadArena
from san_console.target.config import TargetLimits
from san_console.target.connection import ConnectionPump
from san_console.target.events import ConnectionInfo, TargetSessionInfo
from san_console.target.nexus import SessionNexus

RECEIVE_BUFFER_EXTRA_BYTES = 256 * 1024  # beside one PDU of full length, a batch of small ones


class ServedConnection:
    """One connection of a session: what its login agreed on, and the pump of its socket.

    `portal` is the local end as it was reached, `listens_at` the portal as it is configured.
    """

    def __init__(
        self,
        session: ServedSession,
        sock: socket.socket,
        result: TargetLoginResult,
        leftover: bytes,
        *,
        address: str,
        portal: Portal,
        listens_at: Portal,
        logged_in_at: float,
    ) -> None:
        loop = asyncio.get_running_loop()
        self.cid = result.session.cid
        self.result = result
        self.address = address
        self.portal = portal
        self.listens_at = listens_at
        self.logged_in_at = logged_in_at
        self.close_reason = ""
        """Why the protocol has it closed."""
        self.ended: asyncio.Future[None] = loop.create_future()
        framer = TargetFramer(
            capacity_bytes=result.params.max_recv_data_segment_bytes + RECEIVE_BUFFER_EXTRA_BYTES
        )
        framer.writable()[: len(leftover)] = leftover
        framer.wrote(len(leftover))
        arena = ReadArena()
        self.protocol = TargetConnection(
            session.protocol,
            framer,
            arena,
            cid=self.cid,
            stat_sn=result.stat_sn,
            now=loop.time(),
            nop_in_interval_s=session.limits.nop_in_interval_s,
            nop_in_timeout_s=session.limits.nop_in_timeout_s,
            parameters=result.params,
        )
        self.pump = ConnectionPump(
            loop, sock, self.protocol, arena, lambda reason, error: session.lost(self, reason, error)
        )

    def info(self) -> ConnectionInfo:
        """The connection as it is now."""
        return ConnectionInfo(
            cid=self.cid,
            address=self.address,
            portal=str(self.portal),
            logged_in_at=self.logged_in_at,
            header_digest=self.protocol.header_digest,
            data_digest=self.protocol.data_digest,
        )

    def ask_for_logout(self, seconds: int) -> None:
        """Ask the initiator to log this connection out (RFC 7143 §11.9.1, event 1)."""
        self.protocol.requests.ask_for_logout(seconds)


SessionClosed = Callable[["ServedSession", str, bool], None]
ConnectionLost = Callable[["ServedSession", ServedConnection, str, bool], None]


class ServedSession:
    """One session with its connections. `on_closed(session, reason, error)` is called once, when it is over;
    `on_connection_lost(session, connection, reason, error)` for each connection that it survives.
    """

    def __init__(
        self,
        id_: str,
        result: TargetLoginResult,
        nexus: SessionNexus,
        limits: TargetLimits,
        *,
        logged_in_at: float,
        on_closed: SessionClosed,
        on_connection_lost: ConnectionLost,
    ) -> None:
        loop = asyncio.get_running_loop()
        self._loop = loop
        self.id = id_
        self.result = result
        self.nexus = nexus
        self.limits = limits
        self.logged_in_at = logged_in_at
        self.address = ""
        """From where the last login of the session came."""
        self.connections: dict[int, ServedConnection] = {}
        self.answered: list[int] = []
        """CIDs of logins whose last response is being sent: each has its place already."""
        self.ended: asyncio.Future[None] = loop.create_future()
        self._on_closed = on_closed
        self._on_connection_lost = on_connection_lost
        self._holders = 0
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
        self.protocol.on_close_connection = self._close_connection
        nexus.session = self.protocol

    @property
    def pumps(self) -> dict[int, ConnectionPump]:
        """The pumps of the connections, by CID."""
        return {cid: one.pump for cid, one in self.connections.items()}

    @property
    def over(self) -> bool:
        """True once the session has ended."""
        return self.ended.done()

    @property
    def target(self) -> str:
        """The name of the target; empty for a discovery session."""
        served = self.nexus.target
        return served.config.name if served is not None else ""

    @property
    def max_connections(self) -> int:
        """How many connections were agreed on."""
        return self.result.params.max_connections

    def has_place(self, cid: int) -> bool:
        """Whether a connection with this CID may join, or take the place of one that has it."""
        return len({*self.connections, *self.answered} - {cid}) < self.max_connections

    def attach(
        self,
        sock: socket.socket,
        result: TargetLoginResult,
        leftover: bytes,
        *,
        address: str,
        portal: Portal,
        listens_at: Portal,
        logged_in_at: float,
    ) -> ServedConnection:
        """Take a logged-in connection in; the session owns the socket from here on, also if this fails."""
        self.address = address
        connection = ServedConnection(
            self,
            sock,
            result,
            leftover,
            address=address,
            portal=portal,
            listens_at=listens_at,
            logged_in_at=logged_in_at,
        )
        self.connections[connection.cid] = connection
        return connection

    @contextmanager
    def held(self) -> Iterator[None]:
        """While a connection is about to join, the session does not end for want of one."""
        self._holders += 1
        try:
            yield
        finally:
            self._holders -= 1
            self._settle("its last connection is gone", True)

    def lost(self, connection: ServedConnection, reason: str, error: bool) -> None:
        """The pump of a connection has closed its socket."""
        if not connection.ended.done():
            connection.ended.set_result(None)
        if not error and connection.close_reason:
            reason = connection.close_reason
        if self.connections.get(connection.cid) is connection:
            del self.connections[connection.cid]
        if self.over:
            return
        protocol = self.protocol
        # After a logout the protocol has let go of the connection itself.
        if protocol.connections.get(connection.cid) is connection.protocol:
            protocol.connection_lost(connection.protocol, self._loop.time())
        if not self._settle(reason, error):
            self._on_connection_lost(self, connection, reason, error)

    def _settle(self, reason: str, error: bool) -> bool:
        """End the session when nothing can come of it any more. True when it is over."""
        # Connections of a session that was logged out close by themselves, once their last answer has left.
        if not (self.over or self.connections or self._holders or self.protocol.may_continue):
            self._finish(reason, error)
        return self.over

    def _finish(self, reason: str, error: bool) -> None:
        self.ended.set_result(None)
        for connection in list(self.connections.values()):
            connection.pump.close(reason, error=error)
        self.protocol.terminate()
        self.nexus.close()
        self._on_closed(self, reason, error)

    def close(self, reason: str) -> None:
        """End the session now."""
        if not self.over:
            self._finish(reason, False)

    def close_connection(self, connection: ServedConnection, reason: str) -> None:
        """End one connection now; the session goes on if it can."""
        connection.pump.close(reason, error=False)

    def _close_connection(self, protocol: TargetConnection, reason: str) -> None:
        """The protocol wants a connection closed; the pump does it once what it has to say has left."""
        connection = self.connections.get(protocol.cid)
        if connection is not None and connection.protocol is protocol:
            connection.close_reason = reason

    def tick(self, now: float) -> None:
        """Once a second: probes, deadlines, and the end of the wait for an initiator that does not return."""
        if not self.connections:
            self.protocol.tick(now)
        for connection in list(self.connections.values()):
            connection.pump.tick(now)
        self._settle("the initiator did not come back in time", True)

    # What the session still does

    def when_quiet(self, then: Callable[[], None]) -> None:
        """Call `then` once nothing that the session began is still on its way to a backstore."""
        self.protocol.wait_for(list(self.protocol.tasks.values()), then, transfers_until=None)

    async def quiet(self) -> None:
        """Wait for that."""
        done = asyncio.Event()
        self.when_quiet(done.set)
        await done.wait()

    async def connection_quiet(self, connection: TargetConnection) -> None:
        """Wait for that, as far as one (former) connection began it."""
        done = asyncio.Event()
        tasks = [task for task in self.protocol.tasks.values() if task.connection is connection]
        self.protocol.wait_for(tasks, done.set, transfers_until=None)
        await done.wait()

    def info(self) -> TargetSessionInfo:
        """The session as it is now."""
        request = self.result.session
        members = list(self.connections.values())
        params = self.result.params
        return TargetSessionInfo(
            id=self.id,
            target=self.target,
            initiator=request.initiator_name,
            initiator_alias=self.result.initiator_alias or "",
            address=members[0].address if members else self.address,
            portal=str(members[0].portal) if members else "",
            isid=request.isid,
            tsih=self.result.tsih,
            discovery=self.protocol.discovery,
            auth=self.result.auth,
            connections=len(members),
            logged_in_at=self.logged_in_at,
            keys=self.result.keys,
            luns=self.nexus.lun_list(),
            active_commands=self.protocol.active_commands,
            window=(self.protocol.max_cmd_sn - self.protocol.exp_cmd_sn + 1) & 0xFFFFFFFF,
            counters=self.protocol.counters,
            connection_list=[one.info() for one in members],
            tpgt=self.nexus.group.tag,
            error_recovery_level=params.error_recovery_level,
            max_connections=params.max_connections,
            recovering=not members,
        )
