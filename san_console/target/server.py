"""The target server: targets on portals, their sessions, and changes while initiators are at work."""

from __future__ import annotations

import asyncio
import secrets
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from san_console.iscsi import login_status
from san_console.iscsi.login_policy import SessionDecision, SessionRequest
from san_console.iscsi.text import encode_pairs
from san_console.names.display import visible
from san_console.names.errors import InvalidName
from san_console.names.iscsi_name import normalise
from san_console.names.portal import Portal, format_target_address
from san_console.target.access import EffectiveAccess, effective_access, may_log_in
from san_console.target.admission import Admission
from san_console.target.config import ChapConfig, PortalGroup, TargetConfig, without_luns
from san_console.target.errors import ConfigError, TargetBusy, TargetError, UnknownTarget
from san_console.target.events import Severity, TargetEvent, TargetEventKind, TargetSessionInfo
from san_console.target.listener import Listener, listen
from san_console.target.login import DISCOVERY_LIMITS, LoginOutcome, PortalPolicy, log_in, send_responses
from san_console.target.nexus import ServedTarget, SessionNexus
from san_console.target.session import ServedSession
from san_console.target.units import close_units, open_units

MAX_SESSIONS = 1024  # of all targets; SPDK's limit on connections
IO_THREADS = 8  # as many reads and flushes wait for media at once
TICK_S = 1.0
LOGOUT_GRACE_S = 1.0  # time to answer an Asynchronous Message that asks for a logout
QUIET_TIMEOUT_S = 30.0  # a backstore that hangs for longer is waited for by the next login, not by this one


NO_GROUP = PortalGroup(1, [])  # of a discovery session, which reaches no unit


def _ignore(_: TargetEvent) -> None:
    """Nobody listens."""


class TargetServer:
    """Serves targets. All methods belong to one event loop.

    `discovery_chap` is asked of discovery sessions; None lets anybody ask, who then sees only what its
    name may log in to. `on_event` hears of logins, losses and errors.
    """

    def __init__(
        self,
        on_event: Callable[[TargetEvent], None] | None = None,
        *,
        discovery_chap: ChapConfig | None = None,
    ) -> None:
        self._on_event = on_event or _ignore
        self._discovery_chap = discovery_chap
        self._targets: dict[str, ServedTarget] = {}
        self._listeners: dict[Portal, Listener] = {}
        self._sessions: dict[str, ServedSession] = {}
        self._by_tsih: dict[int, ServedSession] = {}
        self._ending: set[ServedSession] = set()
        """Sessions that are over, with commands that a backstore has not finished yet."""
        self._admission = Admission(self._log_in)
        self._pool = ThreadPoolExecutor(IO_THREADS, thread_name_prefix="backstore")
        self._ticker: asyncio.TimerHandle | None = None
        self._session_number = 0
        self._closing = False

    # Targets

    async def add(self, config: TargetConfig) -> None:
        """Serve a target. Raises TargetError; then nothing has changed."""
        if config.name in self._targets:
            raise ConfigError(
                f"The target {visible(config.name)} is served already.", check="Choose another name."
            )
        units = await open_units(config, config.luns, self._pool, self._backstore_error)
        try:
            await self._listen(config)
        except BaseException:
            await close_units(units.values())
            raise
        self._targets[config.name] = ServedTarget(config, units)
        self._start_ticking()
        self._tell("target_added", "info", f"Target {visible(config.name)} is served.", target=config.name)

    async def update(self, config: TargetConfig) -> list[str]:
        """Change a target that is served; sessions go on where they may. Returns what it did, for the user.

        Raises TargetError when a portal or a new LUN cannot be had; then nothing has changed.
        """
        served = self._target(config.name)
        old = served.config
        kept = {lun.id: served.units[lun.id] for lun in old.luns if lun in config.luns}
        gone = {lun_id: unit for lun_id, unit in served.units.items() if lun_id not in kept}
        added = [lun for lun in config.luns if lun.id not in kept]
        await self._listen(config)
        try:
            fresh = await open_units(
                config, [lun for lun in added if lun.id not in gone], self._pool, self._backstore_error
            )
        except BaseException:
            self._release_portals(config.name, set(config.portals) - set(old.portals))
            raise
        # A changed LUN may use the file that it had: its sessions let go of it before it is opened again.
        served.units = kept | fresh
        served.config = without_luns(config, set(served.units))
        self._remap(served)
        await close_units(gone.values())
        failed: list[str] = []
        for lun in added:
            if lun.id in gone:
                try:
                    served.units |= await open_units(config, [lun], self._pool, self._backstore_error)
                except TargetError as error:
                    failed.append(f"LUN {visible(lun.name)} could not be opened again: {error.cause}")
        served.config = without_luns(config, set(served.units))
        self._release_portals(config.name, set(old.portals) - set(config.portals))
        ended = self._end_forbidden(served)
        self._remap(served)
        self._tell(
            "target_changed", "info", f"Target {visible(config.name)} was changed.", target=config.name
        )
        return [
            *(f"LUN {visible(unit.config.name)} was closed." for unit in gone.values()),
            *(f"LUN {visible(lun.name)} was opened." for lun in added if lun.id in served.units),
            *failed,
            *ended,
        ]

    def _remap(self, served: ServedTarget) -> None:
        for nexus in list(served.nexuses):
            nexus.remap()

    def _end_forbidden(self, served: ServedTarget) -> list[str]:
        ended = []
        for session in self._sessions_of(served.config.name):
            if not may_log_in(served.config, session.result.session.initiator_name, session.address):
                session.close("its initiator may no longer log in")
                ended.append(f"The session of {visible(session.result.session.initiator_name)} was ended.")
        return ended

    async def remove(self, name: str, *, force: bool = False) -> None:
        """Stop serving a target. Raises UnknownTarget; TargetBusy when it has sessions and `force` is not
        set.
        """
        served = self._target(name)
        sessions = self._sessions_of(served.config.name)
        if sessions and not force:
            raise TargetBusy(
                f"{len(sessions)} initiator(s) are logged in to {visible(name)}.",
                check="Log them out first, or remove the target by force.",
            )
        del self._targets[served.config.name]
        self._release_portals(served.config.name, set(served.config.portals))
        await self._end(sessions, "the target was removed")
        await close_units(served.units.values())
        self._tell("target_removed", "info", f"Target {visible(name)} is no longer served.", target=name)

    async def close(self) -> None:
        """Ask all initiators to log out, end all sessions, make all data durable, let go of everything."""
        self._closing = True
        for listener in self._listeners.values():
            listener.close()
        self._listeners.clear()
        await self._admission.close()
        await self._end(list(self._sessions.values()), "the target was stopped")
        for served in self._targets.values():
            await close_units(served.units.values())
        self._targets.clear()
        if self._ticker is not None:
            self._ticker.cancel()
        self._pool.shutdown(wait=False)

    async def _end(self, sessions: list[ServedSession], reason: str) -> None:
        asked = [session for session in sessions if not session.protocol.discovery]
        for session in asked:
            session.connection.requests.ask_for_logout(int(LOGOUT_GRACE_S))
        if asked:
            await asyncio.wait([session.ended for session in asked], timeout=LOGOUT_GRACE_S)
        for session in sessions:
            session.close(reason)
        for session in sessions:
            await self._quiet(session)

    @staticmethod
    async def _quiet(session: ServedSession) -> bool:
        """Wait until nothing of an ended session is under way. False when its backstore hangs; the tasks
        keep their buffers and end when it comes back.
        """
        try:
            async with asyncio.timeout(QUIET_TIMEOUT_S):
                await session.quiet()
        except TimeoutError:
            return False
        return True

    # What is shown

    def targets(self) -> list[TargetConfig]:
        """The targets that are served."""
        return [served.config for served in self._targets.values()]

    def sessions(self) -> list[TargetSessionInfo]:
        """Everybody who is logged in, discovery sessions too."""
        return [session.info() for session in self._sessions.values()]

    def bound_portals(self, name: str | None = None) -> list[Portal]:
        """Where the server (or one target) listens, with the ports that the system chose for 0."""
        return [
            listener.bound
            for listener in self._listeners.values()
            if name is None or self._target(name).config.name in listener.users
        ]

    def effective_access(self, target: str, initiator: str, address: str = "") -> EffectiveAccess:
        """What `initiator` may do and see when it comes from `address`, by the code that the login uses.

        Raises UnknownTarget, ConfigError.
        """
        served = self._target(target)
        try:
            name = normalise(initiator, lenient=True)
        except InvalidName as error:
            raise ConfigError(str(error), check="Check the initiator name.") from error
        return effective_access(served.config, name, address)

    def unit_identity(self, target: str, lun_id: str) -> tuple[str, str]:
        """(identity, serial number) of a LUN, as its VPD pages tell."""
        unit = self._target(target).units[lun_id]
        return f"naa.{unit.naa.hex()}", unit.serial

    def backstore_failure(self, target: str, lun_id: str) -> str:
        """Why nothing can be written to the LUN any more; empty when it works."""
        return self._target(target).units[lun_id].backstore.failed

    async def disconnect(self, session_id: str) -> None:
        """End a session; its initiator will hear of it and may come back. Raises UnknownTarget."""
        session = self._sessions.get(session_id)
        if session is None:
            raise UnknownTarget(
                "There is no such session.", check="It may have ended meanwhile; look at the list."
            )
        await self._end([session], "it was disconnected")

    # Inside

    def _target(self, name: str) -> ServedTarget:
        served = self._targets.get(name)
        if served is None:
            raise UnknownTarget(f"The target {visible(name)} is not served here.", check="Check the name.")
        return served

    def _sessions_of(self, name: str) -> list[ServedSession]:
        return [s for s in self._sessions.values() if s.result.session.target_name == name]

    async def _listen(self, config: TargetConfig) -> None:
        opened: list[Portal] = []
        try:
            for portal in config.portals:
                if portal not in self._listeners:
                    self._listeners[portal] = await listen(portal, self._admission.connected)
                    opened.append(portal)
        except BaseException:
            for portal in opened:
                self._listeners.pop(portal).close()
            raise
        for portal in config.portals:
            self._listeners[portal].users.add(config.name)

    def _release_portals(self, name: str, portals: set[Portal]) -> None:
        for portal in portals:
            listener = self._listeners.get(portal)
            if listener is not None:
                listener.users.discard(name)
                if not listener.users:
                    self._listeners.pop(portal).close()

    async def _log_in(self, listener: Listener, sock: socket.socket, address: str) -> bool:
        """Run the login on a new connection. True when a session has the socket now."""
        policy = PortalPolicy(
            lambda name: self._on_portal(listener, name), self._session_for, self._discovery_chap
        )
        outcome = await log_in(sock, policy, address, DISCOVERY_LIMITS.command_window)
        if outcome.result is None:
            if outcome.status == login_status.AUTHENTICATION_FAILURE:
                await self._admission.authentication_failed(address)
            await send_responses(sock, outcome.answer)
            self._login_failed(outcome, address)
            return False
        self._admission.authenticated(address)
        return await self._begin(sock, address, outcome)

    def _on_portal(self, listener: Listener, name: str) -> TargetConfig | None:
        served = self._targets.get(name)
        return served.config if served is not None and name in listener.users else None

    def _session_for(self, request: SessionRequest) -> SessionDecision:
        """RFC 7143 §6.3.1, the table of ISID and TSIH. Authentication is over here, so nobody else can end
        a session.
        """
        key = (request.initiator_name, request.isid, request.target_name)
        existing = self._find(key)
        if existing is not None and existing.result.session.chap_user != request.chap_user:
            return SessionDecision(login_status.AUTHORIZATION_FAILURE)  # §9.2: the same identity as before
        if request.tsih:
            if existing is None or existing.result.tsih != request.tsih:
                return SessionDecision(login_status.SESSION_DOES_NOT_EXIST)
            if existing.connection.cid != request.cid:
                return SessionDecision(login_status.TOO_MANY_CONNECTIONS)  # MaxConnections is 1
            return SessionDecision(tsih=request.tsih, action="connection reinstatement")
        if existing is None and self._is_full(request.target_name):
            return SessionDecision(login_status.OUT_OF_RESOURCES)
        action = "new" if existing is None else "session reinstatement"
        return SessionDecision(
            tsih=self._new_tsih(), action="new" if action == "new" else "session reinstatement"
        )

    def _find(self, key: tuple[str, bytes, str | None]) -> ServedSession | None:
        return next((session for session in self._sessions.values() if session.key == key), None)

    def _is_full(self, target: str | None) -> bool:
        if len(self._sessions) >= MAX_SESSIONS:
            return True
        served = self._targets.get(target or "")
        return (
            served is not None and len(self._sessions_of(target or "")) >= served.config.limits.max_sessions
        )

    def _new_tsih(self) -> int:
        while True:
            tsih = secrets.randbelow(0xFFFF) + 1
            if tsih not in self._by_tsih:
                return tsih

    async def _begin(self, sock: socket.socket, address: str, outcome: LoginOutcome) -> bool:
        """The login is over: the session begins. False when it could not."""
        result = outcome.result
        assert result is not None
        request = result.session
        if not await self._last_session_over(sock, request):
            return False
        served = self._targets.get(request.target_name or "")
        if served is None and request.session_type == "Normal":
            return False  # removed meanwhile
        portal = _local_portal(sock)
        nexus = SessionNexus(
            served if request.session_type == "Normal" else None,
            request.initiator_name,
            request.isid,
            lambda value: self._send_targets(value, request, portal, address),
            address=address,
            group=served.config.groups[0] if served is not None else NO_GROUP,
        )
        self._session_number += 1
        session = ServedSession(
            f"t{self._session_number}",
            result,
            nexus,
            served.config.limits if served is not None else DISCOVERY_LIMITS,
            sock,
            outcome.leftover,
            address=address,
            portal=str(portal),
            logged_in_at=time.time(),
            on_closed=self._session_closed,
        )
        self._sessions[session.id] = session
        self._by_tsih[result.tsih] = session
        try:
            await send_responses(sock, outcome.answer)
        except BaseException:
            session.close("the connection broke")
            raise
        if session.id not in self._sessions:  # ended while its last login response was sent
            return True
        if request.session_type == "Normal":
            self._tell(
                "target_login",
                "info",
                f"{visible(request.initiator_name)} logged in to {visible(request.target_name or '')}.",
                target=request.target_name or "",
                initiator=request.initiator_name,
                address=address,
                auth=result.auth,
                session=session.id,
                action=result.action,
            )
        session.pump.start()
        return True

    async def _last_session_over(self, sock: socket.socket, request: SessionRequest) -> bool:
        """Wait, before the login is answered, until no command of the initiator's earlier sessions is with a
        backstore: a late write of one must not land on top of what the new session writes (RFC 7143 §6.3.5).
        The connection of the earlier one may have broken long before, and a restarted initiator has a new
        ISID. False when the login cannot go on.
        """
        while True:
            existing = self._find((request.initiator_name, request.isid, request.target_name))
            if existing is not None:
                existing.close("the initiator logged in again")
            ending = next((s for s in self._ending if s.belongs_to(request)), None)
            if ending is None:
                return True
            # Letting it in all the same would trade its data for its patience; it tries again.
            if not await self._quiet(ending):
                self._backstore_error(
                    request.target_name or "",
                    f"A login of {request.initiator_name} has to wait: "
                    "the storage has not finished what its last session wrote.",
                )
                return False
            if _closed_by_peer(sock):
                return False  # it gave up, and its next login may be through already

    def _login_failed(self, outcome: LoginOutcome, address: str) -> None:
        who = visible(outcome.initiator_name) if outcome.initiator_name else address
        explanation = login_status.explain_status(outcome.status >> 8, outcome.status & 0xFF)
        self._tell(
            "target_login_failed",
            "warning",
            f"A login of {who} was refused.",
            cause=outcome.failed,
            side="target",
            check=explanation.check if outcome.status else "",
            target=outcome.target_name,
            initiator=outcome.initiator_name,
            address=address,
            status=f"{outcome.status:04x}",
        )

    def _session_closed(self, session: ServedSession, reason: str, error: bool) -> None:
        self._sessions.pop(session.id, None)
        if self._by_tsih.get(session.result.tsih) is session:
            del self._by_tsih[session.result.tsih]
        if not session.protocol.quiet:
            self._ending.add(session)
            session.when_quiet(lambda: self._ending.discard(session))
        if session.protocol.discovery:
            return
        request = session.result.session
        kind: TargetEventKind = (
            "session_lost" if error else "target_logout" if reason == "logout" else "session_closed"
        )
        self._tell(
            kind,
            "warning" if error else "info",
            f"The session of {visible(request.initiator_name)} ended.",
            cause=reason,
            side="initiator" if error or reason == "logout" else "target",
            target=request.target_name or "",
            initiator=request.initiator_name,
            address=session.address,
            session=session.id,
        )

    def _send_targets(self, value: str, asker: SessionRequest, portal: Portal, address: str) -> bytes | None:
        """RFC 7143 Appendix C: "All" belongs to discovery sessions only, an empty value to normal ones
        only.
        """
        discovery = asker.session_type == "Discovery"
        if value == "All":
            names = sorted(self._targets) if discovery else None
        elif value == "":
            names = None if discovery else [asker.target_name or ""]
        else:
            names = [value] if discovery or value == asker.target_name else []
        if names is None:
            return None
        pairs: list[tuple[str, str]] = []
        for name in names:
            served = self._targets.get(name)
            if served is not None and may_log_in(served.config, asker.initiator_name, address):
                pairs.append(("TargetName", name))
                pairs += [("TargetAddress", text) for text in self._addresses(served.config, portal)]
        return encode_pairs(pairs)

    def _addresses(self, config: TargetConfig, asked_at: Portal) -> list[str]:
        found = []
        for portal in config.portals:
            listener = self._listeners.get(portal)
            if listener is None:
                continue
            bound = listener.bound
            if bound.host in ("0.0.0.0", "::"):  # noqa: S104 - any address: the one that the initiator used is one
                if asked_at.is_ipv6 != bound.is_ipv6:
                    continue
                bound = Portal(asked_at.host, bound.port)
            found.append(format_target_address(bound, config.group_of(portal).tag))
        return found

    def _start_ticking(self) -> None:
        if self._ticker is None:
            self._ticker = asyncio.get_running_loop().call_later(TICK_S, self._tick)

    def _tick(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        for session in list(self._sessions.values()):
            session.pump.tick(now)
        self._ticker = loop.call_later(TICK_S, self._tick)

    def _backstore_error(self, target: str, text: str) -> None:
        self._tell(
            "backstore_error",
            "error",
            visible(text),
            side="this machine",
            check="Check the medium and the free space; open the LUN again once it is mended.",
            target=target,
        )

    def _tell(
        self,
        kind: TargetEventKind,
        severity: Severity,
        text: str,
        *,
        cause: str = "",
        side: str = "",
        check: str = "",
        **details: str,
    ) -> None:
        self._on_event(TargetEvent(time.time(), kind, severity, text, cause, side, check, details))


def _local_portal(sock: socket.socket) -> Portal:
    host, port, *_ = sock.getsockname()
    return Portal(str(host).partition("%")[0], port)


def _closed_by_peer(sock: socket.socket) -> bool:
    """True when the other side has closed the connection; what it sent stays to be received."""
    try:
        return not sock.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return False
    except OSError:
        return True
